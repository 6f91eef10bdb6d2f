//! Bytes that nobody should send: whatever they are, nothing breaks, nothing changes, and others are served.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use common::desk::{Desk, READER, SESSION, header, hello, proof, request};
use common::{SECRET, TestServer, account, transfer};
use qenex_engine::client::{Client, ClientOptions, greet};
use qenex_engine::engine::{Action, Admission, Event, Taken};
use qenex_engine::frame::{
    BODY_MAX, Defect, ErrorCode, FRAME_MAX, Frame, HEADER_LENGTH, HELLO_MAX, Header, Hello, HelloRow, Judgement, Kind,
    Operation, Shape, Status, Welcome, checksum, judge,
};
use qenex_engine::limits::{HELLO_WITHIN_NS, Limits};
use qenex_engine::recover;
use qenex_journal::disk::sim::Random;
use qenex_kernel::row::{Account, BATCH_MAX, Id, QueryFilter};
use zerocopy::IntoBytes;

/// Bytes of an answer to junk that a server may send before it closes.
const ANSWERS_MAX: usize = 1 << 20;

fn pick(random: &mut Random, count: usize) -> usize {
    usize::try_from(random.below(count as u64)).unwrap()
}

fn bytes(random: &mut Random, count: usize) -> Vec<u8> {
    (0..count).map(|_| random.next_u64().to_le_bytes()[0]).collect()
}

/// A good frame of some type, for a session that exists.
fn good(random: &mut Random) -> Vec<u8> {
    let number = 1_000 + random.below(1_000);
    match random.below(8) {
        0 => hello(SESSION, SECRET, HelloRow::default()),
        1 => request(header(Operation::LookupAccounts, number), Id { id: 1 }.as_bytes()),
        2 => request(header(Operation::GetStatus, number), &[]),
        // Well-formed, and refused by the kernel: so that it is a bug if anything changes.
        3 => request(header(Operation::CreateAccounts, number), account(0).as_bytes()),
        4 => request(header(Operation::CreateTransfers, number), transfer(0, 1, 2, 3).as_bytes()),
        5 => Frame::copied(Header::of(Kind::Goodbye), &[]).bytes().to_vec(),
        6 => Frame::copied(Header::of(Kind::Proof), &[9; 32]).bytes().to_vec(),
        _ => Frame::copied(Header { request: number, ..Header::of(Kind::Reply) }, &[1; 16]).bytes().to_vec(),
    }
}

/// The same with a few bits or bytes changed; sometimes with checksums that fit, so that the rest is looked at.
fn bent(random: &mut Random) -> Vec<u8> {
    let mut frame = good(random);
    for _ in 0..=random.below(3) {
        // Mostly in the header: that is where everything is decided.
        let within = if random.chance(800) { HEADER_LENGTH } else { frame.len() };
        let at = pick(random, within);
        match random.below(3) {
            0 => frame[at] ^= 1 << random.below(8),
            1 => frame[at] = bytes(random, 1)[0],
            _ => {
                let end = frame.len().min(at + 8);
                frame[at..end].fill(if random.chance(500) { 0xFF } else { 0 });
            }
        }
    }
    if random.chance(700) {
        let sum = checksum(&frame[HEADER_LENGTH..]);
        if random.chance(800) {
            frame[240..248].copy_from_slice(&sum.to_le_bytes());
        }
        let sum = checksum(&frame[..248]);
        frame[248..256].copy_from_slice(&sum.to_le_bytes());
    }
    frame
}

/// Whether the rows of a frame could be good ones, so that it may have an effect by right.
fn may_write(frame: &[u8]) -> bool {
    let Some((head, body)) = frame.split_first_chunk() else { return false };
    let Judgement::Good(header, Kind::Request) = judge(head) else { return false };
    let writes = Operation::from_number(header.operation).is_some_and(Operation::writes);
    writes && header.matches(body) && body.len() >= 16 && body[..16] != [0; 16]
}

/// The fields of a header that is judged good, by the table of the specification, in other words.
fn is_by_the_book(header: &Header, kind: Kind) -> bool {
    let only = |kinds: &[Kind], zero: bool| zero || kinds.contains(&kind);
    let all = [Kind::Hello, Kind::Welcome, Kind::Request, Kind::Reply, Kind::Error];
    header.magic == *b"QENEXFR1"
        && (header.version, header.header_length) == (2, 256)
        && header.body_length as usize <= BODY_MAX
        && (header.flags == 0 || (header.flags == 1 && kind == Kind::Hello))
        && (header.reserved_1, header.reserved_2, header.routing_version) == ([0; 3], [0; 84], 0)
        && only(&all, header.book == [0; 16] && header.session == [0; 16] && header.trace == [0; 16])
        && only(&[Kind::Request, Kind::Reply], header.operation == 0)
        && only(&[Kind::Request], header.deadline_us == 0 && header.seen_timestamp == 0 && header.context_length == 0)
        && only(&[Kind::Error], header.error == 0 && header.retry_after_us == 0)
        && only(&[Kind::Reply], header.group_requests == 0 && header.group_rows == 0 && header.staleness_us == 0)
        && (kind != Kind::Request || (header.request > 0 && header.linger_us <= 1_000))
        && header.context_length <= 256
        && usize::from(header.context_length).next_multiple_of(16) <= header.body_length as usize
}

#[test]
fn no_header_is_good_that_breaks_a_rule() {
    let mut random = Random::new(1);
    let (mut seen, mut ended, mut skipped) = (0, 0, 0);
    for _ in 0..200_000 {
        let frame = bent(&mut random);
        match judge(frame.first_chunk().unwrap()) {
            Judgement::Good(header, kind) => {
                assert!(is_by_the_book(&header, kind), "{header:?}");
                seen += 1;
            }
            Judgement::Skip(header, defect) => {
                assert!(header.body_length as usize <= BODY_MAX && !defect.to_string().is_empty());
                skipped += 1;
            }
            Judgement::End(defect) => {
                assert!(!defect.to_string().is_empty());
                ended += 1;
            }
        }
    }
    assert!(seen > 10_000 && ended > 10_000 && skipped > 10_000, "{seen} {ended} {skipped}");
}

#[test]
fn one_bit_in_a_header_never_passes_unseen() {
    let mut random = Random::new(2);
    for _ in 0..7 {
        let frame = good(&mut random);
        for bit in 0..8 * HEADER_LENGTH {
            let mut head: [u8; HEADER_LENGTH] = *frame.first_chunk().unwrap();
            head[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(judge(&head), Judgement::End(Defect::HeaderChecksum | Defect::Magic)), "bit {bit}");
        }
    }
}

#[test]
fn hellos_and_contexts_of_any_bytes_are_read_or_refused() {
    let mut random = Random::new(3);
    let (mut read, mut split) = (0, 0);
    for _ in 0..100_000 {
        let mut body = Vec::new();
        let row = HelloRow { versions_max: 1, ..HelloRow::default() };
        Hello { row, name: "a name" }.write(&mut body);
        let cut = pick(&mut random, body.len() + 9);
        body.resize(cut.max(pick(&mut random, 90)), 0);
        for _ in 0..random.below(3) {
            let at = pick(&mut random, body.len().max(1));
            if let Some(byte) = body.get_mut(at) {
                *byte = bytes(&mut random, 1)[0];
            }
        }
        if let Ok(hello) = Hello::read(&body) {
            assert_eq!(usize::from(hello.row.name_length), hello.name.len());
            assert_eq!(64 + hello.name.len(), body.len());
            read += 1;
        }
        assert!(Welcome::read(&body).is_err() || body.len() >= 80);
        let context_length = u16::try_from(random.below(300)).unwrap();
        let header = Header { context_length, ..Header::of(Kind::Request) };
        if let Ok((context, rows)) = header.split(&body) {
            assert_eq!(context.len(), usize::from(context_length));
            assert_eq!(context.len().next_multiple_of(16) + rows.len(), body.len());
            split += 1;
        }
    }
    assert!(read > 100 && split > 1_000, "{read} {split}");
}

#[test]
fn an_engine_takes_any_frame_and_changes_nothing() {
    let mut random = Random::new(4);
    for round in 0..40 {
        let mut desk = Desk::new(Limits { connections_max: 6, window_requests: 4, ..Limits::default() });
        let first = desk.greet(SESSION, SECRET);
        let made = desk.ask(first, &request(header(Operation::CreateAccounts, 1), [account(1), account(2)].as_bytes()));
        assert_eq!(made.header().kind(), Some(Kind::Reply));
        let before = desk.engine.state().machine().store().state_hash();
        let mut connections = Vec::new();
        for _ in 0..250 {
            if connections.is_empty() || random.chance(100) {
                connections.push(desk.connect());
            }
            let connection = connections[pick(&mut random, connections.len())];
            let frame = bent(&mut random);
            if may_write(&frame) {
                continue;
            }
            desk.hand(connection, &frame, random.below(2_000_000));
            if random.chance(300) {
                desk.settle();
            }
            // Whom the engine has closed, or who has gone, says nothing more.
            let closed = core::mem::take(&mut desk.closed);
            connections.retain(|connection| !closed.contains(connection));
            if connections.len() > 3 {
                desk.step(Event::Closed { connection: connections.remove(0) });
            }
        }
        desk.settle();
        assert_eq!(desk.engine.state().machine().store().state_hash(), before, "round {round}");
        let found = desk.ask(first, &request(header(Operation::LookupAccounts, 2), Id { id: 2 }.as_bytes()));
        assert_eq!(found.body().len(), 128, "round {round}");
    }
}

#[test]
fn a_stranger_is_given_no_memory_beyond_a_hello() {
    let mut desk = Desk::new(Limits::default());
    let length = |bytes: usize| u32::try_from(bytes).unwrap();
    for kind in [Kind::Hello, Kind::Request, Kind::Reply] {
        let connection = desk.connect();
        let mut actions = Vec::new();
        let largest = Header { body_length: length(HELLO_MAX), ..Header::of(kind) };
        assert_eq!(desk.engine.admit(connection, &largest, &mut actions), Admission::Read);
        assert!(actions.is_empty());
        let larger = Header { body_length: length(HELLO_MAX + 1), ..largest };
        assert_eq!(desk.engine.admit(connection, &larger, &mut actions), Admission::Skip);
        let [Action::Send { frame, .. }, Action::Close { .. }] = &actions[..] else { panic!("{actions:?}") };
        assert_eq!(frame.header().error, ErrorCode::FrameTooLarge.number());
    }
    let known = desk.greet(SESSION, SECRET);
    let large = Header { body_length: length(BODY_MAX), ..header(Operation::CreateTransfers, 1) };
    assert_eq!(desk.engine.admit(known, &large, &mut Vec::new()), Admission::Read);
}

#[test]
fn a_stranger_is_told_once_what_is_wrong() {
    let mut desk = Desk::new(Limits::default());
    let reserved = |kind| Frame::copied(Header { reserved_1: [1; 3], ..Header::of(kind) }, &[]);
    for kind in [Kind::Hello, Kind::Request, Kind::Goodbye] {
        let stranger = desk.connect();
        desk.hand(stranger, reserved(kind).bytes(), 0);
        assert_eq!(end_of(&mut desk, stranger), Some(ErrorCode::MalformedFrame));
    }
    // Who is known goes on.
    let known = desk.greet(SESSION, SECRET);
    for _ in 0..3 {
        let answer = desk.ask(known, reserved(Kind::Request).bytes());
        assert_eq!(answer.header().error, ErrorCode::MalformedFrame.number());
    }
    assert!(!desk.closed.contains(&known));
}

/// What a connection was told last, if it was closed.
fn end_of(desk: &mut Desk, connection: u64) -> Option<ErrorCode> {
    let is_closed = desk.closed.contains(&connection);
    let said = desk.answer(connection).and_then(|frame| ErrorCode::from_number(frame.header().error));
    assert_eq!(said.is_some(), is_closed, "who is closed is told why");
    said
}

#[test]
fn who_does_not_say_who_it_is_has_ten_seconds() {
    let mut desk = Desk::new(Limits::default());
    let known = desk.greet(SESSION, SECRET);
    // Silent, with a goodbye, and one that comes later.
    let (silent, gone) = (desk.connect(), desk.connect());
    desk.hand(gone, Frame::copied(Header::of(Kind::Goodbye), &[]).bytes(), 0);
    desk.pass(1);
    let later = desk.connect();
    desk.pass(HELLO_WITHIN_NS - 2);
    assert!(desk.closed.is_empty());
    assert_eq!(desk.engine.next_wake_ns(), Some(desk.now.monotonic_ns + 1), "nothing else need happen");
    desk.pass(1);
    for connection in [silent, gone] {
        assert_eq!(end_of(&mut desk, connection), Some(ErrorCode::Unauthenticated));
    }
    assert_eq!(end_of(&mut desk, later), None);
    // Who is known, or was in time, may be silent for as long as it likes.
    let reader = desk.introduce(later, &hello([0; 16], READER, HelloRow::default()), READER);
    assert_eq!(reader.header().kind(), Some(Kind::Welcome));
    desk.pass(1_000 * HELLO_WITHIN_NS);
    for connection in [known, later] {
        assert_eq!(end_of(&mut desk, connection), None);
    }
}

#[test]
fn a_hello_without_its_proof_stays_a_strangers() {
    let mut desk = Desk::new(Limits { connections_max: 1, strangers_max: 2, ..Limits::default() });
    // They know the credential's name, and are answered, but are as many as strangers may be, for as long.
    let named: Vec<_> = (0..3)
        .map(|_| {
            let connection = desk.connect();
            let answer = desk.ask(connection, &hello(SESSION, SECRET, HelloRow::default()));
            assert_eq!(answer.header().kind(), Some(Kind::Challenge));
            connection
        })
        .collect();
    assert_eq!(end_of(&mut desk, named[0]), Some(ErrorCode::Busy));
    assert_eq!(desk.engine.state().sessions().len(), 0, "no session is opened for them");
    assert!(desk.engine.state().sessions().get(&SESSION).is_none());
    // They may not ask, nor send more than a hello.
    let mut actions = Vec::new();
    let large = Header { body_length: u32::try_from(HELLO_MAX + 1).unwrap(), ..header(Operation::CreateAccounts, 1) };
    assert_eq!(desk.engine.admit(named[1], &large, &mut actions), Admission::Skip);
    let asked = desk.ask(named[2], &request(header(Operation::GetStatus, 1), &[]));
    assert_eq!(asked.header().error, ErrorCode::Unauthenticated.number());
    // And they take no place of who has the secret.
    let last = desk.connect();
    desk.ask(last, &hello(SESSION, SECRET, HelloRow::default()));
    desk.greet(SESSION, SECRET);
    desk.pass(HELLO_WITHIN_NS);
    assert_eq!(end_of(&mut desk, last), Some(ErrorCode::Unauthenticated));
}

#[test]
fn a_proof_is_good_for_one_connection_and_one_hello() {
    let mut desk = Desk::new(Limits::default());
    let said = hello(SESSION, SECRET, HelloRow::default());
    let first = desk.connect();
    let challenge = desk.ask(first, &said);
    let right = proof(&said, &challenge, SECRET);
    // What was overheard on another connection, and a hello that was changed on its way.
    let other = hello([7; 16], SECRET, HelloRow::default());
    for hello in [&said, &other] {
        let connection = desk.connect();
        let fresh = desk.ask(connection, hello);
        assert_ne!(fresh.body(), challenge.body(), "every challenge is new");
        let answer = desk.ask(connection, &right);
        assert_eq!(answer.header().error, ErrorCode::Unauthenticated.number());
    }
    assert_eq!(desk.ask(first, &right).header().kind(), Some(Kind::Welcome));
}

#[test]
fn a_hello_that_waits_for_room_was_in_time() {
    let mut desk = Desk::new(Limits::default());
    let known = desk.greet(SESSION, SECRET);
    // All but 128 bytes of the group that is built, where the entry of a new session takes 144.
    for (number, rows) in [(1, BATCH_MAX), (2, 4_094)] {
        desk.hand(known, &request(header(Operation::CreateAccounts, number), vec![account(1); rows].as_bytes()), 0);
    }
    let connection = desk.connect();
    let hello = hello([6; 16], SECRET, HelloRow::default());
    desk.hand(connection, &hello, 0);
    let frame = proof(&hello, &desk.answer(connection).unwrap(), SECRET);
    let (head, body) = frame.split_first_chunk().unwrap();
    let Judgement::Good(header, _) = judge(head) else { panic!("a good proof") };
    let event = Event::Frame { connection, header: &header, body, arrived_ns: desk.now.monotonic_ns };
    assert_eq!(desk.engine.step(desk.now, event, &mut Vec::new()).unwrap(), Taken::Parked);
    desk.pass(HELLO_WITHIN_NS);
    assert_eq!(end_of(&mut desk, connection), None);
    assert_eq!(desk.ask(connection, &frame).header().kind(), Some(Kind::Welcome));
}

#[test]
fn strangers_make_room_for_strangers_and_never_take_the_place_of_who_is_known() {
    let limits = Limits { connections_max: 3, strangers_max: 4, ..Limits::default() };
    let mut desk = Desk::new(limits);
    let known = desk.greet(SESSION, SECRET);
    let strangers: Vec<_> = (0..10).map(|_| desk.connect()).collect();
    for (at, connection) in strangers.iter().enumerate() {
        assert_eq!(end_of(&mut desk, *connection), (at < 6).then_some(ErrorCode::Busy), "the oldest go");
    }
    // However many strangers there are, those with a credential get in until they are as many as may be.
    let second = desk.greet(SESSION, SECRET);
    let third = desk.greet([0; 16], READER);
    let fourth = desk.connect();
    let refused = desk.introduce(fourth, &hello(SESSION, SECRET, HelloRow::default()), SECRET);
    assert_eq!(refused.header().error, ErrorCode::Busy.number());
    desk.step(Event::Closed { connection: second });
    let again = desk.greet(SESSION, SECRET);
    for connection in [known, third, again] {
        assert_eq!(end_of(&mut desk, connection), None);
    }
}

/// Rows of an operation: good ones with small numbers, of which some bytes are anything.
fn bent_rows(random: &mut Random, operation: Operation) -> Vec<u8> {
    let Shape::Rows { size, max } = operation.shape() else { return Vec::new() };
    let count = 1 + pick(random, max.min(6));
    let mut rows: Vec<u8> = Vec::new();
    for _ in 0..count {
        let id = 1 + u128::from(random.below(40));
        let row = match operation {
            Operation::CreateAccounts => account(id).as_bytes().to_vec(),
            Operation::CreateTransfers => {
                transfer(id, 1 + u128::from(random.below(9)), 1 + u128::from(random.below(9)), 3).as_bytes().to_vec()
            }
            _ => {
                let mut row = vec![0; size];
                row[0] = id.to_le_bytes()[0];
                row
            }
        };
        rows.extend_from_slice(&row);
    }
    for _ in 0..random.below(5) {
        let at = pick(random, rows.len());
        match random.below(3) {
            0 => rows[at] = bytes(random, 1)[0],
            1 => rows[at] ^= 1 << random.below(8),
            _ => {
                let end = rows.len().min(at + 16);
                rows[at..end].fill(if random.chance(500) { 0xFF } else { 0 });
            }
        }
    }
    rows
}

#[test]
fn rows_of_any_bytes_are_answered_and_the_journal_says_the_same_again() {
    let mut random = Random::new(6);
    let (mut created, mut refused, mut read) = (0, 0, 0);
    for round in 0..20 {
        let mut desk = Desk::new(Limits::default());
        let connection = desk.greet(SESSION, SECRET);
        for number in 1..=300 {
            let operation = Operation::ALL[pick(&mut random, Operation::ALL.len())];
            if operation == Operation::Backup {
                continue;
            }
            let rows = bent_rows(&mut random, operation);
            let answer = desk.ask(connection, &request(header(operation, number), &rows));
            assert!(desk.closed.is_empty(), "round {round}: {}", String::from_utf8_lossy(answer.body()));
            if answer.header().kind() != Some(Kind::Reply) {
                refused += 1;
            } else if operation.writes() {
                let Shape::Rows { size, .. } = operation.shape() else { panic!("{operation:?}") };
                assert_eq!(answer.body().len() / 16, rows.len() / size, "one result a row");
                created += u64::from(answer.body().chunks(16).any(|row| row[8..12] == [0xFF; 4]));
            } else {
                read += 1;
            }
        }
        let state = desk.engine.state();
        let opened = recover::open(&desk.disk.copy(), &desk.options()).unwrap();
        let hashes = [state, &opened.state].map(|state| state.machine().store().state_hash());
        assert_eq!(hashes[0], hashes[1], "round {round}");
        let filter = QueryFilter { limit: 1_000, ..QueryFilter::ZERO };
        let mut accounts = Vec::new();
        state.machine().query_accounts(&filter, &mut accounts);
        let sum = |of: fn(&Account) -> u128| accounts.iter().map(of).fold(0, u128::wrapping_add);
        assert_eq!(sum(|row| row.debits_posted), sum(|row| row.credits_posted), "round {round}");
        assert_eq!(sum(|row| row.debits_pending), sum(|row| row.credits_pending), "round {round}");
    }
    assert!(created > 100 && refused > 100 && read > 1_000, "{created} {refused} {read}");
}

/// What a client sees of the whole book.
fn look(client: &mut Client) -> (u64, u64, Vec<u8>) {
    let status = client.call(Operation::GetStatus, &[]).unwrap().rows::<Status>().unwrap()[0];
    let ids = [Id { id: 1 }, Id { id: 2 }];
    let accounts = client.call(Operation::LookupAccounts, ids.as_bytes()).unwrap().body.unwrap();
    (status.accounts, status.transfers, accounts)
}

/// Reads what the server says until it closes, within reason.
fn drain(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset is an answer too: the server had something unread when it closed.
    _ = stream.take(ANSWERS_MAX as u64).read_to_end(&mut rest);
}

#[test]
fn a_server_outlives_junk_and_goes_on_serving() {
    let server = TestServer::start();
    let mut client = server.client();
    client.call(Operation::CreateAccounts, [account(1), account(2)].as_bytes()).unwrap();
    client.call(Operation::CreateTransfers, transfer(10, 1, 2, 5).as_bytes()).unwrap();
    let before = look(&mut client);
    let mut random = Random::new(5);
    for round in 0..1_500 {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut junk = Vec::new();
        if random.chance(600) {
            greet(&mut stream, &ClientOptions::new(SECRET), [0; 16], false).unwrap();
        }
        for _ in 0..random.below(6) {
            let frame = bent(&mut random);
            if !may_write(&frame) {
                junk.extend_from_slice(&frame);
            }
        }
        match random.below(4) {
            0 => junk.truncate(pick(&mut random, junk.len() + 1)),
            1 => {
                let count = pick(&mut random, 2_000);
                junk.extend_from_slice(&bytes(&mut random, count));
            }
            _ => {}
        }
        // A server that has closed already lets the rest fail.
        if stream.write_all(&junk).is_ok() && stream.shutdown(Shutdown::Write).is_ok() && random.chance(700) {
            drain(&mut stream);
        }
        drop(stream);
        if round % 100 == 0 {
            assert_eq!(look(&mut client), before, "round {round}");
        }
    }
    assert_eq!(look(&mut client), before);
}

#[test]
fn a_crowd_that_says_nothing_keeps_nobody_out() {
    let server = TestServer::start_with(|config| {
        config.limits = Limits { connections_max: 2, strangers_max: 8, ..Limits::default() };
    });
    let mut first = server.client();
    first.call(Operation::CreateAccounts, [account(1), account(2)].as_bytes()).unwrap();
    let before = look(&mut first);
    let mut crowd: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    let mut second = server.client();
    assert_eq!(look(&mut second), before);
    assert_eq!(look(&mut first), before);
    // The oldest were told so, and closed.
    for stream in &mut crowd[..150] {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap();
        let Judgement::Good(header, Kind::Error) = judge(said.first_chunk().unwrap()) else { panic!("{said:?}") };
        assert_eq!(header.error, ErrorCode::Busy.number());
    }
}

/// Sends one byte at a time.
struct Slow(TcpStream);

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(&bytes[..1])
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Read for Slow {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(into)
    }
}

#[test]
fn halves_of_frames_hold_nobody_up() {
    let server = TestServer::start();
    let mut client = server.client();
    client.call(Operation::CreateAccounts, [account(1), account(2)].as_bytes()).unwrap();
    let before = look(&mut client);
    // Each of these says that a frame comes and sends a part of it: of the header, or of a body as large as allowed.
    let mut waiting: Vec<TcpStream> = Vec::new();
    let whole = request(header(Operation::CreateAccounts, 1), &vec![0; BODY_MAX / 128 * 128]);
    assert!(whole.len() <= FRAME_MAX);
    for part in 0..200 {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        greet(&mut stream, &ClientOptions::new(SECRET), [0; 16], false).unwrap();
        let length = if part % 2 == 0 { part } else { HEADER_LENGTH + part * 64 };
        stream.write_all(&whole[..length]).unwrap();
        waiting.push(stream);
    }
    assert_eq!(look(&mut client), before);
    // One byte at a time is a frame all the same.
    let mut slow = Slow(TcpStream::connect(server.address()).unwrap());
    greet(&mut slow, &ClientOptions::new(SECRET), [0; 16], false).unwrap();
    // One that never reads what it asked for holds nobody up either.
    let mut deaf = TcpStream::connect(server.address()).unwrap();
    greet(&mut deaf, &ClientOptions::new(SECRET), [0; 16], false).unwrap();
    let zeros = Header { session: [0; 16], ..header(Operation::GetMetrics, 1) };
    for number in 1..200 {
        deaf.write_all(&request(Header { request: number, ..zeros }, &[])).unwrap();
    }
    assert_eq!(look(&mut client), before);
    drop((waiting, slow, deaf));
    assert_eq!(look(&mut client), before);
}
