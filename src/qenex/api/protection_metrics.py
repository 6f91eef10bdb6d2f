"""Metrics of what protects the HTTP process: limits, dependencies, traces; read when Prometheus asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from qenex.breaker import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

    from qenex.dependencies import Dependencies
    from qenex.limits.table import Table

OUTCOMES = ("answered", "failed", "timed_out", "refused", "abandoned")
"""What can become of a call to a dependency; each has a series from the start."""


class LimitsInUse(Protocol):
    """What is told of the limits, local or of many nodes."""

    @property
    def tables(self) -> Sequence[Table]: ...  # noqa: D102  # as LocalLimits
    @property
    def is_degraded(self) -> bool: ...  # noqa: D102  # as RedisLimits
    @property
    def refused(self) -> dict[str, int]: ...  # noqa: D102  # as LocalLimits


class TracesInUse(Protocol):
    """What is told of the exporter of traces."""

    @property
    def sent(self) -> int: ...  # noqa: D102  # as Exporter
    @property
    def failed(self) -> int: ...  # noqa: D102  # as above
    @property
    def dropped(self) -> int: ...  # noqa: D102  # as above
    @property
    def waiting(self) -> int: ...  # noqa: D102  # as above


class ProtectionMetrics:
    """A collector: `ProtectionMetrics(registry, limits, dependencies, traces)` and nothing more."""

    def __init__(
        self, registry: CollectorRegistry, limits: LimitsInUse, dependencies: Dependencies, traces: TracesInUse | None
    ) -> None:
        """Registers itself.

        Args:
            registry: of `HttpMetrics`.
            limits: those that the gateway asks.
            dependencies: all that are asked from here.
            traces: the exporter, if there is one.
        """
        self._limits, self._dependencies, self._traces = limits, dependencies, traces
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """The metrics as they stand."""
        yield from self._of_limits()
        yield from self._of_dependencies()
        if self._traces is not None:
            spans = CounterMetricFamily("qenex_trace_spans", "Spans by what became of them.", labels=["outcome"])
            for outcome in ("sent", "failed", "dropped"):
                spans.add_metric([outcome], getattr(self._traces, outcome))
            yield spans
            yield GaugeMetricFamily("qenex_trace_spans_waiting", "Spans not yet sent.", self._traces.waiting)

    def _of_limits(self) -> Iterator[Metric]:
        entries = GaugeMetricFamily("qenex_limit_entries", "Callers that a limit remembers.", labels=["limit"])
        crowded = CounterMetricFamily(
            "qenex_limit_crowded", "Requests that shared an entry, since all were of blocked callers.", labels=["limit"]
        )
        refused = CounterMetricFamily("qenex_limit_refused", "Requests that a limit refused.", labels=["limit"])
        for table in self._limits.tables:
            name = table.limit.name
            entries.add_metric([name], len(table))
            crowded.add_metric([name], table.crowded)
            refused.add_metric([name], self._limits.refused.get(name, 0))
        yield from (entries, crowded, refused)
        yield GaugeMetricFamily(
            "qenex_limits_degraded",
            "1 while this process judges alone, since the limits that it shares with others cannot be reached.",
            float(self._limits.is_degraded),
        )

    def _of_dependencies(self) -> Iterator[Metric]:
        state = GaugeMetricFamily(
            "qenex_dependency_state", "1 for the state that its circuit breaker is in.", labels=["dependency", "state"]
        )
        calls = CounterMetricFamily(
            "qenex_dependency_calls", "Calls by what became of them.", labels=["dependency", "outcome"]
        )
        for dependency in self._dependencies:
            now = dependency.state
            for one in State:
                state.add_metric([dependency.name, one.value], float(one is now))
            for outcome in OUTCOMES:
                calls.add_metric([dependency.name, outcome], dependency.calls[outcome])
        yield from (state, calls)
