"""`POST /api/v1/transaction`: money moves exactly as said, or not at all."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from qenex.kernel import ID, from_ints, to_address
from tests.unit.api.conftest import Api, problem


async def test_moves_the_amount_and_says_what_was_recorded(api: Api) -> None:
    payer, payee = await api.account(), await api.account()
    answer = await api.transfer(payer, payee, "12.50", code=7, user_data_64="1795434615000000000")
    assert answer.status_code == 201
    reply = answer.json()
    assert reply["status"] == "created"
    assert (reply["from"], reply["to"]) == (payer["address"], payee["address"])
    assert (reply["amount"], reply["amount_minor"], reply["token"]) == ("12.50", "1250", "EUR")
    assert (reply["code"], reply["user_data_64"]) == (7, "1795434615000000000")
    assert reply["optimize"] == {"requested": False, "waited_us": 0, "group_requests": 1, "group_rows": 1}
    assert answer.headers["location"] == f"/api/v1/transfers/{reply['id']}"
    (recorded,) = api.engine.ledger.lookup_transfers([int(reply["id"])])
    assert (recorded.amount, recorded.timestamp) == (1250, int(reply["timestamp_ns"]))
    assert await api.posted(payer) == "-12.50"
    assert await api.posted(payee) == "12.50"


async def test_the_hash_is_of_the_recorded_row(api: Api) -> None:
    payer, payee = await api.account(), await api.account()
    reply = (await api.transfer(payer, payee, "1")).json()
    by_hash = await api.http.get(f"/api/v1/transfers/{reply['hash']}")
    by_id = await api.http.get(f"/api/v1/transfers/{reply['id']}")
    assert by_hash.json() == by_id.json() == {k: v for k, v in reply.items() if k not in ("status", "optimize")}
    row = api.engine.ledger.lookup_transfers(from_ints([int(reply["id"])]).view(ID)).tobytes()
    assert reply["hash"] == "0x" + sha256(b"\0" + row).hexdigest()


async def test_a_clamped_amount_is_reported_as_recorded(api: Api) -> None:
    bank, payer, payee = await api.account(), await api.account(), await api.account()
    await api.transfer(bank, payer, "30")
    reply = (await api.transfer(payer, payee, "100", balancing_debit=True)).json()
    assert (reply["amount"], reply["flags"]) == ("30.00", ["balancing_debit"])
    assert (await api.http.get(f"/api/v1/transfers/{reply['hash']}")).status_code == 200


@pytest.mark.parametrize(
    ("amount", "minor"),
    [
        ('"0.29"', 29),
        ("0.29", 29),  # 0.29 * 100 is 28.999999999999996 in floats
        ("1.10", 110),
        ("4.350", 435),
        ("0", 0),
        ('"0.00"', 0),
        ("1000000000000000000000000000000000.01", 100000000000000000000000000000000001),
        ("3402823669209384634633746074317682114.55", (1 << 128) - 1),
        ('"3402823669209384634633746074317682114.55"', (1 << 128) - 1),
    ],
)
async def test_an_amount_is_read_from_its_own_digits(api: Api, amount: str, minor: int) -> None:
    payer, payee = await api.account(), await api.account()
    body = f'{{"from": "{payer["id"]}", "to": "{payee["id"]}", "amount": {amount}, "token": "EUR"}}'
    answer = await api.http.post("/api/v1/transaction", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 201, answer.text
    assert answer.json()["amount_minor"] == str(minor)


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        ('"0.001"', "amount_too_precise"),
        ("12.345", "amount_too_precise"),
        ('"0.' + "0" * 5_000 + '1"', "amount_too_precise"),
        ('"-1"', "amount_out_of_range"),
        ("-0.01", "amount_out_of_range"),
        ("100000000000000000000000000000000000000", "amount_out_of_range"),
        ('"3402823669209384634633746074317682114.56"', "amount_out_of_range"),
        ("9" * 5_000, "amount_out_of_range"),
        ('"1e2"', "invalid_amount"),
        ('"1,000"', "invalid_amount"),
        ('""', "invalid_amount"),
        ('" 1"', "invalid_amount"),
        ('"NaN"', "invalid_amount"),
        ('"0x10"', "invalid_amount"),
        ('"\u0661"', "invalid_amount"),
        ("null", "invalid_amount"),
        ("true", "invalid_amount"),
        ("[1]", "invalid_amount"),
        ("1e2", "number_not_exact"),
        ("1e400", "number_not_exact"),
        ("1E-2", "number_not_exact"),
        ("NaN", "number_not_exact"),
        ("-Infinity", "number_not_exact"),
    ],
)
async def test_an_amount_that_is_none_changes_nothing(api: Api, amount: str, code: str) -> None:
    payer, payee = await api.account(), await api.account()
    writes = api.engine.rows_sent.copy()
    body = f'{{"from": "{payer["id"]}", "to": "{payee["id"]}", "amount": {amount}, "token": "EUR"}}'
    answer = await api.http.post(
        "/api/v1/transaction", content=body.encode(), headers={"content-type": "application/json"}
    )
    status = 400 if code == "number_not_exact" else 422
    assert problem(answer, status, code)["pointer"] == "/amount"
    assert api.engine.rows_sent == writes


async def test_scales_are_the_assets_own(api: Api) -> None:
    for token, amount, minor in (("JPY", "12", "12"), ("KWD", "1.234", "1234"), ("QXC", "100.0", "100" + "0" * 18)):
        payer, payee = await api.account(token=token), await api.account(token=token)
        reply = (await api.transfer(payer, payee, amount, token=token)).json()
        assert reply["amount_minor"] == minor
    payer, payee = await api.account(token="JPY"), await api.account(token="JPY")
    problem(await api.transfer(payer, payee, "1.5", token="JPY"), 422, "amount_too_precise")


async def test_accounts_are_named_by_address_or_by_id(api: Api) -> None:
    payer, payee = await api.account(id="0xab"), await api.account(id="172")
    assert payer["address"] == to_address(0xAB)
    for debit in (
        payer["address"],
        payer["address"].lower(),
        "0x" + payer["address"][2:].upper(),
        "171",
        "0xab",
        "0xAB",
    ):
        body: dict[str, Any] = {"from": debit, "to": payee["address"], "amount": "1", "token": "EUR"}
        answer = await api.http.post("/api/v1/transaction", json=body)
        assert answer.json()["from"] == payer["address"]


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        (to_address(0xABCDEF).swapcase().replace("0X", "0x"), "invalid_address"),
        ("0x" + "12" * 20, "invalid_address"),
        ("0x51454e58" + "0" * 31, "invalid_address"),
        ("0x51454e58" + "0" * 31 + "g", "invalid_address"),
        ("0", "invalid_id"),
        (str((1 << 128) - 1), "invalid_id"),
        (str(1 << 128), "invalid_id"),
        ("-1", "invalid_id"),
        ("1.0", "invalid_id"),
        ("+1", "invalid_id"),
        ("1_0", "invalid_id"),
        (" 1", "invalid_id"),
        ("\u0661", "invalid_id"),
        ("", "invalid_id"),
        ("0x", "invalid_id"),
        ("0xfg", "invalid_id"),
        ("me", "invalid_id"),
        (None, "invalid_address"),
        ({"id": 1}, "invalid_address"),
    ],
)
async def test_what_names_no_account_is_refused(api: Api, reference: Any, code: str) -> None:
    body = {"from": "1", "to": reference, "amount": "1", "token": "EUR"}
    answer = await api.http.post("/api/v1/transaction", json=body)
    assert problem(answer, 422, code)["pointer"] == "/to"


@pytest.mark.parametrize(
    ("change", "status", "code", "pointer"),
    [
        ({"note": "hello"}, 422, "unknown_field", "/note"),
        ({"From": "1"}, 422, "unknown_field", "/From"),
        ({"a/b~c": 1}, 422, "unknown_field", "/a~1b~0c"),
        ({"from": ...}, 422, "missing_field", "/from"),
        ({"amount": ...}, 422, "missing_field", "/amount"),
        ({"token": "EURO"}, 422, "unknown_asset", "/token"),
        ({"token": "eur"}, 422, "unknown_asset", "/token"),
        ({"token": 5000}, 422, "unknown_asset", "/token"),
        ({"token": None}, 422, "invalid_field", "/token"),
        ({"optimize": "yes"}, 422, "invalid_field", "/optimize"),
        ({"optimize": 1}, 422, "invalid_field", "/optimize"),
        ({"pending": None}, 422, "invalid_field", "/pending"),
        ({"code": 65_536}, 422, "invalid_field", "/code"),
        ({"code": 65_280}, 422, "invalid_field", "/code"),
        ({"code": -1}, 422, "invalid_field", "/code"),
        ({"code": 1.5}, 422, "invalid_field", "/code"),
        ({"timeout": 1 << 32}, 422, "invalid_field", "/timeout"),
        ({"user_data_128": str(1 << 128)}, 422, "invalid_field", "/user_data_128"),
        ({"user_data_32": []}, 422, "invalid_field", "/user_data_32"),
        ({"id": 0}, 422, "invalid_id", "/id"),
    ],
)
async def test_says_which_field_is_wrong(
    api: Api, change: dict[str, Any], status: int, code: str, pointer: str
) -> None:
    body = {"from": "1", "to": "2", "amount": "1", "token": "EUR"} | change
    body = {name: value for name, value in body.items() if value is not ...}
    answer = await api.http.post("/api/v1/transaction", json=body)
    assert problem(answer, status, code)["pointer"] == pointer
    assert not api.engine.rows_sent


@pytest.mark.parametrize("body", ["[]", '"x"', "1", "null", "true"])
async def test_a_body_is_an_object(api: Api, body: str) -> None:
    answer = await api.http.post("/api/v1/transaction", content=body, headers={"content-type": "application/json"})
    assert problem(answer, 422, "invalid_field")["pointer"] == ""


async def test_a_refusal_says_what_there_was_and_what_was_wanted(api: Api) -> None:
    bank, payee = await api.account(), await api.account()
    payer = await api.account(debits_must_not_exceed_credits=True)
    await api.transfer(bank, payer, "50")
    document = problem(await api.transfer(payer, payee, "80"), 422, "exceeds_credits")
    assert (document["account_id"], document["address"]) == (payer["id"], payer["address"])
    assert f"account {payer['address']}" in document["detail"]
    assert (document["available_minor"], document["requested_minor"]) == ("5000", "8000")
    assert document["detail"].endswith(": 50.00 EUR available, 80.00 EUR requested")
    assert document["iso_reason"] == "AM04"
    assert await api.posted(payer) == "50.00"


async def test_an_id_of_ones_own_makes_a_retry_harmless(api: Api) -> None:
    payer, payee = await api.account(), await api.account()
    first = await api.transfer(payer, payee, "5", id="77")
    again = await api.transfer(payer, payee, "5", id="77")
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["hash"] == first.json()["hash"]
    problem(await api.transfer(payer, payee, "6", id="77"), 409, "exists_with_different_amount")
    assert await api.posted(payee) == "5.00"
