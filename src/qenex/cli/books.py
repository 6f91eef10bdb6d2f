"""`qenex status`, `trial-balance`, `backup`, `clock confirm`: a running engine's book as a whole."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from qenex.assets import Assets
from qenex.cli.chart import AccountCode
from qenex.cli.engine_book import open_book
from qenex.cli.output import Home, Json, Output, example, table, time_text
from qenex.cli.trial_balance import Line, differences, trial_balance
from qenex.client.credentials import home_folder
from qenex.errors import CheckFailed, InvalidFile, UnknownAsset
from qenex.errors.engine import BY_NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

_ASSETS: Final = Assets()


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("status", epilog=example("qenex status --json"))(_status)
    app.command("trial-balance", epilog=example("qenex trial-balance"))(_trial_balance)
    app.command("backup", epilog=example("qenex backup /var/backups/bank-monday"))(_backup)
    clock = typer.Typer(help="The engine's clock.", no_args_is_help=True)
    app.add_typer(clock, name="clock")
    clock.command("confirm", epilog=example("qenex clock confirm"))(_confirm)


def balance_table(lines: Iterable[Line]) -> Table:
    """A trial balance for people, amounts in major units; columns for what is pending only where something is."""
    lines = list(lines)
    sums: tuple[str, ...] = ("debits_posted", "credits_posted")
    if any(line.debits_pending or line.credits_pending for line in lines):
        sums += ("debits_pending", "credits_pending")
    amounts = [name.replace("_", " ") for name in sums]
    return table(
        "Trial balance",
        ("asset", "kind", "accounts", *amounts),
        (
            (
                asset_code(line.ledger),
                kind_name(line.code),
                f"{line.accounts:,}",
                *(amount_text(getattr(line, name), line.ledger) for name in sums),
            )
            for line in lines
        ),
        right=("accounts", *amounts),
    )


def asset_code(ledger: int) -> str:
    """The asset's code; the number itself where no asset has it."""
    with suppress(UnknownAsset):
        return _ASSETS.find(ledger).code
    return str(ledger)


def amount_text(minor: int, ledger: int) -> str:
    """An amount in major units, without zeros after the second decimal; in minor units where the asset is unknown."""
    with suppress(UnknownAsset):
        return _ASSETS.find(ledger).to_short_text(minor)
    return f"{minor} minor"


def kind_name(code: int) -> str:
    """What kind of account a code stands for in our chart, else the number."""
    with suppress(ValueError):
        return f"{code} {AccountCode(code).name.lower()}"
    return str(code)


def _status(home: Home = None, *, as_json: Json = False) -> None:
    """Show how the engine is: what it holds, how far it is on disk, whether it takes writes."""
    with open_book(home, read_only=True) as book:
        status = book.status()
    writable = "yes" if status.is_writable else BY_NUMBER[status.writable].code
    document = status._asdict() | {
        "book": status.book_id,
        "incarnation": status.incarnation.hex(),
        "timestamp": time_text(status.timestamp),
        "writable": writable,
    }
    rows = [
        (name.replace("_", " "), f"{value:,}" if isinstance(value, int) else value) for name, value in document.items()
    ]
    Output(as_json=as_json).show(document, table("Engine", ("what", "value"), rows, right=("value",)))


def _trial_balance(home: Home = None, *, as_json: Json = False) -> None:
    """Add up all accounts, as they are at one moment. Debits must equal credits in every asset, else exit code 1."""
    with open_book(home, read_only=True) as book:
        lines = trial_balance(book.accounts_of_one_moment())
    wrong = {ledger: sums for ledger, sums in differences(lines).items() if any(sums)}
    Output(as_json=as_json).show(
        {
            "balanced": not wrong,
            "lines": [_line(line) for line in lines],
        },
        balance_table(lines),
        "does not balance" if wrong else "balanced: debits less credits are zero in every asset",
    )
    if wrong:
        named = "; ".join(
            f"{asset_code(ledger)}: {posted} posted, {pending} pending" for ledger, (posted, pending) in wrong.items()
        )
        raise CheckFailed(f"debits less credits in minor units are not zero: {named}")


def _line(line: Line) -> dict[str, object]:
    """A line as a document: amounts in major units, and in minor ones."""
    sums = {name: value for name, value in asdict(line).items() if name.startswith(("debits", "credits"))}
    return {
        "asset": asset_code(line.ledger),
        "ledger": line.ledger,
        "code": line.code,
        "accounts": line.accounts,
        **{name: amount_text(minor, line.ledger) for name, minor in sums.items()},
        **{f"{name}_minor": str(minor) for name, minor in sums.items()},
    }


def _backup(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder that is new or empty, on the engine's machine.")
    ],
    home: Home = None,
    *,
    as_json: Json = False,
) -> None:
    """Copy the book into a new folder while the engine works. `qenex restore` takes it from there."""
    target = folder.expanduser().absolute()
    if home_folder(home).resolve() / "books" in target.resolve().parents:
        raise InvalidFile(
            target, "lies among the books of the home, where only the book may be; name a folder elsewhere"
        )
    with open_book(home, read_only=True) as book:
        path = book.backup(str(target))
    Output(as_json=as_json).show({"folder": path}, f"the book is backed up in {path}")


def _confirm(home: Home = None, *, as_json: Json = False) -> None:
    """Say that the engine's wall clock is right, so that writes go on after it has jumped by over an hour.

    Look at it first: holds that expire by a wrong clock do not come back.
    """
    with open_book(home) as book:
        book.confirm_clock()
        status = book.status()
    Output(as_json=as_json).show({"writable": status.is_writable}, "the clock is confirmed; writes go on")
