"""Accounts and balances between JSON and rows."""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qenex.api import times
from qenex.api.fields import boolean, identifier, integer, members, token
from qenex.api.problems import at
from qenex.api.transfers import asset_of_ledger
from qenex.errors import QenexError
from qenex.kernel import ACCOUNT, AccountFlags, is_debit_normal, net, to_address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from qenex.api.strict_json import Value
    from qenex.assets import Asset, Assets

CODE_DEFAULT: Final = 1
"""Kind of an account that says nothing of its kind."""

FLAGS: Final = {
    "debits_must_not_exceed_credits": AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS,
    "credits_must_not_exceed_debits": AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS,
    "history": AccountFlags.HISTORY,
    "closed": AccountFlags.CLOSED,
}
"""Flags that a body can set, each a field of its name."""

FIELDS: Final = {
    "token": token,
    "id": identifier,
    "code": integer(16),
    "user_data_128": integer(128),
    "user_data_64": integer(64),
    "user_data_32": integer(32),
    **dict.fromkeys(FLAGS, boolean),
}
"""An account to create."""

BALANCE_FIELDS: Final = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")

_ROW: Final = Struct("<16s16s16s16s16s16sQIIIHHQ")


def read(value: Value, assets: Assets) -> dict[str, Any]:
    """The fields of a body that creates an account; `token` becomes the asset.

    Raises:
        QenexError: with the pointer of what is wrong first.
    """
    fields = members(value, "", FIELDS, ("token",))
    try:
        return fields | {"token": assets.find(fields["token"])}
    except QenexError as error:
        raise at(error, "/token") from None


def row(fields: Mapping[str, Any], account_id: int) -> NDArray[np.void]:
    """The row that creates an account from the fields of `read`."""
    flags = 0
    for name, flag in FLAGS.items():
        if fields.get(name):
            flags |= flag
    packed = _ROW.pack(
        account_id.to_bytes(16, "little"),
        *[bytes(16)] * 4,
        fields.get("user_data_128", 0).to_bytes(16, "little"),
        fields.get("user_data_64", 0),
        fields.get("user_data_32", 0),
        0,
        fields["token"].number,
        fields.get("code", CODE_DEFAULT),
        flags,
        0,
    )
    return np.frombuffer(packed, ACCOUNT)


def document(account: bytes, assets: Assets) -> dict[str, Any]:
    """An account's row in JSON's terms."""
    identity, *quantities, data_128, data_64, data_32, _, ledger, code, flags, timestamp_ns = _ROW.unpack(account)
    account_id = int.from_bytes(identity, "little")
    asset = asset_of_ledger(ledger, assets)
    return {
        "id": str(account_id),
        "address": to_address(account_id),
        "token": asset.code,
        "ledger": ledger,
        "code": code,
        "flags": flag_names(flags),
        "timestamp": times.to_text(timestamp_ns),
        "timestamp_ns": str(timestamp_ns),
        "user_data_128": str(int.from_bytes(data_128, "little")),
        "user_data_64": str(data_64),
        "user_data_32": data_32,
        "balance": amounts([int.from_bytes(quantity, "little") for quantity in quantities], asset, flags),
    }


def amounts(quantities: list[int], asset: Asset, flags: int) -> dict[str, str]:
    """The four balances in major units and in minor ones, and what an account with these flags has by them."""
    named = dict(zip(BALANCE_FIELDS, quantities, strict=True))
    named |= net(**named, debit_normal=is_debit_normal(flags))._asdict()
    major = {name: asset.to_text(minor) for name, minor in named.items()}
    return major | {f"{name}_minor": str(minor) for name, minor in named.items()}


def quantities_of(balances: bytes) -> list[int]:
    """The four balances of an `ACCOUNT_BALANCE` row, minor units."""
    return [int.from_bytes(balances[first : first + 16], "little") for first in range(0, 64, 16)]


def flags_of(account: bytes) -> int:
    """The flags of an `ACCOUNT` row."""
    return int.from_bytes(account[118:120], "little")


@lru_cache(maxsize=64)
def flag_names(flags: int) -> list[str]:
    """Names of the flags that are set, lowest bit first."""
    return [str(flag.name).lower() for flag in AccountFlags if flag and flag & flags]
