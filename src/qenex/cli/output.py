"""What every command shares: exit codes, output for people or programs, errors."""

from __future__ import annotations

import json
import sys
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from qenex.errors import (
    AddressInUse,
    AddressInvalid,
    BookDamaged,
    BookLocked,
    ConnectionFailed,
    CredentialExposed,
    CredentialMissing,
    EngineError,
    Forbidden,
    InvalidInput,
    NotFound,
    ProcessDied,
    QenexError,
    Rejected,
    StartTimeout,
    Unauthenticated,
    WrongBook,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class ExitCode(IntEnum):
    """How `qenex` ends; docs/reference/cli.md explains each."""

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
    """The engine answers but cannot do it now: busy, stopping, disk full, clock unconfirmed."""
    INTERRUPTED = 130
    """Ctrl-C."""


_BY_ERROR: Final[tuple[tuple[tuple[type[QenexError], ...], ExitCode], ...]] = (
    ((Unauthenticated, Forbidden, WrongBook, CredentialMissing, CredentialExposed), ExitCode.UNAUTHORISED),
    ((Rejected, NotFound), ExitCode.REFUSED),
    ((InvalidInput,), ExitCode.USAGE),
    ((ConnectionFailed,), ExitCode.UNREACHABLE),
    ((BookDamaged,), ExitCode.DAMAGED),
    ((BookLocked,), ExitCode.IN_USE),
    ((AddressInUse,), ExitCode.IN_USE),
    ((ProcessDied, StartTimeout), ExitCode.PROCESS_DIED),
    ((AddressInvalid,), ExitCode.USAGE),
    ((EngineError,), ExitCode.UNAVAILABLE),
)
"""The first line that fits wins."""


def exit_code(error: QenexError) -> ExitCode:
    """The code with which an error ends the command."""
    return next((code for kinds, code in _BY_ERROR if isinstance(error, kinds)), ExitCode.REFUSED)


Home = Annotated[
    str | None,
    typer.Option("--home", metavar="DIR", help="Folder of the instance.", show_default="$QENEX_HOME, else ~/.qenex"),
]
"""Option of every command that needs an instance."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
"""Option of every command."""


class Output:
    """Prints a result once: as a document for programs or as text for people. Progress goes to the error stream."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console()
        self.progress_console = Console(stderr=True, quiet=as_json)

    def show(self, document: object, *text: object) -> None:
        """Prints the document where JSON was asked for, else the text (strings, tables)."""
        if self.as_json:
            sys.stdout.write(json.dumps(document, indent=2) + "\n")
            return
        for part in text:
            self.console.print(part, highlight=False, markup=False, soft_wrap=isinstance(part, str))


def example(command: str) -> str:
    """The end of a command's help."""
    return f"Example: {command}"


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: str = "") -> Table:
    """A table whose columns named in `right` (separated by spaces) are aligned to the right."""
    result = Table(title=title, title_justify="left")
    numeric = set(right.split())
    for column in columns:
        result.add_column(column, justify="right" if column in numeric else "left", overflow="fold")
    for row in rows:
        result.add_row(*(str(value) for value in row))
    return result


def complain(error: QenexError, *, as_json: bool) -> ExitCode:
    """Prints an error to the error stream and says how the command ends."""
    if as_json:
        values: dict[str, Any] = {name: _plain(value) for name, value in error.values.items()}
        document = {"code": error.code, "message": str(error), **values}
        sys.stderr.write(json.dumps({"error": document}, indent=2) + "\n")
    else:
        sys.stderr.write(f"qenex: {error}\n")
    return exit_code(error)


def _plain(value: object) -> object:
    """A value as JSON can carry it exactly: integers beyond 2^53 as text."""
    if value is None or isinstance(value, str | bool | float):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)
