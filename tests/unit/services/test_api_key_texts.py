"""The text of an API key: what is mistyped, cut off or invented is known without a look at the records."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qenex.services.identity import rules

RANDOM = st.binary(min_size=32, max_size=32)
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@given(RANDOM, st.booleans())
def test_a_key_has_its_form_and_all_its_256_bits(random: bytes, is_live: bool) -> None:  # noqa: FBT001
    text = rules.key_text(random, is_live=is_live)
    assert rules.is_key(text)
    assert re.fullmatch(r"qnx_(live|test)_[0-9A-Za-z]{49}", text)
    assert text.startswith("qnx_live_") == is_live
    number = 0
    for digit in text[9:52]:
        number = number * 62 + DIGITS.index(digit)
    assert number == int.from_bytes(random, "big")


@given(RANDOM, st.data())
def test_a_slip_of_one_digit_or_two_that_changed_places_is_seen(random: bytes, data: st.DataObject) -> None:
    text = rules.key_text(random, is_live=True)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from(DIGITS + "_-é ").filter(lambda digit: digit != text[at]))
    assert not rules.is_key(text[:at] + other + text[at + 1 :])
    at = data.draw(st.integers(9, len(text) - 2))
    swapped = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    assert rules.is_key(swapped) == (swapped == text)
    assert not rules.is_key(text[:at])
    assert not rules.is_key(text + "0")
    assert not rules.is_key(text.replace("live", "test"))


@pytest.mark.parametrize("text", ["", "qnx_live_", "qnx_owner_" + "0" * 64, "qnx_live_" + "0" * 49, "é" * 58])
def test_what_is_no_key_is_refused(text: str) -> None:
    assert not rules.is_key(text)


def test_the_hint_leaves_the_key_unknown() -> None:
    text = rules.key_text(bytes(range(32)), is_live=True)
    assert text.startswith(rules.key_hint(text))
    assert len(rules.key_hint(text)) == len("qnx_live_") + 4


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**48 - 1))
def test_ids_sort_by_their_time(one: int, other: int) -> None:
    ids = [rules.id_of("key", time, b"\x00" * 10) for time in (one, other)]
    assert (ids[0] < ids[1]) == (one < other)
    assert all(re.fullmatch("key_[0-9a-hjkmnp-tv-z]{26}", text) for text in ids)
