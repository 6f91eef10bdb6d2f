//! Copies a journal while it is written, and brings a copy back to life.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::files::{self, name_of};
use super::journal::write_birth;
use super::manifest::{Copied, MANIFEST_NAME, Manifest};
use super::{FOLDER, FileHeader, Group, JournalError, Result, Tip, VerifyProgress, verify};
use crate::disk::{AlignedBuffer, Caching, Disk, DiskFile};

const COPY_BYTES: usize = 1 << 20;
const TEMPORARY: &str = "manifest.tmp";

/// What a backup copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupReport {
    /// Files.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
    /// The last group in it.
    pub group: u64,
}

/// What a restore made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The book.
    pub book: [u8; 16],
    /// Its new life.
    pub incarnation: [u8; 16],
    /// The life that the backup was of.
    pub parent_incarnation: [u8; 16],
    /// The last group.
    pub tip: Tip,
}

/// Copies the journal up to `tip`, which is synced, to an empty disk. The journal may go on meanwhile. `progress` gets the
/// bytes copied so far. What is derived from the journal is not copied: a restore could not tell whether it is right.
///
/// # Errors
/// [`JournalError::Backup`] if the target is not empty, or the disks'. What was copied stays, without a
/// manifest, and is no backup.
pub fn backup<D: Disk, T: Disk>(
    source: &D,
    tip: &Tip,
    target: &T,
    mut progress: impl FnMut(u64),
) -> Result<BackupReport> {
    refuse_used(target)?;
    let chain = files::load(source)?.chain;
    let count = chain.iter().take_while(|file| file.header.file <= tip.file).count();
    let Some(last) = chain[..count].last().filter(|file| file.header.file == tip.file) else {
        return Err(JournalError::Backup(format!("the journal has no file {}", tip.file)));
    };
    let mut manifest = Manifest::new(last.header.book, last.header.incarnation, last.header.journal, tip);
    let mut copied = 0;
    make_folder(target)?;
    for file in &chain[..count] {
        let length = (file.header.file == tip.file).then_some(tip.offset);
        let file = copy(source, &file.name, length, target, |bytes| {
            copied += bytes;
            progress(copied);
            Ok(())
        })?;
        manifest.files.push(file);
    }
    sync_folders(target)?;
    let file = target.create(TEMPORARY, Caching::Cached)?;
    file.write_at(0, manifest.to_text().as_bytes())?;
    file.sync()?;
    target.rename(TEMPORARY, MANIFEST_NAME)?;
    target.sync_folder("")?;
    Ok(BackupReport { files: manifest.files.len() as u64, bytes: copied, group: tip.number })
}

/// A step of a restore.
#[derive(Clone, Copy, Debug)]
pub enum RestoreStep<'a> {
    /// A group was checked.
    Checked(&'a Group, &'a VerifyProgress),
    /// Bytes were compared with the manifest or copied.
    Copied {
        /// So many so far.
        bytes: u64,
        /// Of so many: each is compared, then copied.
        bytes_total: u64,
    },
}

/// Checks a backup, every byte of it, and copies it to an empty disk, where it becomes another life of
/// the book: `incarnation` (random) with the backup's as its parent. `visit` gets every group while
/// it is checked, and may recompute what follows from it; then it hears how far the copy is. Its error stops the
/// restore.
///
/// # Errors
/// [`JournalError::Backup`], [`JournalError::Damaged`], the disks', or what `visit` returned. A target that was begun
/// and not finished does not open.
pub fn restore<D: Disk, T: Disk>(
    source: &D,
    target: &T,
    incarnation: [u8; 16],
    created: u64,
    mut visit: impl FnMut(RestoreStep<'_>) -> Result<()>,
) -> Result<Restored> {
    refuse_used(target)?;
    let manifest = read_manifest(source)?;
    let report = verify(source, None, |group, passed| visit(RestoreStep::Checked(group, passed)))?;
    let found = (report.header.book, report.header.incarnation, report.header.journal, report.tip.number);
    let said = (manifest.book, manifest.incarnation, manifest.journal, manifest.group);
    if found != said || report.tip.hash != manifest.hash || report.tip.entry != manifest.entry {
        let what = format!("its journal ends with group {}, and {MANIFEST_NAME} says another thing", report.tip.number);
        return Err(JournalError::Backup(what));
    }
    if incarnation == [0; 16] || report.incarnations.contains(&incarnation) {
        return Err(JournalError::Backup("a restore needs a new random incarnation".to_owned()));
    }
    let names: BTreeSet<&str> = manifest.files.iter().map(|file| file.name.as_str()).collect();
    let on_disk: BTreeSet<String> = source.list(FOLDER)?.into_iter().collect();
    if let Some(name) = on_disk.iter().find(|name| !names.contains(name.as_str())) {
        return Err(JournalError::Backup(format!("it has {name}, which {MANIFEST_NAME} does not name")));
    }
    let (mut bytes, bytes_total) = (0, 2 * manifest.files.iter().map(|file| file.length).sum::<u64>());
    let mut passed = |count: u64| {
        bytes += count;
        visit(RestoreStep::Copied { bytes, bytes_total })
    };
    for file in &manifest.files {
        check(source, file, &mut passed)?;
    }
    // Without its first file a journal does not open, so that one is written last: a restore that is
    // interrupted leaves nothing that could be taken for the old incarnation going on.
    let first = name_of(1);
    make_folder(target)?;
    let (last, others): (Vec<_>, Vec<_>) = manifest.files.iter().partition(|file| file.name == first);
    for file in others {
        expect(file, copy(source, &file.name, None, target, &mut passed)?)?;
    }
    let header = FileHeader {
        incarnation,
        parent_incarnation: report.header.incarnation,
        parent_number: report.tip.number,
        parent_hash: report.tip.hash,
        file: report.header.file + 1,
        created,
        writer: [0; 16],
        epoch: report.header.epoch + 1,
        first_group: report.tip.number + 1,
        first_entry: report.tip.entry + 1,
        previous_timestamp: report.tip.timestamp,
        previous_hash: report.tip.hash,
        ..report.header
    };
    write_birth(target, header)?;
    for file in last {
        expect(file, copy(source, &file.name, None, target, &mut passed)?)?;
    }
    sync_folders(target)?;
    let (book, parent_incarnation) = (manifest.book, manifest.incarnation);
    Ok(Restored { book, incarnation, parent_incarnation, tip: report.tip })
}

fn refuse_used<T: Disk>(target: &T) -> Result<()> {
    let journal = match target.list(FOLDER) {
        Ok(names) => names,
        Err(error) if error.is_missing() => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let root = target.list("")?;
    match journal.iter().chain(root.iter().filter(|name| *name != "LOCK")).next() {
        None => Ok(()),
        Some(name) => Err(JournalError::Backup(format!("the target must be empty, and holds {name}"))),
    }
}

fn read_manifest<D: Disk>(source: &D) -> Result<Manifest> {
    let file = match source.open(MANIFEST_NAME, Caching::Cached) {
        Ok(file) => file,
        Err(error) if error.is_missing() => {
            let what = format!("there is no {MANIFEST_NAME}: this is no backup, or one that was not finished");
            return Err(JournalError::Backup(what));
        }
        Err(error) => return Err(error.into()),
    };
    let mut text = vec![0; super::header::usize_of(file.length()?)];
    file.read_at(0, &mut text)?;
    let text = String::from_utf8(text).map_err(|_| JournalError::Backup(format!("{MANIFEST_NAME} is not text")))?;
    Manifest::parse(&text)
}

/// Reads a file up to `length` (or all of it) piece by piece; returns length and hash.
fn read_all<F: DiskFile>(
    file: &F,
    length: Option<u64>,
    mut each: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<(u64, super::Hash)> {
    let length = match length {
        Some(length) => length,
        None => file.length()?,
    };
    let mut chunk = AlignedBuffer::zeroed(COPY_BYTES);
    let (mut hasher, mut at) = (Sha256::new(), 0);
    while at < length {
        let count = usize::try_from(length - at).unwrap_or(COPY_BYTES).min(COPY_BYTES);
        file.read_at(at, &mut chunk[..count])?;
        hasher.update(&chunk[..count]);
        each(at, &chunk[..count])?;
        at += count as u64;
    }
    Ok((length, hasher.finalize().into()))
}

fn copy<D: Disk, T: Disk>(
    source: &D,
    name: &str,
    length: Option<u64>,
    target: &T,
    mut progress: impl FnMut(u64) -> Result<()>,
) -> Result<Copied> {
    let from = source.open(name, Caching::Direct)?;
    let to = target.create(name, Caching::Direct)?;
    let (length, hash) = read_all(&from, length, |at, bytes| {
        to.write_at(at, bytes)?;
        progress(bytes.len() as u64)
    })?;
    to.sync()?;
    Ok(Copied { hash, length, name: name.to_owned() })
}

fn check<D: Disk>(source: &D, file: &Copied, mut progress: impl FnMut(u64) -> Result<()>) -> Result<()> {
    let from = source.open(&file.name, Caching::Direct)?;
    let (length, hash) = read_all(&from, None, |_, bytes| progress(bytes.len() as u64))?;
    expect(file, Copied { hash, length, name: file.name.clone() })
}

fn expect(said: &Copied, found: Copied) -> Result<()> {
    if *said == found {
        return Ok(());
    }
    let what =
        format!("{} is not the file that {MANIFEST_NAME} describes: its length or its SHA-256 differs", said.name);
    Err(JournalError::Backup(what))
}

fn make_folder<T: Disk>(target: &T) -> Result<()> {
    target.create_folder(FOLDER)?;
    Ok(target.sync_folder("")?)
}

fn sync_folders<T: Disk>(target: &T) -> Result<()> {
    target.sync_folder("")?;
    Ok(target.sync_folder(FOLDER)?)
}
