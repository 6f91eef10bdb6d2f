"""`qenex start` while its engine has much to replay."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from qenex.cli.start import _Instance
from qenex.settings import Settings
from tests.conftest import ROOT, process_environment

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_it_shows_how_far_the_engine_is_until_that_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", process_environment()["PYTHONPATH"])
    settings = Settings.load({"home": tmp_path})
    instance = _Instance(settings, threading.Event(), threading.Event())
    told: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        if (done, total) not in told:
            told.append((done, total))
            (child,) = instance._children
            assert child.process.stdin is not None
            child.process.stdin.write("go on\n")
            child.process.stdin.flush()

    try:
        served = instance._serve("engine", "tests.unit.cli.slow_engine", settings.engine_file, tell)
        assert served is not None
        assert served["pid"] != os.getpid()
        assert told == [(10, 30), (20, 30), (30, 30)]
    finally:
        for child in instance._children:
            child.process.kill()
            child._reader.join()
            assert child.process.stdout is not None
            child.process.stdout.close()
