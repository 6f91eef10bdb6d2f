//! A backup is taken while the journal is written, and restored as another life of the book.

use super::*;
use crate::disk::{Caching, DiskFile};

fn backed_up() -> (SimDisk, SimDisk, Tip) {
    let (disk, mut journal) = new_journal();
    let mut random = Random::new(8);
    append_random(&mut journal, &mut random, 9);
    let tip = *journal.tip();
    // The journal goes on: what comes after the tip is not in the backup.
    append_random(&mut journal, &mut random, 5);
    let target = SimDisk::new();
    let mut copied = 0;
    let report = backup(&disk, &tip, &target, |bytes| copied = bytes).expect("copied");
    assert_eq!((report.group, report.bytes), (tip.number, copied));
    (disk, target, tip)
}

#[test]
fn a_restore_is_another_life_with_its_parent_recorded() {
    let (_, saved, tip) = backed_up();
    let target = SimDisk::new();
    let (mut groups, mut last) = (0, (0, 1));
    let restored = restore(&saved, &target, [0x22; 16], 7, |step| {
        match step {
            RestoreStep::Checked(..) => groups += 1,
            RestoreStep::Copied { bytes, bytes_total } => {
                assert!(last.0 < bytes && (last.0 == 0 || last.1 == bytes_total));
                last = (bytes, bytes_total);
            }
        }
        Ok(())
    });
    assert_eq!(last.0, last.1, "it hears of every byte");
    let restored = restored.expect("restored");
    assert_eq!((restored.parent_incarnation, restored.tip.number, groups), ([0x11; 16], tip.number, tip.number));
    let mut journal = start(&target);
    append_random(&mut journal, &mut Random::new(1), 3);
    let header = journal.header();
    assert_eq!((header.incarnation, header.parent_incarnation), ([0x22; 16], [0x11; 16]));
    assert_eq!((header.parent_number, header.parent_hash), (tip.number, tip.hash));
    let (report, _) = walk(&target);
    assert_eq!(report.incarnations, [[0x11; 16], [0x22; 16]]);
    assert_eq!(report.tip.number, tip.number + 4);
}

#[test]
fn a_damaged_backup_is_refused_before_anything_is_written() {
    let (_, saved, _) = backed_up();
    let names = [MANIFEST_NAME, "journal/000000000001.qxj", "journal/000000000003.qxj"];
    for name in names {
        let length = saved.contents(name).expect("there").len();
        for at in (0..length).step_by(length.div_ceil(40)) {
            let bad = saved.copy();
            bad.flip_bit(name, at, 2);
            let target = SimDisk::new();
            assert!(restore(&bad, &target, [0x22; 16], 7, |_| Ok(())).is_err(), "{name} at {at}");
            assert!(target.list("").expect("listed").is_empty());
        }
    }
    saved.remove(MANIFEST_NAME).expect("removed");
    let error = restore(&saved, &SimDisk::new(), [0x22; 16], 7, |_| Ok(())).expect_err("no manifest");
    assert!(error.to_string().contains("not finished"), "{error}");
}

#[test]
fn a_manifest_may_name_the_files_of_the_journal_and_nothing_else() {
    let (_, saved, _) = backed_up();
    let text = String::from_utf8(saved.contents(MANIFEST_NAME).expect("there")).expect("text");
    let body = text.split_once("end ").expect("an end").0;
    let sum = crate::log::manifest::hex(&crate::log::header::sha256(b"forged"));
    let (one, three) = ("journal/000000000001.qxj", "journal/000000000003.qxj");
    for name in [
        "checkpoints/1.qxc",
        "segments/1.qxs",
        "owner.token",
        "../owner.token",
        "journal/../owner.token",
        "/etc/passwd",
        "journal/cut-1.bin",
        "LOCK",
        one,
    ] {
        let added = format!("{body}file {sum} 6 {name}\n");
        let (renamed, missing) = (body.replace(three, name), body.replace(one, name));
        for forged in [added, renamed, missing].into_iter().filter(|forged| forged != body) {
            let bad = saved.copy();
            if !name.contains("..") && !name.starts_with('/') && bad.contents(name).is_none() {
                bad.create_folder(crate::disk::folder_of(name)).ok();
                bad.create(name, Caching::Cached).expect("made").write_at(0, b"forged").expect("written");
            }
            bad.remove(MANIFEST_NAME).expect("removed");
            let end = crate::log::manifest::hex(&crate::log::header::sha256(forged.as_bytes()));
            let whole = format!("{forged}end {end}\n");
            bad.create(MANIFEST_NAME, Caching::Cached).expect("made").write_at(0, whole.as_bytes()).expect("written");
            let target = SimDisk::new();
            let error = restore(&bad, &target, [0x22; 16], 7, |_| Ok(())).expect_err(name).to_string();
            assert!(error.contains(&format!("{name:?}")) && error.contains("can be here"), "{name}: {error}");
            assert!(target.list("").expect("listed").is_empty());
        }
    }
}

#[test]
fn a_restore_that_the_power_interrupts_does_not_open_as_the_old_life() {
    let (_, saved, tip) = backed_up();
    let whole = SimDisk::new();
    restore(&saved, &whole, [0x22; 16], 7, |_| Ok(())).expect("restored");
    for point in 1..=whole.points() {
        let target = SimDisk::new();
        target.crash_at(point);
        restore(&saved, &target, [0x22; 16], 7, |_| Ok(())).expect_err("no power");
        if let Ok((journal, recovery)) = Journal::open(&target.crash(point), SMALL, 0) {
            assert_eq!((journal.header().incarnation, recovery.tip.number), ([0x22; 16], tip.number), "point {point}");
        }
    }
}

#[test]
fn a_restore_that_is_stopped_does_not_open_as_the_old_life() {
    let (_, saved, tip) = backed_up();
    for stop in 0..100 {
        let (target, mut steps) = (SimDisk::new(), 0);
        let restored = restore(&saved, &target, [0x22; 16], 7, |_| {
            steps += 1;
            if steps > stop { Err(JournalError::Stopped) } else { Ok(()) }
        });
        if restored.is_ok() {
            return;
        }
        assert!(matches!(restored, Err(JournalError::Stopped)));
        if let Ok((journal, recovery)) = Journal::open(&target, SMALL, 0) {
            assert_eq!((journal.header().incarnation, recovery.tip.number), ([0x22; 16], tip.number));
        }
    }
    panic!("it is never done");
}

#[test]
fn a_target_that_is_used_and_an_incarnation_that_is_not_new_are_refused() {
    let (disk, saved, tip) = backed_up();
    assert!(matches!(backup(&disk, &tip, &saved, |_| {}), Err(JournalError::Backup(_))));
    assert!(matches!(restore(&saved, &disk, [0x22; 16], 7, |_| Ok(())), Err(JournalError::Backup(_))));
    for incarnation in [[0; 16], [0x11; 16]] {
        let restored = restore(&saved, &SimDisk::new(), incarnation, 7, |_| Ok(()));
        assert!(matches!(restored, Err(JournalError::Backup(_))));
    }
}
