"""A desk is what the routes need of one book: its ledger, what combines writes to it, what it remembers of keys."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from qenex.api.combiner import Combiner
from qenex.api.ledger import Ledger
from qenex.api.refusals import Keys
from qenex.client.protocol import Operation
from qenex.errors import EngineUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from qenex.api.ledger import Call
    from qenex.client.session import Reply

OWNERS_MAX: Final = 262_144
"""Accounts whose owning party a desk remembers; it never changes."""


class Desk:
    """One book's."""

    def __init__(self, call: Call, book: Callable[[], bytes], up: Callable[[], bool]) -> None:
        """Wires it.

        Args:
            call: the way to the book's engine.
            book: its id, 16 bytes; raises `EngineUnreachable` while it is not known.
            up: whether the engine answers.
        """

        async def send(rows: NDArray[np.void], *, linger_us: int, context: bytes) -> Reply:
            return await call(Operation.CREATE_TRANSFERS, rows, linger_us=linger_us, context=context)

        self._book = book
        self.up = up
        self.ledger = Ledger(call, book)
        self.combiner = Combiner(send)
        self.keys = Keys()
        self._owners: OrderedDict[int, int] = OrderedDict()

    @property
    def book(self) -> bytes:
        """Its id, 16 bytes.

        Raises:
            EngineUnreachable: the engine has not been reached yet, and nobody else knows.
        """
        return self._book()

    async def find_book(self) -> bytes:
        """Its id, asked of the engine where nobody knows it yet.

        Raises:
            EngineError: the engine does not answer.
        """
        if not self.up():
            await self.ledger.status()
        return self._book()

    def remember(self, account: bytes) -> int:
        """Keeps whose an account is, given its row; returns its party, 0 for none."""
        account_id = int.from_bytes(account[:16], "little")
        party = party_of(account)
        self._owners[account_id] = party
        if len(self._owners) > OWNERS_MAX:
            self._owners.popitem(last=False)
        return party

    async def owners(self, account_ids: Iterable[int]) -> dict[int, int | None]:
        """The party that owns each account: 0 for nobody's, `None` where there is no such account."""
        wanted = dict.fromkeys(account_ids)
        unknown: Sequence[int] = [account_id for account_id in wanted if account_id not in self._owners]
        if unknown:
            rows = await self.ledger.lookup_accounts(unknown)
            found = {account_id: self.remember(row) for account_id, row in rows.items()}
            return {account_id: found.get(account_id, self._owners.get(account_id)) for account_id in wanted}
        return {account_id: self._owners[account_id] for account_id in wanted}


def party_of(account: bytes) -> int:
    """The party that owns an account (`user_data_128` of its row); 0 is nobody's."""
    return int.from_bytes(account[80:96], "little")


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
