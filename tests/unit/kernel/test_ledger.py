"""The facade: arrays and objects in, the same out; what cannot be rows is refused by name; nothing is shared."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
import pytest

from qenex.errors import BatchTooLarge, InvalidRows, InvalidTimestamp
from qenex.kernel import (
    ACCOUNT,
    ACCOUNT_BALANCE,
    ACCOUNT_FILTER,
    ACCOUNT_TERMS,
    BALANCE_AT,
    BATCH_MAX,
    CHANGE_EVENT,
    CHANGE_EVENTS_FILTER,
    EVENT_RESULT,
    HASH,
    ID,
    OUTCOME,
    QUERY_FILTER,
    TIMESTAMP_MAX,
    TRANSFER,
    U128_MAX,
    Account,
    AccountBalance,
    AccountFilter,
    AccountFlags,
    AccountTerms,
    BalanceAt,
    ChangeEventKind,
    ChangeEventsFilter,
    CreateAccountStatus,
    CreateTransferStatus,
    Ledger,
    Outcome,
    QueryFilter,
    Restrictions,
    Result,
    SetAccountTermsStatus,
    Transfer,
    TransferFlags,
    from_ints,
    to_ints,
    transfer_hashes,
)

EUR = 978


def two_accounts(**fields: Any) -> Ledger:
    """A ledger with the accounts 1 and 2, created at 1 and 2."""
    ledger = Ledger()
    ledger.create_accounts([Account(id=i, ledger=EUR, code=1, **fields) for i in (1, 2)], timestamp_ns=2)
    return ledger


def payment(id_: int = 1, **fields: Any) -> Transfer:
    return Transfer(
        **{"id": id_, "debit_account_id": 1, "credit_account_id": 2, "amount": 5, "ledger": EUR, "code": 1, **fields}
    )


def payments(count: int) -> np.ndarray[Any, np.dtype[np.void]]:
    rows = np.zeros(count, dtype=TRANSFER)
    rows["id"]["lo"] = np.arange(1, count + 1)
    rows["debit_account_id"]["lo"], rows["credit_account_id"]["lo"] = 1, 2
    rows["amount"]["lo"], rows["ledger"], rows["code"] = 5, EUR, 1
    return rows


# -- objects ---------------------------------------------------------------------------------------------------


def test_objects_tell_the_story_of_a_ledger() -> None:
    ledger = two_accounts(flags=AccountFlags.HISTORY)
    pending = payment(1, flags=TransferFlags.PENDING, timeout=1, user_data_128=U128_MAX)
    post = Transfer(id=2, pending_id=1, amount=3, flags=TransferFlags.POST_PENDING_TRANSFER)
    missing = payment(3, credit_account_id=9)
    created, not_found = CreateTransferStatus.CREATED, CreateTransferStatus.CREDIT_ACCOUNT_NOT_FOUND
    assert ledger.create_transfers([pending, post, missing], timestamp_ns=10) == [
        Result(timestamp=8, status=created),
        Result(timestamp=9, status=created),
        Result(timestamp=10, status=not_found),
    ]
    assert ledger.timestamp_ns == 10
    assert ledger.next_expiry_ns is None
    one, two = ledger.lookup_accounts([1, 2, 3])
    assert (one.debits_posted, one.debits_pending, two.credits_posted) == (3, 0, 3)
    assert one.flags is AccountFlags.HISTORY
    first, second = ledger.lookup_transfers([1, 3, 2])
    assert (first.user_data_128, second.user_data_128, second.debit_account_id) == (U128_MAX, U128_MAX, 1)
    assert second.flags is TransferFlags.POST_PENDING_TRANSFER
    assert ledger.lookup_outcomes([3, 4, 1]) == [
        Outcome(id=3, timestamp=10, status=not_found),
        Outcome(id=1, timestamp=8, status=created),
    ]
    assert ledger.get_account_transfers(AccountFilter(account_id=2)) == [first, second]
    balances = ledger.get_account_balances(AccountFilter(account_id=1))
    assert balances == [AccountBalance(debits_pending=5, timestamp=8), AccountBalance(debits_posted=3, timestamp=9)]
    assert ledger.balance_at([BalanceAt(account_id=1, timestamp=8)]) == balances[:1]
    assert ledger.query_accounts(QueryFilter(ledger=EUR)) == [one, two]
    assert ledger.query_transfers(QueryFilter(limit=1)) == [first]
    events = ledger.get_change_events(ChangeEventsFilter())
    assert [event.kind for event in events] == [ChangeEventKind.TWO_PHASE_PENDING, ChangeEventKind.TWO_PHASE_POSTED]
    assert (events[1].credit_account.id, events[1].credit_account.credits_posted) == (2, 3)


def test_terms_are_set_looked_up_and_removed() -> None:
    ledger = two_accounts()
    terms = AccountTerms(account_id=1, debit_limit=U128_MAX, restrictions=Restrictions.NO_CREDIT, reason=7)
    applied = SetAccountTermsStatus.APPLIED
    assert ledger.set_account_terms([terms], timestamp_ns=3) == [Result(timestamp=3, status=applied)]
    assert ledger.lookup_account_terms([2, 1]) == [terms]
    ledger.set_account_terms([AccountTerms(account_id=1)], timestamp_ns=4)
    assert ledger.lookup_account_terms([1]) == []


def test_time_releases_what_was_reserved() -> None:
    ledger = two_accounts()
    ledger.create_transfers([payment(flags=TransferFlags.PENDING, timeout=1)], timestamp_ns=3)
    assert ledger.next_expiry_ns == 1_000_000_003
    assert ledger.expire(1_000_000_002) == 0
    assert ledger.timestamp_ns == 3
    assert ledger.expire(1_000_000_003) == 1
    assert ledger.timestamp_ns == 1_000_000_003
    assert [account.debits_pending for account in ledger.lookup_accounts([1])] == [0]


def test_a_ledger_starts_from_given_accounts_as_they_are() -> None:
    opening = [
        Account(id=1, credits_posted=U128_MAX, debits_pending=3, ledger=EUR, code=1, timestamp=5),
        Account(id=2, user_data_32=4, ledger=EUR, code=1, flags=AccountFlags(1 << 15), timestamp=3),
    ]
    ledger = Ledger(opening)
    assert ledger.lookup_accounts([1, 2]) == opening
    assert ledger.timestamp_ns == 5
    for wrong in (Account(timestamp=1), Account(id=3), Account(id=1, timestamp=9), Account(id=3, timestamp=5)):
        with pytest.raises(InvalidRows, match="account row 2"):
            Ledger([*opening, wrong])


def test_reserved_bits_reach_the_kernel_untouched() -> None:
    ledger = two_accounts()
    rows = payments(2)
    rows["flags"] = [1 << 9, 1 << 15]
    assert set(ledger.create_transfers(rows, timestamp_ns=9)["status"]) == {CreateTransferStatus.RESERVED_FLAG}
    accounts = np.zeros(1, dtype=ACCOUNT)
    accounts["reserved"] = 1
    assert ledger.create_accounts(accounts, timestamp_ns=10)["status"] == CreateAccountStatus.RESERVED_FIELD
    filter_ = np.zeros(1, dtype=QUERY_FILTER)
    filter_["limit"] = 1
    assert ledger.query_accounts(filter_).size == 1
    filter_["reserved"][0, 5] = 1
    assert ledger.query_accounts(filter_).size == 0


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("id", -1, "does not fit"),
        ("id", U128_MAX + 1, "does not fit"),
        ("amount", 1.0, "'float'"),
        ("amount", None, "'NoneType'"),
        ("code", 65_536, "greater than maximum"),
        ("timeout", -1, "(negative|less than minimum)"),
        ("ledger", 1.5, "'float'"),
        ("timestamp", 2**64, "too (big|large)"),
        ("user_data_64", "1", "'str'"),
    ],
)
def test_a_field_that_is_no_integer_that_fits_is_refused_by_row_and_name(
    field: str, value: object, reason: str
) -> None:
    ledger = two_accounts()
    with pytest.raises(InvalidRows, match=rf"row 1: {field} is .*{reason}"):
        ledger.create_transfers([payment(1), payment(2, **{field: value})], timestamp_ns=4)
    assert ledger.timestamp_ns == 2


def test_objects_of_another_kind_are_refused() -> None:
    ledger = two_accounts()
    with pytest.raises(InvalidRows, match="row 1 is a Account"):
        ledger.create_transfers([payment(), Account()], timestamp_ns=4)  # type: ignore[list-item]  # the point
    with pytest.raises(InvalidRows, match="row 0 is a int"):
        ledger.balance_at([1])  # type: ignore[list-item]  # the point
    with pytest.raises(InvalidRows, match=r"ids: .*'str'"):
        ledger.lookup_accounts(["1"])  # type: ignore[list-item]  # the point
    with pytest.raises(InvalidRows, match="row 1: a hash is 32 bytes"):
        ledger.lookup_hashes([bytes(32), bytes(31)])


# -- arrays ----------------------------------------------------------------------------------------------------


def test_arrays_come_back_as_rows_that_can_be_written_to() -> None:
    ledger = two_accounts()
    results = ledger.create_transfers(payments(3), timestamp_ns=10)
    assert results.dtype == EVENT_RESULT
    assert results["timestamp"].tolist() == [8, 9, 10]
    found = ledger.lookup_transfers(from_ints([2, 7]))
    assert found.dtype == TRANSFER
    assert to_ints(found["id"]) == [2]
    hashes = np.frombuffer(b"".join(transfer_hashes(found)), dtype=HASH)
    assert ledger.lookup_hashes(hashes).tobytes() == found.tobytes()
    found["amount"] = from_ints([9])
    assert to_ints(ledger.lookup_transfers(from_ints([2]).view(ID))["amount"]) == [5]


def test_every_question_answers_in_its_own_rows() -> None:
    ledger = two_accounts()
    ids = from_ints([1])
    answers = [
        (ledger.lookup_accounts(ids), ACCOUNT),
        (ledger.lookup_transfers(ids), TRANSFER),
        (ledger.lookup_hashes(np.zeros(1, dtype=HASH)), TRANSFER),
        (ledger.lookup_outcomes(ids), OUTCOME),
        (ledger.lookup_account_terms(ids), ACCOUNT_TERMS),
        (ledger.balance_at(np.zeros(1, dtype=BALANCE_AT)), ACCOUNT_BALANCE),
        (ledger.get_account_transfers(np.zeros(1, dtype=ACCOUNT_FILTER)), TRANSFER),
        (ledger.get_account_balances(np.zeros(1, dtype=ACCOUNT_FILTER)), ACCOUNT_BALANCE),
        (ledger.query_accounts(np.zeros(1, dtype=QUERY_FILTER)), ACCOUNT),
        (ledger.query_transfers(np.zeros(1, dtype=QUERY_FILTER)), TRANSFER),
        (ledger.get_change_events(np.zeros(1, dtype=CHANGE_EVENTS_FILTER)), CHANGE_EVENT),
    ]
    for rows, dtype in answers:
        assert rows.dtype == dtype


def test_other_dtypes_byte_orders_shapes_and_strides_are_refused_by_name() -> None:
    ledger = two_accounts()
    rows = payments(6)
    cases: list[tuple[Any, str]] = [
        (np.zeros(1, dtype=ACCOUNT), "dtype"),
        (np.zeros(128, dtype=np.uint8), "dtype uint8"),
        (rows.astype(TRANSFER.newbyteorder(">")), "byte order big-endian"),
        (rows.reshape(2, 3), r"shape \(2, 3\)"),
        (rows[::2], "stride 256"),
        (rows[::-1], "stride -128"),
    ]
    for wrong, name in cases:
        with pytest.raises(InvalidRows, match=name):
            ledger.create_transfers(wrong, timestamp_ns=100)
    with pytest.raises(InvalidRows, match="dtype int64"):
        ledger.lookup_accounts(np.array([1]))
    with pytest.raises(InvalidRows, match="stride 128"):
        ledger.lookup_transfers(rows["id"])
    with pytest.raises(InvalidRows, match="not one row"):
        ledger.query_accounts(np.zeros(2, dtype=QUERY_FILTER))
    assert ledger.timestamp_ns == 2


def test_input_is_copied() -> None:
    ledger = two_accounts()
    rows = payments(2)
    results = ledger.create_transfers(rows, timestamp_ns=10)
    answered, recorded = results.tobytes(), ledger.lookup_transfers([1, 2])
    rows[:] = 0
    results[:] = 0
    assert ledger.lookup_transfers([1, 2]) == recorded
    again = payments(2)
    assert answered != ledger.create_transfers(again, timestamp_ns=20).tobytes()
    assert again.tobytes() == payments(2).tobytes()


def test_rows_at_any_address_are_taken() -> None:
    ledger = two_accounts()
    memory = np.zeros(3 + 2 * 128, dtype=np.uint8)
    memory[3:] = np.frombuffer(payments(2).tobytes(), dtype=np.uint8)
    assert ledger.create_transfers(memory[3:].view(TRANSFER), timestamp_ns=10)["status"].tolist() == [2**32 - 1] * 2


def test_misuse_changes_nothing() -> None:
    ledger = two_accounts()
    with pytest.raises(BatchTooLarge, match="8190 rows"):
        ledger.create_transfers(payments(BATCH_MAX + 1), timestamp_ns=10_000)
    with pytest.raises(BatchTooLarge, match="8190 rows"):
        ledger.lookup_accounts(range(BATCH_MAX + 1))
    with pytest.raises(InvalidTimestamp, match="must be at least 5"):
        ledger.create_transfers(payments(3), timestamp_ns=4)
    for timestamp in (TIMESTAMP_MAX + 1, 2**64, -1):
        with pytest.raises(InvalidTimestamp, match=str(timestamp)):
            ledger.create_transfers(payments(3), timestamp_ns=timestamp)
    with pytest.raises(TypeError):
        ledger.create_transfers(payments(3), timestamp_ns=10.0)  # type: ignore[call-overload]  # the point
    assert ledger.timestamp_ns == 2
    assert ledger.lookup_transfers([1]) == []
    assert ledger.create_transfers(payments(BATCH_MAX), timestamp_ns=TIMESTAMP_MAX).size == BATCH_MAX


def test_nothing_asked_is_nothing_answered() -> None:
    ledger = two_accounts()
    assert ledger.create_transfers([], timestamp_ns=5) == []
    assert ledger.create_transfers(payments(0), timestamp_ns=5).size == 0
    assert ledger.lookup_accounts([]) == []
    assert ledger.timestamp_ns == 2


def test_other_threads_run_while_the_kernel_works() -> None:
    """Nobody is made to give up the lock of the interpreter here: the other thread runs only if the kernel does so."""
    ledger, batch = two_accounts(), payments(BATCH_MAX)
    go, ran = threading.Event(), threading.Event()

    def run() -> None:
        go.wait()
        ran.set()

    thread = threading.Thread(target=run)
    thread.start()
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1_000)
    try:
        go.set()
        requests = 0
        while not ran.is_set() and requests < 1_000:
            requests += 1
            ledger.create_transfers(batch, timestamp_ns=2 + requests * BATCH_MAX)
    finally:
        sys.setswitchinterval(usual)
    thread.join()
    assert requests < 1_000


def test_threads_take_turns() -> None:
    """Many threads, one ledger: every transfer happens once, each in a slot of its own."""
    ledger = two_accounts()
    clock, lock = [2], threading.Lock()

    def post(first_id: int) -> None:
        for i in range(50):
            with lock:
                clock[0] += 1
                ledger.create_transfers([payment(first_id + i)], timestamp_ns=clock[0])
            ledger.lookup_accounts([1, 2])

    threads = [threading.Thread(target=post, args=(1 + 50 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.lookup_accounts([1])[0].debits_posted == 4 * 50 * 5
