"""The commands against a real engine: what they print as JSON, how they end, and what a refusal tells."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from qenex.exits import ExitCode
from tests.conftest import run_python

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.conftest import EngineProcess

TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")


class Shell:
    """Runs commands of one instance, each in a process of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, *arguments: str, code: ExitCode = ExitCode.OK) -> subprocess.CompletedProcess[str]:
        done = run_python("-m", "qenex.cli", *arguments, "--home", str(self.home))
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.stderr == ""
        return json.loads(done.stdout)

    def error(self, *arguments: str, code: ExitCode) -> dict[str, Any]:
        done = self.run(*arguments, "--json", code=code)
        assert done.stdout == ""
        error: dict[str, Any] = json.loads(done.stderr)["error"]
        return error

    def account(self, asset: str, *flags: str) -> str:
        address: str = self.json("account", "create", "--asset", asset, *flags)["address"]
        return address

    def pay(self, debtor: str, creditor: str, amount: str, asset: str, *more: str) -> dict[str, Any]:
        route = ("--from", debtor, "--to", creditor, "--amount", amount, "--asset", asset)
        paid: dict[str, Any] = self.json("transfer", "send", *route, *more)
        return paid


@pytest.fixture
def shell(shared_engine: EngineProcess) -> Shell:
    return Shell(shared_engine.home)


@pytest.fixture
def pair(shell: Shell) -> tuple[str, str]:
    """Two new accounts in QXC: one that may be overdrawn, one that may not."""
    return shell.account("QXC", "--overdraft"), shell.account("QXC")


def test_an_account_is_made_once_and_shown_as_it_was_made(shell: Shell) -> None:
    made = shell.json("account", "create", "--asset", "EUR", "--code", "2200", "--no-history")
    assert made.pop("new")
    assert made == shell.json("account", "show", made["address"]) == shell.json("account", "show", made["id"])
    assert (made["asset"], made["flags"]) == ("EUR", ["debits_must_not_exceed_credits"])
    assert TIME.fullmatch(made["created"])
    same = ("account", "create", "--asset", "EUR", "--code", "2200", "--no-history", "--id", made["id"])
    assert not shell.json(*same)["new"]
    other = shell.error("account", "create", "--asset", "USD", "--id", made["id"], code=ExitCode.REFUSED)
    assert other["code"].startswith("exists_with_different")


def test_money_is_sent_once_to_the_last_decimal(shell: Shell, pair: tuple[str, str]) -> None:
    first = shell.pay(*pair, "1.000000000000000001", "QXC")
    assert (first["new"], first["amount"]) == (True, "1.000000000000000001")
    again = shell.pay(*pair, "1.000000000000000001", "QXC", "--id", first["id"])
    assert not again["new"]
    assert shell.json("account", "show", pair[1])["credits_posted"] == "1.000000000000000001"
    shown = shell.json("transfer", "show", first["hash"])
    assert shown == shell.json("transfer", "show", first["id"])
    assert (shown["from"], shown["to"]) == pair
    history = shell.json("account", "history", pair[1])
    assert history == [shown]


def test_a_hold_is_posted_in_part_or_voided_and_then_over(shell: Shell, pair: tuple[str, str]) -> None:
    route = ("--from", pair[0], "--to", pair[1], "--amount", "5", "--asset", "QXC")
    hold = shell.json("transfer", "hold", *route, "--timeout", "3600")
    assert (hold["flags"], hold["timeout_s"]) == (["pending"], 3600)
    assert shell.json("account", "show", pair[0])["debits_pending"] == "5.00"
    posted = shell.json("transfer", "post", hold["id"], "--amount", "3.5")
    assert (posted["amount"], posted["pending_id"]) == ("3.50", hold["id"])
    twice = shell.error("transfer", "post", hold["id"], code=ExitCode.REFUSED)
    assert twice["code"] == "pending_transfer_already_posted"

    other = shell.json("transfer", "hold", *route)
    nothing = shell.error("transfer", "post", other["id"], "--amount", "0", code=ExitCode.USAGE)
    assert (nothing["code"], "void" in nothing["message"]) == ("invalid_amount", True)
    assert shell.json("transfer", "void", other["id"])["amount"] == "5.00"
    whole = shell.json("transfer", "hold", *route)
    assert shell.json("transfer", "post", whole["id"])["amount"] == "5.00"
    after = shell.json("account", "show", pair[0])
    assert (after["debits_posted"], after["debits_pending"]) == ("8.50", "0.00")


def test_a_refusal_names_the_account_and_what_it_has(shell: Shell, pair: tuple[str, str]) -> None:
    debtor = shell.json("account", "show", pair[1])["id"]
    shell.pay(*pair, "2", "QXC")
    route = ("--from", pair[1], "--to", pair[0], "--amount", "3", "--asset", "QXC")
    error = shell.error("transfer", "send", *route, code=ExitCode.REFUSED)
    assert (error["code"], error["account_id"], error["address"]) == ("exceeds_credits", debtor, pair[1])
    assert f"account {pair[1]}" in error["message"]
    assert debtor not in error["message"]
    assert (error["available_minor"], error["requested_minor"]) == (str(2 * 10**18), str(3 * 10**18))
    nobody = ("--from", pair[0], "--to", "55", "--amount", "3", "--asset", "QXC")
    error = shell.error("transfer", "send", *nobody, code=ExitCode.REFUSED)
    assert (error["code"], error["account_id"]) == ("credit_account_not_found", 55)


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("account", "show", "123"), ExitCode.REFUSED, "account_not_found"),
        (("account", "history", "123"), ExitCode.REFUSED, "account_not_found"),
        (("transfer", "show", "123"), ExitCode.REFUSED, "transfer_not_found"),
        (("transfer", "void", "123"), ExitCode.REFUSED, "transfer_not_found"),
        (("account", "show", "nobody"), ExitCode.USAGE, "invalid_address"),
        (("account", "create", "--asset", "XXY"), ExitCode.USAGE, "unknown_asset"),
        (("transfer", "show", "0x12"), ExitCode.USAGE, "invalid_id"),
    ],
)
def test_what_is_not_there_ends_with_one_and_what_cannot_be_with_two(
    shell: Shell, arguments: tuple[str, ...], code: ExitCode, error: str
) -> None:
    assert shell.error(*arguments, code=code)["code"] == error


@pytest.mark.parametrize(
    ("amount", "error"),
    [
        ("1e3", "invalid_amount"),
        ("1,5", "invalid_amount"),
        ("+5", "invalid_amount"),
        ("-0", "invalid_amount"),
        ("0", "invalid_amount"),
        ("0.00", "invalid_amount"),
        ("", "invalid_amount"),
        ("-1", "amount_out_of_range"),
        ("0.0000000000000000001", "amount_too_precise"),
    ],
)
def test_an_amount_that_is_none_moves_nothing(shell: Shell, pair: tuple[str, str], amount: str, error: str) -> None:
    route = ("--from", pair[0], "--to", pair[1], f"--amount={amount}", "--asset", "QXC")
    for command in ("send", "hold"):
        assert shell.error("transfer", command, *route, code=ExitCode.USAGE)["code"] == error
    assert shell.json("account", "history", pair[0]) == []


def test_a_missing_option_is_named(shell: Shell) -> None:
    assert "--to" in shell.run("transfer", "send", "--from", "1", code=ExitCode.USAGE).stderr


def test_the_demo_bank_is_made_once_and_everything_balances(shell: Shell) -> None:
    first = shell.json("demo")
    assert first["created_rows"] > 200
    assert shell.json("demo") == first | {"created_rows": 0}
    listed = shell.json("account", "list", "--asset", "QXC", "--limit", "8000")
    assert set(first["addresses"]) <= {account["address"] for account in listed}
    assert {account["asset"] for account in listed} == {"QXC"}
    assert len(shell.json("account", "list", "--limit", "3")) == 3
    balance = shell.json("trial-balance")
    assert balance["balanced"]
    for asset in {line["ledger"] for line in balance["lines"]}:
        lines = [line for line in balance["lines"] if line["ledger"] == asset]
        for kind in ("posted", "pending"):
            debit_sum, credit_sum = (
                sum(int(line[f"{side}_{kind}_minor"]) for line in lines) for side in ("debits", "credits")
            )
            assert debit_sum == credit_sum
    capital = next(line for line in balance["lines"] if (line["asset"], line["code"]) == ("EUR", 3000))
    assert (capital["credits_posted"], capital["credits_posted_minor"]) == ("5000000.00", "500000000")


def test_status_shows_times_for_people_and_counts_what_happens(shell: Shell, pair: tuple[str, str]) -> None:
    before = shell.json("status")
    assert (before["writable"], before["release"]) == ("yes", 1)
    assert TIME.fullmatch(before["timestamp"])
    shell.pay(*pair, "1", "QXC")
    after = shell.json("status")
    assert after["transfers"] == before["transfers"] + 1
    assert (after["book"], after["epoch"]) == (before["book"], before["epoch"])
    assert after["timestamp"] > before["timestamp"]


def test_a_clock_that_is_right_can_be_confirmed_any_time(shell: Shell) -> None:
    assert shell.json("clock", "confirm") == {"writable": True}


def test_text_for_people_holds_whole_numbers_and_no_python(shell: Shell, pair: tuple[str, str]) -> None:
    paid = shell.pay(*pair, "123456789.000000000000000001", "QXC")
    shown = shell.run("account", "show", pair[1]).stdout
    assert "debits_must_not_exceed_credits, history" in shown
    assert "123456789.000000000000000001" in shown
    history = shell.run("account", "history", pair[0]).stdout
    assert all(whole in history for whole in ("123456789.000000000000000001", paid["id"], *pair))


def test_another_credential_than_the_owners_ends_with_five(shell: Shell, tmp_path: Path) -> None:
    stranger = Shell(tmp_path / "stranger")
    stranger.json("init")
    run = stranger.home / "run"
    run.mkdir(exist_ok=True)
    (run / "engine.json").write_bytes((shell.home / "run" / "engine.json").read_bytes())
    assert stranger.error("status", code=ExitCode.UNAUTHORISED)["code"] == "unauthenticated"
