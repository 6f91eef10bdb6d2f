"""One connection to the HTTP process, without a socket: what a client can make it keep, and for how long."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, cast

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from qenex.api import protocol
from qenex.api.protocol import ANSWER_S, CLOSING_S, HEAD_BYTES_MAX, PIPELINED_MAX, Protocol
from tests.unit.api.conftest import TOKEN

if TYPE_CHECKING:
    from qenex.api.gateway import Gateway
    from tests.unit.api.conftest import Api

OK = b"HTTP/1.1 200 OK"
HEALTH = b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n"
CHUNKED = b"GET /health HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"


class Transport(asyncio.Transport):
    """Keeps what is written; the client takes it, or does not."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closing = self.aborted = False
        self._wrote = asyncio.Event()

    def write(self, data: Any) -> None:
        if not self.closing:
            self.written += data
            self._wrote.set()

    async def answers(self, count: int) -> None:
        """Waits for so many good ones."""
        while self.written.count(OK) < count:
            self._wrote.clear()
            await self._wrote.wait()

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Door:
    """Makes connections."""

    def __init__(self, gateway: Gateway) -> None:
        self._config = Config(cast("Any", gateway), http=Protocol, lifespan="off", log_config=None)
        self.state = ServerState()

    def connect(self, transport: Transport | None = None) -> tuple[Protocol, Transport]:
        connection, transport = Protocol(self._config, self.state, {}), transport or Transport()
        connection.connection_made(transport)
        return connection, transport


@pytest.fixture
def door(api: Api) -> Door:
    return Door(api.application.gateway)


async def test_requests_that_wait_for_answers_before_them_are_few(door: Door) -> None:
    connection, transport = door.connect()
    connection.data_received(HEALTH * (PIPELINED_MAX + 1))
    assert len(connection.pipeline) == PIPELINED_MAX
    connection.data_received(HEALTH * 10)
    assert transport.closing
    assert len(connection.pipeline) == PIPELINED_MAX
    assert not transport.written, "a refusal would be taken for the answer to a request before it"


async def test_every_request_in_a_row_is_answered(door: Door) -> None:
    connection, transport = door.connect()
    connection.data_received(HEALTH * 20)
    await transport.answers(20)
    assert not transport.closing


def posted(body: bytes, *, length: int | None = None) -> bytes:
    return b"POST /health HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % (length or len(body)) + body


LONG = b"GET /health HTTP/1.1\r\nhost: a\r\nx-pad: " + b"p" * 2_000 + b"\r\n\r\n"
MANY = LONG * (2 * HEAD_BYTES_MAX // len(LONG))


@pytest.mark.parametrize(
    "last",
    [
        LONG[:-1],
        LONG[:10],
        LONG + posted(b"", length=10),
        CHUNKED,
        CHUNKED + b"1\r\n",
        posted(b"x" * 2 * HEAD_BYTES_MAX) + b"GET /hea",
        posted(b"x\n" * HEAD_BYTES_MAX) + LONG[:60],
    ],
    ids=["a head", "an address", "a body to come", "chunks to come", "a chunk", "behind a body", "behind lines"],
)
async def test_a_head_is_measured_without_the_requests_before_it(door: Door, last: bytes) -> None:
    connection, transport = door.connect()
    connection.data_received(MANY + last)
    assert not transport.closing


@pytest.mark.parametrize("piece", [1, 100, 10_000, 1_000_000])
@pytest.mark.parametrize("before", [b"", LONG])
@pytest.mark.parametrize("in_address", [True, False])
async def test_a_head_of_the_largest_size_is_taken_and_one_more_byte_is_not(
    door: Door, piece: int, before: bytes, *, in_address: bool
) -> None:
    for too_many in (0, 1):
        connection, transport = door.connect()
        room = HEAD_BYTES_MAX + too_many - len(b"/host: a\r\n")
        if in_address:
            head = b"GET /%b HTTP/1.1\r\nhost: a\r\n\r\n" % (b"p" * room)
        else:
            head = b"GET / HTTP/1.1\r\nhost: a\r\nx: %b\r\n\r\n" % (b"p" * (room - len(b"x: \r\n")))
        stream = before + head
        for at in range(0, len(stream), piece):
            connection.data_received(stream[at : at + piece])
        assert transport.closing == bool(too_many)


async def test_an_answer_in_a_row_that_is_not_taken_ends_the_connection(door: Door) -> None:
    connection, transport = door.connect()
    connection.data_received(HEALTH * 3)
    await transport.answers(1)
    connection.pause_writing()
    now = connection.loop.time()
    connection.sweep(now + ANSWER_S - 1)
    assert not transport.aborted
    connection.sweep(now + ANSWER_S + 1)
    assert transport.aborted
    connection.connection_lost(None)


async def test_what_follows_a_chunked_body_is_no_header_and_has_an_end(door: Door) -> None:
    connection, transport = door.connect()
    connection.data_received(CHUNKED + b"1\r\nx\r\n0\r\n")
    names = [name for name, _ in connection.headers]
    for _ in range(2 * HEAD_BYTES_MAX // 1_000):
        connection.data_received(b"x: " + b"y" * 995 + b"\r\n")
    assert transport.closing
    assert [name for name, _ in connection.headers] == names


async def test_a_body_in_small_chunks_may_be_long(door: Door) -> None:
    connection, transport = door.connect()
    connection.data_received(CHUNKED)
    for _ in range(HEAD_BYTES_MAX // 3):
        connection.data_received(b"1\r\n")
        connection.data_received(b"x\r\n")
    assert not transport.closing


async def test_what_a_closed_connection_does_not_take_is_dropped(door: Door) -> None:
    connection, transport = door.connect()
    connection.data_received(b"no HTTP\r\n\r\n")
    assert transport.closing
    now = connection.loop.time()
    connection.sweep(now)
    connection.sweep(now + CLOSING_S)
    assert not transport.aborted
    connection.sweep(now + CLOSING_S + 1)
    assert transport.aborted


async def test_a_crowd_without_the_credential_keeps_nobody_out(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol.Protocol, "connections_max", 3)
    known, known_transport = door.connect()
    known.data_received(
        b"GET /api/v1/accounts HTTP/1.1\r\nhost: a\r\nauthorization: Bearer %b\r\n\r\n" % TOKEN.encode()
    )
    await known_transport.answers(1)
    strangers = [door.connect() for _ in range(2)]
    for connection, transport in strangers:
        connection.data_received(HEALTH)
        await transport.answers(1)
    _, third = door.connect()
    (_, oldest), (_, second) = strangers
    assert oldest.closing
    assert b'"code":"too_many_connections"' in oldest.written.rpartition(b"\r\n\r\n")[2]
    assert [one.closing for one in (second, third, known_transport)] == [False] * 3


async def test_who_is_known_makes_no_room(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol.Protocol, "connections_max", 1)
    known, known_transport = door.connect()
    known.data_received(
        b"GET /api/v1/accounts HTTP/1.1\r\nhost: a\r\nauthorization: Bearer %b\r\n\r\n" % TOKEN.encode()
    )
    await known_transport.answers(1)
    _, second = door.connect()
    assert second.closing
    assert not known_transport.closing


class PeerTransport(Transport):
    """As if from that address."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._peer = (address, 40_000)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._peer if name == "peername" else default


FORWARDED = b"GET /health HTTP/1.1\r\nhost: a\r\nX-Forwarded-For: 10.9.9.9, %b\r\nforwarded: for=10.9.9.9\r\n\r\n"


@pytest.mark.parametrize(
    ("peer", "said", "client", "scheme"),
    [
        ("192.0.2.5", b"203.0.113.7", ("203.0.113.7", 0), "https"),
        ("192.0.2.5", b"2001:db8::7", ("2001:db8::7", 0), "https"),
        ("::ffff:192.0.2.5", b"203.0.113.7", ("203.0.113.7", 0), "https"),
        ("192.0.2.5", b"unknown", ("192.0.2.5", 40_000), "https"),
        ("127.0.0.1", b"203.0.113.7", ("127.0.0.1", 40_000), "http"),
    ],
)
async def test_the_trusted_proxy_is_believed_by_its_last_address_and_nobody_else_is(
    door: Door, monkeypatch: pytest.MonkeyPatch, peer: str, said: bytes, client: tuple[str, int], scheme: str
) -> None:
    monkeypatch.setattr(Protocol, "trusted_proxy", ip_network("192.0.2.0/28"))
    connection, _ = door.connect(PeerTransport(peer))
    connection.data_received(FORWARDED % said)
    assert (connection.scope["client"], connection.scope["scheme"]) == (client, scheme)
    assert [name for name, _ in connection.headers] == [b"host"]


async def test_behind_a_proxy_others_do_not_come_in(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Protocol, "trusted_proxy", ip_network("192.0.2.0/28"))
    for transport in (PeerTransport("192.0.2.16"), PeerTransport("::ffff:192.0.2.16"), Transport()):
        door.connect(transport)
        assert transport.aborted


async def test_without_a_trusted_proxy_no_header_is_believed(door: Door) -> None:
    connection, _ = door.connect(PeerTransport("192.0.2.5"))
    connection.data_received(FORWARDED % b"203.0.113.7")
    assert (connection.scope["client"], connection.scope["scheme"]) == (("192.0.2.5", 40_000), "http")
    assert [name for name, _ in connection.headers] == [b"host"]


async def test_who_asks_for_a_web_socket_is_told_to_what_takes_it_over(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Protocol, "trusted_proxy", ip_network("192.0.2.0/28"))
    connection, transport = door.connect(PeerTransport("192.0.2.5"))
    told: list[dict[str, Any]] = []

    class Taken(asyncio.Protocol):
        def __init__(self, *, app_state: dict[str, Any], **_: Any) -> None:
            told.append(app_state)

    connection.ws_protocol_class = cast("Any", Taken)
    monkeypatch.setattr(transport, "set_protocol", lambda _: None)
    upgrade = b"connection: upgrade\r\nupgrade: websocket\r\nx-forwarded-for: 203.0.113.7\r\n"
    connection.data_received(b"GET /v1/stream HTTP/1.1\r\nhost: a\r\n" + upgrade + b"\r\n")
    assert told == [{"client": ("203.0.113.7", 0), "scheme": "https", "qenex.thumbprint": None, "qenex.subject": None}]
