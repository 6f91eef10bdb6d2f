"""What identity is asked for, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from qenex.principals import Action, Role

Kind = Literal["user", "service", "customer"]
"""A person of the institution, a program of it, a customer (or what acts for one)."""


class State(StrEnum):
    """Whether somebody may act."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class Identity:
    """A principal as it is kept."""

    book: bytes
    id: str
    """`usr_...`, `svc_...` or `cus_...`; within a kind later ones sort behind."""
    kind: Kind
    name: str
    roles: frozenset[Role]
    state: State
    party: int | None
    """Of a customer: the `user_data_128` of its accounts."""
    created_ns: int


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as it is kept: everything but the key."""

    book: bytes
    id: str
    """`key_...`."""
    principal: str
    """Who acts with it."""
    name: str
    hint: str
    """Its first characters, by which a person knows it again."""
    is_live: bool
    scopes: frozenset[Action]
    addresses: tuple[str, ...]
    """Networks (CIDR) that it may be used from; none: from anywhere."""
    created_by: str
    created_ns: int
    expires_ns: int
    used_ns: int | None = None
    """When it was used last, give or take a minute."""
    revoked_ns: int | None = None
    replaced_by: str | None = None
    """The key that it was rotated to."""


@dataclass(frozen=True, slots=True)
class CreatePrincipal:
    """A new user, service account or customer; customers have the role `customer` and a party, others neither."""

    kind: Kind
    name: str
    roles: frozenset[Role]
    party: int | None = None


@dataclass(frozen=True, slots=True)
class ChangeRoles:
    """Other roles for somebody: these, and no more."""

    principal: str
    roles: frozenset[Role]


@dataclass(frozen=True, slots=True)
class SuspendPrincipal:
    """Somebody may do nothing from now on, whatever credential he shows."""

    principal: str


@dataclass(frozen=True, slots=True)
class ReactivatePrincipal:
    """Somebody may act again."""

    principal: str


@dataclass(frozen=True, slots=True)
class IssueApiKey:
    """A new API key."""

    principal: str
    name: str
    scopes: frozenset[Action]
    expires_ns: int | None = None
    """`None`: 90 days from now. At most 365 days."""
    addresses: tuple[str, ...] = ()
    is_live: bool = True


@dataclass(frozen=True, slots=True)
class RotateApiKey:
    """A new key in place of one, which stays valid for a while, so that programs can be changed over."""

    api_key: str
    overlap_s: int = 86_400
    """How long the old one stays valid: 0 ends it at once. At most 7 days, and never longer than it had."""


@dataclass(frozen=True, slots=True)
class RevokeApiKey:
    """A key is not valid any more, on every node within a second. Revoking it again changes nothing."""

    api_key: str


@dataclass(frozen=True, slots=True)
class IssuedApiKey:
    """A new key, for the only time."""

    api_key: ApiKey
    secret: str = field(repr=False)
    """What is shown to whoever asked for it, and kept nowhere."""
