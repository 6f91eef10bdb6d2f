"""The facts of a request, by the names that policies have for them; and what is refused before any policy is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qenex.eip55 import address_text
from qenex.errors import UnknownAsset
from qenex.principals import SYSTEM_BOOK, Action
from qenex.services.access.messages import Account, Key, Party, Transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qenex.assets import Assets
    from qenex.principals import Principal
    from qenex.services.access.messages import Target
    from qenex.services.access.rules.bands import BandTables

Fact = str | int | bool | None
"""`None`: there is none, as an account without an owner has no party."""


class Unknown(Exception):
    """A policy looks at a fact that the door has not said. It never leaves the rules."""


_ANYTHING: Final = frozenset({"Book", "Party", "Account"})
_SET_UP: Final = frozenset({"Book", "Installation"})

KINDS: Final[Mapping[Action, frozenset[str]]] = {
    Action.ACCOUNTS_READ: _ANYTHING,
    Action.ACCOUNTS_WRITE: frozenset({"Account"}),
    Action.TRANSFERS_READ: _ANYTHING | {"Transfer"},
    Action.TRANSFERS_WRITE: frozenset({"Transfer"}),
    Action.EVENTS_READ: _ANYTHING,
    Action.REPORTS_READ: frozenset({"Book"}),
    Action.WEBHOOKS_READ: frozenset({"Book"}),
    Action.WEBHOOKS_WRITE: frozenset({"Book"}),
    Action.USERS_READ: _SET_UP,
    Action.USERS_WRITE: _SET_UP,
    Action.KEYS_READ: _SET_UP | {"Key"},
    Action.KEYS_WRITE: frozenset({"Key", "Installation"}),
    Action.POLICIES_READ: _SET_UP,
    Action.BOOKS_READ: _SET_UP,
    Action.BOOKS_WRITE: frozenset({"Installation"}),
    Action.METRICS_READ: frozenset({"Installation"}),
}
"""What an action can be done to. `schema.cedarschema` says the same; a test compares."""


def kind_of(target: Target) -> str:
    """What kind of resource policies see."""
    if target.what is None:
        return "Installation" if target.book == SYSTEM_BOOK else "Book"
    return type(target.what).__name__


def refusal(principal: Principal, action: Action, target: Target) -> str:
    """Why no policy needs to be asked; empty where they do."""
    if principal.book != target.book:
        return "the credential belongs to another book"
    if action not in KINDS:
        return f"there is no action {action}"
    if principal.scopes is not None and action not in principal.scopes:
        return f"the credential has not the scope {action}"
    if not principal.roles:
        return "the principal has no role in this book"
    kind = kind_of(target)
    if kind not in KINDS[action] or (target.book == SYSTEM_BOOK and kind not in ("Installation", "Key")):
        return f"{action} cannot be done to this"
    return ""


class Reader:
    """Finds facts of requests; one for each policy set, for its bands and assets."""

    __slots__ = ("_assets", "_bands")

    def __init__(self, bands: BandTables, assets: Assets) -> None:
        self._bands, self._assets = bands, assets

    def read(self, name: str, principal: Principal, target: Target) -> Fact:
        """One fact.

        Raises:
            Unknown: the door has not said.
        """
        return _FACTS[name](self, principal, target)

    def asset(self, ledger: int) -> str:
        """The code of an asset; its number where there is none."""
        try:
            return self._assets.find(ledger).code
        except UnknownAsset:
            return str(ledger)

    def band(self, _: Principal, target: Target) -> Fact:
        """Of the amount of a transfer."""
        transfer = _transfer(target)
        return self._bands.transfer.of(transfer.ledger, transfer.amount_minor)

    def day_band(self, _: Principal, target: Target) -> Fact:
        """Of what was moved in a day."""
        transfer = _transfer(target)
        if transfer.day_minor is None:
            raise Unknown("how much the principal has moved today")
        return self._bands.day.of(transfer.ledger, transfer.day_minor)


def _transfer(target: Target) -> Transfer:
    if not isinstance(target.what, Transfer):  # the schema lets no policy ask this of anything else
        raise Unknown("the transfer")
    return target.what


def _party(party: int | None) -> Fact:
    """Party 0 is nobody's: as a fact it is not there, so that it equals no party, not even a customer's without one."""
    if party is None:
        raise Unknown("whose the account is")
    return str(party) if party else None


def _code(account: Account) -> Fact:
    if account.code is None:
        raise Unknown("what kind of account it is")
    return account.code


def _resource_party(_: Reader, __: Principal, target: Target) -> Fact:
    what = target.what
    return _party(what.number if isinstance(what, Party) else what.party if isinstance(what, Account) else None)


def _resource_asset(reader: Reader, _: Principal, target: Target) -> Fact:
    what = target.what
    return reader.asset(what.ledger) if isinstance(what, Account | Transfer) else None


def _of_account(fact: Callable[[Account], Fact]) -> Callable[[Reader, Principal, Target], Fact]:
    return lambda _, __, target: fact(target.what) if isinstance(target.what, Account) else None


def _of_side(side: str, fact: Callable[[Account], Fact]) -> Callable[[Reader, Principal, Target], Fact]:
    return lambda _, __, target: fact(getattr(_transfer(target), side))


def _of_key(fact: Callable[[Key], Fact]) -> Callable[[Reader, Principal, Target], Fact]:
    return lambda _, __, target: fact(target.what) if isinstance(target.what, Key) else None


_SIDE: Final[Mapping[str, Callable[[Account], Fact]]] = {
    "address": lambda account: address_text(account.id),
    "code": _code,
    "party": lambda account: _party(account.party),
}
_FACTS: Final[Mapping[str, Callable[[Reader, Principal, Target], Fact]]] = {
    "principal.id": lambda _, principal, __: principal.id,
    "principal.kind": lambda _, principal, __: principal.kind,
    "principal.live": lambda _, principal, __: principal.is_live,
    "principal.strength": lambda _, principal, __: principal.strength.value,
    "principal.party": lambda _, principal, __: str(principal.party) if principal.party else None,
    "resource.party": _resource_party,
    "resource.asset": _resource_asset,
    "resource.address": _of_account(_SIDE["address"]),
    "resource.code": _of_account(_SIDE["code"]),
    **{f"resource.{side}.{name}": _of_side(side, fact) for side in ("debit", "credit") for name, fact in _SIDE.items()},
    "resource.holder": _of_key(lambda key: key.holder),
    "resource.live": _of_key(lambda key: key.is_live),
    "context.live": lambda _, __, target: target.is_live,
    "context.phase": lambda _, __, target: _transfer(target).phase.value,
    "context.band": Reader.band,
    "context.day_band": Reader.day_band,
}

_ALWAYS: Final = frozenset(name for name in _FACTS if name.startswith("principal.")) | {"context.live"}
_SIDES: Final = frozenset(f"resource.{side}.{name}" for side in ("debit", "credit") for name in _SIDE)
_BY_KIND: Final[Mapping[str, frozenset[str]]] = {
    "Installation": frozenset(),
    "Book": frozenset(),
    "Party": frozenset({"resource.party"}),
    "Account": frozenset(f"resource.{name}" for name in ("address", "asset", "code", "party")),
    "Transfer": _SIDES | {"resource.asset"},
    "Key": frozenset({"resource.holder", "resource.live"}),
}
_OF_WRITES: Final = frozenset({"context.phase", "context.band", "context.day_band"})

OF_ACCOUNTS: Final = frozenset({"resource.party", "resource.code"}) | {
    f"resource.{side}.{name}" for side in ("debit", "credit") for name in ("party", "code")
}
"""Facts that a door must look up in the ledger."""
NAMES_ACCOUNTS: Final = OF_ACCOUNTS | {
    "resource.address",
    "resource.debit.address",
    "resource.credit.address",
}
"""Facts by which one account differs from another of the same asset."""


def facts_of(action: Action, kind: str) -> frozenset[str]:
    """Every fact that there is of such a request."""
    return _ALWAYS | _BY_KIND[kind] | (_OF_WRITES if action is Action.TRANSFERS_WRITE else frozenset())
