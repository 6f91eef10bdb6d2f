"""How fast is the ledger when every batch is journalled, hashed into the chain and synced before it is applied?

The whole native path, as the engine runs it: the core thread applies one group while the writer thread makes the next
durable. The load comes from another thread of the same process over a pair of sockets, so that no Python, no TCP and no
second process is in it.
"""

from __future__ import annotations

import re

from benches._processes import load, run, scratch
from benches._run import BATCH_MAX, Figures, Table, flags

TARGET = 2_500_000
UNDER_WAY = {"two": {"connections": 1, "window": 2}, "four": {"connections": 2, "window": 2}}
KEYS = ("rate", "group_rows", "max_us")
LINE = re.compile(r"(.+?)\s+(\d+) groups/s\s+(\d+) MB/s\s+p50\s+(\d+) us\s+p99\s+(\d+) us")


def main() -> None:
    """Runs it."""
    asked = flags(__doc__, rounds=5)
    seconds = asked.of(4, 0.5)
    table = Table(
        "Journalled and synced",
        f"Simple transfers between 10,000 accounts, {BATCH_MAX:,} a request, {seconds:g} s a round. Two requests under "
        "way: while one is synced the other is made, so that each has a sync of its own. Four: those that wait share "
        "one. Beside it the same bytes bare: one direct write of 1 MiB into a file of zeros, then fdatasync.",
        asked,
    )
    bare, appended = Figures(), Figures()
    found = {under_way: {key: Figures() for key in KEYS} for under_way in UNDER_WAY}
    for _ in range(asked.rounds):
        with scratch() as path:
            for under_way, plan in UNDER_WAY.items():
                report = load("door", str(path / under_way), **plan, seconds=seconds, warm=asked.of(1, 0.2))
                for key, figures in found[under_way].items():
                    figures.add(report[key] / (1_000 if key == "max_us" else 1))
            lines = run("journal_bench", str(path), "20" if asked.quick else "4").splitlines()
            for match in filter(None, map(LINE.match, lines)):
                if match[1].startswith("1 MiB"):
                    # Groups a second, not the inverse of the p50: slow ones are in the engine's figure too.
                    (bare if "bare" in match[1] else appended).add(int(match[2]) * BATCH_MAX)
    for under_way, figures in found.items():
        table.at_least(f"{under_way} under way: journalled, synced, applied, answered", figures["rate"], "/s", TARGET)
        table.add(f"{under_way} under way: transfers a sync", figures["group_rows"], "on average")
        table.add(f"{under_way} under way: longest answer", figures["max_us"], "ms")
    table.add("the journal alone (hash, write, sync)", appended, "/s")
    table.add("bare write and fdatasync of the same bytes", bare, "/s")
    table.stated("TigerBeetle, over its own client", "553,000 /s")
    table.limit(
        "two cores for four threads: apply, SHA-256 of the journal, sealing of segments (a hash and several sorted "
        "indexes for each transfer), and the load itself."
    )
    table.show()


if __name__ == "__main__":
    main()
