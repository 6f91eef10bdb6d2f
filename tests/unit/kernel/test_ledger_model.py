"""The kernel does what the reference ledger does, whatever it is told and asked, in any order."""

# ruff: noqa: S311  # nothing here is secret

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from qenex.kernel import AccountFlags, TransferFlags
from tests.reference import drawn
from tests.reference.both import Both
from tests.reference.drawn import ACCOUNT_IDS, ODD_IDS
from tests.reference.records import NANOSECONDS, ChangeEventsFilter, Transfer

SEED = st.integers(0, 2**32 - 1)
LATER = [0, 0, 0, 1, NANOSECONDS, 2 * NANOSECONDS]
"""How much later than it must a request comes: pending transfers expire after 1 or 2 seconds."""


class KernelAgainstReference(RuleBasedStateMachine):
    """Each rule tells or asks both; `Both` compares."""

    @initialize(seed=SEED, accounts=st.integers(4, 7))
    def start(self, seed: int, accounts: int) -> None:
        random = Random(seed)
        self.both = Both([drawn.opening_account(random, i) for i in range(1, accounts + 1)])
        self.both.now += 20
        self.sent: list[Transfer] = []
        self.done = 0

    def random(self, seed: int) -> Random:
        """Another one in each rule, because Hypothesis likes to draw the same seed again."""
        self.done += 1
        return Random(f"{seed} {self.done}")

    def send(self, *transfers: Transfer, after: int = 0) -> None:
        self.both.create_transfers(*transfers, after=after)
        self.sent += transfers

    def ids(self) -> range:
        """Half of them were sent before, if much was sent."""
        newest = max((row.id for row in self.sent if row.id not in ODD_IDS), default=0)
        return range(max(1, newest - 20), newest + 21)

    def some_pending(self) -> list[int]:
        return list(self.both.reference.state.pending)[-6:]

    # -- told ----------------------------------------------------------------------------------------------

    @rule(seed=SEED)
    def create_accounts(self, seed: int) -> None:
        random = self.random(seed)
        self.both.create_accounts(*[drawn.account(random) for _ in range(random.randint(1, 4))])

    @rule(seed=SEED)
    def import_accounts(self, seed: int) -> None:
        random = self.random(seed)
        # The request comes 100 ns late, so that there is room for a past.
        time = self.both.now + random.randint(-10, 110)
        rows = [drawn.account(random) for _ in range(random.randint(1, 3))]
        flag = AccountFlags.IMPORTED
        imported = [replace(row, flags=row.flags | flag, timestamp=max(0, time + i)) for i, row in enumerate(rows)]
        self.both.create_accounts(*imported, after=100)

    @rule(seed=SEED)
    def create_transfers(self, seed: int) -> None:
        random = self.random(seed)
        self.send(
            *[drawn.first_phase(random, self.ids()) for _ in range(random.randint(1, 6))], after=random.choice(LATER)
        )

    @rule(seed=SEED)
    def post_and_void(self, seed: int) -> None:
        random = self.random(seed)
        pending = self.some_pending()
        self.send(
            *[drawn.second_phase(random, self.ids(), pending) for _ in range(random.randint(1, 4))],
            after=random.choice(LATER),
        )

    @rule(seed=SEED)
    def reserve_and_resolve_in_one_request(self, seed: int) -> None:
        random = self.random(seed)
        first = [drawn.first_phase(random, self.ids()) for _ in range(random.randint(1, 4))]
        second = [
            drawn.second_phase(random, self.ids(), [row.id for row in first]) for _ in range(random.randint(1, 4))
        ]
        self.send(*first, *second)

    @rule(seed=SEED)
    def import_transfers(self, seed: int) -> None:
        random = self.random(seed)
        time = self.both.now + random.randint(-10, 110)
        rows = [drawn.first_phase(random, self.ids()) for _ in range(random.randint(1, 2))]
        rows += [drawn.second_phase(random, self.ids(), self.some_pending()) for _ in range(random.randint(0, 2))]
        flag = TransferFlags.IMPORTED
        imported = [replace(row, flags=row.flags | flag, timestamp=max(0, time + i)) for i, row in enumerate(rows)]
        self.send(*imported, after=100)

    @rule(seed=SEED)
    def send_again(self, seed: int) -> None:
        random = self.random(seed)
        sent = self.sent or [Transfer()]
        self.both.create_transfers(*[drawn.retry(random, sent) for _ in range(random.randint(1, 6))])

    @rule(seed=SEED)
    def set_account_terms(self, seed: int) -> None:
        random = self.random(seed)
        self.both.set_account_terms(*[drawn.terms(random) for _ in range(random.randint(1, 3))])

    @rule(seed=SEED)
    def expire(self, seed: int) -> None:
        # Each expiry has a nanosecond of its own, and there are no more of them than transfers.
        self.both.expire(self.both.now + len(self.sent) + self.random(seed).choice(LATER))

    @precondition(lambda self: self.both.kernel.next_expiry_ns is not None)
    @rule()
    def expire_at_the_first_moment(self) -> None:
        self.both.expire(max(self.both.kernel.next_expiry_ns or 0, self.both.now + len(self.sent)))

    # -- asked ---------------------------------------------------------------------------------------------

    @rule(seed=SEED)
    def ask(self, seed: int) -> None:
        random = self.random(seed)
        for _ in range(3):
            self.both.by_account(drawn.account_filter(random))
            self.both.query(drawn.query_filter(random))
            self.both.change_events(drawn.change_events_filter(random))

    @rule(seed=SEED)
    def ask_for_balances(self, seed: int) -> None:
        random = self.random(seed)
        for account_id in (*ACCOUNT_IDS, *ODD_IDS):
            self.both.balance_at(account_id, max(0, self.both.now - random.randint(-1, 40) - random.choice(LATER)))

    @invariant()
    def everything_known_is_the_same(self) -> None:
        self.both.lookup([*ACCOUNT_IDS, *dict.fromkeys(row.id for row in self.sent), *ODD_IDS])
        self.both.change_events(ChangeEventsFilter(limit=2_730))

    @invariant()
    def debits_equal_credits(self) -> None:
        """What moved since the start moved between two accounts."""
        accounts = self.both.reference.state.accounts.values()
        opening = self.both.reference.opening.values()
        for debits, credits_ in (("debits_posted", "credits_posted"), ("debits_pending", "credits_pending")):
            moved = [sum(getattr(a, name) for a in accounts) for name in (debits, credits_)]
            before = [sum(getattr(a, name) for a in opening) for name in (debits, credits_)]
            assert moved[0] - before[0] == moved[1] - before[1]


TestKernelAgainstReference = KernelAgainstReference.TestCase
TestKernelAgainstReference.settings = settings(max_examples=50, stateful_step_count=60, deadline=None)


@pytest.mark.parametrize("seed", range(4))
def test_a_long_life(seed: int) -> None:
    """Hundreds of requests to one ledger, so that much has happened before each."""
    random = Random(seed)
    machine = KernelAgainstReference()
    machine.start(seed, accounts=6)
    tells = [machine.create_transfers] * 4 + [machine.post_and_void] * 3
    tells += [machine.reserve_and_resolve_in_one_request, machine.import_transfers, machine.send_again]
    tells += [machine.create_accounts, machine.import_accounts, machine.set_account_terms, machine.expire]
    for step in range(1, 601):
        random.choice(tells)(seed)
        if step % 10 == 0:
            random.choice([machine.ask, machine.ask_for_balances])(seed)
        if step % 200 == 0:
            machine.everything_known_is_the_same()
            machine.debits_equal_credits()
