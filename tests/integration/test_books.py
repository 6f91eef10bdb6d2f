"""Many books in one engine: made, listed, suspended, each opened by a credential of its own, whole after kills."""

from __future__ import annotations

import json
import secrets
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from qenex import QenexClient, bootstrap
from qenex.client import AsyncSystemClient, Grant, SystemClient
from qenex.client.system import BookState, GrantState, find_system_credential, new_book_id
from qenex.errors import (
    AccountNotFound,
    BookConflict,
    BookSuspended,
    BookUnknown,
    CredentialExposed,
    CredentialMissing,
    EngineError,
    Forbidden,
    InvalidBookName,
    InvalidHome,
    Unauthenticated,
)
from qenex.exits import ExitCode
from tests.conftest import EngineProcess, lasting_port, new_engine, run_python

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def system(shared_engine: EngineProcess) -> Iterator[SystemClient]:
    with SystemClient(shared_engine.address, home=shared_engine.home) as client:
        yield client


def made(system: SystemClient, name: str = "a bank") -> tuple[bytes, str]:
    secret = bootstrap.new_credential()
    return system.create_book(name, Grant.of_secret(secret)).id, secret


def test_a_book_that_is_made_is_there_for_its_own_credential_alone(
    shared_engine: EngineProcess, system: SystemClient
) -> None:
    (first, first_secret), (second, second_secret) = made(system, "Erste Österreichische"), made(system)
    with (
        QenexClient(shared_engine.address, credential=first_secret) as one,
        QenexClient(shared_engine.address, credential=second_secret) as two,
        QenexClient(shared_engine.address, credential=shared_engine.token) as home,
    ):
        assert (one.status().book, two.status().book) == (first, second)
        account = one.create_account("EUR")
        assert one.get_account(account.id).id == account.id
        for other in (two, home):
            with pytest.raises(AccountNotFound):
                other.get_account(account.id)
        listed = {book.id: book for book in system.list_books()}
        assert listed[first].name == "Erste Österreichische"
        assert listed[first].is_open
        assert listed[first].state is BookState.ACTIVE
        assert [book.id for book in listed.values() if book.is_home] == [home.status().book]
        assert shared_engine.served["book"] == home.status().book_id


def test_a_suspended_book_lets_nobody_in_until_it_is_resumed(
    shared_engine: EngineProcess, system: SystemClient
) -> None:
    book, secret = made(system)
    with QenexClient(shared_engine.address, credential=secret) as client:
        client.create_account("EUR")
        assert system.suspend_book(book).state is BookState.SUSPENDED
        with pytest.raises(BookSuspended):
            client.status()
        with pytest.raises(BookSuspended):
            QenexClient(shared_engine.address, credential=secret)
        assert system.suspend_book(book) == system.suspend_book(book)
        system.resume_book(book)
        assert client.status().accounts == 1


def test_grants_come_and_go_and_act_on_those_who_are_in(shared_engine: EngineProcess, system: SystemClient) -> None:
    book, _ = made(system)
    secret = bootstrap.new_credential()
    grant = Grant.of_secret(secret, b"svc_payments".ljust(16, b"\0"))
    system.put_grants(book, [grant])
    shown = {one.fingerprint: one for one in system.list_grants(book)}
    assert len(shown) == 2
    assert shown[grant.fingerprint].principal == grant.principal
    assert shown[grant.fingerprint].keys == bytes(64)
    with QenexClient(shared_engine.address, credential=secret) as client:
        client.create_account("EUR")
        reading = Grant.of_secret(secret, grant.principal, may_write=False)
        system.put_grants(book, [reading])
        with pytest.raises(Forbidden):
            client.create_account("EUR")
        assert client.status().accounts == 1
        system.remove_grants(book, [grant.fingerprint])
        with pytest.raises(Unauthenticated):
            client.status()
    assert [one.fingerprint for one in system.list_grants(book)] == [
        fingerprint for fingerprint in shown if fingerprint != grant.fingerprint
    ]


def test_what_cannot_be_is_refused(shared_engine: EngineProcess, system: SystemClient) -> None:
    book, secret = made(system, "one")
    grant = Grant.of_secret(secret)
    assert system.create_book("one", grant, book=book).id == book, "asked again it is the same"
    with pytest.raises(BookConflict):
        system.create_book("two", grant, book=book)
    with pytest.raises(BookConflict):
        system.create_book("two", grant)
    with pytest.raises(BookUnknown):
        system.suspend_book(new_book_id())
    for name in ("", "x" * 65, "ü" * 33, "a\nb"):
        with pytest.raises(InvalidBookName):
            system.create_book(name, Grant.of_secret(bootstrap.new_credential()))
    with QenexClient(shared_engine.address, credential=secret) as client, pytest.raises(Forbidden):
        client.call(1041, bytes(32))
    with pytest.raises(Forbidden):
        system._connection.call(146, np.zeros(128, "u1").tobytes())


async def test_the_asynchronous_twin_does_the_same(shared_engine: EngineProcess) -> None:
    secret = bootstrap.new_credential()
    async with AsyncSystemClient(shared_engine.address, home=shared_engine.home) as system:
        book = await system.create_book("twin", Grant.of_secret(secret))
        assert book in await system.list_books()
        extra = Grant.of_secret(bootstrap.new_credential())
        await system.put_grants(book.id, [extra])
        assert len(await system.list_grants(book.id)) == 2
        await system.remove_grants(book.id, [extra.fingerprint])
        assert (await system.suspend_book(book.id)).state is BookState.SUSPENDED
        assert (await system.resume_book(book.id)).state is BookState.ACTIVE
        assert all(one.state is GrantState.ACTIVE for one in await system.list_grants(book.id))


def test_the_credential_of_the_system_is_guarded_as_the_owners_is(tmp_path: Path) -> None:
    with pytest.raises(CredentialMissing, match="qenex init"):
        find_system_credential(tmp_path)
    settings = bootstrap.initialise(tmp_path).settings
    assert find_system_credential(tmp_path) == bootstrap.system_token(settings)
    settings.system_token_file.chmod(0o640)
    for find in (find_system_credential, lambda home: bootstrap.initialise(home)):
        with pytest.raises(CredentialExposed, match=r"system.token: mode 640 .*chmod 600"):
            find(tmp_path)
    settings.system_token_file.unlink()
    settings.system_token_file.mkdir(mode=0o700)
    with pytest.raises(InvalidHome, match=r"system.token: cannot be read"):
        find_system_credential(tmp_path)


def test_the_commands(make_engine: Callable[[], EngineProcess], tmp_path: Path) -> None:
    engine = make_engine()

    def run(*arguments: str, code: ExitCode = ExitCode.OK) -> str:
        done = run_python("-m", "qenex.cli", "books", *arguments, "--home", engine.home)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout or done.stderr

    printed = json.loads(run("create", "First Bank", "--json"))
    with QenexClient(engine.address, credential=printed["credential"]) as client:
        assert client.status().book_id == printed["book"]
    file = tmp_path / "second.token"
    assert "second.token" in run("create", "Second Bank", "--credential-file", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    with QenexClient(engine.address, credential=file.read_text().strip()) as client:
        second = client.status().book_id
    assert "cannot be made" in run("create", "Third", "--credential-file", str(file), code=ExitCode.USAGE)
    assert "64 bytes" in run("create", "x" * 65, "--credential-file", str(tmp_path / "no"), code=ExitCode.USAGE)
    assert not (tmp_path / "no").exists(), "no credential stays for what was not made"
    assert {book["name"] for book in json.loads(run("list", "--json"))["books"]} == {
        "home",
        "First Bank",
        "Second Bank",
    }
    assert "First Bank" in run("list")
    assert "is suspended" in run("suspend", second)
    with pytest.raises(BookSuspended):
        QenexClient(engine.address, credential=file.read_text().strip())
    assert "is active" in run("resume", second)
    assert "32 hexadecimal digits" in run("suspend", "nonsense", code=ExitCode.USAGE)
    assert "no book of this id" in run("suspend", "0" * 31 + "1", code=ExitCode.REFUSED)


def test_a_book_is_there_or_it_is_not_whenever_the_engine_is_killed(tmp_path: Path) -> None:
    engine = new_engine(tmp_path / "home", port=lasting_port())
    answered: dict[bytes, str] = {}
    asked: dict[bytes, str] = {}
    for _ in range(8):
        engine.start()
        address, home = engine.address, engine.home
        begun = threading.Event()

        def work(address: str = address, home: Path = home, begun: threading.Event = begun) -> None:
            try:
                with SystemClient(address, home=home, patience_s=0.1) as system:
                    while True:
                        book, secret = new_book_id(), bootstrap.new_credential()
                        asked[book] = secret
                        system.create_book("killed", Grant.of_secret(secret), book=book)
                        answered[book] = secret
                        begun.set()
                        if secrets.randbelow(3) == 0:
                            system.suspend_book(book)
                            system.resume_book(book)
            except EngineError:
                pass

        worker = threading.Thread(target=work)
        worker.start()
        assert begun.wait(30)
        engine.kill()
        worker.join()
    engine.start()
    with SystemClient(engine.address, home=engine.home) as system:
        there = {book.id: book for book in system.list_books() if not book.is_home}
    assert answered.keys() <= there.keys() <= asked.keys()
    assert {path.name for path in engine.settings.books_folder.iterdir()} >= {book.hex() for book in there}
    for book in list(there)[::7]:
        if there[book].state is BookState.ACTIVE:
            with QenexClient(engine.address, credential=asked[book]) as client:
                assert client.status().book == book
    assert engine.stop() == ExitCode.OK
    assert "damaged" not in engine.log()
