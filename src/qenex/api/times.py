"""Times in text: RFC 3339 in UTC with nanoseconds, and whole nanoseconds since 1970."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from qenex.kernel import TIMESTAMP_MAX

_RFC3339: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_SECOND_NS: Final = 1_000_000_000


def to_text(timestamp_ns: int) -> str:
    """For example `2026-11-23T09:46:52.000000001Z`."""
    seconds, fraction = divmod(timestamp_ns, _SECOND_NS)
    return f"{_second(seconds)}.{fraction:09d}Z"


@lru_cache(maxsize=1_024)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def from_text(text: str) -> int:
    """Nanoseconds of an RFC 3339 time (any offset, up to nine digits of a second), or of digits that say them.

    Raises:
        ValueError: it is neither, or lies outside 1 to 2^63-1.
    """
    if text.isascii() and text.isdigit() and len(text) <= len(str(TIMESTAMP_MAX)):
        timestamp_ns = int(text)
    else:
        # In an address a plus sign stands for a space; a time has no spaces, so that one can only be meant as a plus.
        match = _RFC3339.fullmatch(text.replace(" ", "+"))
        if match is None:
            raise ValueError("a time is written 2026-11-23T09:46:52.000000001Z, or as nanoseconds since 1970")
        date, clock, fraction, offset = match.groups()
        try:
            moment = datetime.fromisoformat(f"{date}T{clock}{offset.upper().replace('Z', '+00:00')}")
        except ValueError as error:
            raise ValueError(f"there is no such time: {error}") from None
        # Whole seconds of a datetime are exact in a timedelta; a float of seconds would lose nanoseconds.
        elapsed = moment - datetime(1970, 1, 1, tzinfo=UTC)
        timestamp_ns = (elapsed.days * 86_400 + elapsed.seconds) * _SECOND_NS + int((fraction or "0").ljust(9, "0"))
    if not 0 < timestamp_ns <= TIMESTAMP_MAX:
        raise ValueError("times run from 1 to 2^63-1 nanoseconds after 1970, which is in April 2262")
    return timestamp_ns
