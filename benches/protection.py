"""What does protection cost a request: the judgement by all limits, and its trace?

Everything is in one process and one thread, as in the HTTP process; Redis is a server of its own on this machine, with
64 requests waiting at a time.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from benches._run import Figures, Table, flags, folder
from qenex.adapters.redis import RedisLimits
from qenex.limits import LocalLimits, peer_key
from qenex.limits.configured import policy
from qenex.principals import Principal, Role
from qenex.settings import Settings
from qenex.telemetry.tracing import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qenex.limits import Limits
    from qenex.telemetry.tracing import Span

WIDE = {
    f"limit_{name}_{what}": 1_000_000
    for name in ("credential", "principal", "book", "address")
    for what in ("rate", "burst")
}
PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
WAITING = 64
TARGET_US = 5
TARGET_REDIS = 2_500


def main() -> None:
    """Runs it."""
    asked = flags(__doc__, rounds=7)
    count = int(asked.of(200_000, 2_000))
    table = Table(
        "Protection",
        f"{count:,} requests a round of one principal; a trace has the three spans of a request. None of the requests "
        "is refused.",
        asked,
    )
    judged, traced, named, sampled = Figures(), Figures(), Figures(), Figures()
    redis, redis_cpu = Figures(), Figures()
    with _redis() as url:
        for _ in range(asked.rounds):
            local = LocalLimits(policy(Settings.load(WIDE)))
            judged.add(uvloop.run(_judged(local, count)))
            for figures, sample, header in ((traced, 0, None), (named, 0, PARENT), (sampled, 1, None)):
                figures.add(_traced(Tracer(_Nowhere(), sample), count, header))
            rate, cpu_us = uvloop.run(_shared(url, count // 4))
            redis.add(rate)
            redis_cpu.add(cpu_us)
    table.at_most("judged by four limits, in process", judged, "us", TARGET_US)
    table.at_most("a request that is not sampled, its trace", traced, "us", TARGET_US)
    table.at_most("the same, of a trace that the caller named", named, "us", TARGET_US)
    table.add("a request that is sampled, without the sending", sampled, "us")
    table.at_least(f"judged by Redis, {WAITING} waiting: requests", redis, "/s", TARGET_REDIS)
    table.add("judged by Redis: CPU of this process, a request", redis_cpu, "us")
    table.limit("the interpreter; with Redis, the making of its commands and the reading of its answers.")
    table.show()


class _Nowhere:
    def take(self, spans: list[Span]) -> None:
        """Forgets them."""


async def _judged(limits: LocalLimits, count: int) -> float:
    principal, peer, clock = _principal(), "192.0.2.1", time.monotonic_ns
    began, passed = time.perf_counter(), 0
    for _ in range(count):
        passed += (await limits.judge(principal, peer_key(peer), clock())).allowed
    if passed < count:
        raise SystemExit(f"{count - passed} requests were refused")
    return (time.perf_counter() - began) * 1e6 / count


def _traced(tracer: Tracer, count: int, header: bytes | None) -> float:
    began = time.perf_counter()
    for _ in range(count):
        trace = tracer.begin(header)
        for part in ("authenticate", "admit", "engine call"):
            with trace.span(part):
                pass
        trace.finish("POST /api/v1/transaction")
    return (time.perf_counter() - began) * 1e6 / count


async def _shared(url: str, count: int) -> tuple[float, float]:
    """Requests a second, and the CPU of one in microseconds."""
    limits = RedisLimits(url, policy(Settings.load(WIDE)), 2)
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(_ask(limits, count // WAITING) for _ in range(WAITING)))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    if limits.is_degraded:
        raise SystemExit("Redis did not answer in time")
    await limits.close()
    done = count // WAITING * WAITING
    return done / seconds, cpu * 1e6 / done


async def _ask(limits: Limits, count: int) -> None:
    principal, peer, clock = _principal(), peer_key("192.0.2.1"), time.monotonic_ns
    for _ in range(count):
        await limits.judge(principal, peer, clock())


def _principal() -> Principal:
    return Principal(b"b" * 16, "usr_1", "user", frozenset({Role.OPERATOR}), "key_1")


@contextmanager
def _redis() -> Iterator[str]:
    """A Redis of its own."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("redis-server is needed: apt-get install redis-server")
    with tempfile.TemporaryDirectory(dir=folder()) as place:
        path = Path(place) / "redis.sock"
        arguments = ["--port", "0", "--save", "", "--appendonly", "no", "--dir", place, "--unixsocket", str(path)]
        with subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL) as server:
            try:
                _until(path.exists)
                yield f"unix://{path}"
            finally:
                server.kill()


def _until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not is_so():
        if time.monotonic() > until:
            raise SystemExit("redis-server did not start")
        time.sleep(0.01)


if __name__ == "__main__":
    main()
