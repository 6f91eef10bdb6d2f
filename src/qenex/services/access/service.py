"""Decides what every door asks, by the policies that are in force in each book."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from qenex.assets import Assets
from qenex.errors import InvalidPolicies, PolicyTestsFailed
from qenex.services.access.messages import Complaint, Decision
from qenex.services.access.rules.bands import read_bands
from qenex.services.access.rules.capabilities import compile_capability
from qenex.services.access.rules.expectations import run_tests
from qenex.services.access.rules.policy_set import PolicySet, digest_of
from qenex.services.access.rules.questions import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qenex.principals import Action, Principal, Role
    from qenex.services.access.messages import Capability, Outcome, PolicySource, Target
    from qenex.services.access.ports import Alarm, Files, Language

NO_POLICIES: Final = "the policies of this book cannot be used"


@dataclass(slots=True)
class Access:
    """The one place where it is decided who may do what.

    A book's policies are read when it is first asked for and again at every `load`. A set comes into force as a whole,
    after all its tests have come out; until then, and where it never does, the one before stays. A book that has none
    is closed to everyone, and each request for it alarms.
    """

    files: Files
    language: Language
    alarm: Alarm
    assets: Assets = field(default_factory=Assets)
    _in_force: dict[bytes, PolicySet | str] = field(default_factory=dict, init=False)
    """By book; a text says why there is none."""
    _made: WeakValueDictionary[bytes, PolicySet] = field(default_factory=WeakValueDictionary, init=False)
    """By the hash of all files: books without policies of their own share one set."""

    def load(self, book: bytes) -> bytes:
        """Reads a book's policies again, tests them, and puts them into force; returns the set's digest.

        Takes some tens of milliseconds where files have changed: not for an event loop. Other threads may decide
        meanwhile.

        Raises:
            InvalidPolicies: they do not fit the schema, or are not written as they should be.
            PolicyTestsFailed: they decide otherwise than their tests expect.
        """
        try:
            policies = self._make(book)
        except (InvalidPolicies, PolicyTestsFailed) as error:
            if not isinstance(self._in_force.get(book), PolicySet):
                self._in_force[book] = str(error)
            raise
        self._in_force[book] = policies
        return policies.digest

    def forget(self, book: bytes) -> None:
        """Lets go of a book's policies; they are read again when somebody asks."""
        self._in_force.pop(book, None)

    def decide(self, principal: Principal, action: Action, target: Target) -> Decision:
        """Whether the principal may do it. What no policy allows is denied, and so is whatever cannot be evaluated."""
        policies = self._of(target.book)
        if isinstance(policies, str):
            self.alarm.policies_failed(target.book, policies)
            return _closed()
        decision, complaint = policies.decide(principal, action, target)
        if complaint:
            self.alarm.policies_failed(target.book, complaint)
        return decision

    def decide_all(self, principal: Principal, action: Action, targets: Iterable[Target]) -> Decision:
        """Whether the principal may do all of it: the first denial, or one decision for all.

        Its digest is that of the one where all are decided alike, else one over theirs in order of first appearance.
        Of nothing nothing is allowed.
        """
        distinct: dict[bytes, Decision] = {}
        for target in targets:
            decision = self.decide(principal, action, target)
            if not decision.allowed:
                return decision
            distinct.setdefault(decision.digest, decision)
        decisions = list(distinct.values())
        if not decisions:
            return Decision(allowed=False, policies=(), digest=bytes(32), reason="nothing was asked for")
        if len(decisions) == 1:
            return decisions[0]
        names = tuple(sorted({name for each in decisions for name in each.policies}))
        digest = sha256(b"qenex-decisions-v1" + b"".join(distinct)).digest()
        return Decision(allowed=True, policies=names, digest=digest, reason=f"allowed by {', '.join(names)}")

    def looks_at_accounts(self, principal: Principal, action: Action, target: Target) -> bool:
        """Whether a decision on such a target needs to know whose the accounts are and of what kind.

        Where it does not, a door need not look them up: the answer is the same for every account.
        """
        policies = self._of(target.book)
        return isinstance(policies, PolicySet) and policies.looks_at_accounts(principal, action, kind_of(target))

    def names_accounts(self, principal: Principal, action: Action, target: Target) -> bool:
        """Whether a decision on such a target can be another for another account of the same asset."""
        policies = self._of(target.book)
        return isinstance(policies, PolicySet) and policies.names_accounts(principal, action, kind_of(target))

    def capability(
        self, principal: Principal, ledgers: Iterable[int] | None = None, *, is_live: bool = True
    ) -> Capability | None:
        """What the binary door may let the principal do; `None` where the book's policies cannot be used.

        Args:
            principal: whose session it is.
            ledgers: to be asked one by one; default all assets that are known. Every other is asked as one.
            is_live: false in a book for tests.
        """
        policies = self._of(principal.book)
        if isinstance(policies, str):
            self.alarm.policies_failed(principal.book, policies)
            return None
        wanted = [asset.number for asset in self.assets] if ledgers is None else ledgers
        capability, complaints = compile_capability(policies, principal, wanted, is_live=is_live)
        for complaint in complaints:
            self.alarm.policies_failed(principal.book, complaint)
        return capability

    def powers(self, book: bytes, roles: frozenset[Role]) -> frozenset[Action]:
        """Every action that some policy can allow to somebody with these roles; none where there are no policies."""
        policies = self._of(book)
        return policies.powers(roles) if isinstance(policies, PolicySet) else frozenset()

    def policies(self, book: bytes) -> PolicySet:
        """The set in force.

        Raises:
            InvalidPolicies: there is none.
        """
        found = self._of(book)
        if isinstance(found, str):
            raise InvalidPolicies([found])
        return found

    def check(self, book: bytes) -> tuple[PolicySet, list[Outcome]]:
        """Compiles a book's files and runs their tests, and puts nothing into force.

        Raises:
            InvalidPolicies: they do not fit the schema, or are not written as they should be.
        """
        source = self.files.read(book)
        policies = self._compile(source)
        return policies, run_tests(policies, source, self.assets)

    def _of(self, book: bytes) -> PolicySet | str:
        found = self._in_force.get(book)
        if found is None:
            try:
                self.load(book)
            except (InvalidPolicies, PolicyTestsFailed) as error:
                return f"{NO_POLICIES}: {error}"
            return self._in_force[book]
        return found

    def _make(self, book: bytes) -> PolicySet:
        source = self.files.read(book)
        key = _hash(source)
        known = self._made.get(key)
        if known is not None:
            return known
        policies = self._compile(source)
        failed = [
            Complaint(outcome.file, outcome.line, f"{outcome.name}: {outcome.complaint}")
            for outcome in run_tests(policies, source, self.assets)
            if outcome.complaint
        ]
        if failed:
            raise PolicyTestsFailed(failed)
        self._made[key] = policies
        return policies

    def _compile(self, source: PolicySource) -> PolicySet:
        bands = read_bands(source.bands, self.assets)
        return PolicySet(self.language.compile(source), bands, self.assets, digest_of(source))


def _closed() -> Decision:
    digest = sha256(b"qenex-decision-v1" + NO_POLICIES.encode()).digest()
    return Decision(allowed=False, policies=(), digest=digest, reason=NO_POLICIES)


def _hash(source: PolicySource) -> bytes:
    """Of every file, with its name: complaints and lists show where a policy stands."""
    files = (source.schema, source.bands, *source.policies, *source.tests)
    parts = [sha256(part.encode()).digest() for file in files for part in (file.name, file.text)]
    return sha256(b"".join(parts)).digest()
