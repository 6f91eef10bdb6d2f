"""Policies as files: what is shipped with QENEX, and `books/ID/policies` of the home, which adds to it."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

from qenex.errors import InvalidPolicies
from qenex.services.access.messages import Complaint, PolicyFile, PolicySource

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable
    from pathlib import Path

SCHEMA: Final = "schema.cedarschema"
BANDS: Final = "bands.toml"
FOLDER: Final = "policies"
"""Of a book's folder."""
FILE_BYTES_MAX: Final = 1_048_576


class PolicyFolders:
    """Reads the policies of the books of one home."""

    def __init__(self, books_folder: Path) -> None:
        self._books = books_folder

    def read(self, book: bytes) -> PolicySource:
        """What is shipped and what the book adds: its policies and their tests; its bands take the place of ours.

        Raises:
            InvalidPolicies: a file cannot be read, or is none of these.
        """
        shipped = files("qenex") / FOLDER
        ours = sorted(shipped.iterdir(), key=lambda entry: entry.name)
        folder = self._books / book.hex() / FOLDER
        try:
            theirs = sorted(folder.iterdir()) if folder.is_dir() else []
        except OSError as error:
            raise InvalidPolicies([Complaint(str(folder), 1, f"cannot be read: {error.strerror}")]) from error
        for path in theirs:
            if not path.name.endswith((".cedar", ".test.toml")) and path.name != BANDS:
                complaint = f"is none of *.cedar, *.test.toml and {BANDS}"
                raise InvalidPolicies([Complaint(str(path), 1, complaint)])
        entries = [
            *((f"qenex/{FOLDER}/{entry.name}", entry) for entry in ours),
            *((str(path), path) for path in theirs),
        ]
        bands = [path for path in theirs if path.name == BANDS]
        added = {str(path) for path in theirs}
        policies = tuple(_read(name, entry) for name, entry in entries if name.endswith(".cedar"))
        tests = tuple(_read(name, entry) for name, entry in entries if name.endswith(".test.toml"))
        return PolicySource(
            schema=_read(f"qenex/{FOLDER}/{SCHEMA}", shipped / SCHEMA),
            policies=policies,
            tests=tuple(file for file in tests if not added or file.name in added),
            bands=_read(str(bands[0]), bands[0]) if bands else _read(f"qenex/{FOLDER}/{BANDS}", shipped / BANDS),
            tested=frozenset(file.name for file in policies if not added or file.name in added),
        )


def _read(name: str, entry: Traversable | Path) -> PolicyFile:
    try:
        with entry.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        if len(data) > FILE_BYTES_MAX:
            raise InvalidPolicies([Complaint(name, 1, f"is longer than {FILE_BYTES_MAX} bytes")])
        return PolicyFile(name, data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidPolicies([Complaint(name, line, "is not UTF-8")]) from error
    except OSError as error:
        raise InvalidPolicies([Complaint(name, 1, f"cannot be read: {error.strerror}")]) from error
