"""Who sees what: a customer its own party's, others their book, and what one may not see is as if it were not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from qenex.principals import Action, Principal, Role
from tests.unit.api.conftest import BOOK, Api, problem

if TYPE_CHECKING:
    import httpx

ALICE, BOB = 7_001, 7_002


def principal(name: str, role: Role, **more: Any) -> Principal:
    kind = "customer" if role == Role.CUSTOMER else "user"
    return Principal(BOOK, name, kind, frozenset({role}), f"key_{name}", **more)  # type: ignore[arg-type]


ALICES = principal("alice", Role.CUSTOMER, party=ALICE)


class Bank:
    """Two customers with two accounts each, one of the bank's own, and transfers between all of them."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.accounts: dict[str, dict[str, Any]] = {}
        self.transfers: dict[str, dict[str, Any]] = {}

    async def fill(self) -> Bank:
        for name, party in (("alice", ALICE), ("saver", ALICE), ("bob", BOB), ("other", BOB), ("bank", 0)):
            self.accounts[name] = await self.api.account(user_data_128=str(party))
        for debit, credit in (
            ("bank", "alice"),
            ("alice", "bob"),
            ("bank", "bob"),
            ("alice", "saver"),
            ("bob", "other"),
        ):
            answer = await self.api.transfer(self.accounts[debit], self.accounts[credit], "1", key=f"{debit}-{credit}")
            self.transfers[f"{debit} {credit}"] = answer.json()
        return self

    async def get(self, who: Principal, path: str, **parameters: Any) -> httpx.Response:
        return await self.api.http.get(f"/api/v1{path}", params=parameters, headers=self.api.known(who))

    async def items(self, who: Principal, path: str, **parameters: Any) -> list[dict[str, Any]]:
        answer = await self.get(who, path, **parameters)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["items"]
        return found


@pytest.fixture
async def bank(api: Api) -> Bank:
    return await Bank(api).fill()


async def test_a_customer_lists_its_own_accounts(bank: Bank) -> None:
    own = [bank.accounts[name]["id"] for name in ("saver", "alice")]
    assert [account["id"] for account in await bank.items(ALICES, "/accounts")] == own
    assert await bank.items(ALICES, "/accounts", user_data_128=str(BOB)) == []
    assert len(await bank.items(ALICES, "/accounts", user_data_128=str(ALICE), limit=1)) == 1


async def test_a_customer_lists_the_transfers_that_touch_its_accounts(bank: Bank) -> None:
    own = [bank.transfers[name]["id"] for name in ("alice saver", "alice bob", "bank alice")]
    assert [transfer["id"] for transfer in await bank.items(ALICES, "/transfers")] == own
    assert [transfer["id"] for transfer in await bank.items(ALICES, "/transfers", order="oldest")] == own[::-1]
    assert await bank.items(ALICES, "/transfers", token="USD") == []
    # Page by page nothing is missed, and nothing comes twice.
    found, cursor = [], None
    while True:
        page = (await bank.get(ALICES, "/transfers", limit=1, **({"cursor": cursor} if cursor else {}))).json()
        found += [transfer["id"] for transfer in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert found == own


@pytest.mark.parametrize("path", ["", "/balance", "/transfers", "/balances"])
async def test_an_account_of_somebody_else_is_as_if_it_were_not_there(bank: Bank, path: str) -> None:
    absent = (await bank.get(ALICES, f"/accounts/{12345}{path}")).json()
    for reference in (bank.accounts["bob"]["id"], bank.accounts["bank"]["address"]):
        answer = await bank.get(ALICES, f"/accounts/{reference}{path}")
        document = problem(answer, 404, "account_not_found")
        assert {*document} == {*absent}
        assert document["title"] == absent["title"]
    own = await bank.get(ALICES, f"/accounts/{bank.accounts['alice']['id']}{path}")
    assert own.status_code == (409 if path == "/balances" else 200)


async def test_a_transfer_of_others_is_as_if_it_were_not_there(bank: Bank) -> None:
    others = bank.transfers["bank bob"]
    for reference in (others["id"], others["hash"], "0x" + "0" * 64, "77"):
        problem(await bank.get(ALICES, f"/transfers/{reference}"), 404, "transfer_not_found")
    own = bank.transfers["alice bob"]
    for reference in (own["id"], own["hash"]):
        assert (await bank.get(ALICES, f"/transfers/{reference}")).json()["id"] == own["id"]


async def test_a_cursor_of_somebody_else_opens_nothing(bank: Bank) -> None:
    cursor = (await bank.api.http.get("/api/v1/transfers", params={"limit": 1})).json()["next"]
    problem(await bank.get(ALICES, "/transfers", limit=1, cursor=cursor), 422, "invalid_cursor")
    again = principal("alice2", Role.CUSTOMER, party=ALICE)
    mine = (await bank.get(ALICES, "/transfers", limit=1)).json()["next"]
    problem(await bank.get(again, "/transfers", limit=1, cursor=mine), 422, "invalid_cursor")


async def test_a_customer_without_a_party_sees_nothing(bank: Bank) -> None:
    nobody = principal("nobody", Role.CUSTOMER)
    problem(await bank.get(nobody, f"/accounts/{bank.accounts['bank']['id']}"), 404, "account_not_found")
    problem(await bank.get(nobody, "/accounts"), 403, "forbidden")


async def test_sums_over_all_are_not_for_customers(bank: Bank) -> None:
    problem(await bank.get(ALICES, "/trial-balance"), 403, "forbidden")
    assert (await bank.get(principal("ann", Role.AUDITOR), "/trial-balance")).json()["balanced"]


async def test_a_customer_moves_nothing_unless_the_book_lets_it(bank: Bank) -> None:
    headers = bank.api.known(ALICES)
    for debit, credit in (("alice", "bob"), ("bob", "alice")):
        body = {"from": bank.accounts[debit]["id"], "to": bank.accounts[credit]["id"], "amount": "1", "token": "EUR"}
        problem(await bank.api.http.post("/api/v1/transaction", json=body, headers=headers), 403, "forbidden")
        batch = {"transactions": [body]}
        problem(await bank.api.http.post("/api/v1/transactions", json=batch, headers=headers), 403, "forbidden")


async def test_a_hold_of_others_cannot_be_ended_or_probed(bank: Bank) -> None:
    hold = await bank.api.transfer(bank.accounts["bank"], bank.accounts["bob"], "1", pending=True)
    headers = bank.api.known(ALICES)
    for reference in (hold.json()["id"], "12345"):
        for verb in ("post", "void"):
            answer = await bank.api.http.post(f"/api/v1/transactions/{reference}/{verb}", json={}, headers=headers)
            problem(answer, 403, "forbidden")


ROUTES = [
    ("GET", "/accounts", None, Action.ACCOUNTS_READ),
    ("GET", "/transfers", None, Action.TRANSFERS_READ),
    ("GET", "/trial-balance", None, Action.REPORTS_READ),
    ("GET", "/events", None, Action.EVENTS_READ),
    ("POST", "/stream/tickets", {}, Action.EVENTS_READ),
    ("POST", "/accounts", {"token": "EUR"}, Action.ACCOUNTS_WRITE),
    ("POST", "/transaction", {"from": "1", "to": "2", "amount": "1", "token": "EUR"}, Action.TRANSFERS_WRITE),
]


@pytest.mark.parametrize(("method", "path", "body", "action"), ROUTES)
async def test_a_scope_opens_what_it_names_and_nothing_else(
    api: Api, method: str, path: str, body: dict[str, str] | None, action: Action
) -> None:
    for scopes in (frozenset(), frozenset(Action) - {action}):
        headers = api.known(principal("narrow", Role.OWNER, scopes=scopes))
        answer = await api.http.request(method, f"/api/v1{path}", json=body, headers=headers)
        assert str(action) in problem(answer, 403, "forbidden")["detail"]
    headers = api.known(principal("right", Role.OWNER, scopes=frozenset({action})))
    assert (await api.http.request(method, f"/api/v1{path}", json=body, headers=headers)).status_code != 403


@pytest.mark.parametrize(("method", "path", "body", "action"), ROUTES)
async def test_an_auditor_reads_and_writes_nothing(
    api: Api, method: str, path: str, body: dict[str, str] | None, action: Action
) -> None:
    headers = api.known(principal("ann", Role.AUDITOR))
    answer = await api.http.request(method, f"/api/v1{path}", json=body, headers=headers)
    assert (answer.status_code == 403) == action.endswith(":write"), answer.text


async def test_a_principal_of_another_book_gets_nowhere(api: Api) -> None:
    stranger = Principal(bytes(15) + b"\7", "owner", "owner", frozenset({Role.OWNER}), "key_stranger")
    answer = await api.http.get("/api/v1/accounts", headers=api.known(stranger))
    problem(answer, 503, "engine_unreachable")


async def test_every_route_says_what_it_needs(api: Api) -> None:
    """A forgotten scope means no: there is no route without one but health and the documentation."""
    from qenex.api.authentication import BROWSED, OPEN
    from qenex.api.routing import Needs

    routes = [route for router in api.application.fastapi.state.routers for route in router.routes]
    assert len(routes) > 10
    for route in routes:
        needs = [one.call for one in route.dependant.dependencies if isinstance(one.call, Needs)]
        assert needs or route.path in OPEN | BROWSED, route.path


async def test_keys_of_two_principals_are_two_keys(bank: Bank) -> None:
    """The same Idempotency-Key of somebody else is another key: neither replayed nor in conflict."""
    body = {"from": bank.accounts["bank"]["id"], "to": bank.accounts["bob"]["id"], "amount": "3", "token": "EUR"}
    ids = set()
    for name in ("one", "two"):
        headers = bank.api.known(principal(name, Role.OPERATOR)) | {"idempotency-key": "same"}
        answer = await bank.api.http.post("/api/v1/transaction", json=body, headers=headers)
        assert answer.status_code == 201
        assert "idempotency-replayed" not in answer.headers
        ids.add(answer.json()["id"])
    assert len(ids) == 2


async def test_the_journal_keeps_who_asked(bank: Bank) -> None:
    headers = bank.api.known(principal("usr_olga", Role.OPERATOR))
    body = {"from": bank.accounts["bank"]["id"], "to": bank.accounts["bob"]["id"], "amount": "3", "token": "EUR"}
    assert (await bank.api.http.post("/api/v1/transaction", json=body, headers=headers)).status_code == 201
    context = bank.api.engine.contexts[-1]
    assert context[:2] == b"\2\1"
    length = context[10]
    assert context[11 : 11 + length] == b"usr_olga"
    assert any(context[-32:])
