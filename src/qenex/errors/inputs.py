"""What a caller gave that cannot be used; nothing was sent, nothing has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qenex.errors.base import QenexError

if TYPE_CHECKING:
    from collections.abc import Sequence


class InvalidInput(QenexError, http_status=400, iso_reason="FF01"):
    """A value that was given cannot be used."""


class InvalidAmount(InvalidInput, code="invalid_amount", http_status=422, iso_reason="AM12"):
    """The amount is not a number, or one that no amount can be."""

    def __init__(self, amount: object, complaint: str) -> None:
        super().__init__(f"amount {amount!r} cannot be used: {complaint}")
        self.amount, self.complaint = str(amount), complaint


class AmountTooPrecise(InvalidAmount, code="amount_too_precise", iso_reason="CH20"):
    """The amount has more digits after the point than its asset."""

    def __init__(self, amount: object, scale: int) -> None:
        super().__init__(amount, f"it has more than the {scale} digits after the point that the asset has")
        self.scale = scale


class AmountOutOfRange(InvalidAmount, code="amount_out_of_range", iso_reason="AM02"):
    """The amount lies below zero or above 2^128-1 minor units."""

    def __init__(self, amount: object, scale: int) -> None:
        super().__init__(amount, f"it lies outside 0 to 2^128-1 minor units (10^-{scale})")
        self.scale = scale


class InvalidAddress(InvalidInput, code="invalid_address", http_status=422, iso_reason="AC01"):
    """The address is not one of an account of this ledger."""

    def __init__(self, address: object, complaint: str) -> None:
        super().__init__(f"address {address!r} cannot be used: {complaint}")
        self.address, self.complaint = str(address), complaint


class InvalidId(InvalidInput, code="invalid_id", http_status=422):
    """The id is not a number from 1 to 2^128-2, nor a hash of 32 bytes where one may stand."""

    def __init__(self, given: object, complaint: str) -> None:
        super().__init__(f"id {given!r} cannot be used: {complaint}")
        self.id, self.complaint = str(given), complaint


class UnknownAsset(InvalidInput, code="unknown_asset", http_status=422, iso_reason="AM11"):
    """No asset has this code or number."""

    def __init__(self, asset: object, hint: str = "") -> None:
        super().__init__(f"no asset has the code or number {asset!r}{hint and f'; {hint}'}")
        self.asset = str(asset)


class InvalidAsset(InvalidInput, code="invalid_asset", http_status=422, iso_reason="AM11"):
    """The asset cannot be registered as it was described."""

    def __init__(self, asset: object, complaint: str) -> None:
        super().__init__(f"asset {asset!r} cannot be registered: {complaint}")
        self.asset, self.complaint = str(asset), complaint


class InvalidRows(InvalidInput, code="invalid_rows"):
    """The rows have not the columns, the type or the layout that the operation takes."""

    def __init__(self, complaint: str) -> None:
        super().__init__(complaint)
        self.complaint = complaint


class InvalidTimestamp(InvalidInput, code="invalid_timestamp", http_status=422, iso_reason="DT01"):
    """The timestamp is not later than all before it, or lies outside 1 to 2^63-1."""

    def __init__(self, complaint: str) -> None:
        super().__init__(complaint)
        self.complaint = complaint


class InvalidQuery(InvalidInput, code="invalid_query", http_status=422):
    """The filter of a query cannot match anything, or asks for more than a reply holds."""

    def __init__(self, complaint: str) -> None:
        super().__init__(complaint)
        self.complaint = complaint


class IdempotencyConflict(InvalidInput, code="idempotency_conflict", http_status=422, iso_reason="DU03"):
    """The idempotency key was used before, for something else."""

    def __init__(self, key: str, complaint: str) -> None:
        super().__init__(f"idempotency key {key!r} was used for another request: {complaint}")
        self.key, self.complaint = key, complaint


class InvalidFile(InvalidInput, code="invalid_file", http_status=422):
    """A file is not what it should be."""

    def __init__(self, path: object, complaint: str) -> None:
        super().__init__(f"{path}: {complaint}")
        self.path, self.complaint = str(path), complaint


class InvalidBookName(InvalidInput, code="invalid_book_name", http_status=422):
    """A book's name is 1 to 64 bytes of printable text."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{self.text} {name!r} is none.")
        self.name = name


class InvalidSettings(InvalidInput, code="invalid_settings", http_status=500):
    """A flag, a variable or the settings file holds a value that cannot be used.

    The message has one line for each wrong value: where it came from, what it is, what would be right.
    """

    def __init__(self, complaints: Sequence[str]) -> None:
        super().__init__("\n".join(complaints))
        self.complaints = tuple(complaints)


class InvalidHome(InvalidInput, code="invalid_home", http_status=500):
    """The home cannot be used as it is: a file is missing, or not what it should be."""

    def __init__(self, complaint: str) -> None:
        super().__init__(complaint)
        self.complaint = complaint


class CredentialMissing(InvalidHome, code="credential_missing", http_status=401, iso_reason="AG08"):
    """There is no credential where one is looked for."""


class CredentialExposed(InvalidHome, code="credential_exposed", http_status=500, iso_reason="AG08"):
    """Others on this machine can read the credential, which is refused for that reason."""
