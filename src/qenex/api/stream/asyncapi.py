"""The AsyncAPI document of the stream: its messages, and the catalogue of events.

`python -m qenex.api.stream.asyncapi > spec/asyncapi.json` writes the copy that clients are generated from.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from pydantic.json_schema import models_json_schema

from qenex.api.openapi import VERSION
from qenex.api.stream import socket
from qenex.api.stream.hub import TICK_S
from qenex.api.stream.messages import FROM_CLIENT, FROM_SERVER

if TYPE_CHECKING:
    from pydantic import BaseModel

ADDRESS: Final = "/v1/stream"

DESCRIPTION: Final = f"""\
A WebSocket connection at `{ADDRESS}` (also `/api{ADDRESS}`), of JSON messages in text frames. The first message
authenticates, within {socket.HELLO_S:.0f} s; nothing in the address does. A browser's page must be of the same origin.

Events come at least every {TICK_S * 1000:.0f} ms while there are any. A `position` says that everything up to it has
been sent: a client that keeps the last one goes on `after` it, without gap or double, on any connection. A client that
takes less than happens is sent the rest at its own pace; one that takes nothing of {socket.BUFFER_BYTES_MAX >> 20} MiB
for {socket.BEHIND_S:.0f} s is closed with code {socket.TOO_SLOW}. Code {socket.UNAUTHENTICATED}: no credential in time,
none that is known, or it was revoked.
"""


def document() -> dict[str, Any]:
    """The document."""
    _, made = models_json_schema(
        [(model, "validation") for model in (*FROM_CLIENT, *FROM_SERVER)], ref_template="#/components/schemas/{model}"
    )
    names = [_name(model) for model in (*FROM_CLIENT, *FROM_SERVER)]
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "QENEX stream", "version": VERSION, "description": DESCRIPTION},
        "defaultContentType": "application/json",
        "channels": {
            "stream": {
                "address": ADDRESS,
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
            }
        },
        "operations": {
            "say": _operation("receive", FROM_CLIENT, "What a client says"),
            "hear": _operation("send", FROM_SERVER, "What it hears"),
        },
        "components": {
            "messages": {
                _name(model): {
                    "name": _name(model),
                    "summary": (model.__doc__ or "").strip(),
                    "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
                }
                for model in (*FROM_CLIENT, *FROM_SERVER)
            },
            "schemas": made["$defs"],
        },
    }


def text() -> str:
    """The document as spec/asyncapi.json has it."""
    return json.dumps(document(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def _name(model: type[BaseModel]) -> str:
    return str(model.model_json_schema()["properties"]["type"]["const"])


def _operation(action: str, models: tuple[type[BaseModel], ...], summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/stream"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/stream/messages/{_name(model)}"} for model in models],
    }


if __name__ == "__main__":
    sys.stdout.write(text())
