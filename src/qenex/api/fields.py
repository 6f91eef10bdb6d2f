"""Fields of a body: each reader takes a JSON value, and gives what it means or refuses it.

A reader raises a `QenexError` that says what would be right; `read` adds where it was.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from qenex.api.problems import at
from qenex.api.strict_json import Number, pointer
from qenex.errors import InvalidAddress, InvalidAmount, InvalidField, InvalidId, MissingField, QenexError, UnknownField
from qenex.kernel import U128_MAX, to_account_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qenex.api.strict_json import Value

    Reader = Callable[[Value], Any]

DIGITS_MAX: Final = 39
"""Decimal digits of a 128-bit number."""
HASH_DIGITS: Final = 64
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_ID_HELP: Final = "1 to 2^128-2, in decimal digits or as 0x and up to 32 hexadecimal ones"


def members(value: Value, path: str, known: Mapping[str, Reader], needed: tuple[str, ...]) -> dict[str, Any]:
    """Reads an object.

    Args:
        value: what stands where the object should.
        path: its pointer.
        known: reader of each field that there can be.
        needed: fields that must be there.

    Returns:
        What the fields that are there mean.

    Raises:
        QenexError: with the pointer of the first field that is wrong, in order of the body; then of one missing.
    """
    if type(value) is not dict:
        raise InvalidField(path, f"an object is needed, not {_kind(value)}")
    result = {}
    for name, given in value.items():
        reader = known.get(name)
        if reader is None:
            raise UnknownField(path + pointer(name), f"there is no such field; there are {', '.join(known)}")
        try:
            result[name] = reader(given)
        except Wrong as wrong:
            raise InvalidField(path + pointer(name), str(wrong)) from None
        except QenexError as error:
            raise at(error, path + pointer(name)) from None
    for name in needed:
        if name not in result:
            raise MissingField(path + pointer(name), "is needed")
    return result


class Wrong(Exception):
    """What a reader says of a value; `members` says where."""


def boolean(value: Value) -> bool:
    """True or false."""
    if value is True or value is False:
        return value
    raise Wrong(f"true or false is needed, not {_kind(value)}")


def account_id(value: Value) -> int:
    """An account: its address, or its id.

    Raises:
        InvalidAddress: not an address of this ledger, or one with a wrong checksum.
        InvalidId: not an id.
    """
    if not isinstance(value, str):
        raise InvalidAddress(_kind(value), "an address or an account id is needed, in a string")
    return _account_id(value)


@lru_cache(maxsize=65_536)
def _account_id(text: str) -> int:
    if len(text) > 34 and text[:2] == "0x":
        try:
            return to_account_id(text)
        except ValueError as error:
            raise InvalidAddress(text[:80], str(error)[:200]) from None
    return identifier(text)


def identifier(value: Value) -> int:
    """An id of an account or a transfer, in decimal digits or as `0x` and hexadecimal ones.

    Raises:
        InvalidId: it is none, or 0 or 2^128-1, which nothing can have.
    """
    if not isinstance(value, str):
        raise InvalidId(_kind(value), _ID_HELP)
    if value[:2] == "0x":
        digits, base, most = value[2:], 16, 32
    else:
        digits, base, most = value, 10, DIGITS_MAX
    if not 0 < len(digits) <= most or not digits.isascii() or not digits.isalnum() or not set(digits) <= _HEX:
        raise InvalidId(value[:80], _ID_HELP)
    try:
        number = int(digits, base)
    except ValueError:
        raise InvalidId(value[:80], _ID_HELP) from None
    if not 0 < number < U128_MAX:
        raise InvalidId(value[:80], _ID_HELP)
    return number


def transfer_hash(text: str) -> bytes | None:
    """The 32 bytes of a transfer's hash if that is what the text is: 64 hexadecimal digits, perhaps after `0x`."""
    digits = text.removeprefix("0x")
    return bytes.fromhex(digits) if len(digits) == HASH_DIGITS and set(digits) <= _HEX else None


def token(value: Value) -> str | int:
    """The code of an asset, or its ledger number."""
    if isinstance(value, Number):
        return integer(32)(value)
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdigit() and len(value) <= 10 else value[:80]
    raise Wrong(f'the code of an asset is needed, for example "EUR", not {_kind(value)}')


def amount(value: Value) -> str:
    """The digits of an amount in major units; its asset turns them into minor units.

    Raises:
        InvalidAmount: it is neither a string nor a number.
    """
    if not isinstance(value, str):
        raise InvalidAmount(_kind(value), 'a string of digits is wanted, for example "12.50"')
    return value


def integer(bits: int, *, least: int = 0) -> Callable[[Value], int]:
    """A reader of whole numbers of so many bits, as numbers or in strings."""
    most = (1 << bits) - 1

    def read(value: Value) -> int:
        if not isinstance(value, str):
            raise Wrong(f"a whole number from {least} to 2^{bits}-1 is needed, not {_kind(value)}")
        if value.isascii() and value.isdigit() and len(value) <= DIGITS_MAX:
            number = int(value)
            if least <= number <= most:
                return number
        raise Wrong(f"a whole number from {least} to 2^{bits}-1 is needed")

    return read


def _kind(value: Value) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Number):
        return "a number"
    return {str: "a string", list: "an array", dict: "an object"}[type(value)]
