//! From what is on disk to an engine that can go on.

use std::thread::JoinHandle;

use qenex_journal::derived::{LedgerStore, Options as StoreOptions, SealedSegment, SegmentError};
use qenex_journal::disk::Disk;
use qenex_journal::log::{Genesis, Journal, JournalError, Options as JournalOptions, Recovery, Tip, read};

use crate::clock::{JUMP_NS, Now};
use crate::error::EngineError;
use crate::limits::RELEASE;
use crate::state::State;

/// How a book is opened.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// The book; `None` is whichever is there, or a new one, named as its first incarnation.
    pub book: Option<[u8; 16]>,
    /// Random: which life this is if the book is new.
    pub incarnation: [u8; 16],
    /// Random: who writes from here on.
    pub writer: [u8; 16],
    /// The time.
    pub now: Now,
    /// Whether the wall clock is synchronised, or the operator vouches for it.
    pub clock_trusted: bool,
    /// Sizes of the journal's files.
    pub journal: JournalOptions,
    /// Sizes of the ledger's segments.
    pub store: StoreOptions,
}

/// A book that was opened: its journal takes groups, its state is at the journal's end.
pub struct Opened<D: Disk> {
    /// The journal, in a new epoch.
    pub journal: Journal<D>,
    /// Its end.
    pub tip: Tip,
    /// The state there.
    pub state: State<D>,
    /// How the journal was found; `None` if the book is new.
    pub recovery: Option<Recovery>,
    /// Entries that were replayed.
    pub replayed: u64,
}

/// Opens a book whose disk's lock the caller holds; makes it if there is none.
///
/// # Errors
/// [`EngineError`]; a journal that is damaged was not changed.
pub fn open<D: Disk>(disk: &D, options: &OpenOptions) -> Result<Opened<D>, EngineError> {
    let (mut journal, recovery) = match Journal::open(disk, options.journal, 0) {
        Ok((journal, recovery)) => (journal, Some(recovery)),
        Err(JournalError::Missing) => {
            Journal::create(
                disk,
                &Genesis {
                    book: options.book.unwrap_or(options.incarnation),
                    incarnation: options.incarnation,
                    journal: 1,
                    release: RELEASE,
                    created: options.now.wall_ns,
                },
            )?;
            (Journal::open(disk, options.journal, 0)?.0, None)
        }
        Err(error) => return Err(error.into()),
    };
    let book = journal.header().book;
    if let Some(expected) = options.book.filter(|expected| *expected != book) {
        return Err(EngineError::WrongBook { found: book, expected });
    }
    let mut state = State::new(LedgerStore::new(disk.clone(), book, options.store));
    replay(disk, &mut state, journal.tip().number)?;
    let replayed = state.entry();

    // An untrusted clock must not push the journal's time ahead: nothing brings it back.
    let last = journal.tip().timestamp;
    let plausible = options.clock_trusted || last == 0 || options.now.wall_ns.abs_diff(last) <= JUMP_NS;
    let timestamp = if plausible { options.now.wall_ns.max(last + 1) } else { last + 1 };
    let tip = journal.start(options.writer, RELEASE, timestamp)?;
    replay(disk, &mut state, tip.number)?;
    Ok(Opened { journal, tip, state, recovery, replayed })
}

/// Applies everything from the state's last entry to group `until`.
///
/// # Errors
/// [`EngineError`] if the journal cannot be read or applied.
pub fn replay<D: Disk>(disk: &D, state: &mut State<D>, until: u64) -> Result<(), EngineError> {
    if until <= state.group() {
        return Ok(());
    }
    let groups = read(disk, state.entry() + 1, until)?.read_ahead();
    let mut results = Vec::new();
    let mut sealing = Sealing { under_way: None };
    for group in groups {
        let group = group?;
        for entry in group.entries() {
            if entry.header.number > state.entry() {
                results.clear();
                state.apply(&entry, None, &mut results)?;
                sealing.advance(disk, state)?;
            }
        }
        state.end_group(group.header().number);
    }
    sealing.finish(state)
}

/// Seals segments beside a replay, one at a time.
struct Sealing<D: Disk> {
    under_way: Option<JoinHandle<Result<SealedSegment<D>, SegmentError>>>,
}

impl<D: Disk> Sealing<D> {
    /// Starts the next job, if there is one; the one before must be over by then.
    fn advance(&mut self, disk: &D, state: &mut State<D>) -> Result<(), EngineError> {
        while let Some(job) = state.take_seal_job() {
            self.finish(state)?;
            let disk = disk.clone();
            let run = move || job.run(&disk);
            let thread = std::thread::Builder::new().name("seal".to_owned()).spawn(run);
            self.under_way = Some(thread.map_err(|source| EngineError::io("start the seal thread", source))?);
        }
        Ok(())
    }

    /// Waits for the job under way.
    fn finish(&mut self, state: &mut State<D>) -> Result<(), EngineError> {
        match self.under_way.take().map(JoinHandle::join) {
            None => {}
            Some(Ok(segment)) => state.store_mut().sealed(segment?),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
        Ok(())
    }
}
