"""`qenex journal verify` and `qenex restore`: what the journal says is computed again before it is believed."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from qenex import bootstrap
from qenex.cli.books import amount_text, asset_code
from qenex.cli.engine_book import open_book
from qenex.cli.output import Home, Json, Output, example, table
from qenex.errors import BackupUnusable, BookExists, BookMissing, CheckFailed, ConnectionFailed, InvalidHome
from qenex.kernel import _native, to_address
from qenex.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

ENDINGS: Final = {
    "clean": "with a clean shutdown",
    "open": "after a whole group: a backup, in use, or its writer killed",
    "torn": "with bytes that are no whole group, which the next start cuts off",
    "asked": "later: this is as far as the running engine had synced",
}
"""How a journal ends, for people."""


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    journal = typer.Typer(help="The journal of a book.", no_args_is_help=True)
    app.add_typer(journal, name="journal")
    journal.command("verify", epilog=example("qenex journal verify"))(_verify)
    app.command("restore", epilog=example("qenex restore /var/backups/bank-monday --home ~/restored"))(_restore)


def _verify(
    book: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Folder of a book or a backup.", show_default="the home's")
    ] = None,
    home: Home = None,
    *,
    scratch: Annotated[
        Path | None,
        typer.Option(help="Folder for temporary files, about 250 bytes a transfer.", show_default="the system's"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Walk the journal's chain and compute everything again: every balance, every result, every mark.

    Works beside a running engine, up to what it has synced. Changes nothing. Exit code 4 with file and byte where the
    journal is damaged or says another thing than its entries lead to, 1 where debits and credits differ or a balance is
    not what the account's transfers add up to.
    """
    out = Output(as_json=as_json)
    until = None
    if book is None:
        settings = Settings.load({"home": home})
        books = sorted(settings.books_folder.glob("*/")) if settings.books_folder.is_dir() else []
        if not books:
            raise BookMissing(settings.books_folder, "there is no book yet; `qenex start` makes one")
        if len(books) > 1:
            commands = "".join(f"\n  qenex journal verify {one}" for one in books)
            raise InvalidHome(f"{settings.books_folder}: here are {len(books)} books, say which one:{commands}")
        book = books[0]
        until = _synced_group(settings, home)
    elif not book.is_dir():
        raise BookMissing(book, "there is no such folder")
    began = time.monotonic()
    with _scratch(scratch) as folder, out.progress("Verifying", "bytes") as tell:
        found = _native.verify_journal(str(book.absolute()), folder, until, tell)
    _show(out, found, time.monotonic() - began)


def _restore(
    backup: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `qenex backup` made.")],
    home: Home = None,
    *,
    scratch: Annotated[
        Path | None,
        typer.Option(help="Folder for temporary files, about 250 bytes a transfer.", show_default="the system's"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a book of a backup in a home that has none, after verifying all of it as `qenex journal verify` does.

    The book begins a new life: nothing that was written to the old one after the backup can get into it. The home has
    a credential of its own.
    """
    out = Output(as_json=as_json)
    if not backup.is_dir():
        raise BackupUnusable(backup, "there is no such folder")
    settings = bootstrap.initialise(Settings.load({"home": home})).settings
    there = sorted(settings.books_folder.iterdir())
    if there:
        raise BookExists(there[0], "this home has a book already; name one that has none with --home")
    target = Path(tempfile.mkdtemp(prefix="restoring-", dir=settings.home))
    began = time.monotonic()
    try:
        with _scratch(scratch) as folder, out.progress("Verifying and copying", "bytes") as tell:
            found = _native.restore_backup(str(backup.absolute()), str(target), folder, tell)
        _check_balanced(found)
        target.rename(settings.books_folder / found["book"])
        _sync(settings.books_folder)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    _show(out, found | {"home": str(settings.home)}, time.monotonic() - began)


def _synced_group(settings: Settings, home: str | None) -> int | None:
    """The last group on disk of the engine that serves this home; None if none runs."""
    if not settings.engine_file.exists():
        return None
    try:
        with open_book(home, read_only=True) as book:
            return book.status().group
    except ConnectionFailed:
        return None


@contextmanager
def _scratch(folder: Path | None) -> Iterator[str]:
    """An empty folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="qenex-verify-", dir=folder) as made:
        yield made


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _show(out: Output, found: dict[str, Any], seconds: float) -> None:
    wrong = _wrong(found)
    rows = [
        (name.replace("_", " "), _shown(name, value))
        for name, value in found.items()
        if name != "ledgers" and value not in ("", [])
    ]
    document = found | {
        "misadded": [to_address(account) for account in found["misadded"]],
        "ledgers": [_ledger(row) for row in found["ledgers"]],
        "seconds": f"{seconds:.3f}",
        "ok": not wrong,
    }
    rate = f"{found['rows'] / max(seconds, 1e-9):,.0f} rows a second, " if "rows" in found else ""
    verdict = (
        f"the chain is whole, but {wrong}"
        if wrong
        else "the chain is whole, everything computed again agrees with it, every balance is what its transfers add up"
        " to, debits equal credits"
    )
    out.show(
        document, table("Journal", ("what", "found"), rows), _sums(found["ledgers"]), f"{rate}{seconds:.1f} s", verdict
    )
    _check_balanced(found)


def _check_balanced(found: dict[str, Any]) -> None:
    if wrong := _wrong(found):
        raise CheckFailed(wrong)


def _wrong(found: dict[str, Any]) -> str:
    """What does not add up; empty where all does."""
    unequal = [asset_code(row[0]) for row in found["ledgers"] if row[2] != row[3] or row[4] != row[5]]
    misadded = [to_address(account) for account in found["misadded"]]
    complaints = [f"debits and credits differ in {', '.join(unequal)}"] if unequal else []
    if misadded:
        complaints.append(
            f"{len(misadded):,} accounts have other balances than their transfers add up to, the first is {misadded[0]}"
        )
    return "; ".join(complaints)


def _shown(name: str, value: object) -> str:
    if name == "ending":
        return ENDINGS[str(value)]
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def _ledger(row: tuple[int, int, int, int, int, int]) -> dict[str, object]:
    ledger, accounts, *sums = row
    names = ("debits_posted_minor", "credits_posted_minor", "debits_pending_minor", "credits_pending_minor")
    return {"ledger": ledger, "accounts": accounts} | dict(zip(names, map(str, sums), strict=True))


def _sums(ledgers: list[tuple[int, int, int, int, int, int]]) -> Table:
    amounts = ("debits posted", "credits posted", "debits pending", "credits pending")
    rows = (
        (asset_code(ledger), f"{accounts:,}", *(amount_text(amount, ledger) for amount in sums))
        for ledger, accounts, *sums in ledgers
    )
    return table("All accounts", ("asset", "accounts", *amounts), rows, right=("accounts", *amounts))
