//! The turn of segments: one is closed, the next is open, the closed one is sealed, and its keys settle in the directory.

use std::sync::{Arc, PoisonError};

use qenex_kernel::row::{BATCH_MAX, EventResult};

use super::hash::prefix;
use super::memory::{Closed, Open};
use super::pages::{Made, Pages, PagesJob};
use super::sealed::{RESOLVES, SealJob, SealedSegment};
use super::store::{LedgerStore, ROWS_FEW, rows_max};
use super::view::View;
use super::{Counters, Entry};
use crate::disk::Disk;

/// Closed segments that may wait to be sealed.
const CLOSED_MAX: usize = 3;

impl<D: Disk> LedgerStore<D> {
    /// Ends an entry of the journal whose rows have been applied: keeps what its results cannot be told from, and
    /// closes the segment if it is full. Every entry is ended, in order, those of other kinds without results.
    ///
    /// Returns the segment to seal if this one was closed, unless the store is all in memory. Run the job on another
    /// thread and give what it returns to [`Self::sealed`].
    ///
    /// # Panics
    /// If the entry does not follow the one before.
    pub fn close_entry(&mut self, entry: &Entry, results: &[EventResult]) -> Option<SealJob> {
        let rows = &mut self.open.rows;
        rows.push_entry(entry.number, entry.operation, entry.timestamp, results);
        let expiries = rows.expiries.len() - self.expiries_before_entry;
        self.expiries_before_entry = rows.expiries.len();
        self.segment_weight += (results.len() + expiries) as u64;
        let full = self.segment_weight >= u64::from(self.options.segment_rows)
            || rows.entries.len() >= self.options.segment_entries as usize;
        if full {
            return self.close_segment();
        }
        let rows_max = rows_max(&self.options);
        if self.open.lookup.rows() < rows_max && self.open.lookup.lacks(2 * BATCH_MAX) {
            self.open.grow(rows_max);
        }
        None
    }

    fn close_segment(&mut self) -> Option<SealJob> {
        let number = self.open.rows.number + 1;
        self.transfers_before_segment += u64::from(View::rows(&self.open));
        let next = match self.spare.pop() {
            Some(spare) => spare.renumbered(number),
            None => Open::new(self.keys, number, rows_max(&self.options)),
        };
        let closed = core::mem::replace(&mut self.open, next).close();
        self.segment_weight = 0;
        self.expiries_before_entry = 0;
        if self.in_memory {
            self.list(&closed);
            self.closed.push_back(closed);
            return None;
        }
        let rows = Arc::clone(&closed.rows);
        self.closed.push_back(closed);
        let room = self.directory.wanted_room(rows.number, self.closed.len());
        let (cache, scratch) = (Arc::clone(&self.cache), Arc::clone(&self.scratch));
        Some(SealJob { book: self.book, keys: self.keys, rows, cache, room, scratch })
    }

    /// Adds a segment that stays in memory to the directory.
    fn list(&mut self, closed: &Closed) {
        let (rows, keys) = (&closed.rows, self.keys);
        let transfers = || rows.transfers.iter().map(|line| &line.0);
        let resolved =
            transfers().filter(|transfer| transfer.flags & RESOLVES != 0).map(|transfer| transfer.pending_id);
        let expired = rows.expiries.iter().map(|expiry| expiry.pending_id);
        let ids = transfers().map(|transfer| transfer.id).chain(rows.burned.iter().map(|burned| burned.id));
        let prefixes = ids
            .map(|id| prefix(keys.id(id)))
            .chain(resolved.chain(expired).map(|pending_id| prefix(keys.resolution(pending_id))));
        self.directory.open_segment(rows.number, 2 * rows.transfers.len() + rows.burned.len() + rows.expiries.len());
        self.directory.insert(prefixes, rows.number);
        self.directory.insert_blocks(closed.blocks.words());
    }

    /// A closed segment has been sealed; once all of it is in the directory it is read from its file. Segments come in
    /// order, each when [`Self::is_settling`] says no.
    ///
    /// # Panics
    /// If it is not the oldest closed one.
    pub fn sealed(&mut self, mut segment: SealedSegment<D>) {
        assert!(segment.number() as usize == self.sealed.len() && !self.is_settling(), "segments are sealed in order");
        let fresh = segment.fresh.as_mut().expect("a segment that was sealed just now");
        if let Some(room) = fresh.room.take() {
            self.directory.give_room(room);
        }
        let keys = fresh.indexes.keys().map(<[u64]>::len).iter().sum();
        self.directory.open_segment(segment.number(), keys);
        self.settling = Some((segment, 0));
    }

    /// Both in one, for those whom nobody waits for: a closed segment has been sealed, and is read from its file now.
    ///
    /// # Panics
    /// As [`Self::sealed`].
    pub fn sealed_at_once(&mut self, segment: SealedSegment<D>) {
        self.sealed(segment);
        self.settle(usize::MAX);
    }

    /// Whether there is something to [`settle`](Self::settle).
    pub const fn is_settling(&self) -> bool {
        self.settling.is_some()
    }

    /// Adds keys of the segment that was sealed last to the directory, so many at most.
    pub fn settle(&mut self, keys: usize) {
        let Some((mut segment, done)) = self.settling.take() else { return };
        let number = segment.number();
        let fresh = segment.fresh.take().expect("it was not settled yet");
        let [ids, resolutions] = fresh.indexes.keys();
        let left = ids.iter().chain(resolutions).skip(done).take(keys);
        self.directory.insert(left.map(|&entry| prefix(entry)), number);
        if done.saturating_add(keys) < ids.len() + resolutions.len() {
            segment.fresh = Some(fresh);
            self.settling = Some((segment, done + keys));
            return;
        }
        self.directory.insert_blocks(fresh.indexes.blocks());
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).push(fresh.indexes);
        self.sealed.push(segment);
        let closed = self.closed.pop_front().expect("a sealed segment was closed");
        self.spare.extend(closed.recycle());
    }

    /// Memory that another thread should make for what is to come.
    pub fn wanted_pages(&self) -> Option<PagesJob> {
        let rows_max = rows_max(&self.options);
        // A book that has few rows needs no more than the memory that these take.
        if self.open.lookup.rows() == rows_max && self.open.rows.wants_memory(rows_max) {
            return Some(PagesJob::rows());
        }
        let is_far = self.open.rows.transfers.len() > rows_max / 4;
        (is_far && self.spare.is_empty()).then(|| PagesJob::segment(self.keys, rows_max))
    }

    /// Takes the memory.
    pub fn give_pages(&mut self, pages: Pages) {
        match pages.0 {
            Made::Rows(memory) => self.open.rows.give(memory),
            Made::Segment(open) => self.spare.push(*open),
        }
    }

    /// Has the system give the memory that the first transfers need, unless the book is a small one.
    pub fn warm(&mut self) {
        let rows_max = rows_max(&self.options);
        let Counters { accounts, transfers, .. } = self.counters();
        if accounts.max(transfers) < ROWS_FEW as u64 {
            return;
        }
        if self.open.lookup.rows() < rows_max {
            self.open.grow(rows_max);
        }
        self.open.lookup.touch();
    }

    /// Whether so many closed segments wait to be sealed that no more entries should be applied for now.
    pub fn seal_backlog(&self) -> bool {
        !self.in_memory && self.closed.len() >= CLOSED_MAX
    }
}
