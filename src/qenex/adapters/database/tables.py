"""The schema, the same for SQLite and PostgreSQL; `migrations` makes it, and a test proves that the two are equal.

Every table but `books` has a `book`. Ids of the ledger are 16 bytes big-endian, so that their order is that of the
numbers; names and ids of our own are text in the order of its bytes; times are UTC nanoseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""All tables. Constraints have names, so that a later migration can name them."""

U128: Final = LargeBinary(16)
"""A book, or an id of the ledger: 16 bytes big-endian."""


def words(length: int | None = None) -> TypeEngine[str]:
    """Text in the order of its bytes in both databases, whatever language a PostgreSQL sorts in."""
    if length is None:
        return Text().with_variant(Text(collation="C"), "postgresql")
    return String(length).with_variant(String(length, collation="C"), "postgresql")


SEQUENCE: Final = BigInteger().with_variant(Integer, "sqlite")
"""A number that the database gives; SQLite does that for `INTEGER` only, which has 64 bits there."""

BOOKS: Final = Table(
    "books",
    METADATA,
    Column("id", U128, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", words(16), nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    PrimaryKeyConstraint("id"),
)
"""Books of the installation; the system book has no row."""

CHANGES: Final = Table(
    "changes",
    METADATA,
    Column("number", SEQUENCE, nullable=False),
    Column("book", U128, nullable=False),
    Column("kind", words(32), nullable=False),
    Column("subject", words(128), nullable=False),
    Column("time_ns", BigInteger, nullable=False),
    PrimaryKeyConstraint("number"),
    sqlite_autoincrement=True,
)
"""What every process has to know within a second, in the order in which it became true. Kept for an hour."""

VAULT_KEYS: Final = Table(
    "vault_keys",
    METADATA,
    Column("book", U128, nullable=False),
    Column("id", words(16), nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    PrimaryKeyConstraint("book", "id"),
)
"""Under which key the secrets of the records are encrypted, by its fingerprint; of the system book."""

PRINCIPALS: Final = Table(
    "principals",
    METADATA,
    Column("book", U128, nullable=False),
    Column("id", words(64), nullable=False),
    Column("kind", words(16), nullable=False),
    Column("name", Text, nullable=False),
    Column("roles", words(128), nullable=False),
    Column("state", words(16), nullable=False),
    Column("party", U128, nullable=True),
    Column("created_ns", BigInteger, nullable=False),
    PrimaryKeyConstraint("book", "id"),
    Index(None, "book", "kind", "state"),
    Index(None, "book", "party"),
)
"""Users, service accounts and customers."""

API_KEYS: Final = Table(
    "api_keys",
    METADATA,
    Column("book", U128, nullable=False),
    Column("id", words(64), nullable=False),
    Column("principal", words(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("hint", words(16), nullable=False),
    Column("is_live", Boolean, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("addresses", Text, nullable=False),
    Column("created_by", words(64), nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("expires_ns", BigInteger, nullable=False),
    Column("used_ns", BigInteger, nullable=True),
    Column("revoked_ns", BigInteger, nullable=True),
    Column("replaced_by", words(64), nullable=True),
    PrimaryKeyConstraint("book", "id"),
    ForeignKeyConstraint(["book", "principal"], ["principals.book", "principals.id"]),
    UniqueConstraint("digest"),
    Index(None, "book", "principal"),
)
"""API keys. `digest` is the HMAC of the key under the pepper; the key itself is nowhere."""
