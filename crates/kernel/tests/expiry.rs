//! Expiry: when, in which order, at which time, and what it leaves.

mod common;

use common::*;
use qenex_kernel::machine::{Machine, Misuse};
use qenex_kernel::memory::MemoryStore;
use qenex_kernel::row::{AccountFilter, ChangeEvent, ChangeEventsFilter, EventKind, TIMESTAMP_MAX, filter_flags};
use qenex_kernel::status::CreateTransferStatus::*;

fn hold(id: u128, timeout: u32) -> Transfer {
    Transfer { timeout, ..transfer(id).with(tf::PENDING) }
}

fn changes(ledger: &Ledger) -> Vec<ChangeEvent> {
    let mut out = Vec::new();
    ledger.machine.get_change_events(&ChangeEventsFilter { limit: 100, ..ChangeEventsFilter::ZERO }, &mut out);
    out
}

#[test]
fn a_post_or_void_at_the_expiry_is_refused_even_before_it_has_run() {
    for resolve in [post(2, 1), void(2, 1)] {
        for (offset, status) in [(-1, Created), (0, PendingTransferExpired), (1, PendingTransferExpired)] {
            let mut ledger = Ledger::new();
            let expires = ledger.made(hold(1, 1)).expires().expect("it has a timeout");
            let slot = expires.checked_add_signed(offset).expect("in range");
            assert_eq!(transfer_status(&ledger.transfers_at(slot, &[resolve])[0]), status, "{offset}");
        }
    }
    let mut ledger = Ledger::new();
    let expires = ledger.made(hold(1, 1)).expires().expect("it has a timeout");
    assert_eq!(ledger.expire(expires), 1);
    assert_eq!(ledger.make(post(2, 1)), PendingTransferExpired);
    assert_eq!(ledger.make(void(3, 1)), PendingTransferExpired);
}

#[test]
fn each_row_is_judged_by_its_own_slot() {
    let mut ledger = Ledger::new();
    let expires = ledger.made(hold(1, 1)).expires().expect("it has a timeout");
    ledger.made(hold(2, 1));
    // The request's time is past the first expiry; its first row's slot is not.
    let results = ledger.transfers_at(expires, &[post(3, 1), pay(4, 1, 2, 1)]);
    assert_eq!(transfer_status(&results[0]), Created);
}

#[test]
fn expiry_releases_and_opens_what_the_transfer_closed() {
    let mut ledger = Ledger::new();
    let row = hold(1, 1).with(tf::CLOSING_DEBIT | tf::CLOSING_CREDIT);
    let expires = ledger.made(row).expires().expect("it has a timeout");
    assert!(ledger.is_closed(1) && ledger.is_closed(2));
    assert_eq!(ledger.expire(expires), 1);
    assert!(!ledger.is_closed(1) && !ledger.is_closed(2));
    assert_eq!((ledger.balances(1), ledger.balances(2)), ([0; 4], [0; 4]));
}

#[test]
fn an_older_reservation_expires_in_a_closed_account_and_leaves_it_closed() {
    let mut ledger = Ledger::new();
    let expires = ledger.made(hold(1, 1)).expires().expect("it has a timeout");
    ledger.made(pay(2, 1, 2, 0).with(tf::PENDING | tf::CLOSING_DEBIT));
    assert_eq!(ledger.expire(expires), 1);
    assert!(ledger.is_closed(1));
    assert_eq!(ledger.balances(1), [0; 4]);
}

#[test]
fn the_order_is_by_expiry_then_creation_and_the_times_end_at_the_pulse() {
    let mut ledger = Ledger::new();
    // 3 is created first and expires last; 1 and 2 expire in the order in which they were created.
    for row in [hold(3, 9), hold(1, 2), hold(2, 2), hold(4, 0), hold(5, 10)] {
        ledger.made(row);
    }
    // Make the expiry of 1 and 2 equal: the same timeout, but later rows expire later, so it is by creation too.
    let pulse = ledger.transfer(3).and_then(|row| row.expires()).expect("it has a timeout");
    assert_eq!(ledger.expire(pulse), 3);
    let expired: Vec<_> = changes(&ledger).into_iter().filter(|change| change.kind == 4).collect();
    assert_eq!(expired.iter().map(|change| change.transfer_id).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(expired.iter().map(|change| change.timestamp).collect::<Vec<_>>(), [pulse - 2, pulse - 1, pulse]);
    assert_eq!(ledger.now(), pulse);
    assert_eq!(ledger.machine.next_expiry(), ledger.transfer(5).and_then(|row| row.expires()));
}

#[test]
fn equal_expiries_go_by_creation() {
    // Created a whole second apart, so that a longer timeout of the first meets a shorter one of the second.
    let mut ledger = Ledger::new();
    let first = ledger.made(hold(2, 5));
    ledger.transfers_at(first.timestamp + 2 * SECOND, &[hold(1, 3)]);
    let second = ledger.transfer(1).expect("recorded");
    assert_eq!(first.expires(), second.expires());
    ledger.expire(first.timestamp + 10 * SECOND);
    let order: Vec<_> = changes(&ledger).iter().filter(|change| change.kind == 4).map(|c| c.transfer_id).collect();
    assert_eq!(order, [2, 1]);
}

#[test]
fn a_pulse_takes_no_more_than_it_is_told() {
    let mut ledger = Ledger::new();
    for id in 1..=5 {
        ledger.made(hold(id, 1));
    }
    let pulse = ledger.now() + 2 * SECOND;
    assert_eq!(ledger.machine.expire(pulse, 2), Ok(2));
    assert_eq!(ledger.machine.expire(pulse + 3, 100), Ok(3));
    assert_eq!(ledger.machine.expire(pulse + 4, 100), Ok(0));
    assert_eq!(ledger.balances(1), [0; 4]);
}

#[test]
fn nothing_due_changes_nothing() {
    let mut ledger = Ledger::new();
    ledger.made(hold(1, 1));
    ledger.made(hold(2, 0));
    let (before, now) = (ledger.digest(), ledger.now());
    assert_eq!(ledger.expire(now + SECOND - 2), 0);
    assert_eq!((ledger.digest(), ledger.now()), (before, now));
}

#[test]
fn resolved_transfers_do_not_expire() {
    let mut ledger = Ledger::new();
    ledger.made(hold(1, 1));
    ledger.made(hold(2, 1));
    ledger.made(post(3, 1));
    ledger.made(void(4, 2));
    assert_eq!(ledger.machine.next_expiry(), None);
    assert_eq!(ledger.expire(ledger.now() + 10 * SECOND), 0);
    assert_eq!(ledger.balances(1), [0, 10, 0, 0]);
}

#[test]
fn its_change_event_shows_the_pending_transfer_at_the_time_of_expiry() {
    let mut ledger = Ledger::new();
    let pending = ledger.made(Transfer { user_data_128: 7, code: 9, ..hold(1, 1).with(tf::CLOSING_DEBIT) });
    let expires = pending.expires().expect("it has a timeout");
    ledger.expire(expires + 5);
    let change = *changes(&ledger).last().expect("an expiry");
    assert_eq!(change.kind, EventKind::TwoPhaseExpired as u8);
    assert_eq!((change.transfer_id, change.transfer_pending_id, change.transfer_amount), (1, 0, 10));
    assert_eq!((change.transfer_flags, change.transfer_code), (pending.flags, 9));
    assert_eq!((change.transfer_timeout, change.transfer_user_data_128), (1, 7));
    assert_eq!((change.timestamp, change.transfer_timestamp), (expires + 5, pending.timestamp));
    assert_eq!((change.debit_account.debits_pending, change.debit_account.flags), (0, 0));
    assert_eq!(change.credit_account.credits_pending, 0);
}

#[test]
fn it_adds_no_row_to_a_balance_history_and_no_transfer() {
    let mut ledger = Ledger::with(&[account(1).with(af::HISTORY), account(2)]);
    let expires = ledger.made(hold(1, 1)).expires().expect("it has a timeout");
    ledger.expire(expires);
    let filter = AccountFilter { account_id: 1, limit: 9, flags: filter_flags::DEBITS, ..AccountFilter::ZERO };
    let (mut balances, mut transfers) = (Vec::new(), Vec::new());
    ledger.machine.get_account_balances(&filter, &mut balances);
    ledger.machine.get_account_transfers(&filter, &mut transfers);
    assert_eq!((balances.len(), transfers.len()), (1, 1));
    assert_eq!(balances[0].debits_pending, 10);
}

#[test]
fn the_last_timestamp_there_is_can_be_an_expiry() {
    let mut ledger = Ledger::new();
    let slot = TIMESTAMP_MAX - SECOND;
    let results = ledger.transfers_at(slot, &[hold(1, 1)]);
    assert_eq!(transfer_status(&results[0]), Created);
    assert_eq!(ledger.transfer(1).and_then(|row| row.expires()), Some(TIMESTAMP_MAX));
    assert_eq!(ledger.make(hold(2, 1)), OverflowsTimeout);
    assert_eq!(ledger.expire(TIMESTAMP_MAX), 1);
    assert_eq!(ledger.balances(1), [0; 4]);
}

#[test]
fn a_pulse_needs_a_time_for_each_expiry() {
    let mut ledger = Ledger::new();
    ledger.made(hold(1, 1));
    ledger.made(hold(2, 1));
    let pulse = ledger.now() + SECOND;
    ledger.transfers_at(pulse, &[pay(3, 1, 2, 1)]);
    let before = ledger.digest();
    let refused = ledger.machine.expire(pulse + 1, 100);
    assert_eq!(refused, Err(Misuse::TimestampMustAdvance { timestamp: pulse + 1, at_least: pulse + 2 }));
    assert_eq!(ledger.digest(), before);
    assert_eq!(ledger.machine.expire(pulse + 2, 100), Ok(2));
    let mut machine = Machine::new(MemoryStore::new(), 0);
    assert_eq!(machine.expire(TIMESTAMP_MAX + 1, 1), Err(Misuse::TimestampTooHigh { timestamp: TIMESTAMP_MAX + 1 }));
}
