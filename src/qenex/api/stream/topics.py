"""What can be subscribed to, as it is written and as it is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from qenex.api import fields
from qenex.api.fields import Wrong
from qenex.errors import InvalidField
from qenex.kernel import to_address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qenex.api.events import Event
    from qenex.assets import Assets

HELP: Final = '"accounts/ADDRESS", "assets/CODE" or "all" is wanted'


class Topic(NamedTuple):
    """What a subscription hears of."""

    kind: str
    """`accounts`, `assets` or `all`."""
    number: int
    """Id of the account, number of the ledger, or 0."""
    party: int | None
    """The view that it is heard through is limited to this party; `None` does not limit it."""
    name: str
    """As it is told to whoever subscribed."""

    @property
    def key(self) -> tuple[str, int, int | None]:
        """What an event finds it by."""
        return self.kind, self.number, self.party


def read(text: str, party: int | None, assets: Assets) -> Topic:
    """A topic as it is written.

    Args:
        text: in the message.
        party: limits the view of whoever writes it.
        assets: known here.

    Raises:
        QenexError: it is none.
    """
    kind, _, rest = text.partition("/")
    if text == "all":
        return Topic("all", 0, party, "all")
    if kind == "accounts" and rest:
        account_id = fields.account_id(rest)
        return Topic(kind, account_id, party, f"accounts/{to_address(account_id)}")
    if kind == "assets" and rest:
        try:
            asset = assets.find(fields.token(rest))
        except Wrong as wrong:
            raise InvalidField("/topics", str(wrong)) from None
        return Topic(kind, asset.number, party, f"assets/{asset.code}")
    raise InvalidField("/topics", f"{text[:80]!r} is no topic; {HELP}")


def keys_of(event: Event) -> Iterator[tuple[str, int, int | None]]:
    """Every key under which somebody may wait for an event."""
    debit, credit = event.accounts
    parties = event.parties
    yield "all", 0, None
    yield "assets", event.ledger, None
    yield "accounts", debit, None
    yield "accounts", credit, None
    for party in {*parties} - {0}:
        yield "all", 0, party
        yield "assets", event.ledger, party
    # An account is heard of through the view of its own party only.
    for account_id, party in zip((debit, credit), parties, strict=True):
        if party:
            yield "accounts", account_id, party
