"""`qenex start` and the processes that it runs: they end with it, however it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qenex.exits import ExitCode
from tests.integration.starting import started

if TYPE_CHECKING:
    from pathlib import Path


def has_clean_end(home: Path) -> bool:
    return bool(list(home.glob("books/*/journal/clean")))


def test_killed_it_takes_its_processes_with_it_and_they_end_cleanly(tmp_path: Path) -> None:
    with started(tmp_path, "--no-demo") as instance:
        assert not has_clean_end(tmp_path)
        instance.process.kill()
        for name in ("engine", "http"):
            assert instance.has_ended(name), f"the {name} process goes on alone"
        assert has_clean_end(tmp_path)
        assert list((tmp_path / "run").iterdir()) == []


def test_asked_to_stop_it_stops_the_http_process_first_and_ends_with_zero(tmp_path: Path) -> None:
    with started(tmp_path, "--no-demo") as instance:
        assert instance.stop() == ExitCode.OK
        for name in ("engine", "http"):
            assert instance.has_ended(name)
        said = instance.said()
        assert said.index("the http process has stopped") < said.index("the engine process has stopped")
    assert has_clean_end(tmp_path)
