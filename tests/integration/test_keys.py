"""API keys, from the command that makes one to the second in which it opens nothing any more."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.conftest import START_SECONDS, run_python
from tests.integration.test_http import Instance, start_instance
from tests.integration.test_stream import Listener, listen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENDS_WITHIN_S = 30.0
"""Long enough for a busy machine; how long it takes is not judged here."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    instance = start_instance(tmp_path_factory.mktemp("keys"))
    yield instance
    instance.end()


def qenex(instance: Instance, *words: str) -> Any:
    """What a command says of the home of an instance, as JSON."""
    done = run_python("-m", "qenex.cli", *words, "--home", instance.engine.home, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def service(instance: Instance, role: str = "operator") -> str:
    made = instance.client.post("/api/v1/principals", json={"kind": "service", "name": "Payroll", "roles": [role]})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def key(instance: Instance, principal: str, *scopes: str, **more: Any) -> dict[str, Any]:
    body = {"principal": principal, "name": "test", "scopes": list(scopes)} | more
    made = instance.client.post("/api/v1/keys", json=body)
    assert made.status_code == 201, made.text
    document: dict[str, Any] = made.json()
    return document


def with_key(instance: Instance, secret: str) -> httpx.Client:
    headers = {"authorization": f"Bearer {secret}"}
    return httpx.Client(base_url=f"http://{instance.http.address}", headers=headers, timeout=START_SECONDS)


def until_refused(client: httpx.Client) -> httpx.Response:
    """Asks until it is refused; each answer before is a good one."""
    answer = client.get("/api/v1/accounts")
    while answer.status_code == 200:
        answer = client.get("/api/v1/accounts")
    return answer


def test_a_key_does_what_its_scope_says_and_nothing_else(shared: Instance) -> None:
    reads = key(shared, service(shared), "accounts:read")
    payer, payee = shared.account(), shared.account()
    with with_key(shared, reads["secret"]) as client:
        assert client.get(f"/api/v1/accounts/{payer['id']}").status_code == 200
        refused = client.post(
            "/api/v1/transaction", json={"from": payer["id"], "to": payee["id"], "amount": "1", "token": "EUR"}
        )
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert "transfers:write" in refused.json()["detail"]
        for path in ("/transfers", "/principals", "/keys", "/events", "/trial-balance"):
            assert client.get(f"/api/v1{path}").status_code == 403
    assert shared.get(f"/accounts/{payer['id']}/balance")["posted"] == "0.00"


def test_a_key_gives_no_more_than_its_holder_has(shared: Instance) -> None:
    auditor = service(shared, "auditor")
    body = {"principal": auditor, "name": "wide", "scopes": ["transfers:write"]}
    answer = shared.client.post("/api/v1/keys", json=body)
    everything = key(shared, auditor, "accounts:read") if answer.status_code == 403 else answer.json()
    with with_key(shared, everything["secret"]) as client:
        payer, payee = shared.account(), shared.account()
        moved = client.post(
            "/api/v1/transaction", json={"from": payer["id"], "to": payee["id"], "amount": "1", "token": "EUR"}
        )
        assert moved.status_code == 403


def test_what_a_key_moves_stands_under_its_holders_name(shared: Instance) -> None:
    """Two holders, one Idempotency-Key: two transfers."""
    payer, payee = shared.account(), shared.account()
    body = {"from": payer["id"], "to": payee["id"], "amount": "1", "token": "EUR"}
    ids = set()
    for _ in range(2):
        moves = key(shared, service(shared), "transfers:write")
        with with_key(shared, moves["secret"]) as client:
            for again in (False, True):
                answer = client.post("/api/v1/transaction", json=body, headers={"idempotency-key": "same"})
                assert answer.status_code == 201
                assert ("idempotency-replayed" in answer.headers) == again
                ids.add(answer.json()["id"])
    assert len(ids) == 2


def test_a_revoked_key_and_its_streams_end(shared: Instance) -> None:
    made = key(shared, service(shared), "accounts:read", "events:read")
    with with_key(shared, made["secret"]) as client, listen(shared) as connection:
        assert client.get("/api/v1/accounts").status_code == 200
        listener = Listener(connection)
        assert listener.say(type="authenticate", credential=made["secret"])["type"] == "authenticated"
        listener.say(type="subscribe", topics=["all"])
        assert shared.client.delete(f"/api/v1/keys/{made['id']}").status_code == 200
        assert until_refused(client).json()["code"] == "unauthenticated"
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=ENDS_WITHIN_S)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4_001


def test_a_suspended_principal_opens_nothing_until_it_may_again(shared: Instance) -> None:
    holder = service(shared)
    made = key(shared, holder, "accounts:read")
    with with_key(shared, made["secret"]) as client:
        assert client.get("/api/v1/accounts").status_code == 200
        assert shared.client.post(f"/api/v1/principals/{holder}/suspend").json()["state"] == "suspended"
        until_refused(client)
        assert shared.client.post(f"/api/v1/principals/{holder}/reactivate").json()["state"] == "active"
        while (answer := client.get("/api/v1/accounts")).status_code == 401:
            pass
        assert answer.status_code == 200


def test_commands_make_and_end_keys_beside_a_running_instance(shared: Instance, tmp_path: Path) -> None:
    holder = qenex(shared, "principals", "create", "service", "Reports", "--role", "auditor")["id"]
    file = tmp_path / "key"
    made = qenex(shared, "keys", "create", holder, "nightly", "--scope", "accounts:read", "--to-file", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "secret" not in made
    secret = file.read_text(encoding="ascii").strip()
    with with_key(shared, secret) as client:
        assert client.get("/api/v1/accounts").status_code == 200
        assert made["id"] in [one["id"] for one in qenex(shared, "keys", "list", "--principal", holder)]
        qenex(shared, "keys", "revoke", made["id"])
        until_refused(client)
    assert holder in [one["id"] for one in qenex(shared, "principals", "list")]


def test_a_key_is_shown_once(shared: Instance) -> None:
    made = key(shared, service(shared), "accounts:read")
    for path in ("/keys", f"/keys/{made['id']}"):
        answer = shared.client.get(f"/api/v1{path}")
        assert answer.status_code == 200
        assert made["secret"] not in answer.text
        assert "secret" not in answer.json()
    rotated = shared.client.post(f"/api/v1/keys/{made['id']}/rotate", json={"overlap_s": 60}).json()
    for secret in (made["secret"], rotated["secret"]):
        with with_key(shared, secret) as client:
            assert client.get("/api/v1/accounts").status_code == 200
    assert shared.client.get(f"/api/v1/keys/{made['id']}").json()["replaced_by"] == rotated["id"]


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/principals", {"kind": "robot", "name": "x"}, "invalid_field"),
        ("/principals", {"kind": "service"}, "missing_field"),
        ("/principals", {"kind": "service", "name": "x", "roles": ["king"]}, "invalid_field"),
        ("/principals", {"kind": "customer", "name": "x"}, "invalid_field"),
        ("/keys", {"principal": "svc_none", "name": "x", "scopes": ["accounts:read"]}, "principal_not_found"),
        ("/keys", {"principal": "svc_none", "name": "x", "scopes": ["accounts:fly"]}, "invalid_field"),
        ("/keys", {"principal": "svc_none", "name": "x", "scopes": ["accounts:read"], "more": 1}, "unknown_field"),
    ],
)
def test_what_is_wrong_is_said(shared: Instance, path: str, body: dict[str, Any], code: str) -> None:
    answer = shared.client.post(f"/api/v1{path}", json=body)
    assert answer.json()["code"] == code, answer.text
