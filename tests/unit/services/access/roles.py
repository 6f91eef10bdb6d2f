"""The default roles once more, in plain Python, to be checked by eye against docs/guides/access.md."""

from __future__ import annotations

from qenex.principals import SYSTEM_BOOK, Action, Principal, Role
from qenex.services.access import Account, Key, Party, Target, Transfer

LEDGER_READS = {Action.ACCOUNTS_READ, Action.TRANSFERS_READ, Action.EVENTS_READ, Action.REPORTS_READ}
LEDGER_WRITES = {Action.ACCOUNTS_WRITE, Action.TRANSFERS_WRITE}
SET_UP = {Action.POLICIES_READ, Action.BOOKS_READ}
OF_THE_LEDGER = {Action.ACCOUNTS_READ, Action.TRANSFERS_READ, Action.EVENTS_READ}


def exists(action: Action, target: Target) -> bool:
    """Whether there is such a thing to do."""
    what = target.what
    if target.book == SYSTEM_BOOK:
        of_system = {Action.BOOKS_READ, Action.BOOKS_WRITE, Action.METRICS_READ, Action.POLICIES_READ}
        of_system |= {Action.USERS_READ, Action.USERS_WRITE, Action.KEYS_READ, Action.KEYS_WRITE}
        keys = {Action.KEYS_READ, Action.KEYS_WRITE}
        return action in of_system if what is None else isinstance(what, Key) and action in keys
    if isinstance(what, Key):
        return action in (Action.KEYS_READ, Action.KEYS_WRITE)
    if isinstance(what, Transfer):
        return action in (Action.TRANSFERS_READ, Action.TRANSFERS_WRITE)
    if isinstance(what, Account):
        return action in OF_THE_LEDGER | {Action.ACCOUNTS_WRITE}
    if isinstance(what, Party):
        return action in OF_THE_LEDGER
    one_by_one = LEDGER_WRITES | {Action.KEYS_WRITE}
    return action not in one_by_one | {Action.BOOKS_WRITE, Action.METRICS_READ}


def owns(principal: Principal, target: Target) -> bool:
    """Whether it is of the principal's own party: one side suffices."""
    what = target.what
    if isinstance(what, Transfer):
        parties = {what.debit.party, what.credit.party}
    elif isinstance(what, Account):
        parties = {what.party}
    else:
        parties = {what.number} if isinstance(what, Party) else set()
    return bool(principal.party) and principal.party in parties


def allows(role: Role, principal: Principal, action: Action, target: Target) -> bool:
    """What one role allows."""
    in_system, what = target.book == SYSTEM_BOOK, target.what
    own_key = isinstance(what, Key) and what.holder == principal.id
    match role:
        case Role.OWNER:
            return True
        case Role.AUDITOR:
            return action.endswith(":read")
        case Role.OPERATOR:
            allowed = LEDGER_READS | LEDGER_WRITES | SET_UP | {Action.WEBHOOKS_READ}
            return (action in allowed and not in_system) or (action == Action.KEYS_READ and own_key)
        case Role.APPROVER:
            allowed = LEDGER_READS | SET_UP
            return (action in allowed and not in_system) or (action == Action.KEYS_READ and own_key)
        case Role.DEVELOPER:
            if isinstance(what, Key):
                return own_key and (action == Action.KEYS_READ or not what.is_live)
            if in_system:
                return False
            in_tests = LEDGER_READS | LEDGER_WRITES | {Action.WEBHOOKS_WRITE}
            return action in SET_UP | {Action.WEBHOOKS_READ} or (action in in_tests and not target.is_live)
        case Role.CUSTOMER:
            return action in OF_THE_LEDGER and owns(principal, target)


def may(principal: Principal, action: Action, target: Target) -> bool:
    """What the default policies should say."""
    if principal.book != target.book or not exists(action, target):
        return False
    if principal.scopes is not None and action not in principal.scopes:
        return False
    if action.endswith(":write") and target.is_live and not principal.is_live:
        return False
    what = target.what
    if Role.CUSTOMER in principal.roles and action == Action.TRANSFERS_WRITE:
        assert isinstance(what, Transfer)
        if not principal.party or what.debit.party != principal.party:
            return False
    return any(allows(role, principal, action, target) for role in principal.roles)
