"""`qenex generate payments`: makes input for `qenex replay`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.progress import track

from qenex.cli.generator import Population, payments
from qenex.cli.output import Json, Output, example
from qenex.errors import InvalidFile


def add_to(app: typer.Typer) -> None:
    """Adds the group of commands."""
    group = typer.Typer(help="Make input by rule, from a seed.", no_args_is_help=True)
    app.add_typer(group, name="generate")
    group.command(
        "payments", epilog=example("qenex generate payments --customers 500 --days 30 --seed 7 -o june.parquet")
    )(_payments)


def _payments(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Parquet file to write.")],
    *,
    customers: Annotated[int, typer.Option(min=1, help="Customers, each with a place and a profile.")] = 5_000,
    terminals: Annotated[int, typer.Option(min=1, help="Terminals that they pay at.")] = 10_000,
    days: Annotated[int, typer.Option(min=1, max=36_500, help="Days of payments.")] = 150,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same payments.")] = 0,
    first_day: Annotated[
        datetime,
        typer.Option(
            formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="Date of the first day.", show_default="2018-04-01"
        ),
    ] = datetime(2018, 4, 1),  # noqa: DTZ001  # a date, which Typer reads only as this type
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
    as_json: Json = False,
) -> None:
    """Make card payments of the shape that the Fraud Detection Handbook publishes, three kinds of fraud included."""
    if output.exists() and not force:
        raise InvalidFile(output, "is there already; --force replaces it")
    if not output.parent.is_dir():
        raise InvalidFile(output, f"cannot be written: there is no folder {output.parent}")
    out = Output(as_json=as_json)
    population = Population(customers, terminals, days, seed, first_day.date())
    frame = pl.concat(
        track(payments(population), "Simulating days", total=days, console=out.progress_console, transient=True)
    )
    temporary = output.with_name(f".{output.name}.part")
    try:
        frame.write_parquet(temporary, compression="zstd")
        temporary.replace(output)
    except OSError as error:
        raise InvalidFile(output, f"cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    frauds = int(frame["TX_FRAUD"].cast(pl.Int64).sum())
    out.show(
        {"file": str(output), "payments": len(frame), "frauds": frauds, "bytes": output.stat().st_size},
        f"{output}: {len(frame):,} payments in {days} days, {frauds:,} of them fraud",
    )
