"""The stream's side of REST: events to read page by page, and tickets that open a stream."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from qenex.api import models, times
from qenex.api.routing import PREFIX, Needs, exchange_of, json_reply, only_known_parameters
from qenex.api.stream import pages, topics
from qenex.api.stream.streams import TICKET_S
from qenex.principals import Action

if TYPE_CHECKING:
    from qenex.api.stream.streams import Streams
    from qenex.assets import Assets

LIMIT_DEFAULT = 100
LIMIT_MAX = 1_000


class StreamRoutes:
    """The routes and what they need."""

    def __init__(self, streams: Streams, assets: Assets) -> None:
        """Wires them."""
        self._streams, self._assets = streams, assets

    def router(self) -> APIRouter:
        """All of them."""
        router = APIRouter(dependencies=[Depends(only_known_parameters), Depends(Needs(Action.EVENTS_READ))])
        router.add_api_route(
            PREFIX + "/events", self.get_events, methods=["GET"], responses={200: {"model": models.EventPage}}
        )
        router.add_api_route(
            PREFIX + "/stream/tickets",
            self.create_ticket,
            methods=["POST"],
            status_code=201,
            responses={201: {"model": models.Ticket}},
        )
        return router

    async def get_events(
        self,
        request: Request,
        topic: Annotated[str, Query(max_length=80, description="accounts/ADDRESS, assets/CODE or all")] = "all",
        after: Annotated[
            str | None, Query(max_length=100, description="A `position`; absent: from the beginning")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=LIMIT_MAX, description="Events at most")] = LIMIT_DEFAULT,
    ) -> Response:
        """What happened, oldest first; `position` is where to go on, here or in the stream."""
        exchange = exchange_of(request)
        view = self._streams.view(exchange.desk, exchange.principal)
        wanted = topics.read(topic, view.party, self._assets)
        if wanted.kind == "accounts":
            await view.account(wanted.number)
        positions = self._streams.hub(exchange.desk).positions
        reached_ns = positions.open(after) if after is not None else 0
        read = await pages.read(exchange.desk.ledger, wanted, reached_ns, limit)
        reply = {
            "items": [event.document(self._assets, wanted.party) for event in read.events],
            "position": positions.seal(read.reached_ns),
            "more": read.has_more,
        }
        return json_reply(reply)

    async def create_ticket(self, request: Request) -> Response:
        """A ticket that opens a stream once, within 30 s, where a page should not handle a credential."""
        exchange = exchange_of(request)
        self._streams.view(exchange.desk, exchange.principal)
        until_ns = time.time_ns() + int(TICKET_S * 1_000_000_000)
        reply = {
            "ticket": self._streams.tickets.give(exchange.principal),
            "expires": times.to_text(until_ns),
            "expires_ns": str(until_ns),
        }
        return json_reply(reply, status=201)
