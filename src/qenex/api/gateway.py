"""The outermost layer: who may enter, which way, and what every answer carries.

The hot routes are answered here, in plain ASGI. Everything else goes on to the FastAPI application, which has the hot
routes too, so that they stand in its OpenAPI document.
"""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING, Final

from qenex.api import problems
from qenex.api.authentication import BROWSED, OPEN, UNKNOWN
from qenex.api.exchange import ClientGone, Exchange, new_request_id, read_headers
from qenex.errors import InternalError, MethodNotAllowed, QenexError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from qenex.api.admission import Admission
    from qenex.api.authentication import Authentication
    from qenex.api.desks import Desks
    from qenex.api.exchange import Answer, Headers, Message, Receive, Scope, Send
    from qenex.api.metrics import HttpMetrics

    Handler = Callable[[Exchange], Awaitable[Answer]]
    Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

LOG: Final = logging.getLogger("qenex.api")

SECURITY_HEADERS: Final = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
"""On every answer that does not bring its own."""

_CLOSING: Final = frozenset({401, 408, 413, 431})
"""After these the connection ends: what the client still sends is not wanted."""


class Gateway:
    """The ASGI application that the server runs."""

    def __init__(
        self,
        authentication: Authentication,
        admission: Admission,
        desks: Desks,
        hot: Mapping[str, Mapping[str, Handler]],
        application: Asgi,
        metrics: HttpMetrics,
    ) -> None:
        """Wires it.

        Args:
            authentication: who somebody is.
            admission: what somebody may.
            desks: what is needed of each book.
            hot: handlers by path and method.
            application: answers everything else.
            metrics: counts.
        """
        self._authentication, self._admission, self._desks = authentication, admission, desks
        self._hot, self._application, self._metrics = hot, application, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; an error of any kind becomes a problem document."""
        began = perf_counter()
        request_id = new_request_id()
        answering = _Answering(send, request_id)
        path: str = scope["path"]
        try:
            headers = read_headers(scope)
            if path in OPEN:
                principal, desk = UNKNOWN, self._desks.main
            else:
                principal = await self._authentication.principal(path, headers, _peer(scope))
                desk = self._desks.of(principal.book)
                if (connection := scope.get("qenex.connection")) is not None:
                    connection.is_known = True
            exchange = Exchange(headers, receive, request_id, principal, desk, self._admission)
            methods = self._hot.get(path)
            if methods is None:
                scope["qenex.exchange"] = exchange
                await self._application(scope, receive, answering.message)
            else:
                handler = methods.get(scope["method"])
                if handler is None:
                    raise MethodNotAllowed(scope["method"], tuple(methods))  # noqa: TRY301  # one place makes problems
                await answering.answer(await handler(exchange))
        except ClientGone:
            answering.status = 499
        except QenexError as error:
            status, problem_headers, body = problems.encode(error, instance=request_id)
            if status == 401 and path in BROWSED:
                problem_headers.append((b"www-authenticate", b'Basic realm="qenex: password is the credential"'))
            await answering.answer((status, problem_headers, body))
        except Exception:
            LOG.exception("request %s: %s %s failed", request_id, scope["method"], path)
            await answering.answer(problems.encode(InternalError(), instance=request_id))
        finally:
            self._metrics.observe(_route(scope, self._hot), scope["method"], answering.status, perf_counter() - began)


class _Answering:
    """Sends one answer, with the headers that each carries."""

    __slots__ = ("_request_id", "_send", "status")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._request_id = send, request_id.encode("ascii")
        self.status = 0
        """0 until the answer began."""

    async def answer(self, answer: Answer) -> None:
        """Sends an answer, unless one has begun already: what fails after that can only be logged."""
        if self.status:
            return
        self.status, headers, body = answer
        self._complete(headers)
        await self._send({"type": "http.response.start", "status": self.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def message(self, message: Message) -> None:
        """Passes on what the application sends."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": list(message.get("headers", []))}
            self._complete(message["headers"])
        await self._send(message)

    def _complete(self, headers: Headers) -> None:
        headers.append((b"x-request-id", self._request_id))
        names = {name for name, _ in headers}
        headers.extend(pair for pair in SECURITY_HEADERS if pair[0] not in names)
        if self.status in _CLOSING:
            headers.append((b"connection", b"close"))


def _peer(scope: Scope) -> str | None:
    client = scope.get("client")
    return client[0] if client else None


def _route(scope: Scope, hot: Mapping[str, object]) -> str:
    """The route as it is declared, so that ids in addresses make no series of their own."""
    path: str = scope["path"]
    if path in hot:
        return path
    route = scope.get("route")
    return str(getattr(route, "path", "")) or "none"
