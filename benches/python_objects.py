"""How fast is the Python client for those who work with objects, a `Transaction` in and a `TransferResult` out?

`QenexClient.execute_many` over TCP to an engine in another process, durable.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from benches._processes import instance, load
from benches._run import Figures, Table, flags
from qenex.client import QenexClient

if TYPE_CHECKING:
    from qenex.client import Transaction

TARGET = 250_000
ACCOUNTS = 10_000


def main() -> None:
    """Runs it."""
    asked = flags(__doc__, rounds=7)
    count = int(asked.of(200_000, 10_000))
    table = Table(
        "Python client, objects",
        f"{count:,} transactions a round between {ACCOUNTS:,} accounts. Executed: the objects are there already. Made "
        "and executed: `create_transaction` (checks accounts, amount, asset; makes the id) is in the time too.",
        asked,
    )
    executed, both, busy = Figures(), Figures(), Figures()
    with instance() as one, QenexClient(one.address, credential=one.token) as client:
        load("binary", *one.reach, seconds=0.1, warm=0.1, accounts=ACCOUNTS)  # makes the accounts
        draw = random.Random(1)  # noqa: S311  # which accounts pay
        client.execute_many(_make(client, _draw(draw, count // 10)))
        for _ in range(asked.rounds):
            pairs = _draw(draw, count)
            begin = time.perf_counter()
            transactions = _make(client, pairs)
            made, cpu = time.perf_counter(), time.process_time()
            results = client.execute_many(transactions)
            done = time.perf_counter()
            busy.add(100 * (time.process_time() - cpu) / (done - made))
            if not all(result.ok for result in results):
                raise SystemExit("a transfer was refused")
            executed.add(count / (done - made))
            both.add(count / (done - begin))
    table.at_least("executed", executed, "/s", TARGET)
    table.add("made and executed", both, "/s")
    table.add("CPU of the client while executing", busy, "% of a core")
    table.stated("TigerBeetle's Python client", "98,000 /s")
    table.limit(
        "the client: its share of the time it was executing is in the table. It joins rows and makes a result object "
        "of each answer; making a transaction takes longer than executing it."
    )
    table.show()


def _draw(draw: random.Random, count: int) -> list[list[int]]:
    """Who pays whom; not in the time."""
    return [draw.sample(range(1, ACCOUNTS + 1), 2) for _ in range(count)]


def _make(client: QenexClient, pairs: list[list[int]]) -> list[Transaction]:
    return [client.create_transaction(debtor, creditor, "0.01", "EUR") for debtor, creditor in pairs]


if __name__ == "__main__":
    main()
