"""A request's trace id is in the journal, in the entry of what it changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from qenex import AsyncQenexClient, QenexClient
from qenex.client.protocol import Operation
from qenex.errors import InvalidRows
from qenex.kernel import ACCOUNT
from qenex.telemetry.tracing import Tracer
from tests.unit.test_journal_format import BLOCK, ENTRY, GROUP, padded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def traces(folder: Path) -> Iterator[tuple[int, bytes]]:
    """Operation and trace of every entry that is in the journal."""
    for path in sorted(folder.rglob("*.qxj")):
        data = path.read_bytes()
        at = BLOCK
        while at < len(data) and any(data[at : at + 8]):
            entries, body_length = GROUP.unpack_from(data, at)[14], GROUP.unpack_from(data, at)[16]
            entry_at = at + GROUP.size
            for _ in range(entries):
                fields = ENTRY.unpack_from(data, entry_at)
                yield fields[3], fields[14]
                entry_at += ENTRY.size + fields[13]
            at += padded(GROUP.size + body_length, BLOCK)


def account(number: int) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    rows = np.zeros(1, ACCOUNT)
    rows["id"], rows["ledger"], rows["code"] = (number, 0), 1, 1
    return rows


async def test_the_entry_of_a_write_has_the_trace_of_its_request(tmp_path: Path) -> None:
    trace = Tracer(None, 0).begin()
    async with AsyncQenexClient.embedded(tmp_path / "book") as client:
        await client.connection.call(Operation.CREATE_ACCOUNTS, account(1), trace=trace.id)
        await client.connection.call(Operation.CREATE_ACCOUNTS, account(2))
        with pytest.raises(InvalidRows, match="16 bytes"):
            await client.connection.call(Operation.CREATE_ACCOUNTS, account(3), trace=b"short")
    found = [trace for operation, trace in traces(tmp_path) if operation == Operation.CREATE_ACCOUNTS]
    assert found == [trace.id, bytes(16)]


def test_the_blocking_client_passes_it_on_too(tmp_path: Path) -> None:
    with QenexClient.embedded(tmp_path / "book") as client:
        client._connection.call(Operation.CREATE_ACCOUNTS, account(1), trace=b"t" * 16)
    assert (Operation.CREATE_ACCOUNTS, b"t" * 16) in list(traces(tmp_path))
