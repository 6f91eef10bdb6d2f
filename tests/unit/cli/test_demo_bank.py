"""The demo bank: fixed addresses, balanced funding, nobody spends more than was paid in."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from qenex.assets import QXC_NUMBER
from qenex.cli import demo_bank
from qenex.cli.chart import AccountCode
from qenex.kernel import BATCH_MAX, AccountFlags, to_account_id, to_ints


def test_addresses_are_the_same_on_every_machine() -> None:
    # Pinned: the README and the first line of `qenex start` show them.
    assert demo_bank.example_addresses() == (
        "0x51454e5891d21Ac8DD574CFB00000000000003e8",
        "0x51454e58553Df4ae0776cdAe00000000000003E8",
    )


def test_rows_are_the_same_every_time() -> None:
    assert demo_bank.accounts().tobytes() == demo_bank.accounts().tobytes()
    assert demo_bank.transfers().tobytes() == demo_bank.transfers().tobytes()


def test_ids_are_unique_and_fit_one_request_each() -> None:
    for rows in (demo_bank.accounts(), demo_bank.transfers()):
        assert len(set(to_ints(rows["id"]))) == len(rows) <= BATCH_MAX


def test_accounts_of_one_party_share_their_high_half() -> None:
    rows = demo_bank.accounts()
    parties = set(to_ints(rows["user_data_128"]))
    assert len(parties) == 1 + demo_bank.CUSTOMERS + demo_bank.MERCHANTS
    assert (rows["id"]["hi"] == rows["user_data_128"]["hi"]).all()


def test_the_two_addresses_for_a_first_try_are_customers_with_qxc() -> None:
    rows = demo_bank.accounts()
    ids = to_ints(rows["id"])
    for address in demo_bank.example_addresses():
        row = rows[ids.index(to_account_id(address))]
        assert (row["ledger"], row["code"]) == (QXC_NUMBER, AccountCode.DEPOSIT)


def test_every_transfer_is_within_its_ledger_and_within_every_limit() -> None:
    rows = demo_bank.accounts()
    by_id = dict(zip(to_ints(rows["id"]), rows, strict=True))
    balance: dict[int, int] = defaultdict(int)
    transfers = demo_bank.transfers()
    columns = [to_ints(transfers[name]) for name in ("debit_account_id", "credit_account_id", "amount")]
    for debit, credit, amount, ledger in zip(*columns, transfers["ledger"].tolist(), strict=True):
        assert by_id[debit]["ledger"] == by_id[credit]["ledger"] == ledger
        balance[debit] -= amount
        balance[credit] += amount
        assert balance[debit] >= 0 or not by_id[debit]["flags"] & AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS
        assert balance[credit] <= 0 or not by_id[credit]["flags"] & AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS
    assert sum(balance.values()) == 0
    customers = rows["code"] == AccountCode.DEPOSIT
    assert all(balance[number] > 0 for number in to_ints(rows["id"][customers]))


def test_there_is_a_history_in_order_of_time() -> None:
    times = demo_bank.transfers()["user_data_64"]
    paid = times[times > 0]
    assert len(paid) > 100
    assert (np.diff(paid.astype(np.int64)) >= 0).all()
