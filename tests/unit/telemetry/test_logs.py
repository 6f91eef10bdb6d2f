"""A line of the log: one line, its fields, no secrets, whatever it is made of."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from qenex.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = "qnx_live_" + "Ab3dEf6hIj9kLm2n" * 3
LOG = logging.getLogger("qenex.test")


@pytest.fixture
def written() -> Iterator[Callable[..., io.StringIO]]:
    """Logs of this test into a stream; as before when it is over."""
    root = logging.getLogger()
    handlers, level, hooks = root.handlers[:], root.level, (sys.excepthook, threading.excepthook)

    def configure(log_format: logs.Format = "json", level: logs.Level = "debug") -> io.StringIO:
        stream = io.StringIO()
        logs.configure(log_format, level, stream)
        return stream

    yield configure
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(capture=False)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_what_was_said_and_what_it_is_about(written: Callable[..., io.StringIO]) -> None:
    stream = written()
    with logs.about(request_id="r-1", book="b" * 32, principal="usr_1"):
        LOG.info("answered %d", 3, extra={"event": "request", "route": "/v1/x", "status": 200, "duration_ms": 1.5})
    LOG.info("outside")
    first, second = lines(stream)
    assert first.pop("time").endswith("Z")
    assert list(first) == [
        "level", "event", "logger", "request_id", "book", "principal", "route", "status", "duration_ms", "message",
    ]  # fmt: skip
    assert (first["level"], first["event"], first["status"], first["message"]) == ("info", "request", 200, "answered 3")
    assert "request_id" not in second
    assert second["event"] == "log"


def test_only_the_level_that_is_asked_for(written: Callable[..., io.StringIO]) -> None:
    stream = written(level="warning")
    LOG.info("no")
    LOG.warning("yes")
    assert [line["message"] for line in lines(stream)] == ["yes"]


class _Hostile:
    def __str__(self) -> str:
        return f"\x1b[2J\n{KEY}"

    __repr__ = __str__


WAYS: list[Callable[[], None]] = [
    lambda: LOG.error(KEY),
    lambda: LOG.error("got %s", KEY),
    lambda: LOG.error("got %r", {"authorization": f"Bearer {KEY}"}),
    lambda: LOG.error("x", extra={"event": KEY}),
    lambda: LOG.error("x", extra={KEY: 1}),
    lambda: LOG.error("x", extra={"route": f"/v1/{KEY}"}),
    lambda: LOG.error("x", extra={"headers": [(b"authorization", b"Bearer " + KEY.encode())]}),
    lambda: LOG.error("x", extra={"deep": {"er": [{"still": (KEY,)}]}}),
    lambda: LOG.error("x", extra={"body": KEY.encode()}),
    lambda: LOG.error("x", extra={"body": bytearray(KEY, "ascii")}),
    lambda: LOG.error("x", extra={"thing": _Hostile()}),
    lambda: LOG.error("%s", _Hostile()),
    lambda: LOG.error("x", extra={"password": KEY[:20]}),
    lambda: logging.getLogger(KEY).error("x"),
    lambda: LOG.error("%d", KEY),
    lambda: LOG.error("one %s two %s", KEY),
    lambda: LOG.error("x", stack_info=True, extra={"key": KEY}),
    lambda: warnings.warn(KEY, stacklevel=1),
    lambda: sys.excepthook(ValueError, ValueError(KEY), None),
]


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.filterwarnings("default")
def test_no_way_of_writing_lets_a_credential_out(
    written: Callable[..., io.StringIO], form: str, way: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    stream = written(form)
    way()
    assert stream.getvalue()
    assert "Ab3dEf6hIj9k" not in stream.getvalue()
    # Nor past the log: what logging would print by itself when it fails.
    printed = capsys.readouterr()
    assert "Ab3dEf6hIj9k" not in printed.out + printed.err


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_field_that_is_called_a_secret_shows_nothing(written: Callable[..., io.StringIO], form: str) -> None:
    stream = written(form)
    headers = [(b"cookie", b"hunter2"), (b"accept", b"text/html")]
    LOG.error("x", extra={"password": "hunter2", "deep": {"api_token": ["hunter2"]}, "headers": headers})
    assert "hunter2" not in stream.getvalue()
    assert "text/html" in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_line_that_still_holds_a_credential_is_withheld(
    written: Callable[..., io.StringIO], form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "redact", lambda text: text)  # as if a form of credential had been forgotten there
    stream = written(form)
    LOG.error("got %s", KEY)
    assert "Ab3dEf6hIj9k" not in stream.getvalue()
    assert "withheld" in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_exception_is_told_without_its_secrets(written: Callable[..., io.StringIO], form: str) -> None:
    stream = written(form)

    def fails() -> NoReturn:
        raise ValueError(f"cannot use {KEY}") from KeyError(f"password={KEY[9:]}")

    try:
        fails()
    except ValueError:
        LOG.exception("failed")
    assert "Ab3dEf6hIj9k" not in stream.getvalue()
    assert "ValueError: cannot use qnx_live_[redacted]" in stream.getvalue()


def test_a_thread_that_dies_is_logged(written: Callable[..., io.StringIO]) -> None:
    stream = written()

    def fails() -> NoReturn:
        raise ValueError(KEY)

    thread = threading.Thread(target=fails)
    thread.start()
    thread.join()
    (line,) = lines(stream)
    assert (line["event"], line["level"]) == ("uncaught", "critical")
    assert "Ab3dEf6hIj9k" not in str(line)


@pytest.mark.parametrize("form", ["json", "text"])
def test_nobody_can_write_a_line_of_their_own(written: Callable[..., io.StringIO], form: str) -> None:
    stream = written(form)
    forged = '\n{"level": "info", "event": "payment"}\r\n\x1b[1A\x1b[2K\x85\u2028\u202etxet\x9b31m'
    LOG.error("peer said %s", forged, extra={"event": forged, "route": forged, forged: forged})
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert len(text.splitlines()) == 1
    assert text[:-1].isprintable()


def test_what_json_has_no_form_for_is_told_in_words(written: Callable[..., io.StringIO]) -> None:
    stream = written()
    cycle: list[Any] = []
    cycle.append(cycle)
    extra = {"a": float("nan"), "b": float("inf"), "c": cycle, "d": {1: object}, "e": range(3), "f": "\ud800"}
    LOG.error("x", extra=extra)
    (line,) = lines(stream)
    assert (line["a"], line["b"], line["e"]) == ("nan", "inf", "range(0, 3)")


def test_a_stream_that_is_gone_stops_nobody(written: Callable[..., io.StringIO]) -> None:
    stream = written()
    stream.close()
    LOG.error("x")
