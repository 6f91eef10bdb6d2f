"""Rows drawn at random: mostly such as a client would send, every fourth with something wrong or rare in a field.

All values are drawn from few, so that rows meet: the same ids, balances that are used up exactly.
"""

# nothing here is secret

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qenex.kernel import TIMESTAMP_MAX, U128_MAX, AccountFilterFlags, AccountFlags, TransferFlags
from tests.reference.records import Account, AccountFilter, ChangeEventsFilter, QueryFilter, Terms, Transfer

if TYPE_CHECKING:
    from random import Random

ACCOUNT_IDS: Final = range(1, 30)
ODD_IDS: Final = [0, U128_MAX, 2**100]

_A, _T, _F = AccountFlags, TransferFlags, AccountFilterFlags
_HUGE: Final = [U128_MAX, U128_MAX - 1, 2**127]
_TIMES: Final = [40, 10**9, TIMESTAMP_MAX, TIMESTAMP_MAX + 1]
_USER_DATA: Final[dict[str, list[int]]] = {"user_data_128": [7, 2**64], "user_data_64": [7], "user_data_32": [7]}
_FILTER: Final[dict[str, list[int]]] = {
    "user_data_128": [7],
    "user_data_64": [7],
    "user_data_32": [7],
    "code": [1, 2],
    "reserved": [1],
    "timestamp_min": _TIMES,
    "timestamp_max": _TIMES,
    "limit": [0, 1, 2, 2**32 - 1],
}


def _spoil(random: Random, row: dict[str, Any], odd: dict[str, Any]) -> dict[str, Any]:
    """The row, of which every fourth has another value in a field, and some in two."""
    while random.randrange(4) == 0:
        name = random.choice(list(odd))
        row[name] = random.choice(odd[name])
    return row


def account(random: Random) -> Account:
    flags = random.choice([0, 0, _A.LINKED, 2, 2 | _A.LINKED, 4, 4 | _A.LINKED, _A.HISTORY, _A.HISTORY | 2])
    row = {"id": random.choice(ACCOUNT_IDS), "ledger": random.choice([1, 1, 1, 1, 2]), "code": 1, "flags": flags}
    balances = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
    odd = {
        "id": ODD_IDS,
        **{key: [1] for key in balances},
        **_USER_DATA,
        "reserved": [1],
        "ledger": [0, 2],
        "code": [0, 2],
        "flags": [6, 16, 32, 33, 64, 1 << 15],
        "timestamp": [1, TIMESTAMP_MAX + 1],
    }
    return Account(**_spoil(random, row, odd))


def opening_account(random: Random, account_id: int) -> Account:
    """An account to start from; its balances may be close to the end of their range, its flags reserved ones."""
    row = {"ledger": 1, "code": 1, "flags": random.choice([0, 0, 2, 4, 8])}
    near = [3, U128_MAX - 3]
    odd = {
        "debits_posted": near,
        "credits_posted": near,
        "debits_pending": [2],
        "credits_pending": [2],
        "flags": [32, 64],
    }
    return Account(id=account_id, timestamp=10 * account_id, **_spoil(random, row, odd))


def first_phase(random: Random, ids: range) -> Transfer:
    """A transfer of one phase, or the first phase of two."""
    closing = random.choice([_T.CLOSING_DEBIT, _T.CLOSING_CREDIT, _T.CLOSING_DEBIT | _T.CLOSING_CREDIT])
    flags = random.choice(
        [
            *[0, 0, 0, 0, 0, _T.LINKED, _T.PENDING, _T.PENDING, _T.PENDING, _T.PENDING | _T.LINKED],
            *[_T.BALANCING_DEBIT, _T.BALANCING_CREDIT, _T.BALANCING_DEBIT | _T.BALANCING_CREDIT | _T.PENDING],
            _T.PENDING | random.choice([0, 0, closing]),
        ]
    )
    debit, credit = random.sample(ACCOUNT_IDS[:6], 2)
    row = {
        "id": random.choice(ids),
        "debit_account_id": debit,
        "credit_account_id": credit,
        "amount": random.choice([0, 1, 1, 2, 3, 5]),
        "timeout": random.choice([0, 1, 2]) if flags & _T.PENDING else 0,
        "ledger": 1,
        "code": random.choice([1, 1, 2, 32_768]),
        "flags": flags,
    }
    odd = {
        "id": ODD_IDS,
        "debit_account_id": [*ODD_IDS, credit],
        "credit_account_id": ODD_IDS,
        "amount": _HUGE,
        "pending_id": [1, U128_MAX],
        **_USER_DATA,
        "timeout": [1, 2**32 - 1],
        "ledger": [0, 2],
        "code": [0],
        "flags": [64, 12, _T.IMPORTED, 1 << 9, 1 << 15],
        "timestamp": [1, TIMESTAMP_MAX + 1],
    }
    return Transfer(**_spoil(random, row, odd))


def second_phase(random: Random, ids: range, pending_ids: list[int]) -> Transfer:
    """A post or a void of one of these."""
    post = random.random() < 0.6
    row = {
        "id": random.choice(ids),
        "pending_id": random.choice(pending_ids or ids),
        "amount": random.choice([0, 1, 2, U128_MAX]) if post else 0,
        "flags": (_T.POST_PENDING_TRANSFER if post else _T.VOID_PENDING_TRANSFER) | random.choice([0, 0, _T.LINKED]),
    }
    odd = {
        "id": [*ODD_IDS, row["pending_id"]],
        "debit_account_id": ACCOUNT_IDS,
        "credit_account_id": ACCOUNT_IDS,
        "amount": [1, 2, 3, 5, *_HUGE],
        "pending_id": [*ODD_IDS, 1, 2, 3],
        **_USER_DATA,
        "timeout": [1],
        "ledger": [1, 2],
        "code": [1, 2],
        "flags": [12, 6, 4 | 16, 8 | 32, 4 | 64, 8 | 128, 4 | 1 << 15],
        "timestamp": [1],
    }
    return Transfer(**_spoil(random, row, odd))


def retry(random: Random, sent: list[Transfer]) -> Transfer:
    """One of these, sent again: usually the same."""
    odd = {
        "debit_account_id": ACCOUNT_IDS,
        "credit_account_id": ACCOUNT_IDS,
        "amount": [0, 1, 2, 5, U128_MAX],
        "pending_id": [0, 1],
        **_USER_DATA,
        "timeout": [0, 1, 2],
        "ledger": [0, 1, 2],
        "code": [0, 1, 2],
        "flags": [0, 1, 2, 4, 8],
        "timestamp": [0],
    }
    return Transfer(**_spoil(random, vars(random.choice(sent)).copy(), odd))


def terms(random: Random) -> Terms:
    row = {
        "account_id": random.choice(ACCOUNT_IDS),
        "debit_limit": random.choice([0, 1, 3]),
        "restrictions": random.choice([0, 0, 0, 0, 0, 1, 2]),
    }
    odd = {"account_id": ODD_IDS, "debit_limit": _HUGE, "restrictions": [3, 4], "reason": [5], "reserved": [1]}
    return Terms(**_spoil(random, row, odd))


def account_filter(random: Random) -> AccountFilter:
    flags = random.choice([_F.DEBITS, _F.CREDITS, 3, 3, 7])
    row = {"account_id": random.choice(ACCOUNT_IDS[:6]), "limit": random.choice([8_189, 3]), "flags": flags}
    return AccountFilter(**_spoil(random, row, {"account_id": ODD_IDS, "flags": [0, 4, 8 | 3], **_FILTER}))


def query_filter(random: Random) -> QueryFilter:
    row = {"limit": random.choice([8_189, 3]), "flags": random.choice([0, 1])}
    return QueryFilter(**_spoil(random, row, {"flags": [2], "ledger": [1, 2], **_FILTER}))


def change_events_filter(random: Random) -> ChangeEventsFilter:
    odd = {name: _FILTER[name] for name in ("timestamp_min", "timestamp_max", "limit", "reserved")}
    return ChangeEventsFilter(**_spoil(random, {"limit": random.choice([2_730, 3])}, odd))
