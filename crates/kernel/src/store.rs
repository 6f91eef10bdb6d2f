//! What the machine needs of the place where rows live.

use alloc::vec::Vec;

use crate::row::{
    Account, AccountBalance, AccountFilter, AccountTerms, ChangeEvent, ChangeEventsFilter, EventKind, Outcome,
    QueryFilter, Transfer, transfer_flags,
};
use crate::status::CreateTransferStatus;

/// What a store knows of a transfer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Never used.
    Absent,
    /// Recorded; the row as recorded.
    Recorded(Transfer),
    /// Burned by a transient refusal.
    Burned,
}

/// Where a pending transfer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingStatus {
    /// Open.
    Pending,
    /// Posted, all or part.
    Posted,
    /// Voided.
    Voided,
    /// Expired.
    Expired,
}

/// One change of the ledger, decided by the rules, about to be stored.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a, H> {
    /// What it is.
    pub kind: EventKind,
    /// The row as recorded (clamped, filled in, stamped); for an expiry the pending transfer's row.
    pub transfer: &'a Transfer,
    /// The pending transfer that a post, a void or an expiry resolves.
    pub pending: Option<&'a Transfer>,
    /// Of the event: the transfer's own, except for an expiry.
    pub timestamp: u64,
    /// The debited account's handle.
    pub debit: H,
    /// The debited account, right after the event.
    pub debit_account: &'a Account,
    /// The credited account's handle.
    pub credit: H,
    /// The credited account, right after the event.
    pub credit_account: &'a Account,
}

impl<H> Event<'_, H> {
    /// What becomes of the pending transfer that the event resolves; none if it resolves none.
    #[must_use]
    pub const fn resolves_to(&self) -> Option<PendingStatus> {
        match self.kind {
            EventKind::SinglePhase | EventKind::TwoPhasePending => None,
            EventKind::TwoPhasePosted => Some(PendingStatus::Posted),
            EventKind::TwoPhaseVoided => Some(PendingStatus::Voided),
            EventKind::TwoPhaseExpired => Some(PendingStatus::Expired),
        }
    }

    /// The event as clients see it.
    #[must_use]
    pub fn change(&self) -> ChangeEvent {
        ChangeEvent::new(self.kind, self.timestamp, self.transfer, self.debit_account, self.credit_account)
    }
}

/// A pending transfer whose time has come, the next in order of (expiry, creation).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When it expires, UTC nanoseconds.
    pub expires: u64,
    /// The row as recorded.
    pub transfer: Transfer,
}

/// Accounts, recorded transfers, states of pending transfers, burned ids.
///
/// A store decides nothing. Reads after [`Store::prepare_transfers`] cannot fail: a store over a
/// disk reads ahead there, and stops the process if it cannot.
///
/// Between [`Store::open_scope`] and its end every change can be taken back; scopes do not nest.
pub trait Store {
    /// Names an account cheaply, for as long as the account exists.
    type Handle: Copy + PartialEq + core::fmt::Debug;

    /// Reads ahead what `create_accounts` will ask for.
    fn prepare_accounts(&mut self, _rows: &[Account]) {}
    /// Reads ahead what `create_transfers` will ask for.
    fn prepare_transfers(&mut self, _rows: &[Transfer]) {}
    /// These rows come next, of those prepared; the first is taken now. What the others need can be brought near.
    #[inline]
    fn approach_transfers(&self, _rows: &[Transfer]) {}

    /// The account with this id.
    fn find_account(&self, id: u128) -> Option<Self::Handle>;
    /// The account's row as it stands.
    fn account(&self, handle: Self::Handle) -> Account;
    /// Adds an account whose id is not there yet and whose timestamp is above all others'.
    fn insert_account(&mut self, account: &Account);
    /// The account's terms, if it has any.
    fn terms(&self, handle: Self::Handle) -> Option<AccountTerms>;
    /// Replaces the account's terms; `None` removes them.
    fn set_terms(&mut self, handle: Self::Handle, terms: Option<&AccountTerms>);

    /// What is known of this transfer id.
    fn find_transfer(&self, id: u128) -> Found;
    /// Where the recorded pending transfer stands.
    fn pending_status(&self, pending: &Transfer) -> PendingStatus;
    /// The pending transfer with this id, if it is open: the same as asking for both, for stores that know it sooner.
    fn find_open_pending(&self, id: u128) -> Option<Transfer> {
        match self.find_transfer(id) {
            Found::Recorded(transfer) if transfer.flags & transfer_flags::PENDING != 0 => {
                (self.pending_status(&transfer) == PendingStatus::Pending).then_some(transfer)
            }
            Found::Recorded(_) | Found::Absent | Found::Burned => None,
        }
    }
    /// Stores a change: the recorded transfer (not for an expiry), both accounts as they are now,
    /// the pending transfer opened or resolved.
    fn record(&mut self, event: &Event<'_, Self::Handle>);
    /// Burns a transfer id with the refusal that did it.
    fn burn(&mut self, id: u128, status: CreateTransferStatus, timestamp: u64);

    /// Whether an account has this timestamp.
    fn account_timestamp_taken(&self, timestamp: u64) -> bool;
    /// Whether a transfer or an expiry has this timestamp.
    fn event_timestamp_taken(&self, timestamp: u64) -> bool;
    /// Timestamp of the newest account, 0 if there is none.
    fn last_account_timestamp(&self) -> u64;
    /// Timestamp of the newest transfer, 0 if there is none.
    fn last_transfer_timestamp(&self) -> u64;

    /// The open pending transfer that expires next.
    fn next_due(&self) -> Option<Due>;
    /// How many open pending transfers expire at or before `timestamp`, counted up to `max`.
    fn count_due(&self, timestamp: u64, max: usize) -> usize;

    /// From here on changes can be taken back.
    fn open_scope(&mut self);
    /// Keeps the changes since [`Store::open_scope`].
    fn keep_scope(&mut self);
    /// Takes the changes since [`Store::open_scope`] back, all of them.
    fn revert_scope(&mut self);
}

/// How far a step of a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// There is no more to find.
    Done,
    /// The filter names what was not looked at yet.
    More,
}

/// What can be asked of the past. Filters have been judged valid by the caller
/// ([`crate::row::AccountFilter`] and the others know when they are); limits are at most a reply's size.
///
/// Queries that take a filter to change go on in steps: each looks at a bounded number of places, appends what it finds,
/// and narrows the filter to what is left. Rows that match may be far apart, and others wait in the meantime.
pub trait History: Store {
    /// The transfers with these hashes (SHA-256 of `00` and the row), those found, in the order asked.
    fn lookup_hashes(&self, hashes: &[[u8; 32]], out: &mut Vec<Transfer>);
    /// Transfers of one account.
    fn get_account_transfers(&self, filter: &mut AccountFilter, out: &mut Vec<Transfer>) -> Progress;
    /// Balances of one account with `history` after each of its transfers.
    fn get_account_balances(&self, filter: &mut AccountFilter, out: &mut Vec<AccountBalance>) -> Progress;
    /// Accounts by their fields.
    fn query_accounts(&self, filter: &mut QueryFilter, out: &mut Vec<Account>) -> Progress;
    /// Transfers by their fields.
    fn query_transfers(&self, filter: &mut QueryFilter, out: &mut Vec<Transfer>) -> Progress;
    /// Changes in order of time.
    fn get_change_events(&self, filter: &ChangeEventsFilter, out: &mut Vec<ChangeEvent>);
    /// What became of a transfer id.
    fn outcome(&self, id: u128) -> Option<Outcome>;
    /// Balances right after the account's last event at or before `timestamp`; all zero if none.
    fn balance_at(&self, handle: Self::Handle, timestamp: u64) -> AccountBalance;
}
