"""The commands of `qenex`, put together."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from qenex.cli import (
    accounts,
    books,
    demo,
    generate,
    identities,
    init,
    installation,
    journal,
    policies,
    replay,
    start,
    tls,
    transfers,
)
from qenex.cli.output import complain
from qenex.errors import QenexError
from qenex.exits import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

EPILOG = """Exit codes: 0 done. 1 the ledger refused it, it is not there, or a check came out wrong. 2 wrong usage.
3 no engine answers. 4 damaged data. 5 credential missing or not enough. 6 a process that `start` runs has died.
7 a port or the book is in use. 8 the engine cannot do it now. 130 Ctrl-C."""


def _version(asked: bool) -> None:  # noqa: FBT001  # Typer calls it so
    if asked:
        sys.stdout.write(f"qenex {version('qenex')}\n")
        raise typer.Exit


def _root(
    *,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Every command comes after this."""


app = typer.Typer(
    name="qenex",
    callback=_root,
    help="QENEX, a financial operating system: start it, look after it, move money.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    start,
    init,
    tls,
    demo,
    accounts,
    transfers,
    books,
    identities,
    installation,
    policies,
    journal,
    replay,
    generate,
):
    module.add_to(app)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs a command; ends the process with an `ExitCode`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(given, prog_name="qenex")
    except QenexError as error:
        sys.exit(complain(error, as_json="--json" in given))
    sys.exit(ExitCode.OK)
