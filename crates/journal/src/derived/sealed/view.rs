//! A sealed segment answers the same questions as one in memory.

use qenex_kernel::row::Transfer;

use super::PLACE_SIDE;
use super::cache::Block;
use super::format::{BLOCK, Kind, Section, TIME_FENCE};
use super::reader::{Index, SealedSegment};
use super::seal::bitmap_words;
use crate::derived::field::{Field, ROW_BITS, entry, row_of};
use crate::derived::hash::prefix;
use crate::derived::num::{index, index32};
use crate::derived::postings::Postings;
use crate::derived::row_table::{Place, SIDE};
use crate::derived::segment::{Balances, Burned, EntryRow, Exception, Expiry, Halves, Sides, balances};
use crate::derived::view::View;
use crate::disk::Disk;

impl<D: Disk> SealedSegment<D> {
    /// The first of `low..high` for which `before` does not hold; all for which it does come first.
    fn partition_point(mut low: u32, mut high: u32, before: impl Fn(u32) -> bool) -> u32 {
        while low < high {
            let middle = low.midpoint(high);
            if before(middle) { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// The first place under a prefix that `is_meant` recognises.
    fn find_place(&self, kind: Kind, prefix: u64, is_meant: impl Fn(Place) -> bool) -> Option<Place> {
        let index = self.index(kind);
        let mut at = self.lower_bound(index, entry(prefix, 0));
        while u64::from(at) < index.entries.count {
            let found: u64 = self.row(index.entries, at);
            if found >> ROW_BITS != prefix {
                return None;
            }
            let place = match row_of(found) {
                side if side & PLACE_SIDE != 0 => (side & !PLACE_SIDE) | SIDE,
                row => row,
            };
            if is_meant(place) {
                return Some(place);
            }
            at += 1;
        }
        None
    }

    fn key_postings(&self, kind: Kind, key: u64, rows: u32) -> Box<dyn Postings + '_> {
        let index = self.index(kind);
        match index.dense.binary_search_by_key(&key, |dense| dense.key) {
            Ok(at) => {
                let words = bitmap_words(rows as usize);
                Box::new(Bits {
                    words: Words { segment: self, table: index.bitmaps, current: None },
                    first: index32(at * words),
                    rows,
                    count: index.dense[at].count,
                })
            }
            Err(_) => Box::new(Entries {
                words: Words { segment: self, table: index.entries, current: None },
                index,
                key,
                at: None,
            }),
        }
    }
}

impl<D: Disk> View for SealedSegment<D> {
    fn rows(&self) -> u32 {
        self.footer.rows
    }

    fn last_timestamp(&self) -> u64 {
        self.footer.last_timestamp
    }

    fn first_at_or_after(&self, timestamp: u64) -> u32 {
        let fence = self.times.partition_point(|&time| time < timestamp);
        let Some(before) = fence.checked_sub(1) else { return 0 };
        let high = index32(fence * TIME_FENCE).min(self.footer.rows);
        Self::partition_point(index32(before * TIME_FENCE), high, |row| self.transfer(row).timestamp < timestamp)
    }

    fn transfer(&self, row: u32) -> Transfer {
        self.row(self.tables.transfers, row)
    }

    fn sides(&self, row: u32) -> Sides {
        self.row(self.tables.sides, row)
    }

    fn balances(&self, row: u32) -> Balances {
        let four = |table: Section| if table.count == 0 { [0; 4] } else { self.row::<[u64; 4]>(table, row) };
        let (held, posted) = (four(self.tables.held), four(self.tables.posted));
        let low = Halves(core::array::from_fn(|i| if i % 2 == 0 { held[i / 2] } else { posted[i / 2] }));
        let high = if self.tables.high.count == 0 { Halves::default() } else { self.row(self.tables.high, row) };
        balances(low, high)
    }

    fn postings(&self, field: Field, key: u64) -> Box<dyn Postings + '_> {
        self.key_postings(Kind::of_field(field), key, self.footer.rows)
    }

    fn expiries(&self) -> u32 {
        self.footer.expiries
    }

    fn last_expiry_timestamp(&self) -> u64 {
        self.footer.last_expiry_timestamp
    }

    fn first_expiry_at_or_after(&self, timestamp: u64) -> u32 {
        Self::partition_point(0, self.footer.expiries, |index| self.expiry(index).timestamp < timestamp)
    }

    fn expiry(&self, index: u32) -> Expiry {
        self.row(self.tables.expiries, index)
    }

    fn expiry_balances(&self, index: u32) -> Balances {
        let [low, high]: [Halves; 2] = self.row(self.tables.expiry_balances, index);
        balances(low, high)
    }

    fn expiry_postings(&self, slot: u32) -> Box<dyn Postings + '_> {
        self.key_postings(Kind::EXPIRY_ACCOUNTS, u64::from(slot), self.footer.expiries)
    }

    fn find(&self, id: u128) -> Option<Place> {
        self.find_place(Kind::IDS, prefix(self.keys.id(id)), |place| match place & SIDE {
            0 => self.transfer(place).id == id,
            _ => self.burned(place & !SIDE).id == id,
        })
    }

    fn burned(&self, index: u32) -> Burned {
        self.row(self.tables.burned, index)
    }

    fn resolution(&self, pending_id: u128) -> Option<Place> {
        let prefix = prefix(self.keys.resolution(pending_id));
        self.find_place(Kind::RESOLUTIONS, prefix, |place| match place & SIDE {
            0 => self.transfer(place).pending_id == pending_id,
            _ => self.expiry(place & !SIDE).pending_id == pending_id,
        })
    }

    fn entry(&self, number: u64) -> Option<EntryRow> {
        let place = number.checked_sub(self.footer.first_entry)?;
        (place < self.footer.entries).then(|| self.row(self.tables.entries, index32(index(place))))
    }

    fn exception(&self, index: u32) -> Exception {
        self.row(self.tables.exceptions, index)
    }
}

/// Numbers of 64 bits in a section, the block read last kept at hand.
struct Words<'a, D: Disk> {
    segment: &'a SealedSegment<D>,
    table: Section,
    current: Option<(u64, Block)>,
}

impl<D: Disk> Words<'_, D> {
    fn get(&mut self, at: u32) -> u64 {
        let offset = self.table.offset + u64::from(at) * 8;
        let number = offset / BLOCK as u64;
        let segment = self.segment;
        let block = match &mut self.current {
            Some((current, block)) if *current == number => block,
            current => &mut current.insert((number, segment.block(index32(index(number))))).1,
        };
        let begin = index(offset % BLOCK as u64);
        u64::from_le_bytes(*block[begin..].first_chunk().expect("a word lies within its block"))
    }
}

/// The entries of a key.
struct Entries<'a, D: Disk> {
    words: Words<'a, D>,
    index: &'a Index,
    key: u64,
    /// Where the last row was found.
    at: Option<u32>,
}

impl<D: Disk> Entries<'_, D> {
    fn get(&mut self, at: u32) -> Option<u64> {
        (u64::from(at) < self.index.entries.count).then(|| self.words.get(at))
    }

    fn row_at(&mut self, at: u32) -> Option<u32> {
        let found = self.get(at)?;
        self.at = Some(at);
        (found >> ROW_BITS == self.key).then(|| row_of(found))
    }
}

impl<D: Disk> Postings for Entries<'_, D> {
    fn count(&self) -> u64 {
        self.index.estimate(entry(self.key, 0), entry(self.key + 1, 0))
    }

    fn at_or_after(&mut self, row: u32) -> Option<u32> {
        let target = entry(self.key, row);
        // Often it is the one after the last.
        if let Some(last) = self.at
            && self.get(last).is_some_and(|found| found < target)
            && self.get(last + 1).is_some_and(|found| found >= target)
        {
            return self.row_at(last + 1);
        }
        let at = self.words.segment.lower_bound(self.index, target);
        self.row_at(at)
    }

    fn at_or_before(&mut self, row: u32) -> Option<u32> {
        let target = entry(self.key, row);
        if let Some(last) = self.at
            && let Some(before) = last.checked_sub(1)
            && self.get(last).is_some_and(|found| found > target)
            && self.get(before).is_some_and(|found| found <= target)
        {
            return self.row_at(before);
        }
        let after = self.words.segment.lower_bound(self.index, target + 1);
        self.row_at(after.checked_sub(1)?)
    }
}

/// A bit for each row.
struct Bits<'a, D: Disk> {
    words: Words<'a, D>,
    /// Where the map begins.
    first: u32,
    rows: u32,
    count: u64,
}

impl<D: Disk> Postings for Bits<'_, D> {
    fn count(&self) -> u64 {
        self.count
    }

    fn at_or_after(&mut self, row: u32) -> Option<u32> {
        if row >= self.rows {
            return None;
        }
        let last = (self.rows - 1) / 64;
        let mut word = row / 64;
        let mut bits = self.words.get(self.first + word) & (u64::MAX << (row % 64));
        while bits == 0 {
            if word == last {
                return None;
            }
            word += 1;
            bits = self.words.get(self.first + word);
        }
        Some(word * 64 + bits.trailing_zeros())
    }

    fn at_or_before(&mut self, row: u32) -> Option<u32> {
        let row = row.min(self.rows.checked_sub(1)?);
        let mut word = row / 64;
        let mut bits = self.words.get(self.first + word) & (u64::MAX >> (63 - row % 64));
        while bits == 0 {
            word = word.checked_sub(1)?;
            bits = self.words.get(self.first + word);
        }
        Some(word * 64 + 63 - bits.leading_zeros())
    }
}
