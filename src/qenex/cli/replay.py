"""`qenex replay`: posts files of card payments through the running engine and proves that all arrived."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from qenex.assets import Assets
from qenex.cli import dataset
from qenex.cli.books import amount_text, balance_table
from qenex.cli.engine_book import open_book
from qenex.cli.output import Home, Json, Output, example, table
from qenex.cli.posting import Report, post
from qenex.errors import CheckFailed, InvalidQuery

if TYPE_CHECKING:
    from rich.progress import Task
    from rich.table import Table

DECIMALS: Final = 2
"""Digits after the point of amounts in the files."""


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("replay", epilog=example("qenex replay june.parquet"))(_replay)


def _replay(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Parquet files, together one dataset.")],
    home: Home = None,
    *,
    asset: Annotated[str, typer.Option(help="What the amounts are in; an asset of two decimals.")] = "EUR",
    as_json: Json = False,
) -> None:
    """Post card payments: customers and terminals become accounts, payments become transfers.

    Run again it changes nothing; interrupted, it resumes. It ends by reading all back from the ledger: every payment
    against the file, every day's total against the one that polars computes from the file alone, and the trial balance.
    Exit code 1 where they differ.
    """
    found = Assets().find(asset)
    if found.scale != DECIMALS:
        raise InvalidQuery(f"amounts of the files have {DECIMALS} decimals, {asset} has {found.scale}")
    out = Output(as_json=as_json)
    data = dataset.read(files, found.number)
    try:
        with open_book(home) as book, _progress(out) as bar:
            task = bar.add_task("Payments", total=len(data.transfers))
            report = post(
                book,
                data,
                progress=lambda so_far: bar.update(task, completed=so_far),
                comparing=lambda: bar.update(task, description="Comparing"),
            )
            bar.update(task, description="Payments")
    except KeyboardInterrupt:
        sys.stderr.write("qenex: interrupted; the same command goes on from here\n")
        raise
    complaints = report.complaints
    out.show(_document(report), *_text(report, found.number))
    if complaints:
        raise CheckFailed("the ledger does not hold what the file says: " + "; ".join(complaints))


def _progress(out: Output) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    return Progress(*columns, console=out.progress_console, transient=False)


class _Rate(ProgressColumn):
    """Payments a second."""

    def render(self, task: Task) -> Text:
        """The rate lately; when all is done, of the whole run."""
        return Text(f"{task.finished_speed or task.speed or 0:,.0f}/s")


def days_table(report: Report, ledger: int) -> Table:
    """Each day's payments and amount, of the file and of the ledger, side by side."""
    numbers = ("payments in file", "in ledger", "amount in file", "amount in ledger")
    rows = (
        (
            day,
            f"{payments:,}",
            f"{payments_ledger:,}",
            amount_text(amount, ledger),
            amount_text(amount_ledger, ledger),
            "same" if (payments, amount) == (payments_ledger, amount_ledger) else "DIFFERENT",
        )
        for day, payments, amount, payments_ledger, amount_ledger in report.days.rows()
    )
    return table("Days", ("day", *numbers, "verdict"), rows, right=numbers)


def _text(report: Report, ledger: int) -> tuple[object, ...]:
    well = (
        f"all {report.payments:,} payments are in the ledger as the file says, all {report.days.height:,} days agree,"
        " the trial balance sums to zero"
    )
    verdict = report.complaints or [well]
    return (
        days_table(report, ledger),
        balance_table(report.balance),
        f"posted now: {report.posted:,}, there before: {report.found:,}",
        *(f"verdict: {line}" for line in verdict),
    )


def _document(report: Report) -> dict[str, object]:
    return {
        "payments": report.payments,
        "posted": report.posted,
        "found": report.found,
        "refusals": report.refusals,
        "unlike": report.unlike,
        "differing_days": report.differing_days,
        "days": [
            {
                "day": day.isoformat(),
                "payments": payments,
                "payments_ledger": payments_ledger,
                "amount_minor": str(amount),
                "amount_minor_ledger": str(amount_ledger),
            }
            for day, payments, amount, payments_ledger, amount_ledger in report.days.rows()
        ],
        "ok": not report.complaints,
    }
