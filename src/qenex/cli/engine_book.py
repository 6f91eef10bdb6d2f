"""The running engine as the commands use it: rows in, rows out, however many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from qenex import QenexClient
from qenex.cli.reading import accounts_of_one_moment
from qenex.client import Operation, Transaction
from qenex.kernel import BATCH_MAX, ID, CreateTransferStatus, from_ints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from qenex.assets import Asset
    from qenex.client.protocol import EngineStatus

    Rows = NDArray[np.void]


def open_book(home: str | None = None, *, read_only: bool = False) -> EngineBook:
    """The running engine of a home, with its owner's credential.

    Args:
        home: folder of the instance.
        read_only: nothing is written, not even that there is a session: also a full disk is no obstacle.

    Raises:
        EngineUnreachable: no engine answers.
        CredentialMissing: the home has no owner credential.
        CredentialExposed: others on this machine can read it.
    """
    return EngineBook(QenexClient(home=home, read_only=read_only))


class EngineBook:
    """The rows of `QenexClient`: `qenex.cli.reading.Book` and what else the commands ask."""

    def __init__(self, client: QenexClient) -> None:
        self._client = client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def create_accounts(self, rows: Rows) -> Rows:
        """`ACCOUNT` rows in, `EVENT_RESULT` rows out, one each."""
        return self._client.create_accounts(rows)

    def create_transfers(self, rows: Rows, *, progress: Callable[[int], None] | None = None) -> Rows:
        """`TRANSFER` rows in, `EVENT_RESULT` rows out, one each; `progress` gets the number answered so far."""
        return self._client.create_transfers(rows, progress=progress)

    def execute(self, row: Rows, asset: Asset) -> bool:
        """Makes one transfer, a `TRANSFER` row; whether it was made now, False where it was there before.

        Raises:
            Rejected: the ledger refused it; with what explains it, as `QenexClient.execute` finds out.
        """
        result = self._client.execute(Transaction(row.tobytes(), asset))
        return result.status is CreateTransferStatus.CREATED

    def lookup_accounts(self, ids: Sequence[int]) -> Rows:
        """The `ACCOUNT` rows of those ids that exist, in the order asked."""
        return self._each(Operation.LOOKUP_ACCOUNTS, _ids(ids))

    def lookup_transfers(self, ids: Sequence[int]) -> Rows:
        """The `TRANSFER` rows of those ids that exist, in the order asked."""
        return self._each(Operation.LOOKUP_TRANSFERS, _ids(ids))

    def lookup_hashes(self, hashes: Rows) -> Rows:
        """The `TRANSFER` rows of those `HASH` rows that exist, in the order asked."""
        return self._each(Operation.LOOKUP_HASHES, hashes)

    def query_accounts(self, filters: Rows) -> Rows:
        """One `QUERY_FILTER` in, `ACCOUNT` rows out."""
        return self._client.call(Operation.QUERY_ACCOUNTS, filters).rows

    def accounts_of_one_moment(self, *, ledger: int = 0) -> Iterator[Rows]:
        """All accounts (of an asset) in pages of `ACCOUNT` rows, with the balances that they had at one moment."""
        return accounts_of_one_moment(self._client.call, ledger=ledger)

    def query_transfers(self, filters: Rows) -> Rows:
        """One `QUERY_FILTER` in, `TRANSFER` rows out."""
        return self._client.call(Operation.QUERY_TRANSFERS, filters).rows

    def account_transfers(self, filters: Rows) -> Rows:
        """One `ACCOUNT_FILTER` in, `TRANSFER` rows out."""
        return self._client.call(Operation.GET_ACCOUNT_TRANSFERS, filters).rows

    def status(self) -> EngineStatus:
        """How the engine is."""
        return self._client.status()

    def confirm_clock(self) -> None:
        """Says that the engine's wall clock is right, so that it takes writes again after a jump."""
        self._client.call(Operation.CONFIRM_CLOCK)

    def backup(self, folder: str) -> str:
        """Copies the book, while the engine works, into a new folder of the engine's machine; its path."""
        return bytes(self._client.call(Operation.BACKUP, folder.encode("utf-8")).body).decode("utf-8")

    def _each(self, operation: Operation, rows: Rows) -> Rows:
        """As many requests as the rows take, one after another; the replies' rows in order."""
        cuts = range(0, max(len(rows), 1), BATCH_MAX)
        return np.concatenate([self._client.call(operation, rows[at : at + BATCH_MAX]).rows for at in cuts])


def _ids(ids: Sequence[int]) -> Rows:
    return from_ints(ids).view(ID)
