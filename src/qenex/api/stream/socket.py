"""A WebSocket connection of the stream: `/v1/stream` (also `/api/v1/stream`).

uvicorn hands a connection over when it asks to be upgraded. The handshake and what the client says are the library's to
read (`websockets`, without I/O of its own). What we say is written straight to the transport, for a frame to a thousand
subscribers is the same bytes for all of them.

The order of things: handshake (the origin is checked); the first message authenticates, within `HELLO_S`; then it
subscribes. Nothing in the address says who it is: addresses end up in logs.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from websockets.frames import CloseCode, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from qenex.api import problems
from qenex.api.stream.talk import Talk

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState
    from websockets.frames import Frame

    from qenex.api.stream.streams import Streams
    from qenex.errors import QenexError

LOG: Final = logging.getLogger("qenex.stream")

MESSAGE_BYTES_MAX: Final = 16_384
"""A message of a client at most."""
HELLO_S: Final = 10.0
"""From the connection to a first message that authenticates."""
BUFFER_BYTES_MAX: Final = 1 << 20
"""What may wait to be taken by a client; beyond it, it has fallen behind."""
BUFFER_BYTES_LOW: Final = 64 << 10
"""A client that has fallen behind is sent more when no more than this waits."""
BEHIND_S: Final = 30.0
"""A client that has fallen behind and takes less than what waits in so long is dropped."""
PING_S: Final = 20.0
"""A client that said nothing for so long, or a little less, is asked whether it is there."""
SILENT_S: Final = 60.0
"""One that says nothing for so long is gone."""
CLOSING_S: Final = 5.0
"""How long a closing handshake may take."""

TOO_SLOW: Final = 4_008
"""Close code: the client takes less than happens. It can come again and go on from its position."""
UNAUTHENTICATED: Final = 4_001
"""Close code: no credential in time, or none that is known, or it was revoked."""
_PING: Final = b"\x89\x00"


class Socket(asyncio.Protocol):
    """One connection."""

    streams: Streams
    """What all of them share; set once by the server."""

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        """Is called by uvicorn, in this way, when a connection asks to be upgraded.

        `app_state` says who is at the other end, as `Protocol` has found it.
        """
        self._origin = app_state
        self._connection = ServerProtocol(max_size=MESSAGE_BYTES_MAX, logger=LOG)
        self._loop = asyncio.get_running_loop()
        self._talk: Talk | None = None
        self._pieces: list[bytes] = []
        self._closing_since: float | None = None
        # Clients that came at once need not all be asked at once, nor answer at once.
        self._ping_s = PING_S * (0.5 + random.random() / 2)  # noqa: S311  # no secret
        self._behind_since = 0.0
        self._drained = asyncio.Event()
        self._drained.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection over."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=BUFFER_BYTES_MAX, low=BUFFER_BYTES_LOW)
        self.since = self._heard_at = self._loop.time()
        self.streams.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self.streams.closed(self)
        self._drained.set()
        if self._talk is not None:
            self._talk.end()

    def pause_writing(self) -> None:
        """The client takes less than it is sent."""
        self._behind_since = self._loop.time()
        self._drained.clear()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._drained.set()

    def eof_received(self) -> None:
        """The client will say no more."""

    def data_received(self, data: bytes) -> None:
        """Reads what the client says."""
        self._heard_at = self._loop.time()
        self._connection.receive_data(data)
        for event in self._connection.events_received():
            if self._transport.is_closing():
                return
            if isinstance(event, Request):
                self._accept(event)
            else:
                self._take(cast("Frame", event))
        self._flush()
        if self._connection.close_expected():
            self._closing_since = self._closing_since or self._loop.time()

    def _accept(self, request: Request) -> None:
        error = self.streams.refusal(request)
        if error is not None:
            status, headers, body = problems.encode(error)
            response = self._connection.reject(status, body.decode("utf-8"))
            # The library knows the length and the date; it does not know what it sends.
            del response.headers["Content-Type"]
            for name, value in headers:
                if name != b"content-length":
                    response.headers[name.decode("ascii")] = value.decode("ascii")
            self._connection.send_response(response)
            self._flush()
            self._transport.close()
            return
        self._connection.send_response(self._connection.accept(request))
        self._flush()
        if not self._transport.is_closing():
            self._talk = Talk(self, self.streams)

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.BINARY:
            self.close(CloseCode.UNSUPPORTED_DATA, "messages are JSON in text frames")
        elif frame.opcode in (Opcode.TEXT, Opcode.CONT):
            self._pieces.append(bytes(frame.data))
            if sum(map(len, self._pieces)) > MESSAGE_BYTES_MAX:
                self.close(CloseCode.MESSAGE_TOO_BIG, f"a message has at most {MESSAGE_BYTES_MAX} bytes")
            elif frame.fin and self._talk is not None:
                message, self._pieces = b"".join(self._pieces), []
                self._talk.heard(message)

    def _flush(self) -> None:
        """Writes what the library wants to say."""
        for data in self._connection.data_to_send():
            if data:
                self._transport.write(data)
            else:
                self._transport.close()

    def send(self, message: bytes) -> None:
        """Sends a message, JSON in UTF-8."""
        if self._closing_since is None and not self._transport.is_closing():
            self._transport.write(_text_frame(message))

    @property
    def is_behind(self) -> bool:
        """Whether more waits to be taken than may."""
        return not self._drained.is_set()

    def tell(self, message: dict[str, Any]) -> None:
        """Sends a message that is for this client alone."""
        self.send(msgspec.json.encode(message))

    async def room(self) -> None:
        """Waits until what was sent before has mostly been taken, or the connection is over."""
        await self._drained.wait()

    def refuse(self, error: QenexError) -> None:
        """Tells the client that something it said could not be done."""
        self.tell({"type": "error", "problem": problems.problem(error)})

    def close(self, code: int, reason: str) -> None:
        """Ends the connection, with a word."""
        if self._closing_since is not None:
            return
        self._closing_since = self._loop.time()
        if self._talk is not None:
            self._talk.end()
        self._connection.send_close(code, reason)
        self._flush()

    def sweep(self, now: float) -> None:
        """Looks, now and then, whether the client is still there."""
        if self._closing_since is not None:
            if now - self._closing_since > CLOSING_S:
                self._transport.abort()
        elif (self._talk is None or self._talk.principal is None) and now - self.since > HELLO_S:
            self.close(UNAUTHENTICATED, f"no credential came within {HELLO_S:.0f} s")
        elif self.is_behind and now - self._behind_since > BEHIND_S:
            self.streams.too_slow += 1
            self.close(TOO_SLOW, "too slow for what happens; come again with your position")
        elif now - self._heard_at > SILENT_S:
            self._transport.abort()
        elif now - self._heard_at > self._ping_s:
            self._transport.write(_PING)

    @property
    def peer(self) -> str | None:
        """The address at the other end."""
        client: tuple[str, int] | None = self._origin.get("client")
        return client[0] if client else None

    @property
    def talk(self) -> Talk | None:
        """What is said over it, once the handshake is over."""
        return self._talk


def _text_frame(message: bytes) -> bytes:
    """An unmasked, unfragmented text frame (RFC 6455 section 5.2)."""
    length = len(message)
    if length < 126:
        return bytes((0x81, length)) + message
    if length < 65_536:
        return b"\x81\x7e" + length.to_bytes(2, "big") + message
    return b"\x81\x7f" + length.to_bytes(8, "big") + message
