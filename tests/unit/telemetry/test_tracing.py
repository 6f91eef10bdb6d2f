"""Which trace a request belongs to, whether it is sampled, and what its spans say."""

from __future__ import annotations

import asyncio

import pytest

from qenex.telemetry import tracing
from qenex.telemetry.tracing import Span, Trace, Tracer, read_traceparent

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADER = f"00-{TRACE}-{PARENT}-01".encode()


class Kept:
    def __init__(self) -> None:
        self.spans: list[Span] = []

    def take(self, spans: list[Span]) -> None:
        self.spans += spans


def test_a_well_formed_header_is_read() -> None:
    parent = read_traceparent(HEADER)
    assert parent is not None
    assert (parent.trace_id.hex(), parent.span_id.hex(), parent.sampled) == (TRACE, PARENT, True)
    unsampled = read_traceparent(HEADER[:-2] + b"00")
    assert unsampled is not None
    assert not unsampled.sampled
    later = read_traceparent(b"cc" + HEADER[2:] + b"-what-comes-later")
    assert later is not None, "a later version may say more"


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"00",
        HEADER + b"-more",
        b"ff" + HEADER[2:],
        HEADER.upper(),
        HEADER.replace(TRACE.encode(), b"0" * 32),
        HEADER.replace(PARENT.encode(), b"0" * 16),
        HEADER.replace(b"-", b"_"),
        HEADER[:-1] + b"g",
        HEADER + b"\n" + HEADER,
        b"cc" + HEADER[2:] + b"-" + b"x" * 1_000,
        b"\xff" * 55,
    ],
)
def test_a_header_that_is_not_is_none(header: bytes | None) -> None:
    assert read_traceparent(header) is None
    trace = Tracer(None, 0).begin(header)
    assert len(trace.id) == 16
    assert any(trace.id)


def test_every_request_has_a_trace_even_where_none_is_kept() -> None:
    tracer = Tracer(None, 1)
    first, second = tracer.begin(), tracer.begin()
    assert first.id != second.id
    assert not first.sampled
    named = tracer.begin(HEADER)
    assert named.id.hex() == TRACE
    assert named.traceparent == f"00-{TRACE}-{named.span_id.hex()}-00".encode()
    assert read_traceparent(named.traceparent) is not None


def begin(part: float, drawn: int, header: bytes | None = None, *, trusted: bool = False) -> Trace:
    """A trace where chance is what the test says: `drawn` of 256."""
    return Tracer(Kept(), part, lambda count: bytes([drawn]) * count).begin(header, trusted=trusted)


def test_our_own_chance_decides() -> None:
    assert begin(0.5, 0x7F).sampled
    assert not begin(0.5, 0x80).sampled
    assert not begin(0, 0x01).sampled
    assert begin(1, 0xFF).sampled


@pytest.mark.parametrize("flag", [b"00", b"01"])
def test_a_stranger_does_not(flag: bytes) -> None:
    header = HEADER[:-2] + flag
    assert begin(0.5, 0x7F, header).sampled
    assert not begin(0.5, 0x80, header).sampled


@pytest.mark.parametrize("drawn", [0x01, 0xFF])
def test_a_trusted_caller_does(drawn: int) -> None:
    assert begin(0.5, drawn, HEADER, trusted=True).sampled
    assert not begin(0.5, drawn, HEADER[:-2] + b"00", trusted=True).sampled


def test_the_spans_of_a_request() -> None:
    kept = Kept()
    trace = Tracer(kept, 1).begin(HEADER)
    with trace.span("authenticate"):
        pass
    with pytest.raises(ValueError, match="x"), trace.span("admit", {"action": "accounts:read"}):
        raise ValueError("x")
    trace.finish("GET /api/v1/accounts/{id}", is_error=True, attributes={"http.response.status_code": 500})
    trace.finish("twice")
    whole, *parts = kept.spans
    assert (whole.name, whole.is_server, whole.is_error) == ("GET /api/v1/accounts/{id}", True, True)
    assert whole.parent_id.hex() == PARENT
    assert whole.span_id == trace.span_id
    assert [(part.name, part.is_error, part.attributes) for part in parts] == [
        ("authenticate", False, {}),
        ("admit", True, {"action": "accounts:read"}),
    ]
    assert all(part.parent_id == whole.span_id and part.trace_id.hex() == TRACE for part in parts)
    assert all(whole.began_ns <= part.began_ns <= part.ended_ns <= whole.ended_ns for part in parts)


def test_a_request_has_only_so_many() -> None:
    kept = Kept()
    trace = Tracer(kept, 1).begin()
    for _ in range(1_000):
        with trace.span("again"):
            pass
    trace.finish("x")
    assert len(kept.spans) == 65


async def test_each_task_has_the_trace_of_its_own_request() -> None:
    async def request() -> tuple[bytes, bytes]:
        trace = Tracer(None, 0).begin()
        tracing.enter(trace)
        await asyncio.sleep(0)
        return trace.id, await asyncio.create_task(part())

    async def part() -> bytes:
        return tracing.current_id()

    assert tracing.current_id() == tracing.NO_TRACE
    for own, seen in await asyncio.gather(request(), request()):
        assert own == seen
