//! The open pending transfers, and the queue of those that expire.

use std::collections::BTreeMap;

use qenex_kernel::row::Transfer;

use super::chunks::Chunks;
use super::hash::Keys;
use super::id_table::IdTable;
use super::num::index32;

/// An open pending transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    /// The row as recorded.
    pub(crate) transfer: Transfer,
    /// The segment that has it.
    pub(crate) segment: u32,
    /// Its row there.
    pub(crate) row: u32,
}

/// Found by id, and in order of (expiry, creation).
#[derive(Debug, Default)]
pub(crate) struct Pending {
    entries: Chunks<Open, 10>,
    free: Vec<u32>,
    by_id: IdTable,
    queue: BTreeMap<(u64, u64), u32>,
}

impl Pending {
    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    fn place(&self, hash: u64, id: u128) -> Option<u32> {
        self.by_id.find(hash, |place| self.entries.at(place as usize).transfer.id == id)
    }

    /// Starts loading what finding it needs.
    #[inline]
    pub(crate) fn prefetch_index(&self, hash: u64) {
        self.by_id.prefetch(hash);
    }

    /// Starts loading the entry that probably is the one with this hash.
    #[inline]
    pub(crate) fn prefetch_entry(&self, hash: u64) {
        if let Some(place) = self.by_id.candidate(hash) {
            self.entries.prefetch(place as usize);
        }
    }

    /// The open pending transfer with this id.
    #[inline]
    pub(crate) fn find(&self, keys: &Keys, id: u128) -> Option<&Open> {
        self.place(keys.id(id), id).map(|place| self.entries.at(place as usize))
    }

    /// Adds one.
    pub(crate) fn open(&mut self, keys: &Keys, open: Open) {
        let place = match self.free.pop() {
            Some(place) => {
                *self.entries.at_mut(place as usize) = open;
                place
            }
            None => {
                self.entries.push(open);
                index32(self.entries.len() - 1)
            }
        };
        self.by_id.insert(keys.id(open.transfer.id), place);
        if let Some(expires) = open.transfer.expires() {
            self.queue.insert((expires, open.transfer.timestamp), place);
        }
    }

    /// Takes one out that is there.
    pub(crate) fn close(&mut self, keys: &Keys, id: u128) -> Open {
        let hash = keys.id(id);
        let place = self.place(hash, id).expect("a pending transfer that is resolved is open");
        let open = *self.entries.at(place as usize);
        self.by_id.remove(hash, place);
        if let Some(expires) = open.transfer.expires() {
            self.queue.remove(&(expires, open.transfer.timestamp));
        }
        // A free entry must not be taken for an open one by an iteration.
        self.entries.at_mut(place as usize).transfer.id = 0;
        self.free.push(place);
        open
    }

    /// The one that expires next, and when.
    pub(crate) fn next_due(&self) -> Option<(u64, &Open)> {
        self.queue.first_key_value().map(|(&(expires, _), &place)| (expires, self.entries.at(place as usize)))
    }

    /// How many expire at or before `timestamp`, counted up to `max`.
    pub(crate) fn count_due(&self, timestamp: u64, max: usize) -> usize {
        self.queue.range(..=(timestamp, u64::MAX)).take(max).count()
    }

    /// All, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Open> {
        self.entries.iter().filter(|open| open.transfer.id != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NANOSECONDS: u64 = 1_000_000_000;

    fn open(id: u128, timestamp: u64, timeout: u32) -> Open {
        Open { transfer: Transfer { id, timestamp, timeout, ..Transfer::ZERO }, segment: 1, row: 2 }
    }

    #[test]
    fn takes_the_memory_that_the_limits_say() {
        let page = include_str!("../../../../spec/limits.md");
        let said = format!("| pending transfers that are open | memory: {} bytes each, ", size_of::<Open>());
        assert!(page.contains(&said), "{said}");
    }

    #[test]
    fn expire_in_order_of_expiry_then_creation() {
        let keys = Keys::new([1; 16]);
        let mut pending = Pending::default();
        // 3 first by expiry; then 4 before 1, which expire together, by creation.
        for (id, timestamp, timeout) in [(1, 5 + NANOSECONDS, 2), (2, 6, 0), (3, 7, 2), (4, 5, 3)] {
            pending.open(&keys, open(id, timestamp, timeout));
        }
        let mut order = Vec::new();
        while let Some((expires, next)) = pending.next_due() {
            let id = next.transfer.id;
            order.push((id, expires));
            pending.close(&keys, id);
        }
        let together = 3 * NANOSECONDS + 5;
        assert_eq!(order, [(3, 2 * NANOSECONDS + 7), (4, together), (1, together)]);
        assert_eq!(pending.len(), 1);
        assert_eq!(pending.iter().map(|open| open.transfer.id).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn counts_what_is_due_up_to_a_maximum() {
        let keys = Keys::new([1; 16]);
        let mut pending = Pending::default();
        for id in 1..=10 {
            pending.open(&keys, open(id, 100 - u64::try_from(id).unwrap_or(0), 1));
        }
        assert_eq!(pending.count_due(NANOSECONDS + 94, 100), 5);
        assert_eq!(pending.count_due(NANOSECONDS + 94, 3), 3);
        assert_eq!(pending.count_due(NANOSECONDS, 3), 0);
    }
}
