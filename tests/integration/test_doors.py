"""The client, the HTTP process and the command line in front of one engine: what one says the others say too."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from qenex import QenexClient
from qenex.exits import ExitCode
from qenex.kernel import AccountFlags
from tests.conftest import START_SECONDS, HttpProcess, run_python

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import EngineProcess

LOAN = AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS | AccountFlags.HISTORY
DEPOSIT = AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS | AccountFlags.HISTORY


@dataclass
class Doors:
    """One engine through each of its doors."""

    engine: EngineProcess
    client: QenexClient
    http: httpx.Client

    def get(self, path: str) -> Any:
        answer = self.http.get(f"/api/v1/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def shell(self, *arguments: str, code: ExitCode = ExitCode.OK) -> Any:
        done = run_python("-m", "qenex.cli", *arguments, "--home", self.engine.home, "--json")
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout if code == ExitCode.OK else done.stderr)


@pytest.fixture(scope="module")
def doors(shared_engine: EngineProcess) -> Iterator[Doors]:
    http = HttpProcess(shared_engine.settings).start()
    headers = {"authorization": f"Bearer {http.token}"}
    with (
        QenexClient(home=shared_engine.home) as client,
        httpx.Client(base_url=f"http://{http.address}", headers=headers, timeout=START_SECONDS) as asked,
    ):
        yield Doors(shared_engine, client, asked)
    http.kill()


@pytest.mark.parametrize("flags", [LOAN, DEPOSIT])
def test_a_balance_is_the_same_whoever_shows_it(doors: Doors, flags: AccountFlags) -> None:
    client = doors.client
    other = client.create_account("EUR", flags=AccountFlags.NONE).id
    mine = client.create_account("EUR", flags=flags).id
    grows, shrinks = ((mine, other), (other, mine)) if flags == LOAN else ((other, mine), (mine, other))
    for (debit, credit), posted, held in ((grows, "100", "7"), (shrinks, "20", "30")):
        last = client.execute(client.create_transaction(debit, credit, posted, "EUR"))
        client.hold(debit, credit, held, "EUR")
    expected = ("80.00", "50.00")

    def shown(balance: dict[str, str]) -> tuple[str, str]:
        assert (balance.get("posted_minor", "8000"), balance.get("available_minor", "5000")) == ("8000", "5000")
        return balance["posted"], balance["available"]

    balance = client.balance(mine)
    assert (str(balance.posted), str(balance.available)) == expected
    assert shown(doors.get(f"accounts/{mine}")["balance"]) == expected
    assert shown(doors.get(f"accounts/{mine}/balance")) == expected
    assert shown(doors.shell("account", "show", str(mine))) == expected

    # As it was before the last hold: that one does not count yet.
    then = client.balance_at(mine, last.timestamp_ns)
    assert (str(then.posted), str(then.available)) == ("80.00", "80.00")
    was = doors.get(f"accounts/{mine}/balance?at={last.timestamp_ns}")
    assert (was["posted"], was["available"]) == ("80.00", "80.00")
    listed = doors.get(f"accounts/{mine}/balances")["items"]
    assert [(one["posted"], one["available"]) for one in listed[:2]] == [expected, ("80.00", "80.00")]


def test_what_a_refusal_calls_available_is_what_the_balance_calls_so(doors: Doors) -> None:
    client = doors.client
    cash, vault = client.create_account("EUR", flags=LOAN), client.create_account("EUR", flags=AccountFlags.NONE)
    client.execute(client.create_transaction(cash.id, vault.id, "10", "EUR"))
    client.hold(vault.id, cash.id, "4", "EUR")
    route = {"from": vault.address, "to": cash.address, "amount": "7", "token": "EUR"}
    refused = doors.http.post("/api/v1/transaction", json=route).json()
    assert (refused["code"], refused["available_minor"]) == ("exceeds_debits", "600")
    assert doors.get(f"accounts/{cash.id}")["balance"]["available"] == "6.00"
    sent = ("transfer", "send", "--from", vault.address, "--to", cash.address, "--amount", "7", "--asset", "EUR")
    assert doors.shell(*sent, code=ExitCode.REFUSED)["error"]["available_minor"] == 600
