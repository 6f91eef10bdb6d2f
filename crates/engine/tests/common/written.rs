//! A journal written entry by entry, without an engine that knows what is right.

use qenex_engine::clock::SECOND_NS;
use qenex_engine::frame::Operation;
use qenex_journal::disk::SimDisk;
use qenex_journal::log::{Appended, EntryHeader, EntryKind, Genesis, GroupBuilder, Journal, Options};

use super::BOOK;

/// The time of its first entry.
pub const BEGIN: u64 = 1_000 * SECOND_NS;
pub const OPTIONS: Options = Options {
    file_bytes_least: 1 << 20,
    file_bytes_first: 1 << 20,
    file_bytes_max: 1 << 20,
    group_bytes_max: 1 << 16,
    is_ahead: true,
};

pub struct Entry {
    pub kind: EntryKind,
    pub operation: u16,
    pub timestamp: u64,
    /// Of 128 bytes each.
    pub rows: Vec<u8>,
}

pub fn command(operation: Operation, timestamp: u64, rows: &[u8]) -> Entry {
    Entry { kind: EntryKind::Command, operation: operation.number(), timestamp, rows: rows.to_vec() }
}

/// The disk with a journal of these entries, each in a group of its own.
pub fn journal(entries: &[Entry]) -> SimDisk {
    let disk = SimDisk::new();
    let genesis = Genesis { book: BOOK, incarnation: [1; 16], journal: 1, release: 1, created: 1 };
    Journal::create(&disk, &genesis).unwrap();
    let (mut journal, _) = Journal::open(&disk, OPTIONS, 0).unwrap();
    journal.start([2; 16], 1, BEGIN).unwrap();
    let mut group = GroupBuilder::new(1 << 16);
    for (request, entry) in (1..).zip(entries) {
        let tip = *journal.tip();
        group.clear(tip.entry + 1);
        let header = EntryHeader {
            operation: entry.operation,
            session: [3; 16],
            request,
            ..EntryHeader::new(entry.kind, entry.timestamp)
        };
        let row_size = if entry.rows.is_empty() { 1 } else { 128 };
        group.push(header, &[], row_size, &entry.rows).unwrap();
        let appended = journal.append(tip.number, &tip.hash, tip.epoch, &mut group).unwrap();
        assert!(matches!(appended, Appended::Appended(_)), "{appended:?}");
    }
    disk
}
