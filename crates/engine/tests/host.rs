//! Many books behind one address: who gets into which, and what becomes of those who are in when that changes.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::desk::request;
use common::{Folder, SECRET, account, transfer};
use qenex_engine::client::{Client, ClientError, ClientOptions, greet};
use qenex_engine::credential::{Credential, OWNER};
use qenex_engine::frame::{
    BookRow, BooksFilter, ErrorCode, Frame, GrantName, GrantRow, GrantsFilter, HEADER_LENGTH, Header, Kind, NAME_MAX,
    NewBook, Operation, SYSTEM_BOOK, book_state, grant_flags, grant_kind, grant_state,
};
use qenex_engine::host::{Host, HostConfig};
use qenex_kernel::row::{Account, EventResult, Id, Transfer};
use qenex_kernel::status::CreateTransferStatus;
use qenex_proxy::Origin;
use zerocopy::{FromBytes, IntoBytes};

const SYSTEM: &[u8] = b"the system's secret";
const A: [u8; 16] = [0xAA; 16];
const B: [u8; 16] = [0xBB; 16];
/// How long something may take that nobody tells of.
const PATIENCE: Duration = Duration::from_secs(30);

struct TestHost {
    folder: Folder,
    adjust: fn(&mut HostConfig),
    notes: Arc<Mutex<Vec<String>>>,
    host: Option<Host>,
}

impl TestHost {
    fn start() -> Self {
        Self::start_with(|_| {})
    }

    fn start_with(adjust: fn(&mut HostConfig)) -> Self {
        let mut this = Self { folder: Folder::new(), adjust, notes: Arc::default(), host: None };
        this.restart().unwrap();
        this
    }

    fn config(&self) -> HostConfig {
        let listen = "127.0.0.1:0".parse().unwrap();
        let (owner, system) = (Credential::owner(SECRET), Credential::owner(SYSTEM));
        let mut config = HostConfig::new(self.folder.path(), listen, owner, system);
        let notes = Arc::clone(&self.notes);
        config.tell = Box::new(move |note| notes.lock().unwrap().push(note.to_owned()));
        config.confirm_clock = true;
        (self.adjust)(&mut config);
        config
    }

    fn restart(&mut self) -> Result<(), String> {
        self.stop();
        self.host = Some(Host::start(self.config()).map_err(|error| error.to_string())?);
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(host) = self.host.take() {
            host.stop();
            host.wait().unwrap();
        }
    }

    fn host(&self) -> &Host {
        self.host.as_ref().unwrap()
    }

    fn address(&self) -> SocketAddr {
        self.host().address()
    }

    fn system(&self) -> Client {
        connect(self.address(), &options(SYSTEM, [0; 16])).unwrap()
    }

    fn path_of(&self, book: [u8; 16]) -> PathBuf {
        self.folder.path().join(format!("{:032x}", u128::from_be_bytes(book)))
    }
}

fn options(secret: &[u8], session: [u8; 16]) -> ClientOptions {
    ClientOptions {
        session: Some(session),
        pause: Duration::from_millis(2),
        attempts: 10_000,
        ..ClientOptions::new(secret)
    }
}

/// Connects; again as long as the host is busy.
fn connect(address: SocketAddr, options: &ClientOptions) -> Result<Client, ClientError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match Client::connect(address, options.clone()) {
            Err(ClientError::Refused { code: ErrorCode::Busy, .. }) if Instant::now() < until => {
                std::thread::sleep(options.pause);
            }
            done => return done,
        }
    }
}

fn secret_of(book: [u8; 16]) -> Vec<u8> {
    [b"the secret of ".as_slice(), &book].concat()
}

fn grant(book: [u8; 16], secret: &[u8]) -> GrantRow {
    let Credential { fingerprint, stored_key, server_key, .. } = Credential::owner(secret);
    GrantRow {
        book,
        fingerprint,
        kind: grant_kind::SECRET,
        state: grant_state::ACTIVE,
        flags: grant_flags::MAY_WRITE,
        principal: OWNER,
        key_1: stored_key,
        key_2: server_key,
        ..GrantRow::ZERO
    }
}

fn new_book(book: [u8; 16]) -> NewBook {
    let mut name = [0; NAME_MAX];
    name[..4].copy_from_slice(b"book");
    NewBook { book, reserved: [0; 48], name, grant: grant(book, &secret_of(book)) }
}

fn create(system: &mut Client, book: [u8; 16]) -> BookRow {
    one(system, Operation::CreateBook, new_book(book).as_bytes()).unwrap()
}

/// A request that is answered with one row.
fn one(system: &mut Client, operation: Operation, rows: &[u8]) -> Result<BookRow, ErrorCode> {
    match system.call(operation, rows) {
        Ok(reply) => Ok(reply.rows::<BookRow>().unwrap()[0]),
        Err(ClientError::Refused { code, .. }) => Err(code),
        Err(error) => panic!("{error}"),
    }
}

fn books(system: &mut Client) -> Vec<BookRow> {
    let filter = BooksFilter { after: [0; 16], limit: 1_000, reserved: [0; 12] };
    system.call(Operation::ListBooks, filter.as_bytes()).unwrap().rows().unwrap()
}

fn grants(system: &mut Client, book: [u8; 16]) -> Vec<GrantRow> {
    let filter = GrantsFilter { book, after: [0; 8], limit: 1_000, reserved: [0; 4] };
    system.call(Operation::ListGrants, filter.as_bytes()).unwrap().rows().unwrap()
}

fn client(host: &TestHost, book: [u8; 16]) -> Client {
    connect(host.address(), &ClientOptions { session: None, ..options(&secret_of(book), [1; 16]) }).unwrap()
}

fn refusal(host: &TestHost, secret: &[u8]) -> ErrorCode {
    match connect(host.address(), &options(secret, [0; 16])) {
        Err(ClientError::Refused { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_credential_opens_its_own_book_and_what_is_in_another_is_not_there_for_it() {
    let mut host = TestHost::start();
    let mut system = host.system();
    assert_eq!(create(&mut system, A).state, book_state::ACTIVE);
    create(&mut system, B);
    let mut clients = [client(&host, A), client(&host, B)];
    assert_eq!(clients.each_ref().map(|client| client.welcome().book), [A, B]);
    clients[0].call(Operation::CreateAccounts, account(1).as_bytes()).unwrap();
    clients[1].call(Operation::CreateAccounts, account(2).as_bytes()).unwrap();
    for (client, theirs) in clients.iter_mut().zip([2, 1]) {
        let found = client.call(Operation::LookupAccounts, Id { id: theirs }.as_bytes()).unwrap();
        assert_eq!(found.rows::<Account>().unwrap(), []);
    }
    // Naming the other book helps in no frame.
    let mut stream = TcpStream::connect(host.address()).unwrap();
    greet(&mut stream, &options(&secret_of(A), [5; 16]), [5; 16], false).unwrap();
    let header = Header {
        operation: Operation::LookupAccounts.number(),
        book: B,
        session: [5; 16],
        request: 1,
        ..Header::of(Kind::Request)
    };
    let (answer, _) = exchange(&mut stream, &request(header, Id { id: 2 }.as_bytes()));
    assert_eq!(answer.error, ErrorCode::WrongBook.number());
    // A session of one is none of the other's.
    let session = clients[0].session();
    let stolen = ClientOptions { resume: true, ..options(&secret_of(B), session) };
    let error = Client::connect(host.address(), stolen).unwrap_err();
    assert!(matches!(error, ClientError::Refused { code: ErrorCode::SessionExpired, .. }), "{error}");
    assert_eq!(refusal(&host, b"nobody's"), ErrorCode::Unauthenticated);
    drop(clients);

    // All of it is so after a restart too, and the owner of the home has a book of its own as ever.
    let home = *host.host().home();
    host.restart().unwrap();
    assert_eq!(*host.host().home(), home);
    let owner = connect(host.address(), &options(SECRET, [0; 16])).unwrap();
    assert_eq!(owner.welcome().book, home);
    for (book, id) in [(A, 1), (B, 2)] {
        let found = client(&host, book).call(Operation::LookupAccounts, Id { id }.as_bytes()).unwrap();
        assert_eq!(found.rows::<Account>().unwrap().len(), 1);
    }
    for file in [host.path_of(A).join("grants"), host.path_of(home).join("grants")] {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

/// Sends a frame and takes the answer.
fn exchange(stream: &mut TcpStream, frame: &[u8]) -> (Header, Vec<u8>) {
    stream.write_all(frame).unwrap();
    let mut head = [0; HEADER_LENGTH];
    stream.read_exact(&mut head).unwrap();
    let header = Header::read_from_bytes(&head).unwrap();
    let mut body = vec![0; header.body_length as usize];
    stream.read_exact(&mut body).unwrap();
    (header, body)
}

#[test]
fn the_system_sees_into_no_book_and_nobody_else_is_the_system() {
    let host = TestHost::start();
    let mut system = host.system();
    assert_eq!(system.welcome().book, SYSTEM_BOOK);
    create(&mut system, A);
    for operation in Operation::ALL.iter().filter(|operation| !operation.is_of_system()) {
        assert_eq!(one(&mut system, *operation, &[0; 128]), Err(ErrorCode::Forbidden), "{operation:?}");
    }
    // Neither with a session nor by naming a book.
    let error = connect(host.address(), &options(SYSTEM, [5; 16])).unwrap_err();
    assert!(matches!(error, ClientError::Refused { code: ErrorCode::Forbidden, .. }), "{error}");
    let mut stream = TcpStream::connect(host.address()).unwrap();
    greet(&mut stream, &options(SYSTEM, [0; 16]), [0; 16], false).unwrap();
    let header = Header { operation: Operation::ListBooks.number(), book: A, request: 1, ..Header::of(Kind::Request) };
    let (answer, _) = exchange(&mut stream, &request(header, &[0; 32]));
    assert_eq!(answer.error, ErrorCode::WrongBook.number());

    let mut owners = [connect(host.address(), &options(SECRET, [5; 16])).unwrap(), client(&host, A)];
    for owner in &mut owners {
        for (operation, rows) in [
            (Operation::CreateBook, new_book(B).as_bytes().to_vec()),
            (Operation::ListBooks, vec![0; 32]),
            (Operation::SuspendBook, A.to_vec()),
            (Operation::ResumeBook, A.to_vec()),
            (Operation::PutGrants, grant(A, b"more").as_bytes().to_vec()),
            (Operation::ListGrants, vec![0; 32]),
            (Operation::RemoveGrants, vec![0; 32]),
        ] {
            assert_eq!(one(owner, operation, &rows), Err(ErrorCode::Forbidden), "{operation:?}");
        }
    }
}

#[test]
fn what_is_asked_again_is_as_it_was_and_what_contradicts_it_is_refused() {
    let host = TestHost::start();
    let mut system = host.system();
    let (first, home) = (create(&mut system, A), *host.host().home());
    assert_eq!(create(&mut system, A), first);
    let other_name = NewBook { name: new_book(A).name.map(|byte| byte.max(1) - u8::from(byte == 0)), ..new_book(A) };
    assert_eq!(other_name, new_book(A), "the same");
    let mut name = new_book(A).name;
    name[0] = b'B';
    let mut control = new_book(B).name;
    control[0] = b'\n';
    for (new, code) in [
        (NewBook { name, ..new_book(A) }, ErrorCode::BookConflict),
        (NewBook { grant: grant(A, b"another"), ..new_book(A) }, ErrorCode::BookConflict),
        (NewBook { grant: grant(B, &secret_of(A)), ..new_book(B) }, ErrorCode::BookConflict),
        (NewBook { grant: grant(B, SECRET), ..new_book(B) }, ErrorCode::BookConflict),
        (NewBook { grant: grant(B, SYSTEM), ..new_book(B) }, ErrorCode::BookConflict),
        (NewBook { book: SYSTEM_BOOK, grant: grant(SYSTEM_BOOK, b"new"), ..new_book(B) }, ErrorCode::MalformedFrame),
        (NewBook { grant: grant(A, b"new"), ..new_book(B) }, ErrorCode::MalformedFrame),
        (NewBook { name: [0; NAME_MAX], ..new_book(B) }, ErrorCode::MalformedFrame),
        (NewBook { name: [0xFF; NAME_MAX], ..new_book(B) }, ErrorCode::MalformedFrame),
        (NewBook { name: control, ..new_book(B) }, ErrorCode::MalformedFrame),
        (NewBook { reserved: [1; 48], ..new_book(B) }, ErrorCode::MalformedFrame),
        (NewBook { grant: GrantRow { kind: 9, ..new_book(B).grant }, ..new_book(B) }, ErrorCode::MalformedFrame),
        (NewBook { grant: GrantRow { state: 9, ..new_book(B).grant }, ..new_book(B) }, ErrorCode::MalformedFrame),
        (NewBook { grant: GrantRow { flags: 1 << 31, ..new_book(B).grant }, ..new_book(B) }, ErrorCode::MalformedFrame),
        (
            NewBook { grant: GrantRow { reserved: [1; 112], ..new_book(B).grant }, ..new_book(B) },
            ErrorCode::MalformedFrame,
        ),
    ] {
        assert_eq!(one(&mut system, Operation::CreateBook, new.as_bytes()), Err(code), "{new:?}");
    }
    assert_eq!(one(&mut system, Operation::SuspendBook, &B), Err(ErrorCode::BookUnknown));
    assert_eq!(one(&mut system, Operation::SuspendBook, &home), Err(ErrorCode::Forbidden), "the home's own");
    assert_eq!(one(&mut system, Operation::PutGrants, grant(B, b"x").as_bytes()), Err(ErrorCode::BookUnknown));
    let both = [grant(A, b"x"), grant(B, b"y")];
    assert_eq!(one(&mut system, Operation::PutGrants, both.as_bytes()), Err(ErrorCode::MalformedFrame));
    assert_eq!(grants(&mut system, A).len(), 1, "nothing of a refused request is done");
    let rows = books(&mut system);
    assert_eq!(rows.iter().map(|row| row.book).collect::<BTreeSet<_>>(), BTreeSet::from([A, home]));
    for state in [Operation::SuspendBook, Operation::ResumeBook] {
        assert_eq!(one(&mut system, state, &A), one(&mut system, state, &A));
    }
}

#[test]
fn a_credential_that_is_taken_away_ends_what_it_opened_and_one_that_may_less_may_less_at_once() {
    let mut host = TestHost::start();
    let mut system = host.system();
    create(&mut system, A);
    let (second, third) = (grant(A, b"second"), grant(A, b"third"));
    one(&mut system, Operation::PutGrants, [second, third].as_bytes()).unwrap();
    let shown = grants(&mut system, A);
    assert_eq!(shown.len(), 3);
    assert!(shown.iter().all(|row| row.key_1 == [0; 32] && row.key_2 == [0; 32] && row.created > 0), "no keys");
    let mut clients = [b"second".as_slice(), b"third", &secret_of(A)]
        .map(|secret| connect(host.address(), &ClientOptions { session: None, ..options(secret, [1; 16]) }).unwrap());
    for (client, id) in clients.iter_mut().zip(1..) {
        client.call(Operation::CreateAccounts, account(id).as_bytes()).unwrap();
    }
    let name = GrantName { book: A, fingerprint: second.fingerprint, reserved: [0; 8] };
    one(&mut system, Operation::RemoveGrants, name.as_bytes()).unwrap();
    one(&mut system, Operation::RemoveGrants, name.as_bytes()).expect("it is away already");
    one(&mut system, Operation::PutGrants, GrantRow { flags: 0, ..third }.as_bytes()).unwrap();
    // The engine is told as soon as the answer is out: it has heard of it by its next turn.
    until("the connection ends", || {
        let said = clients[0].call(Operation::GetStatus, &[]);
        matches!(said, Err(ClientError::Refused { code: ErrorCode::Unauthenticated, .. }))
    });
    until("it may only read", || {
        let said = clients[1].call(Operation::CreateAccounts, account(9).as_bytes());
        matches!(said, Err(ClientError::Refused { code: ErrorCode::Forbidden, .. }))
    });
    clients[1].call(Operation::GetStatus, &[]).unwrap();
    clients[2].call(Operation::CreateAccounts, account(4).as_bytes()).unwrap();
    drop(clients);
    assert_eq!(refusal(&host, b"second"), ErrorCode::Unauthenticated);
    // Put back but suspended it opens nothing, and still is nobody else's.
    one(&mut system, Operation::PutGrants, GrantRow { state: grant_state::SUSPENDED, ..second }.as_bytes()).unwrap();
    assert_eq!(refusal(&host, b"second"), ErrorCode::Unauthenticated);
    create(&mut system, B);
    assert_eq!(one(&mut system, Operation::PutGrants, grant(B, b"second").as_bytes()), Err(ErrorCode::BookConflict));
    host.restart().unwrap();
    assert_eq!(refusal(&host, b"second"), ErrorCode::Unauthenticated, "it is durable");
    one(&mut host.system(), Operation::PutGrants, second.as_bytes()).unwrap();
    connect(host.address(), &options(b"second", [0; 16])).unwrap();
}

/// Makes transfers between accounts 1 and 2 until it is refused; returns those that were answered.
fn transfer_until_refused(mut client: Client, first: u128) -> (Vec<u128>, ErrorCode) {
    let mut answered = Vec::new();
    for id in first.. {
        match client.call(Operation::CreateTransfers, transfer(id, 1, 2, 1).as_bytes()) {
            Ok(reply) => {
                assert_eq!(reply.rows::<EventResult>().unwrap()[0].status, CreateTransferStatus::Created.number());
                answered.push(id);
            }
            Err(ClientError::Refused { code, .. }) => return (answered, code),
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("ids enough")
}

#[test]
fn a_book_that_is_suspended_under_load_lets_nobody_in_and_has_all_that_was_answered() {
    let mut host = TestHost::start();
    let mut system = host.system();
    create(&mut system, A);
    create(&mut system, B);
    client(&host, A).call(Operation::CreateAccounts, [account(1), account(2)].as_bytes()).unwrap();
    let mut other = client(&host, B);
    let workers: Vec<_> = (0..3)
        .map(|worker: u128| {
            let client = client(&host, A);
            std::thread::spawn(move || transfer_until_refused(client, (worker + 1) << 64))
        })
        .collect();
    let mut watcher = client(&host, A);
    until("there is load", || {
        !watcher
            .call(Operation::LookupTransfers, Id { id: 3 << 64 }.as_bytes())
            .unwrap()
            .rows::<Transfer>()
            .unwrap()
            .is_empty()
    });
    let row = one(&mut system, Operation::SuspendBook, &A).unwrap();
    assert_eq!((row.state, row.flags & BookRow::OPEN), (book_state::SUSPENDED, 0), "nobody is in once it is answered");
    let done: Vec<_> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
    assert!(done.iter().all(|(_, code)| *code == ErrorCode::BookSuspended), "{:?}", done.iter().map(|one| one.1));
    assert_eq!(refusal(&host, &secret_of(A)), ErrorCode::BookSuspended);
    other.call(Operation::CreateAccounts, account(1).as_bytes()).expect("another book goes on");
    host.restart().unwrap();
    assert_eq!(refusal(&host, &secret_of(A)), ErrorCode::BookSuspended, "it is durable");
    one(&mut host.system(), Operation::ResumeBook, &A).unwrap();
    let mut client = client(&host, A);
    let answered: Vec<u128> = done.into_iter().flat_map(|(ids, _)| ids).collect();
    for ids in answered.chunks(1_000) {
        let ids: Vec<Id> = ids.iter().map(|&id| Id { id }).collect();
        let found = client.call(Operation::LookupTransfers, ids.as_bytes()).unwrap();
        assert_eq!(found.rows::<Transfer>().unwrap().len(), ids.len());
    }
}

#[test]
fn books_that_are_opened_and_closed_in_turn_under_load_do_everything_once() {
    // The home's own and two more: four books are driven at once, so that each is closed again and again.
    let host = TestHost::start_with(|config| config.books_open_max = 3);
    let mut system = host.system();
    let ids: Vec<[u8; 16]> = (1..=4).map(|number| [number; 16]).collect();
    for book in &ids {
        create(&mut system, *book);
    }
    let address = host.address();
    let workers: Vec<_> = ids
        .iter()
        .map(|&book| {
            std::thread::spawn(move || {
                let secret = secret_of(book);
                let mut client = connect(address, &options(&secret, [7; 16])).unwrap();
                client.call(Operation::CreateAccounts, [account(1), account(2)].as_bytes()).unwrap();
                drop(client);
                for round in 0..15_u128 {
                    let rows = transfer(10 + round, 1, 2, 1);
                    let header = Header {
                        operation: Operation::CreateTransfers.number(),
                        book,
                        session: [7; 16],
                        request: 2 + u64::try_from(round).unwrap(),
                        ..Header::of(Kind::Request)
                    };
                    let frame = request(header, rows.as_bytes());
                    // Said twice, over two connections, between which the book may be closed.
                    let answers = [0, 1].map(|_| {
                        let until = Instant::now() + PATIENCE;
                        loop {
                            let mut stream = TcpStream::connect(address).unwrap();
                            match greet(&mut stream, &options(&secret, [7; 16]), [7; 16], true) {
                                Ok(_) => return exchange(&mut stream, &frame),
                                Err(ClientError::Refused { code: ErrorCode::Busy, .. }) if Instant::now() < until => {
                                    std::thread::sleep(Duration::from_millis(1));
                                }
                                Err(error) => panic!("{error}"),
                            }
                        }
                    });
                    let [first, again] = answers;
                    assert_eq!(first.0.kind(), Some(Kind::Reply));
                    assert_eq!(first.0.position_entry, again.0.position_entry);
                    assert_eq!(first.1, again.1);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    for book in ids {
        let found = client(&host, book).call(Operation::LookupAccounts, Id { id: 2 }.as_bytes()).unwrap();
        assert_eq!(found.rows::<Account>().unwrap()[0].credits_posted, 15);
        let epochs = fs::read_dir(host.path_of(book).join("journal")).unwrap().count();
        assert!(epochs > 3, "the book was opened once only, and nothing was tried");
    }
    assert_eq!(*host.notes.lock().unwrap(), [""; 0]);
}

#[test]
fn a_book_that_nobody_uses_is_closed_and_holds_no_file_and_no_thread() {
    let host = TestHost::start_with(|config| config.idle_ns = 0);
    let mut system = host.system();
    create(&mut system, A);
    client(&host, A).call(Operation::CreateAccounts, account(1).as_bytes()).unwrap();
    until("it is closed", || books(&mut system).iter().all(|row| row.book != A || row.flags & BookRow::OPEN == 0));
    let folder = host.path_of(A);
    let holds = |kind: &str, path: &Path| {
        fs::read_dir(format!("/proc/self/{kind}")).unwrap().any(|item| match kind {
            "fd" => fs::read_link(item.unwrap().path()).is_ok_and(|target| target.starts_with(path)),
            _ => fs::read_to_string(item.unwrap().path().join("comm")).is_ok_and(|name| name.trim() == "book aaaaaaaa"),
        })
    };
    until("its files are closed", || !holds("fd", &folder));
    until("its thread has ended", || !holds("task", &folder));
    assert!(holds("fd", &host.path_of(*host.host().home())), "the home's own is open");
    let found = client(&host, A).call(Operation::LookupAccounts, Id { id: 1 }.as_bytes()).unwrap();
    assert_eq!(found.rows::<Account>().unwrap().len(), 1, "it is opened again when it is asked for");
}

#[test]
fn as_many_books_as_may_be_are_in_use_and_one_more_is_told_to_come_again() {
    let host = TestHost::start_with(|config| config.books_open_max = 2);
    let mut system = host.system();
    create(&mut system, A);
    create(&mut system, B);
    let in_use = client(&host, A);
    let error = Client::connect(host.address(), options(&secret_of(B), [0; 16])).unwrap_err();
    assert!(matches!(error, ClientError::Refused { code: ErrorCode::Busy, .. }), "{error}");
    drop(in_use);
    client(&host, B);
}

#[test]
fn many_books_answer_one_after_the_other() {
    let mut host = TestHost::start_with(|config| config.books_open_max = 8);
    let mut system = host.system();
    let ids: Vec<[u8; 16]> = (1..=40).map(|number| [number; 16]).collect();
    for book in &ids {
        create(&mut system, *book);
    }
    host.restart().unwrap();
    let address = host.address();
    let workers: Vec<_> = ids
        .chunks(10)
        .map(|part| {
            let part = part.to_vec();
            std::thread::spawn(move || {
                for book in part {
                    let mut client = connect(address, &options(&secret_of(book), [0; 16])).unwrap();
                    assert_eq!(client.call(Operation::GetStatus, &[]).unwrap().body.unwrap()[..16], book);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    let open = books(&mut host.system()).iter().filter(|row| row.flags & BookRow::OPEN != 0).count();
    assert!(open <= 8, "{open}");
}

#[test]
fn who_has_not_said_who_it_is_makes_room_for_the_next() {
    let host = TestHost::start_with(|config| config.limits.strangers_max = 2);
    let mut streams = [(); 3].map(|()| TcpStream::connect(host.address()).unwrap());
    let (header, _) = exchange(&mut streams[0], &[]);
    assert_eq!((header.error, header.request), (ErrorCode::Busy.number(), 0));
    for (bad, code) in [
        (Frame::copied(Header::of(Kind::Proof), &[0; 32]), ErrorCode::MalformedFrame),
        (Frame::copied(Header::of(Kind::Hello), &[0; 320]), ErrorCode::FrameTooLarge),
        (Frame::copied(Header::of(Kind::Hello), &[0; 64]), ErrorCode::UnsupportedVersion),
        (Frame::copied(Header { request: 1, ..Header::of(Kind::Request) }, &[]), ErrorCode::Unauthenticated),
        (Frame::copied(Header::of(Kind::Welcome), &[]), ErrorCode::MalformedFrame),
    ] {
        let mut stream = TcpStream::connect(host.address()).unwrap();
        let (header, _) = exchange(&mut stream, bad.bytes());
        assert_eq!(header.error, code.number(), "{code}");
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the connection ends");
    }
    connect(host.address(), &options(SECRET, [0; 16])).unwrap();
}

#[test]
fn the_front_says_who_a_client_is_before_the_client_says_anything() {
    let host = TestHost::start_with(|config| config.behind_front = Some(config.folder.join("front.sock")));
    let path = host.folder.path().join("front.sock");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (peer, local) = ("203.0.113.9:1234".parse().unwrap(), "192.0.2.1:7443".parse().unwrap());
    let said = Origin { peer, local, certificate: Some(&[0x30; 9_000]) }.encode().unwrap();
    // In one piece, and in several.
    for cut in [said.len(), 1, 20, said.len() - 1] {
        let mut stream = UnixStream::connect(&path).unwrap();
        for part in [&said[..cut], &said[cut..]] {
            stream.write_all(part).unwrap();
        }
        greet(&mut stream, &options(SECRET, [0; 16]), [0; 16], false).unwrap();
    }
    // Without it nobody gets an answer, over TCP nobody gets in with it.
    let mut stream = UnixStream::connect(&path).unwrap();
    assert!(greet(&mut stream, &options(SECRET, [0; 16]), [0; 16], false).is_err());
    let mut stream = TcpStream::connect(host.address()).unwrap();
    stream.write_all(&said).unwrap();
    let (header, _) = exchange(&mut stream, &[]);
    assert_eq!(header.error, ErrorCode::MalformedFrame.number());
    drop(host);
    assert!(!path.exists());
}

#[test]
fn what_a_crash_left_of_a_book_is_removed_and_said_and_nothing_else_is() {
    let mut host = TestHost::start();
    create(&mut host.system(), A);
    host.stop();
    let all = host.folder.path().to_owned();
    let folder = |number: u8| all.join(format!("{number:02x}").repeat(16));
    // After the folder was made; while its file was written; and one that is none of ours.
    fs::create_dir(folder(1)).unwrap();
    fs::create_dir(folder(2)).unwrap();
    fs::write(folder(2).join("grants.tmp"), b"QENEXGR1 and no more").unwrap();
    fs::create_dir(folder(3)).unwrap();
    fs::write(folder(3).join("notes.txt"), b"somebody's").unwrap();
    // While another was written in the place of one that is there.
    fs::write(host.path_of(A).join("grants.tmp"), b"half").unwrap();
    host.restart().unwrap();
    assert!(!folder(1).exists() && !folder(2).exists() && folder(3).join("notes.txt").exists());
    let notes = host.host().notes();
    for number in [1, 2, 3] {
        assert!(notes.iter().any(|note| note.starts_with(&*folder(number).to_string_lossy())), "{notes:?}");
    }
    assert_eq!(books(&mut host.system()).len(), 2);
    client(&host, A);
    // The same id can be used again.
    create(&mut host.system(), [2; 16]);
    client(&host, [2; 16]);
}

#[test]
fn a_damaged_file_of_credentials_closes_its_book_and_no_other() {
    let mut host = TestHost::start();
    let mut system = host.system();
    create(&mut system, A);
    create(&mut system, B);
    host.stop();
    let file = host.path_of(A).join("grants");
    let good = fs::read(&file).unwrap();
    let mut bad = good.clone();
    bad[300] ^= 1;
    fs::write(&file, &bad).unwrap();
    host.restart().unwrap();
    assert!(host.host().notes()[0].contains("grants is damaged"), "{:?}", host.host().notes());
    assert_eq!(refusal(&host, &secret_of(A)), ErrorCode::Unauthenticated);
    client(&host, B);
    let mut system = host.system();
    let row = books(&mut system).into_iter().find(|row| row.book == A).unwrap();
    assert_eq!(row.state, book_state::DAMAGED);
    assert_eq!(one(&mut system, Operation::PutGrants, grant(A, b"x").as_bytes()), Err(ErrorCode::Failed));
    host.stop();
    // Two books with one credential, or two that are the home's own, are no installation.
    let mut of_b = fs::read(host.path_of(B).join("grants")).unwrap();
    fs::write(&file, &good).unwrap();
    let home = host.folder.path().read_dir().unwrap().map(|item| item.unwrap().path());
    let home = home.map(|path| path.join("grants")).find(|path| fs::read(path).unwrap()[22] == 1).unwrap();
    let of_home = fs::read(&home).unwrap();
    of_b[22] = 1;
    fs::write(host.path_of(B).join("grants"), sealed(of_b)).unwrap();
    assert!(host.restart().unwrap_err().contains("each of these says that it is the home's own"));
    fs::remove_dir_all(host.path_of(B)).unwrap();
    fs::write(&home, b"nothing").unwrap();
    assert!(host.restart().unwrap_err().contains("put it back from a copy"));
    fs::write(&home, of_home).unwrap();
    let copy = host.path_of(B);
    fs::create_dir(&copy).unwrap();
    let mut stolen = good;
    stolen[32..48].copy_from_slice(&B);
    fs::write(copy.join("grants"), sealed(stolen)).unwrap();
    assert!(host.restart().unwrap_err().contains("has a credential of book"));
    fs::remove_dir_all(copy).unwrap();
    host.restart().unwrap();
    client(&host, A);
}

/// A file with its checksum set right.
fn sealed(mut file: Vec<u8>) -> Vec<u8> {
    file[248..256].fill(0);
    let sum = qenex_engine::frame::checksum(&file);
    file[248..256].copy_from_slice(&sum.to_le_bytes());
    file
}

#[test]
fn a_book_whose_engine_cannot_start_fails_alone_and_whoever_runs_it_is_told() {
    let mut host = TestHost::start();
    create(&mut host.system(), A);
    client(&host, A).call(Operation::CreateAccounts, account(1).as_bytes()).unwrap();
    host.stop();
    let journal = host.path_of(A).join("journal/000000000001.qxj");
    let good = fs::read(&journal).unwrap();
    let mut bad = good.clone();
    bad[40] ^= 1;
    fs::write(&journal, &bad).unwrap();
    host.restart().unwrap();
    assert_eq!(refusal(&host, &secret_of(A)), ErrorCode::Failed);
    assert!(host.notes.lock().unwrap()[0].contains("000000000001.qxj"), "{:?}", host.notes);
    connect(host.address(), &options(SECRET, [0; 16])).unwrap();
    fs::write(&journal, &good).unwrap();
    until("it is tried again", || connect(host.address(), &options(&secret_of(A), [0; 16])).is_ok());
}

#[test]
fn the_book_of_a_home_from_before_there_were_many_is_its_own_and_others_are_not_guessed_at() {
    let mut host = TestHost::start();
    let home = *host.host().home();
    connect(host.address(), &options(SECRET, [9; 16])).unwrap();
    host.stop();
    fs::remove_file(host.path_of(home).join("grants")).unwrap();
    host.restart().unwrap();
    assert_eq!(*host.host().home(), home);
    let resumed = ClientOptions { resume: true, ..options(SECRET, [9; 16]) };
    assert_eq!(connect(host.address(), &resumed).unwrap().welcome().book, home);
    // Another journal without the file has no credential until it is given one.
    create(&mut host.system(), A);
    client(&host, A).call(Operation::CreateAccounts, account(1).as_bytes()).unwrap();
    host.stop();
    fs::remove_file(host.path_of(A).join("grants")).unwrap();
    host.restart().unwrap();
    assert_eq!(refusal(&host, &secret_of(A)), ErrorCode::Unauthenticated);
    one(&mut host.system(), Operation::PutGrants, grant(A, &secret_of(A)).as_bytes()).unwrap();
    client(&host, A).call(Operation::LookupAccounts, Id { id: 1 }.as_bytes()).unwrap();
    host.stop();
    for book in [A, home] {
        fs::remove_file(host.path_of(book).join("grants")).unwrap();
    }
    assert!(host.restart().unwrap_err().contains("which is the home's own book?"));
}
