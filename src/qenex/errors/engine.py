"""What the engine, the way to it, or its files answer instead of a result (spec/protocol.md section 5)."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from qenex.errors.base import QenexError

BY_NUMBER: Final[dict[int, type[EngineError]]] = {}
"""The errors of an error frame, by their number."""


class EngineError(QenexError, http_status=503, iso_reason="FF10"):
    """The engine refused a whole request; nothing of it has happened, except where the class says otherwise."""

    number: ClassVar[int] = 0
    """Its number in an error frame; 0 for what never crosses the wire."""
    retry_after_us: int = 0
    """When to try again, where the engine has said so."""

    def __init_subclass__(cls, *, number: int = 0, **rest: Any) -> None:  # noqa: ANN401  # whatever the parent takes
        """Takes the number of an error frame from the header of a class."""
        super().__init_subclass__(**rest)
        cls.number = number
        if number:
            BY_NUMBER[number] = cls

    def __init__(self, detail: str = "", *, retry_after_us: int = 0) -> None:
        super().__init__(f"{self.text} {detail}".rstrip())
        self.detail, self.retry_after_us = detail, retry_after_us

    @classmethod
    def from_frame(cls, text: str, *, retry_after_us: int) -> EngineError:
        """The error of an error frame."""
        return cls(text, retry_after_us=retry_after_us)


class MalformedFrame(EngineError, code="malformed_frame", number=1, http_status=502):
    """A frame had a wrong checksum, magic or reserved field, or lengths that do not fit."""


class UnsupportedVersion(EngineError, code="unsupported_version", number=2, http_status=502):
    """Client and engine have no version of the protocol in common."""


class Unauthenticated(EngineError, code="unauthenticated", number=3, http_status=401, iso_reason="AG08"):
    """The credential is absent or unknown."""


class Forbidden(EngineError, code="forbidden", number=4, http_status=403, iso_reason="AG08"):
    """The credential may not do this, or the session may only read."""


class WrongBook(EngineError, code="wrong_book", number=5, http_status=403, iso_reason="AG08"):
    """The book is not the credential's."""


class UnknownOperation(EngineError, code="unknown_operation", number=6, http_status=502):
    """The engine knows no operation of this number."""


class InvalidSize(EngineError, code="invalid_size", number=7, http_status=400, iso_reason="FF01"):
    """The body is not a whole number of rows, or has none."""


class BatchTooLarge(EngineError, code="batch_too_large", number=8, http_status=413, iso_reason="FF01"):
    """More rows were given or asked for than one request or reply holds."""


class Busy(EngineError, code="busy", number=9):
    """The engine has more work than it takes on; try again after `retry_after_us`."""


class SessionExpired(EngineError, code="session_expired", number=10):
    """The engine does not know the session any more; what became of its writes is found by their ids."""


class RequestTooOld(EngineError, code="request_too_old", number=11, http_status=409):
    """The request's number lies more than 64 behind the session's highest."""


class RequestMismatch(EngineError, code="request_mismatch", number=12, http_status=409):
    """The request's number was used for another body."""


class DeadlineExceeded(EngineError, code="deadline_exceeded", number=13, http_status=504, iso_reason="AB03"):
    """The request was not begun in the time that it allowed."""


class StorageFull(EngineError, code="storage_full", number=14, http_status=507):
    """The engine's disk is full: writes are refused until space returns, reads go on."""


class ShuttingDown(EngineError, code="shutting_down", number=15):
    """The engine is stopping."""


class ReservedId(EngineError, code="reserved_id", number=16, http_status=422):
    """An id has the high half that is the engine's own."""


class ReservedCode(EngineError, code="reserved_code", number=26, http_status=422):
    """A transfer code is one of those that are the engine's own."""


class ClockAhead(EngineError, code="clock_ahead", number=17, http_status=422, iso_reason="DT04"):
    """The client has seen a time more than a second ahead of the engine's."""


class ClockUnconfirmed(EngineError, code="clock_unconfirmed", number=18):
    """The engine's clock jumped by more than an hour; writes wait until an operator confirms it."""


class FrameTooLarge(EngineError, code="frame_too_large", number=19, http_status=413, iso_reason="FF01"):
    """A frame was longer than the limit."""


class NotLeader(EngineError, code="not_leader", number=20):
    """This engine is a standby and takes no writes."""


class Moved(EngineError, code="moved", number=21):
    """The accounts are kept by another journal of the book."""


class Stale(EngineError, code="stale", number=22):
    """The engine has not yet applied the position that the request asks for."""


class UnknownOutcome(EngineError, code="unknown_outcome", number=23, http_status=504, iso_reason="AB03"):
    """Nobody can tell yet whether the request happened; asking again with the same ids never does it twice."""


class OperationFailed(EngineError, code="failed", number=24, http_status=500):
    """The operation could not be carried out."""


class BookSuspended(EngineError, code="book_suspended", number=27, http_status=403, iso_reason="AG08"):
    """The book is suspended: nobody gets in until it is resumed."""


class BookUnknown(EngineError, code="book_unknown", number=28, http_status=404):
    """There is no book of this id."""


class BookConflict(EngineError, code="book_conflict", number=29, http_status=409):
    """The id is another book's, or the credential opens something else already."""


class ConnectionFailed(EngineError):
    """There is no connection to the engine."""


class EngineUnreachable(ConnectionFailed, code="engine_unreachable"):
    """Nothing answers at the engine's address."""


class ConnectionLost(ConnectionFailed, code="connection_lost", http_status=504):
    """The connection ended, and could not be made again, before an answer came; writes may have happened."""


class UnexpectedReply(EngineError, code="unexpected_reply", http_status=502):
    """What answered does not speak the engine's protocol."""


class ClientClosed(EngineError, code="client_closed", http_status=500):
    """The client was closed before."""


class StorageError(EngineError, http_status=500):
    """The files of a book cannot be used as they are."""

    def __init__(self, path: object, complaint: str) -> None:
        super().__init__(f"{path}: {complaint}")
        self.path, self.complaint = str(path), complaint

    @classmethod
    def from_frame(cls, text: str, *, retry_after_us: int) -> EngineError:
        """The text has the path, then the complaint."""
        path, _, complaint = text.partition(": ")
        return cls(path, complaint)


class BookLocked(StorageError, code="book_locked", http_status=503):
    """Another process has the book open."""


class BookDamaged(StorageError, code="book_damaged"):
    """A file of the book is damaged, or was made by a newer release."""


class StorageFailed(StorageError, code="storage_failed", http_status=503):
    """The disk refused what the engine needs; it stopped at once, and the next start finds what is durable."""


class BackupUnusable(StorageError, code="backup_unusable", number=25):
    """A folder is no backup, or not a whole one, or no place for one: it must be new or empty."""


class BookMissing(StorageError, code="book_missing"):
    """There is no book where one is looked for."""


class BookExists(StorageError, code="book_exists"):
    """There is a book where a new one should be made."""
