"""The hot routes: `POST /api/v1/transaction`, `POST /api/v1/transactions`, and the second phase of a hold.

Once, whatever the network does. A request with an `Idempotency-Key` gets transfer ids that are a function of book,
principal, key and row (spec/protocol.md section 8). Sent again, it meets its own transfers: what is recorded is
compared with what the request asks for, by the kernel (`exists_with_different_...`) and, for batches, here, before
anything is sent. The same is answered with the original outcome and `Idempotency-Replayed: true`, another with
`idempotency_conflict`. A refusal that burned the id is answered with the refusal that burned it: the engine keeps its
code and time, but not the row. What left no row in the ledger is known to `Keys`, as long as this process runs; what
it cannot know afterwards stands there.
"""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec

from qenex.api import journal_context, times
from qenex.api.admission import Move
from qenex.api.fields import amount, boolean, members
from qenex.api.problems import problem
from qenex.api.refusals import TRANSFER_ID_USED, explain
from qenex.api.strict_json import pointer
from qenex.api.transfers import (
    DECIDED_BY_KERNEL,
    FULL_AMOUNT,
    ROW_NEEDED,
    SINGLE_FIELDS,
    Wanted,
    amount_minor,
    amount_text,
    asset_of,
    document,
    hash_of,
    read_wanted,
    recorded,
    same,
    wanted,
)
from qenex.errors import (
    BatchRefused,
    BatchTooLarge,
    ExceedsCredits,
    ExceedsPendingTransferAmount,
    IdempotencyConflict,
    InsufficientFunds,
    InvalidField,
    InvalidIdempotencyKey,
    MissingField,
    PendingTransferNotFound,
)
from qenex.kernel import BATCH_MAX, CreateTransferStatus, TransferFlags
from qenex.limits import bulk_cost
from qenex.principals import Action
from qenex.services.access import Phase

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from qenex.api.combiner import Outcome
    from qenex.api.exchange import Answer, Exchange, Headers
    from qenex.api.strict_json import Value
    from qenex.assets import Assets

BATCH_BYTES_MAX: Final = 4_194_304
"""Body of a batch: 8,189 transfers of 512 bytes."""
BATCH_VALUES_MAX: Final = BATCH_MAX * 16
"""Values in it: every field of every transfer."""
SLICE: Final = 256
"""Rows that are read or written at a stretch; between them other requests get their turn."""

_CREATED: Final = int(CreateTransferStatus.CREATED)
_EXISTS: Final = int(CreateTransferStatus.EXISTS)
_CHAIN_FAILED: Final = int(CreateTransferStatus.LINKED_EVENT_FAILED)
_BURNED: Final = int(CreateTransferStatus.ID_ALREADY_FAILED)
_JSON: Final = (b"content-type", b"application/json")
_REPLAYED: Final = (b"idempotency-replayed", b"true")
_VOID_FIELDS: Final = {"optimize": boolean}
_POST_FIELDS: Final = {"amount": amount, "optimize": boolean}


def _as_it_is(value: Value) -> Value:
    return value


_BATCH_FIELDS: Final = {"atomic": boolean, "optimize": boolean, "transactions": _as_it_is}


class Transactions:
    """What one request does to the ledger: moves money, or says why not."""

    __slots__ = ("_assets", "_combiner", "_exchange", "_keys", "_ledger", "_principal")

    def __init__(self, exchange: Exchange, assets: Assets) -> None:
        """Takes the request, and what ledger numbers stand for."""
        desk = exchange.desk
        self._exchange, self._assets, self._principal = exchange, assets, exchange.principal
        self._combiner, self._ledger, self._keys = desk.combiner, desk.ledger, desk.keys

    async def create(self) -> Answer:
        """One transfer."""
        value, body = await self._exchange.json()
        fields = members(value, "", SINGLE_FIELDS, ROW_NEEDED)
        transfer = wanted(fields, "", self._assets)
        decision = await self._admit([transfer])
        return await self._settle(transfer, body, decision, optimize=fields.get("optimize", False))

    async def post(self, pending_id: int) -> Answer:
        """Posts a hold: all of it, or the amount that the body says."""
        value, body = await self._exchange.json()
        fields = members(value, "", _POST_FIELDS, ())
        minor = FULL_AMOUNT
        if "amount" in fields:
            pending = (await self._exchange.view.transfers([pending_id])).get(pending_id)
            if pending is None:
                raise PendingTransferNotFound(pending_id)
            minor = amount_minor(fields["amount"], asset_of(pending, self._assets), "")
            if minor == FULL_AMOUNT != int.from_bytes(pending[48:64], "little"):
                # To the kernel this number means all of it; whoever writes it means the number.
                raise ExceedsPendingTransferAmount(pending_id)
        transfer = _second_phase(pending_id, TransferFlags.POST_PENDING_TRANSFER, minor)
        decision = await self._admit_end(pending_id, Phase.POST, minor)
        return await self._settle(transfer, body, decision, optimize=fields.get("optimize", False))

    async def void(self, pending_id: int) -> Answer:
        """Releases a hold."""
        value, body = await self._exchange.json()
        fields = members(value, "", _VOID_FIELDS, ())
        transfer = _second_phase(pending_id, TransferFlags.VOID_PENDING_TRANSFER, 0)
        decision = await self._admit_end(pending_id, Phase.VOID, FULL_AMOUNT)
        return await self._settle(transfer, body, decision, optimize=fields.get("optimize", False))

    async def create_many(self) -> Answer:
        """A batch: each transfer on its own, or all as one."""
        value, body = await self._exchange.json(bytes_max=BATCH_BYTES_MAX, values_max=BATCH_VALUES_MAX)
        fields = members(value, "", _BATCH_FIELDS, ("transactions",))
        transfers = await self._read_rows(fields["transactions"])
        await self._exchange.charge(bulk_cost(len(transfers)))
        atomic, optimize = fields.get("atomic", False), fields.get("optimize", False)
        if atomic:
            for transfer in transfers[:-1]:
                transfer.flags |= TransferFlags.LINKED
        decision = await self._admit(transfers)
        key = self._exchange.idempotency_key()
        self._name(transfers, key)
        sent = [transfer.pack() for transfer in transfers]
        if key is not None:
            rows = await self._recorded_before(transfers, sent, key)
            if len(rows) == len(sent):
                return _batch_answer([self._done(rows[t.id], replayed=True) for t in transfers], None, asked=optimize)
            if rows and atomic:
                raise IdempotencyConflict(key, "that one had fewer transfers")
        packed = b"".join(sent)
        with self._keys.claimed(transfers[0].id, packed, key) as remember:
            outcome = await self._submit(packed, body, decision, optimize=optimize)
            if TRANSFER_ID_USED.isdisjoint(status for _, status, _ in outcome.results):
                remember()
        if atomic and any(status != _CREATED for _, status, _ in outcome.results):
            return await self._chain_failed(transfers, sent, outcome, key, optimize=optimize)
        return _batch_answer(await self._results(transfers, sent, outcome, key), outcome, asked=optimize)

    async def _settle(self, transfer: Wanted, body: bytes, decision: bytes, *, optimize: bool) -> Answer:
        """Sends one transfer and answers with what became of it."""
        key = self._exchange.idempotency_key()
        self._name([transfer], key)
        sent = transfer.pack()
        with self._keys.claimed(transfer.id, sent, key) as remember:
            outcome = await self._submit(sent, body, decision, optimize=optimize)
            timestamp_ns, status, _ = outcome.results[0]
            if status != _CREATED and status not in TRANSFER_ID_USED:
                remember()
        if status == _EXISTS:
            row = (await self._recorded([transfer], key))[transfer.id]
        elif status == _CREATED and transfer.flags & DECIDED_BY_KERNEL:
            row = (await self._ledger.lookup_transfers([transfer.id]))[transfer.id]
        elif status == _CREATED:
            row = recorded(sent, timestamp_ns)
        else:
            await self._refuse(transfer, outcome, key)
        reply = document(row, self._assets)
        reply["status"] = "created"
        reply["optimize"] = _optimized(outcome, asked=optimize)
        headers: Headers = [_JSON, (b"location", f"/api/v1/transfers/{reply['id']}".encode("ascii"))]
        if status == _EXISTS:
            headers.append(_REPLAYED)
        return _answer(201, reply, headers)

    async def _admit(self, transfers: Sequence[Wanted]) -> bytes:
        """Asks whether the principal may move all this; the digest of the decision."""
        exchange = self._exchange
        moves = [
            Move(
                transfer.debit_account_id,
                transfer.credit_account_id,
                transfer.asset.number if transfer.asset is not None else 0,
                transfer.amount_minor,
                Phase.HOLD if transfer.flags & TransferFlags.PENDING else Phase.SINGLE,
            )
            for transfer in transfers
        ]
        return await exchange.admission.admit_moves(self._principal, exchange.desk, Action.TRANSFERS_WRITE, moves)

    async def _admit_end(self, pending_id: int, phase: Phase, minor: int) -> bytes:
        """Asks whether the principal may end a hold so: with its accounts, and its amount where it posts all."""
        exchange = self._exchange
        rows = await self._ledger.lookup_transfers([pending_id])
        # Of a hold that there is not, nobody owns the accounts: who may not post others' holds learns nothing.
        hold = rows.get(pending_id, bytes(128))
        amount = int.from_bytes(hold[48:64], "little") if minor == FULL_AMOUNT else minor
        sides = (int.from_bytes(hold[16:32], "little"), int.from_bytes(hold[32:48], "little"))
        moves = [Move(*sides, int.from_bytes(hold[112:116], "little"), amount, phase)]
        return await exchange.admission.admit_moves(self._principal, exchange.desk, Action.TRANSFERS_WRITE, moves)

    def _submit(self, rows: bytes, body: bytes, decision: bytes, *, optimize: bool) -> Awaitable[Outcome]:
        context, digest = journal_context.of(self._principal), sha256(body).digest()
        return self._combiner.submit(rows, context=context, digest=digest, decision=decision, optimize=optimize)

    async def _refuse(self, transfer: Wanted, outcome: Outcome, key: str | None) -> None:
        result = outcome.results[0]
        first = await self._ledger.lookup_outcomes([transfer.id]) if result[1] == _BURNED else {}
        error = explain(transfer, result, row=0, key=key, first=first)
        if isinstance(error, InsufficientFunds) and result[1] != _BURNED and transfer.asset is not None:
            error = type(error)(
                transfer.id,
                account_id=error.account_id,
                available_minor=await self._ledger.available(
                    error.account_id, transfer.asset, debit=isinstance(error, ExceedsCredits)
                ),
                requested_minor=transfer.amount_minor,
                in_words=transfer.asset.in_words,
                timestamp_ns=result[0],
            )
        raise error

    def _name(self, transfers: Sequence[Wanted], key: str | None) -> None:
        """Gives the transfers their ids: the client's own, from the key, or new ones."""
        for row, transfer in enumerate(transfers):
            if key is None:
                transfer.id = transfer.id or self._ledger.new_id()
            elif transfer.id:
                raise InvalidIdempotencyKey("Idempotency-Key", "an id in the body is a key already; send one of both")
            else:
                transfer.id = self._ledger.id_from_key(self._principal.id, key, row)

    async def _read_rows(self, value: Value) -> list[Wanted]:
        if type(value) is not list:
            raise InvalidField("/transactions", "an array of transfers is needed")
        if not value:
            raise MissingField("/transactions/0", "is needed: a batch has 1 to 8,189 transfers")
        if len(value) > BATCH_MAX:
            raise BatchTooLarge(f"There are {len(value)} transfers, {BATCH_MAX} at most are taken.")
        transfers = []
        for row, item in enumerate(value):
            if row % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            transfers.append(read_wanted(item, pointer("transactions", row), self._assets))
        return transfers

    async def _recorded(self, transfers: Sequence[Wanted], key: str | None) -> dict[int, bytes]:
        """Those of the transfers that are recorded already.

        Raises:
            IdempotencyConflict: another one is recorded that the key names after the last of them.
        """
        ids = [transfer.id for transfer in transfers]
        further = None
        if key is not None and len(ids) < BATCH_MAX:
            further = self._ledger.id_from_key(self._principal.id, key, len(ids))
            ids.append(further)
        rows = await self._ledger.lookup_transfers(ids)
        if key is not None and further in rows:
            raise IdempotencyConflict(key, "that one had more transfers")
        return rows

    async def _recorded_before(self, transfers: Sequence[Wanted], sent: Sequence[bytes], key: str) -> dict[int, bytes]:
        """Those of the transfers that are recorded already, all as wanted."""
        rows = await self._recorded(transfers, key)
        for row, (transfer, bytes_) in enumerate(zip(transfers, sent, strict=True)):
            if transfer.id in rows and not same(rows[transfer.id], bytes_):
                raise IdempotencyConflict(key, f"row {row} is recorded, but not so")
        return rows

    async def _chain_failed(
        self, transfers: Sequence[Wanted], sent: Sequence[bytes], outcome: Outcome, key: str | None, *, optimize: bool
    ) -> Answer:
        """An atomic batch of which nothing was done now: because it was done before, or because of one of its rows."""
        if any(status == _EXISTS for _, status, _ in outcome.results):
            rows = await self._ledger.lookup_transfers([transfer.id for transfer in transfers])
            if all(t.id in rows and same(rows[t.id], bytes_) for t, bytes_ in zip(transfers, sent, strict=True)):
                return _batch_answer([self._done(rows[t.id], replayed=True) for t in transfers], None, asked=optimize)
        first = await self._first(transfers, outcome)
        errors = [
            problem(explain(transfer, result, row=row, key=key, first=first))
            | {"pointer": pointer("transactions", row)}
            for row, (transfer, result) in enumerate(zip(transfers, outcome.results, strict=True))
            if result[1] not in (_CREATED, _CHAIN_FAILED)
        ]
        if key is not None and any(error["code"] == IdempotencyConflict.code for error in errors):
            raise IdempotencyConflict(key, "a row of it is recorded otherwise")
        raise BatchRefused(errors)

    async def _first(self, transfers: Sequence[Wanted], outcome: Outcome) -> dict[int, tuple[int, int]]:
        burned = [t.id for t, result in zip(transfers, outcome.results, strict=True) if result[1] == _BURNED]
        return await self._ledger.lookup_outcomes(burned) if burned else {}

    async def _results(
        self, transfers: Sequence[Wanted], sent: Sequence[bytes], outcome: Outcome, key: str | None
    ) -> list[dict[str, Any]]:
        """What became of each row."""
        ask = [
            transfer.id
            for transfer, (_, status, _) in zip(transfers, outcome.results, strict=True)
            if status == _EXISTS or (status == _CREATED and transfer.flags & DECIDED_BY_KERNEL)
        ]
        rows = await self._ledger.lookup_transfers(ask) if ask else {}
        first = await self._first(transfers, outcome)
        results = []
        for row, (transfer, bytes_, result) in enumerate(zip(transfers, sent, outcome.results, strict=True)):
            if row % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            timestamp_ns, status, _ = result
            if status in (_CREATED, _EXISTS):
                done = rows.get(transfer.id) or recorded(bytes_, timestamp_ns)
                results.append(self._done(done, replayed=status == _EXISTS))
            else:
                error = explain(transfer, result, row=row, key=key, first=first)
                refused = problem(error) | {"pointer": pointer("transactions", row)}
                results.append({"id": str(transfer.id), "status": error.code, "error": refused})
        return results

    def _done(self, row: bytes, *, replayed: bool) -> dict[str, Any]:
        timestamp_ns = int.from_bytes(row[120:], "little")
        return {
            "id": str(int.from_bytes(row[:16], "little")),
            "status": "created",
            "replayed": replayed,
            "hash": hash_of(row),
            "timestamp": times.to_text(timestamp_ns),
            "timestamp_ns": str(timestamp_ns),
            "amount": amount_text(row, self._assets),
        }


def _second_phase(pending_id: int, phase: TransferFlags, minor: int) -> Wanted:
    """A post or a void: what it does not say is taken from the pending transfer."""
    transfer = Wanted({"code": 0}, None, minor)
    transfer.pending_id, transfer.flags = pending_id, int(phase)
    return transfer


def _optimized(outcome: Outcome | None, *, asked: bool) -> dict[str, Any]:
    """What `optimize` did; nothing was sent where the outcome was known."""
    return {
        "requested": asked,
        "waited_us": outcome.waited_us if outcome else 0,
        "group_requests": outcome.group_requests if outcome else 0,
        "group_rows": outcome.group_rows if outcome else 0,
    }


def _batch_answer(results: list[dict[str, Any]], outcome: Outcome | None, *, asked: bool) -> Answer:
    created = sum(result["status"] == "created" and not result["replayed"] for result in results)
    replayed = sum(result.get("replayed", False) for result in results)
    reply = {
        "created": created,
        "replayed": replayed,
        "refused": len(results) - created - replayed,
        "results": results,
        "optimize": _optimized(outcome, asked=asked),
    }
    return _answer(200, reply, [_JSON, _REPLAYED] if replayed == len(results) else [_JSON])


def _answer(status: int, reply: dict[str, Any], headers: Headers) -> Answer:
    body = msgspec.json.encode(reply)
    headers.append((b"content-length", str(len(body)).encode("ascii")))
    headers.append((b"cache-control", b"no-store"))
    return status, headers, body
