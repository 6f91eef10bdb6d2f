"""Addresses and hashes are what other tools compute."""

from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qenex.eip55 import checksummed
from qenex.errors import InvalidAddress, InvalidId, InvalidRows
from qenex.kernel import ACCOUNT, TRANSFER, U128_MAX, from_ints, to_account_id, to_address, transfer_hashes


@pytest.mark.parametrize(
    "address",
    [  # the examples of EIP-55 itself
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ],
)
def test_checksums_are_those_of_eip_55(address: str) -> None:
    assert checksummed(address[2:].lower()) == address


@given(st.integers(0, U128_MAX))
def test_addresses_lead_back_to_their_accounts(account_id: int) -> None:
    address = to_address(account_id)
    assert bytes.fromhex(address[2:]) == b"QENX" + account_id.to_bytes(16, "big")
    assert to_account_id(address) == account_id
    assert to_account_id("0x" + address[2:].lower()) == account_id
    assert to_account_id("0x" + address[2:].upper()) == account_id


def test_a_mistyped_letter_is_noticed() -> None:
    address = to_address(0xABCDEF)
    swapped = "".join(c.swapcase() if c.lower() == "f" else c for c in address)
    with pytest.raises(InvalidAddress, match="checksum is wrong"):
        to_account_id(swapped)


@pytest.mark.parametrize(
    "address",
    ["", "0x", to_address(1)[2:], to_address(1) + "0", to_address(1)[:-1] + "g", to_address(1)[:-1] + "\u0661"],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidAddress, match="40 hexadecimal digits are wanted"):
        to_account_id(address)


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidAddress, match="accounts of this ledger begin with 0x51454e58"):
        to_account_id("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")
    for account_id in (-1, U128_MAX + 1):
        with pytest.raises(InvalidId, match=str(account_id)):
            to_address(account_id)


def test_a_hash_is_the_rfc_6962_leaf_of_the_row() -> None:
    rows = np.zeros(4, dtype=TRANSFER)
    rows["id"] = from_ints([1, 2, 3, 4])
    expected = [sha256(b"\0" + row.tobytes()).digest() for row in rows]
    assert transfer_hashes(rows) == expected
    with pytest.raises(InvalidRows, match="is needed"):
        transfer_hashes(np.zeros(1, dtype=ACCOUNT))
