"""A policy set in force: decides, and remembers what it has decided as long as nothing that counts differs."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

import msgspec

from qenex.principals import Action
from qenex.services.access.messages import Decision
from qenex.services.access.rules.questions import (
    NAMES_ACCOUNTS,
    OF_ACCOUNTS,
    Reader,
    Unknown,
    facts_of,
    kind_of,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qenex.assets import Assets
    from qenex.principals import Principal, Role
    from qenex.services.access.messages import PolicyFacts, PolicySource, Target
    from qenex.services.access.ports import Compiled, Slice, Verdict
    from qenex.services.access.rules.bands import BandTables
    from qenex.services.access.rules.questions import Fact

REMEMBERED_MAX: Final = 65_536
"""Decisions that a set remembers; all are forgotten when there are more."""


def digest_of(source: PolicySource) -> bytes:
    """32 bytes that name a policy set: all of its files but the tests, which decide nothing."""
    files = (source.schema, source.bands, *source.policies)
    texts = sorted(sha256(file.text.encode()).digest() for file in files)
    return sha256(b"qenex-policies-v1" + b"".join(texts)).digest()


class PolicySet:
    """The policies of a book, compiled, with its bands."""

    def __init__(self, compiled: Compiled, bands: BandTables, assets: Assets, digest: bytes) -> None:
        self._compiled, self.bands, self.digest = compiled, bands, digest
        self._reader = Reader(bands, assets)
        self._remembered: dict[tuple[object, ...], Decision] = {}
        self._wanted: dict[tuple[frozenset[str], Action, str], tuple[Slice, tuple[str, ...]]] = {}

    @property
    def policies(self) -> Mapping[str, PolicyFacts]:
        """Every policy by its id."""
        return self._compiled.policies

    def forget(self) -> None:
        """Forgets what was decided; it is evaluated again."""
        self._remembered.clear()

    def powers(self, roles: frozenset[Role]) -> frozenset[Action]:
        """Every action that some policy can allow to somebody with these roles, whatever else is asked."""
        names = frozenset(role.value for role in roles)
        return frozenset(action for action in Action if self._compiled.slice(names, action).permits)

    def facts(self, principal: Principal, action: Action, kind: str) -> tuple[str, ...]:
        """What the answer can depend on, beside action, roles and kind."""
        return self._slice(principal, action, kind)[1]

    def looks_at_accounts(self, principal: Principal, action: Action, kind: str) -> bool:
        """Whether a policy that can apply asks whose an account is or what kind of account it is."""
        return not OF_ACCOUNTS.isdisjoint(self.facts(principal, action, kind))

    def names_accounts(self, principal: Principal, action: Action, kind: str) -> bool:
        """Whether a policy that can apply tells accounts of the same asset apart, by whatever."""
        return not NAMES_ACCOUNTS.isdisjoint(self.facts(principal, action, kind))

    def decide(self, principal: Principal, action: Action, target: Target) -> tuple[Decision, str]:
        """The decision, and a complaint for the alarm where it could not be made; it is a denial then."""
        refused = refusal(principal, action, target)
        if refused:
            return self._denial(action, refused), ""
        kind = kind_of(target)
        applicable, names = self._slice(principal, action, kind)
        try:
            values = tuple([self._reader.read(name, principal, target) for name in names])
        except Unknown as unknown:
            complaint = f"{action} was denied: a policy asks {unknown}, and the door has not said"
            return self._denial(action, "the policies cannot be asked"), complaint
        key = (principal.roles, action, kind, values)
        known = self._remembered.get(key)
        if known is not None:
            return known, ""
        facts = {name: value for name, value in zip(names, values, strict=True) if value is not None}
        verdict = applicable.ask(principal.roles, {"resource": kind, **facts})
        if verdict.errors:
            complaint = f"{action} was denied: {'; '.join(verdict.errors)}"
            return self._denial(action, "the policies could not be evaluated"), complaint
        decision = self._decision(principal, action, kind, facts, verdict)
        if len(self._remembered) >= REMEMBERED_MAX:
            self._remembered.clear()
        self._remembered[key] = decision
        return decision, ""

    def _slice(self, principal: Principal, action: Action, kind: str) -> tuple[Slice, tuple[str, ...]]:
        found = self._wanted.get((principal.roles, action, kind))
        if found is None:
            applicable = self._compiled.slice(frozenset(role.value for role in principal.roles), action)
            looked_at = tuple(applicable.facts)
            names = [
                name
                for name in sorted(facts_of(action, kind))
                if any(name == path or name.startswith(f"{path}.") for path in looked_at)
            ]
            found = applicable, tuple(names)
            self._wanted[principal.roles, action, kind] = found
        return found

    def _decision(
        self, principal: Principal, action: Action, kind: str, facts: Mapping[str, Fact], verdict: Verdict
    ) -> Decision:
        question = [action, kind, sorted(principal.roles), facts, verdict.allowed]
        text = msgspec.json.encode(question, order="sorted")
        digest = sha256(b"qenex-decision-v1" + self.digest + text).digest()
        policies = tuple(sorted(verdict.policies))
        if verdict.allowed:
            reason = f"allowed by {', '.join(policies)}"
        elif policies:
            reasons = {self.policies[name].reason or f"forbidden by the policy {name}" for name in policies}
            reason = "; ".join(sorted(reasons))
        else:
            roles = " or ".join(sorted(principal.roles))
            reason = f"no policy lets the role {roles} do {action} here"
        return Decision(verdict.allowed, policies, digest, reason)

    def _denial(self, action: Action, reason: str) -> Decision:
        digest = sha256(b"qenex-decision-v1" + self.digest + f"{action}: {reason}".encode()).digest()
        return Decision(allowed=False, policies=(), digest=digest, reason=reason)
