"""Rows of any number reach the engine in full requests and come back in their order."""

from __future__ import annotations

import numpy as np
import pytest

from qenex import QenexClient
from qenex.cli.engine_book import EngineBook
from qenex.errors import EngineUnreachable
from qenex.kernel import BATCH_MAX, TRANSFER, CreateTransferStatus
from tests.unit.client.peer import REFUSED_CODE, SECRET, Peer


def connect(peer: Peer) -> EngineBook:
    host, port = peer.address
    return EngineBook(QenexClient(f"{host}:{port}", credential=SECRET))


def test_many_rows_are_cut_into_requests_and_answered_in_order() -> None:
    rows = np.zeros(2 * BATCH_MAX + 5, dtype=TRANSFER)
    rows["id"]["lo"] = np.arange(1, len(rows) + 1)
    rows["code"] = 1
    rows["code"][[3, BATCH_MAX + 7, 2 * BATCH_MAX + 1]] = REFUSED_CODE
    with Peer() as peer, connect(peer) as book:
        results = book.create_transfers(rows)
    assert len(results) == len(rows)
    refused = np.flatnonzero(results["status"] == CreateTransferStatus.EXCEEDS_CREDITS)
    assert refused.tolist() == [3, BATCH_MAX + 7, 2 * BATCH_MAX + 1]
    assert (np.delete(results["status"], refused) == CreateTransferStatus.CREATED).all()


def test_rows_arrive_once_though_connections_are_lost() -> None:
    rows = np.zeros(BATCH_MAX + 1, dtype=TRANSFER)
    rows["id"]["lo"] = np.arange(1, len(rows) + 1)
    rows["code"] = 1
    with Peer(["apply_and_drop"]) as peer, connect(peer) as book:
        results = book.create_transfers(rows)
        assert len(peer.applied) == len(rows)
    assert (results["status"] == CreateTransferStatus.CREATED).all()


def test_no_engine_is_said_at_once() -> None:
    with pytest.raises(EngineUnreachable, match=r"127\.0\.0\.1:1"):
        QenexClient("127.0.0.1:1", credential="qnx_owner_test")
