"""The rows as objects for people: integers in, integers and enums out, no numpy needed.

Each class has the fields of its row, in the row's own names, all 0 where not given; reserved bytes are left out.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

import numpy as np

from qenex.errors import InvalidRows
from qenex.kernel import rows
from qenex.kernel.rows import (
    AccountFilterFlags,
    AccountFlags,
    ChangeEventKind,
    QueryFilterFlags,
    Restrictions,
    TransferFlags,
)
from qenex.kernel.status import CreateTransferStatus, Status
from qenex.kernel.u128 import from_ints, to_ints

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray


@dataclass(slots=True, kw_only=True, eq=False)
class Record:
    """What all of these have: the dtype of their row."""

    ROW: ClassVar[rows.Row]


T = TypeVar("T", bound=Record)


@dataclass(slots=True, kw_only=True)
class Account(Record):
    """An account; amounts in minor units. To create one, leave balances and (unless imported) timestamp 0."""

    ROW: ClassVar[rows.Row] = rows.ACCOUNT
    id: int = 0
    debits_pending: int = 0
    debits_posted: int = 0
    credits_pending: int = 0
    credits_posted: int = 0
    user_data_128: int = 0
    user_data_64: int = 0
    user_data_32: int = 0
    reserved: int = 0
    ledger: int = 0
    code: int = 0
    flags: AccountFlags = AccountFlags.NONE
    timestamp: int = 0


@dataclass(slots=True, kw_only=True)
class Transfer(Record):
    """A transfer; `amount` in minor units, `timeout` in seconds, `timestamp` in UTC nanoseconds."""

    ROW: ClassVar[rows.Row] = rows.TRANSFER
    id: int = 0
    debit_account_id: int = 0
    credit_account_id: int = 0
    amount: int = 0
    pending_id: int = 0
    user_data_128: int = 0
    user_data_64: int = 0
    user_data_32: int = 0
    timeout: int = 0
    ledger: int = 0
    code: int = 0
    flags: TransferFlags = TransferFlags.NONE
    timestamp: int = 0


@dataclass(slots=True, kw_only=True)
class AccountTerms(Record):
    """The terms of an account; all 0 removes them."""

    ROW: ClassVar[rows.Row] = rows.ACCOUNT_TERMS
    account_id: int = 0
    debit_limit: int = 0
    restrictions: Restrictions = Restrictions.NONE
    reason: int = 0


@dataclass(slots=True, kw_only=True)
class AccountFilter(Record):
    """Which transfers, or balances, of one account: fields that are 0 match anything, times are inclusive."""

    ROW: ClassVar[rows.Row] = rows.ACCOUNT_FILTER
    account_id: int = 0
    user_data_128: int = 0
    user_data_64: int = 0
    user_data_32: int = 0
    code: int = 0
    timestamp_min: int = 0
    timestamp_max: int = 0
    limit: int = rows.BATCH_MAX
    flags: AccountFilterFlags = AccountFilterFlags.DEBITS | AccountFilterFlags.CREDITS


@dataclass(slots=True, kw_only=True)
class QueryFilter(Record):
    """Which accounts or transfers: fields that are 0 match anything, times are inclusive."""

    ROW: ClassVar[rows.Row] = rows.QUERY_FILTER
    user_data_128: int = 0
    user_data_64: int = 0
    user_data_32: int = 0
    ledger: int = 0
    code: int = 0
    timestamp_min: int = 0
    timestamp_max: int = 0
    limit: int = rows.BATCH_MAX
    flags: QueryFilterFlags = QueryFilterFlags.NONE


@dataclass(slots=True, kw_only=True)
class ChangeEventsFilter(Record):
    """Which change events; times are inclusive."""

    ROW: ClassVar[rows.Row] = rows.CHANGE_EVENTS_FILTER
    timestamp_min: int = 0
    timestamp_max: int = 0
    limit: int = rows.CHANGE_EVENTS_MAX


@dataclass(slots=True, kw_only=True)
class BalanceAt(Record):
    """An account and an inclusive time, UTC nanoseconds."""

    ROW: ClassVar[rows.Row] = rows.BALANCE_AT
    account_id: int = 0
    timestamp: int = 0


@dataclass(slots=True, kw_only=True)
class AccountBalance(Record):
    """Balances right after the event at `timestamp`, minor units."""

    ROW: ClassVar[rows.Row] = rows.ACCOUNT_BALANCE
    debits_pending: int = 0
    debits_posted: int = 0
    credits_pending: int = 0
    credits_posted: int = 0
    timestamp: int = 0


@dataclass(slots=True, kw_only=True)
class Outcome(Record):
    """What became of a transfer id: recorded (`created`), or burned and by what."""

    ROW: ClassVar[rows.Row] = rows.OUTCOME
    id: int = 0
    timestamp: int = 0
    status: CreateTransferStatus = CreateTransferStatus.CREATED


@dataclass(slots=True, kw_only=True)
class ChangedAccount(Record):
    """One side of a `ChangeEvent`, right after it."""

    ROW: ClassVar[rows.Row] = rows.CHANGED_ACCOUNT
    id: int = 0
    debits_pending: int = 0
    debits_posted: int = 0
    credits_pending: int = 0
    credits_posted: int = 0
    user_data_128: int = 0
    user_data_64: int = 0
    user_data_32: int = 0
    code: int = 0
    flags: AccountFlags = AccountFlags.NONE


@dataclass(slots=True, kw_only=True)
class ChangeEvent(Record):
    """One change of the ledger: the transfer, and both accounts right after it."""

    ROW: ClassVar[rows.Row] = rows.CHANGE_EVENT
    transfer_id: int
    transfer_amount: int
    transfer_pending_id: int
    transfer_user_data_128: int
    transfer_user_data_64: int
    transfer_user_data_32: int
    transfer_timeout: int
    transfer_code: int
    transfer_flags: TransferFlags
    ledger: int
    kind: ChangeEventKind
    debit_account: ChangedAccount
    credit_account: ChangedAccount
    timestamp: int
    transfer_timestamp: int
    debit_account_timestamp: int
    credit_account_timestamp: int


@dataclass(slots=True, kw_only=True)
class Result(Record):
    """What became of one row of a request, and when."""

    ROW: ClassVar[rows.Row] = rows.EVENT_RESULT
    timestamp: int
    status: Status


Writer = tuple[str, "Callable[[Any], Any]", "Callable[[list[Any]], Any]"]
"""A field: its name, how to read it from an object, how to make a column of its values."""

_WRITERS: Final[dict[type[Record], list[Writer]]] = {}

_TYPECODES: Final = {8: "Q", 4: "I", 2: "H", 1: "B"}
"""Of `array`: unlike numpy it takes no float for an integer, and refuses what does not fit."""


def to_rows(objects: Sequence[Record], dtype: rows.Row) -> NDArray[np.void]:
    """Objects as rows of `dtype`, which is that of their class.

    Raises:
        InvalidRows: an object is of another kind, or a field is no integer that fits; the text names row and field.
    """
    for row, given in enumerate(objects):
        if getattr(given, "ROW", None) is not dtype:
            raise InvalidRows(f"row {row} is a {type(given).__name__}, which has not the fields that are needed here")
    made = np.zeros(len(objects), dtype=dtype)
    for name, values_of, column_of in _writers(type(objects[0])) if objects else ():
        values = list(map(values_of, objects))
        try:
            made[name] = column_of(values)
        except (TypeError, OverflowError) as error:
            raise InvalidRows(_complaint(name, values, column_of, error)) from error
    return made


def _complaint(name: str, values: list[Any], column_of: Callable[[list[Any]], Any], error: Exception) -> str:
    """Which value of a column does not fit, and why."""
    for row, value in enumerate(values):
        try:
            column_of([value])
        except (TypeError, OverflowError) as reason:
            return f"row {row}: {name} is {value!r}: {reason}"
    return f"{name}: {error}"


def _writers(kind: type[Record]) -> list[Writer]:
    """How each field of a class becomes a column."""
    if kind not in _WRITERS:
        dtypes = [(field.name, kind.ROW[field.name]) for field in fields(kind)]
        _WRITERS[kind] = [
            (name, attrgetter(name), from_ints if dtype == rows.U128 else _column_maker(dtype))
            for name, dtype in dtypes
        ]
    return _WRITERS[kind]


def _column_maker(dtype: np.dtype[Any]) -> Callable[[list[Any]], Any]:
    typecode = _TYPECODES[dtype.itemsize]
    return lambda values: np.frombuffer(array(typecode, values), dtype=dtype)


def from_rows(kind: type[T], given: NDArray[np.void]) -> list[T]:
    """Rows as objects of `kind`, whose row they are."""
    return _objects(kind, given, {})


def results(status: type[Status], given: NDArray[np.void]) -> list[Result]:
    """`EVENT_RESULT` rows as objects, with the numbers of the operation's `status`."""
    return _objects(Result, given, {"status": status})


def _objects(kind: type[T], given: NDArray[np.void], wraps: dict[str, Callable[[int], Any]]) -> list[T]:
    """One object a row; `wraps` says what a field's number is made into, beyond what the class itself says."""
    names = [field.name for field in fields(kind)]
    columns = [_values(given[name], wraps.get(name) or _WRAPS.get((kind, name))) for name in names]
    return [kind(**dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)]


def _values(column: NDArray[Any], wrap: Callable[[int], Any] | None) -> list[Any]:
    if column.dtype == rows.CHANGED_ACCOUNT:
        return from_rows(ChangedAccount, column)
    values = to_ints(column) if column.dtype == rows.U128 else column.tolist()
    if wrap is None:
        return values
    # There are few different numbers in such a column, and making an enum of each is slow.
    made = {value: wrap(value) for value in set(values)}
    return [made[value] for value in values]


_WRAPS: Final[dict[tuple[type[Record], str], Callable[[int], Any]]] = {
    (Account, "flags"): AccountFlags,
    (ChangedAccount, "flags"): AccountFlags,
    (Transfer, "flags"): TransferFlags,
    (AccountTerms, "restrictions"): Restrictions,
    (Outcome, "status"): CreateTransferStatus,
    (ChangeEvent, "transfer_flags"): TransferFlags,
    (ChangeEvent, "kind"): ChangeEventKind,
}
