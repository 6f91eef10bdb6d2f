"""A version says that it will end, and ends then; another lives beside it."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from qenex.api.routing import Needs
from qenex.api.versions import Version, Versions
from qenex.principals import Action
from tests.unit.api.conftest import MemoryEngine, application_over, problem

NOON_NS = 1_790_000_000_000_000_000


async def test_a_version_that_goes_on_says_nothing(memory_engine: MemoryEngine) -> None:
    async with application_over(memory_engine) as api:
        answer = await api.http.get("/api/v1/accounts")
    assert not {"deprecation", "sunset"} & {*answer.headers}


async def test_a_version_that_will_end_says_so_and_then_ends(memory_engine: MemoryEngine) -> None:
    now_ns = [NOON_NS]
    ending = Version("v1", deprecated_ns=NOON_NS - 10**9, sunset_ns=NOON_NS + 60 * 10**9, successor="v2")
    versions = Versions([ending, Version("v2")], clock_ns=lambda: now_ns[0])
    async with application_over(memory_engine, versions=versions) as api:
        for path in ("/api/v1/accounts", "/api/v1/nothing", "/api/v1/health"):
            answer = await api.http.get(path)
            assert answer.headers["deprecation"] == "@1789999999"
            assert answer.headers["sunset"] == "Mon, 21 Sep 2026 14:14:20 GMT"
            assert answer.headers["link"] == '</api/v2/openapi.json>; rel="successor-version"'
        for path in ("/health", "/docs", "/api/v10/accounts"):
            assert "deprecation" not in (await api.http.get(path)).headers
        now_ns[0] = NOON_NS + 60 * 10**9
        document = problem(await api.http.get("/api/v1/accounts"), 410, "version_ended")
        assert (document["version"], document["successor"]) == ("v1", "v2")
        assert (await api.http.get("/health")).status_code == 200


async def test_two_versions_live_side_by_side(memory_engine: MemoryEngine) -> None:
    router = APIRouter()

    async def accounts() -> dict[str, str]:
        return {"version": "2"}

    router.add_api_route("/api/v2/accounts", accounts, dependencies=[Depends(Needs(Action.ACCOUNTS_READ))])
    async with application_over(memory_engine) as api:
        api.application.fastapi.include_router(router)
        assert (await api.http.get("/api/v2/accounts")).json() == {"version": "2"}
        assert "items" in (await api.http.get("/api/v1/accounts")).json()
