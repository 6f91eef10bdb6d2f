"""`qenex start` and the processes that it runs: they end with it, however it ends."""

from __future__ import annotations

import json
import ssl
import stat
from pathlib import Path

import httpx
import pytest

from qenex import QenexClient
from qenex.bootstrap import owner_token
from qenex.exits import ExitCode
from qenex.settings import Settings
from tests.conftest import START_SECONDS, published, run_python
from tests.integration.faults import full_disk
from tests.integration.starting import started


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


def test_with_a_certificate_it_serves_by_tls_and_takes_another_as_it_comes(tmp_path: Path) -> None:
    def certify() -> ssl.SSLContext:
        made = run_python("-m", "qenex.cli", "tls", "self-signed", "--home", tmp_path, "--json")
        assert made.returncode == ExitCode.OK, made.stderr
        paths.update(json.loads(made.stdout))
        return ssl.create_default_context(cafile=paths["ca"])

    paths: dict[str, str] = {}
    first = certify()
    assert Path(paths["tls_key"]).stat().st_mode & 0o777 == 0o600
    settings = [f"QENEX_{name.upper()}" for name in ("tls_certificate", "tls_key", "https_port", "binary_tls_port")]
    values = [paths["tls_certificate"], paths["tls_key"], "0", "0"]
    with started(tmp_path, "--no-demo", environment=dict(zip(settings, values, strict=True))) as instance:
        https = json.loads((tmp_path / "run/front.json").read_text(encoding="utf-8"))["https"]
        assert httpx.get(f"https://{https}/health", verify=first, timeout=START_SECONDS).json()["ready"]
        assert stat.S_IMODE((tmp_path / "run/http.sock").stat().st_mode) == 0o600
        with httpx.Client(verify=first, timeout=START_SECONDS) as before:
            assert before.get(f"https://{https}/health").status_code == 200
            second = certify()
            instance.waits_for("the certificate was read anew")
            assert httpx.get(f"https://{https}/health", verify=second, timeout=START_SECONDS).status_code == 200
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                httpx.get(f"https://{https}/health", verify=first, timeout=START_SECONDS)
            assert before.get(f"https://{https}/health").status_code == 200, "what was connected stays"
        assert instance.stop() == ExitCode.OK
        said = instance.said()
        order = [said.index(f"the {name} process has stopped") for name in ("http", "front", "engine")]
        assert order == sorted(order), "what HTTP still answers has a way out"
        assert published(tmp_path / "run") == []
