"""An engine that is started often: forked from a process that has imported everything, which takes most of a start."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from tests.conftest import ROOT, EngineProcess, lasting_port, new_engine, process_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORKER = """
import os, sys
from qenex.engine import main
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
while sys.stdin.readline():
    child = os.fork()
    if child == 0:
        os.dup2(log, 1)
        os.dup2(log, 2)
        os._exit(main(sys.argv[2:]))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class _Child:
    """What the fixture needs to know of a process, though another is its parent."""

    def __init__(self, parent: subprocess.Popen[str]) -> None:
        assert parent.stdin is not None
        assert parent.stdout is not None
        self._out = parent.stdout
        parent.stdin.write("\n")
        parent.stdin.flush()
        self.pid = int(self._out.readline())
        self._code: int | None = None

    def poll(self) -> int | None:
        return self._read(0)

    def wait(self, timeout: float) -> int:
        code = self._read(timeout)
        assert code is not None, f"process {self.pid} did not end within {timeout} s"
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _read(self, timeout: float) -> int | None:
        if self._code is None and select.select([self._out], [], [], timeout)[0]:
            self._code = int(self._out.readline())
        return self._code


@dataclass
class ForkedEngine(EngineProcess):
    """The engine as `python -m core.financial_engine` is it, always on the same port."""

    parent: subprocess.Popen[str] | None = None

    def _launch(self) -> subprocess.Popen[str]:
        assert self.parent is not None
        return cast("subprocess.Popen[str]", _Child(self.parent))


@contextmanager
def forked_engine(home: Path) -> Iterator[ForkedEngine]:
    """An engine that is not started yet; it is gone when this ends."""
    settings = new_engine(home, port=lasting_port()).settings
    command = [sys.executable, "-c", FORKER, str(home / "engine.log"), *settings.arguments()]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=ROOT, env=process_environment(), stdin=pipe, stdout=pipe, text=True, bufsize=1
    ) as parent:
        engine = ForkedEngine(settings, parent=parent)
        try:
            yield engine
        finally:
            if engine.process is not None:
                engine.kill()
            assert parent.stdin is not None
            parent.stdin.close()
