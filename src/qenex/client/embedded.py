"""The engine inside this process: the same ledger, journal and promises as a server's, without one."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from qenex.client.protocol import WINDOW_MAX
from qenex.errors import InvalidHome

if TYPE_CHECKING:
    import os

_SESSIONS_MAX = 65_536
_WINDOW_BYTES = 64 << 20


class EmbeddedEngine:
    """Opens the book in a folder, for this process alone, until it is closed. Makes the folder and a new book.

    Args:
        path: the folder; nothing else may be in it than a book.
        confirm_clock: you say that the wall clock is right, though the book's last entry is over an hour from it.

    Raises:
        BookLocked: another process has it open; the text says which.
        BookDamaged: its files are not as they were written.
        StorageFull, StorageFailed: the disk refused.
        InvalidHome: the path cannot be a folder.
    """

    def __init__(self, path: str | os.PathLike[str], *, confirm_clock: bool = False) -> None:
        from qenex.kernel import _native  # clients of a server work without the native module

        self.path = Path(path).expanduser().absolute()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidHome(f"{self.path}: cannot be the folder of a book: {error.strerror}") from error
        # Nobody else can reach it; the credential only has to be one.
        self.credential = secrets.token_hex(32)
        self._engine = _native.Engine(
            path=str(self.path),
            owner_token=self.credential,
            system_token=None,
            address=None,
            behind_front=None,
            sessions_max=_SESSIONS_MAX,
            connections_max=64,
            window_requests=WINDOW_MAX,
            window_bytes=_WINDOW_BYTES,
            books_open_max=1,
            book_idle_s=0,
            confirm_clock=confirm_clock,
            stop_fd=None,
            progress=None,
        )
        self.notes = tuple(self._engine.notes)
        """What you should know of how the book was found, a line each; usually nothing."""

    def __str__(self) -> str:
        return str(self.path)

    def connect(self, timeout_s: float) -> socket.socket:
        """A new connection to it.

        Raises:
            ClientClosed: it was closed, or runs in the process that this one was forked from.
        """
        connected = socket.socket(fileno=self._engine.connect())
        connected.settimeout(timeout_s)
        return connected

    def close(self) -> None:
        """Ends it cleanly; what was accepted is done. Closing twice is fine.

        Raises:
            StorageFailed: the end could not be written; the next opener finds what is durable.
        """
        self._engine.stop()
        self._engine.wait()
