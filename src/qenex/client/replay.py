"""What had already happened to rows that went out a second time, in a session that does not know the first.

Their ids tell: a row that happened is `exists`, one that was refused for a passing reason is `id_already_failed`, and
the rest of a chain follows its first row. This turns those answers into what the first time would have said, as far
as the engine remembers it; a row that happened stays `exists`, with its original timestamp.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from qenex.client.protocol import Operation
from qenex.kernel import ACCOUNT, ID, TRANSFER, CreateAccountStatus, CreateTransferStatus

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from qenex.client.session import Bytes, Reply


class Call(NamedTuple):
    """One request that a step of an operation wants answered."""

    operation: Operation
    rows: NDArray[np.void] | Bytes
    linger_us: int = 0


def original_results(rows: NDArray[np.void] | Bytes, reply: Reply) -> Generator[Call, Reply, Reply]:
    """The reply to replayed rows, with what the first time said in place of what the ids say now."""
    if reply.operation == Operation.CREATE_TRANSFERS:
        return (yield from _transfers(np.frombuffer(rows, TRANSFER), reply))
    if reply.operation == Operation.CREATE_ACCOUNTS:
        return (yield from _accounts(np.frombuffer(rows, ACCOUNT), reply))
    return reply


def _transfers(rows: NDArray[np.void], reply: Reply) -> Generator[Call, Reply, Reply]:
    results = reply.rows
    failed = results["status"] == CreateTransferStatus.ID_ALREADY_FAILED
    in_chain = results["status"] == CreateTransferStatus.LINKED_EVENT_FAILED
    asked = np.flatnonzero(failed | in_chain)
    if not asked.size:
        return reply
    outcomes = (yield Call(Operation.LOOKUP_OUTCOMES, _ids(rows, asked))).rows
    known = {outcome["id"].tobytes(): outcome for outcome in outcomes}
    for at in asked:
        outcome = known.get(rows["id"][at].tobytes())
        if outcome is None:
            continue
        if failed[at]:
            results["timestamp"][at], results["status"][at] = outcome["timestamp"], outcome["status"]
        elif outcome["status"] == CreateTransferStatus.CREATED:
            results["timestamp"][at], results["status"][at] = outcome["timestamp"], CreateTransferStatus.EXISTS
    return reply


def _accounts(rows: NDArray[np.void], reply: Reply) -> Generator[Call, Reply, Reply]:
    results = reply.rows
    asked = np.flatnonzero(results["status"] == CreateAccountStatus.LINKED_EVENT_FAILED)
    if not asked.size:
        return reply
    accounts = (yield Call(Operation.LOOKUP_ACCOUNTS, _ids(rows, asked))).rows
    known = {account["id"].tobytes(): account["timestamp"] for account in accounts}
    for at in asked:
        timestamp = known.get(rows["id"][at].tobytes())
        if timestamp is not None:
            results["timestamp"][at], results["status"][at] = timestamp, CreateAccountStatus.EXISTS
    return reply


def _ids(rows: NDArray[np.void], asked: NDArray[np.intp]) -> NDArray[np.void]:
    ids = np.zeros(asked.size, ID)
    ids["id"] = rows["id"][asked]
    return ids
