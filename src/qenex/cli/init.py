"""`qenex init`: makes the home of an instance."""

from __future__ import annotations

from typing import Annotated

import typer

from qenex import bootstrap
from qenex.cli.output import Home, Json, Output, example


def add_to(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command(epilog=example("qenex init --home ~/bank"))
    def init(
        home: Home = None,
        *,
        replace_lost_credential: Annotated[
            bool,
            typer.Option("--replace-lost-credential", help="Make another one for a book whose credential is gone."),
        ] = False,
        as_json: Json = False,
    ) -> None:
        """Make the data folder and the owner credential. What is there is left as it is."""
        done = bootstrap.initialise(home, replace_lost_credential=replace_lost_credential)
        created = [str(path) for path in done.created]
        replaced = done.settings.owner_token_file in done.created and any(done.settings.books_folder.iterdir())
        warning = (
            "the book has a new owner credential. The lost one still opens processes that run now: restart them, and"
            " give the new one to everyone who uses it"
        )
        Output(as_json=as_json).show(
            {"home": str(done.settings.home), "created": created, "credential_replaced": replaced},
            *(f"made {path}" for path in created),
            *([warning] if replaced else []),
            f"{done.settings.home} is ready; the owner credential is in {done.settings.owner_token_file}",
        )
