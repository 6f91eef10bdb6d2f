"""The OpenAPI document: complete, current, and readable without anything from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from qenex.api.openapi import text

if TYPE_CHECKING:
    from tests.unit.api.conftest import Api

COMMITTED = Path(__file__).parents[3] / "spec/openapi.json"


def test_the_committed_document_is_current() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == text(), "python -m qenex.api.openapi > spec/openapi.json"


async def test_what_is_served_is_what_is_committed(api: Api) -> None:
    answer = await api.http.get("/api/v1/openapi.json")
    assert answer.json() == json.loads(COMMITTED.read_text(encoding="utf-8"))


def test_hot_routes_stand_in_it_like_all_others() -> None:
    document = json.loads(COMMITTED.read_text(encoding="utf-8"))
    for path, model in (("/api/v1/transaction", "NewTransaction"), ("/api/v1/transactions", "NewTransactions")):
        operation = document["paths"][path]["post"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert schema == {"$ref": f"#/components/schemas/{model}"}
        assert "Idempotency-Key" in {parameter["name"] for parameter in operation["parameters"]}


def test_every_route_reports_problems_and_only_health_is_open() -> None:
    document = json.loads(COMMITTED.read_text(encoding="utf-8"))
    assert document["security"] == [{"credential": []}]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert "application/problem+json" in operation["responses"]["default"]["content"]
            assert ("security" in operation) == path.endswith("/health")


async def test_the_page_shows_every_route_and_shape(api: Api) -> None:
    document = json.loads(COMMITTED.read_text(encoding="utf-8"))
    page = (await api.http.get("/docs")).text
    for path in document["paths"]:
        assert path in page
    for name in document["components"]["schemas"]:
        assert f'id="{name}"' in page
    for elsewhere in ("http://", "https://", "<script", "<img", "@import"):
        assert elsewhere not in page
