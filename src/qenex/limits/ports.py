"""What the doors ask of the limits, wherever they are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from qenex.limits.rules import Verdict
    from qenex.principals import Principal


class Limits(Protocol):
    """Judges requests; a request that is refused costs nothing."""

    async def judge(self, principal: Principal | None, address: bytes, now_ns: int, cost: int = 1) -> Verdict:
        """One request, by all limits at once; it counts for all of them or, refused, for none.

        Args:
            principal: whose it is; None counts the address alone.
            address: the peer, as `peer_key` gives it.
            now_ns: the time, nanoseconds of a clock that never goes back.
            cost: units. One that costs more than a burst costs the whole burst, so that it can pass at all.
        """

    async def failed(self, address: bytes, now_ns: int) -> Verdict:
        """An authentication that failed.

        It is asked only after the credential was found wrong, so that a right one always passes, whatever others at
        the same address do. Refused, the answer says when to try again instead of what was wrong.
        """

    def is_suspect(self, address: bytes, now_ns: int) -> bool:
        """Whether so many authentications of an address failed that the next one to fail would be refused.

        For checks that are expensive: those of suspects wait behind all others, but they do get their turn.
        """
