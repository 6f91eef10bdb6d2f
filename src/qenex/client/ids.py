"""Ids: 128 bits, ordered by time where QENEX makes them, the same on every retry where a key is given."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from typing import TYPE_CHECKING, Final

import numpy as np

from qenex.kernel import U128, U128_MAX

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRINCIPAL: Final = "owner"
"""Who acts with the owner credential; part of what an idempotency key is hashed with."""
_RANDOM_BITS: Final = 80


class _Clock:
    """Ids that only rise: 48 bits of milliseconds, 80 bits at random; within a millisecond they count up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def take(self, count: int) -> int:
        """The first of so many consecutive ids."""
        with self._lock:
            milliseconds = time.time_ns() // 1_000_000
            if milliseconds > self._last >> _RANDOM_BITS:
                # The top random bit is 0, so that counting up stays within the millisecond.
                tail = int.from_bytes(os.urandom(10), "little") >> 1
                first = milliseconds << _RANDOM_BITS | tail
            else:
                first = self._last + 1
            self._last = first + count - 1
            return first

    def after_fork(self) -> None:
        """Parent and child must not count up from the same id."""
        self._lock = threading.Lock()
        self._last = 0


_CLOCK: Final = _Clock()
os.register_at_fork(after_in_child=_CLOCK.after_fork)


def new_id() -> int:
    """A new id, above every other that this process made."""
    return _CLOCK.take(1)


def new_ids(count: int) -> NDArray[np.void]:
    """A column (`U128`) of new ids, rising by one."""
    ids = np.empty(count, U128)
    first = _CLOCK.take(max(count, 1))
    low = first & (1 << 64) - 1
    ids["lo"] = np.arange(count, dtype="<u8") + np.uint64(low)  # wraps round, as it should
    ids["hi"] = first >> 64
    ids["hi"][(1 << 64) - low :] += 1
    return ids


def new_account_id(related_to: int | None = None) -> int:
    """A new account id; related accounts share their high half, which decides where a large book keeps them."""
    if related_to is None:
        return new_id()
    return related_to >> 64 << 64 | int.from_bytes(os.urandom(8), "little")


def id_from_key(book: bytes, key: str, row: int = 0, *, principal: str = PRINCIPAL) -> int:
    """The id that an idempotency key stands for, the same on every retry (spec/protocol.md section 8).

    Args:
        book: the book's 16 bytes.
        key: the caller's key.
        row: number of the row within the keyed request, from 0.
        principal: who acts.
    """
    parts = (b"qenex-id-v1", book, principal.encode(), key.encode(), row.to_bytes(4, "little"))
    digest = hashlib.sha256(b"".join(len(part).to_bytes(4, "little") + part for part in parts)).digest()
    while (found := int.from_bytes(digest[:16], "little")) in (0, U128_MAX):
        digest = hashlib.sha256(digest).digest()
    return found
