"""What the resolvers of one request read through: a view, with look-ups that share calls to the engine.

A resolver asks for one account, one transfer or one balance; what is asked for in one turn of the event loop, which is
a level of the graph, goes to the engine together.
"""

from __future__ import annotations

import asyncio
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from strawberry.dataloader import DataLoader

from qenex.api import listings
from qenex.api.stream import pages, topics
from qenex.client.protocol import Operation
from qenex.errors import AccountNotFound, InvalidParameter, QenexError, TransferNotFound
from qenex.kernel import BATCH_MAX
from qenex.principals import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qenex.api.cursors import Cursors
    from qenex.api.exchange import Exchange
    from qenex.api.listings import Ask, Listing, Page
    from qenex.api.stream.pages import EventsRead
    from qenex.api.stream.streams import Streams
    from qenex.api.stream.topics import Topic
    from qenex.assets import Assets

CALLS_MAX: Final = 16
"""Lists that one request asks the engine for at a time."""


class Reads:
    """Of one request."""

    def __init__(self, exchange: Exchange, assets: Assets, cursors: Cursors, streams: Streams) -> None:
        """Wires it.

        Args:
            exchange: who asks.
            assets: what ledger numbers stand for.
            cursors: seals them.
            streams: knows the positions of events.
        """
        self.assets = assets
        self._exchange, self._cursors, self._streams = exchange, cursors, streams
        self._view = exchange.view
        self._turns = asyncio.Semaphore(CALLS_MAX)
        self._accounts = DataLoader(self._find_accounts, max_batch_size=BATCH_MAX)
        self._transfers = DataLoader(self._find_transfers, max_batch_size=BATCH_MAX)
        self._balances = DataLoader(self._find_balances, max_batch_size=BATCH_MAX)

    def check(self, action: Action) -> None:
        """Checks book and scope for what the view does not check by itself; the one place that does.

        Raises:
            Forbidden: the principal may not do this.
        """
        self._exchange.check(action)

    async def account(self, account_id: int) -> bytes:
        """An account's row.

        Raises:
            AccountNotFound: there is none, or not for this principal.
        """
        return await self._accounts.load(account_id)

    async def transfer(self, reference: int | bytes) -> bytes:
        """A transfer's row, by id or hash.

        Raises:
            TransferNotFound: there is none, or not for this principal.
        """
        return await self._transfers.load(reference)

    async def balance_at(self, account_id: int, moment_ns: int) -> bytes:
        """The balances of a visible account as they were.

        Raises:
            InvalidParameter: the moment lies in the future.
        """
        return await self._balances.load((account_id, moment_ns))

    async def accounts(self, page: Page, values: Mapping[str, int]) -> Listing:
        """Accounts by their fields."""
        return await self._list(page, "accounts", values, self._view.query_accounts)

    async def transfers(self, page: Page, values: Mapping[str, int]) -> Listing:
        """Transfers by their fields."""
        return await self._list(page, "transfers", values, self._view.query_transfers)

    async def transfers_of(self, page: Page, values: Mapping[str, int]) -> Listing:
        """Transfers of a visible account."""
        self.check(Action.TRANSFERS_READ)
        return await self._list(page, "account transfers", values, self._of_account(Operation.GET_ACCOUNT_TRANSFERS))

    async def balances_of(self, page: Page, account_id: int, *, timestamp_at: int) -> Listing:
        """Balances of a visible account that keeps them, after each of its transfers."""
        ask = self._of_account(Operation.GET_ACCOUNT_BALANCES)
        return await self._list(page, "balances", {"account_id": account_id}, ask, timestamp_at=timestamp_at)

    async def events(self, topic: str, after: str | None, limit: int) -> tuple[EventsRead, Callable[[int], str], Topic]:
        """What happened; how a time becomes a position; what was asked for."""
        view = self._streams.view(self._exchange.desk, self._exchange.principal)
        wanted = topics.read(topic, view.party, self.assets)
        if wanted.kind == "accounts":
            await view.account(wanted.number)
        positions = self._streams.hub(self._exchange.desk).positions
        after_ns = positions.open(after) if after is not None else 0
        async with self._turns:
            read = await pages.read(self._exchange.desk.ledger, wanted, after_ns, limit)
        return read, positions.seal, wanted

    async def trial_balance(self) -> dict[str, Any]:
        """Sums of all accounts per asset; they are added up once, however often they are asked for."""
        return await self._sums

    @cached_property
    def _sums(self) -> asyncio.Task[dict[str, Any]]:
        return asyncio.get_running_loop().create_task(self._view.trial_balance(self.assets))

    def _of_account(self, operation: Operation) -> Ask:
        async def ask(values: Mapping[str, int], limit: int, newest: bool) -> list[bytes]:  # noqa: FBT001  # as Ask
            return await self._view.of_account(operation, values, limit, newest)

        return ask

    async def _list(
        self, page: Page, question: str, values: Mapping[str, int], ask: Ask, *, timestamp_at: int = 120
    ) -> Listing:
        principal = self._exchange.principal
        place = (principal.book, principal.id, question)
        async with self._turns:
            return await listings.rows(page, self._cursors, place, values, ask, timestamp_at=timestamp_at)

    async def _find_accounts(self, account_ids: list[int]) -> list[bytes | BaseException]:
        rows = await self._view.accounts(account_ids)
        return [rows.get(account_id) or AccountNotFound(account_id) for account_id in account_ids]

    async def _find_transfers(self, references: list[int | bytes]) -> list[bytes | BaseException]:
        ids = [reference for reference in references if isinstance(reference, int)]
        hashes = [reference for reference in references if isinstance(reference, bytes)]
        by_id = await self._view.transfers(ids) if ids else {}
        by_hash = await self._view.transfers_by_hash(hashes) if hashes else {}
        rows = [by_id.get(one) if isinstance(one, int) else by_hash.get(one) for one in references]
        return [row or TransferNotFound("") for row in rows]

    async def _find_balances(self, wanted: list[tuple[int, int]]) -> list[bytes | BaseException]:
        found: dict[tuple[int, int], bytes | BaseException] = {}
        for moment_ns in dict.fromkeys(moment_ns for _, moment_ns in wanted):
            account_ids = [account_id for account_id, at_ns in wanted if at_ns == moment_ns]
            for account_id, balances in zip(account_ids, await self._balances_at(account_ids, moment_ns), strict=True):
                found[account_id, moment_ns] = balances
        return [found[one] for one in wanted]

    async def _balances_at(self, account_ids: list[int], moment_ns: int) -> Sequence[bytes | BaseException]:
        # The engine's time can be ahead of this process's clock.
        if moment_ns > time.time_ns() and moment_ns > (await self._exchange.desk.ledger.status()).timestamp:
            error: QenexError = InvalidParameter("at", "lies in the future, which no balance can know")
            return [error] * len(account_ids)
        rows = await self._view.balance_at(account_ids, moment_ns)
        return [row.tobytes() for row in rows]
