"""Principals of a book and their API keys: made, changed, ended, and found by the secret that somebody shows."""

from __future__ import annotations

import hmac
import secrets
import time
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from qenex.errors import ApiKeyNotFound, LastOwner, PrincipalNotFound, PrincipalSuspended, Unauthenticated
from qenex.principals import Principal, Role
from qenex.services.identity import rules
from qenex.services.identity.messages import ApiKey, Identity, IssuedApiKey, State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qenex.services.identity.messages import (
        ChangeRoles,
        CreatePrincipal,
        IssueApiKey,
        Kind,
        ReactivatePrincipal,
        RevokeApiKey,
        RotateApiKey,
        SuspendPrincipal,
    )
    from qenex.services.identity.ports import Change, Changes, Changing, Powers, Reading, Store

REMEMBERED_MAX: Final = 10_000
"""Keys that a process remembers, those used last; others cost a look-up."""
PAGE_MAX: Final = 200


class _Known(NamedTuple):
    """A key that was found before."""

    principal: Principal
    expires_ns: int
    networks: tuple[rules.Network, ...]


class Identities:
    """The principals of all books; each call is about the book of whoever acts.

    Whether somebody may do such a thing at all is admission's to judge. Here it is held that nobody gives what he does
    not have, and that a book keeps an owner.
    """

    def __init__(
        self,
        store: Store,
        changes: Changes,
        powers: Powers,
        digest: Callable[[bytes], bytes],
        *,
        clock: Callable[[], int] = time.time_ns,
        remembered_max: int = REMEMBERED_MAX,
    ) -> None:
        """Wires it.

        Args:
            store: the records.
            changes: tells what other processes change.
            powers: what roles allow.
            digest: keyed digest of a secret, under the pepper.
            clock: UTC nanoseconds.
            remembered_max: keys that are remembered.
        """
        self._store, self._changes, self._powers, self._digest, self._clock = store, changes, powers, digest, clock
        self._remembered_max = remembered_max
        self._remembered: OrderedDict[bytes, _Known] = OrderedDict()
        self._dropped = 0
        self._used: dict[tuple[bytes, str], int] = {}
        self._close = changes.listen(frozenset({"principal", "api_key"}), self._on_change, self._forget_all)

    async def close(self) -> None:
        """Listens no more, and writes what is still to be written."""
        self._close()
        await self.write_used()

    # Who is it?

    async def authenticate(self, secret: str, address: str | None) -> Principal:
        """The principal of an API key.

        A key that was used here lately is known without a look at the records, and forgotten within a second of any
        change to it or its principal, wherever that is made. One that cannot be a key costs nothing, one that is
        unknown one look at an index. Nothing is counted against anybody, so that strangers can lock nobody out.

        Args:
            secret: as it was shown.
            address: the peer's; `None` where that is unknown.

        Raises:
            Unauthenticated: it is no key of ours, is over, or is not to be used from there.
            RecordsUnavailable: it has to be looked up, and cannot be.
        """
        if not rules.is_key(secret):
            raise Unauthenticated("It is no API key: its form or its checksum is wrong.")
        digest = self._digest(secret.encode("ascii"))
        known = self._remembered.get(digest) if self._changes.is_current else None
        now_ns = self._clock()
        if known is None:
            known = await self._look_up(digest, now_ns)
        else:
            self._remembered.move_to_end(digest)
        principal = known.principal
        rules.check_not_expired(principal.credential, known.expires_ns, now_ns)
        rules.check_address(principal.credential, known.networks, address)
        self._used[principal.book, principal.credential] = now_ns
        return principal

    async def write_used(self) -> None:
        """Writes when keys were used last: to be called once a minute. Where it fails, the next call has it, too."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            await self._store.write_used(used)
        except BaseException:
            self._used = used | self._used
            raise

    # Principals

    async def create(self, actor: Principal, command: CreatePrincipal) -> Identity:
        """A new principal of the actor's book.

        Raises:
            InvalidField: it cannot be so.
            GrantTooWide: it would have more than the actor.
        """
        rules.check_new(command)
        rules.check_may_give(actor, command.roles)
        now_ns = self._clock()
        identity = Identity(
            book=actor.book,
            id=rules.principal_id(command.kind, now_ns // 1_000_000, secrets.token_bytes(10)),
            kind=command.kind,
            name=command.name,
            roles=command.roles,
            state=State.ACTIVE,
            party=command.party,
            created_ns=now_ns,
        )
        async with self._store.changing(actor.book) as records:
            await records.add_identity(identity)
        return identity

    async def change_roles(self, actor: Principal, command: ChangeRoles) -> Identity:
        """Other roles for a principal.

        Raises:
            PrincipalNotFound: there is none.
            InvalidField: its kind cannot have them.
            GrantTooWide: the actor has less than it had or is to have.
            LastOwner: the book would have no owner.
        """
        async with self._store.changing(actor.book) as records:
            identity = await _identity(records, command.principal)
            rules.check_roles(identity.kind, command.roles)
            rules.check_may_rule(actor, identity)
            rules.check_may_give(actor, command.roles)
            changed = await _replace(records, identity, replace(identity, roles=command.roles))
        self._forget(changed.book, "principal", changed.id)
        return changed

    async def suspend(self, actor: Principal, command: SuspendPrincipal) -> Identity:
        """A principal that may do nothing any more, on any node within a second.

        Raises:
            PrincipalNotFound: there is none.
            GrantTooWide: it has more than the actor.
            LastOwner: the book would have no owner.
        """
        async with self._store.changing(actor.book) as records:
            identity = await _identity(records, command.principal)
            rules.check_may_rule(actor, identity)
            changed = await _replace(records, identity, replace(identity, state=State.SUSPENDED))
        self._forget(changed.book, "principal", changed.id)
        return changed

    async def reactivate(self, actor: Principal, command: ReactivatePrincipal) -> Identity:
        """A principal that may act again.

        Raises:
            PrincipalNotFound: there is none.
            GrantTooWide: it has more than the actor.
        """
        async with self._store.changing(actor.book) as records:
            identity = await _identity(records, command.principal)
            rules.check_may_give(actor, identity.roles)
            return await _replace(records, identity, replace(identity, state=State.ACTIVE))

    async def get(self, actor: Principal, principal: str) -> Identity:
        """A principal of the actor's book.

        Raises:
            PrincipalNotFound: there is none.
        """
        async with self._store.reading(actor.book) as records:
            return await _identity(records, principal)

    async def list(
        self, actor: Principal, *, kind: Kind | None = None, after: str = "", limit: int = PAGE_MAX
    ) -> Sequence[Identity]:
        """Principals of the actor's book in order of id, behind the id `after`, at most 200."""
        async with self._store.reading(actor.book) as records:
            return await records.identities(kind=kind, after=after, limit=min(limit, PAGE_MAX))

    # API keys

    async def issue_api_key(self, actor: Principal, command: IssueApiKey) -> IssuedApiKey:
        """A new key, and its secret for the only time.

        Raises:
            PrincipalNotFound: there is no such principal.
            PrincipalSuspended: it is suspended.
            InvalidField: a key cannot be so.
            GrantTooWide: its holder could do what the actor cannot.
            Forbidden: it would act in another user's name.
        """
        now_ns = self._clock()
        addresses = rules.check_key(command, now_ns)
        secret, api_key = self._new_key(
            ApiKey(
                book=actor.book,
                id="",
                principal=command.principal,
                name=command.name,
                hint="",
                is_live=command.is_live,
                scopes=command.scopes,
                addresses=addresses,
                created_by=actor.id,
                created_ns=now_ns,
                expires_ns=now_ns + rules.LIFETIME_NS if command.expires_ns is None else command.expires_ns,
            )
        )
        async with self._store.changing(actor.book) as records:
            await self._check_may_issue(records, actor, api_key)
            await records.add_api_key(api_key, self._digest(secret.encode("ascii")))
        return IssuedApiKey(api_key, secret)

    async def rotate_api_key(self, actor: Principal, command: RotateApiKey) -> IssuedApiKey:
        """A new key in place of one, which stays valid for the overlap.

        The new one is valid for as long as the old one was made for.

        Raises:
            ApiKeyNotFound: there is no such key.
            ApiKeyEnded: it is over, or was rotated before.
            PrincipalSuspended: its principal is suspended.
            InvalidField: the overlap is too long.
            GrantTooWide: its holder could do what the actor cannot.
            Forbidden: it acts in another user's name.
        """
        rules.check_overlap(command.overlap_s)
        now_ns = self._clock()
        async with self._store.changing(actor.book) as records:
            old = await _api_key(records, command.api_key)
            rules.check_not_ended(old, now_ns)
            await self._check_may_issue(records, actor, old)
            expires_ns = now_ns + old.expires_ns - old.created_ns
            secret, new = self._new_key(
                replace(old, created_by=actor.id, created_ns=now_ns, expires_ns=expires_ns, used_ns=None)
            )
            await records.add_api_key(new, self._digest(secret.encode("ascii")))
            await records.replace_api_key(rules.rotated(old, new.id, now_ns, command.overlap_s))
        return IssuedApiKey(new, secret)

    async def revoke_api_key(self, actor: Principal, command: RevokeApiKey) -> ApiKey:
        """A key that is over, on every node within a second.

        Raises:
            ApiKeyNotFound: there is no such key.
            GrantTooWide: its principal has more than the actor.
        """
        async with self._store.changing(actor.book) as records:
            api_key = await _api_key(records, command.api_key)
            rules.check_may_rule(actor, await _identity(records, api_key.principal))
            if api_key.revoked_ns is None:
                api_key = replace(api_key, revoked_ns=self._clock())
                await records.replace_api_key(api_key)
        self._forget(api_key.book, "api_key", api_key.id)
        return api_key

    async def get_api_key(self, actor: Principal, api_key: str) -> ApiKey:
        """A key of the actor's book, without its secret.

        Raises:
            ApiKeyNotFound: there is none.
        """
        async with self._store.reading(actor.book) as records:
            return await _api_key(records, api_key)

    async def list_api_keys(
        self, actor: Principal, *, principal: str | None = None, after: str = "", limit: int = PAGE_MAX
    ) -> Sequence[ApiKey]:
        """Keys of the actor's book in order of id, oldest first, behind the id `after`, at most 200."""
        async with self._store.reading(actor.book) as records:
            return await records.api_keys(principal=principal, after=after, limit=min(limit, PAGE_MAX))

    # How it is done

    async def _look_up(self, digest: bytes, now_ns: int) -> _Known:
        dropped = self._dropped
        found = await self._store.find_api_key(digest)
        if found is None or not hmac.compare_digest(found.digest, digest):
            raise Unauthenticated("There is no such API key.")
        rules.check_usable(found.api_key, found.identity, now_ns)
        known = _known(found.api_key, found.identity)
        # What was dropped while it was looked up may have been this: it is as it was before the change.
        if self._changes.is_current and dropped == self._dropped:
            self._remembered[digest] = known
            if len(self._remembered) > self._remembered_max:
                self._remembered.popitem(last=False)
        return known

    async def _check_may_issue(self, records: Reading, actor: Principal, api_key: ApiKey) -> None:
        identity = await _identity(records, api_key.principal)
        powers = self._powers.powers(actor.book, actor.roles)
        rules.check_may_issue(actor, powers, identity, api_key.scopes, is_live=api_key.is_live)
        if identity.state != State.ACTIVE:
            raise PrincipalSuspended(identity.id)

    def _new_key(self, api_key: ApiKey) -> tuple[str, ApiKey]:
        """A new secret, and the key with an id and the secret's hint."""
        secret = rules.key_text(secrets.token_bytes(32), is_live=api_key.is_live)
        new_id = rules.id_of("key", api_key.created_ns // 1_000_000, secrets.token_bytes(10))
        return secret, replace(api_key, id=new_id, hint=rules.key_hint(secret))

    def _on_change(self, change: Change) -> None:
        self._forget(change.book, change.kind, change.subject)

    def _forget(self, book: bytes, kind: str, subject: str) -> None:
        self._dropped += 1
        stale = [
            digest
            for digest, known in self._remembered.items()
            if known.principal.book == book
            and subject == (known.principal.credential if kind == "api_key" else known.principal.id)
        ]
        for digest in stale:
            del self._remembered[digest]

    def _forget_all(self) -> None:
        self._dropped += 1
        self._remembered.clear()


def _known(api_key: ApiKey, identity: Identity) -> _Known:
    principal = Principal(
        book=identity.book,
        id=identity.id,
        kind=identity.kind,
        roles=identity.roles,
        credential=api_key.id,
        party=identity.party,
        scopes=api_key.scopes,
        is_live=api_key.is_live,
    )
    return _Known(principal, api_key.expires_ns, rules.networks(api_key))


async def _replace(records: Changing, old: Identity, new: Identity) -> Identity:
    if new == old:
        return old
    if _is_owner(old) and not _is_owner(new) and not await records.has_other_owner(old.id):
        raise LastOwner(old.id)
    await records.replace_identity(new)
    return new


def _is_owner(identity: Identity) -> bool:
    return identity.kind == "user" and identity.state == State.ACTIVE and Role.OWNER in identity.roles


async def _identity(records: Reading, principal: str) -> Identity:
    identity = await records.identity(principal)
    if identity is None:
        raise PrincipalNotFound(principal)
    return identity


async def _api_key(records: Reading, api_key: str) -> ApiKey:
    found = await records.api_key(api_key)
    if found is None:
        raise ApiKeyNotFound(api_key)
    return found
