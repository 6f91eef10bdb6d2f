"""The ledger in memory: the kernel itself, without files, sockets or a clock.

Every method takes either arrays or objects and answers in kind: rows of `qenex.kernel.rows` give rows, objects
of `qenex.kernel.objects` (ids: integers) give objects. Arrays are copied exactly once, before the GIL is released.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from qenex.errors import InvalidRows
from qenex.kernel import _native, objects
from qenex.kernel import rows as layout
from qenex.kernel.objects import (
    Account,
    AccountBalance,
    AccountFilter,
    AccountTerms,
    BalanceAt,
    ChangeEvent,
    ChangeEventsFilter,
    Outcome,
    QueryFilter,
    Record,
    Result,
    Transfer,
)
from qenex.kernel.rows import row_bytes
from qenex.kernel.status import CreateAccountStatus, CreateTransferStatus, SetAccountTermsStatus, Status
from qenex.kernel.u128 import from_ints

if TYPE_CHECKING:
    from collections.abc import Sequence

Rows = NDArray[np.void]
T = TypeVar("T", bound=Record)


class Ledger:
    """A ledger in memory, for tests, simulation and migration: every rule of the kernel, nothing durable.

    Args:
        accounts: accounts to start from, balances, flags and timestamps as given; unique ids and timestamps.

    Raises:
        InvalidRows: an account that none can be; the text names the row.

    Calls from several threads take turns. Timestamps are UTC nanoseconds: event i of n (from 0) happens at
    `timestamp_ns` - n + 1 + i, and each event is later than the one before it.

    Source: crates/kernel/src/machine, spec/kernel.md.
    """

    def __init__(self, accounts: Rows | Sequence[Account] = ()) -> None:
        self._native = _native.Ledger(_bytes(accounts, layout.ACCOUNT))

    @property
    def timestamp_ns(self) -> int:
        """Timestamp of the last request or expiry, 0 if there was none."""
        return self._native.timestamp_ns

    @property
    def next_expiry_ns(self) -> int | None:
        """When the next open pending transfer expires; None if none does."""
        return self._native.next_expiry_ns

    def expire(self, timestamp_ns: int) -> int:
        """Release every pending transfer that expires at or before `timestamp_ns`; returns how many.

        Of n expiries the i-th (from 0, by expiry, then creation) happens at `timestamp_ns` - n + 1 + i.

        Raises:
            InvalidTimestamp: not late enough for what is due; nothing has changed.
        """
        return self._native.expire(timestamp_ns)

    @overload
    def create_accounts(self, accounts: Rows, *, timestamp_ns: int) -> Rows: ...
    @overload
    def create_accounts(self, accounts: Sequence[Account], *, timestamp_ns: int) -> list[Result]: ...
    def create_accounts(self, accounts: Rows | Sequence[Account], *, timestamp_ns: int) -> Rows | list[Result]:
        """Open accounts.

        Args:
            accounts: 1 to 8,189 accounts, in order of effect.
            timestamp_ns: of the last one; at least the ledger's own plus one for each. The kernel reads no clock.

        Returns:
            One `EVENT_RESULT` (or `Result`) each, same order, with a `CreateAccountStatus`.

        Raises:
            BatchTooLarge: more than 8,189; nothing was applied.
            InvalidTimestamp: not late enough, or above 2^63-1; nothing was applied.
            InvalidRows: another dtype, strides or byte order, or a value that does not fit; nothing was applied.
        """
        answer = self._native.create_accounts(_bytes(accounts, layout.ACCOUNT), timestamp_ns)
        return _results(accounts, answer, CreateAccountStatus)

    @overload
    def create_transfers(self, transfers: Rows, *, timestamp_ns: int) -> Rows: ...
    @overload
    def create_transfers(self, transfers: Sequence[Transfer], *, timestamp_ns: int) -> list[Result]: ...
    def create_transfers(self, transfers: Rows | Sequence[Transfer], *, timestamp_ns: int) -> Rows | list[Result]:
        """Make transfers; post and void pending ones.

        Args:
            transfers: 1 to 8,189 transfers, in order of effect.
            timestamp_ns: of the last one; at least the ledger's own plus one for each. The kernel reads no clock.

        Returns:
            One `EVENT_RESULT` (or `Result`) each, same order, with a `CreateTransferStatus`.

        Raises:
            BatchTooLarge: more than 8,189; nothing was applied.
            InvalidTimestamp: not late enough, or above 2^63-1; nothing was applied.
            InvalidRows: another dtype, strides or byte order, or a value that does not fit; nothing was applied.

        Invariant: sum(debits) == sum(credits) per ledger, before and after.
        """
        answer = self._native.create_transfers(_bytes(transfers, layout.TRANSFER), timestamp_ns)
        return _results(transfers, answer, CreateTransferStatus)

    @overload
    def set_account_terms(self, terms: Rows, *, timestamp_ns: int) -> Rows: ...
    @overload
    def set_account_terms(self, terms: Sequence[AccountTerms], *, timestamp_ns: int) -> list[Result]: ...
    def set_account_terms(self, terms: Rows | Sequence[AccountTerms], *, timestamp_ns: int) -> Rows | list[Result]:
        """Replace all terms of accounts.

        Args:
            terms: 1 to 8,189 rows; one that is all zero removes the account's terms.
            timestamp_ns: of the last one; at least the ledger's own plus one for each. The kernel reads no clock.

        Returns:
            One `EVENT_RESULT` (or `Result`) each, same order, with a `SetAccountTermsStatus`.

        Raises:
            BatchTooLarge: more than 8,189; nothing was applied.
            InvalidTimestamp: not late enough, or above 2^63-1; nothing was applied.
            InvalidRows: another dtype, strides or byte order, or a value that does not fit; nothing was applied.
        """
        answer = self._native.set_account_terms(_bytes(terms, layout.ACCOUNT_TERMS), timestamp_ns)
        return _results(terms, answer, SetAccountTermsStatus)

    @overload
    def lookup_accounts(self, ids: Rows) -> Rows: ...
    @overload
    def lookup_accounts(self, ids: Sequence[int]) -> list[Account]: ...
    def lookup_accounts(self, ids: Rows | Sequence[int]) -> Rows | list[Account]:
        """The accounts with these ids: those found, in the order asked.

        Raises:
            BatchTooLarge: more than 8,189.
            InvalidRows: another dtype, strides or byte order, or a value that does not fit.
        """
        return _found(ids, self._native.lookup_accounts(_id_bytes(ids)), Account)

    @overload
    def lookup_transfers(self, ids: Rows) -> Rows: ...
    @overload
    def lookup_transfers(self, ids: Sequence[int]) -> list[Transfer]: ...
    def lookup_transfers(self, ids: Rows | Sequence[int]) -> Rows | list[Transfer]:
        """The transfers with these ids, as recorded: those found, in the order asked.

        Raises:
            BatchTooLarge: more than 8,189.
            InvalidRows: another dtype, strides or byte order, or a value that does not fit.
        """
        return _found(ids, self._native.lookup_transfers(_id_bytes(ids)), Transfer)

    @overload
    def lookup_hashes(self, hashes: Rows) -> Rows: ...
    @overload
    def lookup_hashes(self, hashes: Sequence[bytes]) -> list[Transfer]: ...
    def lookup_hashes(self, hashes: Rows | Sequence[bytes]) -> Rows | list[Transfer]:
        """The transfers with these hashes (32 bytes each): those found, in the order asked.

        Raises:
            BatchTooLarge: more than 8,189.
            InvalidRows: another dtype, strides or byte order, or a value that does not fit.
        """
        return _found(hashes, self._native.lookup_hashes(_hash_bytes(hashes)), Transfer)

    @overload
    def lookup_outcomes(self, ids: Rows) -> Rows: ...
    @overload
    def lookup_outcomes(self, ids: Sequence[int]) -> list[Outcome]: ...
    def lookup_outcomes(self, ids: Rows | Sequence[int]) -> Rows | list[Outcome]:
        """What became of these transfer ids: of those recorded or burned, in the order asked.

        Raises:
            BatchTooLarge: more than 8,189.
            InvalidRows: another dtype, strides or byte order, or a value that does not fit.
        """
        return _found(ids, self._native.lookup_outcomes(_id_bytes(ids)), Outcome)

    @overload
    def lookup_account_terms(self, ids: Rows) -> Rows: ...
    @overload
    def lookup_account_terms(self, ids: Sequence[int]) -> list[AccountTerms]: ...
    def lookup_account_terms(self, ids: Rows | Sequence[int]) -> Rows | list[AccountTerms]:
        """The terms of these accounts: of those that have any, in the order asked.

        Raises:
            BatchTooLarge: more than 8,189.
            InvalidRows: another dtype, strides or byte order, or a value that does not fit.
        """
        return _found(ids, self._native.lookup_account_terms(_id_bytes(ids)), AccountTerms)

    @overload
    def balance_at(self, questions: Rows) -> Rows: ...
    @overload
    def balance_at(self, questions: Sequence[BalanceAt]) -> list[AccountBalance]: ...
    def balance_at(self, questions: Rows | Sequence[BalanceAt]) -> Rows | list[AccountBalance]:
        """Balances of accounts right after their last event at or before a time: one answer each, zeros if none.

        Raises:
            BatchTooLarge: more than 8,189.
            InvalidRows: another dtype, strides or byte order, or a value that does not fit.
        """
        return _found(questions, self._native.balance_at(_bytes(questions, layout.BALANCE_AT)), AccountBalance)

    @overload
    def get_account_transfers(self, wanted: Rows) -> Rows: ...
    @overload
    def get_account_transfers(self, wanted: AccountFilter) -> list[Transfer]: ...
    def get_account_transfers(self, wanted: Rows | AccountFilter) -> Rows | list[Transfer]:
        """Transfers of one account, at most 8,189. An invalid filter finds nothing."""
        return _found(wanted, self._native.get_account_transfers(_bytes(wanted, layout.ACCOUNT_FILTER)), Transfer)

    @overload
    def get_account_balances(self, wanted: Rows) -> Rows: ...
    @overload
    def get_account_balances(self, wanted: AccountFilter) -> list[AccountBalance]: ...
    def get_account_balances(self, wanted: Rows | AccountFilter) -> Rows | list[AccountBalance]:
        """Balances of one account with `history` after each of its transfers, at most 8,189."""
        return _found(wanted, self._native.get_account_balances(_bytes(wanted, layout.ACCOUNT_FILTER)), AccountBalance)

    @overload
    def query_accounts(self, wanted: Rows) -> Rows: ...
    @overload
    def query_accounts(self, wanted: QueryFilter) -> list[Account]: ...
    def query_accounts(self, wanted: Rows | QueryFilter) -> Rows | list[Account]:
        """Accounts by their fields, at most 8,189. An invalid filter finds nothing."""
        return _found(wanted, self._native.query_accounts(_bytes(wanted, layout.QUERY_FILTER)), Account)

    @overload
    def query_transfers(self, wanted: Rows) -> Rows: ...
    @overload
    def query_transfers(self, wanted: QueryFilter) -> list[Transfer]: ...
    def query_transfers(self, wanted: Rows | QueryFilter) -> Rows | list[Transfer]:
        """Transfers by their fields, at most 8,189. An invalid filter finds nothing."""
        return _found(wanted, self._native.query_transfers(_bytes(wanted, layout.QUERY_FILTER)), Transfer)

    @overload
    def get_change_events(self, wanted: Rows) -> Rows: ...
    @overload
    def get_change_events(self, wanted: ChangeEventsFilter) -> list[ChangeEvent]: ...
    def get_change_events(self, wanted: Rows | ChangeEventsFilter) -> Rows | list[ChangeEvent]:
        """Changes in order of time, at most 2,730. An invalid filter finds nothing."""
        return _found(wanted, self._native.get_change_events(_bytes(wanted, layout.CHANGE_EVENTS_FILTER)), ChangeEvent)


def _bytes(given: Rows | Record | Sequence[Record], dtype: layout.Row) -> bytes:
    """The input as the kernel takes it."""
    if isinstance(given, np.ndarray):
        return row_bytes(given, dtype)
    return objects.to_rows([given] if isinstance(given, Record) else given, dtype).tobytes()


def _id_bytes(given: Rows | Sequence[int]) -> bytes:
    if isinstance(given, np.ndarray):
        # A column of ids is the same bytes as rows of them.
        return row_bytes(given, layout.U128 if given.dtype == layout.U128 else layout.ID)
    try:
        return from_ints(given).tobytes()
    except (TypeError, OverflowError) as error:
        raise InvalidRows(f"ids: {error}") from error


def _hash_bytes(given: Rows | Sequence[object]) -> bytes:
    if isinstance(given, np.ndarray):
        return row_bytes(given, layout.HASH)
    made = bytearray()
    for row, value in enumerate(given):
        if not isinstance(value, bytes) or len(value) != layout.HASH.itemsize:
            raise InvalidRows(f"row {row}: a hash is {layout.HASH.itemsize} bytes, not {value!r}")
        made += value
    return bytes(made)


def _results(given: object, answer: bytearray, status: type[Status]) -> Rows | list[Result]:
    made = np.frombuffer(answer, dtype=layout.EVENT_RESULT)
    return made if isinstance(given, np.ndarray) else objects.results(status, made)


def _found(given: object, answer: bytearray, kind: type[T]) -> Rows | list[T]:
    found = np.frombuffer(answer, dtype=kind.ROW)
    return found if isinstance(given, np.ndarray) else objects.from_rows(kind, found)
