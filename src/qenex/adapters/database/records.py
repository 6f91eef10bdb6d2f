"""Reading and writing records: always of one book, in db transactions that happen whole or not at all.

    async with records.of(book).writing() as work:
        await work.add(PRINCIPALS, id=..., name=...)
        work.changed("principal", id)

    async with records.of(book).reading() as work:
        rows = await work.all(work.select(PRINCIPALS).where(PRINCIPALS.c.state == "active"))

A statement whose tables are not all limited to the book is refused before it reaches the database, so that a query
cannot forget it.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import Alias, BindParameter, Delete, Insert, Select, Table, Update, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import BinaryExpression

from qenex.adapters.database.changes import Feed
from qenex.adapters.database.refusals import as_ours
from qenex.adapters.database.tables import CHANGES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy import ColumnElement, RowMapping
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from qenex.adapters.database.vault import Vault

_Statement = TypeVar("_Statement", Select[Any], Update, Delete)

CHANGES_LOCK: Final = 0x71_6E_78_63_68_61_6E_67
"""PostgreSQL's advisory lock that makes changes become visible in the order of their numbers ("qnxchang")."""


class Records:
    """The records of an installation, opened by `open_records`."""

    def __init__(self, reader: AsyncEngine, writer: AsyncEngine, vault: Vault) -> None:
        """Takes what `open_records` has made; in PostgreSQL reader and writer are one."""
        self._reader, self._writer = reader, writer
        self.vault: Final = vault
        """Seals secrets."""
        self.feed: Final = Feed(self.across_books())
        """Tells what has changed, in this process and in others, once it is started."""

    def of(self, book: bytes) -> BookRecords:
        """The records of one book: 16 bytes."""
        if len(book) != 16:
            raise ValueError(f"a book is 16 bytes, not {len(book)}")
        return BookRecords(self, book)

    def across_books(self) -> BookRecords:
        """The records of all books, for the few tasks that are nobody's: finding the book of a credential, sweeping.

        Never for what somebody asks for.
        """
        return BookRecords(self, None)

    @property
    def is_postgresql(self) -> bool:
        """Whether they are in PostgreSQL."""
        return self._writer.dialect.name == "postgresql"

    async def close(self) -> None:
        """Ends the feed and closes all connections."""
        await self.feed.stop()
        await self._reader.dispose()
        await self._writer.dispose()

    def connect(self, *, writing: bool) -> AsyncConnection:
        """A connection of the pool, to be entered; for `BookRecords`."""
        return (self._writer if writing else self._reader).connect()


class BookRecords:
    """The records of one book, or (`across_books`) of all."""

    def __init__(self, records: Records, book: bytes | None) -> None:
        self._records = records
        self.book: Final = book
        """Whose records these are; `None` is all books."""

    @property
    def vault(self) -> Vault:
        """Seals secrets."""
        return self._records.vault

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Work]:
        """Something to read with.

        Raises:
            RecordsUnavailable: the database cannot be reached or is busy.
        """
        with as_ours():
            async with self._records.connect(writing=False) as connection:
                yield Work(connection, self.book)

    @asynccontextmanager
    async def writing(self, *, alone: bool = False) -> AsyncIterator[Work]:
        """A db transaction: all that is written in it happens when the block ends, nothing when it raises.

        Args:
            alone: no other block that asked for it runs for this book at the time. For rules about several rows, such
                as "the last owner stays". (In SQLite one writes at a time anyway.)

        Raises:
            RecordsUnavailable: the database cannot be reached, or is busy, or full; nothing has happened, except
                where the connection was lost during the commit.
        """
        with as_ours():
            async with self._records.connect(writing=True) as connection, connection.begin():
                work = Work(connection, self.book)
                if alone and self._records.is_postgresql:
                    key = int.from_bytes((self.book or bytes(16))[:8], "big", signed=True)
                    await connection.execute(select(func.pg_advisory_xact_lock(key)))
                yield work
                await work.write_changes()
        if work.changes:
            self._records.feed.wake()


class Work:
    """Reads and writes in one db transaction."""

    def __init__(self, connection: AsyncConnection, book: bytes | None) -> None:
        self._connection, self._book = connection, book
        self.changes: Final[list[tuple[bytes, str, str]]] = []
        """What is announced when the db transaction ends."""

    def select(self, table: Table, *columns: ColumnElement[Any]) -> Select[Any]:
        """A query of the book's rows: all columns, or these."""
        return self._limited(select(*(columns or (table,))), table)

    def update(self, table: Table) -> Update:
        """An update of the book's rows."""
        return self._limited(update(table), table)

    def delete(self, table: Table) -> Delete:
        """A deletion of the book's rows."""
        return self._limited(delete(table), table)

    async def all(self, statement: Select[Any]) -> Sequence[RowMapping]:
        """The rows that a query finds."""
        self._check(statement)
        rows: Sequence[RowMapping] = (await self._connection.execute(statement)).mappings().all()
        return rows

    async def first(self, statement: Select[Any]) -> RowMapping | None:
        """The first row that a query finds."""
        self._check(statement)
        row: RowMapping | None = (await self._connection.execute(statement)).mappings().first()
        return row

    async def run(self, statement: Update | Delete) -> int:
        """Updates or deletes; how many rows it was."""
        self._check(statement)
        return (await self._connection.execute(statement)).rowcount

    async def add(self, table: Table, *rows: dict[str, Any]) -> None:
        """Inserts rows of the book.

        Raises:
            sqlalchemy.exc.IntegrityError: a key is there already; the db transaction is lost.
        """
        await self._connection.execute(insert(table), [self._owned(row) for row in rows])

    async def add_if_absent(self, table: Table, row: dict[str, Any]) -> bool:
        """Inserts a row of the book unless its key is there; says whether it was inserted."""
        dialect = postgresql if self._connection.dialect.name == "postgresql" else sqlite
        statement: Insert = dialect.insert(table).values(self._owned(row)).on_conflict_do_nothing()
        return (await self._connection.execute(statement)).rowcount == 1

    def changed(self, kind: str, subject: str, *, book: bytes | None = None) -> None:
        """Announces a change to every process (`Feed`), when the db transaction ends.

        Args:
            kind: what it is of, at most 32 characters.
            subject: its id, at most 128 characters.
            book: for work across books.
        """
        self.changes.append((self._owner(book), kind, subject))

    async def write_changes(self) -> None:
        """Writes what is announced, as the last thing before the commit."""
        if not self.changes:
            return
        if self._connection.dialect.name == "postgresql":
            # Numbers are given before the commit: without the lock a lower one could become visible after a higher,
            # and who had read up to the higher would never see it. Held last and briefly, it blocks nobody else.
            await self._connection.execute(select(func.pg_advisory_xact_lock(CHANGES_LOCK)))
        now = time.time_ns()
        rows = [
            {"book": book, "kind": kind, "subject": subject, "time_ns": now} for book, kind, subject in self.changes
        ]
        await self._connection.execute(insert(CHANGES), rows)

    def _owner(self, book: bytes | None) -> bytes:
        if self._book is None and book is not None:
            return book
        if self._book is None or book not in (None, self._book):
            raise ForgottenBook("work of one book writes to that one, work across books says which")
        return self._book

    def _owned(self, row: dict[str, Any]) -> dict[str, Any]:
        return row | {"book": self._owner(row.get("book"))}

    def _limited(self, statement: _Statement, table: Table) -> _Statement:
        return statement if self._book is None else statement.where(table.c.book == self._book)

    def _check(self, statement: Select[Any] | Update | Delete) -> None:
        """Makes sure that every table of a statement is limited to the book."""
        if self._book is None:
            return
        free = {part for part in visitors.iterate(statement) if isinstance(part, Table | Alias)}
        free -= {part.element for part in free if isinstance(part, Alias)}
        for condition in visitors.iterate(statement):
            if isinstance(condition, BinaryExpression) and condition.operator is operators.eq:
                left, right = condition.left, condition.right
                if (
                    isinstance(right, BindParameter)
                    and right.value == self._book
                    and getattr(left, "name", "") == "book"
                ):
                    free.discard(getattr(left, "table", None))
        if free:
            names = ", ".join(sorted(str(table) for table in free))
            raise ForgottenBook(f"a statement is not limited to its book in {names}")


class ForgottenBook(AssertionError):
    """A mistake of this program: a statement that could reach into another book. It was not run."""
