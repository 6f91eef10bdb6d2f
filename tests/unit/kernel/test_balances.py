"""What an account has by its four sums: one rule, on the side on which the account grows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qenex.kernel import AccountFlags, is_debit_normal, net

sums = st.fixed_dictionaries(
    {name: st.integers(0, 1_000) for name in ("debits_pending", "debits_posted", "credits_pending", "credits_posted")}
)


def test_a_deposit_grows_by_credits_and_pending_debits_hold_some_of_it() -> None:
    has = net(debits_pending=30, debits_posted=20, credits_pending=7, credits_posted=100, debit_normal=False)
    assert has == (80, 50)


def test_a_loan_grows_by_debits_and_pending_credits_hold_some_of_it() -> None:
    has = net(debits_pending=7, debits_posted=100, credits_pending=30, credits_posted=20, debit_normal=True)
    assert has == (80, 50)


@given(sums)
def test_one_side_is_the_mirror_image_of_the_other(given: dict[str, int]) -> None:
    swapped = {
        name.replace("debits", "!").replace("credits", "debits").replace("!", "credits"): minor
        for name, minor in given.items()
    }
    assert net(**given, debit_normal=True) == net(**swapped, debit_normal=False)


def test_an_account_is_debit_normal_where_its_credits_are_limited() -> None:
    for flag in AccountFlags:
        assert is_debit_normal(flag) is (flag is AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS)
    assert is_debit_normal(AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS | AccountFlags.HISTORY)
