"""Rules of the JSON decoder: nothing that two readers could understand differently gets in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qenex.api import strict_json
from qenex.api.strict_json import NESTING_MAX, Number, decode, pointer
from qenex.errors import (
    DuplicateKey,
    InvalidJson,
    InvalidUnicode,
    MalformedJson,
    NestingTooDeep,
    NumberNotExact,
    TooManyValues,
)

REFUSED = [
    (b"", MalformedJson, ""),
    (b"{", MalformedJson, ""),
    (b'{"a"}', MalformedJson, ""),
    (b'{"a":1,}', MalformedJson, ""),
    (b'{"a":1 "b":2}', MalformedJson, ""),
    (b"[1,]", MalformedJson, "/1"),
    (b"[1 2]", MalformedJson, ""),
    (b"{} {}", MalformedJson, ""),
    (b"'a'", MalformedJson, ""),
    (b'{"a": 01}', MalformedJson, ""),
    (b'{"a": .5}', MalformedJson, "/a"),
    (b'{"a": 5.}', MalformedJson, ""),
    (b'{"a": +5}', MalformedJson, "/a"),
    (b'{"a": 0x10}', MalformedJson, ""),
    (b'{"a": True}', MalformedJson, "/a"),
    (b'{"a": nul', MalformedJson, "/a"),
    (b'{"a": "\n"}', MalformedJson, "/a"),
    (b'{"a": "\\x41"}', MalformedJson, "/a"),
    (b'{"a": "\\u12"}', MalformedJson, "/a"),
    (b'{"a": "abc', MalformedJson, "/a"),
    (b'{"a": // no comments\n 1}', MalformedJson, "/a"),
    (b"\xef\xbb\xbf{}", MalformedJson, ""),
    ("{\u00a0}".encode(), MalformedJson, ""),
    ('{"a": \u0661}'.encode(), MalformedJson, "/a"),
    (b'{"a": 1e2}', NumberNotExact, "/a"),
    (b'{"a": 1E400}', NumberNotExact, "/a"),
    (b'{"a": [1, {"b": -1.5e-3}]}', NumberNotExact, "/a/1/b"),
    (b'{"a": NaN}', NumberNotExact, "/a"),
    (b'{"a": -Infinity}', NumberNotExact, "/a"),
    (b"Infinity", NumberNotExact, ""),
    (b'{"a": 1, "b": {"c": 2, "c": 2}}', DuplicateKey, "/b/c"),
    (b'{"a": 1, "\\u0061": 2}', DuplicateKey, "/a"),
    (b'{"a/b": 1, "a/b": 1}', DuplicateKey, "/a~1b"),
    (b'{"a": "\xff"}', InvalidUnicode, ""),
    (b'{"a": "\xed\xa0\x80"}', InvalidUnicode, ""),  # a surrogate in UTF-8's clothes
    (b'{"a": "\\ud800"}', InvalidUnicode, "/a"),
    (b'{"a": "\\udc00\\ud800"}', InvalidUnicode, "/a"),
    (b'{"a": "\\ud800\\u0041"}', InvalidUnicode, "/a"),
    (b"[" * 33 + b"]" * 33, NestingTooDeep, "/0" * 32),
    (b"[" * 100_000, NestingTooDeep, "/0" * 32),
    (b'{"a":' * 33 + b"1" + b"}" * 33, NestingTooDeep, "/a" * 32),
    (b'{"a":' * 100_000, NestingTooDeep, "/a" * 32),
    (b"[" + b"1," * 2_000 + b"1]", TooManyValues, ""),
]


@pytest.mark.parametrize(("body", "kind", "place"), REFUSED)
def test_says_what_is_wrong_and_where(body: bytes, kind: type[InvalidJson], place: str) -> None:
    with pytest.raises(InvalidJson) as caught:
        decode(body, values_max=1_000)
    assert type(caught.value) is kind
    assert caught.value.pointer == place


def test_reads_what_is_well_formed() -> None:
    text = ' {"a": [1, -2.50, "x\\n\\u00e9\\ud83d\\ude00", true, false, null, {}, []], "": "\\/"}\r\n\t'
    assert decode(text.encode(), values_max=100) == {
        "a": [Number("1"), Number("-2.50"), "x\n\u00e9\U0001f600", True, False, None, {}, []],
        "": "/",
    }


def test_a_number_keeps_its_own_digits() -> None:
    digits = "100000000000000000000000000000000000000.000000000000000001"
    value = decode(digits.encode(), values_max=1)
    assert type(value) is Number
    assert value == digits


def test_a_number_of_a_million_digits_costs_no_conversion() -> None:
    value = decode(b"9" * 1_000_000, values_max=1)
    assert type(value) is Number


@pytest.mark.parametrize("inner", [b"{}", b"[]", b'"[[[["'])
def test_nesting_counts_arrays_and_objects_but_not_brackets_in_strings(inner: bytes) -> None:
    around = NESTING_MAX - (1 if inner != b'"[[[["' else 0)
    decode(b"[" * around + inner + b"]" * around, values_max=10)
    decode(json.dumps(["["] * 100).encode(), values_max=1_000)
    decode(json.dumps([[]] * 100).encode(), values_max=1_000)


def test_pointers_are_escaped() -> None:
    assert pointer("a/b", 0, "m~n") == "/a~1b/0/m~0n"


def _plain(value: Any) -> Any:
    """The value with numbers as their digits, as our decoder hands them on."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return Number(value) if isinstance(value, int) and not isinstance(value, bool) else value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(value=JSON, ascii_only=st.booleans())
def test_everything_well_formed_is_read(value: Any, *, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert decode(text.encode(), values_max=10_000) == _plain(value)
    assert strict_json._Reader(text).read() == _plain(value)


@given(st.text(alphabet='{}[]",:\\ud8c019.-+eE truefalsn\n', max_size=30) | st.binary(max_size=20).map(repr))
def test_both_readers_agree_on_every_text(text: str) -> None:
    """The fast reader decides, the slow one explains: what one takes the other takes, with the same value."""
    try:
        slow = strict_json._Reader(text).read()
    except InvalidJson:
        with pytest.raises(InvalidJson):
            decode(text.encode(), values_max=1_000)
    else:
        assert decode(text.encode(), values_max=1_000) == slow
