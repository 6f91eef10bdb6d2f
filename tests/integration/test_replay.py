"""`qenex replay` through a running engine: all of it once, however often it is run or interrupted."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from qenex import QenexClient
from qenex.exits import ExitCode
from tests.conftest import ROOT, process_environment, run_python

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import EngineProcess

REPLAY_SECONDS = 240


def qenex(*arguments: str | Path, code: int = ExitCode.OK) -> dict[str, Any]:
    done = run_python("-m", "qenex.cli", *arguments, "--json", timeout=REPLAY_SECONDS)
    assert done.returncode == code, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture
def payments(tmp_path: Path) -> Path:
    file = tmp_path / "payments.parquet"
    qenex("generate", "payments", "--customers", "200", "--terminals", "300", "--days", "40", "--seed", "3", "-o", file)
    return file


def test_run_again_it_changes_nothing(engine: EngineProcess, payments: Path) -> None:
    first = qenex("replay", payments, "--home", engine.home)
    assert first["ok"]
    assert first["posted"] == first["payments"] > 10_000
    again = qenex("replay", payments, "--home", engine.home)
    assert again["ok"]
    assert (again["posted"], again["found"]) == (0, first["payments"])
    assert again["days"] == first["days"]


def test_killed_half_way_with_the_engine_killed_too_it_resumes(engine: EngineProcess, payments: Path) -> None:
    command = [sys.executable, "-m", "qenex.cli", "replay", str(payments), "--home", str(engine.home)]
    with subprocess.Popen(command, cwd=ROOT, env=process_environment(), stdout=subprocess.DEVNULL) as replay:
        with QenexClient(home=engine.home, read_only=True) as client:
            while replay.poll() is None and not client.status().transfers:
                pass
        replay.kill()
    engine.kill()
    engine.start()
    with QenexClient(home=engine.home, read_only=True) as client:
        posted = client.status().transfers
    assert posted > 0
    resumed = qenex("replay", payments, "--home", engine.home)
    assert resumed["ok"]
    assert resumed["found"] == posted
    assert resumed["posted"] == resumed["payments"] - posted


@pytest.mark.data
def test_all_payments_of_the_public_data_set_arrive(
    make_engine: Callable[[], EngineProcess], data_folder: Path
) -> None:
    engine = make_engine()
    found = qenex("replay", *sorted((data_folder / "fraud").glob("*.parquet")), "--home", engine.home)
    assert found["ok"]
    assert (found["payments"], found["posted"]) == (1_437_958, 1_437_958)
    assert engine.stop() == ExitCode.OK
