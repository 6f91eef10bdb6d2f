//! Account terms: overdraft and restrictions.

use crate::row::{AccountTerms, restrictions};
use crate::status::SetAccountTermsStatus as Status;

/// Judges a row of `set_account_terms`, before its account is looked up.
///
/// # Errors
/// The first that applies.
pub fn check_terms(row: &AccountTerms) -> Result<(), Status> {
    if row.reserved != [0; 24] {
        return Err(Status::ReservedField);
    }
    if row.restrictions & !restrictions::ALL != 0 {
        return Err(Status::ReservedRestriction);
    }
    Ok(())
}

/// Whether a valid row takes the account's terms away: nothing in it but the account.
#[must_use]
pub const fn removes_terms(row: &AccountTerms) -> bool {
    row.debit_limit == 0 && row.restrictions == 0 && row.reason == 0
}
