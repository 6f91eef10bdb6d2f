"""The README's tour, block by block as it stands there, against an instance of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT, START_SECONDS, process_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN_HERE = ("make start", ". .venv/bin/activate")
"""The first blocks: what the fixture does instead, because tests bring an environment of their own."""
HTTP = "127.0.0.1:8080"
"""Where the README says that HTTP is; the instance under test has any free port."""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[tuple[dict[str, str], str, subprocess.Popen[str]]]:
    """`qenex start` with the demo bank; the environment for those who use it, and its HTTP address."""
    bin_folder = Path(sys.executable).parent
    environment = process_environment() | {
        "QENEX_HOME": str(tmp_path / "home"),
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "QENEX_BINARY_PORT": "0",
        "QENEX_HTTP_PORT": "0",
        "QENEX_METRICS_PORT": "0",
    }
    command = [sys.executable, "-m", "qenex.cli", "start", "--json"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line == "}\n":
                break
        ready = json.loads("".join(lines))["ready"]
        yield environment, ready["http"].removeprefix("http://"), process
        # Asked, not killed: `start` then waits until the processes that it runs have ended.
        if process.poll() is None:
            process.terminate()


def test_every_block_of_the_readme_does_what_it_says(
    instance: tuple[dict[str, str], str, subprocess.Popen[str]], tmp_path: Path
) -> None:
    environment, http, process = instance
    blocks = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(blocks) > 8
    printed = ""
    for language, text in blocks:
        if text.startswith(NOT_RUN_HERE):
            continue
        program = [sys.executable, "-c"] if language == "python" else ["bash", "-euo", "pipefail", "-c"]
        done = subprocess.run(
            [*program, text.replace(HTTP, http)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        printed += done.stdout
    for said in (
        "Transaction completed: 0x",
        "10000 created",
        " held, 0 still pending",
        "balanced",
        "19.99 EUR",
        "agrees with it",
    ):
        assert said in printed, printed
    process.send_signal(signal.SIGINT)
    assert process.wait(START_SECONDS) == 0
