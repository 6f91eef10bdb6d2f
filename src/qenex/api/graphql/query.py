"""What can be asked for: the root of the graph, and the schema as a whole.

Annotations are read when the schema is made, so that this module does without deferred ones.
"""

from functools import partial
from typing import Annotated

import strawberry
from strawberry.schema.config import StrawberryConfig

from qenex.api import fields
from qenex.api.fields import Wrong
from qenex.api.graphql.describe import SCALARS, described, resolved
from qenex.api.graphql.documents import Prepared
from qenex.api.graphql.types import (
    Account,
    After,
    AssetSums,
    Connection,
    Event,
    Filter,
    First,
    Info,
    Order,
    Period,
    Transfer,
    TrialBalance,
    connection,
)
from qenex.api.listings import LIMIT_DEFAULT
from qenex.assets import Assets
from qenex.errors import InvalidId, InvalidParameter


@described
class Query:
    """What can be read. What one may not see is as if it were not there: null, and an error `not_found`."""

    @resolved
    async def account(
        self,
        info: Info,
        address: Annotated[str | None, strawberry.argument(description="Address, or id, of the account")] = None,
        id: str | None = None,  # noqa: A002  # as it is called in the schema
    ) -> Account | None:
        """An account, by its address or its id."""
        name, given = _one_of(address=address, id=id)
        return await Account.find(info, fields.account_id(given) if name == "address" else fields.identifier(given))

    @resolved
    async def accounts(
        self,
        info: Info,
        first: First = LIMIT_DEFAULT,
        after: After = None,
        order: Order = Order.newest,
        filter: Filter | None = None,  # noqa: A002  # as above
    ) -> Connection[Account] | None:
        """Accounts by their fields."""
        chosen, assets = filter or Filter(), info.context.assets
        listing = await info.context.accounts(chosen.page(first, after, order), _values(chosen, assets))
        return connection(listing, after, lambda row: Account.of(row, assets))

    @resolved
    async def transfer(
        self,
        info: Info,
        hash: str | None = None,  # noqa: A002  # as above
        id: str | None = None,  # noqa: A002  # as above
    ) -> Transfer | None:
        """A transfer, by its hash or its id."""
        name, given = _one_of(hash=hash, id=id)
        reference = fields.transfer_hash(given) if name == "hash" else fields.identifier(given)
        if reference is None:
            raise InvalidId(given[:80], "the 64 hexadecimal digits of a hash are needed, perhaps after 0x")
        return Transfer.of(await info.context.transfer(reference), info.context.assets)

    @resolved
    async def transfers(
        self,
        info: Info,
        first: First = LIMIT_DEFAULT,
        after: After = None,
        order: Order = Order.newest,
        filter: Filter | None = None,  # noqa: A002  # as above
    ) -> Connection[Transfer] | None:
        """Transfers by their fields."""
        chosen, assets = filter or Filter(), info.context.assets
        listing = await info.context.transfers(chosen.page(first, after, order), _values(chosen, assets))
        return connection(listing, after, lambda row: Transfer.of(row, assets))

    @resolved
    async def events(
        self,
        info: Info,
        topic: Annotated[str, strawberry.argument(description="accounts/ADDRESS, assets/CODE or all")] = "all",
        first: First = LIMIT_DEFAULT,
        after: Annotated[
            str | None, strawberry.argument(description="A position, here or of the stream; none: from the beginning")
        ] = None,
    ) -> Connection[Event] | None:
        """What happened, oldest first. `pageInfo.endCursor` is where to go on, here or in the stream."""
        page = Period().page(first, None, Order.oldest)
        read, seal, wanted = await info.context.events(topic[:80], after, page.limit)
        documents = [event.document(info.context.assets, wanted.party) for event in read.events]
        return Connection(
            nodes=[Event.of(document) for document in documents],
            seals=[partial(seal, event.timestamp_ns) for event in read.events],
            has_more=read.has_more,
            after=after,
            end=partial(seal, read.reached_ns),
        )

    @resolved
    async def trial_balance(self, info: Info) -> TrialBalance | None:
        """The sums of all accounts per asset; debits equal credits, always."""
        document = await info.context.trial_balance()
        return TrialBalance(**{**document, "assets": [AssetSums(**sums) for sums in document["assets"]]})


def _one_of(**given: str | None) -> tuple[str, str]:
    """The one argument that is given, and its name."""
    found = [(name, value) for name, value in given.items() if value is not None]
    if len(found) != 1:
        raise InvalidParameter(next(iter(given)), f"one of {' and '.join(given)} is needed, and not both")
    return found[0]


def _values(chosen: Filter, assets: Assets) -> dict[str, int]:
    values = chosen.values()
    if chosen.token is not None:
        try:
            values["ledger"] = assets.find(fields.token(chosen.token)).number
        except Wrong as wrong:  # pragma: no cover  # a string always is a token, known or not
            raise InvalidParameter("token", str(wrong)) from None
    return values


class Schema(strawberry.Schema):
    """The schema."""

    def process_errors(self, *_: object) -> None:
        """Logs nothing: what is worth it is logged where errors are put into answers (`handler.py`)."""


def make_schema() -> Schema:
    """The schema; it holds nothing of any request."""
    return Schema(Query, config=StrawberryConfig(scalar_map=SCALARS), extensions=[Prepared])
