"""`qenex start` as a real process, with the two processes that it runs."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.conftest import ROOT, START_SECONDS, process_environment, published

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FREE = ("--binary-port", "0", "--http-port", "0", "--metrics-port", "0")


@dataclass
class Started:
    """An instance that was ready."""

    home: Path
    process: subprocess.Popen[str]
    log: Path
    children: dict[str, int]
    """Descriptors of its processes, `engine`, `http`, perhaps `front`, which become readable when they end."""

    def said(self) -> str:
        """What it has written to its error stream so far."""
        return self.log.read_text(encoding="utf-8")

    def waits_for(self, text: str) -> None:
        """Waits until it says so."""
        until = time.monotonic() + START_SECONDS
        while text not in self.said():
            assert time.monotonic() < until, f"it does not say: {text}"
            time.sleep(0.01)

    def stop(self) -> int:
        """Stops it as Ctrl-C does; its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(START_SECONDS)

    def has_ended(self, name: str) -> bool:
        """Waits for the end of one of its processes."""
        return bool(select.select([self.children[name]], [], [], START_SECONDS)[0])


@contextmanager
def started(home: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[Started]:
    """Starts it and waits until it is ready; nothing of it is left afterwards."""
    log = home / "start.log"
    command = [sys.executable, "-m", "qenex.cli", "start", "--home", str(home), *FREE, *arguments]
    env = process_environment() | dict(environment or {})
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        children: dict[str, int] = {}
        try:
            assert process.stdout is not None
            is_ready = any(line.startswith("QENEX ready") for line in process.stdout)
            assert is_ready, log.read_text(encoding="utf-8")
            for path in published(home / "run"):
                if path.suffix == ".json":
                    content = json.loads(path.read_text(encoding="utf-8"))
                    children[path.stem] = os.pidfd_open(content["pid"])
            yield Started(home, process, log, children)
        finally:
            process.kill()
            for child in children.values():
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(child, signal.SIGKILL)
                os.close(child)
