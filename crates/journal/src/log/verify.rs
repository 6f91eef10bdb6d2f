//! Walks a journal from its first byte to its last.

use super::files::{self, JournalFile};
use super::reader::{GroupStream, Step, Tip};
use super::{EntryKind, FileHeader, Group, JournalError, Result, marker, recovery};
use crate::disk::{Caching, Disk, DiskFile};

/// How far a walk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Files begun.
    pub files: u64,
    /// Files in all.
    pub files_total: u64,
    /// Groups passed.
    pub groups: u64,
    /// Entries passed.
    pub entries: u64,
    /// Rows passed.
    pub rows: u64,
    /// Bytes passed, paddings and unused ends of files included.
    pub bytes: u64,
    /// Bytes in all.
    pub bytes_total: u64,
}

/// How a journal ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a clean shutdown.
    Clean,
    /// After a whole group: it is being written, or its writer was killed between two.
    Open,
    /// After a whole group follow bytes that are none: one is being written, or a crash tore it. The
    /// next start cuts it off or refuses it.
    Torn {
        /// The file.
        file: String,
        /// Where the bytes begin.
        offset: u64,
        /// Why they are not believed.
        why: String,
    },
    /// At the group that was asked for as the last.
    Asked,
}

/// What a walk found. It found no damage, or there would be no report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    /// What was passed.
    pub passed: VerifyProgress,
    /// The last group.
    pub tip: Tip,
    /// The lives of the book, in order, the last the present one.
    pub incarnations: Vec<[u8; 16]>,
    /// The newest file's header.
    pub header: FileHeader,
    /// How it ends.
    pub ending: Ending,
}

/// Walks the journal up to group `until` (or its end), checking every hash, number, timestamp, length and
/// padding. `visit` gets every group in order and may recompute what follows from it. Changes nothing, needs no
/// lock; of a journal that is being written, pass the last group known to be synced as `until`.
///
/// # Errors
/// The first thing that does not hold, with file and offset; or what `visit` returned.
pub fn verify<D: Disk>(
    disk: &D,
    until: Option<u64>,
    mut visit: impl FnMut(&Group, &VerifyProgress) -> Result<()>,
) -> Result<VerifyReport> {
    let loaded = files::load(disk)?;
    let header = loaded.chain[loaded.chain.len() - 1].header;
    let mut incarnations: Vec<[u8; 16]> = loaded.chain.iter().map(|file| file.header.incarnation).collect();
    incarnations.dedup();
    let mut passed = VerifyProgress { files: 1, files_total: loaded.chain.len() as u64, ..VerifyProgress::default() };
    for file in &loaded.chain {
        passed.bytes_total += disk.open(&file.name, Caching::Cached)?.length()?;
    }
    let until = until.unwrap_or(u64::MAX);
    let mut stream = GroupStream::new(disk, loaded.chain, 0);
    let (mut file_begin, mut applied) = (0, 0);
    let step = loop {
        if stream.tip().number >= until {
            let report = VerifyReport { passed, tip: *stream.tip(), incarnations, header, ending: Ending::Asked };
            return Ok(report);
        }
        let (before, committed) = (stream.tip().timestamp, stream.tip().committed);
        match stream.step()? {
            Step::Group(group) => {
                let head = group.header();
                if head.committed < committed || (head.applied != 0 && head.applied < applied) {
                    let what =
                        format!("group {} takes back what the one before said of committed or applied", head.number);
                    return Err(JournalError::damaged(&stream.file().name, group.place().1, what));
                }
                applied = applied.max(head.applied);
                passed.rows += check_timestamps(&group, before, &stream.file().name)?;
                passed.groups += 1;
                passed.entries += u64::from(head.entries);
                passed.bytes = file_begin + stream.tip().offset;
                visit(&group, &passed)?;
            }
            step => {
                let (name, offset) = (stream.file().name.clone(), stream.tip().offset);
                if !stream.next_file(&step)? {
                    break step;
                }
                let file = disk.open(&name, Caching::Direct)?;
                if let Some(at) = files::last_nonzero(&file, offset)? {
                    let what =
                        format!("nothing follows the last group of a file, and the block at byte {at} is not zero");
                    return Err(JournalError::damaged(&name, offset, what));
                }
                file_begin += file.length()?;
                passed.bytes = file_begin;
                passed.files += 1;
            }
        }
    };
    let tip = *stream.tip();
    if until != u64::MAX {
        let what = format!("the journal should go on to group {until} and ends after {}", tip.number);
        return Err(JournalError::damaged(&stream.file().name, tip.offset, what));
    }
    if let Some(spare) = &loaded.spare {
        files::check_spare(disk, spare)?;
    }
    let ending = ending(disk, &step, &tip, stream.file())?;
    Ok(VerifyReport { passed, tip, incarnations, header, ending })
}

/// A command of n rows is at least n later than the entry before: each of its events has a time of its
/// own. Returns the rows of all commands.
fn check_timestamps(group: &Group, mut before: u64, file: &str) -> Result<u64> {
    let mut rows = 0;
    for entry in group.entries() {
        let count = u64::from(entry.header.rows);
        if entry.header.kind == EntryKind::Command.number() {
            rows += count;
            if entry.header.timestamp - before < count {
                let what = format!("entry {} leaves no time for its {count} rows", entry.header.number);
                return Err(JournalError::damaged(file, group.place().1, what));
            }
        }
        before = entry.header.timestamp;
    }
    Ok(rows)
}

fn ending<D: Disk>(disk: &D, step: &Step, tip: &Tip, last: &JournalFile) -> Result<Ending> {
    if let Some(clean) = marker::read(disk)? {
        recovery::check_clean(disk, &clean, last, tip)?;
        return Ok(Ending::Clean);
    }
    Ok(match recovery::find_torn(disk, last, tip, step, 0)? {
        None => Ending::Open,
        Some(torn) => Ending::Torn { file: torn.file, offset: torn.offset, why: torn.why },
    })
}
