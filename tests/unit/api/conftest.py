"""The HTTP application over the kernel itself, in memory: every rule, no files, no sockets."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from qenex import bootstrap
from qenex.adapters.policy_alarm import PolicyAlarm
from qenex.api.app import Application
from qenex.api.desks import Desk, Desks
from qenex.api.gateway import Protection
from qenex.assets import Assets
from qenex.client.protocol import REQUEST_ROWS, WRITES, Operation, Position
from qenex.client.session import Reply
from qenex.errors import Unauthenticated
from qenex.kernel import Ledger
from qenex.limits import LocalLimits
from qenex.limits.configured import policy
from qenex.settings import Settings
from qenex.telemetry.tracing import Tracer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from numpy.typing import NDArray

    from qenex.errors import EngineError
    from qenex.principals import Principal
    from qenex.services.access import Access

TOKEN = "qnx_owner_" + "5a" * 32
BOOK = bytes(range(16))
_STATUS_BYTES = 256


class MemoryEngine:
    """Answers as the engine does, out of a ledger in memory."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.calls: Counter[Operation] = Counter()
        self.contexts: list[bytes] = []
        self.lingered: list[int] = []
        self.traces: list[bytes | None] = []
        self.rows_sent: list[int] = []
        self.fails_with: EngineError | None = None
        self._entry = 0

    async def call(
        self,
        operation: int,
        rows: NDArray[np.void] | bytes,
        *,
        linger_us: int = 0,
        context: bytes = b"",
        trace: bytes | None = None,
    ) -> Reply:
        kind = Operation(operation)
        self.calls[kind] += 1
        self.traces.append(trace)
        if self.fails_with is not None:
            raise self.fails_with
        if kind == Operation.GET_STATUS:
            body = bytearray(_STATUS_BYTES)
            body[56:64] = self.ledger.timestamp_ns.to_bytes(8, "little")
            body[124:128] = (1).to_bytes(4, "little")  # writable
            return self._reply(kind, body, 0)
        if kind == Operation.GET_METRICS:
            return self._reply(kind, bytearray(b"# TYPE qenex_group_rows histogram\n"), 0)
        given = np.frombuffer(rows, REQUEST_ROWS[operation])
        method = getattr(self.ledger, kind.name.lower())
        if kind in WRITES:
            self._entry += 1
            self.contexts.append(context)
            self.lingered.append(linger_us)
            self.rows_sent.append(len(given))
            now = max(time.time_ns(), self.ledger.timestamp_ns + len(given))
            return self._reply(kind, bytearray(method(given, timestamp_ns=now).tobytes()), len(given))
        return self._reply(kind, bytearray(method(given).tobytes()), 0)

    def _reply(self, operation: Operation, body: bytearray, rows: int) -> Reply:
        position = Position(1, 1, self._entry)
        return Reply(operation, body, position, self.ledger.timestamp_ns, int(rows > 0), rows, 0, replayed=False)


class Register:
    """Knows principals by their secrets."""

    def __init__(self) -> None:
        self.principals: dict[str, Principal] = {}

    async def authenticate(self, secret: str, address: str | None) -> Principal:
        try:
            return self.principals[secret]
        except KeyError:
            raise Unauthenticated from None


class Api:
    """A client of the application that speaks ASGI to it."""

    def __init__(
        self, engine: MemoryEngine, application: Application, http: httpx.AsyncClient, register: Register
    ) -> None:
        self.engine, self.application, self.http, self.register = engine, application, http, register

    def known(self, principal: Principal) -> dict[str, str]:
        """Headers of a request of somebody, who is known from now on."""
        self.register.principals[principal.credential] = principal
        return {"authorization": f"Bearer {principal.credential}"}

    async def account(self, **fields: Any) -> dict[str, Any]:
        """A new account; unless said otherwise in EUR."""
        answer = await self.http.post("/api/v1/accounts", json={"token": "EUR"} | fields)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def transfer(self, debit: Any, credit: Any, amount: Any, **fields: Any) -> httpx.Response:
        """One transfer between two accounts, with whatever else is said."""
        headers = {"idempotency-key": fields.pop("key")} if "key" in fields else {}
        body = {"from": debit["address"], "to": credit["address"], "amount": amount, "token": "EUR"} | fields
        return await self.http.post("/api/v1/transaction", json=body, headers=headers)

    async def posted(self, account: dict[str, Any]) -> str:
        """What the account has, in major units."""
        answer = await self.http.get(f"/api/v1/accounts/{account['id']}/balance")
        assert answer.status_code == 200, answer.text
        return str(answer.json()["posted"])


@lru_cache
def shipped_policies() -> Access:
    """The policies of a home without books of its own, compiled once."""
    return bootstrap.access(Settings.load(), PolicyAlarm(CollectorRegistry()))


@pytest.fixture
def memory_engine() -> MemoryEngine:
    return MemoryEngine()


@pytest.fixture
async def api(memory_engine: MemoryEngine) -> AsyncIterator[Api]:
    async with application_over(memory_engine) as api:
        yield api


@pytest.fixture
async def restarted(memory_engine: MemoryEngine) -> AsyncIterator[Api]:
    """Another application in front of the same engine, as after a restart: it remembers nothing."""
    async with application_over(memory_engine) as api:
        yield api


@asynccontextmanager
async def application_over(
    memory_engine: MemoryEngine, limits: LocalLimits | None = None, *, scheme: str = "http", **more: Any
) -> AsyncIterator[Api]:
    register = Register()
    desks = Desks(Desk(memory_engine.call, lambda: BOOK, lambda: True))
    limits = limits or LocalLimits(policy(Settings.load()))
    protection = Protection(limits, Tracer(None, 0), limits.policy.header)
    application = Application(desks, TOKEN, Assets(), shipped_policies(), protection, credentials=register, **more)
    transport = httpx.ASGITransport(application.gateway)
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url=f"{scheme}://qenex", headers=headers) as http:
        yield Api(memory_engine, application, http, register)


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document of a refused request, checked for form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["code"] == code
    assert document["status"] == status
    assert document["type"] == f"urn:qenex:error:{code}"
    assert document["title"]
    assert document["detail"]
    if "instance" in document:
        assert document["instance"] == f"urn:uuid:{answer.headers['x-request-id']}"
    return document
