"""Reads for somebody: what one may not see does not exist for one.

Every door that reads (REST, GraphQL, the stream) reads through a view, so that there is one place where that is
decided. To a customer an account exists if it is its own party's, and a transfer if it touches such an account.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

from qenex.api.admission import account_of
from qenex.api.trial_balance import trial_balance
from qenex.client.protocol import Operation
from qenex.errors import AccountNotFound, InvalidParameter, TransferNotFound
from qenex.principals import Action
from qenex.services.access import Account, Party, Transfer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from qenex.api.admission import Admission
    from qenex.api.desks import Desk
    from qenex.assets import Assets
    from qenex.principals import Principal

ACCOUNTS_MERGED_MAX: Final = 100
"""Accounts of a party whose transfers can be listed as one list."""
_TIMESTAMP: Final = slice(120, 128)


class View:
    """One principal's view of its book."""

    __slots__ = ("_admission", "_desk", "_party", "_principal")

    def __init__(self, desk: Desk, principal: Principal, admission: Admission) -> None:
        """Takes the desk of the principal's book, and what decides."""
        self._desk, self._principal, self._admission = desk, principal, admission
        # A customer without a party owns nothing: party 0 is nobody's.
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
        """Rows of accounts, those that there are.

        Raises:
            Forbidden: the principal may read none at all.
        """
        self._check(Action.ACCOUNTS_READ)
        rows = await self._desk.ledger.lookup_accounts(account_ids)
        return {account_id: row for account_id, row in rows.items() if self._shows_account(row)}

    async def transfer(self, reference: int | bytes, shown: str) -> bytes:
        """A transfer's row, by id or hash; `shown` is how it was asked for.

        Raises:
            TransferNotFound: there is none, or not for this principal.
        """
        self._check(Action.TRANSFERS_READ)
        ledger = self._desk.ledger
        if isinstance(reference, bytes):
            row = await ledger.lookup_hash(reference)
        else:
            row = (await ledger.lookup_transfers([reference])).get(reference)
        if row is None or not (await self.visible([row]))[0]:
            raise TransferNotFound(shown)
        return row

    async def transfers(self, transfer_ids: Sequence[int]) -> dict[int, bytes]:
        """Rows of transfers, those that there are."""
        self._check(Action.TRANSFERS_READ)
        rows = await self._desk.ledger.lookup_transfers(transfer_ids)
        shown = await self.visible(list(rows.values()))
        return {transfer_id: row for (transfer_id, row), is_shown in zip(rows.items(), shown, strict=True) if is_shown}

    async def transfers_by_hash(self, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        """Rows of transfers by their hashes, those that there are."""
        self._check(Action.TRANSFERS_READ)
        rows = await self._desk.ledger.lookup_hashes(hashes)
        shown = await self.visible(list(rows.values()))
        return {digest: row for (digest, row), is_shown in zip(rows.items(), shown, strict=True) if is_shown}

    async def visible(self, transfers: Sequence[bytes]) -> list[bool]:
        """Whether each transfer exists for this principal, in order."""
        book, action = self._desk.book, Action.TRANSFERS_READ
        sample = Transfer(Account(0), Account(0), 0, 0)
        sides: dict[int, Account] = {}
        if self._admission.looks_at_accounts(self._principal, book, action, sample):
            sides = await self._desk.sides(side for row in transfers for side in (_id(row, 16), _id(row, 32)))
        return [
            self._admission.allows(
                self._principal,
                book,
                action,
                Transfer(
                    sides.get(_id(row, 16)) or Account(_id(row, 16)),
                    sides.get(_id(row, 32)) or Account(_id(row, 32)),
                    int.from_bytes(row[112:116], "little"),
                    _id(row, 48),
                ),
            )
            for row in transfers
        ]

    async def query_accounts(self, values: Mapping[str, int], limit: int, newest: bool) -> list[bytes]:  # noqa: FBT001
        """Rows of accounts by their fields.

        Raises:
            Forbidden: the principal may not list them.
        """
        self._admit(Action.ACCOUNTS_READ)
        if self._party is not None:
            if not self._party or values.get("user_data_128", self._party) != self._party:
                return []
            values = {**values, "user_data_128": self._party}

        async def ask(values: Mapping[str, int], limit: int, newest: bool) -> list[bytes]:  # noqa: FBT001
            return _rows(await self._desk.ledger.query(Operation.QUERY_ACCOUNTS, values, limit=limit, newest=newest))

        async def show(rows: list[bytes]) -> list[bool]:
            return [self._shows_account(row) for row in rows]

        if not self._admission.names_accounts(self._principal, self._desk.book, Action.ACCOUNTS_READ, Account(0)):
            return await ask(values, limit, newest)
        return await _shown(ask, show, values, limit, newest)

    async def query_transfers(self, values: Mapping[str, int], limit: int, newest: bool) -> list[bytes]:  # noqa: FBT001
        """Rows of transfers by their fields.

        Raises:
            Forbidden: the principal may not list them.
            InvalidParameter: a customer has so many accounts that they must be asked for one by one.
        """
        self._admit(Action.TRANSFERS_READ)
        if self._party is not None:
            return await self._of_party(values, limit, newest)

        async def ask(values: Mapping[str, int], limit: int, newest: bool) -> list[bytes]:  # noqa: FBT001
            return _rows(await self._desk.ledger.query(Operation.QUERY_TRANSFERS, values, limit=limit, newest=newest))

        sample = Transfer(Account(0), Account(0), 0, 0)
        if not self._admission.names_accounts(self._principal, self._desk.book, Action.TRANSFERS_READ, sample):
            return await ask(values, limit, newest)
        return await _shown(ask, self.visible, values, limit, newest)

    async def _of_party(self, values: Mapping[str, int], limit: int, newest: bool) -> list[bytes]:  # noqa: FBT001
        """Transfers of all accounts of a party, as one list."""
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
        """Sums of all accounts per asset.

        Raises:
            Forbidden: the principal may not see sums over accounts that are not its own.
        """
        self._admission.admit(self._principal, self._desk.book, Action.REPORTS_READ)
        return await trial_balance(self._desk.ledger, assets)

    def _check(self, action: Action) -> None:
        self._admission.check(self._principal, self._desk.book, action)

    def _admit(self, action: Action) -> None:
        """To a list of everything, or of everything of the principal's party."""
        what = None if self._party is None else Party(self._party)
        self._admission.admit(self._principal, self._desk.book, action, what)

    def _shows_account(self, row: bytes) -> bool:
        return self._admission.allows(self._principal, self._desk.book, Action.ACCOUNTS_READ, account_of(row))


async def _shown(
    ask: Callable[[Mapping[str, int], int, bool], Awaitable[list[bytes]]],
    show: Callable[[list[bytes]], Awaitable[list[bool]]],
    values: Mapping[str, int],
    limit: int,
    newest: bool,  # noqa: FBT001
) -> list[bytes]:
    """So many rows of those that are shown: it is asked on until there are, or there are no more."""
    found: list[bytes] = []
    while True:
        rows = await ask(values, limit, newest)
        found += [row for row, is_shown in zip(rows, await show(rows), strict=True) if is_shown]
        if len(found) >= limit or len(rows) < limit:
            return found[:limit]
        last_ns = _timestamp(rows[-1])
        values = {**values, "timestamp_max": last_ns - 1} if newest else {**values, "timestamp_min": last_ns + 1}
        # To the engine a last time of 0 is to the end, and a first one behind the last is nothing.
        if last_ns == 1 and newest:
            return found


def _rows(reply: Any) -> list[bytes]:  # noqa: ANN401  # a Reply; its rows are of any kind
    size = reply.rows.dtype.itemsize
    body = bytes(reply.body)
    return [body[start : start + size] for start in range(0, len(body), size)]


def _id(row: bytes, start: int) -> int:
    return int.from_bytes(row[start : start + 16], "little")


def _timestamp(row: bytes) -> int:
    return int.from_bytes(row[_TIMESTAMP], "little")
