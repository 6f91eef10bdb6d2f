"""Who acts, and what there is to do: the words that every door, the identities and the policies share.

A scope is the name of an action. What a credential may do is never more than what its principal's roles allow: scopes
take away, they give nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal


class Action(StrEnum):
    """What can be allowed: `resource:verb`. Also the names of scopes and of the actions in policies."""

    ACCOUNTS_READ = "accounts:read"
    ACCOUNTS_WRITE = "accounts:write"
    TRANSFERS_READ = "transfers:read"
    TRANSFERS_WRITE = "transfers:write"
    EVENTS_READ = "events:read"
    REPORTS_READ = "reports:read"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    POLICIES_READ = "policies:read"
    BOOKS_READ = "books:read"
    BOOKS_WRITE = "books:write"
    METRICS_READ = "metrics:read"


class Role(StrEnum):
    """What somebody is in a book. A principal can have several; without one it may do nothing."""

    OWNER = "owner"
    OPERATOR = "operator"
    APPROVER = "approver"
    AUDITOR = "auditor"
    DEVELOPER = "developer"
    CUSTOMER = "customer"


class Strength(StrEnum):
    """How sure we are of who it is, for what asks for more (step-up)."""

    CREDENTIAL = "credential"
    """A program that proved a secret or a key of its own."""
    PASSWORD_TOTP = "password_totp"  # noqa: S105  # the name of a way to sign in
    """A password and a one-time code."""
    PASSKEY = "passkey"
    """A passkey, with the person verified by its device."""


SYSTEM_BOOK: Final = bytes(16)
"""The book that creates the others, and sees inside none: it has no ledger."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever a request is from, as authentication found it."""

    book: bytes
    """16 bytes: the one book that the credential belongs to; `SYSTEM_BOOK` for the installation's own."""
    id: str
    """Names it for ever, at most 64 characters of visible ASCII: `owner`, `usr_...`, `svc_...`, `cus_...`. The journal
    and idempotency keys carry it."""
    kind: Literal["owner", "user", "service", "customer"]
    roles: frozenset[Role]
    credential: str
    """The credential that was shown: `owner`, `key_...`, `ses_...`, `tok_...`. Revoking it ends what it opened."""
    party: int | None = None
    """A customer's own party: the `user_data_128` of its accounts."""
    scopes: frozenset[Action] | None = None
    """What the credential is limited to; `None` does not limit it."""
    strength: Strength = Strength.CREDENTIAL
    authenticated_ns: int = 0
    """When it was last asked who it is, UTC nanoseconds; 0 for credentials of programs."""
    is_live: bool = True
    """False for credentials of tests (`qnx_test_`)."""
