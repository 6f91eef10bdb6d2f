//! Where an id goes in a table: a fast hash seeded by the book.
//!
//! The seed makes the order of a table unknown to whoever does not know the book, so that ids cannot be chosen
//! beforehand to fall on each other; and it makes it the same on every machine, because sealed files are sorted by it.

use sha2::{Digest, Sha256};

use super::blocks::{BLOCK_BITS, MAP_BITS};
use super::num::{high64, low32, low64};

/// Bits of a hash that sealed files and the directory keep.
pub(crate) const PREFIX_BITS: u32 = 40;

/// The secret multipliers of one book.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys {
    id: [u64; 4],
    resolution: [u64; 4],
    value: [u64; 4],
}

impl Keys {
    /// The keys of a book.
    pub(crate) fn new(book: [u8; 16]) -> Self {
        let derive = |purpose: &str| {
            let digest = Sha256::new().chain_update("qenex-store-hash-v1").chain_update(purpose).chain_update(book);
            let digest: [u8; 32] = digest.finalize().into();
            zerocopy::transmute!(digest)
        };
        Self { id: derive("id"), resolution: derive("resolution"), value: derive("value") }
    }

    /// Of an account's or a transfer's id.
    #[inline]
    pub(crate) fn id(&self, id: u128) -> u64 {
        mix(&self.id, id)
    }

    /// Of a pending transfer's id, for what resolved it: never where the id itself goes.
    #[inline]
    pub(crate) fn resolution(&self, pending_id: u128) -> u64 {
        mix(&self.resolution, pending_id)
    }

    /// Of the block of neighbours that an id is in: see [`super::blocks`].
    #[inline]
    pub(crate) fn block(&self, id: u128) -> u32 {
        let block = id >> BLOCK_BITS;
        let product = u128::from(low64(block) ^ self.id[0]) * u128::from(high64(block) ^ self.id[1]);
        low32((low64(product) ^ high64(product)) >> (64 - MAP_BITS))
    }

    /// Of a value that a query names.
    #[inline]
    pub(crate) fn value(&self, value: u128) -> u64 {
        mix(&self.value, value)
    }
}

/// The first bits of a hash: order of sealed indexes, place and fingerprint in the directory.
#[inline]
pub(crate) const fn prefix(hash: u64) -> u64 {
    hash >> (64 - PREFIX_BITS)
}

/// Two full multiplications, each folded or split, with a secret before each.
#[inline]
fn mix(keys: &[u64; 4], value: u128) -> u64 {
    let first = u128::from(low64(value) ^ keys[0]) * u128::from(high64(value) ^ keys[1]);
    let second = u128::from(low64(first) ^ keys[2]) * u128::from(high64(first) ^ keys[3]);
    low64(second) ^ high64(second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_ids_spread_evenly_over_the_first_bits() {
        let keys = Keys::new([7; 16]);
        for high in [0u128, 1, 0xABCD << 40] {
            let mut counts = [0u32; 256];
            for low in 0..65_536u128 {
                let hash = keys.id((high << 64) | low);
                counts[usize::from(hash.to_be_bytes()[0])] += 1;
            }
            // Mean 256, deviation 16: six deviations either way.
            assert!(counts.iter().all(|&count| (160..=352).contains(&count)), "{counts:?}");
        }
    }

    #[test]
    fn books_and_purposes_give_other_hashes() {
        let (a, b) = (Keys::new([1; 16]), Keys::new([2; 16]));
        assert_ne!(a.id(5), b.id(5));
        assert_ne!(a.id(5), a.resolution(5));
        assert_ne!(a.id(5), a.value(5));
        assert_eq!(a.id(5), Keys::new([1; 16]).id(5));
    }
}
