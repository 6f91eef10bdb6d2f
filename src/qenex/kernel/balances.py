"""What an account has by its four sums: one rule for everyone who shows a balance (spec/kernel.md section 7)."""

from __future__ import annotations

from typing import NamedTuple

from qenex.kernel.rows import AccountFlags


class Net(NamedTuple):
    """What an account has on its normal side, minor units; negative where the other side is larger."""

    posted: int
    """What is posted."""
    available: int
    """What of it no hold would take away. An overdraft is not counted, nor what is only held for the account."""


def is_debit_normal(flags: int) -> bool:
    """Whether debits make the account grow, as they do with cash or a loan; with all others credits do."""
    return bool(flags & AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS)


def net(
    *, debits_pending: int, debits_posted: int, credits_pending: int, credits_posted: int, debit_normal: bool
) -> Net:
    """What follows from the four sums of an account, minor units."""
    if debit_normal:
        posted = debits_posted - credits_posted
        return Net(posted, posted - credits_pending)
    posted = credits_posted - debits_posted
    return Net(posted, posted - debits_pending)
