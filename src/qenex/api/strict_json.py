"""One strict JSON decoder for every door.

What RFC 8259 leaves open is refused here, because two readers could understand it differently: a key that stands twice
in an object, an exponent, NaN and infinities, a lone surrogate, nesting over 32. A number is never turned into a float:
it is handed on as its own digits.

The fast way is the C scanner of the standard library. When it refuses a body, a second, slower reader goes over it
again and says what is wrong first, and where (RFC 6901 pointer).
"""

from __future__ import annotations

import json
import re
from typing import Final, NoReturn

from qenex.errors import (
    DuplicateKey,
    InvalidUnicode,
    MalformedJson,
    NestingTooDeep,
    NumberNotExact,
    TooManyValues,
)

NESTING_MAX: Final = 32
"""Arrays and objects inside one another."""


class Number(str):
    """A JSON number as it was written: an optional minus, digits, perhaps a point and digits."""

    __slots__ = ()


Value = dict[str, "Value"] | list["Value"] | str | Number | bool | None


def decode(body: bytes, *, values_max: int) -> Value:
    """Reads one JSON value.

    Args:
        body: UTF-8, no byte order mark.
        values_max: how many values (members and items) the door has a use for, about. It bounds the memory that a
            body can take; the bound counts commas, those inside strings too.

    Raises:
        InvalidJson: one of its kinds, with a pointer to the place.
    """
    if body.count(b",") >= values_max:
        raise TooManyValues("", f"more than {values_max} values, {values_max} at most are taken")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidUnicode("", f"byte {error.start} is not UTF-8") from None
    if _SURROGATE.search(text) is None:
        try:
            value: Value = _FAST.decode(text)
        except (ValueError, RecursionError):
            pass  # the slow reader finds the same fault again and can say where it is
        else:
            if text.count("[") + text.count("{") <= NESTING_MAX or _depth(value) <= NESTING_MAX:
                return value
    return _Reader(text).read()


def pointer(*path: str | int) -> str:
    """The RFC 6901 pointer of a path of keys and indices."""
    return "".join(f"/{step}" if isinstance(step, int) else "/" + _escaped(step) for step in path)


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1").encode("utf-8", "replace").decode("utf-8")[:_KEY_SHOWN]


_KEY_SHOWN: Final = 100
# A surrogate may be one half of a pair, which is fine; only the slow reader looks at both halves.
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def _object(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate key")
    return result


def _exact(digits: str) -> Number:
    if "e" in digits or "E" in digits:
        raise ValueError("exponent")
    return Number(digits)


def _constant(name: str) -> NoReturn:
    raise ValueError(name)


_FAST: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_exact, parse_int=Number, parse_constant=_constant
)


def _depth(value: Value) -> int:
    """How many arrays and objects stand inside one another, level by level so that no stack can overflow."""
    level: list[Value] = [value] if isinstance(value, dict | list) else []
    depth = 0
    while level:
        depth += 1
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)  # type: ignore[union-attr]  # containers
            if type(inner) is dict or type(inner) is list
        ]
    return depth


_SPACE: Final = re.compile(r"[ \t\n\r]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?P<exponent>[eE][-+]?[0-9]+)?")
_PLAIN: Final = re.compile(r'[^"\\\x00-\x1f]*')
_WORDS: Final = {"true": True, "false": False, "null": None}
_NOT_NUMBERS: Final = re.compile(r"[-+]?(?:NaN|nan|Infinity|Inf|inf)")
_ESCAPES: Final = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HEX4: Final = re.compile(r"[0-9a-fA-F]{4}")


class _Reader:
    """Recursive descent that knows where it is."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._path: list[str | int] = []

    def read(self) -> Value:
        value = self._value()
        self._skip()
        if self._at != len(self._text):
            self._malformed("the end of the body")
        return value

    def _skip(self) -> str:
        """Passes white space; the character after it, or nothing at the end."""
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._text[self._at : self._at + 1]

    def _malformed(self, expected: str) -> NoReturn:
        line = self._text.count("\n", 0, self._at) + 1
        column = self._at - self._text.rfind("\n", 0, self._at)
        found = repr(self._text[self._at]) if self._at < len(self._text) else "the end"
        raise MalformedJson(
            pointer(*self._path), f"line {line}, column {column}: {found} stands where {expected} is needed"
        )

    def _value(self) -> Value:
        first = self._skip()
        if first == "{":
            return self._members()
        if first == "[":
            return self._items()
        if first == '"':
            return self._string()
        for word, meaning in _WORDS.items():
            if self._text.startswith(word, self._at):
                self._at += len(word)
                return meaning
        return self._number()

    def _enter(self) -> None:
        if len(self._path) >= NESTING_MAX:
            raise NestingTooDeep(pointer(*self._path), f"arrays and objects nest over {NESTING_MAX} deep")
        self._at += 1

    def _members(self) -> dict[str, Value]:
        self._enter()
        result: dict[str, Value] = {}
        if self._skip() == "}":
            self._at += 1
            return result
        while True:
            if self._skip() != '"':
                self._malformed("a key in double quotes")
            key = self._string()
            if key in result:
                raise DuplicateKey(pointer(*self._path, key), f"the key {key[:_KEY_SHOWN]!r} stands twice")
            if self._skip() != ":":
                self._malformed("a colon")
            self._at += 1
            self._path.append(key)
            result[key] = self._value()
            self._path.pop()
            if self._closed("}"):
                return result

    def _items(self) -> list[Value]:
        self._enter()
        result: list[Value] = []
        if self._skip() == "]":
            self._at += 1
            return result
        while True:
            self._path.append(len(result))
            result.append(self._value())
            self._path.pop()
            if self._closed("]"):
                return result

    def _closed(self, bracket: str) -> bool:
        after = self._skip()
        if after not in (",", bracket) or not after:
            self._malformed(f"a comma or {bracket}")
        self._at += 1
        return after == bracket

    def _string(self) -> str:
        self._at += 1
        parts: list[str] = []
        while True:
            match = _PLAIN.match(self._text, self._at)
            if match:
                parts.append(match.group())
                self._at = match.end()
            here = self._text[self._at : self._at + 1]
            if here == '"':
                self._at += 1
                return "".join(parts)
            if here != "\\":
                self._malformed("the rest of a string (control characters are escaped in one)")
            parts.append(self._escape())

    def _escape(self) -> str:
        kind = self._text[self._at + 1 : self._at + 2]
        if kind in _ESCAPES:
            self._at += 2
            return _ESCAPES[kind]
        if kind != "u":
            self._malformed("a valid escape")
        first = self._code_unit()
        if not 0xD800 <= first <= 0xDFFF:
            return chr(first)
        if first < 0xDC00 and self._text.startswith("\\u", self._at):
            second = self._code_unit()
            if 0xDC00 <= second <= 0xDFFF:
                return chr(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))
        raise InvalidUnicode(pointer(*self._path), f"\\u{first:04x} is one half of a surrogate pair without the other")

    def _code_unit(self) -> int:
        match = _HEX4.match(self._text, self._at + 2)
        if match is None:
            self._malformed("an escape of four hexadecimal digits")
        self._at = match.end()
        return int(match.group(), 16)

    def _number(self) -> Number:
        match = _NUMBER.match(self._text, self._at)
        if match is None:
            if _NOT_NUMBERS.match(self._text, self._at):
                raise NumberNotExact(pointer(*self._path), "NaN and infinities are not JSON, and no amounts")
            self._malformed("a value")
        if match["exponent"]:
            raise NumberNotExact(
                pointer(*self._path), "exponents are not taken: write all digits, or better a string of them"
            )
        self._at = match.end()
        return Number(match.group())
