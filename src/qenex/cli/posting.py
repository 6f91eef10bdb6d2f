"""Posting a dataset: what is missing goes to the ledger, then all of it is read back and compared with the file.

Running it again posts nothing; running it after an interruption posts the rest. Both follow from reading first: the
ledger itself says which payments it has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from qenex.cli import dataset
from qenex.cli.reading import Book, pages
from qenex.cli.trial_balance import Line, differences, trial_balance
from qenex.kernel import TRANSFER, CreateAccountStatus, CreateTransferStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Rows = NDArray[np.void]
    Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Report:
    """What is in the ledger now, beside what the file says."""

    payments: int
    posted: int
    """Payments posted by this run."""
    found: int
    """Payments that were there before."""
    refusals: dict[str, int] = field(repr=False)
    """Refused rows of this run by result."""
    unlike: int
    """Payments that are recorded otherwise than the file says."""
    days: pl.DataFrame = field(repr=False)
    """`day`, `payments`, `amount_minor` of the file; `payments_ledger`, `amount_minor_ledger` as read back."""
    balance: tuple[Line, ...] = field(repr=False)
    """Trial balance of the whole asset."""

    @property
    def differing_days(self) -> int:
        """Days on which file and ledger do not agree."""
        same = (pl.col("payments") == pl.col("payments_ledger")) & (
            pl.col("amount_minor") == pl.col("amount_minor_ledger")
        )
        return self.days.filter(~same).height

    @property
    def complaints(self) -> list[str]:
        """What is wrong, one line each; none when all is well."""
        result = [f"{count:,} rows were refused: {name}" for name, count in sorted(self.refusals.items())]
        if self.unlike:
            result.append(f"{self.unlike:,} payments are recorded otherwise than the file says")
        if self.differing_days:
            result.append(f"{self.differing_days:,} of {self.days.height:,} days differ between file and ledger")
        for ledger, (posted, pending) in differences(self.balance).items():
            if posted or pending:
                result.append(f"ledger {ledger} does not balance: {posted} posted, {pending} pending minor units")
        return result


def post(
    book: Book, data: dataset.Dataset, *, progress: Progress, comparing: Callable[[], None] = lambda: None
) -> Report:
    """Posts what is missing of a dataset and compares all of it.

    Args:
        book: the ledger.
        data: accounts and transfers.
        progress: called with how many payments have been found in the ledger or answered by it so far.
        comparing: called when all have been, before they are read back, which takes as long again.

    Raises:
        QenexError: the ledger could not be reached, or refused whole requests. Running it again resumes.
    """
    refusals: dict[str, int] = {}
    _count(refusals, book.create_accounts(data.accounts)["status"], CreateAccountStatus)
    before = _recorded(book, data.identity, progress=progress)
    missing = data.transfers[~np.isin(data.transfers["id"]["lo"], before["id"]["lo"])]
    if len(missing):
        answered = book.create_transfers(missing, progress=lambda so_far: progress(len(before) + so_far))
        _count(refusals, answered["status"], CreateTransferStatus)
    comparing()
    last = int(before["timestamp"].max(initial=0))
    new = _recorded(book, data.identity, after=last)
    recorded = np.concatenate([before, new])
    ledger = int(data.accounts["ledger"][0])
    return Report(
        payments=len(data.transfers),
        posted=len(new),
        found=len(before),
        refusals=refusals,
        unlike=_unlike(data.transfers, recorded),
        days=_side_by_side(data.days, dataset.days_of(recorded)),
        balance=tuple(trial_balance(book.accounts_of_one_moment(ledger=ledger))),
    )


def _recorded(book: Book, identity: int, *, after: int = 0, progress: Progress | None = None) -> Rows:
    """All transfers of the dataset that the ledger has recorded after a time, in order of time."""
    found, count = [np.zeros(0, dtype=TRANSFER)], 0
    for rows in pages(book.query_transfers, after=after, user_data_128=identity):
        found.append(rows)
        count += len(rows)
        if progress is not None:
            progress(count)
    return np.concatenate(found)


def _count(
    refusals: dict[str, int],
    statuses: NDArray[np.uint32],
    names: type[CreateAccountStatus] | type[CreateTransferStatus],
) -> None:
    """Counts what is neither created nor there already. Another run may be posting the same: that is no refusal."""
    for number, count in zip(*np.unique(statuses, return_counts=True), strict=True):
        name = names(int(number)).name.lower()
        if name not in ("created", "exists"):
            refusals[name] = refusals.get(name, 0) + int(count)


def _unlike(wanted: Rows, recorded: Rows) -> int:
    """How many recorded rows are not, but for the timestamp, rows of the file."""
    by_id = np.argsort(wanted["id"]["lo"])
    at = np.searchsorted(wanted["id"]["lo"][by_id], recorded["id"]["lo"])
    known = at < len(wanted)
    twin = wanted[by_id[np.where(known, at, 0)]]
    twin["timestamp"] = recorded["timestamp"]
    return int((~known | (_words(twin) != _words(recorded)).any(axis=1)).sum())


def _words(rows: Rows) -> NDArray[np.uint64]:
    """The same bytes as 16 numbers a row: numpy compares those several times as fast as fields within fields."""
    return rows.view("<u8").reshape(len(rows), -1)


def _side_by_side(file: pl.DataFrame, ledger: pl.DataFrame) -> pl.DataFrame:
    joined = file.join(ledger, on="day", how="full", coalesce=True, suffix="_ledger", maintain_order="left")
    return joined.sort("day").with_columns(pl.exclude("day").fill_null(0))
