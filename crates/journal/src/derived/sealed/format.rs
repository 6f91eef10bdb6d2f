//! The layout of a sealed segment's file; `spec/checkpoint.md` describes it.
//!
//! Sections, one after the other; then a checksum of every block before it; then the footer, which says where
//! everything is. Written from front to back, once.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::super::field::Field;

/// Version of the layout.
pub(crate) const VERSION: u16 = 1;
/// First bytes of the file.
pub(crate) const HEADER_MAGIC: [u8; 8] = *b"QENEXSG1";
/// First bytes of the footer.
pub(crate) const FOOTER_MAGIC: [u8; 8] = *b"QENEXSGF";
/// Bytes that are read, and whose checksum is judged, at once.
pub(crate) const BLOCK: usize = 16 * 1024;
/// Sections begin at multiples of it, so that no row straddles blocks.
pub(crate) const ALIGNMENT: u64 = 128;
/// Entries of an index between two of its fences.
pub(crate) const FENCE: usize = 1_024;
/// Rows between two timestamps in the section of times.
pub(crate) const TIME_FENCE: usize = 256;
/// Bytes of the header and room for sections in the footer.
pub(crate) const HEADER_LENGTH: usize = 128;
const SECTIONS_MAX: usize = 128;

/// What a section holds. The number is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind(pub(crate) u16);

impl Kind {
    pub(crate) const ENTRIES: Self = Self(1);
    pub(crate) const EXCEPTIONS: Self = Self(2);
    pub(crate) const BURNED: Self = Self(3);
    pub(crate) const TRANSFERS: Self = Self(4);
    pub(crate) const SIDES: Self = Self(5);
    /// Posted balances after each transfer, low halves.
    pub(crate) const POSTED: Self = Self(6);
    /// Pending balances after each transfer, low halves; absent if all are zero.
    pub(crate) const HELD: Self = Self(7);
    /// High halves of all balances after each transfer; absent if all are zero.
    pub(crate) const HIGH: Self = Self(8);
    pub(crate) const EXPIRIES: Self = Self(9);
    /// Low halves, then high halves, of the balances after each expiry.
    pub(crate) const EXPIRY_BALANCES: Self = Self(10);
    /// Timestamp of every 256th transfer.
    pub(crate) const TIMES: Self = Self(11);
    /// Which blocks of neighbouring ids it has any of: a map of bits.
    pub(crate) const BLOCKS: Self = Self(12);
    /// Recorded and burned ids, in order of their hash.
    pub(crate) const IDS: Self = Self(24);
    /// Transfers and expiries that resolved a pending transfer, in order of the hash of its id.
    pub(crate) const RESOLUTIONS: Self = Self(25);
    /// Expiries by account.
    pub(crate) const EXPIRY_ACCOUNTS: Self = Self(26);

    /// The index of a field.
    pub(crate) const fn of_field(field: Field) -> Self {
        Self(16 + field as u16)
    }

    /// Every 1,024th entry of an index.
    pub(crate) const fn fences(self) -> Self {
        Self(self.0 + 16)
    }

    /// The keys that so many rows have that they are kept as maps of bits instead of entries.
    pub(crate) const fn dense_keys(self) -> Self {
        Self(self.0 + 32)
    }

    /// Those maps, in the order of their keys.
    pub(crate) const fn bitmaps(self) -> Self {
        Self(self.0 + 48)
    }
}

/// Where a section is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Section {
    /// [`Kind`].
    pub(crate) kind: u16,
    /// Of the rows' layout: 1.
    pub(crate) version: u16,
    /// Bytes.
    pub(crate) row_size: u32,
    /// Of its first byte in the file.
    pub(crate) offset: u64,
    /// Rows.
    pub(crate) count: u64,
}

/// The first bytes of the file: what it is, for whoever looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u16,
    pub(crate) header_length: u16,
    pub(crate) number: u32,
    pub(crate) book: [u8; 16],
    pub(crate) reserved: [u8; 96],
}

/// The last 4,096 bytes of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Footer {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u16,
    pub(crate) footer_length: u16,
    pub(crate) sections: u32,
    pub(crate) book: [u8; 16],
    /// Of the segment, from 0.
    pub(crate) number: u32,
    /// Transfers.
    pub(crate) rows: u32,
    pub(crate) expiries: u32,
    pub(crate) block: u32,
    pub(crate) first_entry: u64,
    pub(crate) entries: u64,
    /// Of the newest transfer and expiry, 0 without any.
    pub(crate) last_timestamp: u64,
    pub(crate) last_expiry_timestamp: u64,
    pub(crate) file_length: u64,
    /// Where the blocks' checksums begin; they cover what is before.
    pub(crate) checksums_offset: u64,
    pub(crate) checksums: u64,
    /// XXH3-64 of the checksums.
    pub(crate) checksums_checksum: u64,
    pub(crate) table: [Section; SECTIONS_MAX],
    pub(crate) reserved: [u8; FOOTER_RESERVED],
    /// XXH3-64 of the bytes before it.
    pub(crate) checksum: u64,
}

/// Bytes of the footer.
pub(crate) const FOOTER_LENGTH: usize = 4_096;
const FOOTER_RESERVED: usize = FOOTER_LENGTH - 32 - 16 - 64 - 24 * SECTIONS_MAX - 8;
const _: () = assert!(size_of::<Footer>() == FOOTER_LENGTH && size_of::<Header>() == HEADER_LENGTH);

impl Footer {
    /// A footer without sections.
    pub(crate) fn new(book: [u8; 16], number: u32) -> Self {
        Self {
            magic: FOOTER_MAGIC,
            version: VERSION,
            footer_length: 4_096,
            book,
            number,
            block: super::super::num::index32(BLOCK),
            ..Self::new_zeroed()
        }
    }

    /// Adds a section.
    pub(crate) fn add(&mut self, section: Section) {
        self.table[self.sections as usize] = section;
        self.sections += 1;
    }

    /// The section of a kind; one without rows if the file has none.
    pub(crate) fn section(&self, kind: Kind) -> Section {
        let sections = &self.table[..self.sections as usize];
        sections.iter().find(|section| section.kind == kind.0).copied().unwrap_or_default()
    }

    /// Sets the checksum.
    pub(crate) fn seal(&mut self) {
        self.checksum = self.expected_checksum();
    }

    fn expected_checksum(&self) -> u64 {
        checksum(&self.as_bytes()[..FOOTER_LENGTH - 8])
    }

    /// Judges a footer that was read.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check(&self, book: [u8; 16], number: u32, file_length: u64) -> Result<(), String> {
        if self.magic != FOOTER_MAGIC || self.checksum != self.expected_checksum() {
            return Err("its footer is damaged or missing".to_owned());
        }
        if self.version != VERSION {
            return Err(format!("its version is {}, this release reads {VERSION}", self.version));
        }
        if self.book != book || self.number != number {
            return Err(format!("it is segment {} of another book or under another's name", self.number));
        }
        let table = &self.table[..(self.sections as usize).min(SECTIONS_MAX)];
        let inside = |section: &Section| {
            let bytes = section.count.checked_mul(u64::from(section.row_size));
            bytes.and_then(|bytes| section.offset.checked_add(bytes)).is_some_and(|end| end <= self.checksums_offset)
        };
        let fits = self.checksums_offset.checked_add(self.checksums * 8).is_some_and(|end| end <= file_length)
            && self.checksums == self.checksums_offset.div_ceil(BLOCK as u64)
            && self.block as usize == BLOCK
            && self.sections as usize <= SECTIONS_MAX
            && table.iter().all(inside);
        if self.file_length != file_length || !fits {
            return Err(format!("it has {file_length} bytes and says {}", self.file_length));
        }
        Ok(())
    }
}

/// XXH3-64.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    twox_hash::XxHash3_64::oneshot(bytes)
}

/// The name of a segment's file.
pub(crate) fn file_name(number: u32) -> String {
    format!("{FOLDER}/{number:012}.qxs")
}

/// Where sealed files lie.
pub(crate) const FOLDER: &str = "segments";
