"""Who a request is from: a `Principal` is made of the credential that it shows, or it is refused."""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import TYPE_CHECKING, Final, Protocol

from qenex.errors import Unauthenticated
from qenex.principals import Principal, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OPEN: Final = frozenset({"/health", "/api/v1/health"})
"""Answered without a credential."""
BROWSED: Final = frozenset({"/docs", "/api/v1/openapi.json"})
"""For people with a browser, which can ask for a password (the credential, any user name) but sends no bearer token."""

UNKNOWN: Final = Principal(bytes(16), "anonymous", "service", frozenset(), "none", scopes=frozenset())
"""Whoever asks for what is `OPEN`: it has no role and no scope, so that nothing else is open to it."""


class Credentials(Protocol):
    """Knows the credentials of programs and people."""

    async def authenticate(self, secret: str, address: str | None) -> Principal:
        """Whose a bearer credential is.

        Raises:
            Unauthenticated: nobody's.
        """


class Authentication:
    """Reads the credential of a request."""

    def __init__(self, token: str, book: Callable[[], bytes], credentials: Credentials | None = None) -> None:
        """Wires it.

        Args:
            token: the owner credential of the installation's first book.
            book: the id of that book.
            credentials: knows all others.
        """
        self._token, self._book, self._credentials = token.encode("ascii"), book, credentials
        self._owner: Principal | None = None

    async def principal(self, path: str, headers: Mapping[bytes, bytes], address: str | None = None) -> Principal:
        """Whose request this is.

        Args:
            path: what it asks for.
            headers: its headers by lower-case name.
            address: the peer's.

        Raises:
            Unauthenticated: the credential is absent or unknown.
        """
        given = headers.get(b"authorization", b"")
        scheme, _, credential = given.partition(b" ")
        kind = scheme.lower()
        if kind == b"bearer":
            return await self._bearer(credential.strip(), address, path)
        if kind == b"basic" and path in BROWSED:
            return await self._bearer(_password(credential), address, path)
        raise _unknown(path)

    async def _bearer(self, secret: bytes, address: str | None, path: str) -> Principal:
        if hmac.compare_digest(secret, self._token):
            return self.owner
        if self._credentials is None or not secret.isascii():
            raise _unknown(path)
        return await self._credentials.authenticate(secret.decode("ascii"), address)

    @property
    def owner(self) -> Principal:
        """The owner of the first book."""
        if self._owner is None:
            self._owner = Principal(self._book(), "owner", "owner", frozenset({Role.OWNER}), "owner")
        return self._owner


def _unknown(path: str) -> Unauthenticated:
    browsers = " A browser asks for it: any user name, the credential as the password." if path in BROWSED else ""
    return Unauthenticated(f"Send it as `Authorization: Bearer <credential>`; the owner's is in owner.token.{browsers}")


def _password(credential: bytes) -> bytes:
    try:
        return base64.b64decode(credential.strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return b""
