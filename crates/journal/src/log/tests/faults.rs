//! Disks that are full or fail, without a power loss.

use super::*;
use crate::disk::sim::Fault;

fn tick(journal: &Journal<SimDisk>) -> GroupBuilder {
    let mut group = GroupBuilder::new(4096);
    group.clear(journal.tip().entry + 1);
    let header = EntryHeader::new(EntryKind::Tick, journal.tip().timestamp + 1);
    group.push(header, &[], 1, &[]).expect("fits");
    group
}

fn append_one(journal: &mut Journal<SimDisk>) -> Result<Appended> {
    let mut group = tick(journal);
    let tip = *journal.tip();
    journal.append(tip.number, &tip.hash, journal.header().epoch, &mut group)
}

#[test]
fn a_full_disk_is_known_before_a_group_is_accepted_and_work_resumes() {
    let (disk, mut journal) = new_journal();
    let used = u64::MAX - disk.free_bytes().expect("free");
    disk.set_capacity(used + 4096);
    let reserve = journal.reserve();
    assert!(reserve.prepare_now().expect_err("no space").is_full());
    assert!(reserve.wants_file(), "it can be tried again");
    assert_eq!(disk.free_bytes().expect("free"), 4096, "what was begun is removed");
    while reserve.reserved_bytes() >= 4096 {
        append_one(&mut journal).expect("reserved");
    }
    let error = append_one(&mut journal).expect_err("nothing is reserved");
    assert!(error.is_full() && matches!(error, JournalError::NotReserved { .. }), "{error}");
    let number = journal.tip().number;
    assert_eq!(read(&disk, 1, number).expect("reads go on").count() as u64, number);
    disk.set_capacity(u64::MAX);
    reserve.prepare_now().expect("space again");
    append_one(&mut journal).expect("work resumes");
    assert_eq!(walk(&disk).0.tip, *journal.tip());
}

#[test]
fn a_full_disk_is_no_obstacle_to_a_clean_end() {
    let (disk, mut journal) = new_journal();
    for _ in 0..3 {
        while journal.reserve().reserved_bytes() >= 4096 {
            append_one(&mut journal).expect("reserved");
        }
        disk.set_capacity(u64::MAX - disk.free_bytes().expect("known"));
        journal.end(journal.tip().timestamp + 1, 0, [0; 32]).expect("space was kept for it");
        assert_eq!(walk(&disk).0.ending, Ending::Clean);
        disk.set_capacity(u64::MAX);
        journal = start(&disk);
    }
}

#[test]
fn a_failed_sync_stops_the_journal_and_the_next_start_finds_out() {
    let (disk, mut journal) = new_journal();
    disk.inject(Fault::SyncFails, 0);
    assert!(matches!(append_one(&mut journal), Ok(Appended::Unknown(_))));
    assert!(matches!(append_one(&mut journal), Err(JournalError::Stopped)), "never again");
    let found: Vec<u64> =
        (0..40).map(|seed| Journal::open(&disk.crash(seed), SMALL, 0).expect("recovered").1.tip.number).collect();
    assert!(found.contains(&1) && found.contains(&2), "there or not: {found:?}");
}

#[test]
fn a_short_write_leaves_a_torn_group_that_is_cut_off_and_kept() {
    let (disk, mut journal) = new_journal();
    disk.inject(Fault::ShortWrite { bytes: 100 }, 0);
    assert!(matches!(append_one(&mut journal), Ok(Appended::Unknown(_))));
    let end = *journal.tip();
    let disk = disk.copy();
    let Ending::Torn { offset, .. } = walk(&disk).0.ending else { panic!("torn") };
    assert_eq!(offset, end.offset);
    let (_, recovery) = Journal::open(&disk, SMALL, 0).expect("recovered");
    let cut = recovery.cut.expect("cut");
    assert_eq!((cut.number, cut.offset, cut.bytes), (end.number + 1, end.offset, 4096));
    assert_eq!(&disk.contents(&cut.kept).expect("kept")[..8], b"QENEXGR1");
    assert!(Journal::open(&disk, SMALL, 0).expect("opened").1.cut.is_none(), "once");
    assert_eq!(walk(&disk).0.ending, Ending::Open);
}

#[test]
fn a_read_error_is_an_error_and_not_an_end() {
    let (disk, mut journal) = new_journal();
    append_one(&mut journal).expect("appended");
    disk.inject(Fault::ReadFails, 3);
    assert!(matches!(verify(&disk, None, |_, _| Ok(())), Err(JournalError::Disk(_))));
    let cause = read(&disk, 1, 2).expect("readable");
    disk.inject(Fault::ReadFails, 0);
    let mut last = None;
    for group in cause.read_ahead() {
        last = Some(group.is_ok());
    }
    assert!(last.is_some());
}

#[test]
fn a_start_on_a_full_disk_can_be_tried_again() {
    let disk = SimDisk::new();
    Journal::create(&disk, &genesis()).expect("created");
    disk.set_capacity(8192);
    let (mut journal, _) = Journal::open(&disk, SMALL, 0).expect("opened");
    assert!(journal.start([1; 16], 1, 9).expect_err("no space").is_full());
    disk.set_capacity(u64::MAX);
    journal.start([1; 16], 1, 9).expect("started");
}
