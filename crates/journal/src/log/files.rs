//! The journal's files: their names, their headers, and how one follows another.

use super::header::Judged;
use super::{BLOCK_BYTES, FOLDER, FileHeader, JournalError, Result};
use crate::disk::{AlignedBuffer, BLOCK, Caching, Disk, DiskFile};

const SCAN_BYTES: usize = 1 << 20;

/// A file of the chain.
#[derive(Clone, Debug)]
pub(super) struct JournalFile {
    pub(super) name: String,
    pub(super) header: FileHeader,
    /// Whether its groups, if it has any, begin with an `epoch` entry.
    pub(super) begins_epoch: bool,
}

/// A file that is ready to be written and not yet of the chain: all zeros, or with a header that a crash tore.
#[derive(Clone, Debug)]
pub(super) struct Spare {
    pub(super) name: String,
    pub(super) length: u64,
    /// Why its header is not believed, if its first block is not all zeros.
    pub(super) torn: Option<&'static str>,
}

#[derive(Debug)]
pub(super) struct Files {
    /// At least one, the first a birth.
    pub(super) chain: Vec<JournalFile>,
    pub(super) spare: Option<Spare>,
}

/// The name of a journal's file by its number, as the disk knows it.
#[must_use]
pub fn name_of(sequence: u64) -> String {
    format!("{FOLDER}/{sequence:012}.qxj")
}

/// Lists the files and checks that each header follows the one before.
pub(super) fn load<D: Disk>(disk: &D) -> Result<Files> {
    let mut files = Files { chain: Vec::new(), spare: None };
    let names: Vec<String> = match disk.list(FOLDER) {
        Ok(names) => names.into_iter().filter(|name| name.ends_with(".qxj")).collect(),
        Err(error) if error.is_missing() => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let mut block = AlignedBuffer::zeroed(BLOCK);
    for (index, name) in names.iter().enumerate() {
        let sequence = index as u64 + 1;
        if *name != name_of(sequence) {
            let what = format!("{} should be here and is missing", name_of(sequence));
            return Err(JournalError::damaged(name, 0, what));
        }
        let file = disk.open(name, Caching::Cached)?;
        let length = file.length()?;
        if length < BLOCK_BYTES || !length.is_multiple_of(BLOCK_BYTES) {
            let what = format!("its length of {length} bytes is not a whole number of blocks, or none");
            return Err(JournalError::damaged(name, length, what));
        }
        file.read_at(0, &mut block)?;
        match FileHeader::judge(&block) {
            Judged::Good => {
                let header = FileHeader::of(&block);
                check_alone(name, sequence, &header, &block)?;
                let begins_epoch = match files.chain.last() {
                    Some(before) => check_follows(name, &before.header, &header)?,
                    None => check_first(name, &header)?,
                };
                files.chain.push(JournalFile { name: name.clone(), header, begins_epoch });
            }
            Judged::Newer(version) => {
                let file = name.clone();
                return Err(JournalError::NewerFormat { file, offset: 0, what: "file header", version });
            }
            Judged::Bad(what) if index + 1 < names.len() || index == 0 => {
                return Err(JournalError::damaged(name, 0, what));
            }
            Judged::Bad(what) => {
                let torn = block.iter().any(|byte| *byte != 0).then_some(what);
                files.spare = Some(Spare { name: name.clone(), length, torn });
            }
        }
    }
    if files.chain.is_empty() { Err(JournalError::Missing) } else { Ok(files) }
}

fn check_alone(name: &str, sequence: u64, header: &FileHeader, block: &[u8]) -> Result<()> {
    if header.file != sequence {
        return Err(JournalError::damaged(name, 0, format!("its header says that it is file {}", header.file)));
    }
    if header.flags != 0 || header.reserved != [0; 40] || block[FileHeader::SIZE..].iter().any(|byte| *byte != 0) {
        return Err(JournalError::damaged(name, 0, "a reserved part of its first block is not zero"));
    }
    Ok(())
}

fn check_first(name: &str, header: &FileHeader) -> Result<bool> {
    let begins = (header.epoch, header.first_group, header.first_entry, header.previous_timestamp);
    let nothing_before = header.previous_hash == [0; 32] && header.parent_number == 0 && header.parent_hash == [0; 32];
    if header.is_birth() && begins == (0, 1, 1, 0) && nothing_before && header.parent_incarnation == [0; 16] {
        return Ok(false);
    }
    Err(JournalError::damaged(name, 0, "its header is not that of a journal's first file"))
}

/// Checks one header against the one before; tells whether an epoch begins between them.
fn check_follows(name: &str, before: &FileHeader, header: &FileHeader) -> Result<bool> {
    let refuse = |what: &str| Err(JournalError::damaged(name, 0, what));
    if header.book != before.book || header.journal != before.journal {
        return refuse("it belongs to another book or journal than the file before");
    }
    if header.first_group < before.first_group || header.first_entry < before.first_entry {
        return refuse("its numbers lie before those of the file before");
    }
    let parent = |of: &FileHeader| (of.parent_incarnation, of.parent_number, of.parent_hash);
    if header.incarnation != before.incarnation {
        let cut = (before.incarnation, header.first_group - 1, header.previous_hash);
        if !header.is_birth() || parent(header) != cut || header.epoch <= before.epoch {
            return refuse("it begins another incarnation and does not name the one before as its parent");
        }
        return Ok(false);
    }
    if parent(header) != parent(before) || header.is_birth() {
        return refuse("it contradicts the file before about the incarnation they share");
    }
    if header.epoch == before.epoch {
        if header.writer != before.writer || header.release != before.release {
            return refuse("it has the epoch of the file before but another writer or release");
        }
        return Ok(false);
    }
    if header.epoch < before.epoch || header.writer == before.writer {
        return refuse("its epoch does not follow that of the file before");
    }
    Ok(true)
}

/// Where in a file, from `offset` on, the last block begins that is not all zeros.
pub(super) fn last_nonzero<F: DiskFile>(file: &F, offset: u64) -> Result<Option<u64>> {
    let mut last = None;
    scan(file, offset, |at, block| {
        if block.iter().any(|byte| *byte != 0) {
            last = Some(at);
        }
        Ok(())
    })?;
    Ok(last)
}

/// Calls `look` with each block of a file from `offset` on.
pub(super) fn scan<F: DiskFile>(file: &F, offset: u64, mut look: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
    let length = file.length()?;
    let bytes = usize::try_from(length.saturating_sub(offset)).unwrap_or(SCAN_BYTES).min(SCAN_BYTES);
    let mut chunk = AlignedBuffer::zeroed(bytes);
    let mut at = offset;
    while at < length {
        let count = usize::try_from(length - at).unwrap_or(SCAN_BYTES).min(chunk.len());
        file.read_at(at, &mut chunk[..count])?;
        for block in chunk[..count].chunks(BLOCK) {
            look(at, block)?;
            at += block.len() as u64;
        }
    }
    Ok(())
}

/// Checks that nothing was ever written into a spare file but, perhaps, a header.
pub(super) fn check_spare<D: Disk>(disk: &D, spare: &Spare) -> Result<()> {
    let file = disk.open(&spare.name, Caching::Direct)?;
    let why = spare.torn.unwrap_or("its header is missing");
    match last_nonzero(&file, BLOCK_BYTES)? {
        None => Ok(()),
        Some(at) => {
            let what = format!("{why}, and yet it was written to: the block at byte {at} is not zero");
            Err(JournalError::damaged(&spare.name, 0, what))
        }
    }
}
