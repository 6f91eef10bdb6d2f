"""`qenex init`: makes the home of an instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qenex import bootstrap
from qenex.cli.output import Home, Json, Output, example

if TYPE_CHECKING:
    import typer


def add_to(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command(epilog=example("qenex init --home ~/bank"))
    def init(home: Home = None, *, as_json: Json = False) -> None:
        """Make the data folder and the owner credential. What is there is left as it is."""
        done = bootstrap.initialise(home)
        created = [str(path) for path in done.created]
        Output(as_json=as_json).show(
            {"home": str(done.settings.home), "created": created},
            *(f"made {path}" for path in created),
            f"{done.settings.home} is ready; the owner credential is in {done.settings.owner_token_file}",
        )
