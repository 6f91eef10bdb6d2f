//! Looking up, filtering, history and change events; and what a filter must be to be valid.

mod common;

use common::*;
use qenex_kernel::row::{
    AccountBalance, AccountFilter, BATCH_MAX, CHANGE_EVENTS_MAX, ChangeEvent, ChangeEventsFilter, EventKind, Id,
    QueryFilter, TIMESTAMP_MAX, filter_flags as ff,
};

const BOTH: u32 = ff::DEBITS | ff::CREDITS;

fn of(account_id: u128, flags: u32) -> AccountFilter {
    AccountFilter { account_id, flags, limit: 100, ..AccountFilter::ZERO }
}

fn any() -> QueryFilter {
    QueryFilter { limit: 100, ..QueryFilter::ZERO }
}

fn transfers_of(ledger: &Ledger, filter: AccountFilter) -> Vec<u128> {
    let mut out = Vec::new();
    ledger.machine.get_account_transfers(&filter, &mut out);
    out.iter().map(|row| row.id).collect()
}

fn balances_of(ledger: &Ledger, filter: AccountFilter) -> Vec<AccountBalance> {
    let mut out = Vec::new();
    ledger.machine.get_account_balances(&filter, &mut out);
    out
}

fn transfers(ledger: &Ledger, filter: QueryFilter) -> Vec<u128> {
    let mut out = Vec::new();
    ledger.machine.query_transfers(&filter, &mut out);
    out.iter().map(|row| row.id).collect()
}

fn accounts(ledger: &Ledger, filter: QueryFilter) -> Vec<u128> {
    let mut out = Vec::new();
    ledger.machine.query_accounts(&filter, &mut out);
    out.iter().map(|row| row.id).collect()
}

fn changes(ledger: &Ledger, filter: ChangeEventsFilter) -> Vec<ChangeEvent> {
    let mut out = Vec::new();
    ledger.machine.get_change_events(&filter, &mut out);
    out
}

/// Six transfers between three accounts, ids in order of time; account 1 has a history.
fn ledger() -> Ledger {
    let mut ledger = Ledger::with(&[account(1).with(af::HISTORY), account(2), account(3)]);
    for row in [
        pay(1, 1, 2, 1),
        Transfer { user_data_128: 7, ..pay(2, 2, 1, 2) },
        Transfer { user_data_64: 7, ..pay(3, 1, 3, 3) },
        Transfer { user_data_32: 7, ..pay(4, 3, 1, 4).with(tf::PENDING) },
        Transfer { code: 7, ..pay(5, 1, 2, 5) },
        Transfer { user_data_128: 7, code: 7, ..pay(6, 2, 3, 6) },
    ] {
        ledger.made(row);
    }
    ledger
}

#[test]
fn lookups_return_those_found_in_the_order_asked() {
    let mut ledger = ledger();
    ledger.make(pay(9, 8, 8, 1));
    let ids = [3, 0, 9, 1, 3, u128::MAX].map(|id| Id { id });
    let (mut accounts, mut transfers) = (Vec::new(), Vec::new());
    ledger.machine.lookup_accounts(&ids, &mut accounts).expect("few");
    ledger.machine.lookup_transfers(&ids, &mut transfers).expect("few");
    assert_eq!(accounts.iter().map(|row| row.id).collect::<Vec<_>>(), [3, 1, 3]);
    assert_eq!(transfers.iter().map(|row| row.id).collect::<Vec<_>>(), [3, 1, 3]);
}

#[test]
fn transfers_of_an_account_by_side_and_field() {
    let ledger = ledger();
    assert_eq!(transfers_of(&ledger, of(1, BOTH)), [1, 2, 3, 4, 5]);
    assert_eq!(transfers_of(&ledger, of(1, ff::DEBITS)), [1, 3, 5]);
    assert_eq!(transfers_of(&ledger, of(1, ff::CREDITS)), [2, 4]);
    assert_eq!(transfers_of(&ledger, of(1, BOTH | ff::REVERSED)), [5, 4, 3, 2, 1]);
    assert_eq!(transfers_of(&ledger, AccountFilter { user_data_128: 7, ..of(1, BOTH) }), [2]);
    assert_eq!(transfers_of(&ledger, AccountFilter { user_data_64: 7, ..of(1, BOTH) }), [3]);
    assert_eq!(transfers_of(&ledger, AccountFilter { user_data_32: 7, ..of(1, BOTH) }), [4]);
    assert_eq!(transfers_of(&ledger, AccountFilter { code: 7, ..of(1, BOTH) }), [5]);
    assert_eq!(transfers_of(&ledger, AccountFilter { code: 7, user_data_128: 7, ..of(1, BOTH) }), []);
    assert_eq!(transfers_of(&ledger, AccountFilter { code: 7, user_data_128: 7, ..of(3, BOTH) }), [6]);
    assert_eq!(transfers_of(&ledger, of(9, BOTH)), []);
}

#[test]
fn ranges_of_time_include_both_ends_and_limits_take_from_the_front() {
    let ledger = ledger();
    let time = |id| ledger.transfer(id).expect("recorded").timestamp;
    let within = |timestamp_min, timestamp_max| QueryFilter { timestamp_min, timestamp_max, ..any() };
    assert_eq!(transfers(&ledger, within(time(2), time(4))), [2, 3, 4]);
    assert_eq!(transfers(&ledger, within(time(5), 0)), [5, 6]);
    assert_eq!(transfers(&ledger, within(0, time(2))), [1, 2]);
    assert_eq!(transfers(&ledger, within(time(3), time(3))), [3]);
    assert_eq!(transfers(&ledger, QueryFilter { limit: 2, ..any() }), [1, 2]);
    assert_eq!(transfers(&ledger, QueryFilter { limit: 2, flags: ff::QUERY_REVERSED, ..any() }), [6, 5]);
    let filter = AccountFilter { timestamp_min: time(2), timestamp_max: time(4), ..of(1, BOTH) };
    assert_eq!(transfers_of(&ledger, filter), [2, 3, 4]);
    assert_eq!(transfers_of(&ledger, AccountFilter { limit: 1, ..filter }), [2]);
    assert_eq!(balances_of(&ledger, filter).len(), 3);
    let filter = ChangeEventsFilter { timestamp_min: time(2), timestamp_max: time(4), ..ChangeEventsFilter::ZERO };
    assert_eq!(changes(&ledger, ChangeEventsFilter { limit: 9, ..filter }).len(), 3);
    assert_eq!(changes(&ledger, ChangeEventsFilter { limit: 1, ..filter })[0].transfer_id, 2);
    assert_eq!(accounts(&ledger, within(START + 2, START + 3)), [2, 3]);
    assert_eq!(accounts(&ledger, QueryFilter { limit: 2, flags: ff::QUERY_REVERSED, ..any() }), [3, 2]);
}

#[test]
fn queries_are_the_and_of_the_fields_that_are_not_zero() {
    let mut ledger = ledger();
    assert_eq!(transfers(&ledger, QueryFilter { user_data_128: 7, ..any() }), [2, 6]);
    assert_eq!(transfers(&ledger, QueryFilter { code: 7, ..any() }), [5, 6]);
    assert_eq!(transfers(&ledger, QueryFilter { code: 7, user_data_128: 7, ..any() }), [6]);
    assert_eq!(transfers(&ledger, QueryFilter { ledger: 1, ..any() }).len(), 6);
    assert_eq!(transfers(&ledger, QueryFilter { ledger: 2, ..any() }), []);
    ledger.accounts(&[
        Account { user_data_64: 7, ledger: 2, ..account(4) },
        Account { code: 7, ledger: 2, ..account(5) },
    ]);
    assert_eq!(accounts(&ledger, QueryFilter { ledger: 2, ..any() }), [4, 5]);
    assert_eq!(accounts(&ledger, QueryFilter { ledger: 2, code: 7, ..any() }), [5]);
    assert_eq!(accounts(&ledger, QueryFilter { user_data_64: 7, ..any() }), [4]);
    assert_eq!(accounts(&ledger, any()), [1, 2, 3, 4, 5]);
}

#[test]
fn balances_need_history_and_match_the_transfers_fields() {
    let ledger = ledger();
    assert_eq!(balances_of(&ledger, of(2, BOTH)), []);
    assert_eq!(balances_of(&ledger, of(9, BOTH)), []);
    let rows = balances_of(&ledger, of(1, BOTH));
    let posted: Vec<_> = rows.iter().map(|row| (row.debits_posted, row.credits_posted, row.credits_pending)).collect();
    assert_eq!(posted, [(1, 0, 0), (1, 2, 0), (4, 2, 0), (4, 2, 4), (9, 2, 4)]);
    let timestamps: Vec<_> = (1..=5).map(|id| ledger.transfer(id).expect("recorded").timestamp).collect();
    assert_eq!(rows.iter().map(|row| row.timestamp).collect::<Vec<_>>(), timestamps);
    assert_eq!(balances_of(&ledger, of(1, ff::CREDITS)), [rows[1], rows[3]]);
    assert_eq!(balances_of(&ledger, of(1, BOTH | ff::REVERSED))[0], rows[4]);
    assert_eq!(balances_of(&ledger, AccountFilter { user_data_64: 7, ..of(1, BOTH) }), [rows[2]]);
    assert_eq!(balances_of(&ledger, AccountFilter { code: 7, ..of(1, BOTH) }), [rows[4]]);
}

#[test]
fn change_events_show_both_accounts_right_after() {
    let mut ledger = ledger();
    ledger.made(post(7, 4));
    ledger.made(pay(8, 1, 3, 0).with(tf::PENDING | tf::CLOSING_DEBIT));
    ledger.made(void(9, 8));
    let rows = changes(&ledger, ChangeEventsFilter { limit: 100, ..ChangeEventsFilter::ZERO });
    let kinds: Vec<_> = rows.iter().map(|row| (row.transfer_id, row.kind)).collect();
    let (single, pending) = (EventKind::SinglePhase as u8, EventKind::TwoPhasePending as u8);
    let (posted, voided) = (EventKind::TwoPhasePosted as u8, EventKind::TwoPhaseVoided as u8);
    let expected =
        [(1, single), (2, single), (3, single), (4, pending), (5, single), (6, single), (7, posted), (8, pending)];
    assert_eq!(kinds, [&expected[..], &[(9, voided)]].concat());
    assert_eq!([single, pending, posted, voided, EventKind::TwoPhaseExpired as u8], [0, 1, 2, 3, 4]);

    // Whatever their history flag; ids, user data and codes of the accounts included.
    let post = rows[6];
    assert_eq!((post.transfer_pending_id, post.transfer_amount, post.ledger), (4, 4, 1));
    assert_eq!((post.transfer_timeout, post.transfer_user_data_32), (0, 7));
    assert_eq!((post.debit_account.id, post.debit_account.debits_posted, post.debit_account.code), (3, 4, 1));
    assert_eq!((post.credit_account.id, post.credit_account.credits_posted), (1, 6));
    assert_eq!((post.debit_account.debits_pending, post.credit_account.credits_pending), (0, 0));
    assert_eq!(post.timestamp, post.transfer_timestamp);
    assert_eq!((post.debit_account_timestamp, post.credit_account_timestamp), (START + 3, START + 1));
    assert_eq!(rows[7].debit_account.flags, af::HISTORY | af::CLOSED);
    assert_eq!(rows[8].debit_account.flags, af::HISTORY);
    assert!(rows.iter().all(|row| row.reserved == [0; 39]));
}

/// What no filter may be, in terms of the fields that all of them have.
macro_rules! invalid_ranges {
    ($valid:expr) => {
        [
            {
                let mut filter = $valid;
                filter.limit = 0;
                filter
            },
            {
                let mut filter = $valid;
                filter.timestamp_min = TIMESTAMP_MAX + 1;
                filter
            },
            {
                let mut filter = $valid;
                filter.timestamp_max = TIMESTAMP_MAX + 1;
                filter
            },
            {
                let mut filter = $valid;
                filter.timestamp_max = u64::MAX;
                filter
            },
            {
                let mut filter = $valid;
                filter.timestamp_min = 2;
                filter.timestamp_max = 1;
                filter
            },
            {
                let mut filter = $valid;
                filter.reserved[0] = 1;
                filter
            },
            {
                let mut filter = $valid;
                filter.reserved[filter.reserved.len() - 1] = 1;
                filter
            },
        ]
    };
}

#[test]
fn an_invalid_account_filter_returns_nothing() {
    let ledger = ledger();
    let valid = of(1, BOTH);
    let mut filters = invalid_ranges!(valid).to_vec();
    filters.push(of(0, BOTH));
    filters.push(of(u128::MAX, BOTH));
    filters.push(of(1, 0));
    filters.push(of(1, ff::REVERSED));
    filters.push(of(1, BOTH | 1 << 3));
    for filter in filters {
        assert!(!filter.is_valid(), "{filter:?}");
        assert_eq!(transfers_of(&ledger, filter), []);
        assert_eq!(balances_of(&ledger, filter), []);
    }
    let latest = AccountFilter { timestamp_min: TIMESTAMP_MAX, timestamp_max: TIMESTAMP_MAX, ..valid };
    assert!(latest.is_valid(), "the last timestamp there is can be asked for");
    let widest = AccountFilter { timestamp_min: 1, timestamp_max: TIMESTAMP_MAX, limit: u32::MAX, ..valid };
    for filter in [widest, AccountFilter { timestamp_max: 0, ..widest }, AccountFilter { timestamp_min: 0, ..widest }] {
        assert_eq!(transfers_of(&ledger, filter).len(), 5);
    }
}

#[test]
fn an_invalid_query_filter_returns_nothing() {
    let ledger = ledger();
    let mut filters = invalid_ranges!(any()).to_vec();
    filters.push(QueryFilter { flags: 2, ..any() });
    for filter in filters {
        assert!(!filter.is_valid(), "{filter:?}");
        assert_eq!((transfers(&ledger, filter), accounts(&ledger, filter)), (vec![], vec![]));
    }
    assert_eq!(transfers(&ledger, QueryFilter { timestamp_max: TIMESTAMP_MAX, limit: u32::MAX, ..any() }).len(), 6);
}

#[test]
fn an_invalid_change_events_filter_returns_nothing() {
    let ledger = ledger();
    let valid = ChangeEventsFilter { limit: 100, ..ChangeEventsFilter::ZERO };
    for filter in invalid_ranges!(valid) {
        assert!(!filter.is_valid(), "{filter:?}");
        assert_eq!(changes(&ledger, filter), []);
    }
    assert_eq!(changes(&ledger, ChangeEventsFilter { timestamp_max: TIMESTAMP_MAX, ..valid }).len(), 6);
}

#[test]
fn limits_above_a_replys_size_are_capped_there() {
    let mut ledger = Ledger::with(&[account(1).with(af::HISTORY), account(2)]);
    let rows: Vec<_> = (1..=BATCH_MAX as u128 + 3).map(|id| pay(id, 1, 2, 1)).collect();
    ledger.transfers(&rows[..BATCH_MAX]);
    ledger.transfers(&rows[BATCH_MAX..]);
    for limit in [8_190, u32::MAX] {
        assert_eq!(transfers_of(&ledger, AccountFilter { limit, ..of(1, BOTH) }).len(), BATCH_MAX);
        assert_eq!(balances_of(&ledger, AccountFilter { limit, ..of(1, BOTH) }).len(), BATCH_MAX);
        assert_eq!(transfers(&ledger, QueryFilter { limit, ..any() }).len(), BATCH_MAX);
        let filter = ChangeEventsFilter { limit, ..ChangeEventsFilter::ZERO };
        assert_eq!(changes(&ledger, filter).len(), CHANGE_EVENTS_MAX);
    }
    let more: Vec<_> = (3..=BATCH_MAX as u128 + 2).map(account).collect();
    ledger.accounts(&more);
    assert_eq!(accounts(&ledger, QueryFilter { limit: u32::MAX, ..any() }).len(), BATCH_MAX);
    assert_eq!((BATCH_MAX, CHANGE_EVENTS_MAX), (8_189, 2_730));
}

#[test]
fn answers_are_appended() {
    let ledger = ledger();
    let mut out = vec![Transfer::ZERO];
    ledger.machine.query_transfers(&any(), &mut out);
    assert_eq!((out.len(), out[0]), (7, Transfer::ZERO));
}
