"""Transfers between JSON and rows: what a body asks for, what a recorded row says."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from qenex.api import times
from qenex.api.fields import (
    Wrong,
    account_id,
    amount,
    boolean,
    identifier,
    integer,
    members,
    token,
)
from qenex.api.problems import at
from qenex.assets import Asset
from qenex.errors import QenexError, UnknownAsset
from qenex.kernel import CODE_RESERVED, U128_MAX, TransferFlags, to_address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qenex.api.strict_json import Value
    from qenex.assets import Assets

CODE_DEFAULT: Final = 1
"""Kind of a transfer that says nothing of its kind."""

_ROW: Final = Struct("<16s16s16s16s16s16sQIIIHHQ")

DECIDED_BY_KERNEL: Final = (
    TransferFlags.BALANCING_DEBIT
    | TransferFlags.BALANCING_CREDIT
    | TransferFlags.POST_PENDING_TRANSFER
    | TransferFlags.VOID_PENDING_TRANSFER
)
"""With one of these the recorded row differs from the one that was sent: clamped, or filled in."""


def code(value: Value) -> int:
    """The kind of a transfer."""
    number = integer(16)(value)
    if number >= CODE_RESERVED:
        raise Wrong(f"codes from {CODE_RESERVED} on are the engine's own")
    return number


FLAGS: Final = {
    "pending": TransferFlags.PENDING,
    "balancing_debit": TransferFlags.BALANCING_DEBIT,
    "balancing_credit": TransferFlags.BALANCING_CREDIT,
    "closing_debit": TransferFlags.CLOSING_DEBIT,
    "closing_credit": TransferFlags.CLOSING_CREDIT,
}
"""Flags that a body can set, each a field of its name."""

ROW_FIELDS: Final = {
    "from": account_id,
    "to": account_id,
    "amount": amount,
    "token": token,
    "id": identifier,
    "code": code,
    "timeout": integer(32),
    "user_data_128": integer(128),
    "user_data_64": integer(64),
    "user_data_32": integer(32),
    **dict.fromkeys(FLAGS, boolean),
}
"""A transfer in a batch."""
ROW_NEEDED: Final = ("from", "to", "amount", "token")
SINGLE_FIELDS: Final = {**ROW_FIELDS, "optimize": boolean}
"""A transfer on its own."""


class Wanted:
    """A transfer that a request asks for."""

    __slots__ = (
        "amount_minor",
        "asset",
        "code",
        "credit_account_id",
        "debit_account_id",
        "flags",
        "id",
        "pending_id",
        "timeout",
        "user_data_32",
        "user_data_64",
        "user_data_128",
    )

    def __init__(self, fields: Mapping[str, Any], asset: Asset | None, amount_minor: int) -> None:
        """Takes fields as `members` reads them.

        Args:
            fields: of `ROW_FIELDS`; the id is 0 where the body has none.
            asset: of both accounts; None only where a pending transfer says it.
            amount_minor: in its minor units.
        """
        get = fields.get
        self.id: int = get("id", 0)
        self.debit_account_id: int = get("from", 0)
        self.credit_account_id: int = get("to", 0)
        self.amount_minor = amount_minor
        self.asset = asset
        self.pending_id = 0
        self.user_data_128: int = get("user_data_128", 0)
        self.user_data_64: int = get("user_data_64", 0)
        self.user_data_32: int = get("user_data_32", 0)
        self.timeout: int = get("timeout", 0)
        self.code: int = get("code", CODE_DEFAULT)
        self.flags = 0
        if len(fields) > len(ROW_NEEDED):
            for name, flag in FLAGS.items():
                if get(name):
                    self.flags |= flag

    def pack(self) -> bytes:
        """The row as it is sent."""
        return _ROW.pack(
            self.id.to_bytes(16, "little"),
            self.debit_account_id.to_bytes(16, "little"),
            self.credit_account_id.to_bytes(16, "little"),
            self.amount_minor.to_bytes(16, "little"),
            self.pending_id.to_bytes(16, "little"),
            self.user_data_128.to_bytes(16, "little"),
            self.user_data_64,
            self.user_data_32,
            self.timeout,
            self.asset.number if self.asset is not None else 0,
            self.code,
            self.flags,
            0,
        )


def read_wanted(value: Value, path: str, assets: Assets) -> Wanted:
    """Reads one transfer of a batch.

    Raises:
        QenexError: with the pointer of what is wrong first.
    """
    return wanted(members(value, path, ROW_FIELDS, ROW_NEEDED), path, assets)


def wanted(fields: Mapping[str, Any], path: str, assets: Assets) -> Wanted:
    """Turns the amount into minor units of its asset.

    Raises:
        UnknownAsset: there is no such asset.
        InvalidAmount: the amount is none, negative, too large, or more precise than the asset.
    """
    try:
        asset = assets.find(fields["token"])
    except QenexError as error:
        raise at(error, f"{path}/token") from None
    return Wanted(fields, asset, amount_minor(fields["amount"], asset, path))


def amount_minor(digits: str, asset: Asset, path: str) -> int:
    """An amount of the body in minor units.

    Raises:
        InvalidAmount: with its pointer.
    """
    try:
        # A number of the body is a str of another class; the amount's own digits are what counts.
        return asset.to_minor(str(digits))
    except QenexError as error:
        raise at(error, f"{path}/amount") from None


def recorded(sent: bytes, timestamp_ns: int) -> bytes:
    """The row as recorded, where the kernel changes nothing but the timestamp."""
    return sent[:120] + timestamp_ns.to_bytes(8, "little")


def hash_of(row: bytes) -> str:
    """The hash of a recorded transfer, an RFC 6962 leaf hash, as `0x` and 64 hexadecimal digits."""
    return "0x" + sha256(b"\0" + row).hexdigest()


def same(row: bytes, sent: bytes) -> bool:
    """Whether a recorded transfer is what these bytes ask for (flags, parties, asset, data; a clamped amount too)."""
    if row[:120] == sent[:120]:
        return True
    flags = TransferFlags(int.from_bytes(sent[118:120], "little"))
    balancing = flags & (TransferFlags.BALANCING_DEBIT | TransferFlags.BALANCING_CREDIT)
    clamped = int.from_bytes(row[48:64], "little") <= int.from_bytes(sent[48:64], "little")
    return bool(balancing) and clamped and row[:48] == sent[:48] and row[64:120] == sent[64:120]


def asset_of(row: bytes, assets: Assets) -> Asset:
    """The asset of a recorded transfer."""
    return asset_of_ledger(int.from_bytes(row[112:116], "little"), assets)


def amount_text(row: bytes, assets: Assets) -> str:
    """The amount of a recorded transfer in major units."""
    return asset_of(row, assets).to_text(int.from_bytes(row[48:64], "little"))


def asset_of_ledger(ledger: int, assets: Assets) -> Asset:
    """The asset of a ledger number; one that is not registered here counts its smallest units, under its number."""
    try:
        return assets.find(ledger)
    except UnknownAsset:
        return Asset(ledger, str(ledger), 0)


def document(row: bytes, assets: Assets) -> dict[str, Any]:
    """A recorded transfer in JSON's terms."""
    (
        identity,
        debit,
        credit,
        quantity,
        pending,
        data_128,
        data_64,
        data_32,
        timeout,
        ledger,
        kind,
        flags,
        timestamp_ns,
    ) = _ROW.unpack(row)
    asset = asset_of_ledger(ledger, assets)
    minor = int.from_bytes(quantity, "little")
    debit_account_id, credit_account_id = int.from_bytes(debit, "little"), int.from_bytes(credit, "little")
    return {
        "id": str(int.from_bytes(identity, "little")),
        "hash": hash_of(row),
        "timestamp": times.to_text(timestamp_ns),
        "timestamp_ns": str(timestamp_ns),
        "from": to_address(debit_account_id),
        "to": to_address(credit_account_id),
        "debit_account_id": str(debit_account_id),
        "credit_account_id": str(credit_account_id),
        "amount": asset.to_text(minor),
        "amount_minor": str(minor),
        "token": asset.code,
        "ledger": ledger,
        "code": kind,
        "flags": flag_names(flags),
        "pending_id": str(int.from_bytes(pending, "little")) if any(pending) else None,
        "timeout": timeout,
        "user_data_128": str(int.from_bytes(data_128, "little")),
        "user_data_64": str(data_64),
        "user_data_32": data_32,
    }


@lru_cache(maxsize=512)
def flag_names(flags: int) -> list[str]:
    """Names of the flags that are set, lowest bit first."""
    return [str(flag.name).lower() for flag in TransferFlags if flag and flag & flags]


FULL_AMOUNT: Final = U128_MAX
"""As the amount of a post: all that is pending."""
