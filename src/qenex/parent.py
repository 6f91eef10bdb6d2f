"""A process that was started by another one ends with it, however that one ends.

`qenex start` keeps the one writing end of a pipe that each of its processes has as its standard input, and writes
nothing to it. When `qenex start` is gone, the system closes that end: the input is over, and so is the work.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from typing import Final

STANDARD_INPUT: Final = 0


def end_with_input() -> None:
    """From now on this process gets a SIGTERM from itself when its standard input ends."""
    threading.Thread(target=_wait, name="end of input", daemon=True).start()


def _wait() -> None:
    with suppress(OSError):  # an input that cannot be read is over too
        while os.read(STANDARD_INPUT, 4_096):
            pass
    signal.raise_signal(signal.SIGTERM)
