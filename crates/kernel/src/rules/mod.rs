//! The rules: pure functions on rows. Nothing else changes a balance anywhere in QENEX.
//!
//! Each takes what it judges as arguments (rows, both accounts, the pending transfer, the time) and either
//! refuses, with the first status in order of precedence and nothing changed, or writes, infallibly.
//! The order of the checks is the contract (`spec/kernel.md` sections 4 to 6); it is read from top to bottom.

mod account;
mod request;
mod resolve;
mod terms;
mod transfer;

pub use account::{account_exists, identify_account, open_account};
pub use request::{Request, RequestRow, RowStatus};
pub use resolve::{check_resolution, expire, fill_in, post_or_void};
pub use terms::{check_terms, removes_terms};
pub use transfer::{Side, check_transfer, identify_transfer, is_resolution, move_amount, transfer_exists};

/// When a transfer happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    /// Timestamp of its slot: decides about expiry.
    pub slot: u64,
    /// Timestamp that it is recorded with: the slot's, or an imported row's own.
    pub timestamp: u64,
    /// The row is imported, and its timestamp is not above every transfer's, or an account or an expiry has it.
    pub regresses: bool,
}

/// Stops the process: the rows that the store returned contradict each other.
///
/// To go on with a ledger that has lost a row would be worse than to stop; the journal still has the truth.
#[cold]
#[track_caller]
#[allow(clippy::panic, reason = "the one place where the kernel stops, see above")]
pub(crate) fn damaged(what: &str) -> ! {
    panic!("the store is damaged: {what}; restore it from the journal")
}
