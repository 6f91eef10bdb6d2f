"""What the policies need of the world: files, a language, and somebody to tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qenex.principals import Action
    from qenex.services.access.messages import PolicyFacts, PolicySource


class Files(Protocol):
    """Where policies are kept."""

    def read(self, book: bytes) -> PolicySource:
        """What is shipped and what the book adds.

        Raises:
            InvalidPolicies: a file cannot be read.
        """
        ...


class Verdict(Protocol):
    """What the language answered."""

    @property
    def allowed(self) -> bool:
        """A permit held and no forbid did; always false where there are errors."""
        ...

    @property
    def policies(self) -> tuple[str, ...]:
        """The ids of those that decided."""
        ...

    @property
    def errors(self) -> tuple[str, ...]:
        """Conditions that could not be evaluated: their policies were skipped, so that the answer means nothing."""
        ...


class Slice(Protocol):
    """The policies that can apply to some roles and one action: all others are out by their own heads."""

    @property
    def facts(self) -> frozenset[str]:
        """The facts that they can look at, by their paths; no other can change the answer.

        A path stands for all below it: `resource.debit.party` for itself, `resource` for every fact of the resource.
        """
        ...

    @property
    def permits(self) -> bool:
        """Whether one of them is a permit: without one nothing of it can be allowed, whatever the facts are."""
        ...

    def ask(self, roles: frozenset[str], facts: Mapping[str, object]) -> Verdict:
        """Evaluates them.

        Args:
            roles: of the principal.
            facts: by path, with `resource` for the kind of the resource; what is absent is not there.
        """
        ...


class Compiled(Protocol):
    """A policy set that fits the schema."""

    @property
    def policies(self) -> Mapping[str, PolicyFacts]:
        """Every policy by its id."""
        ...

    def slice(self, roles: frozenset[str], action: Action) -> Slice:
        """Those that can apply; asked for often, made once."""
        ...


class Language(Protocol):
    """What policies are written in."""

    def compile(self, source: PolicySource) -> Compiled:
        """Parses and checks them strictly.

        Raises:
            InvalidPolicies: with file, line and what would be right.
        """
        ...


class Alarm(Protocol):
    """Who hears of what must not happen."""

    def policies_failed(self, book: bytes, complaint: str) -> None:
        """A request was denied because policies could not be evaluated or are not there."""
        ...
