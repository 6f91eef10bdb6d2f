//! Which blocks of neighbouring ids there are any of.
//!
//! Ids that rise with time, as QENEX makes them, fall into few blocks, and new ones into blocks of their own. A map of
//! bits, small enough to stay near, so tells new ids from old ones without a look at the large tables. Ids at random
//! fill the map, and then the tables are asked as if there were none.

/// Neighbours in a block: ids that differ in these bits only.
pub(crate) const BLOCK_BITS: u32 = 16;
/// Bits of the map: 128 KiB.
pub(crate) const MAP_BITS: u32 = 20;
const WORDS: usize = 1 << (MAP_BITS - 6);

/// The map. A block is named by a hash of [`MAP_BITS`] bits, so that a bit may be another's too.
#[derive(Clone, Debug)]
pub(crate) struct Blocks(Vec<u64>);

impl Default for Blocks {
    fn default() -> Self {
        Self(vec![0; WORDS])
    }
}

impl Blocks {
    /// Adds a block.
    #[inline]
    pub(crate) fn add(&mut self, block: u32) {
        self.0[word(block)] |= bit(block);
    }

    /// Whether the block may have been added.
    #[inline]
    pub(crate) fn may_have(&self, block: u32) -> bool {
        self.0[word(block)] & bit(block) != 0
    }

    /// Adds all blocks of another map's words; false if they are not as many as a map has.
    pub(crate) fn add_all(&mut self, words: &[u64]) -> bool {
        self.0.iter_mut().zip(words).for_each(|(word, other)| *word |= other);
        words.len() == WORDS
    }

    /// Empties the map.
    pub(crate) fn clear(&mut self) {
        self.0.fill(0);
    }

    /// As written to files.
    pub(crate) fn words(&self) -> &[u64] {
        &self.0
    }
}

const fn word(block: u32) -> usize {
    (block >> 6) as usize & (WORDS - 1)
}

const fn bit(block: u32) -> u64 {
    1 << (block & 63)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derived::hash::Keys;

    #[test]
    fn knows_every_block_that_was_added_and_few_others() {
        let keys = Keys::new([4; 16]);
        let mut blocks = Blocks::default();
        let (first, count) = (0x0192_0000_0000_u128 << 80, 50_000_000);
        for id in (first..first + count).step_by(1 << 12) {
            blocks.add(keys.block(id));
        }
        assert!((first..first + count).step_by(9_999).all(|id| blocks.may_have(keys.block(id))));
        let later = first + (1 << 80);
        let wrong = (0..1_000).filter(|i| blocks.may_have(keys.block(later + (i << 30)))).count();
        assert!(wrong < 10, "{wrong}");
        let mut other = Blocks::default();
        assert!(other.add_all(blocks.words()) && !other.add_all(&[1]));
        assert_eq!(other.words()[1..], blocks.words()[1..]);
        other.clear();
        assert!(!other.may_have(keys.block(first)));
    }
}
