"""What protects QENEX from others, and them from it: limits, and dependencies that fail."""

from __future__ import annotations

from qenex.errors.base import QenexError


class RateLimited(QenexError, code="rate_limited", http_status=429):
    """There were more requests than one of the limits lets through; nothing was done."""

    def __init__(self, limit: str, retry_after_s: int) -> None:
        super().__init__(f"{self.text} (limit by {limit}; try again in {retry_after_s} s)")
        self.limit, self.retry_after_s = limit, retry_after_s


class DependencyUnavailable(QenexError, code="dependency_unavailable", http_status=503):
    """Something that QENEX depends on outside of it does not answer."""

    def __init__(self, dependency: str, retry_after_s: int, detail: str = "") -> None:
        super().__init__(f"{self.text} ({dependency}{': ' if detail else ''}{detail})")
        self.dependency, self.retry_after_s = dependency, retry_after_s
