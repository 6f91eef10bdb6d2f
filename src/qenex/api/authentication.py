"""Who a request is from: a `Principal` is made of the credential that it shows, or it is refused."""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import TYPE_CHECKING, Final, Protocol

from qenex.errors import Unauthenticated
from qenex.principals import Principal, Role

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

OPEN: Final = frozenset({"/health", "/api/v1/health"})
"""Answered without a credential."""
BROWSED: Final = frozenset({"/docs", "/api/v1/openapi.json"})
"""For people with a browser, which can ask for a password (the credential, any user name) but sends no bearer token."""

_HELP: Final = "Send it as `Authorization: Bearer <credential>`; the owner's is in owner.token."

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

    def __init__(
        self, token: str, book: Callable[[], Awaitable[bytes]], credentials: Credentials | None = None
    ) -> None:
        """Wires it.

        Args:
            token: the owner credential of the installation's first book.
            book: finds the id of that book; raises an `EngineError` while it cannot.
            credentials: knows all others.
        """
        self._token, self._book = token.encode("ascii"), book
        self.credentials = credentials
        """Knows all others; `None` knows none."""
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
        secret = b""
        if kind == b"bearer":
            secret = credential.strip()
        elif kind == b"basic" and path in BROWSED:
            secret = _password(credential)
        try:
            return await self.bearer(secret.decode("ascii"), address)
        except (Unauthenticated, UnicodeDecodeError):
            browsers = " A browser asks for it: any user name, the credential as the password."
            raise Unauthenticated(_HELP + (browsers if path in BROWSED else "")) from None

    async def bearer(self, secret: str, address: str | None) -> Principal:
        """Whose a bearer credential is, shown from an address.

        Raises:
            Unauthenticated: nobody's.
        """
        if secret.isascii() and hmac.compare_digest(secret.encode("ascii"), self._token):
            if self._owner is None:
                self._owner = Principal(await self._book(), "owner", "owner", frozenset({Role.OWNER}), "owner")
            return self._owner
        if self.credentials is None or not secret or not secret.isascii():
            raise Unauthenticated
        return await self.credentials.authenticate(secret, address)


def _password(credential: bytes) -> bytes:
    try:
        return base64.b64decode(credential.strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return b""
