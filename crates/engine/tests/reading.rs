//! Reads that take several steps: others are served in between, and the answer is of one moment.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::desk::{Desk, SESSION, header, request};
use common::{SECRET, account, transfer};
use qenex_engine::engine::{ConnectionId, Event};
use qenex_engine::frame::{ErrorCode, Frame, Kind, Operation};
use qenex_engine::limits::{Limits, READINGS_MAX, READINGS_OF_CONNECTION_MAX};
use qenex_journal::derived::Options as StoreOptions;
use qenex_kernel::row::{Account, BalanceAt, Id, QueryFilter, Transfer};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const ROWS: u128 = 2_000;
const PAGE: QueryFilter = QueryFilter { limit: 8_189, ..QueryFilter::ZERO };

/// Accounts with codes and user data that are each common and never meet, and transfers from each to the next.
fn desk() -> (Desk, ConnectionId) {
    let mut desk = Desk::with_store(Limits::default(), StoreOptions { places_a_step: 16, ..StoreOptions::default() });
    let connection = desk.greet(SESSION, SECRET);
    let accounts: Vec<Account> =
        (1..=ROWS).map(|id| Account { code: code_of(id), user_data_32: data_of(id), ..account(id) }).collect();
    let transfers: Vec<Transfer> = (1..ROWS)
        .map(|id| Transfer { code: code_of(id), user_data_32: data_of(id), ..transfer(id, id, id + 1, 1) })
        .collect();
    desk.ask(connection, &request(header(Operation::CreateAccounts, 1), accounts.as_bytes()));
    desk.ask(connection, &request(header(Operation::CreateTransfers, 2), transfers.as_bytes()));
    (desk, connection)
}

fn code_of(id: u128) -> u16 {
    if id.is_multiple_of(2) { 1 } else { 2 }
}

fn data_of(id: u128) -> u32 {
    if id.is_multiple_of(2) { 5 } else { 6 }
}

/// What finds nothing, and takes long.
const IN_VAIN: QueryFilter = QueryFilter { code: 1, user_data_32: 6, ..PAGE };

fn rows<T: FromBytes + IntoBytes + Immutable + KnownLayout + Copy>(frame: &Frame) -> Vec<T> {
    assert_eq!(frame.header().kind(), Some(Kind::Reply), "{}", String::from_utf8_lossy(frame.body()));
    frame.body().chunks_exact(size_of::<T>()).map(|row| T::read_from_bytes(row).unwrap()).collect()
}

/// Wakes until the connection is answered; returns the answer, and after how many wakes it came.
fn wait(desk: &mut Desk, connection: ConnectionId) -> (Frame, usize) {
    let answered = (0..100_000).find_map(|wakes| {
        let answer = desk.answer(connection);
        if answer.is_none() {
            assert!(desk.engine.has_work(), "nobody would wake it");
            desk.step(Event::Wake);
        }
        answer.map(|answer| (answer, wakes))
    });
    answered.expect("an answer")
}

#[test]
fn a_query_that_takes_long_lets_others_go_first_and_does_not_see_them() {
    let (mut desk, connection) = desk();
    let other = desk.greet([6; 16], SECRET);
    for (operation, reversed) in [(Operation::QueryTransfers, 0), (Operation::QueryTransfers, 1)] {
        let before = desk.engine.state().entry();
        let filter = QueryFilter { flags: reversed, ..IN_VAIN };
        desk.hand(connection, &request(header(operation, 9), filter.as_bytes()), 0);
        assert!(desk.answer(connection).is_none(), "it takes longer than one step");
        let number = 10 + u64::from(reversed);
        let row = Transfer { code: 1, user_data_32: 6, ..transfer(10_000 + u128::from(reversed), 1, 2, 1) };
        let mut write = header(Operation::CreateTransfers, number);
        write.session = [6; 16];
        desk.hand(other, &request(write, row.as_bytes()), 0);
        assert_eq!(wait(&mut desk, other).0.header().kind(), Some(Kind::Reply));
        assert!(desk.answer(connection).is_none(), "the write went first");
        let (answer, wakes) = wait(&mut desk, connection);
        assert!(wakes > 10, "{wakes}");
        let found: Vec<u128> = rows::<Transfer>(&answer).iter().map(|row| row.id).collect();
        assert_eq!(
            found,
            if reversed == 0 { vec![] } else { vec![10_000] },
            "what came after the question is not in it"
        );
        assert_eq!(answer.header().position_entry, before);
    }
}

#[test]
fn an_answer_of_many_steps_is_that_of_one() {
    let (mut desk, connection) = desk();
    let ids: Vec<Id> = (1..ROWS).map(|id| Id { id }).collect();
    desk.hand(connection, &request(header(Operation::LookupTransfers, 9), ids.as_bytes()), 0);
    let (answer, wakes) = wait(&mut desk, connection);
    let transfers = rows::<Transfer>(&answer);
    assert!(wakes > 3 && transfers.iter().map(|row| row.id).eq(1..ROWS));

    let hashes: Vec<[u8; 32]> = transfers.iter().map(Transfer::hash).collect();
    desk.hand(connection, &request(header(Operation::LookupHashes, 9), hashes.as_bytes()), 0);
    assert_eq!(rows::<Transfer>(&wait(&mut desk, connection).0), transfers);

    let questions: Vec<BalanceAt> = transfers
        .iter()
        .map(|row| BalanceAt { account_id: row.debit_account_id, timestamp: row.timestamp, ..BalanceAt::ZERO })
        .collect();
    desk.hand(connection, &request(header(Operation::BalanceAt, 9), questions.as_bytes()), 0);
    let balances = rows::<qenex_kernel::row::AccountBalance>(&wait(&mut desk, connection).0);
    assert!(balances.iter().map(|row| row.timestamp).eq(transfers.iter().map(|row| row.timestamp)));

    let even = QueryFilter { code: 1, user_data_32: 5, ..PAGE };
    desk.hand(connection, &request(header(Operation::QueryTransfers, 9), even.as_bytes()), 0);
    let (answer, wakes) = wait(&mut desk, connection);
    assert!(wakes > 10 && rows::<Transfer>(&answer).iter().map(|row| row.id).eq((2..ROWS).step_by(2)));
}

#[test]
fn accounts_found_in_many_steps_have_the_balances_of_one_moment() {
    let (mut desk, connection) = desk();
    let other = desk.greet([6; 16], SECRET);
    desk.hand(connection, &request(header(Operation::QueryAccounts, 9), PAGE.as_bytes()), 0);
    for _ in 0..50 {
        desk.step(Event::Wake);
    }
    // From an account that was looked at to one that was not.
    let mut write = header(Operation::CreateTransfers, 1);
    write.session = [6; 16];
    desk.hand(other, &request(write, transfer(10_000, 1, ROWS, 1_000).as_bytes()), 0);
    let found = rows::<Account>(&wait(&mut desk, connection).0);
    assert_eq!(found.len() as u128, ROWS);
    let (debits, credits) = (found.iter().map(|row| row.debits_posted), found.iter().map(|row| row.credits_posted));
    assert_eq!(debits.sum::<u128>(), credits.sum::<u128>());
    assert!(found[0].debits_posted > 1_000);
}

#[test]
fn as_many_as_there_is_room_for_are_under_way() {
    let (mut desk, first) = desk();
    let query = request(header(Operation::QueryTransfers, 9), IN_VAIN.as_bytes());
    let busy = |desk: &mut Desk, connection| {
        desk.hand(connection, &query, 0);
        desk.answer(connection).map(|answer| assert_eq!(answer.header().error, ErrorCode::Busy.number()))
    };
    let mut connections = vec![first];
    for place in 0..READINGS_MAX {
        if place > 0 && place.is_multiple_of(READINGS_OF_CONNECTION_MAX) {
            let full = *connections.last().unwrap();
            assert!(busy(&mut desk, full).is_some(), "one more of this connection");
            connections.push(desk.greet_at_once(SESSION, SECRET));
        }
        assert!(busy(&mut desk, *connections.last().unwrap()).is_none(), "place {place}");
    }
    let last = desk.greet_at_once(SESSION, SECRET);
    assert!(busy(&mut desk, last).is_some(), "one more of all");
    // What takes one step is answered all the same.
    let one = request(header(Operation::LookupTransfers, 9), Id { id: 1 }.as_bytes());
    desk.hand(last, &one, 0);
    assert_eq!(rows::<Transfer>(&desk.answer(last).unwrap()).len(), 1);
    // A connection that is gone makes room.
    desk.step(Event::Closed { connection: first });
    assert!(busy(&mut desk, last).is_none());
}

#[test]
fn the_end_does_not_wait_for_questions() {
    let (mut desk, connection) = desk();
    let query = request(header(Operation::QueryTransfers, 7), IN_VAIN.as_bytes());
    desk.hand(connection, &query, 0);
    desk.step(Event::Stop);
    let told = desk.answer(connection).unwrap();
    assert_eq!((told.header().error, told.header().request), (ErrorCode::ShuttingDown.number(), 7));
    desk.hand(connection, &query, 0);
    assert_eq!(desk.answer(connection).unwrap().header().error, ErrorCode::ShuttingDown.number());
}
