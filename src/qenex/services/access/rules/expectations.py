"""Tests of policies: files beside them that say who may do what, and which policy decides it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from qenex.errors import InvalidAmount, InvalidPolicies, UnknownAsset
from qenex.principals import SYSTEM_BOOK, Action, Principal, Role, Strength
from qenex.services.access.messages import Account, Complaint, Key, Outcome, Party, Phase, Target, Transfer
from qenex.services.access.rules.documents import read_toml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qenex.assets import Assets
    from qenex.services.access.messages import PolicyFile, PolicySource
    from qenex.services.access.rules.policy_set import PolicySet

_BOOK: Final = b"a book of tests.".ljust(16)
_PARTY_MAX: Final = (1 << 128) - 1


class _Strict(msgspec.Struct, forbid_unknown_fields=True):
    """A key that there is not is a mistake, and a mistake in a test can hide one in a policy."""


class _Principal(_Strict):
    id: str = "usr_1"
    kind: Literal["owner", "user", "service", "customer"] = "user"
    roles: frozenset[Role] = frozenset()
    party: str | None = None
    scopes: frozenset[Action] | None = None
    strength: Strength = Strength.CREDENTIAL
    live: bool = True


class _Account(_Strict):
    id: str = "1"
    party: str = "0"
    code: int = 1


class _Installation(_Strict, tag="installation", tag_field="kind"):
    pass


class _Book(_Strict, tag="book", tag_field="kind"):
    pass


class _Party(_Strict, tag="party", tag_field="kind"):
    party: str


class _OneAccount(_Strict, tag="account", tag_field="kind"):
    id: str = "1"
    party: str = "0"
    code: int = 1
    asset: str = "EUR"


class _Transfer(_Strict, tag="transfer", tag_field="kind"):
    debit: _Account = msgspec.field(default_factory=_Account)
    credit: _Account = msgspec.field(default_factory=lambda: _Account(id="2"))
    asset: str = "EUR"
    amount: str = "1"
    phase: Phase = Phase.SINGLE
    day: str | None = None


class _Key(_Strict, tag="key", tag_field="kind"):
    holder: str
    live: bool = True


class _Context(_Strict):
    live: bool = True


class _Test(_Strict):
    name: str
    principal: _Principal
    action: Action
    resource: _Installation | _Book | _Party | _OneAccount | _Transfer | _Key
    expect: Literal["allow", "deny"]
    context: _Context = msgspec.field(default_factory=_Context)
    policy: str | None = None


class _File(_Strict):
    test: list[_Test]


def run_tests(policies: PolicySet, source: PolicySource, assets: Assets) -> list[Outcome]:
    """Runs every test; the last outcomes are of policies that no test shows deciding.

    Raises:
        InvalidPolicies: a file is no file of tests, with the line of what is wrong.
    """
    outcomes: list[Outcome] = []
    shown: set[str] = set()
    for file in source.tests:
        for line, test in _read(file):
            complaint, decided = _run(policies, test, file, line, assets)
            shown |= decided
            outcomes.append(Outcome(test.name, file.name, line, complaint))
    for policy in policies.policies.values():
        if policy.file in source.tested and policy.id not in shown:
            complaint = f'no test shows that it decides; one has to name it: policy = "{policy.id}"'
            outcomes.append(Outcome(f"policy {policy.id}", policy.file, policy.line, complaint))
    return outcomes


def _run(policies: PolicySet, test: _Test, file: PolicyFile, line: int, assets: Assets) -> tuple[str, set[str]]:
    """What is wrong, and the policies that the test names and that decided."""
    try:
        principal, target = _principal(test), _target(test, assets)
    except (ValueError, InvalidAmount, UnknownAsset) as error:
        raise InvalidPolicies([Complaint(file.name, line, f"{test.name}: {error}")]) from error
    decision, failed = policies.decide(principal, test.action, target)
    if failed:
        return failed, set()
    if decision.allowed != (test.expect == "allow"):
        return f"expected {test.expect}, but: {decision.reason}", set()
    if test.policy is None:
        return "", set()
    if test.policy not in decision.policies:
        return f"expected {test.policy} to decide, but: {decision.reason}", set()
    return "", {test.policy}


def _read(file: PolicyFile) -> Iterator[tuple[int, _Test]]:
    document = read_toml(file)
    lines = [at for at, text in enumerate(file.text.splitlines(), 1) if re.match(r"\s*\[\[\s*test\s*\]\]", text)]
    for at, raw in enumerate(_tables(file, document)):
        line = lines[at] if at < len(lines) else 1
        try:
            yield line, msgspec.convert(raw, _Test)
        except msgspec.ValidationError as error:
            raise InvalidPolicies([Complaint(file.name, line, f"test {at + 1}: {error}")]) from error


def _tables(file: PolicyFile, document: dict[str, Any]) -> list[object]:
    tests = document.get("test")
    if set(document) != {"test"} or not isinstance(tests, list):
        raise InvalidPolicies([Complaint(file.name, 1, "a file of tests has [[test]] tables and nothing else")])
    return tests


def _principal(test: _Test) -> Principal:
    given = test.principal
    return Principal(
        book=SYSTEM_BOOK if isinstance(test.resource, _Installation) else _BOOK,
        id=given.id,
        kind=given.kind,
        roles=given.roles,
        credential="key_of_a_test",
        party=None if given.party is None else _number(given.party, "party"),
        scopes=given.scopes,
        strength=given.strength,
        is_live=given.live,
    )


def _target(test: _Test, assets: Assets) -> Target:
    what, live = test.resource, test.context.live
    if isinstance(what, _Installation):
        return Target(SYSTEM_BOOK, None, live)
    if isinstance(what, _Book):
        return Target(_BOOK, None, live)
    if isinstance(what, _Party):
        return Target(_BOOK, Party(_number(what.party, "party")), live)
    if isinstance(what, _Key):
        return Target(_BOOK, Key(what.holder, what.live), live)
    asset = assets.find(what.asset)
    if isinstance(what, _OneAccount):
        return Target(_BOOK, _account(what, asset.number), live)
    day = None if what.day is None else asset.to_minor(what.day)
    debit, credit = (_account(side, asset.number) for side in (what.debit, what.credit))
    return Target(_BOOK, Transfer(debit, credit, asset.number, asset.to_minor(what.amount), what.phase, day), live)


def _account(given: _Account | _OneAccount, ledger: int) -> Account:
    return Account(_number(given.id, "id"), _number(given.party, "party"), given.code, ledger)


def _number(text: str, name: str) -> int:
    if not re.fullmatch(r"[0-9]{1,39}", text) or int(text) > _PARTY_MAX:
        raise ValueError(f"{name} {text!r} is no number from 0 to 2^128-1 in digits")
    return int(text)
