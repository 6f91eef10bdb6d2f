"""How processes of QENEX end: `qenex`, the engine, the HTTP process."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from qenex.errors import (
    AddressInUse,
    AddressInvalid,
    BackupUnusable,
    BookConflict,
    BookDamaged,
    BookExists,
    BookLocked,
    BookMissing,
    BookUnknown,
    ConnectionFailed,
    CredentialExposed,
    CredentialMissing,
    EngineError,
    Forbidden,
    InvalidInput,
    NotFound,
    PlaintextExposed,
    ProcessDied,
    QenexError,
    Rejected,
    StartTimeout,
    Unauthenticated,
    WrongBook,
)


class ExitCode(IntEnum):
    """How a process ends; docs/reference/cli.md explains each."""

    OK = 0
    REFUSED = 1
    """The ledger refused it, what was asked for is not there, or a check came out wrong."""
    USAGE = 2
    """An argument, a setting or a file that was given cannot be used; nothing was done."""
    UNREACHABLE = 3
    """No engine answers."""
    DAMAGED = 4
    """Files of the book are damaged."""
    UNAUTHORISED = 5
    """The credential is missing, open to others, unknown, or not enough."""
    PROCESS_DIED = 6
    """A process that `qenex start` runs ended by itself, or never answered."""
    IN_USE = 7
    """A port or the book is in use by another process."""
    UNAVAILABLE = 8
    """The engine cannot do it now: busy, stopping, disk full or failing, clock unconfirmed."""
    INTERRUPTED = 130
    """Ctrl-C."""


_BY_ERROR: Final[tuple[tuple[tuple[type[QenexError], ...], ExitCode], ...]] = (
    ((Unauthenticated, Forbidden, WrongBook, CredentialMissing, CredentialExposed), ExitCode.UNAUTHORISED),
    ((Rejected, NotFound, BookConflict, BookUnknown), ExitCode.REFUSED),
    ((InvalidInput, AddressInvalid, PlaintextExposed, BackupUnusable, BookMissing, BookExists), ExitCode.USAGE),
    ((ConnectionFailed,), ExitCode.UNREACHABLE),
    ((BookDamaged,), ExitCode.DAMAGED),
    ((BookLocked, AddressInUse), ExitCode.IN_USE),
    ((ProcessDied, StartTimeout), ExitCode.PROCESS_DIED),
    ((EngineError,), ExitCode.UNAVAILABLE),
)
"""The first line that fits wins."""


_PASSED_ON: Final = frozenset({ExitCode.USAGE, ExitCode.DAMAGED, ExitCode.UNAUTHORISED, ExitCode.IN_USE})
"""Ends of a process of `qenex start` that say more than that it died."""


def exit_code(error: QenexError) -> ExitCode:
    """The code with which an error ends a process."""
    if isinstance(error, ProcessDied) and error.exit_code in _PASSED_ON:
        return ExitCode(error.exit_code)
    return next((code for kinds, code in _BY_ERROR if isinstance(error, kinds)), ExitCode.REFUSED)
