"""The demo bank: the institution's own accounts, customers and merchants, with a history of payments.

Pure: rows alone. The ids are derived from names, so that addresses are the same on every machine, and posting the rows
again changes nothing.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from qenex.assets import QXC_NUMBER, Assets
from qenex.cli.chart import AccountCode, TransferCode, derive_half
from qenex.cli.generator import Population, payments
from qenex.kernel import ACCOUNT, TRANSFER, AccountFlags, from_ints, to_address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Rows = NDArray[np.void]

EUR_NUMBER: Final = 978
LEDGERS: Final = (EUR_NUMBER, QXC_NUMBER)
CUSTOMERS: Final = 10
MERCHANTS: Final = 20
HISTORY: Final = Population(CUSTOMERS, MERCHANTS, days=14, seed=7, first_day=date(2026, 1, 5))
"""Payments of customers at merchants, in EUR."""

CAPITAL: Final = {EUR_NUMBER: "5000000.00", QXC_NUMBER: "1000000"}
"""What the owners have paid in, major units."""
DEPOSIT: Final = {EUR_NUMBER: "10000.00", QXC_NUMBER: "5000"}
"""What each customer has paid in, major units; more than any of them spends in the history."""

_INSTITUTION: Final = {
    AccountCode.VAULT: AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS,
    AccountCode.EQUITY: AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS,
    AccountCode.FEES: AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS,
}
_ASSETS: Final = Assets()


def institution_account_id(code: AccountCode, ledger: int) -> int:
    """The id of one of the institution's own accounts."""
    return _id("institution", int(code), ledger)


def customer_account_id(number: int, ledger: int) -> int:
    """The id of a customer's account; customers count from 0."""
    return _id("customer", number, ledger)


def merchant_account_id(number: int) -> int:
    """The id of a merchant's account, in EUR; merchants count from 0."""
    return _id("merchant", number, EUR_NUMBER)


def example_addresses() -> tuple[str, str]:
    """Two customers' accounts in QXC, for whoever tries a first transfer."""
    return to_address(customer_account_id(0, QXC_NUMBER)), to_address(customer_account_id(1, QXC_NUMBER))


def accounts() -> Rows:
    """`ACCOUNT` rows: the institution's own, the customers', the merchants'."""
    history = AccountFlags.HISTORY
    entries = [
        *(
            (_id("institution", int(c), ledger), ledger, c, f | history)
            for ledger in LEDGERS
            for c, f in _INSTITUTION.items()
        ),
        *(
            (
                customer_account_id(n, ledger),
                ledger,
                AccountCode.DEPOSIT,
                AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS | history,
            )
            for n in range(CUSTOMERS)
            for ledger in LEDGERS
        ),
        *((merchant_account_id(n), EUR_NUMBER, AccountCode.MERCHANT, history) for n in range(MERCHANTS)),
    ]
    rows = np.zeros(len(entries), dtype=ACCOUNT)
    ids, rows["ledger"], rows["code"], rows["flags"] = zip(*entries, strict=True)
    rows["id"] = from_ints(ids)
    rows["user_data_128"]["hi"] = rows["id"]["hi"]  # the party: the high half alone
    return rows


def transfers() -> Rows:
    """`TRANSFER` rows in order: capital, deposits, then the payments of the history."""
    entries: list[tuple[int, int, int, int, TransferCode, int]] = []
    for ledger in LEDGERS:
        vault, asset = institution_account_id(AccountCode.VAULT, ledger), _ASSETS.find(ledger)
        equity = institution_account_id(AccountCode.EQUITY, ledger)
        entries.append((vault, equity, asset.to_minor(CAPITAL[ledger]), ledger, TransferCode.CAPITAL, 0))
        entries += (
            (
                vault,
                customer_account_id(n, ledger),
                asset.to_minor(DEPOSIT[ledger]),
                ledger,
                TransferCode.CASH_DEPOSIT,
                0,
            )
            for n in range(CUSTOMERS)
        )
    entries += _history()
    rows = np.zeros(len(entries), dtype=TRANSFER)
    debit, credit, amount, rows["ledger"], rows["code"], rows["user_data_64"] = zip(*entries, strict=True)
    rows["debit_account_id"], rows["credit_account_id"], rows["amount"] = map(from_ints, (debit, credit, amount))
    rows["id"]["hi"] = derive_half("qenex-demo-transfer-v1")
    rows["id"]["lo"] = np.arange(len(rows))
    return rows


def _history() -> Iterable[tuple[int, int, int, int, TransferCode, int]]:
    frame = pl.concat(payments(HISTORY))
    cents = np.rint(frame["TX_AMOUNT"].to_numpy() * 100).astype(np.int64)
    times = frame["TX_DATETIME"].cast(pl.Int64)
    for customer, merchant, amount, time_ns in zip(
        frame["CUSTOMER_ID"], frame["TERMINAL_ID"], cents.tolist(), times, strict=True
    ):
        debit, credit = customer_account_id(customer, EUR_NUMBER), merchant_account_id(merchant)
        yield debit, credit, amount, EUR_NUMBER, TransferCode.CARD_PAYMENT, time_ns


def _id(kind: str, number: int, ledger: int) -> int:
    """High half: whose it is; low half: the asset, and for the institution the kind of account above it."""
    if kind == "institution":
        return derive_half("qenex-demo-v1", b"institution") << 64 | number << 32 | ledger
    return derive_half("qenex-demo-v1", kind.encode("ascii"), number.to_bytes(4, "little")) << 64 | ledger
