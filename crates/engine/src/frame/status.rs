//! The row of `get_status`: `spec/protocol.md` section 6.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// How a server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Status {
    /// The book that is served.
    pub book: [u8; 16],
    /// Which life of its journal.
    pub incarnation: [u8; 16],
    /// Of this start.
    pub epoch: u64,
    /// The last one applied.
    pub entry: u64,
    /// The last one synced.
    pub group: u64,
    /// Of the last request or expiry, UTC nanoseconds.
    pub timestamp: u64,
    /// How many.
    pub accounts: u64,
    /// How many are recorded.
    pub transfers: u64,
    /// Pending transfers that are open.
    pub pending: u64,
    /// How many are remembered.
    pub sessions: u32,
    /// The kernel's behaviour.
    pub release: u32,
    /// Bytes of journal files.
    pub journal_bytes: u64,
    /// Bytes that can still be written.
    pub free_bytes: u64,
    /// The last entry in the newest checkpoint, 0 if there is none.
    pub checkpoint_entry: u64,
    /// Segments, the open one included.
    pub segments: u32,
    /// 1, or the number of the error that a write of one row would get.
    pub writable: u32,
    /// Zero.
    pub state: u64,
    /// Zero.
    pub reserved: [u8; 120],
}

const _: () = assert!(size_of::<Status>() == 256);

impl Status {
    /// All fields zero.
    pub const ZERO: Self = zerocopy::transmute!([0u8; 256]);
}
