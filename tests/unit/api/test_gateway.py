"""Who may enter, and what every answer carries."""

from __future__ import annotations

import base64
import logging
import re
from typing import TYPE_CHECKING

import httpx
import pytest

from qenex.errors import EngineUnreachable
from tests.unit.api.conftest import TOKEN, Api, problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

JSON = {"content-type": "application/json"}
EVERYTHING = [
    ("POST", "/api/v1/transaction"),
    ("POST", "/api/v1/transactions"),
    ("POST", "/api/v1/transactions/1/post"),
    ("POST", "/api/v1/transactions/1/void"),
    ("POST", "/api/v1/accounts"),
    ("GET", "/api/v1/accounts"),
    ("GET", "/api/v1/accounts/1"),
    ("GET", "/api/v1/accounts/1/balance"),
    ("GET", "/api/v1/accounts/1/balances"),
    ("GET", "/api/v1/accounts/1/transfers"),
    ("GET", "/api/v1/transfers"),
    ("GET", "/api/v1/transfers/1"),
    ("GET", "/api/v1/trial-balance"),
    ("GET", "/api/v1/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/nothing/here"),
]


@pytest.mark.parametrize(("method", "path"), EVERYTHING)
@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {TOKEN}0",
        f"Bearer {TOKEN[:-1]}",
        f"Token {TOKEN}",
        TOKEN,
        "Basic " + base64.b64encode(b"owner:wrong").decode(),
        "Basic !!!",
    ],
)
async def test_nothing_but_health_without_the_credential(api: Api, method: str, path: str, given: str | None) -> None:
    request = api.http.build_request(method, path)
    del request.headers["authorization"]
    if given is not None:
        request.headers["authorization"] = given
    answer = await api.http.send(request)
    problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert not api.engine.calls


async def test_the_scheme_is_not_case_sensitive(api: Api) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        answer = await api.http.get("/api/v1/accounts", headers={"authorization": f"{scheme} {TOKEN}"})
        assert answer.status_code == 200


async def test_health_needs_no_credential_and_says_when_the_engine_is_away(api: Api) -> None:
    for path in ("/health", "/api/v1/health"):
        request = api.http.build_request("GET", path)
        del request.headers["authorization"]
        assert (await api.http.send(request)).json() == {"live": True, "ready": True, "writable": True}
    api.engine.fails_with = EngineUnreachable()
    answer = await api.http.get("/health")
    assert (answer.status_code, answer.json()["ready"], answer.headers["retry-after"]) == (503, False, "1")


async def test_a_browser_may_read_the_documentation_with_a_password(api: Api) -> None:
    basic = {"authorization": "Basic " + base64.b64encode(f"anyone:{TOKEN}".encode()).decode()}
    page = await api.http.get("/docs", headers=basic)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "script" not in page.text
    assert (await api.http.get("/api/v1/openapi.json", headers=basic)).status_code == 200
    # A browser sends a password along with requests that other sites make: it must open nothing else.
    problem(await api.http.get("/api/v1/accounts", headers=basic), 401, "unauthenticated")


async def test_a_browser_is_asked_for_the_password(api: Api) -> None:
    request = api.http.build_request("GET", "/docs")
    del request.headers["authorization"]
    assert "Basic" in (await api.http.send(request)).headers["www-authenticate"]


@pytest.mark.parametrize("path", ["/api/v1/accounts", "/api/v1/transaction", "/docs", "/nothing", "/health"])
async def test_every_answer_carries_its_id_and_keeps_to_itself(api: Api, path: str) -> None:
    first, second = await api.http.get(path), await api.http.get(path)
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", first.headers["x-request-id"]
    )
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert first.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in first.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in first.headers["content-security-policy"]


async def test_what_is_not_there_and_what_is_not_done(api: Api) -> None:
    problem(await api.http.get("/api/v2/accounts"), 404, "route_not_found")
    problem(await api.http.get("/api/v1/accounts/"), 404, "route_not_found")
    for method, path, allow in (
        ("GET", "/api/v1/transaction", "POST"),
        ("DELETE", "/api/v1/transactions", "POST"),
        ("PUT", "/api/v1/transfers", "GET"),
    ):
        answer = await api.http.request(method, path)
        problem(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == allow
    answer = await api.http.request("PATCH", "/api/v1/accounts")
    problem(answer, 405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "POST"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
async def test_a_body_is_json_and_says_so(api: Api, headers: dict[str, str]) -> None:
    for path in ("/api/v1/transaction", "/api/v1/accounts", "/api/v1/transactions/1/post"):
        problem(await api.http.post(path, content=b"{}", headers=headers), 415, "unsupported_media_type")


async def test_a_charset_may_be_named(api: Api) -> None:
    headers = {"content-type": 'Application/JSON; charset="UTF-8"'}
    problem(await api.http.post("/api/v1/transaction", content=b"{}", headers=headers), 422, "missing_field")


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("path", "size"), [("/api/v1/transaction", 16_385), ("/api/v1/transactions", 4_194_305)])
async def test_a_body_has_a_size(api: Api, path: str, size: int, chunked: bool) -> None:  # noqa: FBT001  # parametrized
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(0, size, 4_096):
            yield b" " * 4_096

    content = pieces() if chunked else b" " * size
    answer = await api.http.post(path, content=content, headers=JSON)
    problem(answer, 413, "body_too_large")
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("name", ["authorization", "idempotency-key", "content-type", "host"])
async def test_a_header_that_decides_something_stands_once(api: Api, name: str) -> None:
    headers = httpx.Headers([(name, "x"), (name, "y"), ("content-type", "application/json")])
    request = httpx.Request("POST", "http://qenex/api/v1/transaction", headers=headers, content=b"{}")
    problem(await api.http.send(request), 400, "malformed_request")


async def test_what_nobody_thought_of_is_still_a_problem_and_is_logged(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    api.engine.fails_with = RuntimeError("a bug")  # type: ignore[assignment]  # as one would surface
    for method, path, body in (
        ("GET", "/api/v1/accounts/1", None),
        ("POST", "/api/v1/transaction", {"from": "1", "to": "2", "amount": "1", "token": "EUR"}),
    ):
        with caplog.at_level(logging.ERROR):
            answer = await api.http.request(method, path, json=body)
        document = problem(answer, 500, "internal_error")
        assert "a bug" not in answer.text
        assert document["instance"].removeprefix("urn:uuid:") in caplog.text
        assert "a bug" in caplog.text


async def test_counts_requests_by_route_not_by_address(api: Api) -> None:
    made = await api.account()
    for path in (f"/api/v1/accounts/{made['id']}", "/api/v1/accounts/5", "/no/such/route", "/docs"):
        await api.http.get(path)
    await api.http.request("BREW", "/health")
    registry = api.application.metrics.registry

    def count(route: str, method: str, status: int) -> float | None:
        labels = {"route": route, "method": method, "status": str(status)}
        return registry.get_sample_value("qenex_http_requests_total", labels)

    assert count("/api/v1/accounts", "POST", 201) == 1
    assert count("/api/v1/accounts/{account}", "GET", 200) == 1
    assert count("/api/v1/accounts/{account}", "GET", 404) == 1
    assert count("none", "GET", 404) == 1
    assert count("none", "other", 405) == 1 or count("/health", "other", 405) == 1
    assert registry.get_sample_value("qenex_http_request_seconds_count", {"route": "/api/v1/accounts"}) == 1
