"""Exit codes: every error of the tree ends a command with a documented one. No cell of a table is ever broken."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from qenex import errors
from qenex.cli.output import Output, complain, table
from qenex.exits import ExitCode, exit_code

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ExceedsCredits(1), ExitCode.REFUSED),
        (errors.TransferNotFound("1"), ExitCode.REFUSED),
        (errors.CheckFailed("daily totals differ"), ExitCode.REFUSED),
        (errors.InvalidFile("x", "y"), ExitCode.USAGE),
        (errors.InvalidSettings(["x"]), ExitCode.USAGE),
        (errors.InvalidHome("x"), ExitCode.USAGE),
        (errors.EngineUnreachable(), ExitCode.UNREACHABLE),
        (errors.ConnectionLost(), ExitCode.UNREACHABLE),
        (errors.BookDamaged("x", "y"), ExitCode.DAMAGED),
        (errors.CredentialMissing("x"), ExitCode.UNAUTHORISED),
        (errors.CredentialExposed("x"), ExitCode.UNAUTHORISED),
        (errors.Unauthenticated(), ExitCode.UNAUTHORISED),
        (errors.Forbidden(), ExitCode.UNAUTHORISED),
        (errors.ProcessDied("engine", 1, ["oh"]), ExitCode.PROCESS_DIED),
        (errors.ProcessDied("engine", -9, []), ExitCode.PROCESS_DIED),
        (errors.ProcessDied("engine", 4, ["group 7 is damaged"]), ExitCode.DAMAGED),
        (errors.ProcessDied("http", 7, []), ExitCode.IN_USE),
        (errors.StartTimeout("http", 5.0), ExitCode.PROCESS_DIED),
        (errors.BookLocked("x", "y"), ExitCode.IN_USE),
        (errors.AddressInUse("127.0.0.1", 7400, "--binary-port"), ExitCode.IN_USE),
        (errors.Busy(), ExitCode.UNAVAILABLE),
        (errors.StorageFull(), ExitCode.UNAVAILABLE),
        (errors.ClockUnconfirmed(), ExitCode.UNAVAILABLE),
    ],
)
def test_an_error_ends_the_command_with_its_code(error: errors.QenexError, code: ExitCode) -> None:
    assert exit_code(error) == code


def test_a_complaint_goes_to_the_error_stream(capsys: pytest.CaptureFixture[str]) -> None:
    assert complain(errors.InvalidFile("a.parquet", "is empty"), as_json=False) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert (out, err) == ("", "qenex: a.parquet: is empty\n")


def test_a_complaint_as_json_carries_code_and_values_exactly(capsys: pytest.CaptureFixture[str]) -> None:
    complain(errors.ExceedsCredits(2**100, available_minor=5, requested_minor=2**64), as_json=True)
    document = json.loads(capsys.readouterr().err)["error"]
    assert document["code"] == "exceeds_credits"
    assert document["row_id"] == str(2**100)
    assert (document["available_minor"], document["requested_minor"]) == (5, str(2**64))


def test_every_exit_code_is_documented() -> None:
    page = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    for code in ExitCode:
        assert f"| {code.value} | `{code.name.lower()}` |" in page


WIDE = 10**30
ADDRESS = "0x51454e5891d21Ac8DD574CFB00000000000003e8"


def shown(width: int, columns: tuple[str, ...], *rows: tuple[object, ...]) -> str:
    out = Output(as_json=False)
    out.console = Console(file=StringIO(), width=width)
    out.show({}, table("Title", columns, rows, right=("debits posted",)), "after")
    assert isinstance(out.console.file, StringIO)
    return out.console.file.getvalue()


def test_a_table_that_fits_is_a_table_and_one_that_does_not_is_lines_without_a_broken_cell() -> None:
    columns = ("address", "debits posted", "flags")
    rows = ((ADDRESS, WIDE, ["linked", "history"]), (ADDRESS, 1, []))
    fits = shown(120, columns, *rows)
    assert f"│ {ADDRESS} │ {WIDE} │ linked, history │" in fits
    lines = shown(80, columns, *rows)
    first = f"address        {ADDRESS}\ndebits posted  {WIDE}\nflags          linked, history\n"
    assert lines == f"Title\n\n{first}\naddress        {ADDRESS}\ndebits posted  1\nflags\n\nafter\n"
    assert str(WIDE) in shown(10, columns, *rows)


def test_names_and_values_stay_together_where_they_are_no_table() -> None:
    assert shown(20, ("what", "value"), ("hash", "ab" * 32), ("a", None)) == f"Title\n\nhash  {'ab' * 32}\na\n\nafter\n"


def test_a_pipe_has_no_edge(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).show({}, table("Title", ("hash",), [("ab" * 500,)]))
    assert f"│ {'ab' * 500} │" in capsys.readouterr().out
