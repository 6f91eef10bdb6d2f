"""What identity needs of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from qenex.principals import Action, Role
    from qenex.services.identity.messages import ApiKey, Identity, Kind


class Found(NamedTuple):
    """A key that was looked for, and whose it is."""

    api_key: ApiKey
    identity: Identity
    digest: bytes
    """As it is kept."""


class Reading(Protocol):
    """Reads the principals and keys of one book."""

    async def identity(self, principal: str) -> Identity | None:
        """One principal."""

    async def identities(self, *, kind: Kind | None, after: str, limit: int) -> Sequence[Identity]:
        """Principals in order of id, behind one."""

    async def api_key(self, api_key: str) -> ApiKey | None:
        """One key."""

    async def api_keys(self, *, principal: str | None, after: str, limit: int) -> Sequence[ApiKey]:
        """Keys in order of id, behind one."""

    async def has_other_owner(self, principal: str) -> bool:
        """Whether an active user other than this one is owner."""


class Changing(Reading, Protocol):
    """Changes them, in one db transaction, which nobody else's rules can get between."""

    async def add_identity(self, identity: Identity) -> None:
        """A new principal."""

    async def replace_identity(self, identity: Identity) -> None:
        """Other roles or another state; every node is told."""

    async def add_api_key(self, api_key: ApiKey, digest: bytes) -> None:
        """A new key."""

    async def replace_api_key(self, api_key: ApiKey) -> None:
        """Revoked, replaced, shortened; every node is told."""


class Store(Protocol):
    """The records of identity."""

    def reading(self, book: bytes) -> AbstractAsyncContextManager[Reading]:
        """Something to read a book with."""

    def changing(self, book: bytes) -> AbstractAsyncContextManager[Changing]:
        """Something to change a book with; all of it happens or nothing."""

    async def find_api_key(self, digest: bytes) -> Found | None:
        """The key of a digest, in whatever book: a stranger's key does not say which."""

    async def write_used(self, used: Mapping[tuple[bytes, str], int]) -> None:
        """When keys were used last: by book and id."""


class Change(Protocol):
    """Something that has changed, here or in another process."""

    @property
    def book(self) -> bytes:
        """In which book."""

    @property
    def kind(self) -> str:
        """What it was: `principal`, `api_key`."""

    @property
    def subject(self) -> str:
        """Its id."""


class Changes(Protocol):
    """Tells what changes."""

    @property
    def is_current(self) -> bool:
        """Whether what changed up to a second ago has been told, so that what is cached may be believed."""

    def listen(
        self, kinds: frozenset[str], on_change: Callable[[Change], None], on_lost: Callable[[], None]
    ) -> Callable[[], None]:
        """Calls the first for each change of these kinds, the second where some were missed; the result ends it."""


class Powers(Protocol):
    """What roles allow, by the policies of a book."""

    def powers(self, book: bytes, roles: frozenset[Role]) -> frozenset[Action]:
        """Every action that some policy can allow to somebody with these roles."""
