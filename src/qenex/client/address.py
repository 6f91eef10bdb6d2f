"""Where an engine listens, and how it is connected to."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import ssl

    from qenex.client.tls import TlsSocket

    Stream: TypeAlias = socket.socket | TlsSocket

PORT: Final = 7400
"""The binary protocol's port where nothing else is said."""
HOST: Final = "127.0.0.1"
"""The engine's host where nothing else is said."""


class Address(NamedTuple):
    """Where an engine listens."""

    host: str
    port: int

    @property
    def context(self) -> ssl.SSLContext | None:
        """What TLS is spoken with; None where it is not."""
        return None

    def connect(self, timeout_s: float) -> Stream:
        """A connected socket; raises `OSError`."""
        return self.reach(timeout_s)

    def reach(self, timeout_s: float) -> socket.socket:
        """A connected socket over which nothing has been said; raises `OSError`."""
        connected = socket.create_connection((self.host, self.port), timeout_s)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
