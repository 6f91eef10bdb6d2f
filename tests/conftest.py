"""What tests share: a home of their own, engines as real processes, the public data sets."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from qenex import bootstrap
from qenex.settings import PREFIX, Settings
from tests.postgresql import own_postgresql as own_postgresql
from tests.postgresql import postgresql as postgresql
from tests.postgresql import records_url as records_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]
START_SECONDS = 60
"""How long a process may take to start on a machine that is busy with other tests."""


def process_environment() -> dict[str, str]:
    """For processes that tests start: none of our variables, and the modules of this tree."""
    rest = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return rest | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "PYTHONUNBUFFERED": "1"}


def run_python(*arguments: object, timeout: float = START_SECONDS) -> subprocess.CompletedProcess[str]:
    """Runs Python in a process of its own, as users of this checkout would, and waits for its end."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=process_environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def published(run_folder: Path) -> list[Path]:
    """What processes have left in it, beside the space that is kept for a full disk."""
    return [path for path in run_folder.iterdir() if not path.name.startswith(".spare-")]


@dataclass
class EngineProcess:
    """An engine with a home of its own: `python -m core.financial_engine` on any free port."""

    MODULE: ClassVar[str] = "core.financial_engine"
    LOG: ClassVar[str] = "engine.log"
    ADDRESS: ClassVar[str] = "binary"
    """Which of the addresses that it publishes is its own."""

    settings: Settings
    environment: dict[str, str] = field(default_factory=dict)
    """Variables that its process has beside the usual ones."""
    process: subprocess.Popen[str] | None = field(default=None, init=False)
    host: str = field(default="", init=False)
    port: int = field(default=0, init=False)
    served: dict[str, Any] = field(default_factory=dict, init=False)
    """What it published."""

    @property
    def home(self) -> Path:
        return self.settings.home

    @property
    def run_file(self) -> Path:
        """What it writes once it serves."""
        return self.settings.engine_file

    @property
    def address(self) -> str:
        """`host:port` that it serves."""
        return f"{self.host}:{self.port}"

    @property
    def token(self) -> str:
        """The owner credential."""
        return bootstrap.owner_token(self.settings)

    @property
    def pid(self) -> int:
        assert self.process is not None, "the engine is not running"
        return self.process.pid

    def start(self) -> EngineProcess:
        """Starts it (again) and waits until it serves."""
        assert self.process is None, "the engine is running already"
        self.process = self._launch()
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self.process.poll() is not None:
                self.process = None
                pytest.fail(f"the process ended at its start:\n{self.log()[-4_000:]}")
            with suppress(FileNotFoundError):
                self.served = json.loads(self.run_file.read_text(encoding="utf-8"))
                if self.served["pid"] == self.process.pid:
                    host, _, port = self.served[self.ADDRESS].rpartition(":")
                    self.host, self.port = host, int(port)
                    return self
            time.sleep(0.01)
        self.kill()
        pytest.fail(f"the process did not serve within {START_SECONDS} s:\n{self.log()[-4_000:]}")

    def _launch(self) -> subprocess.Popen[str]:
        with (self.home / self.LOG).open("a", encoding="utf-8") as log:
            return subprocess.Popen(
                [sys.executable, "-m", self.MODULE, *self.settings.arguments()],
                cwd=ROOT,
                env=process_environment() | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
            )

    def stop(self) -> int:
        """Stops it cleanly (SIGTERM); its exit code."""
        assert self.process is not None, "the engine is not running"
        self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def kill(self) -> None:
        """Stops it as a power cut does (SIGKILL)."""
        assert self.process is not None, "the engine is not running"
        self.process.kill()
        self._ended()

    def ended(self) -> int:
        """Waits until it ends by itself; its exit code."""
        return self._ended()

    def log(self) -> str:
        """All that it has printed so far."""
        return (self.home / self.LOG).read_text(encoding="utf-8")

    def _ended(self) -> int:
        assert self.process is not None
        process, self.process = self.process, None
        return process.wait(START_SECONDS)


@dataclass
class HttpProcess(EngineProcess):
    """The HTTP process of an engine's home."""

    MODULE: ClassVar[str] = "qenex.api"
    LOG: ClassVar[str] = "http.log"
    ADDRESS: ClassVar[str] = "http"

    @property
    def run_file(self) -> Path:
        return self.settings.http_file


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the home of whoever runs it, or is led by their variables."""
    for name in list(os.environ):
        if name.startswith(PREFIX) and name not in ("QENEX_DATA", "QENEX_DATA_REQUIRED"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("QENEX_HOME", str(tmp_path / "home"))


def new_engine(home: Path, *, port: int = 0, **flags: object) -> EngineProcess:
    """An engine that is not started yet, on free ports; with `port` always on the same; other settings as given."""
    settings = Settings.load({"home": home, "binary_port": port, "http_port": 0, "metrics_port": 0, **flags})
    return EngineProcess(bootstrap.initialise(settings).settings)


def lasting_port() -> int:
    """A free port for a server that goes and comes back.

    Not one that the system hands out for outgoing connections: while the server is away a client could get it, and
    even be connected to itself.
    """
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    pytest.fail("no port from 20000 to 31999 is free")


@pytest.fixture
def make_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], EngineProcess]]:
    """Starts engines, each with a home of its own; they are stopped when the test ends."""
    made: list[EngineProcess] = []

    def make() -> EngineProcess:
        made.append(new_engine(tmp_path_factory.mktemp("engine")))
        return made[-1].start()

    yield make
    for one in made:
        if one.process is not None:
            one.kill()


@pytest.fixture
def engine(make_engine: Callable[[], EngineProcess]) -> EngineProcess:
    """A running engine that this test has for itself."""
    return make_engine()


@pytest.fixture(scope="module")
def shared_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """A running engine that the tests of a module share; they use ids of their own and leave it running."""
    one = new_engine(tmp_path_factory.mktemp("shared-engine")).start()
    yield one
    if one.process is not None:
        one.kill()


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The public data sets; without them the test is skipped, or fails where QENEX_DATA_REQUIRED is set."""
    folder = Path(os.environ.get("QENEX_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        reason = f"not run: the public data sets are not in {folder} (QENEX_DATA)"
        if os.environ.get("QENEX_DATA_REQUIRED"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
