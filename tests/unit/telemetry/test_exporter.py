"""Spans reach a collector as OTLP says; a collector that is away costs spans and nothing else."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SentSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from qenex.telemetry import exporter
from qenex.telemetry.exporter import Exporter
from qenex.telemetry.tracing import Tracer

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

RESOURCE = {"service.name": "qenex-http", "service.instance.id": "1"}


class Collector(ThreadingHTTPServer):
    """Takes what an OpenTelemetry collector would, and decodes it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, str, ExportTraceServiceRequest]] = []
        self.status = 200
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.asked = threading.Semaphore(0)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/traces"

    @property
    def spans(self) -> list[SentSpan]:
        return [
            span
            for _, _, request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.release()
        self.server.may_answer.wait(30)
        self.server.requests.append(
            (self.path, self.headers["content-type"], ExportTraceServiceRequest.FromString(body))
        )
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as the base class calls it
        """Says nothing."""


@contextmanager
def collecting() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            collector.may_answer.set()
            collector.shutdown()
            thread.join()


def test_a_request_arrives_as_it_was() -> None:
    with collecting() as collector:
        one = Exporter(collector.endpoint, RESOURCE)
        trace = Tracer(one, 1).begin(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        with trace.span("engine call", {"qenex.entry": 7}):
            pass
        trace.finish("POST /api/v1/transaction", attributes={"http.response.status_code": 201})
        one.close()
        assert (one.sent, one.failed, one.dropped) == (2, 0, 0)
        ((path, kind, request),) = collector.requests
        assert (path, kind) == ("/v1/traces", "application/x-protobuf")
        (resource,) = request.resource_spans
        named = {item.key: item.value.string_value for item in resource.resource.attributes}
        assert RESOURCE.items() <= named.items()
        whole, part = collector.spans
        assert whole.trace_id.hex() == part.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
        assert whole.parent_span_id.hex() == "b7ad6b7169203331"
        assert part.parent_span_id == whole.span_id == trace.span_id
        assert (whole.name, whole.kind) == ("POST /api/v1/transaction", SentSpan.SPAN_KIND_SERVER)
        assert (part.name, part.kind) == ("engine call", SentSpan.SPAN_KIND_INTERNAL)
        assert [(item.key, item.value.int_value) for item in part.attributes] == [("qenex.entry", 7)]
        assert whole.start_time_unix_nano <= part.start_time_unix_nano <= whole.end_time_unix_nano
        assert whole.status.code == Status.STATUS_CODE_UNSET


def test_our_own_failure_is_marked() -> None:
    with collecting() as collector:
        one = Exporter(collector.endpoint, RESOURCE)
        Tracer(one, 1).begin().finish("GET /x", is_error=True)
        one.close()
        (span,) = collector.spans
        assert span.status.code == Status.STATUS_CODE_ERROR
        assert not span.parent_span_id


def test_spans_share_requests_without_waiting_for_the_end() -> None:
    with collecting() as collector:
        one = Exporter(collector.endpoint, RESOURCE, pause_s=3_600)
        tracer = Tracer(one, 1)
        for _ in range(exporter.BATCH_MAX):
            tracer.begin().finish("GET /x")
        assert collector.asked.acquire(timeout=30), "a full batch goes at once"
        one.close()
        assert len(collector.spans) == exporter.BATCH_MAX
        assert len(collector.requests) == 1


def test_what_a_slow_collector_leaves_no_room_for_is_dropped_and_counted() -> None:
    with collecting() as collector:
        collector.may_answer.clear()
        one = Exporter(collector.endpoint, RESOURCE, pause_s=0)
        tracer = Tracer(one, 1)
        tracer.begin().finish("GET /first")
        assert collector.asked.acquire(timeout=30)
        for _ in range(exporter.WAITING_MAX + 100):
            tracer.begin().finish("GET /x")
        assert one.waiting == exporter.WAITING_MAX
        assert one.dropped == 100
        collector.may_answer.set()
        one.close()
        assert one.sent == exporter.WAITING_MAX + 1


def test_what_a_collector_refuses_is_lost_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with collecting() as collector:
        collector.status = 400
        one = Exporter(collector.endpoint, RESOURCE, pause_s=3_600)
        tracer = Tracer(one, 1)
        for _ in range(2 * exporter.BATCH_MAX):
            tracer.begin().finish("GET /x")
        one.close()
        assert (one.sent, one.failed) == (0, 2 * exporter.BATCH_MAX)
        events = [vars(record).get("event") for record in caplog.records]
        assert events.count("traces_failed") == 1
