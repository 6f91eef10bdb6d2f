"""Limits, dependencies and traces are seen by Prometheus."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from qenex.api.protection_metrics import ProtectionMetrics
from qenex.breaker import Rules
from qenex.dependencies import Dependencies, Dependency
from qenex.errors import DependencyUnavailable
from qenex.limits import Limit, LocalLimits, Policy

NAMES = ("credential", "principal", "book", "address", "failures")


async def _fails() -> None:
    raise OSError


async def test_what_protects_us_is_seen() -> None:
    limits = LocalLimits(Policy(*(Limit(name, 1, 1) for name in NAMES)), 1)
    for address in (b"a", b"a", b"b"):
        await limits.judge(None, address, 0)
    dependencies = Dependencies()
    away = dependencies.add(Dependency("redis", timeout_s=1, rules=Rules(failures_max=1), clock_ns=lambda: 0))
    with pytest.raises(DependencyUnavailable):
        await away.call(_fails)
    registry = CollectorRegistry()
    ProtectionMetrics(registry, limits, dependencies, SimpleNamespace(sent=5, failed=1, dropped=2, waiting=3))
    page = generate_latest(registry).decode()
    for line in (
        'qenex_limit_entries{limit="address"} 2.0',
        'qenex_limit_crowded_total{limit="address"} 1.0',
        'qenex_limit_refused_total{limit="address"} 1.0',
        'qenex_limit_refused_total{limit="book"} 0.0',
        "qenex_limits_degraded 0.0",
        'qenex_dependency_state{dependency="redis",state="open"} 1.0',
        'qenex_dependency_state{dependency="redis",state="closed"} 0.0',
        'qenex_dependency_calls_total{dependency="redis",outcome="failed"} 1.0',
        'qenex_dependency_calls_total{dependency="redis",outcome="refused"} 0.0',
        'qenex_trace_spans_total{outcome="dropped"} 2.0',
        "qenex_trace_spans_waiting 3.0",
    ):
        assert line in page.splitlines()
