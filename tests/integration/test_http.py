"""The HTTP process in front of a real engine: every route, retries over restarts, the engine gone and back."""

from __future__ import annotations

import re
import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.conftest import START_SECONDS, EngineProcess, HttpProcess, lasting_port, new_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class Instance:
    """An engine, its HTTP process, and whoever has the owner's credential."""

    engine: EngineProcess
    http: HttpProcess
    client: httpx.Client

    def restart_http(self) -> None:
        """Another HTTP process: it remembers nothing of the one before."""
        assert self.http.stop() == 0
        self.client.close()
        self.client = client_of(self.http.start())

    def account(self, **fields: Any) -> dict[str, Any]:
        return self.made(self.client.post("/api/v1/accounts", json={"token": "EUR"} | fields))

    def pay(self, debit: dict[str, Any], credit: dict[str, Any], amount: str, **fields: Any) -> httpx.Response:
        headers = {"idempotency-key": fields.pop("key")} if "key" in fields else {}
        body = {"from": debit["address"], "to": credit["address"], "amount": amount, "token": "EUR"} | fields
        return self.client.post("/api/v1/transaction", json=body, headers=headers)

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        answer = self.client.get(f"/api/v1{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    @staticmethod
    def made(answer: httpx.Response) -> dict[str, Any]:
        assert answer.status_code == 201, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def end(self) -> None:
        self.client.close()
        for process in (self.http, self.engine):
            if process.process is not None:
                process.kill()


def client_of(http: HttpProcess) -> httpx.Client:
    headers = {"authorization": f"Bearer {http.token}"}
    return httpx.Client(base_url=f"http://{http.address}", headers=headers, timeout=START_SECONDS)


def start_instance(home: Path, *, port: int = 0) -> Instance:
    engine = new_engine(home, port=port).start()
    http = HttpProcess(engine.settings).start()
    return Instance(engine, http, client_of(http))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """An instance that the tests of this module leave running."""
    instance = start_instance(tmp_path_factory.mktemp("http"))
    yield instance
    instance.end()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Instance]:
    """An instance whose processes a test may stop; the engine comes back where it was."""
    instance = start_instance(tmp_path, port=lasting_port())
    yield instance
    instance.end()


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[Instance]:
    """The same, but the engine comes back on another port."""
    instance = start_instance(tmp_path)
    yield instance
    instance.end()


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document of a refusal."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    document: dict[str, Any] = answer.json()
    assert (document["status"], document["code"], document["type"]) == (status, code, f"urn:qenex:error:{code}")
    assert document["instance"] == f"urn:uuid:{answer.headers['x-request-id']}"
    return document


def test_every_route_answers_from_the_engine(shared: Instance) -> None:
    payer, payee = shared.account(history=True), shared.account(history=True)
    paid = shared.made(shared.pay(payer, payee, "12.34", code=7, optimize=True))
    assert paid["optimize"]["requested"]
    row = {"from": payer["id"], "to": payee["address"], "amount": "1", "token": "EUR"}
    batch = shared.client.post("/api/v1/transactions", json={"transactions": [row, row], "atomic": True})
    assert (batch.status_code, batch.json()["created"]) == (200, 2)
    held, freed = (shared.made(shared.pay(payer, payee, "5", pending=True)) for _ in range(2))
    posted = shared.client.post(f"/api/v1/transactions/{held['id']}/post", json={"amount": "4"})
    assert shared.made(posted)["amount"] == "4.00"
    shared.made(shared.client.post(f"/api/v1/transactions/{freed['hash']}/void", json={}))

    assert shared.get(f"/accounts/{payee['address']}")["id"] == payee["id"]
    assert shared.get(f"/accounts/{payee['id']}/balance")["posted"] == "18.34"
    assert shared.get(f"/accounts/{payee['id']}/balance", at=paid["timestamp"])["posted"] == "12.34"
    assert len(shared.get(f"/accounts/{payee['id']}/balances", limit=2)["items"]) == 2
    for reference in (paid["hash"], paid["id"]):
        assert shared.get(f"/transfers/{reference}")["amount"] == "12.34"
    assert [one["id"] for one in shared.get("/transfers", code="7")["items"]] == [paid["id"]]
    assert payee["id"] in [one["id"] for one in shared.get("/accounts", token="EUR", limit=5)["items"]]
    assert shared.get("/health") == {"live": True, "ready": True, "writable": True}
    assert shared.get("/trial-balance")["balanced"]


def test_history_is_read_in_pages_without_gap_or_overlap(shared: Instance) -> None:
    payer, payee = shared.account(), shared.account()
    made = [shared.made(shared.pay(payer, payee, f"0.{cents:02}"))["id"] for cents in range(1, 12)]
    for order, expected in (("newest", made[::-1]), ("oldest", made)):
        seen: list[str] = []
        page = shared.get(f"/accounts/{payee['id']}/transfers", limit=4, order=order)
        for _ in made:
            seen += [one["id"] for one in page["items"]]
            if page["next"] is None:
                break
            page = shared.get(f"/accounts/{payee['id']}/transfers", limit=4, order=order, cursor=page["next"])
        assert seen == expected


def test_the_document_of_the_api_and_its_page_are_served_to_who_has_the_credential(shared: Instance) -> None:
    paths = shared.get("/openapi.json")["paths"]
    assert {"/api/v1/transaction", "/api/v1/transactions", "/api/v1/accounts", "/api/v1/transfers"} <= set(paths)
    page = httpx.get(f"http://{shared.http.address}/docs", auth=("anybody", shared.http.token))
    assert page.status_code == 200
    assert "/api/v1/transaction" in page.text


def test_without_the_credential_there_is_health_and_nothing_else(shared: Instance) -> None:
    paths = {
        re.sub(r"\{\w+\}", "1", path): list(methods) for path, methods in shared.get("/openapi.json")["paths"].items()
    }
    for headers in ({}, {"authorization": "Bearer qnx_owner_" + "0" * 64}, {"authorization": "Basic eDp4"}):
        with httpx.Client(base_url=f"http://{shared.http.address}", headers=headers, timeout=START_SECONDS) as nobody:
            for path, methods in (paths | {"/docs": ["get"], "/api/v1/openapi.json": ["get"], "/x": ["get"]}).items():
                for method in methods:
                    answer = nobody.request(method, path)
                    if path == "/api/v1/health":
                        assert answer.status_code == 200
                    elif answer.status_code != 429:  # who fails often enough is told to wait, and nothing else
                        refused(answer, 401, "unauthenticated")
            assert nobody.get("/health").json()["ready"]


def test_metrics_of_both_processes_are_on_a_port_of_their_own(shared: Instance) -> None:
    shared.get("/health")
    page = httpx.get(f"http://{shared.http.served['metrics']}/metrics")
    assert page.status_code == 200
    assert 'route="/api/v1/health"' in page.text
    assert "qenex_engine_group_rows" in page.text
    refused(shared.client.get("/metrics"), 404, "route_not_found")


def test_what_is_wrong_is_said_with_where_it_stands(shared: Instance) -> None:
    payer, payee = shared.account(debits_must_not_exceed_credits=True), shared.account()
    poor = refused(shared.pay(payer, payee, "1"), 422, "exceeds_credits")
    assert (poor["account_id"], poor["available_minor"]) == (payer["id"], "0")
    assert refused(shared.pay(payer, payee, "0.001"), 422, "amount_too_precise")["pointer"] == "/amount"
    refused(shared.client.get("/api/v1/accounts/12345"), 404, "account_not_found")
    refused(shared.client.get("/api/v1/transfers/0x" + "ab" * 32), 404, "transfer_not_found")
    refused(shared.client.delete("/api/v1/transaction"), 405, "method_not_allowed")
    refused(shared.client.post("/api/v1/transaction", content=b"{"), 415, "unsupported_media_type")
    broken = shared.client.post("/api/v1/transaction", content=b"{", headers={"content-type": "application/json"})
    refused(broken, 400, "malformed_json")


def test_a_retry_gets_the_same_answer_after_restarts_of_both_processes_too(own: Instance) -> None:
    bank, payee = own.account(), own.account()
    payer = own.account(debits_must_not_exceed_credits=True)
    paid = own.made(own.pay(bank, payee, "5", key="paid"))
    poor = refused(own.pay(payer, payee, "80", key="poor"), 422, "exceeds_credits")
    rows = [{"from": bank["id"], "to": payee["id"], "amount": "1", "token": "EUR"}] * 2
    batch = {"transactions": rows, "atomic": True}
    batched = own.client.post("/api/v1/transactions", json=batch, headers={"idempotency-key": "batch"}).json()
    own.made(own.pay(bank, payer, "100"))

    def stop_engine() -> None:
        assert own.engine.stop() == 0
        own.engine.start()

    def kill_engine() -> None:
        own.engine.kill()
        own.engine.start()

    for restart in (own.restart_http, stop_engine, kill_engine):
        restart()
        wait_until_ready(own)
        again = own.pay(bank, payee, "5.00", key="paid")
        assert again.headers["idempotency-replayed"] == "true"
        assert own.made(again) | {"optimize": None} == paid | {"optimize": None}
        still = refused(own.pay(payer, payee, "80", key="poor"), 422, "exceeds_credits")
        assert still["timestamp_ns"] == poor["timestamp_ns"], "as the first time, though there is money by now"
        repeated = own.client.post("/api/v1/transactions", json=batch, headers={"idempotency-key": "batch"})
        assert repeated.headers["idempotency-replayed"] == "true"
        assert [row["hash"] for row in repeated.json()["results"]] == [row["hash"] for row in batched["results"]]
        refused(own.pay(bank, payee, "6", key="paid"), 422, "idempotency_conflict")
    assert own.get(f"/accounts/{payee['id']}/balance")["posted"] == "7.00"
    assert own.made(own.pay(payer, payee, "80", key="poor, tried again".replace(" ", "-")))["amount"] == "80.00"


def wait_until_ready(instance: Instance) -> None:
    until = time.monotonic() + START_SECONDS
    while instance.client.get("/health").status_code != 200:
        assert time.monotonic() < until, "the engine is back, and HTTP does not see it"


def test_while_the_engine_is_away_it_is_said_so_and_when_it_is_back_work_goes_on(moving: Instance) -> None:
    payer, payee = moving.account(), moving.account()
    moving.made(moving.pay(payer, payee, "1", key="a"))
    moving.engine.kill()
    gone = moving.pay(payer, payee, "1", key="b")
    assert gone.status_code in (503, 504), gone.text  # not reached, or sent and not answered
    refused(moving.pay(payer, payee, "1", key="b"), 503, "engine_unreachable")
    assert "retry-after" in moving.pay(payer, payee, "1", key="b").headers
    health = moving.client.get("/health")
    assert (health.status_code, health.json()) == (503, {"live": True, "ready": False, "writable": False})
    assert httpx.get(f"http://{moving.http.served['metrics']}/metrics").status_code == 200
    moving.engine.start()
    wait_until_ready(moving)
    moving.made(moving.pay(payer, payee, "1", key="b"))
    assert moving.get(f"/accounts/{payee['id']}/balance")["posted"] == "2.00"


def test_connections_may_not_use_up_the_files_that_a_process_can_open(tmp_path: Path) -> None:
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, usual[1]))
    try:
        instance = start_instance(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)
    for process in (instance.engine, instance.http):
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (usual[1], usual[1])
    instance.end()


def test_asked_to_stop_it_answers_what_it_has_and_ends_with_zero(own: Instance) -> None:
    payer, payee = own.account(), own.account()
    own.made(own.pay(payer, payee, "1"))
    assert own.http.stop() == 0
    assert not own.http.run_file.exists()
    assert own.http.log() == ""
