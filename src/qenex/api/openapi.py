"""The OpenAPI document: FastAPI's, with the bodies' schemas, problem documents and the credential.

`python -m qenex.api.openapi > spec/openapi.json` writes the copy that clients are generated from.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

from fastapi.openapi.utils import get_openapi
from prometheus_client import CollectorRegistry

from qenex import bootstrap
from qenex.adapters.policy_alarm import PolicyAlarm
from qenex.api import models, problems
from qenex.api.authentication import OPEN
from qenex.api.identity import models as identity
from qenex.assets import Assets
from qenex.errors import EngineUnreachable
from qenex.limits import LocalLimits
from qenex.limits.configured import policy
from qenex.settings import Settings
from qenex.telemetry.tracing import Tracer

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.routing import APIRoute

VERSION: Final = "1"
"""Of the API, as its addresses carry it."""

DESCRIPTION: Final = """\
Every route but health needs the credential: `Authorization: Bearer <credential>`; the owner's is in `owner.token`.

Amounts are strings of digits in major units, never floats. Every error is a problem document (RFC 9457) with a stable
`code`. A write with an `Idempotency-Key` happens once, however often it is sent: the same again gets the original
answer and `Idempotency-Replayed: true`, another with the same key is `idempotency_conflict`. What left no row in the
ledger (a request that was refused) is compared from memory, as long as the HTTP process runs.
"""


def operation_name(route: APIRoute) -> str:
    """Operations are called as their functions are."""
    return route.name


def document(app: FastAPI) -> dict[str, Any]:
    """The document, made once."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    made = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
    schemas = made["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    bodies = models.schemas((*models.BODIES, *identity.BODIES))
    schemas.update({name: schema for name, schema in bodies.items() if name not in schemas})
    made["components"]["securitySchemes"] = {"credential": {"type": "http", "scheme": "bearer"}}
    made["security"] = [{"credential": []}]
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "1 to 255 visible ASCII characters; the same on every retry of one request",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    }
    failed = {
        "description": "A problem document",
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = failed
            if method == "post":
                operation.setdefault("parameters", []).append(key)
            if path in OPEN:
                operation["security"] = []
    app.openapi_schema = made
    return made


def text() -> str:
    """The document of an application that serves nothing, as spec/openapi.json has it."""
    from qenex.api.app import Application  # it imports this module
    from qenex.api.desks import Desk, Desks
    from qenex.api.gateway import Protection

    async def nowhere(*_: object, **__: object) -> NoReturn:
        raise EngineUnreachable

    settings = Settings.load()
    limits = LocalLimits(policy(settings))
    protection = Protection(limits, Tracer(None, 0), limits.policy.header)
    access = bootstrap.access(settings, PolicyAlarm(CollectorRegistry()))
    application = Application(Desks(Desk(nowhere, bytes, bool)), "", Assets(), access, protection)
    return json.dumps(document(application.fastapi), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
