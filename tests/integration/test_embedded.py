"""The engine inside a process: durable, for one process alone, the same client on top."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from qenex import AsyncQenexClient, QenexClient
from qenex.errors import BookDamaged, BookLocked, ClientClosed, ExceedsCredits, InvalidHome
from qenex.kernel import AccountFlags
from tests.conftest import ROOT, process_environment

if TYPE_CHECKING:
    from pathlib import Path

PAY = """
import sys
from qenex import QenexClient
client = QenexClient.embedded(sys.argv[1])
for _ in range(20):
    client.execute(client.create_transaction(int(sys.argv[2]), int(sys.argv[3]), "1.5", "EUR"))
print("paid", flush=True)
sys.stdin.read()
"""


def test_what_was_paid_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    with QenexClient.embedded(tmp_path / "book") as client:
        payer = client.create_account("EUR", flags=AccountFlags.NONE)
        payee = client.create_account("EUR")
        paid = client.execute(client.create_transaction(payer.address, payee.address, "12.34", "EUR"))
        with pytest.raises(ExceedsCredits):
            client.execute(client.create_transaction(payee.address, payer.address, "12.35", "EUR"))
        book = client.book
    with QenexClient.embedded(tmp_path / "book") as client:
        assert client.book == book
        assert client.balance(payee.address).available_minor == 1_234
        assert client.transfer(paid.hash).id == paid.id


async def test_the_twin_for_asyncio_opens_the_same_book(tmp_path: Path) -> None:
    async with AsyncQenexClient.embedded(tmp_path / "book") as client:
        payer = await client.create_account("EUR", flags=AccountFlags.NONE)
        payee = await client.create_account("EUR")
        await client.execute(client.create_transaction(payer.address, payee.address, "1", "EUR"))
    with QenexClient.embedded(tmp_path / "book") as client:
        assert client.balance(payee.address).available_minor == 100


def test_a_second_opener_is_told_who_has_it(tmp_path: Path) -> None:
    with QenexClient.embedded(tmp_path), pytest.raises(BookLocked, match=f"process {os.getpid()}"):
        QenexClient.embedded(tmp_path)
    QenexClient.embedded(tmp_path).close()


def test_a_process_that_is_killed_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    with QenexClient.embedded(tmp_path) as client:
        payer = client.create_account("EUR", flags=AccountFlags.NONE)
        payee = client.create_account("EUR")
    command = [sys.executable, "-c", PAY, str(tmp_path), str(payer.id), str(payee.id)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, env=process_environment(), text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "paid\n"
        process.kill()
    with QenexClient.embedded(tmp_path) as client:
        assert client.balance(payee.address).available_minor == 20 * 150


def test_a_forked_process_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    client = QenexClient.embedded(tmp_path)
    account = client.create_account("EUR")
    child = os.fork()
    if child == 0:
        refused = 1
        try:
            client.get_account(account.address)
        except ClientClosed:
            refused = 0
        finally:
            os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert client.get_account(account.address).id == account.id
    client.close()
    client.close()
    with pytest.raises(ClientClosed):
        client.status()


def test_a_folder_that_cannot_be_one_and_a_journal_that_is_damaged_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidHome, match="file"):
        QenexClient.embedded(tmp_path / "file")
    with QenexClient.embedded(tmp_path / "book") as client:
        client.create_account("EUR")
    journal = sorted((tmp_path / "book" / "journal").glob("*.qxj"))[1]
    content = bytearray(journal.read_bytes())
    content[5_000] ^= 1
    journal.write_bytes(content)
    with pytest.raises(BookDamaged, match=f"{journal.name} is damaged at byte 4096"):
        QenexClient.embedded(tmp_path / "book")
