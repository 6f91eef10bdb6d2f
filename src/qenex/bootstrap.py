"""The only wiring: makes a home, finds its credential, book and running engine."""

from __future__ import annotations

import errno
import json
import os
import resource
import secrets
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from qenex.client.credentials import check_ours
from qenex.errors import BookMissing, CredentialExposed, CredentialMissing, InvalidHome, StorageFailed
from qenex.limits import LocalLimits
from qenex.limits.configured import policy
from qenex.settings import Settings, template
from qenex.telemetry.tracing import Tracer

if TYPE_CHECKING:
    from pathlib import Path

    from qenex.adapters.database import Records
    from qenex.adapters.redis import RedisLimits
    from qenex.services.access import Access
    from qenex.services.access.ports import Alarm
    from qenex.services.identity.ports import Powers
    from qenex.services.identity.service import Identities
    from qenex.telemetry.exporter import Exporter

TOKEN_PREFIX = "qnx_owner_"  # noqa: S105  # says what the credential is, is no credential
"""Owner credentials begin with it, so that scanners for leaked secrets can know one when they see it."""

SYSTEM_PREFIX = "qnx_system_"
"""As `TOKEN_PREFIX`, of the credential that makes books."""

TOKEN_BYTES = 32
"""Random bytes of a credential: 256 bits."""

RECORDS_KEY_BYTES = 32
"""Random bytes of the key of the records."""

_GRANTS_FLAGS = 22
"""Where the flags stand in a file of grants."""

SPARE_BYTES = 4_096
"""Space that is kept for each run file; they take a few hundred bytes."""


@dataclass(frozen=True, slots=True)
class Initialised:
    """What `initialise` found or made."""

    settings: Settings
    created: tuple[Path, ...]
    """Files and folders that were not there before; empty when the home was complete."""


def initialise(
    home: str | os.PathLike[str] | Settings | None = None, *, replace_lost_credential: bool = False
) -> Initialised:
    """Makes a home: folders (mode 700), settings, the owner's and the system's credential, the records' key (mode 600).

    What is there is left as it is, so that this can run at every start. Beside a book a credential is made only where
    that is asked for: the one that was lost may be in other hands, and a start should not replace it in silence. Beside
    records no key is made: another one opens nothing.

    Args:
        home: folder of the instance, default as in `Settings`; or settings already read.
        replace_lost_credential: makes a credential beside a book too.

    Raises:
        InvalidSettings: the settings of the home are wrong.
        InvalidHome: something else stands where a folder or a file should be, or others may write to it.
        CredentialMissing: there is a book, and no credential, or there are records, and no key.
    """
    settings = home if isinstance(home, Settings) else Settings.load({"home": home})
    folders = (settings.home, settings.books_folder, settings.run_folder, settings.keys_folder)
    created = [folder for folder in folders if _folder(folder)]
    for path in (*folders, settings.file):
        check_ours(path)
    for path in (settings.engine_file, settings.http_file, settings.front_file):
        _keep_space(path)
    if _file(settings.file, template()):
        created.append(settings.file)
    if not settings.owner_token_file.exists() and not replace_lost_credential:
        book = next(settings.books_folder.iterdir(), None)
        if book is not None:
            raise CredentialMissing(
                f"{settings.owner_token_file}: the owner credential of the book {book.name} is gone. Put it back from a"
                " copy, or let `qenex init --replace-lost-credential` make another one"
            )
    for path, prefix in ((settings.owner_token_file, TOKEN_PREFIX), (settings.system_token_file, SYSTEM_PREFIX)):
        if _file(path, f"{new_credential(prefix)}\n"):
            created.append(path)
    owner_token(settings)
    system_token(settings)
    if not settings.records_key_file.exists() and settings.records_file.exists():
        raise CredentialMissing(
            f"{settings.records_key_file}: the key of {settings.records_file.name} is gone; put it back from a copy"
        )
    if _file(settings.records_key_file, f"{secrets.token_hex(RECORDS_KEY_BYTES)}\n"):
        created.append(settings.records_key_file)
    return Initialised(settings, tuple(created))


def new_credential(prefix: str = TOKEN_PREFIX) -> str:
    """A credential that nobody has yet."""
    return f"{prefix}{secrets.token_hex(TOKEN_BYTES)}"


def owner_token(settings: Settings) -> str:
    """The owner credential of the home.

    Raises:
        CredentialMissing, CredentialExposed: there is none, or others can read it.
        InvalidHome: it is damaged.
    """
    return _token(settings.owner_token_file, TOKEN_PREFIX, "owner credential")


def owner_book(settings: Settings) -> bytes:
    """The id of the home's own book, which the owner credential opens, 16 bytes; its `grants` say so (spec/grants.md).

    Raises:
        BookMissing: there is none yet; the first start makes it.
    """
    for grants in sorted(settings.books_folder.glob("?" * 32 + "/grants")):
        if _is_own(grants.read_bytes()):
            return bytes.fromhex(grants.parent.name)
    raise BookMissing(settings.books_folder, "the home has no book of its own yet; `qenex start` makes it")


def _is_own(grants: bytes) -> bool:
    return bool(int.from_bytes(grants[_GRANTS_FLAGS : _GRANTS_FLAGS + 2], "little") & 1)


def system_token(settings: Settings) -> str:
    """The credential that makes books. Raises as `owner_token`."""
    return _token(settings.system_token_file, SYSTEM_PREFIX, "system credential")


def _token(path: Path, prefix: str, what: str) -> str:
    try:
        mode = path.stat().st_mode & 0o777
        token = path.read_text(encoding="ascii").strip()
    except FileNotFoundError as error:
        raise CredentialMissing(f"{path}: there is no {what}; `qenex init` makes one") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidHome(f"{path}: cannot be read as the {what}: {error}") from error
    if mode & 0o077:
        raise CredentialExposed(f"{path}: mode {mode:o} lets others read the {what}; `chmod 600` it")
    check_ours(path)
    digits = token.removeprefix(prefix)
    if not token.startswith(prefix) or len(digits) != 2 * TOKEN_BYTES or set(digits) - set("0123456789abcdef"):
        raise InvalidHome(f"{path}: the {what} is {prefix} and {2 * TOKEN_BYTES} hexadecimal digits")
    return token


def identities(records: Records, powers: Powers) -> Identities:
    """The principals of all books, kept in the records; `records.feed` is to be started, and `write_used` called."""
    # Imported here, for most commands need no records and a database takes a while to load.
    from qenex.adapters.database.identities import IdentityRecords
    from qenex.services.identity.service import Identities

    return Identities(IdentityRecords(records), records.feed, powers, partial(records.vault.digest, purpose="api key"))


def access(settings: Settings, alarm: Alarm) -> Access:
    """Who may do what in the books of a home, by the policies that are shipped and those of each book."""
    # Cedar is loaded where somebody asks, not by every command.
    from qenex.adapters.cedar import Cedar
    from qenex.adapters.policy_files import PolicyFolders
    from qenex.services.access import Access

    return Access(PolicyFolders(settings.books_folder), Cedar(), alarm)


def private(path: str, flags: int) -> int:
    """Opens a file that only we can read, as an `opener`."""
    return os.open(path, flags, 0o600)


def allow_many_files() -> None:
    """Lets this process open as many files as the system allows it: each connection is one, and so are those of a book.

    Where the usual limit of 1,024 was used up by connections, the journal's next file could not be made, which ends an
    engine.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def write_run_file(path: Path, content: dict[str, object]) -> None:
    """Publishes addresses and process id of a server, whole or not at all.

    On a full disk, where a book can still be read, it uses up the space that `initialise` has kept.

    Raises:
        StorageFailed: the disk refused.
    """
    text = (json.dumps(content, indent=2) + "\n").encode()
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            temporary.write_bytes(text)
        except OSError as error:
            spare = _spare(path)
            if error.errno != errno.ENOSPC or not spare.exists():
                raise
            spare.replace(temporary)
            with temporary.open("r+b") as file:
                file.write(text.ljust(SPARE_BYTES))
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageFailed(path, f"cannot be written: {error.strerror}") from error


def _spare(path: Path) -> Path:
    return path.with_name(f".spare-{path.name}")


def _keep_space(path: Path) -> None:
    """Takes the space that a run file needs, for when there is none; without any it is kept another time."""
    spare = _spare(path)
    if not spare.exists():
        with suppress(OSError):
            spare.write_bytes(b" " * SPARE_BYTES)


def _folder(path: Path) -> bool:
    """Makes a folder that only the owner can enter; says whether it was missing."""
    try:
        path.mkdir(mode=0o700, parents=True)
    except FileExistsError as error:
        if not path.is_dir():
            raise InvalidHome(f"{path}: is a file, a folder is needed") from error
        return False
    except NotADirectoryError as error:
        raise InvalidHome(f"{path}: one of the folders above it is a file") from error
    except OSError as error:
        raise InvalidHome(f"{path}: cannot be made: {error.strerror}") from error
    return True


def _file(path: Path, content: str) -> bool:
    """Makes a file (mode 600), durably, unless there is one; says whether it was missing.

    Written aside and linked into place, so that two who start at once see one whole file, never half of one.
    """
    if path.exists():
        return False
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    finally:
        temporary.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True


def limits(settings: Settings) -> LocalLimits | RedisLimits:
    """The limits of this process, or, where a Redis is named, those that it shares with the other nodes."""
    whole = policy(settings)
    if not settings.redis_url:
        return LocalLimits(whole, settings.limit_entries)
    # Loaded where it is wanted: it would be half the time that a command takes to start.
    from qenex.adapters.redis import RedisLimits

    return RedisLimits(settings.redis_url, whole, settings.nodes, settings.limit_entries)


def tracer(settings: Settings, service: str) -> tuple[Tracer, Exporter | None]:
    """Begins traces; and sends them, where a collector is named, until the exporter is closed.

    Args:
        settings: of the instance.
        service: how this process calls itself, such as `qenex-http`.
    """
    if not settings.otlp_endpoint:
        return Tracer(None, 0), None
    from qenex.telemetry.exporter import Exporter

    resource = {"service.name": service, "service.instance.id": secrets.token_hex(8)}
    exporter = Exporter(settings.otlp_endpoint, resource)
    return Tracer(exporter, settings.trace_sample), exporter
