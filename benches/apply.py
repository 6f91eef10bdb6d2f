"""How fast is the ledger itself? Transfers applied in process, on one core, without journal, disk or network.

The native program `apply_bench` draws the transfers beforehand and times the machine over the store that the engine
uses, batch by batch.
"""

from __future__ import annotations

import re

from benches import _processes
from benches._run import Figures, Table, flags

TARGETS = {
    "simple, 10,000 accounts uniform": 4_000_000,
    "mixed, 10,000 accounts uniform, history": 2_000_000,
    "simple, 1,000,000 accounts uniform": 1_500_000,
}
ZIPF = "simple, 1,000,000 accounts Zipf 0.99"
ZIPF_SHARE = 0.70
LINE = re.compile(r"(.+?)\s+median\s+(\d+)\s+from\s+(\d+) to\s+(\d+)\s+longest batch (\d+) us")


def main() -> None:
    """Runs it."""
    asked = flags(__doc__, rounds=5)
    millions = int(asked.of(2, 1))
    table = Table(
        "Apply in process",
        f"{millions},000,000 transfers a round, 8,189 a batch, through Machine and LedgerStore with every index of "
        "the segment kept. Mixed: 20% two-phase, 10% linked, 5% refused, accounts with history.",
        asked,
    )
    found = {}
    for line in _processes.run("apply_bench", str(asked.rounds), str(millions)).splitlines():
        if match := LINE.match(line):
            name, median, low, high, longest = match.groups()
            # The program states median, lowest and highest, which is what the table shows.
            found[name] = Figures([float(low), float(median), float(high)]), int(longest)
    simple = found["simple, 10,000 accounts uniform"][0]
    for name, (figures, longest) in found.items():
        if name == ZIPF:
            share = figures.median / simple.median
            target = f">= {ZIPF_SHARE:.0%} of the first line: {share:.0%}"
            table.add(name, figures, "/s", target, met=share >= ZIPF_SHARE)
        else:
            table.at_least(name, figures, "/s", TARGETS[name])
        table.note(f"Longest batch, {name}: {longest / 1_000:.1f} ms.")
    table.limit(
        "one core. Each transfer finds two accounts and looks for its id, then appends a row of 128 bytes and its "
        "index entries. Where in that the time goes is for a profiler to say (perf record); it is not measured here."
    )
    table.show()


if __name__ == "__main__":
    main()
