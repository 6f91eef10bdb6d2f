"""What all benches share: their flags, the machine they ran on, rounds, and the table that they print."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
BATCH_MAX = 8_189
STATED = "TigerBeetle 0.17, one replica, on this kind of machine, as stated in the project's plan; not measured here"


def folder() -> Path:
    """Where benches keep their data: `QENEX_BENCH_FOLDER`, else the system's folder for temporary files."""
    return Path(os.environ.get("QENEX_BENCH_FOLDER", tempfile.gettempdir()))


def flags(doc: str | None, *, rounds: int, more: Callable[[argparse.ArgumentParser], None] | None = None) -> Flags:
    """Reads the flags of a bench: `--quick`, `--rounds`, and what `more` adds."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test of some seconds; its figures mean nothing")
    parser.add_argument("--rounds", type=int, help=f"rounds of each measurement (default: {rounds})")
    if more:
        more(parser)
    given = parser.parse_args()
    return Flags(quick=given.quick, rounds=given.rounds or (1 if given.quick else rounds), given=given)


@dataclass(frozen=True)
class Flags:
    """How a bench was asked to run."""

    quick: bool
    rounds: int
    given: argparse.Namespace

    def of(self, full: float, quick: float) -> float:
        """The value for a full run, or for a quick one."""
        return quick if self.quick else full


@dataclass
class Figures:
    """What several rounds measured."""

    values: list[float] = field(default_factory=list)

    def add(self, value: float) -> None:
        """One more round."""
        self.values.append(value)

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.values)

    @property
    def spread(self) -> str:
        """Lowest to highest."""
        return f"{number(min(self.values))} to {number(max(self.values))}"


def number(value: float) -> str:
    """A figure as people read it."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"


class Table:
    """One bench's answer: a line a measurement, its target beside it, and what limits it."""

    def __init__(self, title: str, did: str, flags: Flags) -> None:
        self._title, self._did, self._flags = title, did, flags
        self._lines: list[tuple[str, str, str, str, str]] = []
        self._notes: list[str] = []
        self._load = os.getloadavg()[0]
        self._since = time.monotonic()

    def add(self, what: str, figures: Figures, unit: str, target: str = "", *, met: bool | None = None) -> None:
        """A measurement; `met` says whether the target was."""
        verdict = "" if met is None else ("yes" if met else "NO")
        self._lines.append((what, f"{number(figures.median)} {unit}", figures.spread, target, verdict))

    def at_least(self, what: str, figures: Figures, unit: str, least: float) -> None:
        """A measurement that should be large."""
        self.add(what, figures, unit, f">= {number(least)}", met=figures.median >= least)

    def at_most(self, what: str, figures: Figures, unit: str, most: float) -> None:
        """A measurement that should be small."""
        self.add(what, figures, unit, f"<= {number(most)}", met=figures.median <= most)

    def say(self, what: str, value: str, target: str = "", *, met: bool | None = None) -> None:
        """A fact that has no rounds."""
        self._lines.append((what, value, "", target, "" if met is None else ("yes" if met else "NO")))

    def stated(self, what: str, value: str) -> None:
        """A figure of another system that was not measured in this run."""
        self._lines.append((f"[stated] {what}", value, "", "", ""))
        note = f"[stated]: {STATED}."
        if note not in self._notes:
            self._notes.append(note)

    def note(self, text: str) -> None:
        """A line below the table."""
        self._notes.append(text)

    def limit(self, text: str) -> None:
        """What limits the figures."""
        self._notes.append(f"What limits it: {text}")

    def show(self) -> None:
        """Prints it."""
        head = ("", "median", "lowest to highest", "target", "met")
        rows = [head, *self._lines]
        widths = [max(len(row[at]) for row in rows) for at in range(len(head))]
        print(f"\n## {self._title}\n")
        _wrapped(self._did)
        for line in machine():
            print(line)
        quick = ", --quick: the figures mean nothing" if self._flags.quick else ""
        print(f"rounds: {self._flags.rounds}{quick}; took {time.monotonic() - self._since:.0f} s")
        if self._load > 0.5:
            print(f"OTHER LOAD: the load average was {self._load:.1f} when this began")
        print()
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        print()
        for note in self._notes:
            _wrapped(note)
        print(flush=True)


def _wrapped(text: str) -> None:
    for line in textwrap.wrap(text, 118):
        print(line)


def machine() -> list[str]:
    """On what it ran."""
    cpu = _first("/proc/cpuinfo", "model name") or platform.machine()
    memory_kb = int((_first("/proc/meminfo", "MemTotal") or "0 kB").split()[0])
    return [
        f"machine: {cpu}, {os.cpu_count()} cores, {memory_kb / 1_048_576:.0f} GiB memory, Linux {platform.release()}",
        f"disk: {_disk(folder())}",
        f"commit: {_commit()}; Python {platform.python_version()}",
    ]


def _first(path: str, name: str) -> str | None:
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def _disk(path: Path) -> str:
    """Device, file system and mount point of a path."""
    mounts = [line.split()[:3] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    real = str(path.resolve())
    best = max(
        (mount for mount in mounts if (real + "/").startswith(mount[1].rstrip("/") + "/")), key=lambda m: len(m[1])
    )
    free = os.statvfs(path)
    return f"{best[0]} ({best[2]}) at {best[1]}, {free.f_bavail * free.f_frsize / 1e9:.0f} GB free"


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    head = git("rev-parse", "--short=12", "HEAD") or "unknown"
    changed = git("status", "--porcelain", "--untracked-files=no")
    return f"{head}, with changes that are not committed" if changed else head


def read_json(text: str) -> dict[str, float]:
    """The one line of JSON that a native program prints."""
    found: dict[str, float] = json.loads(text)
    return found
