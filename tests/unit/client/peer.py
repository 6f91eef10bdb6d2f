"""A peer that speaks the protocol and fails at chosen moments: connections lost before and after an effect, `busy`,
sessions forgotten, bytes garbled. Its ledger is the least that shows what happened twice: ids, and their timestamps.
"""

from __future__ import annotations

import hmac
import os
import socket
import struct
import threading
from collections import deque
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Self

import numpy as np

from qenex.client.protocol import (
    FRAME_MAX,
    VERSION,
    FrameDecoder,
    FrameType,
    Header,
    Operation,
    checksum,
    encode_header,
)
from qenex.kernel import EVENT_RESULT, ID, OUTCOME, TRANSFER, CreateTransferStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

BOOK = bytes(range(16))
SECRET = "secret"  # noqa: S105  # of the tests
"""The credential that opens it."""
REFUSED_CODE = 13
"""Transfers with this code are refused as `exceeds_credits`, and their ids burned."""


class Peer:
    """One book on a free port. `faults` are used up one a request, in order; without one, a request is answered."""

    def __init__(self, faults: Iterable[str] = (), *, hello_faults: Iterable[str] = (), window: int = 64) -> None:
        self.faults, self.hello_faults, self.window = deque(faults), deque(hello_faults), window
        self.applied: dict[bytes, tuple[int, int]] = {}
        """Timestamp and status of each id that had an effect or was burned."""
        self.sessions: dict[bytes, dict[int, bytes]] = {}
        """The replies of each session's writes."""
        self.hellos: list[Header] = []
        self.heard: list[bytes] = []
        """All bytes that came, of every connection."""
        self.requests: list[Header] = []
        self.contexts: list[bytes] = []
        self.timestamp = 1_000
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # shutdown wakes accept(), which close alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _accept(self) -> None:
        threads = []
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threads.append(threading.Thread(target=self._serve, args=(connection,)))
                threads[-1].start()
        for thread in threads:
            thread.join()

    def _serve(self, connection: socket.socket) -> None:
        decoder = FrameDecoder()
        with connection, suppress(OSError):
            hello = self._introduction(connection, decoder)
            self._welcome(connection, hello)
            while received := connection.recv_into(decoder.writable()):
                decoder.wrote(received)
                for header, body in decoder.frames():
                    self._take(connection, header, bytes(body))

    def _next(self, connection: socket.socket, decoder: FrameDecoder) -> tuple[Header, bytes]:
        while received := connection.recv_into(decoder.writable()):
            decoder.wrote(received)
            for header, body in decoder.frames():
                self.heard.append(encode_header(header) + bytes(body))
                return header, bytes(body)
        raise ConnectionResetError

    def _introduction(self, connection: socket.socket, decoder: FrameDecoder) -> Header:
        """Hello, our proof, theirs: as the specification has it, in other words than the client's."""
        hello, body = self._next(connection, decoder)
        assert (hello.type, body[24:32]) == (FrameType.HELLO, sha256(SECRET.encode()).digest()[:8])
        fault = self.hello_faults[0] if self.hello_faults else ""
        impostors = {
            "unproven": frame(Header(FrameType.CHALLENGE), bytes(64)),
            "bare_welcome": self._welcome_frame(hello),
            "expired": error_frame(10, 0, "no such session"),
        }
        if fault in impostors:
            self.hello_faults.popleft()
            connection.sendall(impostors[fault])
            self._next(connection, decoder)
        nonce = os.urandom(32)
        said = sha256(encode_header(hello) + body + nonce).digest()
        client_key, server_key = (
            hmac.digest(SECRET.encode(), f"qenex-{side}-key-v1".encode(), "sha256") for side in ("client", "server")
        )
        proof = hmac.digest(server_key, said, "sha256")
        connection.sendall(frame(Header(FrameType.CHALLENGE), nonce + proof))
        header, theirs = self._next(connection, decoder)
        mask = hmac.digest(sha256(client_key).digest(), said, "sha256")
        assert (header.type, theirs) == (FrameType.PROOF, bytes(a ^ b for a, b in zip(client_key, mask, strict=True)))
        return hello

    def _take(self, connection: socket.socket, header: Header, body: bytes) -> None:
        self.requests.append(header)
        self.contexts.append(body[: header.context_length])
        fault = self.faults.popleft() if self.faults else "answer"
        if fault == "drop":
            raise ConnectionAbortedError
        if fault == "silence":
            return
        if fault in ("busy", "busy_for_long", "unknown_outcome", "storage_full", "forgotten"):
            number = {"unknown_outcome": 23, "storage_full": 14, "forgotten": 10}.get(fault, 9)
            after_us = 60_000_000 if fault == "busy_for_long" else 500
            connection.sendall(error_frame(number, header.request, f"{fault} by order", retry_after_us=after_us))
            return
        if fault == "goodbye":
            connection.sendall(frame(Header(FrameType.GOODBYE), b""))
            return
        answer = self._answer(header, body[-(-header.context_length // 16) * 16 :])
        if fault == "apply_and_drop":
            raise ConnectionAbortedError
        if fault == "apply_and_forget":
            self.sessions.clear()
            raise ConnectionAbortedError
        if fault == "half":
            connection.sendall(answer[: len(answer) // 2])
            raise ConnectionAbortedError
        if fault == "garble":
            answer = answer[:-1] + bytes([answer[-1] ^ 1])
        connection.sendall(answer)

    def _welcome(self, connection: socket.socket, header: Header) -> None:
        self.hellos.append(header)
        fault = self.hello_faults.popleft() if self.hello_faults else ""
        if fault == "drop":
            raise ConnectionAbortedError
        if fault == "busy":
            connection.sendall(error_frame(9, 0, "too many sessions", retry_after_us=500))
            return
        if fault == "unauthenticated":
            connection.sendall(error_frame(3, 0, "who are you?"))
            return
        if header.flags and header.session not in self.sessions:
            connection.sendall(error_frame(10, 0, "no such session"))
            return
        self.sessions.setdefault(header.session, {})
        connection.sendall(self._welcome_frame(header))

    def _welcome_frame(self, header: Header) -> bytes:
        highest = max(self.sessions.get(header.session, {}), default=0)
        facts = (VERSION, b"\0\0", self.window, 16 << 20, FRAME_MAX, 8_189, 1, 0, BOOK, bytes(16), highest, bytes(8))
        welcome = struct.pack("<H2sIIIIIQ16s16sQ8s", *facts) + b"peer"
        return frame(Header(FrameType.WELCOME, session=header.session), welcome)

    def _answer(self, header: Header, rows: bytes) -> bytes:
        kept = self.sessions.get(header.session, {})
        if header.request in kept:
            return kept[header.request]
        body = {Operation.CREATE_TRANSFERS: self._create, Operation.LOOKUP_OUTCOMES: self._outcomes}[
            Operation(header.operation)
        ](rows)
        reply = frame(
            Header(
                FrameType.REPLY,
                operation=header.operation,
                session=header.session,
                request=header.request,
                timestamp=self.timestamp,
                group_requests=1,
                group_rows=len(rows) // 128,
                linger_us=header.linger_us,
            ),
            body,
        )
        if header.operation == Operation.CREATE_TRANSFERS:
            kept[header.request] = reply
        return reply

    def _create(self, rows: bytes) -> bytes:
        transfers = np.frombuffer(rows, TRANSFER)
        results = np.zeros(len(transfers), EVENT_RESULT)
        for at, transfer in enumerate(transfers):
            self.timestamp += 1
            key = transfer["id"].tobytes()
            if key not in self.applied:
                refused = transfer["code"] == REFUSED_CODE
                status = CreateTransferStatus.EXCEEDS_CREDITS if refused else CreateTransferStatus.CREATED
                self.applied[key] = (self.timestamp, status)
                results[at] = (self.timestamp, status, 0)
            elif self.applied[key][1] == CreateTransferStatus.CREATED:
                results[at] = (self.applied[key][0], CreateTransferStatus.EXISTS, 0)
            else:
                results[at] = (self.timestamp, CreateTransferStatus.ID_ALREADY_FAILED, 0)
        return results.tobytes()

    def _outcomes(self, rows: bytes) -> bytes:
        known = [(i, self.applied[i["id"].tobytes()]) for i in np.frombuffer(rows, ID) if i.tobytes() in self.applied]
        outcomes = np.zeros(len(known), OUTCOME)
        for at, (asked, (timestamp, status)) in enumerate(known):
            outcomes[at] = (asked["id"], timestamp, status, 0)
        return outcomes.tobytes()


def frame(header: Header, body: bytes) -> bytes:
    """A whole frame."""
    return encode_header(header._replace(body_length=len(body), body_checksum=checksum(body))) + body


def error_frame(number: int, request: int, text: str, *, retry_after_us: int = 0) -> bytes:
    """A frame that refuses."""
    return frame(Header(FrameType.ERROR, request=request, error=number, retry_after_us=retry_after_us), text.encode())


def transfers(first_id: int, count: int, *, code: int = 1) -> NDArray[np.void]:
    """Rows with consecutive ids."""
    rows = np.zeros(count, TRANSFER)
    rows["id"]["lo"] = np.arange(first_id, first_id + count)
    rows["code"] = code
    return rows
