//! Taking back a chain of linked rows: each change inside a scope leaves its inverse, and they are undone last first.

use qenex_kernel::row::{Account, AccountTerms};

use super::accounts::Slot;
use super::pending;

/// How to take one change back.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // a chain is short; a box each would cost more
pub(crate) enum Undo {
    /// An account had this row.
    Account { slot: Slot, before: Account },
    /// An account was added.
    AccountAdded,
    /// An account had these terms.
    Terms { slot: Slot, before: Option<AccountTerms> },
    /// A transfer was added; the newest one before it had this timestamp.
    Recorded { last_timestamp_before: u64 },
    /// An expiry was added.
    Expired,
    /// An id was burned.
    Burned,
    /// A pending transfer was opened.
    PendingOpened { id: u128 },
    /// This pending transfer was resolved.
    PendingClosed { open: pending::Open },
}
