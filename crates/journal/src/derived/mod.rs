//! What is derived from the journal: accounts, transfers as recorded, balances, outcomes, and the indexes that find them.
//!
//! [`LedgerStore`] is the kernel's store over it. The newest rows are in memory, in the open segment; a segment closes
//! with the entry that fills it, and everything in it is from then on as immutable as the journal.

mod account_index;
mod accounts;
mod blocks;
mod chunks;
mod directory;
mod field;
mod hash;
mod history;
mod id_table;
mod memory;
mod no_disk;
mod num;
mod pages;
mod pending;
mod postings;
mod prefetch;
mod row_table;
mod runs;
mod scope;
mod sealed;
mod segment;
mod snapshot;
mod sort;
mod store;
mod turnover;
mod view;

pub use no_disk::NoDisk;
pub use pages::{Pages, PagesJob};
pub(crate) use sealed::{Cache, SealedKeys};
pub use sealed::{SealJob, SealedSegment, SegmentError};
pub use store::LedgerStore;

/// How a store divides its work.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A segment closes with the entry that brings it to so many rows.
    pub segment_rows: u32,
    /// Or to so many entries.
    pub segment_entries: u32,
    /// Blocks of sealed files kept in memory: 2 to this power, of 16 KiB each.
    pub cache_bits: u32,
    /// Places that a step of a query looks at, in indexes and rows: some tenths of a millisecond.
    pub places_a_step: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_rows: 1 << 20, segment_entries: 1 << 17, cache_bits: 11, places_a_step: 512 }
    }
}

/// An entry of the journal, as far as the store wants to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Gapless, from 1.
    pub number: u64,
    /// Of the protocol; 0 for entries that are not commands.
    pub operation: u16,
    /// Of its last row.
    pub timestamp: u64,
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Accounts opened.
    pub accounts: u64,
    /// Transfers recorded.
    pub transfers: u64,
    /// Pending transfers that are open.
    pub pending: u64,
    /// Segments, the open one included.
    pub segments: u32,
}
