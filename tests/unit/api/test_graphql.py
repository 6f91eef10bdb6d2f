"""The read side as a graph: what is found, page by page, and what it asks the engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from graphql import get_introspection_query

from qenex.api import models
from qenex.api.graphql.__main__ import text
from qenex.api.graphql.cost import CALLS
from qenex.client.protocol import Operation
from tests.unit.api.graphql_client import Graph

if TYPE_CHECKING:
    from tests.unit.api.conftest import Api

COMMITTED = Path(__file__).parents[3] / "spec/schema.graphql"


@pytest.fixture
def graph(api: Api) -> Graph:
    return Graph(api)


def test_the_committed_schema_is_current() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == text(), "python -m qenex.api.graphql > spec/schema.graphql"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


async def test_names_are_those_of_the_rest_documents(graph: Graph) -> None:
    query = "query($name: String!) { __type(name: $name) { fields { name } } }"
    for model, but in (
        (models.Transfer, {}),
        (models.Balances, {}),
        (models.Balance, {}),
        (models.BalanceAfter, {}),
        (models.TrialBalance, {}),
        (models.AssetSums, {}),
        (models.Event, {}),
        (models.EventTransfer, {}),
        (models.Account, {"balance": "balances"}),
        (models.EventAccount, {}),
        (models.EventBalance, {}),
    ):
        fields = {field.alias or name for name, field in model.model_fields.items()}
        found = await graph.data(query, name=model.__name__)
        assert {_camel(but.get(name, name)) for name in fields} <= {
            field["name"] for field in found["__type"]["fields"]
        }, model


async def test_the_query_that_the_documentation_begins_with(api: Api, graph: Graph) -> None:
    bank, customer = await api.account(), await api.account()
    made = [(await api.transfer(bank, customer, "10")).json() for _ in range(12)]
    await api.transfer(customer, bank, "30", pending=True)
    query = """query($address: String!) {
      account(address: $address) { balance posted pending transactions(last: 10) { hash amount timestamp } }
    }"""
    account = (await graph.data(query, address=customer["address"]))["account"]
    assert (account["balance"], account["posted"], account["pending"]) == ("90.00", "120.00", "30.00")
    assert len(account["transactions"]) == 10
    assert account["transactions"][0]["amount"] == "30.00"
    newest = {name: made[-1][name] for name in ("hash", "amount", "timestamp")}
    assert account["transactions"][1] == newest


async def test_the_balance_of_a_debited_account_is_on_its_own_side(api: Api, graph: Graph) -> None:
    loan, customer = await api.account(credits_must_not_exceed_debits=True), await api.account()
    await api.transfer(loan, customer, "100")
    await api.transfer(loan, customer, "5", pending=True)
    await api.transfer(customer, loan, "30", pending=True)
    query = "query($id: String!) { account(id: $id) { balance posted pending balances { debitsPosted } } }"
    assert (await graph.data(query, id=loan["id"]))["account"] == {
        "balance": "70.00",
        "posted": "100.00",
        "pending": "30.00",
        "balances": {"debitsPosted": "100.00"},
    }


async def test_an_account_and_a_transfer_are_what_rest_says(api: Api, graph: Graph) -> None:
    customer = await api.account(
        id="7", code=3, history=True, user_data_128="9", user_data_32=4_294_967_295, debits_must_not_exceed_credits=True
    )
    bank = await api.account()
    paid = (await api.transfer(bank, customer, "10", code=5, timeout=0, user_data_64="8")).json()
    rest = (await api.http.get(f"/api/v1/accounts/{customer['id']}")).json()
    balances = rest.pop("balance")
    fields = " ".join(_camel(name) for name in rest)
    inner = " ".join(_camel(name) for name in balances)
    query = f"query($id: String!) {{ account(id: $id) {{ {fields} balances {{ {inner} }} }} }}"
    found = (await graph.data(query, id="7"))["account"]
    assert found.pop("balances") == {_camel(name): value for name, value in balances.items()}
    assert found == {_camel(name): value for name, value in rest.items()}
    for name, value in (("hash", paid["hash"]), ("id", paid["id"])):
        rest = (await api.http.get(f"/api/v1/transfers/{value}")).json()
        fields = " ".join(_camel(name) for name in rest)
        query = f"query($value: String!) {{ transfer({name}: $value) {{ {fields} }} }}"
        assert (await graph.data(query, value=value))["transfer"] == {_camel(k): v for k, v in rest.items()}


async def test_accounts_of_a_transfer_are_beside_it(api: Api, graph: Graph) -> None:
    bank, customer = await api.account(), await api.account()
    await api.transfer(bank, customer, "10")
    query = "{ transfers { nodes { from debitAccount { address balance } creditAccount { address balance } } } }"
    (found,) = (await graph.data(query))["transfers"]["nodes"]
    assert found["from"] == found["debitAccount"]["address"] == bank["address"]
    assert found["debitAccount"]["balance"] == "-10.00"
    assert found["creditAccount"] == {"address": customer["address"], "balance": "10.00"}


async def test_the_balance_at_a_time(api: Api, graph: Graph) -> None:
    bank, customer = await api.account(), await api.account()
    first = (await api.transfer(bank, customer, "10")).json()
    second = (await api.transfer(bank, customer, "10")).json()
    query = """query($id: String!, $first: String!, $second: String!) { account(id: $id) {
      before: balanceAt(at: "1") { posted timestamp accountId }
      one: balanceAt(at: $first) { posted timestamp timestampNs token }
      two: balanceAt(at: $second) { posted }
    } }"""
    found = await graph.data(query, id=customer["id"], first=first["timestamp"], second=second["timestamp_ns"])
    assert found["account"]["before"] == {"posted": "0.00", "timestamp": None, "accountId": customer["id"]}
    assert found["account"]["one"] == {
        "posted": "10.00",
        "timestamp": first["timestamp"],
        "timestampNs": first["timestamp_ns"],
        "token": "EUR",
    }
    assert found["account"]["two"] == {"posted": "20.00"}


@pytest.mark.parametrize("at", ["yesterday", "0", str(1 << 62), "2026-02-30T00:00:00Z"])
async def test_a_time_that_no_balance_can_know(api: Api, graph: Graph, at: str) -> None:
    account = await api.account()
    query = "query($id: String!, $at: String!) { account(id: $id) { id balanceAt(at: $at) { posted } } }"
    data, errors = await graph.partly(query, id=account["id"], at=at)
    assert data == {"account": {"id": account["id"], "balanceAt": None}}
    (error,) = errors
    assert (error["extensions"]["code"], error["path"]) == ("invalid_parameter", ["account", "balanceAt"])
    assert error["extensions"]["parameter"] == "at"


LISTS = {
    "transfers": "query($n: Int!, $after: String, $order: Order!) "
    "{ list: transfers(first: $n, after: $after, order: $order) { %s } }",
    "account": "query($n: Int!, $after: String, $order: Order!, $id: String!) "
    "{ account(id: $id) { list: transfers(first: $n, after: $after, order: $order) { %s } } }",
    "balances": "query($n: Int!, $after: String, $order: Order!, $id: String!) "
    "{ account(id: $id) { list: balanceHistory(first: $n, after: $after, order: $order) { %s } } }",
}
PAGE = "nodes { timestampNs } edges { cursor node { timestampNs } } pageInfo { hasNextPage hasPreviousPage endCursor }"


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("limit", [1, 3, 7, 8])
@pytest.mark.parametrize("list_name", LISTS)
async def test_pages_show_everything_once_in_order(
    api: Api, graph: Graph, list_name: str, limit: int, order: str
) -> None:
    bank, customer = await api.account(), await api.account(history=True)
    made = [(await api.transfer(bank, customer, "1")).json()["timestamp_ns"] for _ in range(7)]
    query = LISTS[list_name] % PAGE
    more = {} if list_name == "transfers" else {"id": customer["id"]}
    seen: list[str] = []
    after: str | None = None
    while True:
        data = await graph.data(query, n=limit, after=after, order=order, **more)
        page = (data.get("account") or data)["list"]
        assert [edge["node"] for edge in page["edges"]] == page["nodes"]
        assert page["edges"][-1]["cursor"] != after
        assert page["pageInfo"]["hasPreviousPage"] == (after is not None)
        seen += [node["timestampNs"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == (made if order == "oldest" else made[::-1])


async def test_every_edge_has_a_cursor_that_goes_on_behind_it(api: Api, graph: Graph) -> None:
    bank, customer = await api.account(), await api.account()
    made = [(await api.transfer(bank, customer, "1")).json()["id"] for _ in range(4)]
    query = "query($after: String) { transfers(after: $after) { edges { cursor node { id } } } }"
    edges = (await graph.data(query))["transfers"]["edges"]
    for number, edge in enumerate(edges, start=1):
        rest = (await graph.data(query, after=edge["cursor"]))["transfers"]["edges"]
        assert [one["node"]["id"] for one in rest] == made[::-1][number:]
    # REST goes on where GraphQL stopped.
    page = await api.http.get("/api/v1/transfers", params={"cursor": edges[1]["cursor"]})
    assert [item["id"] for item in page.json()["items"]] == made[1::-1]


async def test_a_cursor_belongs_to_its_list(api: Api, graph: Graph) -> None:
    bank, customer = await api.account(), await api.account()
    for _ in range(2):
        await api.transfer(bank, customer, "1")
    cursor = (await graph.data("{ transfers(first: 1) { pageInfo { endCursor } } }"))["transfers"]["pageInfo"]
    for query in (
        "query($after: String) { accounts(after: $after) { nodes { id } } }",
        "query($after: String) { transfers(after: $after, order: oldest) { nodes { id } } }",
        "query($after: String) { transfers(after: $after, filter: {code: 1}) { nodes { id } } }",
        "query($after: String) { events(after: $after) { nodes { type } } }",
    ):
        data, (error,) = await graph.partly(query, after=cursor["endCursor"])
        assert list(data.values()) == [None]
        assert error["extensions"]["code"] == "invalid_cursor"


async def test_lists_can_be_narrowed(api: Api, graph: Graph) -> None:
    bank, customer = await api.account(code=2), await api.account()
    out = (await api.transfer(customer, bank, "1", code=5, user_data_64="8")).json()
    back = (await api.transfer(bank, customer, "1", code=6, user_data_128="9", user_data_32=3)).json()

    async def ids(given: str) -> list[str]:
        return [node["id"] for node in (await graph.data(f"{{ list: {given} {{ nodes {{ id }} }} }}"))["list"]["nodes"]]

    assert await ids("transfers(filter: {code: 5})") == [out["id"]]
    assert await ids('transfers(filter: {userData64: "8"})') == [out["id"]]
    assert await ids('transfers(filter: {userData128: "9", userData32: 3, token: "EUR"})') == [back["id"]]
    assert await ids('transfers(filter: {token: "USD"})') == []
    assert await ids(f'transfers(filter: {{timestampMin: "{back["timestamp"]}"}})') == [back["id"]]
    assert await ids(f'transfers(filter: {{timestampMax: "{out["timestamp_ns"]}"}})') == [out["id"]]
    assert await ids("accounts(filter: {code: 2})") == [bank["id"]]
    assert await ids('accounts(order: oldest, filter: {token: "978"})') == [bank["id"], customer["id"]]

    async def own(given: str) -> list[str]:
        query = f"query($id: String!) {{ account(id: $id) {{ transfers({given}) {{ nodes {{ id }} }} }} }}"
        return [node["id"] for node in (await graph.data(query, id=customer["id"]))["account"]["transfers"]["nodes"]]

    assert await own("side: debits") == [out["id"]]
    assert await own("side: credits") == [back["id"]]
    assert await own("filter: {code: 5}") == [out["id"]]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ('account(address: "nonsense")', "invalid_id"),
        ('account(address: "0x51454e580000000000000000000000000000000g")', "invalid_address"),
        ('account(id: "0")', "invalid_id"),
        ("account", "invalid_parameter"),
        ('account(id: "1", address: "1")', "invalid_parameter"),
        ('transfer(hash: "12")', "invalid_id"),
        ('transfer(id: "x")', "invalid_id"),
        ("accounts(first: 0)", "invalid_parameter"),
        ("accounts(first: 1001)", "invalid_parameter"),
        ("accounts(first: -1)", "invalid_parameter"),
        ('accounts(after: "x")', "invalid_cursor"),
        ('accounts(filter: {token: "XXX"})', "unknown_asset"),
        ("accounts(filter: {code: 65536})", "invalid_parameter"),
        ('accounts(filter: {userData128: "-1"})', "invalid_parameter"),
        ('accounts(filter: {timestampMin: "2", timestampMax: "1"})', "invalid_parameter"),
        ('events(topic: "nothing")', "invalid_field"),
        ('events(topic: "accounts/12345")', "not_found"),
    ],
)
async def test_a_value_that_cannot_be_is_refused_where_it_stands(graph: Graph, given: str, code: str) -> None:
    connection = given.startswith(("accounts", "events"))
    data, (error,) = await graph.partly(f"{{ one: {given} {{ {'nodes { __typename }' if connection else 'id'} }} }}")
    assert data == {"one": None}
    assert (error["extensions"]["code"], error["path"]) == (code, ["one"])


async def test_balances_after_each_transfer_need_history(api: Api, graph: Graph) -> None:
    account = await api.account()
    query = "query($id: String!) { account(id: $id) { balanceHistory { nodes { posted } } } }"
    data, (error,) = await graph.partly(query, id=account["id"])
    assert data == {"account": {"balanceHistory": None}}
    assert error["extensions"]["code"] == "history_not_kept"


async def test_events_go_on_where_they_stopped(api: Api, graph: Graph) -> None:
    bank, customer = await api.account(), await api.account()
    for _ in range(3):
        await api.transfer(bank, customer, "1")
    query = """query($after: String, $first: Int!) { events(after: $after, first: $first) {
      nodes { type timestampNs transfer { amount from } accounts { address balance { posted } } }
      edges { cursor }
      pageInfo { hasNextPage endCursor }
    } }"""
    page = (await graph.data(query, first=2))["events"]
    assert [node["type"] for node in page["nodes"]] == ["transfer_posted"] * 2
    assert page["nodes"][1]["accounts"][1]["balance"]["posted"] == "2.00"
    assert page["nodes"][0]["transfer"] == {"amount": "1.00", "from": bank["address"]}
    assert page["pageInfo"]["hasNextPage"]
    last = (await graph.data(query, first=2, after=page["pageInfo"]["endCursor"]))["events"]
    assert len(last["nodes"]) == 1
    assert not last["pageInfo"]["hasNextPage"]
    assert (await graph.data(query, first=2, after=page["edges"][0]["cursor"]))["events"]["nodes"][0] == (
        page["nodes"][1]
    )
    # At the end there still is a position to wait at, and REST understands it.
    end = (await graph.data(query, first=2, after=last["pageInfo"]["endCursor"]))["events"]
    assert end["nodes"] == []
    position = end["pageInfo"]["endCursor"]
    await api.transfer(bank, customer, "1")
    found = await api.http.get("/api/v1/events", params={"after": position})
    assert len(found.json()["items"]) == 1


async def test_the_trial_balance_is_added_up_once(api: Api, graph: Graph) -> None:
    bank, customer = await api.account(), await api.account()
    await api.transfer(bank, customer, "5")
    query = "{ trialBalance { timestamp balanced assets { token accounts debitsPosted creditsPostedMinor balanced } } }"
    found = (await graph.data(query))["trialBalance"]
    assert found["balanced"]
    assert found["assets"] == [
        {"token": "EUR", "accounts": 2, "debitsPosted": "5.00", "creditsPostedMinor": "500", "balanced": True}
    ]
    before = api.engine.calls[Operation.QUERY_ACCOUNTS]
    await graph.data("{ " + " ".join(f"a{n}: trialBalance {{ balanced }}" for n in range(10)) + " }")
    assert api.engine.calls[Operation.QUERY_ACCOUNTS] == before + 1


async def test_look_ups_of_a_level_share_a_call(api: Api, graph: Graph) -> None:
    bank = await api.account()
    customers = [await api.account() for _ in range(50)]
    paid = [(await api.transfer(bank, customer, "1")).json() for customer in customers]
    api.engine.calls.clear()
    fields = " ".join(
        f'a{number}: account(address: "{customer["address"]}") {{ balance balanceAt(at: "5") {{ posted }} }}'
        for number, customer in enumerate(customers)
    )
    found = await graph.data(f"{{ {fields} }}")
    assert [found[f"a{number}"]["balance"] for number in range(50)] == ["1.00"] * 50
    assert api.engine.calls == {Operation.LOOKUP_ACCOUNTS: 1, Operation.BALANCE_AT: 1}
    api.engine.calls.clear()
    found = await graph.data("{ transfers { nodes { debitAccount { id } creditAccount { id } } } }")
    assert {node["creditAccount"]["id"] for node in found["transfers"]["nodes"]} == {one["id"] for one in customers}
    assert api.engine.calls == {Operation.QUERY_TRANSFERS: 1, Operation.LOOKUP_ACCOUNTS: 1}
    api.engine.calls.clear()
    fields = " ".join(
        f'a{number}: transfer({"hash" if number % 2 else "id"}: "{transfer["hash" if number % 2 else "id"]}") {{ id }}'
        for number, transfer in enumerate(paid)
    )
    assert len(await graph.data(f"{{ {fields} }}")) == 50
    assert api.engine.calls == {Operation.LOOKUP_TRANSFERS: 1, Operation.LOOKUP_HASHES: 1}


async def test_tools_can_ask_for_the_schema(graph: Graph) -> None:
    found = await graph.data(get_introspection_query())
    fields = {
        f"{kind['name']}.{field['name']}" for kind in found["__schema"]["types"] for field in kind["fields"] or ()
    }
    assert set(CALLS) <= fields


async def test_the_answer_says_what_it_cost(api: Api, graph: Graph) -> None:
    await api.account()

    async def cost(query: str, **variables: Any) -> int:
        return int((await graph.post(query, **variables)).json()["extensions"]["cost"])

    # accounts 1 + 20, nodes 1, id and balance of each.
    assert await cost("{ accounts(first: 10) { nodes { id balance } } }") == 42
    assert await cost("query($n: Int!) { accounts(first: $n) { nodes { id } } }", n=500) == 522
    assert await cost("query($n: Int! = 5) { accounts(first: $n) { nodes { id } } }") == 27
    assert await cost("{ accounts { nodes { id } } }") == 122
    nested = "{ accounts(first: 3) { edges { node { transactions(last: 4) { hash } } } } }"
    assert await cost(nested) == 21 + 1 + 3 * (1 + 21 + 4)
    fragment = "{ accounts(first: 3) { ...F ...F } } fragment F on AccountConnection { ...G } "
    assert await cost(fragment + "fragment G on AccountConnection { nodes { id } }") == 21 + 2 * 4
