//! Connections that no book has: those that have not said hello, those that wait for their book, and those of the system.

use std::collections::{BTreeMap, BTreeSet};

use super::file::BookId;
use super::system::Asked;
use crate::frame::{ErrorCode, Frame, Header};
use crate::limits::HELLO_WITHIN_NS;
use crate::runtime::Peer;

/// Names a connection for as long as it is here.
pub(super) type GuestId = u64;

/// How far a connection is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    /// The front has not yet said whose connection it is.
    Unnamed,
    /// It has not said hello.
    Stranger,
    /// It has said hello to a book, of which the frame is still in its buffer, and waits for it.
    Waiting(BookId),
    /// It has said hello to the system, and was sent a challenge.
    Asked(Asked),
    /// It has proven to have the credential of the system; whether a request of it is under way.
    System(bool),
    /// It was told that it ends.
    Leaving,
}

pub(super) struct Guest {
    pub(super) peer: Peer,
    pub(super) stage: Stage,
    /// When it came, or began to wait.
    pub(super) since_ns: u64,
}

/// See the module.
#[derive(Default)]
pub(super) struct Guests {
    all: BTreeMap<GuestId, Guest>,
    /// Those that have proven nothing, by age: it takes no credential to be one.
    strangers: BTreeSet<(u64, GuestId)>,
    /// Of them, those that wait for their book.
    waiting: BTreeSet<(u64, GuestId)>,
    /// Those that something is to be written to.
    pub(super) dirty: BTreeSet<GuestId>,
}

impl Guests {
    pub(super) fn insert(&mut self, id: GuestId, peer: Peer, stage: Stage, now_ns: u64) {
        self.strangers.insert((now_ns, id));
        self.all.insert(id, Guest { peer, stage, since_ns: now_ns });
    }

    pub(super) fn get(&mut self, id: GuestId) -> Option<&mut Guest> {
        self.all.get_mut(&id)
    }

    pub(super) fn ids(&self) -> Vec<GuestId> {
        self.all.keys().copied().collect()
    }

    pub(super) fn strangers(&self) -> usize {
        self.strangers.len()
    }

    /// Those of the system.
    pub(super) fn of_system(&self) -> usize {
        self.all.values().filter(|guest| matches!(guest.stage, Stage::System(_))).count()
    }

    pub(super) fn oldest(&self) -> Option<GuestId> {
        self.strangers.first().map(|(_, id)| *id)
    }

    /// The oldest that has had its time to say who it is.
    pub(super) fn overdue(&self, now_ns: u64) -> Option<GuestId> {
        self.strangers.first().filter(|(since_ns, _)| since_ns + HELLO_WITHIN_NS <= now_ns).map(|(_, id)| *id)
    }

    /// The one that waits longest for its book, if that is so long.
    pub(super) fn waiting_since(&self, ago_ns: u64, now_ns: u64) -> Option<GuestId> {
        self.waiting.first().filter(|(since_ns, _)| since_ns + ago_ns <= now_ns).map(|(_, id)| *id)
    }

    /// When the next of these two will be, given how long one may wait.
    pub(super) fn next_ns(&self, wait_ns: u64) -> Option<u64> {
        let overdue = self.strangers.first().map(|(since_ns, _)| since_ns + HELLO_WITHIN_NS);
        let waited = self.waiting.first().map(|(since_ns, _)| since_ns + wait_ns);
        overdue.into_iter().chain(waited).min()
    }

    /// All that wait for this book.
    pub(super) fn waiting_for(&self, book: &BookId) -> Vec<GuestId> {
        let is_meant = |id: &GuestId| {
            self.all.get(id).is_some_and(|guest| matches!(guest.stage, Stage::Waiting(waited) if waited == *book))
        };
        self.waiting.iter().map(|(_, id)| *id).filter(is_meant).collect()
    }

    /// It is so far from here on.
    pub(super) fn set_stage(&mut self, id: GuestId, stage: Stage, now_ns: u64) {
        let Some(guest) = self.all.get_mut(&id) else { return };
        self.strangers.remove(&(guest.since_ns, id));
        self.waiting.remove(&(guest.since_ns, id));
        guest.stage = stage;
        match stage {
            Stage::Waiting(_) => {
                guest.since_ns = now_ns;
                self.strangers.insert((now_ns, id));
                self.waiting.insert((now_ns, id));
            }
            Stage::Unnamed | Stage::Stranger | Stage::Asked(_) => _ = self.strangers.insert((guest.since_ns, id)),
            Stage::System(_) | Stage::Leaving => {}
        }
    }

    pub(super) fn send(&mut self, id: GuestId, frame: Frame) {
        if let Some(guest) = self.all.get_mut(&id) {
            guest.peer.send(frame);
            self.dirty.insert(id);
        }
    }

    /// Tells a connection why it ends, and ends it once that is out.
    pub(super) fn dismiss(&mut self, id: GuestId, header: &Header, code: ErrorCode, retry_after_us: u32, text: &str) {
        self.send(id, Frame::error(&Header { request: 0, ..*header }, code, retry_after_us, text));
        self.end(id);
    }

    /// Ends a connection once everything is out that was said to it.
    pub(super) fn end(&mut self, id: GuestId) {
        self.set_stage(id, Stage::Leaving, 0);
        if let Some(guest) = self.all.get_mut(&id) {
            guest.peer.close();
            self.dirty.insert(id);
        }
    }

    /// It is gone, or somebody else's from here on.
    pub(super) fn remove(&mut self, id: GuestId) -> Option<Guest> {
        let guest = self.all.remove(&id)?;
        self.strangers.remove(&(guest.since_ns, id));
        self.waiting.remove(&(guest.since_ns, id));
        self.dirty.remove(&id);
        Some(guest)
    }

    /// Those that sent nothing for too long in the middle of a frame.
    pub(super) fn silent(&self, now_ns: u64) -> Vec<GuestId> {
        self.all.iter().filter(|(_, guest)| guest.peer.is_silent(now_ns)).map(|(id, _)| *id).collect()
    }

    /// Those that took nothing for too long of what was said to them.
    pub(super) fn deaf(&self, now_ns: u64) -> Vec<GuestId> {
        self.all.iter().filter(|(_, guest)| guest.peer.is_deaf(now_ns)).map(|(id, _)| *id).collect()
    }

    /// Writes to those that something is to be written to; those that are gone after that are not here any more.
    pub(super) fn flush(&mut self, now_ns: u64) -> Vec<Guest> {
        let dirty = core::mem::take(&mut self.dirty);
        let over = dirty.into_iter().filter(|id| self.all.get_mut(id).is_some_and(|guest| !guest.peer.flush(now_ns)));
        over.collect::<Vec<_>>().into_iter().filter_map(|id| self.remove(id)).collect()
    }
}
