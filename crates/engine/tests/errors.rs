//! Every error that this release can give is provoked; none of them changes anything.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::desk::{Desk, READER, SESSION, header, hello, request};
use common::{SECRET, account, transfer};
use qenex_engine::clock::SECOND_NS;
use qenex_engine::engine::Event;
use qenex_engine::frame::{
    BODY_MAX, ErrorCode, Frame, HEADER_LENGTH, Header, HelloRow, Kind, Operation, PATH_MAX, Status, TEXT_MAX, checksum,
};
use qenex_engine::ids::reserved_high;
use qenex_engine::limits::{CODE_RESERVED, HELLO_WITHIN_NS, Limits};
use qenex_journal::disk::Disk;
use qenex_kernel::row::{Account, Id, Transfer};
use zerocopy::{FromBytes, IntoBytes};

/// What this release never says: `not_leader` waits for replication, and `unknown_outcome` would need a journal entry of
/// which the store has forgotten the results.
const UNSAID: [ErrorCode; 2] = [ErrorCode::NotLeader, ErrorCode::UnknownOutcome];

/// What is said of books, and not in one: `tests/host.rs` provokes them.
const OF_BOOKS: [ErrorCode; 3] = [ErrorCode::BookSuspended, ErrorCode::BookUnknown, ErrorCode::BookConflict];

/// A way to an error: returns what the engine says.
type Provocation = fn(&mut Desk) -> Frame;

const PROVOCATIONS: &[(ErrorCode, Provocation)] = &[
    (ErrorCode::Forbidden, |desk| {
        let connection = desk.greet(SESSION, SECRET);
        desk.ask(connection, &request(header(Operation::SuspendBook, 9), Id { id: 7 }.as_bytes()))
    }),
    (ErrorCode::MalformedFrame, |desk| {
        let mut frame = request(header(Operation::GetStatus, 9), &[]);
        frame[60] ^= 1;
        let connection = desk.greet(SESSION, SECRET);
        desk.ask(connection, &frame)
    }),
    (ErrorCode::MalformedFrame, |desk| {
        let mut frame = request(header(Operation::CreateAccounts, 9), account(3).as_bytes());
        *frame.last_mut().unwrap() ^= 1;
        let connection = desk.greet(SESSION, SECRET);
        desk.ask(connection, &frame)
    }),
    (ErrorCode::MalformedFrame, |desk| {
        // Hello is said once.
        let connection = desk.greet(SESSION, SECRET);
        desk.ask(connection, &hello(SESSION, SECRET, HelloRow::default()))
    }),
    (ErrorCode::MalformedFrame, |desk| {
        // Servers reply, clients do not.
        let connection = desk.greet(SESSION, SECRET);
        desk.ask(connection, Frame::copied(Header { request: 9, ..Header::of(Kind::Reply) }, &[]).bytes())
    }),
    (ErrorCode::UnsupportedVersion, |desk| {
        let connection = desk.connect();
        desk.ask(
            connection,
            &hello(SESSION, SECRET, HelloRow { versions_min: 3, versions_max: 4, ..HelloRow::default() }),
        )
    }),
    (ErrorCode::UnsupportedVersion, |desk| {
        let connection = desk.connect();
        desk.ask(connection, &resealed(hello(SESSION, SECRET, HelloRow::default()), |frame| frame[8] = 1))
    }),
    (ErrorCode::Unauthenticated, |desk| {
        let connection = desk.connect();
        desk.ask(connection, &hello(SESSION, b"guessed", HelloRow::default()))
    }),
    (ErrorCode::Unauthenticated, |desk| {
        // The name of a credential is no secret: it takes the proof.
        let connection = desk.connect();
        let hello = hello(SESSION, SECRET, HelloRow::default());
        assert_eq!(desk.ask(connection, &hello).header().kind(), Some(Kind::Challenge));
        desk.ask(connection, Frame::copied(Header::of(Kind::Proof), &[1; 32]).bytes())
    }),
    (ErrorCode::MalformedFrame, |desk| {
        let connection = desk.connect();
        desk.ask(connection, &hello(SESSION, SECRET, HelloRow::default()));
        desk.ask(connection, Frame::copied(Header::of(Kind::Proof), &[1; 33]).bytes())
    }),
    (ErrorCode::MalformedFrame, |desk| {
        // A proof is of something.
        let connection = desk.connect();
        desk.ask(connection, Frame::copied(Header::of(Kind::Proof), &[1; 32]).bytes())
    }),
    (ErrorCode::MalformedFrame, |desk| {
        // Who is let guess has one guess.
        let connection = desk.connect();
        let hello = hello(SESSION, SECRET, HelloRow::default());
        desk.ask(connection, &hello);
        desk.ask(connection, &hello)
    }),
    (ErrorCode::Unauthenticated, |desk| {
        let connection = desk.connect();
        desk.ask(connection, &request(header(Operation::GetStatus, 9), &[]))
    }),
    (ErrorCode::Forbidden, |desk| {
        let connection = desk.greet([0; 16], SECRET);
        let header = Header { session: [0; 16], ..header(Operation::CreateAccounts, 9) };
        desk.ask(connection, &request(header, account(3).as_bytes()))
    }),
    (ErrorCode::Forbidden, |desk| {
        let connection = desk.connect();
        desk.introduce(connection, &hello([6; 16], READER, HelloRow::default()), READER)
    }),
    (ErrorCode::Forbidden, |desk| {
        let connection = desk.greet([0; 16], READER);
        desk.ask(connection, &request(Header { session: [0; 16], ..header(Operation::ConfirmClock, 9) }, &[]))
    }),
    (ErrorCode::WrongBook, |desk| {
        let connection = desk.greet(SESSION, SECRET);
        desk.ask(connection, &request(Header { book: [0xB1; 16], ..header(Operation::GetStatus, 9) }, &[]))
    }),
    (ErrorCode::WrongBook, |desk| {
        let connection = desk.connect();
        let mut frame = hello(SESSION, SECRET, HelloRow::default());
        frame = resealed(frame, |frame| frame[16..32].fill(0xB1));
        desk.introduce(connection, &frame, SECRET)
    }),
    (ErrorCode::UnknownOperation, |desk| {
        let connection = desk.greet(SESSION, SECRET);
        desk.ask(connection, &request(Header { operation: 7, ..header(Operation::GetStatus, 9) }, &[]))
    }),
    (ErrorCode::InvalidSize, |desk| {
        let connection = desk.greet(SESSION, SECRET);
        desk.ask(connection, &request(header(Operation::CreateAccounts, 9), &account(3).as_bytes()[..127]))
    }),
    (ErrorCode::InvalidSize, |desk| {
        let connection = desk.greet(SESSION, SECRET);
        desk.ask(connection, &request(header(Operation::CreateAccounts, 9), &[]))
    }),
    (ErrorCode::BatchTooLarge, |desk| {
        let connection = desk.greet(SESSION, SECRET);
        desk.ask(connection, &request(header(Operation::LookupAccounts, 9), vec![Id { id: 1 }; 8_190].as_bytes()))
    }),
    (ErrorCode::Busy, |desk| {
        // One request more than the window has room for, before the first is durable.
        let connection = desk.greet(SESSION, SECRET);
        for request_number in [2, 3] {
            desk.hand(
                connection,
                &request(header(Operation::CreateAccounts, request_number), account(1).as_bytes()),
                0,
            );
        }
        desk.answer(connection).unwrap()
    }),
    (ErrorCode::Busy, |desk| {
        for _ in 0..2 {
            desk.greet(SESSION, SECRET);
        }
        let connection = desk.connect();
        desk.introduce(connection, &hello(SESSION, SECRET, HelloRow::default()), SECRET)
    }),
    (ErrorCode::Busy, |desk| {
        let connections: Vec<_> = (0..=Limits::default().strangers_max).map(|_| desk.connect()).collect();
        desk.answer(connections[0]).unwrap()
    }),
    (ErrorCode::Unauthenticated, |desk| {
        let connection = desk.connect();
        desk.pass(HELLO_WITHIN_NS);
        desk.answer(connection).unwrap()
    }),
    (ErrorCode::MalformedFrame, |desk| {
        let connection = desk.greet(SESSION, SECRET);
        desk.fall_silent(connection);
        desk.answer(connection).unwrap()
    }),
    (ErrorCode::SessionExpired, |desk| {
        let connection = desk.connect();
        let frame = resealed(hello([77; 16], SECRET, HelloRow::default()), |frame| frame[13] = Header::RESUME);
        desk.introduce(connection, &frame, SECRET)
    }),
    (ErrorCode::SessionExpired, |desk| {
        let connection = desk.greet(SESSION, SECRET);
        desk.ask(connection, &request(Header { session: [77; 16], ..header(Operation::GetStatus, 9) }, &[]))
    }),
    (ErrorCode::RequestTooOld, |desk| {
        let connection = desk.greet(SESSION, SECRET);
        let made = desk.ask(connection, &request(header(Operation::CreateAccounts, 100), account(1).as_bytes()));
        assert_eq!(made.header().kind(), Some(Kind::Reply));
        desk.ask(connection, &request(header(Operation::CreateAccounts, 36), account(3).as_bytes()))
    }),
    (ErrorCode::RequestMismatch, |desk| {
        let connection = desk.greet(SESSION, SECRET);
        desk.ask(connection, &request(header(Operation::CreateAccounts, 1), account(3).as_bytes()))
    }),
    (ErrorCode::RequestMismatch, |desk| {
        // Also while the first is under way.
        let connection = desk.greet(SESSION, SECRET);
        desk.hand(connection, &request(header(Operation::CreateAccounts, 2), account(1).as_bytes()), 0);
        desk.hand(connection, &request(header(Operation::CreateAccounts, 2), account(3).as_bytes()), 0);
        desk.answer(connection).unwrap()
    }),
    (ErrorCode::DeadlineExceeded, |desk| {
        let connection = desk.greet(SESSION, SECRET);
        let late = Header { deadline_us: 100, ..header(Operation::CreateAccounts, 9) };
        desk.hand(connection, &request(late, account(3).as_bytes()), 101_000);
        desk.answer(connection).unwrap()
    }),
    (ErrorCode::StorageFull, |desk| {
        let connection = desk.greet(SESSION, SECRET);
        let used = u64::MAX - desk.disk.free_bytes().unwrap();
        desk.disk.set_capacity(used);
        // What was reserved before is used up first.
        let rows = vec![account(1); 8_000];
        let mut answers = (2..20)
            .map(|number| desk.ask(connection, &request(header(Operation::CreateAccounts, number), rows.as_bytes())));
        answers.find(|answer| answer.header().kind() == Some(Kind::Error)).unwrap()
    }),
    (ErrorCode::ShuttingDown, |desk| {
        let connection = desk.greet(SESSION, SECRET);
        desk.step(Event::Stop);
        desk.ask(connection, &request(header(Operation::CreateAccounts, 9), account(3).as_bytes()))
    }),
    (ErrorCode::ReservedId, |desk| {
        let connection = desk.greet(SESSION, SECRET);
        let id = (u128::from(reserved_high(&common::BOOK, 1)) << 64) | 1;
        desk.ask(connection, &request(header(Operation::CreateTransfers, 9), transfer(id, 1, 2, 1).as_bytes()))
    }),
    (ErrorCode::ReservedCode, |desk| {
        let connection = desk.greet(SESSION, SECRET);
        let rows = [transfer(1, 1, 2, 1), Transfer { code: CODE_RESERVED, ..transfer(2, 1, 2, 1) }];
        let told = desk.ask(connection, &request(header(Operation::CreateTransfers, 9), rows.as_bytes()));
        assert!(String::from_utf8_lossy(told.body()).starts_with("row 1: "));
        told
    }),
    (ErrorCode::ClockAhead, |desk| {
        let connection = desk.greet(SESSION, SECRET);
        let seen_timestamp = desk.now.wall_ns + SECOND_NS + 1;
        let ahead = Header { seen_timestamp, ..header(Operation::CreateAccounts, 9) };
        desk.ask(connection, &request(ahead, account(3).as_bytes()))
    }),
    (ErrorCode::ClockUnconfirmed, |desk| {
        let connection = desk.greet(SESSION, SECRET);
        desk.now.wall_ns += 3_601 * SECOND_NS;
        desk.ask(connection, &request(header(Operation::CreateAccounts, 9), account(3).as_bytes()))
    }),
    (ErrorCode::FrameTooLarge, |desk| {
        let connection = desk.greet(SESSION, SECRET);
        let length = u32::try_from(BODY_MAX + 1).unwrap().to_le_bytes();
        let frame = resealed(request(header(Operation::GetStatus, 9), &[]), |frame| {
            frame[60..64].copy_from_slice(&length);
        });
        desk.ask(connection, &frame)
    }),
    (ErrorCode::Moved, |desk| {
        let connection = desk.greet(SESSION, SECRET);
        desk.ask(connection, &request(Header { journal: 2, ..header(Operation::GetStatus, 9) }, &[]))
    }),
    (ErrorCode::Stale, |desk| {
        let connection = desk.greet(SESSION, SECRET);
        desk.ask(connection, &request(Header { position_entry: 999, ..header(Operation::GetStatus, 9) }, &[]))
    }),
    (ErrorCode::Failed, |desk| {
        let connection = desk.greet(SESSION, SECRET);
        desk.ask(connection, &request(header(Operation::Backup, 9), b"\xff"))
    }),
    (ErrorCode::BackupUnusable, |desk| {
        let connection = desk.greet(SESSION, SECRET);
        desk.ask(connection, &request(header(Operation::Backup, 9), b"no/absolute/path"))
    }),
];

/// A frame of which the header was changed, with the checksum that fits.
fn resealed(mut frame: Vec<u8>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    change(&mut frame);
    let sum = checksum(&frame[..HEADER_LENGTH - 8]);
    frame[HEADER_LENGTH - 8..HEADER_LENGTH].copy_from_slice(&sum.to_le_bytes());
    frame
}

/// A desk with a session and two accounts, one connection of three in use, and windows of one request.
fn desk() -> Desk {
    let mut desk = Desk::new(Limits { connections_max: 3, window_requests: 1, ..Limits::default() });
    let connection = desk.greet(SESSION, SECRET);
    let rows = [account(1), account(2)];
    let reply = desk.ask(connection, &request(header(Operation::CreateAccounts, 1), rows.as_bytes()));
    assert_eq!(reply.header().kind(), Some(Kind::Reply));
    desk
}

#[test]
fn every_error_can_be_provoked_and_none_changes_the_ledger() {
    for (code, provoke) in PROVOCATIONS {
        let mut desk = desk();
        let before = desk.engine.state().machine().store().state_hash();
        let frame = provoke(&mut desk);
        assert_eq!(frame.header().kind(), Some(Kind::Error), "{code}");
        assert_eq!(
            ErrorCode::from_number(frame.header().error),
            Some(*code),
            "{}",
            String::from_utf8_lossy(frame.body())
        );
        assert!(String::from_utf8_lossy(frame.body()).len() > 9, "{code} has a text for a person");
        assert_eq!(frame.header().retry_after_us > 0, *code == ErrorCode::Busy);
        desk.settle();
        assert_eq!(desk.engine.state().machine().store().state_hash(), before, "{code}");
    }
}

#[test]
fn every_error_is_either_provoked_here_or_never_said() {
    for code in ErrorCode::ALL {
        let provoked = PROVOCATIONS.iter().any(|(other, _)| other == code);
        assert_ne!(provoked, UNSAID.contains(code) || OF_BOOKS.contains(code), "{code}");
    }
}

#[test]
fn the_specification_lists_the_same_errors() {
    let text = include_str!("../../../spec/protocol.md");
    let section = text.split("## 5. Errors").nth(1).unwrap().split("\n## ").next().unwrap();
    let listed: Vec<(u16, &str)> = section
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            Some((cells.next()?.parse().ok()?, cells.next()?))
        })
        .collect();
    let known: Vec<(u16, &str)> = ErrorCode::ALL.iter().map(|code| (code.number(), code.name())).collect();
    assert_eq!(listed, known);
}

#[test]
fn a_refused_write_can_be_sent_again_once_its_reason_is_gone() {
    let mut desk = desk();
    let connection = desk.greet(SESSION, SECRET);
    let frame = request(header(Operation::CreateAccounts, 2), account(3).as_bytes());
    desk.now.wall_ns += 3_601 * SECOND_NS;
    let refused = desk.ask(connection, &frame);
    assert_eq!(refused.header().error, ErrorCode::ClockUnconfirmed.number());
    let confirmed = desk.ask(connection, &request(header(Operation::ConfirmClock, 3), &[]));
    assert_eq!(confirmed.header().kind(), Some(Kind::Reply));
    let reply = desk.ask(connection, &frame);
    assert_eq!(reply.header().kind(), Some(Kind::Reply));
    let again = desk.ask(connection, &frame);
    assert_eq!((again.header().position_entry, again.body()), (reply.header().position_entry, reply.body()));
    let found = desk.ask(connection, &request(header(Operation::LookupAccounts, 4), Id { id: 3 }.as_bytes()));
    assert_eq!(found.body().len(), Account::SIZE);
}

#[test]
fn a_status_says_that_storage_is_full_once_not_even_one_row_fits() {
    let mut desk = desk();
    let connection = desk.greet(SESSION, SECRET);
    desk.disk.set_capacity(u64::MAX - desk.disk.free_bytes().unwrap());
    let full = ErrorCode::StorageFull.number();
    let writable = |desk: &mut Desk| {
        let answer = desk.ask(connection, &request(header(Operation::GetStatus, 999), &[]));
        Status::read_from_bytes(answer.body()).unwrap().writable
    };
    let large = vec![account(1); 8_000];
    let mut next = 1;
    for rows in [large.as_slice(), &[account(1)]] {
        assert_eq!(writable(&mut desk), 1);
        let refused = (0..10_000).any(|_| {
            next += 1;
            let answer = desk.ask(connection, &request(header(Operation::CreateAccounts, next), rows.as_bytes()));
            answer.header().error == full
        });
        assert!(refused, "{} rows always found space", rows.len());
    }
    assert_eq!(writable(&mut desk), u32::from(full));
}

#[test]
fn what_was_seen_here_is_not_ahead_of_a_wall_clock_that_was_set_back() {
    let mut desk = desk();
    let connection = desk.greet(SESSION, SECRET);
    let first = desk.ask(connection, &request(header(Operation::CreateAccounts, 2), account(3).as_bytes()));
    desk.now.wall_ns -= 60 * SECOND_NS;
    let seen_timestamp = first.header().timestamp;
    let frame = request(Header { seen_timestamp, ..header(Operation::CreateAccounts, 3) }, account(4).as_bytes());
    let second = desk.ask(connection, &frame);
    assert_eq!(second.header().kind(), Some(Kind::Reply), "{}", String::from_utf8_lossy(second.body()));
    assert!(second.header().timestamp > seen_timestamp);
}

#[test]
fn a_session_is_opened_also_while_the_clock_is_unconfirmed_and_takes_no_time_from_it() {
    let mut desk = desk();
    let before = desk.engine.state().timestamp();
    desk.now.wall_ns += 3_601 * SECOND_NS;
    let connection = desk.greet([6; 16], SECRET);
    assert_eq!(desk.engine.state().timestamp(), before + 1);
    let session = [6; 16];
    let status = desk.ask(connection, &request(Header { session, ..header(Operation::GetStatus, 1) }, &[]));
    let status = Status::read_from_bytes(status.body()).unwrap();
    assert_eq!(status.writable, u32::from(ErrorCode::ClockUnconfirmed.number()));
    let write = Header { session, ..header(Operation::CreateAccounts, 2) };
    let refused = desk.ask(connection, &request(write, account(3).as_bytes()));
    assert_eq!(refused.header().error, ErrorCode::ClockUnconfirmed.number());
}

#[test]
fn what_an_error_says_is_bounded_whatever_was_asked() {
    let mut desk = desk();
    let connection = desk.greet(SESSION, SECRET);
    let length = |extra: usize| PATH_MAX + extra;
    let path = |begin: &str, fill: &str, length: usize| [begin, &fill.repeat(length / fill.len())].concat();
    // Not absolute, of quotes that a text escapes; absolute; longer than any path is.
    for (path, code) in [
        (path("a", "\"", length(0) - 1), ErrorCode::BackupUnusable),
        (path("a", "é", BODY_MAX - 1), ErrorCode::Failed),
        (path("/", "é", length(1)), ErrorCode::Failed),
    ] {
        let refused = desk.ask(connection, &request(header(Operation::Backup, 9), path.as_bytes()));
        assert_eq!(refused.header().error, code.number());
        assert!(refused.body().len() <= TEXT_MAX, "{} bytes", refused.body().len());
        assert!(str::from_utf8(refused.body()).is_ok(), "a text is cut between two characters");
    }
    let text = "é".repeat(TEXT_MAX);
    let cut = Frame::error(&header(Operation::Backup, 9), ErrorCode::Failed, 0, &text);
    let cut = str::from_utf8(cut.body()).unwrap();
    assert!(cut.ends_with("é…") && (TEXT_MAX - 4..=TEXT_MAX).contains(&cut.len()), "{}", cut.len());
    let whole = Frame::error(&header(Operation::Backup, 9), ErrorCode::Failed, 0, &text[..TEXT_MAX]);
    assert_eq!(whole.body(), &text.as_bytes()[..TEXT_MAX]);
}
