//! A server over TCP, asked by the native client.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{SECRET, TestServer, account, transfer};
use qenex_engine::client::{Client, ClientError, ClientOptions};
use qenex_engine::frame::{ErrorCode, Operation};
use qenex_kernel::row::{Account, EventResult, Id, Transfer};
use qenex_kernel::status::CreateTransferStatus;
use zerocopy::IntoBytes;

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

#[test]
fn nothing_is_said_to_a_stranger() {
    let server = TestServer::start();
    let error = Client::connect(server.address(), ClientOptions::new(*b"wrong")).unwrap_err();
    assert!(matches!(error, ClientError::Refused { code: ErrorCode::Unauthenticated, .. }), "{error}");
    let options = ClientOptions { session: Some([5; 16]), resume: true, ..ClientOptions::new(SECRET) };
    let error = Client::connect(server.address(), options).unwrap_err();
    assert!(matches!(error, ClientError::Refused { code: ErrorCode::SessionExpired, .. }), "{error}");
}
