"""Reading what is longer than one reply: page after page, in order of time, or all as it was at one moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from qenex.client import Operation
from qenex.kernel import BALANCE_AT, BATCH_MAX, QUERY_FILTER, TIMESTAMP_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from qenex.client.session import Reply

    Rows = NDArray[np.void]


class Book(Protocol):
    """What the commands need of a ledger: `QenexClient` has it."""

    def create_accounts(self, rows: Rows) -> Rows:
        """`ACCOUNT` rows in, `EVENT_RESULT` rows out, one each."""

    def create_transfers(self, rows: Rows, *, progress: Callable[[int], None] | None = None) -> Rows:
        """`TRANSFER` rows in, `EVENT_RESULT` rows out, one each; `progress` gets the number answered so far."""

    def query_accounts(self, filters: Rows) -> Rows:
        """One `QUERY_FILTER` in, `ACCOUNT` rows out."""

    def accounts_of_one_moment(self, *, ledger: int = 0) -> Iterator[Rows]:
        """All accounts (of an asset) in pages, with the balances that they had at one moment."""

    def query_transfers(self, filters: Rows) -> Rows:
        """One `QUERY_FILTER` in, `TRANSFER` rows out."""


def pages(query: Callable[[Rows], Rows], *, after: int = 0, user_data_128: int = 0, ledger: int = 0) -> Iterator[Rows]:
    """All rows that a query finds, a page at a time, in order of their timestamps, which are unique.

    Args:
        query: `Book.query_accounts` or `Book.query_transfers`.
        after: only rows with later timestamps, UTC nanoseconds.
        user_data_128: only rows with this value; 0 is any.
        ledger: only rows of this asset; 0 is any.
    """
    filters = np.zeros(1, dtype=QUERY_FILTER)
    filters["user_data_128"]["lo"], filters["user_data_128"]["hi"] = user_data_128 & (2**64 - 1), user_data_128 >> 64
    filters["ledger"], filters["limit"] = ledger, BATCH_MAX
    while after < TIMESTAMP_MAX:
        filters["timestamp_min"] = after + 1
        rows = query(filters)
        if len(rows):
            yield rows
            after = int(rows["timestamp"][-1])
        if len(rows) < BATCH_MAX:
            return


_BALANCES: Final = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")


def accounts_of_one_moment(call: Callable[[Operation, Rows], Reply], *, ledger: int = 0) -> Iterator[Rows]:
    """All accounts in pages, with the balances that they had when the first page was read.

    Pages come while money moves. Added up as they stand they would hold a payment's one side and not the other, so a
    page that was read after something had changed gets the balances of the moment instead.

    Args:
        call: `QenexClient.call`.
        ledger: only accounts of this asset; 0 is any.
    """
    filters = np.zeros(1, dtype=QUERY_FILTER)
    filters["ledger"], filters["limit"] = ledger, BATCH_MAX
    first: Reply | None = None
    after = 0
    while first is None or after < first.timestamp:
        filters["timestamp_min"] = after + 1
        reply = call(Operation.QUERY_ACCOUNTS, filters)
        if first is None:
            first = reply
            filters["timestamp_max"] = first.timestamp
        rows = reply.rows
        if len(rows):
            yield rows if reply.position == first.position else _as_at(call, rows, first.timestamp)
            after = int(rows["timestamp"][-1])
        if len(rows) < BATCH_MAX:
            return


def _as_at(call: Callable[[Operation, Rows], Reply], accounts: Rows, timestamp_ns: int) -> Rows:
    """The same accounts with the balances that they had at a time."""
    questions = np.zeros(len(accounts), dtype=BALANCE_AT)
    questions["account_id"], questions["timestamp"] = accounts["id"], timestamp_ns
    balances = call(Operation.BALANCE_AT, questions).rows
    rows = accounts.copy()
    for name in _BALANCES:
        rows[name] = balances[name]
    return rows
