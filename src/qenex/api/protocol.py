"""HTTP/1.1 as uvicorn speaks it, with the limits that a hostile client meets before any route does.

uvicorn by itself waits for ever for the rest of a head or a body, keeps a head of any size, and answers its own
refusals in plain text. Here a request must arrive within `ARRIVAL_S`, an answer must be taken within `ANSWER_S`, a head
has at most `HEAD_BYTES_MAX`, few requests wait behind one another, connections are counted, and every refusal is a
problem document. Whoever has shown no credential makes room for others: it takes none to connect.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING, Any, Final, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from qenex.api import preface, problems
from qenex.errors import BodyTimeout, HeadersTooLarge, MalformedRequest, TooManyConnections

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
    from uvicorn.server import ServerState

    from qenex.errors import QenexError
    from qenex.settings import Network

HEAD_BYTES_MAX: Final = 32_768
"""Address and headers of a request; what stands between the pieces of a chunked body and behind it."""
_HEADER_EXTRA: Final = len(b": \r\n")
_LINE_EXTRA: Final = 32
"""Method, version and the end of a line that is not complete."""
ARRIVAL_S: Final = 10.0
"""A request must have arrived completely in this time; so must the first one of a connection."""
ANSWER_S: Final = 60.0
"""An answer must be taken in this time, its making included."""
PIPELINED_MAX: Final = 64
"""Requests of a connection that wait for the answers to those before them."""
CLOSING_S: Final = 5.0
"""What was written to a connection that ends must be taken in this time."""
SWEEP_S: Final = 1.0
"""How often connections are looked at: what a limit is exceeded by at most."""
ORIGIN: Final = ("client", "scheme", "qenex.thumbprint", "qenex.subject")
"""What a scope says of who is at the other end; the last two only of a client with a certificate."""
FORWARDED: Final = b"x-forwarded-for"
"""What the trusted proxy is believed, by its last address; nothing else that a header says of a connection is."""
OUTSIDE: Final = frozenset(
    {
        FORWARDED,
        b"forwarded",
        b"x-real-ip",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-forwarded-port",
        b"x-forwarded-client-cert",
        b"x-client-cert",
        b"x-ssl-client-cert",
        b"x-ssl-cert",
        b"client-cert",
        b"client-cert-chain",
    }
)
"""Headers in which proxies say who a client is. Anybody can send them, so that no route ever sees one."""


class Protocol(HttpToolsProtocol):
    """One connection."""

    connections_max: int = 1_024
    """Connections at a time; set once by the server."""
    trusted_proxy: Network | None = None
    """From where alone connections come in, beside this machine; set once by the server."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401  # uvicorn's, passed on
        super().__init__(*arguments, **named)
        self._arriving_since: float | None = None
        self._answering_since: float | None = None
        self._closing_since: float | None = None
        self._started: RequestResponseCycle | None = None
        self._in_head = False
        self._header_bytes = 0
        """Complete headers of the head that arrives."""
        self._line_bytes = 0
        """Its last line, which is not complete; of the address the parser has told already, of a header not."""
        self._between_bytes = 0
        """What has come since the head that is neither head nor body."""
        self._body_in_piece = 0
        """Bytes of the newest request's body in the piece of the stream that is read."""
        self._head_ends_in_piece = False
        self.since = 0.0
        """When it was made, on the clock of the loop."""
        self.is_known = False
        """Whether a request of it had a credential; the gateway says so."""
        self._preface: bytearray | None = None
        """What has come of the front's preface, which is not complete; None where none is to come, or it came."""
        self._certificate: preface.Certificate | None = None
        self._is_proxy = False
        """Whether the trusted proxy has made it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn types it
        """Counts the connection; where it is one too many the oldest without a credential is told so."""
        super().connection_made(transport)
        self.since = self._arriving_since = self.loop.time()
        stream = transport.get_extra_info("socket")
        if stream is not None and stream.family == socket.AF_UNIX:
            self._preface = bytearray()
        elif self.trusted_proxy is not None and not self._may_come(self.trusted_proxy):
            transport.abort()
            return
        if len(self.connections) > self.connections_max:
            strangers = (one for one in self.connections if isinstance(one, Protocol) and one.makes_room)
            min(strangers, key=lambda one: one.since).refuse(TooManyConnections())

    def _may_come(self, proxy: Network) -> bool:
        """Whether it is the trusted proxy's, which speaks for others, or of this machine."""
        if self.client is None:
            return False  # it is gone already, and who it was is not known
        address = ipaddress.ip_address(self.client[0])
        # A listener for IPv6 may take IPv4 too, and writes its addresses so.
        address = getattr(address, "ipv4_mapped", None) or address
        self._is_proxy = address in proxy
        if self._is_proxy:
            self.scheme = "https"
        return self._is_proxy or address.is_loopback

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        super().connection_lost(exc)
        if self._started is not None:
            self._started.disconnected = True
        if self.scope is not None:
            # Neither needs to be found by the other any more, nor to wait for the collector.
            self.scope.pop("qenex.connection", None)  # type: ignore[typeddict-item]  # as where it is put

    @property
    def makes_room(self) -> bool:
        """Whether it can end so that another may come."""
        return not self.is_known and not self.transport.is_closing()

    def data_received(self, data: bytes) -> None:
        """Reads on, as long as the head, or what follows a body, is not too large."""
        if self.transport.is_closing():
            return
        if self._preface is not None:
            data = self._introduced(data)
            if not data:
                return
        self._body_in_piece, self._head_ends_in_piece = 0, False
        super().data_received(data)
        # Other requests may stand in the piece before what is measured: it begins behind their heads and bodies.
        begin = data.rfind(b"\r\n\r\n") + 4 if self._head_ends_in_piece else 0
        if self._in_head:
            begin = min(max(begin + self._body_in_piece, data.rfind(b"\n") + 1), len(data))
            self._line_bytes = len(data) - begin if begin else self._line_bytes + len(data)
            line_bytes = max(len(self.url), self._line_bytes - _LINE_EXTRA)
            is_large = self._header_bytes + line_bytes > HEAD_BYTES_MAX
        elif self._arriving_since is not None and not self._body_in_piece:
            self._between_bytes += len(data) - begin
            is_large = self._between_bytes > HEAD_BYTES_MAX
        else:
            self._between_bytes = 0
            is_large = False
        if is_large:
            self.refuse(HeadersTooLarge())

    def _introduced(self, data: bytes) -> bytes:
        """Takes the front's word for who the client is; returns what comes after it."""
        self._preface = (self._preface or bytearray()) + data
        try:
            decoded = preface.decode(self._preface)
        except preface.NotFromFrontError:
            self.transport.abort()
            return b""
        if decoded is None:
            return b""
        origin, length = decoded
        rest = bytes(self._preface[length:])
        self.client, self.server, self.scheme, self._preface = origin.client, origin.server, "https", None
        self._certificate = origin.certificate
        return rest

    def on_message_begin(self) -> None:
        """A request begins to arrive."""
        super().on_message_begin()
        if self._certificate is not None:
            known = {"qenex.thumbprint": self._certificate.thumbprint, "qenex.subject": self._certificate.subject}
            self.scope.update(known)  # type: ignore[typeddict-item]  # a scope takes keys of others
        # The application finds its connection here, to say that it is known.
        self.scope["qenex.connection"] = self  # type: ignore[typeddict-unknown-key]  # a scope takes keys of others
        self._in_head, self._header_bytes, self._line_bytes = True, 0, 0
        self._arriving_since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header; what stands behind a chunked body is none."""
        if self._in_head:
            self._header_bytes += len(name) + len(value) + _HEADER_EXTRA
            if name.lower() not in OUTSIDE:
                super().on_header(name, value)
            elif self._is_proxy and name.lower() == FORWARDED:
                self._forwarded(value)

    def _forwarded(self, value: bytes) -> None:
        """Takes the trusted proxy's word: the last address is the one that it saw itself, those before are hearsay."""
        last = value.rpartition(b",")[2].strip().decode("latin-1")
        try:
            self.scope["client"] = (str(ipaddress.ip_address(last)), 0)
        except ValueError:
            return  # it stays the proxy, which is what we know

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._in_head, self._head_ends_in_piece = False, True
        self._between_bytes = self._body_in_piece = 0
        if self._header_bytes + len(self.url) > HEAD_BYTES_MAX:
            self.refuse(HeadersTooLarge())
        if len(self.pipeline) >= PIPELINED_MAX:
            self._end()
        # The rest of a piece of the stream is still read when its connection has ended.
        if not self.transport.is_closing():
            super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        # uvicorn tells only the newest request of a connection that the client is gone.
        self._started = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        """A piece of a body is there."""
        self._body_in_piece += len(body)
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there."""
        self._arriving_since = None
        if self.transport.is_closing():
            return
        super().on_message_complete()
        cycle = self._current()
        if self._answering_since is None and cycle is not None and not cycle.response_complete:
            self._answering_since = self.loop.time()

    def on_response_complete(self) -> None:
        """The answer is out of our hands; the next one that waits has its own time."""
        self._answering_since = self.loop.time() if self.pipeline else None
        super().on_response_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hands the connection over, and as its state who is at the other end: from the transport nobody could tell."""
        self.app_state = self.app_state | {name: self.scope.get(name) for name in ORIGIN}
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:  # uvicorn's text says less than ours
        """Refuses what is not HTTP."""
        self.refuse(MalformedRequest())

    def refuse(self, error: QenexError) -> None:
        """Answers with a problem, without any route, and ends the connection."""
        if self.transport.is_closing():
            return
        cycle = self._current()
        # Written while a complete request is being worked on, the refusal would be taken for its answer.
        is_working = self._working() or self.pipeline
        if not is_working and (cycle is None or cycle.response_complete or not cycle.response_started):
            status, headers, body = problems.encode(error)
            headers = [*self.server_state.default_headers, *headers, (b"connection", b"close")]
            lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
            self.transport.write(STATUS_LINE[status] + lines + b"\r\n" + body)
        self._end()

    def _end(self) -> None:
        """Ends the connection; what was written before still goes out, and what waits is not begun."""
        for cycle in (self._started, self._current()):
            if cycle is not None:
                # Whoever still reads the request, or writes an answer, learns that there is nobody any more.
                cycle.disconnected = True
                cycle.message_event.set()
        self.transport.close()

    def _working(self) -> bool:
        """Whether a request that has arrived completely has no complete answer yet."""
        cycle = self._current()
        return cycle is not None and not cycle.response_complete and not cycle.more_body

    def _current(self) -> RequestResponseCycle | None:
        """The newest request; none before the first, whatever uvicorn's annotation says."""
        return cast("RequestResponseCycle | None", self.cycle)

    def sweep(self, now: float) -> None:
        """Ends a connection whose client is too slow."""
        if self.transport.is_closing():
            self._closing_since = self._closing_since or now
            if now - self._closing_since > CLOSING_S:
                self.transport.abort()
        elif self._arriving_since is not None and not self._working() and now - self._arriving_since > ARRIVAL_S:
            self.refuse(BodyTimeout())
        elif self._answering_since is not None and now - self._answering_since > ANSWER_S:
            self.transport.abort()


async def sweep(state: ServerState) -> None:
    """Looks at all connections, again and again."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_S)
        now = loop.time()
        for connection in list(state.connections):
            if isinstance(connection, Protocol):
                connection.sweep(now)
