"""Posting a dataset: once, whatever happens in between; and every way in which a ledger can be wrong is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from qenex.cli import dataset
from qenex.cli.generator import Population, payments
from qenex.cli.posting import Report, post
from qenex.cli.reading import pages
from qenex.cli.trial_balance import Line, differences, trial_balance
from qenex.errors import ConnectionLost
from qenex.kernel import ACCOUNT, EVENT_RESULT, TRANSFER, from_ints, to_int

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Rows = NDArray[np.void]

BATCH_MAX = 100
"""Rows of a request here, so that a small dataset takes several."""
CREATED, EXISTS, NOT_FOUND = 0xFFFF_FFFF, 46, 21
ACCOUNT_EXISTS = 21


class PlainBook:
    """A ledger of simple transfers in plain Python, that can be cut off after so many requests."""

    def __init__(self) -> None:
        self.clock = 0
        self.accounts: dict[int, Rows] = {}
        self.transfers: dict[int, Rows] = {}
        self.writes: list[int] = []
        self.cut_after: int | None = None

    def _write(self, rows: Rows, one: Callable[[Rows], int]) -> Rows:
        results = np.zeros(len(rows), dtype=EVENT_RESULT)
        for at in range(len(rows)):
            if self.cut_after is not None and not at % BATCH_MAX:
                if not self.cut_after:
                    raise ConnectionLost("the power went")
                self.cut_after -= 1
            self.clock += 1
            results[at]["status"] = one(rows[at : at + 1].copy())
        self.writes.append(len(rows))
        return results

    def create_accounts(self, rows: Rows) -> Rows:
        return self._write(rows, self._account)

    def create_transfers(self, rows: Rows, *, progress: Callable[[int], None] | None = None) -> Rows:
        results = self._write(rows, self._transfer)
        if progress is not None:
            progress(len(rows))
        return results

    def _account(self, row: Rows) -> int:
        if to_int(row["id"][0]) in self.accounts:
            return ACCOUNT_EXISTS
        row["timestamp"] = self.clock
        self.accounts[to_int(row["id"][0])] = row
        return CREATED

    def _transfer(self, row: Rows) -> int:
        number = to_int(row["id"][0])
        if number in self.transfers:
            return EXISTS
        debit = self.accounts.get(to_int(row["debit_account_id"][0]))
        credit = self.accounts.get(to_int(row["credit_account_id"][0]))
        if debit is None or credit is None:
            return NOT_FOUND
        debit["debits_posted"]["lo"] += row["amount"]["lo"]
        credit["credits_posted"]["lo"] += row["amount"]["lo"]
        row["timestamp"] = self.clock
        self.transfers[number] = row
        return CREATED

    def query_accounts(self, filters: Rows) -> Rows:
        return self._query(self.accounts, ACCOUNT, filters)

    def accounts_of_one_moment(self, *, ledger: int = 0) -> Iterator[Rows]:
        return pages(self.query_accounts, ledger=ledger)

    def query_transfers(self, filters: Rows) -> Rows:
        return self._query(self.transfers, TRANSFER, filters)

    def _query(self, rows: dict[int, Rows], dtype: np.dtype[np.void], filters: Rows) -> Rows:
        every = np.frombuffer(b"".join(row.tobytes() for row in rows.values()), dtype=dtype)
        wanted = filters[0]
        keep = every["timestamp"] >= wanted["timestamp_min"]
        if to_int(wanted["user_data_128"]):
            keep &= every["user_data_128"] == wanted["user_data_128"]
        if wanted["ledger"]:
            keep &= every["ledger"] == wanted["ledger"]
        every = every[keep]
        return every[np.argsort(every["timestamp"])][: int(wanted["limit"])]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dataset.Dataset:
    path = tmp_path_factory.mktemp("data") / "payments.parquet"
    pl.concat(payments(Population(customers=60, terminals=90, days=9, seed=11))).write_parquet(path)
    return dataset.read([path], 978)


@pytest.fixture(autouse=True)
def _small_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qenex.cli.reading.BATCH_MAX", BATCH_MAX)


@pytest.fixture
def book() -> PlainBook:
    return PlainBook()


def run(book: PlainBook, data: dataset.Dataset) -> tuple[Report, int]:
    steps: list[int] = []
    return post(book, data, progress=steps.append), steps[-1]


def test_all_payments_are_posted_and_agree_with_the_file(book: PlainBook, data: dataset.Dataset) -> None:
    report, progress = run(book, data)
    assert len(data.transfers) > BATCH_MAX
    assert (report.payments, report.posted, report.found) == (len(data.transfers), len(data.transfers), 0)
    assert progress == len(data.transfers)
    assert report.complaints == []
    assert report.days["amount_minor_ledger"].sum() == int(data.transfers["amount"]["lo"].sum())


def test_running_again_sends_no_transfer(book: PlainBook, data: dataset.Dataset) -> None:
    run(book, data)
    before = {number: row.tobytes() for number, row in (book.transfers | book.accounts).items()}
    book.writes.clear()
    report, progress = run(book, data)
    assert sum(book.writes) == len(data.accounts)
    assert (report.posted, report.found, progress) == (0, len(data.transfers), len(data.transfers))
    assert report.complaints == []
    assert before == {number: row.tobytes() for number, row in (book.transfers | book.accounts).items()}


@pytest.mark.parametrize("requests", [0, 1, 2, 5])
def test_an_interrupted_run_is_resumed(book: PlainBook, data: dataset.Dataset, requests: int) -> None:
    book.cut_after = requests
    with pytest.raises(ConnectionLost):
        run(book, data)
    there = len(book.transfers)
    book.cut_after = None
    report, _ = run(book, data)
    assert (report.found, report.posted) == (there, len(data.transfers) - there)
    assert report.complaints == []


def test_holes_are_filled(book: PlainBook, data: dataset.Dataset) -> None:
    run(book, data)
    for number in list(book.transfers)[::3]:
        row = book.transfers.pop(number)
        for side, total in (("debit_account_id", "debits_posted"), ("credit_account_id", "credits_posted")):
            book.accounts[to_int(row[side][0])][total]["lo"] -= row["amount"]["lo"]
    report, _ = run(book, data)
    assert 0 < report.posted < report.found
    assert report.complaints == []


@pytest.mark.parametrize("field", ["user_data_64", "code", "ledger", "timeout"])
def test_a_payment_recorded_otherwise_is_seen(book: PlainBook, data: dataset.Dataset, field: str) -> None:
    run(book, data)
    next(iter(book.transfers.values()))[field] += 1
    report, _ = run(book, data)
    assert report.unlike == 1
    assert "1 payments are recorded otherwise than the file says" in report.complaints


def test_another_amount_is_seen_in_the_row_and_in_its_day(book: PlainBook, data: dataset.Dataset) -> None:
    run(book, data)
    next(iter(book.transfers.values()))["amount"]["lo"] += np.uint64(1)
    report, _ = run(book, data)
    assert (report.unlike, report.differing_days) == (1, 1)
    assert report.complaints[-1] == "1 of 9 days differ between file and ledger"


def test_a_payment_that_is_not_in_the_file_is_seen(book: PlainBook, data: dataset.Dataset) -> None:
    run(book, data)
    row = next(iter(book.transfers.values())).copy()
    row["id"]["lo"], row["timestamp"] = np.uint64(10**9), book.clock + 1
    book.transfers[to_int(row["id"][0])] = row
    report, _ = run(book, data)
    assert (report.unlike, report.differing_days) == (1, 1)


def test_refused_payments_are_counted_by_result(
    book: PlainBook, data: dataset.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = int(data.accounts["id"]["hi"][0])
    accept = book._account
    monkeypatch.setattr(book, "_account", lambda row: 7 if int(row["id"]["hi"][0]) == first else accept(row))
    report, _ = run(book, data)
    assert report.refusals["id_must_not_be_int_max"] == 1
    assert report.refusals["debit_account_not_found"] == len(data.transfers) - report.posted > 0
    assert report.differing_days > 0


def test_a_ledger_that_does_not_balance_is_seen(book: PlainBook, data: dataset.Dataset) -> None:
    run(book, data)
    next(iter(book.accounts.values()))["debits_posted"]["lo"] += np.uint64(5)
    report, _ = run(book, data)
    assert report.complaints == ["ledger 978 does not balance: 5 posted, 0 pending minor units"]


@pytest.mark.parametrize("count", [0, 1, BATCH_MAX, BATCH_MAX + 1])
def test_pages_give_every_row_once(count: int) -> None:
    rows = np.zeros(count, dtype=TRANSFER)
    rows["timestamp"] = np.arange(count) * 3 + 1

    def query(filters: Rows) -> Rows:
        later = rows[rows["timestamp"] >= filters["timestamp_min"][0]]
        return later[: int(filters["limit"][0])]

    seen = [timestamp for page in pages(query) for timestamp in page["timestamp"].tolist()]
    assert seen == rows["timestamp"].tolist()


def test_sums_of_the_trial_balance_are_exact_beyond_64_bits() -> None:
    rows = np.zeros(3, dtype=ACCOUNT)
    rows["ledger"], rows["code"] = [1000, 1000, 978], [10, 10, 10]
    rows["debits_posted"] = from_ints([2**127, 2**127 + 1, 4])
    rows["credits_pending"] = from_ints([0, 3, 0])
    lines = trial_balance([rows[:2], rows[2:]])
    assert lines == [Line(978, 10, 1, 0, 4, 0, 0), Line(1000, 10, 2, 0, 2**128 + 1, 3, 0)]
    assert differences(lines) == {978: (4, 0), 1000: (2**128 + 1, -3)}
