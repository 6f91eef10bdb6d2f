"""Progress: a bar on a terminal, a line every few seconds elsewhere, nothing of what is over at once."""

from __future__ import annotations

import io
import sys

import pytest

from qenex.cli.output import Output
from qenex.progress import LINE_EVERY_S, shown


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_elsewhere_a_line_is_printed_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with shown("replaying the journal", "entries", name="engine", clock=clock) as tell:
        for second in range(int(3 * LINE_EVERY_S)):
            clock.now = float(second)
            tell(1_000 * second, 20_000)
    assert capsys.readouterr().err.splitlines() == [
        "engine: replaying the journal: 25%, 5,000 of 20,000 entries",
        "engine: replaying the journal: 50%, 10,000 of 20,000 entries",
    ]


def test_bytes_are_said_in_megabytes(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with shown("copying", "bytes", name="qenex", clock=clock) as tell:
        clock.now = LINE_EVERY_S
        tell(1_500_000, 6_000_000)
    assert capsys.readouterr().err == "qenex: copying: 25%, 1.5 of 6.0 MB\n"


@pytest.mark.parametrize("seconds", [0.1, 1.0])
def test_a_terminal_has_a_bar_unless_it_is_over_at_once(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, clock = Terminal(), Clock()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    with shown("Copying", "bytes", name="qenex", clock=clock) as tell:
        for step in range(1, 4):
            clock.now = seconds * step / 3
            tell(step * 10, 40)
    assert ("Copying" in terminal.getvalue()) == (seconds > 0.5)
    assert ("75%" in terminal.getvalue()) == (seconds > 0.5)


def test_where_json_was_asked_for_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with Output(as_json=True).progress("Copying", "bytes") as tell:
        tell(1, 2)
    assert capsys.readouterr() == ("", "")
