"""The trial balance: what all accounts add up to, by asset and kind. Both sides must be equal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qenex.kernel import to_ints

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Line:
    """The accounts of one asset and one kind; all sums in minor units."""

    ledger: int
    code: int
    accounts: int
    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int


_SUMS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")


def trial_balance(pages: Iterable[NDArray[np.void]]) -> list[Line]:
    """Adds up pages of `ACCOUNT` rows, exactly; lines are in order of asset and kind."""
    sums: dict[tuple[int, int], list[int]] = {}
    for rows in pages:
        kinds, kind_of = np.unique(rows[["ledger", "code"]], return_inverse=True)
        for index, kind in enumerate(kinds):
            members = rows[kind_of == index]
            total = sums.setdefault((int(kind["ledger"]), int(kind["code"])), [0] * 5)
            total[0] += len(members)
            for at, name in enumerate(_SUMS, start=1):
                total[at] += sum(to_ints(members[name]))
    return [Line(*kind, *sums[kind]) for kind in sorted(sums)]


def differences(lines: Iterable[Line]) -> dict[int, tuple[int, int]]:
    """For each asset, debits less credits in minor units, (posted, pending): (0, 0) where the ledger is right."""
    result: dict[int, tuple[int, int]] = {}
    for line in lines:
        posted, pending = result.get(line.ledger, (0, 0))
        result[line.ledger] = (
            posted + line.debits_posted - line.credits_posted,
            pending + line.debits_pending - line.credits_pending,
        )
    return result
