"""A session with the engine: numbers, window, retries. It decides; connections move the bytes.

Exactly once rests on two things (spec/protocol.md section 7): a request keeps its number until it has an answer, and
the ids in its rows are never used for anything else. While the engine knows the session, a retry with the same number
gets the original reply. When it does not any more, the same rows go out in a new session, marked `replayed`, and the
ids tell what had happened already (`qenex.client.replay`).
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np

from qenex.client.handshake import Handshake, Keys
from qenex.client.protocol import (
    CONTEXT_MAX,
    HEADER_SIZE,
    LINGER_MAX_US,
    NO_SESSION,
    NO_TRACE,
    REPLY_ROWS,
    REQUEST_ROWS,
    WINDOW_MAX,
    WRITES,
    FrameType,
    Header,
    Position,
    Welcome,
    checksum,
    decode_welcome,
    encode_header,
)
from qenex.errors import (
    BatchTooLarge,
    Busy,
    ConnectionLost,
    EngineError,
    InvalidQuery,
    InvalidRows,
    SessionExpired,
    ShuttingDown,
    Stale,
    Unauthenticated,
    UnexpectedReply,
    UnknownOutcome,
    WrongBook,
)
from qenex.errors.engine import BY_NUMBER

if TYPE_CHECKING:
    from numpy.typing import NDArray

Bytes: TypeAlias = bytes | bytearray | memoryview
RESUME: Final = 1
"""The flag of a hello that goes on with a session."""
RETRY_US: Final = 1_000
"""How long to wait before asking again where the engine names no time."""


class Reply(NamedTuple):
    """The engine's answer to one request."""

    operation: int
    body: bytearray
    position: Position
    """Where the effect stands, or what the read saw."""
    timestamp: int
    """Of the request's last event; of a read, the last one applied; UTC nanoseconds."""
    group_requests: int
    """Requests that shared the write's group; 0 for reads."""
    group_rows: int
    """Rows in that group."""
    waited_us: int
    """How long the request waited to share it."""
    replayed: bool
    """Whether the rows had gone out before in a session that the engine has forgotten."""

    @property
    def rows(self) -> NDArray[np.void]:
        """The rows, of the operation's dtype; bytes (`u1`) for operations without rows."""
        return np.frombuffer(self.body, REPLY_ROWS.get(self.operation, np.dtype("u1")))


class Again(NamedTuple):
    """The engine asks for the same request again, later."""

    after_s: float


class Request:
    """One request on its way, with what it takes to send it again."""

    __slots__ = (
        *("body_checksum", "body_length", "context_length", "doubtful", "expires", "last_error", "linger_us"),
        *("number", "operation", "parts", "replayed", "sent", "trace", "waiter"),
    )

    def __init__(
        self,
        operation: int,
        rows: NDArray[np.void] | Bytes,
        *,
        linger_us: int = 0,
        context: bytes = b"",
        trace: bytes = NO_TRACE,
    ) -> None:
        """Takes a request as it is; what `rows` refers to must stay unchanged until the answer.

        Raises:
            InvalidRows: other rows than the operation takes, or an impossible context, linger or trace.
        """
        parts: tuple[Bytes, ...] = (*_context(context), body_of(operation, rows))
        if not 0 <= linger_us <= LINGER_MAX_US:
            raise InvalidRows(f"linger_us is 0 to {LINGER_MAX_US}, not {linger_us}")
        if len(trace) != len(NO_TRACE):
            raise InvalidRows(f"a trace id has {len(NO_TRACE)} bytes, not {len(trace)}")
        self.operation, self.parts, self.linger_us, self.context_length = operation, parts, linger_us, len(context)
        self.trace = trace
        """The W3C trace id that its entry in the journal will carry, or zeros."""
        self.body_length = sum(map(len, parts))
        self.body_checksum = checksum(*parts)
        self.number = 0
        self.expires = 0.0
        self.replayed = False
        self.doubtful = False
        """Whether it may have happened without an answer, before it went out last."""
        self.sent = False
        """Whether it has gone out and nothing was said to it since."""
        self.last_error: EngineError | None = None
        self.waiter: Any = None
        """What the connection keeps with it."""

    @property
    def size(self) -> int:
        """Bytes of its frame."""
        return HEADER_SIZE + self.body_length

    def give_up(self) -> EngineError:
        """What to raise when its time is over."""
        if (self.doubtful or self.sent) and self.operation in WRITES:
            return UnknownOutcome(str(self.last_error or ""))
        return self.last_error or ConnectionLost("No answer came in time.")


def body_of(operation: int, rows: NDArray[np.void] | Bytes) -> memoryview:
    """The bytes of a request's rows, not copied.

    Raises:
        InvalidRows: other rows than the operation takes.
    """
    wanted = REQUEST_ROWS.get(operation)
    if isinstance(rows, np.ndarray):
        if wanted is None or rows.dtype != wanted:
            raise InvalidRows(f"the operation takes rows of dtype {wanted}, not {rows.dtype}")
        if rows.ndim != 1 or not rows.flags.c_contiguous:
            raise InvalidRows("the rows must be one-dimensional and contiguous: numpy.ascontiguousarray(rows)")
        return memoryview(rows.view("u1").data)
    view = memoryview(rows).cast("B")
    if wanted is not None and len(view) % wanted.itemsize:
        raise InvalidRows(f"the operation takes rows of {wanted.itemsize} bytes, {len(view)} bytes are no whole number")
    return view


def _context(context: bytes) -> tuple[bytes, ...]:
    """The context and its padding to a multiple of 16; nothing where there is none."""
    if len(context) > CONTEXT_MAX:
        raise InvalidRows(f"a context has at most {CONTEXT_MAX} bytes, not {len(context)}")
    return (context + bytes(-len(context) % 16),) if context else ()


class Session:
    """Numbers, window and retries of one client."""

    def __init__(self, credential: str, name: str, *, read_only: bool, patience_s: float, if_unknown: str = "") -> None:
        self._keys, self._name, self._read_only = Keys(credential), name, read_only
        self._if_unknown = if_unknown
        self.patience_s = patience_s
        """How long a request may go without an answer, retries included."""
        self.welcome: Welcome | None = None
        self.id = NO_SESSION
        self.seen_timestamp = 0
        self.outstanding: dict[int, Request] = {}
        """Requests without an answer, oldest first."""
        self._bytes = 0
        self._next = 1
        self._established = False
        self._handshake: Handshake | None = None
        self.renew()

    @property
    def book(self) -> bytes:
        """The book that the credential belongs to."""
        return self.welcome.book if self.welcome else bytes(16)

    def renew(self) -> None:
        """Begin a new session, in which the outstanding requests go out again."""
        self.id = NO_SESSION if self._read_only else os.urandom(16)
        self._established = False
        requests = list(self.outstanding.values())
        self.outstanding = {}
        self._next = 1
        for request in requests:
            request.number, self._next = self._next, self._next + 1
            request.replayed = request.replayed or request.operation in WRITES
            self.outstanding[request.number] = request

    def abandon(self) -> None:
        """Forget the outstanding requests; what is answered to them later must not be mistaken for another answer."""
        self.outstanding.clear()
        self._bytes = 0
        self.renew()

    def hello(self) -> bytes:
        """The first frame of a connection."""
        flags = RESUME if self._established and not self._read_only else 0
        self._handshake = Handshake(self._keys, self._name, self.id, flags)
        return self._handshake.hello

    def greeted(self, header: Header, body: memoryview) -> bytes:
        """Take what the engine says until it has welcomed us: the frame to answer with, or nothing once it has.

        Raises:
            EngineError: it refuses; after `SessionExpired` the next hello begins a new session.
            UnexpectedReply: it is not the engine that the credential is for.
        """
        handshake = self._handshake
        is_proven = handshake is not None and handshake.is_proven
        if header.type == FrameType.ERROR:
            error = _error(header, body)
            if isinstance(error, SessionExpired) and is_proven:
                self.renew()
            if isinstance(error, Unauthenticated) and self._if_unknown:
                error = Unauthenticated(self._if_unknown)
            raise error
        if header.type == FrameType.GOODBYE:
            raise ShuttingDown("It said goodbye before it said welcome.")
        if header.type == FrameType.CHALLENGE and handshake is not None and not is_proven:
            return handshake.answer(body)
        if header.type != FrameType.WELCOME or not is_proven:
            raise UnexpectedReply(f"A frame of type {header.type} came where a challenge, then a welcome is wanted.")
        welcome = decode_welcome(body)
        if self.welcome is not None and welcome.book != self.welcome.book:
            raise WrongBook(f"The engine has book {welcome.book.hex()} now, it had {self.welcome.book.hex()}.")
        self.welcome, self._established = welcome, True
        self._next = max(self._next, welcome.highest_request + 1)
        self.seen_timestamp = max(self.seen_timestamp, header.timestamp)
        return b""

    def may_start(self, request: Request) -> bool:
        """Whether the window has room for one more.

        Raises:
            BatchTooLarge: it never will.
        """
        welcome = self.welcome
        if welcome is None:
            return False
        if request.size > welcome.frame_max or request.size > welcome.window_bytes:
            raise BatchTooLarge(f"The frame has {request.size} bytes, the engine takes {welcome.frame_max}.")
        if not self.outstanding:
            return True
        oldest = next(iter(self.outstanding))
        return (
            len(self.outstanding) < welcome.window_requests
            and self._bytes + request.size <= welcome.window_bytes
            and self._next - oldest < WINDOW_MAX
        )

    def start(self, request: Request) -> tuple[Bytes, ...]:
        """Give a request its number; returns its frame in parts."""
        request.number, self._next = self._next, self._next + 1
        request.expires = time.monotonic() + self.patience_s
        self.outstanding[request.number] = request
        self._bytes += request.size
        return self.frame(request)

    def frame(self, request: Request) -> tuple[Bytes, ...]:
        """The frame of an outstanding request, in parts."""
        header = Header(
            FrameType.REQUEST,
            0,
            request.operation,
            self.book,
            self.id,
            request.number,
            0,
            request.body_length,
            trace=request.trace,
            context_length=request.context_length,
            seen_timestamp=self.seen_timestamp,
            linger_us=request.linger_us,
            body_checksum=request.body_checksum,
        )
        request.sent = True
        return (encode_header(header), *request.parts)

    def forget(self, request: Request) -> EngineError:
        """Give up on an outstanding request; returns what to raise. Its answer, should it come, is passed over."""
        if self.outstanding.pop(request.number, None) is not None:
            self._bytes -= request.size
        return request.give_up()

    def lost(self) -> None:
        """The connection is gone: whatever is outstanding may have happened."""
        for request in self.outstanding.values():
            request.doubtful = True

    def received(self, header: Header, body: memoryview) -> tuple[Request, Reply | EngineError | Again] | None:
        """Take a frame: the request it belongs to and what became of it, or None for a request given up on.

        Raises:
            EngineError: the connection is of no more use; the outstanding requests go out again on the next.
        """
        if header.type == FrameType.GOODBYE:
            raise ShuttingDown("It said goodbye.")
        if header.type not in (FrameType.REPLY, FrameType.ERROR):
            raise UnexpectedReply(f"A frame of type {header.type} came.")
        error = _error(header, body) if header.type == FrameType.ERROR else None
        if error is not None and (header.request == 0 or isinstance(error, ShuttingDown | SessionExpired)):
            if isinstance(error, SessionExpired):
                self.lost()
                self.renew()
            raise error
        request = self.outstanding.get(header.request)
        if request is None:
            return None
        if isinstance(error, Busy | Stale | UnknownOutcome):
            request.last_error, request.sent = error, False
            request.doubtful = request.doubtful or isinstance(error, UnknownOutcome)
            return request, Again((error.retry_after_us or RETRY_US) / 1e6)
        del self.outstanding[header.request]
        self._bytes -= request.size
        return request, error or self._reply(request, header, body)

    def _reply(self, request: Request, header: Header, body: memoryview) -> Reply | EngineError:
        rows = REPLY_ROWS.get(request.operation)
        if header.operation != request.operation or (rows is not None and len(body) % rows.itemsize):
            return UnexpectedReply(f"{len(body)} bytes of operation {header.operation} came for {request.operation}.")
        self.seen_timestamp = max(self.seen_timestamp, header.timestamp)
        return Reply(
            request.operation,
            bytearray(body),
            header.position,
            header.timestamp,
            header.group_requests,
            header.group_rows,
            header.linger_us,
            request.replayed,
        )


def _error(header: Header, body: memoryview) -> EngineError:
    """The error of an error frame."""
    text = bytes(body).decode(errors="replace")
    kind = BY_NUMBER.get(header.error)
    if kind is None:
        return UnexpectedReply(f"An error of the unknown number {header.error} came: {text}")
    return kind.from_frame(text, retry_after_us=header.retry_after_us)


def check_limit(limit: int, limit_max: int) -> int:
    """A filter's limit, if a reply can hold so many rows.

    Raises:
        InvalidQuery: it cannot, or none are wanted.
    """
    if not 1 <= limit <= limit_max:
        raise InvalidQuery(f"limit is 1 to {limit_max}, not {limit}")
    return limit
