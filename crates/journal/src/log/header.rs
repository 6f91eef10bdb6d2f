//! The fixed-size records of the format, byte for byte as they lie on disk.

use sha2::{Digest, Sha256};
use twox_hash::XxHash3_64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[cfg(target_endian = "big")]
compile_error!("the journal is little-endian: a big-endian machine would need conversions");

/// SHA-256.
pub type Hash = [u8; 32];

/// The version of the format that is written, and the newest that is read.
pub const FORMAT_VERSION: u16 = 1;
/// The last timestamp there is, UTC nanoseconds.
pub const TIMESTAMP_MAX: u64 = qenex_kernel::row::TIMESTAMP_MAX;

pub(super) const GROUP_MAGIC: [u8; 8] = *b"QENEXGR1";
pub(super) const FILE_MAGIC: [u8; 8] = *b"QENEXJF1";
pub(super) const CLEAN_MAGIC: [u8; 8] = *b"QENEXCL1";
const CHECKED: usize = 248;

/// SHA-256 of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

pub(super) fn usize_of(number: impl TryInto<usize>) -> usize {
    number.try_into().ok().expect("64 bits")
}

pub(super) fn u32_of(number: usize) -> u32 {
    number.try_into().expect("bounded by the size of a group")
}

macro_rules! record {
    ($(#[$doc:meta])* $name:ident, $size:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        const _: () = assert!(size_of::<$name>() == $size);

        impl $name {
            /// Size in bytes.
            pub const SIZE: usize = $size;
            /// All fields zero.
            pub const ZERO: Self = zerocopy::transmute!([0u8; $size]);
        }
    };
}

record! {
    /// Begins every group.
    GroupHeader, 256 {
        /// `QENEXGR1`.
        magic: [u8; 8],
        /// [`FORMAT_VERSION`].
        version: u16,
        /// 256.
        header_length: u16,
        /// How the body is compressed; 0: it is not.
        codec: u8,
        /// How the body is encrypted; 0: it is not.
        cipher: u8,
        /// Zero.
        flags: u16,
        /// The book.
        book: [u8; 16],
        /// The life of the book this was written in: random at create, restore and fork.
        incarnation: [u8; 16],
        /// Random at each start. Clients never learn it, so that no bytes of theirs can pass for a group.
        writer: [u8; 16],
        /// The journal of the book.
        journal: u32,
        /// The kernel's behaviour.
        release: u32,
        /// Counts the starts, from 1.
        epoch: u64,
        /// Of the group, gapless from 1.
        number: u64,
        /// Number of its first entry, gapless from 1.
        first_entry: u64,
        /// How many entries it has, at least 1.
        entries: u32,
        /// Which key encrypts the body; 0 none.
        key: u32,
        /// Bytes of body on disk, without padding.
        body_length: u32,
        /// Bytes of body before compression and encryption.
        raw_length: u32,
        /// Timestamp of the first entry.
        timestamp_first: u64,
        /// Timestamp of the last entry.
        timestamp_last: u64,
        /// The highest group that its writer knew to be durable.
        committed: u64,
        /// The highest group whose results `results_hash` covers; 0: none are stated.
        applied: u64,
        /// Running hash of results; zeros if none are stated.
        results_hash: Hash,
        /// Chain hash of the group before; zeros for the first.
        previous_hash: Hash,
        /// SHA-256 of the raw body.
        body_hash: Hash,
        /// Zero.
        reserved: [u8; 8],
        /// XXH3-64 (seed 0) of the 248 bytes before it.
        checksum: u64,
    }
}

record! {
    /// Begins every entry; the context follows, padded to 16 bytes, then the rows, padded to 16 bytes.
    EntryHeader, 128 {
        /// Gapless from 1.
        number: u64,
        /// An [`EntryKind`](super::EntryKind), or one that may be skipped.
        kind: u16,
        /// Zero.
        flags: u16,
        /// Of a command: what is done with the rows.
        operation: u16,
        /// Bytes of context, at most 256.
        context_length: u16,
        /// The session that asked, or zeros.
        session: [u8; 16],
        /// The session's number of the request, or 0.
        request: u64,
        /// UTC nanoseconds; above that of the entry before.
        timestamp: u64,
        /// Ties together what several journals hold of one thing, or zeros.
        global_id: [u8; 16],
        /// The journal of the entry that caused this one, or 0.
        cause_journal: u32,
        /// Bytes of one row.
        row_size: u32,
        /// The entry that caused this one, or 0.
        cause_entry: u64,
        /// How many rows.
        rows: u32,
        /// Bytes after this header, paddings included.
        body_length: u32,
        /// W3C trace id, or zeros.
        trace: [u8; 16],
        /// Zero.
        reserved: [u8; 24],
    }
}

record! {
    /// The first block of a journal file begins with this; the rest of the block is zero.
    FileHeader, 256 {
        /// `QENEXJF1`.
        magic: [u8; 8],
        /// [`FORMAT_VERSION`].
        version: u16,
        /// 256.
        header_length: u16,
        /// Zero.
        flags: u32,
        /// The book.
        book: [u8; 16],
        /// The life of the book that the file's groups were written in.
        incarnation: [u8; 16],
        /// The incarnation this one was restored or forked from; zeros for a new book.
        parent_incarnation: [u8; 16],
        /// The last group of the parent that is also this one's.
        parent_number: u64,
        /// Chain hash of that group.
        parent_hash: Hash,
        /// The journal of the book.
        journal: u32,
        /// The kernel's behaviour.
        release: u32,
        /// Counts the journal's files, gapless from 1; also the file's name.
        file: u64,
        /// When the header was written, UTC nanoseconds, for people.
        created: u64,
        /// Who writes the file's groups; zeros: it has none, and only announces an incarnation.
        writer: [u8; 16],
        /// The epoch of the file's groups.
        epoch: u64,
        /// The number that the file's first group has, or would have.
        first_group: u64,
        /// The number that the file's first entry has, or would have.
        first_entry: u64,
        /// Timestamp of the entry before; 0 if there is none.
        previous_timestamp: u64,
        /// Chain hash of the group before; zeros if there is none.
        previous_hash: Hash,
        /// Zero.
        reserved: [u8; 40],
        /// XXH3-64 (seed 0) of the 248 bytes before it.
        checksum: u64,
    }
}

record! {
    /// The file `journal/clean`: there from a clean shutdown to the next start, it says where the
    /// journal ends, so that then not even its last group can be taken for one that a crash tore.
    CleanMarker, 256 {
        /// `QENEXCL1`.
        magic: [u8; 8],
        /// [`FORMAT_VERSION`].
        version: u16,
        /// 256.
        header_length: u16,
        /// Zero.
        flags: u32,
        /// The book.
        book: [u8; 16],
        /// Its life.
        incarnation: [u8; 16],
        /// Number of the last group.
        number: u64,
        /// Number of the last entry.
        entry: u64,
        /// Timestamp of the last entry.
        timestamp: u64,
        /// Number of the last file.
        file: u64,
        /// Its length.
        length: u64,
        /// Chain hash of the last group.
        hash: Hash,
        /// Zero.
        reserved: [u8; 128],
        /// XXH3-64 (seed 0) of the 248 bytes before it.
        checksum: u64,
    }
}

record! {
    /// The row of an `epoch` entry.
    EpochRow, 128 {
        /// The epoch that begins.
        epoch: u64,
        /// The group before it.
        previous_number: u64,
        /// Who writes from here on.
        writer: [u8; 16],
        /// The life of the book.
        incarnation: [u8; 16],
        /// Chain hash of the group before it.
        previous_hash: Hash,
        /// The kernel's behaviour from here on.
        release: u32,
        /// Zero.
        reserved: [u8; 44],
    }
}

/// What a header's first bytes and its checksum say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// Believable, of a version this code reads.
    Good,
    /// Believable, of a later version.
    Newer(u16),
    /// Not what was written.
    Bad(&'static str),
}

/// Judges a header at the start of `block`. In every version the magic, the version and the length of
/// the header stay where they are, and its last 8 bytes are the XXH3-64 of those before them.
fn judge(block: &[u8], magic: [u8; 8]) -> Judged {
    let u16_at = |at: usize| u16::from_le_bytes([block[at], block[at + 1]]);
    if block[..8] != magic {
        return Judged::Bad("its magic is wrong");
    }
    let (version, length) = (u16_at(8), usize::from(u16_at(10)));
    let sane = (CHECKED + 8..=block.len()).contains(&length);
    let (checked, checksum) = block[..if sane { length } else { CHECKED + 8 }].split_last_chunk::<8>().expect("long");
    if XxHash3_64::oneshot(checked) != u64::from_le_bytes(*checksum) {
        return Judged::Bad("the checksum of its header does not match");
    }
    match version {
        FORMAT_VERSION if length == CHECKED + 8 => Judged::Good,
        0 | FORMAT_VERSION => Judged::Bad("its header has an impossible version or length"),
        newer => Judged::Newer(newer),
    }
}

macro_rules! checked {
    ($name:ident, $magic:ident) => {
        impl $name {
            /// A header with magic, version and length set and everything else zero.
            #[must_use]
            pub const fn empty() -> Self {
                Self { magic: $magic, version: FORMAT_VERSION, header_length: 256, ..Self::ZERO }
            }

            /// Sets the checksum, last of all.
            pub fn set_checksum(&mut self) {
                self.checksum = XxHash3_64::oneshot(&self.as_bytes()[..CHECKED]);
            }

            /// Judges the header at the start of a block.
            pub(super) fn judge(block: &[u8]) -> Judged {
                judge(block, $magic)
            }

            /// The header at the start of a block that was judged.
            pub(super) fn of(block: &[u8]) -> Self {
                Self::read_from_bytes(&block[..Self::SIZE]).expect("256 bytes")
            }
        }
    };
}

checked!(GroupHeader, GROUP_MAGIC);
checked!(FileHeader, FILE_MAGIC);
checked!(CleanMarker, CLEAN_MAGIC);

impl FileHeader {
    /// Whether it only announces an incarnation: a journal's first file, and the one a restore adds.
    #[must_use]
    pub fn is_birth(&self) -> bool {
        self.writer == [0; 16]
    }
}

impl GroupHeader {
    /// The hash that the next group carries: SHA-256 of the header in raw form, that is with codec,
    /// cipher, key, body_length and checksum zero, so that compressing or encrypting a body later
    /// leaves the chain as it is.
    #[must_use]
    pub fn chain_hash(&self) -> Hash {
        let raw = Self { codec: 0, cipher: 0, key: 0, body_length: 0, checksum: 0, ..*self };
        sha256(raw.as_bytes())
    }

    /// Bytes of the group on disk, with its padding.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        (Self::SIZE as u64 + u64::from(self.body_length)).next_multiple_of(super::BLOCK_BYTES)
    }

    /// Number of its last entry.
    #[must_use]
    pub fn last_entry(&self) -> u64 {
        self.first_entry.saturating_add(u64::from(self.entries)).saturating_sub(1)
    }
}

impl EntryHeader {
    /// An entry of this kind and time; the builder numbers it and fills in the lengths.
    #[must_use]
    pub fn new(kind: super::EntryKind, timestamp: u64) -> Self {
        Self { kind: kind.number(), timestamp, ..Self::ZERO }
    }

    /// Bytes of the entry, header included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        Self::SIZE + usize_of(self.body_length)
    }
}

/// Bytes that an entry takes in a group.
#[must_use]
pub fn entry_bytes(context_length: usize, rows_length: usize) -> usize {
    EntryHeader::SIZE + context_length.next_multiple_of(16) + rows_length.next_multiple_of(16)
}
