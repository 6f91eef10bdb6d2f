"""Every command explains itself with an example; what is typed wrong ends with code 2, what is not there with 3."""

from __future__ import annotations

import json
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from rich.console import Console

from qenex.cli import main, replay
from qenex.cli.app import app
from qenex.cli.books import amount_text, asset_code, balance_table, kind_name
from qenex.cli.output import table
from qenex.cli.posting import Report
from qenex.cli.replay import days_table
from qenex.cli.trial_balance import Line
from qenex.exits import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    import typer
    from rich.table import Table


def commands(group: typer.Typer, *before: str) -> Iterator[tuple[str, ...]]:
    for command in group.registered_commands:
        assert command.callback is not None
        yield (*before, command.name or command.callback.__name__)
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from commands(inner.typer_instance, *before, str(inner.name))


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def text(of: Table) -> str:
    console = Console(file=StringIO(), width=200)
    console.print(of)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("path", list(commands(app)), ids=" ".join)
def test_every_command_has_help_an_example_and_json(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*path, "--help") == 0
    words = " ".join(capsys.readouterr().out.split())
    assert f"Example: qenex {' '.join(path)}" in words
    assert "--json" in words


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"qenex {version('qenex')}\n"


def test_no_backup_goes_among_the_books_of_the_home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("backup", str(tmp_path / "books" / "monday"), "--home", str(tmp_path)) == ExitCode.USAGE
    assert "a folder elsewhere" in capsys.readouterr().err


def test_every_command_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/cli.md").read_text(encoding="utf-8")
    listed = page.split("## Commands")[1].split("### start")[0]
    for group, *rest in commands(app):
        line = next(line for line in listed.splitlines() if line.startswith(f"| `{group}"))
        assert all(f"`{word}`" in line or f" {word}" in line for word in rest)


def test_the_help_names_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    words = " ".join(capsys.readouterr().out.split())
    for code in (
        "0 done",
        "1 the ledger",
        "2 wrong",
        "3 no engine",
        "4 damaged",
        "5 cred",
        "6 a pro",
        "7 a port",
        "8 the",
    ):
        assert code in words


@pytest.mark.parametrize("path", [("status",), ("trial-balance",), ("demo",), ("clock", "confirm"), ("backup", "x")])
def test_without_an_engine_commands_end_with_three(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("init", "--json") == 0
    monkeypatch.setenv("QENEX_ADDRESS", "127.0.0.1:1")
    capsys.readouterr()
    assert run(*path, "--json") == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["error"]["code"] == "engine_unreachable"


def test_without_a_home_commands_end_with_five(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status") == 5
    assert "there is no owner credential" in capsys.readouterr().err


def test_init_makes_a_home_and_says_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = str(tmp_path / "bank")
    assert run("init", "--home", home, "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert made["home"] == home
    assert f"{home}/owner.token" in made["created"]
    assert run("init", "--home", home, "--json") == 0
    assert json.loads(capsys.readouterr().out)["created"] == []


def test_generated_files_are_the_same_bytes_and_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    small = ("generate", "payments", "--customers", "50", "--terminals", "80", "--days", "3", "--json", "-o")
    assert run(*small, one) == run(*small, two) == 0
    capsys.readouterr()
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert len(pl.read_parquet(one)) > 100
    assert run(*small, one) == 2
    assert "--force" in capsys.readouterr().err
    assert run(*small, one, "--seed", "1", "--force") == 0
    assert (tmp_path / "one").read_bytes() != (tmp_path / "two").read_bytes()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("generate", "payments", "--days", "1", "-o", str(tmp_path / "no" / "file")) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_replay_takes_assets_of_two_decimals_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("replay", "x.parquet", "--asset", "QXC") == 2
    assert "two decimals" in capsys.readouterr().err.replace("2 decimals", "two decimals")


def test_an_interrupted_replay_says_that_the_same_command_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(tmp_path / "payments")
    assert run("generate", "payments", "--customers", "5", "--terminals", "9", "--days", "2", "-o", file) == 0

    def interrupt(_home: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(replay, "open_book", interrupt)
    assert run("replay", file) == ExitCode.INTERRUPTED
    assert "interrupted; the same command goes on from here" in capsys.readouterr().err


def test_a_wrong_port_ends_start_before_anything_is_started(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("start", "--http-port", "70000") == 2
    assert "flag --http-port: 70000" in capsys.readouterr().err


def test_days_that_differ_are_marked() -> None:
    days = pl.DataFrame(
        {
            "day": ["2018-04-01", "2018-04-02", "2018-04-03"],
            "payments": [2, 1, 1],
            "amount_minor": [5716, 100, 7],
            "payments_ledger": [2, 1, 0],
            "amount_minor_ledger": [5716, 99, 0],
        }
    ).with_columns(pl.col("day").str.to_date())
    lines = [line for line in text(days_table(Report(4, 4, 0, {}, 0, days, ()), 978)).splitlines() if "2018" in line]
    assert ["same" in line for line in lines] == [True, False, False]
    assert ["DIFFERENT" in line for line in lines] == [False, True, True]
    assert "57.16" in lines[0]


def test_a_trial_balance_shows_major_units_and_names() -> None:
    shown = text(balance_table([Line(1000, 2000, 3, 0, 10**18, 0, 15 * 10**17), Line(5000, 9, 1, 1, 2, 3, 4)]))
    assert "QXC" in shown
    assert "2000 deposit" in shown
    assert " 1.50 " in shown
    assert "2 minor" in shown


def test_a_trial_balance_speaks_of_what_is_pending_only_where_something_is() -> None:
    posted = Line(978, 2000, 1, 0, 5, 0, 5)
    assert "pending" not in text(balance_table([posted]))
    assert "pending" in text(balance_table([posted, Line(978, 2000, 1, 1, 0, 1, 0)]))


def test_unknown_assets_and_kinds_keep_their_numbers() -> None:
    assert (asset_code(978), asset_code(5000)) == ("EUR", "5000")
    assert (amount_text(1250, 978), amount_text(1250, 5000)) == ("12.50", "1250 minor")
    assert (kind_name(1000), kind_name(7)) == ("1000 vault", "7")


def test_text_in_tables_is_never_markup() -> None:
    assert "[red]x" in text(table("t", ("a",), [("[red]x",)]))
