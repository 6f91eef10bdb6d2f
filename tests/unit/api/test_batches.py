"""`POST /api/v1/transactions`: each on its own, or all of them or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from qenex.kernel import BATCH_MAX
from tests.unit.api.conftest import Api, problem

if TYPE_CHECKING:
    import httpx


async def send(api: Api, rows: list[Any], key: str | None = None, **fields: Any) -> httpx.Response:
    headers = {"idempotency-key": key} if key else {}
    return await api.http.post("/api/v1/transactions", json={"transactions": rows} | fields, headers=headers)


def row(debit: dict[str, Any], credit: dict[str, Any], amount: str, **fields: Any) -> dict[str, Any]:
    return {"from": debit["id"], "to": credit["id"], "amount": amount, "token": "EUR"} | fields


async def test_each_row_has_a_result_of_its_own(api: Api) -> None:
    bank, poor = await api.account(), await api.account(debits_must_not_exceed_credits=True)
    rows = [row(bank, poor, "10"), row(poor, bank, "11"), row(poor, bank, "9"), row(bank, bank, "1")]
    reply = (await send(api, rows)).json()
    assert (reply["created"], reply["replayed"], reply["refused"]) == (2, 0, 2)
    assert [result["status"] for result in reply["results"]] == [
        "created",
        "exceeds_credits",
        "created",
        "accounts_must_be_different",
    ]
    assert reply["results"][1]["error"]["pointer"] == "/transactions/1"
    assert reply["results"][1]["error"]["status"] == 422
    assert await api.posted(poor) == "1.00"


async def test_an_atomic_batch_happens_as_one(api: Api) -> None:
    bank, poor = await api.account(), await api.account(debits_must_not_exceed_credits=True)
    reply = (await send(api, [row(bank, poor, "10"), row(poor, bank, "4")], atomic=True)).json()
    assert reply["created"] == 2
    assert await api.posted(poor) == "6.00"
    answer = await send(api, [row(bank, poor, "10"), row(poor, bank, "17"), row(bank, poor, "1")], atomic=True)
    document = problem(answer, 422, "batch_refused")
    (error,) = document["errors"]
    assert (error["code"], error["pointer"]) == ("exceeds_credits", "/transactions/1")
    assert await api.posted(poor) == "6.00"


async def test_batches_side_by_side_do_not_share_a_fate(api: Api) -> None:
    import asyncio

    bank, poor = await api.account(), await api.account(debits_must_not_exceed_credits=True)
    frames = len(api.engine.rows_sent)
    good, bad, single = await asyncio.gather(
        send(api, [row(bank, poor, "1")] * 2, atomic=True),
        send(api, [row(bank, poor, "1"), row(poor, bank, "100")], atomic=True),
        api.transfer(bank, poor, "1"),
    )
    assert api.engine.rows_sent[frames:] == [5]
    assert good.json()["created"] == 2
    problem(bad, 422, "batch_refused")
    assert single.status_code == 201
    assert await api.posted(poor) == "3.00"


@pytest.mark.parametrize("atomic", [True, False])
async def test_a_retry_of_a_batch_moves_nothing(api: Api, atomic: bool) -> None:  # noqa: FBT001  # parametrized
    bank, payee = await api.account(), await api.account()
    rows = [row(bank, payee, "1"), row(bank, payee, "2", balancing_credit=True), row(bank, payee, "3")]
    first = await send(api, rows, key="k", atomic=atomic)
    again = await send(api, rows, key="k", atomic=atomic)
    assert (again.json()["created"], again.json()["replayed"]) == (0, 3)
    assert again.headers["idempotency-replayed"] == "true"
    hashes = [[result["hash"] for result in answer.json()["results"]] for answer in (first, again)]
    assert hashes[0] == hashes[1]
    assert await api.posted(payee) == "4.00"


@pytest.mark.parametrize("atomic", [True, False])
async def test_the_same_key_for_another_batch_is_a_conflict_before_anything_moves(
    api: Api,
    atomic: bool,  # noqa: FBT001  # parametrized
) -> None:
    bank, payee = await api.account(), await api.account()
    await send(api, [row(bank, payee, "1"), row(bank, payee, "2")], key="k", atomic=atomic)
    for rows in (
        [row(bank, payee, "1"), row(bank, payee, "3")],
        [row(bank, payee, "5")],
        [row(bank, payee, "2"), row(bank, payee, "2"), row(bank, payee, "3")],
    ):
        problem(await send(api, rows, key="k", atomic=atomic), 422, "idempotency_conflict")
    longer = [row(bank, payee, "1"), row(bank, payee, "2"), row(bank, payee, "7")]
    problem(await send(api, longer, key="k", atomic=atomic), 422, "idempotency_conflict")
    problem(await send(api, longer[:2], key="k", atomic=not atomic), 422, "idempotency_conflict")
    assert await api.posted(payee) == "3.00"


async def test_a_refused_chain_is_refused_again_for_the_same_reason(api: Api) -> None:
    bank, poor = await api.account(), await api.account(debits_must_not_exceed_credits=True)
    rows = [row(bank, poor, "1"), row(poor, bank, "5")]
    first = problem(await send(api, rows, key="k", atomic=True), 422, "batch_refused")
    await api.transfer(bank, poor, "100")
    again = problem(await send(api, rows, key="k", atomic=True), 422, "batch_refused")
    assert [error["code"] for error in again["errors"]] == ["exceeds_credits"]
    assert again["errors"][0]["timestamp_ns"] == first["errors"][0]["timestamp_ns"]
    assert await api.posted(poor) == "100.00"


async def test_ids_of_ones_own_make_an_atomic_retry_harmless(api: Api) -> None:
    bank, payee = await api.account(), await api.account()
    rows = [row(bank, payee, "1", id="901"), row(bank, payee, "2", id="902")]
    await send(api, rows, atomic=True)
    again = await send(api, rows, atomic=True)
    assert again.json()["replayed"] == 2
    twice = [row(bank, payee, "1", id="903"), row(bank, payee, "1", id="903")]
    problem(await send(api, twice, atomic=True), 422, "batch_refused")
    assert await api.posted(payee) == "3.00"


async def test_a_full_batch_is_taken_and_one_more_is_not(api: Api) -> None:
    bank, payee = await api.account(), await api.account()
    rows = [row(bank, payee, "0.01")] * BATCH_MAX
    reply = (await send(api, rows)).json()
    assert reply["created"] == BATCH_MAX
    assert await api.posted(payee) == "81.89"
    problem(await send(api, [*rows, rows[0]]), 413, "batch_too_large")
    assert await api.posted(payee) == "81.89"


@pytest.mark.parametrize(
    ("body", "status", "code", "pointer"),
    [
        ({}, 422, "missing_field", "/transactions"),
        ({"transactions": {}}, 422, "invalid_field", "/transactions"),
        ({"transactions": []}, 422, "missing_field", "/transactions/0"),
        ({"transactions": [1]}, 422, "invalid_field", "/transactions/0"),
        ({"transactions": [], "atomic": None}, 422, "invalid_field", "/atomic"),
        (
            {"transactions": [{"from": "1", "to": "2", "amount": "x", "token": "EUR"}]},
            422,
            "invalid_amount",
            "/transactions/0/amount",
        ),
        ({"transactions": [{"optimize": True}]}, 422, "unknown_field", "/transactions/0/optimize"),
        ({"transactions": [], "to": 1}, 422, "unknown_field", "/to"),
    ],
)
async def test_says_what_is_wrong_with_a_batch(
    api: Api, body: dict[str, Any], status: int, code: str, pointer: str
) -> None:
    answer = await api.http.post("/api/v1/transactions", json=body)
    assert problem(answer, status, code)["pointer"] == pointer
    assert not api.engine.rows_sent


async def test_a_wrong_row_stops_the_whole_batch_before_it_is_sent(api: Api) -> None:
    bank, payee = await api.account(), await api.account()
    frames = len(api.engine.rows_sent)
    answer = await send(api, [row(bank, payee, "1"), row(bank, payee, "0.001")])
    assert problem(answer, 422, "amount_too_precise")["pointer"] == "/transactions/1/amount"
    assert len(api.engine.rows_sent) == frames
