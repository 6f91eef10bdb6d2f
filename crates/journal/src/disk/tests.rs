//! Rules that both disks keep, and those of the simulated one.

use super::sim::{Fault, Lies, Random};
use super::*;

fn folder() -> std::path::PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("qenex-disk-{}-{number}", std::process::id()))
}

/// Runs `test` on a real folder, which is removed afterwards, and on a simulated disk.
fn on_both(test: impl Fn(&dyn Fn() -> u64, Both)) {
    let root = folder();
    let disk = FileDisk::new(&root).expect("a folder");
    test(&|| disk.free_bytes().expect("free"), Both::File(disk.clone()));
    std::fs::remove_dir_all(&root).expect("removed");
    let disk = SimDisk::new();
    test(&|| disk.free_bytes().expect("free"), Both::Sim(disk.clone()));
}

enum Both {
    File(FileDisk),
    Sim(SimDisk),
}

fn keeps_the_rules<D: Disk>(disk: &D) {
    assert!(disk.create("journal/a", Caching::Direct).err().expect("no folder").is_missing());
    disk.create_folder("journal").expect("made");
    disk.create_folder("journal").expect("it is there");
    let file = disk.create("journal/a", Caching::Direct).expect("made");
    assert!(disk.create("journal/a", Caching::Cached).err().expect("taken").is_taken());
    assert!(disk.open("journal/b", Caching::Cached).err().expect("none").is_missing());
    for bad in ["/etc/passwd", "../x", "a/b/c", "", ".hidden", "journal/", "a b"] {
        assert!(disk.create(bad, Caching::Cached).is_err(), "{bad:?} is no name");
    }

    let mut block = AlignedBuffer::zeroed(2 * BLOCK);
    block.fill(7);
    file.write_at(BLOCK as u64, &block).expect("written");
    file.write_at(10, b"unaligned").expect("written");
    file.sync().expect("synced");
    assert_eq!(file.length().expect("length"), 3 * BLOCK as u64);
    let mut back = AlignedBuffer::zeroed(3 * BLOCK);
    file.read_at(0, &mut back).expect("read");
    assert_eq!(&back[..10], &[0; 10]);
    assert_eq!(&back[10..19], b"unaligned");
    assert!(back[BLOCK..].iter().all(|byte| *byte == 7));
    let error = file.read_at(2 * BLOCK as u64, &mut back).expect_err("too far");
    assert_eq!(error.source.kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(error.to_string().contains("journal/a at byte "), "{error}");

    file.set_length(5).expect("cut");
    assert_eq!(file.length().expect("length"), 5);
    disk.create("journal/c", Caching::Cached).expect("made").write_at(0, b"new").expect("written");
    disk.rename("journal/c", "journal/a").expect("replaced");
    assert!(disk.rename("journal/a", "a").is_err(), "a file stays in its folder");
    let mut three = [0; 3];
    disk.open("journal/a", Caching::Direct).expect("there").read_at(0, &mut three).expect("read");
    assert_eq!(&three, b"new");
    file.read_at(0, &mut three).expect("an open file survives its name");
    disk.create("journal/b", Caching::Cached).expect("made");
    disk.sync_folder("journal").expect("synced");
    assert_eq!(disk.list("journal").expect("listed"), ["journal/a", "journal/b"]);
    disk.remove("journal/b").expect("removed");
    assert!(disk.remove("journal/b").expect_err("gone").is_missing());
    assert_eq!(disk.list("journal").expect("listed"), ["journal/a"]);
    assert!(disk.list("nowhere").expect_err("no folder").is_missing());

    let lock = disk.lock().expect("free");
    let error = disk.lock().err().expect("held");
    assert!(error.is_locked() && error.to_string().contains("in use by process"), "{error}");
    drop(lock);
    disk.lock().expect("free again");
}

#[test]
fn both_disks_keep_the_same_rules() {
    on_both(|free, disk| {
        assert!(free() > 0);
        match disk {
            Both::File(disk) => keeps_the_rules(&disk),
            Both::Sim(disk) => keeps_the_rules(&disk),
        }
    });
}

#[test]
fn a_lock_file_that_is_removed_frees_no_place() {
    let root = folder();
    let disk = FileDisk::new(&root).expect("a folder");
    let lock = disk.lock().expect("free");
    std::fs::remove_file(root.join("LOCK")).expect("there");
    let Err(error) = disk.lock() else { panic!("held") };
    assert!(error.is_locked() && error.to_string().contains("LOCK file was removed"), "{error}");
    drop(lock);
    disk.lock().expect("free again");
    std::fs::remove_dir_all(&root).expect("removed");
}

#[test]
fn the_lock_names_its_holder_and_files_are_their_owners() {
    use std::os::unix::fs::PermissionsExt;
    let root = folder();
    let disk = FileDisk::new(&root).expect("a folder");
    let _lock = disk.lock().expect("free");
    let error = disk.lock().expect_err("held");
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    disk.create_folder("journal").expect("made");
    disk.create("journal/a", Caching::Direct).expect("made");
    let mode = |path: &str| std::fs::metadata(root.join(path)).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("journal"), mode("journal/a"), mode("LOCK")), (0o700, 0o700, 0o600, 0o600));
    std::fs::remove_dir_all(&root).expect("removed");
}

/// A synced file with four synced sectors of 1s, and then the same sectors written with 2s, not synced.
fn half_synced() -> (SimDisk, sim::SimFile) {
    let disk = SimDisk::new();
    let file = disk.create("a", Caching::Direct).expect("made");
    file.write_at(0, &[1; 4 * BLOCK]).expect("written");
    file.sync().expect("synced");
    disk.sync_folder("").expect("synced");
    file.write_at(0, &[2; 4 * BLOCK]).expect("written");
    (disk, file)
}

#[test]
fn a_power_loss_keeps_the_synced_and_tears_the_rest_by_sector() {
    let (mut old, mut new, mut torn, mut fine) = (0, 0, 0, 0);
    for seed in 0..300 {
        let (disk, file) = half_synced();
        let after = disk.crash(seed).contents("a").expect("its name was synced");
        assert!(file.sync().is_err(), "the old disk is dead");
        assert_eq!(after.len(), 4 * BLOCK);
        for sector in after.chunks(512) {
            assert!(sector == [1; 512] || sector == [2; 512], "a sector is whole");
        }
        let count = after.iter().filter(|byte| **byte == 2).count();
        match count {
            0 => old += 1,
            _ if count == after.len() => new += 1,
            _ => torn += 1,
        }
        fine += usize::from(!count.is_multiple_of(BLOCK));
        assert_eq!(half_synced().0.crash(seed).contents("a"), Some(after), "a seed decides");
    }
    assert!(old > 20 && new > 20 && torn > 100 && fine > 50, "{old} {new} {torn} {fine}");
}

#[test]
fn what_is_synced_survives_and_a_name_needs_its_folder_synced() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..100 {
        let (disk, file) = half_synced();
        file.sync().expect("synced");
        disk.rename("a", "b").expect("renamed");
        let after = disk.crash(seed);
        let (a, b) = (after.contents("a"), after.contents("b"));
        assert!(a.is_some() != b.is_some(), "a rename is atomic");
        if a.is_some() {
            lost += 1
        } else {
            kept += 1
        }
        assert!(a.or(b).expect("one of them").iter().all(|byte| *byte == 2));
    }
    assert!(lost > 10 && kept > 10, "{lost} {kept}");
}

#[test]
fn a_lost_folder_takes_its_files_along() {
    let made = |sync_root: bool| {
        let disk = SimDisk::new();
        disk.create_folder("f").expect("made");
        if sync_root {
            disk.sync_folder("").expect("synced");
        }
        let file = disk.create("f/a", Caching::Cached).expect("made");
        file.write_at(0, b"x").expect("written");
        file.sync().expect("synced");
        disk.sync_folder("f").expect("synced");
        disk
    };
    assert!((0..20).all(|seed| made(true).crash(seed).contents("f/a") == Some(b"x".to_vec())));
    assert!((0..20).any(|seed| made(false).crash(seed).contents("f/a").is_none()));
}

#[test]
fn power_can_fail_at_every_point() {
    let run = |disk: &SimDisk| -> Result<()> {
        let file = disk.create("a", Caching::Cached)?;
        file.write_at(0, &[3; 100])?;
        file.sync()?;
        disk.sync_folder("")
    };
    let whole = SimDisk::new();
    run(&whole).expect("no fault");
    assert_eq!(whole.points(), 4);
    for point in 1..=4 {
        let disk = SimDisk::new();
        disk.crash_at(point);
        assert!(run(&disk).is_err() && disk.is_off());
        assert!(disk.list("").is_err(), "off is off");
        let after: Vec<_> = (0..50).map(|seed| disk.crash(seed).contents("a")).collect();
        assert!(after.contains(&None), "the name was not synced");
        let complete = after.contains(&Some(vec![3; 100]));
        assert_eq!(complete, point > 1, "point {point}");
    }
}

#[test]
fn faults_happen_once_and_where_they_were_put() {
    let (disk, file) = half_synced();
    disk.inject(Fault::SyncFails, 1);
    file.sync().expect("the first is good");
    file.write_at(0, &[3; 512]).expect("written");
    assert_eq!(file.sync().expect_err("the second fails").source.raw_os_error(), Some(libc::EIO));
    file.sync().expect("and says nothing afterwards, as Linux does");
    let after: Vec<_> = (0..60).map(|seed| disk.crash(seed).contents("a").expect("named")[0]).collect();
    assert!(after.contains(&2) && after.contains(&3), "a failed sync proves nothing");

    let (disk, file) = half_synced();
    disk.inject(Fault::ShortWrite { bytes: 100 }, 0);
    assert!(file.write_at(0, &[4; 512]).is_err());
    assert_eq!(disk.contents("a").expect("named").iter().filter(|byte| **byte == 4).count(), 100);
    disk.inject(Fault::ReadFails, 0);
    assert!(file.read_at(0, &mut [0]).is_err());
    file.read_at(0, &mut [0]).expect("once");
    disk.flip_bit("a", 3, 1);
    assert_eq!(disk.contents("a").expect("named")[3], 4 ^ 2);
}

#[test]
fn a_full_disk_takes_what_fits_and_says_so() {
    let disk = SimDisk::new();
    disk.set_capacity(1000);
    let file = disk.create("a", Caching::Cached).expect("made");
    assert!(file.write_at(500, &[1; 600]).expect_err("too much").is_full());
    assert_eq!(disk.free_bytes().expect("free"), 0);
    assert!(file.set_length(1001).expect_err("too long").is_full());
    file.set_length(0).expect("cut");
    file.write_at(0, &[1; 1000]).expect("fits");
}

#[test]
fn a_lying_disk_loses_what_it_said_was_synced() {
    let (disk, file) = half_synced();
    disk.lie(Lies { sync: true, sync_folder: false, of: "" });
    file.sync().expect("it says so");
    assert!((0..20).any(|seed| disk.crash(seed).contents("a").expect("named")[0] == 1));
    let disk = SimDisk::new();
    disk.lie(Lies { sync: false, sync_folder: true, of: "" });
    disk.create("a", Caching::Cached).expect("made");
    disk.sync_folder("").expect("it says so");
    assert!((0..20).any(|seed| disk.crash(seed).contents("a").is_none()));
}

#[test]
fn a_buffer_is_aligned_and_zero() {
    let buffer = AlignedBuffer::zeroed(BLOCK + 1);
    assert_eq!((buffer.len(), buffer.as_ptr().addr() % BLOCK), (2 * BLOCK, 0));
    assert!(buffer.iter().all(|byte| *byte == 0));
    assert_eq!(AlignedBuffer::zeroed(0).len(), 0);
}

#[test]
fn a_seed_gives_the_same_numbers_everywhere() {
    let mut random = Random::new(0);
    assert_eq!(random.next_u64(), 0xE220_A839_7B1D_CDAF, "the published first number of SplitMix64");
    assert!((0..1000).all(|_| random.below(7) < 7));
}
