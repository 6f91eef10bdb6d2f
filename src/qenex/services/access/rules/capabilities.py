"""What the binary door may let a principal do, compiled from the policies once, when a session is opened.

The engine compares rows with a capability and asks nobody. So the policies are asked before, in place of every transfer
that there could be: for each phase, asset and band one question. They may look at the principal, at asset, phase and
bands; where one that can apply looks at whose an account is or at its kind or address, the answer would differ from
account to account, and the action is withheld.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from qenex.principals import Action
from qenex.services.access.messages import Account, Capability, Ceiling, Phase, Target, Transfer
from qenex.services.access.rules.questions import NAMES_ACCOUNTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from qenex.principals import Principal
    from qenex.services.access.rules.policy_set import PolicySet

OPERATIONS: Final[Mapping[Action, tuple[str, ...]]] = {
    Action.ACCOUNTS_READ: (
        "lookup_accounts",
        "query_accounts",
        "get_account_balances",
        "balance_at",
        "lookup_account_terms",
    ),
    Action.ACCOUNTS_WRITE: ("create_accounts", "set_account_terms"),
    Action.TRANSFERS_READ: (
        "lookup_transfers",
        "get_account_transfers",
        "query_transfers",
        "lookup_outcomes",
        "lookup_hashes",
    ),
    Action.TRANSFERS_WRITE: ("create_transfers",),
    Action.EVENTS_READ: ("get_change_events",),
}
"""The operations of spec/protocol.md that an action opens. Those of the whole installation (metrics, backup, the clock)
are in no capability: the owner credential of the home has them."""
_OF_EVERY_SESSION: Final = "get_status"
_OTHER_LEDGER: Final = (1 << 32) - 1
"""Stands for every ledger that is not asked for by its number."""
_ANY_ACCOUNT: Final = Account(1, party=0, code=0)
_BY_ACCOUNT: Final = "a policy looks at accounts one by one, which only the HTTP door can do"


def compile_capability(
    policies: PolicySet, principal: Principal, ledgers: Iterable[int], *, is_live: bool
) -> tuple[Capability, list[str]]:
    """The capability, and complaints for the alarm where policies could not be evaluated."""
    asking = _Asking(policies, principal, is_live=is_live)
    ledgers = sorted(set(ledgers) - {_OTHER_LEDGER})
    withheld: dict[Action, str] = {}
    granted: set[Action] = set()
    ceilings: dict[int, Ceiling] = {}
    other: Ceiling | None = None
    for action in OPERATIONS:
        if action is Action.TRANSFERS_WRITE:
            kind = "Transfer"
        else:
            kind = "Account" if action is Action.ACCOUNTS_WRITE else "Book"
        if not NAMES_ACCOUNTS.isdisjoint(policies.facts(principal, action, kind)):
            withheld[action] = _BY_ACCOUNT
        elif action is Action.TRANSFERS_WRITE:
            found = {ledger: asking.ceiling(ledger) for ledger in (*ledgers, _OTHER_LEDGER)}
            other = found.pop(_OTHER_LEDGER)
            ceilings = {ledger: ceiling for ledger, ceiling in found.items() if ceiling is not None}
            if ceilings or other is not None:
                granted.add(action)
            else:
                withheld[action] = asking.reason
        elif action is Action.ACCOUNTS_WRITE:
            accounts = [Account(1, party=0, code=0, ledger=ledger) for ledger in (*ledgers, _OTHER_LEDGER)]
            if all(asking.allows(action, account) for account in accounts):
                granted.add(action)
            else:
                withheld[action] = asking.reason
        elif asking.allows(action, None):
            granted.add(action)
        else:
            withheld[action] = asking.reason
    operations = {name for action in granted for name in OPERATIONS[action]} | {_OF_EVERY_SESSION}
    content = [sorted(granted), [[ledger, *_pair(each)] for ledger, each in sorted(ceilings.items())], _pair(other)]
    digest = sha256(b"qenex-capability-v1" + policies.digest + json.dumps(content).encode()).digest()
    capability = Capability(
        book=principal.book,
        actions=frozenset(granted),
        operations=frozenset(operations),
        ceilings=ceilings,
        other=other,
        withheld=withheld,
        digest=digest,
    )
    return capability, asking.complaints


class _Asking:
    """Asks in place of what there could be."""

    def __init__(self, policies: PolicySet, principal: Principal, *, is_live: bool) -> None:
        self._policies, self._principal, self._is_live = policies, principal, is_live
        self.complaints: list[str] = []
        self.reason = ""
        """Of the last denial."""
        wanted = policies.facts(principal, Action.TRANSFERS_WRITE, "Transfer")
        bands = policies.bands
        self._phases = tuple(Phase) if "context.phase" in wanted else (Phase.SINGLE,)
        self._bands = range(bands.transfer.highest + 1) if "context.band" in wanted else range(1)
        self._has_bands = "context.band" in wanted
        self._days = range(bands.day.highest + 1) if "context.day_band" in wanted else range(1)
        self._has_days = "context.day_band" in wanted

    def allows(self, action: Action, what: Account | Transfer | None) -> bool:
        """One question."""
        target = Target(self._principal.book, what, is_live=self._is_live)
        decision, complaint = self._policies.decide(self._principal, action, target)
        if complaint:
            self.complaints.append(complaint)
        if not decision.allowed:
            self.reason = decision.reason
        return decision.allowed

    def ceiling(self, ledger: int) -> Ceiling | None:
        """How much may be moved of an asset; `None` is nothing.

        From the lowest bands on, as far as every combination of amount and day is allowed. Where the two cut each other
        short the day gives way first, so that what is left holds for both.
        """
        bands, days = self._policies.bands.transfer, self._policies.bands.day
        amounts = [_an_amount(bands.thresholds.get(ledger), band) for band in self._bands]
        sums = [_an_amount(days.thresholds.get(ledger), band) for band in self._days]
        widest = (0, 0)
        for high_day in range(1, len(sums) + 1):
            high = 0
            while high < len(amounts) and all(
                self._moves(ledger, amounts[high], day, phase) for day in sums[:high_day] for phase in self._phases
            ):
                high += 1
            if high == 0:
                break
            if high < widest[0]:
                break
            widest = (high, high_day)
        if widest == (0, 0):
            return None
        top, top_day = widest[0] - 1, widest[1] - 1
        return Ceiling(
            bands.ceiling(ledger, top) if self._has_bands and top < self._bands[-1] else None,
            days.ceiling(ledger, top_day) if self._has_days and top_day < self._days[-1] else None,
        )

    def _moves(self, ledger: int, amount_minor: int, day_minor: int, phase: Phase) -> bool:
        return self.allows(
            Action.TRANSFERS_WRITE, Transfer(_ANY_ACCOUNT, _ANY_ACCOUNT, ledger, amount_minor, phase, day_minor)
        )


def _an_amount(thresholds: tuple[int, ...] | None, band: int) -> int:
    """An amount that lies in a band; without thresholds any does, for all lie in the highest."""
    if thresholds is None or band == 0:
        return 0
    return thresholds[band - 1] + 1


def _pair(ceiling: Ceiling | None) -> list[str | None]:
    values = (None, None) if ceiling is None else (ceiling.transfer_minor, ceiling.day_minor)
    return [None if value is None else str(value) for value in values]
