"""`qenex principals` and `qenex keys`: who may come in, and with what.

The commands work on the records of the home, with or without a running instance; one that runs knows of it within a
second. They act as the owner of the book, whose credential they need.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from qenex import bootstrap
from qenex.cli.output import Home, Json, Output, example, table, time_text
from qenex.errors import InvalidQuery, StorageFailed
from qenex.principals import Action, Principal, Role
from qenex.services.identity.messages import (
    ApiKey,
    ChangeRoles,
    CreatePrincipal,
    Identity,
    IssueApiKey,
    IssuedApiKey,
    Kind,
    ReactivatePrincipal,
    RevokeApiKey,
    RotateApiKey,
    SuspendPrincipal,
)
from qenex.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from qenex.services.identity.service import Identities

Result = TypeVar("Result")
_File = Annotated[
    Path | None, typer.Option("--to-file", help="Write the key to this new file (mode 600) instead of showing it.")
]


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    principals = typer.Typer(help="People, programs and customers that act in the book.", no_args_is_help=True)
    app.add_typer(principals, name="principals")
    principals.command("create", epilog=example("qenex principals create service Payroll --role operator"))(_create)
    principals.command("list", epilog=example("qenex principals list --kind service"))(_list)
    principals.command("roles", epilog=example("qenex principals roles svc_... --role auditor"))(_roles)
    principals.command("suspend", epilog=example("qenex principals suspend svc_..."))(_suspend)
    principals.command("reactivate", epilog=example("qenex principals reactivate svc_..."))(_reactivate)
    keys = typer.Typer(help="API keys.", no_args_is_help=True)
    app.add_typer(keys, name="keys")
    keys.command("create", epilog=example("qenex keys create svc_... reports --scope accounts:read"))(_create_key)
    keys.command("list", epilog=example("qenex keys list"))(_list_keys)
    keys.command("rotate", epilog=example("qenex keys rotate key_... --overlap-hours 1"))(_rotate_key)
    keys.command("revoke", epilog=example("qenex keys revoke key_..."))(_revoke_key)


def _create(
    kind: Annotated[Literal["user", "service", "customer"], typer.Argument(help="What it is.")],
    name: Annotated[str, typer.Argument(help="What people call it.")],
    home: Home = None,
    *,
    role: Annotated[list[Role] | None, typer.Option("--role", help="A role in the book; can be given again.")] = None,
    party: Annotated[str | None, typer.Option(help="A customer's: the user_data_128 of its accounts.")] = None,
    as_json: Json = False,
) -> None:
    """Add somebody who acts in the book."""
    if party is not None and not (party.isascii() and party.isdigit()):
        raise InvalidQuery("--party: a number in digits is wanted")
    roles = frozenset(role or ([Role.CUSTOMER] if kind == "customer" else []))
    command = CreatePrincipal(kind, name, roles, int(party) if party is not None else None)
    made = _run(home, lambda identities, owner: identities.create(owner, command))
    Output(as_json=as_json).show(
        _principal(made), f"{made.id} is {made.name}, {', '.join(sorted(made.roles)) or 'no role'}"
    )


def _list(
    home: Home = None,
    *,
    kind: Annotated[Kind | None, typer.Option(help="Only of this kind.")] = None,
    as_json: Json = False,
) -> None:
    """List who acts in the book."""
    found = _run(home, lambda identities, owner: _all(lambda after: identities.list(owner, kind=kind, after=after)))
    rows = [
        (each.id, each.name, ", ".join(sorted(each.roles)), each.party, str(each.state), time_text(each.created_ns))
        for each in found
    ]
    Output(as_json=as_json).show(
        [_principal(each) for each in found],
        table("Principals", ("id", "name", "roles", "party", "state", "created"), rows),
    )


def _roles(
    principal: Annotated[str, typer.Argument(help="Its id.")],
    home: Home = None,
    *,
    role: Annotated[list[Role] | None, typer.Option("--role", help="A role it has from now on.")] = None,
    as_json: Json = False,
) -> None:
    """Give somebody other roles, in place of those before."""
    command = ChangeRoles(principal, frozenset(role or ()))
    changed = _run(home, lambda identities, owner: identities.change_roles(owner, command))
    roles = ", ".join(sorted(changed.roles)) or "no role"
    Output(as_json=as_json).show(_principal(changed), f"{changed.name} has {roles}")


def _suspend(
    principal: Annotated[str, typer.Argument(help="Its id.")], home: Home = None, *, as_json: Json = False
) -> None:
    """Let somebody do nothing any more, whatever credential he has."""
    changed = _run(home, lambda identities, owner: identities.suspend(owner, SuspendPrincipal(principal)))
    Output(as_json=as_json).show(_principal(changed), f"{changed.name} is suspended")


def _reactivate(
    principal: Annotated[str, typer.Argument(help="Its id.")], home: Home = None, *, as_json: Json = False
) -> None:
    """Let somebody act again."""
    changed = _run(home, lambda identities, owner: identities.reactivate(owner, ReactivatePrincipal(principal)))
    Output(as_json=as_json).show(_principal(changed), f"{changed.name} may act again")


def _create_key(
    principal: Annotated[str, typer.Argument(help="Who acts with it.")],
    name: Annotated[str, typer.Argument(help="What it is for.")],
    home: Home = None,
    *,
    scope: Annotated[list[Action], typer.Option("--scope", help="What it may do at most; can be given again.")],
    address: Annotated[
        list[str] | None, typer.Option("--address", help="Network it may be used from; can be given again.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=365, help="How long it is good.")] = 90,
    live: Annotated[bool, typer.Option("--live/--test", help="A test key writes nothing in a live book.")] = True,
    to_file: _File = None,
    as_json: Json = False,
) -> None:
    """Make an API key. It is shown once, and kept nowhere."""
    until = datetime.now(UTC) + timedelta(days=days)
    command = IssueApiKey(
        principal, name, frozenset(scope), int(until.timestamp()) * 1_000_000_000, tuple(address or ()), is_live=live
    )
    issued = _run(home, lambda identities, owner: identities.issue_api_key(owner, command))
    _show(issued, to_file, Output(as_json=as_json))


def _list_keys(
    home: Home = None,
    *,
    principal: Annotated[str | None, typer.Option(help="Only of this principal.")] = None,
    as_json: Json = False,
) -> None:
    """List the API keys of the book: all but the keys themselves."""
    found = _run(
        home,
        lambda identities, owner: _all(lambda after: identities.list_api_keys(owner, principal=principal, after=after)),
    )
    rows = [
        (
            each.id,
            each.name,
            each.principal,
            f"{each.hint}...",
            ", ".join(sorted(each.scopes)),
            time_text(each.expires_ns)[:10],
            "revoked" if each.revoked_ns is not None else "",
        )
        for each in found
    ]
    Output(as_json=as_json).show(
        [_key(each) for each in found],
        table("API keys", ("id", "name", "principal", "begins", "scopes", "until", "state"), rows),
    )


def _rotate_key(
    key: Annotated[str, typer.Argument(help="Its id.")],
    home: Home = None,
    *,
    overlap_hours: Annotated[int, typer.Option(min=0, max=168, help="How long the old one stays good.")] = 24,
    to_file: _File = None,
    as_json: Json = False,
) -> None:
    """Make another key in place of one, which stays good for a while."""
    command = RotateApiKey(key, overlap_hours * 3_600)
    issued = _run(home, lambda identities, owner: identities.rotate_api_key(owner, command))
    _show(issued, to_file, Output(as_json=as_json))


def _revoke_key(
    key: Annotated[str, typer.Argument(help="Its id.")], home: Home = None, *, as_json: Json = False
) -> None:
    """End a key: within a second it opens nothing any more."""
    ended = _run(home, lambda identities, owner: identities.revoke_api_key(owner, RevokeApiKey(key)))
    Output(as_json=as_json).show(_key(ended), f"{ended.id} ({ended.name}) is revoked")


def _run(home: str | None, ask: Callable[[Identities, Principal], Awaitable[Result]]) -> Result:
    """Asks the service, as the owner of the home's book."""
    settings = Settings.load({"home": home})
    bootstrap.owner_token(settings)
    bootstrap.initialise(settings)

    async def asked() -> Result:
        from prometheus_client import CollectorRegistry

        from qenex.adapters.database import open_records
        from qenex.adapters.policy_alarm import PolicyAlarm

        book = bootstrap.owner_book(settings)
        owner = Principal(book, "owner", "owner", frozenset({Role.OWNER}), "owner")
        records = await open_records(settings)
        try:
            access = bootstrap.access(settings, PolicyAlarm(CollectorRegistry()))
            identities = bootstrap.identities(records, access)
            try:
                return await ask(identities, owner)
            finally:
                await identities.close()
        finally:
            await records.close()

    return asyncio.run(asked())


async def _all(ask: Callable[[str], Awaitable[Any]]) -> list[Any]:
    """All pages."""
    found: list[Any] = []
    while page := await ask(found[-1].id if found else ""):
        found += page
    return found


def _show(issued: IssuedApiKey, to_file: Path | None, output: Output) -> None:
    document = _key(issued.api_key)
    if to_file is None:
        output.show(document | {"secret": issued.secret}, issued.secret, "It is not shown again.")
        return
    try:
        with open(to_file, "x", encoding="ascii", opener=bootstrap.private) as file:  # a Path has no opener
            file.write(f"{issued.secret}\n")
    except OSError as error:
        raise StorageFailed(
            to_file, f"cannot be made: {error.strerror}; the key {issued.api_key.id} is to be revoked"
        ) from error
    output.show(document | {"file": str(to_file)}, f"{issued.api_key.id} is in {to_file}")


def _principal(identity: Identity) -> dict[str, Any]:
    return {
        "id": identity.id,
        "kind": identity.kind,
        "name": identity.name,
        "roles": sorted(identity.roles),
        "state": str(identity.state),
        "party": str(identity.party) if identity.party is not None else None,
        "created": time_text(identity.created_ns),
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
        "created": time_text(api_key.created_ns),
        "expires": time_text(api_key.expires_ns),
        "revoked": time_text(api_key.revoked_ns) if api_key.revoked_ns is not None else None,
        "replaced_by": api_key.replaced_by,
    }
