"""A TLS front in this process with servers behind it that tell what they were told of a client."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from qenex.api import preface
from qenex.api import server as http_server
from qenex.api.protocol import Protocol
from qenex.kernel import _native
from tests.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SECONDS = 30.0
"""How long anything may take on a machine that is busy with other tests."""
PIECE = b"0123456789abcdef" * 4_096


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Tells what it knows of the client and how much it has sent; answers with as many bytes as are asked for."""
    received, more = 0, True
    while more:
        message = await receive()
        received += len(message.get("body", b""))
        more = message.get("more_body", False)
    wanted = int(parse_qs(scope["query_string"].decode()).get("bytes", ["0"])[0])
    known = {name: scope.get(name) for name in ("client", "scheme", "qenex.thumbprint", "qenex.subject")}
    names = [name.decode() for name, _ in scope["headers"]]
    told = json.dumps(known | {"received": received, "headers": names}).encode()
    length = wanted or len(told)
    headers = [(b"content-length", str(length).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while wanted > 0:
        await send({"type": "http.response.body", "body": PIECE[:wanted], "more_body": wanted > len(PIECE)})
        wanted -= len(PIECE)
    if length == len(told):
        await send({"type": "http.response.body", "body": told})


@dataclass
class Fronted:
    """The front, and what stands behind it."""

    folder: Path
    authority: Authority
    front: _native.Front
    said: asyncio.Queue[str]
    """What it has told whoever runs it."""
    engine: tuple[str, int] | None = None
    """Where connections to the binary door go; without it they hear who they are, then themselves."""
    ended: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    """How connections to the binary door have ended."""

    @property
    def https(self) -> tuple[str, int]:
        return self.front.addresses[0]

    @property
    def binary(self) -> tuple[str, int]:
        return self.front.addresses[1]

    def context(self, certificate: Path | None = None) -> ssl.SSLContext:
        """What a client speaks TLS with."""
        made = ssl.create_default_context(cadata=self.authority.pem.decode())
        if certificate is not None:
            made.load_cert_chain(certificate)
        return made

    async def connect(
        self, address: tuple[str, int], context: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*address, ssl=context or self.context())

    async def ask(
        self, request: bytes = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", context: ssl.SSLContext | None = None
    ) -> dict[str, Any]:
        """Asks the HTTP server who it thinks we are."""
        reader, writer = await self.connect(self.https, context)
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        told: dict[str, Any] = json.loads(await reader.readexactly(length))
        writer.close()
        with suppress(OSError, ssl.SSLError):
            await writer.wait_closed()
        return told

    async def hears(self, text: str) -> None:
        """Waits until the front says so."""
        async with asyncio.timeout(SECONDS):
            while text not in await self.said.get():
                pass

    async def behind(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The server behind the binary door."""
        stream = b""
        while (decoded := preface.decode(stream)) is None:
            piece = await reader.read(1)
            assert piece, "the front says who it is before anything else"
            stream += piece
        try:
            if self.engine is not None:
                their_reader, their_writer = await asyncio.open_connection(*self.engine)
                await asyncio.gather(_pass_on(reader, their_writer), _pass_on(their_reader, writer))
                their_writer.close()
            else:
                writer.write(json.dumps(decoded[0]).encode() + b"\n")
                await _pass_on(reader, writer)
            self.ended.put_nowait("cleanly")
        except OSError:
            self.ended.put_nowait("cut off")
        writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65_536):
        writer.write(piece)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


@asynccontextmanager
async def fronted(folder: Path, *, connections_max: int = 64, **clients: Any) -> AsyncIterator[Fronted]:
    """A front with a certificate of its own; `clients` says how those of clients are judged."""
    authority = Authority()
    certificate, key = authority.server().write(folder)
    said: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    behind = socket.socket(socket.AF_UNIX)
    behind.bind(str(folder / "http.sock"))
    behind.listen()
    http = http_server._Server(http_server._config(application), behind)
    plain = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(http.serve(sockets=[plain]))
    await http.ready.wait()
    judged = {"client_ca": None, "client_crl": None, "client_required": False} | clients
    front = _native.Front(
        doors=[
            ("127.0.0.1", 0, folder / "http.sock", ["http/1.1"]),
            ("127.0.0.1", 0, folder / "engine.sock", ["qenex/2"]),
        ],
        certificate=certificate,
        key=key,
        connections_max=connections_max,
        stop_fd=None,
        tell=lambda line: loop.call_soon_threadsafe(said.put_nowait, line),
        **judged,
    )
    made = Fronted(folder, authority, front, said)
    binary = await asyncio.start_unix_server(made.behind, folder / "engine.sock")
    try:
        yield made
    finally:
        front.stop()
        await asyncio.to_thread(front.wait)
        binary.close()
        http.should_exit = True
        await serving
        Protocol.trusted_proxy = None
