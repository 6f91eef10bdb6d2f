//! Memory that the disk can take without a copy.

use core::ops::{Deref, DerefMut};

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Bytes in a block: the unit in which the page cache can be passed by. Groups of the journal and
/// sections of other files start at multiples of it.
pub const BLOCK: usize = 4096;

#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4096))]
struct Block([u8; BLOCK]);

/// Bytes whose address and length are multiples of [`BLOCK`].
///
/// Also the reason why rows in a group need no copy to be read: every offset in the buffer that is a
/// multiple of 16 is an address that is.
#[derive(Clone)]
pub struct AlignedBuffer {
    blocks: Vec<Block>,
}

impl AlignedBuffer {
    /// Zeros, at least `bytes` of them, rounded up to whole blocks. The system gives the memory as it
    /// is touched.
    ///
    /// # Panics
    /// If there is no memory.
    #[must_use]
    pub fn zeroed(bytes: usize) -> Self {
        Self { blocks: Block::new_vec_zeroed(bytes.div_ceil(BLOCK)).expect("memory for a buffer") }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.blocks.as_slice().as_bytes()
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.blocks.as_mut_slice().as_mut_bytes()
    }
}

impl core::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "AlignedBuffer({} bytes)", self.len())
    }
}
