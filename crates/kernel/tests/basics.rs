//! The shortest path through each kind of operation.

mod common;

use common::*;
use qenex_kernel::status::CreateTransferStatus::*;

#[test]
fn a_transfer_moves_its_amount() {
    let mut ledger = Ledger::new();
    assert_eq!(ledger.made(transfer(1)).amount, 10);
    assert_eq!(ledger.balances(1), [0, 10, 0, 0]);
    assert_eq!(ledger.balances(2), [0, 0, 0, 10]);
}

#[test]
fn a_pending_transfer_reserves_and_a_post_moves() {
    let mut ledger = Ledger::new();
    ledger.made(transfer(1).with(tf::PENDING));
    assert_eq!((ledger.balances(1), ledger.balances(2)), ([10, 0, 0, 0], [0, 0, 10, 0]));
    ledger.made(post(2, 1));
    assert_eq!((ledger.balances(1), ledger.balances(2)), ([0, 10, 0, 0], [0, 0, 0, 10]));
    assert_eq!(ledger.make(void(3, 1)), PendingTransferAlreadyPosted);
}

#[test]
fn a_broken_chain_leaves_nothing() {
    let mut ledger = Ledger::new();
    let before = ledger.digest();
    let rows = [transfer(1).with(tf::LINKED), transfer(2).with(tf::LINKED), pay(3, 1, 1, 5)];
    assert_eq!(ledger.statuses(&rows), [LinkedEventFailed, LinkedEventFailed, AccountsMustBeDifferent]);
    assert_eq!(ledger.digest(), before);
}

#[test]
fn a_pending_transfer_expires() {
    let mut ledger = Ledger::new();
    let pending = ledger.made(Transfer { timeout: 1, ..transfer(1).with(tf::PENDING) });
    assert_eq!(ledger.expire(pending.timestamp + SECOND - 1), 0);
    assert_eq!(ledger.expire(pending.timestamp + SECOND), 1);
    assert_eq!((ledger.balances(1), ledger.balances(2)), ([0; 4], [0; 4]));
}
