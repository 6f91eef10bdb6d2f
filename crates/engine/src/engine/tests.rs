//! What cannot be brought about from outside.

use qenex_journal::derived::Options as StoreOptions;
use qenex_journal::disk::SimDisk;
use qenex_journal::log::{Appended, Journal, Options as JournalOptions};
use qenex_kernel::row::Account;
use zerocopy::IntoBytes;

use super::*;
use crate::clock::SECOND_NS;
use crate::credential::{Keys, transcript};
use crate::frame::{ChallengeRow, Hello, HelloRow, VERSION, request_frame};
use crate::recover::{self, OpenOptions};

const NOW: Now = Now { wall_ns: 1_800_000_000 * SECOND_NS, monotonic_ns: SECOND_NS };
const BOOK: [u8; 16] = [7; 16];
const SESSION: SessionId = [5; 16];
const SECRET: &[u8] = b"a secret";
const CONNECTION: ConnectionId = 1;

struct Bench {
    engine: Engine<SimDisk>,
    journal: Journal<SimDisk>,
}

impl Bench {
    /// An engine to whom a client has said hello.
    fn new() -> Self {
        let journal = JournalOptions {
            file_bytes_least: 1 << 21,
            file_bytes_first: 1 << 21,
            file_bytes_max: 1 << 21,
            group_bytes_max: 3 << 19,
            is_ahead: true,
        };
        let options = OpenOptions {
            book: Some(BOOK),
            incarnation: [1; 16],
            writer: [2; 16],
            now: NOW,
            clock_trusted: true,
            journal,
            store: StoreOptions::default(),
        };
        let opened = recover::open(&SimDisk::new(), &options).expect("a new book");
        let engine = Engine::new(Setup {
            state: opened.state,
            tip: opened.tip,
            reserve: opened.journal.reserve(),
            book: BOOK,
            incarnation: [1; 16],
            journal: 1,
            group_bytes_max: journal.group_bytes_max,
            limits: Limits::default(),
            configuration: Configuration::default(),
            credentials: vec![Credential::owner(SECRET)],
            nonce_key: [4; 32],
            now: NOW,
            clock_trusted: true,
        });
        let mut bench = Self { engine, journal: opened.journal };
        let mut body = Vec::new();
        let keys = Keys::of(SECRET);
        let row = HelloRow { versions_max: VERSION, fingerprint: keys.fingerprint, ..HelloRow::default() };
        Hello { row, name: "bench" }.write(&mut body);
        let hello = Frame::copied(Header { session: SESSION, ..Header::of(Kind::Hello) }, &body);
        bench.step(Event::Opened { connection: CONNECTION }).expect("a connection");
        let said = bench.hand(hello.bytes());
        let challenge = ChallengeRow::read(said[0].body()).expect("a challenge");
        let proof = keys.proof(&transcript(hello.bytes(), &[], &challenge.nonce));
        bench.hand(Frame::copied(Header::of(Kind::Proof), &proof).bytes());
        bench.wake().expect("a session");
        bench
    }

    /// Returns what is said at once.
    fn step(&mut self, event: Event<'_, SimDisk>) -> Result<Vec<Frame>, ApplyError> {
        let mut actions = Vec::new();
        self.engine.step(NOW, event, &mut actions)?;
        let mut said = Vec::new();
        for action in actions {
            match action {
                Action::Write(mut group) => {
                    let tip = *self.journal.tip();
                    let appended = self.journal.append(tip.number, &tip.hash, tip.epoch, group.builder_mut());
                    let Ok(Appended::Appended(tip)) = appended else { panic!("{appended:?}") };
                    self.step(Event::Written { group, tip })?;
                }
                Action::Send { frame, .. } => said.push(frame),
                _ => {}
            }
        }
        Ok(said)
    }

    fn wake(&mut self) -> Result<(), ApplyError> {
        (0..5).try_for_each(|_| self.step(Event::Wake).map(drop))
    }

    fn hand(&mut self, frame: &[u8]) -> Vec<Frame> {
        let (head, body) = frame.split_at(size_of::<Header>());
        let header: Header = zerocopy::transmute!(*head.first_chunk::<{ size_of::<Header>() }>().expect("a header"));
        let event = Event::Frame { connection: CONNECTION, header: &header, body, arrived_ns: NOW.monotonic_ns };
        self.step(event).expect("a frame that is taken")
    }
}

#[test]
fn a_command_of_which_nobody_would_be_told_ends_the_engine() {
    let mut bench = Bench::new();
    let header = Header {
        operation: Operation::CreateAccounts.number(),
        book: BOOK,
        session: SESSION,
        request: 1,
        ..Header::of(Kind::Request)
    };
    let mut frame = Vec::new();
    request_frame(&mut frame, header, &[], Account { id: 1, ledger: 978, code: 1, ..Account::ZERO }.as_bytes());
    bench.hand(&frame);
    let live = bench.engine.live.get_mut(&SESSION).expect("a session with a request under way");
    live.find(1).expect("the request").waiters.clear();
    let entry = bench.engine.state.entry() + 1;
    assert_eq!(bench.wake(), Err(ApplyError::Unawaited { entry }));
    assert!(ApplyError::Unawaited { entry }.to_string().contains(&format!("entry {entry} ")));
}
