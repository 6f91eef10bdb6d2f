"""GCRA against a model that can be checked by eye; what the headers say; whom an address stands for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qenex.limits import Limit, LocalLimits, Policy, bulk_cost, peer_key
from qenex.principals import Principal, Role

SECOND = 1_000_000_000
WIDE = 1_000_000


def policy(**narrow: tuple[int, int]) -> Policy:
    """Wide limits, but for those that are named with rate and burst."""
    names = ("credential", "principal", "book", "address", "failures")
    return Policy(*(Limit(name, *narrow.get(name, (WIDE, WIDE))) for name in names))


def someone(name: str = "usr_1", credential: str = "key_1", book: bytes = b"b" * 16) -> Principal:
    return Principal(book, name, "user", frozenset({Role.OWNER}), credential)


class Bucket:
    """A bucket of `burst` units that fills by `rate` a second: what GCRA comes to, said plainly."""

    def __init__(self, rate: int, burst: int) -> None:
        self.rate, self.burst, self.has, self.at = rate, burst, burst * SECOND, 0

    def take(self, now: int, cost: int) -> bool:
        self.has = min(self.burst * SECOND, self.has + (now - self.at) * self.rate)
        self.at = now
        price = min(cost, self.burst) * SECOND
        if self.has < price:
            return False
        self.has -= price
        return True


# Rates that divide a second, so that the model and the rule round nothing.
@given(
    rate=st.sampled_from([1, 2, 5, 10, 1_000]),
    burst=st.integers(1, 20),
    steps=st.lists(st.tuples(st.integers(0, 2 * SECOND), st.integers(1, 30)), max_size=60),
)
def test_a_limit_lets_through_what_a_bucket_would(rate: int, burst: int, steps: list[tuple[int, int]]) -> None:
    limits, bucket, now = LocalLimits(policy(credential=(rate, burst))), Bucket(rate, burst), 0
    asked = limits.asked(someone(), b"")
    for wait, cost in steps:
        now += wait
        verdict = limits.decide(asked, now, cost)
        assert verdict.allowed == bucket.take(now, cost)
        if verdict.limit == "credential":
            assert verdict.remaining == bucket.has // SECOND


@given(rate=st.integers(1, WIDE), burst=st.integers(1, 1_000), cost=st.integers(1, 50))
def test_whoever_waits_as_long_as_was_said_passes_and_not_a_moment_before(rate: int, burst: int, cost: int) -> None:
    limits, now = LocalLimits(policy(principal=(rate, burst))), 5
    asked = limits.asked(someone(), b"")
    while (verdict := limits.decide(asked, now, cost)).allowed:
        pass
    assert verdict.limit == "principal"
    assert not limits.decide(asked, now + verdict.retry_ns - 1, cost).allowed
    assert limits.decide(asked, now + verdict.retry_ns, cost).allowed


def test_a_refused_request_counts_for_nobody() -> None:
    limits = LocalLimits(policy(credential=(1, 1), book=(1, 3)))
    first, second = someone(), someone("usr_2", "key_2")
    assert limits.decide(limits.asked(first, b"a"), 0, 1).allowed
    for _ in range(10):
        refused = limits.decide(limits.asked(first, b"a"), 0, 1)
        assert (refused.limit, refused.remaining, refused.retry_ns) == ("credential", 0, SECOND)
    assert limits.decide(limits.asked(second, b"a"), 0, 1).allowed
    third = limits.decide(limits.asked(someone("usr_3", "key_3"), b"a"), 0, 1)
    assert third.allowed, "ten refusals must not have used up the book"
    assert limits.decide(limits.asked(someone("usr_4", "key_4"), b"a"), 0, 1).limit == "book"


def test_each_limit_is_one_of_its_own() -> None:
    limits = LocalLimits(policy(principal=(1, 2), address=(1, 3)))
    assert limits.decide(limits.asked(someone(credential="key_1"), b"a"), 0, 1).allowed
    assert limits.decide(limits.asked(someone(credential="key_2"), b"a"), 0, 1).allowed
    assert limits.decide(limits.asked(someone(credential="key_3"), b"a"), 0, 1).limit == "principal"
    elsewhere = someone(book=b"c" * 16)
    assert limits.decide(limits.asked(elsewhere, b"a"), 0, 1).allowed, "the same name in another book is another person"
    assert limits.decide(limits.asked(None, b"a"), 0, 1).limit == "address"
    assert limits.decide(limits.asked(None, b"b"), 0, 1).allowed


def test_the_owner_credentials_of_two_books_are_two() -> None:
    limits = LocalLimits(policy(credential=(1, 1)))
    for book in (b"b" * 16, b"c" * 16):
        assert limits.decide(limits.asked(someone("owner", "owner", book), b"a"), 0, 1).allowed
        assert not limits.decide(limits.asked(someone("owner", "owner", book), b"a"), 0, 1).allowed


def test_what_costs_more_than_a_burst_costs_the_burst() -> None:
    limits = LocalLimits(policy(credential=(1, 4)))
    asked = limits.asked(someone(), b"")
    assert limits.decide(asked, 0, 1_000).allowed
    assert limits.decide(asked, 0, 1).retry_ns == SECOND
    assert limits.decide(asked, 4 * SECOND, 1_000).allowed


def test_a_bulk_costs_its_rows() -> None:
    assert [bulk_cost(rows) for rows in (1, 99, 100, 8_189)] == [0, 0, 1, 81]


def test_the_headers_are_those_of_the_draft() -> None:
    limits = LocalLimits(policy(credential=(10, 20), principal=(7, 10), address=(3, 1)))
    assert limits.policy.header == b'"credential";q=20;w=2, "principal";q=10;w=2, "address";q=1;w=1'
    verdict = limits.decide(limits.asked(someone(), b""), 0, 1)
    assert verdict.header == b'"address";r=0;t=1'
    again = limits.decide(limits.asked(someone(), b""), 0, 1)
    assert (again.header, again.error().retry_after_s) == (b'"address";r=0;t=1', 1)
    assert again.error().values == {"limit": "address", "retry_after_s": 1}


def test_what_is_left_of_a_book_is_told_only_to_whom_it_refuses() -> None:
    limits = LocalLimits(policy(book=(1, 2)))
    asked = limits.asked(someone(), b"")
    assert limits.decide(asked, 0, 1).limit != "book"
    assert limits.decide(asked, 0, 1).limit != "book"
    assert limits.decide(asked, 0, 1).limit == "book"


async def test_a_right_credential_passes_however_often_others_at_its_address_failed() -> None:
    limits = LocalLimits(policy(failures=(1, 3)))
    peer = peer_key("192.0.2.1")
    assert [(await limits.failed(peer, 0)).allowed for _ in range(4)] == [True, True, True, False]
    assert limits.is_suspect(peer, 0)
    assert not limits.is_suspect(peer_key("192.0.2.2"), 0)
    assert (await limits.judge(someone(), peer, 0)).allowed
    assert not limits.is_suspect(peer, SECOND)


def test_nodes_that_cannot_ask_one_another_let_through_as_much_together() -> None:
    whole = policy(credential=(1_000, 2_000), failures=(1, 2))
    part = whole.shared(4)
    assert (part.credential.rate, part.credential.burst) == (250, 500)
    assert (part.failures.rate, part.failures.burst) == (1, 1), "none at all would lock people out"
    assert part.credential.tolerance_ns == whole.credential.tolerance_ns


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::1%eth1", True),
        ("", "nonsense", True),
    ],
)
def test_whom_an_address_stands_for(one: str, other: str, *, same: bool) -> None:
    assert (peer_key(one) == peer_key(other)) == same
