"""One HTTP exchange as a route sees it: who asks, what came, what goes back."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from qenex.api.strict_json import decode
from qenex.api.view import View
from qenex.errors import BodyTooLarge, InvalidIdempotencyKey, MalformedRequest, UnsupportedMediaType

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from qenex.api.admission import Admission, What
    from qenex.api.desks import Desk
    from qenex.api.strict_json import Value
    from qenex.limits import Limits
    from qenex.principals import Action, Principal

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Scope = MutableMapping[str, Any]

Headers = list[tuple[bytes, bytes]]
Answer = tuple[int, Headers, bytes]
"""Status, headers, body."""

KEY_LENGTH_MAX: Final = 255
"""Characters of an idempotency key."""

BODY_BYTES_MAX: Final = 16_384
"""Body of a request that writes one thing."""
BODY_VALUES_MAX: Final = 64
"""Values in it."""

_ONE_VALUE_ONLY: Final = (b"authorization", b"content-length", b"content-type", b"idempotency-key", b"host")


class ClientGone(Exception):
    """The client closed its connection before its request was complete; nobody waits for an answer."""


@dataclass(slots=True, frozen=True)
class Exchange:
    """A request whose head has been read."""

    headers: dict[bytes, bytes]
    receive: Receive
    request_id: str
    """A UUID, in the answer's `X-Request-Id` and in its problem's `instance`."""
    principal: Principal
    """Whose credential it is."""
    desk: Desk
    """Its book's."""
    admission: Admission
    """Decides what it may."""
    limits: Limits
    """Judge how much it may."""
    peer: bytes
    """Whose address it is, as the limits count it."""

    @property
    def view(self) -> View:
        """What it can read."""
        return View(self.desk, self.principal, self.admission)

    def check(self, action: Action) -> None:
        """Checks book and scope, where what it is done to is not known yet.

        Raises:
            Forbidden: the principal may not do this, whatever it is done to.
        """
        self.admission.check(self.principal, self.desk.book, action)

    def admit(self, action: Action, what: What = None) -> bytes:
        """Admits the principal to an action; the digest of the decision.

        Raises:
            Forbidden: it may not do this.
        """
        return self.admission.admit(self.principal, self.desk.book, action, what)

    async def charge(self, cost: int) -> None:
        """Counts what a request costs beyond one.

        Raises:
            RateLimited: that is too much; nothing was done.
        """
        if cost > 0:
            verdict = await self.limits.judge(self.principal, self.peer, monotonic_ns(), cost)
            if not verdict.allowed:
                raise verdict.error()

    async def json(self, *, bytes_max: int = BODY_BYTES_MAX, values_max: int = BODY_VALUES_MAX) -> tuple[Value, bytes]:
        """The body, read as strict JSON, and as it came.

        Raises:
            UnsupportedMediaType: it is not sent as application/json.
            BodyTooLarge: it is larger than `bytes_max`.
            InvalidJson: it cannot be read.
            ClientGone: the connection ended.
        """
        kind, _, parameters = self.headers.get(b"content-type", b"").partition(b";")
        if kind.strip().lower() != b"application/json" or b"content-encoding" in self.headers:
            raise UnsupportedMediaType
        if parameters and parameters.strip().lower().replace(b'"', b"") != b"charset=utf-8":
            raise UnsupportedMediaType
        body = await self.body(bytes_max)
        if len(body) <= BODY_BYTES_MAX:
            return decode(body, values_max=values_max), body
        # A large body that is wrong takes the slow reader seconds: meanwhile others have their turn.
        return await asyncio.to_thread(decode, body, values_max=values_max), body

    async def body(self, bytes_max: int) -> bytes:
        """The whole body; slow ones are cut off by the protocol below (`protocol.py`).

        Raises:
            BodyTooLarge: it is larger than `bytes_max`.
            ClientGone: the connection ended.
        """
        if int(self.headers.get(b"content-length", b"0")) > bytes_max:
            raise BodyTooLarge(bytes_max)
        message = await self.receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            body: bytes = message.get("body", b"")
            if len(body) > bytes_max:
                raise BodyTooLarge(bytes_max)
            return body
        parts = bytearray()
        while True:
            if message["type"] != "http.request":
                raise ClientGone
            parts += message.get("body", b"")
            if len(parts) > bytes_max:
                raise BodyTooLarge(bytes_max)
            if not message.get("more_body", False):
                return bytes(parts)
            message = await self.receive()

    def idempotency_key(self) -> str | None:
        """The `Idempotency-Key` header; quotes around it, as the draft standard wants them, are no part of it.

        Raises:
            InvalidIdempotencyKey: empty, over 255 characters, or not visible ASCII.
        """
        given = self.headers.get(b"idempotency-key")
        if given is None:
            return None
        key = given.strip()
        if len(key) > 1 and key[:1] == key[-1:] == b'"':
            key = key[1:-1]
        if not 0 < len(key) <= KEY_LENGTH_MAX or not all(0x20 < character < 0x7F for character in key):
            raise InvalidIdempotencyKey("Idempotency-Key", f"1 to {KEY_LENGTH_MAX} visible ASCII characters are a key")
        return key.decode("ascii")


def read_headers(scope: Scope) -> dict[bytes, bytes]:
    """The request's headers by lower-case name.

    Raises:
        MalformedRequest: one of those that decide something stands twice; two readers could take different ones.
    """
    pairs: Headers = scope["headers"]
    headers = dict(pairs)
    if len(headers) != len(pairs):
        names = [name for name, _ in pairs]
        if any(names.count(name) > 1 for name in _ONE_VALUE_ONLY):
            raise MalformedRequest
    return headers


def new_request_id() -> str:
    """A random UUID (version 4)."""
    digits = bytearray(os.urandom(16))
    digits[6] = digits[6] & 0x0F | 0x40
    digits[8] = digits[8] & 0x3F | 0x80
    text = digits.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
