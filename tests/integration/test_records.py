"""The records: the same rules in SQLite and in a real PostgreSQL."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from qenex import bootstrap
from qenex.adapters.database import Change, open_records
from qenex.adapters.database.records import ForgottenBook
from qenex.adapters.database.tables import BOOKS, CHANGES, METADATA, PRINCIPALS
from qenex.errors import CredentialMissing, RecordsDamaged, RecordsKeyWrong, RecordsNewer, RecordsUnavailable
from qenex.settings import Settings
from tests.conftest import run_python

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy import Connection

    from qenex.adapters.database import Records
    from tests.postgresql import PostgresqlServer

OURS, THEIRS = b"\x01" * 16, b"\x02" * 16
NUMBERS = itertools.count(1)


def row(**values: object) -> dict[str, object]:
    usual = {"id": f"usr_{next(NUMBERS)}", "kind": "user", "name": "Ada", "roles": "", "state": "active"}
    return usual | {"party": None, "created_ns": 2**62} | values


@pytest.fixture
def settings(tmp_path: Path, records_url: str) -> Settings:
    return bootstrap.initialise(Settings.load({"home": tmp_path / "home", "records_url": records_url})).settings


@pytest.fixture
async def records(settings: Settings) -> AsyncIterator[Records]:
    opened = await open_records(settings)
    yield opened
    await opened.close()


async def names(records: Records, book: bytes = OURS) -> list[str]:
    async with records.of(book).reading() as work:
        found = await work.all(work.select(PRINCIPALS, PRINCIPALS.c.name).order_by(PRINCIPALS.c.id))
    return [one["name"] for one in found]


async def test_what_the_migrations_make_is_what_the_tables_say(records: Records) -> None:
    def differences(connection: Connection) -> list[object]:
        options = {"compare_type": True, "compare_server_default": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), METADATA))

    async with records.connect(writing=False) as connection:
        assert await connection.run_sync(differences) == []


async def test_every_table_but_the_list_of_books_says_whose_a_row_is() -> None:
    for table in METADATA.tables.values():
        assert table is BOOKS or not table.c.book.nullable


async def test_a_row_comes_back_as_it_was_written(records: Records) -> None:
    given = row(party=(2**128 - 2).to_bytes(16, "big"), name="Łódź 銀行 🏦 'x' --")
    async with records.of(OURS).writing() as work:
        await work.add(PRINCIPALS, given)
    async with records.of(OURS).reading() as work:
        assert dict(await work.first(work.select(PRINCIPALS)) or {}) == given | {"book": OURS}


async def test_text_is_in_the_order_of_its_bytes(records: Records) -> None:
    ids = ["usr_B", "usr_a", "usr_Z", "usr_0", "usr__"]
    async with records.of(OURS).writing() as work:
        await work.add(PRINCIPALS, *(row(id=one) for one in ids))
        found = await work.all(work.select(PRINCIPALS, PRINCIPALS.c.id).order_by(PRINCIPALS.c.id))
    assert [one["id"] for one in found] == sorted(ids)


async def test_a_block_that_fails_leaves_nothing(records: Records) -> None:
    async def fail() -> None:
        async with records.of(OURS).writing() as work:
            await work.add(PRINCIPALS, row())
            work.changed("principal", "x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await names(records) == []
    async with records.across_books().reading() as work:
        assert [one["kind"] for one in await work.all(work.select(CHANGES))] == ["begin"]


async def test_one_book_does_not_see_or_touch_another(records: Records) -> None:
    async with records.of(THEIRS).writing() as work:
        await work.add(PRINCIPALS, row(id="usr_x", name="theirs"))
    async with records.of(OURS).writing() as work:
        await work.add(PRINCIPALS, row(id="usr_x", name="ours"))
        assert await work.run(work.update(PRINCIPALS).values(name="changed")) == 1
    assert (await names(records, OURS), await names(records, THEIRS)) == (["changed"], ["theirs"])
    async with records.of(OURS).writing() as work:
        assert await work.run(work.delete(PRINCIPALS)) == 1
    assert (await names(records, OURS), await names(records, THEIRS)) == ([], ["theirs"])


async def test_a_statement_that_forgets_its_book_is_not_run(records: Records) -> None:
    other = PRINCIPALS.alias()
    async with records.of(OURS).writing() as work:
        limited = work.select(PRINCIPALS)
        for forgetful in (
            PRINCIPALS.select(),
            PRINCIPALS.select().where(PRINCIPALS.c.book == THEIRS),
            PRINCIPALS.select().where(PRINCIPALS.c.book != OURS),
            limited.where(PRINCIPALS.c.id.in_(CHANGES.select().with_only_columns(CHANGES.c.subject))),
            limited.join(other, other.c.id == PRINCIPALS.c.id),
        ):
            with pytest.raises(ForgottenBook):
                await work.all(forgetful)
        for changing in (PRINCIPALS.delete(), PRINCIPALS.update().values(name="x")):
            with pytest.raises(ForgottenBook):
                await work.run(changing)
        with pytest.raises(ForgottenBook):
            await work.add(PRINCIPALS, row(book=THEIRS))
        joined = limited.join(other, other.c.id == PRINCIPALS.c.id).where(other.c.book == OURS)
        assert await work.all(joined) == []


async def test_a_row_is_added_once(records: Records) -> None:
    async with records.of(OURS).writing() as work:
        assert await work.add_if_absent(PRINCIPALS, row(id="usr_x", name="first"))
        assert not await work.add_if_absent(PRINCIPALS, row(id="usr_x", name="second"))
    assert await names(records) == ["first"]


async def test_rules_about_several_rows_hold_when_many_write_at_once(records: Records) -> None:
    async def add_the_first() -> None:
        async with records.of(OURS).writing(alone=True) as work:
            if not await work.all(work.select(PRINCIPALS)):
                await asyncio.sleep(0)
                await work.add(PRINCIPALS, row())

    await asyncio.gather(*(add_the_first() for _ in range(10)))
    assert await names(records) == ["Ada"]


async def test_two_processes_that_start_at_once_make_one_schema(settings: Settings) -> None:
    script = (
        "import asyncio, sys; from qenex.adapters.database import open_records; from qenex.settings import Settings\n"
        "async def main():\n"
        "    await (await open_records(Settings.load({'home': sys.argv[1], 'records_url': sys.argv[2]}))).close()\n"
        "asyncio.run(main())\n"
    )
    started = (asyncio.to_thread(run_python, "-c", script, settings.home, settings.records_url) for _ in range(3))
    for done in await asyncio.gather(*started):
        assert done.returncode == 0, done.stderr
    records = await open_records(settings)
    async with records.across_books().reading() as work:
        assert len(await work.all(work.select(CHANGES))) == 1
    await records.close()


async def test_a_schema_of_a_newer_release_is_refused_by_name(settings: Settings) -> None:
    records = await open_records(settings)
    async with records.connect(writing=True) as connection, connection.begin():
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await records.close()
    with pytest.raises(RecordsNewer, match=r"schema is 9999, this release knows \d+"):
        await open_records(settings)


async def test_records_of_another_key_are_refused(settings: Settings) -> None:
    await (await open_records(settings)).close()
    settings.records_key_file.write_text("0" * 64)
    with pytest.raises(RecordsKeyWrong, match=r"keys/records\.key"):
        await open_records(settings)
    settings.records_key_file.unlink()
    with pytest.raises(CredentialMissing, match=r"no key of the records"):
        await open_records(settings)


async def test_a_change_is_told_to_every_process_in_order_and_once(settings: Settings, records: Records) -> None:
    other = await open_records(settings)
    told: list[Change] = []
    other.feed.listen(frozenset({"key"}), told.append, lambda: pytest.fail("nothing was missed"))
    await other.feed.poll()
    for number in range(5):
        async with records.of(OURS).writing() as work:
            work.changed("key", str(number))
            work.changed("other", "not asked for")
    await other.feed.poll()
    await other.feed.poll()
    assert told == [Change(OURS, "key", str(number)) for number in range(5)]
    await other.close()


async def test_what_is_cached_is_believed_only_as_long_as_changes_are_heard(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not records.feed.is_current, "nothing was heard yet"
    for seconds in (3_600.0, 0.0):
        monkeypatch.setattr("qenex.adapters.database.changes.CURRENT_S", seconds)
        await records.feed.poll()
        assert records.feed.is_current == (seconds > 0), "what was heard may be too long ago"
    monkeypatch.undo()
    await records.feed.start()
    await records.feed.stop()
    assert not records.feed.is_current


async def test_changes_become_visible_in_the_order_of_their_numbers(records: Records) -> None:
    """One that showed after a higher number would be passed over for ever."""
    seen: list[str] = []
    records.feed.listen(frozenset({"key"}), lambda change: seen.append(change.subject), lambda: None)
    await records.feed.poll()

    async def write_second() -> None:
        async with records.of(OURS).writing() as work:
            work.changed("key", "second")

    async with records.of(OURS).writing() as work:
        work.changed("key", "first")
        await work.write_changes()
        work.changes.clear()
        second = asyncio.create_task(write_second())
        for _ in range(30):  # time enough for the second to overtake, if it could
            await records.feed.poll()
    await second
    await records.feed.poll()
    assert seen == ["first", "second"]


async def test_the_running_feed_is_woken_by_its_own_process(records: Records) -> None:
    told: asyncio.Queue[Change] = asyncio.Queue()
    records.feed.listen(frozenset({"key"}), told.put_nowait, lambda: None)
    await records.feed.start()
    async with records.of(OURS).writing() as work:
        work.changed("key", "k")
    assert await asyncio.wait_for(told.get(), 30) == Change(OURS, "key", "k")


async def test_who_slept_while_changes_were_dropped_is_told_so(settings: Settings, records: Records) -> None:
    other = await open_records(settings)
    lost: list[bool] = []
    other.feed.listen(frozenset({"key"}), lambda _: None, lambda: lost.append(True))
    await other.feed.poll()
    for _ in range(2):
        async with records.of(OURS).writing() as work:
            work.changed("key", "k")
    await records.feed.sweep(2**62)
    async with records.across_books().reading() as work:
        assert [one["number"] for one in await work.all(work.select(CHANGES))] == [3], "the newest stays"
    await other.feed.poll()
    assert lost == [True]
    await other.feed.poll()
    assert lost == [True]
    await other.close()


async def test_a_listener_that_fails_loses_its_cache_and_nobody_else_anything(
    records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    lost, told = [], []
    records.feed.listen(frozenset({"key"}), lambda _: 1 // 0, lambda: lost.append(True))  # type: ignore[arg-type]
    records.feed.listen(frozenset({"key"}), told.append, lambda: None)
    await records.feed.poll()
    async with records.of(OURS).writing() as work:
        work.changed("key", "k")
    await records.feed.poll()
    assert (lost, len(told)) == ([True], 1)
    assert "ZeroDivisionError" in caplog.text


class TestSqlite:
    @pytest.fixture
    def records_url(self) -> str:
        return "sqlite"

    async def test_only_we_can_read_the_file_and_what_is_committed_is_on_disk(
        self, settings: Settings, records: Records
    ) -> None:
        async with records.of(OURS).writing() as work:
            await work.add(PRINCIPALS, row())
        files = [path for path in settings.home.iterdir() if path.name.startswith("records.")]
        assert len(files) >= 3
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
        for writing in (True, False):
            async with records.connect(writing=writing) as connection:
                found = {
                    name: (await connection.execute(text(f"PRAGMA {name}"))).scalar()
                    for name in ("journal_mode", "synchronous", "foreign_keys")
                }
            assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}

    async def test_a_file_that_is_no_database_is_named_and_kept(self, settings: Settings) -> None:
        settings.records_file.write_bytes(b"something else " * 500)
        with pytest.raises(RecordsDamaged, match="not a database"):
            await open_records(settings)
        assert settings.records_file.read_bytes() == b"something else " * 500

    async def test_while_another_process_holds_the_lock_one_is_told_to_try_again(
        self, settings: Settings, records: Records, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await records.close()
        monkeypatch.setattr("qenex.adapters.database.opening.WAIT_S", 0.05)
        records = await open_records(settings)
        other = sqlite3.connect(settings.records_file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RecordsUnavailable, match="locked"):
            async with records.of(OURS).writing() as work:
                await work.add(PRINCIPALS, row())
        assert await names(records) == [], "reading goes on"
        other.execute("ROLLBACK")
        other.close()
        async with records.of(OURS).writing() as work:
            await work.add(PRINCIPALS, row())
        await records.close()

    async def test_on_a_full_disk_writing_is_refused_and_reading_goes_on(self, records: Records) -> None:
        async with records.connect(writing=True) as connection:
            pages = (await connection.execute(text("PRAGMA page_count"))).scalar()
            await connection.execute(text(f"PRAGMA max_page_count = {pages}"))
        with pytest.raises(RecordsUnavailable, match="full"):
            async with records.of(OURS).writing() as work:
                await work.add(PRINCIPALS, *(row() for _ in range(1_000)))
        assert await names(records) == []


class TestPostgresql:
    async def test_a_server_that_goes_and_comes_back_costs_no_restart(
        self, tmp_path: Path, own_postgresql: PostgresqlServer
    ) -> None:
        flags = {"home": tmp_path / "home", "records_url": own_postgresql.new_database()}
        settings = bootstrap.initialise(Settings.load(flags)).settings
        records = await open_records(settings)
        await records.feed.poll()
        assert await names(records) == []
        own_postgresql.stop()
        for _ in range(3):
            with pytest.raises(RecordsUnavailable):
                await names(records)
        with pytest.raises(RecordsUnavailable):
            async with records.of(OURS).writing() as work:
                await work.add(PRINCIPALS, row())
        with pytest.raises(RecordsUnavailable):
            await records.feed.poll()
        with pytest.raises(RecordsUnavailable):
            await open_records(settings)
        own_postgresql.start()
        assert await names(records) == []
        await records.close()

    async def test_what_cannot_be_opened_is_said_without_the_password(
        self, tmp_path: Path, postgresql: PostgresqlServer
    ) -> None:
        address = f"postgresql://qenex:hunter2@/absent?host={postgresql.folder}"
        settings = bootstrap.initialise(Settings.load({"home": tmp_path / "home", "records_url": address})).settings
        with pytest.raises(RecordsUnavailable, match='"absent" does not exist') as caught:
            await open_records(settings)
        assert "hunter2" not in str(caught.value)

    async def test_all_connections_in_use_is_no_reason_to_wait_for_ever(
        self, tmp_path: Path, postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("qenex.adapters.database.opening.WAIT_S", 0.05)
        monkeypatch.setattr("qenex.adapters.database.opening.CONNECTIONS", 1)
        flags = {"home": tmp_path / "home", "records_url": postgresql.new_database()}
        records = await open_records(bootstrap.initialise(Settings.load(flags)).settings)
        async with records.of(OURS).reading():
            with pytest.raises(RecordsUnavailable, match="All connections"):
                await names(records)
        assert await names(records) == []
        await records.close()
