//! The vectors under `spec/vectors/journal/` are what this code writes. To write them anew after a change of the
//! format (and of its version): `QENEX_WRITE_VECTORS=1 cargo test -p qenex-journal the_vectors`.

use std::path::PathBuf;

use super::super::manifest::hex;
use super::*;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors/journal")
}

/// A small journal with everything in it: two epochs, a rotation, a clean end, a restore.
fn vectors() -> Vec<(String, Vec<u8>)> {
    let (disk, mut journal) = new_journal();
    let mut random = Random::new(2026);
    append_random(&mut journal, &mut random, 4);
    drop(journal);
    let mut journal = start(&disk);
    append_random(&mut journal, &mut random, 2);
    let end = *journal.tip();
    journal.end(end.timestamp + 1, end.number, [6; 32]).expect("ended");
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for name in disk.list(FOLDER).expect("listed") {
        let contents = disk.contents(&name).expect("there");
        if contents.iter().any(|byte| *byte != 0) {
            files.push((name.replace("journal/", ""), contents));
        }
    }
    let mut lines = String::from("# group first_entry entries timestamp_last chain_hash\n");
    verify(&disk, None, |group, _| {
        let header = group.header();
        let hash = hex(group.hash());
        lines +=
            &format!("{} {} {} {} {hash}\n", header.number, header.first_entry, header.entries, header.timestamp_last);
        Ok(())
    })
    .expect("sound");
    files.push(("groups.txt".to_owned(), lines.into_bytes()));
    files
}

#[test]
fn the_vectors_are_what_this_code_writes() {
    let files = vectors();
    if std::env::var_os("QENEX_WRITE_VECTORS").is_some() {
        std::fs::create_dir_all(folder()).expect("a folder");
        files.iter().for_each(|(name, bytes)| std::fs::write(folder().join(name), bytes).expect("written"));
    }
    for (name, bytes) in files {
        let stored = std::fs::read(folder().join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(stored == bytes, "{name} differs: the format has changed without its version");
        assert!(stored.len() < 64 << 10);
    }
}
