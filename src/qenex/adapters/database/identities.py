"""The records of `services.identity`."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import or_

from qenex.adapters.database.tables import API_KEYS, PRINCIPALS
from qenex.principals import Action, Role
from qenex.services.identity.messages import ApiKey, Identity, State
from qenex.services.identity.ports import Found

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, RowMapping, Select, Table

    from qenex.adapters.database.records import Records, Work
    from qenex.services.identity.messages import Kind

_P: Final = PRINCIPALS.c
_K: Final = API_KEYS.c


class IdentityRecords:
    """Fulfils `services.identity.ports.Store`."""

    def __init__(self, records: Records) -> None:
        """Takes the opened records."""
        self._records = records

    @asynccontextmanager
    async def reading(self, book: bytes) -> AsyncIterator[_Reading]:
        """Something to read a book with."""
        async with self._records.of(book).reading() as work:
            yield _Reading(work)

    @asynccontextmanager
    async def changing(self, book: bytes) -> AsyncIterator[_Changing]:
        """Something to change a book with; others that change it wait."""
        async with self._records.of(book).writing(alone=True) as work:
            yield _Changing(work)

    async def find_api_key(self, digest: bytes) -> Found | None:
        """The key of a digest, in whatever book."""
        async with self._records.across_books().reading() as work:
            row = await work.first(work.select(API_KEYS).where(_K.digest == digest))
            if row is None:
                return None
            owner = await work.first(work.select(PRINCIPALS).where(_P.book == row["book"], _P.id == row["principal"]))
        # A foreign key holds the principal.
        return Found(_api_key(row), _identity(owner), row["digest"]) if owner is not None else None

    async def write_used(self, used: Mapping[tuple[bytes, str], int]) -> None:
        """When keys were used last, each written forward only: several processes do so."""
        async with self._records.across_books().writing() as work:
            # In one order, so that two processes cannot wait for each other.
            for (book, api_key), used_ns in sorted(used.items()):
                earlier = or_(_K.used_ns.is_(None), _K.used_ns < used_ns)
                await work.run(
                    work.update(API_KEYS).where(_K.book == book, _K.id == api_key, earlier).values(used_ns=used_ns)
                )


class _Reading:
    """Reads one book."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def identity(self, principal: str) -> Identity | None:
        """One principal."""
        row = await self._work.first(self._work.select(PRINCIPALS).where(_P.id == principal))
        return None if row is None else _identity(row)

    async def identities(self, *, kind: Kind | None, after: str, limit: int) -> Sequence[Identity]:
        """Principals in order of id, behind one."""
        query = self._behind(PRINCIPALS, _P.id, after, limit)
        if kind is not None:
            query = query.where(_P.kind == kind)
        return [_identity(row) for row in await self._work.all(query)]

    async def api_key(self, api_key: str) -> ApiKey | None:
        """One key."""
        row = await self._work.first(self._work.select(API_KEYS).where(_K.id == api_key))
        return None if row is None else _api_key(row)

    async def api_keys(self, *, principal: str | None, after: str, limit: int) -> Sequence[ApiKey]:
        """Keys in order of id, behind one."""
        query = self._behind(API_KEYS, _K.id, after, limit)
        if principal is not None:
            query = query.where(_K.principal == principal)
        return [_api_key(row) for row in await self._work.all(query)]

    async def has_other_owner(self, principal: str) -> bool:
        """Whether an active user other than this one is owner."""
        query = self._work.select(PRINCIPALS).where(
            _P.kind == "user", _P.state == State.ACTIVE.value, _P.id != principal, _P.roles.contains(Role.OWNER.value)
        )
        return await self._work.first(query.limit(1)) is not None

    def _behind(self, table: Table, key: ColumnElement[str], after: str, limit: int) -> Select[Any]:
        return self._work.select(table).where(key > after).order_by(key).limit(limit)


class _Changing(_Reading):
    """Changes one book."""

    async def add_identity(self, identity: Identity) -> None:
        """A new principal."""
        await self._work.add(PRINCIPALS, _identity_row(identity))

    async def replace_identity(self, identity: Identity) -> None:
        """Other roles or another state."""
        row = _identity_row(identity)
        await self._work.run(self._work.update(PRINCIPALS).where(_P.id == identity.id).values(row))
        self._work.changed("principal", identity.id)

    async def add_api_key(self, api_key: ApiKey, digest: bytes) -> None:
        """A new key."""
        await self._work.add(API_KEYS, _api_key_row(api_key) | {"digest": digest})

    async def replace_api_key(self, api_key: ApiKey) -> None:
        """Revoked, replaced, shortened."""
        row = _api_key_row(api_key)
        del row["used_ns"]  # written by `write_used` alone
        await self._work.run(self._work.update(API_KEYS).where(_K.id == api_key.id).values(row))
        self._work.changed("api_key", api_key.id)


def _words(values: frozenset[Any]) -> str:
    return " ".join(sorted(values))


def _identity_row(identity: Identity) -> dict[str, Any]:
    return {
        "book": identity.book,
        "id": identity.id,
        "kind": identity.kind,
        "name": identity.name,
        "roles": _words(identity.roles),
        "state": identity.state.value,
        "party": None if identity.party is None else identity.party.to_bytes(16, "big"),
        "created_ns": identity.created_ns,
    }


def _identity(row: RowMapping) -> Identity:
    party = row["party"]
    return Identity(
        book=row["book"],
        id=row["id"],
        kind=row["kind"],
        name=row["name"],
        roles=frozenset(map(Role, row["roles"].split())),
        state=State(row["state"]),
        party=None if party is None else int.from_bytes(party, "big"),
        created_ns=row["created_ns"],
    )


_SAME: Final = (
    "book",
    "id",
    "principal",
    "name",
    "hint",
    "is_live",
    "created_by",
    "created_ns",
    "expires_ns",
    "used_ns",
    "revoked_ns",
    "replaced_by",
)
"""Columns that are as the fields are."""


def _api_key_row(api_key: ApiKey) -> dict[str, Any]:
    row = {name: getattr(api_key, name) for name in _SAME}
    return row | {"scopes": _words(api_key.scopes), "addresses": " ".join(api_key.addresses)}


def _api_key(row: RowMapping) -> ApiKey:
    return ApiKey(
        **{name: row[name] for name in _SAME},
        scopes=frozenset(map(Action, row["scopes"].split())),
        addresses=tuple(row["addresses"].split()),
    )
