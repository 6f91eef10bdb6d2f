"""`qenex backup`, `journal verify`, `restore`: a copy of a running engine's book comes back to life, or is refused."""

from __future__ import annotations

import json
from hashlib import sha256
from shutil import copytree
from typing import TYPE_CHECKING, Any

import pytest

from qenex import QenexClient
from qenex.exits import ExitCode
from qenex.kernel import AccountFlags
from tests.conftest import new_engine, run_python

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.conftest import EngineProcess

PAYMENTS = 30


def qenex(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run_python("-m", "qenex.cli", *arguments)


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == ExitCode.OK, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    error: dict[str, str] = json.loads(done.stderr)["error"]
    return error["code"]


@pytest.fixture
def paid(engine: EngineProcess) -> tuple[EngineProcess, str]:
    """An engine with payments in it, and the address that got them."""
    with QenexClient(home=engine.home) as client:
        payer = client.create_account("EUR", flags=AccountFlags.NONE)
        payee = client.create_account("EUR")
        for _ in range(PAYMENTS):
            client.execute(client.create_transaction(payer.address, payee.address, "0.10", "EUR"))
        client.hold(payer.address, payee.address, "5", "EUR")
    return engine, payee.address


def test_a_backup_of_a_running_engine_restores_to_the_same_balances_in_a_new_life(
    paid: tuple[EngineProcess, str], tmp_path: Path
) -> None:
    engine, payee = paid
    document(qenex("backup", tmp_path / "copy", "--home", engine.home, "--json"))
    running = document(qenex("journal", "verify", "--home", engine.home, "--json"))
    assert (running["ending"], running["transfers"], running["pending"]) == ("asked", PAYMENTS + 1, 1)
    copied = document(qenex("journal", "verify", tmp_path / "copy", "--json"))
    assert copied["state_hash"] == running["state_hash"]

    restored = document(qenex("restore", tmp_path / "copy", "--home", tmp_path / "new", "--json"))
    assert restored["state_hash"] == running["state_hash"]
    assert restored["parent_incarnation"] == running["incarnations"][-1]
    other = new_engine(tmp_path / "new").start()
    try:
        with QenexClient(home=other.home) as client:
            assert client.book == running["book"]
            assert client.balance(payee).credits_posted == PAYMENTS * 10
            assert client.balance(payee).credits_pending == 500
    finally:
        assert other.stop() == ExitCode.OK
    ended = document(qenex("journal", "verify", "--home", other.home, "--json"))
    assert ended["ending"] == "clean"
    assert len(ended["incarnations"]) == 2
    assert [row["debits_posted_minor"] for row in ended["ledgers"]] == [str(PAYMENTS * 10)]

    again = qenex("restore", tmp_path / "copy", "--home", tmp_path / "new", "--json")
    assert (again.returncode, refusal(again)) == (ExitCode.USAGE, "book_exists")


def test_what_is_damaged_is_named_with_file_and_byte_and_nothing_is_restored(
    paid: tuple[EngineProcess, str], tmp_path: Path
) -> None:
    engine, _ = paid
    document(qenex("backup", tmp_path / "copy", "--home", engine.home, "--json"))
    journal = sorted((tmp_path / "copy" / "journal").glob("*.qxj"))[-1]
    content = bytearray(journal.read_bytes())
    content[4_096 * 5 + 700] ^= 1
    journal.write_bytes(content)
    for command in (
        ("journal", "verify", tmp_path / "copy"),
        ("restore", tmp_path / "copy", "--home", tmp_path / "new"),
    ):
        done = qenex(*command, "--json")
        assert (done.returncode, refusal(done)) == (ExitCode.DAMAGED, "book_damaged")
        assert f"{journal.name} is damaged at byte {4_096 * 5}" in done.stderr
    assert list((tmp_path / "new" / "books").iterdir()) == []
    assert list((tmp_path / "new").glob("restoring-*")) == []


@pytest.mark.parametrize("name", ["../../owner.token", "/etc/hostname", "checkpoints/1.qxc", "owner.token"])
def test_a_manifest_that_names_what_is_not_the_journal_restores_nothing(
    paid: tuple[EngineProcess, str], tmp_path: Path, name: str
) -> None:
    engine, _ = paid
    copy = tmp_path / "copy"
    document(qenex("backup", copy, "--home", engine.home, "--json"))
    if ".." not in name and not name.startswith("/"):
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_bytes(b"forged")
    body = (copy / "manifest.txt").read_text().partition("end ")[0] + f"file {sha256(b'forged').hexdigest()} 6 {name}\n"
    (copy / "manifest.txt").write_text(f"{body}end {sha256(body.encode()).hexdigest()}\n")
    done = qenex("restore", copy, "--home", tmp_path / "new", "--json")
    assert (done.returncode, refusal(done)) == (ExitCode.USAGE, "backup_unusable")
    assert f'it names \\"{name}\\"' in done.stderr
    assert list((tmp_path / "new" / "books").iterdir()) == []
    assert list((tmp_path / "new").glob("restoring-*")) == []


def test_of_several_books_one_has_to_be_named(paid: tuple[EngineProcess, str]) -> None:
    engine, _ = paid
    assert engine.stop() == ExitCode.OK
    (first,) = engine.settings.books_folder.iterdir()
    second = engine.settings.books_folder / ("0" * 32)
    copytree(first, second)
    which = qenex("journal", "verify", "--home", engine.home)
    assert which.returncode == ExitCode.USAGE
    named = [line.split() for line in which.stderr.splitlines() if line.startswith("  qenex journal verify ")]
    assert {words[-1] for words in named} == {str(first), str(second)}
    for words in named:
        assert document(qenex(*words[1:], "--json"))["ok"]


def test_what_is_no_backup_and_where_no_book_is_are_told_apart(paid: tuple[EngineProcess, str], tmp_path: Path) -> None:
    engine, _ = paid
    document(qenex("backup", tmp_path / "copy", "--home", engine.home, "--json"))
    (tmp_path / "file").write_text("")
    (tmp_path / "folders" / "empty").mkdir(parents=True)
    for name in ("copy", "folders", "file"):
        taken = qenex("backup", tmp_path / name, "--home", engine.home, "--json")
        assert (taken.returncode, refusal(taken)) == (ExitCode.USAGE, "backup_unusable")
        assert json.loads(taken.stderr)["error"]["path"] == str(tmp_path / name)
        assert "a backup needs a folder that is new or empty" in taken.stderr
    assert list((tmp_path / "folders" / "empty").iterdir()) == []
    (tmp_path / "copy" / "manifest.txt").unlink()
    unfinished = qenex("restore", tmp_path / "copy", "--home", tmp_path / "new", "--json")
    assert (unfinished.returncode, refusal(unfinished)) == (ExitCode.USAGE, "backup_unusable")
    missing = qenex("journal", "verify", "--home", tmp_path / "empty", "--json")
    assert (missing.returncode, refusal(missing)) == (ExitCode.USAGE, "book_missing")
    for command in (("journal", "verify"), ("restore",)):
        nowhere = qenex(*command, tmp_path / "typo", "--home", tmp_path / "empty", "--json")
        assert (nowhere.returncode, "there is no such folder" in nowhere.stderr) == (ExitCode.USAGE, True)
        assert not (tmp_path / "typo").exists(), "a folder that was mistyped is not made"
    no_journal = qenex("journal", "verify", tmp_path, "--json")
    assert (no_journal.returncode, refusal(no_journal)) == (ExitCode.USAGE, "book_missing")
