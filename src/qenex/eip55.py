"""How an account is named to people: its EVM address, with the checksum of EIP-55 in the case of its letters."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from Crypto.Hash import keccak

PREFIX: Final = "51454e58"
"""`QENX`: the first four bytes of the address of every ledger account."""


@lru_cache(maxsize=65_536)
def address_text(account_id: int) -> str:
    """The address of a ledger account: `PREFIX`, then the id (128 bits) big-endian."""
    return checksummed(f"{PREFIX}{account_id:032x}")


def checksummed(digits: str) -> str:
    """A letter is upper case where the same digit of the hash of the lower-case text is 8 or more."""
    mask = keccak.new(digest_bits=256, data=digits.encode("ascii")).hexdigest()
    return "0x" + "".join(d.upper() if m >= "8" else d for d, m in zip(digits, mask, strict=False))
