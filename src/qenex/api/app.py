"""Puts the parts of the HTTP process together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.routing import Match

from qenex.api import problems
from qenex.api.admission import Admission
from qenex.api.authentication import Authentication
from qenex.api.cursors import Cursors
from qenex.api.documentation import CONTENT_SECURITY_POLICY, page
from qenex.api.gateway import Gateway, Protection
from qenex.api.graphql.handler import PATH, GraphQL
from qenex.api.identity.routes import IdentityRoutes
from qenex.api.metrics import HttpMetrics
from qenex.api.openapi import VERSION, document, operation_name
from qenex.api.routes import Routes
from qenex.api.routing import PREFIX
from qenex.api.stream.routes import StreamRoutes
from qenex.api.stream.streams import Streams
from qenex.api.transactions import Transactions
from qenex.api.versions import Versions
from qenex.errors import InternalError, InvalidParameter, MethodNotAllowed, QenexError, RouteNotFound
from qenex.principals import Action

if TYPE_CHECKING:
    from qenex.api.authentication import Credentials
    from qenex.api.desks import Desks
    from qenex.api.exchange import Scope
    from qenex.api.gateway import Handler
    from qenex.assets import Assets
    from qenex.services.access import Access
    from qenex.services.identity.service import Identities


class Application:
    """Everything that answers requests."""

    def __init__(
        self,
        desks: Desks,
        token: str,
        assets: Assets,
        access: Access,
        protection: Protection,
        *,
        credentials: Credentials | None = None,
        registry: CollectorRegistry | None = None,
        versions: Versions | None = None,
    ) -> None:
        """Wires it.

        Args:
            desks: what is needed of each book.
            token: the owner credential of the first.
            assets: what ledger numbers stand for.
            access: decides what somebody may.
            protection: how much somebody may, and what is traced.
            credentials: all but the owner's of the first book.
            registry: of what is counted.
            versions: of the API, and how long each is there.
        """
        main = desks.main
        self.desks = desks
        self.metrics = HttpMetrics(
            lambda: main.combiner.rows_waiting, lambda: float(main.up()), registry or CollectorRegistry()
        )
        self.authentication = Authentication(token, main.find_book, credentials)
        self.admission = Admission(access, lambda _: True)
        cursors = Cursors(token.encode("ascii"))
        self.streams = Streams(self.authentication, self.admission, desks, assets, cursors)
        self._identity = IdentityRoutes()
        routes = Routes(desks, assets, cursors), StreamRoutes(self.streams, assets), self._identity
        self.fastapi = _fastapi(*(one.router() for one in routes))
        hot: dict[str, dict[str, Handler]] = {
            f"{PREFIX}/transaction": {"POST": lambda exchange: Transactions(exchange, assets).create()},
            f"{PREFIX}/transactions": {"POST": lambda exchange: Transactions(exchange, assets).create_many()},
            PATH: {"POST": GraphQL(assets, cursors, self.streams).answer},
        }
        self.gateway = Gateway(
            *(self.authentication, self.admission, protection, desks, hot, self.fastapi, self.metrics),
            versions or Versions(),
        )

    def know(self, identities: Identities) -> None:
        """Knows the principals of the books from now on, and their keys."""
        self._identity.service = identities
        self.authentication.credentials = identities

    async def admit_to_metrics(self, scope: Scope) -> None:
        """Lets those pass who may see the metrics.

        Raises:
            QenexError: somebody else asks.
        """
        principal = await self.authentication.principal(scope["path"], dict(scope["headers"]))
        self.admission.admit(principal, principal.book, Action.METRICS_READ)


def _fastapi(*routers: APIRouter) -> FastAPI:
    app = FastAPI(
        title="QENEX",
        version=VERSION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=operation_name,
    )
    app.state.routers = routers
    for router in routers:
        app.include_router(router)
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
        allow = {
            method
            for router in request.app.state.routers
            for route in router.routes
            if route.matches(request.scope)[0] != Match.NONE
            for method in route.methods
        }
        return await _known(request, MethodNotAllowed(request.method, sorted(allow)))
    return await _known(request, RouteNotFound(request.url.path))


async def _unknown(request: Request, error: Exception) -> Response:  # the gateway logs it
    return await _known(request, InternalError())
