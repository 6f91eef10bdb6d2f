"""The outermost layer: who may enter, which way, and what every answer carries.

The hot routes are answered here, in plain ASGI. Everything else goes on to the FastAPI application, which has the hot
routes too, so that they stand in its OpenAPI document.
"""

from __future__ import annotations

import logging
from time import monotonic_ns, perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

from qenex.api import problems, security_headers
from qenex.api.authentication import BROWSED, OPEN, UNKNOWN
from qenex.api.exchange import ClientGone, Exchange, new_request_id, read_headers
from qenex.errors import InternalError, MethodNotAllowed, QenexError, Unauthenticated
from qenex.limits import peer_key
from qenex.telemetry import tracing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from qenex.api.admission import Admission
    from qenex.api.authentication import Authentication
    from qenex.api.desks import Desks
    from qenex.api.exchange import Answer, Headers, Message, Receive, Scope, Send
    from qenex.api.metrics import HttpMetrics
    from qenex.api.versions import Versions
    from qenex.limits import Limits, Verdict
    from qenex.telemetry.tracing import Trace, Tracer

    Handler = Callable[[Exchange], Awaitable[Answer]]
    Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

LOG: Final = logging.getLogger("qenex.api")

_CLOSING: Final = frozenset({401, 408, 413, 431})
"""After these the connection ends: what the client still sends is not wanted."""
_HTML: Final = b"text/html"


class Protection(NamedTuple):
    """What stands before every route."""

    limits: Limits
    tracer: Tracer
    policy_header: bytes
    """Value of `RateLimit-Policy`."""


class Gateway:
    """The ASGI application that the server runs."""

    def __init__(
        self,
        authentication: Authentication,
        admission: Admission,
        protection: Protection,
        desks: Desks,
        hot: Mapping[str, Mapping[str, Handler]],
        application: Asgi,
        metrics: HttpMetrics,
        versions: Versions,
    ) -> None:
        """Wires it.

        Args:
            authentication: who somebody is.
            admission: what somebody may.
            protection: how much somebody may, and what is traced.
            desks: what is needed of each book.
            hot: handlers by path and method.
            application: answers everything else.
            metrics: counts.
            versions: of the API, and how long each is there.
        """
        self._versions = versions
        self._authentication, self._admission, self._desks = authentication, admission, desks
        self._limits, self._tracer, self._policy_header = protection
        self._hot, self._application, self._metrics = hot, application, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; an error of any kind becomes a problem document."""
        began = perf_counter()
        request_id = new_request_id()
        answering = _Answering(send, request_id, self._policy_header, is_secure=scope["scheme"] == "https")
        path: str = scope["path"]
        trace: Trace | None = None
        try:
            headers = read_headers(scope)
            answering.version = self._versions.headers(path)
            trace = answering.trace = self._tracer.begin(headers.get(b"traceparent"))
            tracing.enter(trace)
            exchange = await self._enter(scope, path, headers, receive, request_id, trace, answering)
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
            route, status = _route(scope, self._hot), answering.status
            self._metrics.observe(route, scope["method"], status, perf_counter() - began)
            if trace is not None and trace.sampled:
                facts = {"http.response.status_code": status}
                trace.finish(f"{scope['method']} {route}", is_error=status >= 500, attributes=facts)

    async def _enter(
        self,
        scope: Scope,
        path: str,
        headers: dict[bytes, bytes],
        receive: Receive,
        request_id: str,
        trace: Trace,
        answering: _Answering,
    ) -> Exchange:
        """Finds out whose a request is, and whether it is one too many.

        Raises:
            Unauthenticated: nobody's.
            RateLimited: one too many.
        """
        address = _peer(scope)
        peer = peer_key(address or "")
        if path in OPEN:
            principal, desk = UNKNOWN, self._desks.main
            verdict = await self._limits.judge(None, peer, monotonic_ns())
        else:
            try:
                with trace.span("authenticate"):
                    principal = await self._authentication.principal(path, headers, address)
            except Unauthenticated:
                failed = await self._limits.failed(peer, monotonic_ns())
                if failed.allowed:
                    raise
                answering.verdict = failed
                raise failed.error() from None
            verdict = await self._limits.judge(principal, peer, monotonic_ns())
            desk = self._desks.of(principal.book)
            if (connection := scope.get("qenex.connection")) is not None:
                connection.is_known = True
        answering.verdict = verdict
        if not verdict.allowed:
            raise verdict.error()
        return Exchange(headers, receive, request_id, principal, desk, self._admission, self._limits, peer)


class _Answering:
    """Sends one answer, with the headers that each carries."""

    __slots__ = ("_is_secure", "_policy_header", "_request_id", "_send", "status", "trace", "verdict", "version")

    def __init__(self, send: Send, request_id: str, policy_header: bytes, *, is_secure: bool) -> None:
        self._send, self._request_id = send, request_id.encode("ascii")
        self._policy_header, self._is_secure = policy_header, is_secure
        self.status = 0
        """0 until the answer began."""
        self.verdict: Verdict | None = None
        self.trace: Trace | None = None
        self.version: Headers = []

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
        if self.trace is not None:
            headers.append((b"traceresponse", self.trace.traceparent))
        if self.verdict is not None:
            headers.append((b"ratelimit-policy", self._policy_header))
            headers.append((b"ratelimit", self.verdict.header))
        headers.extend(self.version)
        is_page = any(name == b"content-type" and value.startswith(_HTML) for name, value in headers)
        security_headers.complete(headers, page=is_page, secure=self._is_secure)
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
