"""From a status of the kernel to an error that explains it, on a retry too."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from qenex.errors import (
    BY_CODE,
    AccountRefused,
    IdAlreadyFailed,
    IdempotencyConflict,
    InsufficientFunds,
    QenexError,
    Rejected,
)
from qenex.kernel import CreateAccountStatus, CreateTransferStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qenex.api.transfers import Wanted

REMEMBERED_MAX: Final = 65_536
"""Rows of refused transfers, and digests of batches, that are kept to compare a retry with the same key with."""

First = tuple[int, int]
"""What the engine keeps of a burned id: timestamp and status of the refusal that burned it."""

_DIFFERENT: Final = "exists_with_different_"
_CREDIT_SIDE: Final = frozenset(
    {
        CreateTransferStatus.CREDIT_ACCOUNT_NOT_FOUND,
        CreateTransferStatus.CREDIT_ACCOUNT_ALREADY_CLOSED,
        CreateTransferStatus.CREDIT_ACCOUNT_RESTRICTED,
        CreateTransferStatus.EXCEEDS_DEBITS,
    }
)


class Refusals:
    """Explains why transfers were refused, and knows a retry from another request with the same idempotency key.

    What is recorded in the ledger is compared with the ledger. What left no row there is remembered here, for as long
    as the process runs and within `REMEMBERED_MAX`.
    """

    def __init__(self) -> None:
        self._remembered: OrderedDict[int, bytes] = OrderedDict()
        self._batches: OrderedDict[int, bytes] = OrderedDict()

    def explain(
        self,
        transfer: Wanted,
        sent: bytes,
        result: tuple[int, int, int],
        *,
        row: int,
        key: str | None,
        first: Mapping[int, First],
    ) -> QenexError:
        """The error of one row.

        Args:
            transfer: what was wanted.
            sent: its row.
            result: (timestamp, status, reserved) as the engine answered, not `created`.
            row: its place in the request, from 0.
            key: the request's idempotency key.
            first: what is known of burned ids.
        """
        timestamp_ns, status = result[0], CreateTransferStatus(result[1])
        if key is not None:
            if str(status).startswith(_DIFFERENT):
                return IdempotencyConflict(key, f"row {row} is recorded with {_different(status)}")
            if status == CreateTransferStatus.ID_ALREADY_FAILED:
                return self._as_the_first_time(transfer, sent, row=row, key=key, first=first.get(transfer.id))
            self._remember(transfer.id, sent)
        return refusal(status, transfer, row=row, timestamp_ns=timestamp_ns, first=first.get(transfer.id))

    def _as_the_first_time(
        self, transfer: Wanted, sent: bytes, *, row: int, key: str, first: First | None
    ) -> QenexError:
        if self._remembered.get(transfer.id, sent) != sent:
            return IdempotencyConflict(key, f"row {row} was another, and was refused")
        if first is None:
            return refusal(CreateTransferStatus.ID_ALREADY_FAILED, transfer, row=row)
        return refusal(CreateTransferStatus(first[1]), transfer, row=row, timestamp_ns=first[0])

    def same_batch(self, transfers: Sequence[Wanted], sent: Sequence[bytes], key: str) -> None:
        """Makes sure that a batch with an idempotency key is the one that had it before, as far as this is known.

        Raises:
            IdempotencyConflict: it has other rows, or more or fewer.
        """
        digest = sha256(b"".join(sent)).digest()
        if self._batches.setdefault(transfers[0].id, digest) != digest:
            raise IdempotencyConflict(key, "that batch had other transfers, or more or fewer")
        _limit(self._batches)

    def _remember(self, transfer_id: int, sent: bytes) -> None:
        self._remembered[transfer_id] = sent
        _limit(self._remembered)


def _limit(remembered: OrderedDict[int, bytes]) -> None:
    if len(remembered) > REMEMBERED_MAX:
        remembered.popitem(last=False)


def refusal(
    status: CreateTransferStatus,
    transfer: Wanted,
    *,
    row: int = 0,
    timestamp_ns: int = 0,
    first: First | None = None,
) -> QenexError:
    """The error of a status, with the values that explain it."""
    kind = BY_CODE[str(status)]
    if issubclass(kind, IdAlreadyFailed):
        then = {"first_timestamp_ns": first[0], "first_code": str(CreateTransferStatus(first[1]))} if first else {}
        return kind(transfer.id, row=row, timestamp_ns=timestamp_ns, **then)  # type: ignore[arg-type]  # by name
    if issubclass(kind, AccountRefused):
        account_id = transfer.credit_account_id if status in _CREDIT_SIDE else transfer.debit_account_id
        named = {"requested_minor": transfer.amount_minor} if issubclass(kind, InsufficientFunds) else {}
        return kind(transfer.id, account_id=account_id, row=row, timestamp_ns=timestamp_ns, **named)
    assert issubclass(kind, Rejected)  # noqa: S101  # each status of the kernel has a class of that family
    return kind(transfer.id, row=row, timestamp_ns=timestamp_ns)


def account_refusal(status: CreateAccountStatus, account_id: int, *, timestamp_ns: int, key: str | None) -> QenexError:
    """The error of a status of `create_accounts`."""
    if key is not None and str(status).startswith(_DIFFERENT):
        return IdempotencyConflict(key, f"the account is recorded with {_different(status)}")
    kind = BY_CODE[str(status)]
    assert issubclass(kind, Rejected)  # noqa: S101  # as above
    return kind(account_id, timestamp_ns=timestamp_ns)


def _different(status: CreateTransferStatus | CreateAccountStatus) -> str:
    return "another " + str(status).removeprefix(_DIFFERENT)
