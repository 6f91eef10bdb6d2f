//! Opening accounts.

use crate::row::{Account, account_flags};
use crate::status::CreateAccountStatus as Status;

/// Whether the row names an account at all, before the account is looked up.
///
/// # Errors
/// The first that applies.
#[inline]
pub const fn identify_account(row: &Account) -> Result<(), Status> {
    if row.reserved != 0 {
        return Err(Status::ReservedField);
    }
    if row.flags & !account_flags::ALL != 0 {
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

/// What to say of a row whose id exists: the first field that differs, or `exists`.
///
/// All flags count, so an account that was closed since differs from the row that created it.
#[inline]
#[must_use]
pub const fn account_exists(row: &Account, existing: &Account) -> Status {
    if row.flags != existing.flags {
        return Status::ExistsWithDifferentFlags;
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

/// The account as it is to be recorded at `timestamp`.
///
/// `regresses`: the row is imported and its timestamp is not above every account's, or a transfer or an
/// expiry has it.
///
/// # Errors
/// The first that applies.
#[inline]
pub const fn open_account(row: &Account, timestamp: u64, regresses: bool) -> Result<Account, Status> {
    const EXCLUSIVE: u16 =
        account_flags::DEBITS_MUST_NOT_EXCEED_CREDITS | account_flags::CREDITS_MUST_NOT_EXCEED_DEBITS;
    if row.flags & EXCLUSIVE == EXCLUSIVE {
        return Err(Status::FlagsAreMutuallyExclusive);
    }
    if row.debits_pending != 0 {
        return Err(Status::DebitsPendingMustBeZero);
    }
    if row.debits_posted != 0 {
        return Err(Status::DebitsPostedMustBeZero);
    }
    if row.credits_pending != 0 {
        return Err(Status::CreditsPendingMustBeZero);
    }
    if row.credits_posted != 0 {
        return Err(Status::CreditsPostedMustBeZero);
    }
    if row.ledger == 0 {
        return Err(Status::LedgerMustNotBeZero);
    }
    if row.code == 0 {
        return Err(Status::CodeMustNotBeZero);
    }
    if regresses {
        return Err(Status::ImportedEventTimestampMustNotRegress);
    }
    Ok(Account { timestamp, ..*row })
}
