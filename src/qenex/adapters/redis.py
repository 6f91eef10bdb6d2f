"""Limits for many nodes, kept in Redis; while it does not answer, each node lets its own part through.

All requests of one turn of the event loop go to Redis in one call of one script, which judges each of them by all its
limits and counts it for all or none, by Redis's own clock. What it counted is remembered here too, so that whoever is
blocked stays so when Redis goes away.

Redis must keep what it is given: `maxmemory-policy` is `noeviction` (its default) or `volatile-ttl`. It is one server
or a primary with replicas, not a cluster, whose scripts could not see all the keys of a request.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from qenex.breaker import Rules, State
from qenex.dependencies import Dependency
from qenex.errors import DependencyUnavailable
from qenex.limits import LocalLimits
from qenex.limits.local import ENTRIES_MAX, conclude

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from qenex.limits import Policy, Verdict
    from qenex.limits.local import Asked
    from qenex.limits.table import Table
    from qenex.principals import Principal

LOG: Final = logging.getLogger("qenex.limits")

TIMEOUT_S: Final = 0.1
"""How long a call may take; whoever waits for it is then judged here."""
BATCH_MAX: Final = 256
"""Requests of one call."""
CALLS_MAX: Final = 4
"""Calls under way at a time; what comes meanwhile makes the next one larger."""
PREFIX: Final = "qenex:limit:"

# Microseconds since 2025, so that a double holds them with some digits to spare. For each request: how many limits it
# is judged by, then for each of them what it costs and what the whole burst is worth; what comes back for each is the
# time until all of it has come back, negative where the request is refused.
_SCRIPT: Final = """
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1735689600) * 1000000 + tonumber(time[2])
local answer, at, first = {}, 1, 0
while ARGV[at] do
  local count = tonumber(ARGV[at])
  local times, refused = {}, false
  for i = 1, count do
    local stored = tonumber(redis.call('GET', KEYS[first + i]) or '0')
    times[i] = math.max(stored, now) + tonumber(ARGV[at + 2 * i - 1])
    refused = refused or times[i] - now > tonumber(ARGV[at + 2 * i]) + 0.01
  end
  for i = 1, count do
    local used = times[i] - now
    if refused then
      answer[first + i] = string.format('-%.3f', used)
    else
      answer[first + i] = string.format('%.3f', used)
      redis.call('SET', KEYS[first + i], string.format('%.3f', times[i]), 'PX', math.floor(used / 1000) + 1)
    end
  end
  at, first = at + 1 + 2 * count, first + count
end
return answer
"""


class _Waiting(NamedTuple):
    asked: Asked
    cost: int
    now_ns: int
    future: asyncio.Future[Verdict]


class RedisLimits:
    """The limits of all nodes together; implements `qenex.limits.Limits`."""

    def __init__(self, url: str, policy: Policy, nodes: int, entries_max: int = ENTRIES_MAX) -> None:
        """Connects with the first request.

        Args:
            url: `redis://` or `rediss://` (TLS), with the password if there is one.
            policy: what all nodes together let through.
            nodes: how many there are.
            entries_max: as in `LocalLimits`.
        """
        self._whole = LocalLimits(policy, entries_max=1)  # whose tables stay empty: what the limits are worth
        self.local = LocalLimits(policy.shared(nodes), entries_max)
        """What this node lets through by itself."""
        self.policy = policy
        self.dependency = Dependency(
            "redis", timeout_s=TIMEOUT_S, failures=(OSError, RedisError), rules=Rules(failures_max=3)
        )
        self._redis = Redis.from_url(
            url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            # One more than calls: a call that ran out of time may still be giving its connection back.
            max_connections=CALLS_MAX + 1,
            # A second try would come too late: whoever waits is judged here by then.
            retry=Retry(NoBackoff(), 0),
        )
        self._script = self._redis.register_script(_SCRIPT)
        self._queue: list[_Waiting] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_scheduled = False
        self.is_degraded = False
        """Whether this node judges by itself, since Redis does not answer: an alarm."""

    @property
    def refused(self) -> Counter[str]:
        """Requests that were refused, by the limit that did."""
        return self.local.refused

    @property
    def tables(self) -> tuple[Table, ...]:
        """What this node remembers, for metrics."""
        return self.local.tables

    async def judge(self, principal: Principal | None, address: bytes, now_ns: int, cost: int = 1) -> Verdict:
        """As `Limits` says."""
        return await self._judge(self.local.asked(principal, address), now_ns, cost)

    async def failed(self, address: bytes, now_ns: int) -> Verdict:
        """As `Limits` says."""
        return await self._judge(self.local.asked_failed(address), now_ns, 1)

    def is_suspect(self, address: bytes, now_ns: int) -> bool:
        """As `Limits` says, of what this node has seen."""
        return self.local.is_suspect(address, now_ns)

    async def close(self) -> None:
        """Ends the connections."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._redis.aclose()

    async def _judge(self, asked: Asked, now_ns: int, cost: int) -> Verdict:
        if self.dependency.state is State.OPEN:
            self._degrade()
            return self.local.decide(asked, now_ns, cost)
        loop = asyncio.get_running_loop()
        waiting = _Waiting(asked, cost, now_ns, loop.create_future())
        self._queue.append(waiting)
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._start)
        return await waiting.future

    def _start(self) -> None:
        self._is_scheduled = False
        while self._queue and len(self._tasks) < CALLS_MAX:
            batch, self._queue = self._queue[:BATCH_MAX], self._queue[BATCH_MAX:]
            task = asyncio.get_running_loop().create_task(self._exchange(batch))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._start()

    async def _exchange(self, batch: list[_Waiting]) -> None:
        """Judges a batch, by Redis or here; whatever happens, everybody gets a verdict."""
        try:
            answer = await self._ask(batch)
        except DependencyUnavailable:
            self._degrade()
            for waiting in batch:
                _tell(waiting, self.local.decide(waiting.asked, waiting.now_ns, waiting.cost))
            return
        except BaseException:
            for waiting in batch:
                waiting.future.cancel()
            raise
        self._restore()
        first = 0
        for waiting in batch:
            texts = answer[first : first + len(waiting.asked)]
            first += len(waiting.asked)
            _tell(waiting, self._conclude(waiting, texts))

    async def _ask(self, batch: list[_Waiting]) -> Sequence[bytes]:
        keys: list[str] = []
        arguments: list[int | float] = []
        for waiting in batch:
            arguments.append(len(waiting.asked))
            for table, key in waiting.asked:
                limit = self._limit(table)
                keys.append(f"{PREFIX}{limit.limit.name}:{_text(key)}")
                price_ns = min(waiting.cost * limit.interval_ns, limit.tolerance_ns)
                arguments += (price_ns / 1_000, limit.tolerance_ns / 1_000)

        async def ask() -> Sequence[bytes]:
            answer: Sequence[bytes] = await self._script(keys, arguments)
            return answer

        return await self.dependency.call(ask)

    def _conclude(self, waiting: _Waiting, texts: Sequence[bytes]) -> Verdict:
        is_refused = texts[0].startswith(b"-")
        used_ns = [int(abs(float(text)) * 1_000) for text in texts]
        limits = [self._limit(table) for table, _ in waiting.asked]
        if is_refused:
            # Nothing was counted: what each had used before is what the local table is to know.
            prices = [min(waiting.cost * limit.interval_ns, limit.tolerance_ns) for limit in limits]
            before = [used - price for used, price in zip(used_ns, prices, strict=True)]
            self.local.learn(waiting.asked, before, waiting.now_ns)
        else:
            self.local.learn(waiting.asked, used_ns, waiting.now_ns)
        used = list(zip(limits, used_ns, strict=True))
        verdict = conclude(used, self._whole.books, waiting.cost, refused=is_refused)
        if is_refused:
            self.refused[verdict.limit] += 1
        return verdict

    def _limit(self, table: Table) -> Table:
        """The whole limit of which a table holds this node's part."""
        whole: Table = getattr(self._whole, _ATTRIBUTES[table.limit.name])
        return whole

    def _degrade(self) -> None:
        if not self.is_degraded:
            self.is_degraded = True
            LOG.error("limits are local, Redis does not answer", extra={"event": "limits_degraded"})

    def _restore(self) -> None:
        if self.is_degraded:
            self.is_degraded = False
            LOG.warning("limits are shared again", extra={"event": "limits_restored"})


_ATTRIBUTES: Final = {
    "credential": "credentials",
    "principal": "principals",
    "book": "books",
    "address": "addresses",
    "failures": "failures",
}


def _tell(waiting: _Waiting, verdict: Verdict) -> None:
    if not waiting.future.done():
        waiting.future.set_result(verdict)


def _text(key: Any) -> str:  # noqa: ANN401  # a hashable of the kinds below
    if isinstance(key, tuple):
        return ":".join(map(_text, key))
    return key.hex() if isinstance(key, bytes) else str(key)
