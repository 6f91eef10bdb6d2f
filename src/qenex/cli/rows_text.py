"""Accounts and transfers between rows and what people type and read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qenex.cli.books import amount_text, asset_code, kind_name
from qenex.cli.output import time_text
from qenex.client.steps import refusal_class
from qenex.errors import InvalidAddress, InvalidId
from qenex.kernel import (
    U128_MAX,
    AccountFlags,
    CreateAccountStatus,
    TransferFlags,
    is_debit_normal,
    net,
    to_account_id,
    to_address,
    to_int,
    transfer_hashes,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.void]

_BALANCES: Final = ("debits_posted", "credits_posted", "debits_pending", "credits_pending")


def parse_account(text: str) -> int:
    """The id of an account that is named by its address or by its id in decimal digits.

    Raises:
        InvalidAddress: it is neither.
    """
    if text.isascii() and text.isdigit():
        return _parse_id(text)
    try:
        return to_account_id(text)
    except InvalidAddress as error:
        raise InvalidAddress(text, f"{error.complaint}; or give the account's id in decimal digits") from error


def parse_transfer(text: str) -> int | bytes:
    """The id of a transfer in decimal digits, or its hash: 64 hexadecimal digits, with or without `0x`.

    Raises:
        InvalidId: it is neither.
    """
    digits = text.removeprefix("0x")
    if len(digits) == 64 and not set(digits) - set("0123456789abcdefABCDEF"):
        return bytes.fromhex(digits)
    if text.isascii() and text.isdigit():
        return _parse_id(text)
    raise InvalidId(text, "decimal digits, or the 64 hexadecimal digits of a hash, are wanted")


def _parse_id(text: str) -> int:
    number = int(text) if len(text) <= 39 else 0
    if not 0 < number < U128_MAX:
        raise InvalidId(text, "an id lies between 1 and 2^128-2")
    return number


def account_document(row: np.void) -> dict[str, Any]:
    """An account: amounts as text in major units, ids as text."""
    number, ledger = to_int(row["id"]), int(row["ledger"])
    sums = {name: to_int(row[name]) for name in _BALANCES}
    has = net(**sums, debit_normal=is_debit_normal(int(row["flags"])))
    return {
        "address": to_address(number),
        "id": str(number),
        "asset": asset_code(ledger),
        "kind": kind_name(int(row["code"])),
        "flags": flag_names(AccountFlags(int(row["flags"]))),
        **{name: amount_text(minor, ledger) for name, minor in (has._asdict() | sums).items()},
        "created": time_text(int(row["timestamp"])),
    }


def transfer_document(row: np.void) -> dict[str, Any]:
    """A recorded transfer: amounts as text in major units, ids as text."""
    ledger = int(row["ledger"])
    rows = np.array([row], dtype=row.dtype)
    return {
        "hash": "0x" + transfer_hashes(rows)[0].hex(),
        "id": str(to_int(row["id"])),
        "from": to_address(to_int(row["debit_account_id"])),
        "to": to_address(to_int(row["credit_account_id"])),
        "amount": amount_text(to_int(row["amount"]), ledger),
        "asset": asset_code(ledger),
        "code": int(row["code"]),
        "flags": flag_names(TransferFlags(int(row["flags"]))),
        "pending_id": str(to_int(row["pending_id"])) if to_int(row["pending_id"]) else None,
        "timeout_s": int(row["timeout"]) or None,
        "time_of_value": time_text(int(row["user_data_64"])) if row["user_data_64"] else None,
        "booked": time_text(int(row["timestamp"])),
    }


def flag_names(flags: AccountFlags | TransferFlags) -> list[str]:
    """Names of the flags that are set, as the contract spells them."""
    return [flag.name.lower() for flag in flags if flag.name]


def check_created(result: np.void, account_id: int) -> bool:
    """Whether an account was created now; False where the same one was there already.

    Raises:
        Rejected: the ledger refused it; of the class of its result code.
    """
    status = CreateAccountStatus(int(result["status"]))
    if status in (CreateAccountStatus.CREATED, CreateAccountStatus.EXISTS):
        return status == CreateAccountStatus.CREATED
    raise refusal_class(status)(account_id, explanation=f"account {to_address(account_id)}")
