//! An engine without threads, clocks or sockets: a test hands it frames, and everything it asks for is done at once.

use qenex_engine::clock::{Now, SECOND_NS};
use qenex_engine::credential::{Credential, Keys, transcript};
use qenex_engine::engine::{Action, Admission, ConnectionId, Engine, Event, Setup, Taken};
use qenex_engine::frame::{
    ChallengeRow, Frame, HEADER_LENGTH, Header, Hello, HelloRow, Judgement, Kind, Operation, VERSION, judge,
    request_frame,
};
use qenex_engine::limits::{Configuration, Limits};
use qenex_engine::recover::{self, OpenOptions};
use qenex_journal::derived::Options as StoreOptions;
use qenex_journal::disk::SimDisk;
use qenex_journal::log::{Appended, Journal, Options as JournalOptions, Progress};

use super::{BOOK, SECRET};

pub const READER: &[u8] = b"a reader's secret";
pub const SESSION: [u8; 16] = [5; 16];
/// Wakes until everything that was accepted is done, and some to spare.
const WAKES: usize = 20;

pub struct Desk {
    pub disk: SimDisk,
    pub now: Now,
    pub engine: Engine<SimDisk>,
    journal: Journal<SimDisk>,
    next: ConnectionId,
    /// What the engine has said, and not been asked for yet.
    said: Vec<(ConnectionId, Frame)>,
    pub closed: Vec<ConnectionId>,
}

impl Desk {
    pub fn new(limits: Limits) -> Self {
        Self::with_store(limits, StoreOptions::default())
    }

    /// One whose store divides its work as told.
    pub fn with_store(limits: Limits, store: StoreOptions) -> Self {
        let disk = SimDisk::new();
        let now = Now { wall_ns: 1_800_000_000 * SECOND_NS, monotonic_ns: SECOND_NS };
        let options = OpenOptions { store, ..options(now) };
        let opened = recover::open(&disk, &options).unwrap();
        let reader = Credential { may_write: false, principal: [9; 16], ..Credential::owner(READER) };
        let engine = Engine::new(Setup {
            state: opened.state,
            tip: opened.tip,
            reserve: opened.journal.reserve(),
            book: BOOK,
            incarnation: [1; 16],
            journal: 1,
            group_bytes_max: options.journal.group_bytes_max,
            limits,
            configuration: Configuration::default(),
            credentials: vec![Credential::owner(SECRET), reader],
            nonce_key: [4; 32],
            now,
            clock_trusted: true,
        });
        let (next, said, closed) = (1, Vec::new(), Vec::new());
        Self { disk, now, engine, journal: opened.journal, next, said, closed }
    }

    /// How its book is opened again.
    pub fn options(&self) -> OpenOptions {
        OpenOptions { writer: [3; 16], ..options(self.now) }
    }

    /// A new connection that has said nothing.
    pub fn connect(&mut self) -> ConnectionId {
        self.next += 1;
        self.step(Event::Opened { connection: self.next });
        self.next
    }

    /// A connection of this session.
    pub fn greet(&mut self, session: [u8; 16], secret: &[u8]) -> ConnectionId {
        let connection = self.connect();
        let answer = self.introduce(connection, &hello(session, secret, HelloRow::default()), secret);
        assert_eq!(answer.header().kind(), Some(Kind::Welcome), "{}", String::from_utf8_lossy(answer.body()));
        connection
    }

    /// Says this hello and then proves to have the secret; returns what is said in the end.
    pub fn introduce(&mut self, connection: ConnectionId, hello: &[u8], secret: &[u8]) -> Frame {
        let answer = self.ask(connection, hello);
        match answer.header().kind() {
            Some(Kind::Challenge) => self.ask(connection, &proof(hello, &answer, secret)),
            _ => answer,
        }
    }

    /// A connection of a session that exists, while nothing that is under way goes on.
    pub fn greet_at_once(&mut self, session: [u8; 16], secret: &[u8]) -> ConnectionId {
        let connection = self.connect();
        let hello = hello(session, secret, HelloRow::default());
        self.hand(connection, &hello, 0);
        let challenge = self.answer(connection).expect("an answer");
        self.hand(connection, &proof(&hello, &challenge, secret), 0);
        let answer = self.answer(connection).expect("an answer");
        assert_eq!(answer.header().kind(), Some(Kind::Welcome));
        connection
    }

    /// Hands a frame over and does all that follows; returns the answer.
    pub fn ask(&mut self, connection: ConnectionId, frame: &[u8]) -> Frame {
        self.hand(connection, frame, 0);
        self.settle();
        self.answer(connection).expect("an answer")
    }

    /// Hands a frame over whose header came in a while ago; does nothing of what follows but what is said at once.
    pub fn hand(&mut self, connection: ConnectionId, frame: &[u8], ago_ns: u64) {
        let (head, body) = frame.split_first_chunk::<HEADER_LENGTH>().unwrap();
        let mut actions = Vec::new();
        match judge(head) {
            Judgement::End(defect) => self.engine.lost(connection, defect, &mut actions),
            Judgement::Skip(header, defect) => self.engine.wrong(connection, &header, defect, &mut actions),
            Judgement::Good(header, _) => {
                if self.engine.admit(connection, &header, &mut actions) == Admission::Read {
                    let arrived_ns = self.now.monotonic_ns - ago_ns;
                    for _ in 0..WAKES {
                        let event = Event::Frame { connection, header: &header, body, arrived_ns };
                        if self.engine.step(self.now, event, &mut actions).unwrap() == Taken::Yes {
                            break;
                        }
                        self.settle();
                    }
                }
            }
        }
        self.perform(actions);
    }

    /// A connection has begun a frame, and nothing of it came for too long.
    pub fn fall_silent(&mut self, connection: ConnectionId) {
        let mut actions = Vec::new();
        self.engine.silent(connection, &mut actions);
        self.perform(actions);
    }

    /// Time goes on, without anything else happening.
    pub fn pass(&mut self, time_ns: u64) {
        self.now.wall_ns += time_ns;
        self.now.monotonic_ns += time_ns;
        self.settle();
    }

    /// What was said to a connection first.
    pub fn answer(&mut self, connection: ConnectionId) -> Option<Frame> {
        let index = self.said.iter().position(|(to, _)| *to == connection)?;
        Some(self.said.remove(index).1)
    }

    /// Wakes the engine until it has done what it was asked for.
    pub fn settle(&mut self) {
        for _ in 0..WAKES {
            self.step(Event::Wake);
        }
    }

    pub fn step(&mut self, event: Event<'_, SimDisk>) {
        let mut actions = Vec::new();
        self.engine.step(self.now, event, &mut actions).unwrap();
        self.perform(actions);
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send { connection, frame } => self.said.push((connection, frame)),
                Action::Close { connection } => self.closed.push(connection),
                Action::Write(mut group) => {
                    let tip = *self.journal.tip();
                    let appended = self.journal.append(tip.number, &tip.hash, tip.epoch, group.builder_mut()).unwrap();
                    let Appended::Appended(tip) = appended else { panic!("{appended:?}") };
                    self.step(Event::Written { group, tip });
                }
                Action::Prepare => {
                    let mut job = self.journal.reserve().prepare_next().unwrap();
                    let done = loop {
                        match job.step() {
                            Ok(Progress::Working { .. }) => {}
                            Ok(Progress::Done) => break true,
                            Err(error) if error.is_full() => break false,
                            Err(error) => panic!("{error}"),
                        }
                    };
                    drop(job);
                    self.step(Event::Prepared { done });
                }
                Action::End { .. } | Action::Stopped => {}
                Action::MakePages(job) => self.step(Event::Pages(job.run())),
                Action::Seal(_) | Action::Checkpoint(_) | Action::Backup(_) => panic!("not done here: {action:?}"),
            }
        }
    }
}

fn options(now: Now) -> OpenOptions {
    OpenOptions {
        book: Some(BOOK),
        incarnation: [1; 16],
        writer: [2; 16],
        now,
        clock_trusted: true,
        journal: JournalOptions {
            file_bytes_least: 1 << 21,
            file_bytes_first: 1 << 21,
            file_bytes_max: 1 << 21,
            group_bytes_max: 3 << 19,
            is_ahead: true,
        },
        store: StoreOptions::default(),
    }
}

/// A hello with this row; the credential's name and the length are set.
pub fn hello(session: [u8; 16], secret: &[u8], row: HelloRow) -> Vec<u8> {
    let versions_max = if row.versions_max == 0 { VERSION } else { row.versions_max };
    let row = HelloRow { versions_max, fingerprint: Keys::of(secret).fingerprint, nonce: [6; 32], ..row };
    let mut body = Vec::new();
    Hello { row, name: "desk" }.write(&mut body);
    Frame::copied(Header { session, ..Header::of(Kind::Hello) }, &body).bytes().to_vec()
}

/// The proof that follows a hello, of a server that has proven itself.
pub fn proof(hello: &[u8], challenge: &Frame, secret: &[u8]) -> Vec<u8> {
    let row = ChallengeRow::read(challenge.body()).unwrap();
    let (keys, transcript) = (Keys::of(secret), transcript(hello, &[], &row.nonce));
    assert!(keys.is_proven(&transcript, &row.proof), "the engine knows the credential");
    Frame::copied(Header::of(Kind::Proof), &keys.proof(&transcript)).bytes().to_vec()
}

/// The header of a request of [`SESSION`].
pub fn header(operation: Operation, request: u64) -> Header {
    Header { operation: operation.number(), book: BOOK, session: SESSION, request, ..Header::of(Kind::Request) }
}

/// The frame of a request.
pub fn request(header: Header, rows: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    request_frame(&mut bytes, header, &[], rows);
    bytes
}
