//! Sealed segments: immutable files with sorted indexes, a pure function of the entries that they cover.

mod cache;
mod format;
mod leaf_hash;
mod reader;
mod seal;
mod view;
mod writer;

use qenex_kernel::row::transfer_flags;

pub(crate) use cache::Cache;
pub(crate) use reader::SealedKeys;
pub use reader::{SealedSegment, SegmentError};
pub(crate) use seal::Scratch;
pub use seal::SealJob;

/// In the row bits of an index's entry: the row is one of the smaller table (burned ids, expiries).
pub(crate) const PLACE_SIDE: u32 = 1 << 23;

/// Rows that a segment can have at most: the bits of an entry, less one.
pub(crate) const ROWS_MAX: u32 = PLACE_SIDE;

/// A transfer with one of these flags resolves the one that it names.
pub(crate) const RESOLVES: u16 = transfer_flags::POST_PENDING_TRANSFER | transfer_flags::VOID_PENDING_TRANSFER;
