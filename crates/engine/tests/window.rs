//! The window of a session: what is beyond it is refused, and what was sent ahead keeps its order.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::BTreeSet;

use common::desk::{Desk, SESSION, header, request};
use common::{SECRET, account};
use qenex_engine::clock::SECOND_NS;
use qenex_engine::frame::{ErrorCode, Kind, Operation};
use qenex_engine::limits::Limits;
use qenex_journal::disk::sim::Random;
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

#[test]
fn nothing_overtakes_any_of_several_that_were_told_to_come_again() {
    let (mut desk, connection) = refused_once();
    assert_eq!(desk.ask(connection, &frame(3)).header().error, ErrorCode::Busy.number());
    assert_eq!(desk.ask(connection, &frame(2)).header().kind(), Some(Kind::Reply));
    let early = desk.ask(connection, &frame(4));
    assert_eq!(early.header().error, ErrorCode::Busy.number(), "there is room, but 3 goes first");
    for number in [3, 4] {
        assert_eq!(desk.ask(connection, &frame(number)).header().kind(), Some(Kind::Reply));
    }
}

#[test]
fn no_write_is_taken_while_a_lower_one_was_told_to_come_again() {
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let mut desk = Desk::new(Limits { window_requests: 2, ..Limits::default() });
        let before = desk.greet(SESSION, SECRET);
        desk.hand(before, &frame(1), 0);
        desk.hand(before, &frame(2), 0);
        let connection = desk.greet_at_once(SESSION, SECRET);
        let (mut next, mut refused, mut taken) = (3, BTreeSet::new(), 0);
        for _ in 0..300 {
            if random.chance(300) {
                desk.settle();
                while desk.answer(connection).is_some() {}
            }
            let any = usize::try_from(random.below(refused.len() as u64)).unwrap();
            let number = match refused.iter().nth(any).copied().filter(|_| random.chance(600)) {
                Some(number) => number,
                None if next < 16 => next,
                None => continue,
            };
            next = next.max(number + 1 + random.below(2));
            desk.hand(connection, &frame(number), 0);
            let answers: Vec<_> = core::iter::from_fn(|| desk.answer(connection)).collect();
            if answers.iter().any(|answer| answer.header().error == ErrorCode::Busy.number()) {
                refused.insert(number);
            } else {
                refused.remove(&number);
                taken += 1;
                assert!(refused.first().is_none_or(|lowest| number < *lowest), "seed {seed}: {number}, {refused:?}");
            }
        }
        assert!(taken > 5, "seed {seed}");
    }
}
