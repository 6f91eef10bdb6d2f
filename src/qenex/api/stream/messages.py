"""The messages of the stream, for spec/asyncapi.json. They describe; `talk.py` is what decides."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from qenex.api.models import Event, Position, Problem  # noqa: TC001  # pydantic reads annotations when it runs
from qenex.api.stream.hub import EVENTS_OF_FRAME_MAX
from qenex.api.stream.talk import TOPICS_MAX

TopicName = Annotated[
    str,
    Field(
        pattern=r"^(all|accounts/.+|assets/.+)$",
        description="`all`, `accounts/` and an address or id, `assets/` and a code",
        examples=["accounts/0x51454e5800000000000000000000000000000001", "assets/EUR", "all"],
    ),
]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Authenticate(_Message):
    """The first message of a connection: a credential, or a ticket that REST gave for one."""

    type: Literal["authenticate"]
    credential: Annotated[str | None, Field(description="As behind `Bearer` over REST")] = None
    ticket: Annotated[str | None, Field(description="Of `POST /api/v1/stream/tickets`; good once, for 30 s")] = None


class Authenticated(_Message):
    """Who that is."""

    type: Literal["authenticated"]
    principal: str
    book: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]


class Subscribe(_Message):
    """What to hear of from now on, in place of what was heard of before."""

    type: Literal["subscribe"]
    topics: Annotated[list[TopicName], Field(min_length=1, max_length=TOPICS_MAX)]
    after: Annotated[
        str | None,
        Field(
            description="A `position`: everything after it is sent. Absent, it begins now, or goes on where the "
            "subscription before it was."
        ),
    ] = None


class Subscribed(_Message):
    """The subscription has begun; events follow."""

    type: Literal["subscribed"]
    topics: list[TopicName]
    position: Position


class Unsubscribe(_Message):
    """Hear of nothing."""

    type: Literal["unsubscribe"]


class Unsubscribed(_Message):
    """Nothing more follows."""

    type: Literal["unsubscribed"]


class Events(_Message):
    """What happened, oldest first."""

    type: Literal["events"]
    events: Annotated[list[Event], Field(min_length=1, max_length=EVENTS_OF_FRAME_MAX)]
    position: Position


class Refusal(_Message):
    """A message could not be done as it asked; the connection goes on, unless nobody is known at its end."""

    type: Literal["error"]
    problem: Problem


FROM_CLIENT: tuple[type[BaseModel], ...] = (Authenticate, Subscribe, Unsubscribe)
FROM_SERVER: tuple[type[BaseModel], ...] = (Authenticated, Subscribed, Unsubscribed, Events, Refusal)
