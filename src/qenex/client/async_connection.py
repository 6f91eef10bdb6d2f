"""A connection over asyncio: many calls under way at once, up to the window; the rest wait their turn."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, cast

from qenex.client.connection import CONNECT_TIMEOUT_S, PASSING, give_up_time, retry_wait_s
from qenex.client.credentials import Address
from qenex.client.protocol import NO_TRACE, FrameDecoder, Header
from qenex.client.replay import original_results
from qenex.client.session import Again, Reply, Request, Session
from qenex.errors import ClientClosed, EngineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from qenex.client.embedded import EmbeddedEngine
    from qenex.client.session import Bytes


class AsyncConnection:
    """Requests in, replies out, within one event loop; it reconnects and retries by itself."""

    def __init__(self, where: Address | EmbeddedEngine, session: Session) -> None:
        """Connects with `open` or with the first call."""
        self._where, self.session = where, session
        self._queue: deque[Request] = deque()
        self._wire: _Wire | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False

    async def open(self) -> None:
        """Connect.

        Raises:
            EngineUnreachable: nothing answers there.
            EngineError: the engine refuses the credential or the version, or is busy for too long.
        """
        await self._connect()

    async def call(
        self,
        operation: int,
        rows: NDArray[np.void] | Bytes,
        *,
        linger_us: int = 0,
        context: bytes = b"",
        trace: bytes = NO_TRACE,
    ) -> Reply:
        """One request, answered. What `rows` refers to must stay unchanged until then.

        Raises:
            EngineError: the engine refuses the request as a whole, or gave no answer in time.
        """
        reply = await self._submit(Request(operation, rows, linger_us=linger_us, context=context, trace=trace))
        if not reply.replayed:
            return reply
        steps = original_results(rows, reply)
        try:
            call = next(steps)
            while True:
                call = steps.send(await self.call(call.operation, call.rows))
        except StopIteration as done:
            settled: Reply = done.value
            return settled

    async def close(self) -> None:
        """End the connection; calls under way fail. Closing twice is fine."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        self._fail(ClientClosed())
        if self._wire is not None:
            wire = self._wire
            wire.end(None)
            await wire.ended

    def _submit(self, request: Request) -> asyncio.Future[Reply]:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ClientClosed
        request.waiter = loop.create_future()
        request.expires = time.monotonic() + self.session.patience_s
        self._queue.append(request)
        if self._wire is None and self._connecting is None:
            self._reconnect()
        self._pump()
        if self._watch is None:
            self._watch = loop.call_later(self.session.patience_s, self._check)
        waiter: asyncio.Future[Reply] = request.waiter
        return waiter

    def _pump(self) -> None:
        """Send what waits, as far as the window has room."""
        while self._queue and self._wire is not None:
            request = self._queue[0]
            if not request.waiter.done():
                try:
                    if not self.session.may_start(request):
                        return
                except EngineError as error:
                    request.waiter.set_exception(error)
                else:
                    self._wire.send(self.session.start(request))
            self._queue.popleft()

    def _take(self, header: Header, body: memoryview) -> None:
        """Take a frame; raises what ends the connection."""
        taken = self.session.received(header, body)
        if taken is None:
            return
        request, answer = taken
        if isinstance(answer, Again):
            asyncio.get_running_loop().call_later(answer.after_s, self._send_again, request)
        elif request.waiter.done():
            pass  # its caller was cancelled
        elif isinstance(answer, EngineError):
            request.waiter.set_exception(answer)
        else:
            request.waiter.set_result(answer)

    def _send_again(self, request: Request) -> None:
        if self._wire is not None and self.session.outstanding.get(request.number) is request:
            self._wire.send(self.session.frame(request))

    def _lost(self, wire: _Wire, error: Exception | None) -> None:
        """The connection ended: get another, if there is anything to use it for."""
        if wire is not self._wire:
            return
        self._wire = None
        self.session.lost()
        for request in self.session.outstanding.values():
            request.last_error = error if isinstance(error, EngineError) else request.last_error
        if not self._closed and (self._queue or self.session.outstanding):
            self._reconnect()

    def _reconnect(self) -> None:
        self._connecting = asyncio.get_running_loop().create_task(self._connect())
        self._connecting.add_done_callback(self._connected)

    def _connected(self, task: asyncio.Task[None]) -> None:
        if self._connecting is task:
            self._connecting = None
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._fail(error)

    async def _connect(self) -> None:
        """Connect, say hello, send again what has no answer yet; tries until the patience is over."""
        loop = asyncio.get_running_loop()
        give_up_at = give_up_time(self.session)
        for attempt in count(1):
            wire = _Wire(self)
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    if isinstance(self._where, Address):
                        await loop.create_connection(partial(_same, wire), *self._where, ssl=self._where.context)
                    else:
                        pair = self._where.connect(CONNECT_TIMEOUT_S)
                        await loop.create_unix_connection(partial(_same, wire), sock=pair)
                    await wire.welcomed
                if wire.ended.done():
                    raise ConnectionResetError("the connection ended after the welcome")
                self._wire = wire
            except PASSING as error:
                wait_s = retry_wait_s(self.session, error, attempt, give_up_at, str(self._where))
            else:
                break
            finally:
                if self._wire is not wire:
                    wire.end(None)
            await asyncio.sleep(wait_s)
        for request in self.session.outstanding.values():
            wire.send(self.session.frame(request))
        self._pump()

    def _check(self) -> None:
        """Fail what has waited too long."""
        now = time.monotonic()
        self._watch = None
        late = [request for request in (*self.session.outstanding.values(), *self._queue) if request.expires <= now]
        for request in late:
            error = self.session.forget(request)
            if not request.waiter.done():
                request.waiter.set_exception(error)
        self._queue = deque(request for request in self._queue if not request.waiter.done())
        if self._wire is not None and any(request.last_error is None for request in late):
            self._wire.end(None)
        waiting = [request.expires for request in (*self.session.outstanding.values(), *self._queue)]
        if waiting and not self._closed:
            self._watch = asyncio.get_running_loop().call_later(max(0.001, min(waiting) - now), self._check)

    def _fail(self, error: Exception) -> None:
        """Fail everything that waits; what was sent may have happened."""
        self.session.lost()
        requests = [*self.session.outstanding.values(), *self._queue]
        self.session.abandon()
        self._queue.clear()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        for request in requests:
            if isinstance(error, EngineError):
                request.last_error = request.last_error or error
            if not request.waiter.done():
                request.waiter.set_exception(request.give_up() if request.doubtful else error)


def _same(wire: _Wire) -> _Wire:
    """For loops that want to make the protocol themselves."""
    return wire


class _Wire(asyncio.BufferedProtocol):
    """One connection: bytes to frames."""

    def __init__(self, owner: AsyncConnection) -> None:
        self._owner = owner
        self._decoder = FrameDecoder()
        self.transport: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self.welcomed: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are not of that class, but as good
        if transport.get_extra_info("sockname"):  # a pair of sockets within the process has no name, and no delay
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.transport.write(self._owner.session.hello())

    def send(self, parts: tuple[Bytes, ...]) -> None:
        """Write a frame; what a connection that is ending does not take goes out on the next."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.writelines(parts)

    def end(self, error: Exception | None) -> None:
        """End it at once; nothing more is sent or taken."""
        self._owner._lost(self, error)  # noqa: SLF001  # two halves of one thing
        if self.transport is not None:
            self.transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # the decoder knows best
        """Where the next bytes go."""
        return self._decoder.writable()

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have come."""
        self._decoder.wrote(nbytes)
        try:
            for header, body in self._decoder.frames():
                if self.welcomed.done():
                    self._owner._take(header, body)  # noqa: SLF001  # two halves of one thing
                elif answer := self._owner.session.greeted(header, body):
                    self.send((answer,))
                else:
                    self.welcomed.set_result(None)
        except EngineError as error:
            if not self.welcomed.done():
                self.welcomed.set_exception(error)
            self.end(error)
        self._owner._pump()  # noqa: SLF001  # as above

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        if not self.welcomed.done():
            self.welcomed.set_exception(exc or ConnectionResetError("the connection ended before the welcome"))
        if not self.ended.done():
            self.ended.set_result(None)
        self._owner._lost(self, exc)  # noqa: SLF001  # as above
