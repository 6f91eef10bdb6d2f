"""An amount through the HTTP door: in digits, as text or as a bare number, to minor units and back, exactly."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qenex.api import accounts
from qenex.api.fields import amount, members
from qenex.api.strict_json import decode
from qenex.api.transfers import amount_minor
from qenex.assets import Asset
from qenex.errors import InvalidAmount, InvalidJson
from qenex.kernel import U128_MAX, AccountFlags

minor_units = st.one_of(st.integers(0, U128_MAX), st.integers(0, 10**6), st.integers(2**53 - 5, 2**53 + 5))
scales = st.integers(0, 38)


def read(digits: str, scale: int) -> int:
    """The minor units of `{"amount": ...}`; `digits` stand in the body as they are."""
    body = decode(f'{{"amount": {digits}}}'.encode(), values_max=64)
    fields: dict[str, Any] = members(body, "", {"amount": amount}, ("amount",))
    return amount_minor(fields["amount"], Asset(2_000, "X", scale), "")


@given(minor_units, scales, st.integers(0, 40))
def test_what_a_reply_shows_is_what_a_request_means(minor: int, scale: int, zeros: int) -> None:
    shown = Asset(2_000, "X", scale).to_text(minor)
    longer = shown + ("0" * zeros if "." in shown else "")
    for digits in (shown, json.dumps(shown), longer, json.dumps(longer)):
        assert read(digits, scale) == minor


@given(minor_units, st.integers(0, 37), st.integers(1, 9))
def test_a_digit_too_many_is_refused_never_rounded(minor: int, scale: int, digit: int) -> None:
    finer = Asset(2_000, "X", scale + 1).to_text(minor // 10 * 10 + digit)
    for digits in (finer, json.dumps(finer)):
        with pytest.raises(InvalidAmount):
            read(digits, scale)


@pytest.mark.parametrize(
    "digits", ['"+5"', '"-0"', '"-0.00"', "-0", "-0.0", '" 5"', '"5 "', '"1e2"', '"0x5"', '"5."', '".5"']
)
def test_an_amount_is_digits_with_an_optional_fraction(digits: str) -> None:
    with pytest.raises(InvalidAmount, match="digits and at most one point are wanted, without a sign") as caught:
        read(digits, 2)
    assert caught.value.code == "invalid_amount"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_its_own_digits_or_none_at_all(number: float) -> None:
    digits = json.dumps(number)
    try:
        minor = read(digits, 18)
    except (InvalidAmount, InvalidJson):
        return
    assert Fraction(minor, 10**18) == Fraction(digits)


@given(st.tuples(minor_units, minor_units, minor_units, minor_units), scales, st.sampled_from(AccountFlags))
def test_balances_in_major_and_in_minor_units_are_the_same(
    quantities: tuple[int, int, int, int], scale: int, flags: AccountFlags
) -> None:
    asset = Asset(2_000, "X", scale)
    shown = accounts.amounts(list(quantities), asset, flags)
    for name in (*accounts.BALANCE_FIELDS, "posted", "available"):
        minor = int(shown[f"{name}_minor"])
        assert asset.to_text(minor) == shown[name]
        assert abs(minor) > U128_MAX or abs(minor) == read(json.dumps(shown[name].removeprefix("-")), scale)
    assert [int(shown[f"{name}_minor"]) for name in accounts.BALANCE_FIELDS] == list(quantities)
    assert not any(text.startswith("-0") and not text.strip("-0.") for text in shown.values()), "no negative zero"
