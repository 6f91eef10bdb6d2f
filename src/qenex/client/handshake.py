"""How both sides of a hello prove that they know the credential, which never crosses the wire (spec/protocol.md 3).

Whoever else listens where the engine is looked for learns nothing with which to get in, and is not believed.
"""

from __future__ import annotations

import hmac
import os
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from qenex.client.protocol import (
    FrameType,
    Header,
    checksum,
    decode_challenge,
    encode_header,
    encode_hello,
)
from qenex.errors import UnexpectedReply

if TYPE_CHECKING:
    from qenex.client.session import Bytes

FINGERPRINT_SIZE: Final = 8
"""Bytes of a credential's SHA-256 that name it."""


def _keyed(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


class Keys:
    """What a client makes of its credential."""

    __slots__ = ("_client", "fingerprint", "server", "stored")

    def __init__(self, credential: str) -> None:
        secret = credential.encode()
        self.fingerprint = sha256(secret).digest()[:FINGERPRINT_SIZE]
        """Names the credential without giving it away."""
        self._client = _keyed(secret, b"qenex-client-key-v1")
        self.stored = sha256(self._client).digest()
        """What an engine compares our proof with."""
        self.server = _keyed(secret, b"qenex-server-key-v1")
        """What an engine proves itself with."""

    def proof(self, transcript: bytes) -> bytes:
        """The client's proof."""
        mask = _keyed(self.stored, transcript)
        return bytes(a ^ b for a, b in zip(self._client, mask, strict=True))

    def is_proven(self, transcript: bytes, proof: bytes) -> bool:
        """Whether the server's proof could only be made by who knows the credential."""
        return hmac.compare_digest(_keyed(self.server, transcript), proof)


class Handshake:
    """One connection's: hello, the server's challenge, our proof."""

    __slots__ = ("_keys", "hello", "is_proven")

    def __init__(self, keys: Keys, name: str, session: bytes, flags: int) -> None:
        body = encode_hello(keys.fingerprint, os.urandom(32), name)
        header = Header(FrameType.HELLO, flags, session=session, body_length=len(body), body_checksum=checksum(body))
        self._keys = keys
        self.hello = encode_header(header) + body
        """The first frame."""
        self.is_proven = False
        """Whether the server has shown that it knows the credential."""

    def answer(self, challenge: Bytes) -> bytes:
        """The frame with our proof.

        Raises:
            UnexpectedReply: whatever challenges us does not know the credential itself.
        """
        nonce, proof = decode_challenge(challenge)
        transcript = sha256(self.hello + nonce).digest()
        if not self._keys.is_proven(transcript, proof):
            raise UnexpectedReply("It does not know the credential, so it is not the engine that is looked for.")
        self.is_proven = True
        ours = self._keys.proof(transcript)
        return encode_header(Header(FrameType.PROOF, body_length=len(ours), body_checksum=checksum(ours))) + ours
