"""How soon are 1,000 books ready, and what do those cost that nobody uses?

An engine is started over a home with so many books. Then each is asked how it stands, by connections of its own, so
many at a time: its engine is started for that, and the one unused longest stopped, as the bound on open books says. A
book is ready when it has answered.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from benches._processes import Instance, Watch, scratch
from benches._run import Figures, Table, flags, number
from qenex import bootstrap
from qenex.client import AsyncConnection, Grant, Operation, Session, SystemClient, find_address

if TYPE_CHECKING:
    from collections.abc import Iterable

BOOKS = 1_000
QUICK_BOOKS = 20
AT_A_TIME = 16
READY_S = 10.0


async def _ask(address: str, secrets: Iterable[str]) -> None:
    """Has each book say how it stands; several who take from the same list take each but once."""
    for secret in secrets:
        connection = AsyncConnection(find_address(address), Session(secret, "bench", read_only=True, patience_s=60))
        await connection.call(Operation.GET_STATUS, b"")
        await connection.close()


def _visit(address: str, secrets: list[str]) -> float:
    """Seconds until every book has answered."""

    async def all_of_them() -> None:
        left = iter(secrets)
        await asyncio.gather(*(_ask(address, left) for _ in range(AT_A_TIME)))

    begin = time.monotonic()
    asyncio.run(all_of_them())
    return time.monotonic() - begin


def _disk_bytes(one: Instance) -> int:
    return sum(path.stat().st_blocks * 512 for path in one.settings.books_folder.rglob("*"))


def main() -> None:
    """Runs it."""
    asked = flags(__doc__, rounds=3)
    books = int(asked.of(BOOKS, QUICK_BOOKS))
    table = Table("Books", f"{books:,} empty books in one engine, asked by {AT_A_TIME} at a time.", asked)
    made, first, ready, started, memory, disk = (Figures() for _ in range(6))
    for _ in range(asked.rounds):
        with scratch() as path:
            one = Instance(path / "home").start()
            secrets = [bootstrap.new_credential() for _ in range(books)]
            begin = time.monotonic()
            with SystemClient(one.address, credential=bootstrap.system_token(one.settings)) as system:
                for at, secret in enumerate(secrets):
                    system.create_book(f"book {at}", Grant.of_secret(secret))
            made.add((time.monotonic() - begin) / books * 1e3)
            first.add(_visit(one.address, secrets))
            one.stop()
            disk.add(_disk_bytes(one) / books / 1024)
            one.start()
            started.add(one.start_seconds)
            before = one.serving.anonymous_bytes
            with Watch(one.serving) as watch:
                ready.add(_visit(one.address, secrets))
            open_at_a_time = min(books, one.settings.books_open_max)
            memory.add((watch.most_bytes - before) / open_at_a_time / 2**20)
            one.stop()
    table.add("a book is made", made, "ms")
    table.add("start of the engine", started, "s")
    table.at_most(f"all {number(books)} have answered after that", ready, "s", READY_S)
    table.add("the same when they were new", first, "s")
    table.add("memory of an open book, at most", memory, "MiB")
    table.add("disk of a closed book", disk, "KiB")
    table.limit(
        "what opening and closing a journal makes durable, about a dozen syncs and 4 MiB of zeros a book, and the "
        "client, which takes as much of the two cores as the engine does."
    )
    table.show()


if __name__ == "__main__":
    main()
