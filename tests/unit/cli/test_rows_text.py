"""What people type and read: ids, addresses, hashes, amounts, times; refusals by their own class."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest

from qenex.cli.output import time_text
from qenex.cli.rows_text import (
    account_document,
    check_created,
    parse_account,
    parse_transfer,
    transfer_document,
)
from qenex.errors import ExistsWithDifferentCode, IdMustNotBeZero, InvalidAddress, InvalidId
from qenex.kernel import (
    ACCOUNT,
    EVENT_RESULT,
    TRANSFER,
    AccountFlags,
    CreateAccountStatus,
    TransferFlags,
    from_ints,
    to_address,
)


def test_an_account_is_named_by_address_or_id() -> None:
    assert parse_account(to_address(2**100 + 7)) == parse_account(str(2**100 + 7)) == 2**100 + 7


@pytest.mark.parametrize("text", ["", "0x12", "abc", "-1", "1.5", "٣", "0x" + "0" * 40])
def test_what_is_no_account_is_refused(text: str) -> None:
    with pytest.raises(InvalidAddress, match="decimal digits"):
        parse_account(text)


@pytest.mark.parametrize("text", ["0", str(2**128 - 1), str(2**128), "9" * 5000])
def test_ids_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(InvalidId, match="between 1 and"):
        parse_account(text)


def test_a_transfer_is_named_by_id_or_hash() -> None:
    assert parse_transfer("77") == 77
    assert parse_transfer("0x" + "ab" * 32) == parse_transfer("AB" * 32) == bytes([0xAB] * 32)
    with pytest.raises(InvalidId, match="hash"):
        parse_transfer("0x77")


def test_an_account_is_shown_in_major_units() -> None:
    row = np.zeros(1, dtype=ACCOUNT)
    row["id"], row["credits_posted"], row["debits_pending"] = from_ints([5]), from_ints([2**70]), from_ints([1])
    row["ledger"], row["code"], row["timestamp"] = 978, 2000, 1_522_540_831_000_000_007
    row["flags"] = AccountFlags.HISTORY | AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS
    document = account_document(row[0])
    assert document["address"] == to_address(5)
    assert (document["asset"], document["kind"]) == ("EUR", "2000 deposit")
    assert (document["credits_posted"], document["debits_pending"]) == ("11805916207174113034.24", "0.01")
    assert (document["posted"], document["available"]) == ("11805916207174113034.24", "11805916207174113034.23")
    assert document["flags"] == ["debits_must_not_exceed_credits", "history"]
    assert document["created"] == "2018-04-01T00:00:31.000000007Z"


def test_what_a_loan_has_is_on_the_debit_side() -> None:
    row = np.zeros(1, dtype=ACCOUNT)
    row["debits_posted"], row["credits_pending"] = from_ints([10_000]), from_ints([3_000])
    row["ledger"], row["flags"] = 978, AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS
    document = account_document(row[0])
    assert (document["posted"], document["available"]) == ("100.00", "70.00")


def test_a_transfer_is_shown_with_the_hash_of_its_row() -> None:
    row = np.zeros(1, dtype=TRANSFER)
    row["id"], row["amount"], row["ledger"], row["code"], row["timestamp"] = from_ints([9]), from_ints([15]), 392, 1, 1
    row["debit_account_id"], row["credit_account_id"] = from_ints([1]), from_ints([2])
    row["flags"], row["timeout"] = TransferFlags.PENDING, 60
    document = transfer_document(row[0])
    assert document["hash"] == "0x" + sha256(b"\0" + row.tobytes()).hexdigest()
    assert (document["amount"], document["asset"]) == ("15", "JPY")
    assert (document["from"], document["to"]) == (to_address(1), to_address(2))
    assert (document["flags"], document["timeout_s"], document["pending_id"]) == (["pending"], 60, None)


def test_times_keep_their_nanoseconds() -> None:
    assert time_text(2**63 - 1) == "2262-04-11T23:47:16.854775807Z"


def test_a_refusal_is_raised_as_its_class() -> None:
    result = np.zeros(1, dtype=EVENT_RESULT)
    result["status"] = CreateAccountStatus.EXISTS_WITH_DIFFERENT_CODE
    with pytest.raises(ExistsWithDifferentCode, match=to_address(7)):
        check_created(result[0], 7)
    result["status"] = CreateAccountStatus.ID_MUST_NOT_BE_ZERO
    with pytest.raises(IdMustNotBeZero):
        check_created(result[0], 0)


def test_what_was_there_is_told_from_what_is_new() -> None:
    result = np.zeros(1, dtype=EVENT_RESULT)
    for status, new in ((CreateAccountStatus.CREATED, True), (CreateAccountStatus.EXISTS, False)):
        result["status"] = status
        assert check_created(result[0], 7) is new
