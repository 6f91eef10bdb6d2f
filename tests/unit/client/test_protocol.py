"""The codec: there and back, byte by byte, and every way in which a frame can be wrong."""

from __future__ import annotations

import itertools
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qenex.client import steps
from qenex.client.handshake import Handshake, Keys
from qenex.client.protocol import (
    FRAME_MAX,
    FrameDecoder,
    FrameType,
    Header,
    Operation,
    checksum,
    decode_header,
    decode_status,
    decode_welcome,
    encode_header,
    encode_hello,
)
from qenex.client.session import Again, Request, Session
from qenex.errors import BY_CODE, EngineError, InvalidRows, Rejected, UnexpectedReply
from qenex.errors.engine import BY_NUMBER, StorageError
from qenex.kernel import CreateAccountStatus, CreateTransferStatus, SetAccountTermsStatus
from tests.unit.client.peer import error_frame, frame

HEADER = Header(
    type=FrameType.REPLY,
    operation=147,
    book=b"b" * 16,
    session=b"s" * 16,
    request=7,
    body_length=3,
    trace=b"t" * 16,
    context_length=2,
    error=9,
    role=1,
    position_journal=1,
    deadline_us=2,
    position_epoch=3,
    position_entry=4,
    seen_timestamp=5,
    timestamp=6,
    staleness_us=8,
    linger_us=9,
    group_requests=10,
    group_rows=11,
    retry_after_us=12,
    body_checksum=13,
)
OFFSETS = {
    "type": (12, 1),
    "flags": (13, 1),
    "operation": (14, 2),
    "book": (16, 16),
    "session": (32, 16),
    "request": (48, 8),
    "journal": (56, 4),
    "body_length": (60, 4),
    "routing_version": (64, 8),
    "trace": (72, 16),
    "context_length": (88, 2),
    "error": (90, 2),
    "role": (92, 1),
    "position_journal": (96, 4),
    "deadline_us": (100, 4),
    "position_epoch": (104, 8),
    "position_entry": (112, 8),
    "seen_timestamp": (120, 8),
    "timestamp": (128, 8),
    "staleness_us": (136, 4),
    "linger_us": (140, 4),
    "group_requests": (144, 4),
    "group_rows": (148, 4),
    "retry_after_us": (152, 4),
    "body_checksum": (240, 8),
}
"""As the table of spec/protocol.md section 1 has them."""


def test_every_field_lies_where_the_protocol_says() -> None:
    data = encode_header(HEADER)
    assert len(data) == 256
    assert data[:12] == b"QENEXFR1\x02\x00\x00\x01"
    assert set(OFFSETS) == set(Header._fields)
    for name, (offset, size) in OFFSETS.items():
        value = getattr(HEADER, name)
        assert data[offset : offset + size] == (value if size == 16 else value.to_bytes(size, "little")), name
    assert data[248:] == checksum(data[:248]).to_bytes(8, "little")
    assert decode_header(data) == HEADER


@pytest.mark.parametrize("bit", range(0, 256 * 8, 5))
def test_no_flipped_bit_of_a_header_goes_unseen(bit: int) -> None:
    data = bytearray(encode_header(HEADER))
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(UnexpectedReply):
        decode_header(data)


@pytest.mark.parametrize("at", [8, 10, 93, 156, 239])
def test_a_header_that_is_wrong_but_sealed_is_refused(at: int) -> None:
    data = bytearray(encode_header(HEADER))[:248]
    data[at] ^= 4
    with pytest.raises(UnexpectedReply):
        decode_header(bytes(data) + checksum(bytes(data)).to_bytes(8, "little"))


def test_a_body_over_the_limit_is_refused_by_its_header() -> None:
    with pytest.raises(UnexpectedReply, match="over the limit"):
        decode_header(encode_header(HEADER._replace(body_length=FRAME_MAX)))


@given(st.lists(st.binary(max_size=700), max_size=30), st.lists(st.integers(1, 900), min_size=1))
def test_a_stream_is_cut_into_its_frames_however_it_arrives(bodies: list[bytes], pieces: list[int]) -> None:
    stream = b"".join(frame(Header(FrameType.REPLY, request=at), body) for at, body in enumerate(bodies))
    decoder, seen = FrameDecoder(), []
    sizes = itertools.cycle(pieces)
    while stream:
        size = next(sizes)
        piece, stream = stream[:size], stream[size:]
        decoder.writable()[: len(piece)] = piece
        decoder.wrote(len(piece))
        seen += [(header.request, bytes(body)) for header, body in decoder.frames()]
    assert seen == list(enumerate(bodies))


def test_frames_of_the_largest_size_pass_one_after_another() -> None:
    largest = frame(Header(FrameType.REPLY), bytes(FRAME_MAX - 256))
    decoder, seen = FrameDecoder(), 0
    for piece in (largest[:1_000], largest[1_000:] + largest[:999], largest[999:]):
        decoder.writable()[: len(piece)] = piece
        decoder.wrote(len(piece))
        seen += sum(1 for _ in decoder.frames())
    assert seen == 2


def test_a_body_that_does_not_match_its_checksum_is_refused() -> None:
    data = bytearray(frame(Header(FrameType.REPLY), b"money"))
    data[-1] ^= 1
    decoder = FrameDecoder()
    decoder.writable()[: len(data)] = data
    decoder.wrote(len(data))
    with pytest.raises(UnexpectedReply, match="body"):
        list(decoder.frames())


def test_hello_has_the_shape_of_the_protocol() -> None:
    body = encode_hello(b"the name", bytes(range(32)), "ünit")
    assert body[:4] == b"\x02\x00\x02\x00"
    assert body[12:24] == b"\x05" + bytes(11)
    assert body[24:] == b"the name" + bytes(range(32)) + "ünit".encode()


def test_a_hello_names_the_credential_and_never_holds_it() -> None:
    first, second = (Handshake(Keys("a secret"), "unit", bytes(16), 0) for _ in range(2))
    assert b"a secret" not in first.hello
    assert first.hello[280:288] == sha256(b"a secret").digest()[:8]
    assert first.hello[288:320] != second.hello[288:320], "no hello is said twice"


def test_a_challenge_of_another_length_or_by_another_secret_is_refused() -> None:
    for body in (b"", bytes(63), bytes(64), bytes(65)):
        handshake = Handshake(Keys("a secret"), "unit", bytes(16), 0)
        with pytest.raises(UnexpectedReply):
            handshake.answer(body)
        assert not handshake.is_proven


def test_welcomes_and_statuses_that_make_no_sense_are_refused() -> None:
    for bad in (b"", bytes(79), bytes(80), b"\x02" + bytes(79)):
        with pytest.raises(UnexpectedReply):
            decode_welcome(bad)
    with pytest.raises(UnexpectedReply):
        decode_status(bytes(255))
    status = decode_status(bytes(124) + b"\x01" + bytes(131))
    assert status.is_writable
    assert status.book_id == "00" * 16


@pytest.mark.parametrize("number", sorted(BY_NUMBER))
def test_every_error_of_the_protocol_becomes_its_class(number: int) -> None:
    session = Session("secret", "test", read_only=True, patience_s=1)
    request = Request(Operation.GET_STATUS, b"")
    session.start(request)
    data = error_frame(number, request.number, "/there: why", retry_after_us=2_000)
    try:
        taken = session.received(decode_header(data), memoryview(data)[256:])
    except EngineError as error:
        found: object = error
    else:
        assert taken is not None
        found = request.last_error if isinstance(taken[1], Again) else taken[1]
    assert type(found) is BY_NUMBER[number]
    assert isinstance(found, EngineError)
    assert str(found).endswith("/there: why")
    if isinstance(found, StorageError):
        assert (found.path, found.complaint) == ("/there", "why")
    else:
        assert (found.detail, found.retry_after_us) == ("/there: why", 2_000)


@pytest.mark.parametrize("status", [*CreateAccountStatus, *CreateTransferStatus, *SetAccountTermsStatus])
def test_every_refusal_becomes_its_class(status: CreateAccountStatus | CreateTransferStatus) -> None:
    if str(status) in ("created", "applied"):
        with pytest.raises((UnexpectedReply, KeyError)):
            steps.refusal_class(status)
        return
    kind = steps.refusal_class(status)
    assert issubclass(kind, Rejected)
    assert kind is BY_CODE[str(status)]


@pytest.mark.parametrize(
    ("operation", "rows", "options"),
    [
        (Operation.CREATE_TRANSFERS, bytes(127), {}),
        (Operation.CREATE_TRANSFERS, bytes(128), {"context": bytes(257)}),
        (Operation.CREATE_TRANSFERS, bytes(128), {"linger_us": 1_001}),
    ],
)
def test_requests_that_cannot_be_are_refused(operation: Operation, rows: bytes, options: dict[str, object]) -> None:
    with pytest.raises(InvalidRows):
        Request(operation, rows, **options)  # type: ignore[arg-type]
