"""Lists a page at a time. A cursor says where the next page begins, and of which question it is a page."""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from qenex.api import times
from qenex.errors import InvalidCursor, InvalidParameter
from qenex.kernel import TIMESTAMP_MAX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from qenex.client.session import Reply

LIMIT_DEFAULT: Final = 100
"""Rows of a page when nothing is said."""
LIMIT_MAX: Final = 1_000
"""Rows of a page at most."""

Order = Literal["newest", "oldest"]

_CURSOR: Final = Struct("<BQ8s")
_VERSION: Final = 1


class Page(NamedTuple):
    """Which page of a list is wanted."""

    limit: int
    order: Order
    cursor: str | None
    timestamp_min: int
    """Inclusive; 0 is from the beginning."""
    timestamp_max: int
    """Inclusive; 0 is to the end."""


def page(limit: int, order: Order, cursor: str | None, since: str | None, until: str | None) -> Page:
    """Reads the parameters that every list has.

    Raises:
        InvalidParameter: a time is none, or the first lies after the last.
    """
    first = timestamp("timestamp_min", since) if since is not None else 0
    last = timestamp("timestamp_max", until) if until is not None else 0
    if last and first > last:
        raise InvalidParameter("timestamp_min", "lies after timestamp_max")
    return Page(limit, order, cursor, first, last)


def timestamp(parameter: str, text: str) -> int:
    """A time in a parameter, UTC nanoseconds.

    Raises:
        InvalidParameter: it is none.
    """
    try:
        return times.from_text(text)
    except ValueError as error:
        raise InvalidParameter(parameter, str(error)) from None


async def read(
    wanted: Page,
    question: str,
    values: Mapping[str, int],
    ask: Callable[[Mapping[str, int], int, bool], Awaitable[Reply]],
    document: Callable[[bytes], dict[str, Any]],
    *,
    timestamp_at: int = 120,
) -> dict[str, Any]:
    """One page.

    Args:
        wanted: which one.
        question: names the list; with `values` it must be the same for all pages of one list.
        values: fields of the filter.
        ask: gives rows for fields of a filter, a limit, and whether the newest come first.
        document: a row in JSON's terms.
        timestamp_at: where in a row its timestamp stands, bytes.

    Raises:
        InvalidCursor: the cursor is of another list, or none at all.
    """
    newest = wanted.order == "newest"
    first, last = wanted.timestamp_min, wanted.timestamp_max
    tag = sha256(repr((question, sorted(values.items()), newest, first, last)).encode()).digest()[:8]
    if wanted.cursor is not None:
        seen = _decode(wanted.cursor, tag)
        if newest:
            last = seen - 1
        else:
            first = seen + 1
        if (newest and last < max(first, 1)) or first > (last or TIMESTAMP_MAX):
            return {"items": [], "next": None}
    reply = await ask({**values, "timestamp_min": first, "timestamp_max": last}, wanted.limit + 1, newest)
    size = reply.rows.dtype.itemsize
    body = bytes(reply.body)
    rows = [body[start : start + size] for start in range(0, len(body), size)]
    shown = rows[: wanted.limit]
    following = None
    if len(rows) > wanted.limit:
        following = _encode(int.from_bytes(shown[-1][timestamp_at : timestamp_at + 8], "little"), tag)
    return {"items": [document(row) for row in shown], "next": following}


def _encode(timestamp_ns: int, tag: bytes) -> str:
    return base64.urlsafe_b64encode(_CURSOR.pack(_VERSION, timestamp_ns, tag)).decode("ascii").rstrip("=")


def _decode(cursor: str, tag: bytes) -> int:
    """The timestamp of the last row that was shown."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _CURSOR.size:
        raise InvalidCursor("cursor", "it is not one that a list gave as `next`")
    version, timestamp_ns, of = _CURSOR.unpack(raw)
    if version != _VERSION or not 0 < timestamp_ns <= TIMESTAMP_MAX:
        raise InvalidCursor("cursor", "it is not one that a list gave as `next`")
    if of != tag:
        raise InvalidCursor("cursor", "it belongs to a list with other parameters; they must stay the same")
    return int(timestamp_ns)
