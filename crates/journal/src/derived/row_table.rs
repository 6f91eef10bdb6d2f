//! From a key to a row of one segment in memory.
//!
//! Four bytes a cell, of a size fixed when the segment is made; the key itself stands in the row, and eight bits of its
//! hash in the cell, so that rows of other keys are hardly ever looked at. Entries leave only in the reverse order of
//! their coming (a rolled-back chain), so that clearing a cell is all it takes.

use super::num::{index, index32, low32};
use super::pages::touch;
use super::prefetch::prefetch;

/// A row, or with `SIDE` set an index of the segment's smaller table (burned ids, expiries).
pub(crate) type Place = u32;

/// Tells the smaller table's indexes from rows.
pub(crate) const SIDE: Place = 1 << 31;

/// Bits of a cell that are its row plus one; then a bit for the side, then the hash's.
const ROW_BITS: u32 = 23;
const ROW_MASK: u32 = (1 << ROW_BITS) - 1;

/// Open addressing, linear probing, at most two thirds full.
#[derive(Debug)]
pub(crate) struct RowTable {
    /// 0 is empty, else see [`pack`].
    cells: Vec<u32>,
    used: usize,
}

impl RowTable {
    /// A table for at most `entries` entries.
    pub(crate) fn new(entries: usize) -> Self {
        Self { cells: vec![0; (entries + entries / 2).next_power_of_two()], used: 0 }
    }

    /// Entries in it.
    pub(crate) const fn used(&self) -> usize {
        self.used
    }

    /// Has the system give the table's memory: who adds entries should not wait for it.
    pub(crate) fn touch(&mut self) {
        touch(&mut self.cells);
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        index(hash >> (64 - self.cells.len().trailing_zeros()))
    }

    /// Starts loading the cell where `hash` belongs.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        prefetch(&self.cells, self.home(hash));
    }

    /// The place under `hash` that `is_meant` recognises.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is_meant: impl Fn(Place) -> bool) -> Option<Place> {
        let mask = self.cells.len() - 1;
        let mut cell = self.home(hash);
        while self.cells[cell] != 0 {
            let packed = self.cells[cell];
            if packed >> (ROW_BITS + 1) == fingerprint(hash) {
                let place = unpack(packed);
                if is_meant(place) {
                    return Some(place);
                }
            }
            cell = (cell + 1) & mask;
        }
        None
    }

    /// Adds a place whose key is not there yet.
    ///
    /// # Panics
    /// When the table is full: entries were added without closing the segment.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, place: Place) {
        let mask = self.cells.len() - 1;
        assert!(self.used < mask, "a segment holds more rows than it was made for: entries must be closed");
        let mut cell = self.home(hash);
        while self.cells[cell] != 0 {
            cell = (cell + 1) & mask;
        }
        self.cells[cell] = pack(hash, place);
        self.used += 1;
    }

    /// Takes out the entry added last.
    pub(crate) fn remove_last(&mut self, hash: u64, place: Place) {
        let mask = self.cells.len() - 1;
        let mut cell = self.home(hash);
        while self.cells[cell] != pack(hash, place) {
            assert!(self.cells[cell] != 0, "an entry to remove is in the table");
            cell = (cell + 1) & mask;
        }
        self.cells[cell] = 0;
        self.used -= 1;
    }

    /// Empties the table.
    pub(crate) fn clear(&mut self) {
        if self.used > 0 {
            self.cells.fill(0);
            self.used = 0;
        }
    }
}

/// The low bits of a hash; its high ones say where it goes.
#[inline]
fn fingerprint(hash: u64) -> u32 {
    low32(hash & 0xFF)
}

/// Rows are below 2^23 - 1, so that none becomes 0.
#[inline]
fn pack(hash: u64, place: Place) -> u32 {
    (fingerprint(hash) << (ROW_BITS + 1)) | ((place & SIDE) >> (31 - ROW_BITS)) | ((place & !SIDE) + 1)
}

#[inline]
fn unpack(cell: u32) -> Place {
    ((cell & ROW_MASK) - 1) | ((cell << (31 - ROW_BITS)) & SIDE)
}

/// The place of the `index`-th entry of the smaller table.
#[inline]
pub(crate) fn side(index: usize) -> Place {
    index32(index) | SIDE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_added_and_forgets_what_was_taken_back() {
        let mut table = RowTable::new(100);
        let hash = |key: u32| u64::from(key / 3) << 58 | u64::from(key);
        for key in 0..60 {
            table.insert(hash(key), if key % 2 == 0 { key } else { key | SIDE });
        }
        for key in (30..60).rev() {
            table.remove_last(hash(key), if key % 2 == 0 { key } else { key | SIDE });
        }
        for key in 0..60 {
            let found = table.find(hash(key), |place| place & !SIDE == key);
            assert_eq!(found.map(|place| place & !SIDE), (key < 30).then_some(key));
        }
        table.clear();
        assert_eq!(table.find(hash(1), |_| true), None);
    }

    #[test]
    fn a_cell_says_what_was_put_in_and_is_never_empty() {
        for place in [0, 1, ROW_MASK - 2, ROW_MASK - 1] {
            for place in [place, place | SIDE] {
                for hash in [0, 0xFF, u64::MAX, 0x1234] {
                    let cell = pack(hash, place);
                    assert!(cell != 0 && unpack(cell) == place && cell >> (ROW_BITS + 1) == fingerprint(hash));
                }
            }
        }
    }
}
