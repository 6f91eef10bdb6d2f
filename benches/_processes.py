"""Processes that benches start: engine and HTTP API as users run them, and the native programs that load them."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from benches._run import ROOT, folder
from qenex import bootstrap
from qenex.settings import PREFIX, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qenex.cli.tls import Pair

START_SECONDS = 600.0
TICKS = os.sysconf("SC_CLK_TCK")


@functools.cache
def native(name: str) -> Path:
    """A native program of `crates/*/examples`, built if need be."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    target = Path(os.environ.get("CARGO_TARGET_DIR", cache / "qenex" / "target"))
    # The same selection as `make test` builds, so that nothing is built twice.
    which = ("--release", "--locked", "--workspace", "--exclude", "qenex-bindings", "--examples")
    environment = os.environ | {"CARGO_TARGET_DIR": str(target)}
    subprocess.run(["cargo", "build", "--quiet", *which], cwd=ROOT, env=environment, check=True)
    return target / "release" / "examples" / name


def run(name: str, *words: str) -> str:
    """What a native program prints."""
    done = subprocess.run([native(name), *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{name} {' '.join(words)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def load(kind: str, *where: str, **plan: float | bool) -> dict[str, Any]:
    """What came of a load (crates/engine/examples/load); `plan` are its settings by name."""
    words = [f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in plan.items()]
    report: dict[str, Any] = json.loads(run("load", kind, *where, *words))
    return report


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the disk that is measured, removed at the end."""
    path = Path(tempfile.mkdtemp(prefix="qenex-bench-", dir=folder()))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True)
class Process:
    """A process and what the system says of it."""

    popen: subprocess.Popen[bytes]

    @property
    def cpu_seconds(self) -> float:
        """User and system time of all its threads."""
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    @property
    def anonymous_bytes(self) -> int:
        """Memory that no file backs (`RssAnon`)."""
        for line in Path(f"/proc/{self.popen.pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1_024
        return 0


class Watch:
    """Looks every few milliseconds how much anonymous memory a process has, while it is entered."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.most_bytes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            self.most_bytes = max(self.most_bytes, self._process.anonymous_bytes)
            if self._over.wait(0.02):
                return


class Instance:
    """A home of its own, the engine in it as a process, and the HTTP API where asked for."""

    def __init__(self, home: Path, certificate: Pair | None = None, **more: object) -> None:
        """With a certificate it has TLS before it; `more` are settings."""
        ports = ("binary_port", "http_port", "metrics_port", "https_port", "binary_tls_port")
        given: dict[str, object] = {"home": home} | dict.fromkeys(ports, 0) | more
        self.ca = home / "ca.pem"
        if certificate is not None:
            given |= {"tls_certificate": home / "server.pem", "tls_key": home / "server.key"}
        self.settings = bootstrap.initialise(Settings.load(given)).settings
        if certificate is not None:
            (home / "server.key").touch(mode=0o600)
            for name, content in zip(("ca.pem", "server.pem", "server.key"), certificate, strict=True):
                (home / name).write_bytes(content)
        self.engine: Process | None = None
        self.http: Process | None = None
        self.front: Process | None = None
        self.address = self.http_address = self.https_address = ""
        self.start_seconds = 0.0
        """How long the engine took from its start until it answered."""

    @property
    def token(self) -> str:
        """The owner credential."""
        return bootstrap.owner_token(self.settings)

    @property
    def reach(self) -> tuple[str, str]:
        """Address and file of the credential, as the native programs want them."""
        return self.address, str(self.settings.owner_token_file)

    @property
    def reach_http(self) -> tuple[str, str]:
        """The same of the HTTP API."""
        return self.http_address, str(self.settings.owner_token_file)

    @property
    def serving(self) -> Process:
        """The engine's process."""
        if self.engine is None:
            raise RuntimeError("the engine is not running")
        return self.engine

    @property
    def fronting(self) -> Process:
        """The process of TLS."""
        if self.front is None:
            raise RuntimeError("there is no TLS")
        return self.front

    def start(self) -> Self:
        """Starts the engine, and waits until it listens."""
        begin = time.monotonic()
        self.engine, served = self._start("core.financial_engine", self.settings.engine_file)
        self.start_seconds = time.monotonic() - begin
        self.address = served["binary"]
        return self

    def start_http(self) -> Self:
        """Starts the HTTP API, with a certificate TLS before it, and waits until they listen."""
        self.http, served = self._start("qenex.api", self.settings.http_file)
        self.http_address = served["http"]
        if self.settings.tls_certificate is not None:
            self.front, served = self._start("qenex.front", self.settings.front_file)
            self.https_address = served["https"]
        return self

    def kill(self) -> None:
        """Ends the engine as a power cut does."""
        self.serving.popen.kill()
        self.serving.popen.wait()
        self.engine = None

    def stop(self) -> None:
        """Ends what runs."""
        for process in (self.front, self.http, self.engine):
            if process is not None:
                process.popen.send_signal(signal.SIGTERM)
                process.popen.wait(START_SECONDS)
        self.front = self.http = self.engine = None

    def _start(self, module: str, run_file: Path) -> tuple[Process, dict[str, str]]:
        rest = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        with (self.settings.home / f"{module}.log").open("ab") as log:
            popen = subprocess.Popen(
                [sys.executable, "-m", module, *self.settings.arguments()],
                cwd=ROOT,
                env=rest | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and popen.poll() is None:
            if run_file.exists():
                served: dict[str, Any] = json.loads(run_file.read_text(encoding="utf-8"))
                if served["pid"] == popen.pid:
                    return Process(popen), served
            time.sleep(0.005)
        popen.kill()
        raise SystemExit(f"{module} did not start:\n{(self.settings.home / f'{module}.log').read_text()[-2_000:]}")


@contextmanager
def instance(*, http: bool = False, certificate: Pair | None = None, **more: object) -> Iterator[Instance]:
    """A running instance with a home of its own on the disk that is measured; `more` are settings."""
    with scratch() as path:
        one = Instance(path / "home", certificate, **more).start()
        try:
            yield one.start_http() if http else one
        finally:
            one.stop()
