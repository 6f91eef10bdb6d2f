"""What only a request over HTTP can get wrong: its body, its parameters, the exchange itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qenex.eip55 import address_text
from qenex.errors.base import QenexError
from qenex.errors.inputs import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence


class InvalidBody(InvalidInput):
    """The body cannot be used."""

    def __init__(self, pointer: str, complaint: str) -> None:
        super().__init__(f"{pointer or 'the body'}: {complaint}")
        self.pointer, self.complaint = pointer, complaint


class InvalidJson(InvalidBody):
    """The body is not JSON as it is taken here."""


class MalformedJson(InvalidJson, code="malformed_json"):
    """The body is not JSON."""


class DuplicateKey(InvalidJson, code="duplicate_key"):
    """A key stands twice in one object."""


class NumberNotExact(InvalidJson, code="number_not_exact"):
    """A number has an exponent, or is none."""


class InvalidUnicode(InvalidJson, code="invalid_unicode"):
    """The body is not UTF-8, or has half of a surrogate pair."""


class NestingTooDeep(InvalidJson, code="nesting_too_deep"):
    """Arrays and objects stand too deep in one another."""


class TooManyValues(InvalidJson, code="too_many_values", http_status=413):
    """The body has more values than the route has a use for."""


class InvalidField(InvalidBody, code="invalid_field", http_status=422):
    """A field of the body has a value that it cannot have."""


class MissingField(InvalidBody, code="missing_field", http_status=422):
    """A field that is needed is not in the body."""


class UnknownField(InvalidBody, code="unknown_field", http_status=422):
    """The body has a field that there is not."""


class InvalidParameter(InvalidInput, code="invalid_parameter", http_status=422):
    """A parameter of the address or a header has a value that it cannot have."""

    def __init__(self, parameter: str, complaint: str) -> None:
        super().__init__(f"{parameter}: {complaint}")
        self.parameter, self.complaint = parameter, complaint


class InvalidCursor(InvalidParameter, code="invalid_cursor"):
    """The cursor is not one that this list gave for this question."""


class InvalidIdempotencyKey(InvalidParameter, code="invalid_idempotency_key", http_status=400):
    """The idempotency key is not 1 to 255 visible ASCII characters, or stands beside an id."""


class HistoryNotKept(QenexError, code="history_not_kept", http_status=409):
    """The account keeps no list of its balances: it was created without `history`."""

    def __init__(self, account_id: int) -> None:
        self.account_id, self.address = account_id, address_text(account_id)
        super().__init__(f"{self.text} (account {self.address}; its balance at any time can be asked for with at=)")


class BatchRefused(QenexError, code="batch_refused", http_status=422):
    """A row of an atomic batch was refused, so that none of its rows happened."""

    def __init__(self, errors: Sequence[object]) -> None:
        super().__init__(f"{self.text} ({len(errors)} named)")
        self.errors = tuple(errors)


class MalformedDocument(InvalidInput, code="malformed_document"):
    """The GraphQL document cannot be read."""


class InvalidDocument(InvalidInput, code="invalid_document", http_status=422):
    """The GraphQL document, or a variable, does not fit the schema."""


class DocumentTooComplex(InvalidInput, code="document_too_complex", http_status=422):
    """The GraphQL document asks for more than is answered at once."""

    def __init__(self, what: str, most: int, found: int | None = None) -> None:
        super().__init__(f"{self.text} ({what}: {'more' if found is None else found}, {most} at most)")
        self.what, self.most, self.found = what, most, found


class ExchangeError(QenexError):
    """The HTTP exchange itself went wrong."""


class MalformedRequest(ExchangeError, code="malformed_request", http_status=400):
    """What was sent is not HTTP/1.1."""


class RouteNotFound(ExchangeError, code="route_not_found", http_status=404):
    """There is nothing at this address."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{self.text} ({path[:200]}; /docs lists what there is)")


class MethodNotAllowed(ExchangeError, code="method_not_allowed", http_status=405):
    """The address does not take this method."""

    def __init__(self, method: str, allow: Sequence[str]) -> None:
        super().__init__(f"{self.text} ({method[:20]}; it takes {', '.join(allow)})")
        self.allow = tuple(allow)


class BodyTimeout(ExchangeError, code="body_timeout", http_status=408):
    """The request did not arrive in time."""


class BodyTooLarge(ExchangeError, code="body_too_large", http_status=413):
    """The body is larger than the route takes."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__(f"{self.text} ({bytes_max} bytes)")
        self.bytes_max = bytes_max


class UnsupportedMediaType(ExchangeError, code="unsupported_media_type", http_status=415):
    """A body is application/json in UTF-8, uncompressed."""


class HeadersTooLarge(ExchangeError, code="headers_too_large", http_status=431):
    """The request's address and headers together are larger than is taken."""


class TooManyConnections(ExchangeError, code="too_many_connections", http_status=503):
    """There are as many connections as are taken at a time."""


class VersionEnded(ExchangeError, code="version_ended", http_status=410):
    """This version of the API has come to its end."""

    def __init__(self, version: str, successor: str | None) -> None:
        super().__init__(f"{self.text} ({version}{f'; {successor} takes its place' if successor else ''})")
        self.version, self.successor = version, successor


class OriginRefused(ExchangeError, code="origin_refused", http_status=403, iso_reason="AG08"):
    """A page of another site may not open the stream."""

    def __init__(self, origin: str) -> None:
        super().__init__(f"{self.text} ({origin[:100]})")


class InternalError(QenexError, code="internal_error", http_status=500):
    """QENEX failed in a way that it does not know; its log has the request's id. A write may have happened."""
