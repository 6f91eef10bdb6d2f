//! Reads groups back, in order, and checks everything on the way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use super::files::{self, JournalFile};
use super::group::{Group, Malformed, check_entries};
use super::header::{EpochRow, Hash, Judged, sha256, usize_of};
use super::{BLOCK_BYTES, EntryKind, FileHeader, GroupHeader, JournalError, Result};
use crate::disk::{AlignedBuffer, BLOCK, Caching, Disk, DiskFile};

/// Read at once: enough to keep a disk busy, little enough to stay in the processor's cache.
const CHUNK_BYTES: u64 = 2 << 20;
/// Chunks that wait between the reading thread and the one that applies.
const CHUNKS_AHEAD: usize = 3;

/// A position: the last group passed, and where the next one goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Number of the group; 0: none yet.
    pub number: u64,
    /// Its chain hash; zeros if there is none.
    pub hash: Hash,
    /// Number of its last entry.
    pub entry: u64,
    /// Timestamp of its last entry, UTC nanoseconds.
    pub timestamp: u64,
    /// The epoch it was written in.
    pub epoch: u64,
    /// The highest group that a writer stated to be durable.
    pub committed: u64,
    /// Whether its last entry is a clean shutdown.
    pub ended: bool,
    /// Number of the file.
    pub file: u64,
    /// Byte in the file after the group's padding.
    pub offset: u64,
}

impl Tip {
    /// Right before the first group of a file.
    pub(super) fn before(header: &FileHeader) -> Self {
        Self {
            number: header.first_group - 1,
            hash: header.previous_hash,
            entry: header.first_entry - 1,
            timestamp: header.previous_timestamp,
            epoch: header.epoch,
            committed: 0,
            ended: false,
            file: header.file,
            offset: BLOCK_BYTES,
        }
    }
}

/// What lies at a position.
pub(super) enum Step {
    Group(Group),
    /// A block of zeros, or the end of the file.
    Nothing,
    /// Bytes that are not a whole group, as a crash leaves them.
    Torn(&'static str),
}

/// Reads groups from a position on.
pub struct GroupStream<D: Disk> {
    disk: D,
    chain: Vec<JournalFile>,
    index: usize,
    file: Option<D::File>,
    length: u64,
    tip: Tip,
    /// What [`GroupStream::position`] tells: `tip`, or before the group that is held.
    position: Tip,
    held: Option<Group>,
    bodies_from: u64,
    until: u64,
    failed: bool,
    chunk: Arc<AlignedBuffer>,
    chunk_start: u64,
    chunk_bytes: u64,
    used: VecDeque<Arc<AlignedBuffer>>,
}

/// Reads from the group that holds entry `from_entry` up to group `until`, which must be there. Groups
/// before are chained up from the beginning of their file by their headers alone.
///
/// # Errors
/// [`JournalError`], also from each step: what is damaged, with file and offset.
pub fn read<D: Disk>(disk: &D, from_entry: u64, until: u64) -> Result<GroupStream<D>> {
    let chain = files::load(disk)?.chain;
    let index = chain.iter().rposition(|file| file.header.first_entry <= from_entry).unwrap_or(0);
    let mut stream = GroupStream::new(disk, chain, index);
    stream.until = until;
    stream.bodies_from = from_entry;
    loop {
        stream.position = stream.tip;
        match stream.advance()? {
            Some(group) if group.header().last_entry() < from_entry => {}
            found => {
                stream.held = found;
                return Ok(stream);
            }
        }
    }
}

impl<D: Disk> GroupStream<D> {
    /// From the beginning of the file at `index` of the chain, without a bound.
    pub(super) fn new(disk: &D, chain: Vec<JournalFile>, index: usize) -> Self {
        let tip = Tip::before(&chain[index].header);
        Self {
            disk: disk.clone(),
            chain,
            index,
            file: None,
            length: 0,
            tip,
            position: tip,
            held: None,
            bodies_from: 0,
            until: u64::MAX,
            failed: false,
            chunk: Arc::new(AlignedBuffer::zeroed(0)),
            chunk_start: 0,
            chunk_bytes: 0,
            used: VecDeque::new(),
        }
    }

    /// Right after the last group that was handed out (at first: before the first).
    #[must_use]
    pub fn position(&self) -> &Tip {
        &self.position
    }

    pub(super) fn tip(&self) -> &Tip {
        &self.tip
    }

    pub(super) fn file(&self) -> &JournalFile {
        &self.chain[self.index]
    }

    /// The next group, or `None` after the last.
    ///
    /// # Errors
    /// [`JournalError`], also if the journal ends before the group that was asked for as the last.
    pub fn next_group(&mut self) -> Result<Option<Group>> {
        let next = match self.held.take() {
            Some(group) => Some(group),
            None => self.advance()?,
        };
        self.position = self.tip;
        Ok(next)
    }

    fn advance(&mut self) -> Result<Option<Group>> {
        if self.tip.number >= self.until {
            return Ok(None);
        }
        loop {
            let step = self.step()?;
            if let Step::Group(group) = step {
                return Ok(Some(group));
            }
            if !self.next_file(&step)? {
                let what =
                    format!("the journal should go on to group {} and ends after {}", self.until, self.tip.number);
                return Err(JournalError::damaged(&self.file().name, self.tip.offset, what));
            }
        }
    }

    /// Goes on to the next file, if there is one; it must follow what was read.
    pub(super) fn next_file(&mut self, step: &Step) -> Result<bool> {
        let Some(next) = self.chain.get(self.index + 1) else { return Ok(false) };
        let header = &next.header;
        let there = (header.first_group - 1, header.previous_hash, header.first_entry - 1, header.previous_timestamp);
        let here = (self.tip.number, self.tip.hash, self.tip.entry, self.tip.timestamp);
        if there != here {
            let what = match step {
                Step::Torn(what) => (*what).to_owned(),
                _ if header.first_group - 1 > self.tip.number => {
                    format!("group {} should be here and is missing", self.tip.number + 1)
                }
                _ => format!("its last group is not the one that {} says it is", next.name),
            };
            return Err(JournalError::damaged(&self.file().name, self.tip.offset, what));
        }
        if let Step::Torn(what) = step {
            let what = format!("{what}, after the last group");
            return Err(JournalError::damaged(&self.file().name, self.tip.offset, what));
        }
        self.tip = Tip { committed: self.tip.committed, ended: self.tip.ended, ..Tip::before(header) };
        self.index += 1;
        self.file = None;
        Ok(true)
    }

    /// Makes sure that `need` bytes at the tip are in memory; tells where they begin in the chunk.
    fn load(&mut self, need: u64) -> Result<usize> {
        let offset = self.tip.offset;
        let inside = offset >= self.chunk_start && offset + need <= self.chunk_start + self.chunk_bytes;
        if inside {
            return Ok(usize_of(offset - self.chunk_start));
        }
        let bytes = need.max(CHUNK_BYTES).min(self.length - offset);
        let mut chunk = self.take_buffer(usize_of(bytes));
        let memory = Arc::get_mut(&mut chunk).expect("nobody else has it");
        let file = self.file.as_ref().expect("open since its length is known");
        file.read_at(offset, &mut memory[..usize_of(bytes)])?;
        self.used.push_back(core::mem::replace(&mut self.chunk, chunk));
        (self.chunk_start, self.chunk_bytes) = (offset, bytes);
        Ok(0)
    }

    /// A buffer whose groups are all done with, or a new one.
    fn take_buffer(&mut self, bytes: usize) -> Arc<AlignedBuffer> {
        let free = self.used.iter_mut().position(|buffer| buffer.len() >= bytes && Arc::get_mut(buffer).is_some());
        if let Some(buffer) = free.and_then(|index| self.used.remove(index)) {
            return buffer;
        }
        self.used.truncate(2 * CHUNKS_AHEAD);
        Arc::new(AlignedBuffer::zeroed(bytes))
    }

    /// Looks at what lies at the tip and, if it is a group that follows, passes it.
    ///
    /// # Errors
    /// Damage that no crash explains: a header that can be believed and does not follow.
    pub(super) fn step(&mut self) -> Result<Step> {
        if self.file.is_none() {
            let file = self.disk.open(&self.file().name, Caching::Direct)?;
            self.length = file.length()?;
            self.file = Some(file);
            self.chunk_bytes = 0;
        }
        if self.tip.offset >= self.length {
            return Ok(Step::Nothing);
        }
        let at = self.load(BLOCK_BYTES)?;
        let block = &self.chunk[at..at + BLOCK];
        match GroupHeader::judge(block) {
            Judged::Good => {}
            Judged::Bad(_) if block.iter().all(|byte| *byte == 0) => return Ok(Step::Nothing),
            Judged::Bad(what) => return Ok(Step::Torn(what)),
            Judged::Newer(version) => {
                let (file, offset) = (self.file().name.clone(), self.tip.offset);
                return Err(JournalError::NewerFormat { file, offset, what: "group header", version });
            }
        }
        let header = GroupHeader::of(block);
        self.check_header(&header)?;
        let begins_epoch = self.file().begins_epoch && header.number == self.file().header.first_group;
        let start = if header.last_entry() >= self.bodies_from {
            let start = self.load(header.disk_bytes())?;
            let bytes = &self.chunk[start + GroupHeader::SIZE..start + usize_of(header.disk_bytes())];
            let (body, padding) = bytes.split_at(usize_of(header.body_length));
            if sha256(body) != header.body_hash {
                return Ok(Step::Torn("the hash of its body does not match"));
            }
            if padding.iter().any(|byte| *byte != 0) {
                return Ok(Step::Torn("its padding is not zero"));
            }
            check_entries(&header, body).map_err(|malformed| self.malformed(malformed))?;
            start
        } else {
            at
        };
        let hash = header.chain_hash();
        let group = Group::new(self.chunk.clone(), start, hash, self.tip.file, self.tip.offset);
        let ended =
            if header.last_entry() >= self.bodies_from { self.check_kinds(&group, begins_epoch)? } else { false };
        self.tip = Tip {
            number: header.number,
            hash,
            entry: header.last_entry(),
            timestamp: header.timestamp_last,
            epoch: header.epoch,
            committed: self.tip.committed.max(header.committed),
            ended,
            file: self.tip.file,
            offset: self.tip.offset + header.disk_bytes(),
        };
        Ok(Step::Group(group))
    }

    fn damaged(&self, what: impl Into<String>) -> JournalError {
        JournalError::damaged(&self.file().name, self.tip.offset, what)
    }

    fn malformed(&self, malformed: Malformed) -> JournalError {
        match malformed {
            Malformed::Rule(what) => self.damaged(what),
            Malformed::Kind(entry, kind) => {
                let (file, offset) = (self.file().name.clone(), self.tip.offset);
                JournalError::UnknownKind { file, offset, entry, kind }
            }
        }
    }

    /// Checks a header that can be believed against the file and the group before.
    fn check_header(&self, header: &GroupHeader) -> Result<()> {
        let file = &self.file().header;
        if header.codec != 0 || header.cipher != 0 || header.key != 0 {
            let (name, offset) = (self.file().name.clone(), self.tip.offset);
            let what = format!(
                "group {} has codec {}, cipher {} and key {}; this QENEX reads only plain groups (0, 0, 0)",
                header.number, header.codec, header.cipher, header.key
            );
            return Err(JournalError::Unsupported { file: name, offset, what });
        }
        let here = (header.book, header.journal, header.incarnation, header.writer, header.epoch, header.release);
        if here != (file.book, file.journal, file.incarnation, file.writer, file.epoch, file.release) {
            let what = "its book, journal, incarnation, writer, epoch or release is not that of its file";
            return Err(self.damaged(format!("group {}: {what}", header.number)));
        }
        let expected = (self.tip.number + 1, self.tip.entry + 1);
        if (header.number, header.first_entry) != expected {
            return Err(self.damaged(format!(
                "group {} from entry {} should be here, and there is group {} from entry {}",
                expected.0, expected.1, header.number, header.first_entry
            )));
        }
        if header.previous_hash != self.tip.hash {
            return Err(self.damaged(format!(
                "group {} does not follow group {}: its previous_hash is another",
                header.number, self.tip.number
            )));
        }
        let timestamps_follow = self.tip.timestamp < header.timestamp_first
            && header.timestamp_first <= header.timestamp_last
            && header.timestamp_last <= super::TIMESTAMP_MAX;
        if !timestamps_follow {
            return Err(self.damaged(format!("group {} is not later than the one before", header.number)));
        }
        let plausible = header.entries > 0
            && header.raw_length == header.body_length
            && header.committed < header.number
            && header.applied < header.number
            && (header.applied > 0 || header.results_hash == [0; 32])
            && header.flags == 0
            && header.reserved == [0; 8];
        if !plausible || header.disk_bytes() > self.length - self.tip.offset {
            return Err(self.damaged(format!("group {} has a header with impossible values", header.number)));
        }
        Ok(())
    }

    /// Checks that epochs begin and end where they should; tells whether this group ends one.
    fn check_kinds(&self, group: &Group, begins_epoch: bool) -> Result<bool> {
        let header = group.header();
        let wrong = |what: &str| Err(self.damaged(format!("group {}: {what}", header.number)));
        if self.tip.ended && !begins_epoch {
            return wrong("it comes after the end of its epoch");
        }
        for entry in group.entries() {
            match EntryKind::from_number(entry.header.kind) {
                Some(EntryKind::Epoch) if begins_epoch && header.entries == 1 => {
                    let row = EpochRow {
                        epoch: header.epoch,
                        previous_number: header.number - 1,
                        writer: header.writer,
                        incarnation: header.incarnation,
                        previous_hash: header.previous_hash,
                        release: header.release,
                        ..EpochRow::ZERO
                    };
                    if entry.rows_as::<EpochRow>() != Some(&[row]) {
                        return wrong("its epoch entry contradicts its header");
                    }
                }
                Some(EntryKind::Epoch) => return wrong("an epoch entry stands where no epoch begins"),
                _ if begins_epoch => return wrong("its epoch does not begin with one epoch entry, alone"),
                Some(EntryKind::End) => {
                    if entry.header.number != header.last_entry() {
                        return wrong("an entry follows the end of its epoch");
                    }
                    return Ok(true);
                }
                _ => {}
            }
        }
        Ok(false)
    }

    /// Reads and checks in a thread of its own, a few chunks ahead of the caller.
    ///
    /// # Panics
    /// If the system has no thread to give.
    #[must_use]
    pub fn read_ahead(self) -> ReadAhead {
        let (sender, receiver) = sync_channel(CHUNKS_AHEAD);
        let mut stream = self;
        let thread = std::thread::Builder::new().name("journal-read".to_owned()).spawn(move || {
            loop {
                // Groups of one chunk travel together: one hand-over for many small groups.
                let (mut batch, mut chunk) = (Vec::new(), None);
                let mut last = false;
                while !last {
                    let next = stream.next_group().transpose();
                    last = !matches!(next, Some(Ok(_)));
                    batch.extend(next);
                    last |= *chunk.get_or_insert(stream.chunk_start) != stream.chunk_start || batch.len() >= 1024;
                }
                let done = !matches!(batch.last(), Some(Ok(_)));
                if sender.send(batch).is_err() || done {
                    return;
                }
            }
        });
        ReadAhead { receiver: Some(receiver), batch: Vec::new().into_iter(), thread: Some(thread.expect("a thread")) }
    }
}

impl<D: Disk> Iterator for GroupStream<D> {
    type Item = Result<Group>;

    /// The next group; after the first error there is nothing more.
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_group();
        self.failed = next.is_err();
        next.transpose()
    }
}

/// Groups, read ahead by a thread. Ends after the last group or the first error.
pub struct ReadAhead {
    receiver: Option<Receiver<Vec<Result<Group>>>>,
    batch: std::vec::IntoIter<Result<Group>>,
    thread: Option<JoinHandle<()>>,
}

impl Iterator for ReadAhead {
    type Item = Result<Group>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(next) = self.batch.next() {
                return Some(next);
            }
            match self.receiver.as_ref()?.recv() {
                Ok(batch) => self.batch = batch.into_iter(),
                Err(_) => {
                    // The thread is done. Had it panicked, this must not pass for the journal's end.
                    self.receiver = None;
                    if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
                        std::panic::resume_unwind(panic);
                    }
                    return None;
                }
            }
        }
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        // Without a receiver the thread ends at its next hand-over.
        self.receiver = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the panic hook; here there is nobody to tell.
            _ = thread.join();
        }
    }
}
