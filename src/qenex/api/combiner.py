"""All requests that one principal makes in one turn of the event loop go to the engine in one frame.

A request hands in the rows of its transfers and waits. At the end of the turn everything that waits becomes one
`create_transfers` request a principal: one frame, one entry of the journal, one wake-up when its group is on disk. The
entry says who asked (its context), so requests of two principals share no frame; they share a group, and with it the
sync. Each HTTP request's rows stay together and in their order, so that a linked chain, which its own last row closes,
cannot run into another's.

Who waits for whom. A request that asks for `optimize` may be held by the engine for up to a millisecond, so that
others can share its group. That costs time only those who asked for it: a frame lingers when all its requests asked,
and as soon as one did not, everything goes at once, the patient ones with it.

While the engine works on `FRAMES_MAX` frames, new requests wait here and make the next frame larger. That is what
keeps the cost of a frame shared when there is much to do. Lingering frames are counted apart, so that patience never
delays a request that did not ask for it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from qenex.api import journal_context
from qenex.errors import Busy, QenexError, ReservedCode, ReservedId
from qenex.kernel import BATCH_MAX, TRANSFER
from qenex.telemetry import tracing

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

    def __call__(self, rows: NDArray[np.void], *, linger_us: int, context: bytes, trace: bytes) -> Awaitable[Reply]:
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
    __slots__ = ("count", "decision", "digest", "future", "patient", "rows", "trace")

    def __init__(
        self, rows: bytes, digest: bytes, decision: bytes, future: asyncio.Future[Outcome], *, patient: bool
    ) -> None:
        self.rows, self.digest, self.decision, self.future, self.patient = rows, digest, decision, future, patient
        self.count = len(rows) // ROW_BYTES
        self.trace = tracing.current()


class _Queue:
    """What waits of one principal."""

    __slots__ = ("impatient", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[_Waiting] = deque()
        self.impatient = 0


class Combiner:
    """Collects the transfers of one turn of the loop, sends them, hands out what became of them."""

    def __init__(self, send: Send) -> None:
        """Takes the way to the engine."""
        self._send = send
        self._queues: OrderedDict[bytes, _Queue] = OrderedDict()
        self._rows_waiting = 0
        self._scheduled = False
        self._frames = 0
        self._frames_lingering = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def rows_waiting(self) -> int:
        """Rows that no frame has taken yet."""
        return self._rows_waiting

    def submit(
        self, rows: bytes, *, context: bytes, digest: bytes, decision: bytes, optimize: bool
    ) -> asyncio.Future[Outcome]:
        """Hands in the rows of one request.

        Args:
            rows: 1 to 8,189 packed rows of `TRANSFER`; a chain is closed within them.
            context: who asks; what each of its frames' contexts begins with (`journal_context.py`).
            digest: SHA-256 of the request, for the journal.
            decision: the 32 bytes of what allowed it, for the journal.
            optimize: may wait up to `LINGER_US` to share a group.

        Returns:
            A future of what became of the rows; it fails with an `EngineError`.

        Raises:
            Busy: too many rows wait already.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(rows, digest, decision, loop.create_future(), patient=optimize)
        if self._rows_waiting + waiting.count > ROWS_WAITING_MAX:
            raise Busy(f"{self._rows_waiting} rows wait already", retry_after_us=1_000_000)
        queue = self._queues.get(context)
        if queue is None:
            queue = self._queues[context] = _Queue()
        queue.waiting.append(waiting)
        queue.impatient += not optimize
        self._rows_waiting += waiting.count
        self._schedule(loop)
        return waiting.future

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Starts a frame for each principal in turn, for as long as frames may be started."""
        self._scheduled = False
        started = True
        while started:
            started = False
            for context, queue in list(self._queues.items()):
                lingering = not queue.impatient
                if (self._frames_lingering if lingering else self._frames) < FRAMES_MAX:
                    self._start(context, self._take(queue), lingering=lingering)
                    started = True
                    if queue.waiting:
                        self._queues.move_to_end(context)
                    else:
                        del self._queues[context]

    def _take(self, queue: _Queue) -> list[_Waiting]:
        """The requests at the front whose rows fit one frame."""
        taken: list[_Waiting] = []
        room = BATCH_MAX
        while queue.waiting and queue.waiting[0].count <= room:
            waiting = queue.waiting.popleft()
            room -= waiting.count
            queue.impatient -= not waiting.patient
            taken.append(waiting)
        self._rows_waiting -= BATCH_MAX - room
        return taken

    def _start(self, context: bytes, taken: list[_Waiting], *, lingering: bool) -> None:
        if lingering:
            self._frames_lingering += 1
        else:
            self._frames += 1
        task = asyncio.get_running_loop().create_task(self._exchange(context, taken, lingering=lingering))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _exchange(self, context: bytes, taken: list[_Waiting], *, lingering: bool) -> None:
        """Sends one frame; whatever happens, each of its requests is told."""
        try:
            await self._ask(context, taken, LINGER_US if lingering else 0)
        except (ReservedId, ReservedCode) as error:
            # The only refusals of a whole frame that the rows of one request bring on all others.
            if len(taken) == 1:
                _fail(taken, error)
            else:
                for waiting in taken:
                    await self._exchange_alone(context, waiting)
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

    async def _exchange_alone(self, context: bytes, waiting: _Waiting) -> None:
        try:
            await self._ask(context, [waiting], 0)
        except QenexError as error:
            _fail([waiting], error)

    async def _ask(self, context: bytes, taken: Sequence[_Waiting], linger_us: int) -> None:
        rows = np.frombuffer(b"".join([waiting.rows for waiting in taken]), dtype=TRANSFER)
        full = journal_context.frame(
            context, [waiting.digest for waiting in taken], [waiting.decision for waiting in taken]
        )
        traces = [waiting.trace for waiting in taken if waiting.trace is not None]
        # A frame has one trace: that of a request which is looked at, if there is one.
        trace = next((one for one in traces if one.sampled), traces[0] if traces else None)
        if trace is None:
            reply = await self._send(rows, linger_us=linger_us, context=full, trace=tracing.NO_TRACE)
        else:
            with trace.span("engine call"):
                reply = await self._send(rows, linger_us=linger_us, context=full, trace=trace.id)
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
