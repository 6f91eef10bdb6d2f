"""A book with everything in it, where its files have what, and every kind of question that is answered from them."""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from qenex.client.protocol import Operation
from qenex.kernel import (
    ACCOUNT_FILTER,
    BALANCE_AT,
    CHANGE_EVENTS_FILTER,
    ID,
    QUERY_FILTER,
    TRANSFER,
    U128_MAX,
    AccountFlags,
    TransferFlags,
    from_ints,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from qenex import QenexClient

ACCOUNTS: Final = 40
HELD: Final = 60
SEGMENT_ENTRIES: Final = 1 << 17
"""Entries that close a segment; reached with single transfers it stays small."""
FIRST: Final = 1_000
EUR: Final = 978
MANIFEST: Final = 4_096


class Place(NamedTuple):
    """A piece of a file."""

    name: str
    offset: int
    length: int


def fill(client: QenexClient) -> None:
    """Transfers of every kind: whatever a segment has a section for is in it, and it is closed in the end."""
    for account in range(1, ACCOUNTS + 1):
        kind = AccountFlags.HISTORY if account == 1 else AccountFlags.NONE
        client.create_account("EUR", account_id=account, flags=kind)
    holds = _rows(0, HELD)
    holds["flags"] = int(TransferFlags.PENDING)
    holds["timeout"][: HELD // 3] = 1
    client.create_transfers(holds)
    ends = np.zeros(HELD // 3, TRANSFER)
    ends["id"] = from_ints(np.arange(FIRST + HELD, FIRST + HELD + len(ends)))
    ends["pending_id"], ends["amount"] = holds["id"][-len(ends) :], from_ints([U128_MAX])
    ends["flags"] = int(TransferFlags.POST_PENDING_TRANSFER)
    client.create_transfers(ends)
    odd = _rows(HELD + len(ends), 20)
    odd["amount"]["hi"][3] = 1  # beyond 64 bits
    odd["debit_account_id"]["lo"][5] = 99_999  # not there: its id is burned
    client.create_transfers(odd)
    while client.status().pending > HELD - 2 * (HELD // 3):
        pass  # some expire a second after they were made
    many = _rows(200, SEGMENT_ENTRIES)
    singles = [many[at : at + 1] for at in range(len(many))]
    client._pipeline(Operation.CREATE_TRANSFERS, singles, 0, None)


def _rows(start: int, count: int) -> NDArray[np.void]:
    draw = np.random.default_rng(start)
    rows = np.zeros(count, TRANSFER)
    rows["id"] = from_ints(np.arange(FIRST + start, FIRST + start + count))
    rows["debit_account_id"] = from_ints(draw.integers(1, ACCOUNTS // 2, count))
    rows["credit_account_id"] = from_ints(draw.integers(ACCOUNTS // 2, ACCOUNTS + 1, count))
    rows["amount"] = from_ints(draw.integers(1, 1_000, count))
    rows["user_data_128"] = from_ints(draw.integers(1, 200, count))
    rows["user_data_64"] = draw.integers(1, 200, count)
    rows["user_data_32"] = draw.integers(1, 200, count)
    rows["ledger"], rows["code"] = EUR, draw.integers(1, 4, count)
    return rows


def answers(client: QenexClient) -> str:
    """A digest of what the book says to questions of every kind."""
    digest = sha256()
    for answer in _asked(client):
        digest.update(len(answer).to_bytes(8, "little") + answer)
    return digest.hexdigest()


def _asked(client: QenexClient) -> Iterator[bytes]:
    draw = np.random.default_rng(1)
    some = ids([*range(FIRST, FIRST + 300), *draw.integers(FIRST, FIRST + SEGMENT_ENTRIES, 3_000).tolist()])
    yield client.call(Operation.LOOKUP_ACCOUNTS, ids(range(1, ACCOUNTS + 1))).body
    reply = client.call(Operation.LOOKUP_TRANSFERS, some)
    rows = [bytes(reply.body[at : at + 128]) for at in range(0, len(reply.body), 128)]
    times = reply.rows["timestamp"][::50]
    yield reply.body
    yield client.call(Operation.LOOKUP_HASHES, b"".join(sha256(b"\0" + row).digest() for row in rows[::5])).body
    yield client.call(Operation.LOOKUP_OUTCOMES, some).body
    for account in (1, 2, ACCOUNTS):
        wanted = {"account_id": account, "limit": 8_189}
        for flags in (1, 2, 7):
            yield client.call(Operation.GET_ACCOUNT_TRANSFERS, question(ACCOUNT_FILTER, flags=flags, **wanted)).body
        yield client.call(Operation.GET_ACCOUNT_BALANCES, question(ACCOUNT_FILTER, flags=3, **wanted)).body
    for fields in ({"user_data_128": 7}, {"user_data_64": 8}, {"user_data_32": 9}, {"ledger": EUR}, {"code": 2}):
        for flags in (0, 1):
            asked = question(QUERY_FILTER, flags=flags, limit=8_189, **fields)
            yield client.call(Operation.QUERY_TRANSFERS, asked).body
    moments = np.zeros(3 * len(times), BALANCE_AT)
    moments["account_id"], moments["timestamp"] = from_ints([1, 5, ACCOUNTS] * len(times)), np.repeat(times, 3)
    yield client.call(Operation.BALANCE_AT, moments).body
    for time in [0, *times[::8].tolist()]:
        asked = question(CHANGE_EVENTS_FILTER, timestamp_min=time, limit=2_730)
        yield client.call(Operation.GET_CHANGE_EVENTS, asked).body


def ids(numbers: Any) -> NDArray[np.void]:
    """`ID` rows."""
    return from_ints(list(numbers)).view(ID)


def question(dtype: np.dtype[np.void], **fields: int) -> NDArray[np.void]:
    """A filter."""
    row = np.zeros(1, dtype)
    for name, value in fields.items():
        row[name] = from_ints([value]) if dtype[name].names else value
    return row


def segment_places(path: Path) -> list[Place]:
    """Header, sections, checksums and footer of a sealed file (spec/checkpoint.md section 2)."""
    content = path.read_bytes()
    footer = content[-MANIFEST:]
    _, checksums_offset, checksums, _ = struct.unpack_from("<QQQQ", footer, 80)
    places = [
        Place("header", 0, 128),
        Place("checksums", checksums_offset, 8 * checksums),
        Place("footer", len(content) - MANIFEST, MANIFEST),
    ]
    for at in range(128):
        kind, _, row_size, offset, count = struct.unpack_from("<HHIQQ", footer, 112 + 24 * at)
        if kind:
            places.append(Place(f"section {kind}", offset, row_size * count))
    return places


def checkpoint_places(path: Path) -> list[Place]:
    """Sections and manifest of a checkpoint (spec/checkpoint.md section 3)."""
    content = path.read_bytes()
    manifest = content[-MANIFEST:]
    places = [Place("manifest", len(content) - MANIFEST, MANIFEST)]
    for at in range(6):
        kind, _, row_size, offset, count = struct.unpack_from("<HHIQQ", manifest, 128 + 56 * at)
        if count:
            places.append(Place(f"section {kind}", offset, row_size * count))
    return places


def journal_places(path: Path) -> list[tuple[Place, int]]:
    """Header, groups, entries, rows and paddings of a journal's file, each with the byte that a reader names."""
    content = path.read_bytes()
    places = [
        (Place("file header", 0, 248), 0),
        (Place("its checksum", 248, 8), 0),
        (Place("its block", 256, 3_840), 0),
    ]
    at, number = 4_096, 0
    while at < len(content):
        body_length = int.from_bytes(content[at + 104 : at + 108], "little")
        end = at + 256 + body_length
        places += [
            (Place(f"group {number}: header", at, 248), at),
            (Place(f"group {number}: checksum", at + 248, 8), at),
            (Place(f"group {number}: entry header", at + 256, 128), at),
            (Place(f"group {number}: rows", at + 384, body_length - 128), at),
            (Place(f"group {number}: padding", end, -end % 4_096), at),
        ]
        at, number = end + -end % 4_096, number + 1
    return places
