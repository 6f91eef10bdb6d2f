"""All accounts as at one moment, though they are read page by page while money moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qenex.cli.reading import accounts_of_one_moment
from qenex.cli.trial_balance import differences, trial_balance
from qenex.client import Operation, Position, Reply
from qenex.kernel import ACCOUNT, ID, TRANSFER, Ledger, TransferFlags, to_ints

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.void]

ACCOUNTS = 10
PAGE = 3

payments = st.lists(
    st.tuples(st.integers(1, ACCOUNTS), st.integers(1, ACCOUNTS // 2 - 1), st.integers(0, 2**127), st.booleans()),
    max_size=4,
)


class MovingLedger:
    """A ledger in which somebody else pays after every answer."""

    def __init__(self, between: list[list[tuple[int, int, int, bool]]]) -> None:
        self.ledger, self.between = Ledger(), between
        self.entry = self.paid = 0
        rows = np.zeros(ACCOUNTS, ACCOUNT)
        rows["id"]["lo"], rows["ledger"], rows["code"] = np.arange(1, ACCOUNTS + 1), [978, 840] * (ACCOUNTS // 2), 1
        self.ledger.create_accounts(rows, timestamp_ns=1_000)

    def pay(self, payments: list[tuple[int, int, int, bool]]) -> None:
        for debtor, distance, amount, pending in payments:
            self.entry += 1
            self.paid += 1
            row = np.zeros(1, TRANSFER)
            creditor = (debtor - 1 + 2 * distance) % ACCOUNTS + 1  # of the same asset
            row["id"]["lo"], row["debit_account_id"]["lo"], row["credit_account_id"]["lo"] = self.paid, debtor, creditor
            row["amount"]["lo"], row["amount"]["hi"] = amount & (2**64 - 1), amount >> 64
            row["ledger"], row["code"] = (978, 840)[(debtor - 1) % 2], 1
            row["flags"] = TransferFlags.PENDING if pending else TransferFlags.NONE
            self.ledger.create_transfers(row, timestamp_ns=self.ledger.timestamp_ns + 1)

    def call(self, operation: Operation, rows: Rows) -> Reply:
        answer = getattr(self.ledger, operation.name.lower())(rows)
        position, now = Position(1, 1, self.entry), self.ledger.timestamp_ns
        if self.between:
            self.pay(self.between.pop())
        return Reply(operation, bytearray(answer.tobytes()), position, now, 0, 0, 0, replayed=False)


@given(before=payments, between=st.lists(payments, max_size=10))
def test_what_is_added_up_is_one_moment_whatever_is_paid_meanwhile(
    before: list[tuple[int, int, int, bool]], between: list[list[tuple[int, int, int, bool]]]
) -> None:
    moving = MovingLedger(between)
    moving.pay(before)
    at_first = {int(row["id"]["lo"]): row.tobytes() for row in moving.ledger.lookup_accounts(_ids())}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qenex.cli.reading.BATCH_MAX", PAGE)
        read = list(accounts_of_one_moment(moving.call))
    assert {int(row["id"]["lo"]): row.tobytes() for page in read for row in page} == at_first
    assert differences(trial_balance(read)) == {978: (0, 0), 840: (0, 0)}


def test_one_asset_alone_can_be_read() -> None:
    (page,) = accounts_of_one_moment(MovingLedger([]).call, ledger=840)
    assert to_ints(page["id"]) == [2, 4, 6, 8, 10]


def test_payments_of_this_test_are_made() -> None:
    """Else nothing would have been paid between two pages."""
    moving = MovingLedger([])
    moving.pay([(1, 1, 5, False), (2, 4, 7, True), (9, 3, 2**127, False)])
    assert len(moving.ledger.lookup_transfers(_ids())) == 3


def _ids() -> Rows:
    ids = np.zeros(ACCOUNTS, ID)
    ids["id"]["lo"] = np.arange(1, ACCOUNTS + 1)
    return ids
