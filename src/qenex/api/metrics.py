"""What the HTTP process counts, and the page that Prometheus reads: its own numbers and the engine's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import (
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from qenex.api import problems
from qenex.errors import MethodNotAllowed, QenexError, RouteNotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from prometheus_client import CollectorRegistry

    from qenex.api.exchange import Receive, Scope, Send

MEDIA_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S: Final = (0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Upper bounds of the latency histogram."""


class HttpMetrics:
    """Requests by route and status, their latency, and what waits."""

    def __init__(
        self, rows_waiting: Callable[[], float], engine_up: Callable[[], float], registry: CollectorRegistry
    ) -> None:
        """Makes the collectors.

        Args:
            rows_waiting: transfers that no frame has taken yet.
            engine_up: 1 while there is a connection to the engine, else 0.
            registry: that the page shows.
        """
        self.registry = registry
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._requests = Counter(
            "qenex_http_requests", "Answered requests.", ("route", "method", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "qenex_http_request_seconds",
            "From the head of a request to the end of its answer.",
            ("route",),
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        waiting = Gauge("qenex_http_rows_waiting", "Transfers not yet sent to the engine.", registry=self.registry)
        waiting.set_function(rows_waiting)
        up = Gauge("qenex_http_engine_up", "1 while there is a connection to the engine.", registry=self.registry)
        up.set_function(engine_up)
        self._counters: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Counts one answer; `status` 499 stands for a client that left before."""
        key = (route, method, status)
        counters = self._counters.get(key)
        if counters is None:
            shown = method if method in _METHODS else "other"
            counters = self._requests.labels(route, shown, str(status)), self._seconds.labels(route)
            if shown == method:
                self._counters[key] = counters
        counters[0].inc()
        counters[1].observe(seconds)


_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class MetricsPage:
    """The ASGI application of the metrics listener: `GET /metrics`."""

    def __init__(
        self,
        metrics: HttpMetrics,
        engine_text: Callable[[], Awaitable[bytes]],
        guard: Callable[[Scope], Awaitable[None]] | None,
    ) -> None:
        """Wires it.

        Args:
            metrics: our own.
            engine_text: the engine's, in the same format; raises a `QenexError` while it does not answer.
            guard: refuses who may not see it; None where only this machine can ask.
        """
        self._metrics, self._engine_text, self._guard = metrics, engine_text, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # nothing is read
        """Answers one request."""
        try:
            if self._guard is not None:
                await self._guard(scope)
            status, headers, body = 200, [(b"content-type", MEDIA_TYPE)], await self._page(scope)
            headers.append((b"content-length", str(len(body)).encode("ascii")))
        except QenexError as error:
            status, headers, body = problems.encode(error)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _page(self, scope: Scope) -> bytes:
        if scope["path"] not in ("/metrics", "/"):
            raise RouteNotFound(scope["path"])
        if scope["method"] != "GET":
            raise MethodNotAllowed(scope["method"], ("GET",))
        own: bytes = generate_latest(self._metrics.registry)
        try:
            return own + await self._engine_text()
        except QenexError:
            # Our own numbers say that the engine is away; they must not vanish with it.
            return own
