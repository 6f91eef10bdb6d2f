"""The binary protocol's frames, to and from bytes (spec/protocol.md). No sockets, no state beyond a buffer."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import xxhash

from qenex.errors import UnexpectedReply
from qenex.kernel import (
    ACCOUNT,
    ACCOUNT_BALANCE,
    ACCOUNT_FILTER,
    ACCOUNT_TERMS,
    BALANCE_AT,
    CHANGE_EVENT,
    CHANGE_EVENTS_FILTER,
    EVENT_RESULT,
    HASH,
    ID,
    OUTCOME,
    QUERY_FILTER,
    TRANSFER,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

VERSION: Final = 2
"""The version of the protocol that is spoken here."""
HEADER_SIZE: Final = 256
"""Bytes of a frame's header."""
FRAME_MAX: Final = (1 << 20) + (4 << 10)
"""Bytes of a frame at most, header included."""
CONTEXT_MAX: Final = 256
"""Bytes of a request's context at most."""
LINGER_MAX_US: Final = 1_000
"""How long a request may wait to share a group."""
WINDOW_MAX: Final = 64
"""Requests that one session may have unanswered, and how far behind its highest a number may lie."""
NO_SESSION: Final = bytes(16)
"""The session that may only read."""
NO_TRACE: Final = bytes(16)
"""The trace of a request that belongs to none."""

_MAGIC: Final = b"QENEXFR1"
# Every field of section 1 in its order; the checksum of the header follows the 248 bytes.
_FIELDS: Final = struct.Struct("<8sHHBBH16s16sQIIQ16sHHB3sIIQQQQIIIII84sQ")
_CHECKSUM: Final = struct.Struct("<Q")
_ZEROS: Final = bytes(84)
_HELLO: Final = struct.Struct("<HHIIB3sQ8s32s")
_CHALLENGE: Final = struct.Struct("<32s32s")
_WELCOME: Final = struct.Struct("<H2sIIIIIQ16s16sQ8s")
_STATUS: Final = struct.Struct("<16s16sQQQQQQQIIQQQIIQ120s")


class FrameType(IntEnum):
    """What a frame is."""

    HELLO = 1
    WELCOME = 2
    REQUEST = 3
    REPLY = 4
    ERROR = 5
    GOODBYE = 6
    CHALLENGE = 7
    PROOF = 8


class Operation(IntEnum):
    """What a request asks for; `REQUEST_ROWS` and `REPLY_ROWS` say in which rows."""

    GET_CHANGE_EVENTS = 137
    LOOKUP_ACCOUNTS = 140
    LOOKUP_TRANSFERS = 141
    GET_ACCOUNT_TRANSFERS = 142
    GET_ACCOUNT_BALANCES = 143
    QUERY_ACCOUNTS = 144
    QUERY_TRANSFERS = 145
    CREATE_ACCOUNTS = 146
    CREATE_TRANSFERS = 147
    SET_ACCOUNT_TERMS = 1024
    LOOKUP_OUTCOMES = 1025
    BALANCE_AT = 1026
    LOOKUP_HASHES = 1027
    LOOKUP_ACCOUNT_TERMS = 1028
    GET_STATUS = 1030
    GET_METRICS = 1031
    BACKUP = 1032
    CONFIRM_CLOCK = 1033
    CREATE_BOOK = 1040
    LIST_BOOKS = 1041
    SUSPEND_BOOK = 1042
    RESUME_BOOK = 1043
    PUT_GRANTS = 1044
    LIST_GRANTS = 1045
    REMOVE_GRANTS = 1046


_ROWS: Final[dict[Operation, tuple[np.dtype[np.void], np.dtype[np.void]]]] = {
    Operation.GET_CHANGE_EVENTS: (CHANGE_EVENTS_FILTER, CHANGE_EVENT),
    Operation.LOOKUP_ACCOUNTS: (ID, ACCOUNT),
    Operation.LOOKUP_TRANSFERS: (ID, TRANSFER),
    Operation.GET_ACCOUNT_TRANSFERS: (ACCOUNT_FILTER, TRANSFER),
    Operation.GET_ACCOUNT_BALANCES: (ACCOUNT_FILTER, ACCOUNT_BALANCE),
    Operation.QUERY_ACCOUNTS: (QUERY_FILTER, ACCOUNT),
    Operation.QUERY_TRANSFERS: (QUERY_FILTER, TRANSFER),
    Operation.CREATE_ACCOUNTS: (ACCOUNT, EVENT_RESULT),
    Operation.CREATE_TRANSFERS: (TRANSFER, EVENT_RESULT),
    Operation.SET_ACCOUNT_TERMS: (ACCOUNT_TERMS, EVENT_RESULT),
    Operation.LOOKUP_OUTCOMES: (ID, OUTCOME),
    Operation.BALANCE_AT: (BALANCE_AT, ACCOUNT_BALANCE),
    Operation.LOOKUP_HASHES: (HASH, TRANSFER),
    Operation.LOOKUP_ACCOUNT_TERMS: (ID, ACCOUNT_TERMS),
}
REQUEST_ROWS: Final = {int(operation): rows for operation, (rows, _) in _ROWS.items()}
"""The dtype of a request's rows; the other operations take bytes or nothing."""
REPLY_ROWS: Final = {int(operation): rows for operation, (_, rows) in _ROWS.items()}
"""The dtype of a reply's rows; the other operations give bytes."""
WRITES: Final = frozenset({Operation.CREATE_ACCOUNTS, Operation.CREATE_TRANSFERS, Operation.SET_ACCOUNT_TERMS})
"""Operations that change the ledger, and so happen exactly once."""


class Position(NamedTuple):
    """A place in the book's history; opaque, but those of one book can be compared."""

    journal: int
    epoch: int
    entry: int


class Header(NamedTuple):
    """A frame's header: all fields that have a meaning, in their order."""

    type: int
    flags: int = 0
    operation: int = 0
    book: bytes = bytes(16)
    session: bytes = bytes(16)
    request: int = 0
    journal: int = 0
    body_length: int = 0
    routing_version: int = 0
    trace: bytes = bytes(16)
    context_length: int = 0
    error: int = 0
    role: int = 0
    position_journal: int = 0
    deadline_us: int = 0
    position_epoch: int = 0
    position_entry: int = 0
    seen_timestamp: int = 0
    timestamp: int = 0
    staleness_us: int = 0
    linger_us: int = 0
    group_requests: int = 0
    group_rows: int = 0
    retry_after_us: int = 0
    body_checksum: int = 0

    @property
    def position(self) -> Position:
        """Where the effect stands, or what the read saw."""
        return Position(self.position_journal, self.position_epoch, self.position_entry)


def checksum(*parts: bytes | bytearray | memoryview) -> int:
    """XXH3-64 (seed 0) of the parts, one after another."""
    if len(parts) == 1:
        return xxhash.xxh3_64_intdigest(parts[0])
    state = xxhash.xxh3_64()
    for part in parts:
        state.update(part)
    return state.intdigest()


def encode_header(header: Header) -> bytes:
    """The 256 bytes of a header; the checksum of the body stands in it already."""
    h = header
    fields = _FIELDS.pack(*(_MAGIC, VERSION, HEADER_SIZE, *h[:13], b"\0\0\0", *h[13:24], _ZEROS, h.body_checksum))
    return fields + _CHECKSUM.pack(xxhash.xxh3_64_intdigest(fields))


def decode_header(frame: bytes | bytearray | memoryview) -> Header:
    """The header in the first 256 bytes of a frame.

    Raises:
        UnexpectedReply: its checksum, magic, version, lengths or reserved bytes are not what they should be.
    """
    (expected,) = _CHECKSUM.unpack_from(frame, 248)
    fields = _FIELDS.unpack_from(frame)
    if fields[0] != _MAGIC:
        raise UnexpectedReply(f"The magic is {fields[0]!r}, {_MAGIC!r} is wanted; is this QENEX's binary port?")
    if xxhash.xxh3_64_intdigest(memoryview(frame)[:248]) != expected:
        raise UnexpectedReply("The header does not match its checksum.")
    if fields[1] != VERSION or fields[2] != HEADER_SIZE:
        raise UnexpectedReply(f"The frame has version {fields[1]} and a header of {fields[2]} bytes.")
    header = Header._make((*fields[3:16], *fields[17:28], fields[29]))
    if header.body_length > FRAME_MAX - HEADER_SIZE:
        raise UnexpectedReply(f"A body of {header.body_length} bytes is over the limit.")
    if fields[16] != b"\0\0\0" or fields[28] != _ZEROS:
        raise UnexpectedReply("Reserved bytes of the header are not zero.")
    return header


class FrameDecoder:
    """Cuts a stream into frames, with one buffer and no copy of a body.

    Write what was received into `writable()`, say how much with `wrote`, then take the `frames`.
    """

    __slots__ = ("_buffer", "_end", "_start", "_view")

    def __init__(self) -> None:
        self._buffer = bytearray(2 * FRAME_MAX)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0

    def writable(self) -> memoryview:
        """Free space for what comes next; frames that were handed out before are gone now."""
        if self._start == self._end:
            self._start = self._end = 0
        elif len(self._buffer) - self._start < FRAME_MAX:
            # What is left of one frame moves to the front, so that the whole of it fits.
            rest = self._end - self._start
            self._buffer[:rest] = self._buffer[self._start : self._end]
            self._start, self._end = 0, rest
        return self._view[self._end :]

    def wrote(self, count: int) -> None:
        """So many bytes were written into `writable()`."""
        self._end += count

    def frames(self) -> Iterator[tuple[Header, memoryview]]:
        """The complete frames; a body is good until the next `writable()`.

        Raises:
            UnexpectedReply: what came is no frame; nothing after it can be read.
        """
        while self._end - self._start >= HEADER_SIZE:
            body_at = self._start + HEADER_SIZE
            header = decode_header(self._view[self._start : body_at])
            next_at = body_at + header.body_length
            if next_at > self._end:
                return
            body = self._view[body_at:next_at]
            if xxhash.xxh3_64_intdigest(body) != header.body_checksum:
                raise UnexpectedReply("The body does not match its checksum.")
            self._start = next_at
            yield header, body


class Welcome(NamedTuple):
    """What the engine says of itself when a connection begins."""

    version: int
    window_requests: int
    window_bytes: int
    frame_max: int
    batch_max: int
    release: int
    features: int
    book: bytes
    incarnation: bytes
    highest_request: int
    name: str


def encode_hello(fingerprint: bytes, nonce: bytes, name: str) -> bytes:
    """The body of a hello: one version, the server's windows, which credential, the name of this program."""
    program = name.encode()
    return _HELLO.pack(VERSION, VERSION, 0, 0, len(program), bytes(3), 0, fingerprint, nonce) + program


def decode_challenge(body: bytes | bytearray | memoryview) -> tuple[bytes, bytes]:
    """The nonce and the proof of a challenge.

    Raises:
        UnexpectedReply: it has another length.
    """
    if len(body) != _CHALLENGE.size:
        raise UnexpectedReply(f"A challenge of {len(body)} bytes came, {_CHALLENGE.size} are wanted.")
    nonce, proof = _CHALLENGE.unpack(body)
    return nonce, proof


def decode_welcome(body: bytes | memoryview) -> Welcome:
    """The body of a welcome.

    Raises:
        UnexpectedReply: it is too short, or states what cannot be.
    """
    if len(body) < _WELCOME.size:
        raise UnexpectedReply(f"A welcome of {len(body)} bytes is too short.")
    version, _, *facts, _ = _WELCOME.unpack_from(body)
    welcome = Welcome._make((version, *facts, bytes(body[_WELCOME.size :]).decode(errors="replace")))
    if version != VERSION or not 1 <= welcome.window_requests <= WINDOW_MAX or not welcome.batch_max:
        raise UnexpectedReply(f"The welcome makes no sense: {welcome}.")
    return welcome


class EngineStatus(NamedTuple):
    """How the engine stands (section 6); times in UTC nanoseconds."""

    book: bytes
    incarnation: bytes
    epoch: int
    entry: int
    group: int
    timestamp: int
    accounts: int
    transfers: int
    pending: int
    sessions: int
    release: int
    journal_bytes: int
    free_bytes: int
    checkpoint_entry: int
    segments: int
    writable: int

    @property
    def book_id(self) -> str:
        """The book's id, 32 hexadecimal digits."""
        return self.book.hex()

    @property
    def is_writable(self) -> bool:
        """Whether a write of one row would be taken; if not, `writable` is the number of the error it would get."""
        return self.writable == 1


def decode_status(body: bytes | bytearray | memoryview) -> EngineStatus:
    """The status row of a reply.

    Raises:
        UnexpectedReply: it has another length.
    """
    if len(body) != _STATUS.size:
        raise UnexpectedReply(f"A status of {len(body)} bytes came, {_STATUS.size} are wanted.")
    return EngineStatus(*_STATUS.unpack(body)[:16])
