"""Engines killed and stopped under the load of real clients: what was acknowledged is there, once, and nothing else."""

# ruff: noqa: S311  # nothing here is secret

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.e2e.forked import ForkedEngine, forked_engine
from tests.e2e.load import Load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BETWEEN_MAX = 30
"""Requests acknowledged between two kills at most."""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ForkedEngine]:
    with forked_engine(tmp_path) as engine:
        engine.start()
        yield engine


@pytest.fixture
def load(engine: ForkedEngine) -> Iterator[Load]:
    load = Load(engine)
    yield load
    if engine.process is None:
        engine.start()  # so that clients which have work under way can end
    load.end()


def survive(engine: ForkedEngine, load: Load, kills: int, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(kills):
        load.acknowledged(draw.randint(1, BETWEEN_MAX))
        engine.kill()
        engine.start()
        load.check()


def test_fifty_kills_under_load_lose_nothing_that_was_acknowledged(
    engine: ForkedEngine, load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    survive(engine, load, 50, seed=1)
    assert not caplog.records, "clients go on without a word"


@pytest.mark.soak
def test_a_thousand_kills_under_load_lose_nothing_that_was_acknowledged(engine: ForkedEngine, load: Load) -> None:
    survive(engine, load, 1_000, seed=2)


def test_asked_to_stop_under_load_it_answers_what_it_accepted_and_ends_cleanly(
    engine: ForkedEngine, load: Load
) -> None:
    draw = random.Random(3)
    for _ in range(5):
        load.acknowledged(draw.randint(1, BETWEEN_MAX))
        assert engine.stop() == 0
        assert list(engine.home.glob("books/*/journal/clean")), "the journal has its clean end"
        engine.start()
        load.check()
    assert "cut off" not in engine.log()
