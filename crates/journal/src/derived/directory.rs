//! Which segment knows a key: a few bytes in memory for each id ever used, in old segments too.
//!
//! A key is the 40-bit prefix of a hash (of a transfer's id, or of a pending transfer's for what resolved it). A cell
//! holds some bits of the prefix and the segment's number; cells lie in buckets of one cache line. Buckets come in
//! generations: each is allocated zeroed and never copied, and holds twice as many as the one before. So an id that is
//! not there costs one line a generation, unless no neighbour of it is in that one ([`Blocks`]).
//!
//! Only sealed segments are in here, and their keys come in sorted, so that adding them goes through the buckets from
//! front to back. Segments in memory have tables of their own.
//!
//! A hit may be false (about n in 2^40): the segment named has the last word.

use super::blocks::Blocks;
use super::hash::PREFIX_BITS;
use super::num::{index, index32, low32, low64};
use super::pages::touch;
use super::prefetch::prefetch;

const BUCKET: usize = 16;
/// Cells filled on average in a full generation, of [`BUCKET`]: few buckets overflow.
const BUCKET_FILL: usize = 10;
const LINE_BYTES: usize = 64;
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
        touch(&mut cells);
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

    /// Makes room for so many keys of a segment, which are added next. Segments come in order.
    pub(crate) fn open_segment(&mut self, segment: u32, keys: usize) {
        if self.has_place(segment, keys) {
            return;
        }
        let (keys_max, segment_bits) = self.next_generation();
        let cells = match self.room.take() {
            Some(Room(cells)) if cells.len() == Generation::cells(keys_max) => cells,
            _ => vec![0; Generation::cells(keys_max)],
        };
        self.generations.push(Generation::new(cells, keys_max, segment_bits, segment));
        self.is_room_asked = false;
    }

    /// How many cells of [`Room`] a segment, and those before it that are not in here yet, `waiting` of them in all, may
    /// need a new generation of; `None` if they need none or it was asked for before.
    pub(crate) fn wanted_room(&mut self, segment: u32, waiting: usize) -> Option<usize> {
        let wanted = !self.is_room_asked && !self.has_place(segment, waiting * self.segment_keys_max);
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

    /// Starts loading the lines that finding a key will look at.
    #[inline]
    pub(crate) fn prefetch(&self, key: Key) {
        for generation in self.generations.iter().filter(|generation| generation.blocks.may_have(key.block)) {
            generation.prefetch(key.prefix);
        }
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

    /// Adds keys of the segment that was opened last, fastest in order of prefix. They are found once their blocks are
    /// added too.
    pub(crate) fn insert(&mut self, prefixes: impl IntoIterator<Item = u64>, segment: u32) {
        let newest = self.generations.last_mut().expect("a segment is open");
        prefixes.into_iter().for_each(|prefix| newest.insert(prefix, segment));
    }

    /// Adds the map of their blocks, in words; false if it is none.
    pub(crate) fn insert_blocks(&mut self, words: &[u64]) -> bool {
        self.generations.last_mut().expect("a segment is open").blocks.add_all(words)
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derived::hash::{Keys, prefix};

    fn key(keys: &Keys, id: u128) -> Key {
        Key { prefix: prefix(keys.id(id)), block: keys.block(id) }
    }

    /// As a segment comes in when it is sealed.
    fn add(directory: &mut Directory, keys: &Keys, segment: u32, ids: impl Iterator<Item = u128> + Clone) {
        directory.open_segment(segment, ids.clone().count());
        let mut blocks = Blocks::default();
        ids.clone().for_each(|id| blocks.add(keys.block(id)));
        directory.insert(ids.map(|id| prefix(keys.id(id))), segment);
        assert!(directory.insert_blocks(blocks.words()));
    }

    /// Ids of a segment: in a block of their own.
    fn ids(segment: u32) -> impl Iterator<Item = u128> + Clone {
        (0..200).map(move |id| (u128::from(segment) << 32) + id)
    }

    #[test]
    fn names_the_segment_of_every_key_across_generations() {
        let keys = Keys::new([9; 16]);
        let mut directory = Directory::new(200);
        (0..100).for_each(|segment| add(&mut directory, &keys, segment, ids(segment)));
        assert!(directory.generations.len() > 3);
        for segment in 0..100 {
            for id in ids(segment) {
                assert_eq!(directory.find(key(&keys, id), |s| (s == segment).then_some(s)), Some(segment));
            }
        }
        let false_hits = (0..100_000).filter(|&i| directory.find(key(&keys, 1 << 100 | i), Some).is_some()).count();
        assert!(false_hits < 5, "{false_hits}");
    }

    #[test]
    fn a_generation_without_a_neighbour_of_the_id_is_not_looked_at() {
        let keys = Keys::new([9; 16]);
        let mut directory = Directory::new(200);
        add(&mut directory, &keys, 0, ids(0));
        // The prefix of a key that is there, under the block of one that is not.
        let wanted = Key { block: keys.block(1 << 100), ..key(&keys, 0) };
        assert_eq!(directory.find(wanted, Some), None);
        assert_eq!(directory.find(key(&keys, 0), Some), Some(0));
    }

    #[test]
    fn room_that_was_made_ahead_is_used_when_the_next_generation_begins() {
        let keys = Keys::new([9; 16]);
        let mut directory = Directory::new(200);
        let mut used = 0;
        for segment in 0..60 {
            // One is always being sealed while the next is closed.
            if let Some(cells) = directory.wanted_room(segment, 2) {
                directory.give_room(Room::new(cells));
            }
            let generations = directory.generations.len();
            let ready = directory.room.as_ref().map(|room| room.0.as_ptr());
            add(&mut directory, &keys, segment, ids(segment));
            if directory.generations.len() > generations {
                assert_eq!(ready, directory.generations.last().map(|newest| newest.cells.as_ptr()));
                used += 1;
            }
        }
        assert!(used > 2);
    }

    #[test]
    fn keys_of_one_bucket_overflow_into_the_next_ones() {
        let mut directory = Directory::new(64);
        directory.open_segment(0, 50);
        let prefixes = (0..50).map(|i| (5 << 30) | (i % 7));
        directory.insert(prefixes.clone(), 0);
        directory.insert_blocks(&[1]);
        assert!(prefixes.into_iter().all(|prefix| directory.find(Key { prefix, block: 0 }, Some) == Some(0)));
    }
}
