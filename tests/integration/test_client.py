"""`QenexClient` and its twin against a real engine: every method, every way in for many rows, every kind of refusal."""

from __future__ import annotations

import asyncio
import os
import signal
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from qenex import AsyncQenexClient, QenexClient
from qenex.bootstrap import initialise
from qenex.client.protocol import Operation
from qenex.errors import (
    AccountNotFound,
    BatchTooLarge,
    ClientClosed,
    EngineUnreachable,
    ExceedsCredits,
    ExistsWithDifferentAmount,
    Forbidden,
    IdAlreadyFailed,
    IdempotencyConflict,
    InvalidAddress,
    InvalidAmount,
    InvalidRows,
    PendingTransferAlreadyPosted,
    PendingTransferAlreadyVoided,
    PendingTransferExpired,
    ReservedId,
    TransferNotFound,
    Unauthenticated,
    UnknownOutcome,
)
from qenex.kernel import ACCOUNT, BATCH_MAX, TRANSFER, AccountFlags, CreateTransferStatus, TransferFlags, from_ints
from tests.conftest import EngineProcess, lasting_port, new_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from qenex.client.values import Account

CREATED = int(CreateTransferStatus.CREATED)
EUR = 978


@pytest.fixture
def client(shared_engine: EngineProcess) -> Iterator[QenexClient]:
    with QenexClient(home=shared_engine.home) as client:
        yield client


@pytest.fixture
def lasting_engine(tmp_path: Path) -> Iterator[EngineProcess]:
    """An engine that comes back at the same address."""
    engine = new_engine(tmp_path, port=lasting_port()).start()
    yield engine
    if engine.process is not None:
        engine.kill()


def pair(client: QenexClient) -> tuple[Account, Account]:
    """One who may be overdrawn, and one who may not."""
    return client.create_account("EUR", flags=AccountFlags.NONE), client.create_account("EUR")


def rows(client: QenexClient, count: int, **fields: int) -> tuple[NDArray[np.void], Account, Account]:
    """Transfers of one minor unit each between two new accounts."""
    payer, payee = pair(client)
    made = np.zeros(count, TRANSFER)
    made["id"] = from_ints([payee.id + at for at in range(1, count + 1)])
    made["debit_account_id"], made["credit_account_id"] = from_ints([payer.id]), from_ints([payee.id])
    made["amount"], made["ledger"], made["code"] = from_ints([1]), EUR, 1
    for name, value in fields.items():
        made[name] = value
    return made, payer, payee


def test_a_transfer_is_made_found_and_never_made_again(client: QenexClient) -> None:
    payer, payee = pair(client)
    wanted = client.create_transaction(
        payer.address, payee.address, "12.34", "EUR", code=7, value_time_ns=5, accounting_date=20_000, user_data_128=9
    )
    done = client.execute(wanted)
    assert done.ok
    assert done.transfer is not None
    assert done.status is CreateTransferStatus.CREATED
    again = client.execute(wanted)
    assert again.status is CreateTransferStatus.EXISTS
    assert (again.hash, again.timestamp_ns) == (done.hash, done.timestamp_ns)
    for found in (client.transfer(done.id), client.transfer(done.hash)):
        assert found == done.transfer
        assert (found.amount, found.currency, found.code) == (Decimal("12.34"), "EUR", 7)
        assert (found.value_time_ns, found.accounting_date, found.user_data_128) == (5, 20_000, 9)
    assert client.balance(payee.address).posted == Decimal("12.34")
    assert client.balance(payer.id).posted_minor == -1_234


def test_the_same_key_pays_once_and_another_transfer_under_it_is_a_conflict(client: QenexClient) -> None:
    payer, payee = pair(client)
    first = client.execute(client.create_transaction(payer.id, payee.id, "5", "EUR", idempotency_key="order 1"))
    again = client.execute(client.create_transaction(payer.id, payee.id, "5.00", "EUR", idempotency_key="order 1"))
    assert again.hash == first.hash
    with pytest.raises(IdempotencyConflict):
        client.execute(client.create_transaction(payer.id, payee.id, "6", "EUR", idempotency_key="order 1"))
    with pytest.raises(ExistsWithDifferentAmount):
        client.execute(client.create_transaction(payer.id, payee.id, "6", "EUR", transfer_id=first.id))
    assert client.balance(payee.id).posted_minor == 500


def test_a_refusal_says_what_is_missing_and_its_id_is_not_used_again(client: QenexClient) -> None:
    payer, payee = pair(client)
    client.execute(client.create_transaction(payer.id, payee.id, "10", "EUR"))
    wanted = client.create_transaction(payee.id, payer.id, "10.01", "EUR")
    with pytest.raises(ExceedsCredits) as refused:
        client.execute(wanted)
    assert (refused.value.account_id, refused.value.available_minor, refused.value.requested_minor) == (
        payee.id,
        1_000,
        1_001,
    )
    assert str(refused.value).endswith(": 10.00 EUR available, 10.01 EUR requested")
    client.execute(client.create_transaction(payer.id, payee.id, "10", "EUR"))
    with pytest.raises(IdAlreadyFailed) as burned:
        client.execute(wanted)
    assert burned.value.first_code == "exceeds_credits"
    assert client.balance(payee.id).posted_minor == 2_000


def test_what_cannot_be_meant_is_refused_before_anything_is_sent(client: QenexClient) -> None:
    payer, payee = pair(client)
    entry = client.status().entry
    for amount in ("-1", "0.001", "1e3", float("nan")):
        with pytest.raises(InvalidAmount):
            client.create_transaction(payer.id, payee.id, amount, "EUR")
    with pytest.raises(InvalidAddress):
        client.create_transaction("0x1234", payee.id, "1", "EUR")
    with pytest.raises(InvalidRows):
        client.create_transfers(np.zeros(3, ACCOUNT))
    assert client.status().entry == entry


def test_what_is_not_there_is_said_so(client: QenexClient) -> None:
    with pytest.raises(AccountNotFound):
        client.get_account(2**100)
    with pytest.raises(AccountNotFound):
        client.balance_at(2**100, 1)
    for wanted in (2**100, "0x" + "ab" * 32):
        with pytest.raises(TransferNotFound):
            client.transfer(wanted)


def test_many_at_once_each_on_its_own_or_all_or_none(client: QenexClient) -> None:
    payer, payee = pair(client)
    good = [client.create_transaction(payer.id, payee.id, "1", "EUR") for _ in range(3)]
    bad = client.create_transaction(payee.id, payer.id, "1000", "EUR")
    results = client.execute_many([good[0], bad, good[1]], optimize=True)
    assert [str(result.status) for result in results] == ["created", "exceeds_credits", "created"]
    refused = client.execute_many([good[2], bad], atomic=True)
    assert [str(result.status) for result in refused] == ["linked_event_failed", "id_already_failed"]
    assert client.balance(payee.id).posted_minor == 200
    more = [client.create_transaction(payer.id, payee.id, "0.01", "EUR") for _ in range(BATCH_MAX + 5)]
    assert all(result.ok for result in client.execute_many(more))
    assert client.balance(payee.id).posted_minor == 200 + BATCH_MAX + 5
    with pytest.raises(BatchTooLarge):
        client.execute_many(more, atomic=True)
    assert client.execute_many([]) == []


def test_rows_of_numpy_in_more_requests_than_the_window_holds(tmp_path: Path) -> None:
    engine = new_engine(tmp_path, window_requests=2).start()
    try:
        with QenexClient(home=engine.home) as client:
            made, _, payee = rows(client, 5 * BATCH_MAX + 1)
            seen: list[int] = []
            results = client.create_transfers(made, progress=seen.append)
            assert set(results["status"]) == {CREATED}
            assert np.all(np.diff(results["timestamp"].astype(np.int64)) > 0)
            assert seen == sorted(seen)
            assert seen[-1] == len(made)
            assert client.balance(payee.id).posted_minor == len(made)
            assert set(client.create_transfers(made)["status"]) == {int(CreateTransferStatus.EXISTS)}
            assert client.balance(payee.id).posted_minor == len(made)
    finally:
        engine.kill()


def test_a_chain_is_not_cut_between_two_requests(client: QenexClient) -> None:
    made, _, payee = rows(client, BATCH_MAX + 10)
    made["flags"][BATCH_MAX - 5 : BATCH_MAX + 4] = int(TransferFlags.LINKED)
    made["ledger"][BATCH_MAX + 4] = 840  # the chain's last; not the ledger of these accounts
    results = client.create_transfers(made)
    created = results["status"] == CREATED
    assert not created[BATCH_MAX - 5 : BATCH_MAX + 5].any()
    assert created.sum() == BATCH_MAX
    assert client.balance(payee.id).posted_minor == BATCH_MAX
    assert len(client.create_transfers(made[:0])) == 0


@pytest.mark.parametrize("library", [pl.DataFrame, pd.DataFrame, dict])
def test_tables_of_every_kind_are_paid(client: QenexClient, library: Any) -> None:
    payer, payee = pair(client)
    columns = {
        "from_address": [payer.address] * 3,
        "to_address": [payee.address] * 3,
        "amount": [0.1, 0.2, 100.0],
        "code": [1, 2, 3],
    }
    assert set(client.create_transfers(library(columns), currency="EUR")["status"]) == {CREATED}
    wide = {
        "id": [payee.id + 7, payee.id + 8],
        "debit_account_id": [payer.id] * 2,
        "credit_account_id": [payee.id] * 2,
        "amount_minor": [1, 2],
        "currency": ["EUR", "EUR"],
    }
    table = (
        pl.DataFrame(wide, schema_overrides=dict.fromkeys(("id", "debit_account_id", "credit_account_id"), pl.Int128))
        if library is pl.DataFrame
        else library(wide)
    )
    assert set(client.create_transfers(table)["status"]) == {CREATED}
    assert client.balance(payee.id).posted_minor == 10 + 20 + 10_000 + 3
    assert client.transfer(payee.id + 8).amount_minor == 2


def test_accounts_are_made_once_in_bulk_and_next_to_each_other(client: QenexClient) -> None:
    first = client.create_account("USD", code=5, user_data=(1, 2, 3))
    assert (first.currency, first.code, first.user_data_128, first.user_data_64, first.user_data_32) == (
        "USD",
        5,
        1,
        2,
        3,
    )
    same = client.create_account("USD", account_id=first.id, code=5, user_data=(1, 2, 3))
    assert same == first
    neighbour = client.create_account("USD", related_to=first.address)
    assert neighbour.id >> 64 == first.id >> 64
    made = np.zeros(3, ACCOUNT)
    made["id"], made["ledger"], made["code"] = from_ints([first.id + at for at in (100, 101, 101)]), EUR, 1
    made["code"][2] = 2
    assert [int(status) for status in client.create_accounts(made)["status"]][:2] == [CREATED, CREATED]
    assert client.get_account(first.id + 101).code == 1


def test_holds_are_posted_whole_or_in_part_or_voided_and_only_once(client: QenexClient) -> None:
    payer, payee = pair(client)
    whole, part, freed = (client.hold(payer.id, payee.id, "10", "EUR") for _ in range(3))
    assert client.balance(payee.id).credits_pending == 3_000
    assert client.post(whole.id).transfer.amount == Decimal(10)  # type: ignore[union-attr]  # it was made
    assert client.post(part.hash, "2.50").transfer.amount == Decimal("2.50")  # type: ignore[union-attr]  # as above
    client.void(freed.id)
    balance = client.balance(payee.id)
    assert (balance.posted_minor, balance.credits_pending) == (1_250, 0)
    with pytest.raises(PendingTransferAlreadyPosted):
        client.void(part.id)
    with pytest.raises(PendingTransferAlreadyVoided):
        client.post(freed.id)


def test_what_is_held_cannot_be_spent(client: QenexClient) -> None:
    payer, payee = pair(client)
    client.execute(client.create_transaction(payer.id, payee.id, "10", "EUR"))
    client.hold(payee.id, payer.id, "8", "EUR")
    assert client.balance(payee.id).available_minor == 200
    with pytest.raises(ExceedsCredits) as refused:
        client.execute(client.create_transaction(payee.id, payer.id, "3", "EUR"))
    assert refused.value.available_minor == 200


def test_a_hold_expires_by_itself_and_cannot_be_posted_then(client: QenexClient) -> None:
    payer, payee = pair(client)
    hold = client.hold(payer.id, payee.id, "10", "EUR", timeout_s=1)
    until = hold.timestamp_ns + 30 * 10**9
    while client.balance(payee.id).credits_pending:
        assert client.status().timestamp < until, "the hold should have expired long ago"
    assert client.status().timestamp >= hold.timestamp_ns + 10**9
    with pytest.raises(PendingTransferExpired):
        client.post(hold.id)
    assert client.balance(payee.id).posted_minor == 0


def test_the_balance_at_every_time_is_the_one_that_stood_then(client: QenexClient) -> None:
    payer, payee = pair(client)
    times = [
        client.execute(client.create_transaction(payer.id, payee.id, str(amount), "EUR")).timestamp_ns
        for amount in (1, 2, 3)
    ]
    assert [client.balance_at(payee.id, at).posted_minor for at in times] == [100, 300, 600]
    assert [client.balance_at(payee.id, at - 1).posted_minor for at in times] == [0, 100, 300]
    assert client.balance_at(payee.id, times[1]).timestamp_ns == times[1]


def test_history_is_read_page_by_page_in_both_directions(client: QenexClient) -> None:
    made, payer, payee = rows(client, 25)
    client.create_transfers(made)
    forward = list(client.history(payee.address, page_size=4))
    assert [transfer.id for transfer in forward] == [payee.id + at for at in range(1, 26)]
    assert list(client.history(payer.id, newest_first=True, page_size=7)) == forward[::-1]
    since, until = forward[5].timestamp_ns, forward[14].timestamp_ns
    assert list(client.history(payee.id, since_ns=since, until_ns=until, page_size=3)) == forward[5:15]
    assert list(client.history(client.create_account("EUR").id)) == []


def test_who_only_reads_cannot_write_and_opens_no_session(shared_engine: EngineProcess, client: QenexClient) -> None:
    payer, payee = pair(client)
    sessions = client.status().sessions
    with QenexClient(home=shared_engine.home, read_only=True) as reader:
        assert reader.get_account(payee.id).id == payee.id
        with pytest.raises(Forbidden):
            reader.execute(reader.create_transaction(payer.id, payee.id, "1", "EUR"))
        assert reader.status().sessions == sessions
    assert client.balance(payee.id).posted_minor == 0


def test_a_wrong_credential_and_an_id_of_the_engine_s_own_are_refused(
    shared_engine: EngineProcess, client: QenexClient, tmp_path: Path
) -> None:
    with pytest.raises(Unauthenticated):
        QenexClient(shared_engine.address, credential="qnx_owner_" + "0" * 64)
    other = initialise(tmp_path).settings.owner_token_file
    with pytest.raises(Unauthenticated, match=rf"{shared_engine.address} does not know that of {other}"):
        QenexClient(shared_engine.address, home=tmp_path)
    with pytest.raises(EngineUnreachable):
        QenexClient("127.0.0.1:1", credential="x")
    payer, payee = pair(client)
    high = system_half(client.book)
    with pytest.raises(ReservedId):
        client.execute(client.create_transaction(payer.id, payee.id, "1", "EUR", transfer_id=high << 64 | 1))
    assert client.balance(payee.id).posted_minor == 0


def system_half(book: str) -> int:
    """The high half of the engine's own ids: 8 bytes of a hash over length-prefixed strings."""
    strings = (b"qenex-system-v1", bytes.fromhex(book), (1).to_bytes(4, "little"))
    text = b"".join(len(string).to_bytes(4, "little") + string for string in strings)
    return int.from_bytes(sha256(text).digest()[:8], "little")


def test_a_client_goes_on_in_its_session_when_the_engine_comes_back(lasting_engine: EngineProcess) -> None:
    with QenexClient(home=lasting_engine.home) as client:
        payer, payee = pair(client)
        session = client._connection.session.id
        for stop in (lasting_engine.kill, lasting_engine.stop):
            client.execute(client.create_transaction(payer.id, payee.id, "1", "EUR"))
            stop()
            lasting_engine.start()
        client.execute(client.create_transaction(payer.id, payee.id, "1", "EUR"))
        assert client._connection.session.id == session
        assert client.status().sessions == 1
        assert client.balance(payee.id).posted_minor == 300


def test_a_session_that_had_to_make_room_is_replaced_and_nothing_is_paid_twice(tmp_path: Path) -> None:
    engine = new_engine(tmp_path, sessions_max=1).start()
    try:
        with QenexClient(home=engine.home) as first, QenexClient(home=engine.home) as second:
            payer, payee = pair(second)
            paid = first.execute(first.create_transaction(payer.id, payee.id, "1", "EUR"))
            second.execute(second.create_transaction(payer.id, payee.id, "2", "EUR"))
            assert paid.status is CreateTransferStatus.CREATED
            assert first.balance(payee.id).posted_minor == 300
            assert first.status().sessions == 1
    finally:
        engine.kill()


def test_patience_ends_with_an_unknown_outcome_and_asking_again_settles_it(lasting_engine: EngineProcess) -> None:
    with QenexClient(home=lasting_engine.home, patience_s=0.5) as client:
        payer, payee = pair(client)
        wanted = client.create_transaction(payer.id, payee.id, "1", "EUR")
        os.kill(lasting_engine.pid, signal.SIGSTOP)  # it neither answers nor goes away
        try:
            # The signal is under way until the last of its threads has seen it.
            os.waitid(os.P_PID, lasting_engine.pid, os.WSTOPPED)
            with pytest.raises(UnknownOutcome):
                client.execute(wanted)
        finally:
            os.kill(lasting_engine.pid, signal.SIGCONT)
    with QenexClient(home=lasting_engine.home) as client:
        assert client.execute(wanted).ok
        assert client.balance(payee.id).posted_minor == 100


def test_a_client_that_was_closed_or_forked_is_refused(client: QenexClient, shared_engine: EngineProcess) -> None:
    closed = QenexClient(home=shared_engine.home)
    closed.close()
    closed.close()
    with pytest.raises(ClientClosed):
        closed.status()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            client.status()
        except ClientClosed:
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert client.status().is_writable


async def test_the_twin_does_the_same_with_hundreds_under_way(shared_engine: EngineProcess) -> None:
    async with AsyncQenexClient(home=shared_engine.home) as client:
        payer = await client.create_account("EUR", flags=AccountFlags.NONE)
        payee = await client.create_account("EUR", related_to=payer.id)
        assert len(client.book) == 32
        wanted = [client.create_transaction(payer.id, payee.id, "0.01", "EUR") for _ in range(300)]
        results = await asyncio.gather(*(client.execute(one, optimize=True) for one in wanted))
        assert {result.status for result in results} == {CreateTransferStatus.CREATED}
        assert max(result.group.requests for result in results) > 1
        assert (await client.balance(payee.id)).posted_minor == 300
        assert [one.id async for one in client.history(payee.id, page_size=64)] == [
            result.id for result in sorted(results, key=lambda result: result.timestamp_ns)
        ]
        assert (await client.balance_at(payee.id, results[0].timestamp_ns)).posted_minor >= 1
        assert (await client.transfer(results[7].hash)).id == results[7].id
        assert (await client.get_account(payee.address)).id == payee.id
        assert (await client.status()).is_writable


async def test_the_twin_holds_posts_voids_and_refuses_too(shared_engine: EngineProcess) -> None:
    async with AsyncQenexClient(home=shared_engine.home) as client:
        payer = await client.create_account("EUR", flags=AccountFlags.NONE)
        payee = await client.create_account("EUR")
        hold = await client.hold(payer.id, payee.id, "5", "EUR")
        await client.post(hold.id, "4")
        other = await client.hold(payer.id, payee.id, "5", "EUR")
        await client.void(other.hash)
        many = [client.create_transaction(payee.id, payer.id, "3", "EUR") for _ in range(2)]
        refused = await client.execute_many(many, atomic=True)
        assert [str(result.status) for result in refused] == ["linked_event_failed", "exceeds_credits"]
        with pytest.raises(ExceedsCredits):
            await client.execute(client.create_transaction(payee.id, payer.id, "5", "EUR"))
        frame = pl.DataFrame({"from_address": [payer.address], "to_address": [payee.address], "amount": ["1.00"]})
        assert set((await client.create_transfers(frame, currency="EUR"))["status"]) == {CREATED}
        account = np.zeros(1, ACCOUNT)
        account["id"], account["ledger"], account["code"] = from_ints([payer.id + 99]), EUR, 1
        assert set((await client.create_accounts(account))["status"]) == {CREATED}
        assert (await client.balance(payee.id)).posted_minor == 500
        assert (await client.call(Operation.GET_METRICS)).rows.tobytes().startswith(b"#")
    with pytest.raises(ClientClosed):
        await client.status()
