"""Who has used how much of one limit, in a table of bounded size that never forgets whoever is blocked."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

    from qenex.limits.rules import Limit

PROBES: Final = 16
"""Entries that are looked at to make room for one."""


class Crowd:
    """The key of all who come while there is no room: they share one entry, and so one rate."""

    def __repr__(self) -> str:
        return "CROWD"


CROWD: Final = Crowd()


class Table:
    """Times by key; the key of a time that is past can be forgotten, for it has used nothing.

    When it is full, room is made by whoever has nothing outstanding, else by whoever has least among some of the
    oldest. The blocked stay. Where even those some are all blocked, a new key gets no entry of its own: it shares one
    with all others who come then. So nobody is unblocked by a flood, nobody passes uncounted, and no flood can end the
    service for those who have an entry.
    """

    __slots__ = ("crowded", "entries_max", "interval_ns", "limit", "times", "tolerance_ns")

    def __init__(self, limit: Limit, entries_max: int) -> None:
        """Makes an empty one.

        Args:
            limit: whose use it remembers.
            entries_max: entries at most, beside the one of the crowd.
        """
        self.limit, self.entries_max = limit, entries_max
        self.interval_ns, self.tolerance_ns = limit.interval_ns, limit.tolerance_ns
        self.times: OrderedDict[Hashable, int] = OrderedDict()
        """When all that somebody used will have come back; oldest entry first."""
        self.crowded = 0
        """How often somebody had to share the entry of the crowd."""

    def __len__(self) -> int:
        return len(self.times)

    def room(self, key: Hashable, now_ns: int) -> Hashable:
        """Makes room for a key that has no entry; gives the key under which it is to be counted."""
        times = self.times
        if len(times) - (CROWD in times) < self.entries_max:
            return key
        blocked_from = now_ns + self.tolerance_ns - self.interval_ns
        victim, least = None, blocked_from
        for _ in range(min(PROBES, len(times))):
            oldest, time_ns = times.popitem(last=False)
            if time_ns <= now_ns and oldest is not CROWD:
                return key
            times[oldest] = time_ns
            if time_ns <= least and oldest is not CROWD:
                victim, least = oldest, time_ns
        if victim is None:
            self.crowded += 1
            return CROWD
        del times[victim]
        return key
