"""Amounts as people write them, from and to integers of an asset's smallest unit.

The ledger counts minor units, whole numbers from 0 to 2^128-1; `scale` is how many digits after the point the asset
has (EUR 2, JPY 0, QXC 18). Nothing here rounds: an amount is converted exactly or refused.
"""

from __future__ import annotations

import re
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, Inexact
from operator import index
from typing import Final, TypeAlias

from qenex.errors import AmountOutOfRange, AmountTooPrecise, InvalidAmount

AMOUNT_MAX: Final = (1 << 128) - 1
"""The largest amount, in minor units."""
SCALE_MAX: Final = 38
"""The most digits after the point that an asset can have: one whole unit must fit an amount."""

Amount: TypeAlias = Decimal | int | str | float
"""An amount in major units: `Decimal("12.50")`, `12`, `"12.50"`; a float as a person types one, `12.5`."""

# Exact or an exception: amounts have at most 39 digits, more could not be right anyway.
_EXACT: Final = Context(prec=80, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[Inexact])
# Only what a person would write: no sign, no exponent, no underscores, no digits of other scripts (Decimal takes all).
_PLAIN: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII)


def to_minor(amount: Amount, scale: int) -> int:
    """The amount in minor units.

    Args:
        amount: in major units. Text is digits with an optional fraction, nothing else: `12` or `12.50`, without a sign.
            A float stands for its shortest decimal form, so that `0.1` is one tenth.
        scale: digits after the point of the asset, 0 to 38.

    Raises:
        InvalidAmount: it is no number, not finite, or of another type.
        AmountTooPrecise: it has more digits after the point than the asset (zeros at the end do not count).
        AmountOutOfRange: it is negative or above 2^128-1 minor units.
    """
    value = _to_decimal(amount)
    if not value:
        return 0
    if value < 0 or value.adjusted() + scale > SCALE_MAX:
        raise AmountOutOfRange(amount, scale)
    try:
        minor = _EXACT.scaleb(value, scale)
        whole = _EXACT.to_integral_exact(minor)
    except Inexact:
        raise AmountTooPrecise(amount, scale) from None
    if whole > AMOUNT_MAX:
        raise AmountOutOfRange(amount, scale)
    return int(whole)


def to_decimal(amount_minor: int, scale: int) -> Decimal:
    """Minor units as an amount in major units, exactly, with `scale` digits after the point.

    Negative numbers are taken too, for a balance can be one.
    """
    return _EXACT.scaleb(Decimal(amount_minor), -scale)


def to_text(amount_minor: int, scale: int) -> str:
    """Minor units as the text of an amount in major units, never with an exponent: what JSON carries."""
    return f"{to_decimal(amount_minor, scale):f}"


def _to_decimal(amount: Amount) -> Decimal:
    """The number that was meant, of whatever type it came in."""
    if isinstance(amount, str):
        digits = amount.removeprefix("-")
        if not _PLAIN.fullmatch(digits) or (digits != amount and not digits.strip("0.")):
            raise InvalidAmount(amount, 'digits and at most one point are wanted, without a sign, for example "12.50"')
        # A negative amount is a number, and is told that it is out of range.
        return Decimal(amount)
    if isinstance(amount, float):
        # float's own repr is the shortest text that gives the same float again; numpy's float64 has another.
        value = Decimal(float.__repr__(amount))
    elif isinstance(amount, Decimal):
        value = amount
    elif isinstance(amount, bool):
        raise InvalidAmount(amount, "True and False are no amounts")
    else:
        try:
            return Decimal(index(amount))
        except TypeError:
            raise InvalidAmount(
                amount, f"a Decimal, int, str or float is wanted, not {type(amount).__name__}"
            ) from None
    if not value.is_finite():
        raise InvalidAmount(amount, "it is not a finite number")
    return value
