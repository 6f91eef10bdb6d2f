"""The trial balance: sums of all accounts per asset, as they were at one moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qenex.api import times
from qenex.api.accounts import BALANCE_FIELDS
from qenex.api.transfers import asset_of_ledger
from qenex.client.protocol import Operation
from qenex.kernel import BATCH_MAX, to_ints

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qenex.api.ledger import Ledger
    from qenex.assets import Assets

_LOW_32: Final = np.uint64(0xFFFF_FFFF)
_SHIFT_32: Final = np.uint64(32)


async def trial_balance(ledger: Ledger, assets: Assets) -> dict[str, Any]:
    """Sums debits and credits, posted and pending, of every account.

    Accounts come a page at a time while the ledger goes on; the moment is that of the first page. A page that was read
    later, after something changed, is corrected with the balances that its accounts had at that moment.
    """
    totals: dict[int, dict[str, int]] = {}
    moment_ns = position = None
    after = 0
    while True:
        values = {"timestamp_min": after + 1, "timestamp_max": moment_ns or 0}
        reply = await ledger.query(Operation.QUERY_ACCOUNTS, values, limit=BATCH_MAX, newest=False)
        if moment_ns is None:
            moment_ns, position = reply.timestamp, reply.position
        accounts = reply.rows
        if not len(accounts):
            break
        balances = accounts
        if reply.position != position:
            balances = await ledger.balance_at(to_ints(accounts["id"]), moment_ns)
        _add(totals, accounts["ledger"], balances)
        after = int(accounts["timestamp"][-1])
        if len(accounts) < BATCH_MAX or after >= moment_ns:
            break
    return {
        "timestamp": times.to_text(moment_ns),
        "timestamp_ns": str(moment_ns),
        "balanced": all(_balanced(sums) for sums in totals.values()),
        "assets": [_document(number, totals[number], assets) for number in sorted(totals)],
    }


def _add(totals: dict[int, dict[str, int]], ledgers: NDArray[Any], balances: NDArray[np.void]) -> None:
    for number in np.unique(ledgers).tolist():
        chosen = balances[ledgers == number]
        sums = totals.setdefault(number, {"accounts": 0, **dict.fromkeys(BALANCE_FIELDS, 0)})
        sums["accounts"] += len(chosen)
        for name in BALANCE_FIELDS:
            sums[name] += _sum(chosen[name])


def _sum(column: NDArray[np.void]) -> int:
    """The sum of a column of 128-bit numbers: quarters are summed apart, so that no sum can overflow."""
    total = 0
    for half, shift in (("lo", 0), ("hi", 64)):
        low = int((column[half] & _LOW_32).sum(dtype=np.uint64))
        high = int((column[half] >> _SHIFT_32).sum(dtype=np.uint64))
        total += (low + (high << 32)) << shift
    return total


def _balanced(sums: dict[str, int]) -> bool:
    posted = sums["debits_posted"] == sums["credits_posted"]
    return posted and sums["debits_pending"] == sums["credits_pending"]


def _document(number: int, sums: dict[str, int], assets: Assets) -> dict[str, Any]:
    asset = asset_of_ledger(number, assets)
    return {
        "token": asset.code,
        "ledger": number,
        "accounts": sums["accounts"],
        **{name: asset.to_text(sums[name]) for name in BALANCE_FIELDS},
        **{f"{name}_minor": str(sums[name]) for name in BALANCE_FIELDS},
        "balanced": _balanced(sums),
    }
