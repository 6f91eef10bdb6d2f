"""Every error that HTTP can answer with is provoked, and arrives as a problem document with its own code and status."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from qenex import errors
from qenex.api import problems
from qenex.errors import BY_CODE, EngineError
from qenex.kernel import AccountTerms, Restrictions
from tests.unit.api.conftest import Api, problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Provoke = Callable[[Api], Awaitable[httpx.Response]]

AMOUNT_MAX = "3402823669209384634633746074317682114.55"


def post(content: str, path: str = "transaction", **headers: str) -> Provoke:
    async def provoke(api: Api) -> httpx.Response:
        named = {"content-type": "application/json"} | headers
        return await api.http.post(f"/api/v1/{path}", content=content.encode(), headers=named)

    return provoke


def get(path: str) -> Provoke:
    async def provoke(api: Api) -> httpx.Response:
        return await api.http.get(path)

    return provoke


def moved(*, debit: dict[str, Any] | None = None, credit: dict[str, Any] | None = None, **fields: Any) -> Provoke:
    """A transfer between two new accounts."""

    async def provoke(api: Api) -> httpx.Response:
        payer, payee = await api.account(**(debit or {})), await api.account(**(credit or {}))
        return await api.transfer(payer, payee, fields.pop("amount", "1"), **fields)

    return provoke


def again(first: dict[str, Any], second: dict[str, Any]) -> Provoke:
    """Two transfers with one id."""

    async def provoke(api: Api) -> httpx.Response:
        payer, payee = await api.account(), await api.account()
        done = await api.transfer(payer, payee, first.pop("amount", "1"), id="5", **first)
        assert done.status_code == 201, done.text
        return await api.transfer(payer, payee, second.pop("amount", "1"), id="5", **second)

    return provoke


def account_again(**second: Any) -> Provoke:
    async def provoke(api: Api) -> httpx.Response:
        await api.account(id="5")
        return await api.http.post("/api/v1/accounts", json={"token": "EUR", "id": "5"} | second)

    return provoke


def other_parties(*, debit: bool) -> Provoke:
    async def provoke(api: Api) -> httpx.Response:
        first, second, third = await api.account(), await api.account(), await api.account()
        await api.transfer(first, second, "1", id="5")
        return await (api.transfer(third, second, "1", id="5") if debit else api.transfer(first, third, "1", id="5"))

    return provoke


def missing(*, debit: bool) -> Provoke:
    async def provoke(api: Api) -> httpx.Response:
        here, nobody = await api.account(), {"address": "999999"}
        return await (api.transfer(nobody, here, "1") if debit else api.transfer(here, nobody, "1"))

    return provoke


def restricted(*, debit: bool) -> Provoke:
    async def provoke(api: Api) -> httpx.Response:
        payer, payee = await api.account(), await api.account()
        which, what = (payer, Restrictions.NO_DEBIT) if debit else (payee, Restrictions.NO_CREDIT)
        terms = AccountTerms(account_id=int(which["id"]), restrictions=what)
        api.engine.ledger.set_account_terms([terms], timestamp_ns=time.time_ns())
        return await api.transfer(payer, payee, "1")

    return provoke


def phases(*second: tuple[str, dict[str, Any]], pending: bool = True) -> Provoke:
    """A transfer, and what follows it."""

    async def provoke(api: Api) -> httpx.Response:
        payer, payee = await api.account(), await api.account()
        hold = (await api.transfer(payer, payee, "10", pending=pending)).json()
        for phase, body in second:
            answer = await api.http.post(f"/api/v1/transactions/{hold['id']}/{phase}", json=body)
        return answer

    return provoke


async def expired(api: Api) -> httpx.Response:
    payer, payee = await api.account(), await api.account()
    hold = (await api.transfer(payer, payee, "10", pending=True, timeout=1)).json()
    api.engine.ledger.expire(int(hold["timestamp_ns"]) + 2_000_000_000)
    return await api.http.post(f"/api/v1/transactions/{hold['id']}/post", json={})


def full(*, debit: bool, first_pending: bool, second_pending: bool) -> Provoke:
    """One side of an account is filled to the brim, then one more comes."""

    async def provoke(api: Api) -> httpx.Response:
        one, other, third = await api.account(), await api.account(), await api.account()
        first, second = ((one, other), (one, third)) if debit else ((other, one), (third, one))
        done = await api.transfer(*first, AMOUNT_MAX, pending=first_pending)
        assert done.status_code == 201
        return await api.transfer(*second, "0.01", pending=second_pending)

    return provoke


async def conflict(api: Api) -> httpx.Response:
    payer, payee = await api.account(), await api.account()
    await api.transfer(payer, payee, "1", key="k")
    return await api.transfer(payer, payee, "2", key="k")


async def burned(api: Api) -> httpx.Response:
    payer, payee = await api.account(debits_must_not_exceed_credits=True), await api.account()
    await api.transfer(payer, payee, "1", id="5")
    return await api.transfer(payer, payee, "1", id="5")


async def batch(api: Api) -> httpx.Response:
    one = await api.account()
    row = {"from": one["id"], "to": one["id"], "amount": "1", "token": "EUR"}
    return await api.http.post("/api/v1/transactions", json={"atomic": True, "transactions": [row]})


async def too_many(api: Api) -> httpx.Response:
    row = {"from": "1", "to": "2", "amount": "1", "token": "EUR"}
    return await api.http.post("/api/v1/transactions", json={"transactions": [row] * 8_190})


async def no_history(api: Api) -> httpx.Response:
    return await api.http.get(f"/api/v1/accounts/{(await api.account())['id']}/balances")


async def without_credential(api: Api) -> httpx.Response:
    return await api.http.get("/api/v1/accounts", headers={"authorization": "Bearer no"})


async def a_bug(api: Api) -> httpx.Response:
    api.engine.fails_with = ZeroDivisionError()  # type: ignore[assignment]  # as one would surface
    return await api.http.get("/api/v1/accounts/1")


GOOD = '"from": "1", "to": "2", "amount": "1", "token": "EUR"'
PROVOKED: dict[str, Provoke] = {
    # the exchange
    "malformed_json": post("{"),
    "duplicate_key": post('{"from": "1", "from": "1"}'),
    "number_not_exact": post('{"amount": 1e400}'),
    "invalid_unicode": post('{"from": "\\ud800"}'),
    "nesting_too_deep": post("[" * 1_000),
    "too_many_values": post("[" + "1," * 1_000 + "1]"),
    "invalid_field": post(f'{{{GOOD}, "optimize": 1}}'),
    "missing_field": post("{}"),
    "unknown_field": post('{"x": 1}'),
    "invalid_parameter": get("/api/v1/accounts?limit=0"),
    "invalid_cursor": get("/api/v1/accounts?cursor=x"),
    "invalid_idempotency_key": post(f"{{{GOOD}}}", **{"idempotency-key": "a b"}),
    "route_not_found": get("/api/v1/nothing"),
    "method_not_allowed": get("/api/v1/transaction"),
    "body_too_large": post(" " * 20_000),
    "unsupported_media_type": post("{}", **{"content-type": "text/plain"}),
    "malformed_request": get("/api/v1/accounts"),
    "unauthenticated": without_credential,
    "internal_error": a_bug,
    # what was given
    "invalid_amount": moved(amount="ten"),
    "amount_too_precise": moved(amount="0.001"),
    "amount_out_of_range": moved(amount="-1"),
    "invalid_address": post('{"from": "0x000000000000000000000000000000000000dead"}'),
    "invalid_id": post('{"from": "0"}'),
    "unknown_asset": moved(token="EURO"),
    "idempotency_conflict": conflict,
    "batch_too_large": too_many,
    "batch_refused": batch,
    "history_not_kept": no_history,
    "transfer_not_found": get("/api/v1/transfers/5"),
    "account_not_found": get("/api/v1/accounts/5"),
    # what the ledger refuses
    "flags_are_mutually_exclusive": post(
        '{"token": "EUR", "debits_must_not_exceed_credits": true, "credits_must_not_exceed_debits": true}', "accounts"
    ),
    "code_must_not_be_zero": moved(code=0),
    "accounts_must_be_different": post('{"from": "1", "to": "1", "amount": "1", "token": "EUR"}'),
    "timeout_reserved_for_pending_transfer": moved(timeout=1),
    "closing_transfer_must_be_pending": moved(closing_debit=True),
    "accounts_must_have_the_same_ledger": moved(credit={"token": "USD"}),
    "transfer_must_have_the_same_ledger_as_accounts": moved(token="USD"),
    "debit_account_not_found": missing(debit=True),
    "credit_account_not_found": missing(debit=False),
    "debit_account_already_closed": moved(debit={"closed": True}),
    "credit_account_already_closed": moved(credit={"closed": True}),
    "debit_account_restricted": restricted(debit=True),
    "credit_account_restricted": restricted(debit=False),
    "exceeds_credits": moved(debit={"debits_must_not_exceed_credits": True}),
    "exceeds_debits": moved(credit={"credits_must_not_exceed_debits": True}),
    "exists_with_different_flags": again({}, {"pending": True}),
    "exists_with_different_timeout": again({"pending": True, "timeout": 1}, {"pending": True, "timeout": 2}),
    "exists_with_different_debit_account_id": other_parties(debit=True),
    "exists_with_different_credit_account_id": other_parties(debit=False),
    "exists_with_different_amount": again({"amount": "1"}, {"amount": "2"}),
    "exists_with_different_user_data_128": again({}, {"user_data_128": "1"}),
    "exists_with_different_user_data_64": again({}, {"user_data_64": "1"}),
    "exists_with_different_user_data_32": again({}, {"user_data_32": 1}),
    "exists_with_different_ledger": account_again(token="USD"),
    "exists_with_different_code": again({}, {"code": 2}),
    "id_already_failed": burned,
    "pending_transfer_not_found": post("{}", "transactions/5/post"),
    "pending_transfer_not_pending": phases(("post", {}), pending=False),
    "exceeds_pending_transfer_amount": phases(("post", {"amount": "11"})),
    "pending_transfer_already_posted": phases(("post", {}), ("post", {})),
    "pending_transfer_already_voided": phases(("void", {}), ("post", {})),
    "pending_transfer_expired": expired,
    "overflows_debits_pending": full(debit=True, first_pending=True, second_pending=True),
    "overflows_credits_pending": full(debit=False, first_pending=True, second_pending=True),
    "overflows_debits_posted": full(debit=True, first_pending=False, second_pending=False),
    "overflows_credits_posted": full(debit=False, first_pending=False, second_pending=False),
    "overflows_debits": full(debit=True, first_pending=True, second_pending=False),
    "overflows_credits": full(debit=False, first_pending=True, second_pending=False),
}

ENGINE = {code: kind for code, kind in BY_CODE.items() if issubclass(kind, EngineError)} | {}
ELSEWHERE = {
    # Of what protects the door, and of what it depends on (tests/unit/limits, tests/unit/test_breaker.py).
    *("rate_limited", "dependency_unavailable"),
    # Met at the socket, before there is a request.
    *("too_many_connections", "headers_too_large", "body_timeout"),
    # Of fields and documents of GraphQL (test_graphql.py, test_graphql_limits.py).
    *("not_found", "malformed_document", "invalid_document", "document_too_complex"),
    # Of files, settings and commands.
    *(
        "invalid_asset",
        "invalid_rows",
        "invalid_query",
        "invalid_timestamp",
        "invalid_file",
        "invalid_settings",
        "invalid_home",
        "invalid_book_name",
    ),
    *("credential_missing", "credential_exposed", "book_locked", "book_damaged", "storage_failed"),
    *("book_missing", "book_exists", "backup_unusable"),
    # Of pages that open a stream (tests/integration/test_stream.py), and of files of policies.
    *("version_ended", "origin_refused", "invalid_policies", "policy_tests_failed"),
    # Of limits that are low (test_protection.py), of what is asked outside, of the records, of people and their keys.
    *(code for code, kind in BY_CODE.items() if issubclass(kind, (errors.RecordsError, errors.IdentityError))),
    *("principal_not_found", "api_key_not_found"),
    *(code for code, kind in BY_CODE.items() if issubclass(kind, errors.CommandError)),
    # The door says the same before the kernel can: ids and accounts of 0 and 2^128-1, assets that are none.
    *("id_must_not_be_zero", "id_must_not_be_int_max", "ledger_must_not_be_zero"),
    *(f"{side}_account_id_must_not_be_{what}" for side in ("debit", "credit") for what in ("zero", "int_max")),
    # The door has no field that could be wrong so: balances, reserved bits, chains left open, imports, pending ids.
    *(f"{side}_{phase}_must_be_zero" for side in ("debits", "credits") for phase in ("pending", "posted")),
    *("reserved_field", "reserved_flag", "reserved_restriction", "timestamp_must_be_zero", "linked_event_chain_open"),
    *(code for code in BY_CODE if code.startswith("imported_event")),
    *(f"pending_id_must_{what}" for what in ("be_zero", "not_be_zero", "not_be_int_max", "be_different")),
    *(f"pending_transfer_has_different_{what}" for what in ("debit_account_id", "credit_account_id", "ledger", "code")),
    *("pending_transfer_has_different_amount", "exists_with_different_pending_id"),
    # 2^32-1 seconds from now is before 2^63-1 ns until the year 2126.
    "overflows_timeout",
    # Not errors here: a replay, and the rest of a batch whose first wrong row is named.
    *("exists", "linked_event_failed"),
}


@pytest.mark.parametrize("error", [errors.RateLimited("credential", 7), errors.DependencyUnavailable("redis", 7)])
def test_whoever_is_to_come_back_is_told_when(error: errors.QenexError) -> None:
    status, headers, body = problems.encode(error)
    assert status == error.http_status
    assert dict(headers)[b"retry-after"] == b"7"
    assert b'"retry_after_s":7' in body


def test_there_is_no_code_that_nobody_thought_of() -> None:
    assert set(PROVOKED) | set(ENGINE) | ELSEWHERE == set(BY_CODE)
    assert not set(PROVOKED) & ELSEWHERE


@pytest.mark.parametrize("code", sorted(PROVOKED))
async def test_each_code_is_provoked(api: Api, code: str) -> None:
    if code == "malformed_request":
        request = httpx.Request("GET", "http://qenex/api/v1/accounts", headers=[("host", "a"), ("host", "b")])
        problem(await api.http.send(request), 400, code)
        return
    problem(await PROVOKED[code](api), BY_CODE[code].http_status, code)


@pytest.mark.parametrize("code", sorted(ENGINE))
async def test_what_the_engine_answers_is_passed_on(api: Api, code: str) -> None:
    kind = ENGINE[code]
    if code in ELSEWHERE:
        return
    payer, payee = await api.account(), await api.account()
    api.engine.fails_with = kind("It said so.", retry_after_us=2_500_000)
    for answer in (await api.transfer(payer, payee, "1"), await api.http.get("/api/v1/accounts/1")):
        assert problem(answer, kind.http_status, code)["detail"].endswith("It said so.")
        if kind.http_status in (503, 507):
            assert answer.headers["retry-after"] == "3"
    api.engine.fails_with = None
    assert await api.posted(payee) == "0.00"
