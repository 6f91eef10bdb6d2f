"""A circuit breaker: whether a dependency is worth asking. No clock and no I/O; times are nanoseconds handed in.

Closed, everything goes through, until too many calls fail one after another, or too large a part of many. Open, nothing
does, for a pause. Then it is half open: one call at a time probes. One that succeeds closes it; one that fails opens it
again, for twice as long.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

SECOND_NS: Final = 1_000_000_000


class State(StrEnum):
    """What a breaker does with calls."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Rules:
    """When a breaker opens, and for how long."""

    failures_max: int = 5
    """So many failures one after another open it."""
    ratio_max: float = 0.5
    """So do failures that are a larger part of the calls than this,"""
    calls_min: int = 20
    """if there were so many calls"""
    window_ns: int = 10 * SECOND_NS
    """in this time."""
    pause_ns: int = SECOND_NS
    """How long it stays open at first; each probe that fails doubles it,"""
    pause_max_ns: int = 60 * SECOND_NS
    """up to this."""


class Ticket(NamedTuple):
    """The permission for one call; hand it back with what became of the call."""

    period: int
    """Calls of an earlier period say nothing of this one."""
    is_probe: bool


class Breaker:
    """The state of one dependency."""

    def __init__(self, rules: Rules | None = None) -> None:
        """It begins closed."""
        self.rules = rules or Rules()
        self._period = 0
        self._open_until_ns: int | None = None
        self._pause_ns = self.rules.pause_ns
        self._is_probing = False
        self._in_a_row = 0
        self._window_began_ns = 0
        self._calls = self._failed = 0
        self._calls_before = self._failed_before = 0

    def state(self, now_ns: int) -> State:
        """What it would do with a call now."""
        if self._open_until_ns is None:
            return State.CLOSED
        return State.OPEN if now_ns < self._open_until_ns else State.HALF_OPEN

    def retry_ns(self, now_ns: int) -> int:
        """How long until it lets a probe through; 0 when it does."""
        return 0 if self._open_until_ns is None else max(0, self._open_until_ns - now_ns)

    def admit(self, now_ns: int) -> Ticket | None:
        """The permission for a call, or None: then the dependency is not to be asked."""
        if self._open_until_ns is None:
            return Ticket(self._period, is_probe=False)
        if now_ns < self._open_until_ns or self._is_probing:
            return None
        self._is_probing = True
        return Ticket(self._period, is_probe=True)

    def succeeded(self, ticket: Ticket, now_ns: int) -> None:
        """The dependency answered."""
        if ticket.period != self._period:
            return
        if ticket.is_probe:
            self._period += 1
            self._open_until_ns, self._pause_ns, self._is_probing = None, self.rules.pause_ns, False
            self._window_began_ns = now_ns
            self._calls = self._failed = self._calls_before = self._failed_before = 0
        self._in_a_row = 0
        self._count(now_ns, failed=0)

    def failed(self, ticket: Ticket, now_ns: int) -> None:
        """It did not, or not in time."""
        if ticket.period != self._period:
            return
        if ticket.is_probe:
            self._pause_ns = min(2 * self._pause_ns, self.rules.pause_max_ns)
            self._open(now_ns)
            return
        self._in_a_row += 1
        self._count(now_ns, failed=1)
        calls, failed = self._calls + self._calls_before, self._failed + self._failed_before
        is_often = calls >= self.rules.calls_min and failed > self.rules.ratio_max * calls
        if self._in_a_row >= self.rules.failures_max or is_often:
            self._open(now_ns)

    def abandoned(self, ticket: Ticket) -> None:
        """The caller left before there was an answer: that says nothing, and another may probe."""
        if ticket.is_probe and ticket.period == self._period:
            self._is_probing = False

    def _open(self, now_ns: int) -> None:
        self._period += 1
        self._open_until_ns, self._is_probing, self._in_a_row = now_ns + self._pause_ns, False, 0

    def _count(self, now_ns: int, *, failed: int) -> None:
        """Counts a call in this half of the window; what is older than the half before it is forgotten."""
        half_ns = self.rules.window_ns // 2
        age_ns = now_ns - self._window_began_ns
        if age_ns >= half_ns:
            is_next = age_ns < 2 * half_ns
            self._calls_before = self._calls if is_next else 0
            self._failed_before = self._failed if is_next else 0
            self._window_began_ns, self._calls, self._failed = now_ns, 0, 0
        self._calls += 1
        self._failed += failed
