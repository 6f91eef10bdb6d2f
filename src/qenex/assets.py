"""Assets: what a ledger number stands for, and how many digits its amounts have.

Numbers 1 to 999 are ISO 4217's, 1000 is QXC, 1001 and up are registered (crypto by CAIP-19, securities by ISIN,
derivatives by series).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qenex.errors import InvalidAsset, UnknownAsset
from qenex.money import SCALE_MAX, Amount, to_decimal, to_minor, to_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from decimal import Decimal

QXC_NUMBER: Final = 1000
"""The ledger number of QXC."""
REGISTERED_MIN: Final = 1001
"""The first ledger number that can be registered."""
REGISTERED_MAX: Final = (1 << 32) - 1
"""The last one."""

_CODE: Final = re.compile(r"[A-Z0-9](?:[A-Z0-9._-]{0,30}[A-Z0-9])?", re.ASCII)

# The current list of ISO 4217 (funds codes too), by minor unit. Codes without one (metals, SDR, test codes) are left
# out: they have no smallest unit to count; register them with the scale that is wanted.
_ISO_4217: Final = {
    0: """
        BIF:108 CLP:152 DJF:262 GNF:324 ISK:352 JPY:392 KMF:174 KRW:410 PYG:600 RWF:646 UGX:800 UYI:940 VND:704
        VUV:548 XAF:950 XOF:952 XPF:953
    """,
    2: """
        AED:784 AFN:971 ALL:008 AMD:051 AOA:973 ARS:032 AUD:036 AWG:533 AZN:944 BAM:977 BBD:052 BDT:050 BMD:060
        BND:096 BOB:068 BOV:984 BRL:986 BSD:044 BTN:064 BWP:072 BYN:933 BZD:084 CAD:124 CDF:976 CHE:947 CHF:756
        CHW:948 CNY:156 COP:170 COU:970 CRC:188 CUP:192 CVE:132 CZK:203 DKK:208 DOP:214 DZD:012 EGP:818 ERN:232
        ETB:230 EUR:978 FJD:242 FKP:238 GBP:826 GEL:981 GHS:936 GIP:292 GMD:270 GTQ:320 GYD:328 HKD:344 HNL:340
        HTG:332 HUF:348 IDR:360 ILS:376 INR:356 IRR:364 JMD:388 KES:404 KGS:417 KHR:116 KPW:408 KYD:136 KZT:398
        LAK:418 LBP:422 LKR:144 LRD:430 LSL:426 MAD:504 MDL:498 MGA:969 MKD:807 MMK:104 MNT:496 MOP:446 MRU:929
        MUR:480 MVR:462 MWK:454 MXN:484 MXV:979 MYR:458 MZN:943 NAD:516 NGN:566 NIO:558 NOK:578 NPR:524 NZD:554
        PAB:590 PEN:604 PGK:598 PHP:608 PKR:586 PLN:985 QAR:634 RON:946 RSD:941 RUB:643 SAR:682 SBD:090 SCR:690
        SDG:938 SEK:752 SGD:702 SHP:654 SLE:925 SOS:706 SRD:968 SSP:728 STN:930 SVC:222 SYP:760 SZL:748 THB:764
        TJS:972 TMT:934 TOP:776 TRY:949 TTD:780 TWD:901 TZS:834 UAH:980 USD:840 USN:997 UYU:858 UZS:860 VED:926
        VES:928 WST:882 XAD:396 XCD:951 XCG:532 YER:886 ZAR:710 ZMW:967 ZWG:924
    """,
    3: """
        BHD:048 IQD:368 JOD:400 KWD:414 LYD:434 OMR:512 TND:788
    """,
    4: """
        CLF:990 UYW:927
    """,
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One asset."""

    number: int
    """The `ledger` field of its accounts and transfers."""
    code: str
    """Short name in capitals, for example `EUR`; unique."""
    scale: int
    """Digits after the point: one major unit is 10^scale minor units."""
    identifier: str = ""
    """Where it comes from, for registered ones: a CAIP-19 id, an ISIN, a series."""

    def to_minor(self, amount: Amount) -> int:
        """An amount in minor units; raises as `qenex.money.to_minor`."""
        return to_minor(amount, self.scale)

    def to_decimal(self, amount_minor: int) -> Decimal:
        """Minor units as an amount."""
        return to_decimal(amount_minor, self.scale)

    def to_text(self, amount_minor: int) -> str:
        """Minor units as the text of an amount, for example `12.50`."""
        return to_text(amount_minor, self.scale)

    def to_short_text(self, amount_minor: int) -> str:
        """The same amount without zeros after the second decimal, for people."""
        whole, point, decimals = self.to_text(amount_minor).partition(".")
        return whole + point + decimals[:2] + decimals[2:].rstrip("0")

    def in_words(self, amount_minor: int) -> str:
        """Minor units as they are said to a person, for example `12.50 EUR`."""
        return f"{self.to_short_text(amount_minor)} {self.code}"


class Assets:
    """The assets of one institution: those of ISO 4217, QXC, and the ones it registered."""

    __slots__ = ("_by_code", "_by_number")

    def __init__(self, registered: Iterable[Asset] = ()) -> None:
        self._by_number: dict[int, Asset] = {asset.number: asset for asset in _BUILT_IN}
        self._by_code: dict[str, Asset] = {asset.code: asset for asset in _BUILT_IN}
        for asset in registered:
            self.register(asset)

    def find(self, asset: str | int) -> Asset:
        """The asset with this code (`"EUR"`) or ledger number (978).

        Raises:
            UnknownAsset: there is none.
        """
        found = self._by_code.get(asset) if isinstance(asset, str) else self._by_number.get(asset)
        if found is not None:
            return found
        if isinstance(asset, str) and asset.strip().upper() in self._by_code:
            raise UnknownAsset(asset, f"did you mean {asset.strip().upper()}?")
        raise UnknownAsset(asset, f"numbers from {REGISTERED_MIN} on must be registered first")

    def register(self, asset: Asset) -> Asset:
        """Adds an asset and returns it; adding an equal one again changes nothing.

        Raises:
            InvalidAsset: its number, code or scale cannot be used, or is another asset's.
        """
        if self._by_number.get(asset.number) == asset:
            return asset
        if not REGISTERED_MIN <= asset.number <= REGISTERED_MAX:
            raise InvalidAsset(asset.code, f"numbers {REGISTERED_MIN} to {REGISTERED_MAX} are free, not {asset.number}")
        if not _CODE.fullmatch(asset.code):
            raise InvalidAsset(asset.code, "a code is 1 to 32 capitals, digits, dots, dashes and underscores")
        if not 0 <= asset.scale <= SCALE_MAX:
            raise InvalidAsset(asset.code, f"a scale is 0 to {SCALE_MAX}, not {asset.scale}")
        taken = self._by_number.get(asset.number) or self._by_code.get(asset.code)
        if taken is not None:
            raise InvalidAsset(asset.code, f"number {taken.number} with code {taken.code} is registered already")
        self._by_number[asset.number] = self._by_code[asset.code] = asset
        return asset

    def __iter__(self) -> Iterator[Asset]:
        return iter(sorted(self._by_number.values(), key=lambda asset: asset.number))

    def __len__(self) -> int:
        return len(self._by_number)

    def __contains__(self, asset: str | int) -> bool:
        return asset in self._by_code or asset in self._by_number


_BUILT_IN: Final = (
    *(
        Asset(int(number), code, scale)
        for scale, entries in _ISO_4217.items()
        for code, _, number in (entry.partition(":") for entry in entries.split())
    ),
    Asset(QXC_NUMBER, "QXC", 18),
)
