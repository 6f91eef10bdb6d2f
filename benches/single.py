"""How long does one transfer take, one a request, one client, durable when answered?

The same question to a native client and to `QenexClient`, over TCP, and beside them what the disk takes for the same
bytes without any of us: one direct write of 4 KiB into a file of zeros, then fdatasync.
"""

from __future__ import annotations

import re
import time

import numpy as np

from benches._processes import instance, load, run, scratch
from benches._run import Figures, Table, flags
from qenex.client import QenexClient

LINE = re.compile(r"4 KiB, bare write and sync .*p50\s+(\d+) us\s+p99\s+(\d+) us")
TARGET_NATIVE_MS = 0.25
TARGET_PYTHON_MS = 0.35


def main() -> None:
    """Runs it."""
    asked = flags(__doc__, rounds=5)
    seconds = asked.of(3, 0.4)
    table = Table(
        "One transfer a request",
        f"One connection, the next request when the answer is there, {seconds:g} s a round of each, taken in turns.",
        asked,
    )
    names = (
        "bare p50",
        "bare p99",
        "native p50",
        "native p99",
        "native rate",
        "python p50",
        "python p99",
        "python rate",
    )
    found = {name: Figures() for name in names}
    with instance() as one, scratch() as path:
        for _ in range(asked.rounds):
            if match := LINE.search(run("journal_bench", str(path), "20" if asked.quick else "4")):
                found["bare p50"].add(int(match[1]) / 1_000)
                found["bare p99"].add(int(match[2]) / 1_000)
            native = load("binary", *one.reach, rows=1, seconds=seconds, warm=0.2)
            found["native p50"].add(native["p50_us"] / 1_000)
            found["native p99"].add(native["p99_us"] / 1_000)
            found["native rate"].add(native["rate"])
            with QenexClient(one.address, credential=one.token) as client:
                p50, p99, rate = _python(client, seconds)
            found["python p50"].add(p50)
            found["python p99"].add(p99)
            found["python rate"].add(rate)
    table.add("bare write and fdatasync, 4 KiB: p50", found["bare p50"], "ms")
    table.add("bare write and fdatasync, 4 KiB: p99", found["bare p99"], "ms")
    table.at_most("native client: p50", found["native p50"], "ms", TARGET_NATIVE_MS)
    table.add("native client: p99", found["native p99"], "ms")
    table.add("native client: transfers", found["native rate"], "/s")
    table.at_most("QenexClient.execute: p50", found["python p50"], "ms", TARGET_PYTHON_MS)
    table.add("QenexClient.execute: p99", found["python p99"], "ms")
    table.add("QenexClient.execute: transfers", found["python rate"], "/s")
    table.stated("TigerBeetle, one transfer a request: p50", "0.44 ms")
    table.stated("TigerBeetle, one transfer a request: transfers", "2,100 /s")
    table.limit(
        "the disk first: the bare write and sync is in the table. What is left is both sides' code and the way between."
    )
    table.show()


def _python(client: QenexClient, seconds: float) -> tuple[float, float, float]:
    """p50 and p99 in milliseconds, and transfers a second, of `execute`."""
    took = []
    begin = time.perf_counter_ns()
    until = begin + int((seconds + 0.2) * 1e9)
    now = begin
    while now < until:
        transaction = client.create_transaction(1, 2, "0.01", "EUR")
        before = time.perf_counter_ns()
        client.execute(transaction)
        now = time.perf_counter_ns()
        took.append(now - before)
    times = np.array(took) / 1e6
    return float(np.percentile(times, 50)), float(np.percentile(times, 99)), len(took) / ((now - begin) / 1e9)


if __name__ == "__main__":
    main()
