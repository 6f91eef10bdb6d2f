//! Transfers in one phase, and the first phase of two.

use crate::row::{Account, AccountTerms, CODE_INSTITUTION, Transfer, account_flags, restrictions, transfer_flags};
use crate::rules::When;
use crate::rules::resolve::fill_in;
use crate::status::CreateTransferStatus as Status;

/// An account on one side of a transfer, with its terms.
#[derive(Debug)]
pub struct Side<'a> {
    /// The row, changed in place when the transfer is accepted.
    pub account: &'a mut Account,
    /// Overdraft and restrictions, if any.
    pub terms: Option<&'a AccountTerms>,
}

impl Side<'_> {
    const fn is_closed(&self) -> bool {
        self.account.flags & account_flags::CLOSED != 0
    }

    fn is_restricted(&self, restriction: u32) -> bool {
        self.terms.is_some_and(|terms| terms.restrictions & restriction != 0)
    }
}

/// Whether the row is a second phase: a post or a void.
#[inline]
#[must_use]
pub const fn is_resolution(row: &Transfer) -> bool {
    row.flags & (transfer_flags::POST_PENDING_TRANSFER | transfer_flags::VOID_PENDING_TRANSFER) != 0
}

/// Whether the row names a transfer at all, before the transfer is looked up.
///
/// # Errors
/// The first that applies.
#[inline]
pub const fn identify_transfer(row: &Transfer) -> Result<(), Status> {
    if row.flags & !transfer_flags::ALL != 0 {
        return Err(Status::ReservedFlag);
    }
    if row.id == 0 {
        return Err(Status::IdMustNotBeZero);
    }
    if row.id == u128::MAX {
        return Err(Status::IdMustNotBeIntMax);
    }
    Ok(())
}

/// What to say of a row whose id is recorded: the first field that differs, or `exists`.
///
/// `pending` is the transfer that `existing` resolved, if it is a post or a void: what the row leaves
/// open is filled in from it before the comparison. A balancing row was clamped when it was recorded; it
/// matches when it asks for at least what was recorded.
#[must_use]
pub fn transfer_exists(row: &Transfer, existing: &Transfer, pending: Option<&Transfer>) -> Status {
    if row.flags != existing.flags {
        return Status::ExistsWithDifferentFlags;
    }
    if row.pending_id != existing.pending_id {
        return Status::ExistsWithDifferentPendingId;
    }
    if row.timeout != existing.timeout {
        return Status::ExistsWithDifferentTimeout;
    }
    let row = pending.map_or(*row, |pending| fill_in(row, pending));
    if row.debit_account_id != existing.debit_account_id {
        return Status::ExistsWithDifferentDebitAccountId;
    }
    if row.credit_account_id != existing.credit_account_id {
        return Status::ExistsWithDifferentCreditAccountId;
    }
    let balancing = row.flags & (transfer_flags::BALANCING_DEBIT | transfer_flags::BALANCING_CREDIT) != 0;
    if row.amount < existing.amount || (row.amount > existing.amount && !balancing) {
        return Status::ExistsWithDifferentAmount;
    }
    if row.user_data_128 != existing.user_data_128 {
        return Status::ExistsWithDifferentUserData128;
    }
    if row.user_data_64 != existing.user_data_64 {
        return Status::ExistsWithDifferentUserData64;
    }
    if row.user_data_32 != existing.user_data_32 {
        return Status::ExistsWithDifferentUserData32;
    }
    if row.ledger != existing.ledger {
        return Status::ExistsWithDifferentLedger;
    }
    if row.code != existing.code {
        return Status::ExistsWithDifferentCode;
    }
    Status::Exists
}

/// Judges what the row of a new transfer (not a post or a void) says by itself.
///
/// # Errors
/// The first that applies.
#[inline]
pub const fn check_transfer(row: &Transfer) -> Result<(), Status> {
    if row.debit_account_id == 0 {
        return Err(Status::DebitAccountIdMustNotBeZero);
    }
    if row.debit_account_id == u128::MAX {
        return Err(Status::DebitAccountIdMustNotBeIntMax);
    }
    if row.credit_account_id == 0 {
        return Err(Status::CreditAccountIdMustNotBeZero);
    }
    if row.credit_account_id == u128::MAX {
        return Err(Status::CreditAccountIdMustNotBeIntMax);
    }
    if row.debit_account_id == row.credit_account_id {
        return Err(Status::AccountsMustBeDifferent);
    }
    if row.pending_id != 0 {
        return Err(Status::PendingIdMustBeZero);
    }
    if row.flags & transfer_flags::PENDING == 0 {
        if row.timeout != 0 {
            return Err(Status::TimeoutReservedForPendingTransfer);
        }
        if row.flags & (transfer_flags::CLOSING_DEBIT | transfer_flags::CLOSING_CREDIT) != 0 {
            return Err(Status::ClosingTransferMustBePending);
        }
    }
    if row.ledger == 0 {
        return Err(Status::LedgerMustNotBeZero);
    }
    if row.code == 0 {
        return Err(Status::CodeMustNotBeZero);
    }
    Ok(())
}

/// Moves the amount, or reserves it if the row is pending; returns the row as it is to be recorded.
///
/// # Errors
/// The first that applies; nothing has changed.
#[inline]
pub fn move_amount(row: &Transfer, when: When, debit: Side<'_>, credit: Side<'_>) -> Result<Transfer, Status> {
    if debit.account.ledger != credit.account.ledger {
        return Err(Status::AccountsMustHaveTheSameLedger);
    }
    if row.ledger != debit.account.ledger {
        return Err(Status::TransferMustHaveTheSameLedgerAsAccounts);
    }
    if row.flags & transfer_flags::IMPORTED != 0 {
        check_import(row, when, debit.account, credit.account)?;
    }
    if debit.is_closed() {
        return Err(Status::DebitAccountAlreadyClosed);
    }
    if credit.is_closed() {
        return Err(Status::CreditAccountAlreadyClosed);
    }
    if row.code < CODE_INSTITUTION {
        if debit.is_restricted(restrictions::NO_DEBIT) {
            return Err(Status::DebitAccountRestricted);
        }
        if credit.is_restricted(restrictions::NO_CREDIT) {
            return Err(Status::CreditAccountRestricted);
        }
    }
    let recorded = Transfer { amount: clamp(row, debit.account, credit.account), timestamp: when.timestamp, ..*row };
    write(&recorded, debit, credit)?;
    Ok(recorded)
}

fn check_import(row: &Transfer, when: When, debit: &Account, credit: &Account) -> Result<(), Status> {
    if when.regresses {
        return Err(Status::ImportedEventTimestampMustNotRegress);
    }
    if when.timestamp <= debit.timestamp {
        return Err(Status::ImportedEventTimestampMustPostdateDebitAccount);
    }
    if when.timestamp <= credit.timestamp {
        return Err(Status::ImportedEventTimestampMustPostdateCreditAccount);
    }
    if row.timeout != 0 {
        return Err(Status::ImportedEventTimeoutMustBeZero);
    }
    Ok(())
}

/// The amount that a balancing row moves: no more than brings the account to zero. Terms do not count.
#[inline]
fn clamp(row: &Transfer, debit: &Account, credit: &Account) -> u128 {
    let mut amount = row.amount;
    if row.flags & transfer_flags::BALANCING_DEBIT != 0 {
        let debits = debit.debits_posted.saturating_add(debit.debits_pending);
        amount = amount.min(debit.credits_posted.saturating_sub(debits));
    }
    if row.flags & transfer_flags::BALANCING_CREDIT != 0 {
        let credits = credit.credits_posted.saturating_add(credit.credits_pending);
        amount = amount.min(credit.debits_posted.saturating_sub(credits));
    }
    amount
}

/// Overflow and limits, then the balances and, for a closing transfer, the flags.
#[inline]
fn write(transfer: &Transfer, debit: Side<'_>, credit: Side<'_>) -> Result<(), Status> {
    let (dr, cr, amount) = (debit.account, credit.account, transfer.amount);
    let pending = transfer.flags & transfer_flags::PENDING != 0;

    // A pending amount is judged as if it were posted too, so that posting it can never overflow.
    let debits_pending = dr.debits_pending.checked_add(amount);
    let credits_pending = cr.credits_pending.checked_add(amount);
    if pending && debits_pending.is_none() {
        return Err(Status::OverflowsDebitsPending);
    }
    if pending && credits_pending.is_none() {
        return Err(Status::OverflowsCreditsPending);
    }
    let debits_posted = dr.debits_posted.checked_add(amount).ok_or(Status::OverflowsDebitsPosted)?;
    let credits_posted = cr.credits_posted.checked_add(amount).ok_or(Status::OverflowsCreditsPosted)?;
    let debits = debits_posted.checked_add(dr.debits_pending).ok_or(Status::OverflowsDebits)?;
    let credits = credits_posted.checked_add(cr.credits_pending).ok_or(Status::OverflowsCredits)?;
    if transfer.timeout != 0 && transfer.expires().is_none() {
        return Err(Status::OverflowsTimeout);
    }
    if dr.flags & account_flags::DEBITS_MUST_NOT_EXCEED_CREDITS != 0 {
        // A sum beyond the largest amount cannot be exceeded.
        let limit = debit.terms.map_or(0, |terms| terms.debit_limit);
        if debits > dr.credits_posted.saturating_add(limit) {
            return Err(Status::ExceedsCredits);
        }
    }
    if cr.flags & account_flags::CREDITS_MUST_NOT_EXCEED_DEBITS != 0 && credits > cr.debits_posted {
        return Err(Status::ExceedsDebits);
    }

    // From here on the transfer must succeed: only infallible writes below.
    match (pending, debits_pending, credits_pending) {
        (true, Some(debits_pending), Some(credits_pending)) => {
            dr.debits_pending = debits_pending;
            cr.credits_pending = credits_pending;
        }
        _ => {
            dr.debits_posted = debits_posted;
            cr.credits_posted = credits_posted;
        }
    }
    if transfer.flags & transfer_flags::CLOSING_DEBIT != 0 {
        dr.flags |= account_flags::CLOSED;
    }
    if transfer.flags & transfer_flags::CLOSING_CREDIT != 0 {
        cr.flags |= account_flags::CLOSED;
    }
    Ok(())
}
