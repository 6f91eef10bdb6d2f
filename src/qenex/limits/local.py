"""Limits within this process: some microseconds a request, no I/O."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from qenex.limits.rules import Verdict
from qenex.limits.table import Table

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from qenex.limits.rules import Policy
    from qenex.principals import Principal

    Asked = Sequence[tuple[Table, Hashable]]

ENTRIES_MAX: Final = 65_536
"""Callers that each limit remembers at a time, unless a setting says otherwise."""


class LocalLimits:
    """The limits of one process; implements `qenex.limits.Limits`."""

    def __init__(self, policy: Policy, entries_max: int = ENTRIES_MAX) -> None:
        """Starts with nobody having used anything."""
        self.policy = policy
        self.credentials = Table(policy.credential, entries_max)
        self.principals = Table(policy.principal, entries_max)
        self.books = Table(policy.book, entries_max)
        self.addresses = Table(policy.address, entries_max)
        self.failures = Table(policy.failures, entries_max)
        self.refused: Counter[str] = Counter()
        """Requests that were refused, by the limit that did."""
        self.is_degraded: Final = False
        """Nobody else is needed to judge."""

    @property
    def tables(self) -> tuple[Table, ...]:
        """All of them, for metrics."""
        return self.credentials, self.principals, self.books, self.addresses, self.failures

    async def judge(self, principal: Principal | None, address: bytes, now_ns: int, cost: int = 1) -> Verdict:
        """As `Limits` says."""
        return self.decide(self.asked(principal, address), now_ns, cost)

    async def failed(self, address: bytes, now_ns: int) -> Verdict:
        """As `Limits` says."""
        return self.decide(self.asked_failed(address), now_ns, 1)

    def is_suspect(self, address: bytes, now_ns: int) -> bool:
        """As `Limits` says."""
        table = self.failures
        return table.times.get(address, 0) - now_ns > table.tolerance_ns - table.interval_ns

    def asked(self, principal: Principal | None, address: bytes) -> Asked:
        """The limits that a request is judged by, and whom they count it for."""
        if principal is None:
            return ((self.addresses, address),)
        book = principal.book
        return (
            (self.credentials, (book, principal.credential)),
            (self.principals, (book, principal.id)),
            (self.addresses, address),
            (self.books, book),
        )

    def asked_failed(self, address: bytes) -> Asked:
        """Those that a failed authentication is judged by."""
        return ((self.failures, address), (self.addresses, address))

    def decide(self, asked: Asked, now_ns: int, cost: int) -> Verdict:
        """Judges and, where all let it through, counts."""
        used: list[tuple[Table, Hashable, int]] = []
        is_refused = False
        for table, asked_key in asked:
            key, times = asked_key, table.times
            time_ns = times.get(key)
            if time_ns is None:
                if len(times) >= table.entries_max:
                    key = table.room(key, now_ns)
                time_ns = times.get(key, now_ns)
            if time_ns < now_ns:
                time_ns = now_ns
            price_ns = cost * table.interval_ns
            if price_ns > table.tolerance_ns:
                price_ns = table.tolerance_ns
            time_ns += price_ns
            if time_ns - now_ns > table.tolerance_ns:
                is_refused = True
            used.append((table, key, time_ns))
        if not is_refused:
            for table, key, time_ns in used:
                table.times[key] = time_ns
        verdict = conclude(
            [(table, time_ns - now_ns) for table, _, time_ns in used], self.books, cost, refused=is_refused
        )
        if is_refused:
            self.refused[verdict.limit] += 1
        return verdict

    def learn(self, asked: Asked, used_ns: Iterable[int], now_ns: int) -> None:
        """Takes over what another has counted: how long until what each has used will have come back."""
        for (table, asked_key), used in zip(asked, used_ns, strict=True):
            key = asked_key
            if key not in table.times and len(table.times) >= table.entries_max:
                key = table.room(key, now_ns)
            table.times[key] = now_ns + used


def conclude(used: Sequence[tuple[Table, int]], books: Table, cost: int, *, refused: bool) -> Verdict:
    """The verdict on a request.

    Args:
        used: each limit, and how long until what is used of it, this request included, will have come back.
        books: the limit of books, which is told only to whom it refuses: what is left of it is others' business.
        cost: units of the request.
        refused: whether one of them has not enough left.
    """
    if refused:
        table, used_ns = max(used, key=lambda one: one[1] - one[0].tolerance_ns)
        price_ns = min(cost * table.interval_ns, table.tolerance_ns)
        before_ns = used_ns - price_ns
        remaining = max(0, table.tolerance_ns - before_ns) // table.interval_ns
        return Verdict(table.limit.name, remaining, before_ns, max(1, used_ns - table.tolerance_ns))
    tightest, most, most_ns = used[0][0], -1.0, 0
    for table, used_ns in used:
        share = used_ns / table.tolerance_ns
        if share > most and table is not books:
            tightest, most, most_ns = table, share, used_ns
    remaining = (tightest.tolerance_ns - most_ns) // tightest.interval_ns
    return Verdict(tightest.limit.name, remaining, most_ns, 0)
