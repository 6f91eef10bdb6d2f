//! What is done with the end of a journal after a crash.
//!
//! A crash can leave the one group torn that was being written. It was never acknowledged, so it may
//! go; anything else that is not as it was written is damage, and damage is for people to look at.

use super::files::{self, Files, JournalFile, Spare};
use super::header::{CleanMarker, Judged};
use super::reader::{GroupStream, Step, Tip};
use super::{BLOCK_BYTES, FOLDER, GroupHeader, JournalError, Result, marker};
use crate::disk::{AlignedBuffer, BLOCK, Caching, Disk, DiskFile};

/// A torn group that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The number it had or would have had.
    pub number: u64,
    /// The file it was cut from.
    pub file: String,
    /// Where it began.
    pub offset: u64,
    /// How many bytes were cut, to the last block that was not zero.
    pub bytes: u64,
    /// Why it is not believed.
    pub why: String,
    /// The file that keeps the bytes.
    pub kept: String,
}

/// How a journal was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The last group.
    pub tip: Tip,
    /// Whether the last user shut down cleanly.
    pub clean: bool,
    /// The torn group, if there was one.
    pub cut: Option<Cut>,
    /// How many files the journal has.
    pub files: u64,
}

/// A journal whose end is sound: what [`super::Journal::open`] goes on from.
pub(super) struct Recovered {
    pub(super) last: JournalFile,
    pub(super) spare: Option<Spare>,
    pub(super) recovery: Recovery,
}

/// Finds the end of the journal, cutting off what a crash tore. `floor` is the highest group that
/// something else (a checkpoint) knows to have been durable.
pub(super) fn recover<D: Disk>(disk: &D, floor: u64) -> Result<Recovered> {
    let Files { chain, mut spare } = files::load(disk)?;
    let count = chain.len() as u64;
    let last = chain[chain.len() - 1].clone();
    let clean = marker::read(disk)?;
    let mut stream = GroupStream::new(disk, chain, usize::try_from(count - 1).expect("counted in memory"));
    let step = loop {
        match stream.step()? {
            Step::Group(_) => {}
            step => break step,
        }
    };
    let mut tip = *stream.tip();
    let mut cut = None;
    if let Some(clean) = &clean {
        check_clean(disk, clean, &last, &tip)?;
        tip.ended = true;
    } else {
        cut = find_torn(disk, &last, &tip, &step, floor)?;
    }
    if tip.number < floor {
        let what = format!("group {floor} was durable once, and the journal ends after group {}", tip.number);
        return Err(JournalError::damaged(&last.name, tip.offset, what));
    }
    if let Some(spare) = &mut spare {
        files::check_spare(disk, spare)?;
        // From here on nothing can be refused: what a crash left is set right.
        if spare.torn.take().is_some() {
            let file = disk.open(&spare.name, Caching::Direct)?;
            file.write_at(0, &AlignedBuffer::zeroed(BLOCK))?;
            file.sync()?;
        }
    }
    if let Some(cut) = &cut {
        cut_off(disk, cut)?;
    }
    let recovery = Recovery { tip, clean: clean.is_some(), cut, files: count };
    Ok(Recovered { last, spare, recovery })
}

/// After a clean shutdown nothing may be missing and nothing may follow.
pub(super) fn check_clean<D: Disk>(disk: &D, clean: &CleanMarker, last: &JournalFile, tip: &Tip) -> Result<()> {
    marker::check(clean, &last.header, tip, &last.name)?;
    let file = disk.open(&last.name, Caching::Direct)?;
    if let Some(at) = files::last_nonzero(&file, tip.offset)? {
        let what =
            format!("after a clean shutdown nothing follows the last group, and the block at byte {at} is not zero");
        return Err(JournalError::damaged(&last.name, tip.offset, what));
    }
    Ok(())
}

/// What a crash tore: everything after the tip, if it is not all zeros and may be cut off.
pub(super) fn find_torn<D: Disk>(
    disk: &D,
    last: &JournalFile,
    tip: &Tip,
    step: &Step,
    floor: u64,
) -> Result<Option<Cut>> {
    let file = disk.open(&last.name, Caching::Direct)?;
    let Some(end) = files::last_nonzero(&file, tip.offset)? else { return Ok(None) };
    let why = match step {
        Step::Torn(why) => *why,
        _ => "its first block is missing",
    };
    let number = tip.number + 1;
    let refuse =
        |what: String| Err(JournalError::damaged(&last.name, tip.offset, format!("group {number}: {why}, {what}")));
    let committed = tip.committed.max(floor);
    if number <= committed {
        return refuse(format!("and it was durable once: group {committed} was"));
    }
    let mut later = None;
    files::scan(&file, tip.offset + BLOCK_BYTES, |at, block| {
        if later.is_none() && is_later(block, last, tip) {
            later = Some(at);
        }
        Ok(())
    })?;
    if let Some(at) = later {
        return refuse(format!("and yet a group follows it at byte {at}: no crash does that"));
    }
    let kept = format!("{FOLDER}/cut-{:012}-{number}.bin", last.header.file);
    let (file, offset) = (last.name.clone(), tip.offset);
    Ok(Some(Cut { number, file, offset, bytes: end + BLOCK_BYTES - offset, why: why.to_owned(), kept }))
}

/// Whether a block begins a group that this file's writer wrote after the tip. Rows that a client sent
/// cannot pass for one, for no client knows the writer.
fn is_later(block: &[u8], last: &JournalFile, tip: &Tip) -> bool {
    match GroupHeader::judge(block) {
        Judged::Good => {
            let header = GroupHeader::of(block);
            (header.writer, header.book) == (last.header.writer, last.header.book) && header.number > tip.number
        }
        // What a later version wrote is not ours to cut; it carries its writer where ours does.
        Judged::Newer(_) => GroupHeader::of(block).writer == last.header.writer,
        Judged::Bad(_) => false,
    }
}

/// Keeps the torn bytes aside, then cuts the file. A crash in between repeats both.
fn cut_off<D: Disk>(disk: &D, cut: &Cut) -> Result<()> {
    let file = disk.open(&cut.file, Caching::Direct)?;
    let temporary = format!("{FOLDER}/cut.tmp");
    marker::remove_if_there(disk, &temporary)?;
    let copy = disk.create(&temporary, Caching::Direct)?;
    let end = cut.offset + cut.bytes;
    files::scan(&file, cut.offset, |at, block| {
        if at < end {
            copy.write_at(at - cut.offset, block)?;
        }
        Ok(())
    })?;
    copy.sync()?;
    disk.rename(&temporary, &cut.kept)?;
    disk.sync_folder(FOLDER)?;
    file.set_length(cut.offset)?;
    Ok(file.sync()?)
}
