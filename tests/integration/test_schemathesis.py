"""Odd and hostile requests over the whole API, made from its document: no 5xx, no crash, nothing changed unasked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from qenex import QenexClient
from tests.conftest import ROOT, START_SECONDS
from tests.integration.test_http import Instance, start_instance

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SCHEMA: Final = schemathesis.openapi.from_dict(json.loads((ROOT / "spec" / "openapi.json").read_text("utf-8")))
PREFIX: Final = "/api/v1"
EASY: Final = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
"""The same requests in every run."""
HARD: Final = settings(EASY, max_examples=1_000)


class Target:
    """A real instance, and what must be in its ledger by what it accepted."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.parties = [instance.account(), instance.account()]
        self.accounts, self.transfers, self.answers = len(self.parties), 0, 0

    def ask(self, case: schemathesis.Case) -> None:
        """Sends a request, judges the answer, counts what was accepted."""
        self.answers += 1
        if self.answers % 2:
            self._name_parties(case.body)
        answer = case.call(
            base_url=f"http://{self.instance.http.address}",
            headers={"Authorization": f"Bearer {self.instance.http.token}"},
            timeout=START_SECONDS,
        )
        case.validate_response(answer, checks=CHECKS)
        if answer.request.method != "POST" or answer.status_code >= 300:
            return
        made = "idempotency-replayed" not in answer.headers
        if answer.request.path_url.startswith(f"{PREFIX}/accounts"):
            self.accounts += made
        elif case.path.endswith("/transactions"):
            self.transfers += answer.json()["created"]
        elif "/transaction" in case.path:
            self.transfers += made

    def _name_parties(self, body: Any) -> None:
        """Puts accounts that there are in the place of invented ones, so that some transfers are made."""
        rows = body.get("transactions") if isinstance(body, dict) and "transactions" in body else [body]
        for row in rows if isinstance(rows, list) else []:
            if isinstance(row, dict) and {"from", "to", "token"} <= row.keys():
                row["from"], row["to"], row["token"] = self.parties[0]["id"], self.parties[1]["address"], "EUR"

    def check(self) -> None:
        """The ledger holds what was accepted, and both processes live."""
        engine, http = self.instance.engine, self.instance.http
        with QenexClient(engine.address, credential=engine.token, read_only=True) as client:
            status = client.status()
        assert (status.accounts, status.transfers) == (self.accounts, self.transfers)
        assert self.instance.get("/trial-balance")["balanced"]
        assert self.instance.get("/health")["writable"]
        assert http.log() == engine.log() == ""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    instance = start_instance(tmp_path_factory.mktemp("schemathesis"))
    yield Target(instance)
    instance.end()


@pytest.fixture
def _checked(target: Target) -> Iterator[None]:
    yield
    target.check()


@SCHEMA.parametrize()
@EASY
@pytest.mark.usefixtures("_checked")
def test_whatever_is_asked_the_answer_is_as_documented_and_only_what_was_accepted_happened(
    case: schemathesis.Case, target: Target
) -> None:
    target.ask(case)


@pytest.mark.soak
@SCHEMA.parametrize()
@HARD
@pytest.mark.usefixtures("_checked")
def test_the_same_with_many_more_requests(case: schemathesis.Case, target: Target) -> None:
    target.ask(case)


def test_some_of_it_was_accepted(target: Target) -> None:
    """Stands last: requests that are all refused would prove nothing."""
    assert target.answers > 100
    assert target.accounts > 2
    assert target.transfers > 0
