"""What happens when three times as much is offered as the engine can do?

First the peak: 200 connections in a closed loop. Then the same load, over as many connections, offers three times the
peak for half a minute at fixed times. As any client it keeps to the window of its session, and what is beyond it
waits in the load: the window is how the engine slows down those who offer too much.
"""

from __future__ import annotations

from typing import Any

from benches._processes import Watch, instance, load
from benches._run import Figures, Table, flags, number

CONNECTIONS = 200
QUICK_CONNECTIONS = 20
TIMES = 3
SHARE = 0.80
ENGINE_GIB = 2
FRAME_GIB = (2**20 + 2**12) / 2**30
"""What each connection may hold of a request that is not complete or has no room yet, beside the engine's own."""
SIZES = (1, 100, 8_189)


def main() -> None:
    """Runs it."""
    asked = flags(__doc__, rounds=1)
    seconds = asked.of(30, 0.6)
    connections = int(asked.of(CONNECTIONS, QUICK_CONNECTIONS))
    sizes = ", ".join(f"{size:,}" for size in SIZES)
    table = Table(
        "Overload",
        f"{TIMES} times the peak, {connections} connections, {seconds:g} s a round, for requests of {sizes} transfers. "
        f"The share is that of the peak that is committed meanwhile.",
        asked,
    )
    for rows in SIZES:
        shares, peaks, memory = Figures(), Figures(), Figures()
        found: dict[str, Any] = {}
        for _ in range(asked.rounds):
            with instance() as one, Watch(one.serving) as watch:
                plan = {"connections": connections, "rows": rows}
                window = max(1, 64 // rows)
                peak = load("binary", *one.reach, **plan, window=window, seconds=seconds / 3, warm=asked.of(2, 0.3))
                offered = peak["rate"] * TIMES
                found = load(
                    "binary", *one.reach, **plan, window=window, rate=offered, seconds=seconds, warm=asked.of(2, 0.3)
                )
            peaks.add(peak["rate"])
            shares.add(100 * found["rate"] / peak["rate"])
            memory.add(watch.most_bytes / 2**30)
        what = f"{rows:,} a request"
        table.add(f"{what}: peak", peaks, "/s")
        table.at_least(f"{what}: share of the peak committed", shares, "%", 100 * SHARE)
        table.at_most(f"{what}: most anonymous memory", memory, "GiB", ENGINE_GIB + connections * FRAME_GIB)
        answered = found["unanswered"] == 0 and not found["failed"]
        counts = (
            f"{number(found['replies'])} replies, {number(found['busy'])} busy, {found['unanswered']:.0f} unanswered"
        )
        table.say(f"{what}: requests sent (last round)", counts, "every one answered", met=answered)
        table.say(f"{what}: due, but beyond the window", number(found["due"] - found["sent"]))
    table.limit(
        "the two cores, of which the load takes its part: what it spends on offering three times as much, the engine "
        "cannot use."
    )
    table.show()


if __name__ == "__main__":
    main()
