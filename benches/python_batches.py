"""How fast is the Python client for those who work with numpy rows, and how long do batches wait at a steady rate?

The client is this process; the engine is another; between them is TCP. A result means that its transfer is on disk.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import numpy as np
import uvloop

from benches._processes import instance, load
from benches._run import BATCH_MAX, Figures, Table, flags
from qenex.client import AsyncQenexClient, QenexClient
from qenex.client.ids import new_ids
from qenex.kernel import TRANSFER, CreateTransferStatus

if TYPE_CHECKING:
    from numpy.typing import NDArray

TARGET = 1_500_000
OFFERED = 500_000
TARGET_P99_MS = 10
ACCOUNTS = 10_000


def main() -> None:
    """Runs it."""
    asked = flags(__doc__, rounds=5)
    batches, seconds = int(asked.of(250, 20)), asked.of(4, 0.5)
    table = Table(
        "Python client, numpy batches",
        f"Simple transfers between {ACCOUNTS:,} accounts. Throughput: {batches * BATCH_MAX:,} rows a round in one call "
        f"of `QenexClient.create_transfers`, rows made beforehand. Offered: {OFFERED:,} transfers a second for "
        f"{seconds:g} s by `AsyncQenexClient`, batches at fixed times; a latency counts from the time at which its "
        "batch was due.",
        asked,
    )
    rates, ours, theirs = Figures(), Figures(), Figures()
    sizes = (1_000, BATCH_MAX)
    waits = {(size, name): Figures() for size in sizes for name in ("p50", "p99", "longest")}
    with instance() as one:
        load("binary", *one.reach, seconds=0.1, warm=0.1, accounts=ACCOUNTS)  # makes the accounts
        random = np.random.default_rng(1)
        with QenexClient(one.address, credential=one.token) as client:
            _accepted(client.create_transfers(_rows(random, 10 * BATCH_MAX)))
            for _ in range(asked.rounds):
                rows = _rows(random, batches * BATCH_MAX)
                engine, client_cpu, begin = one.serving.cpu_seconds, time.process_time(), time.perf_counter()
                results = client.create_transfers(rows)
                rates.add(len(rows) / (time.perf_counter() - begin))
                ours.add((time.process_time() - client_cpu) * 1e6 / len(rows))
                theirs.add((one.serving.cpu_seconds - engine) * 1e6 / len(rows))
                _accepted(results)
        for _ in range(asked.rounds):
            for size in sizes:
                rows = _rows(random, int(OFFERED * (seconds + 0.5)) // size * size)
                took = uvloop.run(_offer(one.address, one.token, rows, size))
                late = np.array(took[int(OFFERED * 0.5) // size :]) * 1_000
                waits[size, "p50"].add(float(np.percentile(late, 50)))
                waits[size, "p99"].add(float(np.percentile(late, 99)))
                waits[size, "longest"].add(float(late.max()))
    table.at_least("throughput", rates, "/s", TARGET)
    table.add("throughput: CPU of the client, a transfer", ours, "us")
    table.add("throughput: CPU of the engine, a transfer", theirs, "us")
    for size in sizes:
        what = f"{OFFERED:,}/s offered, {size:,} a batch"
        table.add(f"{what}: p50", waits[size, "p50"], "ms")
        table.at_most(f"{what}: p99", waits[size, "p99"], "ms", TARGET_P99_MS)
        table.add(f"{what}: longest", waits[size, "longest"], "ms")
    table.stated("TigerBeetle, full batches: p50", "10 ms")
    table.stated("TigerBeetle, full batches: p99", "30 ms")
    table.stated("TigerBeetle's Python client", "98,000 /s")
    table.limit(
        "the CPU of the engine's threads (apply, journal, sealing), which share the cores with this process; the table "
        "says how much each takes a transfer."
    )
    table.show()


def _rows(random: np.random.Generator, count: int) -> NDArray[np.void]:
    rows = np.zeros(count, TRANSFER)
    rows["id"] = new_ids(count)
    debtors = random.integers(0, ACCOUNTS, count)
    rows["debit_account_id"]["lo"] = debtors + 1
    rows["credit_account_id"]["lo"] = (debtors + random.integers(1, ACCOUNTS, count)) % ACCOUNTS + 1
    rows["amount"]["lo"], rows["ledger"], rows["code"] = 1, 978, 1
    return rows


def _accepted(results: NDArray[np.void]) -> None:
    if (results["status"] != int(CreateTransferStatus.CREATED)).any():
        raise SystemExit("a transfer was refused")


async def _offer(address: str, token: str, rows: NDArray[np.void], size: int) -> list[float]:
    """Sends each batch at its time, whatever became of those before; seconds from then until its results are here."""
    took = [0.0] * len(range(0, len(rows), size))
    async with AsyncQenexClient(address, credential=token) as client:

        async def send(at: int, due: float) -> None:
            results = await client.create_transfers(rows[at : at + size])
            took[at // size] = time.perf_counter() - due
            _accepted(results)

        tasks = []
        begin = time.perf_counter()
        for at in range(0, len(rows), size):
            due = begin + at / OFFERED
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(send(at, due)))
        await asyncio.gather(*tasks)
    return took


if __name__ == "__main__":
    main()
