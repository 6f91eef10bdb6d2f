"""`AsyncQenexClient`: the twin of `QenexClient` for asyncio; what each does is in `qenex.client.steps`, once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from qenex.assets import Assets
from qenex.client import steps
from qenex.client.async_connection import AsyncConnection
from qenex.client.columns import transfer_rows
from qenex.client.credentials import find_address, find_credential, unknown_there
from qenex.client.embedded import EmbeddedEngine
from qenex.client.protocol import Operation
from qenex.client.session import Reply, Session, body_of
from qenex.client.sync import NAME, PATIENCE_S
from qenex.client.values import account_id_of
from qenex.errors import EngineError, UnexpectedReply
from qenex.kernel import BATCH_MAX, EVENT_RESULT, AccountFlags, TransferFlags

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Sequence
    from typing import TypeVar

    from numpy.typing import NDArray

    from qenex.client.protocol import EngineStatus
    from qenex.client.values import Account, Balance, Transaction, Transfer, TransferResult
    from qenex.money import Amount

    T = TypeVar("T")


class AsyncQenexClient:
    """As `QenexClient`, within one event loop; calls may be under way side by side, up to the engine's window.

        async with AsyncQenexClient() as client:
            result = await client.execute(client.create_transaction(...))

    Arguments and errors are those of `QenexClient`; it connects when it is entered, or by `open`.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        credential: str | None = None,
        home: str | os.PathLike[str] | None = None,
        assets: Assets | None = None,
        patience_s: float = PATIENCE_S,
        read_only: bool = False,
        engine: EmbeddedEngine | None = None,
        ca: str | os.PathLike[str] | None = None,
        certificate: str | os.PathLike[str] | None = None,
    ) -> None:
        self.assets = assets or Assets()
        self._engine = engine
        secret = credential or (engine.credential if engine else find_credential(home))
        where = engine or find_address(address, home, ca=ca, certificate=certificate)
        hint = "" if credential or engine else unknown_there(where, home)
        session = Session(secret, NAME, read_only=read_only, patience_s=patience_s, if_unknown=hint)
        self.connection = AsyncConnection(where, session)

    @classmethod
    def embedded(
        cls, path: str | os.PathLike[str], *, assets: Assets | None = None, confirm_clock: bool = False
    ) -> Self:
        """A client with the engine inside this process; arguments and errors are those of `QenexClient.embedded`."""
        return cls(engine=EmbeddedEngine(path, confirm_clock=confirm_clock), assets=assets)

    async def open(self) -> Self:
        """Connect."""
        await self.connection.open()
        return self

    async def close(self) -> None:
        """End the connection, and the engine if it is this process's; calls under way fail. Closing twice is fine."""
        await self.connection.close()
        if self._engine is not None:
            await asyncio.to_thread(self._engine.close)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def book(self) -> str:
        """The book's id, 32 hexadecimal digits; zeros before it is connected."""
        return self.connection.session.book.hex()

    def create_transaction(
        self,
        from_address: str | int,
        to_address: str | int,
        amount: Amount,
        currency: str | int = "QXC",
        **fields: Any,  # noqa: ANN401  # named and typed in steps.create_transaction
    ) -> Transaction:
        """As `QenexClient.create_transaction`; nothing is sent."""
        book = self.connection.session.book
        return steps.create_transaction(self.assets, book, from_address, to_address, amount, currency, **fields)

    async def execute(self, transaction: Transaction, *, optimize: bool = False) -> TransferResult:
        """As `QenexClient.execute`."""
        return await self._run(steps.execute(transaction, optimize=optimize))

    async def execute_many(
        self, transactions: Sequence[Transaction], *, atomic: bool = False, optimize: bool = False
    ) -> list[TransferResult]:
        """As `QenexClient.execute_many`."""
        size = max(1, len(transactions)) if atomic else BATCH_MAX
        parts = [transactions[at : at + size] for at in range(0, len(transactions), size)]
        work = [self._run(steps.execute_many(part, atomic=atomic, optimize=optimize)) for part in parts]
        return [result for results in await asyncio.gather(*work) for result in results]

    async def create_transfers(
        self,
        transfers: Any,  # noqa: ANN401  # rows or any table
        *,
        currency: str | int = "QXC",
    ) -> NDArray[np.void]:
        """As `QenexClient.create_transfers`."""
        rows = transfers if isinstance(transfers, np.ndarray) else transfer_rows(transfers, self.assets, currency)
        return await self._bulk(Operation.CREATE_TRANSFERS, rows)

    async def create_accounts(self, rows: NDArray[np.void]) -> NDArray[np.void]:
        """As `QenexClient.create_accounts`."""
        return await self._bulk(Operation.CREATE_ACCOUNTS, rows)

    async def create_account(
        self,
        currency: str | int = "QXC",
        *,
        account_id: int | None = None,
        related_to: str | int | None = None,
        flags: AccountFlags = AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS,
        code: int = steps.CODE_DEFAULT,
        user_data: tuple[int, int, int] = (0, 0, 0),
    ) -> Account:
        """As `QenexClient.create_account`."""
        return await self._run(
            steps.create_account(
                self.assets.find(currency),
                account_id=account_id,
                related_to=related_to,
                flags=flags,
                code=code,
                user_data=user_data,
                assets=self.assets,
            )
        )

    async def get_account(self, address: str | int) -> Account:
        """As `QenexClient.get_account`."""
        return await self._run(steps.get_account(address, self.assets))

    async def balance(self, address: str | int) -> Balance:
        """As `QenexClient.balance`."""
        return (await self.get_account(address)).balance

    async def balance_at(self, address: str | int, timestamp_ns: int) -> Balance:
        """As `QenexClient.balance_at`."""
        return await self._run(steps.balance_at(address, timestamp_ns, self.assets))

    async def transfer(self, transfer: int | str) -> Transfer:
        """As `QenexClient.transfer`."""
        return await self._run(steps.get_transfer(transfer, self.assets))

    async def history(
        self,
        address: str | int,
        *,
        since_ns: int = 0,
        until_ns: int = 0,
        newest_first: bool = False,
        page_size: int = BATCH_MAX,
    ) -> AsyncIterator[Transfer]:
        """As `QenexClient.history`."""
        account_id, left = account_id_of(address), (since_ns, until_ns)
        while True:
            page = await self._run(
                steps.history_page(
                    account_id,
                    self.assets,
                    since_ns=left[0],
                    until_ns=left[1],
                    newest_first=newest_first,
                    limit=page_size,
                )
            )
            for transfer in page:
                yield transfer
            rest = steps.next_range(page, *left, newest_first=newest_first) if len(page) == page_size else None
            if rest is None:
                return
            left = rest

    async def hold(
        self,
        from_address: str | int,
        to_address: str | int,
        amount: Amount,
        currency: str | int = "QXC",
        **fields: Any,  # noqa: ANN401  # as create_transaction
    ) -> TransferResult:
        """As `QenexClient.hold`."""
        flags = fields.pop("flags", TransferFlags.NONE) | TransferFlags.PENDING
        return await self.execute(
            self.create_transaction(from_address, to_address, amount, currency, flags=flags, **fields)
        )

    async def post(
        self,
        hold: int | str,
        amount: Amount | None = None,
        *,
        transfer_id: int | None = None,
        idempotency_key: str = "",
    ) -> TransferResult:
        """As `QenexClient.post`."""
        return await self._resolve(hold, amount, post=True, transfer_id=transfer_id, idempotency_key=idempotency_key)

    async def void(
        self, hold: int | str, *, transfer_id: int | None = None, idempotency_key: str = ""
    ) -> TransferResult:
        """As `QenexClient.void`."""
        return await self._resolve(hold, None, post=False, transfer_id=transfer_id, idempotency_key=idempotency_key)

    async def status(self) -> EngineStatus:
        """As `QenexClient.status`."""
        return await self._run(steps.status())

    async def call(self, operation: Operation, rows: NDArray[np.void] | bytes = b"", *, linger_us: int = 0) -> Reply:
        """As `QenexClient.call`."""
        return await self.connection.call(operation, rows, linger_us=linger_us)

    async def _resolve(
        self, hold: int | str, amount: Amount | None, *, post: bool, transfer_id: int | None, idempotency_key: str
    ) -> TransferResult:
        found = await self.transfer(hold)
        book = self.connection.session.book
        return await self.execute(
            steps.resolve_hold(book, found, amount, post=post, transfer_id=transfer_id, idempotency_key=idempotency_key)
        )

    async def _run(self, work: steps.Steps[T]) -> T:
        """Answer the calls of some steps."""
        try:
            call = next(work)
            while True:
                try:
                    reply = await self.connection.call(call.operation, call.rows, linger_us=call.linger_us)
                except EngineError as error:
                    call = work.throw(error)
                else:
                    call = work.send(reply)
        except StopIteration as done:
            value: T = done.value
            return value

    async def _bulk(self, operation: Operation, rows: NDArray[np.void]) -> NDArray[np.void]:
        if not len(rows):
            return np.zeros(0, EVENT_RESULT)
        body_of(operation, rows)
        replies = await asyncio.gather(*[self.connection.call(operation, batch) for batch in steps.batches(rows)])
        results = np.concatenate([reply.rows for reply in replies])
        if len(results) != len(rows):
            raise UnexpectedReply(f"{len(results)} results came for {len(rows)} rows.")
        return results
