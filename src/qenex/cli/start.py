"""`qenex start`: the engine, the HTTP process and TLS before them, in the foreground, until Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from qenex import bootstrap
from qenex.cli import demo, demo_bank
from qenex.cli.engine_book import open_book
from qenex.cli.output import Home, Json, Output, example
from qenex.cli.processes import Child, check_address, read_run_file
from qenex.client.credentials import Address
from qenex.errors import AddressInUse, ClockUnconfirmed
from qenex.errors.engine import BY_NUMBER
from qenex.settings import UNTIL_INPUT_ENDS, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

    from qenex.progress import Tell

START_SECONDS: Final = 300.0
"""How long a process may take until it answers, without a sign that it gets on."""

STOP_SECONDS: Final = 60.0
"""How long a process may take to stop before it is killed."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_Port = Annotated[int | None, typer.Option(help="0 is any free one.", show_default="from the settings")]


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("start", epilog=example("qenex start --home ~/bank --http-port 8081"))(_start)


def _start(
    home: Home = None,
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="from the settings")] = None,
    binary_port: _Port = None,
    http_port: _Port = None,
    metrics_port: _Port = None,
    with_demo: Annotated[bool, typer.Option("--demo/--no-demo", help="Create the demo bank in a new book.")] = True,
    as_json: Json = False,
) -> None:
    """Start QENEX and stay in the foreground until Ctrl-C. More settings: qenex.toml in the home."""
    ports = {"binary_port": binary_port, "http_port": http_port, "metrics_port": metrics_port}
    settings = bootstrap.initialise(Settings.load({"home": home, "host": host, **ports})).settings
    served = {
        "binary_port": settings.binary_host,
        "http_port": settings.plain_host,
        "metrics_port": settings.plain_host,
    }
    if settings.tls_certificate is not None:
        served |= {"https_port": settings.host, "binary_tls_port": settings.host}
    for name, where in served.items():
        try:
            check_address(where, getattr(settings, name), f"--{name.replace('_', '-')}")
        except AddressInUse as error:
            raise AddressInUse(error.host, error.port, error.flag, ours=_serving(settings, error)) from error
    with _signals() as (stop, changed):
        _Instance(settings, stop, changed).run(Output(as_json=as_json), with_demo=with_demo)


class _Instance:
    """The processes of one home."""

    def __init__(self, settings: Settings, stop: threading.Event, changed: threading.Event) -> None:
        self._settings, self._stop, self._changed = settings, stop, changed
        self._children: list[Child] = []

    def run(self, output: Output, *, with_demo: bool) -> None:
        """From start to stop.

        Raises:
            ProcessDied: a process ended by itself; the others have been stopped.
            StartTimeout: a process never answered; all have been stopped.
        """
        try:
            with output.progress("Replaying the journal", "entries") as tell:
                engine = self._serve("engine", "qenex.engine", self._settings.engine_file, tell)
            if engine is None:
                return
            self._look(with_demo=with_demo)
            # Before HTTP, so that it stops after it: what HTTP still answers has a way out.
            front: dict[str, Any] | None = {}
            if self._settings.tls_certificate is not None:
                front = self._serve("front", "qenex.front", self._settings.front_file)
            http = self._serve("http", "qenex.api", self._settings.http_file) if front is not None else None
            if http is None or front is None:
                return
            self._announce(output, engine | http, front)
            while not self._stop.is_set():
                self._changed.wait()
                self._changed.clear()
                for child in self._children:
                    if not child.running:
                        raise child.died()
        finally:
            self._stop_all()

    def _serve(self, name: str, module: str, run_file: Path, tell: Tell | None = None) -> dict[str, Any] | None:
        """Starts a process and waits until it serves; what it has published, or None when asked to stop before.

        `tell` hears how far the engine is with replaying its journal.
        """
        command = [sys.executable, "-m", module, *self._settings.arguments(), UNTIL_INPUT_ENDS]
        child = Child(name, command, self._changed)
        self._children.append(child)
        published: dict[str, Any] = {}

        def serves() -> bool:
            published.update(read_run_file(run_file, child.process.pid) or {})
            return bool(published) and (name != "http" or _answers(published["http"]))

        def replayed() -> object:
            if tell is None or not (replay := read_run_file(self._settings.replay_file, child.process.pid)):
                return None
            tell(replay["done"], replay["total"])
            return replay["done"]

        if child.wait_until(serves, seconds=START_SECONDS, stop=self._stop.is_set, progress=replayed):
            return published
        return None

    def _look(self, *, with_demo: bool) -> None:
        """Makes the demo bank in a new book; says why an engine takes no writes, and what helps."""
        home = str(self._settings.home)
        with open_book(home, read_only=True) as book:
            status = book.status()
        if not status.is_writable:
            why = BY_NUMBER[status.writable]
            helps = "; look at the clock, then `qenex clock confirm`" if why is ClockUnconfirmed else ""
            sys.stderr.write(f"qenex: writes are refused for now: {why.text}{helps}\n")
        elif with_demo and not status.accounts:
            with open_book(home) as book:
                demo.create(book)

    def _announce(self, output: Output, served: dict[str, Any], front: dict[str, Any]) -> None:
        http = f"http://{served['http']}"
        metrics = f"http://{served['metrics']}/metrics"
        ready = {"binary": served["binary"], "http": http, "docs": f"{http}/docs", "metrics": metrics}
        by_tls = []
        if front:
            ready |= {"https": f"https://{front['https']}", "binary_tls": f"tls://{front['binary']}"}
            by_tls = [f"By TLS: binary {ready['binary_tls']}, HTTP {ready['https']}"]
        debtor, creditor = demo_bank.example_addresses()
        output.show(
            {
                "ready": ready,
                "home": str(self._settings.home),
                "addresses": [debtor, creditor],
            },
            f"QENEX ready: binary {served['binary']}, HTTP {http}, docs {http}/docs, metrics {metrics}",
            *by_tls,
            f"A browser asks for a password: it is the credential in {self._settings.owner_token_file}",
            f"Two accounts of the demo bank: {debtor} {creditor}",
            f"Try, with QENEX_HOME={self._settings.home}:\n\n{demo.snippet()}\n",
            "Ctrl-C stops it.",
        )
        sys.stdout.flush()

    def _stop_all(self) -> None:
        """The HTTP process first, so that what it has accepted can still be answered by the engine."""
        # Of one that has ended by itself the error tells.
        for child in [child for child in reversed(self._children) if child.running]:
            code = child.stop(patience=lambda seconds: seconds < STOP_SECONDS)
            ended = "has stopped" if code == 0 else f"has ended with code {code}"
            sys.stderr.write(f"qenex: the {child.name} process {ended}\n")


def _serving(settings: Settings, taken: AddressInUse) -> int | None:
    """The process of this home that has published the address as its own, if it lives."""
    for path in (settings.engine_file, settings.http_file, settings.front_file):
        with suppress(OSError, ValueError, KeyError, TypeError):
            published = json.loads(path.read_text(encoding="utf-8"))
            pid = int(published["pid"])
            os.kill(pid, 0)
            if str(Address(taken.host, taken.port)) in published.values():
                return pid
    return None


def _answers(address: str) -> bool:
    """Whether the HTTP process reports that all is well, the way to the engine included."""
    try:
        with urllib.request.urlopen(f"http://{address}/health", timeout=5) as reply:  # http, ours
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def _signals() -> Iterator[tuple[threading.Event, threading.Event]]:
    """Events: asked to stop; something to look at."""
    stop, changed = threading.Event(), threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        changed.set()

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield stop, changed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
