//! The runtime, played: it carries out what the engine asks for, in an order that the seed draws, and brings frames to
//! and fro. What the real one does on four threads happens here one piece at a time.

use std::collections::{BTreeMap, VecDeque};

use qenex_engine::clock::Now;
use qenex_engine::credential::Credential;
use qenex_engine::engine::{
    Action, Admission, CheckpointDone, CheckpointJob, ConnectionId, Engine, Event, Group, Setup, Taken,
};
use qenex_engine::frame::{ErrorCode, Header, Judgement, Kind, Operation, Welcome, judge};
use qenex_engine::limits::{Configuration, HELLO_WITHIN_NS, Limits};
use qenex_engine::recover::Opened;
use qenex_journal::checkpoint::Writer;
use qenex_journal::derived::{SealJob, SegmentError};
use qenex_journal::disk::sim::{Lies, Random};
use qenex_journal::disk::{Caching, Disk, DiskError, DiskFile, SimDisk};
use qenex_journal::log::{Appended, Journal, JournalError, PrepareJob, Progress, Reserve};

use crate::client::{Client, READS};
use crate::model::Model;
use crate::{Bug, Failed, Outcome, SECRET, Stats, ensure};

/// What one piece of work came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alive {
    Yes,
    /// The engine has ended, cleanly.
    Stopped,
    /// The process has ended.
    Died,
}

/// Jobs of the background thread, in order.
enum Job {
    Seal(SealJob),
    Checkpoint(CheckpointJob),
}

/// A connection: what is on its way in both directions.
struct Line {
    client: usize,
    opened_ns: u64,
    inbound: VecDeque<Vec<u8>>,
    /// Admitted by its header; the body is there too, when it is its turn.
    admitted: Option<(Vec<u8>, u64)>,
    outbound: VecDeque<Vec<u8>>,
    parked: bool,
    /// The client is gone.
    closed: bool,
    /// The engine has closed it; the client finds out when it has heard everything.
    shut: bool,
}

/// Everything around the engine that a node can see and touch.
pub struct Around<'a> {
    pub now: &'a mut Now,
    pub random: &'a mut Random,
    pub model: &'a mut Model,
    pub clients: &'a mut [Client],
    pub stats: &'a mut Stats,
}

pub struct Node {
    disk: SimDisk,
    bug: Option<Bug>,
    engine: Engine<SimDisk>,
    journal: Journal<SimDisk>,
    reserve: Reserve<SimDisk>,
    lines: BTreeMap<ConnectionId, Line>,
    next_line: ConnectionId,
    parked: VecDeque<ConnectionId>,
    /// The highest request of each session that the engine has taken in this life.
    taken: BTreeMap<[u8; 16], u64>,
    writing: Option<Group>,
    preparing: Option<PrepareJob<SimDisk>>,
    jobs: VecDeque<Job>,
    checkpoint: Option<Writer<SimDisk>>,
    ending: Option<u64>,
    stopped: bool,
    died: bool,
    /// The file whose sync comes after the answer (a planted bug).
    unsynced: Option<u64>,
}

impl Node {
    pub fn new(
        disk: SimDisk,
        opened: Opened<SimDisk>,
        bug: Option<Bug>,
        sessions_max: u32,
        clock_trusted: bool,
        now: Now,
    ) -> Self {
        let header = *opened.journal.header();
        let reserve = opened.journal.reserve();
        let engine = Engine::new(Setup {
            state: opened.state,
            tip: opened.tip,
            reserve: reserve.clone(),
            book: header.book,
            incarnation: header.incarnation,
            journal: header.journal,
            group_bytes_max: opened.journal.options().group_bytes_max,
            limits: Limits::default(),
            configuration: Configuration::new(sessions_max),
            credentials: vec![Credential::owner(SECRET)],
            nonce_key: [4; 32],
            now,
            clock_trusted,
        });
        Self {
            disk,
            bug,
            engine,
            journal: opened.journal,
            reserve,
            lines: BTreeMap::new(),
            next_line: 1,
            parked: VecDeque::new(),
            taken: BTreeMap::new(),
            writing: None,
            preparing: None,
            jobs: VecDeque::new(),
            checkpoint: None,
            ending: None,
            stopped: false,
            died: false,
            unsynced: None,
        }
    }

    pub fn engine(&self) -> &Engine<SimDisk> {
        &self.engine
    }

    /// Whether a group is about to be written.
    pub fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// The file of the journal that is written.
    pub fn file(&self) -> u64 {
        self.journal.header().file
    }

    /// One piece of work, drawn.
    pub fn turn(&mut self, around: &mut Around<'_>, new: bool) -> Result<Alive, Failed> {
        match around.random.below(22) {
            0..5 => self.event(around, Event::Wake)?,
            5..9 => self.act(around, new)?,
            9..13 => self.take_in(around)?,
            13..16 => self.bring_out(around)?,
            16..18 => self.write(around)?,
            18 => self.prepare(around)?,
            19..21 => self.work(around)?,
            _ => {
                self.end(around)?;
                self.sync_late()?;
            }
        }
        Ok(match (self.stopped, self.died) {
            (true, _) => Alive::Stopped,
            (_, true) => Alive::Died,
            _ => Alive::Yes,
        })
    }

    pub fn stop(&mut self, around: &mut Around<'_>) -> Outcome {
        self.event(around, Event::Stop)
    }

    /// A client's connection breaks, with what was on its way.
    pub fn cut(&mut self, around: &mut Around<'_>) {
        let open: Vec<ConnectionId> = self.lines.iter().filter(|(_, line)| !line.closed).map(|(id, _)| *id).collect();
        if open.is_empty() {
            return;
        }
        let id = open[crate::model::index(around.random.below(open.len() as u64))];
        self.hang_up(around, id);
    }

    fn hang_up(&mut self, around: &mut Around<'_>, id: ConnectionId) {
        let line = self.lines.get_mut(&id).expect("a line");
        line.closed = true;
        around.clients[line.client].hang_up();
        let arrives = crate::model::index(around.random.below(line.inbound.len() as u64 + 1));
        line.inbound.truncate(arrives);
        line.outbound.clear();
    }

    fn event(&mut self, around: &mut Around<'_>, event: Event<'_, SimDisk>) -> Outcome {
        self.offer(around, event).map(|_| ())
    }

    fn offer(&mut self, around: &mut Around<'_>, event: Event<'_, SimDisk>) -> Result<Taken, Failed> {
        let mut actions = Vec::new();
        let taken = self.engine.step(*around.now, event, &mut actions)?;
        ensure(taken == Taken::Yes || actions.is_empty(), || "something was done with a parked frame".to_owned())?;
        self.perform(around, actions)?;
        Ok(taken)
    }

    fn perform(&mut self, around: &mut Around<'_>, actions: Vec<Action>) -> Outcome {
        for action in actions {
            match action {
                Action::Send { connection, frame } => self.send(around, connection, frame.bytes())?,
                Action::Close { connection } => {
                    if let Some(line) = self.lines.get_mut(&connection) {
                        // What was sent before still goes out.
                        line.inbound.clear();
                        line.admitted = None;
                        line.shut = true;
                    }
                }
                Action::Write(group) => {
                    ensure(self.writing.is_none(), || "two groups are written at a time".to_owned())?;
                    self.writing = Some(group);
                }
                Action::Prepare => match self.reserve.prepare_next() {
                    Some(job) => self.preparing = Some(job),
                    None => self.event(around, Event::Prepared { done: true })?,
                },
                Action::Seal(job) => self.jobs.push_back(Job::Seal(job)),
                Action::Checkpoint(job) => self.jobs.push_back(Job::Checkpoint(job)),
                Action::MakePages(job) => self.event(around, Event::Pages(job.run()))?,
                Action::Backup(_) => return Err(Failed("a backup that nobody asked for".to_owned())),
                Action::End { timestamp } => self.ending = Some(timestamp),
                Action::Stopped => self.stopped = true,
            }
        }
        Ok(())
    }

    /// The engine says something. It is judged here, whether or not it ever arrives.
    fn send(&mut self, around: &mut Around<'_>, connection: ConnectionId, bytes: &[u8]) -> Outcome {
        let (header, body) = (head_of(bytes), &bytes[size_of::<Header>()..]);
        if header.kind() == Some(Kind::Reply) && header.request < READS {
            around.model.replied((header.session, header.request), &header, body)?;
            around.stats.replies += 1;
        }
        if header.kind() == Some(Kind::Welcome) {
            let durable = around.model.durable();
            ensure(header.position_entry <= durable, || "a welcome of what is not durable".to_owned())?;
            // A client goes on above it, so that no number is used twice: whatever was taken counts, durable or not.
            let said = Welcome::read(body)?.row.highest_request;
            let taken = self.taken.get(&header.session).copied().unwrap_or(0);
            let highest = taken.max(around.model.highest(&header.session));
            // Of the bug that forgets requests this would be enough to see it; that they are done twice must be seen too.
            let is_right = said == highest || self.bug == Some(Bug::RetryForgotten);
            ensure(is_right, || format!("a welcome speaks of {said} requests, and {highest} were taken"))?;
        }
        if header.error == ErrorCode::Unauthenticated.number() {
            // They all have the credential: this one was slow.
            let waited_ns = self.lines.get(&connection).map(|line| around.now.monotonic_ns - line.opened_ns);
            ensure(waited_ns >= Some(HELLO_WITHIN_NS), || format!("closed after {waited_ns:?} ns"))?;
            around.stats.strangers += 1;
        }
        if let Some(line) = self.lines.get_mut(&connection).filter(|line| !line.closed) {
            line.outbound.push_back(bytes.to_vec());
        }
        Ok(())
    }

    fn act(&mut self, around: &mut Around<'_>, new: bool) -> Outcome {
        let client = crate::model::index(around.random.below(around.clients.len() as u64));
        let wall_ns = around.now.wall_ns;
        let Some(frame) = around.clients[client].act(around.random, around.model, wall_ns, new) else { return Ok(()) };
        let open = self.lines.iter_mut().find(|(_, line)| line.client == client && !line.closed);
        if let Some((_, line)) = open {
            if !line.shut {
                line.inbound.push_back(frame);
            }
            return Ok(());
        }
        let connection = self.next_line;
        self.next_line += 1;
        let line = Line {
            client,
            opened_ns: around.now.monotonic_ns,
            inbound: VecDeque::from([frame]),
            admitted: None,
            outbound: VecDeque::new(),
            parked: false,
            closed: false,
            shut: false,
        };
        self.lines.insert(connection, line);
        self.event(around, Event::Opened { connection })
    }

    /// Reads a header, or a body; what was parked comes first, in order, as the runtime has it.
    fn take_in(&mut self, around: &mut Around<'_>) -> Outcome {
        while let Some(connection) = self.parked.pop_front() {
            if self.offer_body(around, connection)? == Taken::Parked {
                self.parked.push_front(connection);
                break;
            }
            if let Some(line) = self.lines.get_mut(&connection) {
                line.parked = false;
            }
        }
        let readable: Vec<ConnectionId> =
            self.lines.iter().filter(|(_, line)| !line.parked).map(|(id, _)| *id).collect();
        if readable.is_empty() {
            return Ok(());
        }
        let id = readable[crate::model::index(around.random.below(readable.len() as u64))];
        let line = self.lines.get_mut(&id).expect("a line");
        if let Some((frame, _)) = &line.admitted {
            let header = head_of(frame);
            if (!self.parked.is_empty() && self.engine.may_park(&header))
                || self.offer_body(around, id)? == Taken::Parked
            {
                self.parked.push_back(id);
                self.lines.get_mut(&id).expect("a line").parked = true;
                around.stats.parked += 1;
            }
            return Ok(());
        }
        let Some(frame) = line.inbound.pop_front() else {
            if line.closed {
                self.lines.remove(&id);
                self.event(around, Event::Closed { connection: id })?;
            }
            return Ok(());
        };
        let Judgement::Good(header, _) = judge(frame.first_chunk().expect("a header")) else {
            return Err(Failed("a client's frame is judged bad".to_owned()));
        };
        let mut actions = Vec::new();
        if self.engine.admit(id, &header, &mut actions) == Admission::Read {
            line.admitted = Some((frame, around.now.monotonic_ns));
        }
        self.perform(around, actions)
    }

    fn offer_body(&mut self, around: &mut Around<'_>, connection: ConnectionId) -> Result<Taken, Failed> {
        let Some(line) = self.lines.get_mut(&connection) else { return Ok(Taken::Yes) };
        let Some((frame, arrived_ns)) = line.admitted.take() else { return Ok(Taken::Yes) };
        let header = head_of(&frame);
        let body = &frame[size_of::<Header>()..];
        let mut actions = Vec::new();
        let event = Event::Frame { connection, header: &header, body, arrived_ns };
        let taken = self.engine.step(*around.now, event, &mut actions)?;
        if taken == Taken::Parked {
            ensure(actions.is_empty(), || "something was done with a parked frame".to_owned())?;
            line.admitted = Some((frame, arrived_ns));
            return Ok(taken);
        }
        let is_refused = |action: &Action| matches!(action, Action::Send { frame, .. } if frame.header().error != 0);
        let writes = Operation::from_number(header.operation).is_some_and(Operation::writes);
        if writes && !actions.iter().any(is_refused) {
            let highest = self.taken.entry(header.session).or_default();
            *highest = (*highest).max(header.request);
        }
        // A read is answered at once.
        for action in &actions {
            if let Action::Send { frame: answer, .. } = action
                && answer.header().kind() == Some(Kind::Reply)
                && answer.header().request > READS
                && header.operation != Operation::ConfirmClock.number()
            {
                let operation = Operation::from_number(header.operation).expect("known");
                around.model.read(operation, body, &answer.header(), answer.body())?;
                around.stats.reads += 1;
            }
        }
        self.perform(around, actions)?;
        Ok(taken)
    }

    fn bring_out(&mut self, around: &mut Around<'_>) -> Outcome {
        let speaks = |line: &Line| !line.closed && (line.shut || !line.outbound.is_empty());
        let speaking: Vec<ConnectionId> =
            self.lines.iter().filter(|(_, line)| speaks(line)).map(|(id, _)| *id).collect();
        if speaking.is_empty() {
            return Ok(());
        }
        let id = speaking[crate::model::index(around.random.below(speaking.len() as u64))];
        let line = self.lines.get_mut(&id).expect("a line");
        let client = &mut around.clients[line.client];
        if let Some(frame) = line.outbound.pop_front() {
            client.hear(&frame, around.random, around.model, around.stats)?;
        }
        let over = line.shut && line.outbound.is_empty();
        if !line.closed && (client.leaves || over) {
            self.hang_up(around, id);
        }
        Ok(())
    }

    /// The writer's thread: makes a group durable.
    fn write(&mut self, around: &mut Around<'_>) -> Outcome {
        let Some(mut group) = self.writing.take() else { return Ok(()) };
        let tip = *self.journal.tip();
        if self.bug == Some(Bug::AnsweredBeforeTheSync) {
            self.disk.lie(Lies { sync: true, sync_folder: false, of: "" });
        }
        let appended = self.journal.append(tip.number, &tip.hash, tip.epoch, group.builder_mut())?;
        if self.bug == Some(Bug::AnsweredBeforeTheSync) {
            self.disk.lie(Lies::default());
            self.unsynced = Some(self.file());
        }
        match appended {
            Appended::Appended(tip) => {
                for view in group.builder_mut().views() {
                    around.model.keep(&view)?;
                }
                around.stats.groups += 1;
                self.event(around, Event::Written { group, tip })
            }
            Appended::Fenced(epoch) => Err(Failed(format!("fenced by epoch {epoch}"))),
            Appended::Unknown(error) => Err(error.into()),
        }
    }

    fn sync_late(&mut self) -> Outcome {
        if let Some(file) = self.unsynced.take() {
            self.disk.open(&format!("journal/{file:012}.qxj"), Caching::Direct)?.sync()?;
        }
        Ok(())
    }

    /// The preparer's thread, a step of it.
    fn prepare(&mut self, around: &mut Around<'_>) -> Outcome {
        let Some(mut job) = self.preparing.take() else { return Ok(()) };
        match job.step() {
            Ok(Progress::Working { .. }) => {
                self.preparing = Some(job);
                Ok(())
            }
            Ok(Progress::Done) => self.event(around, Event::Prepared { done: true }),
            Err(error) if JournalError::is_full(&error) => {
                drop(job);
                self.event(around, Event::Prepared { done: false })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The background thread.
    fn work(&mut self, around: &mut Around<'_>) -> Outcome {
        match self.jobs.pop_front() {
            None => Ok(()),
            Some(Job::Seal(job)) => {
                let segment = match job.run(&self.disk) {
                    Ok(segment) => Some(Box::new(segment)),
                    Err(SegmentError::Disk(error)) if error.is_full() => None,
                    Err(error) => return Err(error.into()),
                };
                around.stats.sealed += u64::from(segment.is_some());
                self.event(around, Event::Sealed { segment })
            }
            Some(Job::Checkpoint(job)) => {
                let done = match self.checkpoint(job) {
                    Err(error) if DiskError::is_full(&error) => {
                        self.checkpoint = None;
                        CheckpointDone::NoSpace
                    }
                    done => done?,
                };
                around.stats.checkpoints += u64::from(matches!(done, CheckpointDone::Finished(_)));
                self.event(around, Event::Checkpointed(done))
            }
        }
    }

    fn checkpoint(&mut self, job: CheckpointJob) -> Result<CheckpointDone, DiskError> {
        match (job, self.checkpoint.take()) {
            (CheckpointJob::Begin(begun), _) => {
                self.checkpoint = Some(Writer::new(&self.disk, *begun)?);
                Ok(CheckpointDone::Written)
            }
            (_, None) => Ok(CheckpointDone::NoSpace),
            (CheckpointJob::Accounts(rows), Some(mut writer)) => {
                writer.accounts(&rows)?;
                self.checkpoint = Some(writer);
                Ok(CheckpointDone::Written)
            }
            (CheckpointJob::Finish(files), Some(writer)) => writer.finish(&files).map(CheckpointDone::Finished),
        }
    }

    fn end(&mut self, around: &mut Around<'_>) -> Outcome {
        let Some(timestamp) = self.ending.take() else { return Ok(()) };
        let (applied, results_hash) = (self.engine.state().group(), *self.engine.state().results_hash());
        match self.journal.end(timestamp, applied, results_hash) {
            Ok(_) => self.event(around, Event::Ended),
            // The entry has its space; the mark of a clean end need not have any. The process ends all the same.
            Err(error) if error.is_full() => {
                self.died = true;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Nothing is under way, and nothing on any line.
    pub fn is_quiet(&self) -> bool {
        self.lines.values().all(|line| line.inbound.is_empty() && line.outbound.is_empty() && line.admitted.is_none())
            && self.writing.is_none()
            && self.jobs.is_empty()
            && !self.engine.has_work()
    }
}

fn head_of(frame: &[u8]) -> Header {
    zerocopy::transmute!(*frame.first_chunk::<{ size_of::<Header>() }>().expect("a header"))
}
