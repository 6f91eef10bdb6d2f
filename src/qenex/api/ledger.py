"""What the routes ask the engine: reads as they need them, ids, what an account still has."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from qenex.client.ids import id_from_key, new_id
from qenex.client.protocol import Operation, decode_status
from qenex.client.values import Balance
from qenex.kernel import (
    ACCOUNT_FILTER,
    BALANCE_AT,
    CHANGE_EVENTS_FILTER,
    HASH,
    ID,
    QUERY_FILTER,
    AccountFilterFlags,
    QueryFilterFlags,
    from_ints,
    to_int,
    to_ints,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from qenex.assets import Asset
    from qenex.client.protocol import EngineStatus
    from qenex.client.session import Reply

_LOW_64: Final = (1 << 64) - 1


class Call(Protocol):
    """The way to the engine, as `qenex.client` has it."""

    async def __call__(
        self,
        operation: int,
        rows: NDArray[np.void] | bytes,
        *,
        linger_us: int = 0,
        context: bytes = b"",
        trace: bytes | None = None,
    ) -> Reply:
        """Sends one request and waits for its reply; raises an `EngineError`.

        Args:
            operation: an `Operation`.
            rows: its rows.
            linger_us: how long it may wait to share a group.
            context: what the journal keeps with it.
            trace: 16 bytes; absent, that of the request which is being answered.
        """


class Ledger:
    """Reads the ledger."""

    def __init__(self, call: Call, book: Callable[[], bytes]) -> None:
        """Wires it.

        Args:
            call: the way to the engine.
            book: the id of the engine's book, 16 bytes; raises `EngineUnreachable` while it is not known.
        """
        self._call, self._book = call, book

    def new_id(self) -> int:
        """An id that nothing has yet."""
        return new_id()

    def id_from_key(self, principal: str, key: str, row: int) -> int:
        """The id that an idempotency key of somebody stands for."""
        return id_from_key(self._book(), key, row, principal=principal)

    async def lookup_transfers(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Recorded transfers by id, those that there are."""
        return _by_id((await self._call(Operation.LOOKUP_TRANSFERS, _ids(ids))).body)

    async def lookup_hash(self, digest: bytes) -> bytes | None:
        """The recorded transfer with this hash."""
        reply = await self._call(Operation.LOOKUP_HASHES, np.frombuffer(digest, HASH))
        return bytes(reply.body) or None

    async def lookup_hashes(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """Recorded transfers by hash, those that there are."""
        reply = await self._call(Operation.LOOKUP_HASHES, np.frombuffer(b"".join(digests), HASH))
        return {sha256(b"\0" + row).digest(): row for row in _by_id(reply.body).values()}

    async def lookup_outcomes(self, ids: Sequence[int]) -> dict[int, tuple[int, int]]:
        """Timestamp and status by which each id was recorded or burned, for those that were."""
        rows = (await self._call(Operation.LOOKUP_OUTCOMES, _ids(ids))).rows
        times, statuses = rows["timestamp"].tolist(), rows["status"].tolist()
        return dict(zip(to_ints(rows["id"]), zip(times, statuses, strict=True), strict=True))

    async def lookup_account(self, account_id: int) -> bytes | None:
        """The account as it stands."""
        return (await self.lookup_accounts([account_id])).get(account_id)

    async def lookup_accounts(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Accounts as they stand by id, those that there are."""
        return _by_id((await self._call(Operation.LOOKUP_ACCOUNTS, _ids(ids))).body)

    async def debit_limit(self, account_id: int) -> int:
        """How far the account may be overdrawn, minor units."""
        rows = (await self._call(Operation.LOOKUP_ACCOUNT_TERMS, _ids([account_id]))).rows
        return to_int(rows["debit_limit"][0]) if len(rows) else 0

    async def available(self, account_id: int, asset: Asset, *, debit: bool) -> int:
        """What the account can still be debited (or credited) under its own limit, minor units; never negative.

        An account has its limit on its normal side.
        """
        row = await self.lookup_account(account_id)
        if row is None:
            return 0
        limit = await self.debit_limit(account_id) if debit else 0
        return max(0, Balance.of_account(row, asset).available_minor + limit)

    async def balance_at(self, account_ids: Sequence[int], timestamp_ns: int) -> NDArray[np.void]:
        """The balances of accounts as they were right after the last event up to a time, in order."""
        rows = np.zeros(len(account_ids), BALANCE_AT)
        rows["account_id"] = from_ints(account_ids)
        rows["timestamp"] = timestamp_ns
        return (await self._call(Operation.BALANCE_AT, rows)).rows

    async def query(self, operation: Operation, values: Mapping[str, int], *, limit: int, newest: bool) -> Reply:
        """Accounts or transfers by their fields.

        Args:
            operation: `QUERY_ACCOUNTS` or `QUERY_TRANSFERS`.
            values: fields of a `QUERY_FILTER`; 0 is any.
            limit: rows at most.
            newest: newest first.
        """
        return await self._call(operation, _filter(QUERY_FILTER, values, limit, _QUERY_ORDER[newest]))

    async def of_account(self, operation: Operation, values: Mapping[str, int], *, limit: int, newest: bool) -> Reply:
        """Transfers or balances of one account.

        Args:
            operation: `GET_ACCOUNT_TRANSFERS` or `GET_ACCOUNT_BALANCES`.
            values: fields of an `ACCOUNT_FILTER`; 0 is any; `flags` says which sides.
            limit: rows at most.
            newest: newest first.
        """
        flags = values.get("flags", _BOTH_SIDES) | (AccountFilterFlags.REVERSED if newest else 0)
        return await self._call(operation, _filter(ACCOUNT_FILTER, values, limit, flags))

    async def create_account(self, row: NDArray[np.void], context: bytes) -> tuple[int, int]:
        """Creates an account; gives the timestamp and the status of the result."""
        result = (await self._call(Operation.CREATE_ACCOUNTS, row, context=context)).rows[0]
        return int(result["timestamp"]), int(result["status"])

    async def status(self) -> EngineStatus:
        """How the engine stands."""
        return decode_status((await self._call(Operation.GET_STATUS, b"")).body)

    async def change_events(self, timestamp_min: int, timestamp_max: int, limit: int) -> tuple[bytes, int]:
        """What happened from one time to another, both inclusive, oldest first.

        Args:
            timestamp_min: UTC nanoseconds.
            timestamp_max: UTC nanoseconds; 0 is to the end.
            limit: events at most, up to `CHANGE_EVENTS_MAX`.

        Returns:
            Rows of `CHANGE_EVENT`; the time of the last thing that had been applied when they were read.
        """
        wanted = np.zeros(1, CHANGE_EVENTS_FILTER)
        wanted["timestamp_min"], wanted["timestamp_max"], wanted["limit"] = timestamp_min, timestamp_max, limit
        reply = await self._call(Operation.GET_CHANGE_EVENTS, wanted)
        return bytes(reply.body), reply.timestamp

    async def metrics(self) -> bytes:
        """The engine's metrics, as Prometheus reads them."""
        return bytes((await self._call(Operation.GET_METRICS, b"")).body)


_QUERY_ORDER: Final = {True: int(QueryFilterFlags.REVERSED), False: 0}
_BOTH_SIDES: Final = int(AccountFilterFlags.DEBITS | AccountFilterFlags.CREDITS)


def _by_id(rows: bytes | bytearray | memoryview) -> dict[int, bytes]:
    body = bytes(rows)
    pieces = [body[at : at + 128] for at in range(0, len(body), 128)]
    return {int.from_bytes(row[:16], "little"): row for row in pieces}


def _ids(ids: Sequence[int]) -> NDArray[np.void]:
    return from_ints(list(ids)).view(ID)


def _filter(dtype: np.dtype[np.void], values: Mapping[str, int], limit: int, flags: int) -> NDArray[np.void]:
    row = np.zeros(1, dtype)
    for name, value in values.items():
        row[name] = (value & _LOW_64, value >> 64) if dtype[name].names else value
    row["limit"], row["flags"] = limit, flags
    return row
