"""The limits that the settings ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qenex.limits.rules import Limit, Policy

if TYPE_CHECKING:
    from qenex.settings import Settings


def policy(settings: Settings) -> Policy:
    """The rates and bursts of the settings."""
    return Policy(
        Limit("credential", settings.limit_credential_rate, settings.limit_credential_burst),
        Limit("principal", settings.limit_principal_rate, settings.limit_principal_burst),
        Limit("book", settings.limit_book_rate, settings.limit_book_burst),
        Limit("address", settings.limit_address_rate, settings.limit_address_burst),
        Limit("failures", settings.limit_failures_rate, settings.limit_failures_burst),
    )
