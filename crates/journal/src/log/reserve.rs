//! Space that is ready before it is needed.
//!
//! A group is only accepted when there is room for it in files that are filled with zeros and synced:
//! so a full disk is known before anything depends on the write, and the write itself changes no
//! metadata. While one file is written the next is prepared, in the background.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::files::{Spare, name_of};
use super::marker::remove_if_there;
use super::{BLOCK_BYTES, FOLDER, Options, Result, Tip};
use crate::disk::{AlignedBuffer, Caching, Disk, DiskFile};

/// Written at once while a file is prepared.
const STEP_BYTES: u64 = 1 << 20;
const TEMPORARY: &str = "journal/next.tmp";

enum Next<F> {
    Absent,
    Preparing,
    Ready {
        file: F,
        bytes: u64,
    },
    /// It is being made the current one. Until its header is durable no other may follow it.
    Taken,
}

struct State<F> {
    /// Bytes of the files before the current one.
    before: u64,
    /// How far the current file is written, and its length; zeros before the first start.
    offset: u64,
    length: u64,
    /// Bytes that groups may still take in the current file.
    left: u64,
    /// Number of the file after the current one.
    sequence: u64,
    /// Length that it shall have.
    bytes: u64,
    next: Next<F>,
}

struct Inner<D: Disk> {
    disk: D,
    options: Options,
    state: Mutex<State<D::File>>,
}

/// Tells what can be written without new space, and prepares more. Clones share one journal.
pub struct Reserve<D: Disk> {
    inner: Arc<Inner<D>>,
}

impl<D: Disk> Clone for Reserve<D> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

/// In every file a block is kept for the entry that ends the journal: a full disk is no obstacle to a
/// clean shutdown.
pub(super) const KEPT_FOR_END: u64 = BLOCK_BYTES;

impl<D: Disk> Reserve<D> {
    pub(super) fn new(disk: &D, options: Options, last: &Tip, spare: Option<&Spare>) -> Result<Self> {
        let mut next = Next::Absent;
        if let Some(spare) = spare {
            // The options may have changed since it was prepared.
            if spare.length >= options.file_bytes_min() {
                next = Next::Ready { file: disk.open(&spare.name, Caching::Direct)?, bytes: spare.length };
            } else {
                disk.remove(&spare.name)?;
                disk.sync_folder(FOLDER)?;
            }
        }
        // At its start a journal cuts the last file to where it ends.
        let mut before = last.offset;
        for number in 1..last.file {
            before += disk.open(&name_of(number), Caching::Cached)?.length()?;
        }
        // A run of a small journal begins with a small file.
        let bytes =
            (before / 4).next_multiple_of(BLOCK_BYTES).clamp(options.file_bytes_least, options.file_bytes_first);
        let sequence = last.file + 1;
        let state = State { before, offset: 0, length: 0, left: 0, sequence, bytes, next };
        Ok(Self { inner: Arc::new(Inner { disk: disk.clone(), options, state: Mutex::new(state) }) })
    }

    fn state(&self) -> MutexGuard<'_, State<D::File>> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes on disk (padding included) that groups may take without new space. The sum of what was
    /// handed to [`Journal::append`](super::Journal::append) and is not yet done must not exceed it.
    #[must_use]
    pub fn reserved_bytes(&self) -> u64 {
        let state = self.state();
        match &state.next {
            Next::Ready { bytes, .. } => state.left.max(usable(*bytes)),
            _ => state.left,
        }
    }

    /// Bytes of the journal's files up to its end.
    #[must_use]
    pub fn journal_bytes(&self) -> u64 {
        let state = self.state();
        state.before + state.offset
    }

    /// Whether it is time for [`Reserve::prepare_next`]. If files are not made ready ahead: once a quarter of the current one
    /// is written, or the largest group would not fit into it any more.
    #[must_use]
    pub fn wants_file(&self) -> bool {
        let (state, options) = (self.state(), &self.inner.options);
        let is_far = state.left < options.group_bytes_max || state.offset >= state.length / 4;
        matches!(state.next, Next::Absent) && (options.is_ahead || is_far)
    }

    /// A job that prepares the next file; `None` if one is ready or being prepared. A job that is
    /// dropped before it is done leaves things as they were.
    #[must_use]
    pub fn prepare_next(&self) -> Option<PrepareJob<D>> {
        let mut state = self.state();
        if !matches!(state.next, Next::Absent) {
            return None;
        }
        state.next = Next::Preparing;
        let (sequence, bytes) = (state.sequence, state.bytes);
        drop(state);
        let zeros = AlignedBuffer::zeroed(super::header::usize_of(STEP_BYTES.min(bytes)));
        Some(PrepareJob { reserve: self.clone(), sequence, bytes, file: None, written: 0, zeros })
    }

    /// Prepares the next file now, if there is none.
    ///
    /// # Errors
    /// [`JournalError::is_full`](super::JournalError::is_full) if there is no space; then nothing has changed.
    pub fn prepare_now(&self) -> Result<()> {
        let least = self.inner.options.file_bytes_min();
        match self.try_prepare() {
            // What the last run has given back is enough for a short file.
            Err(error) if error.is_full() && self.state().bytes > least => {
                self.state().bytes = least;
                self.try_prepare()
            }
            done => done,
        }
    }

    fn try_prepare(&self) -> Result<()> {
        let Some(mut job) = self.prepare_next() else { return Ok(()) };
        while let Progress::Working { .. } = job.step()? {}
        Ok(())
    }

    /// The next file becomes the current one: its number, its handle, its length.
    pub(super) fn take_next(&self, need: u64) -> Option<(u64, D::File, u64)> {
        let mut state = self.state();
        match core::mem::replace(&mut state.next, Next::Taken) {
            Next::Ready { file, bytes } if usable(bytes) >= need => {
                let sequence = state.sequence;
                state.sequence += 1;
                state.before += state.length;
                (state.offset, state.length) = (0, 0);
                // Not twice this file's: a run may find one ready that a longer run wanted.
                state.bytes =
                    (2 * state.bytes).clamp(self.inner.options.file_bytes_least, self.inner.options.file_bytes_max);
                state.left = 0;
                Some((sequence, file, bytes))
            }
            other => {
                state.next = other;
                None
            }
        }
    }

    /// States how far the current file is written; its header is durable.
    pub(super) fn set_position(&self, offset: u64, length: u64) {
        let mut state = self.state();
        (state.offset, state.length) = (offset, length);
        state.left = length.saturating_sub(offset).saturating_sub(KEPT_FOR_END);
        if matches!(state.next, Next::Taken) {
            state.next = Next::Absent;
        }
    }
}

/// Bytes that groups may take in a file of this length: without its header and the block for the end.
fn usable(length: u64) -> u64 {
    length.saturating_sub(BLOCK_BYTES + KEPT_FOR_END)
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to do.
    Working {
        /// Bytes written.
        written: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The file is ready.
    Done,
}

/// Prepares a file in bounded steps: zeros, sync, and only then its name.
pub struct PrepareJob<D: Disk> {
    reserve: Reserve<D>,
    sequence: u64,
    bytes: u64,
    file: Option<D::File>,
    written: u64,
    /// What is written, again and again: memory made anew for each step cost more than the writing.
    zeros: AlignedBuffer,
}

impl<D: Disk> PrepareJob<D> {
    /// Does the next piece: about a MiB of zeros, or the last: the sync and the name.
    ///
    /// # Errors
    /// [`JournalError::is_full`](super::JournalError::is_full) if there is no space. Drop the job then; what it
    /// wrote is removed, and another can be made once there is space.
    pub fn step(&mut self) -> Result<Progress> {
        let disk = &self.reserve.inner.disk;
        let file = match self.file.take() {
            Some(file) => self.file.insert(file),
            None => {
                remove_if_there(disk, TEMPORARY)?;
                self.file.insert(disk.create(TEMPORARY, Caching::Direct)?)
            }
        };
        if self.written < self.bytes {
            let count = STEP_BYTES.min(self.bytes - self.written);
            file.write_at(self.written, &self.zeros[..super::header::usize_of(count)])?;
            self.written += count;
            return Ok(Progress::Working { written: self.written, total: self.bytes });
        }
        file.sync()?;
        disk.rename(TEMPORARY, &name_of(self.sequence))?;
        disk.sync_folder(FOLDER)?;
        let file = disk.open(&name_of(self.sequence), Caching::Direct)?;
        self.reserve.state().next = Next::Ready { file, bytes: self.bytes };
        self.file = None;
        self.bytes = 0;
        Ok(Progress::Done)
    }
}

impl<D: Disk> Drop for PrepareJob<D> {
    fn drop(&mut self) {
        let mut state = self.reserve.state();
        if self.bytes == 0 || !matches!(state.next, Next::Preparing) {
            return;
        }
        state.next = Next::Absent;
        drop(state);
        self.file = None;
        // Gives the space back. If that fails too, the next job or the next start removes it.
        _ = remove_if_there(&self.reserve.inner.disk, TEMPORARY);
    }
}
