"""Every bench runs, and prints its table, its machine and what limits it; what the figures are is not judged here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / "benches").glob("*.py") if not path.stem.startswith("_"))


@pytest.fixture(scope="module", autouse=True)
def _native_programs() -> None:
    """Built before, so that no bench's time limit is used up by the compiler."""
    subprocess.run(
        [sys.executable, "-c", "from benches._processes import native; native('load')"], cwd=ROOT, check=True
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_bench_prints_its_table(name: str, tmp_path: Path) -> None:
    environment = os.environ | {"QENEX_BENCH_FOLDER": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", f"benches.{name}", "--quick"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    table = done.stdout
    for part in ("## ", "machine: ", "disk: ", "commit: ", "rounds: 1, --quick", "median", "What limits it: "):
        assert part in table, f"{part!r} is missing in\n{table}"
    assert list(tmp_path.iterdir()) == [], "a bench leaves nothing behind"


def test_a_name_that_is_no_bench_is_refused_with_those_that_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benches", "nothing"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    for name in NAMES:
        assert name in done.stderr
