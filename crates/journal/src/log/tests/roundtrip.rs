//! What was appended is read back, from any entry on.

use qenex_kernel::row::Transfer;
use zerocopy::IntoBytes;

use super::*;
use crate::disk::{Caching, DiskFile, FileDisk};

/// Runs a few epochs with a few files each; returns every group, the journal's own included.
fn fill_journal<D: Disk>(disk: &D, seed: u64) -> Vec<Vec<Remembered>> {
    Journal::create(disk, &genesis()).expect("created");
    let mut random = Random::new(seed);
    for _ in 0..3 {
        let mut journal = start(disk);
        append_random(&mut journal, &mut random, 12);
        if random.chance(500) {
            journal.end(journal.tip().timestamp + 5, 0, [0; 32]).expect("ended");
        }
    }
    walk(disk).1
}

fn reads_back<D: Disk>(disk: &D, seed: u64) {
    let groups = fill_journal(disk, seed);
    let numbers: Vec<u64> = groups.iter().flatten().map(|entry| entry.header.number).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "entries are gapless");
    let last = groups.len() as u64;
    for from in 1..=numbers.len() as u64 {
        let first = groups.iter().position(|group| group.iter().any(|entry| entry.header.number == from));
        let expected = &groups[first.expect("there")..];
        let stream = read(disk, from, last).expect("readable");
        assert_eq!(stream.position().number + 1 + expected.len() as u64, last + 1);
        let read: Vec<_> = stream.map(|group| remember(group.expect("sound").entries())).collect();
        assert_eq!(read, expected, "from entry {from}");
    }
    let stream = read(disk, 1, last).expect("readable");
    let ahead: Vec<_> = stream.read_ahead().map(|group| remember(group.expect("sound").entries())).collect();
    assert_eq!(ahead, groups);
    assert_eq!(
        read(disk, numbers.len() as u64 + 1, last).expect("readable").count(),
        0,
        "after the last there is none"
    );
    assert_eq!(read(disk, 1, 3).expect("readable").count(), 3, "reading ends where it was told to");
    let beyond = read(disk, 1, last + 1).expect("readable").last().expect("something").expect_err("too far");
    assert!(beyond.to_string().contains("ends after"), "{beyond}");
    drop(read(disk, 1, last).expect("readable").read_ahead());
}

#[test]
fn what_was_appended_is_read_back_from_any_entry_on() {
    for seed in 0..10 {
        reads_back(&SimDisk::new(), seed);
    }
}

#[test]
fn a_real_disk_reads_the_same() {
    let root = std::env::temp_dir().join(format!("qenex-log-{}", std::process::id()));
    let disk = FileDisk::new(&root).expect("a folder");
    reads_back(&disk, 1);
    std::fs::remove_dir_all(&root).expect("removed");
}

#[test]
fn what_is_appended_equals_what_the_walk_finds() {
    let (disk, mut journal) = new_journal();
    let mut random = Random::new(3);
    let appended = append_random(&mut journal, &mut random, 40);
    assert!(journal.tip().file > 5, "forty groups rotate small files");
    let (report, found) = walk(&disk);
    assert_eq!(found[1..], appended, "after the epoch's own group");
    assert_eq!((report.tip, &report.ending), (*journal.tip(), &Ending::Open));
    assert_eq!(report.passed.groups, 41);
    let last = disk.contents(&format!("{FOLDER}/{:012}.qxj", report.tip.file)).expect("there");
    assert_eq!(
        report.passed.bytes_total - report.passed.bytes,
        last.len() as u64 - report.tip.offset,
        "all but the tail"
    );
}

#[test]
fn rows_are_read_in_place_as_what_they_are() {
    let (disk, mut journal) = new_journal();
    let transfers: Vec<Transfer> = (1..=20).map(|id| Transfer { id, amount: id * 3, ..Transfer::ZERO }).collect();
    let mut group = GroupBuilder::new(3 << 12);
    group.clear(journal.tip().entry + 1);
    let timestamp = journal.tip().timestamp + 100;
    let header = EntryHeader { operation: 147, ..EntryHeader::new(EntryKind::Command, timestamp) };
    group.push(header, b"a context of an odd length", Transfer::SIZE, transfers.as_bytes()).expect("fits");
    let entry = group.views().next().expect("one");
    assert_eq!(entry.rows_as::<Transfer>().expect("aligned"), transfers);
    append(&mut journal, &mut group);
    let group = read(&disk, 2, 2).expect("readable").next().expect("one").expect("sound");
    let entry = group.entries().next().expect("one");
    assert_eq!(entry.rows_as::<Transfer>().expect("aligned"), transfers);
    assert_eq!(entry.context, b"a context of an odd length");
    assert!(entry.rows_as::<u64>().is_none(), "rows of another size are refused");
}

#[test]
fn a_builder_refuses_what_the_format_cannot_hold() {
    let mut group = GroupBuilder::new(4096);
    group.clear(1);
    let header = |timestamp| EntryHeader::new(EntryKind::Command, timestamp);
    assert_eq!(group.push(header(0), &[], 1, &[]), Err(PushError::Timestamp));
    assert_eq!(group.push(header(1 << 63), &[], 1, &[]), Err(PushError::Timestamp));
    assert_eq!(group.push(header(1), &[0; 257], 1, &[]), Err(PushError::ContextTooLong));
    assert_eq!(group.push(header(1), &[], 16, &[0; 17]), Err(PushError::UnevenRows));
    assert_eq!(group.push(header(1), &[], 0, &[0; 17]), Err(PushError::UnevenRows));
    assert_eq!(group.push(header(1), &[], 1, &[0; 4096 - 256 - 128 + 1]), Err(PushError::Full));
    assert_eq!(group.push(header(5), &[], 1, &[0; 1000]), Ok(1));
    assert_eq!(group.push(header(5), &[], 1, &[]), Err(PushError::Timestamp));
    let rest = 4096 - 256 - 128 - 1008 - 128;
    assert!(group.fits(0, rest) && !group.fits(1, rest));
    assert_eq!(group.push(header(6), &[], rest, &[1; 4096][..rest]), Ok(2));
    assert_eq!((group.entries(), group.next_entry(), group.disk_bytes()), (2, 3, 4096));
    group.clear(9);
    assert_eq!(group.push(header(2), &[], 0, &[]), Ok(9), "a cleared group knows nothing of the one before");
}

#[test]
fn a_group_goes_only_where_it_follows() {
    let (_, mut journal) = new_journal();
    let tip = *journal.tip();
    let mut group = GroupBuilder::new(4 << 12);
    let mut refused =
        |journal: &mut Journal<SimDisk>, what: &str, previous: u64, hash: &Hash, entry: u64, timestamp: u64| {
            group.clear(entry);
            group.push(EntryHeader::new(EntryKind::Tick, timestamp), &[], 1, &[]).expect("fits");
            let error = journal.append(previous, hash, 1, &mut group).expect_err(what);
            assert!(matches!(&error, JournalError::NotNext(text) if text.contains(what)), "{error}");
        };
    let (number, later) = (tip.number, tip.timestamp + 1);
    refused(&mut journal, "builds on group 0", 0, &tip.hash, tip.entry + 1, later);
    refused(&mut journal, "builds on group 1", number, &[1; 32], tip.entry + 1, later);
    refused(&mut journal, "entry 2 is next", number, &tip.hash, tip.entry, later);
    refused(&mut journal, "not above", number, &tip.hash, tip.entry + 1, tip.timestamp);

    group.clear(2);
    assert!(matches!(journal.append(number, &tip.hash, 1, &mut group), Err(JournalError::NotNext(_))), "empty");
    for kind in [EntryKind::Epoch, EntryKind::End] {
        group.clear(2);
        group.push(EntryHeader::new(kind, later), &[], 1, &[]).expect("fits");
        assert!(matches!(journal.append(number, &tip.hash, 1, &mut group), Err(JournalError::NotNext(_))), "{kind:?}");
    }
    group.clear(2);
    group.push(EntryHeader::new(EntryKind::Command, later), &[], 1, &[0; 13_000]).expect("fits");
    assert!(matches!(journal.append(number, &tip.hash, 1, &mut group), Err(JournalError::NotNext(_))), "too big");
    group.clear(2);
    group.push(EntryHeader::new(EntryKind::Tick, later), &[], 1, &[]).expect("fits");
    group.set_results(2, [0; 32]);
    assert!(matches!(journal.append(number, &tip.hash, 1, &mut group), Err(JournalError::NotNext(_))), "results");
    group.set_results(1, [0; 32]);
    assert!(matches!(journal.append(number, &tip.hash, 2, &mut group), Err(JournalError::NotNext(_))), "epoch");
    assert!(matches!(journal.append(number, &tip.hash, 0, &mut group), Ok(Appended::Fenced(1))), "fenced");
    assert_eq!(*journal.tip(), tip, "nothing has changed");
    append(&mut journal, &mut group);
}

#[test]
fn a_journal_is_created_started_and_ended_once() {
    let disk = SimDisk::new();
    assert!(matches!(Journal::open(&disk, SMALL, 0), Err(JournalError::Missing)));
    Journal::create(&disk, &genesis()).expect("created");
    assert!(matches!(Journal::create(&disk, &genesis()), Err(JournalError::Exists)));
    let (mut journal, recovery) = Journal::open(&disk, SMALL, 0).expect("opened");
    assert_eq!((recovery.clean, recovery.tip.number, recovery.files), (false, 0, 1));
    let mut group = GroupBuilder::new(4096);
    group.clear(1);
    group.push(EntryHeader::new(EntryKind::Tick, 9), &[], 1, &[]).expect("fits");
    assert!(matches!(journal.append(0, &[0; 32], 0, &mut group), Err(JournalError::NotStarted)));
    assert!(matches!(journal.end(9, 0, [0; 32]), Err(JournalError::NotStarted)));
    assert!(matches!(journal.start([0; 16], 1, 9), Err(JournalError::NotNext(_))));
    let tip = journal.start([1; 16], 1, 9).expect("started");
    assert_eq!((tip.number, tip.entry, tip.epoch, tip.timestamp), (1, 1, 1, 9));
    assert!(matches!(journal.start([2; 16], 1, 10), Err(JournalError::Stopped)));
    journal.end(10, 1, [3; 32]).expect("ended");
    assert!(matches!(journal.end(11, 0, [0; 32]), Err(JournalError::Stopped)));
    let (mut journal, recovery) = Journal::open(&disk, SMALL, 0).expect("opened");
    assert!(recovery.clean && recovery.tip.ended && recovery.cut.is_none());
    assert_eq!(walk(&disk).0.ending, Ending::Clean);
    assert!(matches!(journal.start([1; 16], 1, 11), Err(JournalError::NotNext(_))), "a writer is new");
    journal.start([2; 16], 2, 11).expect("started");
    assert_eq!((journal.header().epoch, journal.header().release), (2, 2));
    assert_eq!(walk(&disk).0.ending, Ending::Open, "a start takes the marker away");
}

#[test]
fn runs_that_were_short_do_not_make_files_longer() {
    let options = Options { file_bytes_max: 32 * SMALL.file_bytes_first, ..SMALL };
    let disk = SimDisk::new();
    Journal::create(&disk, &genesis()).expect("created");
    for run in 1..8 {
        let (mut journal, _) = Journal::open(&disk, options, 0).expect("opened");
        journal.start(writer(run), 1, journal.tip().timestamp + 1000).expect("started");
        journal.reserve().prepare_now().expect("space");
        let names = disk.list("journal").expect("listed");
        let last = names.iter().rfind(|name| name.ends_with(".qxj")).expect("a file");
        let length = disk.open(last, Caching::Cached).and_then(|file| file.length()).expect("there");
        assert_eq!(length, 2 * options.file_bytes_first, "{last}");
    }
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let (disk, _) = new_journal();
    let bad = [
        Options { group_bytes_max: 1000, ..SMALL },
        Options { file_bytes_least: SMALL.group_bytes_max, ..SMALL },
        Options { file_bytes_first: SMALL.group_bytes_max, ..SMALL },
        Options { file_bytes_max: 4096, ..SMALL },
    ];
    for options in bad {
        assert!(matches!(Journal::open(&disk, options, 0), Err(JournalError::Options(_))));
    }
    let (mut journal, _) = Journal::open(&disk, Options::default(), 0).expect("the defaults are good");
    journal.start([9; 16], 1, u64::MAX >> 1).expect("a spare that is too short for the options is replaced");
}
