"""What has changed, told to every process within a second: caches are dropped by it, streams of the revoked ended.

Changes are rows that are written in the db transaction of what they announce. Every process asks four times a second
for those after the last one that it has seen; that works the same in both databases, and nothing is lost while a
connection is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import func, select

from qenex.adapters.database.tables import CHANGES
from qenex.errors import QenexError

if TYPE_CHECKING:
    from collections.abc import Callable

    from qenex.adapters.database.records import BookRecords

LOG: Final = logging.getLogger("qenex.records")

INTERVAL_S: Final = 0.25
"""How often it asks."""
CURRENT_S: Final = 1.0
"""How old its last answer may be for caches to be believed."""
KEPT_NS: Final = 3_600 * 1_000_000_000
"""How long changes are kept; whoever slept longer is told that anything may have changed."""
_SWEEP_EVERY: Final = 400
"""Answers between two sweeps: a hundred seconds."""
_PAGE: Final = 1_000


class Change(NamedTuple):
    """One change."""

    book: bytes
    kind: str
    subject: str


@dataclass(frozen=True, slots=True)
class _Listener:
    kinds: frozenset[str]
    on_change: Callable[[Change], None]
    on_lost: Callable[[], None]


class Feed:
    """Asks for changes, and tells its listeners."""

    def __init__(self, records: BookRecords) -> None:
        """Takes the records of all books."""
        self._records = records
        self._listeners: list[_Listener] = []
        self._last = 0
        self._answers = 0
        self._current_until = float("-inf")
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def listen(
        self, kinds: frozenset[str], on_change: Callable[[Change], None], on_lost: Callable[[], None]
    ) -> Callable[[], None]:
        """Calls `on_change` for every change of these kinds from now on, in order; both must be quick.

        Args:
            kinds: of which changes.
            on_change: told of each.
            on_lost: told that changes may have been missed: whatever is cached is to be dropped.

        Returns:
            What ends it.
        """
        listener = _Listener(kinds, on_change, on_lost)
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @property
    def is_current(self) -> bool:
        """Whether all that changed up to a second ago has been told; otherwise nothing cached may be believed."""
        return time.monotonic() < self._current_until

    async def start(self) -> None:
        """Begins to ask.

        Raises:
            RecordsUnavailable: the database cannot be reached.
        """
        await self.poll()
        self._task = asyncio.create_task(self._run(), name="changes of the records")

    async def stop(self) -> None:
        """Ends it."""
        task, self._task = self._task, None
        self._current_until = float("-inf")
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def wake(self) -> None:
        """Asks at once: this process has changed something itself."""
        self._wake.set()

    async def poll(self) -> None:
        """Asks once, and tells what there is.

        Raises:
            RecordsUnavailable: the database cannot be reached.
        """
        began = time.monotonic()
        while await self._page():
            pass
        self._current_until = began + CURRENT_S
        self._answers += 1
        if self._answers % _SWEEP_EVERY == 0:
            await self.sweep(time.time_ns() - KEPT_NS)

    async def sweep(self, before_ns: int) -> None:
        """Drops changes from before a time; the newest stays, by which others see whether they have missed any."""
        async with self._records.writing() as work:
            newest = select(func.max(CHANGES.c.number)).scalar_subquery()
            await work.run(work.delete(CHANGES).where(CHANGES.c.time_ns < before_ns, CHANGES.c.number < newest))

    async def _page(self) -> bool:
        """Tells a page of changes; says whether there may be more."""
        async with self._records.reading() as work:
            query = work.select(CHANGES).where(CHANGES.c.number >= self._last).order_by(CHANGES.c.number).limit(_PAGE)
            if self._last == 0:
                query = work.select(CHANGES).order_by(CHANGES.c.number.desc()).limit(1)
            rows = await work.all(query)
        if not rows or (self._last and rows[0]["number"] != self._last):
            # The last one seen is gone, so others after it may be, too.
            self._last = 0
            self._lose()
            return bool(rows)
        known, self._last = self._last, rows[-1]["number"]
        for row in rows:
            if known and row["number"] != known:
                self._tell(Change(row["book"], row["kind"], row["subject"]))
        return len(rows) == _PAGE

    def _tell(self, change: Change) -> None:
        for listener in tuple(self._listeners):
            if change.kind in listener.kinds:
                try:
                    listener.on_change(change)
                except Exception:
                    LOG.exception("a listener failed at %s %s", change.kind, change.subject)
                    listener.on_lost()

    def _lose(self) -> None:
        LOG.warning("changes of the records were missed; all caches begin anew")
        for listener in tuple(self._listeners):
            listener.on_lost()

    async def _run(self) -> None:
        failing = False
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), INTERVAL_S)
            self._wake.clear()
            try:
                await self.poll()
                failing = False
            except QenexError as error:
                if not failing:
                    LOG.error("changes of the records cannot be read: %s", error)  # noqa: TRY400  # it says all there is to say
                failing = True
            except Exception:
                LOG.exception("changes of the records cannot be read")
