"""Problem details (RFC 9457): how every error of the tree looks over HTTP."""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

from qenex.errors import DependencyUnavailable, EngineError, QenexError, RateLimited

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 1
"""When to try again after an answer 429, 503 or 507 that does not say so itself."""

_JSON_INTEGER_MAX: Final = 2**53 - 1


def problem(error: QenexError, *, instance: str | None = None) -> dict[str, Any]:
    """The members of a problem document.

    `code` is the stable name; what explains the error stands under its own names.
    """
    values = {name: _plain(name, value) for name, value in error.values.items() if _says_something(name, value)}
    document: dict[str, Any] = {
        "type": f"urn:qenex:error:{error.code}",
        "title": error.text,
        "status": error.http_status,
        "detail": str(error) or error.text,
        "code": error.code,
        "iso_reason": error.iso_reason,
    }
    if instance is not None:
        document["instance"] = f"urn:uuid:{instance}"
    for name, value in values.items():
        document.setdefault(name, value)
    return document


def encode(error: QenexError, *, instance: str | None = None) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body of the answer that reports an error."""
    body = msgspec.json.encode(problem(error, instance=instance))
    headers = [
        (b"content-type", MEDIA_TYPE.encode("ascii")),
        (b"content-length", str(len(body)).encode("ascii")),
        (b"cache-control", b"no-store"),
    ]
    if error.http_status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="qenex"'))
    if error.http_status in (429, 503, 507):
        headers.append((b"retry-after", str(_retry_after_s(error)).encode("ascii")))
    if error.http_status == 405:
        headers.append((b"allow", ", ".join(error.values["allow"]).encode("ascii")))
    return error.http_status, headers, body


def at(error: QenexError, pointer: str) -> QenexError:
    """The same error, saying at which place of the body it was found."""
    vars(error).setdefault("pointer", pointer)
    return error


def _retry_after_s(error: QenexError) -> int:
    if isinstance(error, RateLimited | DependencyUnavailable):
        return error.retry_after_s
    if isinstance(error, EngineError) and error.retry_after_us:
        return max(1, math.ceil(error.retry_after_us / 1_000_000))
    return RETRY_AFTER_S


def _says_something(name: str, value: object) -> bool:
    # An empty pointer names the whole body; other empty values say nothing.
    return value is not None and (value != "" or name == "pointer")


def _plain(name: str, value: object) -> object:
    """A value as JSON takes it: amounts, ids and times as strings, as everywhere in the API."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return str(value) if name.endswith(_AS_STRINGS) or abs(value) > _JSON_INTEGER_MAX else value
    if isinstance(value, list | tuple):
        return [_plain(name, item) for item in value]
    return value if isinstance(value, str | dict) else str(value)


_AS_STRINGS: Final = ("_minor", "_id", "_ns")
