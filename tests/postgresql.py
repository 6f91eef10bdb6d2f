"""A real PostgreSQL for the tests that need one: one server a session, a database of its own for each test."""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS = 60
MISSING = "PostgreSQL is needed for this test: apt-get install postgresql (or put its `initdb` and `postgres` in PATH)"
PR_SET_PDEATHSIG = 1


class PostgresqlServer:
    """A server that listens on a Unix socket in a folder of its own; it goes where the tests go, however they end."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="qenex-postgresql-"))
        self._user = _user()
        if self._user:
            shutil.chown(self.folder, self._user)
        self._names = (f"test_{number}" for number in itertools.count(1))
        self._run("initdb", "--no-sync", "--auth=trust", "--username=qenex", "--encoding=UTF8", "--locale=C.UTF-8")
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        return f"postgresql://qenex@/{database}?host={self.folder}"

    def start(self) -> None:
        """Starts it (again) and waits until it answers. Not in a thread that ends: the server would end with it."""
        assert self.process is None
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [_program("postgres"), "-D", self.folder / "data", "-k", self.folder, "-h", "", "-F"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_end_with_parent,  # one system call, made by no other thread
            **self._as_user(),
        )
        log.close()
        until = time.monotonic() + START_SECONDS
        while not (self.folder / ".s.PGSQL.5432").exists() or not self._answers():
            if self.process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"PostgreSQL did not start:\n{(self.folder / 'log').read_text()[-4_000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stops it; connections are cut."""
        assert self.process is not None
        process, self.process = self.process, None
        process.send_signal(signal.SIGINT)
        process.wait(START_SECONDS)

    def remove(self) -> None:
        if self.process is not None:
            self.stop()
        shutil.rmtree(self.folder)

    def new_database(self) -> str:
        """The address of an empty database."""
        name = next(self._names)
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.url(name)

    def execute(self, statement: str) -> None:
        async def run() -> None:
            connection = await asyncpg.connect(self.url("postgres"))
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        # In a thread of its own, for a test that asks for this may be running a loop.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: asyncio.run(run())).result()

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except (OSError, asyncpg.PostgresError):
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        command = [_program(program), "-D", self.folder / "data", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", **self._as_user())
        assert done.returncode == 0, done.stderr

    def _as_user(self) -> dict[str, Any]:
        """PostgreSQL refuses to run as root."""
        if not self._user:
            return {}
        return {"user": self._user, "group": pwd.getpwnam(self._user).pw_gid, "extra_groups": []}


def _user() -> str:
    if os.geteuid() != 0:
        return ""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _program(name: str) -> str:
    """Debian keeps them out of PATH, one folder a version."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    found = shutil.which(name) or (str(versions[-1]) if versions else "")
    if not found:
        pytest.fail(MISSING, pytrace=False)
    return found


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """The server of this test session."""
    _program("initdb")
    server = PostgresqlServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def own_postgresql() -> Iterator[PostgresqlServer]:
    """A server that a test may stop."""
    _program("initdb")
    server = PostgresqlServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def records_url(request: pytest.FixtureRequest) -> str:
    """Setting `records_url` of an empty database, once for each kind."""
    if request.param == "sqlite":
        return "sqlite"
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return server.new_database()
