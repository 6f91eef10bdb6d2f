"""What became of a request with an idempotency key before, and why a row was refused: from a status to its error."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import contextmanager
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
from qenex.kernel import CreateAccountStatus, CreateTransferStatus, to_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from qenex.api.transfers import Wanted

REMEMBERED_MAX: Final = 65_536
"""Requests that are kept, by a digest, to compare others with the same key with."""

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


def _used_before(statuses: Iterable[CreateTransferStatus | CreateAccountStatus]) -> frozenset[int]:
    names = ("exists", "id_already_failed")
    return frozenset(status for status in statuses if str(status) in names or str(status).startswith(_DIFFERENT))


TRANSFER_ID_USED: Final = _used_before(CreateTransferStatus)
"""Statuses of a transfer whose id was used before: for what, this process need not know."""
ACCOUNT_ID_USED: Final = _used_before(CreateAccountStatus)
"""Those of an account."""


class Keys:
    """Knows a retry from another request with the same idempotency key, as far as the ledger does not.

    What is recorded in the ledger is compared with the ledger, for ever. A request that is under way, or that left rows
    out of the ledger, is known here alone: by a digest of its rows, under the id of the first (which comes from the
    key), for as long as the process runs and within `REMEMBERED_MAX`. So after a restart of this process the other rows
    of a request that was refused before it are not seen to be others: where the refusal burned the id, it is repeated;
    where it did not, they are taken for a first attempt. Nor are those that a batch has beside the recorded ones.
    """

    def __init__(self) -> None:
        self._remembered: OrderedDict[int, bytes] = OrderedDict()
        self._under_way: dict[int, bytes] = {}

    @contextmanager
    def claimed(self, first_id: int, rows: bytes, key: str | None) -> Iterator[Callable[[], None]]:
        """Nobody else has the key while this request is under way; a request without a key needs none.

        Args:
            first_id: of its first row.
            rows: all of them, as they are sent.
            key: its idempotency key.

        Returns:
            What to call where the request left rows out of the ledger, so that it is known here beyond its end too. Not
            where the key had been used before this request: what for is not known here.

        Raises:
            IdempotencyConflict: a request with other rows has the key, or had it.
        """
        if key is None:
            yield lambda: None
            return
        digest = sha256(rows).digest()
        for others in (self._remembered, self._under_way):
            if others.get(first_id, digest) != digest:
                raise IdempotencyConflict(key, "the request that had it asked for something else")
        self._under_way[first_id] = digest
        try:
            yield lambda: self._remember(first_id, digest)
        finally:
            self._under_way.pop(first_id, None)

    def _remember(self, first_id: int, digest: bytes) -> None:
        self._remembered[first_id] = digest
        if len(self._remembered) > REMEMBERED_MAX:
            self._remembered.popitem(last=False)


def explain(
    transfer: Wanted,
    result: tuple[int, int, int],
    *,
    row: int,
    key: str | None,
    first: Mapping[int, First],
) -> QenexError:
    """The error of one row of a request.

    Args:
        transfer: what was wanted.
        result: (timestamp, status, reserved) as the engine answered, not `created`.
        row: its place in the request, from 0.
        key: the request's idempotency key.
        first: what is known of burned ids.
    """
    timestamp_ns, status = result[0], CreateTransferStatus(result[1])
    burned = first.get(transfer.id)
    if key is not None and str(status).startswith(_DIFFERENT):
        return IdempotencyConflict(key, f"row {row} is recorded with {_different(status)}")
    if key is not None and status == CreateTransferStatus.ID_ALREADY_FAILED and burned is not None:
        # A retry is answered as the first attempt was.
        return refusal(CreateTransferStatus(burned[1]), transfer, row=row, timestamp_ns=burned[0])
    return refusal(status, transfer, row=row, timestamp_ns=timestamp_ns, first=burned)


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
    return kind(account_id, timestamp_ns=timestamp_ns, explanation=f"account {to_address(account_id)}")


def _different(status: CreateTransferStatus | CreateAccountStatus) -> str:
    return "another " + str(status).removeprefix(_DIFFERENT)
