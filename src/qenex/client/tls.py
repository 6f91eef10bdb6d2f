"""TLS to an engine: the server's certificate is always checked, its name too; there is no way to leave that out."""

from __future__ import annotations

import os
import ssl
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from qenex.client.address import Address
from qenex.errors import InvalidFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qenex.client.session import Bytes

SCHEME: Final = "tls://"
"""What an address begins with where TLS is to be spoken."""
PORT: Final = 7443
"""The binary protocol's port by TLS where nothing else is said."""
ALPN: Final = "qenex/2"
"""What the binary protocol is called in a handshake."""
JOINED: Final = 65_536
"""Parts of a frame up to this many bytes are joined: a record of TLS for a few bytes is a waste."""


def context(ca: str | os.PathLike[str] | None, certificate: str | os.PathLike[str] | None) -> ssl.SSLContext:
    """What a client speaks TLS with.

    Args:
        ca: file of the certificates to trust (PEM); else `QENEX_CA`, else those that the system trusts.
        certificate: file of the client's own certificate and its key (PEM); else `QENEX_CERTIFICATE`, else none.

    Raises:
        InvalidFile: a file cannot be used.
    """
    ca = ca or os.environ.get("QENEX_CA") or None
    certificate = certificate or os.environ.get("QENEX_CERTIFICATE") or None
    with _using(ca):
        made = ssl.create_default_context(cafile=ca and Path(ca).expanduser())
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.set_alpn_protocols([ALPN])
    if certificate is not None:
        with _using(certificate):
            # With a password given none is asked for at the terminal.
            made.load_cert_chain(Path(certificate).expanduser(), password="")
    return made


@contextmanager
def _using(path: str | os.PathLike[str] | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidFile(path, f"cannot be used for TLS: {error.strerror or error}") from error


class TlsAddress(Address):
    """Where an engine listens behind TLS."""

    _context: ssl.SSLContext

    def __new__(cls, host: str, port: int, context: ssl.SSLContext) -> TlsAddress:
        """As the tuple, and what TLS is spoken with."""
        made = super().__new__(cls, host, port)
        made._context = context
        return made

    @property
    def context(self) -> ssl.SSLContext:
        """What TLS is spoken with."""
        return self._context

    def connect(self, timeout_s: float) -> TlsSocket:
        """A connected socket whose handshake is done; raises `OSError`."""
        plain = self.reach(timeout_s)
        try:
            return TlsSocket(self._context.wrap_socket(plain, server_hostname=self.host))
        except BaseException:
            plain.close()
            raise

    def __str__(self) -> str:
        return f"{SCHEME}{super().__str__()}"


class TlsSocket:
    """As much of a socket as a connection uses, over TLS; what cannot be done now raises `BlockingIOError` here too."""

    def __init__(self, stream: ssl.SSLSocket) -> None:
        self._stream = stream
        self.sendall = stream.sendall
        self.settimeout = stream.settimeout
        self.fileno = stream.fileno
        self.close = stream.close
        self.pending = stream.pending

    def recv_into(self, buffer: memoryview) -> int:
        """Reads what there is, 0 at the end."""
        try:
            return self._stream.recv_into(buffer)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            raise BlockingIOError from error

    def sendmsg(self, parts: Sequence[Bytes]) -> int:
        """Writes some of the parts. When that cannot be done now the same parts must be given again."""
        size = sum(len(part) for part in parts)
        try:
            return self._stream.send(b"".join(parts) if size <= JOINED else parts[0])
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            raise BlockingIOError from error
