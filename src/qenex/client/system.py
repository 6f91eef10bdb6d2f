"""The books of an engine: made, listed, suspended, given credentials. It sees into none of them (spec/protocol.md 9).

`SystemClient` blocks, `AsyncSystemClient` awaits; what each does is one call of the protocol, made and read here once.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from struct import Struct
from typing import TYPE_CHECKING, Final, Self

from qenex.client.async_connection import AsyncConnection
from qenex.client.connection import Connection
from qenex.client.credentials import check_ours, find_address, home_folder
from qenex.client.handshake import Keys
from qenex.client.protocol import Operation
from qenex.client.session import Session
from qenex.errors import CredentialExposed, CredentialMissing, InvalidBookName, InvalidHome, UnexpectedReply

if TYPE_CHECKING:
    import os
    from collections.abc import Generator, Iterable
    from typing import TypeVar

    T = TypeVar("T")
    Steps = Generator[tuple[Operation, bytes], bytes, T]

_NAME: Final = "qenex-python system"
_PATIENCE_S: Final = 30.0
_BOOK: Final = Struct("<16sQIHH32s64s")
_GRANT: Final = Struct("<16s8sHHI16s32s32sQQ896s")
_GRANT_NAME: Final = Struct("<16s8s8s")
_BOOKS_FILTER: Final = Struct("<16sI12s")
_GRANTS_FILTER: Final = Struct("<16s8sI4s")
_NAME_BYTES: Final = 64
_PAGE: Final = 1_000

OWNER: Final = b"owner".ljust(16, b"\0")
"""The principal of a book's owner."""


class BookState(IntEnum):
    """What may be done with a book."""

    ACTIVE = 1
    SUSPENDED = 2
    DAMAGED = 3
    """Its file of credentials cannot be read, so that nobody gets in."""


class _BookFlags(IntFlag):
    OPEN = 1
    HOME = 2


class GrantState(IntEnum):
    """Whether a credential opens its book."""

    ACTIVE = 1
    SUSPENDED = 2


class _GrantFlags(IntFlag):
    MAY_WRITE = 1


@dataclass(frozen=True, slots=True)
class Book:
    """A book as it stood when it was asked for."""

    id: bytes
    name: str
    created_ns: int
    """UTC nanoseconds."""
    state: BookState
    is_open: bool
    """Whether its engine runs at the moment."""
    is_home: bool
    """Whether the owner credential of the home opens it."""
    grants: int
    """Its credentials, without that of the home."""

    @classmethod
    def from_row(cls, row: bytes) -> Book:
        """Reads a row of a reply."""
        book, created_ns, grants, state, bits, _, name = _BOOK.unpack(row)
        flags = _BookFlags(bits)
        text = name.rstrip(b"\0").decode(errors="replace")
        is_open, is_home = _BookFlags.OPEN in flags, _BookFlags.HOME in flags
        return cls(book, text, created_ns, BookState(state), is_open, is_home, grants)


@dataclass(frozen=True, slots=True)
class Grant:
    """A credential that opens a book. The secret is not in it, and cannot be found from it."""

    fingerprint: bytes
    principal: bytes = OWNER
    """Whom it stands for, 16 bytes: sessions and the journal carry it."""
    may_write: bool = True
    state: GrantState = GrantState.ACTIVE
    keys: bytes = bytes(64)
    """Stored key and server key; zeros where the engine has told of it."""
    created_ns: int = 0
    """When the engine first had it, UTC nanoseconds."""

    @classmethod
    def of_secret(cls, secret: str, principal: bytes = OWNER, *, may_write: bool = True) -> Grant:
        """What an engine must have to know a secret when it is proven."""
        keys = Keys(secret)
        return cls(keys.fingerprint, principal, may_write=may_write, keys=keys.stored + keys.server)

    def row(self, book: bytes) -> bytes:
        """The row of a request."""
        flags = _GrantFlags.MAY_WRITE if self.may_write else 0
        first, second = self.keys[:32], self.keys[32:]
        return _GRANT.pack(
            book, self.fingerprint, 1, self.state, flags, self.principal, first, second, 0, 0, bytes(896)
        )

    @classmethod
    def from_row(cls, row: bytes) -> Grant:
        """Reads a row of a reply."""
        _, fingerprint, _, state, bits, principal, *_, created_ns, _, _ = _GRANT.unpack(row)
        may_write = _GrantFlags.MAY_WRITE in _GrantFlags(bits)
        return cls(fingerprint, principal, may_write=may_write, state=GrantState(state), created_ns=created_ns)


def find_system_credential(home: str | os.PathLike[str] | None = None) -> str:
    """The system's credential of a home.

    Raises:
        CredentialMissing: there is none.
        CredentialExposed: others on this machine can read it.
        InvalidHome: it cannot be read, or others could have written it.
    """
    path = home_folder(home) / "system.token"
    check_ours(path.parent)
    try:
        mode = path.stat().st_mode & 0o777
        credential = path.read_text(encoding="ascii").strip()
    except FileNotFoundError as error:
        raise CredentialMissing(f"{path}: there is no system credential; `qenex init` makes one.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidHome(f"{path}: cannot be read as the system credential: {error}") from error
    if mode & 0o077:
        raise CredentialExposed(f"{path}: mode {mode:o} lets others read the system credential; `chmod 600` it")
    check_ours(path)
    return credential


def new_book_id() -> bytes:
    """An id that no book has yet: choose it before the first try, and every further one makes the same book."""
    return secrets.token_bytes(16)


def _name(text: str) -> bytes:
    name = text.encode()
    if not 1 <= len(name) <= _NAME_BYTES or any(not char.isprintable() for char in text):
        raise InvalidBookName(text)
    return name.ljust(_NAME_BYTES, b"\0")


def _create_book(book: bytes, name: str, owner: Grant) -> Steps[Book]:
    reply = yield Operation.CREATE_BOOK, book + bytes(48) + _name(name) + owner.row(book)
    return Book.from_row(reply)


def _list_books() -> Steps[list[Book]]:
    books: list[Book] = []
    while True:
        after = books[-1].id if books else bytes(16)
        reply = yield Operation.LIST_BOOKS, _BOOKS_FILTER.pack(after, _PAGE, bytes(12))
        page = [Book.from_row(row) for row in _rows(reply, _BOOK.size)]
        books += page
        if len(page) < _PAGE:
            return books


def _set_state(operation: Operation, book: bytes) -> Steps[Book]:
    return Book.from_row((yield operation, book))


def _put_grants(book: bytes, grants: Iterable[Grant]) -> Steps[Book]:
    return Book.from_row((yield Operation.PUT_GRANTS, b"".join(grant.row(book) for grant in grants)))


def _list_grants(book: bytes) -> Steps[list[Grant]]:
    reply = yield Operation.LIST_GRANTS, _GRANTS_FILTER.pack(book, bytes(8), _PAGE, bytes(4))
    return [Grant.from_row(row) for row in _rows(reply, _GRANT.size)]


def _remove_grants(book: bytes, fingerprints: Iterable[bytes]) -> Steps[Book]:
    rows = b"".join(_GRANT_NAME.pack(book, fingerprint, bytes(8)) for fingerprint in fingerprints)
    return Book.from_row((yield Operation.REMOVE_GRANTS, rows))


def _rows(body: bytes, size: int) -> list[bytes]:
    if len(body) % size:
        raise UnexpectedReply(f"{len(body)} bytes came, rows have {size}.")
    return [body[at : at + size] for at in range(0, len(body), size)]


def _session(credential: str | None, home: str | os.PathLike[str] | None, patience_s: float) -> Session:
    secret = credential or find_system_credential(home)
    return Session(secret, _NAME, read_only=True, patience_s=patience_s)


class SystemClient:
    """Makes books and says who gets into them, over a blocking connection.

    Every call can be made again: what is so already is left so. What was answered is durable.

    Args:
        address: as of `QenexClient`.
        credential: the system's; else that of the home.
        home: folder of the instance.
        patience_s: how long a call may go without an answer, retries included.

    Raises:
        EngineUnreachable: nothing answers there.
        CredentialMissing, CredentialExposed: the home has no system credential, or others can read it.
        EngineError: the engine refuses the connection.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        credential: str | None = None,
        home: str | os.PathLike[str] | None = None,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._connection = Connection(find_address(address, home), _session(credential, home, patience_s))

    def create_book(self, name: str, owner: Grant, *, book: bytes | None = None) -> Book:
        """Make a book that this credential opens; `book` is its id, else a new one.

        Raises:
            BookConflict: the id is another book's, or the credential opens something else.
            InvalidBookName: the name is none.
        """
        return self._run(_create_book(book or new_book_id(), name, owner))

    def list_books(self) -> list[Book]:
        """All books, by id."""
        return self._run(_list_books())

    def suspend_book(self, book: bytes) -> Book:
        """Let nobody into a book; who is in is out at once. Raises `BookUnknown`."""
        return self._run(_set_state(Operation.SUSPEND_BOOK, book))

    def resume_book(self, book: bytes) -> Book:
        """Let those with a credential into a book again. Raises `BookUnknown`."""
        return self._run(_set_state(Operation.RESUME_BOOK, book))

    def put_grants(self, book: bytes, grants: Iterable[Grant]) -> Book:
        """Add credentials to a book, or replace those of the same fingerprint: all of them, or none.

        Raises:
            BookUnknown: there is no such book.
            BookConflict: a credential opens something else already.
        """
        return self._run(_put_grants(book, grants))

    def list_grants(self, book: bytes) -> list[Grant]:
        """The credentials of a book, without their keys. Raises `BookUnknown`."""
        return self._run(_list_grants(book))

    def remove_grants(self, book: bytes, fingerprints: Iterable[bytes]) -> Book:
        """Take credentials away; who came with one is out at once. Raises `BookUnknown`."""
        return self._run(_remove_grants(book, fingerprints))

    def close(self) -> None:
        """End the connection; closing twice is fine."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, steps: Steps[T]) -> T:
        try:
            operation, rows = next(steps)
            while True:
                operation, rows = steps.send(bytes(self._connection.call(operation, rows).body))
        except StopIteration as done:
            value: T = done.value
            return value


class AsyncSystemClient:
    """As `SystemClient`, within one event loop; it connects when it is entered, or by `open`."""

    def __init__(
        self,
        address: str | None = None,
        *,
        credential: str | None = None,
        home: str | os.PathLike[str] | None = None,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._connection = AsyncConnection(find_address(address, home), _session(credential, home, patience_s))

    async def open(self) -> Self:
        """Connect."""
        await self._connection.open()
        return self

    async def create_book(self, name: str, owner: Grant, *, book: bytes | None = None) -> Book:
        """As `SystemClient.create_book`."""
        return await self._run(_create_book(book or new_book_id(), name, owner))

    async def list_books(self) -> list[Book]:
        """As `SystemClient.list_books`."""
        return await self._run(_list_books())

    async def suspend_book(self, book: bytes) -> Book:
        """As `SystemClient.suspend_book`."""
        return await self._run(_set_state(Operation.SUSPEND_BOOK, book))

    async def resume_book(self, book: bytes) -> Book:
        """As `SystemClient.resume_book`."""
        return await self._run(_set_state(Operation.RESUME_BOOK, book))

    async def put_grants(self, book: bytes, grants: Iterable[Grant]) -> Book:
        """As `SystemClient.put_grants`."""
        return await self._run(_put_grants(book, grants))

    async def list_grants(self, book: bytes) -> list[Grant]:
        """As `SystemClient.list_grants`."""
        return await self._run(_list_grants(book))

    async def remove_grants(self, book: bytes, fingerprints: Iterable[bytes]) -> Book:
        """As `SystemClient.remove_grants`."""
        return await self._run(_remove_grants(book, fingerprints))

    async def close(self) -> None:
        """End the connection; closing twice is fine."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _run(self, steps: Steps[T]) -> T:
        try:
            operation, rows = next(steps)
            while True:
                reply = await self._connection.call(operation, rows)
                operation, rows = steps.send(bytes(reply.body))
        except StopIteration as done:
            value: T = done.value
            return value
