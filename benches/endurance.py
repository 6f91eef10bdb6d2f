"""Is the engine after 50 million transfers as fast as at first, and how soon is it back after a kill?

One run without a pause, closed loop, native load over TCP. Then the engine is killed (SIGKILL) and started
again: once as it is, from its newest checkpoint, and once with everything derived from the journal deleted, so that all
is replayed.
"""

from __future__ import annotations

import shutil
import time
from itertools import pairwise
from typing import TYPE_CHECKING

from benches._processes import Instance, Watch, load, scratch
from benches._run import BATCH_MAX, Figures, Table, flags, folder, number
from qenex.client import QenexClient

if TYPE_CHECKING:
    import argparse

    from qenex.client.protocol import EngineStatus

TRANSFERS = 50_000_000
QUICK = 1_100_000
MILLION = 1_000_000
BYTES_EACH = 600
"""Free disk that a transfer needs at most, on the safe side."""
WITHIN = 0.20
LONGEST_MS = 50
MEMORY_GIB = 2
ANSWER_S = 3
REPLAY = 2_000_000


def main() -> None:
    """Runs it."""
    asked = flags(__doc__, rounds=1, more=_more)
    given = asked.given
    transfers = given.transfers or (QUICK if asked.quick else TRANSFERS)
    free = shutil.disk_usage(folder()).free
    if free < transfers * BYTES_EACH:
        needed = f"{transfers * BYTES_EACH / 1e9:.0f} GB"
        raise SystemExit(f"{transfers:,} transfers need {needed} of disk, {folder()} has {free / 1e9:.0f} GB")
    table = Table(
        "Endurance, and restart after a kill",
        f"{transfers:,} simple transfers between {given.accounts:,} accounts, {BATCH_MAX:,} a request, "
        f"{given.connections} connections with {given.window} requests under way each.",
        asked,
    )
    with scratch() as path:
        one = Instance(path / "home").start()
        try:
            empty_start_s = one.start_seconds
            _run(one, table, transfers, given)
            _restart(one, table, empty_start_s)
        finally:
            one.stop()
    table.limit(
        "the run: as for batches. The longest answer: a request waits for those before it in its group, while segments "
        "are sealed on the same two cores. The restart: reading the journal, and applying what no checkpoint has."
    )
    table.show()


def _more(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--transfers", type=int, help=f"how many (default: {TRANSFERS:,})")
    parser.add_argument("--accounts", type=int, default=10_000, help="between how many accounts (default: 10,000)")
    parser.add_argument("--connections", type=int, default=2, help="connections (default: 2)")
    parser.add_argument("--window", type=int, default=1, help="requests under way on each (default: 1)")


def _run(one: Instance, table: Table, transfers: int, given: argparse.Namespace) -> None:
    with Watch(one.serving) as watch:
        found = load(
            "binary",
            *one.reach,
            transfers=transfers,
            accounts=given.accounts,
            connections=given.connections,
            window=given.window,
            warm=0,
            per=MILLION,
        )
    if found["created"] < transfers or found["unanswered"]:
        raise SystemExit(f"not all were created: {found}")
    ends = [0.0, *(seconds for seconds, _ in found["marks"])]
    rates = [MILLION / (after - before) for before, after in pairwise(ends)]
    longest = [us / 1_000 for _, us in found["marks"]]
    table.add("all of them", Figures([found["rate"]]), "/s")
    table.say("first million", f"{number(rates[0])} /s")
    share = rates[-1] / rates[0]
    target = f">= {1 - WITHIN:.0%} of the first million: {share:.0%}"
    table.say("last million", f"{number(rates[-1])} /s", target, met=share >= 1 - WITHIN)
    table.add("each million", Figures(rates), "/s")
    table.at_most("longest answer", Figures([found["max_us"] / 1_000]), "ms", LONGEST_MS)
    table.add("longest answer of each million", Figures(longest), "ms")
    table.say("answers: p50, p99", f"{found['p50_us'] / 1_000:.1f} ms, {found['p99_us'] / 1_000:.1f} ms")
    table.at_most("most anonymous memory", Figures([watch.most_bytes / 2**30]), "GiB", MEMORY_GIB)


def _restart(one: Instance, table: Table, empty_start_s: float) -> None:
    with QenexClient(one.address, credential=one.token) as client:
        before = client.status()
    one.kill()
    answer_s, after = _start(one)
    if (after.transfers, after.accounts) != (before.transfers, before.accounts):
        raise SystemExit(f"after the kill the engine has {after}, before it had {before}")
    what = f"from the checkpoint at entry {after.checkpoint_entry:,} of {before.entry:,}"
    table.at_most(f"restart {what}: first answer", Figures([answer_s]), "s", ANSWER_S)
    one.kill()
    (book,) = one.settings.books_folder.iterdir()
    for derived in book.iterdir():
        if derived.is_dir() and derived.name != "journal":
            shutil.rmtree(derived)
    answer_s, after = _start(one)
    if after.transfers != before.transfers:
        raise SystemExit(f"after the replay the engine has {after}, before it had {before}")
    table.add("restart from the journal alone: first answer", Figures([answer_s]), "s")
    replay = Figures([before.transfers / max(answer_s - empty_start_s, 1e-3)])
    table.at_least("replay (less the start of an empty engine)", replay, "/s", REPLAY)


def _start(one: Instance) -> tuple[float, EngineStatus]:
    """Seconds until the first answer, and that answer."""
    begin = time.monotonic()
    one.start()
    with QenexClient(one.address, credential=one.token) as client:
        status = client.status()
    return time.monotonic() - begin, status


if __name__ == "__main__":
    main()
