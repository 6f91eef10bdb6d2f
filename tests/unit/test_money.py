"""Amounts: exact or refused."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qenex.errors import AmountOutOfRange, AmountTooPrecise, InvalidAmount
from qenex.money import AMOUNT_MAX, to_decimal, to_minor, to_text


@pytest.mark.parametrize(
    ("amount", "scale", "minor"),
    [
        (100.0, 18, 100 * 10**18),
        (0.1, 18, 10**17),
        (12.5, 2, 1250),
        (1e22, 0, 10**22),
        (np.float64(12.5), 2, 1250),
        (np.int64(7), 2, 700),
        (7, 0, 7),
        ("0012.50", 2, 1250),
        ("12.5000", 2, 1250),
        ("0.000", 0, 0),
        (-0.0, 2, 0),
        (Decimal("1E+2"), 2, 10_000),
        (Decimal("0E+999999"), 2, 0),
        (str(AMOUNT_MAX), 0, AMOUNT_MAX),
    ],
)
def test_an_amount_is_its_minor_units_exactly(amount: Decimal | int | str | float, scale: int, minor: int) -> None:
    assert to_minor(amount, scale) == minor


@pytest.mark.parametrize(
    "amount",
    [
        *("", " 1", "1e3", "1_000", "1,5", "٣", "NaN", "0x10", ".5", "5.", "1.2.3", "1\n", float("nan"), float("inf")),
        *("+5", "-0", "-0.00", "+0", "--1", "-", "-+1"),
        *(Decimal("sNaN"), Decimal("-Infinity"), True, None, b"1", 1j),
    ],
)
def test_what_is_no_plain_number_is_refused(amount: object) -> None:
    with pytest.raises(InvalidAmount) as caught:
        to_minor(amount, 2)  # type: ignore[arg-type]  # that is the point
    assert type(caught.value) is InvalidAmount


@pytest.mark.parametrize("amount", [0.1 + 0.2, "1.001", Decimal("1E-999999"), Decimal("1." + "0" * 200 + "1"), 1.005])
def test_more_digits_than_the_asset_has_are_refused(amount: Decimal | str | float) -> None:
    with pytest.raises(AmountTooPrecise, match="more than the 2 digits"):
        to_minor(amount, 2)


@pytest.mark.parametrize("amount", [-1, "-0.01", 10**37, Decimal("1E+999999999999"), f"{(AMOUNT_MAX + 1) / 100:f}"])
def test_outside_the_range_is_refused(amount: Decimal | int | str) -> None:
    with pytest.raises(AmountOutOfRange):
        to_minor(amount, 2)


def test_the_largest_amount_and_one_more() -> None:
    with localcontext() as context:
        context.prec = 50
        largest = Decimal(AMOUNT_MAX).scaleb(-18)
        assert to_minor(largest, 18) == AMOUNT_MAX
        with pytest.raises(AmountOutOfRange):
            to_minor(largest + Decimal("1E-18"), 18)


@given(st.integers(0, AMOUNT_MAX), st.integers(0, 38))
def test_there_and_back(minor: int, scale: int) -> None:
    assert to_minor(to_decimal(minor, scale), scale) == minor
    assert to_minor(to_text(minor, scale), scale) == minor


@given(st.decimals(min_value=0, max_value=10**12, places=2))
def test_a_float_that_a_person_types_is_what_it_shows(amount: Decimal) -> None:
    assert to_minor(float(amount), 2) == to_minor(amount, 2)


def test_text_has_the_scale_and_no_exponent() -> None:
    assert to_text(1, 18) == "0.000000000000000001"
    assert to_text(-1250, 2) == "-12.50"
    assert to_text(5, 0) == "5"
