"""How far something is that takes its time: a bar on a terminal, elsewhere a line every few seconds."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Tell = Callable[[int, int], None]
    """Told how much is done, and of how much."""

BAR_AFTER_S: Final = 0.5
"""What is over sooner shows no bar."""
LINE_EVERY_S: Final = 5.0
"""How often a line is printed at most; what is over sooner prints none."""


@contextmanager
def shown(what: str, unit: str, *, name: str, clock: Callable[[], float] = time.monotonic) -> Iterator[Tell]:
    """Shows on the error stream how far something is, for as long as this lasts.

    Args:
        what: is under way, for example `Replaying the journal`.
        unit: what is counted; `bytes` are shown in larger units.
        name: of the process, before each line.
        clock: seconds.
    """
    with ExitStack() as stack:
        if sys.stderr.isatty():
            yield _bar(what, unit, stack, clock)
        else:
            yield _lines(what, unit, name, clock)


def _lines(what: str, unit: str, name: str, clock: Callable[[], float]) -> Tell:
    due = clock() + LINE_EVERY_S

    def tell(done: int, total: int) -> None:
        nonlocal due
        if clock() >= due:
            due = clock() + LINE_EVERY_S
            counts = f"{done:,} of {total:,} {unit}"
            if unit == "bytes":
                counts = f"{done / 1e6:,.1f} of {total / 1e6:,.1f} MB"
            sys.stderr.write(f"{name}: {what}: {done / max(total, 1):.0%}, {counts}\n")

    return tell


def _bar(what: str, unit: str, stack: ExitStack, clock: Callable[[], float]) -> Tell:
    # What needs no bar need not wait for this to be loaded.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    due = clock() + BAR_AFTER_S
    counts = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), counts, TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(what, total=None)

    def tell(done: int, total: int) -> None:
        if clock() >= due and not bar.live.is_started:
            stack.enter_context(bar)
        bar.update(task, completed=done, total=total)

    return tell
