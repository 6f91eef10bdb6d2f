"""The registry of assets."""

from decimal import Decimal

import pytest

from qenex.assets import Asset, Assets
from qenex.errors import InvalidAsset, UnknownAsset


def test_iso_and_qxc_are_known_by_code_and_number() -> None:
    assets = Assets()
    assert assets.find("EUR") == assets.find(978) == Asset(978, "EUR", 2)
    assert assets.find("QXC") == assets.find(1000) == Asset(1000, "QXC", 18)
    assert {code: assets.find(code).scale for code in ("JPY", "USD", "KWD", "CLF")} == {
        "JPY": 0,
        "USD": 2,
        "KWD": 3,
        "CLF": 4,
    }


def test_built_in_assets_are_well_formed_and_distinct() -> None:
    built_in = list(Assets())
    assert len({a.number for a in built_in}) == len({a.code for a in built_in}) == len(built_in) == 166
    assert [a.number for a in built_in] == sorted(a.number for a in built_in)
    assert all(1 <= a.number <= 999 and len(a.code) == 3 and a.code.isupper() for a in built_in if a.code != "QXC")


@pytest.mark.parametrize("asset", ["eur", "XAU", "", 0, 999, 1001, -1])
def test_what_is_not_registered_is_unknown(asset: str | int) -> None:
    with pytest.raises(UnknownAsset):
        Assets().find(asset)


def test_a_mistyped_code_gets_a_hint() -> None:
    with pytest.raises(UnknownAsset, match="did you mean EUR"):
        Assets().find("eur ")


def test_people_are_told_no_zeros_after_the_second_decimal() -> None:
    qxc, yen = Assets().find("QXC"), Assets().find("JPY")
    assert qxc.in_words(4_680_800_000_000_000_000_000) == "4680.80 QXC"
    assert qxc.in_words(1) == "0.000000000000000001 QXC"
    assert Assets().find("EUR").in_words(100) == "1.00 EUR"
    assert yen.in_words(100) == "100 JPY"


def test_registered_assets_are_found_and_convert() -> None:
    bitcoin = Asset(1001, "BTC", 8, "bip122:000000000019d6689c085ae165831e93/slip44:0")
    assets = Assets([bitcoin])
    assert assets.register(bitcoin) is bitcoin
    assert assets.find("BTC").to_minor("0.5") == 50_000_000
    assert assets.find(1001).to_decimal(1) == Decimal("0.00000001")
    assert "BTC" in assets
    assert 1001 in assets


@pytest.mark.parametrize(
    ("asset", "complaint"),
    [
        (Asset(999, "GOLD", 4), "1001 to 4294967295 are free"),
        (Asset(1 << 32, "GOLD", 4), "1001 to 4294967295 are free"),
        (Asset(1002, "gold", 4), "capitals"),
        (Asset(1002, "GOLD", 39), "a scale is 0 to 38"),
        (Asset(1002, "EUR", 2), "number 978 with code EUR is registered"),
        (Asset(1001, "GOLD", 2), "number 1001 with code BTC is registered"),
    ],
)
def test_what_cannot_be_registered_is_refused(asset: Asset, complaint: str) -> None:
    with pytest.raises(InvalidAsset, match=complaint):
        Assets([Asset(1001, "BTC", 8)]).register(asset)
