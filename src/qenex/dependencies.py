"""What QENEX asks outside of itself, each behind a timeout and a circuit breaker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, TypeVar

from qenex.breaker import Breaker, Rules, State
from qenex.errors import DependencyUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

LOG: Final = logging.getLogger("qenex.dependencies")
SECOND_NS: Final = 1_000_000_000

T = TypeVar("T")


class Dependency:
    """One of them: `await dependency.call(lambda: client.get(...))`."""

    def __init__(
        self,
        name: str,
        *,
        timeout_s: float,
        failures: tuple[type[Exception], ...] = (OSError,),
        rules: Rules | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """It is taken to be well.

        Args:
            name: how metrics, logs and errors call it: `records`, `redis`, `webhooks:HOST`, `oidc:HOST`.
            timeout_s: how long a call may take.
            failures: the exceptions that mean it failed; others are answers (a row that is refused, say).
            rules: when the breaker opens.
            clock_ns: the time.
        """
        self.name, self.timeout_s, self._failures, self._clock_ns = name, timeout_s, failures, clock_ns
        self.breaker = Breaker(rules)
        self.calls: Counter[str] = Counter()
        """Calls by what became of them: `answered`, `failed`, `timed_out`, `refused` (never made), `abandoned`."""
        self._shown = State.CLOSED

    @property
    def state(self) -> State:
        """What it would do with a call now."""
        return self.breaker.state(self._clock_ns())

    async def call(self, ask: Callable[[], Awaitable[T]], *, timeout_s: float | None = None) -> T:
        """Asks it.

        Args:
            ask: makes the call; not even that is done while the breaker is open.
            timeout_s: where this call may take another time than others.

        Raises:
            DependencyUnavailable: it failed, gave no answer in time, or was not asked because it lately did so.
        """
        ticket = self.breaker.admit(self._clock_ns())
        if ticket is None:
            self.calls["refused"] += 1
            raise DependencyUnavailable(self.name, self.retry_after_s, "it has failed lately")
        outcome = "abandoned"
        try:
            async with asyncio.timeout(self.timeout_s if timeout_s is None else timeout_s) as limit:
                answer = await ask()
            outcome = "answered"
        except TimeoutError as error:
            outcome = "timed_out" if limit.expired() else "failed"
            raise DependencyUnavailable(self.name, 1, "no answer in time") from error
        except self._failures as error:
            outcome = "failed"
            raise DependencyUnavailable(self.name, 1, type(error).__name__) from error
        except Exception:
            outcome = "answered"
            raise
        finally:
            self.calls[outcome] += 1
            if outcome == "answered":
                self.breaker.succeeded(ticket, self._clock_ns())
            elif outcome == "abandoned":
                self.breaker.abandoned(ticket)
            else:
                self.breaker.failed(ticket, self._clock_ns())
            self._say()
        return answer

    @property
    def retry_after_s(self) -> int:
        """When to try again, whole seconds from now."""
        return max(1, -(-self.breaker.retry_ns(self._clock_ns()) // SECOND_NS))

    def _say(self) -> None:
        """Logs that the breaker opened or closed, once."""
        is_open = self.state is not State.CLOSED
        if is_open == (self._shown is not State.CLOSED):
            return
        self._shown = State.OPEN if is_open else State.CLOSED
        if is_open:
            LOG.error("dependency %s fails", self.name, extra={"event": "breaker_opened", "dependency": self.name})
        else:
            LOG.warning("dependency %s is back", self.name, extra={"event": "breaker_closed", "dependency": self.name})


class Dependencies:
    """All of them, for metrics. One that is unused for long is forgotten when there are too many."""

    ENTRIES_MAX: Final = 1_024

    def __init__(self) -> None:
        """There is none yet."""
        self._by_name: dict[str, Dependency] = {}

    def add(self, dependency: Dependency) -> Dependency:
        """Registers one; another of the same name takes its place."""
        self._by_name.pop(dependency.name, None)
        if len(self._by_name) >= self.ENTRIES_MAX:
            del self._by_name[next(iter(self._by_name))]
        self._by_name[dependency.name] = dependency
        return dependency

    def __iter__(self) -> Iterator[Dependency]:
        return iter(tuple(self._by_name.values()))

    def __len__(self) -> int:
        return len(self._by_name)
