"""Reading what is longer than one reply: page after page, in order of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from qenex.kernel import BATCH_MAX, QUERY_FILTER, TIMESTAMP_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Rows = NDArray[np.void]


class Book(Protocol):
    """What the commands need of a ledger: `QenexClient` has it."""

    def create_accounts(self, rows: Rows) -> Rows:
        """`ACCOUNT` rows in, `EVENT_RESULT` rows out, one each."""

    def create_transfers(self, rows: Rows, *, progress: Callable[[int], None] | None = None) -> Rows:
        """`TRANSFER` rows in, `EVENT_RESULT` rows out, one each; `progress` gets the number answered so far."""

    def query_accounts(self, filters: Rows) -> Rows:
        """One `QUERY_FILTER` in, `ACCOUNT` rows out."""

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
