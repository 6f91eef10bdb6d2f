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
    executed, both = Figures(), Figures()
    with instance() as one, QenexClient(one.address, credential=one.token) as client:
        load("binary", *one.reach, seconds=0.1, warm=0.1, accounts=ACCOUNTS)  # makes the accounts
        draw = random.Random(1)  # noqa: S311  # which accounts pay
        client.execute_many(_make(client, draw, count // 10))
        for _ in range(asked.rounds):
            begin = time.perf_counter()
            transactions = _make(client, draw, count)
            made = time.perf_counter()
            results = client.execute_many(transactions)
            done = time.perf_counter()
            if not all(result.ok for result in results):
                raise SystemExit("a transfer was refused")
            executed.add(count / (done - made))
            both.add(count / (done - begin))
    table.at_least("executed", executed, "/s", TARGET)
    table.add("made and executed", both, "/s")
    table.stated("TigerBeetle's Python client", "98,000 /s")
    table.limit("one Python thread: it joins rows, and makes a result object of each answer; the engine waits for it.")
    table.show()


def _make(client: QenexClient, draw: random.Random, count: int) -> list[Transaction]:
    pairs = [draw.sample(range(1, ACCOUNTS + 1), 2) for _ in range(count)]
    return [client.create_transaction(debtor, creditor, "0.01", "EUR") for debtor, creditor in pairs]


if __name__ == "__main__":
    main()
