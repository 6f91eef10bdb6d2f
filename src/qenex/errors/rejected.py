"""Refusals of the ledger, one class for each result code of spec/kernel.md, and nothing found.

A refused row has changed nothing. The classes are in families, not in order of precedence, which is that of
`CreateAccountStatus`, `CreateTransferStatus` and `SetAccountTermsStatus`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qenex.eip55 import address_text
from qenex.errors.base import QenexError

if TYPE_CHECKING:
    from collections.abc import Callable


class Rejected(QenexError, http_status=422):
    """The ledger refused a row."""

    def __init__(self, row_id: int = 0, *, row: int = 0, timestamp_ns: int = 0, explanation: str = "") -> None:
        place = f"(row {row}, id {row_id}{explanation and f'; {explanation}'})"
        super().__init__(f"{self.text} {place}")
        self.row_id, self.row, self.timestamp_ns = row_id, row, timestamp_ns


class NotFound(QenexError, code="not_found", http_status=404):
    """What was asked for does not exist."""


class TransferNotFound(NotFound, code="transfer_not_found"):
    """There is no transfer with this id or hash."""

    def __init__(self, transfer: int | str) -> None:
        super().__init__(f"{self.text} ({transfer})")
        self.transfer = str(transfer)


class InvalidRow(Rejected, http_status=400, iso_reason="FF01"):
    """A field of the row cannot be so, whatever the ledger holds."""


class LinkedEventChainOpen(InvalidRow, code="linked_event_chain_open"):
    """The last row of the request is linked to a row that does not come."""


class ImportedEventExpected(InvalidRow, code="imported_event_expected"):
    """The row is not imported, the request's first row is."""


class ImportedEventNotExpected(InvalidRow, code="imported_event_not_expected"):
    """The row is imported, the request's first row is not."""


class TimestampMustBeZero(InvalidRow, code="timestamp_must_be_zero", iso_reason="DT01"):
    """The row carries a timestamp, and is not imported."""


class ImportedEventTimestampOutOfRange(InvalidRow, code="imported_event_timestamp_out_of_range", iso_reason="DT01"):
    """The timestamp of the imported row lies outside 1 to 2^63-1."""


class ReservedField(InvalidRow, code="reserved_field"):
    """A reserved field is not zero."""


class ReservedFlag(InvalidRow, code="reserved_flag"):
    """A reserved flag is set."""


class ReservedRestriction(InvalidRow, code="reserved_restriction"):
    """A reserved restriction is set."""


class IdMustNotBeZero(InvalidRow, code="id_must_not_be_zero"):
    """The id is 0."""


class IdMustNotBeIntMax(InvalidRow, code="id_must_not_be_int_max"):
    """The id is 2^128-1."""


class FlagsAreMutuallyExclusive(InvalidRow, code="flags_are_mutually_exclusive"):
    """Two flags of the row exclude each other."""


class DebitsPendingMustBeZero(InvalidRow, code="debits_pending_must_be_zero"):
    """A new account cannot have pending debits."""


class DebitsPostedMustBeZero(InvalidRow, code="debits_posted_must_be_zero"):
    """A new account cannot have posted debits."""


class CreditsPendingMustBeZero(InvalidRow, code="credits_pending_must_be_zero"):
    """A new account cannot have pending credits."""


class CreditsPostedMustBeZero(InvalidRow, code="credits_posted_must_be_zero"):
    """A new account cannot have posted credits."""


class DebitAccountIdMustNotBeZero(InvalidRow, code="debit_account_id_must_not_be_zero", iso_reason="AC02"):
    """The debit account's id is 0."""


class DebitAccountIdMustNotBeIntMax(InvalidRow, code="debit_account_id_must_not_be_int_max", iso_reason="AC02"):
    """The debit account's id is 2^128-1."""


class CreditAccountIdMustNotBeZero(InvalidRow, code="credit_account_id_must_not_be_zero", iso_reason="AC03"):
    """The credit account's id is 0."""


class CreditAccountIdMustNotBeIntMax(InvalidRow, code="credit_account_id_must_not_be_int_max", iso_reason="AC03"):
    """The credit account's id is 2^128-1."""


class AccountsMustBeDifferent(InvalidRow, code="accounts_must_be_different", iso_reason="AC01"):
    """Debit and credit account are the same."""


class PendingIdMustBeZero(InvalidRow, code="pending_id_must_be_zero"):
    """The transfer names a pending one, and neither posts nor voids it."""


class PendingIdMustNotBeZero(InvalidRow, code="pending_id_must_not_be_zero"):
    """The transfer posts or voids, and names no pending one."""


class PendingIdMustNotBeIntMax(InvalidRow, code="pending_id_must_not_be_int_max"):
    """The id of the pending transfer is 2^128-1."""


class PendingIdMustBeDifferent(InvalidRow, code="pending_id_must_be_different"):
    """The transfer names itself as the pending one."""


class TimeoutReservedForPendingTransfer(InvalidRow, code="timeout_reserved_for_pending_transfer"):
    """The transfer has a timeout, and is not pending."""


class ImportedEventTimeoutMustBeZero(InvalidRow, code="imported_event_timeout_must_be_zero"):
    """An imported transfer cannot have a timeout."""


class ClosingTransferMustBePending(InvalidRow, code="closing_transfer_must_be_pending"):
    """A transfer that closes an account must be pending."""


class LedgerMustNotBeZero(InvalidRow, code="ledger_must_not_be_zero", iso_reason="AM11"):
    """The asset (ledger) is 0."""


class CodeMustNotBeZero(InvalidRow, code="code_must_not_be_zero"):
    """The code is 0."""


class AccountsMustHaveTheSameLedger(InvalidRow, code="accounts_must_have_the_same_ledger", iso_reason="AC09"):
    """The two accounts hold different assets."""


class TransferMustHaveTheSameLedgerAsAccounts(
    InvalidRow, code="transfer_must_have_the_same_ledger_as_accounts", iso_reason="CURR"
):
    """The transfer's asset is not that of its accounts."""


class ChainBroken(Rejected):
    """The row stands in a linked chain that failed as a whole."""


class LinkedEventFailed(ChainBroken, code="linked_event_failed"):
    """Another row of its linked chain was refused, so that none of them happened."""


class AlreadyExists(Rejected, http_status=409, iso_reason="DU03"):
    """The id was used before."""


class Exists(AlreadyExists, code="exists"):
    """The id was used before, for the same."""


class ExistsWithDifferentFlags(AlreadyExists, code="exists_with_different_flags"):
    """The id was used before, with other flags."""


class ExistsWithDifferentPendingId(AlreadyExists, code="exists_with_different_pending_id"):
    """The id was used before, with another pending transfer."""


class ExistsWithDifferentTimeout(AlreadyExists, code="exists_with_different_timeout"):
    """The id was used before, with another timeout."""


class ExistsWithDifferentDebitAccountId(AlreadyExists, code="exists_with_different_debit_account_id"):
    """The id was used before, with another debit account."""


class ExistsWithDifferentCreditAccountId(AlreadyExists, code="exists_with_different_credit_account_id"):
    """The id was used before, with another credit account."""


class ExistsWithDifferentAmount(AlreadyExists, code="exists_with_different_amount"):
    """The id was used before, with another amount."""


class ExistsWithDifferentUserData128(AlreadyExists, code="exists_with_different_user_data_128"):
    """The id was used before, with other user data (128 bits)."""


class ExistsWithDifferentUserData64(AlreadyExists, code="exists_with_different_user_data_64"):
    """The id was used before, with other user data (64 bits)."""


class ExistsWithDifferentUserData32(AlreadyExists, code="exists_with_different_user_data_32"):
    """The id was used before, with other user data (32 bits)."""


class ExistsWithDifferentLedger(AlreadyExists, code="exists_with_different_ledger"):
    """The id was used before, with another asset (ledger)."""


class ExistsWithDifferentCode(AlreadyExists, code="exists_with_different_code"):
    """The id was used before, with another code."""


class ImportedOutOfOrder(Rejected, iso_reason="DT01"):
    """The time of an imported row does not fit."""


class ImportedEventTimestampMustNotAdvance(ImportedOutOfOrder, code="imported_event_timestamp_must_not_advance"):
    """The timestamp of the imported row is not in the past of its request."""


class ImportedEventTimestampMustNotRegress(ImportedOutOfOrder, code="imported_event_timestamp_must_not_regress"):
    """The timestamp of the imported row is not above every earlier one."""


class ImportedEventTimestampMustPostdateDebitAccount(
    ImportedOutOfOrder, code="imported_event_timestamp_must_postdate_debit_account"
):
    """The imported transfer is not later than its debit account."""


class ImportedEventTimestampMustPostdateCreditAccount(
    ImportedOutOfOrder, code="imported_event_timestamp_must_postdate_credit_account"
):
    """The imported transfer is not later than its credit account."""


class AccountRefused(Rejected):
    """An account is missing, closed, restricted, or has not enough."""

    def __init__(self, row_id: int = 0, *, account_id: int = 0, row: int = 0, timestamp_ns: int = 0) -> None:
        self.account_id, self.address = account_id, address_text(account_id)
        super().__init__(row_id, row=row, timestamp_ns=timestamp_ns, explanation=f"account {self.address}")


class AccountNotFound(AccountRefused, code="account_not_found", http_status=404, iso_reason="AC01"):
    """There is no account with this id."""

    def __init__(self, row_id: int = 0, *, account_id: int = 0, row: int = 0, timestamp_ns: int = 0) -> None:
        """Takes the account as `account_id`, or as `row_id` where the row itself is the account's."""
        super().__init__(row_id, account_id=account_id or row_id, row=row, timestamp_ns=timestamp_ns)
        self.args = (f"{self.text} ({self.address})",)


class DebitAccountNotFound(AccountRefused, code="debit_account_not_found", iso_reason="AC02"):
    """There is no account with the debit account's id."""


class CreditAccountNotFound(AccountRefused, code="credit_account_not_found", iso_reason="AC03"):
    """There is no account with the credit account's id."""


class DebitAccountAlreadyClosed(AccountRefused, code="debit_account_already_closed", iso_reason="AC05"):
    """The debit account is closed."""


class CreditAccountAlreadyClosed(AccountRefused, code="credit_account_already_closed", iso_reason="AC07"):
    """The credit account is closed."""


class DebitAccountRestricted(AccountRefused, code="debit_account_restricted", iso_reason="AC06"):
    """The debit account is restricted: no new debits."""


class CreditAccountRestricted(AccountRefused, code="credit_account_restricted", iso_reason="AC06"):
    """The credit account is restricted: no new credits."""


class PendingRefused(Rejected, http_status=409):
    """The pending transfer cannot be posted or voided so."""


class PendingTransferNotFound(PendingRefused, code="pending_transfer_not_found"):
    """There is no transfer with the id of the pending one."""


class PendingTransferNotPending(PendingRefused, code="pending_transfer_not_pending"):
    """The transfer that was named as the pending one is none."""


class PendingTransferHasDifferentDebitAccountId(
    PendingRefused, code="pending_transfer_has_different_debit_account_id", iso_reason="AC02"
):
    """The pending transfer has another debit account."""


class PendingTransferHasDifferentCreditAccountId(
    PendingRefused, code="pending_transfer_has_different_credit_account_id", iso_reason="AC03"
):
    """The pending transfer has another credit account."""


class PendingTransferHasDifferentLedger(
    PendingRefused, code="pending_transfer_has_different_ledger", iso_reason="CURR"
):
    """The pending transfer is in another asset (ledger)."""


class PendingTransferHasDifferentCode(PendingRefused, code="pending_transfer_has_different_code"):
    """The pending transfer has another code."""


class ExceedsPendingTransferAmount(PendingRefused, code="exceeds_pending_transfer_amount", iso_reason="AM09"):
    """More was to be posted than the pending transfer holds."""


class PendingTransferHasDifferentAmount(
    PendingRefused, code="pending_transfer_has_different_amount", iso_reason="AM09"
):
    """A void takes the whole amount, another was given."""


class PendingTransferAlreadyPosted(PendingRefused, code="pending_transfer_already_posted"):
    """The pending transfer was posted before."""


class PendingTransferAlreadyVoided(PendingRefused, code="pending_transfer_already_voided"):
    """The pending transfer was voided before."""


class PendingTransferExpired(PendingRefused, code="pending_transfer_expired"):
    """The pending transfer has expired."""


class Overflows(Rejected, iso_reason="AM02"):
    """A sum would leave its range."""


class OverflowsDebitsPending(Overflows, code="overflows_debits_pending"):
    """The debit account's pending debits would exceed 2^128-1."""


class OverflowsCreditsPending(Overflows, code="overflows_credits_pending"):
    """The credit account's pending credits would exceed 2^128-1."""


class OverflowsDebitsPosted(Overflows, code="overflows_debits_posted"):
    """The debit account's posted debits would exceed 2^128-1."""


class OverflowsCreditsPosted(Overflows, code="overflows_credits_posted"):
    """The credit account's posted credits would exceed 2^128-1."""


class OverflowsDebits(Overflows, code="overflows_debits"):
    """The debit account's pending and posted debits together would exceed 2^128-1."""


class OverflowsCredits(Overflows, code="overflows_credits"):
    """The credit account's pending and posted credits together would exceed 2^128-1."""


class OverflowsTimeout(Overflows, code="overflows_timeout", iso_reason="DT01"):
    """The transfer would expire after the end of time, 2^63-1 ns."""


class IdAlreadyFailed(AlreadyExists, code="id_already_failed"):
    """The id was used before, by a transfer that was refused; a new attempt needs a new id."""

    def __init__(
        self, row_id: int = 0, *, first_code: str = "", first_timestamp_ns: int = 0, row: int = 0, timestamp_ns: int = 0
    ) -> None:
        super().__init__(row_id, row=row, timestamp_ns=timestamp_ns, explanation=first_code and f"then: {first_code}")
        self.first_code, self.first_timestamp_ns = first_code, first_timestamp_ns


class InsufficientFunds(AccountRefused):
    """An account has not enough on one side for what its other side would become."""

    def __init__(
        self,
        row_id: int = 0,
        *,
        account_id: int = 0,
        available_minor: int | None = None,
        requested_minor: int | None = None,
        in_words: Callable[[int], str] = "{} minor units".format,
        row: int = 0,
        timestamp_ns: int = 0,
    ) -> None:
        """Takes what is known: what was available is read after the refusal, and may have changed since.

        `in_words` is how an amount of the account's asset is said to a person.
        """
        super().__init__(row_id, account_id=account_id, row=row, timestamp_ns=timestamp_ns)
        self.available_minor, self.requested_minor = available_minor, requested_minor
        if available_minor is not None and requested_minor is not None:
            have, need = in_words(available_minor), in_words(requested_minor)
            self.args = (f"{self.args[0]}: {have} available, {need} requested",)


class ExceedsCredits(InsufficientFunds, code="exceeds_credits", iso_reason="AM04"):
    """The debit account may not be debited beyond its credits."""


class ExceedsDebits(InsufficientFunds, code="exceeds_debits", iso_reason="AM14"):
    """The credit account may not be credited beyond its debits."""
