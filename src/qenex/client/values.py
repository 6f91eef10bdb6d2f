"""What goes in and comes out for people: transfers to make, what became of them, accounts and balances. All frozen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from qenex.errors import InvalidAddress, InvalidId
from qenex.kernel import (
    U128_MAX,
    AccountFlags,
    CreateTransferStatus,
    Net,
    TransferFlags,
    is_debit_normal,
    net,
    to_account_id,
    to_address,
)

if TYPE_CHECKING:
    from decimal import Decimal

    from qenex.assets import Asset, Assets

TRANSFER_ROW: Final = Struct("<16s16s16s16s16s16sQIIIHHQ")
"""A `TRANSFER` row: six 128-bit numbers, then the short fields."""
ACCOUNT_ROW: Final = TRANSFER_ROW
"""An `ACCOUNT` row has the same shape: id, four balances, user data, `reserved` where a transfer has its timeout."""
BALANCE_ROW: Final = Struct("<16s16s16s16sQ56s")
"""An `ACCOUNT_BALANCE` row."""


def number(value: bytes) -> int:
    """A 128-bit number of a row."""
    return int.from_bytes(value, "little")


@lru_cache(maxsize=65_536, typed=True)
def account_id_of(address: str | int) -> int:
    """The account that an address stands for; an id stands for itself.

    Raises:
        InvalidAddress: it is none, or has a wrong checksum.
    """
    if isinstance(address, int) and not isinstance(address, bool):
        if not 0 < address < U128_MAX:
            raise InvalidAddress(address, "an account id lies between 1 and 2^128-2")
        return address
    if not isinstance(address, str):
        raise InvalidAddress(address, "an address is text, or the account's id")
    try:
        return to_account_id(address)
    except ValueError as error:
        raise InvalidAddress(address, str(error)) from None


def check_id(given: object) -> int:
    """An id that a row can have.

    Raises:
        InvalidId: it is not an integer from 1 to 2^128-2.
    """
    if not isinstance(given, int) or isinstance(given, bool) or not 0 < given < U128_MAX:
        raise InvalidId(given, "an id is an integer from 1 to 2^128-2")
    return given


@dataclass(frozen=True, slots=True)
class TransferRow:
    """A transfer's row and the asset it is in."""

    row: bytes
    """The 128 bytes, `TRANSFER`."""
    asset: Asset

    @property
    def id(self) -> int:
        """The transfer's id."""
        return number(self.row[:16])

    @property
    def debit_account_id(self) -> int:
        """The account that pays."""
        return number(self.row[16:32])

    @property
    def credit_account_id(self) -> int:
        """The account that is paid."""
        return number(self.row[32:48])

    @property
    def from_address(self) -> str:
        """Address of the account that pays."""
        return to_address(self.debit_account_id)

    @property
    def to_address(self) -> str:
        """Address of the account that is paid."""
        return to_address(self.credit_account_id)

    @property
    def amount_minor(self) -> int:
        """The amount in minor units."""
        return number(self.row[48:64])

    @property
    def amount(self) -> Decimal:
        """The amount in major units."""
        return self.asset.to_decimal(self.amount_minor)

    @property
    def currency(self) -> str:
        """The asset's code."""
        return self.asset.code

    @property
    def pending_id(self) -> int:
        """The hold that this posts or voids, else 0."""
        return number(self.row[64:80])

    @property
    def user_data_128(self) -> int:
        """The client's own."""
        return number(self.row[80:96])

    @property
    def value_time_ns(self) -> int:
        """Time of value in UTC nanoseconds where it differs from the booking, else 0 (`user_data_64`)."""
        return number(self.row[96:104])

    @property
    def accounting_date(self) -> int:
        """Accounting date in days since 1970-01-01; 0 is the date then open (`user_data_32`)."""
        return number(self.row[104:108])

    @property
    def timeout_s(self) -> int:
        """Seconds until a hold expires; 0 is never."""
        return number(self.row[108:112])

    @property
    def code(self) -> int:
        """Kind of transfer."""
        return number(self.row[116:118])

    @property
    def flags(self) -> TransferFlags:
        """How it behaves."""
        return TransferFlags(number(self.row[118:120]))


@dataclass(frozen=True, slots=True)
class Transaction(TransferRow):
    """A transfer to make, as `create_transaction` checked it. It can be executed again: it never happens twice."""

    idempotency_key: str = ""
    """The key that its id comes from, if one was given."""


@dataclass(frozen=True, slots=True)
class Transfer(TransferRow):
    """A transfer as recorded: clamped, filled in, stamped."""

    @property
    def timestamp_ns(self) -> int:
        """Time of booking, UTC nanoseconds."""
        return number(self.row[120:128])

    @property
    def hash(self) -> str:
        """SHA-256 of `00` and the row, an RFC 6962 leaf hash: `0x` and 64 hexadecimal digits."""
        return "0x" + sha256(b"\0" + self.row).hexdigest()


class Group(NamedTuple):
    """The write to disk that a request shared."""

    requests: int
    """Requests in it, of all connections."""
    rows: int
    """Rows in it."""
    waited_us: int
    """How long the request waited to share it."""


@dataclass(frozen=True, slots=True)
class TransferResult:
    """What became of one transaction."""

    transaction: Transaction
    status: CreateTransferStatus
    """`created`; `exists` if it had happened before; else why it was refused."""
    timestamp_ns: int
    """Of the booking; of the refusal where it was refused; UTC nanoseconds."""
    group: Group
    row: bytes
    """The row as recorded, empty where it was refused."""

    @property
    def ok(self) -> bool:
        """Whether the transfer is in the ledger."""
        return self.status in (CreateTransferStatus.CREATED, CreateTransferStatus.EXISTS)

    @property
    def transfer(self) -> Transfer | None:
        """The transfer as recorded, None where it was refused."""
        return Transfer(self.row, self.transaction.asset) if self.row else None

    @property
    def id(self) -> int:
        """The transfer's id."""
        return self.transaction.id

    @property
    def hash(self) -> str:
        """The transfer's hash as recorded; empty where it was refused."""
        return Transfer(self.row, self.transaction.asset).hash if self.row else ""

    @property
    def waited_us(self) -> int:
        """How long the request waited to share a group."""
        return self.group.waited_us


@dataclass(frozen=True, slots=True)
class Balance:
    """The balances of an account at a time; `posted` and `available` count on its normal side."""

    asset: Asset
    debit_normal: bool
    """Whether debits make it grow (a loan, cash); else credits do (a deposit)."""
    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int
    timestamp_ns: int
    """Of the event they follow, or of the reading; UTC nanoseconds."""

    @classmethod
    def from_row(cls, row: bytes, asset: Asset, *, debit_normal: bool) -> Balance:
        """Reads an `ACCOUNT_BALANCE` row."""
        a, b, c, d, timestamp_ns, _ = BALANCE_ROW.unpack(row)
        return cls(asset, debit_normal, number(a), number(b), number(c), number(d), timestamp_ns)

    @classmethod
    def of_account(cls, row: bytes, asset: Asset) -> Balance:
        """Reads those of an `ACCOUNT` row; the time is that of the account's creation."""
        _, a, b, c, d, _, _, _, _, _, _, flags, created_ns = ACCOUNT_ROW.unpack(row)
        return cls(asset, is_debit_normal(flags), number(a), number(b), number(c), number(d), created_ns)

    @property
    def posted_minor(self) -> int:
        """What is posted, in minor units; negative when the other side is larger."""
        return self._net.posted

    @property
    def available_minor(self) -> int:
        """What is posted less what holds have reserved, in minor units; an overdraft is not counted."""
        return self._net.available

    @property
    def posted(self) -> Decimal:
        """What is posted."""
        return self.asset.to_decimal(self.posted_minor)

    @property
    def available(self) -> Decimal:
        """What is posted less what holds have reserved; an overdraft is not counted."""
        return self.asset.to_decimal(self.available_minor)

    @property
    def _net(self) -> Net:
        return net(
            debits_pending=self.debits_pending,
            debits_posted=self.debits_posted,
            credits_pending=self.credits_pending,
            credits_posted=self.credits_posted,
            debit_normal=self.debit_normal,
        )


@dataclass(frozen=True, slots=True)
class Account:
    """An account as it stood when it was read."""

    id: int
    asset: Asset
    balance: Balance
    flags: AccountFlags
    code: int
    user_data_128: int
    """Owning party."""
    user_data_64: int
    """Product."""
    user_data_32: int
    """Legal entity."""
    timestamp_ns: int
    """Of its creation."""

    @classmethod
    def from_row(cls, row: bytes, assets: Assets) -> Account:
        """Reads an `ACCOUNT` row."""
        identity, *_, data_128, data_64, data_32, _, ledger, code, bits, created_ns = ACCOUNT_ROW.unpack(row)
        asset, flags = assets.find(ledger), AccountFlags(bits)
        balance = Balance.of_account(row, asset)
        return cls(number(identity), asset, balance, flags, code, number(data_128), data_64, data_32, created_ns)

    @property
    def address(self) -> str:
        """Its address."""
        return to_address(self.id)

    @property
    def currency(self) -> str:
        """Code of its asset."""
        return self.asset.code
