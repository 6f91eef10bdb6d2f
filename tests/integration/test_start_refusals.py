"""`qenex start` as a real process: what stops it before it is ready, said with its own exit code."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from qenex.bootstrap import initialise
from qenex.exits import ExitCode
from tests.conftest import run_python

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.conftest import EngineProcess


def start(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    free = ("--binary-port", "0", "--http-port", "0", "--metrics-port", "0")
    return run_python("-m", "qenex.cli", "start", "--home", str(home), *free, *arguments)


def test_a_port_in_use_is_named_with_its_flag_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        done = start(tmp_path, "--http-port", port)
    assert done.returncode == ExitCode.IN_USE
    assert f"port {port} is in use" in done.stderr
    assert "--http-port" in done.stderr
    assert "QENEX ready" not in done.stdout
    assert list((tmp_path / "books").iterdir()) == []


def test_starting_twice_is_told_from_a_port_that_another_program_has(engine: EngineProcess) -> None:
    done = start(engine.home, "--binary-port", str(engine.port))
    assert done.returncode == ExitCode.IN_USE
    assert f"port {engine.port} is in use by process {engine.pid} of this home: QENEX runs already" in done.stderr


def test_a_book_in_use_is_said_with_the_process_that_has_it(engine: EngineProcess) -> None:
    done = start(engine.home)
    assert done.returncode == ExitCode.IN_USE
    said = [line for line in done.stderr.splitlines() if f"is in use by process {engine.pid}" in line]
    assert {line.count(str(engine.settings.books_folder)) for line in said} == {1}, "the book is named, and once"
    assert "engine: engine:" not in done.stderr
    assert done.stderr.count("has ended with code") == 1
    assert engine.stop() == ExitCode.OK


def test_what_the_engine_says_of_a_home_that_it_cannot_use_is_passed_on(tmp_path: Path) -> None:
    books = initialise(tmp_path).settings.books_folder
    for name in ("0" * 32, "1" * 32):
        (books / name / "journal").mkdir(parents=True)
    done = start(tmp_path)
    assert done.returncode == ExitCode.USAGE
    assert "the engine process has ended with code 2" in done.stderr
    assert f"which is the home's own book? Here are {'0' * 32}, {'1' * 32}" in done.stderr
    assert "QENEX ready" not in done.stdout


def test_a_credential_that_others_can_read_stops_the_start(tmp_path: Path) -> None:
    initialise(tmp_path).settings.owner_token_file.chmod(0o644)
    done = start(tmp_path)
    assert done.returncode == ExitCode.UNAUTHORISED
    assert "chmod 600" in done.stderr


def test_other_machines_are_not_let_in_without_tls(tmp_path: Path) -> None:
    for module in ("core.financial_engine", "qenex.api"):
        initialise(tmp_path)
        done = run_python("-m", module, "--home", tmp_path, "--host", "0.0.0.0", "--binary-port", "0")  # noqa: S104
        assert done.returncode == ExitCode.USAGE
        assert "other machines would reach 0.0.0.0 without TLS. Set tls_certificate and tls_key" in done.stderr
    done = start(tmp_path, "--host", "0.0.0.0")  # noqa: S104  # that is the point
    assert done.returncode == ExitCode.USAGE
    assert "or trusted_proxy" in done.stderr
    assert list((tmp_path / "books").iterdir()) == []


def test_a_front_without_a_certificate_says_what_it_needs(tmp_path: Path) -> None:
    done = run_python("-m", "qenex.front", "--home", tmp_path)
    assert done.returncode == ExitCode.USAGE
    assert "tls_certificate and tls_key are not set" in done.stderr
