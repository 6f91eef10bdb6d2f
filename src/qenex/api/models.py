"""The shapes of bodies and replies, for the OpenAPI document. They describe; `fields.py` is what decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema, models_json_schema

from qenex.api.listings import LIMIT_MAX
from qenex.kernel import BATCH_MAX, CODE_INSTITUTION, CODE_RESERVED

if TYPE_CHECKING:
    from collections.abc import Sequence

ACCOUNT_REFERENCE = r"^(0x51454[eE]58[0-9a-fA-F]{32}|0x[0-9a-fA-F]{1,32}|[0-9]{1,39})$"
ADDRESS = r"^0x51454[eE]58[0-9a-fA-F]{32}$"
DIGITS = r"^[0-9]+$"
TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z$"

U32_MAX = (1 << 32) - 1

Reference = Annotated[
    str,
    Field(
        pattern=ACCOUNT_REFERENCE,
        description="Address (with the checksum of EIP-55 where it is in mixed case), or account id in decimal digits "
        "or as 0x and up to 32 hexadecimal ones",
        examples=["0x51454e5800000000000000000000000000000001", "1"],
    ),
]
Identifier = Annotated[
    str, Field(pattern=r"^(0x[0-9a-fA-F]{1,32}|[0-9]{1,39})$", description="1 to 2^128-2", examples=["170141183460469"])
]
Amount = Annotated[
    str,
    Field(
        pattern=r"^[0-9]+(\.[0-9]+)?$",
        description="Major units in digits, no more after the point than the asset has. A bare JSON number is read "
        "from its own digits; an exponent is refused.",
        examples=["12.50"],
    ),
]
Token = Annotated[
    str, Field(min_length=1, max_length=32, description="Code of the asset, or its ledger number", examples=["EUR"])
]
Wide = Annotated[str, Field(pattern=r"^[0-9]{1,39}$", description="A whole number in digits")]
Minor = Annotated[str, Field(pattern=r"^-?[0-9]+$", description="Minor units")]
Major = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$", description="Major units")]
TimeText = Annotated[str, Field(pattern=TIME, description="RFC 3339, UTC", examples=["2026-11-23T09:46:52.000000001Z"])]
TimeNs = Annotated[str, Field(pattern=DIGITS, description="UTC nanoseconds since 1970")]
Hash = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$", description="SHA-256 of 00 and the recorded row (RFC 6962)")]


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default")


# A field of a body that may be absent, but is never null.
OptionalIdentifier = Annotated[
    Identifier | SkipJsonSchema[None], Field(description="Made up when absent", json_schema_extra=_without_default)
]
OptionalAmount = Annotated[
    Amount | SkipJsonSchema[None],
    Field(
        description="At most what is held, the rest is released; absent: all of it", json_schema_extra=_without_default
    ),
]
U16 = Annotated[int, Field(ge=0, le=65_535)]
U32 = Annotated[int, Field(ge=0, le=U32_MAX)]
Code = Annotated[
    int,
    Field(
        ge=1,
        lt=CODE_RESERVED,
        description=f"Kind of transfer, your own numbering; from {CODE_INSTITUTION} on the institution's own, which "
        "restrictions of an account do not stop",
    ),
]
Optimize = Annotated[
    bool, Field(description="May wait up to 1 ms, so that others share its write to disk; the reply says what that did")
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class NewTransfer(_Body):
    """A transfer of a batch: `amount` of `token` leaves `from` (debited) for `to` (credited)."""

    from_: Reference = Field(alias="from")
    to: Reference
    amount: Amount
    token: Token
    id: OptionalIdentifier = None
    code: Code = 1
    pending: bool = Field(default=False, description="Holds the amount; a second request posts or voids it")
    timeout: U32 = Field(0, description="Seconds until a pending transfer expires; 0 is never")
    balancing_debit: bool = Field(default=False, description="At most what the debited account has")
    balancing_credit: bool = Field(default=False, description="At most what the credited account owes")
    closing_debit: bool = Field(default=False, description="Closes the debited account (pending only)")
    closing_credit: bool = Field(default=False, description="Closes the credited account (pending only)")
    user_data_128: Wide = "0"
    user_data_64: Wide = Field("0", description="Time of value in UTC nanoseconds, where it differs from the booking")
    user_data_32: U32 = Field(0, description="Accounting date in days since 1970-01-01; 0 is the date then open")


class NewTransaction(NewTransfer):
    """One transfer on its own."""

    optimize: Optimize = False


class NewTransactions(_Body):
    """A batch."""

    atomic: bool = Field(default=False, description="All of them happen, or none")
    optimize: Optimize = False
    transactions: Annotated[list[NewTransfer], Field(min_length=1, max_length=BATCH_MAX)]


class PostPending(_Body):
    """The second phase of a hold."""

    amount: OptionalAmount = None
    optimize: Optimize = False


class VoidPending(_Body):
    """The end of a hold."""

    optimize: Optimize = False


class NewAccount(_Body):
    """An account, which holds one asset."""

    token: Token
    id: OptionalIdentifier = None
    code: Annotated[int, Field(ge=1, le=65_535, description="Kind of account, your own numbering")] = 1
    debits_must_not_exceed_credits: bool = Field(default=False, description="It cannot be overdrawn (a deposit)")
    credits_must_not_exceed_debits: bool = Field(default=False, description="The mirror image (cash, a loan)")
    history: bool = Field(default=False, description="Its balances after each transfer can be listed")
    closed: bool = Field(default=False, description="It takes no transfers from the start")
    user_data_128: Wide = Field("0", description="Owner")
    user_data_64: Wide = Field("0", description="Product")
    user_data_32: U32 = Field(0, description="Legal entity")


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Optimized(_Reply):
    """What `optimize` did."""

    requested: bool
    waited_us: Annotated[int, Field(ge=0, description="How long the engine held it to share its group")]
    group_requests: Annotated[int, Field(ge=0, description="Frames that shared one write and one sync")]
    group_rows: Annotated[int, Field(ge=0, description="Transfers that did")]


class Transfer(_Reply):
    """A transfer as recorded."""

    id: Wide
    hash: Hash
    timestamp: TimeText
    timestamp_ns: TimeNs
    from_: Annotated[str, Field(alias="from", pattern=ADDRESS)]
    to: Annotated[str, Field(pattern=ADDRESS)]
    debit_account_id: Wide
    credit_account_id: Wide
    amount: Major
    amount_minor: Minor
    token: str
    ledger: U32
    code: U16
    flags: list[str]
    pending_id: Wide | None
    timeout: U32
    user_data_128: Wide
    user_data_64: Wide
    user_data_32: U32


class Transaction(Transfer):
    """A transfer that was just made, or was made by the first of the same requests."""

    status: Literal["created"]
    optimize: Optimized


class Problem(BaseModel):
    """What went wrong (RFC 9457). Values that explain it stand beside these members, under names of their own."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    code: Annotated[str, Field(description="Stable name; spec/errors.toml lists them")]
    iso_reason: Annotated[str, Field(description="ISO 20022 external status reason")]
    instance: str | None = Field(None, description="The request's id as a URN")
    pointer: str | None = Field(None, description="Place in the body (RFC 6901)")


class Created(_Reply):
    """A row of a batch that happened."""

    id: Wide
    status: Literal["created"]
    replayed: bool
    hash: Hash
    timestamp: TimeText
    timestamp_ns: TimeNs
    amount: Major


class Refused(_Reply):
    """A row of a batch that was refused."""

    id: Wide
    status: str
    error: Problem


class Transactions(_Reply):
    """What became of a batch, row by row."""

    created: int
    replayed: int
    refused: int
    results: list[Created | Refused]
    optimize: Optimized


class Balances(_Reply):
    """Balances of one moment.

    `posted` is credits less debits, `available` is `posted` less pending debits; where the account has
    `credits_must_not_exceed_debits` (cash, a loan) they are debits less credits, and that less pending credits.
    """

    debits_pending: Major
    debits_posted: Major
    credits_pending: Major
    credits_posted: Major
    posted: Major
    available: Major
    debits_pending_minor: Minor
    debits_posted_minor: Minor
    credits_pending_minor: Minor
    credits_posted_minor: Minor
    posted_minor: Minor
    available_minor: Minor


class Account(_Reply):
    """An account as it stands."""

    id: Wide
    address: Annotated[str, Field(pattern=ADDRESS)]
    token: str
    ledger: U32
    code: U16
    flags: list[str]
    timestamp: TimeText
    timestamp_ns: TimeNs
    user_data_128: Wide
    user_data_64: Wide
    user_data_32: U32
    balance: Balances


class Balance(Balances):
    """Balances of an account at a time."""

    account_id: Wide
    address: Annotated[str, Field(pattern=ADDRESS)]
    token: str
    timestamp: Annotated[TimeText | None, Field(description="Of the last event that is in them; none yet: null")]
    timestamp_ns: TimeNs | None


class BalanceAfter(Balances):
    """Balances of an account right after one of its transfers."""

    timestamp: TimeText
    timestamp_ns: TimeNs


Next = Annotated[
    str | None, Field(description="The cursor of the next page; null on the last. Keep all other parameters.")
]


class AccountPage(_Reply):
    """A page of accounts."""

    items: Annotated[list[Account], Field(max_length=LIMIT_MAX)]
    next: Next


class TransferPage(_Reply):
    """A page of transfers."""

    items: Annotated[list[Transfer], Field(max_length=LIMIT_MAX)]
    next: Next


class BalancePage(_Reply):
    """A page of balances."""

    items: Annotated[list[BalanceAfter], Field(max_length=LIMIT_MAX)]
    next: Next


class AssetSums(_Reply):
    """Sums over all accounts of an asset."""

    token: str
    ledger: U32
    accounts: int
    debits_pending: Major
    debits_posted: Major
    credits_pending: Major
    credits_posted: Major
    debits_pending_minor: Minor
    debits_posted_minor: Minor
    credits_pending_minor: Minor
    credits_posted_minor: Minor
    balanced: bool


class TrialBalance(_Reply):
    """Debits and credits of every asset at one moment; `balanced` when each sums to zero."""

    timestamp: TimeText
    timestamp_ns: TimeNs
    balanced: bool
    assets: list[AssetSums]


class EventTransfer(_Reply):
    """The transfer that an event is of."""

    id: Wide
    timestamp_ns: Annotated[TimeNs, Field(description="When it was recorded; for an expiry that was earlier")]
    from_: Annotated[str, Field(alias="from", pattern=ADDRESS)]
    to: Annotated[str, Field(pattern=ADDRESS)]
    amount: Major
    token: str
    code: U16
    flags: list[str]
    pending_id: Wide | None
    timeout: U32
    user_data_128: Wide
    user_data_64: Wide
    user_data_32: U32


class EventBalance(_Reply):
    """What an account has after an event; `Balances` says of the names what they mean."""

    posted: Major
    available: Major
    debits_pending: Major
    credits_pending: Major


class EventAccount(_Reply):
    """An account right after an event."""

    address: Annotated[str, Field(pattern=ADDRESS)]
    balance: EventBalance


class Event(_Reply):
    """Something that happened to a transfer, and its accounts right after it."""

    type: Annotated[
        Literal["transfer_posted", "hold_created", "hold_posted", "hold_voided", "hold_expired"],
        Field(
            description="`hold_posted` and `hold_voided` are of the transfer that ended the hold, the others of the own"
        ),
    ]
    timestamp: TimeText
    timestamp_ns: Annotated[TimeNs, Field(description="No two events of a book have the same: it names the event")]
    transfer: EventTransfer
    accounts: Annotated[
        list[EventAccount],
        Field(max_length=2, description="Debit account, credit account; to a customer its own ones only"),
    ]


Position = Annotated[
    str, Field(description="Everything up to here has been shown: go on `after` it, here or in the stream")
]


class EventPage(_Reply):
    """What happened, oldest first."""

    items: Annotated[list[Event], Field(max_length=LIMIT_MAX)]
    position: Position
    more: Annotated[bool, Field(description="Whether there may be more already")]


class Ticket(_Reply):
    """Opens a stream once."""

    ticket: str
    expires: TimeText
    expires_ns: TimeNs


class Health(_Reply):
    """Whether this process lives (it answered), whether the engine answers, and whether it takes a single transfer."""

    live: Literal[True]
    ready: bool
    writable: bool


BODIES: tuple[type[BaseModel], ...] = (NewTransaction, NewTransactions, PostPending, VoidPending, NewAccount, Problem)
"""Models that no route names by itself."""


def schemas(models: Sequence[type[BaseModel]] = BODIES) -> dict[str, Any]:
    """The JSON schemas of bodies, for `components/schemas`."""
    _, document = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    found: dict[str, Any] = document["$defs"]
    return found
