"""What all connections of the stream share: hubs, tickets, limits, where pages may come from."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from qenex.api.stream.hub import Hub, Positions
from qenex.api.view import View
from qenex.errors import Forbidden, OriginRefused, QenexError, RouteNotFound, TooManyConnections, Unauthenticated
from qenex.principals import Action
from qenex.services.access import Account, Party

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from websockets.http11 import Request

    from qenex.api.admission import Admission
    from qenex.api.authentication import Authentication
    from qenex.api.cursors import Cursors
    from qenex.api.desks import Desk, Desks
    from qenex.api.stream.socket import Socket
    from qenex.assets import Assets
    from qenex.principals import Principal

PATHS: Final = frozenset({"/v1/stream", "/api/v1/stream"})
STRANGERS_MAX: Final = 256
"""Connections that have not authenticated; the oldest makes room for a new one."""
TICKET_S: Final = 30.0
"""How long a ticket is good."""
TICKETS_MAX: Final = 65_536
SWEEP_S: Final = 1.0
"""How often each connection is looked at."""
SWEEP_PARTS: Final = 20


class Tickets:
    """One-time tickets: what a page shows for itself where it cannot, or should not, handle a credential."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Takes a clock, seconds."""
        self._clock = clock
        self._tickets: OrderedDict[str, tuple[float, Principal]] = OrderedDict()

    def give(self, principal: Principal) -> str:
        """A ticket for somebody, good once and for `TICKET_S`."""
        ticket = "qnx_ticket_" + secrets.token_urlsafe(32)
        self._tickets[ticket] = self._clock() + TICKET_S, principal
        if len(self._tickets) > TICKETS_MAX:
            self._tickets.popitem(last=False)
        return ticket

    def take(self, ticket: str) -> Principal:
        """Whose a ticket is; it is good for nothing any more.

        Raises:
            Unauthenticated: it was taken before, is too old, or none.
        """
        until, principal = self._tickets.pop(ticket, (0.0, None))
        if principal is None or until < self._clock():
            raise Unauthenticated("The ticket is not known (any more).")
        return principal


class Streams:
    """What all connections of the stream share."""

    def __init__(
        self,
        authentication: Authentication,
        admission: Admission,
        desks: Desks,
        assets: Assets,
        cursors: Cursors,
        *,
        origins: frozenset[str] = frozenset(),
        connections_max: int = 16_384,
    ) -> None:
        """Wires it.

        Args:
            authentication: who somebody is.
            admission: what somebody may.
            desks: of the books.
            assets: what ledger numbers stand for.
            cursors: seals positions.
            origins: of pages that may open the stream beside our own, `https://host[:port]`.
            connections_max: connections at a time.
        """
        self.authentication, self.admission, self.desks, self.assets = authentication, admission, desks, assets
        self.tickets = Tickets()
        self.too_slow = 0
        """Connections that were dropped because they took less than happened."""
        self._cursors, self._origins, self._connections_max = cursors, origins, connections_max
        self._sockets: dict[Socket, None] = {}
        self._hubs: dict[bytes, Hub] = {}

    def hub(self, desk: Desk) -> Hub:
        """The hub of a book."""
        hub = self._hubs.get(desk.book)
        if hub is None:
            hub = self._hubs[desk.book] = Hub(desk.ledger, self.assets, Positions(self._cursors, desk.book))
        return hub

    def view(self, desk: Desk, principal: Principal) -> View:
        """What somebody hears through.

        Raises:
            Forbidden: it may hear nothing, or policies tell accounts apart for it: an event shows both its accounts.
        """
        view = View(desk, principal, self.admission)
        what = None if view.party is None else Party(view.party)
        self.admission.admit(principal, desk.book, Action.EVENTS_READ, what)
        if view.party is None and self.admission.names_accounts(principal, desk.book, Action.EVENTS_READ, Account(0)):
            raise Forbidden(
                "Policies of the book tell accounts apart for your role, and an event shows both its accounts."
            )
        return view

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._sockets)

    def opened(self, socket: Socket) -> None:
        """A connection has come; one that has not said who it is may have to make room."""
        self._sockets[socket] = None
        strangers = [one for one in self._strangers() if one is not socket]
        if len(strangers) >= STRANGERS_MAX or len(self._sockets) > self._connections_max:
            oldest = min(strangers, key=lambda one: one.since, default=socket)
            oldest.refuse(TooManyConnections())
            oldest.close(1_013, "there are too many connections")

    def closed(self, socket: Socket) -> None:
        """A connection is gone."""
        self._sockets.pop(socket, None)

    def revoke(self, is_revoked: Callable[[Principal], bool]) -> None:
        """Ends the streams of credentials that are good no more."""
        for socket in list(self._sockets):
            talk = socket.talk
            if talk is not None and talk.principal is not None and is_revoked(talk.principal):
                socket.close(4_001, "the credential was revoked")

    def refusal(self, request: Request) -> QenexError | None:
        """Why a handshake is not accepted."""
        path = request.path.partition("?")[0]
        if path not in PATHS:
            return RouteNotFound(path)
        origin = request.headers.get("Origin")
        # Browsers say where a page is from, programs do not; "null" is a page that is from nowhere.
        if origin is None or origin in self._origins:
            return None
        if origin != "null" and urlsplit(origin).netloc == request.headers.get("Host"):
            return None
        return OriginRefused(origin)

    async def sweep(self) -> None:
        """Looks at all connections, again and again, a few at a time, so that nothing else waits for it."""
        loop = asyncio.get_running_loop()
        while True:
            sockets = list(self._sockets)
            size = -(-len(sockets) // SWEEP_PARTS)
            for part in range(SWEEP_PARTS):
                await asyncio.sleep(SWEEP_S / SWEEP_PARTS)
                now = loop.time()
                for socket in sockets[part * size : (part + 1) * size]:
                    socket.sweep(now)

    async def close(self) -> None:
        """Ends all connections, and what asks the engines."""
        for socket in list(self._sockets):
            socket.close(1_001, "the server is stopping; come again with your position")
        for hub in self._hubs.values():
            await hub.close()

    def _strangers(self) -> Iterator[Socket]:
        return (one for one in self._sockets if one.talk is None or one.talk.principal is None)
