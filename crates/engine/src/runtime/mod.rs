//! What carries the engine out: one core thread with its sockets, and threads that write
//! groups, prepare files, and do what may take its time.
//!
//! The core thread turns what happens into events and carries out the actions. A group goes to the writer thread while
//! the core applies the one before and reads the next; a small one is written by the core itself if it has nothing
//! else to do, for then two hand-overs between threads would cost more than they win.

mod door;
mod peer;
mod system;
mod threads;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mio::net::{TcpListener, UnixStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use qenex_journal::derived::PagesJob;
use qenex_journal::disk::Disk;
use qenex_journal::log::{PrepareJob, Reserve};

use crate::clock::SECOND_NS;
use crate::engine::{Action, Admission, ConnectionId, Engine, Event, Group, Taken};
use crate::error::EngineError;
use crate::frame::{FRAME_MAX, Frame, HEADER_LENGTH};

pub use door::Door;
use peer::Socket;
pub(crate) use peer::{Input, Load, Peer, Pool};
pub use system::stop_signals;
pub(crate) use system::{is_clock_synchronised, keep_alive, now, open_files_max};
pub(crate) use threads::Worker;
use threads::{Done, Job, Report, SharedJournal};

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);
const STOP: Token = Token(2);
const FIRST_PEER: u64 = 16;
/// A group of at most so many bytes is written by the core itself if nothing else is to be done.
const INLINE_BYTES: u64 = 64 << 10;
/// Bytes taken from one connection before others have their turn.
const TURN_BYTES: usize = 2 * FRAME_MAX;
/// How often the disk is asked for its free space, and peers are looked through for those that have fallen silent.
const LOOK_EVERY_NS: u64 = SECOND_NS;
/// Connections accepted before others have their turn.
const ACCEPTS: usize = 64;
/// How long the core sleeps at most.
const SLEEP_MAX_NS: u64 = SECOND_NS;

/// The core thread's things.
pub(crate) struct Core<D: Disk> {
    engine: Engine<D>,
    disk: D,
    journal: SharedJournal<D>,
    reserve: Reserve<D>,
    poll: Poll,
    listener: Option<TcpListener>,
    /// Watched for as long as it lives.
    _stop: Option<OwnedFd>,
    peers: BTreeMap<ConnectionId, Peer>,
    next_peer: ConnectionId,
    pool: Pool,
    /// Peers that may have more to read.
    readable: VecDeque<ConnectionId>,
    /// Peers that have something to write.
    dirty: BTreeSet<ConnectionId>,
    /// Peers with a complete frame that found no room, to be offered again.
    parked: VecDeque<ConnectionId>,
    door: Receiver<door::Message>,
    done: Receiver<Done<D>>,
    writer: Worker<Group>,
    preparer: Worker<PrepareJob<D>>,
    page_maker: Worker<PagesJob>,
    background: Worker<Job>,
    actions: Vec<Action>,
    look_at_ns: u64,
    /// Connections may wait to be accepted.
    accept_again: bool,
    /// They surely can be.
    accept_at_once: bool,
    stopped: bool,
}

/// What a core is made of.
pub(crate) struct Parts<D: Disk> {
    pub(crate) engine: Engine<D>,
    pub(crate) disk: D,
    pub(crate) journal: qenex_journal::log::Journal<D>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) stop: Option<OwnedFd>,
}

impl<D: Disk> Core<D> {
    /// Puts a core together: its sockets, its threads. Returns the door and the bound address too.
    pub(crate) fn new(parts: Parts<D>) -> Result<(Self, Door, Option<SocketAddr>), EngineError> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |source| EngineError::io(what, source)
        };
        let poll = Poll::new().map_err(failed("have an epoll"))?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).map_err(failed("have a waker"))?);
        let mut listener = match parts.listen {
            None => None,
            Some(address) => {
                Some(TcpListener::bind(address).map_err(|source| EngineError::Listen { address, source })?)
            }
        };
        let mut address = None;
        if let Some(listener) = &mut listener {
            address = Some(listener.local_addr().map_err(failed("ask the address"))?);
            poll.registry().register(listener, LISTENER, Interest::READABLE).map_err(failed("watch the listener"))?;
        }
        if let Some(stop) = &parts.stop {
            let descriptor = stop.as_raw_fd();
            let watched = poll.registry().register(&mut SourceFd(&descriptor), STOP, Interest::READABLE);
            watched.map_err(failed("watch the descriptor to stop at"))?;
        }
        let (sender, done): (Sender<Done<D>>, _) = channel();
        let report = Report::new(sender, waker.clone());
        let (door, messages) = door::pair(waker);
        let reserve = parts.journal.reserve();
        let journal = Arc::new(Mutex::new(parts.journal));
        let core = Self {
            engine: parts.engine,
            writer: threads::writer(journal.clone(), report.clone()),
            preparer: threads::preparer(report.clone()),
            page_maker: threads::page_maker(report.clone()),
            background: threads::background(parts.disk.clone(), report),
            disk: parts.disk,
            journal,
            reserve,
            poll,
            listener,
            _stop: parts.stop,
            peers: BTreeMap::new(),
            next_peer: FIRST_PEER,
            pool: Pool::default(),
            readable: VecDeque::new(),
            dirty: BTreeSet::new(),
            parked: VecDeque::new(),
            door: messages,
            done,
            actions: Vec::new(),
            look_at_ns: 0,
            accept_again: false,
            accept_at_once: false,
            stopped: false,
        };
        Ok((core, door, address))
    }

    /// Serves until it is asked to stop, and everything accepted is answered.
    ///
    /// # Errors
    /// [`EngineError`]: the engine stopped at once; nothing that is not durable was answered.
    pub(crate) fn run(mut self) -> Result<(), EngineError> {
        let mut events = Events::with_capacity(256);
        while !self.stopped {
            self.sleep(&mut events)?;
            for event in &events {
                match event.token() {
                    LISTENER => self.accept_again = true,
                    WAKER => {}
                    STOP => self.step(Event::Stop)?,
                    Token(token) => {
                        let connection = token as ConnectionId;
                        if event.is_writable() {
                            self.dirty.insert(connection);
                        }
                        if event.is_readable() || event.is_read_closed() {
                            self.queue(connection);
                        }
                    }
                }
            }
            self.accept()?;
            self.take_done()?;
            self.offer_parked()?;
            self.read_door()?;
            self.read_peers()?;
            self.look_round()?;
            self.step(Event::Wake)?;
            self.flush()?;
        }
        Ok(())
    }

    fn sleep(&mut self, events: &mut Events) -> Result<(), EngineError> {
        let now_ns = now().monotonic_ns;
        let busy = self.engine.has_work() || !self.readable.is_empty() || self.accept_at_once;
        let wait_ns = match self.engine.next_wake_ns() {
            _ if busy => 0,
            Some(at_ns) => at_ns.saturating_sub(now_ns).min(SLEEP_MAX_NS),
            None => SLEEP_MAX_NS,
        };
        match self.poll.poll(events, Some(Duration::from_nanos(wait_ns))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(EngineError::io("wait for events", error)),
            _ => Ok(()),
        }
    }

    /// Takes an event to the engine and carries out what follows.
    fn step(&mut self, event: Event<'_, D>) -> Result<(), EngineError> {
        self.engine.step(now(), event, &mut self.actions)?;
        self.perform()
    }

    fn perform(&mut self) -> Result<(), EngineError> {
        let mut actions = core::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::Send { connection, frame } => self.send(connection, frame),
                Action::Close { connection } => {
                    if let Some(peer) = self.peers.get_mut(&connection) {
                        peer.close();
                        self.dirty.insert(connection);
                    }
                }
                Action::Write(group) => self.write(group)?,
                Action::Prepare => match self.reserve.prepare_next() {
                    Some(job) => self.preparer.give(job)?,
                    None => self.step(Event::Prepared { done: true })?,
                },
                Action::MakePages(job) => self.page_maker.give(job)?,
                Action::Seal(job) => self.background.give(Job::Seal(job))?,
                Action::Checkpoint(job) => self.background.give(Job::Checkpoint(job))?,
                Action::Backup(job) => self.background.give(Job::Backup(job))?,
                Action::End { timestamp } => {
                    let (applied, results_hash) = (self.engine.state().group(), *self.engine.state().results_hash());
                    let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
                    journal.end(timestamp, applied, results_hash)?;
                    drop(journal);
                    self.step(Event::Ended)?;
                }
                Action::Stopped => self.stopped = true,
            }
        }
        // Actions of the steps above were carried out by those; the memory is used again.
        self.actions = actions;
        Ok(())
    }

    fn send(&mut self, connection: ConnectionId, frame: Frame) {
        if let Some(peer) = self.peers.get_mut(&connection) {
            peer.send(frame);
            self.dirty.insert(connection);
        }
    }

    fn write(&mut self, mut group: Group) -> Result<(), EngineError> {
        if group.disk_bytes() > INLINE_BYTES || self.engine.has_work() {
            return self.writer.give(group);
        }
        let tip = threads::append(&self.journal, &mut group)?;
        self.step(Event::Written { group, tip })
    }

    fn take_done(&mut self) -> Result<(), EngineError> {
        while let Ok(done) = self.done.try_recv() {
            match done {
                Done::Written(group, tip) => self.step(Event::Written { group, tip: tip? })?,
                Done::Prepared(done) => self.step(Event::Prepared { done: done? })?,
                Done::Sealed(segment) => self.step(Event::Sealed { segment: segment? })?,
                Done::Checkpointed(done) => self.step(Event::Checkpointed(done?))?,
                Done::Pages(pages) => self.step(Event::Pages(pages))?,
                Done::BackedUp(result) => self.step(Event::BackedUp(result))?,
            }
        }
        Ok(())
    }

    /// Looks, now and then, at what nobody tells of. Whoever has something to read was read from just before.
    fn look_round(&mut self) -> Result<(), EngineError> {
        let now_ns = now().monotonic_ns;
        if now_ns < self.look_at_ns {
            return Ok(());
        }
        self.look_at_ns = now_ns + LOOK_EVERY_NS;
        let silent = self.peers.iter().filter(|(_, peer)| peer.is_silent(now_ns)).map(|(connection, _)| *connection);
        for connection in silent.collect::<Vec<_>>() {
            self.engine.silent(connection, &mut self.actions);
            self.perform()?;
        }
        // To these nothing can be said: what was said to them before fills their sockets.
        let deaf = self.peers.iter().filter(|(_, peer)| peer.is_deaf(now_ns)).map(|(connection, _)| *connection);
        for connection in deaf.collect::<Vec<_>>() {
            self.peers.remove(&connection);
            self.step(Event::Closed { connection })?;
        }
        let bytes = self.disk.free_bytes()?;
        self.step(Event::FreeBytes(bytes))
    }

    fn accept(&mut self) -> Result<(), EngineError> {
        self.accept_at_once = false;
        for _ in 0..ACCEPTS {
            let Some(listener) = self.listener.as_ref().filter(|_| self.accept_again) else { return Ok(()) };
            match listener.accept() {
                // Small answers leave at once. A socket that cannot be set up is a client's bad luck, no more.
                Ok((stream, _)) => {
                    if stream.set_nodelay(true).is_ok() && system::keep_alive(&stream).is_ok() {
                        self.welcome(Box::new(stream))?;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.accept_again = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Out of descriptors, or the client went away: the others are served, and it is tried again.
                Err(_) => return Ok(()),
            }
        }
        self.accept_at_once = true;
        Ok(())
    }

    /// Takes a connection in.
    fn welcome(&mut self, stream: Box<dyn Socket>) -> Result<(), EngineError> {
        self.seat(Peer::new(stream))
    }

    /// Takes in one that may have said something already.
    fn seat(&mut self, mut peer: Peer) -> Result<(), EngineError> {
        let connection = self.next_peer;
        self.next_peer += 1;
        let token = Token(usize::try_from(connection).expect("64 bits"));
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(peer.source(), token, interest).is_err() {
            return Ok(());
        }
        self.peers.insert(connection, peer);
        self.step(Event::Opened { connection })?;
        // At once: what it has said already counts, however many more come after it.
        self.read_from(connection)
    }

    /// Offers again what found no room, in order; stops at the first that still finds none.
    fn offer_parked(&mut self) -> Result<(), EngineError> {
        while let Some(connection) = self.parked.pop_front() {
            if self.offer_body(connection)? == Taken::Parked {
                self.parked.push_front(connection);
                return Ok(());
            }
            self.queue(connection);
        }
        Ok(())
    }

    fn read_door(&mut self) -> Result<(), EngineError> {
        while let Ok(message) = self.door.try_recv() {
            match message {
                door::Message::Connect(stream) => {
                    self.welcome(Box::new(UnixStream::from_std(stream)))?;
                }
                door::Message::Adopt(peer) => self.seat(*peer)?,
                door::Message::Credentials(credentials) => self.step(Event::Credentials(credentials))?,
                door::Message::Stop => self.step(Event::Stop)?,
            }
        }
        Ok(())
    }

    /// A peer may have something to read. It stands in the queue once, however often that is said.
    fn queue(&mut self, connection: ConnectionId) {
        if let Some(peer) = self.peers.get_mut(&connection)
            && !peer.is_queued
        {
            peer.is_queued = true;
            self.readable.push_back(connection);
        }
    }

    /// Reads from those that may have something, each in its turn.
    fn read_peers(&mut self) -> Result<(), EngineError> {
        for _ in 0..self.readable.len() {
            let Some(connection) = self.readable.pop_front() else { break };
            if let Some(peer) = self.peers.get_mut(&connection) {
                peer.is_queued = false;
            }
            if !self.parked.contains(&connection) {
                self.read_from(connection)?;
            }
        }
        Ok(())
    }

    /// Takes what a peer has sent; it may be gone after that.
    fn read_from(&mut self, connection: ConnectionId) -> Result<(), EngineError> {
        if !self.read_peer(connection)? {
            self.peers.remove(&connection);
            self.dirty.remove(&connection);
            self.step(Event::Closed { connection })?;
        }
        Ok(())
    }

    /// Takes what a peer has sent, up to a turn's worth. False once it is gone.
    fn read_peer(&mut self, connection: ConnectionId) -> Result<bool, EngineError> {
        let mut taken = 0;
        let now_ns = now().monotonic_ns;
        loop {
            let Some(peer) = self.peers.get_mut(&connection) else { return Ok(true) };
            if peer.is_throttled() {
                // It goes on once enough has gone out: see `flush`.
                return Ok(true);
            }
            if taken >= TURN_BYTES {
                self.queue(connection);
                return Ok(true);
            }
            match peer.next(&mut self.pool, now_ns) {
                Input::Nothing => return Ok(true),
                Input::End => return Ok(false),
                Input::Lost(defect) => {
                    self.engine.lost(connection, defect, &mut self.actions);
                    self.perform()?;
                }
                Input::Wrong(header, defect) => {
                    peer.skip(&header);
                    taken += HEADER_LENGTH;
                    self.engine.wrong(connection, &header, defect, &mut self.actions);
                    self.perform()?;
                }
                Input::Header(header) => {
                    match self.engine.admit(connection, &header, &mut self.actions) {
                        Admission::Read => peer.expect(header, now().monotonic_ns),
                        // Its window has no more room before others had their turn and something was applied: the
                        // rest waits in the socket, so that refusing requests never keeps the engine from doing them.
                        Admission::Skip => {
                            peer.skip(&header);
                            taken = TURN_BYTES;
                        }
                    }
                    self.perform()?;
                }
                Input::Body(header, _) => {
                    taken += HEADER_LENGTH + header.body_length as usize;
                    if !self.parked.is_empty() && self.engine.may_park(&header)
                        || self.offer_body(connection)? == Taken::Parked
                    {
                        self.parked.push_back(connection);
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Offers a peer's complete frame.
    fn offer_body(&mut self, connection: ConnectionId) -> Result<Taken, EngineError> {
        let Some(peer) = self.peers.get_mut(&connection) else { return Ok(Taken::Yes) };
        let now = now();
        let Input::Body(header, arrived_ns) = peer.next(&mut self.pool, now.monotonic_ns) else {
            return Ok(Taken::Yes);
        };
        let event = Event::Frame { connection, header: &header, body: peer.body(&header), arrived_ns };
        let taken = self.engine.step(now, event, &mut self.actions)?;
        if taken == Taken::Yes {
            peer.done(&header, &mut self.pool);
        }
        self.perform()?;
        Ok(taken)
    }

    /// Writes to those that have something to be written.
    fn flush(&mut self) -> Result<(), EngineError> {
        if self.dirty.is_empty() {
            return Ok(());
        }
        let now_ns = now().monotonic_ns;
        for connection in core::mem::take(&mut self.dirty) {
            let Some(peer) = self.peers.get_mut(&connection) else { continue };
            let was_throttled = peer.is_throttled();
            if !peer.flush(now_ns) {
                self.peers.remove(&connection);
                self.step(Event::Closed { connection })?;
            } else if was_throttled && !peer.is_throttled() {
                self.queue(connection);
            }
        }
        Ok(())
    }
}

impl<D: Disk> Drop for Core<D> {
    fn drop(&mut self) {
        // What is still to be said (a goodbye, an error) is said if the sockets take it.
        for peer in self.peers.values_mut() {
            _ = peer.flush(0);
        }
    }
}
