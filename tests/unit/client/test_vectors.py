"""The frames that the engine writes, read and written again by the client's codec; ids made again from the text."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from qenex.client import ids
from qenex.client.handshake import Keys
from qenex.client.protocol import (
    HEADER_SIZE,
    REPLY_ROWS,
    REQUEST_ROWS,
    FrameDecoder,
    FrameType,
    Header,
    Operation,
    checksum,
    decode_challenge,
    decode_header,
    decode_status,
    decode_welcome,
    encode_header,
    encode_hello,
)
from qenex.errors import UnexpectedReply
from qenex.errors.engine import BY_NUMBER
from qenex.kernel import CreateTransferStatus, to_ints

VECTORS = Path(__file__).parents[3] / "spec" / "vectors" / "protocol"
OCTETS = {"book", "session", "trace"}


def lines(name: str) -> list[list[str]]:
    """The words of each line that is no remark."""
    text = (VECTORS / name).read_text()
    return [line.split() for line in text.splitlines() if not line.startswith("#")]


def stated(words: list[str]) -> Header:
    """The header that a line of `frames.txt` states."""
    fields = dict(word.split("=") for word in words)
    octets = {name: bytes.fromhex(fields.pop(name)) for name in OCTETS & fields.keys()}
    return Header(**{name: int(text) for name, text in fields.items()})._replace(**octets)


FRAMES = {name: stated(words) for name, *words in lines("frames.txt")}


def body_of(name: str) -> bytes:
    return (VECTORS / f"{name}.bin").read_bytes()[HEADER_SIZE:]


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_is_read_as_stated_and_written_the_same(name: str) -> None:
    data = (VECTORS / f"{name}.bin").read_bytes()
    header = decode_header(data)
    assert header == FRAMES[name]
    assert encode_header(header) == data[:HEADER_SIZE]
    assert checksum(data[HEADER_SIZE:]) == header.body_checksum
    assert len(data) == HEADER_SIZE + header.body_length


def test_frames_of_every_type_are_there_and_come_out_of_one_stream() -> None:
    assert {header.type for header in FRAMES.values()} == set(FrameType)
    decoder = FrameDecoder()
    for name in FRAMES:
        data = (VECTORS / f"{name}.bin").read_bytes()
        decoder.writable()[: len(data)] = data
        decoder.wrote(len(data))
        assert [header for header, _ in decoder.frames()] == [FRAMES[name]]


@pytest.mark.parametrize(("name", "code"), lines("refused.txt"))
def test_a_header_that_breaks_a_rule_is_refused(name: str, code: str) -> None:
    assert code in {error.code for error in BY_NUMBER.values()}
    with pytest.raises(UnexpectedReply):
        decode_header((VECTORS / f"{name}.bin").read_bytes())


def test_hello_and_welcome_say_what_they_should() -> None:
    named = sha256(b"a secret").digest()[:8]
    assert body_of("hello") == body_of("hello_resume") == encode_hello(named, b"\xc1" * 32, "vectors 1")
    assert FRAMES["hello_resume"].flags == 1
    welcome = decode_welcome(body_of("welcome"))
    assert (welcome.window_requests, welcome.window_bytes, welcome.batch_max) == (64, 16 << 20, 8_189)
    assert (welcome.book, welcome.highest_request, welcome.name) == (b"the book's own i", 17, "qenex")


def test_the_challenge_and_the_proof_after_a_hello_are_of_that_hello() -> None:
    nonce, ours = decode_challenge(body_of("challenge"))
    said = sha256((VECTORS / "hello.bin").read_bytes() + nonce).digest()
    assert Keys("a secret").is_proven(said, ours)
    assert not Keys("another secret").is_proven(said, ours)
    assert Keys("a secret").proof(said) == body_of("proof")


@pytest.mark.parametrize(("secret", "said", "fingerprint", "servers", "clients"), lines("proofs.txt"))
def test_both_proofs_are_what_the_engine_makes(
    secret: str, said: str, fingerprint: str, servers: str, clients: str
) -> None:
    keys, transcript = Keys(bytes.fromhex(secret).decode()), bytes.fromhex(said)
    assert keys.fingerprint.hex() == fingerprint
    assert keys.proof(transcript).hex() == clients
    for bit in range(256):
        bent = (int(servers, 16) ^ 1 << bit).to_bytes(32)
        assert not keys.is_proven(transcript, bent)
    assert keys.is_proven(transcript, bytes.fromhex(servers))


def test_rows_begin_after_the_context_at_a_multiple_of_16() -> None:
    body, header = body_of("request_create_transfers"), FRAMES["request_create_transfers"]
    assert body[:16] == b"door=tests" + bytes(6)
    assert header.context_length == 10
    rows = np.frombuffer(body[16:], REQUEST_ROWS[Operation.CREATE_TRANSFERS])
    assert to_ints(rows["id"]) == [70, 71]
    assert to_ints(rows["amount"]) == [1 << 70, 5]
    assert rows["timeout"].tolist() == [0, 60]


def test_replies_carry_rows_and_errors_carry_a_text() -> None:
    rows = np.frombuffer(body_of("reply_create_transfers"), REPLY_ROWS[Operation.CREATE_TRANSFERS])
    expected = [CreateTransferStatus.CREATED, CreateTransferStatus.LINKED_EVENT_CHAIN_OPEN]
    assert rows["status"].tolist() == [int(status) for status in expected]
    accounts = np.frombuffer(body_of("reply_lookup_accounts"), REPLY_ROWS[Operation.LOOKUP_ACCOUNTS])
    assert to_ints(accounts["id"]) == [1, 2]
    status = decode_status(body_of("reply_get_status"))
    assert (status.entry, status.free_bytes, status.is_writable) == (41, 1 << 40, False)
    assert BY_NUMBER[status.writable].code == "storage_full"
    busy = FRAMES["error_busy"]
    assert (BY_NUMBER[busy.error].code, busy.retry_after_us, busy.request) == ("busy", 2_000, 18)
    assert FRAMES["error_of_a_connection"].request == 0
    assert body_of("error_busy").decode() == "the window is full"


@pytest.mark.parametrize(("book", "principal", "key", "row", "expected"), lines("ids.txt"))
def test_a_key_gives_the_id_that_the_engine_makes(book: str, principal: str, key: str, row: str, expected: str) -> None:
    text = "" if key == "-" else bytes.fromhex(key).decode()
    who = bytes.fromhex(principal).decode()
    assert ids.id_from_key(bytes.fromhex(book), text, int(row), principal=who) == int(expected)


@pytest.mark.parametrize(("book", "journal", "high"), lines("reserved_ids.txt"))
def test_the_ids_that_are_the_engines_own(book: str, journal: str, high: str) -> None:
    parts = (b"qenex-system-v1", bytes.fromhex(book), int(journal).to_bytes(4, "little"))
    digest = sha256(b"".join(len(part).to_bytes(4, "little") + part for part in parts)).digest()
    assert int.from_bytes(digest[:8], "little") == int(high)
