"""What is refused before it is carried out, and that nothing of the inside comes out."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from qenex.api.graphql import documents
from qenex.api.graphql.cost import COST_MAX
from qenex.api.graphql.documents import ALIASES_MAX, DEPTH_MAX, FRAGMENTS_MAX, ROOT_FIELDS_MAX, TOKENS_MAX
from qenex.api.graphql.query import make_schema
from qenex.client.protocol import Operation
from tests.unit.api.conftest import Api, MemoryEngine, application_over, problem
from tests.unit.api.graphql_client import MEDIA_TYPE, Graph
from tests.unit.api.test_protection import limits

if TYPE_CHECKING:
    import httpx


@pytest.fixture
def graph(api: Api) -> Graph:
    return Graph(api)


def deep(depth: int, leaf: str = "id") -> str:
    """A document with so many fields inside one another, four or more and an even number."""
    inside = (depth - 4) // 2
    links = "creditAccount { transactions(last: 1) { " * inside + leaf + " } }" * inside
    return "{ transfers(first: 1) { edges { node { " + links + " } } } }"


async def too_complex(graph: Graph, query: str, what: str, most: int, **variables: Any) -> Any:
    graph.api.engine.calls.clear()
    (error,) = await graph.refused(query, "document_too_complex", **variables)
    assert set(graph.api.engine.calls) <= {Operation.GET_STATUS}  # which book it is, when nobody has asked yet
    assert (error["extensions"]["what"], error["extensions"]["most"]) == (what, most)
    return error["extensions"].get("found")


async def test_depth(graph: Graph) -> None:
    assert DEPTH_MAX == 10
    assert (await graph.data(deep(10)))["transfers"] == {"edges": []}
    assert await too_complex(graph, deep(12), "depth", DEPTH_MAX) == 12
    fragments = "{ transfers { nodes { ...A } } } fragment A on Transfer { creditAccount { ...B } } "
    fragments += "fragment B on Account { transactions { creditAccount { transactions { ...C } } } } "
    fragments += "fragment C on Transfer { creditAccount { transactions { creditAccount { balances { posted } } } } }"
    assert await too_complex(graph, fragments, "depth", DEPTH_MAX) == 11


async def test_depth_of_introspection(graph: Graph) -> None:
    chain = "ofType { " * 14 + "name" + " }" * 14
    await too_complex(graph, "{ __schema { types { fields { type { " + chain + " } } } } }", "depth", 16)
    lists = '{ __type(name: "Query") { fields { type { fields { type { fields { name } } } } } } }'
    (error,) = await graph.refused(lists, "invalid_document")
    assert "introspection depth" in error["message"]


async def test_aliases(graph: Graph) -> None:
    query = "{ accounts { nodes { %s } } }"
    await graph.data(query % " ".join(f"a{n}: id" for n in range(ALIASES_MAX)))
    found = await too_complex(
        graph, query % " ".join(f"a{n}: id" for n in range(ALIASES_MAX + 1)), "aliases", ALIASES_MAX
    )
    assert found == ALIASES_MAX + 1
    # A field that stands again under its own name is as much work, in inline fragments too.
    assert await too_complex(graph, query % ("id " * 102), "aliases", ALIASES_MAX) == 101
    assert await too_complex(graph, query % ("... { id } " * 102), "aliases", ALIASES_MAX) == 101


async def test_root_fields(graph: Graph) -> None:
    fragments = [f"F{n}" for n in range(ROOT_FIELDS_MAX // 10 + 1)]
    body = "__typename " + " ".join(f"f{n}: __typename" for n in range(9))
    query = "{ " + " ".join(f"...{name}" for name in fragments) + " } "
    query += " ".join(f"fragment {name} on Query {{ {body} }}" for name in fragments)
    assert await too_complex(graph, query, "root fields", ROOT_FIELDS_MAX) == 110


async def test_tokens(graph: Graph) -> None:
    # A name costs one token, whatever it says; so does each mark. Comments cost as much.
    filler = " ".join("z" for _ in range(TOKENS_MAX))
    await too_complex(graph, "{ " + filler + " }", "tokens", TOKENS_MAX)
    await too_complex(graph, "#\n" * (TOKENS_MAX + 1) + "{ __typename }", "tokens", TOKENS_MAX)
    assert (await graph.post("#\n" * 100 + "{ __typename }")).json()["data"] == {"__typename": "Query"}


async def test_cost_is_counted_from_page_sizes(graph: Graph) -> None:
    """Sizes in the document, in variables, and those that nobody has said."""
    for query in (
        "{ accounts(first: 1000) { nodes { transactions(last: 1000) { hash } } } }",
        "{ accounts { nodes { transfers { nodes { id } } transactions(last: 1000) { hash } } } }",
        "{ accounts { nodes { balanceHistory { nodes { posted available } } transfers { edges { node { id } } } } } }",
        "query($n: Int = 1000) { accounts(first: $n) { nodes { transactions { hash } } } }",
    ):
        assert await too_complex(graph, query, "cost", COST_MAX) > COST_MAX
    query = "query($n: Int!) { accounts(first: $n) { nodes { transactions { hash amount timestamp } } } }"
    await graph.data(query, n=10)
    assert await too_complex(graph, query, "cost", COST_MAX, n=1_000) > COST_MAX
    # A size that is refused anyway does not make anything cheap.
    assert await too_complex(graph, query, "cost", COST_MAX, n=1 << 30) > COST_MAX


async def test_a_fragment_that_doubles_itself_costs_what_it_would(graph: Graph) -> None:
    """Each fragment stands twice in the one before: 2^40 fields from 40 lines, which nobody may try to walk."""
    fragments = " ".join(
        f"fragment F{n} on Account {{ ...F{n + 1} ... on Account {{ ...F{n + 1} }} }}" for n in range(40)
    )
    query = "{ accounts { nodes { ...F0 } } } " + fragments + " fragment F40 on Account { id }"
    assert await too_complex(graph, query, "cost", COST_MAX) > 2**40


@pytest.mark.parametrize(
    "query",
    [
        "{ accounts { nodes { ...A } } } fragment A on Account { ...A }",
        "{ accounts { nodes { ...A } } } fragment A on Account { id ...B } fragment B on Account { id ...A }",
        "{ transfers { nodes { ...A } } } fragment A on Transfer { creditAccount { transactions { ...A } } }",
    ],
)
async def test_fragments_that_lead_back_to_themselves(graph: Graph, query: str) -> None:
    (error, *_) = await graph.refused(query, "invalid_document")
    assert "Cannot spread fragment" in error["message"]
    assert error["locations"]


async def test_fragments(graph: Graph) -> None:
    def chain(length: int) -> str:
        links = " ".join(f"fragment F{n} on Query {{ ...F{n + 1} }}" for n in range(length - 1))
        return "{ ...F0 } " + links + f" fragment F{length - 1} on Query {{ __typename }}"

    assert await graph.data(chain(FRAGMENTS_MAX)) == {"__typename": "Query"}
    assert await too_complex(graph, chain(FRAGMENTS_MAX + 1), "fragments", FRAGMENTS_MAX) == FRAGMENTS_MAX + 1


@pytest.mark.parametrize(
    ("depth", "code"), [(30, "invalid_document"), (300, "document_too_complex"), (900, "document_too_complex")]
)
async def test_lists_inside_lists(graph: Graph, depth: int, code: str) -> None:
    inside = "[" * depth + "]" * depth
    answer = await graph.post(f"{{ accounts(filter: {inside}) {{ nodes {{ id }} }} }}")
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (422, code)
    query = "query($f: Filter) { accounts(filter: $f) { nodes { id } } }"
    body = f'{{"query": "{query}", "variables": {{"f": {inside}}}}}'
    answer = await graph.api.http.post("/graphql", content=body, headers={"content-type": "application/json"})
    if depth == 30:
        assert answer.json()["errors"][0]["extensions"]["code"] == "invalid_document"
    else:
        problem(answer, 400, "nesting_too_deep")


@pytest.mark.parametrize("depth", [300, 900])
async def test_fields_inside_fields_without_end(graph: Graph, depth: int) -> None:
    answer = await graph.post("{a" * depth + "}" * depth)
    assert answer.json()["errors"][0]["extensions"]["code"] in ("document_too_complex", "malformed_document")


@pytest.mark.parametrize(
    ("query", "variables", "said"),
    [
        ("query($n: Int!) { accounts(first: $n) { nodes { id } } }", {}, "to be provided"),
        ("query($n: Int!) { accounts(first: $n) { nodes { id } } }", {"n": None}, "null"),
        ("query($n: Int!) { accounts(first: $n) { nodes { id } } }", {"n": "5"}, "Int cannot represent"),
        ("query($n: Int!) { accounts(first: $n) { nodes { id } } }", {"n": 1.5}, "Int cannot represent"),
        ("query($n: Int!) { accounts(first: $n) { nodes { id } } }", {"n": 10**50}, "Int cannot represent"),
        ("query($n: Int!) { accounts(first: $n) { nodes { id } } }", {"n": True}, "Int cannot represent"),
        ("query($n: Int!) { accounts(first: $n) { nodes { id } } }", {"n": [1]}, "Int cannot represent"),
        ("query($a: String) { account(address: $a) { id } }", {"a": 5}, "String cannot represent"),
        ("query($a: String) { account(address: $a) { id } }", {"a": {"$gt": ""}}, "String cannot represent"),
        ("query($o: Order!) { accounts(order: $o) { nodes { id } } }", {"o": "sideways"}, "Order"),
        ("query($f: Filter) { accounts(filter: $f) { nodes { id } } }", {"f": "x"}, "Filter"),
        ("query($f: Filter) { accounts(filter: $f) { nodes { id } } }", {"f": {"ledger": 1}}, "ledger"),
        ("query($f: Filter) { accounts(filter: $f) { nodes { id } } }", {"f": {"code": "1"}}, "WholeNumber"),
        ("query($f: Filter) { accounts(filter: $f) { nodes { id } } }", {"f": {"code": -1}}, "WholeNumber"),
        ("query($f: Filter) { accounts(filter: $f) { nodes { id } } }", {"f": {"code": 1.0}}, "WholeNumber"),
        ("query($y: Boolean = true) { __typename @include(if: $y) }", {"y": None}, "non-null type"),
        ("query($n: Int = 5) { accounts(first: $n) { nodes { id } } }", {"n": None}, "non-null type"),
        ("query($n: String!) { accounts(first: $n) { nodes { id } } }", {"n": "1"}, "used in position"),
    ],
)
async def test_variables_of_wrong_types(graph: Graph, query: str, variables: dict[str, Any], said: str) -> None:
    (error,) = await graph.refused(query, "invalid_document", **variables)
    assert said in error["message"]
    assert set(graph.api.engine.calls) <= {Operation.GET_STATUS}  # which book it is, when nobody has asked yet


async def test_what_does_not_fit_the_schema_is_named_with_its_place(graph: Graph) -> None:
    errors = await graph.refused("{\n  accounts {\n    nothing\n    nodes { id(x: 1) }\n  }\n}", "invalid_document")
    assert [error["locations"] for error in errors] == [[{"line": 3, "column": 5}], [{"line": 4, "column": 16}]]
    many = "{ " + " ".join(f"x{n}" for n in range(500)) + " }"
    assert len(await graph.refused("{ accounts " + many + " }", "invalid_document")) <= 11


@pytest.mark.parametrize("query", ["", " ", "{", "{}", "nonsense", "{ a(", '{ account(id: "\\u{D800}") { id } }', "\0"])
async def test_what_is_no_document(graph: Graph, query: str) -> None:
    (error,) = await graph.refused(query, "malformed_document")
    assert error["locations"]


@pytest.mark.parametrize(
    "query", ["mutation { account(id: 1) { id } }", "subscription { events { nodes { type } } }", "type X { y: Int }"]
)
async def test_there_are_only_queries(graph: Graph, query: str) -> None:
    await graph.refused(query, "invalid_document")


async def test_one_of_several_operations_is_named(graph: Graph) -> None:
    query = "query A { a: __typename } query B { b: __typename }"
    assert (await graph.post(query, operation="B")).json()["data"] == {"b": "Query"}
    for name in (None, "C", ""):
        answer = await graph.post(query, operation=name)
        assert answer.json()["errors"][0]["extensions"]["code"] == "invalid_document"
    assert (await graph.post("{ __typename }", operation="A")).status_code == 422
    assert (await graph.post("query A { __typename }")).status_code == 200


async def _send(api: Api, body: str | bytes, **headers: str) -> httpx.Response:
    return await api.http.post("/graphql", content=body, headers={"content-type": "application/json"} | headers)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ('[{"query": "{ __typename }"}, {"query": "{ __typename }"}]', 422, "invalid_field"),
        ("[]", 422, "invalid_field"),
        ("{}", 422, "missing_field"),
        ('{"query": null}', 422, "invalid_field"),
        ('{"query": 5}', 422, "invalid_field"),
        ('{"query": ["{ __typename }"]}', 422, "invalid_field"),
        ('{"query": "{ __typename }", "variables": []}', 422, "invalid_field"),
        ('{"query": "{ __typename }", "variables": "{}"}', 422, "invalid_field"),
        ('{"query": "{ __typename }", "operationName": 5}', 422, "invalid_field"),
        ('{"query": "{ __typename }", "id": 5}', 422, "unknown_field"),
        ('{"query": "{ __typename }", "query": "{ __typename }"}', 400, "duplicate_key"),
        ('{"query": "{ __typename }", "variables": {"a": 1, "a": 2}}', 400, "duplicate_key"),
        ('{"query": "{ __typename }", "variables": {"a": 1e400}}', 400, "number_not_exact"),
        ('{"query": "{ __typename }", "variables": {"a": NaN}}', 400, "number_not_exact"),
        ('{"query": "\\ud800"}', 400, "invalid_unicode"),
        (b'{"query": "\xff"}', 400, "invalid_unicode"),
        ('{"query": "' + "x" * 20_000 + '"}', 413, "body_too_large"),
        ('{"query": "' + "," * 5_000 + '"}', 413, "too_many_values"),
        ("{ __typename }", 400, "malformed_json"),
    ],
)
async def test_what_is_no_request_is_a_problem_document(api: Api, body: str | bytes, status: int, code: str) -> None:
    problem(await _send(api, body), status, code)


async def test_queries_come_by_post_as_json_only(api: Api) -> None:
    for method in ("GET", "PUT", "DELETE", "HEAD", "OPTIONS"):
        answer = await api.http.request(method, "/graphql", params={"query": "{ __typename }"})
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    body = '{"query": "{ __typename }"}'
    for kind in ("application/graphql", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = await api.http.post("/graphql", content=body, headers={"content-type": kind})
        problem(answer, 415, "unsupported_media_type")


async def test_the_answer_has_the_form_that_is_asked_for(api: Api) -> None:
    for accept, kind, status in (
        (MEDIA_TYPE, MEDIA_TYPE, 422),
        (f"application/json;q=0.9, {MEDIA_TYPE}; charset=utf-8", MEDIA_TYPE, 422),
        ("application/json", "application/json", 200),
        ("*/*", "application/json", 200),
    ):
        for query, expected in (("{ nothing }", status), ("{ __typename }", 200)):
            answer = await _send(api, json.dumps({"query": query}), accept=accept)
            assert (answer.headers["content-type"], answer.status_code) == (kind, expected)
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["x-request-id"]


async def test_nothing_of_the_inside_comes_out(
    api: Api, graph: Graph, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    account = await api.account()

    def broken(*_: object) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr("qenex.api.graphql.types.accounts.document", broken)
    with caplog.at_level(logging.ERROR, logger="qenex.api"):
        data, (error,) = await graph.partly("query($id: String!) { account(id: $id) { id } }", id=account["id"])
    assert data == {"account": None}
    assert error["extensions"] == {"code": "internal_error", "status": 500, "iso_reason": "NARR"}
    assert "hunter2" not in json.dumps(error)
    assert "hunter2" in caplog.text


async def test_a_document_is_read_once(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    parse = documents.parse

    def counted(text: str, **options: Any) -> Any:
        read.append(text)
        return parse(text, **options)

    monkeypatch.setattr(documents, "parse", counted)
    query = "query($n: Int!) { accounts(first: $n) { nodes { id } } }"
    for n in (1, 2, 3):
        await graph.data(query, n=n)
    assert read == [query]


async def test_documents_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    known = documents.Documents(make_schema()._schema)
    for number in range(documents.REMEMBERED_MAX + 20):
        await known.find(f"{{ a{number}: __typename }}")
    assert len(known) == documents.REMEMBERED_MAX
    monkeypatch.setattr(documents, "REMEMBERED_CHARACTERS_MAX", 1_000)
    for number in range(5):
        await known.find(f"{{ a{number}: __typename }}" + " " * 400)
    assert len(known) == 2
    with pytest.raises(documents.Refused):
        await known.find("{ nothing }")
    assert len(known) == 2


async def test_a_query_counts_by_its_cost(memory_engine: MemoryEngine) -> None:
    async with application_over(memory_engine, limits(principal=(1, 12))) as api:
        await api.account()
        graph = Graph(api)
        await graph.data("{ accounts(first: 1000) { nodes { id } } }")  # 1,022: ten more than the one of any request
        api.engine.calls.clear()
        answer = await graph.post("{ accounts(first: 1000) { nodes { id } } }")
        problem(answer, 429, "rate_limited")
        assert set(api.engine.calls) <= {Operation.GET_STATUS}
