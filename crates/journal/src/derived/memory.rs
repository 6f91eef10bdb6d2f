//! A segment in memory: its rows, and how they are found.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use qenex_kernel::row::Transfer;

use super::blocks::Blocks;
use super::field::Field;
use super::hash::Keys;
use super::num::index32;
use super::postings::Postings;
use super::row_table::Place;
use super::runs::Runs;
use super::segment::{Balances, Burned, EntryRow, Exception, Expiry, Lookup, Rows, Sides, balances};
use super::view::View;

/// Indexes made when queries need them.
#[derive(Debug, Default)]
struct OnDemand {
    fields: [Runs; Field::ALL.len()],
    expiries: Runs,
}

/// A segment whose rows are held by `R`: owned while it is open, shared with the one who seals it after.
#[derive(Debug)]
pub(crate) struct Memory<R> {
    pub(crate) keys: Keys,
    pub(crate) rows: R,
    pub(crate) lookup: Lookup,
    /// The blocks that its ids are in, and those of pending transfers that it resolved.
    pub(crate) blocks: Blocks,
    indexes: RefCell<OnDemand>,
}

/// The segment that takes new rows.
pub(crate) type Open = Memory<Box<Rows>>;
/// One that waits to be sealed.
pub(crate) type Closed = Memory<Arc<Rows>>;

impl Open {
    /// An empty segment for at most `rows` rows.
    pub(crate) fn new(keys: Keys, number: u32, rows: usize) -> Self {
        let (mut memory, lookup) = (Box::<Rows>::default(), Lookup::new(rows));
        memory.number = number;
        Self { keys, rows: memory, lookup, blocks: Blocks::default(), indexes: RefCell::default() }
    }

    /// Finds at most so many rows from here on.
    pub(crate) fn grow(&mut self, rows_max: usize) {
        self.lookup = Lookup::grown(&self.keys, &self.rows, rows_max);
    }

    /// The same, empty as it is, under another number.
    pub(crate) fn renumbered(mut self, number: u32) -> Self {
        self.rows.number = number;
        self
    }

    /// Takes no more rows.
    pub(crate) fn close(self) -> Closed {
        let Self { keys, rows, lookup, blocks, indexes } = self;
        Memory { keys, rows: Arc::from(rows), lookup, blocks, indexes }
    }
}

impl Closed {
    /// Makes an empty segment of the memory of this one, unless someone still holds its rows.
    pub(crate) fn recycle(self) -> Option<Open> {
        let mut rows = Box::new(Arc::into_inner(self.rows)?);
        let (mut lookup, mut blocks) = (self.lookup, self.blocks);
        rows.clear();
        lookup.clear();
        blocks.clear();
        Some(Memory { keys: self.keys, rows, lookup, blocks, indexes: RefCell::default() })
    }
}

impl<R: Deref<Target = Rows>> View for Memory<R> {
    fn rows(&self) -> u32 {
        index32(self.rows.transfers.len())
    }

    fn last_timestamp(&self) -> u64 {
        self.rows.transfers.last().map_or(0, |line| line.0.timestamp)
    }

    fn first_at_or_after(&self, timestamp: u64) -> u32 {
        index32(self.rows.transfers.partition_point(|line| line.0.timestamp < timestamp))
    }

    fn transfer(&self, row: u32) -> Transfer {
        *self.rows.transfer(row as usize)
    }

    fn sides(&self, row: u32) -> Sides {
        *self.rows.sides.at(row as usize)
    }

    fn balances(&self, row: u32) -> Balances {
        let (low, high) = self.rows.halves_after(row as usize);
        balances(low, high)
    }

    fn make_index(&self, field: Field, rows: u32) -> bool {
        let runs = &mut self.indexes.borrow_mut().fields[field as usize];
        runs.step(View::rows(self), rows, |row| self.key_of(field, row))
    }

    fn postings(&self, field: Field, key: u64) -> Box<dyn Postings + '_> {
        let runs = &mut self.indexes.borrow_mut().fields[field as usize];
        runs.catch_up(View::rows(self), |row| self.key_of(field, row));
        Box::new(runs.postings(key))
    }

    fn expiries(&self) -> u32 {
        index32(self.rows.expiries.len())
    }

    fn last_expiry_timestamp(&self) -> u64 {
        self.rows.expiries.last().map_or(0, |expiry| expiry.timestamp)
    }

    fn first_expiry_at_or_after(&self, timestamp: u64) -> u32 {
        index32(self.rows.expiries.partition_point(|expiry| expiry.timestamp < timestamp))
    }

    fn expiry(&self, index: u32) -> Expiry {
        *self.rows.expiries.at(index as usize)
    }

    fn expiry_balances(&self, index: u32) -> Balances {
        balances(*self.rows.expiry_low.at(index as usize), *self.rows.expiry_high.at(index as usize))
    }

    fn make_expiry_index(&self, expiries: u32) -> bool {
        self.indexes.borrow_mut().expiries.step(self.expiries(), expiries, |index| self.keys_of_expiry(index))
    }

    fn expiry_postings(&self, slot: u32) -> Box<dyn Postings + '_> {
        let runs = &mut self.indexes.borrow_mut().expiries;
        runs.catch_up(self.expiries(), |index| self.keys_of_expiry(index));
        Box::new(runs.postings(u64::from(slot)))
    }

    fn find(&self, id: u128) -> Option<Place> {
        self.lookup.find(self.keys.id(id), &self.rows, id)
    }

    fn burned(&self, index: u32) -> Burned {
        *self.rows.burned.at(index as usize)
    }

    fn resolution(&self, pending_id: u128) -> Option<Place> {
        self.lookup.resolution(&self.keys, &self.rows, pending_id)
    }

    fn entry(&self, number: u64) -> Option<EntryRow> {
        let entries = &self.rows.entries;
        let place = entries.partition_point(|entry| entry.number < number);
        (place < entries.len()).then(|| *entries.at(place)).filter(|entry| entry.number == number)
    }

    fn exception(&self, index: u32) -> Exception {
        *self.rows.exceptions.at(index as usize)
    }
}

impl<R: Deref<Target = Rows>> Memory<R> {
    fn key_of(&self, field: Field, row: u32) -> Option<u64> {
        let row = row as usize;
        field.key_of_transfer(&self.keys, self.rows.transfer(row), *self.rows.sides.at(row))
    }

    fn keys_of_expiry(&self, index: u32) -> [u64; 2] {
        let sides = self.rows.expiries.at(index as usize).sides;
        [u64::from(sides.debit_slot()), u64::from(sides.credit_slot())]
    }
}

impl<R: DerefMut<Target = Rows>> Memory<R> {
    /// Indexes may have taken in rows that are about to be taken back.
    pub(crate) fn forget_indexes_from(&mut self, rows: u32, expiries: u32) {
        let indexes = self.indexes.get_mut();
        indexes.fields.iter_mut().filter(|runs| runs.covered() > rows).for_each(Runs::clear);
        if indexes.expiries.covered() > expiries {
            indexes.expiries.clear();
        }
    }
}
