//! A store in memory, written to be checked by eye: ordered maps, no index, whole-state rollback.
//!
//! It is the reference that faster stores are compared with, and enough for tests and small ledgers.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;
use core::ops::RangeInclusive;

use sha2::{Digest, Sha256};
use zerocopy::{Immutable, IntoBytes};

use crate::row::{
    Account, AccountBalance, AccountFilter, AccountTerms, ChangeEvent, ChangeEventsFilter, EventKind, Outcome,
    QueryFilter, TIMESTAMP_MAX, Transfer, account_flags,
};
use crate::rules::damaged;
use crate::status::CreateTransferStatus;
use crate::store::{Due, Event, Found, History, PendingStatus, Progress, Store};

/// Everything that a rolled-back chain must leave as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    /// By id.
    accounts: BTreeMap<u128, Account>,
    /// Ids by timestamp.
    accounts_by_time: BTreeMap<u64, u128>,
    /// By account id.
    terms: BTreeMap<u128, AccountTerms>,
    /// By id.
    transfers: BTreeMap<u128, Transfer>,
    /// Ids by timestamp.
    transfers_by_time: BTreeMap<u64, u128>,
    /// By id of the pending transfer.
    pending: BTreeMap<u128, PendingStatus>,
    /// (expiry, timestamp) of open pending transfers.
    due: BTreeSet<(u64, u64)>,
    /// Burned ids.
    burned: BTreeMap<u128, Outcome>,
    /// By timestamp of the event.
    changes: BTreeMap<u64, ChangeEvent>,
}

/// A row of the accounts that a store was to start from cannot be one. Nothing was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidAccount {
    /// The id is 0 or the maximum.
    Id {
        /// Index of the row.
        row: usize,
    },
    /// Another row before it has the id.
    DuplicateId {
        /// Index of the row.
        row: usize,
    },
    /// The timestamp is 0 or above the last, or another row before it has it.
    Timestamp {
        /// Index of the row.
        row: usize,
    },
}

impl fmt::Display for InvalidAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id { row } => write!(f, "account row {row}: the id must be neither 0 nor 2^128-1"),
            Self::DuplicateId { row } => write!(f, "account row {row}: a row before it has the same id"),
            Self::Timestamp { row } => {
                write!(f, "account row {row}: the timestamp must be from 1 to 2^63-1 and no other row's")
            }
        }
    }
}

impl core::error::Error for InvalidAccount {}

/// A store in memory; see the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryStore {
    state: State,
    /// What to go back to, while a scope is open.
    saved: Option<Box<State>>,
    /// Accounts that the store started from, by id: their balances before the first event.
    opening: BTreeMap<u128, Account>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A store that starts from these accounts, balances, flags and reserved bits as given.
    ///
    /// # Errors
    /// [`InvalidAccount`] names the first row that cannot be one.
    pub fn with_accounts(accounts: &[Account]) -> Result<Self, InvalidAccount> {
        let mut store = Self::new();
        for (row, account) in accounts.iter().enumerate() {
            if account.id == 0 || account.id == u128::MAX {
                return Err(InvalidAccount::Id { row });
            }
            if store.state.accounts.contains_key(&account.id) {
                return Err(InvalidAccount::DuplicateId { row });
            }
            let possible = account.timestamp != 0 && account.timestamp <= TIMESTAMP_MAX;
            if !possible || store.account_timestamp_taken(account.timestamp) {
                return Err(InvalidAccount::Timestamp { row });
            }
            store.insert_account(account);
            store.opening.insert(account.id, *account);
        }
        Ok(store)
    }

    /// Every account, in order of creation.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.state.accounts_by_time.values().filter_map(|id| self.state.accounts.get(id))
    }

    /// Every recorded transfer, in order of time.
    pub fn transfers(&self) -> impl DoubleEndedIterator<Item = &Transfer> {
        self.state.transfers_by_time.values().filter_map(|id| self.state.transfers.get(id))
    }

    /// SHA-256 over everything that the store holds, in a fixed order: equal for equal states.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let state = &self.state;
        let mut hash = Sha256::new();
        absorb(&mut hash, state.accounts.values().copied());
        absorb(&mut hash, state.accounts_by_time.iter().map(|(time, id)| [u128::from(*time), *id]));
        absorb(&mut hash, state.terms.values().copied());
        absorb(&mut hash, state.transfers.values().copied());
        absorb(&mut hash, state.transfers_by_time.iter().map(|(time, id)| [u128::from(*time), *id]));
        absorb(&mut hash, state.pending.iter().map(|(id, status)| [*id, *status as u128]));
        absorb(&mut hash, state.due.iter().map(|(expires, created)| [*expires, *created]));
        absorb(&mut hash, state.burned.values().copied());
        absorb(&mut hash, state.changes.values().copied());
        absorb(&mut hash, self.opening.values().copied());
        hash.finalize().into()
    }

    /// Transfers within a range of time, newest first if `reversed`.
    fn transfers_within(&self, range: RangeInclusive<u64>, reversed: bool) -> impl Iterator<Item = &Transfer> {
        let rows = self.state.transfers_by_time.range(range).filter_map(|(_, id)| self.state.transfers.get(id));
        directed(rows, reversed)
    }
}

/// Hashes how many rows there are, and the rows.
fn absorb<Row: IntoBytes + Immutable>(hash: &mut Sha256, rows: impl ExactSizeIterator<Item = Row>) {
    hash.update(rows.len().to_le_bytes());
    rows.for_each(|row| hash.update(row.as_bytes()));
}

/// Turns an iterator round, or not.
fn directed<T>(rows: impl DoubleEndedIterator<Item = T>, reversed: bool) -> impl Iterator<Item = T> {
    let (forward, backward) = if reversed { (None, Some(rows.rev())) } else { (Some(rows), None) };
    forward.into_iter().flatten().chain(backward.into_iter().flatten())
}

impl Store for MemoryStore {
    /// An account's id.
    type Handle = u128;

    fn find_account(&self, id: u128) -> Option<u128> {
        self.state.accounts.contains_key(&id).then_some(id)
    }

    fn account(&self, handle: u128) -> Account {
        let Some(account) = self.state.accounts.get(&handle) else { damaged("a handle names no account") };
        *account
    }

    fn insert_account(&mut self, account: &Account) {
        self.state.accounts.insert(account.id, *account);
        self.state.accounts_by_time.insert(account.timestamp, account.id);
    }

    fn terms(&self, handle: u128) -> Option<AccountTerms> {
        self.state.terms.get(&handle).copied()
    }

    fn set_terms(&mut self, handle: u128, terms: Option<&AccountTerms>) {
        match terms {
            Some(terms) => self.state.terms.insert(handle, *terms),
            None => self.state.terms.remove(&handle),
        };
    }

    fn find_transfer(&self, id: u128) -> Found {
        match self.state.transfers.get(&id) {
            Some(transfer) => Found::Recorded(*transfer),
            None if self.state.burned.contains_key(&id) => Found::Burned,
            None => Found::Absent,
        }
    }

    fn pending_status(&self, pending: &Transfer) -> PendingStatus {
        let Some(status) = self.state.pending.get(&pending.id) else { damaged("a pending transfer has no status") };
        *status
    }

    fn record(&mut self, event: &Event<'_, u128>) {
        let state = &mut self.state;
        state.accounts.insert(event.debit, *event.debit_account);
        state.accounts.insert(event.credit, *event.credit_account);
        state.changes.insert(event.timestamp, event.change());
        if event.kind != EventKind::TwoPhaseExpired {
            state.transfers.insert(event.transfer.id, *event.transfer);
            state.transfers_by_time.insert(event.transfer.timestamp, event.transfer.id);
        }
        if event.kind == EventKind::TwoPhasePending {
            state.pending.insert(event.transfer.id, PendingStatus::Pending);
            if let Some(expires) = event.transfer.expires() {
                state.due.insert((expires, event.transfer.timestamp));
            }
        }
        if let (Some(pending), Some(status)) = (event.pending, event.resolves_to()) {
            state.pending.insert(pending.id, status);
            if let Some(expires) = pending.expires() {
                state.due.remove(&(expires, pending.timestamp));
            }
        }
    }

    fn burn(&mut self, id: u128, status: CreateTransferStatus, timestamp: u64) {
        self.state.burned.insert(id, Outcome { id, timestamp, status: status.number(), reserved: 0 });
    }

    fn account_timestamp_taken(&self, timestamp: u64) -> bool {
        self.state.accounts_by_time.contains_key(&timestamp)
    }

    fn event_timestamp_taken(&self, timestamp: u64) -> bool {
        self.state.changes.contains_key(&timestamp)
    }

    fn last_account_timestamp(&self) -> u64 {
        self.state.accounts_by_time.last_key_value().map_or(0, |(timestamp, _)| *timestamp)
    }

    fn last_transfer_timestamp(&self) -> u64 {
        self.state.transfers_by_time.last_key_value().map_or(0, |(timestamp, _)| *timestamp)
    }

    fn next_due(&self) -> Option<Due> {
        let (expires, created) = *self.state.due.first()?;
        let transfer = self.state.transfers_by_time.get(&created).and_then(|id| self.state.transfers.get(id));
        let Some(transfer) = transfer else { damaged("a transfer is due that was never recorded") };
        Some(Due { expires, transfer: *transfer })
    }

    fn count_due(&self, timestamp: u64, max: usize) -> usize {
        self.state.due.range(..=(timestamp, u64::MAX)).take(max).count()
    }

    fn open_scope(&mut self) {
        self.saved = Some(Box::new(self.state.clone()));
    }

    fn keep_scope(&mut self) {
        self.saved = None;
    }

    fn revert_scope(&mut self) {
        if let Some(saved) = self.saved.take() {
            self.state = *saved;
        }
    }
}

impl History for MemoryStore {
    fn lookup_hashes(&self, hashes: &[[u8; 32]], out: &mut Vec<Transfer>) {
        let by_hash: BTreeMap<[u8; 32], &Transfer> =
            self.state.transfers.values().map(|transfer| (transfer.hash(), transfer)).collect();
        out.extend(hashes.iter().filter_map(|hash| by_hash.get(hash)).copied());
    }

    fn get_account_transfers(&self, filter: &mut AccountFilter, out: &mut Vec<Transfer>) -> Progress {
        let rows = self.transfers_within(filter.range(), filter.is_reversed());
        out.extend(rows.filter(|transfer| filter.matches(transfer)).take(filter.capped_limit()));
        Progress::Done
    }

    fn get_account_balances(&self, filter: &mut AccountFilter, out: &mut Vec<AccountBalance>) -> Progress {
        let account = self.state.accounts.get(&filter.account_id);
        if account.is_none_or(|account| account.flags & account_flags::HISTORY == 0) {
            return Progress::Done;
        }
        let rows = self.transfers_within(filter.range(), filter.is_reversed());
        let events = rows.filter(|transfer| filter.matches(transfer)).take(filter.capped_limit());
        out.extend(events.filter_map(|transfer| {
            self.state.changes.get(&transfer.timestamp).and_then(|change| change.balance_of(filter.account_id))
        }));
        Progress::Done
    }

    fn query_accounts(&self, filter: &mut QueryFilter, out: &mut Vec<Account>) -> Progress {
        let ids = self.state.accounts_by_time.range(filter.range());
        let rows = directed(ids.filter_map(|(_, id)| self.state.accounts.get(id)), filter.is_reversed());
        out.extend(rows.filter(|account| filter.matches_account(account)).take(filter.capped_limit()));
        Progress::Done
    }

    fn query_transfers(&self, filter: &mut QueryFilter, out: &mut Vec<Transfer>) -> Progress {
        let rows = self.transfers_within(filter.range(), filter.is_reversed());
        out.extend(rows.filter(|transfer| filter.matches_transfer(transfer)).take(filter.capped_limit()));
        Progress::Done
    }

    fn get_change_events(&self, filter: &ChangeEventsFilter, out: &mut Vec<ChangeEvent>) {
        let rows = self.state.changes.range(filter.range()).map(|(_, change)| change);
        out.extend(rows.take(filter.capped_limit()));
    }

    fn outcome(&self, id: u128) -> Option<Outcome> {
        let created = CreateTransferStatus::Created.number();
        let recorded = self.state.transfers.get(&id);
        recorded
            .map(|transfer| Outcome { id, timestamp: transfer.timestamp, status: created, reserved: 0 })
            .or_else(|| self.state.burned.get(&id).copied())
    }

    fn balance_at(&self, handle: u128, timestamp: u64) -> AccountBalance {
        let changes = self.state.changes.range(..=timestamp).rev();
        let last = changes.filter_map(|(_, change)| change.balance_of(handle)).next();
        last.unwrap_or_else(|| {
            let opening = self.opening.get(&handle).filter(|account| account.timestamp <= timestamp);
            opening.map_or(AccountBalance::ZERO, |account| AccountBalance { timestamp: 0, ..account.balance() })
        })
    }
}
