"""Ids rise with time and come again for a key."""

from hashlib import sha256

import pytest

from qenex.client import ids
from qenex.kernel import to_ints


def test_new_ids_only_rise_one_by_one_and_in_columns() -> None:
    made = [ids.new_id() for _ in range(1_000)]
    made += to_ints(ids.new_ids(1_000))
    made.append(ids.new_id())
    assert made == sorted(set(made))
    assert ids.new_ids(0).size == 0


def test_a_column_carries_from_its_low_half_into_its_high_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ids._Clock()
    clock._last = (1 << 127) + (1 << 64) - 3
    monkeypatch.setattr(ids, "_CLOCK", clock)
    assert to_ints(ids.new_ids(4)) == [(1 << 127) + (1 << 64) + at for at in (-2, -1, 0, 1)]


def test_a_key_gives_the_id_that_the_protocol_says() -> None:
    book = bytes(range(16))
    parts = [b"qenex-id-v1", book, b"owner", b"order 7", (3).to_bytes(4, "little")]
    digest = sha256(b"".join(len(part).to_bytes(4, "little") + part for part in parts)).digest()
    assert ids.id_from_key(book, "order 7", 3) == int.from_bytes(digest[:16], "little")
    others = {ids.id_from_key(book, "order 7", row, principal=who) for row in range(3) for who in ("owner", "ann")}
    assert len(others) == 6


def test_related_accounts_share_their_high_half() -> None:
    first = ids.new_account_id()
    assert ids.new_account_id(first) >> 64 == first >> 64
    assert ids.new_account_id(first) != first
