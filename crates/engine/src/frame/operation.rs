//! Operations: `spec/protocol.md` section 4.

use qenex_kernel::row::{
    Account, AccountFilter, AccountTerms, BATCH_MAX, BalanceAt, ChangeEventsFilter, Id, QueryFilter, Transfer,
};

use super::books::{BooksFilter, GRANTS_MAX, GrantName, GrantRow, GrantsFilter, NewBook};

/// What a request's body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing.
    Empty,
    /// This many rows of this many bytes, at least one.
    Rows {
        /// Bytes of a row.
        size: usize,
        /// Rows at most.
        max: usize,
    },
    /// UTF-8 text.
    Text,
}

macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $shape:expr, $writes:literal;)*) => {
        /// What a request asks for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Operation { $($(#[$doc])* $variant = $number,)* }

        impl Operation {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The specification's spelling, for example `create_transfers`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The operation with this number, if there is one.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            /// The number that crosses the wire and stands in the journal.
            #[must_use]
            pub const fn number(self) -> u16 {
                self as u16
            }

            /// What its body holds.
            #[must_use]
            pub const fn shape(self) -> Shape {
                match self { $(Self::$variant => $shape,)* }
            }

            /// Whether it is about books, and not about what is in one.
            #[must_use]
            pub const fn is_of_system(self) -> bool {
                self.number() >= Self::CreateBook.number()
            }

            /// Whether it becomes an entry of the journal.
            #[must_use]
            pub const fn writes(self) -> bool {
                match self { $(Self::$variant => $writes,)* }
            }
        }
    };
}

const fn batch(size: usize) -> Shape {
    Shape::Rows { size, max: BATCH_MAX }
}

const fn one(size: usize) -> Shape {
    Shape::Rows { size, max: 1 }
}

operations! {
    /// Opens accounts.
    CreateAccounts = 146, "create_accounts", batch(Account::SIZE), true;
    /// Makes transfers.
    CreateTransfers = 147, "create_transfers", batch(Transfer::SIZE), true;
    /// Replaces the terms of accounts.
    SetAccountTerms = 1024, "set_account_terms", batch(AccountTerms::SIZE), true;
    /// Accounts by id.
    LookupAccounts = 140, "lookup_accounts", batch(Id::SIZE), false;
    /// Transfers by id.
    LookupTransfers = 141, "lookup_transfers", batch(Id::SIZE), false;
    /// Transfers of one account.
    GetAccountTransfers = 142, "get_account_transfers", one(AccountFilter::SIZE), false;
    /// Balances of one account after each of its transfers.
    GetAccountBalances = 143, "get_account_balances", one(AccountFilter::SIZE), false;
    /// Accounts by their fields.
    QueryAccounts = 144, "query_accounts", one(QueryFilter::SIZE), false;
    /// Transfers by their fields.
    QueryTransfers = 145, "query_transfers", one(QueryFilter::SIZE), false;
    /// Changes in order of time.
    GetChangeEvents = 137, "get_change_events", one(ChangeEventsFilter::SIZE), false;
    /// What became of transfer ids.
    LookupOutcomes = 1025, "lookup_outcomes", batch(Id::SIZE), false;
    /// Balances at a time.
    BalanceAt = 1026, "balance_at", batch(BalanceAt::SIZE), false;
    /// Transfers by hash.
    LookupHashes = 1027, "lookup_hashes", batch(32), false;
    /// Terms of accounts.
    LookupAccountTerms = 1028, "lookup_account_terms", batch(Id::SIZE), false;
    /// How the server stands.
    GetStatus = 1030, "get_status", Shape::Empty, false;
    /// Metrics as Prometheus text.
    GetMetrics = 1031, "get_metrics", Shape::Empty, false;
    /// A copy of the book in a new folder.
    Backup = 1032, "backup", Shape::Text, false;
    /// The operator says that the wall clock is right.
    ConfirmClock = 1033, "confirm_clock", Shape::Empty, false;
    /// Makes a book; as all that follow, for the credential of the system only.
    CreateBook = 1040, "create_book", one(size_of::<NewBook>()), false;
    /// The books there are.
    ListBooks = 1041, "list_books", one(size_of::<BooksFilter>()), false;
    /// Closes a book to everybody.
    SuspendBook = 1042, "suspend_book", one(Id::SIZE), false;
    /// Opens it again.
    ResumeBook = 1043, "resume_book", one(Id::SIZE), false;
    /// Adds credentials that open a book, or replaces them.
    PutGrants = 1044, "put_grants", Shape::Rows { size: size_of::<GrantRow>(), max: GRANTS_MAX }, false;
    /// The credentials that open a book.
    ListGrants = 1045, "list_grants", one(size_of::<GrantsFilter>()), false;
    /// Takes credentials away.
    RemoveGrants = 1046, "remove_grants", Shape::Rows { size: size_of::<GrantName>(), max: GRANTS_MAX }, false;
}
