//! The vectors under `spec/vectors/protocol/` are what this code writes and reads. To write them anew after a change of
//! the protocol (and of its version): `QENEX_WRITE_VECTORS=1 cargo test -p qenex-engine --test vectors`.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fmt::Write as _;
use std::path::PathBuf;

use common::{account, transfer};
use qenex_engine::credential::{Credential, Keys, transcript};
use qenex_engine::frame::{
    BODY_MAX, BookRow, ChallengeRow, ErrorCode, Frame, GrantName, GrantRow, GrantsFilter, HEADER_LENGTH, Header, Hello,
    HelloRow, Judgement, Kind, NAME_MAX, NewBook, Operation, Role, Status, VERSION, Welcome, WelcomeRow, book_state,
    checksum, grant_flags, grant_kind, grant_state, judge, request_frame,
};
use qenex_engine::ids::{from_key, reserved_high};
use qenex_kernel::row::{EventResult, Id, Transfer, transfer_flags};
use qenex_kernel::status::CreateTransferStatus;
use zerocopy::IntoBytes;

const BOOK: [u8; 16] = *b"the book's own i";
const SESSION: [u8; 16] = [0x5E; 16];
const TRACE: [u8; 16] = [0x7A; 16];
const SECRET: &[u8] = b"a secret";
const SERVER_NONCE: [u8; 32] = [0x5A; 32];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors/protocol")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a book has of the secret.
fn grant() -> GrantRow {
    let Credential { fingerprint, stored_key, server_key, principal, .. } = Credential::owner(SECRET);
    GrantRow {
        book: BOOK,
        fingerprint,
        kind: grant_kind::SECRET,
        state: grant_state::ACTIVE,
        flags: grant_flags::MAY_WRITE,
        principal,
        key_1: stored_key,
        key_2: server_key,
        ..GrantRow::ZERO
    }
}

/// Frames of every type, by name.
fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let plain = |header: Header, body: &[u8]| Frame::copied(header, body).bytes().to_vec();
    let asked = |operation: Operation, request: u64| Header {
        operation: operation.number(),
        book: BOOK,
        session: SESSION,
        request,
        ..Header::of(Kind::Request)
    };
    let request = |header: Header, context: &[u8], rows: &[u8]| {
        let mut bytes = Vec::new();
        request_frame(&mut bytes, header, context, rows);
        bytes
    };
    let answered = |operation: Operation, request: u64| Header {
        kind: Kind::Reply as u8,
        journal: 1,
        role: Role::Leader as u8,
        position_journal: 1,
        position_epoch: 3,
        position_entry: 41,
        timestamp: 1_800_000_000_000_000_001,
        ..asked(operation, request)
    };
    let row = HelloRow {
        versions_min: VERSION,
        versions_max: VERSION,
        fingerprint: Keys::of(SECRET).fingerprint,
        nonce: [0xC1; 32],
        ..HelloRow::default()
    };
    let mut hello_body = Vec::new();
    Hello { row, name: "vectors 1" }.write(&mut hello_body);
    let hello = plain(Header { session: SESSION, trace: TRACE, ..Header::of(Kind::Hello) }, &hello_body);
    let said = transcript(&hello, &[], &SERVER_NONCE);
    let challenge = ChallengeRow { nonce: SERVER_NONCE, proof: Credential::owner(SECRET).proof(&said) };
    let proof = Keys::of(SECRET).proof(&said);
    let resumed = Header { session: SESSION, flags: Header::RESUME, ..Header::of(Kind::Hello) };
    let mut welcome = Vec::new();
    let row = WelcomeRow {
        version: VERSION,
        window_requests: 64,
        window_bytes: 16 << 20,
        frame_max: 1_052_672,
        batch_max: 8_189,
        release: 1,
        book: BOOK,
        incarnation: [0x1C; 16],
        highest_request: 17,
        ..WelcomeRow::default()
    };
    Welcome { row, name: "qenex" }.write(&mut welcome);
    let welcomed = Header { operation: 0, request: 0, kind: Kind::Welcome as u8, ..answered(Operation::GetStatus, 0) };
    let hold = transfer_flags::PENDING | transfer_flags::LINKED;
    let rows = [transfer(70, 1, 2, 1 << 70), Transfer { flags: hold, timeout: 60, ..transfer(71, 2, 1, 5) }];
    let wish = Header {
        journal: 1,
        trace: TRACE,
        position_journal: 1,
        position_epoch: 3,
        position_entry: 40,
        deadline_us: 250_000,
        seen_timestamp: 1_799_999_999_000_000_000,
        linger_us: 1_000,
        ..asked(Operation::CreateTransfers, 18)
    };
    let results =
        [CreateTransferStatus::Created, CreateTransferStatus::LinkedEventChainOpen].map(|status| EventResult {
            timestamp: 1_800_000_000_000_000_000 + u64::from(status != CreateTransferStatus::Created),
            status: status.number(),
            reserved: 0,
        });
    let done = Header {
        trace: TRACE,
        linger_us: 17,
        group_requests: 3,
        group_rows: 12,
        ..answered(Operation::CreateTransfers, 18)
    };
    let status = Status {
        book: BOOK,
        incarnation: [0x1C; 16],
        epoch: 3,
        entry: 41,
        group: 30,
        timestamp: 1_800_000_000_000_000_001,
        accounts: 2,
        transfers: 1,
        sessions: 1,
        release: 1,
        journal_bytes: 4_096,
        free_bytes: 1 << 40,
        segments: 1,
        writable: u32::from(ErrorCode::StorageFull.number()),
        ..Status::ZERO
    };
    let found = [account(1), account(2)];
    let ids = [Id { id: 1 }, Id { id: u128::MAX - 1 }];
    let asked_of_system =
        |operation: Operation| Header { operation: operation.number(), request: 1, ..Header::of(Kind::Request) };
    let answered_by_system = |operation: Operation| Header {
        kind: Kind::Reply as u8,
        role: Role::Leader as u8,
        ..asked_of_system(operation)
    };
    let mut name = [0; NAME_MAX];
    name[..10].copy_from_slice(b"First Bank");
    let grant = grant();
    let new = NewBook { book: BOOK, reserved: [0; 48], name, grant };
    let made = BookRow {
        book: BOOK,
        created: 1_800_000_000_000_000_000,
        grants: 1,
        state: book_state::ACTIVE,
        flags: BookRow::OPEN,
        reserved: [0; 32],
        name,
    };
    let which = GrantsFilter { book: BOOK, after: [0; 8], limit: 1_000, reserved: [0; 4] };
    let shown = GrantRow { key_1: [0; 32], key_2: [0; 32], created: 1_800_000_000_000_000_000, ..grant };
    let named = GrantName { book: BOOK, fingerprint: grant.fingerprint, reserved: [0; 8] };
    let busy = Frame::error(&wish, ErrorCode::Busy, 2_000, "the window is full").bytes().to_vec();
    let over = Frame::error(&Header::of(Kind::Hello), ErrorCode::Unauthenticated, 0, "not known here").bytes().to_vec();
    vec![
        ("hello", hello),
        ("hello_resume", plain(resumed, &hello_body)),
        ("challenge", plain(Header::of(Kind::Challenge), challenge.as_bytes())),
        ("proof", plain(Header::of(Kind::Proof), &proof)),
        ("welcome", plain(welcomed, &welcome)),
        ("request_create_transfers", request(wish, b"door=tests", rows.as_bytes())),
        ("request_lookup_accounts", request(asked(Operation::LookupAccounts, 19), &[], ids.as_bytes())),
        ("request_get_status", request(asked(Operation::GetStatus, 20), &[], &[])),
        ("reply_create_transfers", plain(done, results.as_bytes())),
        ("reply_lookup_accounts", plain(answered(Operation::LookupAccounts, 19), found.as_bytes())),
        ("reply_get_status", plain(answered(Operation::GetStatus, 20), status.as_bytes())),
        ("error_busy", busy),
        ("error_of_a_connection", over),
        ("goodbye", plain(Header::of(Kind::Goodbye), &[])),
        ("request_create_book", request(asked_of_system(Operation::CreateBook), &[], new.as_bytes())),
        ("reply_create_book", plain(answered_by_system(Operation::CreateBook), made.as_bytes())),
        ("request_list_grants", request(asked_of_system(Operation::ListGrants), &[], which.as_bytes())),
        ("reply_list_grants", plain(answered_by_system(Operation::ListGrants), shown.as_bytes())),
        ("request_remove_grants", request(asked_of_system(Operation::RemoveGrants), &[], named.as_bytes())),
    ]
}

/// Frames that are refused by their headers, and how.
fn refused() -> Vec<(&'static str, Vec<u8>, ErrorCode)> {
    let good = || frames().into_iter().find(|(name, _)| *name == "request_get_status").unwrap().1;
    let bent = |change: &dyn Fn(&mut [u8])| {
        let mut frame = good();
        change(&mut frame);
        let sum = checksum(&frame[..HEADER_LENGTH - 8]);
        frame[HEADER_LENGTH - 8..].copy_from_slice(&sum.to_le_bytes());
        frame
    };
    let mut flipped = good();
    flipped[100] ^= 4;
    let too_long = u32::try_from(BODY_MAX + 1).unwrap().to_le_bytes();
    vec![
        ("refused_checksum", flipped, ErrorCode::MalformedFrame),
        ("refused_magic", bent(&|frame| frame[7] = b'2'), ErrorCode::MalformedFrame),
        ("refused_version", bent(&|frame| frame[8] = 1), ErrorCode::UnsupportedVersion),
        ("refused_header_length", bent(&|frame| frame[10] = 8), ErrorCode::MalformedFrame),
        ("refused_body_length", bent(&|frame| frame[60..64].copy_from_slice(&too_long)), ErrorCode::FrameTooLarge),
        ("refused_reserved", bent(&|frame| frame[200] = 1), ErrorCode::MalformedFrame),
    ]
}

/// The fields of a header that are not zero.
fn fields(header: &Header) -> String {
    let mut line = format!("type={}", header.kind);
    for (name, bytes) in [("book", header.book), ("session", header.session), ("trace", header.trace)] {
        if bytes != [0; 16] {
            write!(line, " {name}={}", hex(&bytes)).unwrap();
        }
    }
    let numbers = [
        ("flags", u64::from(header.flags)),
        ("operation", u64::from(header.operation)),
        ("request", header.request),
        ("journal", u64::from(header.journal)),
        ("body_length", u64::from(header.body_length)),
        ("context_length", u64::from(header.context_length)),
        ("error", u64::from(header.error)),
        ("role", u64::from(header.role)),
        ("position_journal", u64::from(header.position_journal)),
        ("deadline_us", u64::from(header.deadline_us)),
        ("position_epoch", header.position_epoch),
        ("position_entry", header.position_entry),
        ("seen_timestamp", header.seen_timestamp),
        ("timestamp", header.timestamp),
        ("linger_us", u64::from(header.linger_us)),
        ("group_requests", u64::from(header.group_requests)),
        ("group_rows", u64::from(header.group_rows)),
        ("retry_after_us", u64::from(header.retry_after_us)),
        ("body_checksum", header.body_checksum),
    ];
    for (name, number) in numbers {
        if number != 0 {
            write!(line, " {name}={number}").unwrap();
        }
    }
    line
}

fn vectors() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut list = String::from("# frame, then the fields of its header that are not zero\n");
    for (name, bytes) in frames() {
        let header: Header = zerocopy::transmute!(*bytes.first_chunk::<HEADER_LENGTH>().unwrap());
        writeln!(list, "{name} {}", fields(&header)).unwrap();
        files.push((format!("{name}.bin"), bytes));
    }
    files.push(("frames.txt".to_owned(), list.into_bytes()));
    let mut list = String::from("# frame, then the error that answers it\n");
    for (name, bytes, code) in refused() {
        writeln!(list, "{name} {code}").unwrap();
        files.push((format!("{name}.bin"), bytes));
    }
    files.push(("refused.txt".to_owned(), list.into_bytes()));
    let mut list =
        String::from("# secret, transcript, fingerprint, server's proof, client's proof (all hexadecimal)\n");
    // Shorter and longer than a block of the hash.
    for secret in [b"a secret".as_slice(), "ein Schlüssel".as_bytes(), &[0x2A; 64], &[0x2B; 65], &[0x2C; 200]] {
        let (keys, said) = (Keys::of(secret), transcript(secret, &[], &SERVER_NONCE));
        let server = Credential::owner(secret).proof(&said);
        let cells = [secret, &said, &keys.fingerprint, &server, &keys.proof(&said)].map(hex);
        writeln!(list, "{}", cells.join(" ")).unwrap();
    }
    files.push(("proofs.txt".to_owned(), list.into_bytes()));
    let mut list = String::from("# book, principal and key (all hexadecimal), row, id\n");
    let keys: [(&str, &str); 4] =
        [("owner", "order 7"), ("owner", ""), ("ann", "order 7"), ("owner", "Überweisung 1 €")];
    for (principal, key) in keys {
        for row in [0, 1, 8_188] {
            let id = from_key(&BOOK, principal.as_bytes(), key.as_bytes(), row);
            let (principal, key) = (hex(principal.as_bytes()), hex(key.as_bytes()));
            writeln!(list, "{} {principal} {} {row} {id}", hex(&BOOK), if key.is_empty() { "-" } else { &key })
                .unwrap();
        }
    }
    files.push(("ids.txt".to_owned(), list.into_bytes()));
    let list = [1, 2, 77].map(|journal| format!("{} {journal} {}\n", hex(&BOOK), reserved_high(&BOOK, journal)));
    let list =
        format!("# book (hexadecimal), journal, high half of the ids that are the engine's own\n{}", list.concat());
    files.push(("reserved_ids.txt".to_owned(), list.into_bytes()));
    files
}

#[test]
fn the_vectors_are_what_this_code_writes() {
    let files = vectors();
    if std::env::var_os("QENEX_WRITE_VECTORS").is_some() {
        std::fs::create_dir_all(folder()).unwrap();
        files.iter().for_each(|(name, bytes)| std::fs::write(folder().join(name), bytes).unwrap());
    }
    for (name, bytes) in &files {
        let stored = std::fs::read(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(stored == *bytes, "{name} differs: the protocol has changed without its version");
    }
    assert_eq!(std::fs::read_dir(folder()).unwrap().count(), files.len(), "files that nobody writes");
}

#[test]
fn the_vectors_are_judged_as_they_say() {
    for (name, bytes) in frames() {
        let (head, body) = bytes.split_first_chunk().unwrap();
        let Judgement::Good(header, _) = judge(head) else { panic!("{name}") };
        assert!(header.matches(body), "{name}");
    }
    for (name, bytes, code) in refused() {
        let (Judgement::Skip(_, defect) | Judgement::End(defect)) = judge(bytes.first_chunk().unwrap()) else {
            panic!("{name} is judged good")
        };
        assert_eq!(defect.code(), code, "{name}");
    }
}
