"""What a database refuses, as an error of ours: a caller can try again, and no text of it holds a password or a row."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import asyncpg  # type: ignore[import-untyped]  # it comes without
from sqlalchemy import exc

from qenex.errors import RecordsDamaged, RecordsUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG: Final = logging.getLogger("qenex.records")

_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_OURS: Final = (exc.IntegrityError, exc.DataError)
"""Says that what was written is wrong, not that the database cannot: it goes on to whoever wrote it."""


@contextmanager
def as_ours() -> Iterator[None]:
    """Turns what the database refuses into `RecordsUnavailable` or `RecordsDamaged`."""
    try:
        yield
    except _OURS:
        raise
    except exc.ProgrammingError as error:
        if not _says(error, asyncpg.InsufficientPrivilegeError):
            raise  # a mistake of this program, which its log has to show
        raise _unavailable(_reason(error)) from None
    except exc.DBAPIError as error:
        if _is_damaged(error.orig):
            raise RecordsDamaged(_reason(error)) from None
        raise _unavailable(_reason(error)) from None
    except sqlite3.DatabaseError as error:
        raise (RecordsDamaged(str(error)) if _is_damaged(error) else _unavailable(str(error))) from None
    except exc.TimeoutError:
        raise _unavailable("All connections are in use.") from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        # Raised while connecting, where SQLAlchemy passes on what it did not expect.
        raise _unavailable(_first_line(error)) from None


def _is_damaged(error: object) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def _unavailable(reason: str) -> RecordsUnavailable:
    LOG.warning("the records cannot be used: %s", reason)
    return RecordsUnavailable(reason)


def _reason(error: exc.DBAPIError) -> str:
    return _first_line(error.orig or error)


def _first_line(error: BaseException) -> str:
    """The database's own first line. What follows it may quote the row."""
    line = str(error).partition("\n")[0].rpartition(">: ")[2]
    return line or type(error).__name__


def _says(error: exc.DBAPIError, kind: type[Exception]) -> bool:
    return isinstance(getattr(error.orig, "__cause__", None), kind)
