"""What the journal keeps with every write through this door: who asked, with what, and what allowed it.

Version u8 (2) | door u8 (1: HTTP) | credential: 8 bytes of SHA-256 of its id | length u8 and id of the principal |
then of each frame: number of requests u16 | SHA-256 of their digests | SHA-256 of the digests of the decisions that
allowed them. Little-endian; at most 141 bytes.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qenex.principals import Principal

VERSION: Final = 2
DOOR_HTTP: Final = 1


@lru_cache(maxsize=4_096)
def of(principal: Principal) -> bytes:
    """The part that is the same for all that a principal does with one credential."""
    credential = sha256(principal.credential.encode("ascii")).digest()[:8]
    name = principal.id.encode("ascii")
    return bytes((VERSION, DOOR_HTTP)) + credential + bytes((len(name),)) + name


def frame(context: bytes, requests: Sequence[bytes], decisions: Sequence[bytes]) -> bytes:
    """The context of a frame of these requests, of one principal.

    Args:
        context: as `of` gives it.
        requests: SHA-256 of each request's body, in order.
        decisions: digest of the decision that allowed each.
    """
    count = len(requests).to_bytes(2, "little")
    return context + count + sha256(b"".join(requests)).digest() + sha256(b"".join(decisions)).digest()
