"""Bands, tests of policies, and capabilities are computed as they are documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qenex.assets import Assets
from qenex.errors import InvalidPolicies, PolicyTestsFailed
from qenex.principals import Action, Role
from qenex.services.access import Ceiling, Phase, Target
from qenex.services.access.messages import PolicyFile
from qenex.services.access.rules.bands import Bands, read_bands
from qenex.services.access.rules.capabilities import OPERATIONS
from tests.unit.services.access.making import (
    BOOK,
    EUR,
    LARGE,
    LARGE_TEST,
    WRITE,
    Heard,
    access,
    person,
    transfer,
    write,
)

ROOT = Path(__file__).parents[4]
JPY, QXC = 392, 1000


@given(st.lists(st.integers(0, 1 << 128), unique=True, max_size=5).map(sorted), st.integers(0, 1 << 128))
def test_a_band_is_how_many_thresholds_an_amount_exceeds(thresholds: list[int], amount: int) -> None:
    bands = Bands(len(thresholds), {EUR: tuple(thresholds)})
    band = bands.of(EUR, amount)
    assert band == sum(amount > threshold for threshold in thresholds)
    ceiling = bands.ceiling(EUR, band)
    assert ceiling is None if band == len(thresholds) else amount <= ceiling
    assert bands.of(QXC, amount) == len(thresholds)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[transfer]\nEUR = [", "bands.toml:2: no TOML"),
        ('[month]\nEUR = ["1"]', "bands.toml:1: there is no table month; there are transfer, day"),
        ("day = 3", "bands.toml:1: day is a table of amounts by asset"),
        ('[transfer]\n\nEURO = ["1"]', "bands.toml:3: [transfer] no asset has the code or number 'EURO'"),
        ("[transfer]\nEUR = [1]", 'bands.toml:2: [transfer] EUR is a list of amounts in quotes: ["1000", "5000"]'),
        ('[transfer]\nEUR = "1"', "bands.toml:2: [transfer] EUR is a list"),
        ('[transfer]\nEUR = ["1.001"]', "bands.toml:2: [transfer] amount '1.001' cannot be used"),
        ('[day]\nEUR = ["5", "5"]', "bands.toml:2: [day] the amounts of EUR must rise"),
        (
            '[day]\nEUR = ["5"]\nUSD = ["5", "6"]',
            "bands.toml:1: [day] every asset must have as many amounts as the others",
        ),
    ],
)
def test_bands_that_cannot_be_used_are_refused_with_their_line(text: str, said: str) -> None:
    with pytest.raises(InvalidPolicies) as caught:
        read_bands(PolicyFile("bands.toml", text), Assets())
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'expect = "allow"',
            'expect = "maybe"',
            "large.test.toml:2: test 1: Invalid enum value 'maybe' - at `$.expect`",
        ),
        (
            'expect = "deny"\n',
            'expect = "deny"\nexpected = 1\n',
            "large.test.toml:9: test 2: Object contains unknown field",
        ),
        ('"operator"', '"boss"', "large.test.toml:2: test 1: Invalid enum value 'boss' - at `$.principal.roles[0]`"),
        ('"transfers:write"', '"transfers:burn"', "large.test.toml:2: test 1: Invalid enum value 'transfers:burn'"),
        (
            'kind = "transfer"',
            'kind = "money"',
            "large.test.toml:2: test 1: Invalid value 'money' - at `$.resource.kind`",
        ),
        ('"10000"', '"1e4"', "large.test.toml:2: an operator moves 10,000: amount '1e4'"),
        (
            'kind = "transfer"',
            'kind = "transfer", asset = "EURO"',
            "large.test.toml:2: an operator moves 10,000: no asset",
        ),
        (
            '"transfer"',
            '"transfer", debit = { party = "-1" }',
            "large.test.toml:2: an operator moves 10,000: party '-1' is no",
        ),
        ("[[test]]", "[[tests]]", "large.test.toml:1: a file of tests has [[test]] tables and nothing else"),
        ("[[test]]", "[[test", "large.test.toml:2: no TOML"),
    ],
)
def test_a_test_that_is_not_understood_is_refused_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    write(tmp_path, large=LARGE, large_test=LARGE_TEST.replace(old, new))
    with pytest.raises(InvalidPolicies) as caught:
        access(tmp_path).load(BOOK)
    assert said in str(caught.value)


def test_a_policy_that_no_test_shows_deciding_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, large=LARGE, large_test=LARGE_TEST.replace('policy = "no-large-transfers"', ""))
    with pytest.raises(PolicyTestsFailed) as caught:
        access(tmp_path).load(BOOK)
    assert str(caught.value) == (
        f"{folder}/large.cedar:2: policy no-large-transfers: no test shows that it decides; one has to name it:"
        ' policy = "no-large-transfers"'
    )
    write(tmp_path, large_test=LARGE_TEST.replace("no-large-transfers", "operator-works-the-ledger"))
    with pytest.raises(PolicyTestsFailed, match="expected operator-works-the-ledger to decide, but: transfers beyond"):
        access(tmp_path).load(BOOK)


def test_the_capability_of_an_operator_has_every_operation_of_the_ledger(tmp_path: Path) -> None:
    capability = access(tmp_path).capability(person(Role.OPERATOR))
    assert capability is not None
    assert capability.book == BOOK
    assert capability.operations == {name for names in OPERATIONS.values() for name in names} | {"get_status"}
    assert capability.other == Ceiling(None, None)
    assert set(capability.ceilings.values()) == {Ceiling(None, None)}
    assert not capability.withheld
    assert len(capability.digest) == 32


def test_an_auditor_only_reads_and_a_scope_narrows_it(tmp_path: Path) -> None:
    one = access(tmp_path)
    auditor = one.capability(person(Role.AUDITOR))
    assert auditor is not None
    assert auditor.actions == {Action.ACCOUNTS_READ, Action.TRANSFERS_READ, Action.EVENTS_READ}
    assert (auditor.ceilings, auditor.other) == ({}, None)
    assert "no policy lets the role auditor" in auditor.withheld[WRITE]
    narrow = one.capability(person(Role.OPERATOR, scopes=frozenset({WRITE})))
    assert narrow is not None
    assert narrow.operations == {"create_transfers", "get_status"}
    test_credential = one.capability(person(Role.OPERATOR, is_live=False))
    assert test_credential is not None
    assert WRITE not in test_credential.actions
    in_tests = one.capability(person(Role.OPERATOR, is_live=False), is_live=False)
    assert in_tests is not None
    assert WRITE in in_tests.actions


def test_ceilings_are_where_the_policies_end(tmp_path: Path) -> None:
    days = LARGE.replace("no-large", "no-busy").replace("context.band >= 2", "context.day_band >= 1")
    test = LARGE_TEST.replace('"10000"', '"10000", day = "10000"').replace('"10000.01"', '"10000.01", day = "1"')
    test += (
        LARGE_TEST.replace("no-large", "no-busy")
        .replace('"10000"', '"1", day = "10000"')
        .replace('"10000.01"', '"1", day = "10000.01"')
    )
    write(tmp_path, large=LARGE + days, large_test=test)
    heard = Heard()
    one = access(tmp_path, heard)
    capability = one.capability(person(Role.OPERATOR))
    assert capability is not None
    assert capability.ceilings[EUR] == Ceiling(10_000_00, 10_000_00)
    assert capability.ceilings[JPY] == Ceiling(1_500_000, 1_500_000)
    assert QXC not in capability.ceilings, "an asset without bands is in the highest, which is forbidden"
    assert capability.other is None
    assert one.capability(person(Role.OPERATOR), [EUR]).ceilings == {EUR: Ceiling(10_000_00, 10_000_00)}  # type: ignore[union-attr]
    assert not heard.complaints
    owner = one.capability(person(Role.OWNER))
    assert owner is not None
    assert owner.other == Ceiling(None, None)


def test_a_policy_of_one_phase_counts_for_all_at_the_binary_door(tmp_path: Path) -> None:
    rule = LARGE.replace("context.band >= 2", 'context.phase == "post" && context.band >= 1')
    test = LARGE_TEST.replace('amount = "10000.01"', 'amount = "10000", phase = "post"')
    write(tmp_path, large=rule, large_test=test)
    capability = access(tmp_path).capability(person(Role.OPERATOR), [EUR])
    assert capability is not None
    assert capability.ceilings == {EUR: Ceiling(1_000_00, None)}


def test_what_depends_on_single_accounts_is_withheld(tmp_path: Path) -> None:
    one = access(tmp_path)
    customer = one.capability(person(Role.CUSTOMER, party=7, kind="customer"))
    assert customer is not None
    assert customer.operations == {"get_status"}
    assert "one by one" in customer.withheld[WRITE]
    rule = LARGE.replace("context.band >= 2", "resource.debit.code == 9")
    write(tmp_path, large=rule, large_test=LARGE_TEST.replace('amount = "10000.01"', "debit = { code = 9 }"))
    one.load(BOOK)
    operator = one.capability(person(Role.OPERATOR))
    assert operator is not None
    assert WRITE not in operator.actions
    assert Action.ACCOUNTS_WRITE in operator.actions


def test_an_asset_may_be_closed_to_a_role(tmp_path: Path) -> None:
    rule = LARGE.replace("context.band >= 2", 'resource.asset == "JPY"')
    rule += '@id("no-yen") forbid (principal in Role::"operator", action == Action::"accounts:write", resource)'
    rule += 'when { resource.asset == "JPY" };'
    test = LARGE_TEST.replace('amount = "10000.01"', 'asset = "JPY"')
    test += (
        LARGE_TEST.replace("transfers:write", "accounts:write")
        .replace("no-large-transfers", "no-yen")
        .replace('kind = "transfer", amount = "10000"', 'kind = "account"')
        .replace('kind = "transfer", amount = "10000.01"', 'kind = "account", asset = "JPY"')
    )
    write(tmp_path, large=rule, large_test=test)
    capability = access(tmp_path).capability(person(Role.OPERATOR))
    assert capability is not None
    assert JPY not in capability.ceilings
    assert capability.ceilings[EUR] == Ceiling(None, None)
    assert Action.ACCOUNTS_WRITE not in capability.actions, "the engine does not tell assets of accounts apart"


@given(st.data())
def test_a_capability_allows_nothing_that_the_policies_do_not(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    forbidden = data.draw(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=4, unique=True))
    amounts = ("1", "1000.01", "10000.01", "100000.01", "1000000.01")
    days = ("1", "10000.01", "100000.01", "1000000.01", "10000000.01")
    rules, tests = [], []
    for at, (band, day) in enumerate(forbidden):
        condition = f"context.band == {band} && context.day_band == {day}"
        rules.append(LARGE.replace("no-large-transfers", f"rule-{at}").replace("context.band >= 2", condition))
        denied = (
            LARGE_TEST.partition("[[test]]")[2].partition("[[test]]")[2].replace("no-large-transfers", f"rule-{at}")
        )
        tests.append("[[test]]" + denied.replace('"10000.01"', f'"{amounts[band]}", day = "{days[day]}"'))
    folder = tmp_path_factory.mktemp("drawn")
    if rules:
        write(folder, drawn="".join(rules), drawn_test="\n".join(tests))
    one = access(folder)
    who = person(Role.OPERATOR)
    capability = one.capability(who, [EUR])
    assert capability is not None
    ceiling = capability.ceilings.get(EUR)
    assert (ceiling is None) == ((0, 0) in forbidden)
    minor, days_minor = ([round(float(text) * 100) for text in texts] for texts in (amounts, days))
    for amount in minor:
        for day in days_minor:
            within = ceiling is not None and (
                amount <= (ceiling.transfer_minor or amount) and day <= (ceiling.day_minor or day)
            )
            for phase in Phase if within else ():
                what = transfer(amount, day_minor=day, phase=phase).what
                assert one.decide(who, WRITE, Target(BOOK, what)).allowed


def test_where_amount_and_day_cut_each_other_short_the_day_gives_way(tmp_path: Path) -> None:
    rule = LARGE.replace("context.band >= 2", "context.band >= 2 && context.day_band >= 1")
    test = LARGE_TEST.replace('amount = "10000"', 'amount = "1", day = "1"')
    test = test.replace('amount = "10000.01"', 'amount = "10000.01", day = "10000.01"')
    write(tmp_path, large=rule, large_test=test)
    capability = access(tmp_path).capability(person(Role.OPERATOR), [EUR])
    assert capability is not None
    assert capability.ceilings == {EUR: Ceiling(None, 10_000_00)}


def test_operations_are_those_of_the_protocol() -> None:
    section = (ROOT / "spec/protocol.md").read_text(encoding="utf-8").split("## 4.")[1].split("\n## ")[0]
    known = set(re.findall(r"^\| \d+ \| (\w+) \|", section, re.MULTILINE))
    named = [name for names in OPERATIONS.values() for name in names]
    assert len(named) == len(set(named))
    assert known - set(named) == {"get_status", "get_metrics", "backup", "confirm_clock"}
    assert set(named) <= known
