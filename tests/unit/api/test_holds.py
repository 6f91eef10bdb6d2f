"""Two-phase transfers: hold, then post or void."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.unit.api.conftest import Api, problem

if TYPE_CHECKING:
    import httpx


async def second(api: Api, hold: dict[str, Any], phase: str, key: str = "", **body: Any) -> httpx.Response:
    headers = {"idempotency-key": key} if key else {}
    return await api.http.post(f"/api/v1/transactions/{hold['id']}/{phase}", json=body, headers=headers)


async def held(api: Api, amount: str = "40", **fields: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A hold, and the account that it will credit."""
    bank, shop = await api.account(), await api.account()
    hold = (await api.transfer(bank, shop, amount, pending=True, **fields)).json()
    assert hold["flags"] == ["pending"]
    assert await api.posted(shop) == "0.00"
    return hold, shop


async def test_posting_takes_all_of_it(api: Api) -> None:
    hold, shop = await held(api, code=7)
    reply = (await second(api, hold, "post")).json()
    assert (reply["amount"], reply["flags"], reply["pending_id"]) == ("40.00", ["post_pending_transfer"], hold["id"])
    assert (reply["code"], reply["to"], reply["token"]) == (7, shop["address"], "EUR")
    assert await api.posted(shop) == "40.00"
    assert (await api.http.get(f"/api/v1/transfers/{reply['hash']}")).json()["id"] == reply["id"]


async def test_posting_less_releases_the_rest(api: Api) -> None:
    hold, shop = await held(api)
    reply = (await second(api, hold, "post", amount="15.50")).json()
    assert reply["amount"] == "15.50"
    balance = (await api.http.get(f"/api/v1/accounts/{shop['id']}/balance")).json()
    assert (balance["posted"], balance["credits_pending"]) == ("15.50", "0.00")


async def test_voiding_releases_all_of_it(api: Api) -> None:
    hold, shop = await held(api)
    reply = (await second(api, hold, "void")).json()
    assert (reply["amount"], reply["flags"]) == ("40.00", ["void_pending_transfer"])
    assert await api.posted(shop) == "0.00"


async def test_a_hold_is_named_by_hash_too(api: Api) -> None:
    hold, shop = await held(api)
    answer = await api.http.post(f"/api/v1/transactions/{hold['hash']}/post", json={})
    assert answer.status_code == 201
    assert await api.posted(shop) == "40.00"


async def test_a_retry_of_a_post_is_answered_as_the_first(api: Api) -> None:
    hold, shop = await held(api)
    first = await second(api, hold, "post", key="p", amount="10")
    again = await second(api, hold, "post", key="p", amount="10.00")
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["hash"] == first.json()["hash"]
    problem(await second(api, hold, "post", key="p", amount="11"), 422, "idempotency_conflict")
    problem(await second(api, hold, "void", key="p"), 422, "idempotency_conflict")
    assert await api.posted(shop) == "10.00"


async def test_a_hold_ends_once(api: Api) -> None:
    hold, _ = await held(api)
    await second(api, hold, "post")
    problem(await second(api, hold, "post"), 409, "pending_transfer_already_posted")
    problem(await second(api, hold, "void"), 409, "pending_transfer_already_posted")
    hold, _ = await held(api)
    await second(api, hold, "void")
    problem(await second(api, hold, "post"), 409, "pending_transfer_already_voided")


async def test_what_cannot_be_posted(api: Api) -> None:
    hold, _ = await held(api)
    problem(await second(api, hold, "post", amount="40.01"), 409, "exceeds_pending_transfer_amount")
    # The largest number there is means itself, not "all of it" as it does to the kernel.
    most = "3402823669209384634633746074317682114.55"
    problem(await second(api, hold, "post", amount=most), 409, "exceeds_pending_transfer_amount")
    assert problem(await second(api, hold, "post", amount="0.001"), 422, "amount_too_precise")["pointer"] == "/amount"
    problem(await second(api, {"id": "999"}, "post"), 409, "pending_transfer_not_found")
    problem(await second(api, {"id": "999"}, "post", amount="1"), 409, "pending_transfer_not_found")
    problem(await second(api, {"id": "ab" * 32}, "void"), 404, "transfer_not_found")
    problem(await second(api, {"id": "zero"}, "void"), 422, "invalid_id")
    problem(await second(api, hold, "void", amount="1"), 422, "unknown_field")
    bank, shop = await api.account(), await api.account()
    plain = (await api.transfer(bank, shop, "1")).json()
    problem(await second(api, plain, "post"), 409, "pending_transfer_not_pending")
