"""What the records (SQLite or PostgreSQL) answer instead of a result, and what they hold against a wish."""

from __future__ import annotations

from qenex.errors.base import QenexError


class RecordsError(QenexError, http_status=503, iso_reason="FF10"):
    """The records could not do it; nothing of it has happened, except where the class says otherwise."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(f"{self.text} {detail}".rstrip())
        self.detail = detail


class RecordsUnavailable(RecordsError, code="records_unavailable"):
    """The database of the records cannot be reached, is locked, or is full; try again."""


class RecordsNewer(RecordsError, code="records_newer", http_status=500):
    """The records were made by a newer release."""


class RecordsDamaged(RecordsError, code="records_damaged", http_status=500):
    """The records are damaged, or were changed by somebody else."""


class RecordsKeyWrong(RecordsError, code="records_key_wrong", http_status=500):
    """The records were written under another key than that of the home."""
