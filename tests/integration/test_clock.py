"""An engine whose journal ends over an hour from a clock that nobody vouches for: no writes until somebody does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from qenex.exits import ExitCode
from tests.conftest import EngineProcess, new_engine, run_python
from tests.integration.faults import other_clock
from tests.integration.starting import started

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

AWAY_S = 3_700
"""A little more than an hour."""


@pytest.fixture(params=[-AWAY_S, AWAY_S], ids=["a gap", "a clock that was set back"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EngineProcess]:
    """An engine that has written by another clock, stopped."""
    engine = new_engine(tmp_path / "home")
    engine.environment = other_clock(tmp_path, request.param)
    engine.start()
    assert create(engine).returncode == ExitCode.OK
    assert engine.stop() == ExitCode.OK
    engine.environment = other_clock(tmp_path)
    yield engine
    if engine.process is not None:
        engine.kill()


def qenex(engine: EngineProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_python("-m", "qenex.cli", *arguments, "--home", str(engine.home), "--json")


def create(engine: EngineProcess) -> subprocess.CompletedProcess[str]:
    return qenex(engine, "account", "create", "--asset", "EUR")


def test_writes_end_with_eight_and_what_helps_until_the_clock_is_confirmed(engine: EngineProcess) -> None:
    engine.start()
    refused = create(engine)
    assert refused.returncode == ExitCode.UNAVAILABLE == 8
    error = json.loads(refused.stderr)["error"]
    assert error["code"] == "clock_unconfirmed"
    assert "qenex clock confirm" in error["message"]
    read = json.loads(qenex(engine, "status").stdout)
    assert (read["writable"], read["accounts"]) == ("clock_unconfirmed", 1), "reads go on"
    assert json.loads(qenex(engine, "clock", "confirm").stdout) == {"writable": True}
    assert create(engine).returncode == ExitCode.OK
    assert json.loads(qenex(engine, "status").stdout)["accounts"] == 2


def test_start_says_so_makes_no_demo_bank_and_serves_reads(engine: EngineProcess) -> None:
    with started(engine.home, "--demo", environment=engine.environment) as instance:
        assert "writes are refused for now" in instance.said()
        assert "look at the clock, then `qenex clock confirm`" in instance.said()
        assert json.loads(qenex(engine, "status").stdout)["accounts"] == 1
        assert instance.stop() == ExitCode.OK
