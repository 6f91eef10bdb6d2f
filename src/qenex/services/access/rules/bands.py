"""Bands: which of a few sizes an amount has. Cedar's integers have 64 bits, amounts have 128."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from qenex.errors import InvalidAmount, InvalidPolicies, UnknownAsset
from qenex.services.access.messages import Complaint
from qenex.services.access.rules.documents import read_toml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qenex.assets import Assets
    from qenex.services.access.messages import PolicyFile

_TABLES: Final = ("transfer", "day")


@dataclass(frozen=True, slots=True)
class Bands:
    """The bands of one kind of amount."""

    highest: int
    """The last band: amounts above every threshold, and every amount of an asset that has none."""
    thresholds: Mapping[int, tuple[int, ...]]
    """By ledger, in minor units, rising."""

    def of(self, ledger: int, amount_minor: int) -> int:
        """The band of an amount; a threshold is the last amount of its band."""
        thresholds = self.thresholds.get(ledger)
        return self.highest if thresholds is None else bisect_left(thresholds, amount_minor)

    def ceiling(self, ledger: int, band: int) -> int | None:
        """The largest amount in this band and those below it; `None` where the band has no end."""
        thresholds = self.thresholds.get(ledger)
        return None if thresholds is None or band >= self.highest else thresholds[band]


@dataclass(frozen=True, slots=True)
class BandTables:
    """All bands of a book."""

    transfer: Bands
    """By the amount of a transfer."""
    day: Bands
    """By what a principal has moved in a day."""


def read_bands(file: PolicyFile, assets: Assets) -> BandTables:
    """Reads `bands.toml`.

    Raises:
        InvalidPolicies: with the line of what is wrong.
    """
    document = read_toml(file)
    complaints = [
        _complaint(file, name, f"there is no table {name}; there are {', '.join(_TABLES)}")
        for name in document
        if name not in _TABLES
    ]
    tables = {name: _table(file, name, document.get(name, {}), assets, complaints) for name in _TABLES}
    if complaints:
        raise InvalidPolicies(complaints)
    return BandTables(**tables)


def _table(file: PolicyFile, name: str, table: object, assets: Assets, complaints: list[Complaint]) -> Bands:
    if not isinstance(table, dict):
        complaints.append(_complaint(file, name, f"{name} is a table of amounts by asset"))
        return Bands(0, {})
    thresholds: dict[int, tuple[int, ...]] = {}
    for code, amounts in table.items():
        try:
            asset = assets.find(code)
            if not isinstance(amounts, list) or not all(isinstance(amount, str) for amount in amounts):
                raise TypeError  # noqa: TRY301  # one sentence says what would be right
            thresholds[asset.number] = tuple(asset.to_minor(amount) for amount in amounts)
        except (UnknownAsset, InvalidAmount) as error:
            complaints.append(_complaint(file, code, f"[{name}] {error}"))
        except TypeError:
            complaints.append(
                _complaint(file, code, f'[{name}] {code} is a list of amounts in quotes: ["1000", "5000"]')
            )
        else:
            if any(high <= low for low, high in pairwise(thresholds[asset.number])):
                complaints.append(_complaint(file, code, f"[{name}] the amounts of {code} must rise"))
    lengths = {len(each) for each in thresholds.values()}
    if len(lengths) > 1:
        complaints.append(_complaint(file, name, f"[{name}] every asset must have as many amounts as the others"))
    return Bands(max(lengths, default=0), thresholds)


def _complaint(file: PolicyFile, word: str, text: str) -> Complaint:
    place = re.search(rf"^\W*{re.escape(word)}\b", file.text, re.MULTILINE)
    return Complaint(file.name, file.text.count("\n", 0, place.end()) + 1 if place else 1, text)
