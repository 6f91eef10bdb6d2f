"""The generic cell rate algorithm (GCRA), in integer nanoseconds that are handed in.

A limit lets `rate` units a second through for ever, and `burst` of them at once after a rest. All that it remembers of
somebody is one time: when everything it has used will have come back. Whoever's time is past has used nothing, so that
forgetting it changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

from qenex.errors import RateLimited

SECOND_NS: Final = 1_000_000_000
BULK_ROWS: Final = 100
"""So many rows of a bulk cost as much as one request."""


def bulk_cost(rows: int) -> int:
    """What the rows of a bulk cost beyond the 1 that every request costs."""
    return rows // BULK_ROWS


@dataclass(frozen=True, slots=True)
class Limit:
    """A rate and a burst under a name."""

    name: str
    """What is counted: `credential`, `principal`, `book`, `address`, `failures`."""
    rate: int
    """Units a second, 1 to 1,000,000."""
    burst: int
    """Units at once after a rest, at least 1."""

    @property
    def interval_ns(self) -> int:
        """How long one unit takes to come back."""
        return SECOND_NS // self.rate

    @property
    def tolerance_ns(self) -> int:
        """How long the whole burst takes to come back."""
        return self.burst * self.interval_ns

    @property
    def policy(self) -> str:
        """The item of `RateLimit-Policy`: the burst, and the seconds in which as much comes back."""
        return f'"{self.name}";q={self.burst};w={math.ceil(self.burst / self.rate)}'

    def shared(self, nodes: int) -> Limit:
        """What one of several nodes may let through while they cannot ask one another.

        The tolerance stays the same (up to rounding): a time that one of them remembers means as much in the other.
        """
        return Limit(self.name, max(1, self.rate // nodes), max(1, self.burst // nodes))


@dataclass(frozen=True, slots=True)
class Policy:
    """All limits of an installation."""

    credential: Limit
    principal: Limit
    book: Limit
    address: Limit
    failures: Limit
    """Failed authentications of an address."""

    def shared(self, nodes: int) -> Policy:
        """The part of one of several nodes."""
        return Policy(
            *(one.shared(nodes) for one in (self.credential, self.principal, self.book, self.address, self.failures))
        )

    @property
    def header(self) -> bytes:
        """The value of `RateLimit-Policy`."""
        return ", ".join(one.policy for one in (self.credential, self.principal, self.address)).encode("ascii")


class Verdict(NamedTuple):
    """What the limits say of one request."""

    limit: str
    """The limit that refuses; else the one of the caller's own that has least left."""
    remaining: int
    """Units that it would still let through now."""
    reset_ns: int
    """How long until all of it has come back."""
    retry_ns: int
    """How long until the request would pass; 0 when it does."""

    @property
    def allowed(self) -> bool:
        """Whether the request may go on."""
        return self.retry_ns == 0

    @property
    def header(self) -> bytes:
        """The value of `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11)."""
        return b'"%b";r=%d;t=%d' % (self.limit.encode("ascii"), self.remaining, -(-self.reset_ns // SECOND_NS))

    def error(self) -> RateLimited:
        """What to raise where it may not; its `retry_after_s` becomes `Retry-After`."""
        return RateLimited(self.limit, -(-self.retry_ns // SECOND_NS))


FREE: Final = Verdict("", 0, 0, 0)
"""The verdict where nothing is limited."""
