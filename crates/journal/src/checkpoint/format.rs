//! The layout of a checkpoint's file; `spec/checkpoint.md` describes it.
//!
//! Sections from front to back, then the manifest in the last 4,096 bytes, which says what and where they are.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Where checkpoints lie.
pub(super) const FOLDER: &str = "checkpoints";
/// Version of the layout.
pub(super) const VERSION: u16 = 1;
pub(super) const MAGIC: [u8; 8] = *b"QENEXCP1";
/// Bytes of the manifest.
pub(super) const MANIFEST_LENGTH: usize = 4_096;
/// Sections there are, in the order of the file.
pub(super) const SECTIONS: usize = 6;

/// What a section holds; its number in the file is its place here plus one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// In order of (timestamp, id).
    Accounts,
    /// Open pending transfers, in order of timestamp.
    Pending,
    /// In order of their accounts.
    Terms,
    /// As the engine hands them.
    Sessions,
    /// As the engine hands it.
    Configuration,
    /// The sealed files that belong to the state.
    Files,
}

/// Where a section is and what it must hash to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Section {
    pub(super) kind: u16,
    pub(super) version: u16,
    pub(super) row_size: u32,
    pub(super) offset: u64,
    /// Rows.
    pub(super) count: u64,
    pub(super) sha256: [u8; 32],
}

/// Where the journal stands at a checkpoint: everything up to and including `entry` is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Position {
    /// Of the book's files.
    pub incarnation: [u8; 16],
    /// Number of the journal.
    pub journal: u32,
    /// Number of the kernel's behaviour.
    pub release: u32,
    /// Of the writer.
    pub epoch: u64,
    /// Number of the group that has the entry.
    pub group: u64,
    /// Hash of that group.
    pub group_hash: [u8; 32],
    /// The last entry applied, which closed a segment.
    pub entry: u64,
    /// The machine's time after it, UTC nanoseconds.
    pub timestamp: u64,
}

/// The last bytes of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Manifest {
    pub(super) magic: [u8; 8],
    pub(super) version: u16,
    pub(super) length: u16,
    pub(super) sections: u32,
    pub(super) book: [u8; 16],
    pub(super) position: Position,
    pub(super) file_length: u64,
    pub(super) table: [Section; SECTIONS],
    pub(super) reserved: [u8; RESERVED],
    /// SHA-256 of the bytes before it.
    pub(super) sha256: [u8; 32],
}

const RESERVED: usize = MANIFEST_LENGTH - 32 - size_of::<Position>() - 8 - SECTIONS * size_of::<Section>() - 32;
const _: () = assert!(size_of::<Manifest>() == MANIFEST_LENGTH);

impl Manifest {
    pub(super) fn new(book: [u8; 16], position: Position) -> Self {
        Self { magic: MAGIC, version: VERSION, length: 4_096, sections: 6, book, position, ..Self::new_zeroed() }
    }

    pub(super) fn digest(&self) -> [u8; 32] {
        super::sha256(&self.as_bytes()[..MANIFEST_LENGTH - 32])
    }
}

/// A sealed file that belongs to the state; its name follows from its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SealedFile {
    /// Of the segment.
    pub number: u32,
    /// Zero.
    pub reserved: u32,
    /// Bytes.
    pub length: u64,
    /// Of its checksums and its footer, which stand for the whole file.
    pub sha256: [u8; 32],
}

/// An open pending transfer, and where it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct PendingRow {
    pub(crate) transfer: qenex_kernel::row::Transfer,
    pub(crate) segment: u32,
    pub(crate) row: u32,
    pub(crate) reserved: u64,
}

/// The name of the checkpoint after `entry`.
pub(super) fn file_name(entry: u64) -> String {
    format!("{FOLDER}/{entry:020}.qxc")
}
