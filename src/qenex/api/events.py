"""Change events in JSON's terms, and who is touched by one.

An event says what happened, to which transfer, and what each account has right after it. A view that is limited to a
party shows the balances of that party's accounts only, so there is one document a party and one for all others.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from qenex.api import times
from qenex.api.accounts import BALANCE_FIELDS
from qenex.api.transfers import asset_of_ledger, flag_names
from qenex.kernel import ChangeEventKind, is_debit_normal, net, to_address

if TYPE_CHECKING:
    from qenex.assets import Asset, Assets

SIZE: Final = 384
"""Bytes of a row."""

_TRANSFER: Final = Struct("<16s16s16s16sQIIHHIB39x")
_SIDE: Final = Struct("<16s16s16s16s16s16sQIHH")
_TIMES: Final = Struct("<QQQQ")
_SIDES_AT: Final = _TRANSFER.size
_TIMES_AT: Final = _SIDES_AT + 2 * _SIDE.size

NAMES: Final = {
    ChangeEventKind.SINGLE_PHASE: "transfer_posted",
    ChangeEventKind.TWO_PHASE_PENDING: "hold_created",
    ChangeEventKind.TWO_PHASE_POSTED: "hold_posted",
    ChangeEventKind.TWO_PHASE_VOIDED: "hold_voided",
    ChangeEventKind.TWO_PHASE_EXPIRED: "hold_expired",
}
"""What an event of each kind is called."""


class Event:
    """One change of the ledger."""

    __slots__ = ("_row", "_sides", "ledger", "timestamp_ns")

    def __init__(self, row: bytes) -> None:
        """Takes a row of `CHANGE_EVENT`."""
        self._row = row
        self._sides = _SIDE.unpack_from(row, _SIDES_AT), _SIDE.unpack_from(row, _SIDES_AT + _SIDE.size)
        self.ledger = int.from_bytes(row[84:88], "little")
        self.timestamp_ns = int.from_bytes(row[_TIMES_AT : _TIMES_AT + 8], "little")
        """When it happened; no two events of a book have the same."""

    @property
    def accounts(self) -> tuple[int, int]:
        """Ids of the debit and the credit account."""
        return _number(self._sides[0][0]), _number(self._sides[1][0])

    @property
    def parties(self) -> tuple[int, int]:
        """Whose they are; 0 is nobody's."""
        return _number(self._sides[0][5]), _number(self._sides[1][5])

    def document(self, assets: Assets, party: int | None) -> dict[str, Any]:
        """The event as it is shown.

        Args:
            assets: what ledger numbers stand for.
            party: the only one whose balances are shown; `None` shows all.
        """
        identity, quantity, pending, data_128, data_64, data_32, timeout, code, flags, ledger, kind = (
            _TRANSFER.unpack_from(self._row)
        )
        recorded_ns = _TIMES.unpack_from(self._row, _TIMES_AT)[1]
        asset = asset_of_ledger(ledger, assets)
        debit, credit = self.accounts
        minor = _number(quantity)
        return {
            "type": NAMES[ChangeEventKind(kind)],
            "timestamp": times.to_text(self.timestamp_ns),
            "timestamp_ns": str(self.timestamp_ns),
            "transfer": {
                "id": str(_number(identity)),
                "timestamp_ns": str(recorded_ns),
                "from": _address(debit),
                "to": _address(credit),
                "amount": asset.to_text(minor),
                "token": asset.code,
                "code": code,
                "flags": flag_names(flags),
                "pending_id": str(_number(pending)) if any(pending) else None,
                "timeout": timeout,
                "user_data_128": str(_number(data_128)),
                "user_data_64": str(data_64),
                "user_data_32": data_32,
            },
            "accounts": [
                {"address": _address(_number(side[0])), "balance": _balance(side, asset)}
                for side in self._sides
                if party is None or _number(side[5]) == party
            ],
        }


def events_of(rows: bytes) -> list[Event]:
    """The events in rows of `CHANGE_EVENT`, as a reply has them."""
    return [Event(rows[at : at + SIZE]) for at in range(0, len(rows), SIZE)]


def _balance(side: tuple[Any, ...], asset: Asset) -> dict[str, str]:
    """What an account has; its four sums are a look-up away, and would be half of every event."""
    sums = dict(zip(BALANCE_FIELDS, map(_number, side[1:5]), strict=True))
    posted, available = net(**sums, debit_normal=is_debit_normal(side[9]))
    return {
        "posted": asset.to_text(posted),
        "available": asset.to_text(available),
        "debits_pending": asset.to_text(sums["debits_pending"]),
        "credits_pending": asset.to_text(sums["credits_pending"]),
    }


@lru_cache(maxsize=65_536)
def _address(account_id: int) -> str:
    return to_address(account_id)


def _number(part: bytes) -> int:
    return int.from_bytes(part, "little")
