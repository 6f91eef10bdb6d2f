"""Policies come into force whole and tested, or not at all; what cannot be evaluated is denied, and alarms."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from qenex.errors import InvalidPolicies, PolicyTestsFailed
from qenex.kernel import to_address
from qenex.principals import Action, Role
from qenex.services.access import Account, Target, Transfer
from qenex.services.access.rules import policy_set
from tests.unit.services.access.making import (
    BOOK,
    EUR,
    LARGE,
    LARGE_TEST,
    READ,
    WRITE,
    Heard,
    access,
    person,
    transfer,
    write,
)

if TYPE_CHECKING:
    from pathlib import Path

OPERATOR = person(Role.OPERATOR)


def test_forbid_wins_and_says_why(tmp_path: Path) -> None:
    write(tmp_path, large=LARGE, large_test=LARGE_TEST)
    decide = access(tmp_path).decide
    small, large = decide(OPERATOR, WRITE, transfer(10_000_00)), decide(OPERATOR, WRITE, transfer(10_000_01))
    assert (small.allowed, small.policies) == (True, ("operator-works-the-ledger",))
    assert (large.allowed, large.policies) == (False, ("no-large-transfers",))
    assert large.reason == "transfers beyond 10,000 need an approval"


def test_an_asset_without_bands_is_in_the_highest(tmp_path: Path) -> None:
    write(tmp_path, large=LARGE, large_test=LARGE_TEST)
    decide = access(tmp_path).decide
    assert not decide(OPERATOR, WRITE, transfer(1, ledger=1000)).allowed
    assert not decide(OPERATOR, WRITE, transfer(1, ledger=5000)).allowed


def test_amounts_beyond_64_bits_are_compared_as_they_are(tmp_path: Path) -> None:
    write(tmp_path, large=LARGE, large_test=LARGE_TEST)
    assert not access(tmp_path).decide(OPERATOR, WRITE, transfer((1 << 128) - 1)).allowed


def test_policies_of_one_book_are_not_anothers(tmp_path: Path) -> None:
    write(tmp_path, large=LARGE, large_test=LARGE_TEST)
    other = bytes(15) + b"\1"
    everyone = access(tmp_path)
    who = person(Role.OPERATOR, book=other)
    assert everyone.decide(who, WRITE, Target(other, transfer(10**9).what)).allowed
    assert not everyone.decide(OPERATOR, WRITE, transfer(10**9)).allowed
    assert everyone.policies(BOOK).digest != everyone.policies(other).digest


def test_a_condition_that_errs_is_a_denial_and_an_alarm(tmp_path: Path) -> None:
    rule = """
    @id("overflows")
    forbid (principal, action == Action::"transfers:write", resource)
    when { context.band * 9223372036854775807 > 5 && context.band > 0 };
    """
    test = LARGE_TEST.replace("no-large-transfers", "overflows").replace('"10000"', '"1000"')
    heard = Heard()
    one = access(tmp_path, heard)
    write(tmp_path, rules=rule, rules_test=test)
    with pytest.raises(PolicyTestsFailed, match=r"and not a cent more: transfers:write was denied: .*overflow"):
        one.load(BOOK)
    assert not one.decide(OPERATOR, WRITE, transfer(1)).allowed, "there are no policies at all"
    # Where no test has met it, it happens at a request: the permit of the operator holds, and does not count.
    write(tmp_path, rules=rule, rules_test=test.replace("10000.01", "1000.01"))
    one.load(BOOK)
    heard.complaints.clear()
    assert one.decide(OPERATOR, WRITE, transfer(100)).allowed
    for _ in range(2):
        decision = one.decide(OPERATOR, WRITE, transfer(10**7))
        assert (decision.allowed, decision.policies) == (False, ())
    assert len(heard.complaints) == 2
    assert "overflow" in heard.complaints[0]


def test_a_set_that_fails_its_tests_leaves_the_old_one_in_force(tmp_path: Path) -> None:
    write(tmp_path, large=LARGE, large_test=LARGE_TEST)
    one = access(tmp_path)
    digest = one.load(BOOK)
    folder = write(tmp_path, large=LARGE.replace(">= 2", ">= 3"))
    with pytest.raises(PolicyTestsFailed, match=rf"{folder}/large\.test\.toml:9: and not a cent more: expected deny"):
        one.load(BOOK)
    assert one.policies(BOOK).digest == digest
    assert not one.decide(OPERATOR, WRITE, transfer(10_000_01)).allowed
    write(tmp_path, large="permit (principal, action, resource")
    with pytest.raises(InvalidPolicies, match=r"large\.cedar:1: no Cedar policy"):
        one.load(BOOK)
    assert one.policies(BOOK).digest == digest
    write(tmp_path, large=LARGE.replace('"operator"', '"approver"').replace(">= 2", ">= 2 && context.live"))
    with pytest.raises(PolicyTestsFailed):
        one.load(BOOK)
    write(tmp_path, large=LARGE + "// as before\n")
    assert one.load(BOOK) != digest, "another text is another version"


def test_a_book_whose_policies_were_never_good_is_closed_and_alarms(tmp_path: Path) -> None:
    write(tmp_path, large="permit (principal, action, resource);")
    heard = Heard()
    one = access(tmp_path, heard)
    for _ in range(2):
        decision = one.decide(person(Role.OWNER), READ, Target(BOOK))
        assert (decision.allowed, decision.reason) == (False, "the policies of this book cannot be used")
    assert len(heard.complaints) == 2
    assert "every policy has an @id" in heard.complaints[0]
    assert one.capability(person(Role.OWNER)) is None
    with pytest.raises(InvalidPolicies):
        one.policies(BOOK)
    (tmp_path / BOOK.hex() / "policies" / "large.cedar").unlink()
    one.load(BOOK)
    assert one.decide(person(Role.OWNER), READ, Target(BOOK)).allowed
    one.forget(BOOK)
    assert one.decide(person(Role.OWNER), READ, Target(BOOK)).allowed


def test_books_without_policies_of_their_own_share_one_set(tmp_path: Path) -> None:
    one = access(tmp_path)
    assert one.policies(BOOK) is one.policies(bytes(15) + b"\1")


def test_a_decision_is_remembered_as_long_as_nothing_that_counts_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, large=LARGE, large_test=LARGE_TEST)
    one = access(tmp_path)
    first = one.decide(OPERATOR, WRITE, transfer(1))
    assert one.decide(person(Role.OPERATOR, id="usr_2"), WRITE, transfer(2, debit=9, credit=3)) is first
    assert one.decide(OPERATOR, WRITE, transfer(1_000_01)) is not first, "another band"
    assert one.decide(person(Role.OPERATOR, is_live=False), WRITE, transfer(1)).allowed is False
    assert one.decide(OPERATOR, WRITE, transfer(1)) is first
    monkeypatch.setattr(policy_set, "REMEMBERED_MAX", 2)
    for amount in (1, 1_000_01, 10_000_01, 100_000_01, 1_000_000_01):
        one.decide(OPERATOR, WRITE, transfer(amount))
        assert len(one.policies(BOOK)._remembered) <= 4
    assert one.decide(OPERATOR, WRITE, transfer(1)) == first


def test_accounts_are_looked_at_only_where_a_policy_does(tmp_path: Path) -> None:
    one = access(tmp_path)
    assert not one.looks_at_accounts(OPERATOR, WRITE, transfer())
    assert one.decide(OPERATOR, WRITE, Target(BOOK, Transfer(Account(1), Account(2), EUR, 1))).allowed
    assert one.looks_at_accounts(person(Role.CUSTOMER, party=7), READ, transfer())
    assert not one.looks_at_accounts(person(Role.CUSTOMER, party=7), READ, Target(BOOK))


def test_a_door_that_does_not_say_what_a_policy_asks_is_refused(tmp_path: Path) -> None:
    heard = Heard()
    one = access(tmp_path, heard)
    customer = person(Role.CUSTOMER, party=7)
    unknown = Target(BOOK, Transfer(Account(1, party=7), Account(2), EUR, 1))
    assert not one.decide(customer, READ, unknown).allowed
    assert heard.complaints == [
        "transfers:read was denied: a policy asks whose the account is, and the door has not said"
    ]
    days = LARGE.replace("context.band", "context.day_band")
    test = LARGE_TEST.replace('amount = "10000"', 'amount = "1", day = "100000"')
    test = test.replace('amount = "10000.01"', 'amount = "1", day = "100000.01"')
    write(tmp_path, days=days, days_test=test)
    one.load(BOOK)
    assert not one.decide(OPERATOR, WRITE, transfer(1)).allowed
    assert one.decide(OPERATOR, WRITE, transfer(1, day_minor=100_000_00)).allowed
    assert not one.decide(OPERATOR, WRITE, transfer(1, day_minor=100_000_01)).allowed
    kinds = LARGE.replace("context.band >= 2", "resource.debit.code == 5")
    test = LARGE_TEST.replace('amount = "10000.01"', "debit = { code = 5 }")
    write(tmp_path, days=kinds, days_test=test)
    one.load(BOOK)
    assert not one.decide(OPERATOR, WRITE, Target(BOOK, Transfer(Account(1, party=0), Account(2), EUR, 1))).allowed
    assert "what kind of account it is" in heard.complaints[-1]


def test_the_digest_can_be_computed_again_from_files_and_facts(tmp_path: Path) -> None:
    write(tmp_path, large=LARGE, large_test=LARGE_TEST)
    one = access(tmp_path)
    source = one.files.read(BOOK)
    texts = sorted(sha256(file.text.encode()).digest() for file in (source.schema, source.bands, *source.policies))
    version = sha256(b"qenex-policies-v1" + b"".join(texts)).digest()
    assert one.load(BOOK) == version
    question = json.dumps(
        [
            "transfers:write",
            "Transfer",
            ["operator"],
            {"context.band": 1, "context.live": True, "principal.live": True},
            True,
        ],
        separators=(",", ":"),
    )
    expected = sha256(b"qenex-decision-v1" + version + question.encode()).digest()
    assert one.decide(OPERATOR, WRITE, transfer(5_000_00)).digest == expected


def test_many_are_decided_as_one(tmp_path: Path) -> None:
    write(tmp_path, large=LARGE, large_test=LARGE_TEST)
    one = access(tmp_path)
    small, middle, large = transfer(1), transfer(5_000_00), transfer(10**9)
    alone = one.decide(OPERATOR, WRITE, small)
    assert one.decide_all(OPERATOR, WRITE, [small, transfer(2)]) == alone
    both = one.decide_all(OPERATOR, WRITE, [small, middle, small])
    assert both.allowed
    assert both.digest not in (alone.digest, one.decide(OPERATOR, WRITE, middle).digest)
    assert one.decide_all(OPERATOR, WRITE, [small, large, middle]) == one.decide(OPERATOR, WRITE, large)
    assert not one.decide_all(OPERATOR, WRITE, []).allowed


def test_a_customer_moves_its_own_money_where_the_book_lets_it(tmp_path: Path) -> None:
    rule = """
    @id("customers-pay")
    permit (principal in Role::"customer", action == Action::"transfers:write", resource)
    when { principal has party && resource.debit has party && resource.debit.party == principal.party &&
           context.phase == "single" && context.band == 0 };
    """
    test = """
    [[test]]
    name = "a customer pays"
    principal = { kind = "customer", roles = ["customer"], party = "7" }
    action = "transfers:write"
    resource = { kind = "transfer", debit = { party = "7" }, amount = "999" }
    expect = "allow"
    policy = "customers-pay"
    """
    write(tmp_path, pay=rule, pay_test=test)
    one = access(tmp_path)
    customer = person(Role.CUSTOMER, party=7, kind="customer")
    assert one.decide(customer, WRITE, transfer(debit=7)).allowed
    assert not one.decide(customer, WRITE, transfer(debit=8, credit=7)).allowed
    assert not one.decide(customer, WRITE, transfer(debit=0)).allowed
    assert not one.decide(customer, WRITE, transfer(1_000_01)).allowed


def test_one_account_can_be_named(tmp_path: Path) -> None:
    rule = f"""
    @id("vault")
    forbid (principal in Role::"operator", action == Action::"accounts:write", resource == Account::"{to_address(5)}");
    """
    test = """
    [[test]]
    name = "the vault stays as it is"
    principal = { roles = ["operator"] }
    action = "accounts:write"
    resource = { kind = "account", id = "5" }
    expect = "deny"
    policy = "vault"
    """
    write(tmp_path, vault=rule, vault_test=test)
    one = access(tmp_path)
    five, six = (Target(BOOK, Account(number, party=0, code=1, ledger=EUR)) for number in (5, 6))
    assert not one.decide(OPERATOR, Action.ACCOUNTS_WRITE, five).allowed
    assert one.decide(OPERATOR, Action.ACCOUNTS_WRITE, six).allowed


def test_an_account_of_party_0_has_no_party(tmp_path: Path) -> None:
    rule = LARGE.replace("context.band >= 2", "!(resource.debit has party)")
    test = LARGE_TEST.replace('amount = "10000"', 'debit = { party = "7" }').replace(
        'amount = "10000.01"', 'amount = "1"'
    )
    write(tmp_path, large=rule, large_test=test)
    one = access(tmp_path)
    assert one.decide(OPERATOR, WRITE, transfer(debit=7)).allowed
    assert not one.decide(OPERATOR, WRITE, transfer(debit=0)).allowed
