"""TLS before HTTP and the binary protocol as a process: `python -m qenex.front`.

The work is the native module's; Python only reads settings, publishes the addresses and forwards the signal to stop.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from qenex import bootstrap, parent
from qenex.client.credentials import Address, check_ours
from qenex.errors import InvalidSettings, QenexError
from qenex.exits import ExitCode, exit_code
from qenex.kernel import _native
from qenex.settings import from_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qenex.settings import Settings

SPARE_CONNECTIONS: Final = 256
"""Connections beyond those of the servers behind, which know who may stay when there are too many."""
HTTP: Final = "http/1.1"
"""What an HTTP client may name (ALPN); there is no HTTP/2 here."""
BINARY: Final = "qenex/2"
"""What a client of the binary protocol may name."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM or SIGINT; then connections end once they are over or quiet.

    Returns:
        An `ExitCode`; what went wrong is printed to the error stream.
    """
    arguments = from_arguments("python -m qenex.front", "TLS before the QENEX servers.", argv)
    try:
        _serve(bootstrap.initialise(arguments.settings).settings, until_input_ends=arguments.until_input_ends)
    except QenexError as error:
        sys.stderr.write(f"front: {error}\n")
        return exit_code(error)
    return ExitCode.OK


def _serve(settings: Settings, *, until_input_ends: bool) -> None:
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None or key is None:
        raise InvalidSettings(["tls_certificate and tls_key are not set; without them there is nothing to serve"])
    bootstrap.allow_many_files()
    for path in (certificate, key):
        check_ours(path)
    # As in the engine: a signal writes to the pipe in C, a handler in Python would wait for ever.
    stop_read, stop_write = os.pipe()
    os.set_blocking(stop_write, False)
    signal.set_wakeup_fd(stop_write)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    # Who renews a certificate says so by this signal; the files are looked at every second anyway.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if until_input_ends:
        parent.end_with_input()
    front = _native.Front(
        doors=[
            (settings.host, settings.https_port, settings.http_socket, [HTTP]),
            (settings.host, settings.binary_tls_port, settings.engine_socket, [BINARY]),
        ],
        certificate=certificate,
        key=key,
        client_ca=settings.tls_client_ca,
        client_crl=settings.tls_client_crl,
        client_required=settings.tls_client_required,
        connections_max=settings.connections_max + SPARE_CONNECTIONS,
        stop_fd=stop_read,
        tell=_tell,
    )
    https, binary = (str(Address(host, port)) for host, port in front.addresses)
    bootstrap.write_run_file(settings.front_file, {"pid": os.getpid(), "https": https, "binary": binary})
    try:
        front.wait()
    finally:
        settings.front_file.unlink(missing_ok=True)


def _tell(line: str) -> None:
    sys.stderr.write(f"front: {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
