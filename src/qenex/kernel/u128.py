"""Columns of 128-bit numbers from and to int, Decimal and hex.

A column is an array of `U128` (or a `U128` field of an array of rows, strided as it lies). All functions
take and give whole columns: values in, one array out, or the other way round.
"""

from __future__ import annotations

from array import array
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qenex.errors import InvalidId
from qenex.kernel.rows import U128, U128_MAX
from qenex.money import to_decimal, to_minor

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from qenex.money import Amount

Column = NDArray[np.void]


def from_ints(values: Iterable[int] | NDArray[np.integer[Any]]) -> Column:
    """A column of these numbers, 0 to 2^128-1.

    Raises:
        TypeError: a value is not an integer (a float never is).
        OverflowError: a value is negative or above 2^128-1.
    """
    if isinstance(values, np.ndarray):
        return _from_integer_array(values)
    if not isinstance(values, list):
        values = list(values)
    try:
        halves = np.frombuffer(array("Q", values), dtype="<u8")
    except OverflowError:
        # Some number needs the high half; the slower way also says which one does not fit at all.
        return np.frombuffer(b"".join(map(_to_bytes, values)), dtype=U128).copy()
    column = np.zeros(len(values), dtype=U128)
    column["lo"] = halves
    return column


def _from_integer_array(values: NDArray[np.integer[Any]]) -> Column:
    if values.dtype.kind not in "iu":
        raise TypeError(f"a column of u128 is made from integers, not from {values.dtype}")
    if values.dtype.kind == "i" and values.size and values.min() < 0:
        raise OverflowError(f"{values.min()} is negative; a u128 lies between 0 and 2^128-1")
    column = np.zeros(values.shape, dtype=U128)
    column["lo"] = values
    return column


def _to_bytes(value: int) -> bytes:
    number = index(value)
    if not 0 <= number <= U128_MAX:
        raise OverflowError(f"{number} does not fit: a u128 lies between 0 and 2^128-1")
    return number.to_bytes(16, "little")


def to_ints(column: Column) -> list[int]:
    """The numbers of a column."""
    low: list[int] = column["lo"].tolist()
    if not column["hi"].any():
        return low
    high: list[int] = column["hi"].tolist()
    return [hi << 64 | lo for lo, hi in zip(low, high, strict=True)]


def to_int(value: np.void) -> int:
    """The number of one `U128` scalar."""
    return int(value["hi"]) << 64 | int(value["lo"])


def from_decimals(values: Iterable[Amount], scale: int) -> Column:
    """A column of amounts in minor units: each value times 10^scale, exactly, as `qenex.money.to_minor` does.

    Raises:
        InvalidAmount: a value is no number, has more than `scale` digits after the point, or does not fit.
    """
    return from_ints([to_minor(value, scale) for value in values])


def to_decimals(column: Column, scale: int) -> list[Decimal]:
    """Amounts of a column in major units: each number divided by 10^scale, exactly, with `scale` digits."""
    return [to_decimal(number, scale) for number in to_ints(column)]


def from_hex(values: Iterable[str]) -> Column:
    """A column of numbers written as 1 to 32 hexadecimal digits, most significant first.

    Raises:
        InvalidId: a text is empty, has other characters (a sign, `0x`, spaces) or more than 32 digits.
    """
    return from_ints([_from_digits(text) for text in values])


def _from_digits(text: str) -> int:
    # int() would also take signs, underscores, spaces and digits of other scripts.
    if not 1 <= len(text) <= 32 or not set(text) <= set("0123456789abcdefABCDEF"):
        raise InvalidId(text, "1 to 32 hexadecimal digits are wanted")
    return int(text, 16)


def to_hex(column: Column) -> list[str]:
    """The numbers of a column as 32 hexadecimal digits, most significant first."""
    return [f"{number:032x}" for number in to_ints(column)]
