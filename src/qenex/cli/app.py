"""The commands of `qenex`, put together."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

import typer

from qenex.cli import accounts, books, demo, generate, init, journal, replay, start, transfers
from qenex.cli.output import complain
from qenex.errors import QenexError
from qenex.exits import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

EPILOG = """Exit codes: 0 done. 1 the ledger refused it, it is not there, or a check came out wrong. 2 wrong usage.
3 no engine answers. 4 damaged data. 5 credential missing or not enough. 6 a process that `start` runs has died.
7 a port or the book is in use. 8 the engine cannot do it now. 130 Ctrl-C."""

app = typer.Typer(
    name="qenex",
    help="QENEX, a financial operating system: start it, look after it, move money.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (start, init, demo, accounts, transfers, books, journal, replay, generate):
    module.add_to(app)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs a command; ends the process with an `ExitCode`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(given, prog_name="qenex")
    except QenexError as error:
        sys.exit(complain(error, as_json="--json" in given))
    sys.exit(ExitCode.OK)
