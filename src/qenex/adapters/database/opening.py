"""Opens the records: finds the database, brings its schema up to date, makes sure of the key."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import time
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Final

import asyncpg  # type: ignore[import-untyped]  # it comes without
from sqlalchemy import URL, event, func, select
from sqlalchemy.ext.asyncio import create_async_engine

from qenex.adapters.database import migrations
from qenex.adapters.database.records import Records
from qenex.adapters.database.refusals import as_ours
from qenex.adapters.database.tables import VAULT_KEYS
from qenex.adapters.database.vault import Vault
from qenex.client.credentials import check_ours
from qenex.errors import RecordsKeyWrong, RecordsUnavailable
from qenex.principals import SYSTEM_BOOK
from qenex.settings import RECORDS_IN_HOME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.ext.asyncio import AsyncEngine

    from qenex.settings import Settings

READERS: Final = 4
"""Connections that read a SQLite file at a time; one writes."""
CONNECTIONS: Final = 8
"""Connections to PostgreSQL."""
WAIT_S: Final = 5.0
"""How long a connection, a lock, and the way to PostgreSQL are waited for."""
COMMAND_S: Final = 10.0
"""How long PostgreSQL may work on one statement."""
MIGRATION_S: Final = 300.0
"""How long another process's migration is waited for."""
MIGRATION_LOCK: Final = 0x71_6E_78_73_63_68_65_6D
"""PostgreSQL's advisory lock of a migration ("qnxschem")."""


async def open_records(settings: Settings) -> Records:
    """Opens the records of a home, made by `qenex.bootstrap.initialise`, and migrates them where they are older.

    Raises:
        RecordsUnavailable: the database cannot be reached.
        RecordsNewer: a newer release has written to them.
        RecordsKeyWrong: their secrets are encrypted under another key than the home's.
        RecordsDamaged: the file is no SQLite database.
        CredentialMissing, CredentialExposed, InvalidHome: the key of the home cannot be used.
    """
    vault = Vault.of_file(settings.records_key_file)
    if settings.records_url == RECORDS_IN_HOME:
        return await open_file(settings.records_file, vault)
    migrating = _postgresql(settings.records_url, 1, MIGRATION_S)
    try:
        await _prepare(migrating, vault)
    finally:
        await migrating.dispose()
    engine = _postgresql(settings.records_url, CONNECTIONS, COMMAND_S)
    return Records(engine, engine, vault)


async def open_file(path: Path, vault: Vault) -> Records:
    """Opens records in a SQLite file; raises as `open_records` does."""
    async with _locked(path.with_name(f"{path.name}.lock")):
        await asyncio.to_thread(_make, path)
        writer = _sqlite(path, 1, "BEGIN IMMEDIATE")
        try:
            await _prepare(writer, vault)
        except BaseException:
            await writer.dispose()
            raise
    return Records(_sqlite(path, READERS, "BEGIN"), writer, vault)


async def _prepare(engine: AsyncEngine, vault: Vault) -> None:
    """Brings schema and key into order in one db transaction; a second process waits and finds it done."""
    with as_ours():
        async with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                await connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            await connection.run_sync(migrations.upgrade)
            await connection.run_sync(_check_key, vault)


def _check_key(connection: Connection, vault: Vault) -> None:
    """Remembers whose key it is the first time, and insists on it ever after."""
    known = connection.execute(select(VAULT_KEYS.c.id).where(VAULT_KEYS.c.book == SYSTEM_BOOK)).scalar()
    if known is None:
        connection.execute(VAULT_KEYS.insert().values(book=SYSTEM_BOOK, id=vault.id, created_ns=time.time_ns()))
    elif known != vault.id:
        raise RecordsKeyWrong(f"Theirs is {known}, that in keys/records.key is {vault.id}: put theirs there.")


def _postgresql(url: str, connections: int, command_s: float) -> AsyncEngine:
    async def connect(*_: object, **__: object) -> asyncpg.Connection:
        return await asyncpg.connect(
            url, timeout=WAIT_S, command_timeout=command_s, server_settings={"application_name": "qenex"}
        )

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=WAIT_S,
        hide_parameters=True,
    )


def _sqlite(path: Path, connections: int, begin: str) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=WAIT_S,
        hide_parameters=True,
        # The driver would begin db transactions late and by its own rules; `begin` below does it at once.
        connect_args={"isolation_level": None, "timeout": WAIT_S},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: DBAPIConnection, _: object) -> None:
        cursor = connection.cursor()
        for pragma in ("foreign_keys = ON", "synchronous = FULL"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _make(path: Path) -> None:
    """Makes the file where it is missing, and lets readers and a writer work at a time, which the file remembers."""
    path.touch(mode=0o600)
    check_ours(path)
    with as_ours(), closing(sqlite3.connect(path, timeout=WAIT_S)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


@asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[None]:
    """Holds a lock file, so that two processes do not make one file at once."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + MIGRATION_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise RecordsUnavailable(f"{path} is locked by another process.") from None
                await asyncio.sleep(0.02)
        yield
    finally:
        os.close(descriptor)
