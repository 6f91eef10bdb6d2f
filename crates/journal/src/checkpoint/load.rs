//! Finds the newest checkpoint that is whole, and restores the store from it and the sealed files.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use qenex_kernel::row::{Account, AccountTerms};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use super::format::{FOLDER, MAGIC, MANIFEST_LENGTH, Manifest, SECTIONS, Section, VERSION};
use super::{PendingRow, Position, SealedFile, sha256};
use crate::derived::{Cache, LedgerStore, Options, SealedKeys, SealedSegment};
use crate::disk::{Caching, Disk, DiskFile, Result};

/// Sealed files that may be read before their keys are wanted.
const SEGMENTS_AHEAD: usize = 1;

/// A checkpoint that could not be used, and why. The state can always be had from the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Of the checkpoint's file.
    pub name: String,
    /// What is wrong with it, or with a sealed file that it needs.
    pub what: String,
}

/// A store restored.
#[derive(Debug)]
pub struct Loaded<D: Disk> {
    /// As it was right after the position's entry.
    pub store: LedgerStore<D>,
    /// Where the replay goes on.
    pub position: Position,
    /// The sessions' rows, as the engine handed them.
    pub sessions: Vec<u8>,
    /// The configuration, as the engine handed it.
    pub configuration: Vec<u8>,
}

/// The group that the newest checkpoint stands on whose manifest is whole, 0 if there is none: the journal reaches at
/// least so far.
///
/// # Errors
/// The disk's, when the folder cannot even be listed.
pub fn newest_group<D: Disk>(disk: &D) -> Result<u64> {
    let manifest = names(disk)?.iter().rev().find_map(|name| {
        let file = disk.open(name, Caching::Cached).ok()?;
        read_manifest(&file).ok()
    });
    Ok(manifest.map_or(0, |manifest| manifest.position.group))
}

fn names<D: Disk>(disk: &D) -> Result<Vec<String>> {
    let mut names = match disk.list(FOLDER) {
        Err(error) if error.is_missing() => Vec::new(),
        names => names?,
    };
    names.retain(|name| name.ends_with(".qxc"));
    Ok(names)
}

/// Restores the newest checkpoint that is whole and that `judge` has nothing against. `None` means that the journal is replayed from its beginning. The
/// checkpoints that had to be passed over are told in `passed_over`.
///
/// # Errors
/// The disk's, when the folder cannot even be listed.
pub fn load<D: Disk>(
    disk: &D,
    book: [u8; 16],
    options: Options,
    judge: impl Fn(&Position) -> core::result::Result<(), String>,
    passed_over: &mut Vec<PassedOver>,
) -> Result<Option<Loaded<D>>> {
    for name in names(disk)?.into_iter().rev() {
        match load_one(disk, book, options, &name, &judge) {
            Ok(loaded) => return Ok(Some(loaded)),
            Err(what) => passed_over.push(PassedOver { name, what }),
        }
    }
    Ok(None)
}

fn load_one<D: Disk>(
    disk: &D,
    book: [u8; 16],
    options: Options,
    name: &str,
    judge: impl Fn(&Position) -> core::result::Result<(), String>,
) -> core::result::Result<Loaded<D>, String> {
    let file = disk.open(name, Caching::Cached).map_err(|e| e.to_string())?;
    let manifest = read_manifest(&file)?;
    if manifest.book != book {
        return Err("it is another book's".to_owned());
    }
    judge(&manifest.position)?;
    let [accounts, pending, terms, sessions, configuration, files] = manifest.table;
    let accounts: Vec<Account> = read_rows(&file, &accounts)?;
    let pending: Vec<PendingRow> = read_rows(&file, &pending)?;
    let terms: Vec<AccountTerms> = read_rows(&file, &terms)?;
    let sessions = read_bytes(&file, &sessions)?;
    let configuration = read_bytes(&file, &configuration)?;
    let files: Vec<SealedFile> = read_rows(&file, &files)?;
    let mut store = LedgerStore::new(disk.clone(), book, options);
    restore_segments(disk, book, &mut store, files)?;
    store.restore_rows(&accounts, &pending, &terms)?;
    Ok(Loaded { store, position: manifest.position, sessions, configuration })
}

/// Takes the sealed files in. One thread reads and judges them, this one adds their keys to the directory.
fn restore_segments<D: Disk>(
    disk: &D,
    book: [u8; 16],
    store: &mut LedgerStore<D>,
    files: Vec<SealedFile>,
) -> core::result::Result<(), String> {
    let (disk, cache) = (disk.clone(), Arc::clone(&store.cache));
    let (sender, receiver) = sync_channel(SEGMENTS_AHEAD);
    let read = move || {
        for (number, expected) in (0u32..).zip(&files) {
            let segment = read_segment(&disk, book, number, expected, &cache);
            let failed = segment.is_err();
            if sender.send(segment).is_err() || failed {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("segments-read".to_owned()).spawn(read);
    let thread = thread.map_err(|error| format!("cannot start a thread: {error}"))?;
    let done = receiver.into_iter().try_for_each(|read| {
        let (segment, keys) = read?;
        store.restore_segment(segment, &keys).map_err(|error| error.to_string())
    });
    thread.join().map_or_else(|panic| std::panic::resume_unwind(panic), |()| done)
}

/// Opens a sealed file, and reads what the directory needs of it.
fn read_segment<D: Disk>(
    disk: &D,
    book: [u8; 16],
    number: u32,
    expected: &SealedFile,
    cache: &Arc<Mutex<Cache>>,
) -> core::result::Result<(SealedSegment<D>, SealedKeys), String> {
    let open = || SealedSegment::open(disk, book, number, Some(expected.sha256), Arc::clone(cache));
    let segment = open().map_err(|error| error.to_string())?;
    if expected.number != number || segment.length() != expected.length {
        return Err(format!("sealed segment {number} has {} bytes, not {}", segment.length(), expected.length));
    }
    let keys = segment.keys_for_directory().map_err(|error| error.to_string())?;
    Ok((segment, keys))
}

fn read_manifest<F: DiskFile>(file: &F) -> core::result::Result<Manifest, String> {
    let length = file.length().map_err(|e| e.to_string())?;
    let offset = length.checked_sub(MANIFEST_LENGTH as u64).ok_or("it is shorter than a manifest")?;
    let mut manifest = Manifest::new_zeroed();
    file.read_at(offset, manifest.as_mut_bytes()).map_err(|e| e.to_string())?;
    if manifest.magic != MAGIC || manifest.sha256 != manifest.digest() || manifest.file_length != length {
        return Err("its manifest is damaged or missing".to_owned());
    }
    if manifest.version != VERSION || manifest.sections as usize != SECTIONS {
        return Err(format!("its version is {}, this release reads {VERSION}", manifest.version));
    }
    for (place, section) in (1u16..).zip(&manifest.table) {
        if section.kind != place || section.version != 1 {
            return Err(format!("section {} of version {} is unknown", section.kind, section.version));
        }
    }
    Ok(manifest)
}

fn read_bytes<F: DiskFile>(file: &F, section: &Section) -> core::result::Result<Vec<u8>, String> {
    let bytes = section.count.checked_mul(u64::from(section.row_size)).and_then(|bytes| usize::try_from(bytes).ok());
    let mut rows = vec![0; bytes.ok_or("a section is too long")?];
    file.read_at(section.offset, &mut rows).map_err(|e| e.to_string())?;
    check(section, &rows)?;
    Ok(rows)
}

fn read_rows<T: FromBytes + IntoBytes + Immutable, F: DiskFile>(
    file: &F,
    section: &Section,
) -> core::result::Result<Vec<T>, String> {
    if section.row_size as usize != size_of::<T>() {
        return Err(format!("section {} has rows of {} bytes", section.kind, section.row_size));
    }
    let count = usize::try_from(section.count).map_err(|_| "a section is too long")?;
    let mut rows = T::new_vec_zeroed(count).map_err(|_| "no memory for a section")?;
    file.read_at(section.offset, rows.as_mut_slice().as_mut_bytes()).map_err(|e| e.to_string())?;
    check(section, rows.as_bytes())?;
    Ok(rows)
}

fn check(section: &Section, bytes: &[u8]) -> core::result::Result<(), String> {
    if sha256(bytes) == section.sha256 {
        return Ok(());
    }
    Err(format!("section {} does not match its SHA-256", section.kind))
}
