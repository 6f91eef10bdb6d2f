"""What the client can do, as steps: each yields the calls it needs and returns a typed result.

`QenexClient` and `AsyncQenexClient` answer the calls, one blocking, one awaiting; everything else is here, once.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from qenex.client.ids import id_from_key, new_account_id, new_id
from qenex.client.protocol import LINGER_MAX_US, Operation, decode_status
from qenex.client.replay import Call
from qenex.client.session import Reply, check_limit
from qenex.client.values import (
    TRANSFER_ROW,
    Account,
    Balance,
    Group,
    Transaction,
    Transfer,
    TransferResult,
    account_id_of,
    check_id,
    number,
)
from qenex.errors import (
    BY_CODE,
    AccountNotFound,
    AccountRefused,
    BatchTooLarge,
    ExceedsCredits,
    IdAlreadyFailed,
    IdempotencyConflict,
    InsufficientFunds,
    InvalidId,
    InvalidQuery,
    InvalidRows,
    Rejected,
    TransferNotFound,
    UnexpectedReply,
)
from qenex.kernel import (
    ACCOUNT,
    ACCOUNT_FILTER,
    BALANCE_AT,
    BATCH_MAX,
    ID,
    TRANSFER,
    U128_MAX,
    AccountFilterFlags,
    AccountFlags,
    CreateAccountStatus,
    CreateTransferStatus,
    Status,
    TransferFlags,
    from_ints,
    to_address,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from typing import TypeVar

    from numpy.typing import NDArray

    from qenex.assets import Asset, Assets
    from qenex.client.protocol import EngineStatus
    from qenex.money import Amount

    T = TypeVar("T")
    Steps: TypeAlias = Generator[Call, Reply, T]

CODE_DEFAULT: Final = 1
"""Kind of a transfer or account that says nothing of its kind."""
_STATUSES: Final = {int(status): status for status in CreateTransferStatus}
_REWRITTEN: Final = int(
    TransferFlags.POST_PENDING_TRANSFER
    | TransferFlags.VOID_PENDING_TRANSFER
    | TransferFlags.BALANCING_DEBIT
    | TransferFlags.BALANCING_CREDIT
)
"""Transfers that are recorded otherwise than they were given: filled in or clamped."""
_CREDITED: Final = {CreateTransferStatus.EXCEEDS_DEBITS}
_SIDES: Final = AccountFilterFlags.DEBITS | AccountFilterFlags.CREDITS


def create_transaction(
    assets: Assets,
    book: bytes,
    from_address: str | int,
    to_address: str | int,
    amount: Amount,
    currency: str | int,
    *,
    transfer_id: int | None = None,
    idempotency_key: str = "",
    flags: TransferFlags = TransferFlags.NONE,
    code: int = CODE_DEFAULT,
    timeout_s: int = 0,
    value_time_ns: int = 0,
    accounting_date: int = 0,
    user_data_128: int = 0,
) -> Transaction:
    """A transfer to make, checked; see `QenexClient.create_transaction`."""
    asset = assets.find(currency)
    identity = _transfer_id(book, transfer_id, idempotency_key)
    amount_minor = asset.to_minor(amount)
    row = pack(
        identity,
        account_id_of(from_address),
        account_id_of(to_address),
        amount_minor,
        0,
        (user_data_128, value_time_ns, accounting_date, timeout_s, asset.number, code, flags),
    )
    return Transaction(row, asset, idempotency_key)


def resolve_hold(
    book: bytes, hold: Transfer, amount: Amount | None, *, post: bool, transfer_id: int | None, idempotency_key: str
) -> Transaction:
    """The transaction that posts a hold, all of it or a part, or voids it."""
    identity = _transfer_id(book, transfer_id, idempotency_key)
    given = U128_MAX if amount is None else hold.asset.to_minor(amount)
    flag = TransferFlags.POST_PENDING_TRANSFER if post else TransferFlags.VOID_PENDING_TRANSFER
    row = pack(identity, 0, 0, given if post else 0, hold.id, (0, 0, 0, 0, 0, 0, flag))
    return Transaction(row, hold.asset, idempotency_key)


def pack(identity: int, debit: int, credit: int, amount_minor: int, pending_id: int, rest: tuple[int, ...]) -> bytes:
    """A `TRANSFER` row; `rest` is user data (128, 64, 32 bits), timeout, ledger, code and flags."""
    data_128, *short = rest
    try:
        return TRANSFER_ROW.pack(
            identity.to_bytes(16, "little"),
            debit.to_bytes(16, "little"),
            credit.to_bytes(16, "little"),
            amount_minor.to_bytes(16, "little"),
            pending_id.to_bytes(16, "little"),
            data_128.to_bytes(16, "little"),
            *short,
            0,
        )
    except (OverflowError, struct.error) as error:
        raise InvalidRows(f"a number does not fit its field of the row ({rest}): {error}") from None


def _transfer_id(book: bytes, transfer_id: int | None, idempotency_key: str) -> int:
    if transfer_id is not None:
        if idempotency_key:
            raise InvalidId(transfer_id, "an idempotency key stands for an id of its own; give one of the two")
        return check_id(transfer_id)
    return id_from_key(book, idempotency_key) if idempotency_key else new_id()


def execute(transaction: Transaction, *, optimize: bool) -> Steps[TransferResult]:
    """Makes one transfer; raises its refusal."""
    (result,) = yield from execute_many([transaction], atomic=False, optimize=optimize)
    if not result.ok:
        raise (yield from refusal(result, 0))
    return result


def execute_many(transactions: Sequence[Transaction], *, atomic: bool, optimize: bool) -> Steps[list[TransferResult]]:
    """Makes transfers, up to a batch in one request."""
    if not transactions:
        return []
    rows = b"".join([transaction.row for transaction in transactions])
    if atomic:
        rows = linked(rows)
    reply = yield Call(Operation.CREATE_TRANSFERS, rows, LINGER_MAX_US if optimize else 0)
    return (yield from results_of(transactions, rows, reply))


def linked(rows: bytes) -> bytes:
    """The rows as one chain: all of them happen, or none."""
    if len(rows) > BATCH_MAX * TRANSFER.itemsize:
        raise BatchTooLarge(f"{len(rows) // 128} transfers cannot be one chain, at most {BATCH_MAX} can.")
    chain = np.frombuffer(bytearray(rows), TRANSFER)
    chain["flags"][:-1] |= int(TransferFlags.LINKED)
    return chain.tobytes()


def results_of(transactions: Sequence[Transaction], rows: bytes, reply: Reply) -> Steps[list[TransferResult]]:
    """What became of the transactions of one request."""
    answers = reply.rows
    if len(answers) != len(transactions):
        raise UnexpectedReply(f"{len(answers)} results came for {len(transactions)} transfers.")
    group = Group(reply.group_requests, reply.group_rows, reply.waited_us)
    times, statuses = answers["timestamp"].tolist(), answers["status"].tolist()
    stamps = answers["timestamp"].tobytes()
    results = []
    rewritten = []
    for at, transaction in enumerate(transactions):
        status = _STATUSES[statuses[at]]
        row = b""
        if status is CreateTransferStatus.CREATED or status is CreateTransferStatus.EXISTS:
            start = at * 128
            row = rows[start : start + 120] + stamps[at * 8 : at * 8 + 8]
            if row[118] & _REWRITTEN:
                rewritten.append(at)
        results.append(TransferResult(transaction, status, times[at], group, row))
    if rewritten:
        recorded = yield Call(Operation.LOOKUP_TRANSFERS, ids([results[at].id for at in rewritten]))
        for at, row in zip(rewritten, rows_of(recorded.body, 128), strict=True):
            old = results[at]
            results[at] = TransferResult(old.transaction, old.status, old.timestamp_ns, group, row)
    return results


def refusal(result: TransferResult, at: int) -> Steps[Exception]:
    """The error of a refused transaction, with what explains it."""
    transaction, status = result.transaction, result.status
    kind = refusal_class(status)
    place: dict[str, Any] = {"row": at, "timestamp_ns": result.timestamp_ns}
    if transaction.idempotency_key and str(status).startswith("exists_with"):
        return IdempotencyConflict(transaction.idempotency_key, kind.text)
    if kind is IdAlreadyFailed:
        outcomes = (yield Call(Operation.LOOKUP_OUTCOMES, ids([result.id]))).rows
        first = (
            (str(_STATUSES[int(outcomes["status"][0])]), int(outcomes["timestamp"][0])) if len(outcomes) else ("", 0)
        )
        return IdAlreadyFailed(result.id, first_code=first[0], first_timestamp_ns=first[1], **place)
    if not issubclass(kind, AccountRefused):
        return kind(result.id, **place)
    on_credit_side = status in _CREDITED or str(status).startswith("credit_account")
    account_id = transaction.credit_account_id if on_credit_side else transaction.debit_account_id
    if not issubclass(kind, InsufficientFunds):
        return kind(result.id, account_id=account_id, **place)
    found = yield Call(Operation.LOOKUP_ACCOUNTS, ids([account_id]))
    terms = yield Call(Operation.LOOKUP_ACCOUNT_TERMS, ids([account_id]))
    available = None
    if found.body:
        # Only an account with a limit is refused so, and the limit is on its normal side.
        limit = number(bytes(terms.body[16:32])) if kind is ExceedsCredits else 0
        available = max(0, Balance.of_account(bytes(found.body), transaction.asset).available_minor + limit)
    return kind(
        result.id,
        account_id=account_id,
        available_minor=available,
        requested_minor=transaction.amount_minor,
        in_words=transaction.asset.in_words,
        **place,
    )


def refusal_class(status: Status) -> type[Rejected]:
    """The class of a refusal."""
    kind = BY_CODE[str(status)]
    if not issubclass(kind, Rejected):
        raise UnexpectedReply(f"The status {status} is no refusal.")
    return kind


def create_account(
    asset: Asset,
    *,
    account_id: int | None,
    related_to: str | int | None,
    flags: AccountFlags,
    code: int,
    user_data: tuple[int, int, int],
    assets: Assets,
) -> Steps[Account]:
    """Creates an account, or finds that it is there already, the same."""
    related = None if related_to is None else account_id_of(related_to)
    identity = new_account_id(related) if account_id is None else check_id(account_id)
    row = pack(identity, 0, 0, 0, 0, (*user_data, 0, asset.number, code, flags))
    result = (yield Call(Operation.CREATE_ACCOUNTS, row)).rows
    status = CreateAccountStatus(int(result["status"][0]))
    if status not in (CreateAccountStatus.CREATED, CreateAccountStatus.EXISTS):
        raise refusal_class(status)(
            identity, timestamp_ns=int(result["timestamp"][0]), explanation=f"account {to_address(identity)}"
        )
    return (yield from get_account(identity, assets))


def get_account(address: str | int, assets: Assets) -> Steps[Account]:
    """An account as it stands."""
    account_id = account_id_of(address)
    body = (yield Call(Operation.LOOKUP_ACCOUNTS, ids([account_id]))).body
    if not body:
        raise AccountNotFound(0, account_id=account_id)
    return Account.from_row(bytes(body), assets)


def balance_at(address: str | int, timestamp_ns: int, assets: Assets) -> Steps[Balance]:
    """The balances of an account right after its last event at or before a time."""
    account = yield from get_account(address, assets)
    question = np.zeros(1, BALANCE_AT)
    question["account_id"], question["timestamp"] = from_ints([account.id]), timestamp_ns
    body = (yield Call(Operation.BALANCE_AT, question)).body
    return Balance.from_row(bytes(body), account.asset, debit_normal=account.balance.debit_normal)


def get_transfer(transfer: int | str, assets: Assets) -> Steps[Transfer]:
    """A recorded transfer by its id or its hash."""
    if isinstance(transfer, int):
        body = (yield Call(Operation.LOOKUP_TRANSFERS, ids([check_id(transfer)]))).body
    else:
        try:
            digest = bytes.fromhex(transfer.removeprefix("0x"))
        except ValueError:
            digest = b""
        if len(digest) != 32:
            raise InvalidId(transfer, "a hash is 0x and 64 hexadecimal digits")
        body = (yield Call(Operation.LOOKUP_HASHES, digest)).body
    if not body:
        raise TransferNotFound(transfer)
    return as_transfer(bytes(body), assets)


def history_page(
    account_id: int, assets: Assets, *, since_ns: int, until_ns: int, newest_first: bool, limit: int
) -> Steps[list[Transfer]]:
    """One page of an account's transfers."""
    if min(since_ns, until_ns) < 0 or max(since_ns, until_ns) >= 1 << 63:
        raise InvalidQuery(f"times lie between 0 and 2^63-1 ns, not {since_ns} and {until_ns}")
    question = np.zeros(1, ACCOUNT_FILTER)
    question["account_id"] = from_ints([account_id])
    question["timestamp_min"], question["timestamp_max"] = since_ns, until_ns
    question["limit"] = check_limit(limit, BATCH_MAX)
    question["flags"] = int(_SIDES | (AccountFilterFlags.REVERSED if newest_first else 0))
    body = (yield Call(Operation.GET_ACCOUNT_TRANSFERS, question)).body
    return [as_transfer(row, assets) for row in rows_of(body, 128)]


def next_range(page: Sequence[Transfer], since_ns: int, until_ns: int, *, newest_first: bool) -> tuple[int, int] | None:
    """The times that are left to read after a page; None when nothing is."""
    last = page[-1].timestamp_ns
    if newest_first:
        return (since_ns, last - 1) if last - 1 >= max(since_ns, 1) else None
    return (last + 1, until_ns) if not until_ns or last + 1 <= until_ns else None


def status() -> Steps[EngineStatus]:
    """How the engine stands."""
    return decode_status((yield Call(Operation.GET_STATUS, b"")).body)


def as_transfer(row: bytes, assets: Assets) -> Transfer:
    """A recorded row with its asset."""
    return Transfer(row, assets.find(int.from_bytes(row[112:116], "little")))


def ids(numbers: Sequence[int]) -> NDArray[np.void]:
    """`ID` rows."""
    return from_ints(list(numbers)).view(ID)


def rows_of(body: bytes | bytearray, size: int) -> list[bytes]:
    """The rows of a body, one by one."""
    return [bytes(body[at : at + size]) for at in range(0, len(body), size)]


def batches(rows: NDArray[np.void]) -> list[NDArray[np.void]]:
    """The rows in batches of at most 8,189, cut only between chains.

    Raises:
        BatchTooLarge: a chain is longer than a batch.
    """
    # A row that is not linked ends its chain, so a batch may end after it.
    linked_bit = int(TransferFlags.LINKED if rows.dtype == TRANSFER else AccountFlags.LINKED)
    is_end = (rows["flags"] & linked_bit) == 0 if rows.dtype in (TRANSFER, ACCOUNT) else np.ones(len(rows), bool)
    cut = [0]
    while cut[-1] < len(rows):
        start = cut[-1]
        stop = min(start + BATCH_MAX, len(rows))
        if stop < len(rows) and not is_end[stop - 1]:
            ends = np.flatnonzero(is_end[start:stop])
            if not ends.size:
                raise BatchTooLarge(f"The chain at row {start} is longer than {BATCH_MAX} rows.")
            stop = start + int(ends[-1]) + 1
        cut.append(stop)
    return [rows[start:stop] for start, stop in pairwise(cut)]
