"""Cursors are sealed: whoever holds one learns nothing from it, and can use it only where it was given."""

from __future__ import annotations

import base64
import binascii
import os
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qenex.errors import InvalidCursor

_NONCE: Final = 12
_POSITION: Final = 8
_TAG: Final = 16
LENGTH: Final = (_NONCE + _POSITION + _TAG) * 4 // 3
"""Characters of a cursor."""


class Cursors:
    """Seals positions in lists."""

    def __init__(self, secret: bytes) -> None:
        """Takes a secret of the installation: cursors outlive the process."""
        self._cipher = AESGCM(sha256(b"qenex-cursor-v1" + secret).digest())

    def seal(self, position: int, question: bytes) -> str:
        """A cursor to this position in the list that answers a question."""
        nonce = os.urandom(_NONCE)
        sealed = self._cipher.encrypt(nonce, position.to_bytes(_POSITION, "little"), question)
        return base64.urlsafe_b64encode(nonce + sealed).decode("ascii")

    def open(self, cursor: str, question: bytes) -> int:
        """The position.

        Raises:
            InvalidCursor: it is none, or of a list with other parameters, or of somebody else.
        """
        try:
            raw = base64.b64decode(cursor, altchars=b"-_", validate=True)
            position = self._cipher.decrypt(raw[:_NONCE], raw[_NONCE:], question)
        except (binascii.Error, ValueError, InvalidTag):
            raise InvalidCursor(
                "cursor", "it is not one that this list gave as `next`; its other parameters must stay the same"
            ) from None
        return int.from_bytes(position, "little")
