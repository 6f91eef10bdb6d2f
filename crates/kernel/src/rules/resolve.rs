//! The second phase: posting and voiding a pending transfer, and its expiry.

use crate::row::{Account, Transfer, account_flags, transfer_flags};
use crate::rules::{When, damaged};
use crate::status::CreateTransferStatus as Status;
use crate::store::PendingStatus;

/// Judges what the row of a new post or void says by itself.
///
/// Account ids, ledger and code may be zero: they are the pending transfer's.
///
/// # Errors
/// The first that applies.
#[inline]
pub const fn check_resolution(row: &Transfer) -> Result<(), Status> {
    const BOTH: u16 = transfer_flags::POST_PENDING_TRANSFER | transfer_flags::VOID_PENDING_TRANSFER;
    const EXCLUDED: u16 = transfer_flags::PENDING
        | transfer_flags::BALANCING_DEBIT
        | transfer_flags::BALANCING_CREDIT
        | transfer_flags::CLOSING_DEBIT
        | transfer_flags::CLOSING_CREDIT;
    if row.flags & BOTH == BOTH || row.flags & EXCLUDED != 0 {
        return Err(Status::FlagsAreMutuallyExclusive);
    }
    if row.pending_id == 0 {
        return Err(Status::PendingIdMustNotBeZero);
    }
    if row.pending_id == u128::MAX {
        return Err(Status::PendingIdMustNotBeIntMax);
    }
    if row.pending_id == row.id {
        return Err(Status::PendingIdMustBeDifferent);
    }
    if row.timeout != 0 {
        return Err(Status::TimeoutReservedForPendingTransfer);
    }
    Ok(())
}

const fn is_void(row: &Transfer) -> bool {
    row.flags & transfer_flags::VOID_PENDING_TRANSFER != 0
}

/// The post or void with everything that it leaves open taken from the pending transfer.
///
/// Left open means zero; the amount of a post is left open by 2^128-1, that of a void by 0.
#[must_use]
pub const fn fill_in(row: &Transfer, pending: &Transfer) -> Transfer {
    let mut filled = *row;
    if filled.debit_account_id == 0 {
        filled.debit_account_id = pending.debit_account_id;
    }
    if filled.credit_account_id == 0 {
        filled.credit_account_id = pending.credit_account_id;
    }
    if filled.amount == if is_void(row) { 0 } else { u128::MAX } {
        filled.amount = pending.amount;
    }
    if filled.user_data_128 == 0 {
        filled.user_data_128 = pending.user_data_128;
    }
    if filled.user_data_64 == 0 {
        filled.user_data_64 = pending.user_data_64;
    }
    if filled.user_data_32 == 0 {
        filled.user_data_32 = pending.user_data_32;
    }
    if filled.ledger == 0 {
        filled.ledger = pending.ledger;
    }
    if filled.code == 0 {
        filled.code = pending.code;
    }
    filled
}

/// Posts or voids `pending`; returns the row as it is to be recorded: filled in and stamped.
///
/// `status`: where `pending` stands; none if it never was pending. The slot decides about expiry, also for an
/// imported row. Overflow and limits were judged when the amount was reserved.
///
/// # Errors
/// The first that applies; nothing has changed.
pub fn post_or_void(
    row: &Transfer,
    when: When,
    pending: &Transfer,
    status: Option<PendingStatus>,
    debit: &mut Account,
    credit: &mut Account,
) -> Result<Transfer, Status> {
    let status = status.ok_or(Status::PendingTransferNotPending)?;
    let recorded = Transfer { timestamp: when.timestamp, ..fill_in(row, pending) };
    if recorded.debit_account_id != pending.debit_account_id {
        return Err(Status::PendingTransferHasDifferentDebitAccountId);
    }
    if recorded.credit_account_id != pending.credit_account_id {
        return Err(Status::PendingTransferHasDifferentCreditAccountId);
    }
    if recorded.ledger != pending.ledger {
        return Err(Status::PendingTransferHasDifferentLedger);
    }
    if recorded.code != pending.code {
        return Err(Status::PendingTransferHasDifferentCode);
    }
    if recorded.amount > pending.amount {
        return Err(Status::ExceedsPendingTransferAmount);
    }
    if is_void(row) && recorded.amount < pending.amount {
        return Err(Status::PendingTransferHasDifferentAmount);
    }
    match status {
        PendingStatus::Pending => {}
        PendingStatus::Posted => return Err(Status::PendingTransferAlreadyPosted),
        PendingStatus::Voided => return Err(Status::PendingTransferAlreadyVoided),
        PendingStatus::Expired => return Err(Status::PendingTransferExpired),
    }
    if pending.expires().is_some_and(|expires| expires <= when.slot) {
        return Err(Status::PendingTransferExpired);
    }
    if when.regresses {
        return Err(Status::ImportedEventTimestampMustNotRegress);
    }
    if !is_void(row) {
        if debit.flags & account_flags::CLOSED != 0 {
            return Err(Status::DebitAccountAlreadyClosed);
        }
        if credit.flags & account_flags::CLOSED != 0 {
            return Err(Status::CreditAccountAlreadyClosed);
        }
    }

    // From here on the resolution must succeed: only infallible writes below.
    release(pending, debit, credit);
    if is_void(row) {
        reopen(pending, debit, credit);
    } else {
        debit.debits_posted = add(debit.debits_posted, recorded.amount);
        credit.credits_posted = add(credit.credits_posted, recorded.amount);
    }
    Ok(recorded)
}

/// Releases a pending transfer whose time has come, and opens again what it closed.
pub fn expire(pending: &Transfer, debit: &mut Account, credit: &mut Account) {
    release(pending, debit, credit);
    reopen(pending, debit, credit);
}

/// Takes the whole reservation back.
fn release(pending: &Transfer, debit: &mut Account, credit: &mut Account) {
    let remaining = |balance: u128| {
        balance.checked_sub(pending.amount).unwrap_or_else(|| damaged("less is pending than one transfer has reserved"))
    };
    debit.debits_pending = remaining(debit.debits_pending);
    credit.credits_pending = remaining(credit.credits_pending);
}

/// Opens the accounts that this transfer closed. A closed account takes no second closing transfer, so
/// whatever closed it is `pending` itself.
const fn reopen(pending: &Transfer, debit: &mut Account, credit: &mut Account) {
    if pending.flags & transfer_flags::CLOSING_DEBIT != 0 {
        debit.flags &= !account_flags::CLOSED;
    }
    if pending.flags & transfer_flags::CLOSING_CREDIT != 0 {
        credit.flags &= !account_flags::CLOSED;
    }
}

/// Cannot overflow: the sum of posted and pending was judged when the amount was reserved, and a post
/// moves at most that much from pending to posted.
fn add(posted: u128, amount: u128) -> u128 {
    posted.checked_add(amount).unwrap_or_else(|| damaged("a reserved amount no longer fits its account"))
}
