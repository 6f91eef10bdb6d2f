"""Reads for somebody: what one may not see does not exist for one.

Every door that reads (REST, GraphQL, the stream) reads through a view, so that there is one place where that is
decided. To a customer an account exists if it is its own party's, and a transfer if it touches such an account.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

from qenex.api.trial_balance import trial_balance
from qenex.client.protocol import Operation
from qenex.errors import AccountNotFound, InvalidParameter, TransferNotFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from qenex.api.desks import Desk
    from qenex.assets import Assets
    from qenex.principals import Principal

ACCOUNTS_MERGED_MAX: Final = 100
"""Accounts of a party whose transfers can be listed as one list."""
_TIMESTAMP: Final = slice(120, 128)


class View:
    """One principal's view of its book."""

    __slots__ = ("_desk", "_party")

    def __init__(self, desk: Desk, principal: Principal) -> None:
        """Takes the desk of the principal's book."""
        self._desk = desk
        # A customer without a party owns nothing; no account has the party of all bits set by accident.
        self._party = (principal.party or 0) if principal.kind == "customer" else None

    @property
    def party(self) -> int | None:
        """The party to whose accounts the view is limited; `None` does not limit it."""
        return self._party

    async def account(self, account_id: int) -> bytes:
        """An account's row.

        Raises:
            AccountNotFound: there is none, or not for this principal.
        """
        row = (await self.accounts([account_id])).get(account_id)
        if row is None:
            raise AccountNotFound(account_id, account_id=account_id)
        return row

    async def accounts(self, account_ids: Sequence[int]) -> dict[int, bytes]:
        """Rows of accounts, those that there are."""
        rows = await self._desk.ledger.lookup_accounts(account_ids)
        if self._party is None:
            return rows
        return {account_id: row for account_id, row in rows.items() if self._owns(self._desk.remember(row))}

    async def transfer(self, reference: int | bytes, shown: str) -> bytes:
        """A transfer's row, by id or hash; `shown` is how it was asked for.

        Raises:
            TransferNotFound: there is none, or not for this principal.
        """
        ledger = self._desk.ledger
        if isinstance(reference, bytes):
            row = await ledger.lookup_hash(reference)
        else:
            row = (await ledger.lookup_transfers([reference])).get(reference)
        if row is None or not (await self.visible([row]))[0]:
            raise TransferNotFound(shown)
        return row

    async def visible(self, transfers: Sequence[bytes]) -> list[bool]:
        """Whether each transfer exists for this principal, in order."""
        if self._party is None:
            return [True] * len(transfers)
        sides = [(_id(row, 16), _id(row, 32)) for row in transfers]
        owners = await self._desk.owners(account_id for pair in sides for account_id in pair)
        return [self._owns(owners[debit]) or self._owns(owners[credit]) for debit, credit in sides]

    async def query_accounts(self, values: Mapping[str, int], limit: int, newest: bool) -> list[bytes]:  # noqa: FBT001
        """Rows of accounts by their fields."""
        if self._party is not None:
            if not self._party or values.get("user_data_128", self._party) != self._party:
                return []
            values = {**values, "user_data_128": self._party}
        return _rows(await self._desk.ledger.query(Operation.QUERY_ACCOUNTS, values, limit=limit, newest=newest))

    async def query_transfers(self, values: Mapping[str, int], limit: int, newest: bool) -> list[bytes]:  # noqa: FBT001
        """Rows of transfers by their fields.

        Raises:
            InvalidParameter: a customer has so many accounts that they must be asked for one by one.
        """
        if self._party is None:
            return _rows(await self._desk.ledger.query(Operation.QUERY_TRANSFERS, values, limit=limit, newest=newest))
        accounts = await self.query_accounts({}, ACCOUNTS_MERGED_MAX + 1, newest=False)
        if len(accounts) > ACCOUNTS_MERGED_MAX:
            raise InvalidParameter(
                "account", f"more than {ACCOUNTS_MERGED_MAX} accounts are yours: list the transfers of each on its own"
            )
        ledger = values.get("ledger", 0)
        values = {name: value for name, value in values.items() if name != "ledger"}
        lists = []
        for account in accounts:
            if ledger in (0, int.from_bytes(account[112:116], "little")):
                own = {**values, "account_id": _id(account, 0)}
                lists.append(await self.of_account(Operation.GET_ACCOUNT_TRANSFERS, own, limit, newest))
        # A transfer between two of them stands in both lists, with one timestamp, which no other has.
        merged = heapq.merge(*lists, key=_timestamp, reverse=newest)
        return list({_timestamp(row): row for row in merged}.values())[:limit]

    async def of_account(
        self,
        operation: Operation,
        values: Mapping[str, int],
        limit: int,
        newest: bool,  # noqa: FBT001
    ) -> list[bytes]:
        """Rows of transfers or balances of one account that is known to be visible."""
        return _rows(await self._desk.ledger.of_account(operation, values, limit=limit, newest=newest))

    async def balance_at(self, account_ids: Sequence[int], timestamp_ns: int) -> NDArray[np.void]:
        """Balances as they were, of accounts that are known to be visible, in order."""
        return await self._desk.ledger.balance_at(account_ids, timestamp_ns)

    async def trial_balance(self, assets: Assets) -> dict[str, Any]:
        """Sums of all accounts per asset; not for customers, which admission sees to."""
        return await trial_balance(self._desk.ledger, assets)

    def _owns(self, party: int | None) -> bool:
        return self._party is None or bool(party and party == self._party)


def _rows(reply: Any) -> list[bytes]:  # noqa: ANN401  # a Reply; its rows are of any kind
    size = reply.rows.dtype.itemsize
    body = bytes(reply.body)
    return [body[start : start + size] for start in range(0, len(body), size)]


def _id(row: bytes, start: int) -> int:
    return int.from_bytes(row[start : start + 16], "little")


def _timestamp(row: bytes) -> int:
    return int.from_bytes(row[_TIMESTAMP], "little")
