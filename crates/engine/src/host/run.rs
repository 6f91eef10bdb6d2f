//! The host's thread: connections come in, say hello, and go to their books; the system is answered.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, channel};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use qenex_journal::disk::DiskError;
use qenex_proxy::Origin;
use zerocopy::IntoBytes;

use super::HostConfig;
use super::doors::Doors;
use super::file::{BookFile, BookId};
use super::folder::{self, Scan};
use super::guests::{GuestId, Guests, Stage};
use super::running::{Chance, Running};
use super::system::{System, judge_request, reply};
use super::table::{Plan, Table};
use crate::clock::SECOND_NS;
use crate::credential::{Credential, Fingerprint};
use crate::engine::CLIENT_KINDS;
use crate::engine::hello::{judge_hello, unauthenticated};
use crate::engine::write::Refusal;
use crate::error::{EngineError, hex};
use crate::frame::{ErrorCode, Frame, HELLO_MAX, Header, Kind, Operation, book_state};
use crate::limits::{HELLO_WITHIN_NS, SILENCE_MAX_NS};
use crate::runtime::{Door, Input, Load, Peer, Pool, Worker, now, open_files_max};
use crate::server::{Ready, ServerConfig, random_bytes};

pub(super) const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);
const STOP: Token = Token(2);
pub(super) const FRONT: Token = Token(3);
const FIRST_GUEST: GuestId = 16;
/// Connections accepted before others have their turn.
const ACCEPTS: usize = 64;
/// How often it is looked for what nobody tells of.
const LOOK_EVERY_NS: u64 = SECOND_NS;
/// How long a connection waits for its book before it is told to come again: less than clients wait.
const WAIT_NS: u64 = 2 * SECOND_NS;
/// When to come again.
const RETRY_US: u32 = 100_000;
/// Connections of the system.
const SYSTEM_MAX: usize = 64;
/// Files that an open book has, about; and those of the process itself.
const FILES_OF_BOOK: usize = 16;
const FILES_OF_PROCESS: usize = 64;

/// What the host's thread is told.
pub(super) enum Message {
    /// An engine serves; what is to be known of how its book was found.
    Opened(BookId, Door, Vec<String>),
    /// An engine has ended, its book is closed.
    Ended(BookId, Result<(), EngineError>),
    /// What was to be written is durable, or not.
    Written(Result<(), DiskError>),
    /// End.
    Stop,
}

/// Tells the host's thread.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    sender: mpsc::Sender<Message>,
    waker: Arc<Waker>,
}

impl Sender {
    /// If the host is gone, it has ended.
    pub(super) fn say(&self, message: Message) {
        if self.sender.send(message).is_ok() {
            _ = self.waker.wake();
        }
    }
}

/// A request of the system.
struct Ask {
    guest: GuestId,
    header: Header,
    operation: Operation,
    rows: Vec<u8>,
}

/// See the module.
pub(super) struct Hosting {
    config: HostConfig,
    home: BookId,
    table: Table,
    running: Running,
    system: System,
    guests: Guests,
    next_guest: GuestId,
    /// All connections, those of books too.
    sockets: Arc<Load>,
    sockets_max: usize,
    pool: Pool,
    readable: VecDeque<GuestId>,
    poll: Poll,
    doors: Doors,
    /// Watched for as long as it lives.
    _stop: Option<OwnedFd>,
    messages: Receiver<Message>,
    /// Writes what the system asks for, one thing after the other.
    keeper: Worker<(PathBuf, Box<BookFile>)>,
    asks: VecDeque<Ask>,
    /// What is being written, and for whom.
    writing: Option<(Ask, Box<BookFile>)>,
    /// Who is to be told that nobody is in a book any more.
    suspending: Vec<(BookId, Ask)>,
    look_at_ns: u64,
    stopping: bool,
    result: Result<(), EngineError>,
}

impl Hosting {
    /// Puts it together; the home's own book is open. Returns the bound address too.
    pub(super) fn new(
        config: HostConfig,
        found: Scan,
        ready: Ready,
        stop: Option<OwnedFd>,
    ) -> Result<(Self, Sender, SocketAddr), EngineError> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |source| EngineError::io(what, source)
        };
        let poll = Poll::new().map_err(failed("have an epoll"))?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).map_err(failed("have a waker"))?);
        let (doors, address) = Doors::open(&config, poll.registry())?;
        if let Some(stop) = &stop {
            let descriptor = stop.as_raw_fd();
            let watched = poll.registry().register(&mut SourceFd(&descriptor), STOP, Interest::READABLE);
            watched.map_err(failed("watch the descriptor to stop at"))?;
        }
        let (sender, messages) = channel();
        let sender = Sender { sender, waker };
        let reserved = vec![config.owner.fingerprint, config.system.fingerprint];
        let (home, mut table) = (found.home.book, Table::new(reserved));
        for (file, is_damaged) in core::iter::once((found.home, false))
            .chain(found.others.into_iter().map(|file| (file, false)))
            .chain(found.damaged.into_iter().map(|file| (file, true)))
        {
            if let Some(other) = table.conflict(&file) {
                let what = format!("book {} has a credential of book {}", hex(&file.book), hex(&other));
                return Err(EngineError::Books { path: config.folder.display().to_string(), what });
            }
            table.put(file, is_damaged);
        }
        let files = open_files_max();
        let books_open_max = config.books_open_max.clamp(2, (files / (2 * FILES_OF_BOOK)).max(2));
        let sockets_max = files.saturating_sub(books_open_max * FILES_OF_BOOK + FILES_OF_PROCESS).max(FILES_OF_PROCESS);
        let mut running = Running::new(books_open_max, home, sender.clone());
        running.begin(ready, home, now().monotonic_ns)?;
        let report = sender.clone();
        let keeper = Worker::new("keeper", move |(folder, file): (PathBuf, Box<BookFile>)| {
            report.say(Message::Written(folder::write(&folder, &file)));
            true
        });
        let hosting = Self {
            system: System::new(config.system, random_bytes()?, config.limits),
            config,
            home,
            table,
            running,
            guests: Guests::default(),
            next_guest: FIRST_GUEST,
            sockets: Load::idle_since(0),
            sockets_max,
            pool: Pool::default(),
            readable: VecDeque::new(),
            poll,
            doors,
            _stop: stop,
            messages,
            keeper,
            asks: VecDeque::new(),
            writing: None,
            suspending: Vec::new(),
            look_at_ns: 0,
            stopping: false,
            result: Ok(()),
        };
        Ok((hosting, sender, address))
    }

    /// Serves until it is asked to stop, and all books have ended.
    pub(super) fn run(mut self) -> Result<(), EngineError> {
        let mut events = Events::with_capacity(256);
        while !self.stopping || !self.running.is_empty() {
            if let Err(error) = self.turn(&mut events) {
                self.result = Err(error);
                self.stop();
                self.see_them_off();
            }
        }
        for id in self.guests.ids() {
            self.guests.send(id, Frame::copied(Header::of(Kind::Goodbye), &[]));
        }
        self.guests.flush(0);
        self.result
    }

    /// Waits for the ends of all books, when nothing else is possible any more.
    fn see_them_off(&mut self) {
        while !self.running.is_empty() {
            match self.messages.recv() {
                Ok(Message::Ended(book, _)) => self.running.ended(&book, false, 0),
                Ok(Message::Opened(_, door, _)) => door.stop(),
                Ok(Message::Written(_) | Message::Stop) => {}
                Err(_) => return,
            }
        }
    }

    fn turn(&mut self, events: &mut Events) -> Result<(), EngineError> {
        self.sleep(events)?;
        for event in &*events {
            match event.token() {
                LISTENER | FRONT => self.doors.knock(event.token()),
                WAKER => {}
                STOP => self.stop(),
                Token(token) => {
                    let id = token as GuestId;
                    if event.is_writable() {
                        self.guests.dirty.insert(id);
                    }
                    if event.is_readable() || event.is_read_closed() {
                        self.readable.push_back(id);
                    }
                }
            }
        }
        while let Ok(message) = self.messages.try_recv() {
            match message {
                Message::Opened(book, door, notes) => self.opened(book, door, &notes),
                Message::Ended(book, result) => self.ended(&book, result),
                Message::Written(result) => self.written(result),
                Message::Stop => self.stop(),
            }
        }
        self.accept();
        while let Some(id) = self.readable.pop_front() {
            self.read(id);
        }
        self.work()?;
        self.look_round();
        // Those that are over are gone with their sockets.
        drop(self.guests.flush(now().monotonic_ns));
        Ok(())
    }

    fn sleep(&mut self, events: &mut Events) -> Result<(), EngineError> {
        let now_ns = now().monotonic_ns;
        let until_ns = self.guests.next_ns(WAIT_NS).unwrap_or(u64::MAX).min(now_ns.max(self.look_at_ns));
        let busy = !self.readable.is_empty() || self.doors.is_open_at_once() || !self.guests.dirty.is_empty();
        let wait_ns = if busy { 0 } else { until_ns.saturating_sub(now_ns) };
        match self.poll.poll(events, Some(Duration::from_nanos(wait_ns))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(EngineError::io("wait for events", error)),
            _ => Ok(()),
        }
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS {
            let Some((peer, stage)) = self.doors.accept() else { return };
            self.welcome(peer, stage);
        }
        // There may be more.
        self.doors.again();
    }

    /// Takes a connection in that has said nothing.
    fn welcome(&mut self, mut peer: Peer, stage: Stage) {
        let id = self.next_guest;
        self.next_guest += 1;
        peer.count_in(&self.sockets);
        let token = Token(usize::try_from(id).expect("64 bits"));
        if self.poll.registry().register(peer.source(), token, Interest::READABLE | Interest::WRITABLE).is_err() {
            return;
        }
        if self.guests.strangers() >= self.config.limits.strangers_max.max(1) as usize
            && let Some(oldest) = self.guests.oldest()
        {
            // Whoever has a credential gets in, however many others come: a hello takes little time.
            let text = "another connection came, and of those that have not said hello this one is the oldest";
            self.guests.dismiss(oldest, &Header::ZERO, ErrorCode::Busy, RETRY_US, text);
        }
        self.guests.insert(id, peer, stage, now().monotonic_ns);
        if self.sockets.connections() > self.sockets_max {
            // Each connection is a file, and so is what books are written to, which must not lack any.
            let text = format!("{} connections of all books are open, which is the limit", self.sockets_max);
            self.guests.dismiss(id, &Header::ZERO, ErrorCode::Busy, RETRY_US, &text);
        }
        self.read(id);
    }

    /// Takes what a guest has sent, as far as it is its turn.
    fn read(&mut self, id: GuestId) {
        loop {
            let now_ns = now().monotonic_ns;
            let Some(guest) = self.guests.get(id) else { return };
            let is_system = matches!(guest.stage, Stage::System(_));
            match guest.stage {
                Stage::Waiting(_) | Stage::System(true) => return,
                Stage::Unnamed => match guest.peer.take_off(said_by_front) {
                    Some(true) => {
                        self.guests.set_stage(id, Stage::Stranger, now_ns);
                        continue;
                    }
                    Some(false) => return,
                    // It is no front, or its client is gone.
                    None => {
                        self.guests.remove(id);
                        return;
                    }
                },
                Stage::Stranger | Stage::Asked(_) | Stage::System(false) | Stage::Leaving => {}
            }
            match guest.peer.next(&mut self.pool, now_ns) {
                Input::Nothing => return,
                Input::End => {
                    self.guests.remove(id);
                    return;
                }
                Input::Wrong(header, defect) if is_system => {
                    guest.peer.skip(&header);
                    self.guests.send(id, Frame::error(&header, defect.code(), 0, &defect.to_string()));
                }
                Input::Lost(defect) | Input::Wrong(_, defect) => {
                    self.guests.dismiss(id, &Header::ZERO, defect.code(), 0, &defect.to_string());
                }
                Input::Header(header) if !is_system && header.body_length as usize > HELLO_MAX => {
                    let text = format!(
                        "before its welcome a connection may send a body of {HELLO_MAX} bytes, a hello's at most"
                    );
                    self.guests.dismiss(id, &header, ErrorCode::FrameTooLarge, 0, &text);
                }
                Input::Header(header) => guest.peer.expect(header, now_ns),
                Input::Body(header, _) => {
                    if let Err((code, text)) = self.frame(id, &header, now_ns) {
                        let retry_after_us = if code == ErrorCode::Busy { RETRY_US } else { 0 };
                        self.guests.dismiss(id, &header, code, retry_after_us, &text);
                    }
                }
            }
        }
    }

    /// Takes a complete frame.
    ///
    /// # Errors
    /// Why the connection ends.
    fn frame(&mut self, id: GuestId, header: &Header, now_ns: u64) -> Result<(), Refusal> {
        let malformed = |text: &str| Err((ErrorCode::MalformedFrame, text.to_owned()));
        let Some(guest) = self.guests.get(id) else { return Ok(()) };
        let (stage, body) = (guest.stage, guest.peer.body(header));
        match (stage, header.kind()) {
            (Stage::Stranger, Some(Kind::Hello)) => return self.hello(id, header, now_ns),
            (Stage::Asked(asked), Some(Kind::Proof)) => {
                let frame = self.system.welcome(&asked, header, body)?;
                if self.guests.of_system() >= SYSTEM_MAX {
                    let text = format!("{SYSTEM_MAX} connections of the system are open, which is the limit");
                    return Err((ErrorCode::Busy, text));
                }
                self.guests.set_stage(id, Stage::System(false), now_ns);
                self.guests.send(id, frame);
            }
            (Stage::System(false), Some(Kind::Request)) => match judge_request(header, body) {
                Ok((operation, rows)) => {
                    self.asks.push_back(Ask { guest: id, header: *header, operation, rows: rows.to_vec() });
                    self.guests.set_stage(id, Stage::System(true), now_ns);
                }
                Err((code, text)) => self.guests.send(id, Frame::error(header, code, 0, &text)),
            },
            // It is answered by closing: the socket's end does that.
            (_, Some(Kind::Goodbye)) => {}
            (_, Some(Kind::Request)) => {
                let text = "a connection begins with hello, and waits for its welcome";
                return Err((ErrorCode::Unauthenticated, text.to_owned()));
            }
            (_, Some(Kind::Hello)) => return malformed("hello is a connection's first frame, and its only one"),
            (_, Some(Kind::Proof)) => return malformed("a proof answers a challenge, once"),
            _ => return malformed(CLIENT_KINDS),
        }
        if let Some(guest) = self.guests.get(id) {
            guest.peer.done(header, &mut self.pool);
        }
        Ok(())
    }

    /// Sends a connection to the book that its hello names the credential of; the frame goes with it.
    fn hello(&mut self, id: GuestId, header: &Header, now_ns: u64) -> Result<(), Refusal> {
        let Some(guest) = self.guests.get(id) else { return Ok(()) };
        let body = guest.peer.body(header);
        let row = judge_hello(header, body)?;
        if self.system.is_meant(&row.fingerprint) {
            let windows = (row.window_requests, row.window_bytes);
            let (asked, frame) = self.system.challenge(header, body, windows);
            guest.peer.done(header, &mut self.pool);
            self.guests.set_stage(id, Stage::Asked(asked), now_ns);
            self.guests.send(id, frame);
            return Ok(());
        }
        if self.stopping {
            return Err((ErrorCode::ShuttingDown, "the server is stopping".to_owned()));
        }
        let book = self.book_of(&row.fingerprint)?;
        if self.running.is_open(&book) {
            self.hand(id, &book);
            return Ok(());
        }
        self.guests.set_stage(id, Stage::Waiting(book), now_ns);
        self.want(&book, now_ns);
        Ok(())
    }

    fn book_of(&self, fingerprint: &Fingerprint) -> Result<BookId, Refusal> {
        if *fingerprint == self.config.owner.fingerprint {
            return Ok(self.home);
        }
        let known = self.table.of(fingerprint).ok_or_else(unauthenticated)?;
        if known.file.state == book_state::ACTIVE { Ok(known.file.book) } else { Err(suspended()) }
    }

    fn hand(&mut self, id: GuestId, book: &BookId) {
        let Some(mut guest) = self.guests.remove(id) else { return };
        if self.poll.registry().deregister(guest.peer.source()).is_ok() {
            self.running.hand(book, guest.peer);
        }
    }

    /// Somebody waits for a book that is not open.
    fn want(&mut self, book: &BookId, now_ns: u64) {
        match self.running.want(book, now_ns) {
            Chance::Soon => {}
            Chance::Full => {
                let text = "as many books are in use as may be open at a time";
                self.turn_away(book, ErrorCode::Busy, text);
            }
            Chance::Failed => {
                let text = "the engine of the book could not be started; whoever runs it was told why";
                self.turn_away(book, ErrorCode::Failed, text);
            }
        }
        self.open_wanted();
    }

    /// Starts the engines of those that stand in line, as far as there is room.
    fn open_wanted(&mut self) {
        while let Some(next) = self.running.next_wanted() {
            let config = ServerConfig { credentials: self.credentials(&next), ..self.config.of_book(next) };
            self.running.open(next, config);
        }
    }

    /// Dismisses those who wait for a book.
    fn turn_away(&mut self, book: &BookId, code: ErrorCode, text: &str) {
        let retry_after_us = if code == ErrorCode::Busy { RETRY_US } else { 0 };
        for id in self.guests.waiting_for(book) {
            self.guests.dismiss(id, &Header::ZERO, code, retry_after_us, text);
        }
    }

    /// What opens a book now.
    fn credentials(&self, book: &BookId) -> Vec<Credential> {
        let known = self.table.get(book).map(|known| known.file.credentials());
        let owner = (*book == self.home).then_some(self.config.owner);
        known.into_iter().flatten().chain(owner).collect()
    }

    fn opened(&mut self, book: BookId, door: Door, notes: &[String]) {
        for note in notes {
            (self.config.tell)(&format!("book {}: {note}", hex(&book)));
        }
        if self.running.opened(book, door, now().monotonic_ns) {
            // They may have changed since it was asked for.
            self.running.set_credentials(&book, self.credentials(&book));
            for id in self.guests.waiting_for(&book) {
                self.hand(id, &book);
            }
        }
    }

    fn ended(&mut self, book: &BookId, result: Result<(), EngineError>) {
        let now_ns = now().monotonic_ns;
        let was_called_off = Running::was_called_off(&result);
        self.running.ended(book, result.is_err() && !was_called_off, now_ns);
        if *book == self.home {
            let path = folder::path_of(&self.config.folder, book);
            self.result = result.map_err(|error| error.of_book(&path));
            self.stop();
            return;
        }
        if let Err(error) = result
            && !was_called_off
        {
            (self.config.tell)(&format!("book {}: its engine has ended: {error}", hex(book)));
        }
        if self.stopping {
            return;
        }
        for (_, ask) in self.suspending.extract_if(.., |(suspended, _)| suspended == book).collect::<Vec<_>>() {
            self.answer_row(book, &ask);
        }
        if !self.guests.waiting_for(book).is_empty() {
            self.want(book, now_ns);
        }
        self.open_wanted();
    }

    /// Does what the system asks for, one thing after the other.
    fn work(&mut self) -> Result<(), EngineError> {
        while self.writing.is_none()
            && let Some(ask) = self.asks.pop_front()
        {
            let is_open = |book: &BookId| self.running.is_open(book);
            match self.table.judge(ask.operation, &ask.rows, now().wall_ns, is_open) {
                Ok(Plan::Answer(rows)) => self.answer(&ask, Ok(rows)),
                Ok(Plan::Write(file)) => {
                    self.keeper.give((self.config.folder.clone(), file.clone()))?;
                    self.writing = Some((ask, file));
                }
                Err(refusal) => self.answer(&ask, Err(refusal)),
            }
        }
        Ok(())
    }

    /// What was written is so from here on.
    fn written(&mut self, result: Result<(), DiskError>) {
        let Some((ask, file)) = self.writing.take() else { return };
        if let Err(error) = result {
            let code = if error.is_full() { ErrorCode::StorageFull } else { ErrorCode::Failed };
            self.answer(&ask, Err((code, format!("it could not be written: {error}"))));
            return;
        }
        let (book, state) = (file.book, file.state);
        self.table.put(*file, false);
        if state == book_state::ACTIVE {
            self.running.set_credentials(&book, self.credentials(&book));
        } else {
            self.running.close(&book);
            let (code, text) = suspended();
            self.turn_away(&book, code, &text);
            if self.running.is_running(&book) {
                self.suspending.push((book, ask));
                return;
            }
        }
        self.answer_row(&book, &ask);
    }

    fn answer_row(&mut self, book: &BookId, ask: &Ask) {
        let row = self.table.row(book, |book| self.running.is_open(book));
        self.answer(ask, Ok(row.map_or_else(Vec::new, |row| row.as_bytes().to_vec())));
    }

    fn answer(&mut self, ask: &Ask, answer: Result<Vec<u8>, Refusal>) {
        let frame = match answer {
            Ok(rows) => reply(&ask.header, &rows),
            Err((code, text)) => Frame::error(&ask.header, code, 0, &text),
        };
        self.guests.send(ask.guest, frame);
        if self.guests.get(ask.guest).is_some_and(|guest| matches!(guest.stage, Stage::System(_))) {
            self.guests.set_stage(ask.guest, Stage::System(false), 0);
            // Nobody tells of what it has sent meanwhile.
            self.readable.push_back(ask.guest);
        }
    }

    fn stop(&mut self) {
        if !self.stopping {
            self.stopping = true;
            self.doors.close();
            self.running.close_all();
        }
    }

    /// Looks at what nobody tells of.
    fn look_round(&mut self) {
        let now_ns = now().monotonic_ns;
        while let Some(id) = self.guests.waiting_since(WAIT_NS, now_ns) {
            let text = "the book is being opened, which takes long";
            self.guests.dismiss(id, &Header::ZERO, ErrorCode::Busy, RETRY_US, text);
        }
        while let Some(id) = self.guests.overdue(now_ns) {
            let text = format!("no proof of a credential came within {} s", HELLO_WITHIN_NS / SECOND_NS);
            self.guests.dismiss(id, &Header::ZERO, ErrorCode::Unauthenticated, 0, &text);
        }
        if now_ns < self.look_at_ns {
            return;
        }
        self.look_at_ns = now_ns + LOOK_EVERY_NS;
        for id in self.guests.silent(now_ns) {
            let text = format!("a frame was begun, and no byte of it came for {} s", SILENCE_MAX_NS / SECOND_NS);
            self.guests.dismiss(id, &Header::ZERO, ErrorCode::MalformedFrame, 0, &text);
        }
        for id in self.guests.deaf(now_ns) {
            self.guests.remove(id);
        }
        self.running.close_idle(self.config.idle_ns, now_ns);
    }
}

/// How long the header is that a stream begins with; `None` if it is none of the front's.
fn said_by_front(stream: &[u8]) -> Option<Option<usize>> {
    Origin::decode(stream).ok().map(|found| found.map(|(_, length)| length))
}

fn suspended() -> Refusal {
    (ErrorCode::BookSuspended, "the book is suspended".to_owned())
}
