"""GraphQL in front of a real engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import lasting_port
from tests.integration.test_http import Instance, start_instance, wait_until_ready

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    instance = start_instance(tmp_path, port=lasting_port())
    yield instance
    instance.end()


def asked(instance: Instance, query: str, **variables: Any) -> dict[str, Any]:
    answer = instance.client.post("/graphql", json={"query": query, "variables": variables})
    assert answer.status_code == 200, answer.text
    reply: dict[str, Any] = answer.json()
    return reply


ACCOUNT = """query($address: String!) { account(address: $address) {
  balance posted pending transactions(last: 10) { hash amount timestamp creditAccount { address } }
} }"""
EVERYTHING = """query($address: String!, $hash: String!, $at: String!) {
  account(address: $address) {
    balanceAt(at: $at) { posted }
    balanceHistory(first: 2) { nodes { posted } pageInfo { hasNextPage } }
    transfers(side: credits) { nodes { id } }
  }
  accounts { nodes { address } }
  transfer(hash: $hash) { amount from to }
  transfers(first: 1, order: oldest) { nodes { hash } pageInfo { hasNextPage endCursor } }
  events(topic: "all") { nodes { type } pageInfo { endCursor } }
  trialBalance { balanced }
}"""


def test_the_graph_is_read_from_the_engine_which_may_go_and_come_back(instance: Instance) -> None:
    payer, payee = instance.account(), instance.account(history=True)
    paid = [instance.made(instance.pay(payer, payee, "1.50")) for _ in range(3)]
    instance.made(instance.pay(payee, payer, "2", pending=True))
    account = asked(instance, ACCOUNT, address=payee["address"])["data"]["account"]
    assert (account["balance"], account["posted"], account["pending"]) == ("2.50", "4.50", "2.00")
    assert [transfer["hash"] for transfer in account["transactions"][1:]] == [one["hash"] for one in paid[::-1]]
    assert account["transactions"][1]["creditAccount"] == {"address": payee["address"]}

    first = paid[0]
    reply = asked(instance, EVERYTHING, address=payee["address"], hash=first["hash"], at=first["timestamp"])
    assert "errors" not in reply
    found = reply["data"]
    assert found["account"]["balanceAt"] == {"posted": "1.50"}
    assert found["account"]["balanceHistory"]["pageInfo"] == {"hasNextPage": True}
    assert len(found["account"]["transfers"]["nodes"]) == 3
    assert [node["address"] for node in found["accounts"]["nodes"]] == [payee["address"], payer["address"]]
    assert found["transfer"] == {"amount": "1.50", "from": payer["address"], "to": payee["address"]}
    assert found["transfers"]["nodes"] == [{"hash": first["hash"]}]
    assert [node["type"] for node in found["events"]["nodes"]] == ["transfer_posted"] * 3 + ["hold_created"]
    assert found["trialBalance"] == {"balanced": True}
    assert reply["extensions"]["cost"] > 1_000

    assert instance.engine.stop() == 0
    gone = asked(instance, ACCOUNT, address=payee["address"])
    assert gone["data"] == {"account": None}
    assert gone["errors"][0]["extensions"]["status"] in (503, 504)
    instance.engine.start()
    wait_until_ready(instance)
    assert asked(instance, ACCOUNT, address=payee["address"])["data"]["account"] == account
