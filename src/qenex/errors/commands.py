"""What only the command line can get wrong."""

from __future__ import annotations

from signal import Signals
from typing import TYPE_CHECKING

from qenex.errors.base import QenexError

if TYPE_CHECKING:
    from collections.abc import Sequence


class CommandError(QenexError):
    """A command could not do what it was asked for."""


class CheckFailed(CommandError, code="check_failed", http_status=500):
    """A check came out wrong: what is in the ledger is not what should be there."""

    def __init__(self, complaint: str) -> None:
        super().__init__(complaint)
        self.complaint = complaint


class AddressInUse(CommandError, code="address_in_use", http_status=500):
    """Another program listens on the address that a server should serve."""

    def __init__(self, host: str, port: int, flag: str, *, ours: int | None = None) -> None:
        """`ours` is the process of the same home that listens there."""
        if ours is None:
            who = f"another program; {flag} chooses another, 0 any free one"
        else:
            who = f"process {ours} of this home: QENEX runs already; `qenex status` asks it how it is"
        super().__init__(f"{host} port {port} is in use by {who}")
        self.host, self.port, self.flag = host, port, flag


class AddressInvalid(CommandError, code="address_invalid", http_status=500):
    """This machine has no such address to listen on."""

    def __init__(self, host: str, complaint: str) -> None:
        super().__init__(f"cannot listen on {host}: {complaint}; --host chooses another address")
        self.host, self.complaint = host, complaint


class PlaintextExposed(CommandError, code="plaintext_exposed", http_status=500):
    """Other machines would reach QENEX without TLS."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"other machines would reach {host} without TLS. Set tls_certificate and tls_key (`qenex tls self-signed`"
            " makes a pair for trying it), or trusted_proxy if a proxy ends TLS for QENEX, or leave host at 127.0.0.1"
        )
        self.host = host


class ProcessDied(CommandError, code="process_died", http_status=500):
    """A process that `qenex start` runs has ended by itself."""

    def __init__(self, name: str, exit_code: int, last_lines: Sequence[str]) -> None:
        ended_with = f"code {exit_code}" if exit_code >= 0 else f"signal {Signals(-exit_code).name}"
        said = "; its last words:\n  " + "\n  ".join(last_lines) if last_lines else "; it said nothing"
        super().__init__(f"the {name} process has ended with {ended_with}{said}")
        self.process, self.exit_code, self.last_lines = name, exit_code, tuple(last_lines)


class StartTimeout(CommandError, code="start_timeout", http_status=500):
    """A process did not answer in the time that it was given to start."""

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(f"the {name} process did not answer within {seconds:g} s of its start")
        self.process, self.seconds = name, seconds
