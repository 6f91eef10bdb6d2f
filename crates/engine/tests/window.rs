//! The window of a session: what is beyond it is refused, and what was sent ahead keeps its order.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::desk::{Desk, SESSION, header, request};
use common::{SECRET, account};
use qenex_engine::clock::SECOND_NS;
use qenex_engine::frame::{ErrorCode, Kind, Operation};
use qenex_engine::limits::Limits;
use zerocopy::IntoBytes;

fn frame(number: u64) -> Vec<u8> {
    request(header(Operation::CreateAccounts, number), account(u128::from(number)).as_bytes())
}

/// A client that resumes a session of which a request is under way that it does not know: so it may send beyond the
/// window though it counts what it has sent. Requests 2 and 3 are refused, then 1 is done.
fn refused_once() -> (Desk, u64) {
    let mut desk = Desk::new(Limits { window_requests: 1, ..Limits::default() });
    let before = desk.greet(SESSION, SECRET);
    desk.hand(before, &frame(1), 0);
    let after = desk.greet_at_once(SESSION, SECRET);
    desk.hand(after, &frame(2), 0);
    assert_eq!(desk.answer(after).unwrap().header().error, ErrorCode::Busy.number());
    desk.settle();
    (desk, after)
}

#[test]
fn nothing_overtakes_a_request_that_was_told_to_come_again() {
    let (mut desk, connection) = refused_once();
    let early = desk.ask(connection, &frame(3));
    assert_eq!(early.header().error, ErrorCode::Busy.number(), "there is room, but 2 goes first");
    let entries: Vec<u64> = [2, 3, 4]
        .map(|number| {
            let reply = desk.ask(connection, &frame(number));
            assert_eq!(reply.header().kind(), Some(Kind::Reply));
            reply.header().position_entry
        })
        .to_vec();
    assert!(entries.is_sorted(), "{entries:?}");
}

#[test]
fn a_retry_of_what_was_done_is_answered_meanwhile() {
    let (mut desk, connection) = refused_once();
    assert_eq!(desk.ask(connection, &frame(1)).header().kind(), Some(Kind::Reply));
}

#[test]
fn a_request_that_was_given_up_holds_the_others_up_for_a_second_at_most() {
    let (mut desk, connection) = refused_once();
    for now in [&mut desk.now.wall_ns, &mut desk.now.monotonic_ns] {
        *now += SECOND_NS;
    }
    desk.settle();
    assert_eq!(desk.ask(connection, &frame(3)).header().kind(), Some(Kind::Reply));
}
