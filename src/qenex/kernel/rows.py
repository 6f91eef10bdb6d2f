"""The rows as numpy sees them: byte for byte what crosses the wire and lies on disk.

A row is a fixed-size little-endian record; layouts are those of crates/kernel/src/row.rs and
spec/kernel.md section 1. numpy has no 128-bit integer, so that a u128 field is a pair of halves
(`U128`); `qenex.kernel.u128` converts columns of them from and to int, Decimal and hex.

Pure Python and numpy: importing this needs no native module.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qenex.errors import InvalidRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH_MAX: Final = 8_189
"""Events in one request at most, and rows in one reply (change events: `CHANGE_EVENTS_MAX`)."""
CHANGE_EVENTS_MAX: Final = 2_730
"""Change events in one reply at most."""
TIMESTAMP_MAX: Final = (1 << 63) - 1
"""The last timestamp there is, UTC nanoseconds."""
U128_MAX: Final = (1 << 128) - 1
"""Largest 128-bit number; as an amount of a post it means the full pending amount."""
CODE_INSTITUTION: Final = 32_768
"""Transfers with this code or above are the institution's own: restrictions do not stop them."""
CODE_RESERVED: Final = 65_280
"""Transfers with this code or above are the engine's own: it takes none from a client."""

Row = np.dtype[np.void]
Fields = list[tuple[str, Any] | tuple[str, Any, tuple[int, ...]]]


def _row(size: int, fields: Fields) -> Row:
    """A packed dtype of `fields`, held to the `size` that the contract states."""
    dtype = np.dtype(fields)
    if dtype.itemsize != size:
        raise AssertionError(f"row is {dtype.itemsize} bytes, the contract says {size}")
    return dtype


U128: Final = _row(16, [("lo", "<u8"), ("hi", "<u8")])
"""A 128-bit number: low half, high half."""

ACCOUNT: Final = _row(
    128,
    [
        ("id", U128),
        ("debits_pending", U128),
        ("debits_posted", U128),
        ("credits_pending", U128),
        ("credits_posted", U128),
        ("user_data_128", U128),
        ("user_data_64", "<u8"),
        ("user_data_32", "<u4"),
        ("reserved", "<u4"),
        ("ledger", "<u4"),
        ("code", "<u2"),
        ("flags", "<u2"),
        ("timestamp", "<u8"),
    ],
)
"""An account. `user_data_128` is its owner, `user_data_64` its product, `user_data_32` its legal entity."""

TRANSFER: Final = _row(
    128,
    [
        ("id", U128),
        ("debit_account_id", U128),
        ("credit_account_id", U128),
        ("amount", U128),
        ("pending_id", U128),
        ("user_data_128", U128),
        ("user_data_64", "<u8"),
        ("user_data_32", "<u4"),
        ("timeout", "<u4"),
        ("ledger", "<u4"),
        ("code", "<u2"),
        ("flags", "<u2"),
        ("timestamp", "<u8"),
    ],
)
"""A transfer. `user_data_64` is its time of value (UTC ns), `user_data_32` its accounting date (days since 1970)."""

EVENT_RESULT: Final = _row(16, [("timestamp", "<u8"), ("status", "<u4"), ("reserved", "<u4")])
"""What became of one row of a request; `status` is a number of the operation's status enum."""

ACCOUNT_FILTER: Final = _row(
    128,
    [
        ("account_id", U128),
        ("user_data_128", U128),
        ("user_data_64", "<u8"),
        ("user_data_32", "<u4"),
        ("code", "<u2"),
        ("reserved", "u1", (58,)),
        ("timestamp_min", "<u8"),
        ("timestamp_max", "<u8"),
        ("limit", "<u4"),
        ("flags", "<u4"),
    ],
)
"""Which transfers, or balances, of one account; `flags` are `AccountFilterFlags`."""

QUERY_FILTER: Final = _row(
    64,
    [
        ("user_data_128", U128),
        ("user_data_64", "<u8"),
        ("user_data_32", "<u4"),
        ("ledger", "<u4"),
        ("code", "<u2"),
        ("reserved", "u1", (6,)),
        ("timestamp_min", "<u8"),
        ("timestamp_max", "<u8"),
        ("limit", "<u4"),
        ("flags", "<u4"),
    ],
)
"""Which accounts or transfers: the AND of the fields that are not 0; `flags` are `QueryFilterFlags`."""

ACCOUNT_BALANCE: Final = _row(
    128,
    [
        ("debits_pending", U128),
        ("debits_posted", U128),
        ("credits_pending", U128),
        ("credits_posted", U128),
        ("timestamp", "<u8"),
        ("reserved", "u1", (56,)),
    ],
)
"""Balances of an account right after an event."""

CHANGE_EVENTS_FILTER: Final = _row(
    64, [("timestamp_min", "<u8"), ("timestamp_max", "<u8"), ("limit", "<u4"), ("reserved", "u1", (44,))]
)
"""Which change events."""

CHANGED_ACCOUNT: Final = _row(
    112,
    [
        ("id", U128),
        ("debits_pending", U128),
        ("debits_posted", U128),
        ("credits_pending", U128),
        ("credits_posted", U128),
        ("user_data_128", U128),
        ("user_data_64", "<u8"),
        ("user_data_32", "<u4"),
        ("code", "<u2"),
        ("flags", "<u2"),
    ],
)
"""One side of a `CHANGE_EVENT`, right after the event."""

CHANGE_EVENT: Final = _row(
    384,
    [
        ("transfer_id", U128),
        ("transfer_amount", U128),
        ("transfer_pending_id", U128),
        ("transfer_user_data_128", U128),
        ("transfer_user_data_64", "<u8"),
        ("transfer_user_data_32", "<u4"),
        ("transfer_timeout", "<u4"),
        ("transfer_code", "<u2"),
        ("transfer_flags", "<u2"),
        ("ledger", "<u4"),
        ("kind", "u1"),
        ("reserved", "u1", (39,)),
        ("debit_account", CHANGED_ACCOUNT),
        ("credit_account", CHANGED_ACCOUNT),
        ("timestamp", "<u8"),
        ("transfer_timestamp", "<u8"),
        ("debit_account_timestamp", "<u8"),
        ("credit_account_timestamp", "<u8"),
    ],
)
"""One change of the ledger: the transfer, and both accounts right after it; `kind` is a `ChangeEventKind`."""

ACCOUNT_TERMS: Final = _row(
    64,
    [
        ("account_id", U128),
        ("debit_limit", U128),
        ("restrictions", "<u4"),
        ("reason", "<u4"),
        ("reserved", "u1", (24,)),
    ],
)
"""Replaces all terms of an account; `restrictions` are `Restrictions`; all zero removes them."""

BALANCE_AT: Final = _row(32, [("account_id", U128), ("timestamp", "<u8"), ("reserved", "<u8")])
"""An account and an inclusive time, UTC nanoseconds."""

OUTCOME: Final = _row(32, [("id", U128), ("timestamp", "<u8"), ("status", "<u4"), ("reserved", "<u4")])
"""What became of a transfer id: recorded, or burned and by what; `status` is a `CreateTransferStatus`."""

ID: Final = _row(16, [("id", U128)])
"""An id, in requests that look up by id."""

HASH: Final = _row(32, [("hash", "u1", (32,))])
"""A transfer's hash, in requests that look up by hash."""


class AccountFlags(IntFlag):
    """Bits of an account's `flags`."""

    NONE = 0
    LINKED = 1 << 0
    DEBITS_MUST_NOT_EXCEED_CREDITS = 1 << 1
    CREDITS_MUST_NOT_EXCEED_DEBITS = 1 << 2
    HISTORY = 1 << 3
    IMPORTED = 1 << 4
    CLOSED = 1 << 5


class TransferFlags(IntFlag):
    """Bits of a transfer's `flags`."""

    NONE = 0
    LINKED = 1 << 0
    PENDING = 1 << 1
    POST_PENDING_TRANSFER = 1 << 2
    VOID_PENDING_TRANSFER = 1 << 3
    BALANCING_DEBIT = 1 << 4
    BALANCING_CREDIT = 1 << 5
    CLOSING_DEBIT = 1 << 6
    CLOSING_CREDIT = 1 << 7
    IMPORTED = 1 << 8


class AccountFilterFlags(IntFlag):
    """Bits of an `ACCOUNT_FILTER`; at least one of the first two."""

    NONE = 0
    DEBITS = 1 << 0
    CREDITS = 1 << 1
    REVERSED = 1 << 2


class QueryFilterFlags(IntFlag):
    """Bits of a `QUERY_FILTER`."""

    NONE = 0
    REVERSED = 1 << 0


class Restrictions(IntFlag):
    """Bits of an account's terms: what a restricted account refuses."""

    NONE = 0
    NO_DEBIT = 1 << 0
    NO_CREDIT = 1 << 1


class ChangeEventKind(IntEnum):
    """What a change of the ledger was."""

    SINGLE_PHASE = 0
    TWO_PHASE_PENDING = 1
    TWO_PHASE_POSTED = 2
    TWO_PHASE_VOIDED = 3
    TWO_PHASE_EXPIRED = 4


def row_bytes(given: NDArray[np.void], dtype: Row) -> bytes:
    """The bytes of an array of `dtype` rows: a copy, so that what is done to the array later changes nothing.

    Raises:
        InvalidRows: another dtype, byte order, shape or stride; the text says which, and what would be right.
    """
    if given.dtype != dtype:
        if given.dtype.newbyteorder("<") == dtype:
            raise InvalidRows(
                "the rows have the byte order big-endian; little-endian is needed: pass rows.astype(dtype)"
            )
        raise InvalidRows(f"the rows have dtype {given.dtype}; dtype {dtype} is needed")
    if given.ndim > 1:
        raise InvalidRows(f"the rows have the shape {given.shape}; one dimension is needed: pass rows.reshape(-1)")
    if not given.flags.c_contiguous:
        stride = f"the rows have the stride {given.strides[0]}; {dtype.itemsize} is needed"
        raise InvalidRows(f"{stride}: pass numpy.ascontiguousarray(rows)")
    return given.tobytes()
