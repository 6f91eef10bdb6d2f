"""How many transfers a second does the HTTP API take, one a request, and how long do they wait?

The engine, the HTTP process and the load (a native program, so that it takes little of the two cores) are three
processes. Each request is `POST /api/v1/transaction` on a connection that is kept alive; its answer means that the
transfer is on disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benches._processes import instance, load
from benches._run import Figures, Table, flags

if TYPE_CHECKING:
    from benches._processes import Instance

CONNECTIONS = 64
TARGET = 6_000
OFFERED = 1_000
TARGET_P99_MS = 10


def main() -> None:
    """Runs it."""
    asked = flags(__doc__, rounds=3)
    seconds = asked.of(8, 0.6)
    table = Table(
        "REST",
        f"{CONNECTIONS} connections, {seconds:g} s a round. Closed: each connection sends its next request when it has "
        f"the answer. Offered: {OFFERED:,} requests a second at fixed times; a latency counts from the time at which "
        "its request was due. `optimize` lets a request wait up to 1 ms to share a group.",
        asked,
    )
    cpu = {name: Figures() for name in ("engine", "HTTP process")}
    names = [(optimize, rate) for rate in (0, OFFERED) for optimize in (False, True)]
    results = {name: {key: Figures() for key in ("rate", "p50_us", "p99_us", "max_us")} for name in names}
    with instance(http=True) as one:
        load("binary", *one.reach, rows=1, seconds=0.1, warm=0.1)  # makes the accounts
        for _ in range(asked.rounds):
            for optimize, rate in names:
                before = _cpu(one)
                found = load(
                    "http",
                    *one.reach_http,
                    connections=CONNECTIONS,
                    rate=rate,
                    seconds=seconds,
                    warm=asked.of(1, 0.2),
                    optimize=optimize,
                )
                if found["failed"] or found["refused"] or found["unanswered"]:
                    raise SystemExit(f"requests failed: {found}")
                if rate == 0:
                    for name, used in _cpu(one).items():
                        cpu[name].add((used - before[name]) * 1e6 / found["created"])
                for key, figures in results[optimize, rate].items():
                    figures.add(found[key] / (1_000 if key.endswith("_us") else 1))
    for optimize, rate in names:
        figures, said = results[optimize, rate], f"optimize {str(optimize).lower()}"
        if rate == 0:
            table.at_least(f"closed, {said}: requests", figures["rate"], "/s", TARGET)
            table.add(f"closed, {said}: p50", figures["p50_us"], "ms")
            table.add(f"closed, {said}: p99", figures["p99_us"], "ms")
        else:
            table.add(f"{rate:,}/s offered, {said}: p50", figures["p50_us"], "ms")
            table.at_most(f"{rate:,}/s offered, {said}: p99", figures["p99_us"], "ms", TARGET_P99_MS)
            table.add(f"{rate:,}/s offered, {said}: longest", figures["max_us"], "ms")
    for name, figures in cpu.items():
        table.add(f"closed: CPU of the {name}, a request", figures, "us")
    table.limit(
        "the HTTP process, one Python thread that parses, checks and encodes each request: its CPU a request, in the "
        "table, times the closed rate is about the core that it has. The engine takes far less."
    )
    table.show()


def _cpu(one: Instance) -> dict[str, float]:
    """CPU seconds so far."""
    if one.http is None:
        raise RuntimeError("the HTTP process is not running")
    return {"engine": one.serving.cpu_seconds, "HTTP process": one.http.cpu_seconds}


if __name__ == "__main__":
    main()
