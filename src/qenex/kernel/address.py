"""Addresses of accounts and hashes of transfers, as ledger-model and spec/kernel.md define them."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from qenex.eip55 import PREFIX, address_text, checksummed
from qenex.errors import InvalidAddress, InvalidId
from qenex.kernel.rows import TRANSFER, U128_MAX, row_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def to_address(account_id: int) -> str:
    """The EVM address of a ledger account: `PREFIX`, then the id big-endian, in EIP-55 form.

    Raises:
        InvalidId: the id does not fit 128 bits.
    """
    if not 0 <= account_id <= U128_MAX:
        raise InvalidId(account_id, "an account id lies between 0 and 2^128-1")
    return address_text(account_id)


def to_account_id(address: str) -> int:
    """The account id of an address; the reverse of `to_address`.

    An address in one case carries no checksum; one in mixed case must carry the right one (EIP-55).

    Raises:
        InvalidAddress: not `0x` and 40 hexadecimal digits, a wrong checksum, or not an address of this ledger.
    """
    digits = address[2:]
    if address[:2] != "0x" or len(digits) != 40 or not set(digits) <= set("0123456789abcdefABCDEF"):
        raise InvalidAddress(address, "0x and 40 hexadecimal digits are wanted")
    if digits not in (digits.lower(), digits.upper()) and address != checksummed(digits.lower()):
        raise InvalidAddress(address, "its checksum is wrong (EIP-55): a digit or a letter's case was mistyped")
    if not digits.lower().startswith(PREFIX):
        raise InvalidAddress(address, f"accounts of this ledger begin with 0x{PREFIX}")
    return int(digits[len(PREFIX) :], 16)


def transfer_hashes(transfers: NDArray[np.void]) -> list[bytes]:
    """Hashes of recorded `TRANSFER` rows: SHA-256 of `00` and the 128 bytes (an RFC 6962 leaf), 32 bytes each.

    Raises:
        InvalidRows: another dtype, byte order, shape or stride.
    """
    rows = row_bytes(transfers, TRANSFER)
    return [sha256(b"\0" + rows[at : at + 128]).digest() for at in range(0, len(rows), 128)]
