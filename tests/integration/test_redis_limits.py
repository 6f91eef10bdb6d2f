"""Limits of many nodes in a real Redis: shared, bounded, and local without a gap when it goes away."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from redis import Redis

from qenex.adapters.redis import RedisLimits
from qenex.limits import Limit, Policy
from qenex.principals import Principal, Role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

SECOND = 1_000_000_000
WIDE = 1_000_000
START_S = 30


class Server:
    """A Redis of this test, on a socket of its own."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.fail("redis-server is needed: apt-get install redis-server")
        quiet = ("--port", "0", "--save", "", "--appendonly", "no", "--dir", str(self.socket.parent))
        self._process = subprocess.Popen(
            [program, *quiet, "--unixsocket", str(self.socket), *arguments], stdout=subprocess.DEVNULL
        )
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(self.socket))
                return
            time.sleep(0.01)
        pytest.fail(f"redis-server did not serve within {START_S} s")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Server]:
    one = Server(tmp_path)
    one.start()
    yield one
    one.stop()


def policy(**narrow: tuple[int, int]) -> Policy:
    names = ("credential", "principal", "book", "address", "failures")
    return Policy(*(Limit(name, *narrow.get(name, (WIDE, WIDE))) for name in names))


def someone(name: str = "usr_1", credential: str = "key_1") -> Principal:
    return Principal(b"b" * 16, name, "user", frozenset({Role.OWNER}), credential)


@asynccontextmanager
async def nodes(server: Server, whole: Policy, count: int) -> AsyncIterator[list[RedisLimits]]:
    made = [RedisLimits(server.url, whole, count) for _ in range(count)]
    try:
        yield made
    finally:
        for one in made:
            await one.close()


async def passed(one: RedisLimits, times: int, who: Principal | None = None, address: bytes = b"a") -> int:
    """How many of so many requests at once pass."""
    now = time.monotonic_ns()
    verdicts = await asyncio.gather(*(one.judge(who, address, now) for _ in range(times)))
    return sum(verdict.allowed for verdict in verdicts)


# A unit comes back in a second; the tests leave room for a machine that takes some.
SLOW = policy(credential=(1, 100))


async def test_nodes_share_what_a_credential_has(redis_server: Server) -> None:
    whole = policy(credential=(1, 100), principal=(1, 120))
    async with nodes(redis_server, whole, 3) as (one, two, three):
        assert await passed(one, 60, someone()) == 60
        assert 40 <= await passed(two, 60, someone()) < 60
        assert 20 <= await passed(three, 60, someone(credential="key_2")) < 60, "the principal has 120"
        assert await passed(three, 5, someone("usr_2", "key_3")) == 5
        await passed(two, 60, someone())
        verdict = await two.judge(someone(), b"a", time.monotonic_ns())
        assert (verdict.allowed, verdict.limit, verdict.remaining) == (False, "credential", 0)
        assert 0 < verdict.retry_ns <= SECOND
        assert two.refused["credential"] > 1
        assert not any(node.is_degraded for node in (one, two, three))


async def test_what_is_left_is_told_as_a_single_process_would(redis_server: Server) -> None:
    async with nodes(redis_server, policy(credential=(1, 10)), 1) as (one,):
        for left in range(9, -1, -1):
            verdict = await one.judge(someone(), b"a", 0)
            assert (verdict.allowed, verdict.limit) == (True, "credential")
            assert left <= verdict.remaining <= left + 1
            assert 0 < verdict.reset_ns <= (10 - left) * SECOND
        assert not (await one.judge(someone(), b"a", 0, 1_000)).allowed


async def test_a_refused_request_counts_for_nobody(redis_server: Server) -> None:
    async with nodes(redis_server, policy(credential=(1, 5), book=(1, 12)), 1) as (one,):
        assert 5 <= await passed(one, 50, someone()) < 50
        assert 5 <= await passed(one, 50, someone("usr_2", "key_2")) < 50
        assert await passed(one, 50, someone("usr_3", "key_3")) >= 1


async def test_failures_are_counted_together(redis_server: Server) -> None:
    async with nodes(redis_server, policy(failures=(1, 3)), 2) as (one, two):
        assert (await one.failed(b"a", 0)).allowed
        assert (await two.failed(b"a", 0)).allowed
        assert (await one.failed(b"a", 0)).allowed
        verdicts = [await two.failed(b"a", 0) for _ in range(20)]
        assert not verdicts[-1].allowed
        assert two.is_suspect(b"a", 0)
        assert (await two.judge(someone(), b"a", 0)).allowed, "a right credential passes"


async def test_many_requests_share_one_call(redis_server: Server) -> None:
    async with nodes(redis_server, policy(), 1) as (one,):
        with Redis.from_url(redis_server.url) as admin:
            await passed(one, 1)
            before = admin.info("commandstats")
            assert await passed(one, 200) == 200
            after = admin.info("commandstats")
        assert after["cmdstat_evalsha"]["calls"] - before["cmdstat_evalsha"]["calls"] == 1


async def test_what_is_kept_goes_away_by_itself(redis_server: Server) -> None:
    async with nodes(redis_server, policy(credential=(1, 100)), 1) as (one,):
        await passed(one, 3, someone())
        with Redis.from_url(redis_server.url) as admin:
            assert {admin.pttl(key) > 0 for key in admin.scan_iter("qenex:limit:credential:*")} == {True}
            assert all(admin.pttl(key) != -1 for key in admin.scan_iter()), "each has a time to end"


async def test_while_it_is_away_each_node_lets_its_part_through(
    redis_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with nodes(redis_server, SLOW, 4) as (one, two, *_):
        assert await passed(one, 100, someone()) >= 100
        redis_server.stop()
        assert await passed(one, 20, someone()) <= 5, "whoever was blocked stays blocked"
        assert one.is_degraded
        assert 25 <= await passed(two, 100, someone("usr_2", "key_2")) < 50, "a fourth"
        assert two.is_degraded
        redis_server.start()
        until = time.monotonic() + START_S
        while one.is_degraded and time.monotonic() < until:
            await one.judge(someone("usr_3", "key_3"), b"a", time.monotonic_ns())
            await asyncio.sleep(0.05)
        assert not one.is_degraded
    events = [vars(record).get("event") for record in caplog.records]
    assert "limits_degraded" in events
    assert "limits_restored" in events


async def test_a_redis_that_is_full_is_one_that_is_away(redis_server: Server) -> None:
    async with nodes(redis_server, SLOW, 1) as (one,):
        with Redis.from_url(redis_server.url) as admin:
            admin.config_set("maxmemory", "1mb")
        assert 100 <= await passed(one, 150, someone()) < 150
        assert one.is_degraded


async def test_a_redis_that_hangs_costs_a_tenth_of_a_second_and_then_nothing(redis_server: Server) -> None:
    async with nodes(redis_server, SLOW, 1) as (one,):
        with Redis.from_url(redis_server.url) as admin:
            admin.execute_command("CLIENT", "PAUSE", 60_000, "ALL")
        for _ in range(3):
            assert (await one.judge(someone(), b"a", 0)).allowed
        assert one.is_degraded
        assert one.dependency.calls["timed_out"] + one.dependency.calls["failed"] == 3
        assert await passed(one, 50, someone()) == 50
        assert one.dependency.calls["timed_out"] + one.dependency.calls["failed"] == 3, "it is left alone"
