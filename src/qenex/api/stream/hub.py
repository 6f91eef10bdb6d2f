"""One book's change events, read once and given to everyone who waits for them.

While somebody is subscribed the hub asks the engine every `TICK_S` what has happened since, and hands it out. Each
event is made into JSON once a view, each frame once for all subscribers who hear of one and the same topic: with a
thousand of them that, and the writes to their sockets, is all there is to do.

A subscriber stands at a time: all that it waits for has been sent up to there. Who comes with an earlier time than the
hub's reads what it has missed from the engine, page by page, and joins when it has come as far as the hub: in between
nothing can happen, so there is neither gap nor double. Who does not take what it is sent is left where it stands, and
reads on in the same way, at its own pace; the others notice nothing of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from qenex.api.events import Event, events_of
from qenex.api.stream.topics import keys_of
from qenex.errors import InvalidCursor, QenexError
from qenex.kernel import CHANGE_EVENTS_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qenex.api.cursors import Cursors
    from qenex.api.ledger import Ledger
    from qenex.api.stream.topics import Topic
    from qenex.assets import Assets

    Key = tuple[str, int, int | None]

LOG: Final = logging.getLogger("qenex.stream")

TICK_S: Final = 0.04
"""How often events are handed out: how much of them a frame holds."""
EVENTS_OF_FRAME_MAX: Final = 256
"""Events in one frame at most."""
IDLE_TICKS: Final = 250
"""So many ticks after the last subscriber has gone the hub stops to ask."""


class Subscriber(Protocol):
    """Whoever hears of events."""

    def send(self, frame: bytes) -> None:
        """Takes a message of the stream, JSON in UTF-8; never waits."""

    @property
    def is_behind(self) -> bool:
        """Whether it has not taken what was sent before; then it is sent no more until there is room."""

    async def room(self) -> None:
        """Waits until what was sent before has mostly been taken."""

    def refuse(self, error: QenexError) -> None:
        """Hears that its subscription has ended with an error."""


class Positions:
    """Positions in a book's stream: opaque, good for this book only."""

    def __init__(self, cursors: Cursors, book: bytes) -> None:
        """Takes what seals them, and of which book they are."""
        self._cursors, self._place = cursors, b"stream" + book

    def seal(self, timestamp_ns: int) -> str:
        """A position after all that happened up to this time."""
        return self._cursors.seal(timestamp_ns, self._place)

    def open(self, position: str) -> int:
        """The time of a position.

        Raises:
            InvalidCursor: it is no position in this book's stream.
        """
        return self._cursors.open(position, self._place)


class Subscription:
    """What one subscriber waits for, and how far it is."""

    __slots__ = ("_behind", "_hub", "after_ns", "is_live", "subscriber", "topics")

    def __init__(self, hub: Hub, subscriber: Subscriber, topics: Sequence[Topic], after_ns: int) -> None:
        """Takes topics of one view, and the time from which on it hears of them."""
        self._hub, self.subscriber, self.after_ns = hub, subscriber, after_ns
        self.topics = {topic.key: topic for topic in topics}
        self.is_live = False
        self._behind: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Sends what it has missed, and makes it live.

        Raises:
            QenexError: the engine does not answer.
        """
        await self._hub.subscribe(self)

    def fall_behind(self, at_ns: int) -> None:
        """It has not taken what it was sent: it stands here, and reads on when there is room."""
        self._hub.unsubscribe(self)
        self.after_ns = at_ns
        self._behind = asyncio.get_running_loop().create_task(self._read_on())

    async def _read_on(self) -> None:
        try:
            await self.begin()
        except QenexError as error:
            self.subscriber.refuse(error)

    def end(self) -> None:
        """It hears no more."""
        if self._behind is not None:
            self._behind.cancel()
        self._hub.unsubscribe(self)

    @property
    def party(self) -> int | None:
        """Whose view it hears through."""
        return next(iter(self.topics))[2]


class Hub:
    """Hands out the events of one book."""

    def __init__(self, ledger: Ledger, assets: Assets, positions: Positions) -> None:
        """Wires it."""
        self._ledger, self._assets, self.positions = ledger, assets, positions
        self._waiting: dict[Key, set[Subscription]] = {}
        self._head_ns = 0
        self._asking: asyncio.Task[None] | None = None
        self._turn = asyncio.Event()
        self._subscriptions = 0
        self._idle = 0

    async def subscribe(self, subscription: Subscription) -> None:
        """Sends what a subscription has missed, and makes it live.

        Raises:
            QenexError: the engine does not answer.
        """
        self._subscriptions += 1
        try:
            await self._start()
            while subscription.after_ns != self._head_ns:
                if subscription.after_ns > self._head_ns:
                    # It stands where another door has already seen something: the hub is there in no time.
                    await self._next_turn()
                else:
                    await self._catch_up(subscription, self._head_ns)
        except BaseException:
            self._subscriptions -= 1
            raise
        subscription.is_live = True
        for key in subscription.topics:
            self._waiting.setdefault(key, set()).add(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Ends a live subscription; one that is not live has ended with its `subscribe`."""
        if not subscription.is_live:
            return
        subscription.is_live = False
        self._subscriptions -= 1
        for key in subscription.topics:
            waiting = self._waiting[key]
            waiting.discard(subscription)
            if not waiting:
                del self._waiting[key]

    async def begin(self, position: str | None) -> int:
        """The time at which a subscription begins: now, or after what its subscriber has seen.

        Raises:
            InvalidCursor: the position is none of this stream, or of a time that the book does not know (any more).
            QenexError: the engine does not answer.
        """
        now_ns = (await self._ledger.status()).timestamp
        after_ns = now_ns if position is None else self.positions.open(position)
        if after_ns > now_ns:
            raise InvalidCursor("after", "it lies after all that has happened in this book")
        return after_ns

    @property
    def head_ns(self) -> int:
        """Up to when it has handed out everything."""
        return self._head_ns

    async def close(self) -> None:
        """Asks no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _start(self) -> None:
        """Asks from now on, if it does not."""
        if self._asking is None or self._asking.done():
            status = await self._ledger.status()
            if self._asking is None or self._asking.done():
                self._head_ns, self._idle = status.timestamp, 0
                self._asking = asyncio.get_running_loop().create_task(self._ask())

    async def _next_turn(self) -> None:
        turn = self._turn
        await turn.wait()

    async def _ask(self) -> None:
        """Asks what has happened, again and again, until nobody wants to know."""
        while self._idle < IDLE_TICKS:
            self._idle = 0 if self._subscriptions else self._idle + 1
            try:
                rows, applied_ns = await self._ledger.change_events(self._head_ns + 1, 0, CHANGE_EVENTS_MAX)
            except QenexError as error:
                # The engine is away: what happens meanwhile is handed out when it is back.
                LOG.debug("the engine does not answer: %s", error)
                await asyncio.sleep(1.0)
                continue
            events = events_of(rows)
            is_full = len(events) == CHANGE_EVENTS_MAX
            head_ns = events[-1].timestamp_ns if is_full else max(applied_ns, self._head_ns)
            self._hand_out(events, head_ns)
            turn, self._turn = self._turn, asyncio.Event()
            turn.set()
            # What has piled up is handed out at once; the loop has its turn in between.
            await asyncio.sleep(0 if is_full else TICK_S)

    def _hand_out(self, events: Sequence[Event], head_ns: int) -> None:
        """Sends events to all who wait for them; from here on the hub, and they, stand at `head_ns`."""
        heard: defaultdict[Key, list[Event]] = defaultdict(list)
        for event in events:
            for key in set(keys_of(event)):
                if key in self._waiting:
                    heard[key].append(event)
        before_ns, self._head_ns = self._head_ns, head_ns
        for subscription in {one for key in heard for one in self._waiting[key] if one.subscriber.is_behind}:
            subscription.fall_behind(before_ns)
        writer = _Writer(self._assets, self.positions)
        several: dict[Subscription, dict[int, Event]] = {}
        for key, of_key in heard.items():
            waiting = self._waiting.get(key, set())
            alone = [one.subscriber for one in waiting if len(one.topics) == 1]
            for subscription in waiting:
                if len(subscription.topics) > 1:
                    # An event that several of its topics hear of is sent once.
                    several.setdefault(subscription, {}).update({event.timestamp_ns: event for event in of_key})
            for frame in writer.frames(of_key, key[2], head_ns) if alone else ():
                for subscriber in alone:
                    subscriber.send(frame)
        for subscription, by_time in several.items():
            in_order = [by_time[moment] for moment in sorted(by_time)]
            for frame in writer.frames(in_order, subscription.party, head_ns):
                subscription.subscriber.send(frame)

    async def _catch_up(self, subscription: Subscription, until_ns: int) -> None:
        """Sends what a subscription has missed, up to a time or a page of it."""
        after_ns = subscription.after_ns
        # Who reads history slowly gets it slowly; only who is too slow for what happens now is dropped.
        await subscription.subscriber.room()
        rows, _ = await self._ledger.change_events(after_ns + 1, until_ns, CHANGE_EVENTS_MAX)
        events = events_of(rows)
        reached_ns = events[-1].timestamp_ns if len(events) == CHANGE_EVENTS_MAX else until_ns
        wanted = [event for event in events if not subscription.topics.keys().isdisjoint(keys_of(event))]
        if wanted:
            for frame in _Writer(self._assets, self.positions).frames(wanted, subscription.party, reached_ns):
                subscription.subscriber.send(frame)
        subscription.after_ns = reached_ns


class _Writer:
    """Makes frames; an event is made into JSON once a view."""

    def __init__(self, assets: Assets, positions: Positions) -> None:
        self._assets, self._positions = assets, positions
        self._made: dict[tuple[int, int | None], bytes] = {}

    def frames(self, events: Sequence[Event], party: int | None, head_ns: int) -> list[bytes]:
        """Messages with these events; who has the last of them stands at `head_ns`."""
        made = []
        for first in range(0, len(events), EVENTS_OF_FRAME_MAX):
            part = events[first : first + EVENTS_OF_FRAME_MAX]
            is_last = first + EVENTS_OF_FRAME_MAX >= len(events)
            position = self._positions.seal(head_ns if is_last else part[-1].timestamp_ns)
            texts = b",".join([self._text(event, party) for event in part])
            made.append(b'{"type":"events","events":[' + texts + b'],"position":"' + position.encode("ascii") + b'"}')
        return made

    def _text(self, event: Event, party: int | None) -> bytes:
        key = event.timestamp_ns, party
        text = self._made.get(key)
        if text is None:
            text = self._made[key] = msgspec.json.encode(event.document(self._assets, party))
        return text
