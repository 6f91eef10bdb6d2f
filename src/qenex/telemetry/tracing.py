"""Traces: where the time of a request went, from its head to the journal (W3C Trace Context, OpenTelemetry).

Every request has a trace id, which goes to the engine and into the journal's entry. Spans are made only for requests
that are sampled; for the others `span` does nothing.

A caller may name the trace that its request belongs to (`traceparent`), so that it can be found by the caller's own id.
Whether it is sampled is decided here: by our own chance, not by the caller's id or its flag, for otherwise strangers
could have all their requests recorded. Only from trusted callers (a program of ours, a proxy that is named) the flag
counts, both ways.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    Attributes = Mapping[str, str | int | bool | float]

NO_TRACE: Final = bytes(16)
"""What stands in a frame that belongs to no trace."""
SAMPLED: Final = 1
SPANS_MAX: Final = 64
"""Spans of one request that are kept."""

_TRACEPARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_RANGE: Final = 1 << 64
_NOTHING: Final[AbstractContextManager[None]] = nullcontext()


class Parent(NamedTuple):
    """What a `traceparent` says."""

    trace_id: bytes
    span_id: bytes
    sampled: bool


def read_traceparent(header: bytes | None) -> Parent | None:
    """The caller's trace; None where there is none or it is not well-formed, which is as good as none."""
    if header is None or len(header) > 512:
        return None
    found = _TRACEPARENT.fullmatch(header.strip())
    if found is None:
        return None
    version, trace_hex, span_hex, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more):
        return None
    trace_id, span_id = bytes.fromhex(trace_hex.decode("ascii")), bytes.fromhex(span_hex.decode("ascii"))
    if not any(trace_id) or not any(span_id):
        return None
    return Parent(trace_id, span_id, bool(int(flags, 16) & SAMPLED))


class Span(NamedTuple):
    """Something that took time."""

    name: str
    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    """8 zeros for the first of a trace."""
    began_ns: int
    """UTC nanoseconds, as `ended_ns`."""
    ended_ns: int
    attributes: Attributes
    is_server: bool
    """Whether it is a request that came in, rather than a part of one."""
    is_error: bool


class Sink(Protocol):
    """Takes spans."""

    def take(self, spans: list[Span]) -> None:
        """All spans of a request, at its end; must not wait."""


class Trace:
    """One request's trace."""

    __slots__ = ("_began_ns", "_parent_id", "_sink", "_spans", "id", "sampled", "span_id")

    def __init__(self, trace_id: bytes, span_id: bytes, parent_id: bytes, began_ns: int, sink: Sink | None) -> None:
        self.id = trace_id
        """16 bytes, for the engine's frame."""
        self.span_id = span_id
        """8 bytes: the request's own span."""
        self.sampled = sink is not None
        self._parent_id, self._began_ns, self._sink = parent_id, began_ns, sink
        self._spans: list[Span] = []

    @property
    def traceparent(self) -> bytes:
        """For requests that we make in its course, and for `traceresponse` of the answer."""
        return b"00-%b-%b-%02x" % (
            self.id.hex().encode("ascii"),
            self.span_id.hex().encode("ascii"),
            SAMPLED if self.sampled else 0,
        )

    def span(self, name: str, attributes: Attributes | None = None) -> AbstractContextManager[None]:
        """A part of the request: what is inside took so long."""
        if self._sink is None:
            return _NOTHING
        return _Part(self, name, attributes or {})

    def add(self, name: str, began_ns: int, ended_ns: int, attributes: Attributes, *, is_error: bool) -> None:
        """A part whose times are known."""
        if self._sink is not None and len(self._spans) < SPANS_MAX:
            ids = self.id, os.urandom(8), self.span_id
            self._spans.append(Span(name, *ids, began_ns, ended_ns, attributes, is_server=False, is_error=is_error))

    def finish(self, name: str, *, is_error: bool = False, attributes: Attributes | None = None) -> None:
        """The request is answered; its spans go on their way.

        Args:
            name: method and route, as it is declared.
            is_error: whether we failed (an answer of 500 or above), rather than the caller.
            attributes: what else to say; no ids of people, amounts or credentials.
        """
        if self._sink is None:
            return
        ids, times = (self.id, self.span_id, self._parent_id), (self._began_ns, time.time_ns())
        whole = Span(name, *ids, *times, attributes or {}, is_server=True, is_error=is_error)
        sink, self._sink = self._sink, None
        sink.take([whole, *self._spans])


class _Part:
    """Times what is inside."""

    __slots__ = ("_attributes", "_began_ns", "_name", "_trace")

    def __init__(self, trace: Trace, name: str, attributes: Attributes) -> None:
        self._trace, self._name, self._attributes, self._began_ns = trace, name, attributes, 0

    def __enter__(self) -> None:
        self._began_ns = time.time_ns()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._trace.add(self._name, self._began_ns, time.time_ns(), self._attributes, is_error=kind is not None)


class Tracer:
    """Begins traces."""

    def __init__(self, sink: Sink | None, sample: float, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        """Wires it.

        Args:
            sink: where spans go; None makes none.
            sample: the part of the requests that are sampled, 0 to 1.
            random_bytes: ids and chance.
        """
        self._sink, self._below, self._random = sink, round(sample * _RANGE), random_bytes

    def begin(self, traceparent: bytes | None = None, *, trusted: bool = False) -> Trace:
        """A request has come.

        Args:
            traceparent: the header, where there is one.
            trusted: whether its flag decides.
        """
        parent = read_traceparent(traceparent) if traceparent is not None else None
        drawn = self._random(32)
        sink = self._sink
        if sink is not None:
            if parent is not None and trusted:
                is_sampled = parent.sampled
            else:
                is_sampled = int.from_bytes(drawn[24:], "big") < self._below
            sink = sink if is_sampled else None
        began_ns = time.time_ns() if sink is not None else 0
        if parent is None:
            return Trace(drawn[:16], drawn[16:24], bytes(8), began_ns, sink)
        return Trace(parent.trace_id, drawn[16:24], parent.span_id, began_ns, sink)


_CURRENT: Final[ContextVar[Trace | None]] = ContextVar("qenex_trace", default=None)


def enter(trace: Trace) -> None:
    """Makes it the trace of the task that runs, and of those that it starts: each request has a task of its own."""
    _CURRENT.set(trace)


def current() -> Trace | None:
    """The trace of the request that is being answered."""
    return _CURRENT.get()


def current_id() -> bytes:
    """The id of that trace, for a frame to the engine; zeros where there is none."""
    trace = _CURRENT.get()
    return NO_TRACE if trace is None else trace.id
