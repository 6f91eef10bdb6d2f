"""Lists a page at a time. A cursor says where the next page begins, and of which question it is a page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from qenex.api import times
from qenex.errors import InvalidParameter
from qenex.kernel import TIMESTAMP_MAX

if TYPE_CHECKING:
    from qenex.api.cursors import Cursors

LIMIT_DEFAULT: Final = 100
"""Rows of a page when nothing is said."""
LIMIT_MAX: Final = 1_000
"""Rows of a page at most."""

Order = Literal["newest", "oldest"]

Ask = Callable[[Mapping[str, int], int, bool], Awaitable[list[bytes]]]
"""Gives rows for fields of a filter, a limit, and whether the newest come first."""

Place = tuple[bytes, str, str]
"""Of whom a list is a list: book, principal, what is listed. A cursor is good there only."""


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


class Listing(NamedTuple):
    """A page as it was read."""

    rows: list[bytes]
    has_more: bool
    seal: Callable[[bytes], str]
    """The cursor after one of the rows."""


async def rows(
    wanted: Page,
    cursors: Cursors,
    place: Place,
    values: Mapping[str, int],
    ask: Ask,
    *,
    timestamp_at: int = 120,
) -> Listing:
    """One page.

    Args:
        wanted: which one.
        cursors: seals them.
        place: names the list; with `values` it must be the same for all pages of one list.
        values: fields of the filter.
        ask: the rows.
        timestamp_at: where in a row its timestamp stands, bytes.

    Raises:
        InvalidCursor: the cursor is of another list, or none at all.
    """
    newest = wanted.order == "newest"
    first, last = wanted.timestamp_min, wanted.timestamp_max
    question = repr((place, sorted(values.items()), newest, first, last)).encode()

    def seal(row: bytes) -> str:
        return cursors.seal(int.from_bytes(row[timestamp_at : timestamp_at + 8], "little"), question)

    if wanted.cursor is not None:
        seen = cursors.open(wanted.cursor, question)
        if newest:
            last = seen - 1
        else:
            first = seen + 1
        if (newest and last < max(first, 1)) or first > (last or TIMESTAMP_MAX):
            return Listing([], False, seal)  # noqa: FBT003  # has_more
    found = await ask({**values, "timestamp_min": first, "timestamp_max": last}, wanted.limit + 1, newest)
    return Listing(found[: wanted.limit], len(found) > wanted.limit, seal)


async def read(
    wanted: Page,
    cursors: Cursors,
    place: Place,
    values: Mapping[str, int],
    ask: Ask,
    document: Callable[[bytes], dict[str, Any]],
    *,
    timestamp_at: int = 120,
) -> dict[str, Any]:
    """One page in JSON's terms; as `rows`, and `document` makes a row into JSON's terms."""
    found = await rows(wanted, cursors, place, values, ask, timestamp_at=timestamp_at)
    following = found.seal(found.rows[-1]) if found.has_more else None
    return {"items": [document(row) for row in found.rows], "next": following}
