//! A group that was read back, and its entries.

use std::sync::Arc;

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::header::{EntryHeader, GroupHeader, Hash, TIMESTAMP_MAX, usize_of};
use super::{CONTEXT_MAX, EntryKind};
use crate::disk::AlignedBuffer;

/// One entry, where it lies.
#[derive(Clone, Copy, Debug)]
pub struct EntryView<'a> {
    /// What it is.
    pub header: &'a EntryHeader,
    /// What its door wrote about it; opaque to the kernel.
    pub context: &'a [u8],
    /// Its rows, back to back, at an address that is a multiple of 16.
    pub rows: &'a [u8],
}

impl<'a> EntryView<'a> {
    /// The rows as what they are, in place. `None` if they are of another size.
    #[must_use]
    pub fn rows_as<T: FromBytes + KnownLayout + Immutable>(&self) -> Option<&'a [T]> {
        if self.header.rows > 0 && usize_of(self.header.row_size) != size_of::<T>() {
            return None;
        }
        <[T]>::ref_from_bytes(self.rows).ok()
    }
}

/// Entries of a body that was built or checked.
pub(super) struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = EntryView<'a>;

    fn next(&mut self) -> Option<EntryView<'a>> {
        let (header, rest) = EntryHeader::ref_from_prefix(self.rest).ok()?;
        let (body, rest) = rest.split_at(usize_of(header.body_length));
        let context = &body[..usize::from(header.context_length)];
        let rows_length = usize_of(header.rows) * usize_of(header.row_size);
        let rows = &body[context.len().next_multiple_of(16)..][..rows_length];
        self.rest = rest;
        Some(EntryView { header, context, rows })
    }
}

/// What is wrong with the entries of a group whose hash is right.
pub(super) enum Malformed {
    /// They break a rule of the format.
    Rule(String),
    /// Entry and kind: not known, and not to be skipped.
    Kind(u64, u16),
}

/// Checks that a body is well-formed entries, as `header` counts and times them.
pub(super) fn check_entries(header: &GroupHeader, body: &[u8]) -> Result<(), Malformed> {
    let (mut rest, mut number, mut timestamp) = (body, header.first_entry, 0);
    let rule = |number: u64, what: &str| Err(Malformed::Rule(format!("entry {number} {what}")));
    while !rest.is_empty() {
        let Ok((entry, after)) = EntryHeader::ref_from_prefix(rest) else {
            return rule(number, "has no room for its header");
        };
        if entry.number != number {
            return rule(number, &format!("is numbered {}", entry.number));
        }
        let context = usize::from(entry.context_length);
        if context > CONTEXT_MAX {
            return rule(number, "has more context than 256 bytes");
        }
        let rows = u64::from(entry.rows) * u64::from(entry.row_size);
        let length = (context as u64).next_multiple_of(16) + rows.next_multiple_of(16);
        if u64::from(entry.body_length) != length || length > after.len() as u64 {
            return rule(number, "has lengths that contradict each other");
        }
        let (body, after) = after.split_at(usize_of(length));
        let context_end = context.next_multiple_of(16);
        let padding = body[context..context_end].iter().chain(&body[context_end + usize_of(rows)..]);
        if entry.flags != 0 || entry.reserved != [0; 24] || padding.into_iter().any(|byte| *byte != 0) {
            return rule(number, "has a reserved field or a padding that is not zero");
        }
        if entry.timestamp <= timestamp || entry.timestamp > TIMESTAMP_MAX {
            return rule(number, "is not later than the one before it");
        }
        if number == header.first_entry && entry.timestamp != header.timestamp_first {
            return rule(number, "has not the first timestamp that the group states");
        }
        if EntryKind::from_number(entry.kind).is_none() && !EntryKind::is_skippable(entry.kind) {
            return Err(Malformed::Kind(number, entry.kind));
        }
        timestamp = entry.timestamp;
        rest = after;
        number += 1;
    }
    if number != header.first_entry + u64::from(header.entries) {
        return Err(Malformed::Rule(format!(
            "the group states {} entries and has {}",
            header.entries,
            number - header.first_entry
        )));
    }
    if timestamp != header.timestamp_last {
        return rule(number - 1, "has not the last timestamp that the group states");
    }
    Ok(())
}

/// A group that was read from a journal and checked.
#[derive(Clone, Debug)]
pub struct Group {
    chunk: Arc<AlignedBuffer>,
    start: usize,
    hash: Hash,
    file: u64,
    offset: u64,
}

impl Group {
    pub(super) fn new(chunk: Arc<AlignedBuffer>, start: usize, hash: Hash, file: u64, offset: u64) -> Self {
        Self { chunk, start, hash, file, offset }
    }

    /// Its header.
    ///
    /// # Panics
    /// Never: groups lie aligned.
    #[must_use]
    pub fn header(&self) -> &GroupHeader {
        let bytes = &self.chunk[self.start..self.start + GroupHeader::SIZE];
        GroupHeader::ref_from_bytes(bytes).expect("aligned")
    }

    /// Its chain hash.
    #[must_use]
    pub fn hash(&self) -> &Hash {
        &self.hash
    }

    /// Number of the file it lies in, and the byte where it begins.
    #[must_use]
    pub fn place(&self) -> (u64, u64) {
        (self.file, self.offset)
    }

    /// Its entries, in order.
    pub fn entries(&self) -> impl Iterator<Item = EntryView<'_>> {
        let begin = self.start + GroupHeader::SIZE;
        Entries::new(&self.chunk[begin..begin + usize_of(self.header().body_length)])
    }
}
