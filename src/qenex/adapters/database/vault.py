"""Secrets in the records: sealed where they are needed again, a keyed digest where they are only compared.

All keys are derived from the one in `keys/records.key`, one for each purpose, so that no two purposes share a key. A
sealed secret opens only in the place that it was sealed for: copied to another row, column or book it does not.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qenex.client.credentials import check_ours
from qenex.errors import CredentialExposed, CredentialMissing, InvalidHome, RecordsDamaged

if TYPE_CHECKING:
    from pathlib import Path

KEY_BYTES: Final = 32
_VERSION: Final = b"\x01"
"""First byte of what is sealed: AES-256-GCM, a nonce of 12 random bytes, then the text with its tag."""
_NONCE_BYTES: Final = 12


class Vault:
    """Seals and opens secrets, and makes their digests."""

    def __init__(self, key: bytes) -> None:
        """Takes the key of the records, 32 bytes."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key of {KEY_BYTES} bytes is wanted, not {len(key)}")
        self._derived = lru_cache(maxsize=256)(lambda purpose: _derive(key, purpose))
        self.id: Final = self._derived("id")[:8].hex()
        """Fingerprint of the key: says which one it is and nothing about it."""

    @classmethod
    def of_file(cls, path: Path) -> Vault:
        """The vault of the key in a file, as `qenex.bootstrap.initialise` makes it.

        Raises:
            CredentialMissing: there is none.
            CredentialExposed: others can read it.
            InvalidHome: it is damaged, or others could have written it.
        """
        try:
            mode = path.stat().st_mode & 0o777
            digits = path.read_text(encoding="ascii").strip()
        except FileNotFoundError as error:
            raise CredentialMissing(f"{path}: there is no key of the records; `qenex init` makes one") from error
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidHome(f"{path}: cannot be read as the key of the records: {error}") from error
        if mode & 0o077:
            raise CredentialExposed(f"{path}: mode {mode:o} lets others read the key of the records; `chmod 600` it")
        check_ours(path)
        if len(digits) != 2 * KEY_BYTES or set(digits) - set("0123456789abcdef"):
            raise InvalidHome(f"{path}: a key of the records is {2 * KEY_BYTES} hexadecimal digits")
        return cls(bytes.fromhex(digits))

    def seal(self, secret: bytes, *, table: str, column: str, book: bytes, id: str) -> bytes:  # noqa: A002  # its name
        """Encrypts a secret for one place."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        place = _place(table, column, book, id)
        return _VERSION + nonce + self._cipher(table, column).encrypt(nonce, secret, _VERSION + place)

    def open(self, sealed: bytes, *, table: str, column: str, book: bytes, id: str) -> bytes:  # noqa: A002  # its name
        """Decrypts what was sealed for this place.

        Raises:
            RecordsDamaged: it was sealed for another place or under another key, or has been changed.
        """
        nonce, text = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            # What is no version 1 was sealed under another first byte, or is too short: neither opens.
            return self._cipher(table, column).decrypt(nonce, text, sealed[:1] + _place(table, column, book, id))
        except (InvalidTag, ValueError) as error:
            raise RecordsDamaged(f"{table}.{column} of {id} cannot be opened") from error

    def digest(self, secret: bytes, purpose: str) -> bytes:
        """HMAC-SHA-256 of a secret under the pepper of a purpose: to find and compare it, and of no use without it."""
        return hmac.digest(self._derived(f"pepper {purpose}"), secret, hashlib.sha256)

    def _cipher(self, table: str, column: str) -> AESGCM:
        return AESGCM(self._derived(f"seal {table}.{column}"))


def _derive(key: bytes, purpose: str) -> bytes:
    # The key is random, so that HKDF needs no salt.
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=b"qenex-records-v1 " + purpose.encode()).derive(key)


def _place(*parts: str | bytes) -> bytes:
    """The parts with their lengths, so that no two places look the same."""
    encoded = (part if isinstance(part, bytes) else part.encode() for part in parts)
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)
