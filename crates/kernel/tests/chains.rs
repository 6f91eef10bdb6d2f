//! Linked chains: all of it happens, or nothing.

mod common;

use common::*;
use qenex_kernel::status::CreateAccountStatus;
use qenex_kernel::status::CreateTransferStatus::{self, *};

#[test]
fn a_chain_succeeds_as_a_whole() {
    let mut ledger = Ledger::new();
    let rows = [pay(1, 1, 2, 5).with(tf::LINKED), pay(2, 2, 3, 5).with(tf::LINKED), pay(3, 3, 1, 5), pay(4, 1, 2, 1)];
    assert_eq!(ledger.statuses(&rows), [Created; 4]);
    assert_eq!((ledger.balances(1), ledger.balances(2)), ([0, 6, 0, 5], [0, 5, 0, 6]));
}

#[test]
fn wherever_a_chain_breaks_all_of_it_fails_and_the_breaker_says_why() {
    for broken in 0..4 {
        let mut ledger = Ledger::new();
        let before = ledger.digest();
        let mut rows = [transfer(1), transfer(2), transfer(3), transfer(4)].map(|row| row.with(tf::LINKED));
        rows[3].flags = 0;
        rows[broken].code = 0;
        let statuses = ledger.statuses(&rows);
        for (index, status) in statuses.iter().enumerate() {
            assert_eq!(*status, if index == broken { CodeMustNotBeZero } else { LinkedEventFailed });
        }
        assert_eq!(ledger.digest(), before, "broken at {broken}");
    }
}

#[test]
fn rows_outside_a_broken_chain_stand() {
    let mut ledger = Ledger::new();
    let rows = [
        pay(1, 1, 2, 1),
        pay(2, 1, 2, 2).with(tf::LINKED),
        pay(3, 1, 1, 4),
        pay(4, 1, 2, 8).with(tf::LINKED),
        pay(5, 1, 2, 16),
        pay(6, 1, 2, 32),
    ];
    let expected = [Created, LinkedEventFailed, AccountsMustBeDifferent, Created, Created, Created];
    assert_eq!(ledger.statuses(&rows), expected);
    assert_eq!(ledger.balances(1), [0, 1 + 8 + 16 + 32, 0, 0]);
}

#[test]
fn a_row_that_exists_breaks_its_chain() {
    let mut ledger = Ledger::new();
    let original = ledger.made(transfer(2));
    let results = ledger.transfers(&[transfer(1).with(tf::LINKED), transfer(2), transfer(3)]);
    let statuses: Vec<_> = results.iter().map(transfer_status).collect();
    assert_eq!(statuses, [LinkedEventFailed, Exists, Created]);
    assert_eq!(results[1].timestamp, original.timestamp);
}

#[test]
fn exists_inside_a_failing_chain_carries_the_timestamp_of_the_row_rolled_back() {
    let mut ledger = Ledger::new();
    let now = ledger.now();
    let row = transfer(1).with(tf::LINKED);
    let results = ledger.transfers(&[row, row, transfer(2)]);
    let statuses: Vec<_> = results.iter().map(transfer_status).collect();
    assert_eq!(statuses, [LinkedEventFailed, Exists, LinkedEventFailed]);
    let timestamps: Vec<_> = results.iter().map(|result| result.timestamp).collect();
    assert_eq!(timestamps, [now + 1, now + 1, now + 3]);
    assert_eq!(ledger.transfer(1), None);
}

#[test]
fn an_open_chain_is_told_on_the_last_row_before_anything_else() {
    let linked = |id| transfer(id).with(tf::LINKED);
    // Alone, after rows that would have been created, and after a row that broke the chain already.
    for (rows, expected) in [
        (vec![linked(1)], vec![LinkedEventChainOpen]),
        (vec![linked(1), linked(2)], vec![LinkedEventFailed, LinkedEventChainOpen]),
        (
            vec![pay(1, 1, 1, 1).with(tf::LINKED), linked(2), linked(3)],
            vec![AccountsMustBeDifferent, LinkedEventFailed, LinkedEventChainOpen],
        ),
        // Even the identity of the last row is not looked at.
        (vec![linked(0)], vec![LinkedEventChainOpen]),
    ] {
        let mut ledger = Ledger::new();
        let before = ledger.digest();
        assert_eq!(ledger.statuses(&rows), expected);
        assert_eq!(ledger.digest(), before);
    }
    let rows = [account(5).with(af::LINKED), account(0).with(af::LINKED), account(6).with(af::LINKED)];
    let statuses: Vec<_> = Ledger::new().accounts(&rows).iter().map(account_status).collect();
    let expected = [
        CreateAccountStatus::LinkedEventFailed,
        CreateAccountStatus::IdMustNotBeZero,
        CreateAccountStatus::LinkedEventChainOpen,
    ];
    assert_eq!(statuses, expected);
}

#[test]
fn a_chain_of_accounts_is_rolled_back() {
    let mut ledger = Ledger::new();
    let before = ledger.digest();
    let rows = [account(5).with(af::LINKED), account(6).with(af::LINKED), Account { code: 0, ..account(7) }];
    let statuses: Vec<_> = ledger.accounts(&rows).iter().map(account_status).collect();
    let failed = CreateAccountStatus::LinkedEventFailed;
    assert_eq!(statuses, [failed, failed, CreateAccountStatus::CodeMustNotBeZero]);
    assert_eq!(ledger.digest(), before);
    assert_eq!(ledger.open(account(5)), CreateAccountStatus::Created);
}

#[test]
fn the_breaker_burns_its_id_if_its_result_is_transient_and_no_other_does() {
    let mut ledger = Ledger::with(&[account(1).with(af::DEBITS_MUST_NOT_EXCEED_CREDITS), account(2)]);
    let rows = [
        pay(1, 2, 1, 5).with(tf::LINKED),
        pay(2, 1, 2, 6).with(tf::LINKED),
        pay(3, 9, 8, 1).with(tf::LINKED), // would not find its accounts; is never tried
        pay(4, 2, 1, 1),
    ];
    let expected = [LinkedEventFailed, ExceedsCredits, LinkedEventFailed, LinkedEventFailed];
    assert_eq!(ledger.statuses(&rows), expected);
    assert_eq!(ledger.make(pay(2, 1, 2, 0)), IdAlreadyFailed);
    for id in [1, 3, 4] {
        assert_eq!(ledger.make(pay(id, 2, 1, 1)), Created, "{id}");
    }

    // A breaker whose result is not transient stays usable.
    let mut ledger = Ledger::new();
    let rows = [transfer(1).with(tf::LINKED), pay(2, 1, 1, 1)];
    assert_eq!(ledger.statuses(&rows), [LinkedEventFailed, AccountsMustBeDifferent]);
    assert_eq!(ledger.statuses(&[transfer(1), transfer(2)]), [Created, Created]);
}

#[test]
fn rollback_restores_everything() {
    let mut ledger = Ledger::new();
    let held = |id| Transfer { timeout: 100, ..transfer(id).with(tf::PENDING) };
    for id in [1, 2, 3] {
        ledger.made(held(id));
    }
    let closing = ledger.made(pay(4, 3, 1, 0).with(tf::PENDING | tf::CLOSING_DEBIT));
    assert!(ledger.is_closed(3));
    let (before, expiry) = (ledger.digest(), ledger.machine.next_expiry());
    let rows = [
        post(10, 1),
        void(11, 2),
        Transfer { amount: 4, ..post(12, 3) },
        void(13, closing.id),                                          // opens account 3
        pay(14, 3, 1, 7),                                              // which now takes transfers
        Transfer { timeout: 1, ..pay(15, 1, 2, 1) }.with(tf::PENDING), // the new earliest expiry
        pay(16, 2, 1, 1).with(tf::PENDING | tf::CLOSING_CREDIT),       // closes account 1
        pay(17, 1, 1, 1),                                              // breaks
    ];
    let mut linked = rows.map(|row| row.with(tf::LINKED));
    linked[7].flags = 0;
    let statuses = ledger.statuses(&linked);
    assert!(statuses[..7].iter().all(|status| *status == LinkedEventFailed), "{statuses:?}");
    assert_eq!(statuses[7], AccountsMustBeDifferent);
    assert_eq!((ledger.digest(), ledger.machine.next_expiry()), (before, expiry));
    assert!(ledger.is_closed(3));
    // What was reserved can still be resolved, with the same ids.
    let statuses = ledger.statuses(&rows[..4]);
    assert_eq!(statuses, [Created; 4]);
}

#[test]
fn rollback_restores_the_order_of_timestamps() {
    let past = |timestamp, row: Transfer| Transfer { timestamp, ..row.with(tf::IMPORTED) };
    let mut ledger = Ledger::empty();
    ledger.accounts(&[
        Account { timestamp: 1, ..account(1).with(af::IMPORTED) },
        Account { timestamp: 2, ..account(2).with(af::IMPORTED) },
    ]);
    // Transfers of today, rolled back: the past is still open, for transfers and for accounts.
    assert_eq!(ledger.statuses(&[transfer(1).with(tf::LINKED), pay(2, 1, 1, 1)])[0], LinkedEventFailed);
    ledger.made(past(10, transfer(1)));
    let chain = [past(20, transfer(3)).with(tf::LINKED), past(21, pay(4, 1, 1, 1))];
    assert_eq!(ledger.statuses(&chain)[0], LinkedEventFailed);
    ledger.made(past(11, transfer(5)));
    let accounts = [account(7).with(af::LINKED), Account { code: 0, ..account(8) }];
    assert_eq!(account_status(&ledger.accounts(&accounts)[0]), CreateAccountStatus::LinkedEventFailed);
    let imported = Account { timestamp: 21, ..account(9).with(af::IMPORTED) };
    assert_eq!(ledger.open(imported), CreateAccountStatus::Created, "no transfer has 21, no account is later");
}

#[test]
fn rows_of_a_chain_see_each_other() {
    let mut ledger = Ledger::with(&[account(1), account(2).with(af::DEBITS_MUST_NOT_EXCEED_CREDITS), account(3)]);
    let rows: [Transfer; 5] = [
        pay(1, 1, 2, 5).with(tf::LINKED),
        pay(2, 2, 3, 5).with(tf::LINKED), // money that came in the row before
        pay(3, 1, 2, 4).with(tf::LINKED | tf::PENDING),
        post(4, 3).with(tf::LINKED), // what was reserved in the row before
        pay(5, 2, 3, 4),
    ];
    assert_eq!(ledger.statuses(&rows), [Created; 5]);
    assert_eq!(ledger.balances(2), [0, 9, 0, 9]);
}

#[test]
fn two_chains_in_one_request_fare_apart() {
    let mut ledger = Ledger::new();
    let rows = [
        transfer(1).with(tf::LINKED),
        pay(2, 1, 1, 1),
        transfer(1).with(tf::LINKED), // the id is free again
        transfer(2),
    ];
    let expected: [CreateTransferStatus; 4] = [LinkedEventFailed, AccountsMustBeDifferent, Created, Created];
    assert_eq!(ledger.statuses(&rows), expected);
}
