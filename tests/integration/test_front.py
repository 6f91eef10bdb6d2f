"""TLS before the servers, with real handshakes: who gets in, what the servers are told, what passes."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from qenex import AsyncQenexClient, QenexClient
from qenex.errors import AddressInUse, CredentialExposed, EngineUnreachable, InvalidFile
from qenex.kernel import AccountFlags, _native
from tests.certificates import DAY, NOW, Authority, Issued
from tests.integration.fronts import SECONDS, Fronted, fronted

if TYPE_CHECKING:
    from qenex.client import Balance
    from tests.conftest import EngineProcess

_VECTORS = Path(__file__).parents[2] / "spec/vectors/proxy"
REFUSED = (ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)
"""What a client gets that is sent away; a reset can come before the alert."""
BIG = 32 << 20


async def test_a_client_gets_in_and_the_server_knows_its_address(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        told = await front.ask()
        assert told["client"][0] == "127.0.0.1"
        assert told["client"][1] > 0
        assert told["scheme"] == "https"
        assert told["qenex.thumbprint"] is None


async def test_nothing_but_tls_1_3_is_spoken(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        old = front.context()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
            await front.ask(context=old)
        _, writer = await front.connect(front.https)
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        writer.close()


async def test_each_door_speaks_its_own_protocol(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        for address, name, other in ((front.https, "http/1.1", "qenex/2"), (front.binary, "qenex/2", "h2")):
            context = front.context()
            context.set_alpn_protocols([name])
            _, writer = await front.connect(address, context)
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == name
            writer.close()
            context.set_alpn_protocols([other])
            with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
                await front.connect(address, context)


async def test_a_clients_certificate_reaches_the_server(tmp_path: Path) -> None:
    authority = Authority("clients")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    client = authority.client("a program")
    certificate = client.write_both(tmp_path / "client.pem")
    async with fronted(tmp_path, client_ca=tmp_path / "ca.pem") as front:
        told = await front.ask(context=front.context(certificate))
        assert told["qenex.thumbprint"] == client.thumbprint
        assert told["qenex.subject"] == r"CN=a program,O=Bank\, of tests"
        assert (await front.ask())["qenex.thumbprint"] is None, "without one it gets in, as nobody in particular"
        reader, writer = await front.connect(front.binary, front.context(certificate))
        assert json.loads(await reader.readline())[2] == [told["qenex.thumbprint"], told["qenex.subject"]]
        writer.close()


def _wrong_certificates(authority: Authority) -> dict[str, Issued]:
    return {
        "of another authority": Authority("clients").client("a program"),
        "expired": authority.client("a program", until=NOW - DAY),
        "of a server": authority.server(),
        "revoked": authority.client("a revoked program"),
    }


async def test_a_wrong_certificate_does_not_get_in(tmp_path: Path) -> None:
    authority = Authority("clients")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    wrong = _wrong_certificates(authority)
    (tmp_path / "revoked.pem").write_bytes(authority.revoked(wrong["revoked"].certificate))
    good = authority.client("a program").write_both(tmp_path / "good.pem")
    judged = {"client_ca": tmp_path / "ca.pem", "client_crl": tmp_path / "revoked.pem"}
    async with fronted(tmp_path, **judged) as front:
        for what, issued in wrong.items():
            certificate = issued.write_both(tmp_path / "wrong.pem")
            for address in (front.https, front.binary):
                try:
                    await _first_byte(front, address, front.context(certificate))
                except REFUSED:
                    continue
                pytest.fail(f"{what} got in")
        assert (await front.ask(context=front.context(good)))["qenex.thumbprint"]


async def _first_byte(front: Fronted, address: tuple[str, int], context: ssl.SSLContext | None = None) -> None:
    """Connects, and waits for the answer to something."""
    reader, writer = await front.connect(address, context)
    try:
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        await reader.readexactly(1)
    finally:
        writer.close()
        with suppress(*REFUSED):
            await writer.wait_closed()


async def test_an_outdated_list_of_revoked_certificates_lets_nobody_in(tmp_path: Path) -> None:
    authority = Authority("clients")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    (tmp_path / "revoked.pem").write_bytes(authority.revoked(until=NOW - DAY))
    certificate = authority.client("a program").write_both(tmp_path / "client.pem")
    judged = {"client_ca": tmp_path / "ca.pem", "client_crl": tmp_path / "revoked.pem"}
    async with fronted(tmp_path, **judged) as front:
        with pytest.raises(REFUSED):
            await front.ask(context=front.context(certificate))


async def test_where_a_certificate_is_required_nobody_gets_in_without(tmp_path: Path) -> None:
    authority = Authority("clients")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    certificate = authority.client("a program").write_both(tmp_path / "client.pem")
    async with fronted(tmp_path, client_ca=tmp_path / "ca.pem", client_required=True) as front:
        with pytest.raises(REFUSED):
            await front.ask()
        assert (await front.ask(context=front.context(certificate)))["qenex.thumbprint"]


async def test_what_comes_in_the_stream_is_never_believed(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        names = (b"X-Forwarded-For", b"forwarded", b"x-real-ip", b"X-Forwarded-Client-Cert", b"client-cert", b"x-kept")
        headers = b"".join(name + b": 192.0.2.99\r\n" for name in names)
        told = await front.ask(b"GET / HTTP/1.1\r\nhost: a\r\n" + headers + b"\r\n")
        assert told["client"][0] == "127.0.0.1"
        assert told["headers"] == ["host", "x-kept"]

        # A second header of the front's, from outside: to HTTP it is a request that is none.
        forged = bytes.fromhex((_VECTORS / "headers.txt").read_text().splitlines()[3].split()[-1])
        reader, writer = await front.connect(front.https)
        writer.write(forged + b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
        writer.close()
        # To the binary door it is a part of the stream.
        reader, writer = await front.connect(front.binary)
        assert json.loads(await reader.readline())[0][0] == "127.0.0.1"
        writer.write(forged)
        assert await reader.readexactly(len(forged)) == forged
        writer.close()


async def test_a_connection_without_the_fronts_word_ends(tmp_path: Path) -> None:
    async with fronted(tmp_path):
        for first in (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n"):
            reader, writer = await asyncio.open_unix_connection(tmp_path / "http.sock")
            writer.write(first)
            assert await reader.read() == b""
            writer.close()


async def test_the_fronts_word_may_come_in_pieces(tmp_path: Path) -> None:
    header = bytes.fromhex((_VECTORS / "headers.txt").read_text().splitlines()[1].split()[-1])
    async with fronted(tmp_path):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "http.sock")
        for byte in header + b"GET / HTTP/1.1\r\nhost: a\r\n\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert json.loads((await reader.read(65_536)).decode())["client"] == ["192.0.2.7", 50_123]
        writer.close()


async def test_large_bodies_pass_both_ways(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        request = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % BIG
        told = await front.ask(request + os.urandom(1 << 20) * (BIG >> 20))
        assert told["received"] == BIG
        reader, writer = await front.connect(front.https)
        writer.write(b"GET /?bytes=%d HTTP/1.1\r\nhost: a\r\n\r\n" % BIG)
        await reader.readuntil(b"\r\n\r\n")
        left = BIG
        while left and (piece := await reader.read(1 << 16)):
            left -= len(piece)
        assert left == 0
        writer.close()


async def test_both_sides_may_send_at_once_and_as_slowly_as_they_like(tmp_path: Path) -> None:
    sent = os.urandom(4 << 20)
    async with fronted(tmp_path) as front:
        reader, writer = await front.connect(front.binary)
        await reader.readline()

        async def send() -> None:
            for start in range(0, len(sent), 100_000):
                writer.write(sent[start : start + 100_000])
                await writer.drain()

        # Nothing is read until all that fits anywhere is full; then everything, in order.
        sending = asyncio.create_task(send())
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(sending), 0.2)
        assert await reader.readexactly(len(sent)) == sent
        await sending
        writer.close()


async def test_an_abrupt_end_reaches_the_other_side(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        for way in ("reset", "without a word", "word first"):
            reader, writer = await front.connect(front.binary)
            await reader.readline()
            plain = writer.get_extra_info("socket")
            if way == "reset":
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if way == "word first":
                writer.close()
            else:
                writer.transport.abort()
            assert await asyncio.wait_for(front.ended.get(), SECONDS)


async def test_a_client_that_says_it_is_done_still_gets_its_answer(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        done = await asyncio.to_thread(_half_close, front)
        assert done == b"the last word"
        assert await asyncio.wait_for(front.ended.get(), SECONDS) == "cleanly"


def _half_close(front: Fronted) -> bytes:
    """Sends something, says that it was all, and reads what comes back: over memory, for `ssl` closes both ways."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = front.context().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with socket.create_connection(front.binary, SECONDS) as plain:

        def retry(step: Any) -> Any:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    plain.sendall(outgoing.read())
                    if not (received := plain.recv(65_536)):
                        incoming.write_eof()
                    incoming.write(received)

        retry(tls.do_handshake)
        line = retry(lambda: tls.read(65_536))
        assert line.endswith(b"\n")
        tls.write(b"the last word")
        with pytest.raises(ssl.SSLWantReadError):
            tls.unwrap()  # which writes our end, and waits for theirs
        plain.sendall(outgoing.read())
        received = b""
        with suppress(ssl.SSLZeroReturnError, ssl.SSLEOFError):
            while piece := retry(lambda: tls.read(65_536)):
                received += piece
        return received


async def test_a_handshake_that_does_not_get_on_keeps_nobody_out(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        idle = [await asyncio.open_connection(*front.https) for _ in range(300)]
        assert (await front.ask())["scheme"] == "https"
        reader, _ = idle[0]
        assert await asyncio.wait_for(reader.read(), SECONDS) == b"", "the oldest makes room, beyond 256"
        for _, writer in idle:
            writer.close()


async def test_beyond_its_connections_a_door_takes_none(tmp_path: Path) -> None:
    async with fronted(tmp_path, connections_max=1) as front:
        reader, writer = await front.connect(front.binary)
        await reader.readline()
        with pytest.raises(REFUSED):
            await _first_byte(front, front.binary)
        assert (await front.ask())["scheme"] == "https", "each door has its own"
        writer.close()
        await asyncio.wait_for(front.ended.get(), SECONDS)


async def test_a_new_certificate_is_taken_and_a_bad_one_is_not(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        reader, writer = await front.connect(front.binary)
        await reader.readline()
        before = front.authority.root

        (tmp_path / "server.pem").write_text("no certificate")
        await front.hears("is not used, the one before is: ")
        assert (await front.ask())["scheme"] == "https"

        front.authority = Authority("another")
        front.authority.server().write(tmp_path)
        await front.hears("read anew")
        assert (await front.ask())["scheme"] == "https", "whoever trusts the new authority gets in"
        assert front.authority.root != before
        writer.write(b"still there\n")
        assert await reader.readline() == b"still there\n"
        writer.close()


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = authority.server().write(tmp_path)
    _, other_key = authority.server().write(tmp_path, "other")
    (tmp_path / "nothing.pem").write_text("nothing")
    (tmp_path / "nothing.pem").chmod(0o600)
    open_key = tmp_path / "open.key"
    open_key.write_bytes(key.read_bytes())
    open_key.chmod(0o640)

    def start(**changed: Any) -> None:
        usual = {"certificate": certificate, "key": key, "client_ca": None, "client_crl": None}
        named: Any = usual | changed
        _native.Front(doors=[], client_required=False, connections_max=1, stop_fd=None, tell=print, **named)

    with pytest.raises(InvalidFile, match=r"absent.pem: cannot be read"):
        start(certificate=tmp_path / "absent.pem")
    with pytest.raises(InvalidFile, match=r"server.pem: does not go with .*other.key"):
        start(key=other_key)
    with pytest.raises(InvalidFile, match=r"nothing.pem: is no private key"):
        start(key=tmp_path / "nothing.pem")
    with pytest.raises(CredentialExposed, match=r"open.key: mode 640 lets others read the key"):
        start(key=open_key)
    with pytest.raises(InvalidFile, match=r"nothing.pem: there is no certificate"):
        start(client_ca=tmp_path / "nothing.pem")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    with pytest.raises(InvalidFile, match=r"nothing.pem: there is no list of revoked"):
        start(client_ca=tmp_path / "ca.pem", client_crl=tmp_path / "nothing.pem")
    start()


def test_a_port_in_use_is_named_with_its_flag(tmp_path: Path) -> None:
    certificate, key = Authority().server().write(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        doors = [("127.0.0.1", port, tmp_path / "a.sock", ["x"]) for port in (0, taken.getsockname()[1])]
        with pytest.raises(AddressInUse, match="--binary-tls-port"):
            _native.Front(
                doors=doors,
                certificate=certificate,
                key=key,
                client_ca=None,
                client_crl=None,
                client_required=False,
                connections_max=1,
                stop_fd=None,
                tell=print,
            )


async def test_the_client_speaks_tls(tmp_path: Path, engine: EngineProcess) -> None:
    async with fronted(tmp_path) as front:
        front.engine = (engine.host, engine.port)
        (tmp_path / "root.pem").write_bytes(front.authority.pem)
        address = "tls://{}:{}".format(*front.binary)

        def blocking() -> Balance:
            with QenexClient(address, credential=engine.token, ca=tmp_path / "root.pem") as client:
                one, other = (client.create_account("EUR", flags=AccountFlags(0)) for _ in range(2))
                # Several frames of a megabyte each, which come and go in many records.
                payments = [client.create_transaction(one.id, other.id, 1, "EUR") for _ in range(20_000)]
                assert all(client.execute_many(payments))
                return client.balance(other.id)

        assert (await asyncio.to_thread(blocking)).available == 20_000
        async with AsyncQenexClient(address, credential=engine.token, ca=tmp_path / "root.pem") as client:
            assert (await client.status()).is_writable


async def test_the_client_trusts_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other.pem").write_bytes(Authority("other").pem)
    async with fronted(tmp_path) as front:
        address = "tls://{}:{}".format(*front.binary)
        monkeypatch.setenv("QENEX_CA", str(tmp_path / "other.pem"))
        with pytest.raises(EngineUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
            await asyncio.to_thread(lambda: QenexClient(address, credential="x"))
        (tmp_path / "root.pem").write_bytes(front.authority.pem)
        monkeypatch.setenv("QENEX_CA", str(tmp_path / "root.pem"))
        named = address.replace("127.0.0.1", "localhost")
        with pytest.raises(EngineUnreachable, match=r"[Hh]ostname mismatch"):
            await asyncio.to_thread(lambda: QenexClient(named, credential="x"))
        with pytest.raises(EngineUnreachable, match=r"[Hh]ostname mismatch"):
            await AsyncQenexClient(named, credential="x").open()
