"""The one door to the kernel: rows as numpy arrays or objects, numbers, addresses, the ledger in memory.

The native module is loaded when `Ledger` is first asked for: everything else works without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qenex.kernel.address import to_account_id, to_address, transfer_hashes
from qenex.kernel.balances import Net, is_debit_normal, net
from qenex.kernel.objects import (
    Account,
    AccountBalance,
    AccountFilter,
    AccountTerms,
    BalanceAt,
    ChangedAccount,
    ChangeEvent,
    ChangeEventsFilter,
    Outcome,
    QueryFilter,
    Result,
    Transfer,
)
from qenex.kernel.rows import (
    ACCOUNT,
    ACCOUNT_BALANCE,
    ACCOUNT_FILTER,
    ACCOUNT_TERMS,
    BALANCE_AT,
    BATCH_MAX,
    CHANGE_EVENT,
    CHANGE_EVENTS_FILTER,
    CHANGE_EVENTS_MAX,
    CHANGED_ACCOUNT,
    CODE_INSTITUTION,
    CODE_RESERVED,
    EVENT_RESULT,
    HASH,
    ID,
    OUTCOME,
    QUERY_FILTER,
    TIMESTAMP_MAX,
    TRANSFER,
    U128,
    U128_MAX,
    AccountFilterFlags,
    AccountFlags,
    ChangeEventKind,
    QueryFilterFlags,
    Restrictions,
    TransferFlags,
    row_bytes,
)
from qenex.kernel.status import (
    TRANSIENT,
    CreateAccountStatus,
    CreateTransferStatus,
    SetAccountTermsStatus,
    Status,
)
from qenex.kernel.u128 import from_decimals, from_hex, from_ints, to_decimals, to_hex, to_int, to_ints

if TYPE_CHECKING:
    from qenex.kernel.ledger import Ledger

__all__ = [
    "ACCOUNT",
    "ACCOUNT_BALANCE",
    "ACCOUNT_FILTER",
    "ACCOUNT_TERMS",
    "BALANCE_AT",
    "BATCH_MAX",
    "CHANGED_ACCOUNT",
    "CHANGE_EVENT",
    "CHANGE_EVENTS_FILTER",
    "CHANGE_EVENTS_MAX",
    "CODE_INSTITUTION",
    "CODE_RESERVED",
    "EVENT_RESULT",
    "HASH",
    "ID",
    "OUTCOME",
    "QUERY_FILTER",
    "TIMESTAMP_MAX",
    "TRANSFER",
    "TRANSIENT",
    "U128",
    "U128_MAX",
    "Account",
    "AccountBalance",
    "AccountFilter",
    "AccountFilterFlags",
    "AccountFlags",
    "AccountTerms",
    "BalanceAt",
    "ChangeEvent",
    "ChangeEventKind",
    "ChangeEventsFilter",
    "ChangedAccount",
    "CreateAccountStatus",
    "CreateTransferStatus",
    "Ledger",
    "Net",
    "Outcome",
    "QueryFilter",
    "QueryFilterFlags",
    "Restrictions",
    "Result",
    "SetAccountTermsStatus",
    "Status",
    "Transfer",
    "TransferFlags",
    "from_decimals",
    "from_hex",
    "from_ints",
    "is_debit_normal",
    "net",
    "row_bytes",
    "to_account_id",
    "to_address",
    "to_decimals",
    "to_hex",
    "to_int",
    "to_ints",
    "transfer_hashes",
]


def __getattr__(name: str) -> type[Ledger]:
    """Loads the native module when it is first needed."""
    if name == "Ledger":
        from qenex.kernel.ledger import Ledger

        return Ledger
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
