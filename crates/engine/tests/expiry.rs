//! What is due expires before the next request is applied, however much it is.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::desk::{Desk, SESSION, header, request};
use common::{SECRET, account, transfer};
use qenex_engine::clock::SECOND_NS;
use qenex_engine::frame::Operation;
use qenex_engine::limits::Limits;
use qenex_kernel::row::{Account, BATCH_MAX, Transfer, account_flags, transfer_flags};
use qenex_kernel::status::CreateTransferStatus;
use zerocopy::IntoBytes;

/// The status of the last row of a reply.
fn last_status(body: &[u8]) -> u32 {
    u32::from_le_bytes(body[body.len() - 8..body.len() - 4].try_into().unwrap())
}

#[test]
fn holds_beyond_what_one_entry_can_expire_are_gone_before_the_next_request() {
    let mut desk = Desk::new(Limits::default());
    let connection = desk.greet(SESSION, SECRET);
    let limited = Account { flags: account_flags::DEBITS_MUST_NOT_EXCEED_CREDITS, ..account(1) };
    let mut number = 0;
    let mut ask = |desk: &mut Desk, operation: Operation, rows: &[u8]| {
        number += 1;
        desk.ask(connection, &request(header(operation, number), rows))
    };
    ask(&mut desk, Operation::CreateAccounts, [limited, account(2)].as_bytes());
    let batch = BATCH_MAX as u128;
    let all = 2 * batch + 1;
    ask(&mut desk, Operation::CreateTransfers, transfer(1, 2, 1, all).as_bytes());
    for begin in [0, batch, 2 * batch] {
        let count = batch.min(all - begin);
        let rows: Vec<Transfer> = (0..count)
            .map(|at| Transfer { flags: transfer_flags::PENDING, timeout: 1, ..transfer(10 + begin + at, 1, 2, 1) })
            .collect();
        let reply = ask(&mut desk, Operation::CreateTransfers, rows.as_bytes());
        assert_eq!(last_status(reply.body()), CreateTransferStatus::Created.number());
    }
    // Everything is held.
    let refused = ask(&mut desk, Operation::CreateTransfers, transfer(2, 1, 2, 1).as_bytes());
    assert_eq!(last_status(refused.body()), CreateTransferStatus::ExceedsCredits.number());
    for now in [&mut desk.now.wall_ns, &mut desk.now.monotonic_ns] {
        *now += 2 * SECOND_NS;
    }
    // Three entries of expiries go before it.
    let paid = ask(&mut desk, Operation::CreateTransfers, transfer(3, 1, 2, all).as_bytes());
    assert_eq!(last_status(paid.body()), CreateTransferStatus::Created.number());
    assert_eq!(paid.header().position_entry, refused.header().position_entry + 4);
}
