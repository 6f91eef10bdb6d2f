//! What one segment records, in memory: the newest one, and those that wait to be sealed.
//!
//! A segment covers consecutive entries. Its rows are the transfers recorded by them, in order; expiries, burned ids
//! and the results that cannot be told from the entry alone have tables of their own.

use qenex_kernel::row::{Account, EventResult, Transfer, account_flags};
use qenex_kernel::status::CreateTransferStatus;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::chunks::Chunks;
use super::hash::Keys;
use super::num::{high64, low64};
use super::row_table::{Place, RowTable, SIDE, side};
use super::sealed::RESOLVES;

/// Bits of a row's number within a chunk.
pub(crate) const CHUNK_BITS: u32 = 15;

/// A transfer in two cache lines.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(128))]
pub(crate) struct TransferLine(pub(crate) Transfer);

/// Low or high halves of the balances after an event: debits pending, debits posted, credits pending, credits posted of
/// the debited account, then of the credited one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub(crate) struct Halves(pub(crate) [u64; 8]);

/// The eight balances after an event, in the order of [`Halves`].
pub(crate) type Balances = [u128; 8];

/// Both accounts of an event, as slots; the top bit says that the account is closed after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Sides {
    pub(crate) debit: u32,
    pub(crate) credit: u32,
}

const CLOSED: u32 = 1 << 31;

impl Sides {
    pub(crate) fn new(debit: u32, debit_account: &Account, credit: u32, credit_account: &Account) -> Self {
        let side = |slot, account: &Account| {
            if account.flags & account_flags::CLOSED == 0 { slot } else { slot | CLOSED }
        };
        Self { debit: side(debit, debit_account), credit: side(credit, credit_account) }
    }

    pub(crate) const fn debit_slot(self) -> u32 {
        self.debit & !CLOSED
    }

    pub(crate) const fn credit_slot(self) -> u32 {
        self.credit & !CLOSED
    }

    pub(crate) const fn debit_closed(self) -> bool {
        self.debit & CLOSED != 0
    }

    pub(crate) const fn credit_closed(self) -> bool {
        self.credit & CLOSED != 0
    }
}

/// An expiry: where its pending transfer was recorded, and what it left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Expiry {
    pub(crate) pending_id: u128,
    /// Of the event.
    pub(crate) timestamp: u64,
    /// The segment that has the pending transfer.
    pub(crate) segment: u32,
    /// Its row there.
    pub(crate) row: u32,
    pub(crate) sides: Sides,
    pub(crate) reserved: [u64; 3],
}

/// A burned id, and what burned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Burned {
    pub(crate) id: u128,
    pub(crate) timestamp: u64,
    pub(crate) status: u32,
    pub(crate) reserved: u32,
}

/// An entry of the journal, and which of its results are exceptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct EntryRow {
    pub(crate) number: u64,
    pub(crate) timestamp: u64,
    pub(crate) exceptions_begin: u32,
    pub(crate) exceptions: u32,
    pub(crate) rows: u32,
    pub(crate) operation: u16,
    pub(crate) reserved: u16,
}

/// A result that is not "created, in its own slot".
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Exception {
    pub(crate) timestamp: u64,
    pub(crate) status: u32,
    /// Within its entry.
    pub(crate) row: u32,
}

/// The number of `created` and `applied`.
const CREATED: u32 = u32::MAX;

/// The result of row `row` of `rows` of an entry at `timestamp`, when nothing special happened to it.
pub(crate) fn plain_result(timestamp: u64, rows: u32, row: u32) -> EventResult {
    let timestamp = timestamp.wrapping_sub(u64::from(rows)).wrapping_add(1 + u64::from(row));
    EventResult { timestamp, status: CREATED, reserved: 0 }
}

/// Rows before the last one that has memory at which more is wanted: it comes from another thread.
const ROWS_AHEAD: usize = 4 << CHUNK_BITS;

/// Memory for one more chunk of rows, which the system has really given.
#[derive(Debug)]
pub(crate) struct RowMemory {
    transfers: Vec<TransferLine>,
    sides: Vec<Sides>,
    low: Vec<Halves>,
}

impl RowMemory {
    /// Takes some milliseconds.
    pub(crate) fn new() -> Self {
        Self {
            transfers: touched(TransferLine(Transfer::ZERO)),
            sides: touched(Sides { debit: 0, credit: 0 }),
            low: touched(Halves::default()),
        }
    }
}

/// An empty list, with memory for a chunk that was written to.
fn touched<T: Clone>(value: T) -> Vec<T> {
    let mut rows = vec![core::hint::black_box(value); 1 << CHUNK_BITS];
    rows.clear();
    rows
}

/// Everything that a sealed file is made of.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) number: u32,
    pub(crate) transfers: Chunks<TransferLine, CHUNK_BITS>,
    pub(crate) sides: Chunks<Sides, CHUNK_BITS>,
    pub(crate) low: Chunks<Halves, CHUNK_BITS>,
    pub(crate) high: HighHalves,
    pub(crate) expiries: Chunks<Expiry, 10>,
    pub(crate) expiry_low: Chunks<Halves, 10>,
    pub(crate) expiry_high: Chunks<Halves, 10>,
    pub(crate) burned: Chunks<Burned, 10>,
    pub(crate) entries: Chunks<EntryRow, 10>,
    pub(crate) exceptions: Chunks<Exception, 10>,
}

impl Rows {
    /// Whether to make [`RowMemory`], if so many rows at most are to come.
    pub(crate) fn wants_memory(&self, rows_max: usize) -> bool {
        let wanted = rows_max.min(self.transfers.len() + ROWS_AHEAD) >> CHUNK_BITS;
        self.transfers.chunks() < wanted
    }

    /// Takes memory for later rows.
    pub(crate) fn give(&mut self, memory: RowMemory) {
        self.transfers.give(memory.transfers);
        self.sides.give(memory.sides);
        self.low.give(memory.low);
    }

    /// Adds a transfer and returns its row.
    #[inline]
    pub(crate) fn push(&mut self, transfer: &Transfer, sides: Sides, debit: &Account, credit: &Account) -> usize {
        let row = self.transfers.len();
        self.transfers.push(TransferLine(*transfer));
        self.sides.push(sides);
        let (low, high) = halves(debit, credit);
        self.low.push(low);
        self.high.set(row, high);
        row
    }

    /// Takes the newest transfer back.
    pub(crate) fn pop(&mut self) -> Transfer {
        self.sides.pop();
        self.low.pop();
        self.transfers.pop().expect("a transfer to take back").0
    }

    /// The transfer in `row`.
    #[inline]
    pub(crate) fn transfer(&self, row: usize) -> &Transfer {
        &self.transfers.at(row).0
    }

    /// Low and high halves of the balances after the transfer in `row`.
    pub(crate) fn halves_after(&self, row: usize) -> (Halves, Halves) {
        (*self.low.at(row), self.high.get(row))
    }

    /// Adds an expiry and returns its index.
    pub(crate) fn push_expiry(&mut self, expiry: Expiry, debit: &Account, credit: &Account) -> usize {
        let (low, high) = halves(debit, credit);
        self.expiries.push(expiry);
        self.expiry_low.push(low);
        self.expiry_high.push(high);
        self.expiries.len() - 1
    }

    /// Takes the newest expiry back.
    pub(crate) fn pop_expiry(&mut self) -> Expiry {
        self.expiry_low.pop();
        self.expiry_high.pop();
        self.expiries.pop().expect("an expiry to take back")
    }

    /// Adds an entry and what cannot be told of its results from the entry alone.
    pub(crate) fn push_entry(&mut self, number: u64, operation: u16, timestamp: u64, results: &[EventResult]) {
        let follows = self.entries.last().is_none_or(|last| last.number + 1 == number);
        assert!(follows, "entry {number} does not follow the one before");
        let begin = super::num::index32(self.exceptions.len());
        let rows = super::num::index32(results.len());
        for (row, result) in (0u32..).zip(results) {
            if *result != plain_result(timestamp, rows, row) {
                self.exceptions.push(Exception { timestamp: result.timestamp, status: result.status, row });
            }
        }
        let exceptions = super::num::index32(self.exceptions.len()) - begin;
        self.entries.push(EntryRow {
            number,
            timestamp,
            exceptions_begin: begin,
            exceptions,
            rows,
            operation,
            reserved: 0,
        });
    }

    /// Empties all tables, keeping their memory.
    pub(crate) fn clear(&mut self) {
        self.transfers.clear();
        self.sides.clear();
        self.low.clear();
        self.high.clear();
        self.expiries.clear();
        self.expiry_low.clear();
        self.expiry_high.clear();
        self.burned.clear();
        self.entries.clear();
        self.exceptions.clear();
    }
}

fn halves(debit: &Account, credit: &Account) -> (Halves, Halves) {
    let balances = [
        debit.debits_pending,
        debit.debits_posted,
        debit.credits_pending,
        debit.credits_posted,
        credit.debits_pending,
        credit.debits_posted,
        credit.credits_pending,
        credit.credits_posted,
    ];
    (Halves(balances.map(low64)), Halves(balances.map(high64)))
}

/// Puts the halves together again.
pub(crate) fn balances(low: Halves, high: Halves) -> Balances {
    core::array::from_fn(|i| u128::from(low.0[i]) | (u128::from(high.0[i]) << 64))
}

/// High halves, for those chunks of rows that have any that is not zero.
#[derive(Debug, Default)]
pub(crate) struct HighHalves {
    chunks: Vec<Option<Vec<Halves>>>,
    spare: Vec<Vec<Halves>>,
    /// Some row has (or had, and was taken back).
    pub(crate) any: bool,
}

impl HighHalves {
    #[inline]
    fn set(&mut self, row: usize, high: Halves) {
        let zero = high.0.iter().fold(0, |all, half| all | half) == 0;
        if zero && !self.any {
            return;
        }
        self.set_in_chunk(row, high, zero);
    }

    #[cold]
    fn set_in_chunk(&mut self, row: usize, high: Halves, zero: bool) {
        let chunk = row >> CHUNK_BITS;
        if self.chunks.len() <= chunk {
            self.chunks.resize_with(chunk + 1, || None);
        }
        if zero && self.chunks[chunk].is_none() {
            return;
        }
        self.any = true;
        let spare = &mut self.spare;
        let halves = self.chunks[chunk].get_or_insert_with(|| {
            let mut halves = spare.pop().unwrap_or_default();
            halves.resize(1 << CHUNK_BITS, Halves::default());
            halves
        });
        halves[row & ((1 << CHUNK_BITS) - 1)] = high;
    }

    fn get(&self, row: usize) -> Halves {
        match self.chunks.get(row >> CHUNK_BITS) {
            Some(Some(chunk)) => chunk[row & ((1 << CHUNK_BITS) - 1)],
            _ => Halves::default(),
        }
    }

    fn clear(&mut self) {
        for mut chunk in self.chunks.drain(..).flatten() {
            chunk.clear();
            self.spare.push(chunk);
        }
        self.any = false;
    }
}

/// Finds transfers, burned ids and resolutions of a segment in memory by id.
#[derive(Debug)]
pub(crate) struct Lookup {
    ids: RowTable,
    resolutions: RowTable,
    /// Rows that it is for.
    rows: usize,
}

impl Lookup {
    /// For a segment of at most `rows` rows.
    pub(crate) fn new(rows: usize) -> Self {
        Self { ids: RowTable::new(rows), resolutions: RowTable::new(rows), rows }
    }

    /// Rows that it is for.
    pub(crate) const fn rows(&self) -> usize {
        self.rows
    }

    /// Whether it may not take so many more.
    pub(crate) fn lacks(&self, more: usize) -> bool {
        self.ids.used().max(self.resolutions.used()) + more > self.rows
    }

    /// The same for a segment of at most `rows_max` rows: everything is put there anew.
    pub(crate) fn grown(keys: &Keys, rows: &Rows, rows_max: usize) -> Self {
        let mut lookup = Self::new(rows_max);
        for (row, line) in (0..).zip(rows.transfers.iter()) {
            lookup.insert_id(keys.id(line.0.id), row);
            if line.0.flags & RESOLVES != 0 {
                lookup.insert_resolution(keys.resolution(line.0.pending_id), row);
            }
        }
        for (index, burned) in rows.burned.iter().enumerate() {
            lookup.insert_id(keys.id(burned.id), side(index));
        }
        for (index, expiry) in rows.expiries.iter().enumerate() {
            lookup.insert_resolution(keys.resolution(expiry.pending_id), side(index));
        }
        lookup
    }

    /// Has the system really give the memory that nearly every row needs.
    pub(crate) fn touch(&mut self) {
        self.ids.touch();
    }

    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        self.ids.prefetch(hash);
    }

    /// The row, or the burned id, with this id, whose hash is passed too.
    #[inline]
    pub(crate) fn find(&self, hash: u64, rows: &Rows, id: u128) -> Option<Place> {
        self.ids.find(hash, |place| match place & SIDE {
            0 => rows.transfer(place as usize).id == id,
            _ => rows.burned.at((place & !SIDE) as usize).id == id,
        })
    }

    /// The row, or the expiry, that resolved this pending transfer.
    pub(crate) fn resolution(&self, keys: &Keys, rows: &Rows, pending_id: u128) -> Option<Place> {
        self.resolutions.find(keys.resolution(pending_id), |place| match place & SIDE {
            0 => rows.transfer(place as usize).pending_id == pending_id,
            _ => rows.expiries.at((place & !SIDE) as usize).pending_id == pending_id,
        })
    }

    #[inline]
    pub(crate) fn insert_id(&mut self, hash: u64, place: Place) {
        self.ids.insert(hash, place);
    }

    pub(crate) fn insert_resolution(&mut self, hash: u64, place: Place) {
        self.resolutions.insert(hash, place);
    }

    pub(crate) fn remove_id(&mut self, hash: u64, place: Place) {
        self.ids.remove_last(hash, place);
    }

    pub(crate) fn remove_resolution(&mut self, hash: u64, place: Place) {
        self.resolutions.remove_last(hash, place);
    }

    pub(crate) fn clear(&mut self) {
        self.ids.clear();
        self.resolutions.clear();
    }
}

/// What the number of a status that burned an id stands for.
pub(crate) fn burned(id: u128, status: CreateTransferStatus, timestamp: u64) -> Burned {
    Burned { id, timestamp, status: status.number(), reserved: 0 }
}

#[cfg(test)]
mod tests {
    use qenex_kernel::row::transfer_flags;

    use super::*;

    #[test]
    fn tables_that_grow_find_all_that_they_found_before() {
        let keys = Keys::new([7; 16]);
        let mut rows = Rows::default();
        let account = Account { id: 1, ..Account::ZERO };
        for id in 1..=3_000_u128 {
            let pending_id = if id % 3 == 0 { id + 1_000_000 } else { 0 };
            let flags = if pending_id == 0 { 0 } else { transfer_flags::POST_PENDING_TRANSFER };
            let transfer = Transfer { id, pending_id, flags, ..Transfer::ZERO };
            rows.push(&transfer, Sides { debit: 0, credit: 0 }, &account, &account);
        }
        for id in 10_001..=10_500 {
            rows.burned.push(burned(id, CreateTransferStatus::ExceedsCredits, 5));
        }
        for pending_id in 20_001..=20_500 {
            let sides = Sides { debit: 0, credit: 0 };
            let expiry = Expiry { pending_id, timestamp: 5, segment: 0, row: 0, sides, reserved: [0; 3] };
            rows.push_expiry(expiry, &account, &account);
        }
        let lookup = Lookup::grown(&keys, &rows, 100_000);
        assert!(lookup.rows() == 100_000 && !lookup.lacks(90_000) && lookup.lacks(97_000));
        let find = |id: u128| lookup.find(keys.id(id), &rows, id);
        assert!((1..=3_000).all(|id| find(id).map(u128::from) == Some(id - 1)));
        assert!((10_001..=10_500).zip(0..).all(|(id, index)| find(id) == Some(side(index))));
        assert_eq!(find(3_001), None);
        let resolution = |id: u128| lookup.resolution(&keys, &rows, id);
        assert!((1_u32..=1_000).all(|third| resolution(u128::from(3 * third) + 1_000_000) == Some(3 * third - 1)));
        assert!((20_001..=20_500).zip(0..).all(|(id, index)| resolution(id) == Some(side(index))));
        assert_eq!(resolution(1), None);
    }
}
