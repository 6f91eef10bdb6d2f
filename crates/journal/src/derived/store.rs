//! The store itself: what a machine reads and writes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};

use qenex_kernel::memory::InvalidAccount;
use qenex_kernel::row::{
    Account, AccountTerms, BATCH_MAX, EventKind, EventResult, TIMESTAMP_MAX, Transfer, transfer_flags,
};
use qenex_kernel::status::CreateTransferStatus;
use qenex_kernel::store::{Due, Event, Found, PendingStatus, Store};

use super::account_index::AccountIndexes;
use super::accounts::{Accounts, Slot};
use super::directory::{Directory, Key};
use super::hash::{Keys, prefix};
use super::memory::{Closed, Open};
use super::no_disk::NoDisk;
use super::num::index32;
use super::pending::{self, Pending};
use super::row_table::{SIDE, side};
use super::scope::Undo;
use super::sealed::{Cache, RESOLVES, ROWS_MAX, Scratch, SealedSegment};
use super::segment::{Expiry, Sides, burned, plain_result};
use super::view::View;
use super::{Counters, Entry, Options};
use crate::disk::Disk;

/// How many rows before its turn a row's indexes are asked for, and the accounts that they lead to: early enough for
/// memory to answer, late enough to be still near.
const INDEXES_AHEAD: usize = 24;
const ROWS_AHEAD: usize = 12;

/// Rows that the entry that fills a segment may bring it to, and what the same batch may add.
pub(super) fn rows_max(options: &Options) -> usize {
    options.segment_rows as usize + 2 * BATCH_MAX
}

/// Rows that a segment's tables are for at first: so that a small book takes little memory, they grow once, when what one
/// entry may bring would not fit any more.
pub(super) const ROWS_FEW: usize = 3 * BATCH_MAX;

/// Accounts, transfers and everything derived from the journal. `D` is the disk where sealed segments lie.
pub struct LedgerStore<D: Disk> {
    pub(super) disk: D,
    pub(super) book: [u8; 16],
    pub(super) options: Options,
    /// Closed segments stay in memory.
    pub(super) in_memory: bool,
    pub(super) keys: Keys,
    pub(crate) accounts: Accounts,
    pub(super) account_indexes: RefCell<AccountIndexes>,
    pub(super) pending: Pending,
    pub(super) directory: Directory,
    /// The oldest segments. Of what is older than the open one these are in the directory, and nothing else, unless the
    /// store is all in memory.
    pub(super) sealed: Vec<SealedSegment<D>>,
    /// The next of them, on its way into the directory, and how many of its keys are in.
    pub(super) settling: Option<(SealedSegment<D>, usize)>,
    /// Those after them, which are about to be sealed.
    pub(super) closed: VecDeque<Closed>,
    pub(super) open: Open,
    /// Memory of sealed segments, for the next ones.
    pub(super) spare: Vec<Open>,
    pub(crate) cache: Arc<Mutex<Cache>>,
    /// Memory of those who seal.
    pub(super) scratch: Scratch,
    /// Weight of the open segment's entries so far: their rows and the expiries.
    pub(super) segment_weight: u64,
    pub(super) expiries_before_entry: usize,
    pub(super) last_transfer_timestamp: u64,
    pub(super) transfers_before_segment: u64,
    /// Accounts that the store started from: their balances before the first event.
    pub(super) opening: BTreeMap<Slot, Account>,
    /// The changes to take back, while a scope is open.
    undo: Option<Vec<Undo>>,
    /// Changes that a rollback leaves: none, unless a test of a simulator wants to see it caught.
    undo_kept: usize,
}

impl<D: Disk> fmt::Debug for LedgerStore<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LedgerStore").field("counters", &self.counters()).finish_non_exhaustive()
    }
}

impl LedgerStore<NoDisk> {
    /// An empty store that keeps everything in memory.
    pub fn in_memory(book: [u8; 16], options: Options) -> Self {
        let mut store = Self::new(NoDisk, book, options);
        store.in_memory = true;
        store
    }
}

impl<D: Disk> LedgerStore<D> {
    /// An empty store of a book. What is sealed goes to `disk`.
    ///
    /// # Panics
    /// If the options ask for segments of more than 8 million rows.
    pub fn new(disk: D, book: [u8; 16], options: Options) -> Self {
        let keys = Keys::new(book);
        let rows_max = rows_max(&options);
        assert!(rows_max < ROWS_MAX as usize, "a segment has less than {ROWS_MAX} rows");
        Self {
            disk,
            book,
            options,
            in_memory: false,
            keys,
            accounts: Accounts::default(),
            account_indexes: RefCell::default(),
            pending: Pending::default(),
            directory: Directory::new(2 * rows_max),
            settling: None,
            sealed: Vec::new(),
            closed: VecDeque::new(),
            open: Open::new(keys, 0, rows_max.min(ROWS_FEW)),
            spare: Vec::new(),
            cache: Arc::new(Mutex::new(Cache::new(options.cache_bits))),
            scratch: Scratch::default(),
            segment_weight: 0,
            expiries_before_entry: 0,
            last_transfer_timestamp: 0,
            transfers_before_segment: 0,
            opening: BTreeMap::new(),
            undo: None,
            undo_kept: 0,
        }
    }

    /// Starts from these accounts, balances, flags and reserved bits as given: for tests, simulation and migration.
    /// Their order is that of their timestamps, however they are passed. The store must be empty.
    ///
    /// # Errors
    /// [`InvalidAccount`] names the first row that cannot be one.
    pub fn with_accounts(mut self, accounts: &[Account]) -> Result<Self, InvalidAccount> {
        let mut ids = BTreeSet::new();
        let mut by_time = BTreeMap::new();
        for (row, account) in accounts.iter().enumerate() {
            if account.id == 0 || account.id == u128::MAX {
                return Err(InvalidAccount::Id { row });
            }
            if !ids.insert(account.id) {
                return Err(InvalidAccount::DuplicateId { row });
            }
            let possible = account.timestamp != 0 && account.timestamp <= TIMESTAMP_MAX;
            if !possible || by_time.insert(account.timestamp, account).is_some() {
                return Err(InvalidAccount::Timestamp { row });
            }
        }
        for account in by_time.into_values() {
            self.opening.insert(index32(self.accounts.len()), *account);
            self.accounts.push(&self.keys, account);
        }
        Ok(self)
    }

    /// The results of an entry, byte for byte as they were; `None` if there is no such entry.
    pub fn results_of_entry(&self, number: u64) -> Option<Vec<EventResult>> {
        self.segments_newest_first().find_map(|segment| {
            let entry = segment.entry(number)?;
            let mut results: Vec<EventResult> =
                (0..entry.rows).map(|row| plain_result(entry.timestamp, entry.rows, row)).collect();
            for exception in entry.exceptions_begin..entry.exceptions_begin + entry.exceptions {
                let exception = segment.exception(exception);
                results[exception.row as usize] =
                    EventResult { timestamp: exception.timestamp, status: exception.status, reserved: 0 };
            }
            Some(results)
        })
    }

    /// Breaks rollbacks: from here on each leaves its oldest change. For proofs that a simulator sees it.
    #[doc(hidden)]
    pub const fn roll_back_one_short(&mut self) {
        self.undo_kept = 1;
    }

    /// The disk where sealed segments lie.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// What an entry was; `None` if there is no such entry.
    pub fn entry(&self, number: u64) -> Option<Entry> {
        let entry = self.segments_newest_first().find_map(|segment| segment.entry(number))?;
        Some(Entry { number, operation: entry.operation, timestamp: entry.timestamp })
    }

    /// How much there is.
    pub fn counters(&self) -> Counters {
        Counters {
            accounts: self.accounts.len() as u64,
            transfers: self.transfers_before_segment + u64::from(View::rows(&self.open)),
            pending: self.pending.len() as u64,
            segments: self.open.rows.number + 1,
        }
    }

    /// A segment, to read.
    pub(super) fn segment(&self, number: u32) -> &dyn View {
        let number = number as usize;
        if let Some(sealed) = self.sealed.get(number) {
            return sealed;
        }
        self.closed.get(number - self.sealed.len()).map_or(&self.open as &dyn View, |closed| closed as &dyn View)
    }

    /// All segments, to read.
    pub(super) fn segments_newest_first(&self) -> impl Iterator<Item = &dyn View> {
        (0..=self.open.rows.number).rev().map(|number| self.segment(number))
    }

    /// Finds an id in whatever segment has it, and lets `read` say what it is there.
    pub(super) fn find_id<T>(
        &self,
        id: u128,
        transfer: impl Fn(&dyn View, u32) -> T,
        burned: impl Fn(&dyn View, u32) -> T,
    ) -> Option<T> {
        let hash = self.keys.id(id);
        let key = self.key(id, hash);
        let read = |segment: &dyn View, place| match place & SIDE {
            0 => transfer(segment, place),
            _ => burned(segment, place & !SIDE),
        };
        if let Some(place) = self.open.lookup.find(hash, &self.open.rows, id) {
            return Some(read(&self.open, place));
        }
        for closed in self.unlisted().filter(|closed| closed.blocks.may_have(key.block)) {
            if let Some(place) = closed.lookup.find(hash, &closed.rows, id) {
                return Some(read(closed, place));
            }
        }
        self.directory.find(key, |number| {
            let segment = self.segment(number);
            segment.find(id).map(|place| read(segment, place))
        })
    }

    /// Closed segments that are not in the directory, newest first.
    #[inline]
    fn unlisted(&self) -> impl Iterator<Item = &Closed> {
        let count = if self.in_memory { 0 } else { self.closed.len() };
        self.closed.iter().rev().take(count)
    }

    /// Where the directory has an id, or what resolved it, by the hash that goes with either.
    #[inline]
    fn key(&self, id: u128, hash: u64) -> Key {
        Key { prefix: prefix(hash), block: self.keys.block(id) }
    }

    fn undo(&mut self, undo: impl FnOnce() -> Undo) {
        if let Some(log) = &mut self.undo {
            log.push(undo());
        }
    }

    /// Writes an account's new row.
    #[inline]
    fn write_account(&mut self, slot: Slot, row: &Account) {
        if let Some(log) = &mut self.undo {
            log.push(Undo::Account { slot, before: *self.accounts.row(slot) });
        }
        self.accounts.update(slot, row);
    }

    /// A pending transfer is resolved by what stands at `place` of the open segment.
    fn resolve(&mut self, pending_id: u128, place: u32) -> pending::Open {
        let hash = self.keys.resolution(pending_id);
        self.open.lookup.insert_resolution(hash, place);
        self.open.blocks.add(self.keys.block(pending_id));
        let open = self.pending.close(&self.keys, pending_id);
        self.undo(|| Undo::PendingClosed { open });
        open
    }

    fn record_transfer(&mut self, event: &Event<'_, Slot>) {
        let sides = Sides::new(event.debit, event.debit_account, event.credit, event.credit_account);
        let transfer = event.transfer;
        let row = index32(self.open.rows.push(transfer, sides, event.debit_account, event.credit_account));
        let hash = self.keys.id(transfer.id);
        self.open.lookup.insert_id(hash, row);
        self.open.blocks.add(self.keys.block(transfer.id));
        let number = self.open.rows.number;
        let last_timestamp_before = self.last_transfer_timestamp;
        self.undo(|| Undo::Recorded { last_timestamp_before });
        self.last_transfer_timestamp = transfer.timestamp;
        match event.kind {
            EventKind::SinglePhase => {}
            EventKind::TwoPhasePending => {
                self.pending.open(&self.keys, pending::Open { transfer: *transfer, segment: number, row });
                self.undo(|| Undo::PendingOpened { id: transfer.id });
            }
            EventKind::TwoPhasePosted | EventKind::TwoPhaseVoided | EventKind::TwoPhaseExpired => {
                self.resolve(transfer.pending_id, row);
            }
        }
    }

    fn record_expiry(&mut self, event: &Event<'_, Slot>) {
        let place = side(self.open.rows.expiries.len());
        let open = self.resolve(event.transfer.id, place);
        let expiry = Expiry {
            pending_id: event.transfer.id,
            timestamp: event.timestamp,
            segment: open.segment,
            row: open.row,
            sides: Sides::new(event.debit, event.debit_account, event.credit, event.credit_account),
            reserved: [0; 3],
        };
        self.open.rows.push_expiry(expiry, event.debit_account, event.credit_account);
        self.undo(|| Undo::Expired);
    }

    fn take_back(&mut self, undo: Undo) {
        match undo {
            Undo::Account { slot, before } => {
                self.accounts.update(slot, &before);
            }
            Undo::AccountAdded => {
                self.accounts.pop(&self.keys);
                self.account_indexes.get_mut().forget_from(self.accounts.len());
            }
            Undo::Terms { slot, before } => {
                self.accounts.set_terms(slot, before.as_ref());
            }
            Undo::Recorded { last_timestamp_before } => {
                let transfer = self.open.rows.pop();
                let row = View::rows(&self.open);
                let hash = self.keys.id(transfer.id);
                if transfer.flags & RESOLVES != 0 {
                    self.take_back_resolution(transfer.pending_id, row);
                }
                self.open.lookup.remove_id(hash, row);
                self.last_transfer_timestamp = last_timestamp_before;
            }
            Undo::Expired => {
                let expiry = self.open.rows.pop_expiry();
                self.take_back_resolution(expiry.pending_id, side(self.open.rows.expiries.len()));
            }
            Undo::Burned => {
                let burned = self.open.rows.burned.pop().expect("a burned id to take back");
                let hash = self.keys.id(burned.id);
                self.open.lookup.remove_id(hash, side(self.open.rows.burned.len()));
            }
            Undo::PendingOpened { id } => {
                self.pending.close(&self.keys, id);
            }
            Undo::PendingClosed { open } => self.pending.open(&self.keys, open),
        }
    }

    fn take_back_resolution(&mut self, pending_id: u128, place: u32) {
        let hash = self.keys.resolution(pending_id);
        self.open.lookup.remove_resolution(hash, place);
    }

    /// Starts loading the indexes that a row needs.
    #[inline]
    fn prefetch_indexes(&self, row: &Transfer) {
        let hash = self.keys.id(row.id);
        let key = self.key(row.id, hash);
        self.open.lookup.prefetch(hash);
        for closed in self.unlisted().filter(|closed| closed.blocks.may_have(key.block)) {
            closed.lookup.prefetch(hash);
        }
        self.directory.prefetch(key);
        self.accounts.prefetch_index(self.keys.id(row.debit_account_id));
        self.accounts.prefetch_index(self.keys.id(row.credit_account_id));
        if row.pending_id != 0 {
            self.pending.prefetch_index(self.keys.id(row.pending_id));
        }
    }

    /// Starts loading the rows that a row needs; its indexes are near by now.
    #[inline]
    fn prefetch_rows(&self, row: &Transfer) {
        self.accounts.prefetch_row(self.keys.id(row.debit_account_id));
        self.accounts.prefetch_row(self.keys.id(row.credit_account_id));
        if row.pending_id != 0 {
            self.pending.prefetch_entry(self.keys.id(row.pending_id));
        }
    }
}

impl<D: Disk> Store for LedgerStore<D> {
    type Handle = Slot;

    fn prepare_accounts(&mut self, rows: &[Account]) {
        for row in rows {
            self.accounts.prefetch_index(self.keys.id(row.id));
        }
    }

    fn prepare_transfers(&mut self, rows: &[Transfer]) {
        rows.iter().take(INDEXES_AHEAD).for_each(|row| self.prefetch_indexes(row));
        rows.iter().take(ROWS_AHEAD).for_each(|row| self.prefetch_rows(row));
    }

    #[inline]
    fn approach_transfers(&self, rows: &[Transfer]) {
        if let Some(row) = rows.get(INDEXES_AHEAD) {
            self.prefetch_indexes(row);
        }
        if let Some(row) = rows.get(ROWS_AHEAD) {
            self.prefetch_rows(row);
        }
    }

    #[inline]
    fn find_account(&self, id: u128) -> Option<Slot> {
        self.accounts.find(&self.keys, id)
    }

    #[inline]
    fn account(&self, handle: Slot) -> Account {
        *self.accounts.row(handle)
    }

    fn insert_account(&mut self, account: &Account) {
        self.accounts.push(&self.keys, account);
        self.undo(|| Undo::AccountAdded);
    }

    #[inline]
    fn terms(&self, handle: Slot) -> Option<AccountTerms> {
        self.accounts.terms(handle).copied()
    }

    fn set_terms(&mut self, handle: Slot, terms: Option<&AccountTerms>) {
        let before = self.accounts.set_terms(handle, terms);
        self.undo(|| Undo::Terms { slot: handle, before });
    }

    #[inline]
    fn find_transfer(&self, id: u128) -> Found {
        self.find_id(id, |segment, row| Found::Recorded(segment.transfer(row)), |_, _| Found::Burned)
            .unwrap_or(Found::Absent)
    }

    fn pending_status(&self, pending: &Transfer) -> PendingStatus {
        if self.pending.find(&self.keys, pending.id).is_some() {
            return PendingStatus::Pending;
        }
        let key = self.key(pending.id, self.keys.resolution(pending.id));
        let read = |segment: &dyn View| {
            segment.resolution(pending.id).map(|place| match place & SIDE {
                0 if segment.transfer(place).flags & transfer_flags::POST_PENDING_TRANSFER != 0 => {
                    PendingStatus::Posted
                }
                0 => PendingStatus::Voided,
                _ => PendingStatus::Expired,
            })
        };
        let resolution = read(&self.open)
            .or_else(|| self.unlisted().find_map(|closed| read(closed)))
            .or_else(|| self.directory.find(key, |number| read(self.segment(number))));
        resolution.expect("a recorded pending transfer is open or was resolved")
    }

    /// From memory, however old it is.
    #[inline]
    fn find_open_pending(&self, id: u128) -> Option<Transfer> {
        self.pending.find(&self.keys, id).map(|open| open.transfer)
    }

    #[inline]
    fn record(&mut self, event: &Event<'_, Slot>) {
        self.write_account(event.debit, event.debit_account);
        self.write_account(event.credit, event.credit_account);
        match event.kind {
            EventKind::TwoPhaseExpired => self.record_expiry(event),
            _ => self.record_transfer(event),
        }
    }

    fn burn(&mut self, id: u128, status: CreateTransferStatus, timestamp: u64) {
        let place = side(self.open.rows.burned.len());
        self.open.rows.burned.push(burned(id, status, timestamp));
        let hash = self.keys.id(id);
        self.open.lookup.insert_id(hash, place);
        self.open.blocks.add(self.keys.block(id));
        self.undo(|| Undo::Burned);
    }

    fn account_timestamp_taken(&self, timestamp: u64) -> bool {
        self.accounts.timestamp_taken(timestamp)
    }

    fn event_timestamp_taken(&self, timestamp: u64) -> bool {
        self.segments_newest_first().any(|segment| {
            let row = segment.first_at_or_after(timestamp);
            let expiry = segment.first_expiry_at_or_after(timestamp);
            (row < segment.rows() && segment.transfer(row).timestamp == timestamp)
                || (expiry < segment.expiries() && segment.expiry(expiry).timestamp == timestamp)
        })
    }

    fn last_account_timestamp(&self) -> u64 {
        self.accounts.last_timestamp()
    }

    fn last_transfer_timestamp(&self) -> u64 {
        self.last_transfer_timestamp
    }

    fn next_due(&self) -> Option<Due> {
        self.pending.next_due().map(|(expires, open)| Due { expires, transfer: open.transfer })
    }

    fn count_due(&self, timestamp: u64, max: usize) -> usize {
        self.pending.count_due(timestamp, max)
    }

    fn open_scope(&mut self) {
        assert!(self.undo.is_none(), "scopes do not nest");
        self.undo = Some(Vec::new());
    }

    fn keep_scope(&mut self) {
        self.undo.take().expect("a scope is open");
    }

    fn revert_scope(&mut self) {
        let mut undo = self.undo.take().expect("a scope is open");
        while undo.len() > self.undo_kept {
            undo.pop().into_iter().for_each(|change| self.take_back(change));
        }
        let (rows, expiries) = (View::rows(&self.open), self.open.expiries());
        self.open.forget_indexes_from(rows, expiries);
    }
}
