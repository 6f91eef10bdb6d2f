"""spec/limits.md states the limits that the code has, as far as Python can see them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qenex import front
from qenex.api import combiner, exchange, listings, preface, protocol, strict_json, transactions
from qenex.client import protocol as binary
from qenex.errors import BY_CODE
from qenex.kernel import BATCH_MAX, CHANGE_EVENTS_MAX
from qenex.limits.local import ENTRIES_MAX
from qenex.limits.rules import BULK_ROWS
from qenex.settings import Settings
from qenex.telemetry import exporter, redaction

ROWS = {
    row[0]: row[1:]
    for line in (Path(__file__).parents[2] / "spec/limits.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and len(row := [cell.strip() for cell in line.strip("|").split("|")]) == 4
}
DEFAULTS = {name: field.default for name, field in Settings.model_fields.items()}
MIB, KIB = 1 << 20, 1 << 10


@pytest.mark.parametrize(
    ("limit", "value", "in_code"),
    [
        ("frame", "1 MiB + 4 KiB", binary.FRAME_MAX == MIB + 4 * KIB),
        ("rows of a request", "8,189", BATCH_MAX == 8_189),
        ("rows of a reply", "8,189; 2,730 change events", CHANGE_EVENTS_MAX == 2_730),
        ("context of a request", "256 bytes", binary.CONTEXT_MAX == 256),
        ("`linger_us` of a request", "1,000", binary.LINGER_MAX_US == 1_000),
        ("unanswered requests of a session", "64", DEFAULTS["window_requests"] == binary.WINDOW_MAX == 64),
        ("unanswered bytes of a session", "16 MiB", DEFAULTS["window_bytes"] == 16 * MIB),
        ("connections with a credential, of one book", "1,024", DEFAULTS["connections_max"] == 1_024),
        (
            "books open at a time",
            "64, and a 32nd of the files that the process may open",
            DEFAULTS["books_open_max"] == 64,
        ),
        (
            "time without a connection after which a book is closed",
            "60 s; never the home's own",
            DEFAULTS["book_idle_s"] == 60,
        ),
        ("sessions", "65,536", DEFAULTS["sessions_max"] == 65_536),
        ("connections of a port by TLS", "1,280", DEFAULTS["connections_max"] + front.SPARE_CONNECTIONS == 1_280),
        ("certificate of a client by TLS", "16 KiB", preface.CERTIFICATE_MAX == 16 * KIB),
        ("HTTP connections", "1,024", protocol.Protocol.connections_max == 1_024),
        ("time for an HTTP request to arrive", "10 s", protocol.ARRIVAL_S == 10),
        (
            "time for an HTTP answer to be taken, its making included",
            "60 s; 5 s once the connection ends",
            (protocol.ANSWER_S, protocol.CLOSING_S) == (60, 5),
        ),
        ("transfers over HTTP that wait for the engine", "131,024", combiner.ROWS_WAITING_MAX == 131_024),
        (
            "values in a JSON body, about",
            "64; 131,024 for `POST /api/v1/transactions`",
            (exchange.BODY_VALUES_MAX, transactions.BATCH_VALUES_MAX) == (64, 131_024),
        ),
        (
            "JSON body over HTTP",
            "16 KiB; 4 MiB for `POST /api/v1/transactions`",
            (exchange.BODY_BYTES_MAX, transactions.BATCH_BYTES_MAX) == (16 * KIB, 4 * MIB),
        ),
        ("HTTP requests of a connection that wait for answers before them", "64", protocol.PIPELINED_MAX == 64),
        ("rows of a page over HTTP", "1,000", listings.LIMIT_MAX == 1_000),
        ("`Idempotency-Key`", "255 visible ASCII characters", exchange.KEY_LENGTH_MAX == 255),
        ("nesting of JSON", "32", strict_json.NESTING_MAX == 32),
        (
            "HTTP requests of a credential",
            "10,000 a second, 20,000 at once",
            (DEFAULTS["limit_credential_rate"], DEFAULTS["limit_credential_burst"]) == (10_000, 20_000),
        ),
        (
            "HTTP requests of a principal",
            "10,000 a second, 20,000 at once",
            (DEFAULTS["limit_principal_rate"], DEFAULTS["limit_principal_burst"]) == (10_000, 20_000),
        ),
        (
            "HTTP requests of a book",
            "40,000 a second, 80,000 at once",
            (DEFAULTS["limit_book_rate"], DEFAULTS["limit_book_burst"]) == (40_000, 80_000),
        ),
        (
            "HTTP requests of a peer address (IPv6: of a /64)",
            "20,000 a second, 40,000 at once",
            (DEFAULTS["limit_address_rate"], DEFAULTS["limit_address_burst"]) == (20_000, 40_000),
        ),
        (
            "failed authentications of a peer address",
            "1 a second, 60 at once",
            (DEFAULTS["limit_failures_rate"], DEFAULTS["limit_failures_burst"]) == (1, 60),
        ),
        ("cost of a bulk beyond 1", "1 for each 100 rows", BULK_ROWS == 100),
        ("callers that each of these limits remembers", "65,536", DEFAULTS["limit_entries"] == ENTRIES_MAX == 65_536),
        ("spans that wait for the collector of traces", "8,192", exporter.WAITING_MAX == 8_192),
        ("characters of a text in the log", "16,384", redaction.TEXT_MAX == 16_384),
        ("head of an HTTP request, and what follows a chunked body", "32 KiB", protocol.HEAD_BYTES_MAX == 32 * KIB),
    ],
)
def test_a_limit_is_what_the_page_says(limit: str, value: str, *, in_code: bool) -> None:
    assert ROWS[limit][0] == value
    assert in_code


def test_every_error_that_the_page_names_is_one() -> None:
    named = {code for row in ROWS.values() for code in re.findall(r"`([a-z_]+)`", row[2])}
    assert len(named) > 15
    assert named <= set(BY_CODE) | {"window_requests"}
