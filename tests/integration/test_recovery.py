"""What a start tells while it replays the journal; ended meanwhile, it leaves the book as if it had not begun."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from qenex import QenexClient
from qenex.exits import ExitCode
from qenex.kernel import _native
from tests.conftest import new_engine, published, run_python

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ACCOUNTS = 20
ASKED_AT_ONCE = """
import signal, sys
from qenex.engine import main
from qenex.kernel import _native

def engine(start=_native.Engine, **arguments):
    signal.raise_signal(signal.SIGTERM)
    return start(**arguments)

_native.Engine = engine
sys.exit(main(sys.argv[1:]))
"""
"""An engine that is asked to stop right before it opens its book."""


def start(path: Path, tell: Callable[[int, int], None]) -> _native.Engine:
    fixed: dict[str, Any] = {
        "system_token": None,
        "address": None,
        "behind_front": None,
        "confirm_clock": True,
        "stop_fd": None,
    }
    limits = {"sessions_max": 64, "connections_max": 8, "window_requests": 8, "window_bytes": 1 << 21}
    limits |= {"books_open_max": 1, "book_idle_s": 0}
    return _native.Engine(path=str(path), owner_token="x" * 32, progress=tell, **fixed, **limits)


def fill(path: Path) -> int:
    """Makes a book with something to replay; its epoch."""
    with QenexClient.embedded(path) as client:
        for _ in range(ACCOUNTS):
            client.create_account("EUR")
        return client.status().epoch


def epoch(path: Path) -> int:
    with QenexClient.embedded(path) as client:
        assert client.status().accounts == ACCOUNTS
        return client.status().epoch


def test_a_start_tells_how_many_entries_are_replayed_and_of_how_many(tmp_path: Path) -> None:
    fill(tmp_path)
    told: list[tuple[int, int]] = []
    engine = start(tmp_path, lambda done, total: told.append((done, total)))
    engine.stop()
    engine.wait()
    assert told
    assert all(0 < done <= total for done, total in told)
    ((_, total),) = {(0, total) for _, total in told}
    assert total > ACCOUNTS


def test_what_it_raises_ends_the_start_and_nothing_has_begun(tmp_path: Path) -> None:
    before = fill(tmp_path)

    def enough(_done: int, _total: int) -> None:
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        start(tmp_path, enough)
    assert epoch(tmp_path) == before + 1


def test_an_engine_that_is_asked_to_stop_while_it_replays_ends_with_zero(tmp_path: Path) -> None:
    engine = new_engine(tmp_path / "home")
    with QenexClient.embedded(tmp_path / "book") as client:
        book = engine.settings.books_folder / client.status().book_id
    (tmp_path / "book").rename(book)
    before = fill(book)
    done = run_python("-c", ASKED_AT_ONCE, *engine.settings.arguments())
    assert (done.returncode, done.stdout, done.stderr) == (ExitCode.OK, "", "")
    assert published(engine.settings.run_folder) == []
    assert epoch(book) == before + 1
