"""All requests of one turn of the event loop go to the engine in one frame.

A request hands in the rows of its transfers and waits. At the end of the turn everything that waits becomes one
`create_transfers` request: one frame, one entry of the journal, one wake-up when its group is on disk. Each HTTP
request's rows stay together and in their order, so that a linked chain, which its own last row closes, cannot run into
another's.

Who waits for whom. A request that asks for `optimize` may be held by the engine for up to a millisecond, so that
others can share its group. That costs time only those who asked for it: a frame lingers when all its requests asked,
and as soon as one did not, everything goes at once, the patient ones with it.

While the engine works on `FRAMES_MAX` frames, new requests wait here and make the next frame larger. That is what
keeps the cost of a frame shared when there is much to do. Lingering frames are counted apart, so that patience never
delays a request that did not ask for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from qenex.errors import Busy, QenexError, ReservedCode, ReservedId
from qenex.kernel import BATCH_MAX, TRANSFER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from numpy.typing import NDArray

FRAMES_MAX: Final = 4
"""Frames under way, of those that linger and of those that do not; the engine's window holds 64 requests."""
LINGER_US: Final = 1_000
"""How long a request with `optimize` may wait, microseconds."""
ROWS_WAITING_MAX: Final = 16 * BATCH_MAX
"""Rows that wait here at most; beyond them the answer is `busy`."""
ROW_BYTES: Final = TRANSFER.itemsize


class Reply(Protocol):
    """What the engine says of a frame."""

    @property
    def rows(self) -> NDArray[np.void]: ...  # noqa: D102  # named as in qenex.client
    @property
    def waited_us(self) -> int: ...  # noqa: D102  # as above
    @property
    def group_requests(self) -> int: ...  # noqa: D102  # as above
    @property
    def group_rows(self) -> int: ...  # noqa: D102  # as above


class Send(Protocol):
    """Sends transfers to the engine and waits for its reply."""

    def __call__(self, rows: NDArray[np.void], *, linger_us: int, context: bytes) -> Awaitable[Reply]:
        """Sends rows of `TRANSFER`; raises an `EngineError` when there is no reply."""


class Outcome:
    """What became of the rows of one request."""

    __slots__ = ("group_requests", "group_rows", "results", "waited_us")

    def __init__(self, results: list[tuple[int, int, int]], reply: Reply) -> None:
        self.results = results
        """(timestamp, status, reserved) of each row, in order."""
        self.waited_us = reply.waited_us
        """How long the frame was held to share its group, microseconds."""
        self.group_requests = reply.group_requests
        """Frames (of this and other connections) that shared one write and one sync."""
        self.group_rows = reply.group_rows
        """Rows that did."""


class _Waiting:
    __slots__ = ("count", "digest", "future", "patient", "rows")

    def __init__(self, rows: bytes, digest: bytes, future: asyncio.Future[Outcome], *, patient: bool) -> None:
        self.rows, self.digest, self.future, self.patient = rows, digest, future, patient
        self.count = len(rows) // ROW_BYTES


class Combiner:
    """Collects the transfers of one turn of the loop, sends them, hands out what became of them."""

    def __init__(self, send: Send, context: bytes) -> None:
        """Makes a combiner.

        Args:
            send: the way to the engine.
            context: what each frame's context begins with; the digest of the frame's requests follows.
        """
        self._send, self._context = send, context
        self._queue: deque[_Waiting] = deque()
        self._rows_waiting = 0
        self._impatient = 0
        self._scheduled = False
        self._frames = 0
        self._frames_lingering = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def rows_waiting(self) -> int:
        """Rows that no frame has taken yet."""
        return self._rows_waiting

    def submit(self, rows: bytes, digest: bytes, *, optimize: bool) -> asyncio.Future[Outcome]:
        """Hands in the rows of one request.

        Args:
            rows: 1 to 8,189 packed rows of `TRANSFER`; a chain is closed within them.
            digest: SHA-256 of the request, for the journal.
            optimize: may wait up to `LINGER_US` to share a group.

        Returns:
            A future of what became of the rows; it fails with an `EngineError`.

        Raises:
            Busy: too many rows wait already.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(rows, digest, loop.create_future(), patient=optimize)
        if self._rows_waiting + waiting.count > ROWS_WAITING_MAX:
            raise Busy(f"{self._rows_waiting} rows wait already", retry_after_us=1_000_000)
        self._queue.append(waiting)
        self._rows_waiting += waiting.count
        self._impatient += not optimize
        self._schedule(loop)
        return waiting.future

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        while self._queue:
            lingering = not self._impatient
            if (self._frames_lingering if lingering else self._frames) >= FRAMES_MAX:
                return
            self._start(self._take(), lingering=lingering)

    def _take(self) -> list[_Waiting]:
        """The requests at the front whose rows fit one frame."""
        taken: list[_Waiting] = []
        room = BATCH_MAX
        while self._queue and self._queue[0].count <= room:
            waiting = self._queue.popleft()
            room -= waiting.count
            self._impatient -= not waiting.patient
            taken.append(waiting)
        self._rows_waiting -= BATCH_MAX - room
        return taken

    def _start(self, taken: list[_Waiting], *, lingering: bool) -> None:
        if lingering:
            self._frames_lingering += 1
        else:
            self._frames += 1
        task = asyncio.get_running_loop().create_task(self._exchange(taken, lingering=lingering))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _exchange(self, taken: list[_Waiting], *, lingering: bool) -> None:
        """Sends one frame; whatever happens, each of its requests is told."""
        try:
            await self._ask(taken, LINGER_US if lingering else 0)
        except (ReservedId, ReservedCode) as error:
            # The only refusals of a whole frame that the rows of one request bring on all others.
            if len(taken) == 1:
                _fail(taken, error)
            else:
                for waiting in taken:
                    await self._exchange_alone(waiting)
        except BaseException as error:
            _fail(taken, error)
            if not isinstance(error, QenexError):
                raise
        finally:
            if lingering:
                self._frames_lingering -= 1
            else:
                self._frames -= 1
            self._schedule(asyncio.get_running_loop())

    async def _exchange_alone(self, waiting: _Waiting) -> None:
        try:
            await self._ask([waiting], 0)
        except QenexError as error:
            _fail([waiting], error)

    async def _ask(self, taken: Sequence[_Waiting], linger_us: int) -> None:
        rows = np.frombuffer(b"".join([waiting.rows for waiting in taken]), dtype=TRANSFER)
        digest = sha256(b"".join([waiting.digest for waiting in taken])).digest()
        context = self._context + len(taken).to_bytes(2, "little") + digest
        reply = await self._send(rows, linger_us=linger_us, context=context)
        results = reply.rows.tolist()
        first = 0
        for waiting in taken:
            last = first + waiting.count
            if not waiting.future.done():
                waiting.future.set_result(Outcome(results[first:last], reply))
            first = last


def _fail(taken: Sequence[_Waiting], error: BaseException) -> None:
    for waiting in taken:
        if not waiting.future.done():
            waiting.future.set_exception(error)
