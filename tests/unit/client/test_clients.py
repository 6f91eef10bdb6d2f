"""`QenexClient` and its twin: what people call, what they get, what they are told."""

from __future__ import annotations

import asyncio
from dataclasses import FrozenInstanceError
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import polars as pl
import pytest

from qenex import AsyncQenexClient, QenexClient, errors
from qenex.client.ids import id_from_key
from qenex.kernel import TRANSFER, AccountFlags, CreateTransferStatus, TransferFlags
from tests.unit.client.ledger_peer import LedgerPeer
from tests.unit.client.peer import BOOK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qenex.client import Account

CREATED = CreateTransferStatus.CREATED


@pytest.fixture
def peer() -> Iterator[LedgerPeer]:
    with LedgerPeer() as one:
        yield one


def where(peer: LedgerPeer) -> str:
    return f"127.0.0.1:{peer.address[1]}"


@pytest.fixture
def client(peer: LedgerPeer) -> Iterator[QenexClient]:
    with QenexClient(where(peer), credential="secret", patience_s=20) as one:
        yield one


@pytest.fixture
def accounts(client: QenexClient) -> tuple[Account, Account]:
    """Ann has 500 QXC, Ben nothing."""
    bank = client.create_account(flags=AccountFlags.NONE)
    ann, ben = client.create_account(), client.create_account()
    client.execute(client.create_transaction(bank.address, ann.address, 500))
    return ann, ben


def test_the_snippet_of_the_readme(client: QenexClient, accounts: tuple[Account, Account], peer: LedgerPeer) -> None:
    ann, ben = accounts
    tx = client.create_transaction(from_address=ann.address, to_address=ben.address, amount=100.0, currency="QXC")
    result = client.execute(tx, optimize=True)
    assert result.ok
    assert result.hash == "0x" + sha256(b"\0" + peer.recorded[result.id].tobytes()).hexdigest()
    assert (result.waited_us, result.group.requests) == (1_000, 1)
    assert (client.balance(ann.address).posted, client.balance(ben.address).posted) == (400, 100)
    with pytest.raises(FrozenInstanceError):
        result.status = CREATED  # type: ignore[misc]  # that is the point


def test_executing_again_gives_the_first_result(client: QenexClient, accounts: tuple[Account, Account]) -> None:
    tx = client.create_transaction(accounts[0].address, accounts[1].address, "1.5")
    first, again = client.execute(tx), client.execute(tx)
    assert (first.hash, first.timestamp_ns) == (again.hash, again.timestamp_ns)
    assert again.status == CreateTransferStatus.EXISTS
    assert client.balance(accounts[1].id).posted == Decimal("1.5")


def test_a_refusal_is_a_typed_error_with_its_values(client: QenexClient, accounts: tuple[Account, Account]) -> None:
    ann, ben = accounts
    tx = client.create_transaction(ann.address, ben.address, 501)
    with pytest.raises(errors.ExceedsCredits) as caught:
        client.execute(tx)
    assert (caught.value.available_minor, caught.value.requested_minor) == (500 * 10**18, 501 * 10**18)
    assert caught.value.account_id == ann.id
    with pytest.raises(errors.IdAlreadyFailed) as again:
        client.execute(tx)
    assert again.value.first_code == "exceeds_credits"
    with pytest.raises(errors.DebitAccountNotFound) as missing:
        client.execute(client.create_transaction(77, ben.address, 1))
    assert missing.value.account_id == 77


def test_an_idempotency_key_stands_for_one_transfer(client: QenexClient, accounts: tuple[Account, Account]) -> None:
    ann, ben = accounts
    tx = client.create_transaction(ann.id, ben.id, 1, idempotency_key="order 7")
    assert tx.id == id_from_key(BOOK, "order 7")
    client.execute(tx)
    other = client.create_transaction(ann.id, ben.id, 1, idempotency_key="order 7", code=2)
    with pytest.raises(errors.IdempotencyConflict, match="order 7"):
        client.execute(other)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"from_address": "0x51454e58"}, errors.InvalidAddress),
        ({"to_address": 0}, errors.InvalidAddress),
        ({"amount": "1.0000000000000000001"}, errors.AmountTooPrecise),
        ({"amount": -1}, errors.AmountOutOfRange),
        ({"currency": "QXD"}, errors.UnknownAsset),
        ({"transfer_id": 0}, errors.InvalidId),
        ({"transfer_id": 5, "idempotency_key": "k"}, errors.InvalidId),
        ({"code": 70_000}, errors.InvalidRows),
    ],
)
def test_bad_input_is_refused_before_anything_is_sent(
    client: QenexClient, peer: LedgerPeer, changed: dict[str, object], error: type[Exception]
) -> None:
    sent = len(peer.requests)
    with pytest.raises(error):
        client.create_transaction(**{"from_address": 1, "to_address": 2, "amount": 1, **changed})  # type: ignore[arg-type]
    assert len(peer.requests) == sent


def test_many_at_once_answer_each_and_atomic_ones_are_one_chain(
    client: QenexClient, accounts: tuple[Account, Account], peer: LedgerPeer
) -> None:
    ann, ben = accounts
    txs = [client.create_transaction(ann.id, ben.id, amount) for amount in (1, 10**6, 2)]
    results = client.execute_many(txs)
    assert [result.ok for result in results] == [True, False, True]
    assert results[1].hash == ""
    client.execute_many([client.create_transaction(ann.id, ben.id, 1) for _ in range(3)], atomic=True)
    assert [row["flags"] & TransferFlags.LINKED for row in list(peer.recorded.values())[-3:]] == [1, 1, 0]
    with pytest.raises(errors.BatchTooLarge):
        client.execute_many([txs[0]] * 8_190, atomic=True)
    assert client.execute_many([]) == []


def test_more_than_a_batch_goes_in_several(client: QenexClient, accounts: tuple[Account, Account]) -> None:
    rows = np.zeros(20_000, TRANSFER)
    rows["id"]["lo"] = np.arange(1, 20_001)
    rows["debit_account_id"]["lo"] = 3  # nobody
    rows["flags"][8_180:8_195] = TransferFlags.LINKED
    seen: list[int] = []
    results = client.create_transfers(rows, progress=seen.append)
    assert len(results) == 20_000
    assert seen == [8_180, 16_369, 20_000], "a chain is not cut"
    txs = [client.create_transaction(accounts[0].id, accounts[1].id, 0) for _ in range(8_200)]
    assert [result.id for result in client.execute_many(txs)] == [tx.id for tx in txs]


@pytest.mark.parametrize("make", [dict, pl.DataFrame, pd.DataFrame])
def test_tables_become_rows(make: type, client: QenexClient, accounts: tuple[Account, Account]) -> None:
    ann, ben = accounts
    table = make({"from_address": [ann.address] * 3, "to_address": [ben.address] * 3, "amount": [0.1, 2.5, 0.0]})
    results = client.create_transfers(table)
    assert set(results["status"].tolist()) == {CREATED}
    assert client.balance(ben.id).posted == Decimal("2.6")
    bad = make({"from_address": [ann.address], "to_address": [ben.address], "amount": [1.005]})
    with pytest.raises(errors.AmountTooPrecise):
        client.create_transfers(bad, currency="EUR")
    with pytest.raises(errors.InvalidRows, match="unknown columns: amonut"):
        client.create_transfers(make({"from_address": [ann.address], "amonut": [1]}))


def test_holds_are_posted_in_part_and_voided(client: QenexClient, accounts: tuple[Account, Account]) -> None:
    ann, ben = accounts
    hold = client.hold(ann.address, ben.address, 100, timeout_s=60)
    assert (client.balance(ann.id).posted, client.balance(ann.id).available) == (500, 400)
    posted = client.post(hold.id, 30)
    assert posted.transfer is not None
    assert (posted.transfer.amount, posted.transfer.pending_id) == (30, hold.id), "the row as recorded"
    assert client.balance(ann.id).available == 470
    second = client.hold(ann.address, ben.address, 50)
    client.void(second.hash)
    assert client.balance(ann.id).available == 470


def test_history_is_read_page_by_page_both_ways(client: QenexClient, accounts: tuple[Account, Account]) -> None:
    ann, ben = accounts
    made = [client.execute(client.create_transaction(ann.id, ben.id, amount)) for amount in range(1, 8)]
    for size in (1, 2, 7, 8_189):
        assert [t.hash for t in client.history(ben.address, page_size=size)] == [r.hash for r in made]
        backwards = client.history(ben.address, page_size=size, newest_first=True)
        assert [t.amount for t in backwards] == [7, 6, 5, 4, 3, 2, 1]
    middle = client.history(ben.id, since_ns=made[2].timestamp_ns, until_ns=made[4].timestamp_ns, page_size=2)
    assert [t.amount for t in middle] == [3, 4, 5]
    with pytest.raises(errors.InvalidQuery):
        next(client.history(ben.id, page_size=8_190))


def test_what_is_not_there_is_said(client: QenexClient, accounts: tuple[Account, Account]) -> None:
    with pytest.raises(errors.AccountNotFound):
        client.get_account(99)
    with pytest.raises(errors.TransferNotFound):
        client.transfer(99)
    with pytest.raises(errors.TransferNotFound):
        client.transfer("0x" + "00" * 32)
    with pytest.raises(errors.InvalidId):
        client.transfer("0x00")
    assert client.balance_at(accounts[0].address, 1 << 62).posted == 500


def test_the_twin_does_the_same(peer: LedgerPeer) -> None:
    async def everything() -> None:
        async with AsyncQenexClient(where(peer), credential="secret", patience_s=20) as client:
            bank = await client.create_account(flags=AccountFlags.NONE)
            ann, ben = await client.create_account(), await client.create_account()
            await client.execute(client.create_transaction(bank.id, ann.id, 500))
            result = await client.execute(client.create_transaction(ann.address, ben.address, 100.0))
            assert (await client.transfer(result.hash)).amount == 100
            hold = await client.hold(ann.id, ben.id, 50)
            assert (await client.post(hold.id)).ok
            with pytest.raises(errors.ExceedsCredits):
                await client.execute(client.create_transaction(ann.id, ben.id, 1_000))
            txs = [client.create_transaction(ann.id, ben.id, 1) for _ in range(5)]
            assert all(r.ok for r in await client.execute_many(txs, atomic=True))
            table = {"from_address": [ann.id], "to_address": [ben.id], "amount": ["2"]}
            assert (await client.create_transfers(table))["status"].tolist() == [CREATED]
            assert [t.amount async for t in client.history(ben.id, page_size=3)] == [100, 50, 50, 1, 1, 1, 1, 1, 2]
            assert (await client.balance(ben.id)).posted == 157

    asyncio.run(everything())
