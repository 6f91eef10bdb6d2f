"""Where the engine is and what lets us in: `QENEX_HOME`, as `qenex init` and the running engine leave it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from qenex.client import tls
from qenex.client.address import HOST, PORT
from qenex.client.address import Address as Address
from qenex.errors import CredentialExposed, CredentialMissing, InvalidHome, InvalidSettings


def home_folder(home: str | os.PathLike[str] | None = None) -> Path:
    """The folder of the instance: the one given, else `QENEX_HOME`, else `~/.qenex`."""
    return Path(home or os.environ.get("QENEX_HOME") or "~/.qenex").expanduser()


def check_ours(path: Path) -> None:
    """Makes sure that nobody else can have put there what is there; what is not there is passed over.

    Ours or root's it must be. To root anybody's will do, for it goes where it is sent: in a container the home is
    often a folder of a user of the machine.

    Raises:
        InvalidHome: it belongs to another user, or others may write to it.
    """
    try:
        status = path.stat()
    except OSError:
        return  # whoever reads it says what is wrong
    us = os.geteuid()
    if us != 0 and status.st_uid not in (us, 0):
        raise InvalidHome(f"{path}: belongs to user {status.st_uid}, and is no home for user {us}, who uses it")
    if status.st_mode & 0o022:
        right = "700" if stat.S_ISDIR(status.st_mode) else "600"
        mode = stat.S_IMODE(status.st_mode)
        raise InvalidHome(f"{path}: mode {mode:o} lets other users write to it; `chmod {right}` it")


def find_address(
    address: str | None = None,
    home: str | os.PathLike[str] | None = None,
    *,
    ca: str | os.PathLike[str] | None = None,
    certificate: str | os.PathLike[str] | None = None,
) -> Address:
    """Where the engine is: as given, else `QENEX_ADDRESS`, else as the running engine of the home left it, else 7400.

    Args:
        address: `host`, `host:port` or `[IPv6 host]:port`, with `tls://` before it for TLS.
        home: folder of the instance.
        ca: for TLS, as in `tls.context`; so is `certificate`.
        certificate: the client's own.

    Raises:
        InvalidSettings: the address is none.
        InvalidFile: a certificate cannot be used.
        InvalidHome: the file that the engine left is damaged, or others could have written it.
    """
    given, said = address, "address"
    if given is None:
        given, said = os.environ.get("QENEX_ADDRESS") or None, "variable QENEX_ADDRESS"
    if given is not None and given.startswith(tls.SCHEME):
        host, port = _parse(given.removeprefix(tls.SCHEME), said, tls.PORT)
        return tls.TlsAddress(host, port, tls.context(ca, certificate))
    if given is not None:
        return _parse(given, said)
    path = home_folder(home) / "run" / "engine.json"
    for place in (path.parent.parent, path.parent, path):
        check_ours(place)
    try:
        return _parse(json.loads(path.read_text(encoding="utf-8"))["binary"], str(path))
    except FileNotFoundError:
        return Address(HOST, PORT)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidHome(f"{path}: cannot be read as the engine's address: {error!r}") from error


def find_credential(home: str | os.PathLike[str] | None = None) -> str:
    """The owner credential of the home; `QENEX_CREDENTIAL`, where it is set, is used instead.

    Raises:
        CredentialMissing: there is none.
        CredentialExposed: others on this machine can read it.
        InvalidHome: it cannot be read, is not one line of text, or others could have written it.
    """
    if given := os.environ.get("QENEX_CREDENTIAL"):
        return given
    path = home_folder(home) / "owner.token"
    check_ours(path.parent)
    try:
        mode = path.stat().st_mode & 0o777
        credential = path.read_text(encoding="ascii").strip()
    except FileNotFoundError as error:
        raise CredentialMissing(
            f"{path}: there is no owner credential. If QENEX was started with another home, name it with --home or"
            " QENEX_HOME; `qenex init` makes a new home."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidHome(f"{path}: cannot be read as the owner credential: {error}") from error
    if mode & 0o077:
        raise CredentialExposed(f"{path}: mode {mode:o} lets others read the owner credential; `chmod 600` it")
    check_ours(path)
    if not credential or len(credential.split()) != 1:
        raise InvalidHome(f"{path}: an owner credential is one line of text")
    return credential


def unknown_there(where: object, home: str | os.PathLike[str] | None = None) -> str:
    """What to say when the engine does not know the credential that was found: it is likely another instance's."""
    found = "variable QENEX_CREDENTIAL" if os.environ.get("QENEX_CREDENTIAL") else home_folder(home) / "owner.token"
    return f"The engine at {where} does not know that of {found}: it serves another home, or this one's was replaced."


def _parse(text: str, place: str, usual_port: int = PORT) -> Address:
    """An address from text; a port that is missing is the usual one."""
    bracketed = text.startswith("[")
    host, separator, port = text.removeprefix("[").partition("]" if bracketed else ":")
    port = port.removeprefix(":") if bracketed else port
    valid_port = port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535
    if not host or (port and not valid_port) or (separator and not bracketed and not port):
        raise InvalidSettings(
            [f"{place}: {text!r} is no address; host:port is wanted, for example {HOST}:{usual_port}"]
        )
    return Address(host, int(port) if port else usual_port)
