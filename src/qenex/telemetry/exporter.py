"""Sends spans to an OpenTelemetry collector (OTLP over HTTP, protobuf), from a thread of its own.

What waits is bounded: where the collector is away or slow, spans are dropped and counted. Requests never wait for it.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from qenex.telemetry.tracing import SAMPLED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qenex.telemetry.tracing import Span

LOG: Final = logging.getLogger("qenex.telemetry")

WAITING_MAX: Final = 8_192
"""Spans that wait to be sent."""
BATCH_MAX: Final = 512
"""Spans of one request to the collector."""
PAUSE_S: Final = 1.0
"""How long spans may wait for others to share a request with."""
TIMEOUT_S: Final = 5.0
"""How long one batch is tried."""
CLOSE_S: Final = 2 * TIMEOUT_S
"""How long the last batch may take when the process ends."""

_SCOPE: Final = InstrumentationScope("qenex")


class Exporter:
    """Implements `qenex.telemetry.tracing.Sink`."""

    def __init__(self, endpoint: str, resource: Mapping[str, str], *, pause_s: float = PAUSE_S) -> None:
        """Starts the thread.

        Args:
            endpoint: the collector's address for traces, such as `http://127.0.0.1:4318/v1/traces`.
            resource: what these spans are from: `service.name`, `service.version`, `service.instance.id`.
            pause_s: how long spans may wait for others.
        """
        self._resource = Resource(dict(resource))
        # It would say of every batch what is said here once.
        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
        self._exporter = OTLPSpanExporter(endpoint=endpoint, timeout=TIMEOUT_S)
        self._pause_s = pause_s
        self._waiting: deque[Span] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._until = math.inf
        """When nothing more is tried."""
        self._is_failing = False
        self.sent = 0
        """Spans that the collector took."""
        self.dropped = 0
        """Spans that there was no room for."""
        self.failed = 0
        """Spans that the collector did not take."""
        self._thread = threading.Thread(target=self._run, name="qenex-traces", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Spans that wait to be sent."""
        return len(self._waiting)

    def take(self, spans: list[Span]) -> None:
        """As `Sink` says: keeps them, or drops them where there is no room."""
        if len(self._waiting) + len(spans) > WAITING_MAX or self._closing:
            self.dropped += len(spans)
            return
        self._waiting.extend(spans)
        if len(self._waiting) >= BATCH_MAX:
            self._wake.set()

    def close(self) -> None:
        """Sends what waits, as far as there is time, and ends."""
        self._until = time.monotonic() + CLOSE_S
        self._closing = True
        self._wake.set()
        self._thread.join(CLOSE_S + TIMEOUT_S)
        self.dropped += len(self._waiting)
        self._waiting.clear()
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # has no annotations

    def _run(self) -> None:
        while True:
            self._wake.wait(self._pause_s)
            self._wake.clear()
            while self._waiting and time.monotonic() < self._until:
                self._send([self._waiting.popleft() for _ in range(min(BATCH_MAX, len(self._waiting)))])
            if self._closing:
                return

    def _send(self, spans: Sequence[Span]) -> None:
        result = self._exporter.export([self._readable(span) for span in spans])
        if result is SpanExportResult.SUCCESS:
            self.sent += len(spans)
            if self._is_failing:
                LOG.warning("the collector of traces is back", extra={"event": "traces_restored"})
            self._is_failing = False
            return
        self.failed += len(spans)
        if not self._is_failing:
            LOG.error("the collector takes no traces", extra={"event": "traces_failed"})
        self._is_failing = True

    def _readable(self, span: Span) -> ReadableSpan:
        return ReadableSpan(
            span.name,
            _context(span.trace_id, span.span_id, is_remote=False),
            _context(span.trace_id, span.parent_id, is_remote=span.is_server) if any(span.parent_id) else None,
            self._resource,
            dict(span.attributes),
            kind=SpanKind.SERVER if span.is_server else SpanKind.INTERNAL,
            instrumentation_scope=_SCOPE,
            status=Status(StatusCode.ERROR) if span.is_error else Status(StatusCode.UNSET),
            start_time=span.began_ns,
            end_time=span.ended_ns,
        )


def _context(trace_id: bytes, span_id: bytes, *, is_remote: bool) -> SpanContext:
    return SpanContext(int.from_bytes(trace_id, "big"), int.from_bytes(span_id, "big"), is_remote, TraceFlags(SAMPLED))
