"""Puts the parts of the HTTP process together."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from qenex.api import problems
from qenex.api.combiner import Combiner
from qenex.api.documentation import CONTENT_SECURITY_POLICY, page
from qenex.api.gateway import PRINCIPAL, Gateway, Guard
from qenex.api.ledger import Ledger
from qenex.api.metrics import HttpMetrics
from qenex.api.openapi import VERSION, document, operation_name
from qenex.api.refusals import Keys
from qenex.api.routes import PREFIX, Routes
from qenex.api.transactions import Transactions
from qenex.client.protocol import Operation
from qenex.errors import InternalError, InvalidParameter, MethodNotAllowed, QenexError, RouteNotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from qenex.api.backend import Backend
    from qenex.api.ledger import Call
    from qenex.assets import Assets
    from qenex.client.session import Reply

CONTEXT_VERSION: Final = 1
DOOR_HTTP: Final = 1


def context(credential: str) -> bytes:
    """What the journal keeps with every write of this process, before the number and the digest of its requests.

    Version u8, door u8 (1 HTTP), first 8 bytes of the credential's SHA-256, length u8 and name of the principal.
    """
    fingerprint = sha256(credential.encode("ascii")).digest()[:8]
    name = PRINCIPAL.encode("ascii")
    return bytes((CONTEXT_VERSION, DOOR_HTTP)) + fingerprint + bytes((len(name),)) + name


class Application:
    """Everything that answers requests, wired to one engine."""

    def __init__(
        self, call: Call, book: Callable[[], bytes], up: Callable[[], bool], token: str, assets: Assets
    ) -> None:
        """Wires it.

        Args:
            call: the way to the engine.
            book: the id of its book.
            up: whether it answers.
            token: the owner credential.
            assets: what ledger numbers stand for.
        """

        async def send(rows: NDArray[np.void], *, linger_us: int, context: bytes) -> Reply:
            return await call(Operation.CREATE_TRANSFERS, rows, linger_us=linger_us, context=context)

        journal_context = context(token)
        self.ledger = Ledger(call, book)
        self.combiner = Combiner(send, journal_context)
        self.metrics = HttpMetrics(lambda: self.combiner.rows_waiting, lambda: float(up()))
        self.guard = Guard(token)
        keys = Keys()
        transactions = Transactions(self.combiner, self.ledger, keys, assets)
        self.fastapi = _fastapi(Routes(transactions, self.ledger, keys, assets, journal_context))
        hot = {
            f"{PREFIX}/transaction": {"POST": transactions.create},
            f"{PREFIX}/transactions": {"POST": transactions.create_many},
        }
        self.gateway = Gateway(self.guard, hot, self.fastapi, self.metrics)

    @classmethod
    def over(cls, backend: Backend, token: str, assets: Assets) -> Application:
        """The application over a connection to an engine."""
        return cls(backend.call, lambda: backend.book, lambda: backend.up, token, assets)


def _fastapi(routes: Routes) -> FastAPI:
    app = FastAPI(
        title="QENEX",
        version=VERSION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=operation_name,
    )
    app.state.router = routes.router()
    app.include_router(app.state.router)
    app.openapi = lambda: document(app)  # type: ignore[method-assign]  # FastAPI's own way to replace it

    async def openapi() -> dict[str, Any]:
        return app.openapi()

    async def documentation() -> HTMLResponse:
        headers = {"content-security-policy": CONTENT_SECURITY_POLICY, "referrer-policy": "no-referrer"}
        return HTMLResponse(page(app.openapi()), headers=headers)

    app.add_api_route(f"{PREFIX}/openapi.json", openapi, include_in_schema=False)
    app.add_api_route("/docs", documentation, include_in_schema=False)
    for kind, handler in (
        (QenexError, _known),
        (RequestValidationError, _invalid),
        (HTTPException, _no_route),
        (Exception, _unknown),
    ):
        app.add_exception_handler(kind, handler)
    return app


async def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, QenexError)  # noqa: S101  # registered for nothing else
    status, headers, body = problems.encode(error, instance=request.scope["qenex.exchange"].request_id)
    response = Response(body, status)
    response.raw_headers = headers
    return response


async def _invalid(request: Request, error: Exception) -> Response:
    """A parameter that FastAPI found wrong."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  # as above
    first = error.errors()[0]
    return await _known(request, InvalidParameter(str(first["loc"][-1]), str(first["msg"])))


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # as above
    if error.status_code == 405:
        # Starlette names the methods of the first route of this path only.
        routes = request.app.state.router.routes
        allow = {
            method for route in routes if route.matches(request.scope)[0] != Match.NONE for method in route.methods
        }
        return await _known(request, MethodNotAllowed(request.method, sorted(allow)))
    return await _known(request, RouteNotFound(request.url.path))


async def _unknown(request: Request, error: Exception) -> Response:  # the gateway logs it
    return await _known(request, InternalError())
