"""The kernel and the reference side by side: everything is done to both, and their answers must be the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qenex.kernel import (
    ACCOUNT,
    ACCOUNT_BALANCE,
    ACCOUNT_FILTER,
    ACCOUNT_TERMS,
    BALANCE_AT,
    CHANGE_EVENT,
    CHANGE_EVENTS_FILTER,
    CHANGED_ACCOUNT,
    ID,
    OUTCOME,
    QUERY_FILTER,
    TRANSFER,
    U128,
    Ledger,
    from_ints,
    transfer_hashes,
)
from tests.reference import ledger as reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from tests.reference.records import Account, AccountFilter, ChangeEventsFilter, QueryFilter, Result, Terms, Transfer


def array_of(dtype: np.dtype[np.void], values: Iterable[object]) -> NDArray[np.void]:
    """Rows from values that have the row's field names; a number for reserved bytes lands in the last of them."""
    values = list(values)
    made = np.zeros(len(values), dtype=dtype)
    for name in dtype.names or ():
        column = [getattr(value, name, 0) for value in values]
        if dtype[name] == U128:
            made[name] = from_ints(column)
        elif dtype[name].subdtype:
            made[name][:, -1] = column
        else:
            made[name] = column
    return made


class Both:
    """A kernel's ledger and a reference ledger that are told the same."""

    def __init__(self, accounts: Sequence[Account] = ()) -> None:
        self.kernel = Ledger(array_of(ACCOUNT, accounts))
        self.reference = reference.Ledger(accounts)
        self.now = self.kernel.timestamp_ns

    # -- told ----------------------------------------------------------------------------------------------

    def create_accounts(self, *rows: Account, after: int = 0) -> list[Result]:
        """One request, `after` nanoseconds later than it must be; returns what both say of its rows."""
        return self._told(self.kernel.create_accounts, self.reference.create_accounts, ACCOUNT, rows, after)

    def create_transfers(self, *rows: Transfer, after: int = 0) -> list[Result]:
        return self._told(self.kernel.create_transfers, self.reference.create_transfers, TRANSFER, rows, after)

    def set_account_terms(self, *rows: Terms, after: int = 0) -> list[Result]:
        return self._told(self.kernel.set_account_terms, self.reference.set_account_terms, ACCOUNT_TERMS, rows, after)

    def expire(self, timestamp: int) -> int:
        count = self.kernel.expire(timestamp)
        assert count == self.reference.expire(timestamp)
        self.now = max(self.now, timestamp if count else 0)
        return count

    def _told(
        self,
        kernel: Callable[..., Any],
        model: Callable[[Sequence[Any], int], list[Result]],
        dtype: np.dtype[np.void],
        rows: Sequence[object],
        after: int,
    ) -> list[Result]:
        self.now += len(rows) + after
        answers = kernel(array_of(dtype, rows), timestamp_ns=self.now)
        expected = model(rows, self.now)
        given = list(zip(answers["timestamp"].tolist(), answers["status"].tolist(), strict=True))
        assert given == [(result.timestamp, result.status.value) for result in expected], expected
        assert not answers["reserved"].any()
        return expected

    # -- asked ---------------------------------------------------------------------------------------------

    def lookup(self, ids: Sequence[int]) -> None:
        """Everything that is known by id."""
        keys = from_ints(ids)
        self._same(self.kernel.lookup_accounts(keys), array_of(ACCOUNT, self.reference.lookup_accounts(ids)))
        transfers = array_of(TRANSFER, self.reference.lookup_transfers(ids))
        self._same(self.kernel.lookup_transfers(keys), transfers)
        self._same(self.kernel.lookup_outcomes(keys), array_of(OUTCOME, self.reference.lookup_outcomes(ids)))
        terms = array_of(ACCOUNT_TERMS, self.reference.lookup_account_terms(ids))
        self._same(self.kernel.lookup_account_terms(keys.view(ID)), terms)
        hashes = transfer_hashes(transfers)
        assert [transfer.id for transfer in self.kernel.lookup_hashes([*hashes, bytes(32)])] == [
            transfer.id for transfer in self.reference.lookup_transfers(ids)
        ]

    def by_account(self, filter_: AccountFilter) -> int:
        """Transfers and balances of an account; returns how many transfers there were."""
        row = array_of(ACCOUNT_FILTER, [filter_])
        transfers = self.reference.get_account_transfers(filter_)
        self._same(self.kernel.get_account_transfers(row), array_of(TRANSFER, transfers))
        balances = self.reference.get_account_balances(filter_)
        self._same(self.kernel.get_account_balances(row), _balances(balances))
        return len(transfers)

    def query(self, filter_: QueryFilter) -> int:
        """Accounts and transfers by their fields; returns how many there were."""
        row = array_of(QUERY_FILTER, [filter_])
        accounts, transfers = self.reference.query_accounts(filter_), self.reference.query_transfers(filter_)
        self._same(self.kernel.query_accounts(row), array_of(ACCOUNT, accounts))
        self._same(self.kernel.query_transfers(row), array_of(TRANSFER, transfers))
        return len(accounts) + len(transfers)

    def change_events(self, filter_: ChangeEventsFilter) -> int:
        events = self.reference.get_change_events(filter_)
        made = np.zeros(len(events), dtype=CHANGE_EVENT)
        for row, event in zip(made, events, strict=True):
            for name in TRANSFER.names or ():
                if f"transfer_{name}" in (CHANGE_EVENT.names or ()):
                    row[f"transfer_{name}"] = array_of(TRANSFER, [event.transfer])[name][0]
            if event.kind.name == "TWO_PHASE_EXPIRED":
                row["transfer_pending_id"] = from_ints([0])[0]
            row["ledger"], row["kind"], row["timestamp"] = event.transfer.ledger, event.kind, event.timestamp
            for side, account in (("debit_account", event.debit_account), ("credit_account", event.credit_account)):
                row[side] = array_of(CHANGED_ACCOUNT, [account])[0]
                row[f"{side}_timestamp"] = account.timestamp
        self._same(self.kernel.get_change_events(array_of(CHANGE_EVENTS_FILTER, [filter_])), made)
        return len(events)

    def balance_at(self, account_id: int, timestamp: int) -> None:
        row = np.zeros(1, dtype=BALANCE_AT)
        row["account_id"], row["timestamp"] = from_ints([account_id]), timestamp
        expected = self.reference.balance_at(account_id, timestamp)
        self._same(self.kernel.balance_at(row), _balances([expected]))

    @staticmethod
    def _same(kernel: NDArray[np.void], expected: NDArray[np.void]) -> None:
        assert kernel.dtype == expected.dtype
        for i, (given, wanted) in enumerate(zip(kernel, expected, strict=True)):
            assert given.tobytes() == wanted.tobytes(), f"row {i}: kernel {given}, reference {wanted}"


def _balances(rows: Sequence[tuple[int, Account]]) -> NDArray[np.void]:
    made = array_of(ACCOUNT_BALANCE, [account for _, account in rows])
    made["reserved"] = 0
    made["timestamp"] = [timestamp for timestamp, _ in rows]
    return made
