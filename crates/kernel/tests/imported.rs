//! Imported rows: with timestamps of their own, from the past.

mod common;

use common::*;
use qenex_kernel::row::TIMESTAMP_MAX;
use qenex_kernel::status::CreateAccountStatus;
use qenex_kernel::status::CreateTransferStatus::*;

fn past_account(id: u128, timestamp: u64) -> Account {
    Account { timestamp, ..account(id).with(af::IMPORTED) }
}

fn past(timestamp: u64, row: Transfer) -> Transfer {
    Transfer { timestamp, ..row.with(tf::IMPORTED) }
}

/// Accounts 1 and 2 created at 100 and 200; the clock stands at [`START`].
fn ledger() -> Ledger {
    Ledger::with(&[past_account(1, 100), past_account(2, 200)])
}

#[test]
fn rows_keep_their_timestamps() {
    let mut ledger = ledger();
    let result = ledger.transfers(&[past(300, transfer(1))])[0];
    assert_eq!((transfer_status(&result), result.timestamp), (Created, 300));
    assert_eq!(ledger.transfer(1).expect("recorded").timestamp, 300);
    assert_eq!(ledger.account(2).expect("created").timestamp, 200);
}

#[test]
fn a_request_is_what_its_first_row_is() {
    let mut ledger = ledger();
    let mixed = [past(300, transfer(1)), transfer(2)];
    assert_eq!(ledger.statuses(&mixed), [Created, ImportedEventExpected]);
    assert_eq!(ledger.statuses(&[transfer(3), past(400, transfer(4))]), [Created, ImportedEventNotExpected]);
    // Also where the first row is refused.
    assert_eq!(ledger.statuses(&[pay(5, 1, 1, 1), past(400, transfer(4))])[1], ImportedEventNotExpected);
}

#[test]
fn a_timestamp_lies_below_its_requests_first_slot() {
    let mut ledger = ledger();
    let first_slot = ledger.now() + 1;
    let rows = [past(first_slot - 2, transfer(1)), past(first_slot, transfer(2)), past(first_slot - 1, transfer(3))];
    let expected = [Created, ImportedEventTimestampMustNotAdvance, Created];
    assert_eq!(ledger.statuses(&rows), expected);
    for (timestamp, status) in [
        (0, ImportedEventTimestampOutOfRange),
        (TIMESTAMP_MAX + 1, ImportedEventTimestampOutOfRange),
        (TIMESTAMP_MAX, ImportedEventTimestampMustNotAdvance),
    ] {
        assert_eq!(ledger.make(past(timestamp, transfer(4))), status);
    }
}

#[test]
fn a_timestamp_lies_above_every_earlier_one_of_its_kind_imported_or_not() {
    let mut ledger = ledger();
    assert_eq!(ledger.open(past_account(3, 200)), CreateAccountStatus::ImportedEventTimestampMustNotRegress);
    assert_eq!(ledger.open(past_account(3, 199)), CreateAccountStatus::ImportedEventTimestampMustNotRegress);
    assert_eq!(ledger.open(past_account(3, 201)), CreateAccountStatus::Created);
    ledger.made(past(300, transfer(1)));
    assert_eq!(ledger.make(past(300, transfer(2))), ImportedEventTimestampMustNotRegress);
    assert_eq!(ledger.make(past(299, transfer(2))), ImportedEventTimestampMustNotRegress);
    ledger.made(past(301, transfer(2)));
    // After a transfer of today nothing of the past can be imported; likewise accounts.
    ledger.made(transfer(3));
    assert_eq!(ledger.make(past(302, transfer(4))), ImportedEventTimestampMustNotRegress);
    ledger.open(account(4));
    assert_eq!(ledger.open(past_account(5, 202)), CreateAccountStatus::ImportedEventTimestampMustNotRegress);
}

#[test]
fn a_timestamp_equals_none_of_the_other_kind() {
    let mut ledger = ledger();
    ledger.made(past(300, transfer(1)));
    assert_eq!(ledger.open(past_account(3, 300)), CreateAccountStatus::ImportedEventTimestampMustNotRegress);
    assert_eq!(ledger.open(past_account(3, 400)), CreateAccountStatus::Created);
    assert_eq!(ledger.make(past(400, transfer(2))), ImportedEventTimestampMustNotRegress);
    // Between accounts is fine: only the two that the transfer names must be older.
    ledger.made(past(350, transfer(2)));
}

#[test]
fn a_transfer_lies_after_both_its_accounts() {
    for (debit, credit) in [(100, 200), (200, 100)] {
        let mut ledger = Ledger::with(&[past_account(1, 100), past_account(2, 200)]);
        let (debit_id, credit_id) = if debit == 100 { (1, 2) } else { (2, 1) };
        let younger = if debit > credit {
            ImportedEventTimestampMustPostdateDebitAccount
        } else {
            ImportedEventTimestampMustPostdateCreditAccount
        };
        assert_eq!(ledger.make(past(199, pay(1, debit_id, credit_id, 1))), younger);
        // The account's own timestamp is taken, which is told first.
        assert_eq!(ledger.make(past(200, pay(1, debit_id, credit_id, 1))), ImportedEventTimestampMustNotRegress);
        ledger.made(past(201, pay(1, debit_id, credit_id, 1)));
    }
}

#[test]
fn no_timeout() {
    let mut ledger = ledger();
    let row = past(300, transfer(1).with(tf::PENDING));
    assert_eq!(ledger.make(Transfer { timeout: 1, ..row }), ImportedEventTimeoutMustBeZero);
    ledger.made(row);
    ledger.made(past(301, post(2, 1)));
    assert_eq!(ledger.balances(1), [0, 10, 0, 0]);
}

#[test]
fn a_retry_may_carry_another_valid_past_timestamp() {
    let mut ledger = ledger();
    ledger.made(past(300, transfer(1)));
    ledger.made(transfer(2));
    for timestamp in [300, 1, 250, 999] {
        let result = ledger.transfers(&[past(timestamp, transfer(1))])[0];
        assert_eq!((transfer_status(&result), result.timestamp), (Exists, 300), "{timestamp}");
        let result = ledger.accounts(&[past_account(2, timestamp)])[0];
        assert_eq!((account_status(&result), result.timestamp), (CreateAccountStatus::Exists, 200), "{timestamp}");
    }
    assert_eq!(ledger.make(past(0, transfer(1))), ImportedEventTimestampOutOfRange);
    assert_eq!(ledger.make(past(TIMESTAMP_MAX, transfer(1))), ImportedEventTimestampMustNotAdvance);
}

#[test]
fn an_imported_post_or_void_is_judged_by_its_own_slot() {
    for resolve in [post(2, 1), void(2, 1)] {
        for (offset, status) in [(-1, Created), (0, PendingTransferExpired)] {
            let mut ledger = ledger();
            let pending = ledger.made(Transfer { timeout: 1, ..transfer(1).with(tf::PENDING) });
            let slot = pending.expires().and_then(|expires| expires.checked_add_signed(offset)).expect("in range");
            // A pending transfer with a timeout: legal, and its own timestamp lies well before the expiry.
            let row = past(pending.timestamp + 1, resolve);
            assert_eq!(transfer_status(&ledger.transfers_at(slot, &[row])[0]), status);
        }
    }
}

#[test]
fn a_timestamp_that_an_expiry_has_taken_regresses() {
    let mut ledger = ledger();
    let expires = ledger.made(Transfer { timeout: 1, ..transfer(1).with(tf::PENDING) }).expires().expect("timeout");
    assert_eq!(ledger.expire(expires), 1);
    let at = |ledger: &mut Ledger, row| transfer_status(&ledger.transfers_at(expires + 100, &[row])[0]);
    assert_eq!(at(&mut ledger, past(expires, transfer(2))), ImportedEventTimestampMustNotRegress);
    let taken = past_account(3, expires);
    assert_eq!(ledger.open(taken), CreateAccountStatus::ImportedEventTimestampMustNotRegress);
    // Below it there is room.
    ledger.made(past(expires - 1, transfer(3)));
}

#[test]
fn results_of_a_failed_chain_carry_what_was_created() {
    let mut ledger = ledger();
    let now = ledger.now();
    let results = ledger.transfers(&[
        past(300, transfer(1)).with(tf::LINKED),
        past(301, transfer(2)).with(tf::LINKED),
        past(302, pay(3, 1, 1, 1)).with(tf::LINKED),
        past(303, transfer(4)),
    ]);
    let statuses: Vec<_> = results.iter().map(transfer_status).collect();
    assert_eq!(statuses, [LinkedEventFailed, LinkedEventFailed, AccountsMustBeDifferent, LinkedEventFailed]);
    // Created, then taken back: the imported timestamps. The one that broke the chain and those never tried: slots.
    let timestamps: Vec<_> = results.iter().map(|result| result.timestamp).collect();
    assert_eq!(timestamps, [300, 301, now + 3, now + 4]);
    // The order of timestamps is as if they had never been.
    ledger.made(past(300, transfer(1)));
}
