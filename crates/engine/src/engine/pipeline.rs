//! Groups: built, handed over, applied, answered.

use std::collections::VecDeque;

use qenex_journal::disk::{BLOCK, Disk};
use qenex_journal::log::{
    CONTEXT_MAX, EntryHeader, EntryKind, EntryView, GroupBuilder, GroupHeader, Hash, Tip, entry_bytes,
};
use qenex_kernel::row::{BATCH_MAX, EventResult, TIMESTAMP_MAX, Transfer};
use qenex_kernel::status::{CreateAccountStatus, CreateTransferStatus, SetAccountTermsStatus};
use qenex_kernel::store::Store;

use super::connection::{InFlight, Waiter};
use super::write::Refusal;
use super::{Action, Engine};
use crate::clock::SECOND_NS;
use crate::frame::{BODY_MAX, ErrorCode, Frame, HEADER_LENGTH, Header, Kind, Operation};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::sessions::SessionId;
use crate::state::{ApplyError, PULSE};

/// Groups that may wait to be applied when another is handed over: more would only be memory.
const APPLYING_MAX: usize = 2;
/// Rows applied in one step at most, beyond those of one entry.
const STEP_ROWS: usize = 4_096;
/// An entry without rows weighs as much as this many of them.
const ENTRY_ROWS: usize = 1;

/// A group of requests on its way to the disk and back.
#[derive(Debug)]
pub struct Group {
    builder: GroupBuilder,
    /// Bytes in it, without padding.
    length: usize,
    requests: u32,
    rows: u32,
    /// It is not handed over before, unless it is full: who lingers waits for others.
    flush_at_ns: u64,
    handed_ns: u64,
}

impl Group {
    fn new(capacity: usize) -> Self {
        let builder = GroupBuilder::new(capacity);
        Self { builder, length: 0, requests: 0, rows: 0, flush_at_ns: u64::MAX, handed_ns: 0 }
    }

    fn clear(&mut self, first_entry: u64) {
        self.builder.clear(first_entry);
        (self.length, self.requests, self.rows) = (GroupHeader::SIZE, 0, 0);
        (self.flush_at_ns, self.handed_ns) = (u64::MAX, 0);
    }

    /// What the journal appends.
    pub const fn builder_mut(&mut self) -> &mut GroupBuilder {
        &mut self.builder
    }

    /// Bytes that it takes on disk.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.builder.disk_bytes()
    }
}

/// A durable group, of which `done` entries are applied.
#[derive(Debug)]
struct Applying {
    group: Group,
    number: u64,
    hash: Hash,
    done: usize,
}

/// Whether an entry can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Yes, with this timestamp.
    At(u64),
    /// Not now.
    None,
}

/// Groups under way.
#[derive(Debug)]
pub(super) struct Pipeline {
    building: Group,
    /// Somebody found no room in it: it is handed over as soon as it can be.
    is_full: bool,
    /// Bytes on disk and first timestamp of the group that is being written.
    writing: Option<(u64, u64)>,
    applying: VecDeque<Applying>,
    spare: Vec<Group>,
    capacity: usize,
    last_timestamp: u64,
    /// Entry and timestamp of the newest pulse.
    pulse: (u64, u64),
    /// More was due at that pulse than it can expire.
    pulse_was_full: bool,
    /// When the first step of applying the group in front began, for the metrics.
    applied_since_ns: Option<u64>,
    /// Where the journal ends.
    tip: Tip,
}

impl Pipeline {
    pub(super) fn new(tip: &Tip, limits: &Limits, group_bytes_max: u64) -> Self {
        // The largest request must fit.
        let least = GroupHeader::SIZE + entry_bytes(0, BODY_MAX) + entry_bytes(0, 0);
        let most = usize::try_from(group_bytes_max).unwrap_or(usize::MAX);
        let capacity = limits.group_bytes.max(least).next_multiple_of(BLOCK).min(most);
        let mut building = Group::new(capacity);
        building.clear(tip.entry + 1);
        Self {
            building,
            is_full: false,
            writing: None,
            applying: VecDeque::new(),
            spare: Vec::new(),
            capacity,
            last_timestamp: tip.timestamp,
            pulse: (0, 0),
            pulse_was_full: false,
            applied_since_ns: None,
            tip: *tip,
        }
    }

    /// Appends an entry for which there is room.
    pub(super) fn push(
        &mut self,
        entry: EntryHeader,
        context: &[u8],
        row_size: usize,
        rows: &[u8],
        flush_at_ns: u64,
    ) -> u64 {
        let group = &mut self.building;
        let number = group.builder.push(entry, context, row_size, rows).expect("there is room, and the time is later");
        group.length += entry_bytes(context.len(), rows.len());
        if entry.kind == EntryKind::Command.number() {
            group.requests += 1;
            group.rows += u32::try_from(rows.len() / row_size).expect("rows of one request");
        }
        group.flush_at_ns = group.flush_at_ns.min(flush_at_ns);
        self.last_timestamp = entry.timestamp;
        number
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.building.builder.entries() == 0 && self.writing.is_none() && self.applying.is_empty()
    }

    /// Timestamp of the first entry that is not applied, if there is one.
    fn oldest(&self) -> Option<u64> {
        let front = self.applying.front().map(|applying| applying.group.builder.timestamps().0);
        let building = (self.building.builder.entries() > 0).then(|| self.building.builder.timestamps().0);
        front.or(self.writing.map(|(_, timestamp)| timestamp)).or(building)
    }

    /// Bytes of groups under way.
    pub(super) fn bytes(&self) -> u64 {
        let applying: u64 = self.applying.iter().map(|applying| applying.group.disk_bytes()).sum();
        applying + self.writing.map_or(0, |(bytes, _)| bytes) + self.building.length as u64
    }

    /// Where the journal ends: the last durable group.
    pub(super) const fn tip(&self) -> &Tip {
        &self.tip
    }

    /// Timestamp of the last entry that was given one.
    pub(super) const fn last_timestamp(&self) -> u64 {
        self.last_timestamp
    }

    /// Whether the group that is being built may be handed over, or from when on.
    pub(super) fn flush_at_ns(&self) -> Option<u64> {
        let waits = self.building.builder.entries() > 0 && self.writing.is_none() && self.applying.len() < APPLYING_MAX;
        waits.then_some(if self.is_full { 0 } else { self.building.flush_at_ns })
    }

    pub(super) fn is_applying(&self) -> bool {
        !self.applying.is_empty()
    }
}

impl<D: Disk> Engine<D> {
    /// Room for an entry of `events` events, and its timestamp: as early as can be while the clock is not confirmed.
    /// Whatever is due before it is expired by an entry of its own, right before.
    pub(super) fn room_for(
        &mut self,
        context_length: usize,
        rows_length: usize,
        events: usize,
        seen_timestamp: u64,
    ) -> Result<Room, Refusal> {
        let slots = events.max(1) as u64;
        let at_least = if self.clock.is_confirmed() { self.clock.wall_ns().max(seen_timestamp) } else { 0 };
        let mut timestamp = at_least.max(self.pipeline.last_timestamp.saturating_add(slots));
        if timestamp > TIMESTAMP_MAX - BATCH_MAX as u64 {
            return Err((ErrorCode::ClockAhead, "the last timestamp there is would be passed".to_owned()));
        }
        // What opened in an entry that is not applied yet lives for a second at least: if none of them is as old as
        // that, everything that can be due is in the state.
        let before = timestamp - slots;
        let is_known = self.pipeline.oldest().is_none_or(|oldest| oldest.saturating_add(SECOND_NS) > before);
        let due = self.is_due(before);
        if !is_known || (self.pipeline.pulse_was_full && self.is_pulse_under_way()) {
            return Ok(Room::None);
        }
        let pulse_bytes = if due { entry_bytes(0, 0) } else { 0 };
        if !self.has_room(pulse_bytes + entry_bytes(context_length, rows_length))? {
            return Ok(Room::None);
        }
        if due {
            self.push_pulse(at_least);
            if self.pipeline.pulse_was_full {
                return Ok(Room::None);
            }
            timestamp = at_least.max(self.pipeline.last_timestamp + slots);
        }
        Ok(Room::At(timestamp))
    }

    /// Whether the group that is built, and the disk's reserve, take so many bytes more.
    fn has_room(&mut self, bytes: usize) -> Result<bool, Refusal> {
        let length = self.pipeline.building.length + bytes;
        if length > self.pipeline.capacity {
            self.pipeline.is_full = true;
            return Ok(false);
        }
        if self.is_reserved(length) {
            return Ok(true);
        }
        // What was accepted had its space: let it go ahead.
        self.pipeline.is_full = true;
        if self.upkeep.is_storage_full() {
            let text = "no space is left for the journal; reads go on, writes do when there is space".to_owned();
            return Err((ErrorCode::StorageFull, text));
        }
        Ok(false)
    }

    /// Whether the disk's reserve takes a group of this length behind the one that is being written.
    fn is_reserved(&self, length: usize) -> bool {
        let writing = self.pipeline.writing.map_or(0, |(bytes, _)| bytes);
        writing + length.next_multiple_of(BLOCK) as u64 <= self.reserve.reserved_bytes()
    }

    /// Whether not even a write of one row finds space any more.
    pub(super) fn is_storage_used_up(&self) -> bool {
        let least = entry_bytes(CONTEXT_MAX, Transfer::SIZE);
        self.upkeep.is_storage_full() && !self.is_reserved(self.pipeline.building.length + least)
    }

    /// Whether a pending transfer expires at or before `timestamp` that no pulse under way will expire.
    pub(super) fn is_due(&self, timestamp: u64) -> bool {
        let machine = self.state.machine();
        if machine.next_expiry().is_none_or(|expires| expires > timestamp) {
            return false;
        }
        let count = |until| machine.store().count_due(until, 2 * BATCH_MAX);
        !self.is_pulse_under_way() || count(timestamp) > count(self.pipeline.pulse.1)
    }

    fn is_pulse_under_way(&self) -> bool {
        self.pipeline.pulse.0 > self.state.entry()
    }

    /// Appends the entry that expires what is due at or before `at_least`, for which there is room.
    fn push_pulse(&mut self, at_least: u64) {
        // Each expiry has a timestamp of its own, above the last one.
        let timestamp = at_least.max(self.pipeline.last_timestamp + BATCH_MAX as u64);
        self.pipeline.pulse_was_full = self.state.machine().store().count_due(timestamp, BATCH_MAX + 1) > BATCH_MAX;
        let entry = EntryHeader { operation: PULSE, ..EntryHeader::new(EntryKind::Tick, timestamp) };
        let number = self.pipeline.push(entry, &[], 1, &[], self.clock.monotonic_ns());
        self.pipeline.pulse = (number, timestamp);
        self.metrics.pulses += 1;
    }

    /// Expires what is due by now, also when no request arrives.
    pub(super) fn expire_due(&mut self) {
        let wall_ns = self.clock.wall_ns();
        let may = self.clock.is_confirmed() && !self.upkeep.stopping && wall_ns < TIMESTAMP_MAX - BATCH_MAX as u64;
        let waits = self.pipeline.pulse_was_full && self.is_pulse_under_way();
        if may && !waits && self.is_due(wall_ns) && self.has_room(entry_bytes(0, 0)).unwrap_or(false) {
            self.push_pulse(wall_ns);
        }
    }

    /// Hands the group over that is being built, if it is time.
    pub(super) fn hand_over(&mut self, actions: &mut Vec<Action>) {
        let now_ns = self.clock.monotonic_ns();
        let at_ns =
            if self.upkeep.stopping { self.pipeline.flush_at_ns().map(|_| 0) } else { self.pipeline.flush_at_ns() };
        if at_ns.is_none_or(|at_ns| at_ns > now_ns) {
            return;
        }
        let pipeline = &mut self.pipeline;
        let next_entry = pipeline.building.builder.next_entry();
        let mut next = pipeline.spare.pop().unwrap_or_else(|| Group::new(pipeline.capacity));
        next.clear(next_entry);
        let mut group = core::mem::replace(&mut pipeline.building, next);
        group.handed_ns = now_ns;
        group.builder.set_results(self.state.group(), *self.state.results_hash());
        pipeline.writing = Some((group.disk_bytes(), group.builder.timestamps().0));
        pipeline.is_full = false;
        actions.push(Action::Write(group));
    }

    /// A group is durable.
    pub(super) fn written(&mut self, group: Group, tip: &Tip) {
        self.metrics.sync.record(self.clock.monotonic_ns().saturating_sub(group.handed_ns));
        self.metrics.groups += 1;
        self.metrics.group_requests += u64::from(group.requests);
        self.metrics.group_rows += u64::from(group.rows);
        self.metrics.group_requests_max = self.metrics.group_requests_max.max(u64::from(group.requests));
        self.pipeline.writing = None;
        self.pipeline.tip = *tip;
        self.pipeline.applying.push_back(Applying { group, number: tip.number, hash: tip.hash, done: 0 });
    }

    /// Applies and answers the next entries that are durable: some thousand rows, or one entry.
    pub(super) fn apply_some(&mut self, actions: &mut Vec<Action>) -> Result<(), ApplyError> {
        let now_ns = self.clock.monotonic_ns();
        if self.state.machine().store().seal_backlog() {
            // Memory would only grow: what was accepted waits until the disk has caught up.
            return Ok(());
        }
        let Some(mut applying) = self.pipeline.applying.pop_front() else {
            self.note_applied(now_ns);
            return Ok(());
        };
        if applying.done == 0 {
            self.note_applied(now_ns);
            self.pipeline.applied_since_ns = Some(now_ns);
        }
        let mut weight = 0;
        for view in applying.group.builder.views().skip(applying.done) {
            self.apply_entry(&view, &applying.group, actions)?;
            self.begin_checkpoint(applying.number, &applying.hash, actions);
            applying.done += 1;
            weight += ENTRY_ROWS + view.header.rows as usize;
            if weight >= STEP_ROWS {
                break;
            }
        }
        if applying.done < applying.group.builder.entries() as usize {
            self.pipeline.applying.push_front(applying);
        } else {
            self.state.end_group(applying.number);
            self.pipeline.spare.push(applying.group);
        }
        Ok(())
    }

    /// The group before was done by now.
    fn note_applied(&mut self, now_ns: u64) {
        if let Some(since_ns) = self.pipeline.applied_since_ns.take() {
            self.metrics.apply.record(now_ns.saturating_sub(since_ns));
        }
    }

    fn apply_entry(
        &mut self,
        view: &EntryView<'_>,
        group: &Group,
        actions: &mut Vec<Action>,
    ) -> Result<(), ApplyError> {
        let session = view.header.session;
        match EntryKind::from_number(view.header.kind) {
            Some(EntryKind::Command) => {
                let Some(in_flight) = self.take_in_flight(session, view.header.request) else {
                    return self.state.apply(view, None, &mut Vec::new());
                };
                self.apply_command(view, group, &in_flight, actions)
            }
            Some(EntryKind::Session) => {
                self.state.apply(view, None, &mut Vec::new())?;
                self.session_opened(session, actions);
                Ok(())
            }
            _ => self.state.apply(view, None, &mut Vec::new()),
        }
    }

    /// Applies a command; its results go straight into the frame that answers it.
    fn apply_command(
        &mut self,
        view: &EntryView<'_>,
        group: &Group,
        in_flight: &InFlight,
        actions: &mut Vec<Action>,
    ) -> Result<(), ApplyError> {
        let entry = view.header;
        let waited_ns = group.handed_ns.saturating_sub(in_flight.arrived_ns);
        let header = Header {
            operation: entry.operation,
            request: entry.request,
            position_journal: self.journal,
            position_epoch: self.state.epoch(),
            position_entry: entry.number,
            timestamp: entry.timestamp,
            linger_us: u32::try_from(waited_ns / 1_000).unwrap_or(u32::MAX),
            group_requests: group.requests,
            group_rows: group.rows,
            ..self.answer(Kind::Reply, entry.session)
        };
        let mut applied = Ok(());
        let (state, metrics) = (&mut self.state, &mut self.metrics);
        let write = |results: &mut Vec<EventResult>| {
            let begin = results.len();
            applied = state.apply(view, Some(in_flight.rows_checksum), results);
            count_results(metrics, entry.operation, &results[begin..]);
        };
        let trace = |waiter: &Waiter| Header { trace: waiter.trace, ..header };
        let Some((first, others)) = in_flight.waiters.split_first() else {
            return Err(ApplyError::Unawaited { entry: entry.number });
        };
        let frame = Frame::of(trace(first), entry.rows as usize, write);
        applied?;
        for waiter in others {
            let frame = Frame::copied(trace(waiter), frame.body());
            actions.push(Action::Send { connection: waiter.connection, frame });
        }
        actions.push(Action::Send { connection: first.connection, frame });
        self.metrics.answer.record(self.clock.monotonic_ns().saturating_sub(in_flight.arrived_ns));
        Ok(())
    }

    fn take_in_flight(&mut self, session: SessionId, request: u64) -> Option<InFlight> {
        let live = self.live.get_mut(&session)?;
        let in_flight = live.take(request)?;
        if live.is_idle() {
            self.live.remove(&session);
        }
        Some(in_flight)
    }
}

/// Counts results by status.
fn count_results(metrics: &mut Metrics, operation: u16, results: &[EventResult]) {
    let Some(operation) = Operation::from_number(operation) else { return };
    let created = CreateTransferStatus::Created.number();
    let plain = results.iter().filter(|result| result.status == created).count();
    let name = |status: u32| match operation {
        Operation::CreateAccounts => CreateAccountStatus::from_number(status).map(CreateAccountStatus::name),
        Operation::CreateTransfers => CreateTransferStatus::from_number(status).map(CreateTransferStatus::name),
        _ => SetAccountTermsStatus::from_number(status).map(SetAccountTermsStatus::name),
    };
    if plain > 0 {
        metrics.result(operation.name(), name(created).unwrap_or("created"), plain as u64);
    }
    if plain < results.len() {
        for result in results.iter().filter(|result| result.status != created) {
            metrics.result(operation.name(), name(result.status).unwrap_or("unknown"), 1);
        }
    }
}

const _: () = assert!(HEADER_LENGTH + BODY_MAX < 2 << 20);
