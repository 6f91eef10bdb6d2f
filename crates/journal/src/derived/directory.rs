//! Which segment knows a key: a few bytes in memory for each id ever used, in old segments too.
//!
//! A key is the 40-bit prefix of a hash (of a transfer's id, or of a pending transfer's for what resolved it). A cell
//! holds some bits of the prefix and the segment's number; cells lie in buckets of one cache line. Buckets come in
//! generations: each is allocated zeroed and never copied, and holds twice as many as the one before. So an id that is
//! not there costs one line a generation, unless no neighbour of it is in that one ([`Blocks`]); the newest
//! generation's line is the one that the id will be added to.
//!
//! A hit may be false (about n in 2^40): the segment named has the last word.

use super::blocks::Blocks;
use super::hash::PREFIX_BITS;
use super::num::{index, index32, low32, low64};
use super::prefetch::prefetch;

const BUCKET: usize = 16;
/// Cells filled on average in a full generation, of [`BUCKET`]: few buckets overflow.
const BUCKET_FILL: usize = 10;
const LINE_BYTES: usize = 64;
const PAGE_BYTES: usize = 4_096;
/// Segments that the first generation can number.
const SEGMENT_BITS_MIN: u32 = 3;
const SEGMENT_BITS_MAX: u32 = 16;

/// What is looked for, or added.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// First bits of the hash.
    pub(crate) prefix: u64,
    /// The block of neighbours that the id is in.
    pub(crate) block: u32,
}

/// Segments that may be closed from when room is asked for until it is there.
const ROOM_AHEAD: u32 = 4;

/// The generations, oldest first.
#[derive(Debug)]
pub(crate) struct Directory {
    generations: Vec<Generation>,
    segment_keys_max: usize,
    /// Memory for the next generation.
    room: Option<Room>,
    /// It was asked for.
    is_room_asked: bool,
}

/// Zeroed memory for a generation's cells that the system has really given: a new generation is touched all over at
/// once, and whoever adds keys should not wait for page after page.
pub(crate) struct Room(Vec<u32>);

impl Room {
    /// Takes as long as zeroing it does.
    pub(crate) fn new(cells: usize) -> Self {
        let mut cells = vec![0; cells];
        // A value that may be anything is written, or the compiler would see that nothing changes.
        cells.iter_mut().step_by(PAGE_BYTES / 4).for_each(|cell| *cell = core::hint::black_box(0));
        Self(cells)
    }
}

impl core::fmt::Debug for Room {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Room({})", self.0.len())
    }
}

#[derive(Debug)]
struct Generation {
    /// Cells, behind as many as it takes to begin at a cache line.
    cells: Vec<u32>,
    offset: usize,
    buckets: usize,
    /// Bits of a cell that number the segment, from `first_segment`, plus one; the rest is the fingerprint.
    segment_bits: u32,
    first_segment: u32,
    used: usize,
    blocks: Blocks,
}

impl Directory {
    /// A directory for segments of at most `segment_keys_max` keys.
    pub(crate) fn new(segment_keys_max: usize) -> Self {
        Self { generations: Vec::new(), segment_keys_max, room: None, is_room_asked: false }
    }

    /// Makes room for the keys of a segment. Segments come in order.
    pub(crate) fn open_segment(&mut self, segment: u32) {
        if self.has_place(segment, self.segment_keys_max) {
            return;
        }
        let (keys, segment_bits) = self.next_generation();
        let cells = match self.room.take() {
            Some(Room(cells)) if cells.len() == Generation::cells(keys) => cells,
            _ => vec![0; Generation::cells(keys)],
        };
        self.generations.push(Generation::new(cells, keys, segment_bits, segment));
        self.is_room_asked = false;
    }

    /// How many cells of [`Room`] a segment soon after `segment`, which is open, may need a new generation of; `None`
    /// if none does or it was asked for before. It is made while a segment is sealed, of which some may wait: hence so early.
    pub(crate) fn wanted_room(&mut self, segment: u32) -> Option<usize> {
        let keys = (1 + index(u64::from(ROOM_AHEAD))) * self.segment_keys_max;
        let wanted = !self.is_room_asked && !self.has_place(segment + ROOM_AHEAD, keys);
        self.is_room_asked |= wanted;
        wanted.then(|| Generation::cells(self.next_generation().0))
    }

    /// Takes memory for the next generation.
    pub(crate) fn give_room(&mut self, room: Room) {
        self.room = Some(room);
    }

    /// Whether the newest generation takes so many keys more, and can number the segment.
    fn has_place(&self, segment: u32, keys: usize) -> bool {
        self.generations.last().is_some_and(|newest| {
            let numbers = (1 << newest.segment_bits) - 1;
            newest.used + keys <= newest.capacity() && segment - newest.first_segment < numbers
        })
    }

    /// Keys of the next generation, and bits that number its segments: room for twice the segments of the one before.
    fn next_generation(&self) -> (usize, u32) {
        let generation = index32(self.generations.len());
        // A segment usually has half the keys it could have, so that a generation holds up to twice the segments it
        // was made for; hence the extra bit, and one for the plus one.
        let segments = 4usize << generation.min(SEGMENT_BITS_MAX - SEGMENT_BITS_MIN - 1);
        let keys = self.segment_keys_max;
        (segments * keys / 2 + keys / 2, (SEGMENT_BITS_MIN + 1 + generation).min(SEGMENT_BITS_MAX))
    }

    /// Starts loading the lines that finding and adding a key will look at.
    #[inline]
    pub(crate) fn prefetch(&self, key: Key) {
        let Some((newest, older)) = self.generations.split_last() else { return };
        for generation in older.iter().filter(|generation| generation.blocks.may_have(key.block)) {
            generation.prefetch(key.prefix);
        }
        newest.prefetch(key.prefix);
    }

    /// Segments that may know the key, newest generation first, until `try_segment` gives an answer.
    #[inline]
    pub(crate) fn find<T>(&self, key: Key, mut try_segment: impl FnMut(u32) -> Option<T>) -> Option<T> {
        for generation in self.generations.iter().rev().filter(|generation| generation.blocks.may_have(key.block)) {
            let found = generation.find(key.prefix, &mut try_segment);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Adds a key of the newest segment.
    #[inline]
    pub(crate) fn insert(&mut self, key: Key, segment: u32) {
        let newest = self.generations.last_mut().expect("a segment is open");
        newest.blocks.add(key.block);
        newest.insert(key.prefix, segment);
    }

    /// Adds keys as a sealed segment keeps them: without their blocks.
    pub(crate) fn insert_sealed(&mut self, prefixes: impl IntoIterator<Item = u64>, segment: u32) {
        let newest = self.generations.last_mut().expect("a segment is open");
        prefixes.into_iter().for_each(|prefix| newest.insert(prefix, segment));
    }

    /// Adds the map of their blocks; false if it is none.
    pub(crate) fn insert_blocks(&mut self, words: &[u64]) -> bool {
        self.generations.last_mut().expect("a segment is open").blocks.add_all(words)
    }

    /// Takes out the key added last.
    pub(crate) fn remove_last(&mut self, prefix: u64, segment: u32) {
        let newest = self.generations.last_mut().expect("a segment is open");
        newest.remove_last(prefix, segment);
    }
}

impl Generation {
    /// Cells for so many keys.
    fn cells(keys: usize) -> usize {
        Self::buckets(keys) * BUCKET + LINE_BYTES / 4
    }

    fn buckets(keys: usize) -> usize {
        keys.div_ceil(BUCKET_FILL).max(1)
    }

    /// `cells` are zeros, as many as [`Generation::cells`] says.
    fn new(cells: Vec<u32>, keys: usize, segment_bits: u32, first_segment: u32) -> Self {
        let buckets = Self::buckets(keys);
        // Their beginning need not be aligned to a line.
        let misaligned = cells.as_ptr().addr() % LINE_BYTES;
        let offset = if misaligned == 0 { 0 } else { (LINE_BYTES - misaligned) / 4 };
        Self { cells, offset, buckets, segment_bits, first_segment, used: 0, blocks: Blocks::default() }
    }

    fn capacity(&self) -> usize {
        self.buckets * BUCKET_FILL
    }

    /// Grows with the prefix, so that keys in order of prefix fill buckets in order.
    #[inline]
    fn bucket(&self, prefix: u64) -> usize {
        index(low64((u128::from(prefix) * (self.buckets as u128)) >> PREFIX_BITS))
    }

    #[inline]
    fn prefetch(&self, prefix: u64) {
        prefetch(&self.cells, self.offset + self.bucket(prefix) * BUCKET);
    }

    #[inline]
    fn line(&self, bucket: usize) -> &[u32; BUCKET] {
        let start = self.offset + bucket * BUCKET;
        self.cells[start..start + BUCKET].first_chunk().expect("a whole bucket")
    }

    #[inline]
    fn fingerprint(&self, prefix: u64) -> u32 {
        low32(prefix) & (u32::MAX >> self.segment_bits)
    }

    fn cell(&self, prefix: u64, segment: u32) -> u32 {
        (self.fingerprint(prefix) << self.segment_bits) | (segment - self.first_segment + 1)
    }

    #[inline]
    fn find<T>(&self, prefix: u64, try_segment: &mut impl FnMut(u32) -> Option<T>) -> Option<T> {
        let wanted = self.fingerprint(prefix);
        let mut bucket = self.bucket(prefix);
        loop {
            let line = self.line(bucket);
            let (mut hits, mut empty) = (0u32, 0u32);
            for (i, &cell) in line.iter().enumerate() {
                hits |= u32::from(cell >> self.segment_bits == wanted && cell != 0) << i;
                empty |= u32::from(cell == 0) << i;
            }
            while hits != 0 {
                let cell = line[hits.trailing_zeros() as usize];
                hits &= hits - 1;
                let number = cell & !(u32::MAX << self.segment_bits);
                let found = try_segment(self.first_segment + number - 1);
                if found.is_some() {
                    return found;
                }
            }
            if empty != 0 {
                return None;
            }
            bucket = if bucket + 1 == self.buckets { 0 } else { bucket + 1 };
        }
    }

    #[inline]
    fn insert(&mut self, prefix: u64, segment: u32) {
        let cell = self.cell(prefix, segment);
        let mut bucket = self.bucket(prefix);
        loop {
            if let Some(empty) = self.line(bucket).iter().position(|&cell| cell == 0) {
                self.cells[self.offset + bucket * BUCKET + empty] = cell;
                self.used += 1;
                return;
            }
            bucket = if bucket + 1 == self.buckets { 0 } else { bucket + 1 };
        }
    }

    fn remove_last(&mut self, prefix: u64, segment: u32) {
        let wanted = self.cell(prefix, segment);
        let mut bucket = self.bucket(prefix);
        let mut newest = None;
        loop {
            let line = self.line(bucket);
            // Cells fill from the left, and buckets one after the other: of equal cells the last is the newest.
            if let Some(place) = line.iter().rposition(|&cell| cell == wanted) {
                newest = Some(self.offset + bucket * BUCKET + place);
            }
            if line.contains(&0) {
                break;
            }
            bucket = if bucket + 1 == self.buckets { 0 } else { bucket + 1 };
        }
        self.cells[newest.expect("a key to remove is in the directory")] = 0;
        self.used -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derived::hash::{Keys, prefix};

    fn key(keys: &Keys, id: u128) -> Key {
        Key { prefix: prefix(keys.id(id)), block: keys.block(id) }
    }

    fn by_prefix(prefix: u64) -> Key {
        Key { prefix, block: 0 }
    }

    #[test]
    fn names_the_segment_of_every_key_across_generations() {
        let keys = Keys::new([9; 16]);
        let mut directory = Directory::new(200);
        for segment in 0..100u32 {
            directory.open_segment(segment);
            for id in 0..200u32 {
                directory.insert(key(&keys, u128::from(segment * 1_000 + id)), segment);
            }
        }
        assert!(directory.generations.len() > 3);
        for segment in 0..100u32 {
            for id in 0..200u32 {
                let wanted = key(&keys, u128::from(segment * 1_000 + id));
                assert_eq!(directory.find(wanted, |s| (s == segment).then_some(s)), Some(segment));
            }
        }
        let false_hits = (0..100_000u128).filter(|&i| directory.find(key(&keys, 1 << 64 | i), Some).is_some()).count();
        assert!(false_hits < 5, "{false_hits}");
    }

    #[test]
    fn room_that_was_made_ahead_is_used_when_the_next_generation_begins() {
        let mut directory = Directory::new(200);
        let (mut asked, mut used) = (0, 0);
        for segment in 0..60u32 {
            let generations = directory.generations.len();
            let ready = directory.room.as_ref().map(|room| room.0.as_ptr());
            directory.open_segment(segment);
            if directory.generations.len() > generations {
                let cells = directory.generations.last().map(|newest| newest.cells.as_ptr());
                assert!(segment == 0 || ready == cells, "a new generation has its room by then");
                used += 1;
            }
            if let Some(cells) = directory.wanted_room(segment) {
                directory.give_room(Room::new(cells));
                asked += 1;
            }
            (0..200).for_each(|id| directory.insert(by_prefix(u64::from(segment * 1_000 + id) << 20), segment));
        }
        assert!(used > 2 && asked >= used - 1);
    }

    #[test]
    fn keys_taken_back_in_reverse_order_leave_no_trace() {
        let mut directory = Directory::new(64);
        directory.open_segment(0);
        let before = directory.generations[0].cells.clone();
        // All in one bucket, so that they overflow into the next ones.
        let prefixes: Vec<u64> = (0..50).map(|i| (5 << 30) | (i % 7)).collect();
        prefixes.iter().for_each(|&p| directory.insert(by_prefix(p), 0));
        assert!(prefixes.iter().all(|&p| directory.find(by_prefix(p), Some) == Some(0)));
        prefixes.iter().rev().for_each(|&p| directory.remove_last(p, 0));
        assert_eq!(directory.generations[0].cells, before);
    }
}
