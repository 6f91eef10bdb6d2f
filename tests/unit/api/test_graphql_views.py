"""Who sees what in the graph: what one may not see is exactly as if it were not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from qenex.client.protocol import Operation
from qenex.errors import Busy
from qenex.principals import Action, Role
from tests.unit.api.graphql_client import Graph
from tests.unit.api.test_views import ALICES, BOB, Bank, principal

if TYPE_CHECKING:
    from tests.unit.api.conftest import Api

NOWHERE = "0x51454e5800000000000000000000000000003039"


@pytest.fixture
async def bank(api: Api) -> Bank:
    return await Bank(api).fill()


@pytest.fixture
def graph(api: Api) -> Graph:
    return Graph(api)


def without_place(error: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in error.items() if name not in ("path", "locations")}


async def test_an_account_of_somebody_else_is_as_if_it_were_not_there(bank: Bank, graph: Graph) -> None:
    """By address and by id, under aliases, in one query with one's own."""
    query = f"""{{
      own: account(address: "{bank.accounts["alice"]["address"]}") {{ id }}
      absent: account(address: "{NOWHERE}") {{ id balance }}
      bob: account(address: "{bank.accounts["bob"]["address"]}") {{ id balance }}
      bobById: account(id: "{bank.accounts["bob"]["id"]}") {{ id transactions {{ id }} }}
      bank: account(address: "{bank.accounts["bank"]["address"]}") {{ balanceAt(at: "5") {{ posted }} }}
    }}"""
    api = bank.api
    api.engine.calls.clear()
    data, errors = await graph.partly(query, ALICES)
    assert data == {
        "own": {"id": bank.accounts["alice"]["id"]},
        "absent": None,
        "bob": None,
        "bobById": None,
        "bank": None,
    }
    # All were looked for in the same call, and nothing was asked of those that are there.
    assert api.engine.calls == {Operation.LOOKUP_ACCOUNTS: 1}
    assert sorted(error["path"][0] for error in errors) == ["absent", "bank", "bob", "bobById"]
    said = [without_place(error) for error in errors]
    assert said == [said[0]] * 4
    assert said[0] == {
        "message": "What was asked for does not exist.",
        "extensions": {"code": "not_found", "status": 404, "iso_reason": "NARR"},
    }


async def test_a_transfer_of_others_is_as_if_it_were_not_there(bank: Bank, graph: Graph) -> None:
    others, own = bank.transfers["bank bob"], bank.transfers["alice bob"]
    query = f"""{{
      own: transfer(hash: "{own["hash"]}") {{ id }}
      hash: transfer(hash: "{others["hash"]}") {{ id }}
      id: transfer(id: "{others["id"]}") {{ id }}
      noHash: transfer(hash: "{"0" * 64}") {{ id }}
      noId: transfer(id: "77") {{ id }}
    }}"""
    data, errors = await graph.partly(query, ALICES)
    assert data == {"own": {"id": own["id"]}, "hash": None, "id": None, "noHash": None, "noId": None}
    assert [without_place(error) for error in errors] == [without_place(errors[0])] * 4
    assert errors[0]["extensions"]["code"] == "not_found"


async def test_the_other_side_of_a_transfer_stays_unseen(bank: Bank, graph: Graph) -> None:
    query = "{ transfers { nodes { id debitAccount { id } creditAccount { balance user: userData128 } } } }"
    data, errors = await graph.partly(query, ALICES)
    nodes = data["transfers"]["nodes"]
    assert [node["id"] for node in nodes] == [
        bank.transfers[name]["id"] for name in ("alice saver", "alice bob", "bank alice")
    ]
    assert nodes[1] == {
        "id": bank.transfers["alice bob"]["id"],
        "debitAccount": {"id": bank.accounts["alice"]["id"]},
        "creditAccount": None,
    }
    assert {error["extensions"]["code"] for error in errors} == {"not_found"}
    assert [error["path"] for error in errors] == [
        ["transfers", "nodes", 1, "creditAccount"],
        ["transfers", "nodes", 2, "debitAccount"],
    ]


async def test_lists_are_of_the_own_party(bank: Bank, graph: Graph) -> None:
    own = [bank.accounts[name]["id"] for name in ("saver", "alice")]
    found = await graph.data("{ accounts { nodes { id } } }", ALICES)
    assert [node["id"] for node in found["accounts"]["nodes"]] == own
    others = f'{{ accounts(filter: {{userData128: "{BOB}"}}) {{ nodes {{ id }} }} }}'
    assert (await graph.data(others, ALICES))["accounts"]["nodes"] == []
    events = (await graph.data("{ events { nodes { transfer { id } accounts { address } } } }", ALICES))["events"][
        "nodes"
    ]
    assert [event["transfer"]["id"] for event in events] == [
        bank.transfers[name]["id"] for name in ("bank alice", "alice bob", "alice saver")
    ]
    addresses = {bank.accounts[name]["address"] for name in ("saver", "alice")}
    assert {account["address"] for event in events for account in event["accounts"]} == addresses


async def test_events_of_an_account_of_somebody_else(bank: Bank, graph: Graph) -> None:
    query = "query($topic: String!) { events(topic: $topic) { nodes { type } } }"
    said = []
    for address in (NOWHERE, bank.accounts["bob"]["address"]):
        data, errors = await graph.partly(query, ALICES, topic=f"accounts/{address}")
        assert data == {"events": None}
        said += errors
    assert said[0] == said[1]
    assert said[0]["extensions"]["code"] == "not_found"


async def test_a_cursor_of_somebody_else_opens_nothing(bank: Bank, graph: Graph) -> None:
    query = "query($after: String) { transfers(first: 1, after: $after) { pageInfo { endCursor } } }"
    cursor = (await graph.data(query))["transfers"]["pageInfo"]["endCursor"]
    data, (error,) = await graph.partly(query, ALICES, after=cursor)
    assert (data["transfers"], error["extensions"]["code"]) == (None, "invalid_cursor")


async def test_the_trial_balance_is_not_for_customers(bank: Bank, graph: Graph) -> None:
    query = "{ trialBalance { balanced } accounts { nodes { id } } }"
    data, (error,) = await graph.partly(query, ALICES)
    assert data["trialBalance"] is None
    assert len(data["accounts"]["nodes"]) == 2
    assert (error["extensions"]["code"], error["path"]) == ("forbidden", ["trialBalance"])
    assert (await graph.data("{ trialBalance { balanced } }", principal("ann", Role.AUDITOR)))["trialBalance"]


FIELDS = {
    'account(id: "1") { id }': Action.ACCOUNTS_READ,
    "accounts { nodes { id } }": Action.ACCOUNTS_READ,
    'transfer(id: "1") { id }': Action.TRANSFERS_READ,
    f'transfer(hash: "{"0" * 64}") {{ id }}': Action.TRANSFERS_READ,
    "transfers { nodes { id } }": Action.TRANSFERS_READ,
    "events { nodes { type } }": Action.EVENTS_READ,
    "trialBalance { balanced }": Action.REPORTS_READ,
}


@pytest.mark.parametrize(("field", "action"), FIELDS.items())
async def test_a_scope_opens_what_it_names_and_nothing_else(graph: Graph, field: str, action: Action) -> None:
    for scopes in (frozenset(), frozenset(Action) - {action}):
        data, (error,) = await graph.partly(f"{{ one: {field} }}", principal("narrow", Role.OWNER, scopes=scopes))
        assert (data, error["extensions"]["code"]) == ({"one": None}, "forbidden")
        assert str(action) in error["message"]
    answer = await graph.post(f"{{ one: {field} }}", principal("right", Role.OWNER, scopes=frozenset({action})))
    assert "forbidden" not in answer.text


@pytest.mark.parametrize("field", ["transactions { id }", "transfers { nodes { id } }"])
async def test_transfers_of_an_account_need_their_own_scope(bank: Bank, graph: Graph, field: str) -> None:
    reader = principal("reader", Role.OWNER, scopes=frozenset({Action.ACCOUNTS_READ}))
    query = f'{{ account(id: "{bank.accounts["bob"]["id"]}") {{ balance {field} }} }}'
    data, (error,) = await graph.partly(query, reader)
    assert data["account"]["balance"] == "1.00"
    assert (error["extensions"]["code"], error["path"][0]) == ("forbidden", "account")


@pytest.mark.parametrize("field", ["debitAccount", "creditAccount"])
async def test_accounts_of_a_transfer_need_their_own_scope(bank: Bank, graph: Graph, field: str) -> None:
    reader = principal("reader", Role.OWNER, scopes=frozenset({Action.TRANSFERS_READ}))
    query = f"{{ transfers(first: 1) {{ nodes {{ id {field} {{ id }} }} }} }}"
    data, (error,) = await graph.partly(query, reader)
    assert data["transfers"]["nodes"] == [{"id": bank.transfers["bob other"]["id"], field: None}]
    assert error["extensions"]["code"] == "forbidden"


async def test_when_the_engine_fails_the_code_is_that_of_rest(bank: Bank, graph: Graph) -> None:
    bank.api.engine.fails_with = Busy(retry_after_us=20)
    query = '{ a: account(id: "1") { id } b: accounts { nodes { id } } c: trialBalance { balanced } __typename }'
    data, errors = await graph.partly(query)
    assert data == {"a": None, "b": None, "c": None, "__typename": "Query"}
    assert [(error["extensions"]["code"], error["extensions"]["status"]) for error in errors] == [("busy", 503)] * 3
    assert errors[0]["extensions"]["retry_after_us"] == 20


async def test_nobody_reads_without_a_credential(api: Api) -> None:
    for headers in ({"authorization": ""}, {"authorization": "Bearer nonsense"}):
        answer = await api.http.post("/graphql", json={"query": "{ __schema { types { name } } }"}, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["code"] == "unauthenticated"
