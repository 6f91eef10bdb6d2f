"""`qenex start` and the processes that it runs: they end with it, however it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx

from qenex import QenexClient
from qenex.bootstrap import owner_token
from qenex.exits import ExitCode
from qenex.settings import Settings
from tests.conftest import START_SECONDS, published
from tests.integration.faults import full_disk
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
        assert published(tmp_path / "run") == []


def test_on_a_full_disk_it_starts_and_serves_reads(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with started(home) as instance:
        assert instance.stop() == ExitCode.OK
    with started(home, environment=full_disk(tmp_path)) as instance:
        settings = Settings.load({"home": home})
        http = json.loads(settings.http_file.read_text(encoding="utf-8"))["http"]
        headers = {"authorization": f"Bearer {owner_token(settings)}"}
        balance = httpx.get(f"http://{http}/api/v1/trial-balance", headers=headers, timeout=START_SECONDS)
        assert balance.status_code == 200, balance.text
        assert balance.json()["balanced"]
        with QenexClient(home=home, read_only=True) as client:
            assert client.status().accounts > 0
        assert instance.stop() == ExitCode.OK


def test_asked_to_stop_it_stops_the_http_process_first_and_ends_with_zero(tmp_path: Path) -> None:
    with started(tmp_path, "--no-demo") as instance:
        assert instance.stop() == ExitCode.OK
        for name in ("engine", "http"):
            assert instance.has_ended(name)
        said = instance.said()
        assert said.index("the http process has stopped") < said.index("the engine process has stopped")
    assert has_clean_end(tmp_path)
