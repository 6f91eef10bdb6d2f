"""A peer with the least ledger that the client's methods need: accounts, balances, holds, lookups, history."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from qenex.client.protocol import FrameType, Header, Operation
from qenex.kernel import (
    ACCOUNT,
    ACCOUNT_BALANCE,
    ACCOUNT_FILTER,
    BALANCE_AT,
    EVENT_RESULT,
    ID,
    OUTCOME,
    TRANSFER,
    AccountFilterFlags,
    AccountFlags,
    TransferFlags,
    to_int,
)
from qenex.kernel import CreateTransferStatus as Status
from tests.unit.client.peer import Peer, frame

if TYPE_CHECKING:
    from collections.abc import Iterable

FULL = (1 << 128) - 1
BALANCES = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")


class LedgerPeer(Peer):
    """Accounts that may not be overdrawn, transfers in one phase and two."""

    def __init__(self, faults: Iterable[str] = ()) -> None:
        super().__init__(faults)
        self.accounts: dict[int, Any] = {}
        self.recorded: dict[int, Any] = {}
        self.burned: dict[int, tuple[int, int]] = {}

    def _answer(self, header: Header, rows: bytes) -> bytes:
        kept = self.sessions.get(header.session, {})
        if header.request in kept:
            return kept[header.request]
        operation = Operation(header.operation)
        body = getattr(self, f"_{operation.name.lower()}")(rows)
        answer = Header(
            FrameType.REPLY,
            operation=operation,
            request=header.request,
            timestamp=self.timestamp,
            group_requests=1,
            group_rows=1,
            linger_us=header.linger_us,
        )
        reply = frame(answer, body)
        if operation in (Operation.CREATE_ACCOUNTS, Operation.CREATE_TRANSFERS):
            kept[header.request] = reply
        return reply

    def _create_accounts(self, rows: bytes) -> bytes:
        results = []
        for row in np.frombuffer(bytearray(rows), ACCOUNT):
            self.timestamp += 1
            old = self.accounts.get(to_int(row["id"]))
            if old is None:
                row["timestamp"] = self.timestamp
                self.accounts[to_int(row["id"])] = row
            results.append((self.timestamp, Status.CREATED, 0) if old is None else (old["timestamp"], 21, 0))
        return np.array(results, EVENT_RESULT).tobytes()

    def _create_transfers(self, rows: bytes) -> bytes:
        results = []
        for row in np.frombuffer(bytearray(rows), TRANSFER):
            self.timestamp += 1
            identity = to_int(row["id"])
            if identity in self.recorded:
                same = self.recorded[identity]["code"] == row["code"] or row["flags"]
                status = Status.EXISTS if same else Status.EXISTS_WITH_DIFFERENT_CODE
                results.append((self.recorded[identity]["timestamp"] if same else self.timestamp, status, 0))
                continue
            status = Status.ID_ALREADY_FAILED if identity in self.burned else self._apply(row)
            if status in (Status.EXCEEDS_CREDITS, Status.DEBIT_ACCOUNT_NOT_FOUND):
                self.burned[identity] = (self.timestamp, status)
            results.append((self.timestamp, status, 0))
        return np.array(results, EVENT_RESULT).tobytes()

    def _apply(self, row: Any) -> Status:
        flags, pending = TransferFlags(int(row["flags"])), None
        if flags & (TransferFlags.POST_PENDING_TRANSFER | TransferFlags.VOID_PENDING_TRANSFER):
            pending = self.recorded[to_int(row["pending_id"])]
            for name in ("debit_account_id", "credit_account_id", "ledger", "code"):
                row[name] = pending[name]
            if to_int(row["amount"]) in (0, FULL):
                row["amount"] = pending["amount"]
        debit = self.accounts.get(to_int(row["debit_account_id"]))
        credit = self.accounts.get(to_int(row["credit_account_id"]))
        if debit is None:
            return Status.DEBIT_ACCOUNT_NOT_FOUND
        if credit is None:
            return Status.CREDIT_ACCOUNT_NOT_FOUND
        amount = to_int(row["amount"])
        guarded = AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS & int(debit["flags"])
        used = to_int(debit["debits_posted"]) + to_int(debit["debits_pending"])
        if pending is None and guarded and used + amount > to_int(debit["credits_posted"]):
            return Status.EXCEEDS_CREDITS
        if pending is not None:
            _add(debit, "debits_pending", -to_int(pending["amount"]))
            _add(credit, "credits_pending", -to_int(pending["amount"]))
        if not flags & TransferFlags.VOID_PENDING_TRANSFER:
            phase = "pending" if flags & TransferFlags.PENDING else "posted"
            _add(debit, f"debits_{phase}", amount)
            _add(credit, f"credits_{phase}", amount)
        row["timestamp"] = self.timestamp
        self.recorded[to_int(row["id"])] = row
        return Status.CREATED

    def _lookup_accounts(self, rows: bytes) -> bytes:
        asked = [to_int(row["id"]) for row in np.frombuffer(rows, ID)]
        return b"".join(self.accounts[one].tobytes() for one in asked if one in self.accounts)

    def _lookup_transfers(self, rows: bytes) -> bytes:
        asked = [to_int(row["id"]) for row in np.frombuffer(rows, ID)]
        return b"".join(self.recorded[one].tobytes() for one in asked if one in self.recorded)

    def _lookup_hashes(self, rows: bytes) -> bytes:
        by_hash = {sha256(b"\0" + row.tobytes()).digest(): row.tobytes() for row in self.recorded.values()}
        return by_hash.get(rows, b"")

    def _lookup_account_terms(self, _: bytes) -> bytes:
        return b""

    def _lookup_outcomes(self, rows: bytes) -> bytes:
        asked = [row["id"] for row in np.frombuffer(rows, ID)]
        known = [(one, *self.burned[to_int(one)], 0) for one in asked if to_int(one) in self.burned]
        return np.array(known, OUTCOME).tobytes()

    def _balance_at(self, rows: bytes) -> bytes:
        balance = np.zeros(1, ACCOUNT_BALANCE)
        account = self.accounts[to_int(np.frombuffer(rows, BALANCE_AT)["account_id"][0])]
        for name in BALANCES:
            balance[name] = account[name]
        balance["timestamp"] = self.timestamp
        return balance.tobytes()

    def _get_account_transfers(self, rows: bytes) -> bytes:
        asked = np.frombuffer(rows, ACCOUNT_FILTER)[0]
        last = int(asked["timestamp_max"]) or FULL
        mine = [
            row
            for row in self.recorded.values()
            if asked["account_id"] in (row["debit_account_id"], row["credit_account_id"])
            and asked["timestamp_min"] <= row["timestamp"] <= last
        ]
        mine.sort(key=lambda row: row["timestamp"], reverse=bool(asked["flags"] & AccountFilterFlags.REVERSED))
        return b"".join(row.tobytes() for row in mine[: asked["limit"]])


def _add(account: Any, name: str, amount: int) -> None:
    total = to_int(account[name]) + amount
    account[name] = (total & (1 << 64) - 1, total >> 64)
