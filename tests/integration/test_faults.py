"""Disks that fail under a running engine: what it answered is true, what it does next is safe and said plainly."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from qenex import QenexClient
from qenex.client.protocol import Operation
from qenex.errors import EngineError, StorageFull, UnknownOutcome
from qenex.exits import ExitCode
from qenex.kernel import BATCH_MAX, ID, TRANSFER, AccountFlags, CreateTransferStatus, from_ints
from tests.conftest import ROOT, START_SECONDS, EngineProcess, HttpProcess, new_engine, process_environment
from tests.integration.faults import SmallDisk, injected, library_of_short_calls, may_mount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray

EUR = 978
CALLS = {"fdatasync": "sync", "pwrite64": "write"}
"""What fails, and how the engine calls it."""
PAYER, PAYEE = 1, 2
FIRST = 10_000
"""Ids of large requests begin here, of small ones below."""
TRIES_MAX = 100_000
"""Bounds what is repeated until something happens."""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineProcess]:
    engine = new_engine(tmp_path / "engine").start()
    yield engine
    if engine.process is not None:
        engine.kill()


def connect(engine: EngineProcess, **options: float) -> QenexClient:
    return QenexClient(engine.address, credential=engine.token, **options)  # type: ignore[arg-type]  # patience_s


def open_accounts(client: QenexClient) -> None:
    for account in (PAYER, PAYEE):
        client.create_account("EUR", account_id=account, flags=AccountFlags.NONE)


def payment(client: QenexClient, identity: int) -> None:
    """One minor unit, under this id."""
    client.execute(client.create_transaction(PAYER, PAYEE, "0.01", "EUR", transfer_id=identity))


def batch(first: int) -> NDArray[np.void]:
    """A request full of payments of one minor unit, with ids from this one on."""
    rows = np.zeros(BATCH_MAX, TRANSFER)
    rows["id"] = from_ints(np.arange(first, first + BATCH_MAX, dtype=np.uint64))
    rows["debit_account_id"], rows["credit_account_id"] = from_ints([PAYER]), from_ints([PAYEE])
    rows["amount"], rows["ledger"], rows["code"] = from_ints([1]), EUR, 1
    return rows


def is_there(client: QenexClient, identity: int) -> bool:
    return bool(len(client.call(Operation.LOOKUP_TRANSFERS, from_ints([identity]).view(ID)).rows))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_a_write_or_sync_that_fails_stops_the_engine_at_once_and_nothing_of_the_group_is_answered(
    engine: EngineProcess, call: str, error: str
) -> None:
    with connect(engine, patience_s=2) as client:
        open_accounts(client)
        for identity in range(10, 20):
            payment(client, identity)
        with injected(engine.pid, call, f"error={error}") as tracer, pytest.raises(UnknownOutcome):
            payment(client, 20)
        assert tracer.injected
        assert engine.ended() == ExitCode.UNAVAILABLE
    (line,) = [line for line in engine.log().splitlines() if line.startswith("engine: ")]
    what, why = CALLS[call], os.strerror(getattr(errno, error))
    assert re.search(rf"cannot {what} journal/\d{{12}}\.qxj.*{why}.*stopped at once", line)
    engine.start()
    with connect(engine) as client:
        assert all(is_there(client, identity) for identity in range(10, 20)), "what was answered is there"
        for identity in range(10, 22):
            payment(client, identity)
        assert client.balance(PAYEE).posted_minor == 12, "each once, whether the group was durable or not"
    assert engine.stop() == ExitCode.OK


def test_a_folder_that_cannot_be_synced_keeps_a_file_from_counting_as_there(engine: EngineProcess) -> None:
    """The next file of the journal is made durable under its name before anything depends on it."""
    with connect(engine, patience_s=2) as client:
        open_accounts(client)
        with injected(engine.pid, "fsync", "error=EIO"), pytest.raises(EngineError):
            fill(client, FIRST)
        assert engine.ended() == ExitCode.UNAVAILABLE
    assert os.strerror(errno.EIO) in engine.log()
    engine.start()
    with connect(engine) as client:
        status = client.status()
        assert client.balance(PAYEE).posted_minor == status.transfers, "nothing is there by half"
        payment(client, 5)
    assert engine.stop() == ExitCode.OK


def fill(client: QenexClient, first: int) -> None:
    """Pays with large requests until that raises."""
    for at in range(TRIES_MAX):
        results = client.create_transfers(batch(first + at * BATCH_MAX))
        assert set(results["status"]) == {int(CreateTransferStatus.CREATED)}
    pytest.fail("it never ends")


def test_calls_that_a_signal_interrupts_are_made_again(engine: EngineProcess) -> None:
    with connect(engine) as client:
        open_accounts(client)
        with injected(engine.pid, "pwrite64,fdatasync", "error=EINTR:when=1+2") as tracer:
            for identity in range(10, 40):
                payment(client, identity)
            client.create_transfers(batch(FIRST))
        assert tracer.injected >= 30
        assert client.balance(PAYEE).posted_minor == 30 + BATCH_MAX
    engine.kill()
    engine.start()
    with connect(engine) as client:
        assert client.balance(PAYEE).posted_minor == 30 + BATCH_MAX
    assert engine.stop() == ExitCode.OK


def test_calls_that_do_less_than_they_were_asked_for_are_gone_on_with(tmp_path: Path) -> None:
    engine = new_engine(tmp_path / "engine")
    engine.environment["LD_PRELOAD"] = str(library_of_short_calls(tmp_path))
    engine.start()
    try:
        with connect(engine) as client:
            open_accounts(client)
            for identity in range(10, 40):
                payment(client, identity)
            for first in range(1_000, 10_000_000, 1_000_000):
                client.create_transfers(batch(first))
        for end in (engine.kill, engine.stop):
            end()
            engine.start()
            with connect(engine) as client:
                assert client.balance(PAYEE).posted_minor == 30 + 10 * BATCH_MAX
        assert "cut off" not in engine.log()
        engine.environment.clear()
        engine.kill()
        engine.start()
        with connect(engine) as client:
            assert client.balance(PAYEE).posted_minor == 30 + 10 * BATCH_MAX
    finally:
        if engine.process is not None:
            engine.kill()


class InjectedFullDisk:
    """The disk of a running engine is full, says strace, to whoever makes a file."""

    def __init__(self, tmp_path: Path) -> None:
        self.engine = new_engine(tmp_path / "engine").start()

    @contextmanager
    def full(self) -> Iterator[None]:
        (journal,) = self.engine.home.glob("books/*/journal")
        with injected(self.engine.pid, "pwrite64", "error=ENOSPC", path=journal / "next.tmp"):
            yield

    def end(self) -> None:
        if self.engine.process is not None:
            self.engine.kill()


class RealFullDisk(InjectedFullDisk):
    """The engine's home is a file system of its own, which is filled."""

    def __init__(self, tmp_path: Path) -> None:
        self._disk = SmallDisk(tmp_path / "disk", 160)
        self.engine = new_engine(tmp_path / "disk" / "home").start()

    @contextmanager
    def full(self) -> Iterator[None]:
        self._disk.fill()
        try:
            yield
        finally:
            self._disk.free()

    def end(self) -> None:
        super().end()
        self._disk.end()


DISKS: list[Callable[[Path], InjectedFullDisk]] = [InjectedFullDisk, *([RealFullDisk] if may_mount() else [])]


@pytest.fixture(params=DISKS, ids=lambda disk: disk.__name__)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[InjectedFullDisk]:
    made: InjectedFullDisk = request.param(tmp_path)
    yield made
    made.end()


def test_on_a_full_disk_writes_are_refused_reads_go_on_and_work_resumes_with_space(disk: InjectedFullDisk) -> None:
    engine = disk.engine
    with connect(engine) as client:
        open_accounts(client)
        with full_and_refusing(disk, client) as paid:
            assert client.status().writable == StorageFull.number
            assert is_there(client, FIRST)
            assert client.balance(PAYEE).posted_minor == client.status().transfers == paid
            for _ in range(2):
                with pytest.raises(StorageFull):
                    payment(client, 1)
            assert client.status().transfers == paid, "what was refused has not happened"
            # Who only looks needs no space, though it comes now: qenex status, and a client that says so.
            assert shown(engine)["writable"] == StorageFull.code
            with connect(engine, read_only=True) as newcomer:
                assert newcomer.balance(PAYEE).posted_minor == paid
        for _ in range(TRIES_MAX):
            if client.status().is_writable:
                break
        payment(client, 1)
        assert client.balance(PAYEE).posted_minor == paid + 1
    assert engine.stop() == ExitCode.OK
    engine.start()
    with connect(engine) as client:
        assert client.balance(PAYEE).posted_minor == paid + 1


def test_a_full_disk_is_no_obstacle_to_a_clean_end(disk: InjectedFullDisk) -> None:
    engine = disk.engine
    with connect(engine) as client:
        open_accounts(client)
        with full_and_refusing(disk, client) as paid:
            assert engine.stop() == ExitCode.OK, engine.log()
    engine.start()
    with connect(engine) as client:
        assert client.balance(PAYEE).posted_minor == paid
        payment(client, 1)


def test_an_http_process_that_starts_while_the_disk_is_full_serves_reads_and_writes_once_there_is_space(
    tmp_path: Path,
) -> None:
    disk = InjectedFullDisk(tmp_path)
    http = HttpProcess(disk.engine.settings)
    try:
        with connect(disk.engine) as client:
            open_accounts(client)
            with full_and_refusing(disk, client) as paid:
                http.start()
                with api_of(http) as api:
                    assert api.get("/health").json() == {"live": True, "ready": True, "writable": False}
                    assert balance_of(api, PAYEE) == paid
                    for _ in range(2):
                        refused = pay(api)
                        assert (refused.status_code, refused.json()["code"]) == (507, StorageFull.code)
                    assert balance_of(api, PAYEE) == paid, "what was refused has not happened"
            for _ in range(TRIES_MAX):
                if client.status().is_writable:
                    break
        with api_of(http) as api:
            made = pay(api)
            assert made.status_code == 201, made.text
            assert balance_of(api, PAYEE) == paid + 1
    finally:
        for process in (http, disk.engine):
            if process.process is not None:
                process.kill()


def api_of(http: HttpProcess) -> httpx.Client:
    headers = {"authorization": f"Bearer {http.token}"}
    return httpx.Client(base_url=f"http://{http.address}", headers=headers, timeout=START_SECONDS)


def pay(api: httpx.Client) -> httpx.Response:
    """One minor unit."""
    body = {"from": str(PAYER), "to": str(PAYEE), "amount": "0.01", "token": "EUR"}
    return api.post("/api/v1/transaction", json=body)


def balance_of(api: httpx.Client, account: int) -> int:
    """In minor units."""
    answer = api.get(f"/api/v1/accounts/{account}/balance")
    assert answer.status_code == 200, answer.text
    return int(answer.json()["posted_minor"])


def shown(engine: EngineProcess) -> dict[str, Any]:
    """What `qenex status` says."""
    command = [sys.executable, "-m", "qenex.cli", "status", "--json", "--home", str(engine.home)]
    done = subprocess.run(command, cwd=ROOT, env=process_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.OK, done.stderr
    status: dict[str, Any] = json.loads(done.stdout)
    return status


def pay_one_by_one(client: QenexClient) -> None:
    """Pays with small requests until that raises."""
    for identity in range(10, FIRST):
        payment(client, identity)


@contextmanager
def full_and_refusing(disk: InjectedFullDisk, client: QenexClient) -> Iterator[int]:
    """The disk is full and all prepared space used up; how many payments there are."""
    full: AbstractContextManager[None] = disk.full()
    with full:
        with pytest.raises(StorageFull):
            fill(client, FIRST)
        # What is left has no room for a large request, but for small ones.
        with pytest.raises(StorageFull):
            pay_one_by_one(client)
        yield client.status().transfers
