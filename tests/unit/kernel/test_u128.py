"""Columns of 128-bit numbers keep every bit, and refuse what is no such number."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qenex.errors import AmountOutOfRange, AmountTooPrecise, InvalidAmount, InvalidId
from qenex.kernel import (
    TRANSFER,
    U128,
    U128_MAX,
    from_decimals,
    from_hex,
    from_ints,
    to_decimals,
    to_hex,
    to_int,
    to_ints,
)

NUMBERS = st.lists(st.one_of(st.integers(0, U128_MAX), st.integers(0, 2**64), st.just(U128_MAX)))


@given(NUMBERS)
def test_numbers_survive_every_form(numbers: list[int]) -> None:
    column = from_ints(numbers)
    assert column.dtype == U128
    assert column.tobytes() == b"".join(number.to_bytes(16, "little") for number in numbers)
    assert to_ints(column) == numbers
    assert [to_int(value) for value in column] == numbers
    assert to_ints(from_hex(to_hex(column))) == numbers
    for scale in (0, 2, 18):
        assert to_ints(from_decimals(to_decimals(column, scale), scale)) == numbers


def test_a_column_of_rows_is_read_and_written_in_place() -> None:
    rows = np.zeros(3, dtype=TRANSFER)
    rows["amount"] = from_ints([1, 2**64, U128_MAX])
    assert to_ints(rows["amount"]) == [1, 2**64, U128_MAX]
    assert to_ints(rows["id"]) == [0, 0, 0]


def test_made_columns_can_be_written_to() -> None:
    for column in (from_ints([1]), from_ints([U128_MAX]), from_ints(np.array([1]))):
        column["lo"] = 7
        assert int(column["lo"][0]) == 7


def test_integer_arrays_are_taken_whole() -> None:
    assert to_ints(from_ints(np.array([1, 2], dtype=np.int16))) == [1, 2]
    assert to_ints(from_ints(np.array([2**64 - 1], dtype=np.uint64))) == [2**64 - 1]
    with pytest.raises(OverflowError, match="-1 is negative"):
        from_ints(np.array([5, -1]))
    with pytest.raises(TypeError, match="float64"):
        from_ints(np.array([1.0]))


@pytest.mark.parametrize("number", [-1, U128_MAX + 1])
def test_numbers_that_do_not_fit_are_refused(number: int) -> None:
    with pytest.raises(OverflowError, match=str(number)):
        from_ints([1, number])


@pytest.mark.parametrize("value", [1.0, "1", None])
def test_only_integers_are_integers(value: object) -> None:
    with pytest.raises(TypeError):
        from_ints([value])  # type: ignore[list-item]  # the point of the test
    with pytest.raises(TypeError):
        from_ints([U128_MAX, value])  # type: ignore[list-item]  # the slower way as well


def test_decimals_are_exact_or_refused() -> None:
    assert to_ints(from_decimals([Decimal("12.34"), "1000", 0.5, 7], 2)) == [1234, 100_000, 50, 700]
    assert [str(amount) for amount in to_decimals(from_ints([1234, 5, 0]), 2)] == ["12.34", "0.05", "0.00"]
    with pytest.raises(AmountTooPrecise, match=r"1\.005"):
        from_decimals([Decimal("1.005")], 2)
    with pytest.raises(InvalidAmount, match="not a finite number"):
        from_decimals([Decimal("NaN")], 2)
    for value in (Decimal(-1), Decimal(U128_MAX)):
        with pytest.raises(AmountOutOfRange):
            from_decimals([value], 2)


def test_hexadecimal_is_digits_only() -> None:
    assert to_ints(from_hex(["0", "fF", "f" * 32])) == [0, 255, U128_MAX]
    for text in ("", "0x1", "-1", "1_0", " 1", "g", "0" * 33, "\u0661"):
        with pytest.raises(InvalidId, match="1 to 32 hexadecimal digits"):
            from_hex([text])
