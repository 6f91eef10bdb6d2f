"""A breaker opens on failures in a row or by ratio, probes one call at a time, and closes on success."""

from __future__ import annotations

import asyncio

import pytest

from qenex.breaker import Breaker, Rules, State, Ticket
from qenex.dependencies import Dependencies, Dependency
from qenex.errors import DependencyUnavailable

SECOND = 1_000_000_000
RULES = Rules(
    failures_max=3, ratio_max=0.5, calls_min=10, window_ns=10 * SECOND, pause_ns=SECOND, pause_max_ns=4 * SECOND
)


def admitted(breaker: Breaker, now: int) -> Ticket:
    ticket = breaker.admit(now)
    assert ticket is not None
    return ticket


def fail(breaker: Breaker, now: int, times: int = 1) -> None:
    for _ in range(times):
        breaker.failed(admitted(breaker, now), now)


def test_failures_in_a_row_open_it() -> None:
    breaker = Breaker(RULES)
    fail(breaker, 0, 2)
    breaker.succeeded(admitted(breaker, 0), 0)
    fail(breaker, 0, 2)
    assert breaker.state(0) is State.CLOSED
    fail(breaker, 0)
    assert breaker.state(0) is State.OPEN
    assert breaker.admit(SECOND - 1) is None
    assert breaker.retry_ns(0) == SECOND


def test_too_large_a_part_of_many_opens_it_and_not_of_few() -> None:
    for calls, opens in ((8, False), (12, True)):
        breaker = Breaker(RULES)
        for number in range(calls):
            if number % 3 == 0:
                breaker.succeeded(admitted(breaker, 0), 0)
            elif breaker.state(0) is State.CLOSED:
                fail(breaker, 0)
        assert (breaker.state(0) is State.OPEN) == opens


def test_old_failures_are_forgotten() -> None:
    breaker = Breaker(RULES)
    for now in range(0, 200 * SECOND, 20 * SECOND):
        fail(breaker, now, 2)
        breaker.succeeded(admitted(breaker, now), now)
    assert breaker.state(200 * SECOND) is State.CLOSED


def test_one_call_probes_and_closes_it_or_opens_it_for_longer() -> None:
    breaker = Breaker(RULES)
    fail(breaker, 0, 3)
    now = 0
    for pause in (1, 2, 4, 4):
        assert breaker.state(now + pause * SECOND - 1) is State.OPEN
        now += pause * SECOND
        assert breaker.state(now) is State.HALF_OPEN
        probe = admitted(breaker, now)
        assert probe.is_probe
        assert breaker.admit(now) is None, "one at a time"
        breaker.failed(probe, now)
    now += 4 * SECOND
    breaker.succeeded(admitted(breaker, now), now)
    assert breaker.state(now) is State.CLOSED
    fail(breaker, now, 3)
    assert breaker.retry_ns(now) == SECOND, "it begins anew"


def test_a_call_from_before_it_opened_says_nothing() -> None:
    breaker = Breaker(RULES)
    late = [admitted(breaker, 0) for _ in range(4)]
    fail(breaker, 0, 3)
    breaker.succeeded(late[0], 0)
    assert breaker.state(0) is State.OPEN
    breaker.succeeded(admitted(breaker, SECOND), SECOND)
    for ticket in late[1:]:
        breaker.failed(ticket, SECOND)
    assert breaker.state(SECOND) is State.CLOSED


def test_a_probe_that_was_given_up_makes_way_for_another() -> None:
    breaker = Breaker(RULES)
    fail(breaker, 0, 3)
    breaker.abandoned(admitted(breaker, SECOND))
    assert admitted(breaker, SECOND).is_probe


class Clock:
    now = 0

    def __call__(self) -> int:
        return self.now


async def _answer() -> str:
    return "yes"


async def _fails() -> str:
    raise ConnectionResetError


async def _never() -> str:
    await asyncio.get_running_loop().create_future()
    raise AssertionError


async def test_a_dependency_that_fails_is_left_alone_and_asked_again_later(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    one = Dependency("thing", timeout_s=5, rules=RULES, clock_ns=clock)
    assert await one.call(_answer) == "yes"
    for _ in range(3):
        with pytest.raises(DependencyUnavailable, match="thing: ConnectionResetError"):
            await one.call(_fails)
    with pytest.raises(DependencyUnavailable) as refused:
        await one.call(_answer)
    assert refused.value.values == {"dependency": "thing", "retry_after_s": 1}
    clock.now = SECOND
    assert await one.call(_answer) == "yes"
    assert one.calls == {"answered": 2, "failed": 3, "refused": 1}
    assert [vars(record)["event"] for record in caplog.records] == ["breaker_opened", "breaker_closed"]


async def test_what_takes_too_long_has_failed() -> None:
    one = Dependency("thing", timeout_s=60, rules=Rules(failures_max=1))
    with pytest.raises(DependencyUnavailable, match="no answer in time"):
        await one.call(_never, timeout_s=0)
    assert one.state is State.OPEN
    assert one.calls == {"timed_out": 1}


async def test_an_answer_that_is_an_error_is_an_answer() -> None:
    one = Dependency("thing", timeout_s=5, rules=Rules(failures_max=1))

    async def refuses() -> None:
        raise KeyError("no such row")

    with pytest.raises(KeyError):
        await one.call(refuses)
    assert one.state is State.CLOSED
    assert one.calls == {"answered": 1}


async def test_whoever_leaves_says_nothing_of_the_dependency() -> None:
    one = Dependency("thing", timeout_s=60, rules=Rules(failures_max=1))
    task = asyncio.create_task(one.call(_never))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert one.state is State.CLOSED
    assert one.calls == {"abandoned": 1}


def test_there_are_only_so_many() -> None:
    all_of_them = Dependencies()
    for number in range(2_000):
        all_of_them.add(Dependency(f"webhooks:{number}", timeout_s=1))
    assert len(all_of_them) == Dependencies.ENTRIES_MAX
    assert next(iter(all_of_them)).name == f"webhooks:{2_000 - Dependencies.ENTRIES_MAX}"
