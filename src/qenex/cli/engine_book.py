"""The running engine as the commands use it: rows in, rows out, however many."""

from __future__ import annotations

from itertools import starmap
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from qenex.client.connection import Connection
from qenex.client.credentials import find_address, find_credential
from qenex.client.protocol import EngineStatus, Operation, decode_status
from qenex.client.session import Reply, Request, Session
from qenex.errors import EngineError
from qenex.kernel import BATCH_MAX, ID, from_ints

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from numpy.typing import NDArray

    Rows = NDArray[np.void]

NAME: Final = "qenex-cli"
"""How commands call themselves to the engine."""

CONFIRM_CLOCK: Final = 1033
"""The operation `confirm_clock` (spec/protocol.md section 4)."""

PATIENCE_S: Final = 30.0
"""How long a request may go without an answer, reconnecting included."""


def open_book(home: str | None = None) -> EngineBook:
    """The running engine of a home, with its owner's credential.

    Raises:
        EngineUnreachable: no engine answers.
        CredentialMissing: the home has no owner credential.
        CredentialExposed: others on this machine can read it.
    """
    credential = find_credential(home)
    return EngineBook(*find_address(home=home), credential)


class EngineBook:
    """One connection to a running engine; `qenex.cli.reading.Book` and what else the commands ask."""

    def __init__(self, host: str, port: int, credential: str) -> None:
        """Connects.

        Raises:
            EngineUnreachable: nothing answers there.
            EngineError: the engine refuses the credential.
        """
        self._connection = Connection(host, port, Session(credential, NAME, read_only=False, patience_s=PATIENCE_S))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    def create_accounts(self, rows: Rows) -> Rows:
        """`ACCOUNT` rows in, `EVENT_RESULT` rows out, one each."""
        return self._each(Operation.CREATE_ACCOUNTS, rows)

    def create_transfers(self, rows: Rows) -> Rows:
        """`TRANSFER` rows in, `EVENT_RESULT` rows out, one each. Chains must end within `BATCH_MAX` rows."""
        return self._each(Operation.CREATE_TRANSFERS, rows)

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
        return self._connection.call(Operation.QUERY_ACCOUNTS, filters).rows

    def query_transfers(self, filters: Rows) -> Rows:
        """One `QUERY_FILTER` in, `TRANSFER` rows out."""
        return self._connection.call(Operation.QUERY_TRANSFERS, filters).rows

    def account_transfers(self, filters: Rows) -> Rows:
        """One `ACCOUNT_FILTER` in, `TRANSFER` rows out."""
        return self._connection.call(Operation.GET_ACCOUNT_TRANSFERS, filters).rows

    def status(self) -> EngineStatus:
        """How the engine is."""
        return decode_status(self._connection.call(Operation.GET_STATUS, b"").body)

    def confirm_clock(self) -> None:
        """Says that the engine's wall clock is right, so that it takes writes again after a jump."""
        self._connection.call(CONFIRM_CLOCK, b"")

    def backup(self, folder: str) -> str:
        """Copies the book, while the engine works, into a new folder of the engine's machine; its path."""
        return bytes(self._connection.call(Operation.BACKUP, folder.encode("utf-8")).body).decode("utf-8")

    def _each(self, operation: Operation, rows: Rows) -> Rows:
        """Sends full requests, as many at a time as the window takes; the replies' rows in order of the requests."""
        requests = list(
            starmap(Request, ((operation, rows[at : at + BATCH_MAX]) for at in range(0, len(rows), BATCH_MAX)))
        )
        answers: dict[int, Reply | EngineError] = {}

        def keep(request: Request, answer: Reply | EngineError) -> None:
            answers[id(request)] = answer

        self._connection.exchange(requests, keep)
        replies = []
        for request in requests:
            answer = answers[id(request)]
            if isinstance(answer, EngineError):
                raise answer
            replies.append(answer.rows)
        return np.concatenate(replies)


def _ids(ids: Sequence[int]) -> Rows:
    return from_ints(ids).view(ID)
