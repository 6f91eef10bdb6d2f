"""Clients that work on while their engine is killed and started again, and the plain sums that must come out."""

# ruff: noqa: S311  # nothing here is secret

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from qenex import AsyncQenexClient, QenexClient
from qenex.client.protocol import Operation
from qenex.kernel import BATCH_MAX, ID, TRANSFER, AccountFlags, CreateTransferStatus, TransferFlags, from_ints

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from qenex.client.values import TransferResult
    from tests.conftest import EngineProcess

    Acknowledge = Callable[[NDArray[np.void]], None]

ACCOUNTS: Final = 12
BULK_ROWS: Final = (*[60] * 6, *[600] * 5, 9_000)
"""The largest is more than a request holds, so that the client has two of them under way."""
EUR: Final = 978
PATIENCE_S: Final = 120.0


class Expected:
    """What the ledger must hold by all that was acknowledged: plain sums."""

    def __init__(self) -> None:
        self.transfers = 0
        self.holds: dict[int, tuple[int, int, int]] = {}
        self.debits_posted, self.credits_posted = Counter[int](), Counter[int]()

    def take(self, rows: NDArray[np.void]) -> None:
        """Takes rows as they were acknowledged."""
        self.transfers += len(rows)
        columns = [rows[name]["lo"].tolist() for name in ("id", "debit_account_id", "credit_account_id", "amount")]
        pending_ids = rows["pending_id"]["lo"].tolist()
        for identity, debit, credit, amount, pending_id, flags in zip(
            *columns, pending_ids, rows["flags"].tolist(), strict=True
        ):
            if flags & TransferFlags.PENDING:
                self.holds[identity] = (debit, credit, amount)
                continue
            if pending_id:
                assert self.holds.pop(pending_id)[:2] == (debit, credit)
            if not flags & TransferFlags.VOID_PENDING_TRANSFER:
                self.debits_posted[debit] += amount
                self.credits_posted[credit] += amount

    def balances(self, account: int) -> tuple[int, int, int, int]:
        """Debits pending, debits posted, credits pending, credits posted."""
        pending = [hold for hold in self.holds.values() if account in hold[:2]]
        return (
            sum(amount for debit, _, amount in pending if debit == account),
            self.debits_posted[account],
            sum(amount for _, credit, amount in pending if credit == account),
            self.credits_posted[account],
        )


class Gate:
    """Holds clients back between two pieces of work, so that what they were told can be compared with what is there."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open, self._ended, self._inside = True, False, 0

    def enter(self) -> bool:
        """Waits until it is open; False once there is no more work."""
        with self._changed:
            self._changed.wait_for(lambda: self._open or self._ended)
            self._inside += not self._ended
            return not self._ended

    def leave(self) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Lets nobody in, and waits until all are out."""
        with self._changed:
            self._open = False
            assert self._changed.wait_for(lambda: not self._inside, PATIENCE_S), "a client is stuck"

    def open(self) -> None:
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class Worker(Protocol):
    """A client's work, piece by piece; `__call__` does one, and acknowledges what it was told."""

    def __call__(self, acknowledge: Acknowledge) -> None: ...
    def session(self) -> bytes: ...
    def close(self) -> None: ...


class _Drawn:
    """Transfers of one worker: ids that nobody else uses, parties and amounts at random."""

    def __init__(self, number: int) -> None:
        self.random = random.Random(number)
        self._next = number << 40

    def ids(self, count: int) -> range:
        first = self._next + 1
        self._next += count
        return range(first, first + count)

    def parties(self) -> tuple[int, int]:
        debit, credit = self.random.sample(range(1, ACCOUNTS + 1), 2)
        return debit, credit

    def amount(self) -> str:
        return f"{self.random.randint(1, 1_000)}.{self.random.randint(0, 99):02}"

    def rows(self, count: int) -> NDArray[np.void]:
        draw = np.random.default_rng(self._next)
        debit = draw.integers(1, ACCOUNTS + 1, count, dtype=np.uint64)
        other = draw.integers(0, ACCOUNTS - 1, count, dtype=np.uint64)
        rows = np.zeros(count, TRANSFER)
        rows["id"]["lo"] = np.asarray(self.ids(count), np.uint64)
        rows["debit_account_id"]["lo"] = debit
        rows["credit_account_id"]["lo"] = (debit + other) % ACCOUNTS + 1
        rows["amount"]["lo"] = draw.integers(1, 100_000, count, dtype=np.uint64)
        rows["ledger"], rows["code"] = EUR, 1
        return rows


def created(results: list[TransferResult]) -> NDArray[np.void]:
    """The rows of results as recorded; every one must have been made now, not found."""
    assert {result.status for result in results} == {CreateTransferStatus.CREATED}
    return np.frombuffer(b"".join(result.row for result in results), TRANSFER)


class Bulk:
    """Thousands of rows at a time from numpy, several requests under way."""

    def __init__(self, engine: EngineProcess, number: int) -> None:
        self._client = QenexClient(engine.address, credential=engine.token, patience_s=PATIENCE_S)
        self._drawn = _Drawn(number)

    def __call__(self, acknowledge: Acknowledge) -> None:
        rows = self._drawn.rows(self._drawn.random.choice(BULK_ROWS))
        results = self._client.create_transfers(rows)
        assert set(results["status"]) == {int(CreateTransferStatus.CREATED)}
        rows["timestamp"] = results["timestamp"]
        acknowledge(rows)

    def session(self) -> bytes:
        return self._client._connection.session.id

    def close(self) -> None:
        self._client.close()


class Single(Bulk):
    """One transfer a request."""

    def __call__(self, acknowledge: Acknowledge) -> None:
        (identity,) = self._drawn.ids(1)
        debit, credit = self._drawn.parties()
        wanted = self._client.create_transaction(debit, credit, self._drawn.amount(), "EUR", transfer_id=identity)
        acknowledge(created([self._client.execute(wanted)]))


class TwoPhase(Bulk):
    """A hold, and then, in another request, what becomes of it: posted, posted in part, voided, or left for later."""

    def __call__(self, acknowledge: Acknowledge) -> None:
        hold_id, end_id = self._drawn.ids(2)
        hold = self._client.hold(*self._drawn.parties(), self._drawn.amount(), "EUR", transfer_id=hold_id)
        acknowledge(created([hold]))
        match self._drawn.random.randrange(4):
            case 0:
                end = self._client.post(hold_id, transfer_id=end_id)
            case 1:
                end = self._client.post(hold_id, "0.99", transfer_id=end_id)
            case 2:
                end = self._client.void(hold_id, transfer_id=end_id)
            case _:
                return
        acknowledge(created([end]))


class Concurrent:
    """The client for asyncio, with many transfers under way at a time."""

    AT_A_TIME = 40

    def __init__(self, engine: EngineProcess, number: int) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncQenexClient(engine.address, credential=engine.token, patience_s=PATIENCE_S)
        self._runner.run(self._client.open())
        self._drawn = _Drawn(number)

    def __call__(self, acknowledge: Acknowledge) -> None:
        async def pay(identity: int) -> TransferResult:
            debit, credit = self._drawn.parties()
            wanted = self._client.create_transaction(debit, credit, self._drawn.amount(), "EUR", transfer_id=identity)
            return await self._client.execute(wanted, optimize=bool(identity % 2))

        async def all_of_them() -> list[TransferResult]:
            return await asyncio.gather(*map(pay, self._drawn.ids(self.AT_A_TIME)))

        acknowledge(created(self._runner.run(all_of_them())))

    def session(self) -> bytes:
        return self._client.connection.session.id

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()


class Load:
    """Four clients of an engine, each in a thread of its own, and all that they were told."""

    def __init__(self, engine: EngineProcess) -> None:
        with QenexClient(engine.address, credential=engine.token) as client:
            for account in range(1, ACCOUNTS + 1):
                client.create_account("EUR", account_id=account, flags=AccountFlags.NONE)
        self.engine = engine
        self.gate = Gate()
        self.expected = Expected()
        self._told: SimpleQueue[NDArray[np.void] | BaseException] = SimpleQueue()
        kinds = (Bulk, Single, TwoPhase, Concurrent)
        self._workers: list[Worker] = [kind(engine, number) for number, kind in enumerate(kinds, 1)]
        self._sessions = [worker.session() for worker in self._workers]
        self._threads = [threading.Thread(target=self._work, args=(worker,)) for worker in self._workers]
        self._recent: list[NDArray[np.void]] = []
        for thread in self._threads:
            thread.start()

    def _work(self, worker: Worker) -> None:
        while self.gate.enter():
            try:
                worker(self._told.put)
            except BaseException as error:  # noqa: BLE001  # raised where the test waits
                self._told.put(error)
                return
            finally:
                self.gate.leave()

    def acknowledged(self, requests: int) -> None:
        """Waits until so many more requests were answered."""
        for _ in range(requests):
            self._take(self._told.get(timeout=PATIENCE_S))

    def check(self) -> None:
        """Lets all finish what they are at; then everything acknowledged is there, once, and nothing else."""
        self.gate.close()
        while not self._told.empty():
            self._take(self._told.get())
        assert [worker.session() for worker in self._workers] == self._sessions, "clients went on in their sessions"
        with QenexClient(self.engine.address, credential=self.engine.token, read_only=True) as client:
            for rows in self._recent:
                self.expected.take(rows)
                found = [
                    client.call(Operation.LOOKUP_TRANSFERS, ids(rows[at : at + BATCH_MAX])).rows
                    for at in range(0, len(rows), BATCH_MAX)
                ]
                assert np.concatenate(found).tobytes() == rows.tobytes(), "what was acknowledged is there as it was"
            status = client.status()
            assert (status.transfers, status.pending) == (self.expected.transfers, len(self.expected.holds))
            accounts = client.call(Operation.LOOKUP_ACCOUNTS, from_ints(list(range(1, ACCOUNTS + 1))).view(ID)).rows
        quantities = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
        sums = Counter[str]()
        for account in accounts:
            balances = tuple(int(account[name]["lo"]) for name in quantities)
            assert balances == self.expected.balances(int(account["id"]["lo"]))
            sums.update(dict(zip(quantities, balances, strict=True)))
        assert sums["debits_posted"] == sums["credits_posted"]
        assert sums["debits_pending"] == sums["credits_pending"]
        self._recent.clear()
        self.gate.open()

    def end(self) -> None:
        """Ends the clients."""
        self.gate.end()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "a client is stuck"
        for worker in self._workers:
            worker.close()

    def _take(self, told: NDArray[np.void] | BaseException) -> None:
        if isinstance(told, BaseException):
            raise told
        self._recent.append(told)


def ids(rows: NDArray[np.void]) -> NDArray[np.void]:
    """The ids of rows, as `ID` rows."""
    found = np.zeros(len(rows), ID)
    found["id"] = rows["id"]
    return found
