"""The values of the reference ledger: the fields of the rows as plain integers, and never changed once made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from qenex.kernel.rows import AccountFlags

if TYPE_CHECKING:
    from qenex.kernel.rows import ChangeEventKind
    from qenex.kernel.status import Status

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class Account:
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
    flags: int = 0
    timestamp: int = 0

    @property
    def closed(self) -> bool:
        return bool(self.flags & AccountFlags.CLOSED)


@dataclass(frozen=True)
class Transfer:
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
    flags: int = 0
    timestamp: int = 0

    @property
    def expires(self) -> int | None:
        """When a recorded pending transfer lapses; None is never."""
        return self.timestamp + self.timeout * NANOSECONDS if self.timeout else None


@dataclass(frozen=True)
class Terms:
    account_id: int = 0
    debit_limit: int = 0
    restrictions: int = 0
    reason: int = 0
    reserved: int = 0


@dataclass(frozen=True)
class AccountFilter:
    account_id: int = 0
    user_data_128: int = 0
    user_data_64: int = 0
    user_data_32: int = 0
    code: int = 0
    reserved: int = 0
    timestamp_min: int = 0
    timestamp_max: int = 0
    limit: int = 0
    flags: int = 0


@dataclass(frozen=True)
class QueryFilter:
    user_data_128: int = 0
    user_data_64: int = 0
    user_data_32: int = 0
    ledger: int = 0
    code: int = 0
    reserved: int = 0
    timestamp_min: int = 0
    timestamp_max: int = 0
    limit: int = 0
    flags: int = 0


@dataclass(frozen=True)
class ChangeEventsFilter:
    timestamp_min: int = 0
    timestamp_max: int = 0
    limit: int = 0
    reserved: int = 0


class Result(NamedTuple):
    timestamp: int
    status: Status


class Outcome(NamedTuple):
    id: int
    timestamp: int
    status: Status


class Event(NamedTuple):
    """A change of the ledger: what happened when, and both accounts right after it."""

    timestamp: int
    kind: ChangeEventKind
    transfer: Transfer
    debit_account: Account
    credit_account: Account
