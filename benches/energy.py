"""What do a transfer's energy and machine cost?

Joules come from the processor's own counters (RAPL) where they can be read, else from CPU seconds of our processes
times a stated power. The counters see the load too; CPU seconds are the engine's and the HTTP process's alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benches._processes import instance, load
from benches._run import Figures, Table, flags
from qenex.client import QenexClient

if TYPE_CHECKING:
    from benches._processes import Instance
    from qenex.client.protocol import EngineStatus

WATTS_PER_CORE = 10.0
"""A busy core with its share of memory, disk, fans and power supply: a 64-core server that draws 640 W."""
DOLLARS_PER_KWH = 0.15
"""Electricity, with cooling."""
DOLLARS_PER_CORE_HOUR = 0.045
"""A rented core of a large cloud on demand, memory and local disk with it; electricity is in it."""
DOLLARS_PER_GB_MONTH = 0.08
"""Replicated block storage."""
MONTHS_KEPT = 12
"""How long the bytes of a transfer are paid for."""
SEGMENT_ROWS = 1 << 20
RAPL = Path("/sys/class/powercap")


def main() -> None:
    """Runs it."""
    asked = flags(__doc__, rounds=3)
    seconds = asked.of(8, 0.6)
    counters = _counters()
    source = "RAPL" if counters else f"CPU seconds x {WATTS_PER_CORE:g} W a core (no RAPL counter can be read here)"
    table = Table(
        "Energy and cost of a transfer",
        f"Joules by {source}. Rented cores at ${DOLLARS_PER_CORE_HOUR:g} an hour for the CPU seconds used, "
        f"electricity at ${DOLLARS_PER_KWH:g} a kWh, storage at ${DOLLARS_PER_GB_MONTH:g} a GB and month for "
        f"{MONTHS_KEPT} months. {seconds:g} s a round.",
        asked,
    )
    loads = {
        "batches of 8,189, native": {"connections": 2, "window": 2},
        "one a request, 64 connections, native": {"connections": 64, "rows": 1},
        "one a request, 64 connections, REST": {"connections": 64},
    }
    derived = Figures()
    for name, plan in loads.items():
        with instance(http="REST" in name) as one:
            load("binary", *one.reach, rows=1, seconds=0.1, warm=0.1)  # makes the accounts
            found = [_round(one, plan, seconds, counters) for _ in range(asked.rounds)]
            if not derived.values:
                derived.add(_derived_bytes(one))
                table.add("sealed segments, each transfer in one", derived, "bytes")
        columns = [
            Figures(list(column)) for column in zip(*((m.cpu_us, m.joules, m.bytes) for m in found), strict=True)
        ]
        cpu, joules, size = columns
        table.add(f"{name}: CPU", cpu, "us")
        table.add(f"{name}: energy", Figures([1e6 * value for value in joules.values]), "uJ")
        table.add(f"{name}: journal", size, "bytes")
        million = 1e6 / 3_600
        cores = Figures([value / 1e6 * DOLLARS_PER_CORE_HOUR * million for value in cpu.values])
        power = Figures([value / 1_000 * DOLLARS_PER_KWH * million for value in joules.values])
        disk = Figures([(value + derived.median) / 1e3 * DOLLARS_PER_GB_MONTH * MONTHS_KEPT for value in size.values])
        table.add(f"{name}: cores, a million transfers", cores, "USD")
        table.add(f"{name}: electricity, a million transfers", power, "USD")
        table.add(f"{name}: storage, a million transfers", disk, "USD")
    table.limit(
        "CPU by batches: apply, journal hash, sealing; one a request: system calls and a sync for each group. On disk: "
        "the row twice (journal, segment) and its indexes; one a request pads each group to a sector."
    )
    table.show()


@dataclass(frozen=True)
class Measured:
    """What one transfer took."""

    cpu_us: float
    joules: float
    bytes: float


def _round(one: Instance, plan: dict[str, int], seconds: float, counters: list[Path]) -> Measured:
    """One load."""
    processes = [process for process in (one.engine, one.http) if process is not None]
    bytes_before, cpu_before = _status(one).journal_bytes, sum(p.cpu_seconds for p in processes)
    energy_before = _read(counters)
    kind, reach = ("binary", one.reach) if one.http is None else ("http", one.reach_http)
    created = load(kind, *reach, **plan, seconds=seconds, warm=0)["created"]
    time.sleep(0.5)  # what is sealed afterwards belongs to it
    cpu = sum(p.cpu_seconds for p in processes) - cpu_before
    joules = _joules(energy_before, _read(counters), counters) if counters else cpu * WATTS_PER_CORE
    return Measured(cpu / created * 1e6, joules / created, (_status(one).journal_bytes - bytes_before) / created)


def _status(one: Instance) -> EngineStatus:
    with QenexClient(one.address, credential=one.token) as client:
        return client.status()


def _derived_bytes(one: Instance) -> float:
    """Bytes that a transfer takes in its sealed segment; 0 while none is sealed."""
    sizes = [path.stat().st_size for path in one.settings.books_folder.glob("*/segments/*.qxs")]
    return sum(sizes) / len(sizes) / SEGMENT_ROWS if sizes else 0.0


def _counters() -> list[Path]:
    """The counters of whole packages that can be read."""
    found = []
    for path in sorted(RAPL.glob("intel-rapl:[0-9]")):
        try:
            (path / "energy_uj").read_text(encoding="ascii")
        except OSError:
            continue
        found.append(path)
    return found


def _read(counters: list[Path]) -> list[int]:
    return [int((path / "energy_uj").read_text(encoding="ascii")) for path in counters]


def _joules(before: list[int], after: list[int], counters: list[Path]) -> float:
    """The difference; a counter begins again at 0 beyond its range."""
    total = 0
    for first, last, path in zip(before, after, counters, strict=True):
        wrap = int((path / "max_energy_range_uj").read_text(encoding="ascii")) if last < first else 0
        total += last - first + wrap
    return total / 1e6


if __name__ == "__main__":
    main()
