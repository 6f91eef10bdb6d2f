//! The engine as a state machine: events in, actions out.
//!
//! No socket, clock, thread or randomness is in here, and no order comes from a hash map: whoever runs it (the server,
//! the embedded engine, the simulator) says what happened and when, and carries out the actions. The way of a write:
//!
//! 1. [`Event::Frame`]: judged, stamped with a time, copied into the group that is being built;
//! 2. [`Event::Wake`] hands the group over in [`Action::Write`], as soon as the one before is durable;
//! 3. [`Event::Written`]: it is durable; the following wakes apply it, in bounded steps, and answer.
//!
//! Nothing is applied before it is durable, so what reads see is durable too.

mod backup;
mod checkpoint;
mod connection;
pub(crate) mod hello;
mod pipeline;
mod read;
mod reading;
#[cfg(test)]
mod tests;
mod upkeep;
pub(crate) mod write;

use std::collections::BTreeMap;

use qenex_journal::derived::{Pages, PagesJob, SealJob, SealedSegment};
use qenex_journal::disk::Disk;
use qenex_journal::log::{Reserve, Tip};

use crate::clock::{Clock, Now, SECOND_NS};
use crate::credential::{Credential, Fingerprint, Nonces};
use crate::frame::{Defect, ErrorCode, Frame, Header, Kind, Operation, Role};
use crate::limits::{Configuration, Limits, SILENCE_MAX_NS};
use crate::metrics::Metrics;
use crate::sessions::SessionId;
use crate::state::{ApplyError, State};

pub use backup::BackupJob;
pub use checkpoint::{CheckpointDone, CheckpointJob};
use connection::{Connection, Live, Strangers};
pub use pipeline::Group;
use pipeline::Pipeline;

/// Names a connection for as long as it is open.
pub type ConnectionId = u64;

/// What happened outside.
#[allow(clippy::large_enum_variant)] // events are not kept
pub enum Event<'a, D: Disk> {
    /// Somebody connected.
    Opened {
        /// The new connection.
        connection: ConnectionId,
    },
    /// A frame came in whose header was judged good.
    Frame {
        /// By whom.
        connection: ConnectionId,
        /// Its header.
        header: &'a Header,
        /// Its body, of the length that the header states.
        body: &'a [u8],
        /// When its header was read, on the monotonic clock.
        arrived_ns: u64,
    },
    /// A connection is gone.
    Closed {
        /// Which.
        connection: ConnectionId,
    },
    /// A group is durable.
    Written {
        /// As handed over.
        group: Group,
        /// Where the journal ends now.
        tip: Tip,
    },
    /// The job of [`Action::Prepare`] is over.
    Prepared {
        /// False: there is no space for it.
        done: bool,
    },
    /// The job of [`Action::Seal`] is over.
    Sealed {
        /// What it made; `None` if there is no space for it.
        segment: Option<Box<SealedSegment<D>>>,
    },
    /// A job of [`Action::Checkpoint`] is over.
    Checkpointed(CheckpointDone),
    /// The job of [`Action::Backup`] is over: the folder, or why there is no backup.
    BackedUp(Result<String, (ErrorCode, String)>),
    /// What the job of [`Action::MakePages`] made.
    Pages(Pages),
    /// From here on these open the book, and no others.
    Credentials(Vec<Credential>),
    /// Time has passed, or there is [`Engine::has_work`].
    Wake,
    /// Bytes that can still be written to the disk, as the runtime asks now and then.
    FreeBytes(u64),
    /// Finish what was accepted, then end.
    Stop,
    /// The journal's end entry is durable.
    Ended,
}

/// What is to be done outside.
#[derive(Debug)]
pub enum Action {
    /// Send a frame.
    Send {
        /// To whom.
        connection: ConnectionId,
        /// What.
        frame: Frame,
    },
    /// Close a connection once everything sent before is out.
    Close {
        /// Which.
        connection: ConnectionId,
    },
    /// Make a group durable, then [`Event::Written`]. One at a time.
    Write(Group),
    /// Prepare the journal's next file, then [`Event::Prepared`].
    Prepare,
    /// Seal a segment, then [`Event::Sealed`]. One at a time.
    Seal(SealJob),
    /// Do this for the checkpoint under way, then [`Event::Checkpointed`]; jobs are done in order.
    Checkpoint(CheckpointJob),
    /// Copy the journal, then [`Event::BackedUp`]. One at a time; it need not be over for the engine to end.
    Backup(BackupJob),
    /// Make memory, then [`Event::Pages`]. One at a time.
    MakePages(PagesJob),
    /// Append the end entry with this timestamp, then [`Event::Ended`].
    End {
        /// UTC nanoseconds.
        timestamp: u64,
    },
    /// All is done; the engine takes nothing more.
    Stopped,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was taken.
    Yes,
    /// There is no room now and nothing has happened: the same frame is to be offered again after a wake.
    Parked,
}

/// What to do with a frame of which the header was judged good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Read the body and hand it over.
    Read,
    /// Skip the body; the answer is among the actions.
    Skip,
}

/// What the engine is put together from.
pub struct Setup<D: Disk> {
    /// The state up to the journal's end.
    pub state: State<D>,
    /// Where the journal ends.
    pub tip: Tip,
    /// The journal's space.
    pub reserve: Reserve<D>,
    /// The book.
    pub book: [u8; 16],
    /// Its life.
    pub incarnation: [u8; 16],
    /// The journal of the book.
    pub journal: u32,
    /// Bytes of a group on disk at most.
    pub group_bytes_max: u64,
    /// Limits that change no result.
    pub limits: Limits,
    /// Limits that do: journalled if they are not those in force.
    pub configuration: Configuration,
    /// Those that open the book.
    pub credentials: Vec<Credential>,
    /// Random at every start: what nobody can tell beforehand is made of it.
    pub nonce_key: [u8; 32],
    /// The time.
    pub now: Now,
    /// Whether the wall clock is synchronised, or the operator vouches for it.
    pub clock_trusted: bool,
}

/// See the module.
pub struct Engine<D: Disk> {
    state: State<D>,
    reserve: Reserve<D>,
    book: [u8; 16],
    incarnation: [u8; 16],
    journal: u32,
    /// High half of the ids that are the engine's own.
    reserved_high: u64,
    limits: Limits,
    credentials: BTreeMap<Fingerprint, Credential>,
    nonces: Nonces,
    /// When it was put together, by the wall clock.
    started_ns: u64,
    clock: Clock,
    connections: BTreeMap<ConnectionId, Connection>,
    strangers: Strangers,
    /// What is under way, by session.
    live: BTreeMap<SessionId, Live>,
    pipeline: Pipeline,
    upkeep: upkeep::Upkeep,
    checkpoints: checkpoint::Checkpoints,
    backup: Option<backup::Waiting>,
    readings: reading::Readings<D>,
    metrics: Metrics,
}

impl<D: Disk> Engine<D> {
    /// Puts an engine together.
    pub fn new(setup: Setup<D>) -> Self {
        let reserved_high = crate::ids::reserved_high(&setup.book, setup.journal);
        Self {
            started_ns: setup.now.wall_ns,
            clock: Clock::new(setup.now, setup.tip.timestamp, setup.clock_trusted),
            pipeline: Pipeline::new(&setup.tip, &setup.limits, setup.group_bytes_max),
            upkeep: upkeep::Upkeep::new(setup.configuration),
            state: setup.state,
            reserve: setup.reserve,
            book: setup.book,
            incarnation: setup.incarnation,
            journal: setup.journal,
            reserved_high,
            limits: setup.limits,
            credentials: by_fingerprint(setup.credentials),
            nonces: Nonces::new(setup.nonce_key),
            connections: BTreeMap::new(),
            strangers: Strangers::default(),
            live: BTreeMap::new(),
            checkpoints: checkpoint::Checkpoints::default(),
            backup: None,
            readings: reading::Readings::default(),
            metrics: Metrics::default(),
        }
    }

    /// Takes one event; appends what is to be done.
    ///
    /// # Errors
    /// [`ApplyError`] if a durable entry cannot be applied, which ends the process.
    pub fn step(&mut self, now: Now, event: Event<'_, D>, actions: &mut Vec<Action>) -> Result<Taken, ApplyError> {
        self.clock.observe(now);
        match event {
            Event::Opened { connection } => self.opened(connection, actions),
            Event::Frame { connection, header, body, arrived_ns } => {
                return Ok(self.frame(connection, header, body, arrived_ns, actions));
            }
            Event::Closed { connection } => self.forget_connection(connection),
            Event::Written { group, tip } => self.written(group, &tip),
            Event::Prepared { done } => self.prepared(done),
            Event::Sealed { segment } => self.sealed(segment),
            Event::FreeBytes(bytes) => self.upkeep.free_bytes = bytes,
            Event::Checkpointed(done) => self.checkpoint_done(done),
            Event::Pages(pages) => self.take_pages(pages),
            Event::Credentials(credentials) => self.set_credentials(credentials, actions),
            Event::BackedUp(result) => self.backed_up(result, actions),
            Event::Wake => self.wake(actions)?,
            Event::Stop => {
                self.upkeep.stopping = true;
                self.end_readings(actions);
            }
            Event::Ended => {
                self.strangers = Strangers::default();
                for (connection, _) in core::mem::take(&mut self.connections) {
                    let frame = Frame::copied(Header::of(Kind::Goodbye), &[]);
                    actions.push(Action::Send { connection, frame });
                    actions.push(Action::Close { connection });
                }
                actions.push(Action::Stopped);
            }
        }
        Ok(Taken::Yes)
    }

    /// The state, to look at.
    pub const fn state(&self) -> &State<D> {
        &self.state
    }

    /// What was counted.
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn frame(
        &mut self,
        connection: ConnectionId,
        header: &Header,
        body: &[u8],
        arrived_ns: u64,
        actions: &mut Vec<Action>,
    ) -> Taken {
        match header.kind() {
            Some(Kind::Hello) => self.hello(connection, header, body, actions),
            Some(Kind::Proof) => self.proof(connection, header, body, actions),
            Some(Kind::Request) => self.request(connection, header, body, arrived_ns, actions),
            // A goodbye is answered by closing, once what was asked before is answered: the socket's end does that.
            Some(Kind::Goodbye) => Taken::Yes,
            _ => {
                self.refuse_connection(connection, header, ErrorCode::MalformedFrame, CLIENT_KINDS, actions);
                Taken::Yes
            }
        }
    }

    /// Answers a header that is wrong, whose body is skipped. Of a stranger that was the last frame: answers that it does
    /// not take would be kept for it, and it takes no credential to ask for them.
    pub fn wrong(&mut self, connection: ConnectionId, header: &Header, defect: Defect, actions: &mut Vec<Action>) {
        match self.connections.get(&connection) {
            Some(Connection::Stranger { .. }) => self.lost(connection, defect, actions),
            _ => self.refuse(connection, header, defect.code(), defect.to_string(), actions),
        }
    }

    /// Ends a connection that began a frame and then sent nothing for [`SILENCE_MAX_NS`](crate::limits::SILENCE_MAX_NS).
    pub fn silent(&mut self, connection: ConnectionId, actions: &mut Vec<Action>) {
        let text = format!("a frame was begun, and no byte of it came for {} s", SILENCE_MAX_NS / SECOND_NS);
        self.refuse_connection(connection, &Header::ZERO, ErrorCode::MalformedFrame, text, actions);
    }

    /// Ends a connection whose stream cannot be followed any more.
    pub fn lost(&mut self, connection: ConnectionId, defect: Defect, actions: &mut Vec<Action>) {
        self.refuse_connection(connection, &Header::ZERO, defect.code(), defect.to_string(), actions);
    }

    /// Whether a frame may be answered with [`Taken::Parked`]: such ones wait in line, others need not.
    #[must_use]
    pub fn may_park(&self, header: &Header) -> bool {
        header.kind() == Some(Kind::Proof) || Operation::from_number(header.operation).is_some_and(Operation::writes)
    }

    /// Sends an error frame that answers a request.
    fn refuse(
        &mut self,
        connection: ConnectionId,
        header: &Header,
        code: ErrorCode,
        text: impl AsRef<str>,
        actions: &mut Vec<Action>,
    ) {
        self.metrics.refused(code);
        let retry_after_us = if code == ErrorCode::Busy { BUSY_RETRY_US } else { 0 };
        let frame = Frame::error(header, code, retry_after_us, text.as_ref());
        actions.push(Action::Send { connection, frame });
    }

    /// Sends an error frame and ends the connection.
    fn refuse_connection(
        &mut self,
        connection: ConnectionId,
        header: &Header,
        code: ErrorCode,
        text: impl AsRef<str>,
        actions: &mut Vec<Action>,
    ) {
        self.refuse(connection, &Header { request: 0, ..*header }, code, text, actions);
        actions.push(Action::Close { connection });
        self.forget_connection(connection);
    }

    /// The header of an answer, with what all answers have in common.
    fn answer(&self, kind: Kind, session: SessionId) -> Header {
        Header { book: self.book, session, journal: self.journal, role: Role::Leader as u8, ..Header::of(kind) }
    }
}

fn by_fingerprint(credentials: Vec<Credential>) -> BTreeMap<Fingerprint, Credential> {
    credentials.into_iter().map(|credential| (credential.fingerprint, credential)).collect()
}

/// When a client should try again that was told `busy`, microseconds.
const BUSY_RETRY_US: u32 = 2_000;
pub(crate) const CLIENT_KINDS: &str = "clients send frames of type hello, proof, request or goodbye";
