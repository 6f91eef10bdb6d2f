"""Events read page by page, for whoever has no stream open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from qenex.api.events import Event, events_of
from qenex.api.stream import topics
from qenex.kernel import CHANGE_EVENTS_MAX

if TYPE_CHECKING:
    from qenex.api.ledger import Ledger
    from qenex.api.stream.topics import Topic

SCANNED_MAX: Final = 8 * CHANGE_EVENTS_MAX
"""Events that one request looks through; it answers with fewer than were asked for rather than look on."""


class EventsRead(NamedTuple):
    """A page of events."""

    events: list[Event]
    """Oldest first."""
    reached_ns: int
    """All that happened up to this time has been looked at."""
    has_more: bool
    """Whether there may be more already."""


async def read(ledger: Ledger, wanted: Topic, after_ns: int, limit: int) -> EventsRead:
    """The events of a topic after a time, so many at most."""
    reached_ns = after_ns
    found: list[Event] = []
    scanned, is_at_end = 0, False
    while len(found) < limit and scanned < SCANNED_MAX and not is_at_end:
        rows, applied_ns = await ledger.change_events(reached_ns + 1, 0, CHANGE_EVENTS_MAX)
        events = events_of(rows)
        scanned += len(events)
        is_at_end = len(events) < CHANGE_EVENTS_MAX
        found += [event for event in events if wanted.key in topics.keys_of(event)]
        reached_ns = max(applied_ns, reached_ns) if is_at_end else events[-1].timestamp_ns
    if len(found) > limit:
        del found[limit:]
        reached_ns, is_at_end = found[-1].timestamp_ns, False
    return EventsRead(found, reached_ns, not is_at_end)
