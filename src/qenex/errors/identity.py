"""What identity refuses: who somebody is, what he may give to others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qenex.errors.base import QenexError
from qenex.errors.rejected import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable


class IdentityError(QenexError, iso_reason="AG08"):
    """Something about principals or their credentials cannot be so."""


class PrincipalNotFound(NotFound, code="principal_not_found"):
    """There is no principal with this id."""

    def __init__(self, principal: str) -> None:
        super().__init__(f"{self.text} ({principal[:64]})")
        self.principal = principal


class ApiKeyNotFound(NotFound, code="api_key_not_found"):
    """There is no API key with this id."""

    def __init__(self, api_key: str) -> None:
        super().__init__(f"{self.text} ({api_key[:64]})")
        self.api_key = api_key


class ApiKeyEnded(IdentityError, code="api_key_ended", http_status=409):
    """The API key is revoked, has expired, or was replaced before."""

    def __init__(self, api_key: str) -> None:
        super().__init__(f"{self.text} ({api_key})")
        self.api_key = api_key


class GrantTooWide(IdentityError, code="grant_too_wide", http_status=403):
    """Nobody gives a role or a scope that he does not have, or rules over somebody who has more."""

    def __init__(self, too_much: Iterable[str]) -> None:
        self.too_much = sorted(too_much)
        super().__init__(f"{self.text} ({', '.join(self.too_much)})")


class LastOwner(IdentityError, code="last_owner", http_status=409):
    """The book's last active owner stays one."""

    def __init__(self, principal: str) -> None:
        super().__init__(f"{self.text} ({principal})")
        self.principal = principal


class PrincipalSuspended(IdentityError, code="principal_suspended", http_status=409):
    """The principal is suspended."""

    def __init__(self, principal: str) -> None:
        super().__init__(f"{self.text} ({principal})")
        self.principal = principal
