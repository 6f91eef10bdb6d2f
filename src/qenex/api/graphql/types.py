"""The types of the schema; their fields are called as those of the REST documents are (`qenex.api.models`).

Annotations are read when the schema is made, so that this module does without deferred ones.
"""

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Annotated, Any, Final, Generic, TypeVar

import strawberry

from qenex.api import accounts, listings, times, transfers
from qenex.api.fields import Wrong, integer
from qenex.api.graphql.describe import WholeNumber, described, described_enum, described_input, resolved
from qenex.api.graphql.reads import Reads
from qenex.api.listings import LIMIT_DEFAULT, LIMIT_MAX, Listing, Page
from qenex.assets import Assets
from qenex.errors import HistoryNotKept, InvalidParameter
from qenex.kernel import AccountFilterFlags, AccountFlags, is_debit_normal

Node = TypeVar("Node")
Info = strawberry.Info[Reads, None]

TRANSACTIONS_DEFAULT: Final = 10
_BALANCE_TIMESTAMP_AT: Final = 64

First = Annotated[int, strawberry.argument(description=f"Rows of a page, at most {LIMIT_MAX}")]
After = Annotated[
    str | None, strawberry.argument(description="A cursor of this list; all other arguments must stay the same")
]


@described_enum
class Order(Enum):
    """What comes first."""

    newest = "newest"
    oldest = "oldest"


@described_enum
class Side(Enum):
    """The transfers of an account that debit it, that credit it, or both."""

    both = AccountFilterFlags.DEBITS | AccountFilterFlags.CREDITS
    debits = AccountFilterFlags.DEBITS
    credits = AccountFilterFlags.CREDITS


@described_enum
class EventType(Enum):
    """What happened. `hold_posted` and `hold_voided` are of the transfer that ended the hold, the others of the own."""

    transfer_posted = "transfer_posted"
    hold_created = "hold_created"
    hold_posted = "hold_posted"
    hold_voided = "hold_voided"
    hold_expired = "hold_expired"


@described_input
class Period:
    """From one time to another, both inclusive: RFC 3339, or nanoseconds since 1970 in digits."""

    timestamp_min: str | None = None
    timestamp_max: str | None = None

    def page(self, first: int, after: str | None, order: Order) -> Page:
        """Which page of a list of this time is wanted."""
        if not 1 <= first <= LIMIT_MAX:
            raise InvalidParameter("first", f"1 to {LIMIT_MAX} rows can be asked for")
        return listings.page(first, order.value, after, self.timestamp_min, self.timestamp_max)


@described_input
class AccountTransfersFilter(Period):
    """Fields that transfers of an account have, every one that is given."""

    code: WholeNumber | None = None
    user_data_128: str | None = strawberry.field(default=None, name="userData128")
    user_data_64: str | None = strawberry.field(default=None, name="userData64")
    user_data_32: WholeNumber | None = strawberry.field(default=None, name="userData32")

    def values(self) -> dict[str, int]:
        """As fields of a filter of the engine."""
        given = (
            ("code", "code", self.code, 16),
            ("user_data_128", "userData128", self.user_data_128, 128),
            ("user_data_64", "userData64", self.user_data_64, 64),
            ("user_data_32", "userData32", self.user_data_32, 32),
        )
        return {name: _number(shown, value, bits) for name, shown, value, bits in given if value is not None}


@described_input
class Filter(AccountTransfersFilter):
    """Fields that accounts or transfers have, every one that is given."""

    token: str | None = strawberry.field(default=None, description="Code of the asset, or its ledger number")


@described
class PageInfo:
    """Where a page stands in its list."""

    has_next_page: bool = strawberry.field(description="Whether there are rows after this page")
    has_previous_page: bool = strawberry.field(description="Whether this page is one after a cursor")
    start_cursor: str | None
    end_cursor: str | None = strawberry.field(description="Give it as `after` for the next page")


@described
class Edge(Generic[Node]):
    """A row of a list, and its place there."""

    node: Node
    seal: strawberry.Private[Callable[[], str]]

    @resolved
    def cursor(self) -> str:
        """Give it as `after` to go on behind this row."""
        return self.seal()


@described
class Connection(Generic[Node]):
    """A page of a list."""

    nodes: list[Node]
    seals: strawberry.Private[list[Callable[[], str]]]
    """The cursor of each node."""
    has_more: strawberry.Private[bool]
    after: strawberry.Private[str | None]
    end: strawberry.Private[Callable[[], str] | None] = None
    """The place behind the page, where that is another than its last node's."""

    @resolved
    def edges(self) -> list[Edge[Node]]:
        """The rows with a cursor each."""
        return [Edge(node=node, seal=seal) for node, seal in zip(self.nodes, self.seals, strict=True)]

    @resolved
    def page_info(self) -> PageInfo:
        """Where this page stands in its list."""
        end = self.end or (self.seals[-1] if self.seals else None)
        return PageInfo(
            has_next_page=self.has_more,
            has_previous_page=self.after is not None,
            start_cursor=self.seals[0]() if self.seals else None,
            end_cursor=end() if end else None,
        )


@described
class Balances:
    """Balances of one moment, in major units of the asset and (`Minor`) in its smallest ones.

    `posted` is credits less debits, `available` is `posted` less pending debits; where the account has
    `credits_must_not_exceed_debits` (cash, a loan) they are debits less credits, and that less pending credits.
    """

    debits_pending: str
    debits_posted: str
    credits_pending: str
    credits_posted: str
    posted: str
    available: str
    debits_pending_minor: str
    debits_posted_minor: str
    credits_pending_minor: str
    credits_posted_minor: str
    posted_minor: str
    available_minor: str


@described
class Balance(Balances):
    """Balances of an account at a time."""

    account_id: str
    address: str
    token: str
    timestamp: str | None = strawberry.field(description="Of the last event that is in them; none yet: null")
    timestamp_ns: str | None


@described
class BalanceAfter(Balances):
    """Balances of an account right after one of its transfers."""

    timestamp: str
    timestamp_ns: str


@described
class EventTransfer:
    """The transfer that an event is of."""

    id: str
    timestamp_ns: str = strawberry.field(description="When it was recorded")
    from_: str = strawberry.field(name="from", description="Address of the account that is debited")
    to: str = strawberry.field(description="Address of the account that is credited")
    amount: str
    token: str
    code: int
    flags: list[str]
    pending_id: str | None
    timeout: WholeNumber
    user_data_128: str = strawberry.field(name="userData128")
    user_data_64: str = strawberry.field(name="userData64")
    user_data_32: WholeNumber = strawberry.field(name="userData32")


@described
class Transfer(EventTransfer):
    """A transfer as recorded."""

    timestamp: str
    amount_minor: str
    ledger: WholeNumber
    hash: str = strawberry.field(description="SHA-256 of 00 and the recorded row (RFC 6962)")
    debit_account_id: str
    credit_account_id: str

    @staticmethod
    def of(row: bytes, assets: Assets) -> "Transfer":
        """From its row."""
        return Transfer(**_named(transfers.document(row, assets)))

    @resolved
    async def debit_account(self, info: Info) -> "Account | None":
        """The account that is debited."""
        return await Account.find(info, int(self.debit_account_id))

    @resolved
    async def credit_account(self, info: Info) -> "Account | None":
        """The account that is credited."""
        return await Account.find(info, int(self.credit_account_id))


@described
class Account:
    """An account as it stands."""

    row: strawberry.Private[bytes]
    id: str
    address: str
    token: str
    ledger: WholeNumber
    code: int
    flags: list[str]
    timestamp: str
    timestamp_ns: str
    user_data_128: str = strawberry.field(name="userData128")
    user_data_64: str = strawberry.field(name="userData64")
    user_data_32: WholeNumber = strawberry.field(name="userData32")
    balance: str = strawberry.field(description="What is available, on the account's normal side, in major units")
    posted: str = strawberry.field(description="What is posted, on the account's normal side")
    pending: str = strawberry.field(description="What holds take off `posted`: the rest is `balance`")
    balances: Balances

    @staticmethod
    def of(row: bytes, assets: Assets) -> "Account":
        """From its row."""
        document = accounts.document(row, assets)
        balances: dict[str, str] = document.pop("balance")
        holds = "credits_pending" if is_debit_normal(accounts.flags_of(row)) else "debits_pending"
        return Account(
            **document,
            row=row,
            balance=balances["available"],
            posted=balances["posted"],
            pending=balances[holds],
            balances=Balances(**balances),
        )

    @staticmethod
    async def find(info: Info, account_id: int) -> "Account":
        """One by its id."""
        return Account.of(await info.context.account(account_id), info.context.assets)

    @resolved
    async def transactions(
        self,
        info: Info,
        last: Annotated[int, strawberry.argument(description=f"So many, at most {LIMIT_MAX}")] = TRANSACTIONS_DEFAULT,
    ) -> list[Transfer] | None:
        """Its last transfers, the newest first."""
        if not 1 <= last <= LIMIT_MAX:
            raise InvalidParameter("last", f"1 to {LIMIT_MAX} rows can be asked for")
        page = Period().page(last, None, Order.newest)
        listing = await info.context.transfers_of(page, {"account_id": int(self.id), "flags": int(Side.both.value)})
        return [Transfer.of(row, info.context.assets) for row in listing.rows]

    @resolved
    async def transfers(
        self,
        info: Info,
        first: First = LIMIT_DEFAULT,
        after: After = None,
        order: Order = Order.newest,
        side: Side = Side.both,
        filter: AccountTransfersFilter | None = None,  # noqa: A002  # as it is called in the schema
    ) -> Connection[Transfer] | None:
        """Its transfers, page by page."""
        chosen = filter or AccountTransfersFilter()
        values = {**chosen.values(), "account_id": int(self.id), "flags": int(side.value)}
        listing = await info.context.transfers_of(chosen.page(first, after, order), values)
        return connection(listing, after, lambda row: Transfer.of(row, info.context.assets))

    @resolved
    async def balance_at(
        self, info: Info, at: Annotated[str, strawberry.argument(description="RFC 3339 or nanoseconds")]
    ) -> Balance | None:
        """Its balances as they were at a time."""
        row = await info.context.balance_at(int(self.id), listings.timestamp("at", at))
        moment_ns = _moment(row)
        return Balance(
            **self._amounts(row, info.context.assets),
            account_id=self.id,
            address=self.address,
            token=self.token,
            timestamp=times.to_text(moment_ns) if moment_ns else None,
            timestamp_ns=str(moment_ns) if moment_ns else None,
        )

    @resolved
    async def balance_history(
        self,
        info: Info,
        first: First = LIMIT_DEFAULT,
        after: After = None,
        order: Order = Order.newest,
        period: Period | None = None,
    ) -> Connection[BalanceAfter] | None:
        """Its balances after each of its transfers, if it was created with `history`."""
        if not accounts.flags_of(self.row) & AccountFlags.HISTORY:
            raise HistoryNotKept(int(self.id))
        page = (period or Period()).page(first, after, order)
        listing = await info.context.balances_of(page, int(self.id), timestamp_at=_BALANCE_TIMESTAMP_AT)
        return connection(listing, after, lambda row: self._after(row, info.context.assets))

    def _after(self, row: bytes, assets: Assets) -> BalanceAfter:
        moment_ns = _moment(row)
        return BalanceAfter(
            **self._amounts(row, assets), timestamp=times.to_text(moment_ns), timestamp_ns=str(moment_ns)
        )

    def _amounts(self, row: bytes, assets: Assets) -> dict[str, str]:
        asset = transfers.asset_of_ledger(self.ledger, assets)
        return accounts.amounts(accounts.quantities_of(row), asset, accounts.flags_of(self.row))


@described
class EventBalance:
    """What an account has after an event; `Balances` says of the names what they mean."""

    posted: str
    available: str
    debits_pending: str
    credits_pending: str


@described
class EventAccount:
    """An account right after an event."""

    address: str
    balance: EventBalance


@described
class Event:
    """Something that happened to a transfer, and its accounts right after it."""

    type: EventType
    timestamp: str
    timestamp_ns: str = strawberry.field(description="No two events of a book have the same: it names the event")
    transfer: EventTransfer
    accounts: list[EventAccount] = strawberry.field(
        description="Debit account, credit account; to a customer its own ones only"
    )

    @staticmethod
    def of(document: dict[str, Any]) -> "Event":
        """From its document."""
        return Event(
            type=EventType(document["type"]),
            timestamp=document["timestamp"],
            timestamp_ns=document["timestamp_ns"],
            transfer=EventTransfer(**_named(document["transfer"])),
            accounts=[
                EventAccount(address=side["address"], balance=EventBalance(**side["balance"]))
                for side in document["accounts"]
            ],
        )


@described
class AssetSums:
    """Sums over all accounts of an asset."""

    token: str
    ledger: WholeNumber
    accounts: WholeNumber
    debits_pending: str
    debits_posted: str
    credits_pending: str
    credits_posted: str
    debits_pending_minor: str
    debits_posted_minor: str
    credits_pending_minor: str
    credits_posted_minor: str
    balanced: bool


@described
class TrialBalance:
    """Debits and credits of every asset at one moment; `balanced` when each sums to zero."""

    timestamp: str
    timestamp_ns: str
    balanced: bool
    assets: list[AssetSums]


def connection(listing: Listing, after: str | None, make: Callable[[bytes], Node]) -> Connection[Node]:
    """A page of a list as a connection."""
    return Connection(
        nodes=[make(row) for row in listing.rows],
        seals=[partial(listing.seal, row) for row in listing.rows],
        has_more=listing.has_more,
        after=after,
    )


def _named(document: dict[str, Any]) -> dict[str, Any]:
    """A document with names that Python takes."""
    return {"from_" if name == "from" else name: value for name, value in document.items()}


def _moment(row: bytes) -> int:
    return int.from_bytes(row[_BALANCE_TIMESTAMP_AT : _BALANCE_TIMESTAMP_AT + 8], "little")


def _number(name: str, value: int | str, bits: int) -> int:
    try:
        return int(integer(bits, least=1)(str(value)))
    except Wrong as wrong:
        raise InvalidParameter(name, str(wrong)) from None
