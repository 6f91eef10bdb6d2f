"""Versions of the API, which live side by side under `/api/NAME`, and how one of them comes to its end.

A version that has a successor goes on for as long as was promised. Its answers say from when it is deprecated
(`Deprecation`, RFC 9745), when it will end (`Sunset`, RFC 8594) and what takes its place (`Link`). Then it is gone.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Final, NamedTuple

from qenex.errors import VersionEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qenex.api.exchange import Headers

SECOND_NS: Final = 1_000_000_000
_PREFIX: Final = "/api/"


class Version(NamedTuple):
    """One version."""

    name: str
    """As it stands in addresses: `v1`."""
    deprecated_ns: int | None = None
    """From when it should not be used for anything new, UTC nanoseconds."""
    sunset_ns: int | None = None
    """From when on it is gone."""
    successor: str | None = None
    """The version that takes its place."""

    @property
    def headers(self) -> Headers:
        """What its answers say of it."""
        found: Headers = []
        if self.deprecated_ns is not None:
            found.append((b"deprecation", f"@{self.deprecated_ns // SECOND_NS}".encode("ascii")))
        if self.sunset_ns is not None:
            found.append((b"sunset", formatdate(self.sunset_ns // SECOND_NS, usegmt=True).encode("ascii")))
        if self.successor is not None:
            link = f'<{_PREFIX}{self.successor}/openapi.json>; rel="successor-version"'
            found.append((b"link", link.encode("ascii")))
        return found


CURRENT: Final = Version("v1")


class Versions:
    """Those that are served."""

    def __init__(self, versions: Iterable[Version] = (CURRENT,), clock_ns: Callable[[], int] = time.time_ns) -> None:
        """Takes them, and the time, UTC nanoseconds."""
        self._clock_ns = clock_ns
        self._ending = {
            f"{_PREFIX}{version.name}": (version, version.headers) for version in versions if version.headers
        }

    def headers(self, path: str) -> Headers:
        """What the answer to a request says of the version that it was made to.

        Raises:
            VersionEnded: there is no such version any more.
        """
        if not self._ending:
            return []
        version, headers = self._ending.get("/".join(path.split("/", 3)[:3]), (None, []))
        if version is not None and version.sunset_ns is not None and version.sunset_ns <= self._clock_ns():
            raise VersionEnded(version.name, version.successor)
        return headers
