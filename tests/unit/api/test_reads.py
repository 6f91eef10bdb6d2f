"""Accounts, balances, lists page by page, the trial balance."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from qenex.api import times
from qenex.client.protocol import Operation
from qenex.kernel import ACCOUNT, to_address
from tests.unit.api.conftest import Api, problem


async def get(api: Api, path: str, **parameters: Any) -> Any:
    answer = await api.http.get(f"/api/v1/{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_an_account_is_found_by_address_and_by_id(api: Api) -> None:
    made = await api.account(
        id="7", code=3, history=True, debits_must_not_exceed_credits=True, user_data_128="9", user_data_32=4
    )
    assert made["address"] == to_address(7)
    assert made["flags"] == ["debits_must_not_exceed_credits", "history"]
    assert (made["code"], made["user_data_128"], made["user_data_32"], made["ledger"]) == (3, "9", 4, 978)
    for reference in ("7", "0x7", to_address(7), to_address(7).lower()):
        assert await get(api, f"accounts/{reference}") == made
    problem(await api.http.get("/api/v1/accounts/8"), 404, "account_not_found")


async def test_balances_are_qualified(api: Api) -> None:
    bank, customer = await api.account(), await api.account()
    await api.transfer(bank, customer, "100")
    await api.transfer(customer, bank, "30", pending=True)
    await api.transfer(bank, customer, "5", pending=True)
    balance = await get(api, f"accounts/{customer['id']}/balance")
    assert (balance["posted"], balance["available"]) == ("100.00", "70.00")
    assert (balance["debits_pending"], balance["credits_pending"]) == ("30.00", "5.00")
    assert balance["posted_minor"] == "10000"
    assert (await get(api, f"accounts/{customer['id']}"))["balance"]["available"] == "70.00"
    assert (await get(api, f"accounts/{bank['id']}/balance"))["posted"] == "-100.00"


async def test_what_a_debited_account_has_is_what_was_debited_less_credits_and_their_holds(api: Api) -> None:
    loan, customer = await api.account(credits_must_not_exceed_debits=True, history=True), await api.account()
    await api.transfer(loan, customer, "100")
    await api.transfer(loan, customer, "5", pending=True)
    await api.transfer(customer, loan, "30", pending=True)
    path = f"accounts/{loan['id']}"
    for balance in (
        (await get(api, path))["balance"],
        await get(api, f"{path}/balance"),
        (await get(api, f"{path}/balances"))["items"][0],
    ):
        assert (balance["posted"], balance["available"]) == ("100.00", "70.00")


async def test_the_balance_at_a_time(api: Api) -> None:
    bank, customer = await api.account(), await api.account()
    moments = [(await api.transfer(bank, customer, "10")).json() for _ in range(3)]
    path = f"accounts/{customer['id']}/balance"
    for number, moment in enumerate(moments, start=1):
        for at in (moment["timestamp"], moment["timestamp_ns"]):
            balance = await get(api, path, at=at)
            assert (balance["posted"], balance["timestamp"]) == (f"{number}0.00", moment["timestamp"])
        before = await get(api, path, at=str(int(moment["timestamp_ns"]) - 1))
        assert before["posted"] == (f"{number - 1}0.00" if number > 1 else "0.00")
    assert (await get(api, path, at="1970-01-01T00:00:00.000000001Z"))["timestamp"] is None
    assert (await get(api, path))["posted"] == "30.00"
    for wrong in ("yesterday", "0", str(time.time_ns() + 10**12), "2026-02-30T00:00:00Z"):
        document = problem(await api.http.get(f"/api/v1/{path}", params={"at": wrong}), 422, "invalid_parameter")
        assert document["parameter"] == "at"


async def test_a_clock_behind_the_engine_s_hides_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    bank, customer = await api.account(), await api.account()
    paid = (await api.transfer(bank, customer, "10")).json()
    behind_ns = int(paid["timestamp_ns"]) - 10**9
    monkeypatch.setattr("qenex.api.routes.time", SimpleNamespace(time_ns=lambda: behind_ns))
    path = f"accounts/{customer['id']}/balance"
    assert (await get(api, path))["posted"] == "10.00"
    assert (await get(api, path, at=paid["timestamp_ns"]))["posted"] == "10.00"
    later = {"at": str(int(paid["timestamp_ns"]) + 10**9)}
    problem(await api.http.get(f"/api/v1/{path}", params=later), 422, "invalid_parameter")


async def test_a_plus_sign_in_an_address_stands_for_itself(api: Api) -> None:
    bank, customer = await api.account(), await api.account()
    made = (await api.transfer(bank, customer, "10")).json()
    east = made["timestamp"].replace("Z", "+00:00")
    answer = await api.http.get(f"/api/v1/accounts/{customer['id']}/balance?at={east}")
    assert answer.json()["posted"] == "10.00"


async def test_balances_after_each_transfer_need_history(api: Api) -> None:
    bank, customer = await api.account(), await api.account(history=True)
    for _ in range(3):
        await api.transfer(bank, customer, "10")
    page = await get(api, f"accounts/{customer['id']}/balances", limit=2)
    assert [item["posted"] for item in page["items"]] == ["30.00", "20.00"]
    page = await get(api, f"accounts/{customer['id']}/balances", limit=2, cursor=page["next"])
    assert [item["posted"] for item in page["items"]] == ["10.00"]
    assert page["next"] is None
    problem(await api.http.get(f"/api/v1/accounts/{bank['id']}/balances"), 409, "history_not_kept")
    problem(await api.http.get("/api/v1/accounts/99/balances"), 404, "account_not_found")


async def test_a_balance_of_now_has_all_of_it_though_the_clock_was_set_back(api: Api) -> None:
    """The engine's time never runs back; a clock that was set back lies behind what has happened."""
    bank, customer = await api.account(), await api.account()
    empty = np.zeros(1, ACCOUNT)
    api.engine.ledger.create_accounts(empty, timestamp_ns=time.time_ns() + 1_800 * 10**9)
    await api.transfer(bank, customer, "3")
    assert (await get(api, f"accounts/{customer['id']}/balance"))["posted"] == "3.00"


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 100])
async def test_pages_show_everything_once_in_order(api: Api, order: str, limit: int) -> None:
    bank, customer = await api.account(), await api.account()
    made = [(await api.transfer(bank, customer, "1", code=n % 2 + 1)).json()["id"] for n in range(7)]
    for path in ("transfers", f"accounts/{customer['id']}/transfers"):
        seen: list[str] = []
        cursor: dict[str, Any] = {}
        while True:
            page = await get(api, path, order=order, limit=limit, **cursor)
            assert len(page["items"]) <= limit
            seen += [item["id"] for item in page["items"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
            if path != "transfers":
                await api.transfer(bank, await api.account(), "1")  # others go on meanwhile
        assert seen == (made if order == "oldest" else made[::-1])


async def test_lists_can_be_narrowed(api: Api) -> None:
    bank, customer = await api.account(), await api.account()
    out = (await api.transfer(customer, bank, "1", code=5, user_data_64="8")).json()
    back = (await api.transfer(bank, customer, "1", code=6, user_data_128="9")).json()

    async def ids(path: str, **parameters: Any) -> list[str]:
        return [item["id"] for item in (await get(api, path, **parameters))["items"]]

    mine = f"accounts/{customer['id']}/transfers"
    assert await ids(mine) == [back["id"], out["id"]]
    assert await ids(mine, side="debits") == [out["id"]]
    assert await ids(mine, side="credits") == [back["id"]]
    assert await ids(mine, code="5") == [out["id"]]
    assert await ids("transfers", user_data_64="8") == [out["id"]]
    assert await ids("transfers", user_data_128="9", token="EUR") == [back["id"]]
    assert await ids("transfers", token="USD") == []
    assert await ids("transfers", timestamp_min=back["timestamp"]) == [back["id"]]
    assert await ids("transfers", timestamp_max=out["timestamp_ns"]) == [out["id"]]
    assert await ids("accounts", token="EUR", order="oldest") == [bank["id"], customer["id"]]


async def test_a_cursor_belongs_to_its_list(api: Api) -> None:
    bank, customer = await api.account(), await api.account()
    for _ in range(3):
        await api.transfer(bank, customer, "1")
    cursor = (await get(api, "transfers", limit=1))["next"]
    for path, parameters in (
        ("transfers", {"cursor": cursor, "code": "1"}),
        ("transfers", {"cursor": cursor, "order": "oldest"}),
        ("accounts", {"cursor": cursor}),
        (f"accounts/{customer['id']}/transfers", {"cursor": cursor}),
        ("transfers", {"cursor": cursor[:-2]}),
        ("transfers", {"cursor": ("y" if cursor[0] == "x" else "x") + cursor[1:]}),
        ("transfers", {"cursor": ""}),
        ("transfers", {"cursor": "!!!"}),
        ("transfers", {"cursor": "\u00e9"}),
    ):
        answer = await api.http.get(f"/api/v1/{path}", params=parameters)
        assert problem(answer, 422, "invalid_cursor")["parameter"] == "cursor"


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("order=random", "order"),
        ("code=0", "code"),
        ("code=65536", "code"),
        ("code=x", "code"),
        ("user_data_64=-1", "user_data_64"),
        ("user_data_32=4294967296", "user_data_32"),
        ("timestamp_min=never", "timestamp_min"),
        ("timestamp_min=5&timestamp_max=4", "timestamp_min"),
        ("timestamp_max=9223372036854775808", "timestamp_max"),
        ("amount=5", "amount"),
        ("limit=1&limit=2", "limit"),
    ],
)
async def test_a_parameter_that_is_none_is_no_wish(api: Api, query: str, parameter: str) -> None:
    answer = await api.http.get(f"/api/v1/transfers?{query}")
    assert problem(answer, 422, "invalid_parameter")["parameter"] == parameter


async def test_unknown_assets_and_sides(api: Api) -> None:
    made = await api.account()
    problem(await api.http.get("/api/v1/transfers?token=NOPE"), 422, "unknown_asset")
    problem(await api.http.get(f"/api/v1/accounts/{made['id']}/transfers?side=left"), 422, "invalid_parameter")


@pytest.mark.parametrize("reference", ["12", "0x" + "ab" * 32, "ab" * 32])
async def test_a_transfer_that_is_not_there(api: Api, reference: str) -> None:
    problem(await api.http.get(f"/api/v1/transfers/{reference}"), 404, "transfer_not_found")


@pytest.mark.parametrize("reference", ["0", "0x" + "ab" * 31, "x", "0x"])
async def test_a_transfer_is_named_by_hash_or_id(api: Api, reference: str) -> None:
    problem(await api.http.get(f"/api/v1/transfers/{reference}"), 422, "invalid_id")


async def test_the_trial_balance_sums_to_zero_per_asset(api: Api) -> None:
    for token, amount in (("EUR", "12.34"), ("JPY", "7")):
        payer, payee = await api.account(token=token), await api.account(token=token)
        await api.transfer(payer, payee, amount, token=token)
        await api.transfer(payer, payee, amount, token=token, pending=True)
    reply = await get(api, "trial-balance")
    assert reply["balanced"] is True
    assert [(a["token"], a["accounts"], a["debits_posted"], a["credits_pending"]) for a in reply["assets"]] == [
        ("JPY", 2, "7", "7"),
        ("EUR", 2, "12.34", "12.34"),
    ]


async def test_the_trial_balance_is_of_one_moment_while_money_moves(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two pages money leaves an account that was read for one that was not."""
    made = [await api.account() for _ in range(6)]
    for one in made[1:]:
        await api.transfer(made[0], one, "10")
    monkeypatch.setattr("qenex.api.trial_balance.BATCH_MAX", 2)
    asked = api.engine.call
    before = api.engine.ledger.timestamp_ns

    async def call(operation: int, *given: Any, **named: Any) -> Any:
        reply = await asked(operation, *given, **named)
        if operation == Operation.QUERY_ACCOUNTS:
            await api.transfer(made[1], made[5], "3")
        return reply

    monkeypatch.setattr(api.application.desks.main.ledger, "_call", call)
    reply = await get(api, "trial-balance")
    assert reply["balanced"] is True
    assert reply["timestamp_ns"] == str(before)
    assert (reply["assets"][0]["debits_posted"], reply["assets"][0]["accounts"]) == ("50.00", 6)


async def test_an_empty_ledger_balances(api: Api) -> None:
    assert (await get(api, "trial-balance"))["assets"] == []


async def test_health_is_about_the_engine(api: Api) -> None:
    assert await get(api, "health") == {"live": True, "ready": True, "writable": True}


@pytest.mark.parametrize(
    ("text", "timestamp_ns"),
    [
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("2026-11-23T09:46:52Z", 1795427212 * 10**9),
        ("2026-11-23T10:46:52.5+01:00", 1795427212 * 10**9 + 500_000_000),
        ("2026-11-23t09:46:52.123456789z", 1795427212 * 10**9 + 123_456_789),
        ("2262-04-11T23:47:16.854775807Z", (1 << 63) - 1),
        ("42", 42),
    ],
)
def test_times_keep_their_nanoseconds(text: str, timestamp_ns: int) -> None:
    assert times.from_text(text) == timestamp_ns
    assert times.from_text(times.to_text(timestamp_ns)) == timestamp_ns
