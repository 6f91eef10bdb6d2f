"""The alarm of the policies: a counter that somebody watches, and a line in the log that says what was wrong."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_LOG: Final = logging.getLogger("qenex.access")
LENGTH_MAX: Final = 2_000
"""Characters of a complaint in the log."""


class PolicyAlarm:
    """Counts denials that no policy has decided, and logs each."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._failures = Counter(
            "qenex_policy_failures",
            "Requests denied because policies could not be evaluated or are not there.",
            registry=registry,
        )

    def policies_failed(self, book: bytes, complaint: str) -> None:
        """One more."""
        self._failures.inc()
        _LOG.error("policies of book %s: %s", book.hex(), complaint[:LENGTH_MAX])
