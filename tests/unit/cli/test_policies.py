"""`qenex policies`: what is wrong ends with a code of its own and says where; what is good is listed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from qenex import bootstrap
from qenex.cli import main
from qenex.exits import ExitCode
from tests.unit.services.access.making import BOOK, LARGE, LARGE_TEST, write

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


@pytest.fixture
def books(tmp_path: Path) -> Path:
    return bootstrap.initialise(tmp_path / "home").settings.books_folder


def test_what_is_shipped_is_good_in_a_home_without_books(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("policies", "check") == ExitCode.OK
    assert "policies fit the schema" in capsys.readouterr().out
    assert run("policies", "test") == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"{len(lines) - 1} of {len(lines) - 1} came out as expected"


@pytest.mark.usefixtures("books")
def test_policies_of_a_book_are_listed_with_their_place(books: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(books, large=LARGE, large_test=LARGE_TEST)
    assert run("policies", "show", "--json") == ExitCode.OK
    shown = json.loads(capsys.readouterr().out)
    assert len(shown["digest"]) == 64
    assert shown["policies"][-1] == {
        "id": "no-large-transfers",
        "effect": "forbid",
        "file": f"{folder}/large.cedar",
        "line": 2,
        "reason": "transfers beyond 10,000 need an approval",
    }
    assert run("policies", "show") == ExitCode.OK
    assert "transfers beyond 10,000" in capsys.readouterr().out


def test_a_policy_that_does_not_fit_is_wrong_usage(books: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(books, large="permit (", large_test=LARGE_TEST)
    assert run("policies", "check", "--json") == ExitCode.USAGE
    error = json.loads(capsys.readouterr().err)["error"]
    assert error["code"] == "invalid_policies"
    assert error["complaints"][0].startswith(f"{folder}/large.cedar:1: ")


def test_a_test_that_fails_is_a_refusal_with_its_line(books: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(books, large=LARGE.replace(">= 2", ">= 1"), large_test=LARGE_TEST)
    assert run("policies", "check") == ExitCode.OK
    assert run("policies", "test") == ExitCode.REFUSED
    out, err = capsys.readouterr()
    assert "1 of 2 came out as expected" in out
    assert err == (
        f"qenex: {folder}/large.test.toml:2: an operator moves 10,000: expected allow, but: transfers beyond 10,000"
        " need an approval\n"
    )


def test_a_book_is_named_where_there_are_several(books: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(books, large=LARGE, large_test=LARGE_TEST)
    write(books, book=bytes(15) + b"\7", large="permit (", large_test=LARGE_TEST)
    assert run("policies", "check") == ExitCode.USAGE
    assert "say which one with --book" in capsys.readouterr().err
    assert run("policies", "check", "--book", BOOK.hex()) == ExitCode.OK
    assert run("policies", "check", "--book", "7".rjust(32, "0")) == ExitCode.USAGE
    assert run("policies", "check", "--book", "8".rjust(32, "0")) == ExitCode.USAGE
    assert "there is no such folder" in capsys.readouterr().err
    assert run("policies", "check", "--book", "../x") == ExitCode.USAGE
    assert "32 hexadecimal digits" in capsys.readouterr().err
