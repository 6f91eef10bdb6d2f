"""The policies that are shipped say what the roles are documented to be allowed, and nothing else."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qenex.principals import SYSTEM_BOOK, Action, Principal, Role
from qenex.services.access import Account, Key, Party, Target, Transfer
from qenex.services.access.rules.questions import KINDS
from tests.unit.services.access.making import BOOK, EUR, Heard, access
from tests.unit.services.access.roles import may

if TYPE_CHECKING:
    from qenex.services.access import Access

ROOT = Path(__file__).parents[4]
HEARD = Heard()
OTHER = b"another book    "
PARTIES = (0, 7, 8)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Access:
    return access(tmp_path_factory.mktemp("books"), HEARD)


def targets() -> list[Target]:
    whats: list[Account | Party | Transfer | Key | None] = [None, Party(7), Party(8)]
    whats += [Account(5, party=party, code=1, ledger=EUR) for party in PARTIES]
    whats += [Transfer(Account(1, d, 1), Account(2, c, 1), EUR, 5) for d, c in product(PARTIES, PARTIES)]
    whats += [Key(holder, live) for holder, live in product(("usr_1", "usr_2"), (True, False))]
    return [Target(book, what, live) for book, what, live in product((BOOK, SYSTEM_BOOK), whats, (True, False))]


def check(shipped: Access, principal: Principal, action: Action, target: Target) -> None:
    decision = shipped.decide(principal, action, target)
    assert decision.allowed == may(principal, action, target), (principal, action, target, decision)
    assert len(decision.digest) == 32
    assert decision.reason
    assert not HEARD.complaints


@pytest.mark.parametrize("role", Role)
def test_each_role_may_do_what_the_model_says(shipped: Access, role: Role) -> None:
    homes, parties, lives = (BOOK, SYSTEM_BOOK, OTHER), (None, 0, 7), (True, False)
    for home, party, live in product(homes, parties, lives):
        who = Principal(home, "usr_1", "user", frozenset({role}), "ses_1", party=party, is_live=live)
        for action, target in product(Action, targets()):
            check(shipped, who, action, target)


@settings(max_examples=400, deadline=None)
@given(
    roles=st.frozensets(st.sampled_from(Role)),
    scopes=st.none() | st.frozensets(st.sampled_from(Action)),
    kind=st.sampled_from(["owner", "user", "service", "customer"]),
    party=st.sampled_from([None, 0, 7, 8]),
    home=st.sampled_from([BOOK, SYSTEM_BOOK]),
    live=st.booleans(),
    action=st.sampled_from(Action),
    target=st.sampled_from(targets()),
)
def test_roles_add_up_and_scopes_take_away(
    shipped: Access,
    roles: frozenset[Role],
    scopes: frozenset[Action] | None,
    kind: str,
    party: int | None,
    home: bytes,
    live: bool,  # noqa: FBT001  # drawn by name
    action: Action,
    target: Target,
) -> None:
    who = Principal(home, "usr_1", kind, roles, "ses_1", party=party, scopes=scopes, is_live=live)  # type: ignore[arg-type]
    check(shipped, who, action, target)


def test_an_action_that_there_is_not_is_denied(shipped: Access) -> None:
    who = Principal(BOOK, "owner", "owner", frozenset({Role.OWNER}), "owner")
    decision = shipped.decide(who, "ledger:burn", Target(BOOK))  # type: ignore[arg-type]
    assert not decision.allowed
    assert "there is no action ledger:burn" in decision.reason


def test_the_schema_has_every_action_with_its_kinds() -> None:
    schema = (ROOT / "src/qenex/policies/schema.cedarschema").read_text(encoding="utf-8")
    text = re.sub(r"//.*", "", schema)
    found = {}
    for names, kinds in re.findall(
        r'action ("[^;]*?) in \["\w+"\]\s*appliesTo \{[^;]*?resource: ([^{]*?), context', text
    ):
        for name in re.findall(r'"([^"]+)"', names):
            found[name] = frozenset(re.findall(r"\w+", kinds))
    assert found == {action.value: kinds for action, kinds in KINDS.items()}
    assert set(found) == set(Action)
    groups = dict(re.findall(r'"(\w+:\w+)"[^;]*? in \["(\w+)"\]', text))
    assert all(name.endswith(f":{group}") for name, group in groups.items())


def test_the_guide_has_the_table_of_the_model() -> None:
    guide = (ROOT / "docs/guides/access.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+:\w+)` \| (.*) \|$", guide, re.MULTILINE)
    assert [name for name, _ in rows] == [action.value for action in Action]
    header = next(line for line in guide.splitlines() if line.startswith("| action |"))
    roles = [cell.strip() for cell in header.strip("|").split("|")][1:]
    assert roles == list(Role)
    for name, cells in rows:
        for role, cell in zip(roles, (cell.strip() for cell in cells.split("|")), strict=True):
            who = Principal(BOOK, "usr_1", "user", frozenset({Role(role)}), "ses_1", party=7)
            system = Principal(SYSTEM_BOOK, "usr_1", "user", frozenset({Role(role)}), "ses_1")
            action = Action(name)
            allowed = {
                (target.is_live, may(who if target.book == BOOK else system, action, target)) for target in targets()
            }
            said = {"no": {False}, "tests": {False}}.get(cell, {True})
            assert any(ok for live, ok in allowed if live) == (True in said), (name, role, cell)
            assert any(ok for live, ok in allowed if not live) == (cell != "no"), (name, role, cell)
