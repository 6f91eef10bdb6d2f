//! Verification: everything that follows from a journal is computed again and compared with what the journal says of it.
//!
//! [`qenex_journal::log::verify`] walks the chain; a [`Recomputation`] takes each group on the way. It applies the entries
//! to a fresh state, compares the hashes of results that group headers state and the marks that checkpoints left, sees
//! that holds expired when they were due, and in the end adds up all accounts, and each again from its transfers.

mod sums;

use std::collections::BTreeMap;

use qenex_journal::derived::{Counters, LedgerStore, Options as StoreOptions};
use qenex_journal::disk::Disk;
use qenex_journal::log::{
    self, EntryHeader, EntryKind, Group, Hash, JournalError, RestoreStep, Restored, VerifyProgress, VerifyReport,
    name_of,
};
use qenex_kernel::row::EventResult;

use crate::error::{EngineError, caught};
use crate::recover::Sealing;
use crate::state::{Mark, State};

pub use sums::{LedgerSums, Sum};

/// What was computed, and how much of what the journal states it agreed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recomputed {
    /// Hashes of results that were stated and agree.
    pub results_compared: u64,
    /// Marks that agree.
    pub marks_compared: u64,
    /// What there is.
    pub counters: Counters,
    /// Hash of the ledger.
    pub state_hash: Hash,
    /// Running hash of results.
    pub results_hash: Hash,
    /// Sums by ledger.
    pub ledgers: BTreeMap<u32, LedgerSums>,
    /// Accounts with other balances than their transfers, as recorded, add up to.
    pub misadded: Vec<u128>,
}

/// A state under way. `S` is the disk, empty, where its segments are sealed.
pub struct Recomputation<S: Disk> {
    scratch: S,
    state: State<S>,
    sealing: Sealing<S>,
    /// What marks may say: by the entry that ended a segment. A start that could not use a checkpoint makes it again, so
    /// that the same may be said twice, or of an earlier one.
    marks: BTreeMap<u64, Mark>,
    /// What headers may state: by group.
    results: BTreeMap<u64, Hash>,
    results_compared: u64,
    marks_compared: u64,
}

impl<S: Disk> Recomputation<S> {
    /// Before the first group of a book.
    pub fn new(scratch: &S, book: [u8; 16], options: StoreOptions) -> Self {
        let store = LedgerStore::new(scratch.clone(), book, options);
        Self {
            scratch: scratch.clone(),
            state: State::new(store),
            sealing: Sealing::default(),
            marks: BTreeMap::new(),
            results: BTreeMap::new(),
            results_compared: 0,
            marks_compared: 0,
        }
    }

    /// Takes the next group.
    ///
    /// # Errors
    /// [`EngineError::Journal`] with file and offset of the group that says another thing than its entries lead to;
    /// [`EngineError`] if an entry cannot be applied or the scratch disk refuses.
    pub fn take(&mut self, group: &Group) -> Result<(), EngineError> {
        let head = group.header();
        if head.applied != 0 {
            match self.results.get(&head.applied) {
                Some(hash) if *hash == head.results_hash => self.results_compared += 1,
                Some(_) => {
                    return Err(differs(group, format!("results up to group {} hash to another value", head.applied)));
                }
                None => {
                    return Err(differs(group, format!("it states results of group {}, out of order", head.applied)));
                }
            }
            self.results = self.results.split_off(&head.applied);
        }
        let mut results: Vec<EventResult> = Vec::new();
        for entry in group.entries() {
            results.clear();
            if entry.header.kind == EntryKind::Mark.number() {
                self.compare_mark(group, entry.rows_as::<Mark>())?;
            } else if entry.header.kind == EntryKind::Command.number() {
                self.judge_overdue(group, entry.header)?;
            }
            self.state.apply(&entry, None, &mut results).map_err(|error| differs(group, error.to_string()))?;
            self.sealing.advance(&self.scratch, &mut self.state)?;
            if self.state.ends_segment() {
                self.marks.insert(self.state.entry(), self.state.mark());
            }
        }
        self.state.end_group(head.number);
        self.results.insert(head.number, *self.state.results_hash());
        Ok(())
    }

    /// What was due before a command's first event has expired by then: somebody may have got the money otherwise that
    /// somebody else could not spend.
    fn judge_overdue(&self, group: &Group, header: &EntryHeader) -> Result<(), EngineError> {
        let before = header.timestamp.saturating_sub(u64::from(header.rows));
        match self.state.machine().next_expiry().filter(|expires| *expires <= before) {
            None => Ok(()),
            Some(expires) => {
                let entry = header.number;
                Err(differs(group, format!("entry {entry} follows on an overdue hold: it was to expire at {expires}")))
            }
        }
    }

    fn compare_mark(&mut self, group: &Group, rows: Option<&[Mark]>) -> Result<(), EngineError> {
        let Some([mark]) = rows else { return Err(differs(group, "a mark is one row".to_owned())) };
        match self.marks.get(&mark.entry) {
            Some(computed) if computed == mark => self.marks_compared += 1,
            Some(_) => {
                return Err(differs(group, format!("the state after entry {} hashes to another value", mark.entry)));
            }
            None => {
                return Err(differs(group, format!("no segment ended with entry {}, which a mark names", mark.entry)));
            }
        }
        Ok(())
    }

    /// Adds everything up.
    ///
    /// # Errors
    /// [`EngineError`] if the scratch disk refuses.
    pub fn finish(mut self) -> Result<Recomputed, EngineError> {
        self.sealing.finish(&mut self.state)?;
        let store = self.state.machine().store();
        let (ledgers, misadded) = sums::add_up(self.state.machine());
        Ok(Recomputed {
            results_compared: self.results_compared,
            marks_compared: self.marks_compared,
            counters: store.counters(),
            state_hash: store.state_hash(),
            results_hash: *self.state.results_hash(),
            ledgers,
            misadded,
        })
    }
}

/// A group that says another thing than what was computed.
fn differs(group: &Group, what: String) -> EngineError {
    let (file, offset) = group.place();
    EngineError::Journal(JournalError::Damaged { file: name_of(file), offset, what })
}

/// A recomputation beside a walk of the journal, which knows only errors of its own kind: ours waits here.
struct Visitor<S: Disk> {
    scratch: S,
    recomputation: Option<Recomputation<S>>,
    failed: Option<EngineError>,
}

impl<S: Disk> Visitor<S> {
    fn new(scratch: &S) -> Self {
        Self { scratch: scratch.clone(), recomputation: None, failed: None }
    }

    fn visit(&mut self, group: &Group) -> Result<(), EngineError> {
        let new = || Recomputation::new(&self.scratch, group.header().book, StoreOptions::default());
        let recomputation = self.recomputation.get_or_insert_with(new);
        caught(|| recomputation.take(group))
    }

    /// The walk's word for what ended it.
    fn stop(&mut self, error: EngineError) -> JournalError {
        self.failed = Some(error);
        JournalError::Stopped
    }

    fn finish<T>(
        self,
        walked: Result<T, JournalError>,
        book: impl Fn(&T) -> [u8; 16],
    ) -> Result<(T, Recomputed), EngineError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let walked = walked?;
        let empty = || Recomputation::new(&self.scratch, book(&walked), StoreOptions::default());
        let recomputed = caught(|| self.recomputation.unwrap_or_else(empty).finish())?;
        Ok((walked, recomputed))
    }
}

/// Walks the journal on `disk` up to group `until` (or its end) and computes everything again, with its segments on
/// `scratch`, which is empty. `progress` may end it with an error of its own.
///
/// # Errors
/// The first thing that does not hold, with file and offset; or what `progress` returned.
pub fn verify<D: Disk, S: Disk>(
    disk: &D,
    scratch: &S,
    until: Option<u64>,
    mut progress: impl FnMut(&VerifyProgress) -> Result<(), EngineError>,
) -> Result<(VerifyReport, Recomputed), EngineError> {
    let mut visitor = Visitor::new(scratch);
    let walked = log::verify(disk, until, |group, passed| {
        visitor.visit(group).and_then(|()| progress(passed)).map_err(|error| visitor.stop(error))
    });
    visitor.finish(walked, |report| report.header.book)
}

/// Brings a backup back to life on `target`, which is empty, under a new incarnation, after verifying all of it as
/// [`verify`] does. `progress` gets the bytes that were passed, and how many there are to pass: each is checked, compared
/// and copied. It may end it with an error of its own.
///
/// # Errors
/// As [`verify`], [`JournalError::Backup`], or the disks'. A target that was begun and not finished does not open.
pub fn restore<D: Disk, T: Disk, S: Disk>(
    source: &D,
    target: &T,
    scratch: &S,
    incarnation: [u8; 16],
    created: u64,
    mut progress: impl FnMut(u64, u64) -> Result<(), EngineError>,
) -> Result<(Restored, Recomputed), EngineError> {
    let mut visitor = Visitor::new(scratch);
    let mut checked = 0;
    let visit = |step: RestoreStep<'_>| {
        let done = match step {
            RestoreStep::Checked(group, passed) => {
                checked = passed.bytes_total;
                // The copy takes as many bytes again, twice, give or take a manifest's other files.
                visitor.visit(group).and_then(|()| progress(passed.bytes, 3 * passed.bytes_total))
            }
            RestoreStep::Copied { bytes, bytes_total } => progress(checked + bytes, checked + bytes_total),
        };
        done.map_err(|error| visitor.stop(error))
    };
    let walked = log::restore(source, target, incarnation, created, visit);
    visitor.finish(walked, |restored| restored.book)
}
