"""How much one may ask, and what every answer says of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from qenex.limits import Limit, LocalLimits, Policy
from tests.unit.api.conftest import Api, MemoryEngine, application_over, problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WIDE = (1_000_000, 1_000_000)


def limits(**low: tuple[int, int]) -> LocalLimits:
    names = ("credential", "principal", "book", "address", "failures")
    return LocalLimits(Policy(*(Limit(name, *low.get(name, WIDE)) for name in names)))


@pytest.fixture
async def narrow(memory_engine: MemoryEngine) -> AsyncIterator[Api]:
    """Three requests of a credential, and two mistakes of an address, then one a second."""
    async with application_over(memory_engine, limits(credential=(1, 3), failures=(1, 2))) as api:
        yield api


async def test_one_request_too_many_is_refused_and_told_when_to_come_back(narrow: Api) -> None:
    for left in (2, 1, 0):
        answer = await narrow.http.get("/api/v1/accounts")
        assert answer.status_code == 200
        assert answer.headers["ratelimit"].startswith(f'"credential";r={left}')
        assert '"credential";q=3;w=3' in answer.headers["ratelimit-policy"]
    answer = await narrow.http.get("/api/v1/accounts")
    problem(answer, 429, "rate_limited")
    assert int(answer.headers["retry-after"]) == 1
    assert answer.headers["ratelimit"].startswith('"credential";r=0')
    # Nobody else has less for it, and health is asked by everyone.
    assert (await narrow.http.get("/health", headers={"authorization": ""})).status_code == 200


async def test_nothing_is_done_by_a_request_too_many(memory_engine: MemoryEngine) -> None:
    async with application_over(memory_engine, limits(credential=(1, 3))) as api:
        payer, payee = await api.account(), await api.account()
        assert (await api.transfer(payer, payee, "1")).status_code == 201
        before = dict(api.engine.calls)
        problem(await api.transfer(payer, payee, "1"), 429, "rate_limited")
        assert api.engine.calls == before


async def test_a_bulk_costs_by_its_rows_and_is_refused_whole(memory_engine: MemoryEngine) -> None:
    async with application_over(memory_engine, limits(principal=(1, 6))) as api:
        payer, payee = await api.account(), await api.account()
        row = {"from": payer["address"], "to": payee["address"], "amount": "1", "token": "EUR"}
        batch = {"transactions": [row] * 200}
        assert (await api.http.post("/api/v1/transactions", json=batch)).status_code == 200
        before = dict(api.engine.calls)
        problem(await api.http.post("/api/v1/transactions", json=batch), 429, "rate_limited")
        assert api.engine.calls == before


async def test_who_guesses_is_slowed_down_and_locks_nobody_out(narrow: Api) -> None:
    guess = {"authorization": "Bearer qnx_owner_" + "0" * 64}
    for _ in range(2):
        problem(await narrow.http.get("/api/v1/accounts", headers=guess), 401, "unauthenticated")
    answer = await narrow.http.get("/api/v1/accounts", headers=guess)
    problem(answer, 429, "rate_limited")
    assert "retry-after" in answer.headers
    # From the same address the right credential opens the door at once.
    assert (await narrow.http.get("/api/v1/accounts")).status_code == 200


async def test_an_answer_names_its_trace_and_the_engine_has_it(api: Api) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    payer, payee = await api.account(), await api.account()
    body = {"from": payer["address"], "to": payee["address"], "amount": "1", "token": "EUR"}
    answer = await api.http.post("/api/v1/transaction", json=body, headers=headers)
    assert re.fullmatch(f"00-{trace}-[0-9a-f]{{16}}-00", answer.headers["traceresponse"])
    assert api.engine.traces[-1] == bytes.fromhex(trace)
    own = (await api.http.get("/health")).headers["traceresponse"]
    assert trace not in own


async def test_only_over_tls_a_browser_is_told_to_stay_there(memory_engine: MemoryEngine) -> None:
    for scheme, told in (("http", False), ("https", True)):
        async with application_over(memory_engine, scheme=scheme) as api:
            for path in ("/health", "/docs", "/api/v1/accounts", "/nothing"):
                answer = await api.http.get(path)
                assert ("strict-transport-security" in answer.headers) == told
                assert answer.headers["referrer-policy"] == "no-referrer"
