"""The chart of accounts that the demo bank and replayed files use, and how ids are derived from what they name."""

from __future__ import annotations

from enum import IntEnum
from hashlib import sha256


class AccountCode(IntEnum):
    """Kinds of account (`code` of an account)."""

    VAULT = 1000
    """Cash and reserves: the institution's own, an asset."""
    DEPOSIT = 2000
    """A customer's money; never below zero."""
    CARD = 2100
    """What a card has been used for; the customer owes its balance."""
    MERCHANT = 2200
    """What a terminal has taken, owed to the merchant."""
    EQUITY = 3000
    """The owners' share: the institution's own."""
    FEES = 4000
    """Income from fees: the institution's own."""


class TransferCode(IntEnum):
    """Kinds of transfer (`code` of a transfer)."""

    TRANSFER = 1
    """From one customer to another."""
    CAPITAL = 2
    """The owners pay in."""
    CASH_DEPOSIT = 3
    """A customer pays in."""
    CARD_PAYMENT = 4
    """A customer pays at a terminal."""
    FEE = 5
    """A customer pays the institution."""


def derive_half(purpose: str, *parts: bytes) -> int:
    """64 bits that depend on nothing but what they name: the high half of ids.

    The first 8 bytes (little-endian) of SHA-256 over `purpose` and the parts, each preceded by its length (u32).
    """
    digest = sha256()
    for part in (purpose.encode("utf-8"), *parts):
        digest.update(len(part).to_bytes(4, "little") + part)
    return int.from_bytes(digest.digest()[:8], "little")
