"""A connection over a blocking socket: one thread at a time, requests pipelined up to the window."""

from __future__ import annotations

import math
import os
import random
import select
import threading
import time
from itertools import count
from typing import TYPE_CHECKING, Final, TypeAlias

from qenex.client.protocol import NO_TRACE, FrameDecoder
from qenex.client.replay import original_results
from qenex.client.session import Again, Reply, Request, Session
from qenex.client.tls import TlsSocket
from qenex.errors import (
    Busy,
    ClientClosed,
    EngineError,
    EngineUnreachable,
    SessionExpired,
    ShuttingDown,
    UnexpectedReply,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from qenex.client.address import Address, Stream
    from qenex.client.embedded import EmbeddedEngine
    from qenex.client.session import Bytes

Handle: TypeAlias = "Callable[[Request, Reply | EngineError], None]"

CONNECT_TIMEOUT_S: Final = 5.0
"""How long one attempt to connect may take."""
BACKOFF_MAX_S: Final = 0.5
"""The longest wait between two attempts."""
START_IT: Final = "Start QENEX with `make start`, or say where it is with QENEX_ADDRESS."
PASSING: Final = (OSError, Busy, ShuttingDown, SessionExpired, UnexpectedReply)
"""What ends a connection, but not the wish for another."""


def give_up_time(session: Session) -> float:
    """When to stop trying to connect: when the oldest request has waited too long, or the patience is over."""
    oldest = next(iter(session.outstanding.values()), None)
    return oldest.expires if oldest else time.monotonic() + session.patience_s


def retry_wait_s(session: Session, error: Exception, attempt: int, give_up_at: float, where: str) -> float:
    """How long to wait after a failed attempt to connect, doubling from 10 ms; attempts count from 1.

    Raises:
        EngineError: no further attempt makes sense. At a first connection that nothing answers is said at once.
    """
    first = session.welcome is None
    if time.monotonic() >= give_up_at or (first and isinstance(error, OSError | UnexpectedReply)):
        final = error if isinstance(error, EngineError) else EngineUnreachable(f"({where}: {error}) {START_IT}")
        oldest = next(iter(session.outstanding.values()), None)
        if oldest is None:
            raise final from error
        oldest.last_error = oldest.last_error or final
        raise oldest.give_up() from error
    backoff_s = min(BACKOFF_MAX_S, 0.01 * 2.0 ** min(attempt - 1, 10)) * random.uniform(0.5, 1.0)  # noqa: S311  # scatter
    return max(backoff_s, error.retry_after_us / 1e6) if isinstance(error, EngineError) else backoff_s


class Connection:
    """Requests in, replies out; it reconnects and retries by itself.

    Threads take turns: for work that runs side by side open one client each, or use `AsyncConnection`.
    """

    def __init__(self, where: Address | EmbeddedEngine, session: Session) -> None:
        """Connects.

        Raises:
            EngineUnreachable: nothing answers there.
            EngineError: the engine refuses the credential or the version, or is busy for too long.
        """
        self._where, self.session = where, session
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._closed = False
        self._socket: Stream | None = None
        self._poll = select.poll()
        self._decoder = FrameDecoder()
        self._due: list[tuple[float, Request]] = []
        self._connect()

    def call(
        self,
        operation: int,
        rows: NDArray[np.void] | Bytes,
        *,
        linger_us: int = 0,
        context: bytes = b"",
        trace: bytes = NO_TRACE,
    ) -> Reply:
        """One request, answered.

        Raises:
            EngineError: the engine refuses the request as a whole, or gave no answer in time.
        """
        request = Request(operation, rows, linger_us=linger_us, context=context, trace=trace)
        answers: list[Reply | EngineError] = []
        self.exchange((request,), lambda _, answer: answers.append(answer))
        (answer,) = answers
        if isinstance(answer, EngineError):
            raise answer
        return answer

    def _settled(self, request: Request, reply: Reply) -> Reply:
        """The reply to replayed rows, as the first time would have given it."""
        steps = original_results(request.parts[-1], reply)
        try:
            call = next(steps)
            while True:
                call = steps.send(self.call(call.operation, call.rows))
        except StopIteration as done:
            settled: Reply = done.value
            return settled

    def exchange(self, requests: Iterable[Request], handle: Handle) -> None:
        """Send the requests, as many at a time as the window takes, and hand each answer to `handle` as it comes.

        An error that answers one request is handed over too; the others go on.

        Raises:
            EngineError: the engine stopped answering; what was not handed over may have happened or not.
            ClientClosed: the connection was closed, or opened by another process.
        """
        if os.getpid() != self._process:
            raise ClientClosed("It was opened before a fork, by another process; open one in this process.")
        replayed: list[tuple[Request, Reply]] = []

        def take(request: Request, answer: Reply | EngineError) -> None:
            if isinstance(answer, Reply) and answer.replayed:
                replayed.append((request, answer))
            else:
                handle(request, answer)

        with self._lock:
            if self._closed:
                raise ClientClosed
            try:
                self._exchange(requests, take)
            except BaseException:
                # Half a frame may be on its way, and answers that nobody waits for: begin afresh.
                self._drop()
                self.session.abandon()
                raise
        for request, reply in replayed:
            handle(request, self._settled(request, reply))

    def close(self) -> None:
        """End the connection; using it afterwards is refused. Closing twice is fine."""
        with self._lock:
            self._closed = True
            self._drop()

    def _exchange(self, requests: Iterable[Request], handle: Handle) -> None:
        source = iter(requests)
        waiting = next(source, None)
        while waiting is not None or self.session.outstanding:
            if self._socket is None:
                self._connect()
                for request in list(self.session.outstanding.values()):
                    self._send(self.session.frame(request), handle)
            while waiting is not None and self._socket is not None and self.session.may_start(waiting):
                self._send(self.session.start(waiting), handle)
                waiting = next(source, None)
            if self._socket is not None and self.session.outstanding:
                self._await(handle)

    def _connect(self) -> None:
        """Connect and say hello; tries until the patience is over."""
        give_up_at = give_up_time(self.session)
        for attempt in count(1):
            try:
                self._connect_once()
            except PASSING as error:
                self._drop()
                wait_s = retry_wait_s(self.session, error, attempt, give_up_at, str(self._where))
            except BaseException:
                self._drop()
                raise
            else:
                return
            time.sleep(wait_s)

    def _connect_once(self) -> None:
        self._socket = self._where.connect(CONNECT_TIMEOUT_S)
        self._decoder = FrameDecoder()
        self._due.clear()
        self._socket.sendall(self.session.hello())
        while True:
            received = self._socket.recv_into(self._decoder.writable())
            if not received:
                raise ConnectionResetError("the connection ended before the welcome")
            self._decoder.wrote(received)
            for header, body in self._decoder.frames():
                if answer := self.session.greeted(header, body):
                    self._socket.sendall(answer)
                    continue
                self._socket.settimeout(0)
                self._poll = select.poll()
                self._poll.register(self._socket, select.POLLIN)
                return

    def _drop(self) -> None:
        """Close the socket; what is outstanding goes out again on the next."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self.session.lost()

    def _send(self, parts: Sequence[Bytes], handle: Handle) -> None:
        """Write a frame. Answers are read meanwhile: an engine that waits for us to read would never read on."""
        left: list[Bytes] = list(parts)
        while left and self._socket is not None:
            try:
                sent = self._socket.sendmsg(left)
            except BlockingIOError:
                sent = 0
            except OSError:
                return self._drop()
            while left and sent >= len(left[0]):
                sent -= len(left.pop(0))
            if not left:
                return None
            left[0] = memoryview(left[0])[sent:]
            self._poll.modify(self._socket, select.POLLIN | select.POLLOUT)
            events = self._poll.poll(self._milliseconds(math.inf))
            self._poll.modify(self._socket, select.POLLIN)
            if any(event & ~select.POLLOUT for _, event in events):
                self._read(handle)
        return None

    def _await(self, handle: Handle) -> None:
        """Wait for something to read or something to send again, and do it."""
        if self._due:
            now = time.monotonic()
            due = [request for at, request in self._due if at <= now]
            self._due = [(at, request) for at, request in self._due if at > now]
            for request in due:
                if self.session.outstanding.get(request.number) is request:
                    self._send(self.session.frame(request), handle)
        next_due = min((at for at, _ in self._due), default=math.inf)
        if self._socket is None or not self.session.outstanding:
            return
        # What TLS has taken from the socket already no poll tells of.
        is_there = isinstance(self._socket, TlsSocket) and self._socket.pending()
        if is_there or self._poll.poll(self._milliseconds(next_due)):
            self._read(handle)

    def _milliseconds(self, until: float) -> int:
        """How long to wait at most: until then, or until the oldest request has waited too long.

        Raises:
            EngineError: it has.
        """
        now = time.monotonic()
        oldest = next(iter(self.session.outstanding.values()))
        if oldest.expires <= now:
            raise oldest.give_up()
        return max(0, math.ceil((min(until, oldest.expires) - now) * 1_000))

    def _read(self, handle: Handle) -> None:
        """Take what has come."""
        if self._socket is None:
            return None
        try:
            received = self._socket.recv_into(self._decoder.writable())
            if not received:
                return self._drop()
            self._decoder.wrote(received)
            for header, body in self._decoder.frames():
                taken = self.session.received(header, body)
                if taken is None:
                    continue
                request, answer = taken
                if isinstance(answer, Again):
                    self._due.append((time.monotonic() + answer.after_s, request))
                else:
                    handle(request, answer)
        except BlockingIOError:
            return None
        except (OSError, EngineError) as error:
            for request in self.session.outstanding.values():
                request.last_error = error if isinstance(error, EngineError) else request.last_error
            return self._drop()
        return None
