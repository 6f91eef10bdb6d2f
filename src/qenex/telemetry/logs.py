"""Logs: one line an event, as JSON or as text, without secrets.

A caller says what happened with the `logging` module: `LOG.warning("...", extra={"event": "...", "book": ...})`. What
it has not said of the request at hand is taken from the context (`about`). Whatever a line holds has gone through
`redaction`; the line as a whole is looked at once more before it goes out.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

from qenex.telemetry.redaction import REDACTED, holds_secret, is_secret_name, redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

Format = Literal["json", "text"]
Level = Literal["debug", "info", "warning", "error"]

FIELDS: Final = ("request_id", "trace_id", "book", "principal", "route", "method", "status", "duration_ms", "peer")
"""What a line says of a request, in this order; other fields of a record follow by name."""
DEPTH_MAX: Final = 6
"""Nesting of a field that is kept."""
ITEMS_MAX: Final = 64
"""Members of one list or object of a field that are kept."""

_CONTEXT: Final[ContextVar[Mapping[str, object]]] = ContextVar("qenex_log_context")
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "event"}
_WITHHELD: Final = "a line was withheld: it looked like a credential"


@contextmanager
def about(**fields: object) -> Iterator[None]:
    """Every line that is written inside says these, too."""
    token = _CONTEXT.set({**_CONTEXT.get({}), **fields})
    try:
        yield
    finally:
        _CONTEXT.reset(token)


def configure(log_format: Format, level: Level, stream: TextIO | None = None) -> None:
    """Sends everything that this process logs to a stream, and nothing anywhere else.

    What would be written past the logs (exceptions that nobody caught, warnings of Python, failures of logging itself)
    is logged as well.

    Args:
        log_format: `json` or `text`.
        level: the least that is logged.
        stream: the error stream, unless another is named.
    """
    handler = SafeHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


class SafeHandler(logging.StreamHandler[TextIO]):
    """Writes lines; where that fails it says so, without the arguments that `logging` itself would print."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # as logging calls it
        """Says which line could not be written, if even that is possible."""
        kind = sys.exc_info()[0]
        name = kind.__name__ if kind else "unknown"
        line = json.dumps({"level": "error", "event": "log_failed", "logger": redact(record.name), "error": name})
        try:
            self.stream.write(line + self.terminator)
        except (OSError, ValueError):
            return  # a stream that is closed or full: there is nowhere left to say it


class _Formatter(logging.Formatter):
    """What both forms share: the fields of a line."""

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """Time, level, event, what is said of the request, other fields, the message and the exception, redacted."""
        told: dict[str, object] = {**_CONTEXT.get({})} | {
            key: value for key, value in vars(record).items() if key not in _STANDARD
        }
        ordered = [name for name in FIELDS if name in told] + sorted(name for name in told if name not in FIELDS)
        fields: dict[str, Any] = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
            "event": redact(str(vars(record).get("event", "log"))),
            "logger": redact(record.name),
        }
        for name in ordered:
            if told[name] is not None:
                fields[redact(name)] = REDACTED if is_secret_name(name) else _plain(told[name], 0)
        fields["message"] = redact(record.getMessage())
        if record.exc_info:
            fields["exception"] = redact(self.formatException(record.exc_info))
        if record.stack_info:
            fields["stack"] = redact(record.stack_info)
        return fields


class JsonFormatter(_Formatter):
    """One JSON object a line, ASCII only."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields = self.fields(record)
        line = json.dumps(fields, allow_nan=False, default=str)
        if holds_secret(line):
            kept = {name: fields[name] for name in ("time", "level")}
            return json.dumps(kept | {"event": "withheld", "message": _WITHHELD})
        return line


class TextFormatter(_Formatter):
    """One line for people: time, level, event, message, then the fields as `name=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; an exception follows it, each of its lines indented."""
        fields = self.fields(record)
        head = [fields.pop(name) for name in ("time", "level", "event", "message")]
        blocks = [str(fields.pop(name)) for name in ("exception", "stack") if name in fields]
        rest = [
            f"{name}={value if _is_word(value) else json.dumps(value, default=str)}" for name, value in fields.items()
        ]
        line = " ".join([head[0], head[1].upper().ljust(7), _visible(head[2]), _visible(head[3]), *map(_visible, rest)])
        lines = [line, *(f"    {_visible(part)}" for block in blocks for part in block.split("\n"))]
        if any(map(holds_secret, [*lines, "".join(lines)])):
            return f"{head[0]} {head[1].upper()} withheld {_WITHHELD}"
        return "\n".join(lines)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _plain(value: object, depth: int) -> Any:  # noqa: ANN401  # JSON
    """A value as JSON takes it, redacted."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return redact(bytes(value).decode("latin-1"))
    if depth >= DEPTH_MAX:
        return "..."
    if isinstance(value, dict):
        return {
            redact(str(key)): REDACTED if is_secret_name(str(key)) else _plain(item, depth + 1)
            for key, item in list(value.items())[:ITEMS_MAX]
        }
    if isinstance(value, list | tuple | set | frozenset):
        items = list(value)[:ITEMS_MAX]
        # A header is a pair whose first half names the second: (b"authorization", b"...").
        if len(items) == 2 and isinstance(items[0], str | bytes) and is_secret_name(_name(items[0])):
            return [_plain(items[0], depth + 1), REDACTED]
        return [_plain(item, depth + 1) for item in items]
    return redact(str(value))


def _name(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _is_word(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable() and not set(value) & set(' "=')


def _visible(text: str) -> str:
    """The text on one line: what is not printed, and could move a terminal's cursor or begin a line, is escaped."""
    return text if text.isprintable() else "".join(one if one.isprintable() else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("qenex").critical(
        "an exception that nobody caught", exc_info=(kind, error, traceback), extra={"event": "uncaught"}
    )


def _uncaught_in_thread(caught: threading.ExceptHookArgs) -> None:
    if caught.exc_value is not None:
        _uncaught(caught.exc_type, caught.exc_value, caught.exc_traceback)
