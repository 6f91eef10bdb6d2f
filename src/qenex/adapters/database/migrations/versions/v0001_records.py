"""Books, changes, the key of the vault, principals and their API keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

U128 = sa.LargeBinary(16)
SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def words(length: int) -> sa.types.TypeEngine[str]:
    """Text in the order of its bytes."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "books",
        sa.Column("id", U128, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("state", words(16), nullable=False),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_books"),
    )
    changes = op.create_table(
        "changes",
        sa.Column("number", SEQUENCE, nullable=False),
        sa.Column("book", U128, nullable=False),
        sa.Column("kind", words(32), nullable=False),
        sa.Column("subject", words(128), nullable=False),
        sa.Column("time_ns", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_changes"),
        sqlite_autoincrement=True,
    )
    # There is always one, by which those who read can see whether they have missed any.
    op.bulk_insert(changes, [{"book": bytes(16), "kind": "begin", "subject": "", "time_ns": 0}])
    op.create_table(
        "vault_keys",
        sa.Column("book", U128, nullable=False),
        sa.Column("id", words(16), nullable=False),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("book", "id", name="pk_vault_keys"),
    )
    op.create_table(
        "principals",
        sa.Column("book", U128, nullable=False),
        sa.Column("id", words(64), nullable=False),
        sa.Column("kind", words(16), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("roles", words(128), nullable=False),
        sa.Column("state", words(16), nullable=False),
        sa.Column("party", U128, nullable=True),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("book", "id", name="pk_principals"),
    )
    op.create_index("ix_principals_book_kind_state", "principals", ["book", "kind", "state"])
    op.create_index("ix_principals_book_party", "principals", ["book", "party"])
    op.create_table(
        "api_keys",
        sa.Column("book", U128, nullable=False),
        sa.Column("id", words(64), nullable=False),
        sa.Column("principal", words(64), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("hint", words(16), nullable=False),
        sa.Column("is_live", sa.Boolean, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("addresses", sa.Text, nullable=False),
        sa.Column("created_by", words(64), nullable=False),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
        sa.Column("expires_ns", sa.BigInteger, nullable=False),
        sa.Column("used_ns", sa.BigInteger, nullable=True),
        sa.Column("revoked_ns", sa.BigInteger, nullable=True),
        sa.Column("replaced_by", words(64), nullable=True),
        sa.PrimaryKeyConstraint("book", "id", name="pk_api_keys"),
        sa.ForeignKeyConstraint(
            ["book", "principal"], ["principals.book", "principals.id"], name="fk_api_keys_principals"
        ),
        sa.UniqueConstraint("digest", name="uq_api_keys_digest"),
    )
    op.create_index("ix_api_keys_book_principal", "api_keys", ["book", "principal"])
