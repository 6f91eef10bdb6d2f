"""The door: one query a request, sent as JSON; an answer as GraphQL has it.

What is wrong with the request itself is a problem document, as everywhere; what is wrong with its document, and
whatever goes wrong while it is carried out, stands in the answer's `errors`, with the code that REST has for it.
"""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec
from graphql import GraphQLError
from strawberry.types.graphql import OperationType

from qenex.api import problems
from qenex.api.fields import DIGITS_MAX, Wrong, members
from qenex.api.graphql.cost import COST_MAX, Costs
from qenex.api.graphql.documents import Documents, Refused
from qenex.api.graphql.query import make_schema
from qenex.api.graphql.reads import Reads
from qenex.api.strict_json import Number
from qenex.errors import AccountNotFound, InternalError, NotFound, QenexError, TransferNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qenex.api.cursors import Cursors
    from qenex.api.exchange import Answer, Exchange
    from qenex.api.stream.streams import Streams
    from qenex.api.strict_json import Value
    from qenex.assets import Assets

LOG: Final = logging.getLogger("qenex.api")

PATH: Final = "/graphql"
MEDIA_TYPE: Final = "application/graphql-response+json"
COST_OF_REQUEST: Final = 100
"""So much of a query's cost counts as much as one request."""
VALUES_MAX: Final = 4_096
"""Values of a request; the commas of its document are counted among them."""


class GraphQL:
    """Answers queries."""

    def __init__(self, assets: Assets, cursors: Cursors, streams: Streams) -> None:
        """Wires it.

        Args:
            assets: what ledger numbers stand for.
            cursors: seals them.
            streams: knows the positions of events.
        """
        self._assets, self._cursors, self._streams = assets, cursors, streams
        self._schema = make_schema()
        graph = self._schema._schema  # noqa: SLF001  # strawberry has no public name for what graphql-core works on
        self._documents = Documents(graph)
        self._costs = Costs(graph)

    async def answer(self, exchange: Exchange) -> Answer:
        """Answers one query.

        Raises:
            QenexError: the request is none.
        """
        value, _ = await exchange.json(values_max=VALUES_MAX)
        asked = members(value, "", _FIELDS, ("query",))
        status, reply = await self._reply(
            exchange, asked["query"], asked.get("operationName"), asked.get("variables") or {}
        )
        body = msgspec.json.encode(reply)
        kind = MEDIA_TYPE if _accepts(exchange) else "application/json"
        headers = [
            (b"content-type", kind.encode("ascii")),
            (b"content-length", str(len(body)).encode("ascii")),
            (b"cache-control", b"no-store"),
            (b"vary", b"accept"),
        ]
        # In plain JSON a client could not tell an answer of ours from one of a proxy, unless all of ours are 200.
        return (status if kind == MEDIA_TYPE else 200), headers, body

    async def _reply(
        self, exchange: Exchange, query: str, name: str | None, variables: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        try:
            document = await self._documents.find(query)
            operation = document.operation(name)
            cost = self._costs.of(document, operation, variables)
        except Refused as refused:
            return refused.wrong[0][0].http_status, {"errors": [_entry(*wrong) for wrong in refused.wrong]}
        await exchange.charge(cost // COST_OF_REQUEST)
        result = await self._schema.execute(
            query,
            variable_values=variables,
            context_value=Reads(exchange, self._assets, self._cursors, self._streams),
            root_value=document,
            operation_name=operation.name.value if operation.name is not None else None,
            allowed_operation_types=(OperationType.QUERY,),
        )
        reply: dict[str, Any] = {"data": result.data}
        if result.errors:
            reply["errors"] = [_error(error, exchange) for error in result.errors]
        status = 200 if result.data is not None else InternalError.http_status
        return status, reply | {"extensions": {"cost": cost, "costMax": COST_MAX}}


def _error(error: GraphQLError, exchange: Exchange) -> dict[str, Any]:
    """An error of a field."""
    cause: BaseException | None = error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    if isinstance(cause, AccountNotFound | TransferNotFound):
        # It says nothing of what was asked for, so that it cannot say more of what is there but not seen.
        return _entry(NotFound(NotFound.text), error)
    if isinstance(cause, QenexError):
        return _entry(cause, error)
    LOG.error("request %s: a field of a query failed", exchange.request_id, exc_info=cause or error)
    return _entry(InternalError(InternalError.text), error)


def _entry(error: QenexError, place: GraphQLError | None = None) -> dict[str, Any]:
    document = problems.problem(error)
    entry: dict[str, Any] = {"message": document["detail"]}
    if place is not None and place.locations:
        entry["locations"] = [{"line": at.line, "column": at.column} for at in place.locations]
    if place is not None and place.path:
        entry["path"] = place.path
    said = {name: value for name, value in document.items() if name not in _SAID_ELSEWHERE}
    return entry | {"extensions": said}


_SAID_ELSEWHERE: Final = frozenset({"type", "title", "detail", "instance"})


def _accepts(exchange: Exchange) -> bool:
    given = exchange.headers.get(b"accept", b"").decode("latin-1").lower()
    return any(one.partition(";")[0].strip() == MEDIA_TYPE for one in given.split(","))


def _text(value: Value) -> str:
    if isinstance(value, str) and not isinstance(value, Number):
        return value
    raise Wrong("a string is needed")


def _name(value: Value) -> str | None:
    return None if value is None else _text(value)


def _object(value: Value) -> dict[str, Any] | None:
    if value is None:
        return None
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    raise Wrong("an object is needed, or null")


def _plain(value: Value) -> Any:  # noqa: ANN401  # anything that JSON has
    """A value as graphql-core takes it. What is no whole number fits nothing in the schema, and stays what it is."""
    if isinstance(value, Number):
        digits = value.removeprefix("-")
        return int(value) if digits.isdigit() and len(digits) <= DIGITS_MAX else Decimal(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return _plain_all(value)
    return value


def _plain_all(values: Iterable[Value]) -> list[Any]:
    return [_plain(inner) for inner in values]


_FIELDS: Final = {"query": _text, "operationName": _name, "variables": _object, "extensions": _object}
