//! From what is on disk to an engine that can go on.

use std::thread::JoinHandle;

use qenex_journal::checkpoint::{self, PassedOver, Position};
use qenex_journal::derived::{LedgerStore, Options as StoreOptions, SealedSegment, SegmentError};
use qenex_journal::disk::Disk;
use qenex_journal::log::{Genesis, Journal, JournalError, Options as JournalOptions, Recovery, Tip, read};

use crate::clock::{JUMP_NS, Now};
use crate::error::{EngineError, caught};
use crate::limits::RELEASE;
use crate::state::{Place, State};

/// Damaged segments after which a start gives up: after one for each checkpoint that is kept, all segments are made
/// anew, and a disk that damages those too is no good.
const ASIDE_MAX: usize = 2;

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
    /// Checkpoints that could not be used, and sealed segments that were found damaged in the replay.
    pub passed_over: Vec<PassedOver>,
    /// Entries that were replayed.
    pub replayed: u64,
}

impl<D: Disk> Opened<D> {
    /// What somebody who runs the book should know of how it was found, a line each.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let cut = self.recovery.iter().flat_map(|recovery| &recovery.cut).map(|cut| {
            format!(
                "a crash tore group {}, which was never acknowledged: {} bytes from byte {} of {} on were cut off ({}) \
                 and kept as {}",
                cut.number, cut.bytes, cut.offset, cut.file, cut.why, cut.kept
            )
        });
        let passed = self.passed_over.iter().map(|over| format!("{} was passed over: {}", over.name, over.what));
        cut.chain(passed).collect()
    }
}

/// Opens a book whose disk's lock the caller holds; makes it if there is none.
///
/// # Errors
/// [`EngineError`]; a journal that is damaged was not changed.
pub fn open<D: Disk>(disk: &D, options: &OpenOptions) -> Result<Opened<D>, EngineError> {
    open_telling(disk, options, |_, _| Ok(()))
}

/// Opens a book as [`open`] does, and tells `progress` how many entries it has replayed, and of how many, group by group.
///
/// # Errors
/// As [`open`], or what `progress` returned: then nothing has been begun, and the book opens again as if this had not
/// happened.
pub fn open_telling<D: Disk>(
    disk: &D,
    options: &OpenOptions,
    progress: impl FnMut(u64, u64) -> Result<(), EngineError>,
) -> Result<Opened<D>, EngineError> {
    let (mut journal, recovery) = match open_journal(disk, options) {
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
            (open_journal(disk, options)?.0, None)
        }
        Err(error) => return Err(error.into()),
    };
    let book = journal.header().book;
    if let Some(expected) = options.book.filter(|expected| *expected != book) {
        return Err(EngineError::WrongBook { found: book, expected });
    }
    let last = *journal.tip();
    let mut passed_over = Vec::new();
    let (mut state, replayed) = restore_and_replay(disk, book, options.store, &last, &mut passed_over, progress)?;

    // An untrusted clock must not push the journal's time ahead: nothing brings it back.
    let plausible =
        options.clock_trusted || last.timestamp == 0 || options.now.wall_ns.abs_diff(last.timestamp) <= JUMP_NS;
    let timestamp = if plausible { options.now.wall_ns.max(last.timestamp + 1) } else { last.timestamp + 1 };
    let tip = journal.start(options.writer, RELEASE, timestamp)?;
    replay(disk, &mut state, tip.number, |_| Ok(()))?;
    Ok(Opened { journal, tip, state, recovery, passed_over, replayed })
}

/// Opens the journal, which reaches at least to where the newest checkpoint stands.
fn open_journal<D: Disk>(disk: &D, options: &OpenOptions) -> Result<(Journal<D>, Recovery), JournalError> {
    let floor = checkpoint::newest_group(disk)?;
    Journal::open(disk, options.journal, floor)
}

/// The state at the journal's end, and how many entries were replayed to have it. A sealed segment that is found damaged
/// on the way was put aside: then it is begun again, from an older checkpoint or from nothing, which makes it anew.
fn restore_and_replay<D: Disk>(
    disk: &D,
    book: [u8; 16],
    options: StoreOptions,
    tip: &Tip,
    passed_over: &mut Vec<PassedOver>,
    mut progress: impl FnMut(u64, u64) -> Result<(), EngineError>,
) -> Result<(State<D>, u64), EngineError> {
    let mut aside = Vec::new();
    loop {
        passed_over.clone_from(&aside);
        let done = caught(|| {
            let mut state = restore(disk, book, options, tip, passed_over)?;
            let begin = state.entry();
            replay(disk, &mut state, tip.number, |entry| progress(entry - begin, tip.entry - begin))?;
            let replayed = state.entry() - begin;
            Ok((state, replayed))
        });
        match done {
            Err(EngineError::Segment(SegmentError::Damaged { name, what })) if aside.len() < ASIDE_MAX => {
                aside.push(PassedOver { name, what });
            }
            done => return done,
        }
    }
}

/// The state in the newest checkpoint that can be used, or that of an empty book.
fn restore<D: Disk>(
    disk: &D,
    book: [u8; 16],
    options: StoreOptions,
    tip: &Tip,
    passed_over: &mut Vec<PassedOver>,
) -> Result<State<D>, EngineError> {
    let judge = |position: &Position| stands(disk, position, tip);
    if let Some(loaded) = checkpoint::load(disk, book, options, judge, passed_over)? {
        let name = format!("the checkpoint after entry {}", loaded.position.entry);
        match State::from_checkpoint(loaded) {
            Ok(state) => return Ok(state),
            Err(what) => passed_over.push(PassedOver { name, what }),
        }
    }
    Ok(State::new(LedgerStore::new(disk.clone(), book, options)))
}

/// Whether the journal has the group that a checkpoint stands on.
fn stands<D: Disk>(disk: &D, position: &Position, tip: &Tip) -> Result<(), String> {
    if position.group > tip.number {
        return Err(format!("it stands on group {}, and the journal ends with {}", position.group, tip.number));
    }
    let group = read(disk, position.entry, position.group).and_then(|mut groups| groups.next_group());
    let same = group
        .map_err(|error| error.to_string())?
        .is_some_and(|group| (group.header().number, group.hash()) == (position.group, &position.group_hash));
    if same { Ok(()) } else { Err(format!("its group {} is not the journal's", position.group)) }
}

/// Applies everything from the state's last entry to group `until`; `progress` gets the last entry applied, after each
/// group. Where checkpoints are due on the way, one is begun: the engine writes the last of them, so that the next start
/// has less to do.
///
/// # Errors
/// [`EngineError`] if the journal cannot be read or applied; or what `progress` returned.
fn replay<D: Disk>(
    disk: &D,
    state: &mut State<D>,
    until: u64,
    mut progress: impl FnMut(u64) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    if until <= state.group() {
        return Ok(());
    }
    let groups = read(disk, state.entry() + 1, until)?.read_ahead();
    let mut results = Vec::new();
    let mut sealing = Sealing::default();
    for group in groups {
        let group = group?;
        for entry in group.entries() {
            if entry.header.number > state.entry() {
                results.clear();
                state.apply(&entry, None, &mut results)?;
                if state.is_checkpoint_due() {
                    let head = group.header();
                    state.begin_checkpoint(&Place {
                        incarnation: head.incarnation,
                        journal: head.journal,
                        group: head.number,
                        group_hash: *group.hash(),
                    });
                }
                sealing.advance(disk, state)?;
            }
        }
        state.end_group(group.header().number);
        if let Err(error) = progress(state.entry()) {
            // Nobody else may have the book while a thread of this one still writes to it.
            sealing.finish(state)?;
            return Err(error);
        }
    }
    sealing.finish(state)
}

/// Seals segments beside a replay, one at a time.
pub(crate) struct Sealing<D: Disk> {
    under_way: Option<JoinHandle<Result<SealedSegment<D>, SegmentError>>>,
}

impl<D: Disk> Default for Sealing<D> {
    fn default() -> Self {
        Self { under_way: None }
    }
}

impl<D: Disk> Drop for Sealing<D> {
    fn drop(&mut self) {
        // Whoever begins again must not meet it: they would write the same file. What became of it nobody asks.
        _ = self.under_way.take().map(JoinHandle::join);
    }
}

impl<D: Disk> Sealing<D> {
    /// Starts the next job if closed segments pile up; the one before must be over by then. The last ones are left to
    /// the engine, which seals them beside its work: nobody has to wait for that at a start.
    pub(crate) fn advance(&mut self, disk: &D, state: &mut State<D>) -> Result<(), EngineError> {
        while state.machine().store().seal_backlog()
            && let Some(job) = state.take_seal_job()
        {
            self.finish(state)?;
            let disk = disk.clone();
            let run = move || job.run(&disk);
            let thread = std::thread::Builder::new().name("seal".to_owned()).spawn(run);
            self.under_way = Some(thread.map_err(|source| EngineError::io("start the seal thread", source))?);
        }
        Ok(())
    }

    /// Waits for the job under way.
    pub(crate) fn finish(&mut self, state: &mut State<D>) -> Result<(), EngineError> {
        match self.under_way.take().map(JoinHandle::join) {
            None => {}
            Some(Ok(segment)) => {
                state.store_mut().sealed_at_once(segment?);
            }
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
        Ok(())
    }
}
