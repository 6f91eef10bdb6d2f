//! A journal that is written.

use zerocopy::IntoBytes;

use super::files::name_of;
use super::header::{EntryHeader, EpochRow, FileHeader, Hash, usize_of};
use super::recovery::{self, Recovery};
use super::reserve::{KEPT_FOR_END, Reserve};
use super::{BLOCK_BYTES, EntryKind, FOLDER, GroupBuilder, JournalError, Link, Result, Tip, marker};
use crate::disk::{AlignedBuffer, BLOCK, Caching, Disk, DiskError, DiskFile};

/// Sizes, in bytes, whole blocks of 4096.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Length of the first file of a run at least: a quarter of the journal so far, between this
    pub file_bytes_least: u64,
    /// and this. Each one after is twice as long, up to `file_bytes_max`.
    pub file_bytes_first: u64,
    /// Length of a file at most.
    pub file_bytes_max: u64,
    /// A group on disk at most, padding included.
    pub group_bytes_max: u64,
    /// The next file is made ready as soon as one is begun, so that a start finds it on a full disk too; else once a quarter
    /// of the current one is written: a journal that is hardly written to takes no space ahead.
    pub is_ahead: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            file_bytes_least: 16 << 20,
            file_bytes_first: 16 << 20,
            file_bytes_max: 256 << 20,
            group_bytes_max: 6 << 20,
            is_ahead: true,
        }
    }
}

impl Options {
    /// For one of many journals, of which most are small.
    #[must_use]
    pub fn small() -> Self {
        Self { file_bytes_least: 4 << 20, group_bytes_max: 2 << 20, is_ahead: false, ..Self::default() }
    }

    /// A file holds its header, a group, and the block that is kept for the end.
    pub(super) fn file_bytes_min(&self) -> u64 {
        self.group_bytes_max + 2 * BLOCK_BYTES
    }

    fn check(&self) -> Result<()> {
        let Self { file_bytes_least, file_bytes_first, file_bytes_max, group_bytes_max, .. } = *self;
        let sizes = [file_bytes_least, file_bytes_first, file_bytes_max, group_bytes_max];
        let whole = sizes.iter().all(|bytes| *bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES));
        let ordered = [self.file_bytes_min(), file_bytes_least, file_bytes_first, file_bytes_max].is_sorted();
        if whole && ordered && self.group_bytes_max < u64::from(u32::MAX) {
            return Ok(());
        }
        Err(JournalError::Options(format!(
            "journal sizes must be multiples of 4096 with group_bytes_max + 8192 <= file_bytes_least <= file_bytes_first \
             <= file_bytes_max and groups below 4 GiB, and are {self:?}"
        )))
    }
}

/// What a new journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// The book.
    pub book: [u8; 16],
    /// Random.
    pub incarnation: [u8; 16],
    /// The journal of the book, from 1.
    pub journal: u32,
    /// The kernel's behaviour.
    pub release: u32,
    /// UTC nanoseconds, for people.
    pub created: u64,
}

/// What became of an append.
#[derive(Debug)]
pub enum Appended {
    /// The group is durable; the journal now ends here.
    Appended(Tip),
    /// Somebody has started a later epoch: this writer is done. Nothing was written.
    Fenced(u64),
    /// The disk failed, and the group may be durable or not. Nothing more can be appended; whoever
    /// opens the journal next finds out which.
    Unknown(DiskError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opened,
    Started,
    Stopped,
}

/// A journal, open for writing. The caller holds the disk's lock for as long as this lives.
pub struct Journal<D: Disk> {
    disk: D,
    options: Options,
    reserve: Reserve<D>,
    header: FileHeader,
    file: Option<D::File>,
    length: u64,
    tip: Tip,
    stage: Stage,
}

impl<D: Disk> Journal<D> {
    /// Makes a new journal on a disk that has none: its first file, which announces it.
    ///
    /// # Errors
    /// [`JournalError::Exists`], or the disk's.
    pub fn create(disk: &D, genesis: &Genesis) -> Result<()> {
        disk.create_folder(FOLDER)?;
        disk.sync_folder("")?;
        if disk.list(FOLDER)?.iter().any(|name| name.ends_with(".qxj")) {
            return Err(JournalError::Exists);
        }
        let header = FileHeader {
            book: genesis.book,
            incarnation: genesis.incarnation,
            journal: genesis.journal,
            release: genesis.release,
            file: 1,
            created: genesis.created,
            first_group: 1,
            first_entry: 1,
            ..FileHeader::empty()
        };
        write_birth(disk, header)
    }

    /// Finds the journal's end, as `spec/journal.md` section 7 says; a group that a crash tore is cut
    /// off and kept aside. `floor` is the highest group that the newest checkpoint stands on, or 0.
    ///
    /// # Errors
    /// [`JournalError::Missing`], [`JournalError::Damaged`] and others; the journal was not changed.
    pub fn open(disk: &D, options: Options, floor: u64) -> Result<(Self, Recovery)> {
        options.check()?;
        let found = recovery::recover(disk, floor)?;
        let (header, tip) = (found.last.header, found.recovery.tip);
        let reserve = Reserve::new(disk, options, &tip, found.spare.as_ref())?;
        let stage = Stage::Opened;
        let journal = Self { disk: disk.clone(), options, reserve, header, file: None, length: 0, tip, stage };
        Ok((journal, found.recovery))
    }

    /// Begins an epoch: a new file, and in it one group with one `epoch` entry. `writer` is random;
    /// `timestamp` is above that of the tip. Returns the new tip.
    ///
    /// # Errors
    /// [`JournalError::is_full`] if there is no space for a file: nothing has changed and it can be
    /// tried again. After any other error of the disk the journal takes nothing more.
    pub fn start(&mut self, writer: [u8; 16], release: u32, timestamp: u64) -> Result<Tip> {
        if self.stage != Stage::Opened {
            return Err(JournalError::Stopped);
        }
        if timestamp <= self.tip.timestamp || writer == [0; 16] || writer == self.header.writer {
            let what = "a start needs a later timestamp than the last entry's and a new random writer";
            return Err(JournalError::NotNext(what.to_owned()));
        }
        // The abandoned file's unused space goes back first: it may be what a full disk needs.
        let last = self.disk.open(&name_of(self.header.file), Caching::Direct)?;
        if last.length()? > self.tip.offset {
            last.set_length(self.tip.offset)?;
            last.sync()?;
        }
        self.reserve.prepare_now()?;
        marker::reserve(&self.disk)?;

        self.stage = Stage::Stopped;
        marker::set_aside(&self.disk)?;
        let epoch = self.header.epoch + 1;
        self.header = FileHeader { writer, release, epoch, ..self.header };
        self.next_file(BLOCK_BYTES, timestamp)?;
        let row = EpochRow {
            epoch,
            previous_number: self.tip.number,
            writer,
            incarnation: self.header.incarnation,
            previous_hash: self.tip.hash,
            release,
            ..EpochRow::ZERO
        };
        self.tip.epoch = epoch;
        self.stage = Stage::Started;
        self.append_own(EntryKind::Epoch, timestamp, row.as_bytes(), (0, [0; 32]))
    }

    /// Appends a group and makes it durable. `previous` and `previous_hash` are the tip that the
    /// caller builds on, `epoch` the one it started. Seals the group.
    ///
    /// # Errors
    /// [`JournalError::NotReserved`], [`JournalError::NotNext`], [`JournalError::NotStarted`],
    /// [`JournalError::Stopped`]; nothing was written.
    pub fn append(
        &mut self,
        previous: u64,
        previous_hash: &Hash,
        epoch: u64,
        group: &mut GroupBuilder,
    ) -> Result<Appended> {
        match self.stage {
            Stage::Opened => return Err(JournalError::NotStarted),
            Stage::Stopped => return Err(JournalError::Stopped),
            Stage::Started => {}
        }
        if epoch < self.header.epoch {
            return Ok(Appended::Fenced(self.header.epoch));
        }
        self.check_next(previous, previous_hash, epoch, group)?;
        let needed = group.disk_bytes();
        if self.tip.offset + needed + KEPT_FOR_END > self.length {
            self.next_file(needed, group.timestamps().0)?;
        }
        Ok(self.write(group))
    }

    fn check_next(&self, previous: u64, previous_hash: &Hash, epoch: u64, group: &GroupBuilder) -> Result<()> {
        let refuse = |what: String| Err(JournalError::NotNext(what));
        if epoch != self.header.epoch {
            return refuse(format!("it is of epoch {epoch}, and the journal is in epoch {}", self.header.epoch));
        }
        if previous != self.tip.number || *previous_hash != self.tip.hash {
            return refuse(format!("it builds on group {previous}, and the journal ends with {}", self.tip.number));
        }
        if group.has_boundary() {
            return refuse("epochs begin with start and end with end, not with an entry of the caller's".to_owned());
        }
        self.check_place(group)
    }

    fn check_place(&self, group: &GroupBuilder) -> Result<()> {
        let refuse = |what: String| Err(JournalError::NotNext(what));
        if group.entries() == 0 || group.first_entry() != self.tip.entry + 1 {
            let expected = self.tip.entry + 1;
            return refuse(format!(
                "it has {} entries from {} on, and entry {expected} is next",
                group.entries(),
                group.first_entry()
            ));
        }
        if group.timestamps().0 <= self.tip.timestamp {
            return refuse(format!("its first timestamp is not above {}", self.tip.timestamp));
        }
        if group.applied() > self.tip.number {
            return refuse(format!("it states results of group {}, which is not there yet", group.applied()));
        }
        if group.disk_bytes() > self.options.group_bytes_max {
            let max = self.options.group_bytes_max;
            return refuse(format!("it takes {} bytes, and a group may take {max}", group.disk_bytes()));
        }
        Ok(())
    }

    /// Goes on to the file that is ready: its header, durable before the first group.
    fn next_file(&mut self, need: u64, created: u64) -> Result<()> {
        let Some((sequence, file, length)) = self.reserve.take_next(need) else {
            let reserved = self.reserve.reserved_bytes();
            return Err(JournalError::NotReserved { needed: need, reserved });
        };
        self.header = FileHeader {
            file: sequence,
            created,
            first_group: self.tip.number + 1,
            first_entry: self.tip.entry + 1,
            previous_timestamp: self.tip.timestamp,
            previous_hash: self.tip.hash,
            ..self.header
        };
        self.header.set_checksum();
        let stage = core::mem::replace(&mut self.stage, Stage::Stopped);
        file.write_at(0, &header_block(&self.header))?;
        file.sync()?;
        self.stage = stage;
        self.tip.file = sequence;
        self.tip.offset = BLOCK_BYTES;
        self.length = length;
        self.file = Some(file);
        self.reserve.set_position(self.tip.offset, self.length);
        Ok(())
    }

    fn write(&mut self, group: &mut GroupBuilder) -> Appended {
        let hash = group.seal(&Link {
            book: self.header.book,
            incarnation: self.header.incarnation,
            writer: self.header.writer,
            journal: self.header.journal,
            release: self.header.release,
            epoch: self.header.epoch,
            number: self.tip.number + 1,
            committed: self.tip.number,
            previous_hash: self.tip.hash,
        });
        let file = self.file.as_ref().expect("a journal that was started has a file");
        if let Err(error) = file.write_at(self.tip.offset, group.bytes()).and_then(|()| file.sync()) {
            self.stage = Stage::Stopped;
            return Appended::Unknown(error);
        }
        self.tip = Tip {
            number: self.tip.number + 1,
            hash,
            entry: group.next_entry() - 1,
            timestamp: group.timestamps().1,
            committed: self.tip.number,
            offset: self.tip.offset + group.disk_bytes(),
            ..self.tip
        };
        self.reserve.set_position(self.tip.offset, self.length);
        Appended::Appended(self.tip)
    }

    /// Appends one entry of the journal's own in a group of its own, a block that every file has room for.
    fn append_own(&mut self, kind: EntryKind, timestamp: u64, row: &[u8], results: (u64, Hash)) -> Result<Tip> {
        let mut group = GroupBuilder::new(BLOCK);
        group.clear(self.tip.entry + 1);
        group
            .push(EntryHeader::new(kind, timestamp), &[], row.len(), row)
            .map_err(|error| JournalError::NotNext(error.to_string()))?;
        group.set_results(results.0, results.1);
        self.check_place(&group)?;
        match self.write(&mut group) {
            Appended::Appended(tip) => Ok(tip),
            Appended::Unknown(error) => Err(error.into()),
            Appended::Fenced(_) => Err(JournalError::Stopped),
        }
    }

    /// Ends the epoch: a group with an `end` entry, the rest of the file given back, and the marker
    /// that says so. `applied` and `results_hash` are as in [`GroupBuilder::set_results`]. The journal takes
    /// nothing more.
    ///
    /// # Errors
    /// The disk's; then the next start finds a crash, which loses nothing.
    pub fn end(&mut self, timestamp: u64, applied: u64, results_hash: Hash) -> Result<Tip> {
        match self.stage {
            Stage::Opened => return Err(JournalError::NotStarted),
            Stage::Stopped => return Err(JournalError::Stopped),
            Stage::Started => {}
        }
        let tip = self.append_own(EntryKind::End, timestamp, &[], (applied, results_hash))?;
        self.tip.ended = true;
        self.stage = Stage::Stopped;
        if let Some(file) = self.file.take() {
            file.set_length(tip.offset)?;
            file.sync()?;
        }
        marker::write(&self.disk, &self.header, &tip)?;
        Ok(self.tip)
    }

    /// Where the journal ends.
    #[must_use]
    pub fn tip(&self) -> &Tip {
        &self.tip
    }

    /// The header of the current file: book, incarnation and its parent, journal, release, epoch, writer.
    #[must_use]
    pub fn header(&self) -> &FileHeader {
        &self.header
    }

    /// The reserve of space, for the thread that builds groups and the one that prepares files.
    #[must_use]
    pub fn reserve(&self) -> Reserve<D> {
        self.reserve.clone()
    }

    /// The sizes it works with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }
}

fn header_block(header: &FileHeader) -> AlignedBuffer {
    let mut block = AlignedBuffer::zeroed(usize_of(BLOCK_BYTES));
    block[..FileHeader::SIZE].copy_from_slice(header.as_bytes());
    block
}

/// Adds a file of one block to a journal that nobody writes: it announces an incarnation.
pub(super) fn write_birth<D: Disk>(disk: &D, mut header: FileHeader) -> Result<()> {
    const TEMPORARY: &str = "journal/birth.tmp";
    header.set_checksum();
    marker::remove_if_there(disk, TEMPORARY)?;
    let file = disk.create(TEMPORARY, Caching::Direct)?;
    file.write_at(0, &header_block(&header))?;
    file.sync()?;
    disk.rename(TEMPORARY, &name_of(header.file))?;
    Ok(disk.sync_folder(FOLDER)?)
}
