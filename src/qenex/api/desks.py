"""A desk is what the routes need of one book: its ledger, what combines writes to it, what it remembers of keys."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from qenex.api.admission import account_of
from qenex.api.combiner import Combiner
from qenex.api.ledger import Ledger
from qenex.api.refusals import Keys
from qenex.client.protocol import Operation
from qenex.errors import EngineUnreachable
from qenex.kernel import BATCH_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    from numpy.typing import NDArray

    from qenex.api.ledger import Call
    from qenex.client.session import Reply
    from qenex.services.access import Account

KNOWN_MAX: Final = 65_536
"""Accounts of which a desk remembers what never changes."""


class Desk:
    """One book's."""

    def __init__(self, call: Call, book: Callable[[], bytes], up: Callable[[], bool]) -> None:
        """Wires it.

        Args:
            call: the way to the book's engine.
            book: its id, 16 bytes; raises `EngineUnreachable` while it is not known.
            up: whether the engine answers.
        """

        async def send(rows: NDArray[np.void], *, linger_us: int, context: bytes, trace: bytes) -> Reply:
            return await call(Operation.CREATE_TRANSFERS, rows, linger_us=linger_us, context=context, trace=trace)

        self._book = book
        self._found: bytes | None = None
        self.up = up
        self.ledger = Ledger(call, book)
        self.combiner = Combiner(send)
        self.keys = Keys()
        self._known: OrderedDict[int, Account] = OrderedDict()

    @property
    def book(self) -> bytes:
        """Its id, 16 bytes.

        Raises:
            EngineUnreachable: the engine has not been reached yet, and nobody else knows.
        """
        return self._found or self._book()

    async def find_book(self) -> bytes:
        """Its id, asked of the engine where nobody knows it yet.

        Raises:
            EngineError: the engine does not answer.
        """
        if self._found is None:
            await self.ledger.status()
            self._found = self._book()
        return self._found

    async def sides(self, account_ids: Iterable[int]) -> dict[int, Account]:
        """Whose accounts are and of what kind, which never changes; those that there are."""
        wanted = dict.fromkeys(account_ids)
        known = {account_id: self._known[account_id] for account_id in wanted if account_id in self._known}
        unknown = [account_id for account_id in wanted if account_id not in known]
        for first in range(0, len(unknown), BATCH_MAX):
            rows = await self.ledger.lookup_accounts(unknown[first : first + BATCH_MAX])
            known.update({account_id: account_of(row) for account_id, row in rows.items()})
        self._known.update(known)
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        return known


class Desks:
    """The desks of all books that are served here."""

    def __init__(self, main: Desk) -> None:
        """Takes the desk of the installation's first book, which health and metrics ask."""
        self.main = main
        self._others: dict[bytes, Desk] = {}

    def of(self, book: bytes) -> Desk:
        """The desk of a book.

        Raises:
            EngineUnreachable: the book is not served here.
        """
        desk = self._others.get(book)
        if desk is not None:
            return desk
        if book == self.main.book:
            return self.main
        raise EngineUnreachable("Its book is not served here.")
