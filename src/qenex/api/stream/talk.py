"""What is said over a connection of the stream: who it is, what it wants to hear of."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from qenex.api.fields import Wrong, members
from qenex.api.stream import topics
from qenex.api.stream.hub import Subscription
from qenex.api.strict_json import decode
from qenex.errors import InternalError, InvalidField, MissingField, QenexError, Unauthenticated

if TYPE_CHECKING:
    from qenex.api.stream.socket import Socket
    from qenex.api.stream.streams import Streams
    from qenex.api.strict_json import Value
    from qenex.principals import Principal

LOG: Final = logging.getLogger("qenex.stream")

TOPICS_MAX: Final = 256
"""Topics of a subscription."""
VALUES_MAX: Final = TOPICS_MAX + 16
"""Values in a message."""
MESSAGES_WAITING_MAX: Final = 8
"""Messages of a client that wait for the answers to those before them."""


class Talk:
    """What one connection has said."""

    def __init__(self, socket: Socket, streams: Streams) -> None:
        """Begins with somebody unknown."""
        self._socket, self._streams = socket, streams
        self.principal: Principal | None = None
        """Who it is, once it has said so."""
        self._subscription: Subscription | None = None
        self._messages: asyncio.Queue[bytes] = asyncio.Queue(maxsize=MESSAGES_WAITING_MAX)
        self._worker = asyncio.get_running_loop().create_task(self._work())

    def heard(self, message: bytes) -> None:
        """Takes a message; they are answered one after another."""
        try:
            self._messages.put_nowait(message)
        except asyncio.QueueFull:
            self._socket.close(1_008, "more messages than are answered")

    def end(self) -> None:
        """The connection is over."""
        self._worker.cancel()
        self._unsubscribe()

    async def _work(self) -> None:
        while True:
            message = await self._messages.get()
            try:
                await self._answer(message)
            except Unauthenticated as error:
                self._socket.refuse(error)
                self._socket.close(4_001, "the credential is not known")
                return
            except QenexError as error:
                self._socket.refuse(error)
            except Exception:
                LOG.exception("a message of the stream failed")
                self._socket.refuse(InternalError())

    async def _answer(self, message: bytes) -> None:
        value = decode(message, values_max=VALUES_MAX)
        if type(value) is not dict:
            raise InvalidField("", "an object is wanted, with its type")
        kind = value.get("type")
        if self.principal is None and kind != "authenticate":
            raise Unauthenticated('The first message is {"type": "authenticate", "credential": ...} or has a ticket.')
        if kind == "authenticate":
            await self._authenticate(value)
        elif kind == "subscribe":
            await self._subscribe(value)
        elif kind == "unsubscribe":
            members(value, "", {"type": _text}, ("type",))
            self._unsubscribe()
            self._socket.tell({"type": "unsubscribed"})
        else:
            raise InvalidField("/type", '"authenticate", "subscribe" or "unsubscribe" is wanted')

    async def _authenticate(self, value: dict[str, Value]) -> None:
        given = members(value, "", {"type": _text, "credential": _text, "ticket": _text}, ("type",))
        if self.principal is not None:
            raise InvalidField("/type", "this connection has said who it is")
        if ("credential" in given) == ("ticket" in given):
            raise MissingField("/credential", "is needed, or a ticket instead")
        streams = self._streams
        if "ticket" in given:
            principal = streams.tickets.take(given["ticket"])
        else:
            principal = await streams.authentication.bearer(given["credential"], self._socket.peer)
        streams.view(streams.desks.of(principal.book), principal)
        self.principal = principal
        self._socket.tell({"type": "authenticated", "principal": principal.id, "book": principal.book.hex()})

    async def _subscribe(self, value: dict[str, Value]) -> None:
        """Takes a subscription in place of the one before, which it goes on from unless it says where to begin."""
        assert self.principal is not None  # noqa: S101  # `_answer` sees to it
        given = members(value, "", {"type": _text, "topics": _texts, "after": _text}, ("type", "topics"))
        streams = self._streams
        desk = streams.desks.of(self.principal.book)
        view = streams.view(desk, self.principal)
        wanted = [topics.read(text, view.party, streams.assets) for text in given["topics"]]
        for topic in wanted:
            if topic.kind == "accounts":
                await view.account(topic.number)
        hub = streams.hub(desk)
        begin_ns = await hub.begin(given.get("after"))
        if self._subscription is not None and "after" not in given:
            begin_ns = hub.head_ns
        self._unsubscribe()
        subscription = Subscription(hub, self._socket, wanted, begin_ns)
        names = [topic.name for topic in wanted]
        position = hub.positions.seal(begin_ns)
        self._socket.tell({"type": "subscribed", "topics": names, "position": position})
        await subscription.begin()
        self._subscription = subscription

    def _unsubscribe(self) -> None:
        if self._subscription is not None:
            self._subscription.end()
            self._subscription = None


def _text(value: Value) -> str:
    if not isinstance(value, str):
        raise Wrong("a string is wanted")
    return value


def _texts(value: Value) -> list[str]:
    if type(value) is not list or not 0 < len(value) <= TOPICS_MAX:
        raise Wrong(f"an array of 1 to {TOPICS_MAX} topics is wanted")
    return [_text(item) for item in value]
