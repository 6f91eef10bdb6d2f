"""What somebody may: the one function that every door calls before anything is read or written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from qenex.errors import Forbidden
from qenex.principals import Role

if TYPE_CHECKING:
    from qenex.principals import Action, Principal


class Policies(Protocol):
    """Decides by roles and policies."""

    def decide(self, principal: Principal, action: Action) -> bytes | None:
        """The digest of the decision that allows it, 32 bytes; `None` does not."""


class OwnersOnly:
    """Owners may do everything, nobody else anything."""

    def decide(self, principal: Principal, action: Action) -> bytes | None:
        """As `Policies`."""
        return bytes(32) if Role.OWNER in principal.roles else None


class Admission:
    """Checks book and scope, then asks the policies."""

    def __init__(self, policies: Policies) -> None:
        """Takes what decides."""
        self._policies = policies

    def admit(self, principal: Principal, book: bytes, action: Action) -> bytes:
        """Admits a principal to an action.

        Args:
            principal: who asks.
            book: the book that it would be done in.
            action: what would be done.

        Returns:
            The digest of the decision, for the journal.

        Raises:
            Forbidden: saying what is missing.
        """
        if principal.book != book:
            raise Forbidden("The credential belongs to another book.")
        if principal.scopes is not None and action not in principal.scopes:
            raise Forbidden(f"The credential does not have the scope {action}.")
        digest = self._policies.decide(principal, action)
        if digest is None:
            roles = ", ".join(sorted(principal.roles)) or "no role"
            raise Forbidden(f"{action} is not allowed to {principal.id} ({roles}).")
        return digest
