"""The ledger as plain Python, written to be read and checked by eye against the contract (spec/kernel.md).

No speed, no cleverness: integers without limits, dictionaries, values that never change. A chain is rolled
back by going on with the state from before it. The kernel is compared with this model operation by operation.
"""

# ruff: noqa: C901  # the refusals of a row stand in one list, in the order of the contract, because a reader checks them so

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from qenex.kernel.rows import (
    BATCH_MAX,
    CHANGE_EVENTS_MAX,
    CODE_INSTITUTION,
    TIMESTAMP_MAX,
    U128_MAX,
    AccountFilterFlags,
    AccountFlags,
    ChangeEventKind,
    QueryFilterFlags,
    Restrictions,
    TransferFlags,
)
from qenex.kernel.status import TRANSIENT, CreateAccountStatus, CreateTransferStatus, SetAccountTermsStatus
from tests.reference.records import (
    NANOSECONDS,
    Account,
    AccountFilter,
    ChangeEventsFilter,
    Event,
    Outcome,
    QueryFilter,
    Result,
    Terms,
    Transfer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


Row = TypeVar("Row", Account, Transfer)
Flags = type[AccountFlags] | type[TransferFlags]
Statuses = type[CreateAccountStatus] | type[CreateTransferStatus]


@dataclass
class State:
    """Everything that a ledger remembers. The values are immutable, so that a copy of the containers is a copy."""

    accounts: dict[int, Account] = field(default_factory=dict)
    transfers: dict[int, Transfer] = field(default_factory=dict)
    pending: dict[int, ChangeEventKind] = field(default_factory=dict)  # what happened last to each pending transfer
    burned: dict[int, Outcome] = field(default_factory=dict)
    terms: dict[int, Terms] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def copy(self) -> State:
        return State(
            dict(self.accounts),
            dict(self.transfers),
            dict(self.pending),
            dict(self.burned),
            dict(self.terms),
            list(self.events),
        )


class Ledger:
    def __init__(self, accounts: Iterable[Account] = ()) -> None:
        self.opening = {account.id: account for account in accounts}
        self.state = State(accounts=dict(self.opening))

    # -- requests that change something ------------------------------------------------------------------

    def create_accounts(self, accounts: Sequence[Account], timestamp: int) -> list[Result]:
        return self._batch(accounts, timestamp, self._create_account, AccountFlags, CreateAccountStatus)

    def create_transfers(self, transfers: Sequence[Transfer], timestamp: int) -> list[Result]:
        return self._batch(transfers, timestamp, self._create_transfer, TransferFlags, CreateTransferStatus)

    def set_account_terms(self, rows: Sequence[Terms], timestamp: int) -> list[Result]:
        first = timestamp - len(rows) + 1
        return [Result(first + i, self._set_terms(terms)) for i, terms in enumerate(rows)]

    def expire(self, timestamp: int) -> int:
        """Release every pending transfer whose time has come; returns how many."""
        due = sorted(
            (transfer.expires, transfer.timestamp, transfer.id)
            for transfer in self.state.transfers.values()
            if self.state.pending.get(transfer.id) == ChangeEventKind.TWO_PHASE_PENDING
            and transfer.expires is not None
            and transfer.expires <= timestamp
        )
        for i, (_, _, transfer_id) in enumerate(due):
            pending = self.state.transfers[transfer_id]
            self._resolve(pending, pending, ChangeEventKind.TWO_PHASE_EXPIRED, timestamp - len(due) + i + 1)
        return len(due)

    # -- batches and chains ------------------------------------------------------------------------------

    def _batch(
        self, rows: Sequence[Row], timestamp: int, create: Callable[[Row, int], Result], flags: Flags, status: Statuses
    ) -> list[Result]:
        """Rows in order, each in its slot; a chain of linked rows happens whole or not at all."""
        first_slot = timestamp - len(rows) + 1
        imported_request = bool(rows and rows[0].flags & flags.IMPORTED)
        results: list[Result] = []
        chain_start: int | None = None  # index of the chain's first row
        chain_broken = False
        before_chain = self.state
        for i, row in enumerate(rows):
            slot = first_slot + i
            last = i == len(rows) - 1
            linked = bool(row.flags & flags.LINKED)
            imported = bool(row.flags & flags.IMPORTED)

            if linked and chain_start is None:
                chain_start, chain_broken, before_chain = i, False, self.state.copy()

            if linked and last:
                result = Result(slot, status.LINKED_EVENT_CHAIN_OPEN)
            elif chain_broken:
                result = Result(slot, status.LINKED_EVENT_FAILED)
            elif imported_request and not imported:
                result = Result(slot, status.IMPORTED_EVENT_EXPECTED)
            elif imported and not imported_request:
                result = Result(slot, status.IMPORTED_EVENT_NOT_EXPECTED)
            elif not imported and row.timestamp != 0:
                result = Result(slot, status.TIMESTAMP_MUST_BE_ZERO)
            elif imported and not 1 <= row.timestamp <= TIMESTAMP_MAX:
                result = Result(slot, status.IMPORTED_EVENT_TIMESTAMP_OUT_OF_RANGE)
            elif imported and row.timestamp >= first_slot:
                result = Result(slot, status.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_ADVANCE)
            else:
                result = create(row, slot)
            results.append(result)

            if result.status != status.CREATED and chain_start is not None and not chain_broken:
                chain_broken = True
                self.state = before_chain
                for j in range(chain_start, i):
                    results[j] = Result(results[j].timestamp, status.LINKED_EVENT_FAILED)
            if isinstance(result.status, CreateTransferStatus) and result.status in TRANSIENT:
                self.state.burned[row.id] = Outcome(row.id, slot, result.status)
            if not linked or last:
                chain_start, chain_broken = None, False
        return results

    # -- accounts ----------------------------------------------------------------------------------------

    def _create_account(self, a: Account, slot: int) -> Result:
        status = CreateAccountStatus
        refused = self._refuse_account(a)
        if refused == status.EXISTS:
            return Result(self.state.accounts[a.id].timestamp, status.EXISTS)
        if refused:
            return Result(slot, refused)
        timestamp = a.timestamp if a.flags & AccountFlags.IMPORTED else slot
        self.state.accounts[a.id] = replace(a, timestamp=timestamp)
        return Result(timestamp, status.CREATED)

    def _refuse_account(self, a: Account) -> CreateAccountStatus | None:
        status, flags = CreateAccountStatus, AccountFlags
        if a.reserved:
            return status.RESERVED_FIELD
        if a.flags >= 1 << len(flags):
            return status.RESERVED_FLAG
        if a.id == 0:
            return status.ID_MUST_NOT_BE_ZERO
        if a.id == U128_MAX:
            return status.ID_MUST_NOT_BE_INT_MAX
        if a.id in self.state.accounts:
            e = self.state.accounts[a.id]
            for name in ("flags", "user_data_128", "user_data_64", "user_data_32", "ledger", "code"):
                if getattr(a, name) != getattr(e, name):
                    return status[f"EXISTS_WITH_DIFFERENT_{name.upper()}"]
            return status.EXISTS
        if a.flags & flags.DEBITS_MUST_NOT_EXCEED_CREDITS and a.flags & flags.CREDITS_MUST_NOT_EXCEED_DEBITS:
            return status.FLAGS_ARE_MUTUALLY_EXCLUSIVE
        for name in ("debits_pending", "debits_posted", "credits_pending", "credits_posted"):
            if getattr(a, name):
                return status[f"{name.upper()}_MUST_BE_ZERO"]
        if a.ledger == 0:
            return status.LEDGER_MUST_NOT_BE_ZERO
        if a.code == 0:
            return status.CODE_MUST_NOT_BE_ZERO
        if a.flags & flags.IMPORTED:
            newest = max((account.timestamp for account in self.state.accounts.values()), default=0)
            taken = {event.timestamp for event in self.state.events}
            if a.timestamp <= newest or a.timestamp in taken:
                return status.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS
        return None

    # -- transfers ---------------------------------------------------------------------------------------

    def _create_transfer(self, t: Transfer, slot: int) -> Result:
        status, flags = CreateTransferStatus, TransferFlags
        timestamp = t.timestamp if t.flags & flags.IMPORTED else slot
        if t.flags >= 1 << len(flags):
            return Result(slot, status.RESERVED_FLAG)
        if t.id == 0:
            return Result(slot, status.ID_MUST_NOT_BE_ZERO)
        if t.id == U128_MAX:
            return Result(slot, status.ID_MUST_NOT_BE_INT_MAX)
        if t.id in self.state.transfers:
            e = self.state.transfers[t.id]
            compared = self._compare(t, e)
            return Result(e.timestamp if compared == status.EXISTS else slot, compared)
        if t.id in self.state.burned:
            return Result(slot, status.ID_ALREADY_FAILED)

        if t.flags & (flags.POST_PENDING_TRANSFER | flags.VOID_PENDING_TRANSFER):
            refused = self._refuse_second_phase(t, slot)
            if refused:
                return Result(slot, refused)
            pending = self.state.transfers[t.pending_id]
            kind = ChangeEventKind.TWO_PHASE_POSTED
            if t.flags & flags.VOID_PENDING_TRANSFER:
                kind = ChangeEventKind.TWO_PHASE_VOIDED
            recorded = replace(self._filled_in(t, pending), timestamp=timestamp)
            self.state.transfers[t.id] = recorded
            self._resolve(pending, recorded, kind, timestamp)
            return Result(timestamp, status.CREATED)

        refused = self._refuse_first_phase(t, timestamp)
        if refused:
            return Result(slot, refused)
        amount = self._clamped(t)
        refused = self._refuse_amount(t, amount, timestamp)
        if refused:
            return Result(slot, refused)
        self._post(replace(t, amount=amount, timestamp=timestamp))
        return Result(timestamp, status.CREATED)

    def _compare(self, t: Transfer, e: Transfer) -> CreateTransferStatus:
        """A transfer whose id exists: is it the same?"""
        status, flags = CreateTransferStatus, TransferFlags
        for name in ("flags", "pending_id", "timeout"):
            if getattr(t, name) != getattr(e, name):
                return status[f"EXISTS_WITH_DIFFERENT_{name.upper()}"]
        if t.flags & (flags.POST_PENDING_TRANSFER | flags.VOID_PENDING_TRANSFER):
            t = self._filled_in(t, self.state.transfers[t.pending_id])
        if t.flags & (flags.BALANCING_DEBIT | flags.BALANCING_CREDIT) and t.amount >= e.amount:
            t = replace(t, amount=e.amount)
        names = ("debit_account_id", "credit_account_id", "amount")
        for name in (*names, "user_data_128", "user_data_64", "user_data_32", "ledger", "code"):
            if getattr(t, name) != getattr(e, name):
                return status[f"EXISTS_WITH_DIFFERENT_{name.upper()}"]
        return status.EXISTS

    # -- first phase, or the only one --------------------------------------------------------------------

    def _refuse_first_phase(self, t: Transfer, timestamp: int) -> CreateTransferStatus | None:
        status, flags = CreateTransferStatus, TransferFlags
        for name in ("debit_account_id", "credit_account_id"):
            if getattr(t, name) == 0:
                return status[f"{name.upper()}_MUST_NOT_BE_ZERO"]
            if getattr(t, name) == U128_MAX:
                return status[f"{name.upper()}_MUST_NOT_BE_INT_MAX"]
        if t.debit_account_id == t.credit_account_id:
            return status.ACCOUNTS_MUST_BE_DIFFERENT
        if t.pending_id != 0:
            return status.PENDING_ID_MUST_BE_ZERO
        if not t.flags & flags.PENDING and t.timeout != 0:
            return status.TIMEOUT_RESERVED_FOR_PENDING_TRANSFER
        if not t.flags & flags.PENDING and t.flags & (flags.CLOSING_DEBIT | flags.CLOSING_CREDIT):
            return status.CLOSING_TRANSFER_MUST_BE_PENDING
        if t.ledger == 0:
            return status.LEDGER_MUST_NOT_BE_ZERO
        if t.code == 0:
            return status.CODE_MUST_NOT_BE_ZERO
        if t.debit_account_id not in self.state.accounts:
            return status.DEBIT_ACCOUNT_NOT_FOUND
        if t.credit_account_id not in self.state.accounts:
            return status.CREDIT_ACCOUNT_NOT_FOUND
        debit, credit = self._accounts(t)
        if debit.ledger != credit.ledger:
            return status.ACCOUNTS_MUST_HAVE_THE_SAME_LEDGER
        if t.ledger != debit.ledger:
            return status.TRANSFER_MUST_HAVE_THE_SAME_LEDGER_AS_ACCOUNTS
        if t.flags & flags.IMPORTED:
            if self._regresses(timestamp):
                return status.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS
            if timestamp <= debit.timestamp:
                return status.IMPORTED_EVENT_TIMESTAMP_MUST_POSTDATE_DEBIT_ACCOUNT
            if timestamp <= credit.timestamp:
                return status.IMPORTED_EVENT_TIMESTAMP_MUST_POSTDATE_CREDIT_ACCOUNT
            if t.timeout != 0:
                return status.IMPORTED_EVENT_TIMEOUT_MUST_BE_ZERO
        if debit.closed:
            return status.DEBIT_ACCOUNT_ALREADY_CLOSED
        if credit.closed:
            return status.CREDIT_ACCOUNT_ALREADY_CLOSED
        if t.code < CODE_INSTITUTION:
            if self._terms(debit).restrictions & Restrictions.NO_DEBIT:
                return status.DEBIT_ACCOUNT_RESTRICTED
            if self._terms(credit).restrictions & Restrictions.NO_CREDIT:
                return status.CREDIT_ACCOUNT_RESTRICTED
        return None

    def _clamped(self, t: Transfer) -> int:
        """The amount after balancing: no more than the accounts can give, which may be nothing."""
        debit, credit = self._accounts(t)
        amount = t.amount
        if t.flags & TransferFlags.BALANCING_DEBIT:
            amount = min(amount, max(0, debit.credits_posted - debit.debits_posted - debit.debits_pending))
        if t.flags & TransferFlags.BALANCING_CREDIT:
            amount = min(amount, max(0, credit.debits_posted - credit.credits_posted - credit.credits_pending))
        return amount

    def _refuse_amount(self, t: Transfer, amount: int, timestamp: int) -> CreateTransferStatus | None:
        status = CreateTransferStatus
        debit, credit = self._accounts(t)
        if t.flags & TransferFlags.PENDING:
            if debit.debits_pending + amount > U128_MAX:
                return status.OVERFLOWS_DEBITS_PENDING
            if credit.credits_pending + amount > U128_MAX:
                return status.OVERFLOWS_CREDITS_PENDING
        if debit.debits_posted + amount > U128_MAX:
            return status.OVERFLOWS_DEBITS_POSTED
        if credit.credits_posted + amount > U128_MAX:
            return status.OVERFLOWS_CREDITS_POSTED
        debits = debit.debits_pending + debit.debits_posted + amount
        credits_ = credit.credits_pending + credit.credits_posted + amount
        if debits > U128_MAX:
            return status.OVERFLOWS_DEBITS
        if credits_ > U128_MAX:
            return status.OVERFLOWS_CREDITS
        if timestamp + t.timeout * NANOSECONDS > TIMESTAMP_MAX:
            return status.OVERFLOWS_TIMEOUT
        limit = self._terms(debit).debit_limit
        if debit.flags & AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS and debits > debit.credits_posted + limit:
            return status.EXCEEDS_CREDITS
        if credit.flags & AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS and credits_ > credit.debits_posted:
            return status.EXCEEDS_DEBITS
        return None

    def _post(self, t: Transfer) -> None:
        """Record a first phase, or a transfer of one phase: it can no longer be refused."""
        debit, credit = self._accounts(t)
        self.state.transfers[t.id] = t
        if not t.flags & TransferFlags.PENDING:
            debit = replace(debit, debits_posted=debit.debits_posted + t.amount)
            credit = replace(credit, credits_posted=credit.credits_posted + t.amount)
            self._happened(t.timestamp, ChangeEventKind.SINGLE_PHASE, t, debit, credit)
            return
        debit = replace(debit, debits_pending=debit.debits_pending + t.amount)
        credit = replace(credit, credits_pending=credit.credits_pending + t.amount)
        if t.flags & TransferFlags.CLOSING_DEBIT:
            debit = replace(debit, flags=debit.flags | AccountFlags.CLOSED)
        if t.flags & TransferFlags.CLOSING_CREDIT:
            credit = replace(credit, flags=credit.flags | AccountFlags.CLOSED)
        self.state.pending[t.id] = ChangeEventKind.TWO_PHASE_PENDING
        self._happened(t.timestamp, ChangeEventKind.TWO_PHASE_PENDING, t, debit, credit)

    # -- second phase ------------------------------------------------------------------------------------

    def _refuse_second_phase(self, t: Transfer, slot: int) -> CreateTransferStatus | None:
        status, flags = CreateTransferStatus, TransferFlags
        void = bool(t.flags & flags.VOID_PENDING_TRANSFER)
        first_phase_only = flags.PENDING | flags.BALANCING_DEBIT | flags.BALANCING_CREDIT
        first_phase_only |= flags.CLOSING_DEBIT | flags.CLOSING_CREDIT
        if (void and t.flags & flags.POST_PENDING_TRANSFER) or t.flags & first_phase_only:
            return status.FLAGS_ARE_MUTUALLY_EXCLUSIVE
        if t.pending_id == 0:
            return status.PENDING_ID_MUST_NOT_BE_ZERO
        if t.pending_id == U128_MAX:
            return status.PENDING_ID_MUST_NOT_BE_INT_MAX
        if t.pending_id == t.id:
            return status.PENDING_ID_MUST_BE_DIFFERENT
        if t.timeout != 0:
            return status.TIMEOUT_RESERVED_FOR_PENDING_TRANSFER
        if t.pending_id not in self.state.transfers:
            return status.PENDING_TRANSFER_NOT_FOUND
        pending = self.state.transfers[t.pending_id]
        if not pending.flags & flags.PENDING:
            return status.PENDING_TRANSFER_NOT_PENDING
        filled = self._filled_in(t, pending)
        for name in ("debit_account_id", "credit_account_id", "ledger", "code"):
            if getattr(filled, name) != getattr(pending, name):
                return status[f"PENDING_TRANSFER_HAS_DIFFERENT_{name.upper()}"]
        if filled.amount > pending.amount:
            return status.EXCEEDS_PENDING_TRANSFER_AMOUNT
        if void and filled.amount < pending.amount:
            return status.PENDING_TRANSFER_HAS_DIFFERENT_AMOUNT
        standing = self.state.pending[pending.id]
        if standing == ChangeEventKind.TWO_PHASE_POSTED:
            return status.PENDING_TRANSFER_ALREADY_POSTED
        if standing == ChangeEventKind.TWO_PHASE_VOIDED:
            return status.PENDING_TRANSFER_ALREADY_VOIDED
        expired = standing == ChangeEventKind.TWO_PHASE_EXPIRED
        if expired or (pending.expires is not None and pending.expires <= slot):
            return status.PENDING_TRANSFER_EXPIRED
        if t.flags & flags.IMPORTED and self._regresses(t.timestamp):
            return status.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS
        debit, credit = self._accounts(pending)
        if debit.closed and not void:
            return status.DEBIT_ACCOUNT_ALREADY_CLOSED
        if credit.closed and not void:
            return status.CREDIT_ACCOUNT_ALREADY_CLOSED
        return None

    def _filled_in(self, t: Transfer, pending: Transfer) -> Transfer:
        """A post or void with what it leaves open taken from its pending transfer."""
        full = 0 if t.flags & TransferFlags.VOID_PENDING_TRANSFER else U128_MAX
        return replace(
            t,
            debit_account_id=t.debit_account_id or pending.debit_account_id,
            credit_account_id=t.credit_account_id or pending.credit_account_id,
            amount=pending.amount if t.amount == full else t.amount,
            user_data_128=t.user_data_128 or pending.user_data_128,
            user_data_64=t.user_data_64 or pending.user_data_64,
            user_data_32=t.user_data_32 or pending.user_data_32,
            ledger=t.ledger or pending.ledger,
            code=t.code or pending.code,
        )

    def _resolve(self, pending: Transfer, shown: Transfer, kind: ChangeEventKind, timestamp: int) -> None:
        """Release what `pending` reserved; a post then moves the money, a void or expiry opens what it closed."""
        debit, credit = self._accounts(pending)
        debit = replace(debit, debits_pending=debit.debits_pending - pending.amount)
        credit = replace(credit, credits_pending=credit.credits_pending - pending.amount)
        if kind == ChangeEventKind.TWO_PHASE_POSTED:
            debit = replace(debit, debits_posted=debit.debits_posted + shown.amount)
            credit = replace(credit, credits_posted=credit.credits_posted + shown.amount)
        else:
            if pending.flags & TransferFlags.CLOSING_DEBIT:
                debit = replace(debit, flags=debit.flags & ~AccountFlags.CLOSED.value)
            if pending.flags & TransferFlags.CLOSING_CREDIT:
                credit = replace(credit, flags=credit.flags & ~AccountFlags.CLOSED.value)
        self.state.pending[pending.id] = kind
        self._happened(timestamp, kind, shown, debit, credit)

    # -- small things ------------------------------------------------------------------------------------

    def _accounts(self, t: Transfer) -> tuple[Account, Account]:
        return self.state.accounts[t.debit_account_id], self.state.accounts[t.credit_account_id]

    def _terms(self, account: Account) -> Terms:
        return self.state.terms.get(account.id, Terms())

    def _regresses(self, timestamp: int) -> bool:
        """An imported transfer is later than every transfer, and takes no account's or expiry's timestamp."""
        newest = max((transfer.timestamp for transfer in self.state.transfers.values()), default=0)
        taken = {account.timestamp for account in self.state.accounts.values()}
        taken |= {event.timestamp for event in self.state.events}
        return timestamp <= newest or timestamp in taken

    def _happened(self, timestamp: int, kind: ChangeEventKind, t: Transfer, debit: Account, credit: Account) -> None:
        self.state.accounts[debit.id] = debit
        self.state.accounts[credit.id] = credit
        self.state.events.append(Event(timestamp, kind, t, debit, credit))

    def _set_terms(self, terms: Terms) -> SetAccountTermsStatus:
        if terms.reserved:
            return SetAccountTermsStatus.RESERVED_FIELD
        if terms.restrictions >= 1 << len(Restrictions):
            return SetAccountTermsStatus.RESERVED_RESTRICTION
        if terms.account_id not in self.state.accounts:
            return SetAccountTermsStatus.ACCOUNT_NOT_FOUND
        self.state.terms[terms.account_id] = terms
        if terms == Terms(account_id=terms.account_id):
            del self.state.terms[terms.account_id]
        return SetAccountTermsStatus.APPLIED

    # -- questions ---------------------------------------------------------------------------------------

    def lookup_accounts(self, ids: Iterable[int]) -> list[Account]:
        return [self.state.accounts[i] for i in ids if i in self.state.accounts]

    def lookup_transfers(self, ids: Iterable[int]) -> list[Transfer]:
        return [self.state.transfers[i] for i in ids if i in self.state.transfers]

    def lookup_account_terms(self, ids: Iterable[int]) -> list[Terms]:
        return [self.state.terms[i] for i in ids if i in self.state.terms]

    def lookup_outcomes(self, ids: Iterable[int]) -> list[Outcome]:
        found = []
        for i in ids:
            if i in self.state.transfers:
                found.append(Outcome(i, self.state.transfers[i].timestamp, CreateTransferStatus.CREATED))
            elif i in self.state.burned:
                found.append(self.state.burned[i])
        return found

    def get_account_transfers(self, f: AccountFilter) -> list[Transfer]:
        return [event.transfer for event in self._events_of_account(f)]

    def get_account_balances(self, f: AccountFilter) -> list[tuple[int, Account]]:
        """Timestamps, and the account as it stood right after."""
        account = self.state.accounts.get(f.account_id)
        if account is None or not account.flags & AccountFlags.HISTORY:
            return []
        return [(event.timestamp, self._side(event, account.id)) for event in self._events_of_account(f)]

    def query_accounts(self, f: QueryFilter) -> list[Account]:
        return self._query(f, self.state.accounts.values())

    def query_transfers(self, f: QueryFilter) -> list[Transfer]:
        return self._query(f, self.state.transfers.values())

    def get_change_events(self, f: ChangeEventsFilter) -> list[Event]:
        if not self._times_and_limit_are_valid(f) or f.reserved:
            return []
        events = [event for event in self.state.events if self._in_time(event.timestamp, f)]
        return sorted(events, key=lambda event: event.timestamp)[: min(f.limit, CHANGE_EVENTS_MAX)]

    def balance_at(self, account_id: int, timestamp: int) -> tuple[int, Account]:
        """When the account's last event at or before `timestamp` was, and the account right after it.

        With no event yet: time 0, and the balances that the ledger started with.
        """
        if timestamp > TIMESTAMP_MAX:
            return 0, Account()
        events = [
            event
            for event in self.state.events
            if event.timestamp <= timestamp and account_id in (event.debit_account.id, event.credit_account.id)
        ]
        if not events:
            opening = self.opening.get(account_id, Account())
            return 0, opening if opening.timestamp <= timestamp else Account()
        newest = max(events, key=lambda event: event.timestamp)
        return newest.timestamp, self._side(newest, account_id)

    def _events_of_account(self, f: AccountFilter) -> list[Event]:
        flags = AccountFilterFlags
        if not self._times_and_limit_are_valid(f) or f.reserved or f.flags >= 1 << len(flags):
            return []
        if f.account_id in (0, U128_MAX) or not f.flags & (flags.DEBITS | flags.CREDITS):
            return []
        events = [
            event
            for event in self.state.events
            if event.kind != ChangeEventKind.TWO_PHASE_EXPIRED
            and (
                (f.flags & flags.DEBITS and event.transfer.debit_account_id == f.account_id)
                or (f.flags & flags.CREDITS and event.transfer.credit_account_id == f.account_id)
            )
            and self._in_time(event.timestamp, f)
            and self._matches(event.transfer, f, ("user_data_128", "user_data_64", "user_data_32", "code"))
        ]
        events.sort(key=lambda event: event.timestamp, reverse=bool(f.flags & flags.REVERSED))
        return events[: min(f.limit, BATCH_MAX)]

    def _query(self, f: QueryFilter, rows: Iterable[Row]) -> list[Row]:
        if not self._times_and_limit_are_valid(f) or f.reserved or f.flags >= 1 << len(QueryFilterFlags):
            return []
        names = ("user_data_128", "user_data_64", "user_data_32", "ledger", "code")
        found = [row for row in rows if self._in_time(row.timestamp, f) and self._matches(row, f, names)]
        found.sort(key=lambda row: row.timestamp, reverse=bool(f.flags & QueryFilterFlags.REVERSED))
        return found[: min(f.limit, BATCH_MAX)]

    @staticmethod
    def _side(event: Event, account_id: int) -> Account:
        return event.debit_account if event.debit_account.id == account_id else event.credit_account

    @staticmethod
    def _matches(row: Account | Transfer, f: AccountFilter | QueryFilter, names: Iterable[str]) -> bool:
        return all(getattr(f, name) in (0, getattr(row, name)) for name in names)

    @staticmethod
    def _in_time(timestamp: int, f: AccountFilter | QueryFilter | ChangeEventsFilter) -> bool:
        return f.timestamp_min <= timestamp and (f.timestamp_max == 0 or timestamp <= f.timestamp_max)

    @staticmethod
    def _times_and_limit_are_valid(f: AccountFilter | QueryFilter | ChangeEventsFilter) -> bool:
        if f.limit == 0 or f.timestamp_min > TIMESTAMP_MAX or f.timestamp_max > TIMESTAMP_MAX:
            return False
        return f.timestamp_max == 0 or f.timestamp_min <= f.timestamp_max
