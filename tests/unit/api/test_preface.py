"""What the front says of a client, read as `crates/proxy` writes it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qenex.api.preface import LENGTH_MAX, NotFromFrontError, Origin, decode

FOLDER = Path(__file__).parents[3] / "spec/vectors/proxy"


def _lines(name: str) -> list[list[str]]:
    return [line.split() for line in (FOLDER / name).read_text().splitlines() if not line.startswith("#")]


GOOD = {name: bytes.fromhex(header) for name, *_, header in _lines("headers.txt")}


@pytest.mark.parametrize("line", _lines("headers.txt"), ids=lambda line: line[0])
def test_headers_say_what_the_vectors_say(line: list[str]) -> None:
    _, peer, local, certificate, header = line
    stream = bytes.fromhex(header)
    decoded = decode(stream + b"GET / HTTP/1.1")
    assert decoded is not None
    origin, length = decoded
    assert length == len(stream)
    assert [_text(origin.client), _text(origin.server)] == [peer, local]
    if certificate == "-":
        assert origin.certificate is None
    else:
        assert origin.certificate is not None
        digest = hashlib.sha256(bytes.fromhex(certificate)).digest()
        assert origin.certificate.thumbprint == base64.urlsafe_b64encode(digest).decode().rstrip("=")
        assert origin.certificate.subject == r"CN=a program,O=Bank\, of vectors"
    for end in range(length):
        assert decode(stream[:end]) is None, "it is not complete"


def _text(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@pytest.mark.parametrize("stream", [pytest.param(stream, id=name) for name, stream in _lines("refused.txt")])
def test_what_the_front_would_not_write_is_refused(stream: str) -> None:
    with pytest.raises(NotFromFrontError):
        decode(bytes.fromhex(stream))


def test_what_is_no_certificate_is_refused() -> None:
    header = bytearray(GOOD["ipv4_certificate"])
    header[-100:] = bytes(100)
    with pytest.raises(NotFromFrontError, match="the certificate is none"):
        decode(header)


def test_a_header_cannot_be_longer_than_the_longest() -> None:
    header = bytearray(GOOD["ipv4"])
    header[14:16] = (LENGTH_MAX - 16).to_bytes(2, "big")
    assert decode(header) is None
    header[14:16] = (LENGTH_MAX - 15).to_bytes(2, "big")
    with pytest.raises(NotFromFrontError, match="too long"):
        decode(header)


# Such a change can make the serial number of the certificate one that there should not be, which the library minds.
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@given(st.sampled_from(sorted(GOOD)), st.integers(min_value=0), st.binary(max_size=60))
def test_whatever_comes_it_is_read_waited_for_or_refused(name: str, at: int, written: bytes) -> None:
    header = bytearray(GOOD[name])
    at %= len(header) + 1
    header[at : at + len(written)] = written
    try:
        decoded = decode(header)
    except NotFromFrontError:
        return
    assert decoded is None or isinstance(decoded[0], Origin)


@given(st.binary(max_size=100))
def test_a_stream_that_begins_otherwise_is_refused_at_its_first_wrong_byte(stream: bytes) -> None:
    good = GOOD["ipv4"]
    same = next((at for at, (one, other) in enumerate(zip(stream, good, strict=False)) if one != other), len(stream))
    if same < min(len(stream), 14):
        with pytest.raises(NotFromFrontError):
            decode(stream[: same + 1])
