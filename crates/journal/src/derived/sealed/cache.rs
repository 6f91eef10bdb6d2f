//! Blocks of sealed files that were read lately.

use std::sync::Arc;

/// A block, its checksum judged.
pub(crate) type Block = Arc<[u8]>;

/// Each block has one place, which the next block that belongs there takes over.
#[derive(Debug)]
pub(crate) struct Cache {
    places: Vec<Option<(u64, Block)>>,
}

impl Cache {
    /// A cache of `2^bits` blocks.
    pub(crate) fn new(bits: u32) -> Self {
        Self { places: vec![None; 1 << bits] }
    }

    fn place(&self, key: u64) -> usize {
        // A multiplication spreads neighbours and segments over the table.
        let spread = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        super::super::num::index(spread >> (64 - self.places.len().trailing_zeros()))
    }

    /// The block `block` of segment `segment`.
    pub(crate) fn get(&self, segment: u32, block: u32) -> Option<Block> {
        let key = key(segment, block);
        self.places[self.place(key)].as_ref().filter(|(of, _)| *of == key).map(|(_, block)| Arc::clone(block))
    }

    /// Keeps a block.
    pub(crate) fn put(&mut self, segment: u32, block: u32, bytes: Block) {
        let key = key(segment, block);
        let place = self.place(key);
        self.places[place] = Some((key, bytes));
    }
}

fn key(segment: u32, block: u32) -> u64 {
    (u64::from(segment) << 32) | u64::from(block)
}
