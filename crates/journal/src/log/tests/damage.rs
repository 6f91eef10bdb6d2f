//! Bytes that are not as they were written are found, named, and never passed over.

use zerocopy::{FromBytes, IntoBytes};

use super::*;
use crate::disk::{Caching, DiskFile};

fn file(number: u64) -> String {
    format!("{FOLDER}/{number:012}.qxj")
}

/// A journal of several files and two epochs, left as a crash leaves it or ended.
fn journal_of(seed: u64, ended: bool) -> (SimDisk, Tip) {
    let (disk, mut journal) = new_journal();
    let mut random = Random::new(seed);
    append_random(&mut journal, &mut random, 7);
    drop(journal);
    let mut journal = start(&disk);
    append_random(&mut journal, &mut random, 7);
    if ended {
        journal.end(journal.tip().timestamp + 1, 0, [0; 32]).expect("ended");
    }
    let tip = *journal.tip();
    (disk, tip)
}

/// Every byte of headers' first kilobyte of a block, every 37th elsewhere.
fn places(length: usize) -> impl Iterator<Item = usize> {
    (0..length).filter(|at| at % 4096 < 300 || at.is_multiple_of(37))
}

#[test]
fn a_bit_that_flipped_anywhere_is_found() {
    for ended in [false, true] {
        let (disk, tip) = journal_of(1, ended);
        let groups = walk(&disk).1;
        for name in disk.list(FOLDER).expect("listed") {
            for at in places(disk.contents(&name).expect("there").len()) {
                let bad = disk.copy();
                bad.flip_bit(&name, at, u8::try_from(at % 8).expect("small"));
                let walked = verify(&bad, None, |_, _| Ok(()));
                match Journal::open(&bad, SMALL, 0) {
                    Err(error) => {
                        assert!(matches!(error, JournalError::Damaged { .. }), "{name} {at}: {error}");
                        assert!(walked.is_err(), "{name} {at}: the walk sees what recovery sees");
                    }
                    Ok((_, recovery)) if recovery.tip == tip => {
                        // Behind the last group, or in a file that is only walked.
                        let torn = walked.is_ok_and(|report| matches!(report.ending, Ending::Torn { .. }));
                        let older = name < file(tip.file);
                        let spare = name > file(tip.file);
                        assert!(recovery.cut.is_some() || torn || older || spare, "{name} {at}");
                    }
                    Ok((_, recovery)) => {
                        assert!(!ended, "{name} {at}: after a clean shutdown any damage is refused");
                        assert_eq!(recovery.tip.number, tip.number - 1, "{name} {at}: only the last group may go");
                        assert!(recovery.cut.is_some() && name == file(tip.file));
                    }
                }
                // Whatever is still read is what was written.
                let found = read(&bad, 1, tip.number).map(|stream| stream.map_while(Result::ok).count());
                assert!(found.unwrap_or(0) <= groups.len());
            }
        }
    }
}

#[test]
fn a_bad_group_before_a_good_one_is_damage() {
    let (disk, mut journal) = new_journal();
    let before = *journal.tip();
    append_random(&mut journal, &mut Random::new(4), 2);
    disk.flip_bit(&file(before.file), usize::try_from(before.offset).expect("small") + 300, 0);
    let error = Journal::open(&disk, SMALL, 0).err().expect("refused").to_string();
    assert!(error.contains(&file(before.file)) && error.contains(&before.offset.to_string()), "{error}");
    assert!(error.contains("a group follows it"), "{error}");
}

#[test]
fn a_bad_group_that_a_checkpoint_stands_on_is_damage() {
    let (disk, mut journal) = new_journal();
    let before = *journal.tip();
    append_random(&mut journal, &mut Random::new(4), 1);
    disk.flip_bit(&file(before.file), usize::try_from(before.offset).expect("small") + 300, 0);
    let error = Journal::open(&disk, SMALL, before.number + 1).err().expect("refused").to_string();
    assert!(error.contains("durable once"), "{error}");
    Journal::open(&disk, SMALL, before.number).expect("without it, the last group may go");
}

/// Writes a changed group header, believable again, over one in a file.
fn change_group(disk: &SimDisk, tip: &Tip, change: impl FnOnce(&mut GroupHeader, &mut [u8])) {
    let contents = disk.contents(&file(tip.file)).expect("there");
    let at = usize::try_from(tip.offset).expect("small");
    let mut header = GroupHeader::read_from_bytes(&contents[at..at + 256]).expect("256 bytes");
    let end = at + 256 + usize::try_from(header.body_length).expect("small");
    let mut body = contents[at + 256..end].to_vec();
    change(&mut header, &mut body);
    if header.body_hash == GroupHeader::read_from_bytes(&contents[at..at + 256]).expect("256 bytes").body_hash {
        header.body_hash = sha256(&body);
    }
    header.set_checksum();
    let open = disk.open(&file(tip.file), Caching::Cached).expect("there");
    open.write_at(tip.offset, header.as_bytes()).expect("written");
    open.write_at(tip.offset + 256, &body).expect("written");
    open.sync().expect("synced");
}

/// A journal whose last group is changed and made believable again; what opening it says.
fn changed(change: impl FnOnce(&mut GroupHeader, &mut [u8])) -> JournalError {
    let (disk, mut journal) = new_journal();
    let before = *journal.tip();
    append_random(&mut journal, &mut Random::new(4), 1);
    change_group(&disk, &before, change);
    Journal::open(&disk, SMALL, 0).err().expect("refused")
}

#[test]
fn what_a_later_version_wrote_is_refused_by_name_and_never_cut() {
    let newer = changed(|header, _| header.version = 2);
    assert!(matches!(newer, JournalError::NewerFormat { version: 2, what: "group header", .. }), "{newer}");
    assert!(newer.to_string().contains("use a newer QENEX"));
    assert!(matches!(changed(|header, _| header.codec = 1), JournalError::Unsupported { .. }));
    assert!(matches!(changed(|header, _| header.cipher = 1), JournalError::Unsupported { .. }));
    let kind = changed(|_, body| body[8..10].copy_from_slice(&9_u16.to_le_bytes()));
    assert!(
        matches!(kind, JournalError::UnknownKind { kind: 9, .. }) && kind.to_string().contains("prepare"),
        "{kind}"
    );
}

#[test]
fn a_believable_group_that_does_not_follow_is_damage() {
    let changes: [fn(&mut GroupHeader, &mut [u8]); 12] = [
        |header, _| header.number += 1,
        |header, _| header.first_entry += 1,
        |header, _| header.previous_hash[0] ^= 1,
        |header, _| header.writer[0] ^= 1,
        |header, _| header.book[0] ^= 1,
        |header, _| header.incarnation[0] ^= 1,
        |header, _| header.epoch += 1,
        |header, _| header.release += 1,
        |header, _| header.timestamp_first = 1,
        |header, _| header.committed = header.number,
        |header, _| header.entries += 1,
        |_, body| body[0] ^= 1,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let error = changed(change);
        assert!(matches!(error, JournalError::Damaged { .. }), "change {index}: {error}");
    }
}

#[test]
fn rows_that_look_like_a_group_do_not_pass_for_one() {
    let (disk, mut journal) = new_journal();
    let tip = *journal.tip();
    // A client knows book, incarnation and epoch, not the writer.
    let mut forged = GroupHeader { number: 9, epoch: 1, book: genesis().book, writer: [5; 16], ..GroupHeader::empty() };
    forged.set_checksum();
    let mut rows = vec![0; 8000];
    rows[4096 - 256 - 128..][..256].copy_from_slice(forged.as_bytes());
    let mut group = GroupBuilder::new(3 << 12);
    group.clear(tip.entry + 1);
    group.push(EntryHeader::new(EntryKind::Command, tip.timestamp + 9), &[], 8000, &rows).expect("fits");
    append(&mut journal, &mut group);
    disk.flip_bit(&file(tip.file), usize::try_from(tip.offset).expect("small"), 0);
    let (_, recovery) = Journal::open(&disk, SMALL, 0).expect("a torn group, not damage");
    assert_eq!(recovery.cut.expect("cut").number, tip.number + 1);
}

#[test]
fn a_file_that_is_missing_is_named() {
    let (disk, _) = journal_of(2, false);
    disk.remove(&file(2)).expect("removed");
    let error = Journal::open(&disk, SMALL, 0).err().expect("refused").to_string();
    assert!(error.contains(&file(2)) && error.contains("missing"), "{error}");
}

#[test]
fn a_header_that_a_crash_tore_is_set_right_and_one_with_groups_behind_it_is_damage() {
    let (disk, mut journal) = new_journal();
    journal.reserve().prepare_now().expect("space");
    let spare = file(journal.tip().file + 1);
    disk.flip_bit(&spare, 9, 0);
    Journal::open(&disk, SMALL, 0).expect("a torn header");
    assert!(disk.contents(&spare).expect("there").iter().all(|byte| *byte == 0));
    append_random(&mut journal, &mut Random::new(1), 1);
    disk.flip_bit(&file(journal.tip().file), 9, 0);
    assert!(matches!(Journal::open(&disk, SMALL, 0), Err(JournalError::Damaged { .. })));
}
