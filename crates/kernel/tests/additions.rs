//! "What QENEX adds to it": address, hash, asset, dates, account terms, outcomes, balances at a time.

mod common;

use common::*;
use qenex_kernel::row::{
    AccountBalance, AccountTerms, BATCH_MAX, BalanceAt, CODE_INSTITUTION, Id, QueryFilter, restrictions,
};
use qenex_kernel::status::CreateTransferStatus::*;
use qenex_kernel::status::SetAccountTermsStatus::{self, *};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn an_address_is_qenx_and_the_id() {
    let id = 0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f;
    assert_eq!(hex(&account(id).address()), "51454e58000102030405060708090a0b0c0d0e0f");
}

#[test]
fn a_hash_is_the_leaf_hash_of_the_row_as_recorded() {
    // `(printf '\0'; head -c 128 /dev/zero) | sha256sum`
    let zeros = "2c80619d7e7c58257293cda3a878c13e5856f4e06f6f90601276f7b9179c9e07";
    assert_eq!(hex(&Transfer::ZERO.hash()), zeros);
    let mut ledger = Ledger::new();
    let recorded = [ledger.made(transfer(1)), ledger.made(transfer(2))];
    assert_ne!(recorded[0].hash(), transfer(1).hash(), "the timestamp is part of it");
    let mut found = Vec::new();
    let asked = [recorded[1].hash(), [0; 32], recorded[0].hash(), transfer(1).hash()];
    ledger.machine.lookup_hashes(&asked, &mut found).expect("few");
    assert_eq!(found, [recorded[1], recorded[0]]);
}

#[test]
fn the_ledger_is_the_asset_and_amounts_never_cross_it() {
    let in_asset = |id, ledger| Account { ledger, ..account(id) };
    let mut ledger = Ledger::with(&[in_asset(1, 978), in_asset(2, 978), in_asset(3, 840), in_asset(4, 1000)]);
    ledger.made(Transfer { ledger: 978, ..pay(1, 1, 2, 5) });
    assert_eq!(ledger.make(Transfer { ledger: 978, ..pay(2, 1, 3, 5) }), AccountsMustHaveTheSameLedger);
    assert_eq!(ledger.make(Transfer { ledger: 840, ..pay(2, 1, 2, 5) }), TransferMustHaveTheSameLedgerAsAccounts);
    assert_eq!(ledger.make(Transfer { ledger: 1000, ..pay(2, 4, 3, 5) }), AccountsMustHaveTheSameLedger);
}

#[test]
fn time_of_value_and_accounting_date_are_recorded_and_asked_for() {
    let mut ledger = Ledger::new();
    let (value_time, day) = (1_700_000_000 * SECOND, 19_675);
    ledger.made(Transfer { user_data_64: value_time, user_data_32: day, ..transfer(1).with(tf::PENDING) });
    ledger.made(transfer(2));
    // A post inherits both, or has its own.
    ledger.made(Transfer { user_data_32: day + 1, ..post(3, 1) });
    let ask = |user_data_32| {
        let mut out = Vec::new();
        let filter = QueryFilter { user_data_64: value_time, user_data_32, limit: 9, ..QueryFilter::ZERO };
        ledger.machine.query_transfers(&filter, &mut out);
        out.iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!((ask(day), ask(day + 1), ask(0)), (vec![1], vec![3], vec![1, 3]));
}

#[test]
fn an_accounts_owner_product_and_legal_entity_are_recorded_and_asked_for() {
    let owned = |id, owner, product, entity| Account {
        user_data_128: owner,
        user_data_64: product,
        user_data_32: entity,
        ..account(id)
    };
    let ledger = Ledger::with(&[owned(1, 7, 1, 1), owned(2, 7, 2, 1), owned(3, 8, 1, 1)]);
    let mut out = Vec::new();
    let filter = QueryFilter { user_data_128: 7, user_data_32: 1, limit: 9, ..QueryFilter::ZERO };
    ledger.machine.query_accounts(&filter, &mut out);
    assert_eq!(out.iter().map(|row| row.id).collect::<Vec<_>>(), [1, 2]);
}

fn terms(account_id: u128) -> AccountTerms {
    AccountTerms { account_id, ..AccountTerms::ZERO }
}

/// Every status of the operation, each two that can occur together in order.
#[test]
fn statuses_of_terms() {
    let mut ledger = Ledger::new();
    let reserved = |row: AccountTerms| AccountTerms { reserved: [1; 24], ..row };
    let restriction = |row: AccountTerms| AccountTerms { restrictions: 4, ..row };
    let nobody = terms(9);
    for (row, status) in [
        (AccountTerms { debit_limit: 1, ..terms(1) }, Applied),
        (reserved(terms(1)), ReservedField),
        (restriction(terms(1)), ReservedRestriction),
        (nobody, AccountNotFound),
        (terms(0), AccountNotFound),
        (terms(u128::MAX), AccountNotFound),
        (reserved(restriction(terms(1))), ReservedField),
        (restriction(nobody), ReservedRestriction),
        (reserved(nobody), ReservedField),
    ] {
        assert_eq!(ledger.terms(row), status, "{row:?}");
    }
    assert_eq!(SetAccountTermsStatus::ALL, [Applied, ReservedField, ReservedRestriction, AccountNotFound]);
}

#[test]
fn terms_replace_each_other_and_all_zero_removes_them() {
    let mut ledger = Ledger::new();
    let look_up = |ledger: &Ledger| {
        let mut out = Vec::new();
        ledger.machine.lookup_account_terms(&[Id { id: 2 }, Id { id: 9 }, Id { id: 1 }], &mut out).expect("few");
        out
    };
    let before = ledger.digest();
    assert_eq!(look_up(&ledger), []);
    let first = AccountTerms { debit_limit: 5, restrictions: 3, reason: 7, ..terms(1) };
    let second = AccountTerms { reason: 8, ..terms(1) };
    ledger.terms(first);
    assert_eq!(look_up(&ledger), [first]);
    assert_ne!(ledger.digest(), before);
    ledger.terms(second);
    assert_eq!(look_up(&ledger), [second], "a reason alone is kept");
    ledger.terms(terms(1));
    assert_eq!(look_up(&ledger), []);
    assert_eq!(ledger.digest(), before);
}

#[test]
fn results_of_terms_carry_their_slots() {
    let mut ledger = Ledger::new();
    let now = ledger.now();
    let mut results = Vec::new();
    let rows = [terms(1), terms(9), terms(2)];
    ledger.machine.set_account_terms(now + 10, &rows, &mut results).expect("in order");
    assert_eq!(results.iter().map(|result| result.timestamp).collect::<Vec<_>>(), [now + 8, now + 9, now + 10]);
    let mut results = Vec::new();
    let too_many = vec![terms(1); BATCH_MAX + 1];
    assert!(ledger.machine.set_account_terms(now + 90_000, &too_many, &mut results).is_err());
}

#[test]
fn a_debit_limit_is_an_overdraft() {
    let mut ledger = Ledger::with(&[account(1).with(af::DEBITS_MUST_NOT_EXCEED_CREDITS), account(2)]);
    ledger.made(pay(1, 2, 1, 10));
    ledger.terms(AccountTerms { debit_limit: 5, ..terms(1) });
    assert_eq!(ledger.make(pay(2, 1, 2, 16)), ExceedsCredits);
    // Balancing ignores it: it brings the account to zero, not to its limit.
    assert_eq!(ledger.made(pay(3, 1, 2, 99).with(tf::BALANCING_DEBIT)).amount, 10);
    ledger.made(pay(4, 1, 2, 3).with(tf::PENDING));
    assert_eq!(ledger.make(pay(5, 1, 2, 3)), ExceedsCredits, "what is pending counts");
    ledger.made(pay(6, 1, 2, 2));
    // A lower limit takes nothing back; new debits wait until there is room.
    ledger.terms(AccountTerms { debit_limit: 1, ..terms(1) });
    assert_eq!(ledger.make(pay(7, 1, 2, 0)), ExceedsCredits);
    ledger.made(post(8, 4));
    ledger.terms(AccountTerms { debit_limit: u128::MAX, ..terms(1) });
    ledger.made(pay(9, 1, 2, u128::MAX - 15));
}

#[test]
fn a_debit_limit_without_the_flag_limits_nothing() {
    let mut ledger = Ledger::new();
    ledger.terms(AccountTerms { debit_limit: 5, ..terms(1) });
    ledger.made(pay(1, 1, 2, 100));
    // Nor does the credit account's limit matter.
    let mut ledger = Ledger::with(&[account(1), account(2).with(af::CREDITS_MUST_NOT_EXCEED_DEBITS)]);
    ledger.terms(AccountTerms { debit_limit: 5, ..terms(2) });
    assert_eq!(ledger.make(pay(1, 1, 2, 1)), ExceedsDebits);
}

#[test]
fn a_restricted_account_refuses_new_transfers_on_that_side() {
    for pending in [0, tf::PENDING] {
        let mut ledger = Ledger::new();
        ledger.terms(AccountTerms { restrictions: restrictions::NO_DEBIT, ..terms(1) });
        assert_eq!(ledger.make(pay(1, 1, 2, 1).with(pending)), DebitAccountRestricted);
        ledger.made(pay(2, 2, 1, 1).with(pending));
        ledger.terms(AccountTerms { restrictions: restrictions::NO_CREDIT, ..terms(1) });
        assert_eq!(ledger.make(pay(3, 2, 1, 1).with(pending)), CreditAccountRestricted);
        ledger.made(pay(4, 1, 2, 1).with(pending));
        // Transient: the ids are burned.
        ledger.terms(terms(1));
        assert_eq!(ledger.make(pay(1, 1, 2, 1)), IdAlreadyFailed);
        assert_eq!(ledger.make(pay(3, 2, 1, 1)), IdAlreadyFailed);
        ledger.made(pay(5, 1, 2, 1));
    }
}

#[test]
fn the_institutions_own_transfers_pass_a_restriction() {
    let mut ledger = Ledger::new();
    let both = restrictions::NO_DEBIT | restrictions::NO_CREDIT;
    ledger.terms(AccountTerms { restrictions: both, ..terms(1) });
    ledger.terms(AccountTerms { restrictions: both, ..terms(2) });
    assert_eq!(ledger.make(Transfer { code: CODE_INSTITUTION - 1, ..transfer(1) }), DebitAccountRestricted);
    ledger.made(Transfer { code: CODE_INSTITUTION, ..transfer(2) });
    ledger.made(Transfer { code: u16::MAX, ..transfer(3).with(tf::PENDING) });
}

#[test]
fn a_payment_already_sent_can_complete_in_a_restricted_account() {
    let mut ledger = Ledger::new();
    let held = |id| Transfer { timeout: 1, ..transfer(id).with(tf::PENDING) };
    let expires = ledger.made(held(1)).expires().expect("it has a timeout");
    for id in [2, 3] {
        ledger.made(held(id));
    }
    for id in [1, 2] {
        ledger.terms(AccountTerms { restrictions: restrictions::ALL, ..terms(id) });
    }
    ledger.made(post(4, 2));
    ledger.made(void(5, 3));
    assert_eq!(ledger.expire(expires), 1);
    assert_eq!(ledger.balances(1), [0, 10, 0, 0]);
}

#[test]
fn outcomes_tell_what_happened_the_first_time() {
    let mut ledger = Ledger::with(&[account(1).with(af::DEBITS_MUST_NOT_EXCEED_CREDITS), account(2)]);
    let refused = ledger.transfers(&[pay(1, 1, 2, 5)])[0];
    let recorded = ledger.made(pay(2, 2, 1, 5));
    assert_eq!(ledger.make(pay(1, 1, 2, 5)), IdAlreadyFailed);
    let outcome = ledger.outcome(1).expect("burned");
    assert_eq!((outcome.status, outcome.timestamp), (ExceedsCredits.number(), refused.timestamp));
    let outcome = ledger.outcome(2).expect("recorded");
    assert_eq!((outcome.status, outcome.timestamp), (Created.number(), recorded.timestamp));
    // A refusal that left the id usable leaves no trace.
    assert_eq!(ledger.make(pay(3, 1, 1, 5)), AccountsMustBeDifferent);
    assert_eq!(ledger.outcome(3), None);
    let mut out = Vec::new();
    ledger.machine.lookup_outcomes(&[2, 3, 1, 2].map(|id| Id { id }), &mut out).expect("few");
    assert_eq!(out.iter().map(|outcome| outcome.id).collect::<Vec<_>>(), [2, 1, 2]);
}

fn balance_at(ledger: &Ledger, account_id: u128, timestamp: u64) -> AccountBalance {
    let mut out = Vec::new();
    ledger.machine.balance_at(&[BalanceAt { account_id, timestamp, reserved: 0 }], &mut out).expect("one");
    assert_eq!(out.len(), 1);
    out[0]
}

#[test]
fn balances_at_a_time_for_every_account_with_or_without_history() {
    for flags in [0, af::HISTORY] {
        let mut ledger = Ledger::with(&[account(1).with(flags), account(2)]);
        let first = ledger.made(pay(1, 1, 2, 3)).timestamp;
        let held = ledger.made(Transfer { timeout: 1, ..pay(2, 1, 2, 4).with(tf::PENDING) });
        let expires = held.expires().expect("it has a timeout");
        ledger.expire(expires);
        for (time, timestamp, posted, pending) in [
            (first - 1, 0, 0, 0),
            (first, first, 3, 0),
            (held.timestamp, held.timestamp, 3, 4),
            (expires - 1, held.timestamp, 3, 4),
            (expires, expires, 3, 0),
            ((1 << 63) - 1, expires, 3, 0),
        ] {
            let balance = balance_at(&ledger, 1, time);
            assert_eq!(balance.timestamp, timestamp);
            assert_eq!((balance.debits_posted, balance.debits_pending), (posted, pending), "at {time}");
            assert_eq!(balance_at(&ledger, 2, time).credits_posted, posted);
        }
        // Questions that name nothing are answered with zeros, so that there is one answer each.
        assert_eq!(balance_at(&ledger, 9, first), AccountBalance::ZERO);
        assert_eq!(balance_at(&ledger, 1, 1 << 63), AccountBalance::ZERO);
        let mut out = Vec::new();
        let reserved = BalanceAt { account_id: 1, timestamp: first, reserved: 1 };
        ledger.machine.balance_at(&[reserved], &mut out).expect("one");
        assert_eq!(out, [AccountBalance::ZERO]);
    }
}

#[test]
fn a_store_can_start_from_given_accounts() {
    use qenex_kernel::memory::{InvalidAccount, MemoryStore};
    let given = Account { debits_posted: 5, reserved: 9, timestamp: 50, ..account(1).with(1 << 15) };
    let ledger = Ledger::given(&[given]);
    assert_eq!(ledger.account(1), Some(given), "as given, reserved bits too");
    assert_eq!(balance_at(&ledger, 1, 50).debits_posted, 5);
    assert_eq!(balance_at(&ledger, 1, 49), AccountBalance::ZERO);
    for (rows, error) in [
        (vec![given, Account { id: 0, ..given }], InvalidAccount::Id { row: 1 }),
        (vec![Account { id: u128::MAX, ..given }], InvalidAccount::Id { row: 0 }),
        (vec![given, given], InvalidAccount::DuplicateId { row: 1 }),
        (vec![given, Account { id: 2, ..given }], InvalidAccount::Timestamp { row: 1 }),
        (vec![Account { timestamp: 0, ..given }], InvalidAccount::Timestamp { row: 0 }),
        (vec![Account { timestamp: 1 << 63, ..given }], InvalidAccount::Timestamp { row: 0 }),
    ] {
        let refused = MemoryStore::with_accounts(&rows).expect_err("cannot be accounts");
        assert_eq!(refused, error);
        assert!(refused.to_string().contains("row"));
    }
}
