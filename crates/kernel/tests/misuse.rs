//! Mistakes of the caller: refused as a whole, nothing changed.

mod common;

use common::*;
use qenex_kernel::machine::{Machine, Misuse};
use qenex_kernel::memory::MemoryStore;
use qenex_kernel::row::{AccountTerms, BATCH_MAX, BalanceAt, Id, TIMESTAMP_MAX};

#[test]
fn the_time_must_advance_by_a_nanosecond_a_row() {
    let mut ledger = Ledger::new();
    let rows = [transfer(1), transfer(2), transfer(3)];
    let (before, now) = (ledger.digest(), ledger.now());
    let mut results = Vec::new();
    for timestamp in [0, now, now + 2] {
        let refused = ledger.machine.create_transfers(timestamp, &rows, &mut results);
        let misuse = Misuse::TimestampMustAdvance { timestamp, at_least: now + 3 };
        assert_eq!(refused, Err(misuse));
        assert!(misuse.to_string().contains(&format!("{}", now + 3)), "it says what would be right");
    }
    assert_eq!((ledger.digest(), ledger.now(), results.len()), (before, now, 0));
    ledger.machine.create_transfers(now + 3, &rows, &mut results).expect("just enough");
    let timestamps: Vec<_> = results.iter().map(|result| result.timestamp).collect();
    assert_eq!(timestamps, [now + 1, now + 2, now + 3]);
}

#[test]
fn slots_end_at_the_requests_timestamp() {
    let mut ledger = Ledger::new();
    let timestamp = ledger.now() + 1_000;
    let results = ledger.transfers_at(timestamp, &[transfer(1), pay(2, 1, 1, 1), transfer(3)]);
    let timestamps: Vec<_> = results.iter().map(|result| result.timestamp).collect();
    assert_eq!(timestamps, [timestamp - 2, timestamp - 1, timestamp]);
    assert_eq!(ledger.transfer(3).expect("recorded").timestamp, timestamp);
}

#[test]
fn the_last_timestamp_is_the_last() {
    let mut machine = Machine::new(MemoryStore::new(), 0);
    let mut results = Vec::new();
    for timestamp in [TIMESTAMP_MAX + 1, u64::MAX] {
        let refused = machine.create_accounts(timestamp, &[account(1)], &mut results);
        assert_eq!(refused, Err(Misuse::TimestampTooHigh { timestamp }));
    }
    machine.create_accounts(TIMESTAMP_MAX, &[account(1)], &mut results).expect("the last one");
    let refused = machine.create_accounts(TIMESTAMP_MAX, &[account(2)], &mut results);
    assert!(matches!(refused, Err(Misuse::TimestampMustAdvance { .. })));
    assert_eq!(results.len(), 1);
}

#[test]
fn the_first_timestamp_is_one() {
    let mut machine = Machine::new(MemoryStore::new(), 0);
    let mut results = Vec::new();
    let refused = machine.create_accounts(0, &[account(1)], &mut results);
    assert_eq!(refused, Err(Misuse::TimestampMustAdvance { timestamp: 0, at_least: 1 }));
    machine.create_accounts(1, &[account(1)], &mut results).expect("the first one");
    assert_eq!(results[0].timestamp, 1);
}

#[test]
fn a_batch_too_large_is_refused_not_capped() {
    let mut ledger = Ledger::new();
    let (before, now) = (ledger.digest(), ledger.now());
    let many = BATCH_MAX + 1;
    let too_large = Err(Misuse::BatchTooLarge { rows: many });
    let far = now + 1_000_000;
    let mut results = Vec::new();
    assert_eq!(ledger.machine.create_transfers(far, &vec![transfer(1); many], &mut results), too_large);
    assert_eq!(ledger.machine.create_accounts(far, &vec![account(1); many], &mut results), too_large);
    assert_eq!(ledger.machine.set_account_terms(far, &vec![AccountTerms::ZERO; many], &mut results), too_large);
    let ids = vec![Id { id: 1 }; many];
    assert_eq!(ledger.machine.lookup_accounts(&ids, &mut Vec::new()), too_large);
    assert_eq!(ledger.machine.lookup_transfers(&ids, &mut Vec::new()), too_large);
    assert_eq!(ledger.machine.lookup_account_terms(&ids, &mut Vec::new()), too_large);
    assert_eq!(ledger.machine.lookup_outcomes(&ids, &mut Vec::new()), too_large);
    assert_eq!(ledger.machine.lookup_hashes(&vec![[0; 32]; many], &mut Vec::new()), too_large);
    assert_eq!(ledger.machine.balance_at(&vec![BalanceAt::ZERO; many], &mut Vec::new()), too_large);
    assert_eq!((ledger.digest(), ledger.now(), results.len()), (before, now, 0));
    let rows: Vec<_> = (1..=BATCH_MAX as u128).map(transfer).collect();
    assert_eq!(ledger.transfers(&rows).len(), BATCH_MAX);
}

#[test]
fn an_empty_request_changes_nothing() {
    let mut ledger = Ledger::new();
    let (before, now) = (ledger.digest(), ledger.now());
    for timestamp in [0, now, now + 100] {
        assert!(ledger.transfers_at(timestamp, &[]).is_empty());
    }
    assert_eq!((ledger.digest(), ledger.now()), (before, now));
}

#[test]
fn a_machine_goes_on_from_where_its_store_stands() {
    let mut ledger = Ledger::new();
    ledger.made(transfer(1));
    let now = ledger.now();
    let mut machine = Machine::new(ledger.machine.into_store(), 0);
    assert_eq!(machine.timestamp(), now);
    let refused = machine.create_transfers(now, &[transfer(2)], &mut Vec::new());
    assert_eq!(refused, Err(Misuse::TimestampMustAdvance { timestamp: now, at_least: now + 1 }));
    let machine = Machine::new(machine.into_store(), now + 50);
    assert_eq!(machine.timestamp(), now + 50);
}
