"""Children of `qenex start`: watched, quoted when they die, stopped in order; addresses checked beforehand."""

from __future__ import annotations

import os
import socket
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from qenex.cli.processes import Child, check_address, read_run_file
from qenex.errors import AddressInUse, AddressInvalid, ProcessDied, StartTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SLEEP = "import time; print('up', flush=True); time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


@pytest.fixture
def changed() -> threading.Event:
    return threading.Event()


@pytest.fixture
def run(changed: threading.Event) -> Iterator[Callable[[str], Child]]:
    children: list[Child] = []

    def start(program: str) -> Child:
        children.append(Child("child", [sys.executable, "-c", program], changed))
        return children[-1]

    yield start
    for child in children:
        child.process.kill()
        child.process.wait()
        child._reader.join()
        assert child.process.stdout is not None
        child.process.stdout.close()


def never() -> bool:
    return False


def up(child: Child) -> Callable[[], bool]:
    return lambda: "up" in child.last_lines


def test_a_child_that_ends_is_noticed_and_quoted(run: Callable[[str], Child], changed: threading.Event) -> None:
    child = run("import sys; print('\\n'.join(f'line {n}' for n in range(30))); sys.exit('the disk is gone')")
    assert changed.wait(30)
    assert not child.running
    error = child.died()
    assert (error.process, error.exit_code) == ("child", 1)
    assert (len(error.last_lines), error.last_lines[-1]) == (20, "the disk is gone")
    assert str(error).endswith("the disk is gone")


def test_a_child_that_is_killed_is_said_to_be(run: Callable[[str], Child]) -> None:
    child = run(SLEEP)
    child.process.kill()
    assert "ended with signal SIGKILL" in str(child.died())


def test_lines_pass_through_with_the_name(run: Callable[[str], Child], capfd: pytest.CaptureFixture[str]) -> None:
    child = run("print('hello')")
    child._reader.join(30)
    assert capfd.readouterr().err == "child: hello\n"


def test_a_name_that_a_line_has_already_is_not_put_before_it_again(
    run: Callable[[str], Child], capfd: pytest.CaptureFixture[str]
) -> None:
    child = run("print('child: hello')")
    child._reader.join(30)
    assert capfd.readouterr().err == "child: hello\n"


def test_waiting_ends_when_it_answers_dies_takes_too_long_or_is_called_off(run: Callable[[str], Child]) -> None:
    child = run(SLEEP)
    assert child.wait_until(up(child), seconds=30, stop=never)
    assert not child.wait_until(never, seconds=30, stop=lambda: True)
    with pytest.raises(StartTimeout, match=r"child process did not answer within 0.05 s"):
        child.wait_until(never, seconds=0.05, stop=never)
    with pytest.raises(ProcessDied, match="code 3"):
        run("raise SystemExit(3)").wait_until(never, seconds=30, stop=never)


def test_as_long_as_a_child_gets_on_it_is_waited_for(run: Callable[[str], Child]) -> None:
    child, signs = run(SLEEP), iter(range(30))
    assert child.wait_until(lambda: next(signs, 30) == 30, seconds=0.03, stop=never, progress=lambda: object())
    with pytest.raises(StartTimeout):
        child.wait_until(never, seconds=0.03, stop=never, progress=lambda: 5)


def test_a_child_has_an_input_that_ends_when_we_do(run: Callable[[str], Child]) -> None:
    child = run("import sys; print('up', flush=True); sys.stdin.read(); sys.exit(5)")
    assert child.wait_until(up(child), seconds=30, stop=never)
    assert child.running
    assert child.process.stdin is not None
    child.process.stdin.close()
    assert child.process.wait(30) == 5


def test_stopping_asks_first_and_kills_only_without_patience(run: Callable[[str], Child]) -> None:
    child = run(SLEEP)
    assert child.wait_until(up(child), seconds=30, stop=never)
    assert child.stop(patience=lambda _: pytest.fail("it had stopped when asked")) == -15
    deaf = run(DEAF)
    assert deaf.wait_until(up(deaf), seconds=30, stop=never)
    waited: list[float] = []
    assert deaf.stop(patience=lambda seconds: bool(waited.append(seconds)) or len(waited) < 2) == -9
    assert len(waited) == 2


def test_ctrl_c_on_the_terminal_does_not_reach_a_child_directly(run: Callable[[str], Child]) -> None:
    assert os.getpgid(run(SLEEP).process.pid) != os.getpgrp()


def test_a_port_in_use_is_named_with_the_flag_that_moves_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(AddressInUse, match=rf"127.0.0.1 port {port} is in use.*--http-port"):
            check_address("127.0.0.1", port, "--http-port")
    check_address("127.0.0.1", port, "--http-port")
    check_address("127.0.0.1", 0, "--http-port")


@pytest.mark.parametrize("host", ["203.0.113.7", "no such host"])
def test_an_address_that_is_not_ours_is_named(host: str) -> None:
    with pytest.raises(AddressInvalid, match=rf"cannot listen on {host}: port 7400: .*--host"):
        check_address(host, 7400, "--binary-port")


def test_a_run_file_counts_only_when_its_own_process_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "engine.json"
    assert read_run_file(path, 5) is None
    path.write_text('{"pid": 5')
    assert read_run_file(path, 5) is None
    path.write_text('{"pid": 5, "binary": "127.0.0.1:1"}')
    assert read_run_file(path, 6) is None
    assert read_run_file(path, 5) == {"pid": 5, "binary": "127.0.0.1:1"}
