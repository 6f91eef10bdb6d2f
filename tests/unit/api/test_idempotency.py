"""A write with an `Idempotency-Key` happens once, however often it is sent."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import Any

import pytest

from tests.unit.api.conftest import BOOK, Api, problem


def spelled_out(key: str, row: int) -> int:
    """Section 8 of spec/protocol.md, word by word."""
    strings = [b"qenex-id-v1", BOOK, b"owner", key.encode(), row.to_bytes(4, "little")]
    text = b"".join(len(string).to_bytes(4, "little") + string for string in strings)
    return int.from_bytes(sha256(text).digest()[:16], "little")


async def test_the_id_is_a_function_of_book_principal_key_and_row(api: Api) -> None:
    payer, payee = await api.account(), await api.account()
    assert (await api.transfer(payer, payee, "1", key="order-1")).json()["id"] == str(spelled_out("order-1", 0))
    rows = [{"from": payer["id"], "to": payee["id"], "amount": "1", "token": "EUR"}] * 3
    answer = await api.http.post(
        "/api/v1/transactions", json={"transactions": rows}, headers={"idempotency-key": "order-2"}
    )
    assert [row["id"] for row in answer.json()["results"]] == [str(spelled_out("order-2", n)) for n in range(3)]


async def test_a_retry_gets_the_original_answer_and_moves_nothing(api: Api) -> None:
    payer, payee = await api.account(), await api.account()
    first = await api.transfer(payer, payee, "5", key="k")
    for written in ("5", "5.0", "5.00"):
        again = await api.transfer(payer, payee, written, key="k")
        assert again.status_code == 201
        assert again.headers["idempotency-replayed"] == "true"
        assert {**again.json(), "optimize": None} == {**first.json(), "optimize": None}
    assert "idempotency-replayed" not in first.headers
    assert await api.posted(payee) == "5.00"


@pytest.mark.parametrize(
    "other", [{"amount": "6"}, {"code": 9}, {"pending": True}, {"user_data_64": "1"}, {"timeout": 5, "pending": True}]
)
async def test_the_same_key_for_another_transfer_is_a_conflict(api: Api, other: dict[str, Any]) -> None:
    payer, payee = await api.account(), await api.account()
    await api.transfer(payer, payee, "5", key="k")
    body = {"amount": "5"} | other
    document = problem(
        await api.transfer(payer, payee, body.pop("amount"), key="k", **body), 422, "idempotency_conflict"
    )
    assert document["key"] == "k"
    problem(await api.transfer(payee, payer, "5", key="k"), 422, "idempotency_conflict")
    assert await api.posted(payee) == "5.00"


async def test_a_refusal_is_repeated_even_when_there_is_money_by_then(api: Api) -> None:
    bank, payee = await api.account(), await api.account()
    payer = await api.account(debits_must_not_exceed_credits=True)
    first = problem(await api.transfer(payer, payee, "80", key="k"), 422, "exceeds_credits")
    await api.transfer(bank, payer, "100")
    again = problem(await api.transfer(payer, payee, "80", key="k"), 422, "exceeds_credits")
    assert again["timestamp_ns"] == first["timestamp_ns"]
    assert await api.posted(payee) == "0.00"
    problem(await api.transfer(payer, payee, "79", key="k"), 422, "idempotency_conflict")
    assert (await api.transfer(payer, payee, "80", key="k2")).status_code == 201


async def test_the_same_key_for_another_transfer_is_a_conflict_also_after_a_refusal_that_burned_no_id(api: Api) -> None:
    payer, payee = await api.account(), await api.account()
    for _ in range(2):
        problem(await api.transfer(payer, payer, "5", key="k"), 400, "accounts_must_be_different")
    assert problem(await api.transfer(payer, payee, "5", key="k"), 422, "idempotency_conflict")["key"] == "k"
    rows = [{"from": payer["id"], "to": payee["id"], "amount": "5", "token": "EUR"}]
    batch = await api.http.post("/api/v1/transactions", json={"transactions": rows}, headers={"idempotency-key": "k"})
    problem(batch, 422, "idempotency_conflict")
    assert await api.posted(payee) == "0.00"
    assert (await api.transfer(payer, payee, "5", key="k2")).status_code == 201


async def test_two_transfers_with_the_same_key_at_the_same_time_never_both_count(api: Api) -> None:
    payer, payee = await api.account(), await api.account()
    wrong, other = await asyncio.gather(
        api.transfer(payer, payer, "5", key="k"), api.transfer(payer, payee, "5", key="k")
    )
    problem(wrong, 400, "accounts_must_be_different")
    problem(other, 422, "idempotency_conflict")
    assert await api.posted(payee) == "0.00"


async def test_a_refused_account_keeps_its_key_too(api: Api) -> None:
    headers = {"idempotency-key": "k"}
    for body, code in (({"code": 0}, "code_must_not_be_zero"), ({"code": 1}, "idempotency_conflict")):
        answer = await api.http.post("/api/v1/accounts", json={"token": "EUR"} | body, headers=headers)
        assert answer.json()["code"] == code


async def test_another_process_knows_a_retry_by_what_is_in_the_ledger(api: Api, restarted: Api) -> None:
    payer, payee = await api.account(), await api.account()
    poor = await api.account(debits_must_not_exceed_credits=True)
    rows = [{"from": payer["id"], "to": payee["id"], "amount": amount, "token": "EUR"} for amount in ("1", "2")]
    many = {"url": "/api/v1/transactions", "headers": {"idempotency-key": "many"}}
    await api.http.post(**many, json={"transactions": rows})
    await api.transfer(payer, payee, "5", key="one")
    problem(await restarted.transfer(payer, payee, "6", key="one"), 422, "idempotency_conflict")
    assert (await restarted.transfer(payer, payee, "5", key="one")).headers["idempotency-replayed"] == "true"
    for fewer in ([rows[0]], [rows[1]]):
        problem(await restarted.http.post(**many, json={"transactions": fewer}), 422, "idempotency_conflict")
    problem(await restarted.transfer(payer, payee, "1", key="many"), 422, "idempotency_conflict")
    again = await restarted.http.post(**many, json={"transactions": rows})
    assert (again.json()["replayed"], await api.posted(payee)) == (2, "8.00")
    # As long as one that had the key was not seen by this process, whoever asks first has it: the original never loses.
    problem(await api.transfer(poor, payee, "80", key="poor"), 422, "exceeds_credits")
    problem(await restarted.transfer(poor, payee, "79", key="poor"), 422, "exceeds_credits")
    problem(await restarted.transfer(poor, payee, "80", key="poor"), 422, "exceeds_credits")


async def test_an_id_whose_transfer_was_refused_says_how(api: Api) -> None:
    payer, payee = await api.account(debits_must_not_exceed_credits=True), await api.account()
    problem(await api.transfer(payer, payee, "80", id="5"), 422, "exceeds_credits")
    document = problem(await api.transfer(payer, payee, "80", id="5"), 409, "id_already_failed")
    assert document["first_code"] == "exceeds_credits"


async def test_retries_at_the_same_time_happen_once(api: Api) -> None:
    payer, payee = await api.account(), await api.account()
    answers = await asyncio.gather(*(api.transfer(payer, payee, "1", key="k") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["hash"] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert await api.posted(payee) == "1.00"


async def test_accounts_are_created_once(api: Api) -> None:
    headers = {"idempotency-key": "customer 1".replace(" ", "-")}
    first = await api.http.post("/api/v1/accounts", json={"token": "EUR"}, headers=headers)
    again = await api.http.post("/api/v1/accounts", json={"token": "EUR"}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    other = await api.http.post("/api/v1/accounts", json={"token": "USD"}, headers=headers)
    problem(other, 422, "idempotency_conflict")


async def test_quotes_are_no_part_of_a_key(api: Api) -> None:
    payer, payee = await api.account(), await api.account()
    bare = await api.transfer(payer, payee, "1", key="abc")
    quoted = await api.transfer(payer, payee, "1", key='"abc"')
    assert quoted.json()["id"] == bare.json()["id"]


@pytest.mark.parametrize("key", ["", '""', "a b", "x" * 256, "\x7f", "caf\u00e9".encode("latin-1")])
async def test_a_key_is_visible_ascii(api: Api, key: str | bytes) -> None:
    payer, payee = await api.account(), await api.account()
    problem(await api.transfer(payer, payee, "1", key=key), 400, "invalid_idempotency_key")


async def test_a_key_and_an_id_exclude_each_other(api: Api) -> None:
    payer, payee = await api.account(), await api.account()
    problem(await api.transfer(payer, payee, "1", key="k", id="5"), 400, "invalid_idempotency_key")
    answer = await api.http.post("/api/v1/accounts", json={"token": "EUR", "id": "5"}, headers={"idempotency-key": "k"})
    problem(answer, 400, "invalid_idempotency_key")
