"""Every route of the API, as FastAPI serves and documents it.

Bodies are not FastAPI's to read: they go through the strict decoder (`exchange.py`, `fields.py`), and their models only
describe them. The hot routes stand here too; the gateway answers them before FastAPI sees them.
"""

from __future__ import annotations

import time
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from qenex.api import accounts, fields, journal_context, listings, models, times, transfers
from qenex.api.admission import account_of
from qenex.api.fields import Wrong
from qenex.api.listings import LIMIT_DEFAULT, LIMIT_MAX, Order, Page
from qenex.api.problems import RETRY_AFTER_S
from qenex.api.refusals import ACCOUNT_ID_USED, account_refusal
from qenex.api.routing import PREFIX, Needs, body_of, exchange_of, json_reply, only_known_parameters, response_of
from qenex.api.transactions import Transactions
from qenex.client.protocol import Operation
from qenex.errors import EngineError, HistoryNotKept, InvalidIdempotencyKey, InvalidParameter
from qenex.kernel import TIMESTAMP_MAX, AccountFilterFlags, AccountFlags, CreateAccountStatus, to_address
from qenex.principals import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qenex.api.cursors import Cursors
    from qenex.api.desks import Desks
    from qenex.api.exchange import Exchange
    from qenex.api.listings import Ask
    from qenex.assets import Assets

_SIDES: Final = {
    "both": int(AccountFilterFlags.DEBITS | AccountFilterFlags.CREDITS),
    "debits": int(AccountFilterFlags.DEBITS),
    "credits": int(AccountFilterFlags.CREDITS),
}
_BALANCE_TIMESTAMP_AT: Final = 64

Reference = Annotated[str, Path(description="Address or id of the account", pattern=models.ACCOUNT_REFERENCE)]
TransferReference = Annotated[str, Path(description="Hash or id of the transfer", max_length=66)]


def _page(
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX, description="Rows of a page")] = LIMIT_DEFAULT,
    order: Annotated[Order, Query(description="What comes first")] = "newest",
    cursor: Annotated[str | None, Query(max_length=100, description="`next` of the page before")] = None,
    timestamp_min: Annotated[str | None, Query(max_length=40, description="Inclusive; RFC 3339 or nanoseconds")] = None,
    timestamp_max: Annotated[str | None, Query(max_length=40, description="Inclusive; RFC 3339 or nanoseconds")] = None,
) -> Page:
    return listings.page(limit, order, cursor, timestamp_min, timestamp_max)


def _filter(
    code: Annotated[str | None, Query(description="Only this kind", max_length=5)] = None,
    user_data_128: Annotated[str | None, Query(max_length=39)] = None,
    user_data_64: Annotated[str | None, Query(max_length=20)] = None,
    user_data_32: Annotated[str | None, Query(max_length=10)] = None,
) -> dict[str, int]:
    given = {
        "code": (code, 16),
        "user_data_128": (user_data_128, 128),
        "user_data_64": (user_data_64, 64),
        "user_data_32": (user_data_32, 32),
    }
    return {name: _number(name, text, bits) for name, (text, bits) in given.items() if text is not None}


def _number(name: str, text: str, bits: int) -> int:
    try:
        return fields.integer(bits, least=1)(text)
    except Wrong as wrong:
        raise InvalidParameter(name, str(wrong)) from None


ListPage = Annotated[Page, Depends(_page)]
Filter = Annotated[dict[str, int], Depends(_filter)]


class Routes:
    """The routes and what they need."""

    def __init__(self, desks: Desks, assets: Assets, cursors: Cursors) -> None:
        """Wires them.

        Args:
            desks: of the books; health asks the first one's.
            assets: what ledger numbers stand for.
            cursors: seals them.
        """
        self._desks, self._assets, self._cursors = desks, assets, cursors

    def router(self) -> APIRouter:
        """All of them."""
        router = APIRouter(dependencies=[Depends(only_known_parameters)])
        self._add_writes(router)
        for path, endpoint, model, action in (
            ("/accounts", self.query_accounts, models.AccountPage, Action.ACCOUNTS_READ),
            ("/accounts/{account}", self.get_account, models.Account, Action.ACCOUNTS_READ),
            ("/accounts/{account}/balance", self.get_balance, models.Balance, Action.ACCOUNTS_READ),
            ("/accounts/{account}/balances", self.get_balances, models.BalancePage, Action.ACCOUNTS_READ),
            ("/accounts/{account}/transfers", self.get_account_transfers, models.TransferPage, Action.TRANSFERS_READ),
            ("/transfers", self.query_transfers, models.TransferPage, Action.TRANSFERS_READ),
            ("/transfers/{transfer}", self.get_transfer, models.Transfer, Action.TRANSFERS_READ),
            ("/trial-balance", self.get_trial_balance, models.TrialBalance, Action.REPORTS_READ),
        ):
            router.add_api_route(
                PREFIX + path,
                endpoint,
                methods=["GET"],
                responses={200: {"model": model}},
                dependencies=[Depends(Needs(action))],
            )
        health: dict[int | str, dict[str, Any]] = {200: {"model": models.Health}, 503: {"model": models.Health}}
        router.add_api_route(PREFIX + "/health", self.get_health, methods=["GET"], responses=health)
        router.add_api_route("/health", self.get_health, methods=["GET"], include_in_schema=False)
        return router

    def _add_writes(self, router: APIRouter) -> None:
        moves = Action.TRANSFERS_WRITE
        for path, endpoint, status, reply, body, action in (
            ("/transaction", self.create_transaction, 201, models.Transaction, models.NewTransaction, moves),
            ("/transactions", self.create_transactions, 200, models.Transactions, models.NewTransactions, moves),
            ("/transactions/{transfer}/post", self.post_pending, 201, models.Transaction, models.PostPending, moves),
            ("/transactions/{transfer}/void", self.void_pending, 201, models.Transaction, models.VoidPending, moves),
            ("/accounts", self.create_account, 201, models.Account, models.NewAccount, Action.ACCOUNTS_WRITE),
        ):
            router.add_api_route(
                PREFIX + path,
                endpoint,
                methods=["POST"],
                status_code=status,
                responses={status: {"model": reply}},
                openapi_extra={"requestBody": body_of(body.__name__)},
                dependencies=[Depends(Needs(action))],
            )

    async def create_transaction(self, request: Request) -> Response:
        """Moves an amount from one account to another, now or, if pending, in two phases."""
        return response_of(await Transactions(exchange_of(request), self._assets).create())

    async def create_transactions(self, request: Request) -> Response:
        """Moves many amounts: each on its own, or all of them or none (`atomic`)."""
        return response_of(await Transactions(exchange_of(request), self._assets).create_many())

    async def post_pending(self, request: Request, transfer: TransferReference) -> Response:
        """Posts a pending transfer: all of it, or less, which releases the rest."""
        exchange = exchange_of(request)
        pending_id = await _transfer_id(exchange, transfer)
        return response_of(await Transactions(exchange, self._assets).post(pending_id))

    async def void_pending(self, request: Request, transfer: TransferReference) -> Response:
        """Releases a pending transfer."""
        exchange = exchange_of(request)
        pending_id = await _transfer_id(exchange, transfer)
        return response_of(await Transactions(exchange, self._assets).void(pending_id))

    async def create_account(self, request: Request) -> Response:
        """Creates an account for one asset."""
        exchange = exchange_of(request)
        ledger, keys = exchange.desk.ledger, exchange.desk.keys
        value, body = await exchange.json()
        wanted = accounts.read(value, self._assets)
        key = exchange.idempotency_key()
        if key is not None and "id" in wanted:
            raise InvalidIdempotencyKey("Idempotency-Key", "an id in the body is a key already; send one of both")
        account_id = wanted.get("id") or (
            ledger.id_from_key(exchange.principal.id, key, 0) if key is not None else ledger.new_id()
        )
        row = accounts.row(wanted, account_id)
        decision = exchange.admit(Action.ACCOUNTS_WRITE, account_of(row.tobytes()))
        context = journal_context.frame(journal_context.of(exchange.principal), [sha256(body).digest()], [decision])
        with keys.claimed(account_id, row.tobytes(), key) as remember:
            timestamp_ns, number = await ledger.create_account(row, context)
            status = CreateAccountStatus(number)
            if status != CreateAccountStatus.CREATED and status not in ACCOUNT_ID_USED:
                remember()
        if status not in (CreateAccountStatus.CREATED, CreateAccountStatus.EXISTS):
            raise account_refusal(status, account_id, timestamp_ns=timestamp_ns, key=key)
        created = status == CreateAccountStatus.CREATED
        recorded = transfers.recorded(row.tobytes(), timestamp_ns)
        if not created:
            recorded = (await ledger.lookup_accounts([account_id]))[account_id]
        headers = {"location": f"{PREFIX}/accounts/{account_id}"}
        if not created:
            headers["idempotency-replayed"] = "true"
        return json_reply(accounts.document(recorded, self._assets), status=201, headers=headers)

    async def query_accounts(
        self,
        request: Request,
        page: ListPage,
        values: Filter,
        token: Annotated[str | None, Query(description="Only of this asset", max_length=32)] = None,
    ) -> Response:
        """Accounts by their fields, newest first."""
        exchange = exchange_of(request)
        return await self._list(
            exchange, page, "accounts", self._of_asset(values, token), exchange.view.query_accounts, self._account
        )

    async def query_transfers(
        self,
        request: Request,
        page: ListPage,
        values: Filter,
        token: Annotated[str | None, Query(description="Only of this asset", max_length=32)] = None,
    ) -> Response:
        """Transfers by their fields, newest first."""
        exchange = exchange_of(request)
        return await self._list(
            exchange, page, "transfers", self._of_asset(values, token), exchange.view.query_transfers, self._transfer
        )

    async def get_account(self, request: Request, account: Reference) -> Response:
        """An account with its balances, by address or id."""
        return json_reply(self._account(await exchange_of(request).view.account(_account_id(account))))

    async def get_balance(
        self,
        request: Request,
        account: Reference,
        at: Annotated[str | None, Query(max_length=40, description="RFC 3339 or nanoseconds; absent: now")] = None,
    ) -> Response:
        """The balances of an account, now or as they were at any time before."""
        account_id = _account_id(account)
        exchange = exchange_of(request)
        row = await exchange.view.account(account_id)
        # Now is after all that has happened: the engine's time can be ahead of this process's clock.
        moment_ns = TIMESTAMP_MAX if at is None else listings.timestamp("at", at)
        if (
            at is not None
            and moment_ns > time.time_ns()
            and moment_ns > (await exchange.desk.ledger.status()).timestamp
        ):
            raise InvalidParameter("at", "lies in the future, which no balance can know")
        balances = (await exchange.view.balance_at([account_id], moment_ns))[0].tobytes()
        asset = transfers.asset_of(row, self._assets)
        last_ns = int.from_bytes(balances[_BALANCE_TIMESTAMP_AT : _BALANCE_TIMESTAMP_AT + 8], "little")
        reply = {
            "account_id": str(account_id),
            "address": to_address(account_id),
            "token": asset.code,
            "timestamp": times.to_text(last_ns) if last_ns else None,
            "timestamp_ns": str(last_ns) if last_ns else None,
        }
        return json_reply(reply | accounts.amounts(accounts.quantities_of(balances), asset, accounts.flags_of(row)))

    async def get_balances(self, request: Request, account: Reference, page: ListPage) -> Response:
        """The balances of an account with `history` after each of its transfers, newest first."""
        account_id = _account_id(account)
        exchange = exchange_of(request)
        row = await exchange.view.account(account_id)
        flags = accounts.flags_of(row)
        if not flags & AccountFlags.HISTORY:
            raise HistoryNotKept(account_id)
        asset = transfers.asset_of(row, self._assets)

        def document(balances: bytes) -> dict[str, Any]:
            moment_ns = int.from_bytes(balances[_BALANCE_TIMESTAMP_AT : _BALANCE_TIMESTAMP_AT + 8], "little")
            named = {"timestamp": times.to_text(moment_ns), "timestamp_ns": str(moment_ns)}
            return named | accounts.amounts(accounts.quantities_of(balances), asset, flags)

        ask = partial(exchange.view.of_account, Operation.GET_ACCOUNT_BALANCES)
        wanted = {"account_id": account_id}
        at = _BALANCE_TIMESTAMP_AT
        return await self._list(exchange, page, "balances", wanted, ask, document, timestamp_at=at)

    async def get_account_transfers(
        self,
        request: Request,
        account: Reference,
        page: ListPage,
        values: Filter,
        side: Annotated[str, Query(description="both, debits or credits", pattern="^(both|debits|credits)$")] = "both",
    ) -> Response:
        """The transfers of an account, newest first."""
        account_id = _account_id(account)
        exchange = exchange_of(request)
        await exchange.view.account(account_id)
        wanted = {**values, "account_id": account_id, "flags": _SIDES[side]}
        ask = partial(exchange.view.of_account, Operation.GET_ACCOUNT_TRANSFERS)
        return await self._list(exchange, page, "account transfers", wanted, ask, self._transfer)

    async def get_transfer(self, request: Request, transfer: TransferReference) -> Response:
        """A transfer by hash or id."""
        reference = fields.transfer_hash(transfer) or fields.identifier(transfer)
        return json_reply(self._transfer(await exchange_of(request).view.transfer(reference, transfer)))

    async def get_trial_balance(self, request: Request) -> Response:
        """The sums of all accounts per asset; debits equal credits, always."""
        return json_reply(await exchange_of(request).view.trial_balance(self._assets))

    async def get_health(self) -> Response:
        """Whether this process lives, and whether the engine answers it. Needs no credential."""
        try:
            status = await self._desks.main.ledger.status()
        except EngineError:
            headers = {"retry-after": str(RETRY_AFTER_S)}
            return json_reply({"live": True, "ready": False, "writable": False}, status=503, headers=headers)
        return json_reply({"live": True, "ready": True, "writable": status.is_writable})

    def _of_asset(self, values: Mapping[str, int], token: str | None) -> Mapping[str, int]:
        if token is None:
            return values
        return {**values, "ledger": self._assets.find(fields.token(token)).number}

    async def _list(
        self,
        exchange: Exchange,
        page: Page,
        question: str,
        values: Mapping[str, int],
        ask: Ask,
        document: Callable[[bytes], dict[str, Any]],
        *,
        timestamp_at: int = 120,
    ) -> Response:
        place = (exchange.principal.book, exchange.principal.id, question)
        return json_reply(
            await listings.read(page, self._cursors, place, values, ask, document, timestamp_at=timestamp_at)
        )

    def _account(self, row: bytes) -> dict[str, Any]:
        return accounts.document(row, self._assets)

    def _transfer(self, row: bytes) -> dict[str, Any]:
        return transfers.document(row, self._assets)


async def _transfer_id(exchange: Exchange, reference: str) -> int:
    digest = fields.transfer_hash(reference)
    if digest is None:
        return fields.identifier(reference)
    return int.from_bytes((await exchange.view.transfer(digest, reference))[:16], "little")


def _account_id(reference: str) -> int:
    return fields.account_id(reference)
