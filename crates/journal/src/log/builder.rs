//! Assembles a group in the memory it is written from.

use core::fmt;

use zerocopy::{FromBytes, IntoBytes};

use super::group::{Entries, EntryView};
use super::header::{EntryHeader, GroupHeader, Hash, sha256, u32_of, usize_of};
use super::{CONTEXT_MAX, EntryKind, TIMESTAMP_MAX};
use crate::disk::{AlignedBuffer, BLOCK};

/// Why an entry was not taken; the group is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// The group has no room for it: it belongs in the next one.
    Full,
    /// More context than 256 bytes.
    ContextTooLong,
    /// The rows are not a whole number of rows of the stated size.
    UnevenRows,
    /// A timestamp that is not above that of the entry before, or beyond the last there is.
    Timestamp,
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the group is full",
            Self::ContextTooLong => "the context is longer than 256 bytes",
            Self::UnevenRows => "the rows are not a whole number of rows of the stated size",
            Self::Timestamp => "the timestamp is not above that of the entry before, or above 2^63-1",
        })
    }
}

impl core::error::Error for PushError {}

/// Where in which journal a group goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The book.
    pub book: [u8; 16],
    /// Its life.
    pub incarnation: [u8; 16],
    /// Who writes.
    pub writer: [u8; 16],
    /// The journal of the book.
    pub journal: u32,
    /// The kernel's behaviour.
    pub release: u32,
    /// The start.
    pub epoch: u64,
    /// The group's number.
    pub number: u64,
    /// The highest group known to be durable.
    pub committed: u64,
    /// Chain hash of the group before.
    pub previous_hash: Hash,
}

/// A group under construction. Its buffer is used again and again: [`GroupBuilder::clear`].
///
/// Rows are copied once, from where they were received to where they are written from; the machine
/// reads them there in place ([`EntryView::rows_as`]).
#[derive(Debug)]
pub struct GroupBuilder {
    buffer: AlignedBuffer,
    length: usize,
    first_entry: u64,
    entries: u32,
    boundary: bool,
    timestamp_first: u64,
    timestamp_last: u64,
    applied: u64,
    results_hash: Hash,
}

impl GroupBuilder {
    /// Room for a group of `bytes` on disk (whole blocks).
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self {
            buffer: AlignedBuffer::zeroed(bytes.max(BLOCK)),
            length: GroupHeader::SIZE,
            first_entry: 0,
            entries: 0,
            boundary: false,
            timestamp_first: 0,
            timestamp_last: 0,
            applied: 0,
            results_hash: [0; 32],
        }
    }

    /// Empties it for a group that begins with this entry.
    pub fn clear(&mut self, first_entry: u64) {
        self.length = GroupHeader::SIZE;
        self.first_entry = first_entry;
        self.entries = 0;
        self.boundary = false;
        self.timestamp_first = 0;
        self.timestamp_last = 0;
        self.applied = 0;
        self.results_hash = [0; 32];
    }

    /// Whether an entry of this size still fits.
    #[must_use]
    pub fn fits(&self, context_length: usize, rows_length: usize) -> bool {
        super::entry_bytes(context_length, rows_length) <= self.buffer.len() - self.length
    }

    /// Adds an entry; returns its number. `header` says what it is; number and lengths are set here.
    ///
    /// # Errors
    /// [`PushError`]; nothing was added.
    pub fn push(
        &mut self,
        header: EntryHeader,
        context: &[u8],
        row_size: usize,
        rows: &[u8],
    ) -> Result<u64, PushError> {
        self.push_with(header, context, row_size, rows.len(), |place| place.copy_from_slice(rows))
    }

    /// As [`GroupBuilder::push`], with rows that `fill` writes straight into their place, `rows_length`
    /// bytes of it. What is there before is not defined; `fill` writes all of it.
    ///
    /// # Errors
    /// [`PushError`]; nothing was added and `fill` was not called.
    pub fn push_with(
        &mut self,
        mut header: EntryHeader,
        context: &[u8],
        row_size: usize,
        rows_length: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<u64, PushError> {
        if context.len() > CONTEXT_MAX {
            return Err(PushError::ContextTooLong);
        }
        if rows_length > 0 && (row_size == 0 || !rows_length.is_multiple_of(row_size)) {
            return Err(PushError::UnevenRows);
        }
        if header.timestamp <= self.timestamp_last || header.timestamp > TIMESTAMP_MAX {
            return Err(PushError::Timestamp);
        }
        if !self.fits(context.len(), rows_length) {
            return Err(PushError::Full);
        }
        let bytes = super::entry_bytes(context.len(), rows_length);
        header.number = self.first_entry + u64::from(self.entries);
        header.context_length = u16::try_from(context.len()).expect("at most 256");
        header.row_size = u32_of(row_size);
        header.rows = u32_of(rows_length.checked_div(row_size).unwrap_or(0));
        header.body_length = u32_of(bytes - EntryHeader::SIZE);

        let entry = &mut self.buffer[self.length..self.length + bytes];
        let (head, body) = entry.split_at_mut(EntryHeader::SIZE);
        head.copy_from_slice(header.as_bytes());
        let (context_part, rows_part) = body.split_at_mut(context.len().next_multiple_of(16));
        context_part[..context.len()].copy_from_slice(context);
        context_part[context.len()..].fill(0);
        let (place, padding) = rows_part.split_at_mut(rows_length);
        fill(place);
        padding.fill(0);

        if self.entries == 0 {
            self.timestamp_first = header.timestamp;
        }
        self.timestamp_last = header.timestamp;
        let kind = EntryKind::from_number(header.kind);
        self.boundary |= matches!(kind, Some(EntryKind::Epoch | EntryKind::End));
        self.entries += 1;
        self.length += bytes;
        Ok(header.number)
    }

    /// States the running hash of results up to group `applied`, for the header. 0 with zeros: not stated.
    pub fn set_results(&mut self, applied: u64, results_hash: Hash) {
        self.applied = applied;
        self.results_hash = results_hash;
    }

    /// The highest group whose results are stated.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Number of the first entry.
    #[must_use]
    pub fn first_entry(&self) -> u64 {
        self.first_entry
    }

    /// Number that the next entry gets.
    #[must_use]
    pub fn next_entry(&self) -> u64 {
        self.first_entry + u64::from(self.entries)
    }

    /// How many entries it has.
    #[must_use]
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// Timestamps of the first and the last entry; zeros while it is empty.
    #[must_use]
    pub fn timestamps(&self) -> (u64, u64) {
        (self.timestamp_first, self.timestamp_last)
    }

    /// Whether it has an entry that begins or ends an epoch; only the journal itself appends those.
    pub(super) fn has_boundary(&self) -> bool {
        self.boundary
    }

    /// Bytes that it takes on disk, padding included.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.length.next_multiple_of(BLOCK) as u64
    }

    /// The entries, in order.
    pub fn views(&self) -> impl Iterator<Item = EntryView<'_>> {
        Entries::new(&self.buffer[GroupHeader::SIZE..self.length])
    }

    /// Writes the header: hashes the body, links the group to the one before, pads it to a whole block.
    /// Returns the group's chain hash.
    ///
    /// # Panics
    /// If the group is empty.
    pub fn seal(&mut self, link: &Link) -> Hash {
        assert!(self.entries > 0, "a group has entries");
        let body_length = u32_of(self.length - GroupHeader::SIZE);
        let mut header = GroupHeader {
            book: link.book,
            incarnation: link.incarnation,
            writer: link.writer,
            journal: link.journal,
            release: link.release,
            epoch: link.epoch,
            number: link.number,
            first_entry: self.first_entry,
            entries: self.entries,
            body_length,
            raw_length: body_length,
            timestamp_first: self.timestamp_first,
            timestamp_last: self.timestamp_last,
            committed: link.committed,
            applied: self.applied,
            results_hash: self.results_hash,
            previous_hash: link.previous_hash,
            body_hash: sha256(&self.buffer[GroupHeader::SIZE..self.length]),
            ..GroupHeader::empty()
        };
        header.set_checksum();
        self.buffer[..GroupHeader::SIZE].copy_from_slice(header.as_bytes());
        let padded = usize_of(self.disk_bytes());
        self.buffer[self.length..padded].fill(0);
        header.chain_hash()
    }

    /// The bytes as they go to disk, once sealed: whole aligned blocks.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..usize_of(self.disk_bytes())]
    }

    /// The header, once sealed.
    ///
    /// # Panics
    /// Never: the buffer holds a header from the start.
    #[must_use]
    pub fn header(&self) -> &GroupHeader {
        GroupHeader::ref_from_bytes(&self.buffer[..GroupHeader::SIZE]).expect("aligned")
    }
}
