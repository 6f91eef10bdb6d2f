"""`QenexClient`: the ledger for people and programs, over a blocking connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from qenex.assets import Assets
from qenex.client import steps
from qenex.client.columns import transfer_rows
from qenex.client.connection import Connection
from qenex.client.credentials import find_address, find_credential, unknown_there
from qenex.client.embedded import EmbeddedEngine
from qenex.client.protocol import LINGER_MAX_US, Operation
from qenex.client.session import Reply, Request, Session, body_of
from qenex.client.values import account_id_of
from qenex.errors import EngineError, UnexpectedReply
from qenex.kernel import BATCH_MAX, EVENT_RESULT, AccountFlags, TransferFlags

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    from numpy.typing import NDArray

    from qenex.client.protocol import EngineStatus
    from qenex.client.values import Account, Balance, Transaction, Transfer, TransferResult
    from qenex.money import Amount

    T = TypeVar("T")

NAME: Final = "qenex-python"
"""What this client calls itself to the engine."""
PATIENCE_S: Final = 30.0
"""How long a request may go without an answer, retries included."""


class QenexClient:
    """Talks to a running engine. Finds its address and the owner credential by itself (`QENEX_HOME`).

    Threads take turns; a process that forks opens a client on each side. Closes itself as a context manager.

    Args:
        address: `host:port`, or `tls://host:port`; else `QENEX_ADDRESS`, the engine of the home, or 127.0.0.1:7400.
        credential: what lets it in; else that of the home.
        home: folder of the instance; else `QENEX_HOME` or `~/.qenex`.
        assets: assets beyond those of ISO 4217 and QXC.
        patience_s: how long a request may go without an answer before it fails, retries included.
        read_only: no session is opened, writes are refused.
        engine: one in this process, see `embedded`; it is closed with the client.
        ca: for TLS, the certificates to trust (PEM); else `QENEX_CA`, else those that the system trusts.
        certificate: for TLS, the client's own and its key (PEM); else `QENEX_CERTIFICATE`, else none.

    Raises:
        EngineUnreachable: nothing answers there.
        CredentialMissing, CredentialExposed: there is no credential, or others can read it.
        EngineError: the engine refuses the connection.
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
        self._connection = Connection(where, session)

    @classmethod
    def embedded(
        cls, path: str | os.PathLike[str], *, assets: Assets | None = None, confirm_clock: bool = False
    ) -> Self:
        """A client with the engine inside this process: the same ledger and journal, durable, without any server.

            with QenexClient.embedded("ledger") as client:
                account = client.create_account("EUR")

        Args:
            path: folder of the book; a new book is made where there is none.
            assets: as in `QenexClient`.
            confirm_clock: you say that the wall clock is right, though the book's last entry is over an hour from it.

        Raises:
            BookLocked: another process has it open; the text says which.
            BookDamaged: its files are not as they were written.
            StorageFull, StorageFailed: the disk refused.
        """
        return cls(engine=EmbeddedEngine(path, confirm_clock=confirm_clock), assets=assets)

    def close(self) -> None:
        """End the connection, and the engine if it is this process's; closing twice is fine."""
        self._connection.close()
        if self._engine is not None:
            self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def book(self) -> str:
        """The book's id, 32 hexadecimal digits."""
        return self._connection.session.book.hex()

    def create_transaction(
        self,
        from_address: str | int,
        to_address: str | int,
        amount: Amount,
        currency: str | int = "QXC",
        **fields: Any,  # noqa: ANN401  # named and typed in steps.create_transaction
    ) -> Transaction:
        """A transfer to make, checked but not sent.

        Args:
            from_address: address (or id) of the account to debit.
            to_address: address (or id) of the account to credit.
            amount: in major units; a float stands for its shortest decimal form.
            currency: code or ledger number of the asset.
            fields: `transfer_id` or `idempotency_key` (the same key gives the same id on every retry), `flags`,
                `code`, `timeout_s`, `value_time_ns`, `accounting_date`, `user_data_128`.

        Raises:
            InvalidInput: an amount, address, asset, id or field cannot be used.
        """
        book = self._connection.session.book
        return steps.create_transaction(self.assets, book, from_address, to_address, amount, currency, **fields)

    def execute(self, transaction: Transaction, *, optimize: bool = False) -> TransferResult:
        """Make a transfer, durably. Executing the same transaction again changes nothing and gives the same result.

        Args:
            transaction: from `create_transaction`.
            optimize: let it wait up to 1 ms to share a write to disk with others; `result.waited_us` says how long.

        Raises:
            Rejected: the ledger refused it, by its first rule that applied; nothing has changed.
            IdempotencyConflict: its key was used for another transfer.
            UnknownOutcome: no answer came in time; executing it again is safe.
        """
        return self._run(steps.execute(transaction, optimize=optimize))

    def execute_many(
        self, transactions: Sequence[Transaction], *, atomic: bool = False, optimize: bool = False
    ) -> list[TransferResult]:
        """Make transfers, in one request for each 8,189; one result each, in order, refusals included.

        Args:
            transactions: from `create_transaction`.
            atomic: all of them happen, or none; at most 8,189.
            optimize: as in `execute`.

        Raises:
            BatchTooLarge: more than 8,189 with `atomic`.
            EngineError: the engine refused a request, or gave no answer; executing them again is safe.
        """
        if atomic or len(transactions) <= BATCH_MAX:
            return self._run(steps.execute_many(transactions, atomic=atomic, optimize=optimize))
        chunks = [transactions[at : at + BATCH_MAX] for at in range(0, len(transactions), BATCH_MAX)]
        bodies = [b"".join([transaction.row for transaction in chunk]) for chunk in chunks]
        replies = self._pipeline(Operation.CREATE_TRANSFERS, bodies, LINGER_MAX_US if optimize else 0, None)
        results: list[TransferResult] = []
        for chunk, body, reply in zip(chunks, bodies, replies, strict=True):
            results += self._run(steps.results_of(chunk, body, reply))
        return results

    def create_transfers(
        self,
        transfers: Any,  # noqa: ANN401  # rows or any table
        *,
        currency: str | int = "QXC",
        progress: Callable[[int], None] | None = None,
    ) -> NDArray[np.void]:
        """Make transfers in bulk, pipelined; chains are never cut.

        Args:
            transfers: `TRANSFER` rows, or a table as `qenex.client.columns` takes it (polars, pandas, a mapping).
            currency: of a table without a column that says so.
            progress: called with the number of rows answered so far.

        Returns:
            One row of `EVENT_RESULT` per transfer, same order.

        Raises:
            InvalidInput: the rows cannot be used; nothing was sent.
            EngineError: a request was refused as a whole, or not answered; sending the same ids again is safe.
        """
        rows = transfers if isinstance(transfers, np.ndarray) else transfer_rows(transfers, self.assets, currency)
        return self._bulk(Operation.CREATE_TRANSFERS, rows, progress)

    def create_accounts(self, rows: NDArray[np.void]) -> NDArray[np.void]:
        """Create accounts in bulk from `ACCOUNT` rows; one row of `EVENT_RESULT` each. Raises as `create_transfers`."""
        return self._bulk(Operation.CREATE_ACCOUNTS, rows, None)

    def create_account(
        self,
        currency: str | int = "QXC",
        *,
        account_id: int | None = None,
        related_to: str | int | None = None,
        flags: AccountFlags = AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS,
        code: int = steps.CODE_DEFAULT,
        user_data: tuple[int, int, int] = (0, 0, 0),
    ) -> Account:
        """Create an account, by default one that cannot be overdrawn; the same again is found, not refused.

        Args:
            currency: code or ledger number of its asset.
            account_id: else a new one.
            related_to: an account whose neighbour it should be.
            flags: how it behaves.
            code: kind of account.
            user_data: owner (128 bits), product (64), legal entity (32).

        Raises:
            Rejected: the ledger refused it.
        """
        asset = self.assets.find(currency)
        return self._run(
            steps.create_account(
                asset,
                account_id=account_id,
                related_to=related_to,
                flags=flags,
                code=code,
                user_data=user_data,
                assets=self.assets,
            )
        )

    def get_account(self, address: str | int) -> Account:
        """An account and its balances as they stand; raises `AccountNotFound`."""
        return self._run(steps.get_account(address, self.assets))

    def balance(self, address: str | int) -> Balance:
        """The balances of an account as they stand; raises `AccountNotFound`."""
        return self.get_account(address).balance

    def balance_at(self, address: str | int, timestamp_ns: int) -> Balance:
        """The balances right after the account's last event at or before a time; raises `AccountNotFound`."""
        return self._run(steps.balance_at(address, timestamp_ns, self.assets))

    def transfer(self, transfer: int | str) -> Transfer:
        """A recorded transfer by its id or its hash; raises `TransferNotFound`."""
        return self._run(steps.get_transfer(transfer, self.assets))

    def history(
        self,
        address: str | int,
        *,
        since_ns: int = 0,
        until_ns: int = 0,
        newest_first: bool = False,
        page_size: int = BATCH_MAX,
    ) -> Iterator[Transfer]:
        """The transfers of an account in order of time, read page by page as they are taken.

        Args:
            address: of the account.
            since_ns: inclusive; 0 is the beginning.
            until_ns: inclusive; 0 is the end.
            newest_first: backwards.
            page_size: rows a request, 1 to 8,189.
        """
        account_id, left = account_id_of(address), (since_ns, until_ns)
        while True:
            page = self._run(
                steps.history_page(
                    account_id,
                    self.assets,
                    since_ns=left[0],
                    until_ns=left[1],
                    newest_first=newest_first,
                    limit=page_size,
                )
            )
            yield from page
            rest = steps.next_range(page, *left, newest_first=newest_first) if len(page) == page_size else None
            if rest is None:
                return
            left = rest

    def hold(
        self,
        from_address: str | int,
        to_address: str | int,
        amount: Amount,
        currency: str | int = "QXC",
        **fields: Any,  # noqa: ANN401  # as create_transaction
    ) -> TransferResult:
        """Reserve an amount, to be posted or voided later; `timeout_s` lets it expire. As `create_transaction`."""
        flags = fields.pop("flags", TransferFlags.NONE) | TransferFlags.PENDING
        return self.execute(self.create_transaction(from_address, to_address, amount, currency, flags=flags, **fields))

    def post(
        self,
        hold: int | str,
        amount: Amount | None = None,
        *,
        transfer_id: int | None = None,
        idempotency_key: str = "",
    ) -> TransferResult:
        """Post a hold (its id or hash), all of it or a part; the rest is released. Raises as `execute`."""
        return self._resolve(hold, amount, post=True, transfer_id=transfer_id, idempotency_key=idempotency_key)

    def void(self, hold: int | str, *, transfer_id: int | None = None, idempotency_key: str = "") -> TransferResult:
        """Release a hold (its id or hash). Raises as `execute`."""
        return self._resolve(hold, None, post=False, transfer_id=transfer_id, idempotency_key=idempotency_key)

    def status(self) -> EngineStatus:
        """How the engine stands."""
        return self._run(steps.status())

    def call(self, operation: Operation, rows: NDArray[np.void] | bytes = b"", *, linger_us: int = 0) -> Reply:
        """One request of the protocol, for what has no method of its own. Raises `EngineError`."""
        return self._connection.call(operation, rows, linger_us=linger_us)

    def _resolve(
        self, hold: int | str, amount: Amount | None, *, post: bool, transfer_id: int | None, idempotency_key: str
    ) -> TransferResult:
        book = self._connection.session.book
        found = self.transfer(hold)
        transaction = steps.resolve_hold(
            book, found, amount, post=post, transfer_id=transfer_id, idempotency_key=idempotency_key
        )
        return self.execute(transaction)

    def _run(self, work: steps.Steps[T]) -> T:
        """Answer the calls of some steps."""
        try:
            call = next(work)
            while True:
                try:
                    reply = self._connection.call(call.operation, call.rows, linger_us=call.linger_us)
                except EngineError as error:
                    call = work.throw(error)
                else:
                    call = work.send(reply)
        except StopIteration as done:
            value: T = done.value
            return value

    def _bulk(
        self, operation: Operation, rows: NDArray[np.void], progress: Callable[[int], None] | None
    ) -> NDArray[np.void]:
        if not len(rows):
            return np.zeros(0, EVENT_RESULT)
        body_of(operation, rows)
        replies = self._pipeline(operation, steps.batches(rows), 0, progress)
        results = np.concatenate([reply.rows for reply in replies])
        if len(results) != len(rows):
            raise UnexpectedReply(f"{len(results)} results came for {len(rows)} rows.")
        return results

    def _pipeline(
        self,
        operation: Operation,
        bodies: Sequence[NDArray[np.void] | bytes],
        linger_us: int,
        progress: Callable[[int], None] | None,
    ) -> list[Reply]:
        """Send all, as many at a time as the window takes; after an error no more are sent, then it is raised."""
        replies: dict[int, Reply] = {}
        errors: list[EngineError] = []
        answered = 0

        def requests() -> Iterator[Request]:
            for at, body in enumerate(bodies):
                if errors:
                    return
                request = Request(operation, body, linger_us=linger_us)
                request.waiter = at
                yield request

        def take(request: Request, answer: Reply | EngineError) -> None:
            nonlocal answered
            if isinstance(answer, EngineError):
                errors.append(answer)
                return
            replies[request.waiter] = answer
            answered += len(answer.rows)
            if progress is not None:
                progress(answered)

        self._connection.exchange(requests(), take)
        if errors:
            raise errors[0]
        return [replies[at] for at in range(len(bodies))]
