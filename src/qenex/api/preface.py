"""What a connection from the TLS front begins with: who is at the other end (PROXY protocol, version 2).

The counterpart of `crates/proxy`, by the same vectors (`spec/vectors/proxy`): whatever the front would not have written
is refused. It comes first, over a socket that only the owner of the home can open, so that nothing a client sends can
stand in its place.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import struct
from typing import Final, NamedTuple

from cryptography import x509

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
CERTIFICATE_MAX: Final = 16_384
"""The longest certificate of a client, in bytes."""
_PREFIX: Final = struct.Struct(">12sBBH")
_COMMAND: Final = 0x21
_ADDRESSES: Final = {0x11: struct.Struct(">4s4sHH"), 0x21: struct.Struct(">16s16sHH")}
_TLV: Final = struct.Struct(">BH")
_TLS_HEAD: Final = 5
_TYPE_TLS: Final = 0x20
_VERSION: Final = b"\x21\x00\x07TLSv1.3"
_SUBTYPE_CERTIFICATE: Final = 0x28
_FLAGS: Final = {False: b"\x01\0\0\0\0", True: b"\x07\0\0\0\0"}
"""By whether there is a certificate: the client came by TLS, showed one now and in this session; it was good."""
LENGTH_MAX: Final = _PREFIX.size + _ADDRESSES[0x21].size + 2 * _TLV.size + _TLS_HEAD + len(_VERSION) + CERTIFICATE_MAX


class NotFromFrontError(ValueError):
    """The connection does not begin as the front begins one: it has to end."""


class Certificate(NamedTuple):
    """What a client has shown, and proven to have the key of; someone whom `tls_client_ca` names has signed it."""

    thumbprint: str
    """Its SHA-256 in base64url, without padding: `x5t#S256` of RFC 8705."""
    subject: str
    """Who it is of, as RFC 4514 writes names."""


class Origin(NamedTuple):
    """Who is at the other end."""

    client: tuple[str, int]
    server: tuple[str, int]
    """What the client has connected to."""
    certificate: Certificate | None


def decode(stream: bytes | bytearray) -> tuple[Origin, int] | None:
    """The origin, and how many bytes of the stream it took; None while there are too few to tell.

    Raises:
        NotFromFrontError: at the first byte that cannot be right.
    """
    if stream[: len(SIGNATURE)] != SIGNATURE[: len(stream)]:
        raise NotFromFrontError("the signature is another")
    if stream[12:13] not in (b"", bytes([_COMMAND])) or (len(stream) > 13 and stream[13] not in _ADDRESSES):
        raise NotFromFrontError("the version, the command or the family is another")
    if len(stream) < _PREFIX.size:
        return None
    _, _, family, length = _PREFIX.unpack_from(stream)
    end = _PREFIX.size + length
    if end > LENGTH_MAX:
        raise NotFromFrontError("it is too long")
    if len(stream) < end:
        return None
    body = bytes(stream[_PREFIX.size : end])
    ends = _ADDRESSES[family]
    if len(body) < ends.size:
        raise NotFromFrontError("the addresses are cut off")
    client, server, client_port, server_port = ends.unpack_from(body)
    tls = _only(body[ends.size :], _TYPE_TLS)
    rest = tls[_TLS_HEAD + len(_VERSION) :]
    if tls[:_TLS_HEAD] != _FLAGS[bool(rest)] or tls[_TLS_HEAD : _TLS_HEAD + len(_VERSION)] != _VERSION:
        raise NotFromFrontError("what it says of TLS does not fit together")
    certificate = _certificate(_only(rest, _SUBTYPE_CERTIFICATE)) if rest else None
    return Origin((_text(client), client_port), (_text(server), server_port), certificate), end


def _only(values: bytes, kind: int) -> bytes:
    """The one value that there is, of this type."""
    if len(values) < _TLV.size or _TLV.unpack_from(values) != (kind, len(values) - _TLV.size):
        raise NotFromFrontError("there is another value, or none, or it is cut off")
    return values[_TLV.size :]


def _certificate(der: bytes) -> Certificate:
    if not 1 <= len(der) <= CERTIFICATE_MAX:
        raise NotFromFrontError("the certificate is too long, or empty")
    try:
        subject = x509.load_der_x509_certificate(der).subject.rfc4514_string()
    except ValueError as error:
        raise NotFromFrontError("the certificate is none") from error
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
    return Certificate(thumbprint, subject)


def _text(address: bytes) -> str:
    found = ipaddress.ip_address(address)
    return str(getattr(found, "ipv4_mapped", None) or found)
