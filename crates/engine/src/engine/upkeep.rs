//! What the engine does beside requests: expiry, the journal's files, the end.

use qenex_journal::derived::{Pages, SealJob, SealedSegment};
use qenex_journal::disk::Disk;
use qenex_journal::log::{EntryHeader, EntryKind};
use zerocopy::IntoBytes;

use super::pipeline::Room;
use super::{Action, Engine};
use crate::clock::SECOND_NS;
use crate::limits::Configuration;
use crate::state::ApplyError;

/// Keys of a sealed segment that one step adds to the directory: some tenths of a millisecond.
const SETTLE_KEYS: usize = 1 << 14;
/// How long after a job found no space it is tried again.
const RETRY_NS: u64 = SECOND_NS;

#[derive(Debug)]
pub(super) struct Upkeep {
    /// The configuration that is wanted.
    configuration: Configuration,
    /// It was journalled, if need be.
    is_configured: bool,
    /// No request is taken any more.
    pub(super) stopping: bool,
    /// The end entry was asked for.
    ending: bool,
    /// A file of the journal is being prepared.
    preparing: bool,
    /// Preparing a file failed for lack of space.
    storage_full: bool,
    /// When to try again.
    prepare_at_ns: u64,
    /// Memory is being made.
    making_pages: bool,
    /// The segment that is being sealed, or waits for space.
    sealing: Option<SealJob>,
    /// When to try again; `None` while the job is under way.
    seal_at_ns: Option<u64>,
    /// As the runtime last said.
    pub(super) free_bytes: u64,
}

impl Upkeep {
    pub(super) fn new(configuration: Configuration) -> Self {
        Self {
            configuration,
            is_configured: false,
            stopping: false,
            ending: false,
            preparing: false,
            storage_full: false,
            prepare_at_ns: 0,
            making_pages: false,
            sealing: None,
            seal_at_ns: None,
            free_bytes: 0,
        }
    }

    pub(super) const fn is_storage_full(&self) -> bool {
        self.storage_full
    }
}

impl<D: Disk> Engine<D> {
    pub(super) fn wake(&mut self, actions: &mut Vec<Action>) -> Result<(), ApplyError> {
        self.configure();
        self.dismiss_strangers(actions);
        self.expire_due();
        // First what others wait for, so that the disk works while entries are applied here.
        self.hand_over(actions);
        self.apply_some(actions)?;
        self.go_on_reading(actions);
        self.state.store_mut().settle(SETTLE_KEYS);
        self.prepare(actions);
        self.make_pages(actions);
        self.seal(actions);
        self.step_checkpoint(actions);
        self.end(actions);
        Ok(())
    }

    /// Journals the configuration, once, if it is not the one in force.
    fn configure(&mut self) {
        if self.upkeep.is_configured || self.check_writable(0).is_err() {
            return;
        }
        let row = self.upkeep.configuration;
        if *self.state.configuration() == row {
            self.upkeep.is_configured = true;
        } else if let Ok(Room::At(timestamp)) = self.room_for(0, size_of::<Configuration>(), 0, 0) {
            let entry = EntryHeader::new(EntryKind::Configuration, timestamp);
            let now_ns = self.clock.monotonic_ns();
            self.pipeline.push(entry, &[], size_of::<Configuration>(), row.as_bytes(), now_ns);
            self.upkeep.is_configured = true;
        }
    }

    /// Whether a wake would get something done at once.
    #[must_use]
    pub fn has_work(&self) -> bool {
        let now_ns = self.clock.monotonic_ns();
        (self.pipeline.is_applying() && !self.state.machine().store().seal_backlog())
            || self.pipeline.flush_at_ns().is_some_and(|at_ns| at_ns <= now_ns)
            || self.state.machine().store().is_settling()
            || !self.readings.is_empty()
            || self.checkpoints.has_work()
            || (self.upkeep.stopping && !self.upkeep.ending && self.pipeline.is_idle())
    }

    /// When the next wake is due if nothing happens until then, on the monotonic clock.
    #[must_use]
    pub fn next_wake_ns(&self) -> Option<u64> {
        let now_ns = self.clock.monotonic_ns();
        let retry = self.reserve.wants_file().then_some(self.upkeep.prepare_at_ns);
        let expiry = self.state.machine().next_expiry().map(|expires| {
            // What is due and yet still there waits for the clock, for space or for a group under way.
            let wait_ns = expires.saturating_sub(self.clock.wall_ns());
            now_ns.saturating_add(if wait_ns == 0 { RETRY_NS } else { wait_ns })
        });
        let stranger = self.strangers.until_ns();
        [self.pipeline.flush_at_ns(), retry, expiry, self.upkeep.seal_at_ns, stranger].into_iter().flatten().min()
    }

    /// Keeps a file of the journal ready.
    fn prepare(&mut self, actions: &mut Vec<Action>) {
        let due = self.clock.monotonic_ns() >= self.upkeep.prepare_at_ns;
        if !self.upkeep.preparing && !self.upkeep.stopping && due && self.reserve.wants_file() {
            self.upkeep.preparing = true;
            actions.push(Action::Prepare);
        }
    }

    /// Keeps memory ready for what is to come.
    fn make_pages(&mut self, actions: &mut Vec<Action>) {
        if !self.upkeep.making_pages
            && let Some(job) = self.state.machine().store().wanted_pages()
        {
            self.upkeep.making_pages = true;
            actions.push(Action::MakePages(job));
        }
    }

    pub(super) fn take_pages(&mut self, pages: Pages) {
        self.upkeep.making_pages = false;
        self.state.store_mut().give_pages(pages);
    }

    /// Seals the segments that were closed, one after the other.
    fn seal(&mut self, actions: &mut Vec<Action>) {
        let now_ns = self.clock.monotonic_ns();
        if self.upkeep.sealing.is_none() && !self.state.machine().store().is_settling() {
            self.upkeep.sealing = self.state.take_seal_job();
            self.upkeep.seal_at_ns = self.upkeep.sealing.is_some().then_some(now_ns);
        }
        if let (Some(job), true) = (&self.upkeep.sealing, self.upkeep.seal_at_ns.is_some_and(|at_ns| at_ns <= now_ns)) {
            actions.push(Action::Seal(job.clone()));
            self.upkeep.seal_at_ns = None;
        }
    }

    pub(super) fn sealed(&mut self, segment: Option<Box<SealedSegment<D>>>) {
        match segment {
            Some(segment) => {
                self.upkeep.sealing = None;
                self.state.store_mut().sealed(*segment);
            }
            None => self.upkeep.seal_at_ns = Some(self.clock.monotonic_ns().saturating_add(RETRY_NS)),
        }
    }

    pub(super) fn prepared(&mut self, done: bool) {
        self.upkeep.preparing = false;
        self.upkeep.storage_full = !done;
        self.upkeep.prepare_at_ns = if done { 0 } else { self.clock.monotonic_ns().saturating_add(RETRY_NS) };
    }

    /// Ends the journal once nothing is under way any more.
    fn end(&mut self, actions: &mut Vec<Action>) {
        if self.upkeep.stopping && !self.upkeep.ending && !self.upkeep.preparing && self.pipeline.is_idle() {
            self.upkeep.ending = true;
            let timestamp = self.clock.wall_ns().max(self.pipeline.last_timestamp() + 1);
            actions.push(Action::End { timestamp });
        }
    }
}
