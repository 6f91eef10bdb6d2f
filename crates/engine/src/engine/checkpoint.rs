//! Checkpoints of a running engine: begun where a segment ends (by the start's replay too), copied piece by piece between
//! other work, written by another thread, and vouched for by a `mark` entry.

use qenex_journal::checkpoint::Begun;
use qenex_journal::checkpoint::SealedFile;
use qenex_journal::disk::Disk;
use qenex_journal::log::{EntryHeader, EntryKind, Hash};
use qenex_kernel::row::Account;
use zerocopy::IntoBytes;

use super::pipeline::Room;
use super::{Action, Engine};
use crate::state::{Checkpoint, Mark, Newest, Place};

/// Pages of 64 accounts copied in one step: half a megabyte.
const STEP_PAGES: usize = 64;
/// Steps whose rows may wait to be written: the core copies no faster than the disk takes it.
const STEPS_MAX: u32 = 4;

/// What is to be done for a checkpoint outside, in order.
#[derive(Debug)]
pub enum CheckpointJob {
    /// Begin its file.
    Begin(Box<Begun>),
    /// Append accounts.
    Accounts(Vec<Account>),
    /// Append the rest, make it durable, give it its name.
    Finish(Vec<SealedFile>),
}

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointDone {
    /// What was to be written is.
    Written,
    /// The checkpoint is durable; the ledger in it has this hash.
    Finished(Hash),
    /// There is no space for it, and what was written of it is forgotten.
    NoSpace,
}

/// A checkpoint under way.
#[derive(Debug)]
struct UnderWay {
    mark: Mark,
    newest: Newest,
    /// Jobs that are not done.
    jobs: u32,
    /// All accounts are copied.
    copied: bool,
    /// The last job was given.
    finishing: bool,
    /// There was no space: the rest is copied to no end, which ends it.
    abandoned: bool,
}

#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    under_way: Option<UnderWay>,
    /// To be journalled.
    mark: Option<Mark>,
}

impl Checkpoints {
    /// Whether accounts can be copied now.
    pub(super) fn has_work(&self) -> bool {
        self.under_way.as_ref().is_some_and(|under_way| !under_way.copied && under_way.jobs < STEPS_MAX)
    }
}

impl<D: Disk> Engine<D> {
    /// Begins a checkpoint if the entry just applied, which stands in this group, ended a segment and it is time.
    pub(super) fn begin_checkpoint(&mut self, group: u64, group_hash: &Hash, actions: &mut Vec<Action>) {
        if !self.state.is_checkpoint_due() || self.checkpoints.under_way.is_some() || self.checkpoints.mark.is_some() {
            return;
        }
        let place = Place { incarnation: self.incarnation, journal: self.journal, group, group_hash: *group_hash };
        self.state.begin_checkpoint(&place);
        self.take_checkpoint(actions);
    }

    /// Takes on the checkpoint that was begun, if there is one: here, or by the replay that came before this engine.
    fn take_checkpoint(&mut self, actions: &mut Vec<Action>) {
        let Some(checkpoint) = self.state.take_checkpoint() else { return };
        let Checkpoint { begun, mark, newest } = *checkpoint;
        self.checkpoints.under_way =
            Some(UnderWay { mark, newest, jobs: 1, copied: false, finishing: false, abandoned: false });
        actions.push(Action::Checkpoint(CheckpointJob::Begin(Box::new(begun))));
    }

    /// The next step of what is under way.
    pub(super) fn step_checkpoint(&mut self, actions: &mut Vec<Action>) {
        self.push_mark();
        self.take_checkpoint(actions);
        let Some(under_way) = &mut self.checkpoints.under_way else { return };
        if !under_way.copied && under_way.jobs < STEPS_MAX {
            match self.state.store_mut().checkpoint_step(STEP_PAGES) {
                None => under_way.copied = true,
                Some(_) if under_way.abandoned => {}
                Some(rows) => {
                    under_way.jobs += 1;
                    actions.push(Action::Checkpoint(CheckpointJob::Accounts(rows)));
                }
            }
        }
        if !under_way.copied || under_way.finishing || under_way.jobs > 0 {
            return;
        }
        if under_way.abandoned {
            self.checkpoints.under_way = None;
        } else if let Some(files) = self.state.machine().store().sealed_files(under_way.newest.segments) {
            under_way.finishing = true;
            under_way.jobs += 1;
            actions.push(Action::Checkpoint(CheckpointJob::Finish(files)));
        }
    }

    pub(super) fn checkpoint_done(&mut self, done: CheckpointDone) {
        let Some(under_way) = &mut self.checkpoints.under_way else { return };
        under_way.jobs -= 1;
        match done {
            CheckpointDone::Written => {}
            CheckpointDone::NoSpace => under_way.abandoned = true,
            CheckpointDone::Finished(state_hash) => {
                self.checkpoints.mark = Some(Mark { state_hash, ..under_way.mark });
                self.state.set_newest(under_way.newest);
                self.checkpoints.under_way = None;
                return;
            }
        }
        if under_way.abandoned && under_way.finishing {
            self.checkpoints.under_way = None;
        }
    }

    /// Journals the mark of the checkpoint that was finished, once there is room.
    fn push_mark(&mut self) {
        let Some(mark) = self.checkpoints.mark else { return };
        if self.check_writable(0).is_err() {
            return;
        }
        if let Ok(Room::At(timestamp)) = self.room_for(0, size_of::<Mark>(), 0, 0) {
            let entry = EntryHeader::new(EntryKind::Mark, timestamp);
            self.pipeline.push(entry, &[], size_of::<Mark>(), mark.as_bytes(), self.clock.monotonic_ns());
            self.checkpoints.mark = None;
        }
    }
}
