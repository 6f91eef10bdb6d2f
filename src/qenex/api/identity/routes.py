"""Who acts in a book, and the API keys of those who do."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from qenex.api import fields, times
from qenex.api.fields import Wrong, members
from qenex.api.identity import models
from qenex.api.routing import PREFIX, Needs, body_of, exchange_of, json_reply, only_known_parameters
from qenex.errors import RecordsUnavailable
from qenex.principals import Action, Role
from qenex.services.access import Key
from qenex.services.identity.messages import (
    ChangeRoles,
    CreatePrincipal,
    IssueApiKey,
    ReactivatePrincipal,
    RevokeApiKey,
    RotateApiKey,
    SuspendPrincipal,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qenex.api.strict_json import Value
    from qenex.services.identity.messages import ApiKey, Identity
    from qenex.services.identity.service import Identities

LIMIT_MAX: Final = 200
Named = TypeVar("Named", bound=StrEnum)
PrincipalReference = Annotated[str, Path(max_length=64, description="Id of the principal")]
KeyReference = Annotated[str, Path(max_length=64, description="Id of the key")]
After = Annotated[str, Query(max_length=64, description="`next` of the page before")]
Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="Items of a page")]


class IdentityRoutes:
    """The routes and what they need."""

    def __init__(self) -> None:
        """There are no records yet."""
        self.service: Identities | None = None
        """Who it is that knows the principals; `None` while the records cannot be reached."""

    @property
    def _identities(self) -> Identities:
        if self.service is None:
            raise RecordsUnavailable("They have not been reached yet.")
        return self.service

    def router(self) -> APIRouter:
        """All of them."""
        router = APIRouter(dependencies=[Depends(only_known_parameters)])
        of, keys = "/principals", "/keys"
        one = of + "/{principal}"
        users_read, users_write, keys_write = Action.USERS_READ, Action.USERS_WRITE, Action.KEYS_WRITE
        for method, path, endpoint, status, reply, body, action in (
            ("GET", of, self.list_principals, 200, models.PrincipalPage, None, users_read),
            ("POST", of, self.create_principal, 201, models.Principal, models.NewPrincipal, users_write),
            ("GET", one, self.get_principal, 200, models.Principal, None, users_read),
            ("PUT", one + "/roles", self.change_roles, 200, models.Principal, models.NewRoles, users_write),
            ("POST", one + "/suspend", self.suspend_principal, 200, models.Principal, None, users_write),
            ("POST", one + "/reactivate", self.reactivate_principal, 200, models.Principal, None, users_write),
            ("GET", keys, self.list_keys, 200, models.KeyPage, None, Action.KEYS_READ),
            ("POST", keys, self.create_key, 201, models.NewKeyShown, models.NewKey, keys_write),
            ("GET", keys + "/{key}", self.get_key, 200, models.Key, None, Action.KEYS_READ),
            ("POST", keys + "/{key}/rotate", self.rotate_key, 201, models.NewKeyShown, models.Rotation, keys_write),
            ("DELETE", keys + "/{key}", self.revoke_key, 200, models.Key, None, keys_write),
        ):
            router.add_api_route(
                PREFIX + path,
                endpoint,
                methods=[method],
                status_code=status,
                responses={status: {"model": reply}},
                openapi_extra={"requestBody": body_of(body.__name__)} if body is not None else None,
                dependencies=[Depends(Needs(action))],
            )
        return router

    async def list_principals(
        self,
        request: Request,
        kind: Annotated[Literal["user", "service", "customer"] | None, Query(description="Only of this kind")] = None,
        after: After = "",
        limit: Limit = LIMIT_MAX,
    ) -> Response:
        """Who acts in the book."""
        exchange = exchange_of(request)
        exchange.admit(Action.USERS_READ)
        found = await self._identities.list(exchange.principal, kind=kind, after=after, limit=limit)
        return _page([_principal(identity) for identity in found], limit)

    async def create_principal(self, request: Request) -> Response:
        """A new user, service account or customer."""
        exchange = exchange_of(request)
        exchange.admit(Action.USERS_WRITE)
        value, _ = await exchange.json()
        given = members(
            value,
            "",
            {"kind": _kind, "name": _text, "roles": _roles, "party": fields.integer(128, least=1)},
            ("kind", "name"),
        )
        roles = given.get("roles", frozenset({Role.CUSTOMER} if given["kind"] == "customer" else ()))
        command = CreatePrincipal(given["kind"], given["name"], roles, given.get("party"))
        made = await self._identities.create(exchange.principal, command)
        headers = {"location": f"{PREFIX}/principals/{made.id}"}
        return json_reply(_principal(made), status=201, headers=headers)

    async def get_principal(self, request: Request, principal: PrincipalReference) -> Response:
        """One of them."""
        exchange = exchange_of(request)
        exchange.admit(Action.USERS_READ)
        return json_reply(_principal(await self._identities.get(exchange.principal, principal)))

    async def change_roles(self, request: Request, principal: PrincipalReference) -> Response:
        """Other roles for somebody, in place of those before."""
        exchange = exchange_of(request)
        exchange.admit(Action.USERS_WRITE)
        value, _ = await exchange.json()
        roles = members(value, "", {"roles": _roles}, ("roles",))["roles"]
        return json_reply(
            _principal(await self._identities.change_roles(exchange.principal, ChangeRoles(principal, roles)))
        )

    async def suspend_principal(self, request: Request, principal: PrincipalReference) -> Response:
        """Somebody may do nothing any more, with whatever credential, everywhere within a second."""
        exchange = exchange_of(request)
        exchange.admit(Action.USERS_WRITE)
        return json_reply(_principal(await self._identities.suspend(exchange.principal, SuspendPrincipal(principal))))

    async def reactivate_principal(self, request: Request, principal: PrincipalReference) -> Response:
        """Somebody may act again."""
        exchange = exchange_of(request)
        exchange.admit(Action.USERS_WRITE)
        command = ReactivatePrincipal(principal)
        return json_reply(_principal(await self._identities.reactivate(exchange.principal, command)))

    async def list_keys(
        self,
        request: Request,
        principal: Annotated[str | None, Query(max_length=64, description="Only of this principal")] = None,
        after: After = "",
        limit: Limit = LIMIT_MAX,
    ) -> Response:
        """The API keys of the book, or of somebody: all but the keys themselves."""
        exchange = exchange_of(request)
        exchange.admit(Action.KEYS_READ, Key(principal) if principal is not None else None)
        found = await self._identities.list_api_keys(exchange.principal, principal=principal, after=after, limit=limit)
        return _page([_key(api_key) for api_key in found], limit)

    async def create_key(self, request: Request) -> Response:
        """A new key. It is shown in this answer, and never again."""
        exchange = exchange_of(request)
        value, _ = await exchange.json()
        given = members(
            value,
            "",
            {
                "principal": _text,
                "name": _text,
                "scopes": _scopes,
                "expires_at": _time,
                "addresses": _texts,
                "live": fields.boolean,
            },
            ("principal", "name", "scopes"),
        )
        is_live = given.get("live", True)
        exchange.admit(Action.KEYS_WRITE, Key(given["principal"], is_live))
        command = IssueApiKey(
            principal=given["principal"],
            name=given["name"],
            scopes=given["scopes"],
            expires_ns=given.get("expires_at"),
            addresses=tuple(given.get("addresses", ())),
            is_live=is_live,
        )
        issued = await self._identities.issue_api_key(exchange.principal, command)
        headers = {"location": f"{PREFIX}/keys/{issued.api_key.id}"}
        return json_reply(_key(issued.api_key) | {"secret": issued.secret}, status=201, headers=headers)

    async def get_key(self, request: Request, key: KeyReference) -> Response:
        """A key, without the key itself."""
        exchange = exchange_of(request)
        api_key = await self._identities.get_api_key(exchange.principal, key)
        exchange.admit(Action.KEYS_READ, Key(api_key.principal, api_key.is_live))
        return json_reply(_key(api_key))

    async def rotate_key(self, request: Request, key: KeyReference) -> Response:
        """Another key in place of one, which stays valid for a while."""
        exchange = exchange_of(request)
        value, _ = await exchange.json()
        given = members(value, "", {"overlap_s": fields.integer(32)}, ())
        api_key = await self._identities.get_api_key(exchange.principal, key)
        exchange.admit(Action.KEYS_WRITE, Key(api_key.principal, api_key.is_live))
        issued = await self._identities.rotate_api_key(exchange.principal, RotateApiKey(key, **given))
        headers = {"location": f"{PREFIX}/keys/{issued.api_key.id}"}
        return json_reply(_key(issued.api_key) | {"secret": issued.secret}, status=201, headers=headers)

    async def revoke_key(self, request: Request, key: KeyReference) -> Response:
        """A key is good no more, everywhere within a second."""
        exchange = exchange_of(request)
        api_key = await self._identities.get_api_key(exchange.principal, key)
        exchange.admit(Action.KEYS_WRITE, Key(api_key.principal, api_key.is_live))
        return json_reply(_key(await self._identities.revoke_api_key(exchange.principal, RevokeApiKey(key))))


def _principal(identity: Identity) -> dict[str, Any]:
    return {
        "id": identity.id,
        "kind": identity.kind,
        "name": identity.name,
        "roles": sorted(identity.roles),
        "state": str(identity.state),
        "party": str(identity.party) if identity.party is not None else None,
        "created": times.to_text(identity.created_ns),
        "created_ns": str(identity.created_ns),
    }


def _key(api_key: ApiKey) -> dict[str, Any]:
    return {
        "id": api_key.id,
        "principal": api_key.principal,
        "name": api_key.name,
        "hint": api_key.hint,
        "live": api_key.is_live,
        "scopes": sorted(api_key.scopes),
        "addresses": list(api_key.addresses),
        "created_by": api_key.created_by,
        "created": times.to_text(api_key.created_ns),
        "expires": times.to_text(api_key.expires_ns),
        "used": times.to_text(api_key.used_ns) if api_key.used_ns is not None else None,
        "revoked": times.to_text(api_key.revoked_ns) if api_key.revoked_ns is not None else None,
        "replaced_by": api_key.replaced_by,
    }


def _page(items: Sequence[dict[str, Any]], limit: int) -> Response:
    return json_reply({"items": list(items), "next": items[-1]["id"] if len(items) == limit else None})


def _text(value: Value) -> str:
    if not isinstance(value, str):
        raise Wrong("a string is needed")
    return value


def _texts(value: Value) -> list[str]:
    if type(value) is not list:
        raise Wrong("an array of strings is needed")
    return [_text(item) for item in value]


def _kind(value: Value) -> str:
    if value not in ("user", "service", "customer"):
        raise Wrong('"user", "service" or "customer" is needed')
    return str(value)


def _roles(value: Value) -> frozenset[Role]:
    return frozenset(_one_of(Role, text) for text in _texts(value))


def _scopes(value: Value) -> frozenset[Action]:
    return frozenset(_one_of(Action, text) for text in _texts(value))


def _one_of(kind: type[Named], text: str) -> Named:
    try:
        return kind(text)
    except ValueError:
        raise Wrong(f"{text[:40]!r} is none of {', '.join(each.value for each in kind)}") from None


def _time(value: Value) -> int:
    try:
        return times.from_text(_text(value))
    except ValueError as error:
        raise Wrong(str(error)) from None
