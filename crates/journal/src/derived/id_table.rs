//! From an id to a number below 2^32: the slot of an account, the place of an open pending transfer.
//!
//! 1,024 small tables that double on their own, each at another load, so that no growth ever moves more than about a
//! thousandth of all entries, and not all of them grow within the same batch. Open addressing, linear probing, deletion by
//! moving back: no tombstones.

use super::num::{index, low32};
use super::prefetch::prefetch;

const SHARD_BITS: u32 = 10;
const FINGERPRINT_BITS: u32 = 32;
const CELLS_MIN: usize = 16;
/// The first shard grows beyond a load of 5/16, the last beyond twice that.
const LOAD_MIN: usize = 1 << SHARD_BITS;
const LOAD_UNIT: usize = LOAD_MIN * 16 / 5;

/// A cell: fingerprint in the high half, the number plus one in the low half; 0 is empty.
type Cell = u64;

/// Keys are hashes; whether a number with the right fingerprint is the one meant, the caller says.
#[derive(Debug)]
pub(crate) struct IdTable {
    shards: Vec<Shard>,
}

#[derive(Clone, Debug, Default)]
struct Shard {
    cells: Vec<Cell>,
    used: usize,
}

impl Default for IdTable {
    fn default() -> Self {
        Self { shards: vec![Shard::default(); 1 << SHARD_BITS] }
    }
}

#[inline]
fn shard_of(hash: u64) -> usize {
    index(hash >> (64 - SHARD_BITS))
}

/// The 32 bits after those that choose the shard.
#[inline]
fn fingerprint(hash: u64) -> u32 {
    low32(hash >> (64 - SHARD_BITS - FINGERPRINT_BITS))
}

impl IdTable {
    /// Starts loading the cell where `hash` belongs.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        let shard = &self.shards[shard_of(hash)];
        if !shard.cells.is_empty() {
            prefetch(&shard.cells, shard.home(fingerprint(hash)));
        }
    }

    /// The first number under `hash`, whether or not it is the one meant: good enough to load ahead.
    #[inline]
    pub(crate) fn candidate(&self, hash: u64) -> Option<u32> {
        self.find(hash, |_| true)
    }

    /// The number under `hash` that `is_meant` recognises.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is_meant: impl Fn(u32) -> bool) -> Option<u32> {
        let shard = &self.shards[shard_of(hash)];
        if shard.cells.is_empty() {
            return None;
        }
        let mask = shard.cells.len() - 1;
        let wanted = fingerprint(hash);
        let mut place = shard.home(wanted);
        loop {
            let cell = shard.cells[place & mask];
            if cell == 0 {
                return None;
            }
            if low32(cell >> 32) == wanted {
                let number = low32(cell) - 1;
                if is_meant(number) {
                    return Some(number);
                }
            }
            place += 1;
        }
    }

    /// Adds a number, which is below 2^32 - 1 and not there yet.
    pub(crate) fn insert(&mut self, hash: u64, number: u32) {
        let number_of_shard = shard_of(hash);
        let shard = &mut self.shards[number_of_shard];
        // Keys spread evenly: at one load for all, all would grow at once.
        if (shard.used + 1) * LOAD_UNIT > shard.cells.len() * (LOAD_MIN + number_of_shard) {
            shard.grow();
        }
        shard.put((u64::from(fingerprint(hash)) << 32) | (u64::from(number) + 1));
        shard.used += 1;
    }

    /// Takes a number out that is there.
    pub(crate) fn remove(&mut self, hash: u64, number: u32) {
        let shard = &mut self.shards[shard_of(hash)];
        let mask = shard.cells.len() - 1;
        let wanted = (u64::from(fingerprint(hash)) << 32) | (u64::from(number) + 1);
        let mut hole = shard.home(fingerprint(hash));
        while shard.cells[hole] != wanted {
            assert!(shard.cells[hole] != 0, "an entry to remove is in the table");
            hole = (hole + 1) & mask;
        }
        // Whatever follows without a gap moves back over the hole, unless that would put it before its home.
        let mut place = (hole + 1) & mask;
        while shard.cells[place] != 0 {
            let home = shard.home(low32(shard.cells[place] >> 32));
            if (place.wrapping_sub(home) & mask) >= (place.wrapping_sub(hole) & mask) {
                shard.cells[hole] = shard.cells[place];
                hole = place;
            }
            place = (place + 1) & mask;
        }
        shard.cells[hole] = 0;
        shard.used -= 1;
    }
}

impl Shard {
    /// Where a fingerprint belongs; the table is not empty.
    #[inline]
    fn home(&self, fingerprint: u32) -> usize {
        (fingerprint >> (FINGERPRINT_BITS - self.cells.len().trailing_zeros())) as usize
    }

    fn put(&mut self, cell: Cell) {
        let mask = self.cells.len() - 1;
        let mut place = self.home(low32(cell >> 32));
        while self.cells[place] != 0 {
            place = (place + 1) & mask;
        }
        self.cells[place] = cell;
    }

    fn grow(&mut self) {
        let size = (self.cells.len() * 2).max(CELLS_MIN);
        let old = core::mem::replace(&mut self.cells, vec![0; size]);
        old.into_iter().filter(|&cell| cell != 0).for_each(|cell| self.put(cell));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derived::hash::Keys;
    use std::collections::BTreeMap;

    #[test]
    fn agrees_with_a_map_under_insertions_and_removals() {
        let keys = Keys::new([3; 16]);
        let mut table = IdTable::default();
        let mut model = BTreeMap::new();
        let mut state = 1u64;
        for step in 0..60_000u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Few shards, so that clusters form and tables grow.
            let id = u128::from(state >> 52);
            let hash = keys.id(id) >> 6;
            if let Some(number) = model.remove(&id) {
                table.remove(hash, number);
            } else {
                table.insert(hash, step);
                model.insert(id, step);
            }
            if step % 1_000 == 0 {
                for id in 0..4_096u128 {
                    let expected = model.get(&id).copied();
                    assert_eq!(table.find(keys.id(id) >> 6, |n| Some(n) == expected), expected);
                }
            }
        }
        assert!(!model.is_empty());
    }
}
