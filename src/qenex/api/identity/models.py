"""The shapes of principals and keys, for the OpenAPI document. They describe; `routes.py` and the service decide."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from qenex.api.models import TimeNs, TimeText, Wide  # noqa: TC001  # pydantic reads annotations when it runs
from qenex.principals import Action, Role

Kind = Literal["user", "service", "customer"]
Name = Annotated[str, Field(min_length=1, max_length=140)]
PrincipalId = Annotated[str, Field(pattern="^(usr|svc|cus)_[0-9A-Za-z]+$", examples=["svc_01KB3Q8Z5T5Y7W9V0M2C4E6G8J"])]
KeyId = Annotated[str, Field(pattern="^key_[0-9A-Za-z]+$")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewPrincipal(_Body):
    """Somebody who shall act in the book."""

    kind: Annotated[Kind, Field(description="A person of the institution, a program of it, or a customer")]
    name: Name
    roles: Annotated[
        list[Role], Field(max_length=len(Role), description="None for a customer, whose role is `customer`")
    ] = []
    party: Annotated[str | None, Field(description="A customer's: the `user_data_128` of its accounts")] = None


class NewRoles(_Body):
    """Other roles, in place of those before."""

    roles: Annotated[list[Role], Field(max_length=len(Role))]


class NewKey(_Body):
    """A key for somebody."""

    principal: PrincipalId
    name: Name
    scopes: Annotated[list[Action], Field(min_length=1, max_length=len(Action))]
    expires_at: Annotated[TimeText | None, Field(description="90 days from now when absent, 365 at most")] = None
    addresses: Annotated[
        list[str], Field(max_length=64, description="Networks it may be used from; none: from anywhere")
    ] = []
    live: Annotated[bool, Field(description="False: a test key, which writes nothing in a live book")] = True


class Rotation(_Body):
    """How a key is replaced."""

    overlap_s: Annotated[int, Field(ge=0, le=604_800, description="How long the old one stays valid")] = 86_400


class Principal(_Body):
    """Somebody who acts in the book."""

    id: PrincipalId
    kind: Kind
    name: str
    roles: list[Role]
    state: Literal["active", "suspended"]
    party: Wide | None
    created: TimeText
    created_ns: TimeNs


class PrincipalPage(_Body):
    """A page of principals, in order of their ids."""

    items: list[Principal]
    next: str | None


class Key(_Body):
    """An API key, without the key."""

    id: KeyId
    principal: str
    name: str
    hint: Annotated[str, Field(description="Its first characters")]
    live: bool
    scopes: list[Action]
    addresses: list[str]
    created_by: str
    created: TimeText
    expires: TimeText
    used: Annotated[TimeText | None, Field(description="Give or take a minute")]
    revoked: TimeText | None
    replaced_by: KeyId | None


class NewKeyShown(Key):
    """A new key, for the only time that it is shown."""

    secret: Annotated[str, Field(pattern="^qnx_(live|test)_[0-9A-Za-z]+$")]


class KeyPage(_Body):
    """A page of keys, in order of their ids."""

    items: list[Key]
    next: str | None


BODIES: tuple[type[BaseModel], ...] = (NewPrincipal, NewRoles, NewKey, Rotation)
"""Models that no route names by itself."""
