"""What every command shares: output for people or programs, errors."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from qenex.exits import ExitCode, exit_code
from qenex.progress import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from qenex.errors import QenexError
    from qenex.progress import Tell


Home = Annotated[
    str | None,
    typer.Option("--home", metavar="DIR", help="Folder of the instance.", show_default="$QENEX_HOME, else ~/.qenex"),
]
"""Option of every command that needs an instance."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
"""Option of every command."""


UNBOUNDED: Final = 10_000
"""Columns of what goes to a file or a pipe, which have no edge; no table is wider."""


class Output:
    """Prints a result once: as a document for programs or as text for people. Progress goes to the error stream."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console() if sys.stdout.isatty() else Console(width=UNBOUNDED)
        self.progress_console = Console(stderr=True, quiet=as_json)

    @contextmanager
    def progress(self, what: str, unit: str) -> Iterator[Tell]:
        """Shows how far something is; not where JSON was asked for."""
        if self.as_json:
            yield lambda _done, _total: None
        else:
            with shown(what, unit, name="qenex") as tell:
                yield tell

    def show(self, document: object, *text: object) -> None:
        """Prints the document where JSON was asked for, else the text (strings, tables)."""
        if self.as_json:
            sys.stdout.write(json.dumps(document, indent=2) + "\n")
            return
        for part in text:
            fitting = _fitting(part, self.console) if isinstance(part, Table) else part
            self.console.print(fitting, highlight=False, markup=False, soft_wrap=not isinstance(fitting, Table))


def example(command: str) -> str:
    """The end of a command's help."""
    return f"Example: {command}"


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> Table:
    """A table whose columns named in `right` are aligned to the right, under headers of a word a line."""
    result = Table(title=title, title_justify="left")
    for column in columns:
        if column in right:
            result.add_column(column.replace(" ", "\n"), justify="right")
        else:
            result.add_column(column)
    for row in rows:
        result.add_row(*(Text(_cell(value)) for value in row))
    return result


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _fitting(whole: Table, console: Console) -> Table | str:
    """The table where the console is wide enough; else its rows as lines of name and value.

    Cells are never broken: half a number is another number, and half an address cannot be copied.
    """
    options = console.options.update(width=UNBOUNDED)
    if Measurement.get(console, options, whole).maximum <= console.width:
        return whole
    names = [str(column.header).replace("\n", " ") for column in whole.columns]
    rows = [[str(cell) for cell in row] for row in zip(*(column.cells for column in whole.columns), strict=True)]
    # Two columns are names and values already.
    blocks = [rows] if len(names) == 2 else [list(zip(names, row, strict=True)) for row in rows]
    return "\n\n".join([str(whole.title), *map(_lines, blocks)]) + "\n"


def _lines(pairs: Sequence[Sequence[str]]) -> str:
    width = max((len(name) for name, _ in pairs), default=0)
    return "\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in pairs)


def time_text(timestamp_ns: int) -> str:
    """A time as ISO 8601 in UTC, to the nanosecond."""
    seconds, nanoseconds = divmod(timestamp_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"


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
