"""What every route is made with: its caller, what it needs, its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from fastapi import Request, Response

from qenex.errors import InvalidParameter

if TYPE_CHECKING:
    from qenex.api.exchange import Answer, Exchange
    from qenex.principals import Action

PREFIX: Final = "/api/v1"


def only_known_parameters(request: Request) -> None:
    """Refuses parameters that the route does not have, and any that stand twice: both are mistakes, not wishes.

    Raises:
        InvalidParameter: naming it.
    """
    known = _parameters(request.scope["route"].dependant)
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name not in known:
            there_are = ", ".join(sorted(known)) or "none"
            raise InvalidParameter(name[:100], f"there is no such parameter; there are {there_are}")
        if name in seen:
            raise InvalidParameter(name, "stands twice")
        seen.add(name)


def _parameters(dependant: Any) -> set[str]:  # noqa: ANN401  # FastAPI's own, not exported
    names = {field.alias for field in dependant.query_params}
    return names.union(*(_parameters(inner) for inner in dependant.dependencies))


class Needs:
    """What a route needs its caller to be allowed; a route that needs nothing is open to nobody (`app.py`)."""

    def __init__(self, action: Action) -> None:
        """Takes the action that the route carries out."""
        self.action = action

    def __call__(self, request: Request) -> None:
        """Checks the caller's book and scope; what the policies say depends on what the route works on.

        Raises:
            Forbidden: it may not do this.
        """
        exchange_of(request).check(self.action)


def exchange_of(request: Request) -> Exchange:
    """The exchange that the gateway began."""
    exchange: Exchange = request.scope["qenex.exchange"]
    return exchange


def response_of(answer: Answer) -> Response:
    """An answer of a plain handler, for FastAPI to send."""
    status, headers, body = answer
    response = Response(body, status)
    response.raw_headers = headers
    return response


def json_reply(reply: dict[str, Any], *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer in JSON, which nobody may keep."""
    named = {"cache-control": "no-store", **(headers or {})}
    return Response(msgspec.json.encode(reply), status, named, media_type="application/json")


def body_of(model: str) -> dict[str, Any]:
    """The description of a body that we read ourselves."""
    schema = {"$ref": f"#/components/schemas/{model}"}
    return {"required": True, "content": {"application/json": {"schema": schema}}}
