//! Rules of the journal, each on a simulated disk and the main ones on a real one.

mod backup;
mod crash;
mod damage;
mod faults;
mod format;
mod roundtrip;

use super::header::EntryHeader;
use super::*;
use crate::disk::sim::Random;
use crate::disk::{Disk, SimDisk};

/// Files of a few blocks, so that a handful of groups rotates them.
pub(super) const SMALL: Options = Options {
    file_bytes_least: 6 << 12,
    file_bytes_first: 6 << 12,
    file_bytes_max: 12 << 12,
    group_bytes_max: 3 << 12,
    is_ahead: true,
};

pub(super) fn genesis() -> Genesis {
    Genesis { book: [0xB0; 16], incarnation: [0x11; 16], journal: 1, release: 1, created: 1 }
}

/// An entry as a test remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) header: EntryHeader,
    pub(super) context: Vec<u8>,
    pub(super) rows: Vec<u8>,
}

pub(super) fn remember<'a>(entries: impl Iterator<Item = EntryView<'a>>) -> Vec<Remembered> {
    entries
        .map(|entry| Remembered { header: *entry.header, context: entry.context.to_vec(), rows: entry.rows.to_vec() })
        .collect()
}

fn bytes(random: &mut Random, length: u64) -> Vec<u8> {
    (0..length).map(|_| random.next_u64().to_le_bytes()[0]).collect()
}

/// Fills a group with 1 to 5 entries of any kind a caller may append.
pub(super) fn fill(random: &mut Random, tip: &Tip, group: &mut GroupBuilder) {
    group.clear(tip.entry + 1);
    let mut timestamp = tip.timestamp;
    for _ in 0..=random.below(5) {
        let kinds = [1, 1, 1, 3, 4, 5, 6, 0x8001];
        let kind = kinds[usize::try_from(random.below(8)).expect("small")];
        let row_size = [1, 16, 128, 40][usize::try_from(random.below(4)).expect("small")];
        let rows = random.below(if row_size == 1 { 300 } else { 9 });
        timestamp += rows + 1 + random.below(1000);
        let header = EntryHeader {
            kind,
            operation: 147,
            session: [7; 16],
            request: random.next_u64(),
            trace: [9; 16],
            ..EntryHeader::new(EntryKind::Command, timestamp)
        };
        let length = random.below(257);
        let context = bytes(random, length);
        let rows = bytes(random, rows * row_size);
        let pushed = group.push(header, &context, usize::try_from(row_size).expect("small"), &rows);
        if pushed == Err(PushError::Full) {
            break;
        }
        pushed.expect("well-formed");
    }
    group.set_results(tip.number, [random.next_u64().to_le_bytes()[0]; 32]);
}

pub(super) fn writer(number: u64) -> [u8; 16] {
    let mut writer = [0x77; 16];
    writer[..8].copy_from_slice(&number.to_le_bytes());
    writer
}

/// Opens and starts.
pub(super) fn start<D: Disk>(disk: &D) -> Journal<D> {
    let (mut journal, _) = Journal::open(disk, SMALL, 0).expect("opened");
    let epoch = journal.header().epoch + 1;
    journal.start(writer(epoch), 1, journal.tip().timestamp + 1000).expect("started");
    journal
}

/// A new journal, started.
pub(super) fn new_journal() -> (SimDisk, Journal<SimDisk>) {
    let disk = SimDisk::new();
    Journal::create(&disk, &genesis()).expect("created");
    let journal = start(&disk);
    (disk, journal)
}

/// Appends a group to a journal that prepares its files as it goes.
pub(super) fn append<D: Disk>(journal: &mut Journal<D>, group: &mut GroupBuilder) -> Tip {
    journal.reserve().prepare_now().expect("space");
    let tip = *journal.tip();
    match journal.append(tip.number, &tip.hash, journal.header().epoch, group).expect("accepted") {
        Appended::Appended(tip) => tip,
        other => panic!("{other:?}"),
    }
}

/// Appends `count` random groups; returns what they held.
pub(super) fn append_random<D: Disk>(
    journal: &mut Journal<D>,
    random: &mut Random,
    count: u64,
) -> Vec<Vec<Remembered>> {
    let mut group = GroupBuilder::new(3 << 12);
    (0..count)
        .map(|_| {
            fill(random, journal.tip(), &mut group);
            append(journal, &mut group);
            remember(group.views())
        })
        .collect()
}

/// Every group of the journal, by a walk that checks everything.
pub(super) fn walk<D: Disk>(disk: &D) -> (VerifyReport, Vec<Vec<Remembered>>) {
    let mut groups = Vec::new();
    let report = verify(disk, None, |group, _| {
        groups.push(remember(group.entries()));
        Ok(())
    });
    (report.expect("sound"), groups)
}
