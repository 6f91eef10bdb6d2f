//! A server over TCP, asked by the native client.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use common::desk::{SESSION, header, request};
use common::{BOOK, SECRET, TestServer, account, transfer};
use qenex_engine::client::{Client, ClientError, ClientOptions, greet};
use qenex_engine::credential::{Credential, Keys, transcript};
use qenex_engine::frame::{
    ChallengeRow, ErrorCode, Frame, HEADER_LENGTH, Header, Hello, Judgement, Kind, Operation, VERSION, Welcome,
    WelcomeRow, judge,
};
use qenex_kernel::row::{Account, EventResult, Id, Transfer};
use qenex_kernel::status::CreateTransferStatus;
use zerocopy::{FromBytes, IntoBytes};

#[test]
fn accounts_and_transfers_are_made_once_and_survive_a_restart() {
    let mut server = TestServer::start();
    let mut client = server.client();
    let reply = client.call(Operation::CreateAccounts, [account(1), account(2)].as_bytes()).unwrap();
    let results: Vec<EventResult> = reply.rows().unwrap();
    assert_eq!(results.len(), 2);
    assert_eq!(reply.header.timestamp, results[1].timestamp);
    let reply = client.call(Operation::CreateTransfers, [transfer(10, 1, 2, 5), transfer(11, 1, 9, 5)].as_bytes());
    let statuses: Vec<u32> = reply.unwrap().rows::<EventResult>().unwrap().iter().map(|row| row.status).collect();
    let expected = [CreateTransferStatus::Created, CreateTransferStatus::CreditAccountNotFound];
    assert_eq!(statuses, expected.map(CreateTransferStatus::number));

    let session = client.session();
    drop(client);
    server.restart();
    let mut client = server.client_of(session);
    assert_eq!(client.welcome().highest_request, 2);
    let reply = client.call(Operation::LookupAccounts, [Id { id: 2 }, Id { id: 7 }, Id { id: 1 }].as_bytes()).unwrap();
    let accounts: Vec<Account> = reply.rows().unwrap();
    assert_eq!(accounts.iter().map(|row| (row.id, row.credits_posted)).collect::<Vec<_>>(), [(2, 5), (1, 0)]);
    let reply = client.call(Operation::LookupTransfers, Id { id: 10 }.as_bytes()).unwrap();
    assert_eq!(reply.rows::<Transfer>().unwrap()[0].amount, 5);
    server.stop();
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
fn a_retry_after_a_restart_gets_the_original_reply_but_for_the_epoch_the_group_and_its_own_trace() {
    let mut server = TestServer::start();
    // One transfer is made, one burns its id, one changes nothing.
    let transfers = [transfer(10, 1, 2, 5), transfer(11, 1, 9, 5), transfer(12, 1, 1, 5)];
    let accounts = [account(1), account(2)];
    let ask = |server: &TestServer, trace: u8| {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        greet(&mut stream, &ClientOptions::new(SECRET), SESSION, false).unwrap();
        [(Operation::CreateAccounts, 1, accounts.as_bytes()), (Operation::CreateTransfers, 2, transfers.as_bytes())]
            .map(|(operation, number, rows)| {
                let header = Header { trace: [trace; 16], ..header(operation, number) };
                exchange(&mut stream, &request(header, rows))
            })
    };
    let originals = ask(&server, 1);
    server.restart();
    for ((first, first_rows), (again, again_rows)) in originals.into_iter().zip(ask(&server, 2)) {
        assert_eq!((first.kind(), first.group_requests), (Some(Kind::Reply), 1));
        assert_eq!(again.position_epoch, first.position_epoch + 1, "the epoch in force when it is sent");
        let expected = Header {
            position_epoch: again.position_epoch,
            trace: [2; 16],
            linger_us: 0,
            group_requests: 0,
            group_rows: 0,
            header_checksum: again.header_checksum,
            ..first
        };
        assert_eq!(again, expected);
        assert_eq!(again_rows, first_rows);
    }
}

#[test]
fn nothing_is_said_to_a_stranger() {
    let server = TestServer::start();
    let error = Client::connect(server.address(), ClientOptions::new(*b"wrong")).unwrap_err();
    assert!(matches!(error, ClientError::Refused { code: ErrorCode::Unauthenticated, .. }), "{error}");
    let options = ClientOptions { session: Some([5; 16]), resume: true, ..ClientOptions::new(SECRET) };
    let error = Client::connect(server.address(), options).unwrap_err();
    assert!(matches!(error, ClientError::Refused { code: ErrorCode::SessionExpired, .. }), "{error}");
}

/// Takes a frame from a client; returns its header, and all of it.
fn take(stream: &mut TcpStream) -> (Header, Vec<u8>) {
    let mut head = [0; HEADER_LENGTH];
    stream.read_exact(&mut head).unwrap();
    let Judgement::Good(header, _) = judge(&head) else { panic!("a client's frame is bad") };
    let mut frame = head.to_vec();
    frame.resize(HEADER_LENGTH + header.body_length as usize, 0);
    stream.read_exact(&mut frame[HEADER_LENGTH..]).unwrap();
    (header, frame)
}

/// Challenges a client of whom this hello came.
fn challenge(hello: &[u8], secret: &[u8]) -> (Frame, [u8; 32]) {
    let nonce = [8; 32];
    let transcript = transcript(hello, &[], &nonce);
    let row = ChallengeRow { nonce, proof: Credential::owner(secret).proof(&transcript) };
    (Frame::copied(Header::of(Kind::Challenge), row.as_bytes()), transcript)
}

#[test]
fn who_listens_and_does_not_know_the_credential_learns_nothing_and_is_not_believed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let impostor = std::thread::spawn(move || {
        let mut body = Vec::new();
        Welcome { row: WelcomeRow { version: VERSION, ..WelcomeRow::default() }, name: "impostor" }.write(&mut body);
        let welcome = Frame::copied(Header::of(Kind::Welcome), &body);
        let mut said = Vec::new();
        for round in 0..3 {
            let (mut stream, _) = listener.accept().unwrap();
            let (_, hello) = take(&mut stream);
            let answer = match round {
                0 => welcome.clone(),
                1 => challenge(&hello, b"another secret").0,
                // A challenge for another hello, as if it came from the server by a detour.
                _ => challenge(&hello[1..], SECRET).0,
            };
            stream.write_all(answer.bytes()).unwrap();
            said.push(hello);
            // One that goes on would wait for a welcome.
            let said_more = stream.read(&mut [0]).unwrap() > 0;
            assert!(!said_more, "the client said more");
        }
        said
    });
    for _ in 0..3 {
        let error = Client::connect(address, ClientOptions::new(SECRET)).unwrap_err();
        assert!(matches!(error, ClientError::Protocol(_)), "{error}");
    }
    let mut nonces = Vec::new();
    for hello in impostor.join().unwrap() {
        assert!(!hello.windows(SECRET.len()).any(|window| window == SECRET));
        let hello = Hello::read(&hello[HEADER_LENGTH..]).unwrap();
        assert_eq!(hello.row.fingerprint, Keys::of(SECRET).fingerprint);
        nonces.push(hello.row.nonce);
    }
    assert!(nonces[0] != nonces[1] && nonces[1] != nonces[2], "a hello is never said twice");
}

#[test]
fn a_client_goes_on_when_the_server_that_it_comes_back_to_is_just_ending() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let row = WelcomeRow { version: VERSION, window_requests: 4, window_bytes: 1 << 21, ..WelcomeRow::default() };
        let mut body = Vec::new();
        Welcome { row: WelcomeRow { book: BOOK, ..row }, name: "played" }.write(&mut body);
        let welcome = Frame::copied(Header::of(Kind::Welcome), &body);
        let goodbye = Frame::copied(Header::of(Kind::Goodbye), &[]);
        // One that is gone once the request was sent, one that ends as the client arrives, one that answers.
        for (answers, ends) in [(&welcome, true), (&goodbye, true), (&welcome, false)] {
            let (mut stream, _) = listener.accept().unwrap();
            let (_, hello) = take(&mut stream);
            if answers.header().kind() != Some(Kind::Goodbye) {
                let (challenge, transcript) = challenge(&hello, SECRET);
                stream.write_all(challenge.bytes()).unwrap();
                let (header, proof) = take(&mut stream);
                assert_eq!(header.kind(), Some(Kind::Proof));
                let proof = proof[HEADER_LENGTH..].try_into().unwrap();
                assert!(Credential::owner(SECRET).is_proven(&transcript, &proof));
            }
            stream.write_all(answers.bytes()).unwrap();
            if answers.header().kind() == Some(Kind::Goodbye) {
                continue;
            }
            let (request, _) = take(&mut stream);
            assert_eq!((request.kind(), request.request), (Some(Kind::Request), 1));
            if !ends {
                let reply = Header { kind: Kind::Reply as u8, context_length: 0, ..request };
                stream.write_all(Frame::copied(reply, b"answered").bytes()).unwrap();
            }
        }
    });
    let options = ClientOptions { pause: Duration::ZERO, ..ClientOptions::new(SECRET) };
    let mut client = Client::connect(address, options).unwrap();
    let reply = client.call(Operation::GetMetrics, &[]).unwrap();
    assert_eq!(reply.body.unwrap(), b"answered");
    server.join().unwrap();
}
