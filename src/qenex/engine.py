"""The ledger engine as a process: `python -m core.financial_engine`, or `python -m qenex.engine` anywhere.

The work is the native module's; Python only reads settings, publishes the address and forwards the signal to stop.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from qenex import bootstrap, parent, progress
from qenex.errors import QenexError, StorageFailed
from qenex.exits import ExitCode, exit_code
from qenex.kernel import _native
from qenex.settings import from_arguments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from qenex.progress import Tell
    from qenex.settings import Settings


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM or SIGINT, then stops cleanly: accepted requests are answered, the journal is ended.

    Returns:
        An `ExitCode`; what went wrong is printed to the error stream.
    """
    arguments = from_arguments("python -m core.financial_engine", "The QENEX ledger engine.", argv)
    try:
        _serve(bootstrap.initialise(arguments.settings).settings, until_input_ends=arguments.until_input_ends)
    except _AskedToStop:
        pass  # it had not begun: the book is as it was
    except QenexError as error:
        sys.stderr.write(f"engine: {error}\n")
        return exit_code(error)
    return ExitCode.OK


class _AskedToStop(Exception):
    """A signal came while the journal was being replayed."""


def _serve(settings: Settings, *, until_input_ends: bool) -> None:
    address = (settings.binary_host, settings.binary_port)
    bootstrap.allow_many_files()
    # A signal writes to the pipe at once, in C; a handler in Python would wait for the engine, which holds no lock
    # of the interpreter but never returns to it either.
    stop_read, stop_write = os.pipe()
    os.set_blocking(stop_write, False)
    signal.set_wakeup_fd(stop_write)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    if until_input_ends:
        parent.end_with_input()
    # Whoever started it as a part of something shows this; started alone, it does so itself.
    showing: AbstractContextManager[Tell | None] = nullcontext()
    if not until_input_ends:
        showing = progress.shown("replaying the journal", "entries", name="engine")
    with showing as show, _replaying(settings, stop_read, show) as tell:
        engine = _native.Engine(
            path=str(settings.books_folder),
            owner_token=bootstrap.owner_token(settings),
            system_token=bootstrap.system_token(settings),
            address=address,
            behind_front=str(settings.engine_socket) if settings.tls_certificate else None,
            sessions_max=settings.sessions_max,
            connections_max=settings.connections_max,
            window_requests=settings.window_requests,
            window_bytes=settings.window_bytes,
            books_open_max=settings.books_open_max,
            book_idle_s=settings.book_idle_s,
            confirm_clock=False,
            stop_fd=stop_read,
            progress=tell,
        )
    for note in engine.notes:
        sys.stderr.write(f"engine: {note}\n")
    served = ":".join(map(str, engine.address or ()))
    bootstrap.write_run_file(settings.engine_file, {"pid": os.getpid(), "binary": served, "book": engine.home})
    try:
        engine.wait()
    finally:
        settings.engine_file.unlink(missing_ok=True)


@contextmanager
def _replaying(settings: Settings, stop: int, show: Tell | None) -> Iterator[Tell]:
    """Publishes how far the replay of the journal is, and ends it once `stop` is readable."""

    def tell(done: int, total: int) -> None:
        if select.select([stop], [], [], 0)[0]:
            raise _AskedToStop
        with suppress(StorageFailed):  # it is for show: a full disk is no reason not to start
            bootstrap.write_run_file(settings.replay_file, {"pid": os.getpid(), "done": done, "total": total})
        if show is not None:
            show(done, total)

    try:
        yield tell
    finally:
        settings.replay_file.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
