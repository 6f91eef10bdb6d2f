"""Columns of amounts: each value is what it would be alone, exactly, or the table is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qenex.assets import Asset, Assets
from qenex.client.columns import transfer_rows
from qenex.client.values import account_id_of, check_id
from qenex.errors import InvalidAddress, InvalidAmount, InvalidId
from qenex.kernel import to_ints
from qenex.money import to_minor

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCALES = (0, 2, 3, 15, 18)
ASSETS = Assets([Asset(2_000 + scale, f"S{scale}", scale) for scale in SCALES])

cents = st.integers(0, 2**60).map(lambda minor: minor / 100)
floats = st.one_of(cents, st.floats(), st.floats(0, 1e6), st.sampled_from([-0.0, 1e15, 1e16, 0.1 + 0.2, 2.0**53]))


def minor_units(amounts: NDArray[Any], scale: int) -> list[int] | type[InvalidAmount]:
    """What a table makes of a column of amounts, or that it refuses it."""
    table = {"from_address": [1] * len(amounts), "to_address": [2] * len(amounts), "amount": amounts}
    try:
        return to_ints(transfer_rows(table, ASSETS, f"S{scale}")["amount"])
    except InvalidAmount:
        return InvalidAmount


def one_by_one(amounts: list[float], scale: int) -> list[int] | type[InvalidAmount]:
    try:
        return [to_minor(amount, scale) for amount in amounts]
    except InvalidAmount:
        return InvalidAmount


@given(st.lists(floats, min_size=1, max_size=4), st.sampled_from(SCALES))
@example([9_999_999_999_999.99, 0.01], 2)
@example([1e15], 0)
def test_a_column_of_floats_is_its_values_alone(amounts: list[float], scale: int) -> None:
    assert minor_units(np.array(amounts), scale) == one_by_one(amounts, scale)


@given(st.lists(st.floats(width=32), min_size=1, max_size=4), st.sampled_from(SCALES))
@example([200_000.015625], 2)
def test_a_shorter_float_is_never_rounded_to_the_asset(amounts: list[float], scale: int) -> None:
    """200,000.01 and 200,000.02 are one and the same float of 32 bits: nobody can tell which was meant."""
    for kind in (np.float32, ">f8"):
        assert minor_units(np.array(amounts, kind), scale) == one_by_one(amounts, scale)


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4), st.sampled_from(SCALES))
def test_a_column_of_integers_counts_major_units(amounts: list[int], scale: int) -> None:
    assert minor_units(np.array(amounts), scale) == [amount * 10**scale for amount in amounts]


@pytest.mark.parametrize("given", [1.0, True, "1", None, np.float64(1)])
def test_what_is_no_integer_names_nothing_whatever_was_asked_before(given: Any) -> None:
    assert account_id_of(1) == check_id(1) == 1
    with pytest.raises(InvalidAddress):
        account_id_of(given)
    with pytest.raises(InvalidId):
        check_id(given)
