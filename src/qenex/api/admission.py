"""What somebody may: the one place that every door asks before anything is read or written.

Book and scope are checked here, whatever the policies say; then the policies decide (`qenex.services.access`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qenex.errors import Forbidden
from qenex.services.access import Account, Phase, Target, Transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qenex.api.desks import Desk
    from qenex.principals import Action, Principal
    from qenex.services.access import Access, Decision, Key, Party

    What = Account | Party | Transfer | Key | None


class Move(NamedTuple):
    """What of a transfer the policies may ask for."""

    debit_account_id: int
    credit_account_id: int
    ledger: int
    amount_minor: int
    phase: Phase


class Admission:
    """Decides."""

    def __init__(self, access: Access, is_live: Callable[[bytes], bool]) -> None:
        """Wires it.

        Args:
            access: the policies.
            is_live: whether the money of a book is real.
        """
        self._access, self._is_live = access, is_live

    def check(self, principal: Principal, book: bytes, action: Action) -> None:
        """Book and scope, where what it is done to is not known yet.

        Raises:
            Forbidden: saying what is missing.
        """
        if principal.book != book:
            raise Forbidden("The credential belongs to another book.")
        if principal.scopes is not None and action not in principal.scopes:
            raise Forbidden(f"The credential does not have the scope {action}.")

    def admit(self, principal: Principal, book: bytes, action: Action, what: What = None) -> bytes:
        """Admits a principal to an action.

        Args:
            principal: who asks.
            book: the book that it would be done in.
            action: what would be done.
            what: to what; `None` is the book as a whole.

        Returns:
            The digest of the decision, for the journal.

        Raises:
            Forbidden: saying what is missing.
        """
        self.check(principal, book, action)
        return _digest(self._access.decide(principal, action, self._target(book, what)))

    def allows(self, principal: Principal, book: bytes, action: Action, what: What = None) -> bool:
        """Whether `admit` would."""
        try:
            self.admit(principal, book, action, what)
        except Forbidden:
            return False
        return True

    def looks_at_accounts(self, principal: Principal, book: bytes, action: Action, what: What) -> bool:
        """Whether such a decision needs to know whose accounts are, and of what kind."""
        return self._access.looks_at_accounts(principal, action, self._target(book, what))

    def names_accounts(self, principal: Principal, book: bytes, action: Action, what: What) -> bool:
        """Whether such a decision can be another for another account."""
        return self._access.names_accounts(principal, action, self._target(book, what))

    async def admit_moves(self, principal: Principal, desk: Desk, action: Action, moves: Iterable[Move]) -> bytes:
        """Admits a principal to transfers, all of them or none.

        Those that the policies cannot tell apart are asked about once: same asset, same band, same phase, and where
        they look at accounts the same ones.

        Returns:
            The digest of the decision, for the journal.

        Raises:
            Forbidden: saying what is missing of the first that is not allowed.
        """
        book = desk.book
        self.check(principal, book, action)
        bands = self._access.policies(book).bands.transfer
        sample = Transfer(Account(0), Account(0), 0, 0)
        names_accounts = self.names_accounts(principal, book, action, sample)
        distinct: dict[tuple[int, ...], Move] = {}
        for move in moves:
            kind = move.ledger, bands.of(move.ledger, move.amount_minor), _PHASES[move.phase]
            key = (*kind, move.debit_account_id, move.credit_account_id) if names_accounts else kind
            distinct.setdefault(key, move)
        known: dict[int, Account] = {}
        if self.looks_at_accounts(principal, book, action, sample):
            known = await desk.sides(side for move in distinct.values() for side in move[:2])
        targets = (
            self._target(
                book,
                Transfer(
                    _account(move.debit_account_id, known),
                    _account(move.credit_account_id, known),
                    move.ledger,
                    move.amount_minor,
                    move.phase,
                ),
            )
            for move in distinct.values()
        )
        return _digest(self._access.decide_all(principal, action, targets))

    def _target(self, book: bytes, what: What) -> Target:
        return Target(book, what, self._is_live(book))


_PHASES = {phase: number for number, phase in enumerate(Phase)}


def account_of(row: bytes) -> Account:
    """An account as the policies know it, from its row."""
    return Account(
        int.from_bytes(row[:16], "little"),
        int.from_bytes(row[80:96], "little"),
        int.from_bytes(row[116:118], "little"),
        int.from_bytes(row[112:116], "little"),
    )


def _account(account_id: int, known: dict[int, Account]) -> Account:
    # An account that there is not is nobody's and of no kind: it is refused like one that is somebody else's.
    return known.get(account_id) or Account(account_id, 0, 0)


def _digest(decision: Decision) -> bytes:
    if not decision.allowed:
        raise Forbidden(f"{decision.reason[:1].upper()}{decision.reason[1:]}.")
    return decision.digest
