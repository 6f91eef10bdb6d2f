//! "Where implementations go wrong": one test for each thing that is easily got wrong. Chains are in chains.rs,
//! imported rows in imported.rs, expiry in expiry.rs.

mod common;

use common::*;
use qenex_kernel::status::CreateAccountStatus;
use qenex_kernel::status::CreateTransferStatus::{self, *};

#[test]
fn numbers_are_not_in_order_of_precedence() {
    let numbers = CreateTransferStatus::ALL[1..].iter().map(|status| status.number());
    assert!(!numbers.is_sorted());
    assert_eq!(Created.number(), u32::MAX);
    assert_eq!(CreateAccountStatus::Created.number(), u32::MAX);
    for status in CreateTransferStatus::ALL {
        assert_eq!(CreateTransferStatus::from_number(status.number()), Some(*status));
    }
    // 0 was the success of old clients, 18 a refusal of amounts of zero: neither exists.
    assert_eq!(CreateTransferStatus::from_number(0), None);
    assert_eq!(CreateTransferStatus::from_number(18), None);
}

/// Brings about each transient status with transfer 10.
fn transient_refusals() -> Vec<(CreateTransferStatus, Ledger, Transfer)> {
    let limited = || {
        let debtor = account(1).with(af::DEBITS_MUST_NOT_EXCEED_CREDITS);
        let creditor = account(2).with(af::CREDITS_MUST_NOT_EXCEED_DEBITS);
        Ledger::with(&[debtor, creditor, account(3)])
    };
    let closed = || Ledger::with(&[account(1), account(2), account(3).with(af::CLOSED)]);
    vec![
        (DebitAccountNotFound, Ledger::new(), pay(10, 9, 2, 1)),
        (CreditAccountNotFound, Ledger::new(), pay(10, 1, 9, 1)),
        (PendingTransferNotFound, Ledger::new(), post(10, 9)),
        (ExceedsCredits, limited(), pay(10, 1, 3, 1)),
        (ExceedsDebits, limited(), pay(10, 3, 2, 1)),
        (DebitAccountAlreadyClosed, closed(), pay(10, 3, 1, 1)),
        (CreditAccountAlreadyClosed, closed(), pay(10, 1, 3, 1)),
    ]
}

#[test]
fn seven_transient_results_burn_the_id() {
    for (status, mut ledger, row) in transient_refusals() {
        assert_eq!(ledger.make(row), status);
        assert_eq!(ledger.make(row), IdAlreadyFailed, "after {status:?}");
        // Nothing of the row matters any more, only its id.
        assert_eq!(ledger.make(transfer(10)), IdAlreadyFailed, "after {status:?}");
        assert_eq!(ledger.transfer(10), None);
    }
    let ours = [DebitAccountRestricted, CreditAccountRestricted];
    let proven: Vec<_> = transient_refusals().into_iter().map(|(status, ..)| status).chain(ours).collect();
    for status in CreateTransferStatus::ALL {
        assert_eq!(status.is_transient(), proven.contains(status), "{status:?}");
    }
}

#[test]
fn other_refusals_leave_the_id_usable() {
    let mut ledger = Ledger::new();
    for wrong in [
        transfer(10).with(1 << 15),
        pay(10, 0, 2, 1),
        pay(10, 1, 1, 1),
        Transfer { code: 0, ..transfer(10) },
        Transfer { ledger: 2, ..transfer(10) },
        Transfer { timestamp: 1, ..transfer(10) },
        transfer(10).with(tf::LINKED),
        post(10, 0),
        post(10, 10),
    ] {
        assert_ne!(ledger.make(wrong), Created);
    }
    ledger.made(transfer(10));
}

#[test]
fn a_burned_id_is_no_pending_transfer() {
    let mut ledger = Ledger::new();
    assert_eq!(ledger.make(pay(10, 9, 2, 1).with(tf::PENDING)), DebitAccountNotFound);
    assert_eq!(ledger.make(post(11, 10)), PendingTransferNotFound);
    assert_eq!(ledger.make(void(12, 10)), PendingTransferNotFound);
}

#[test]
fn a_post_or_void_takes_what_it_leaves_open_from_the_pending_transfer() {
    let reserved = Transfer { user_data_128: 7, user_data_64: 8, user_data_32: 9, code: 5, ..transfer(1) };
    for resolve in [post(2, 1), void(2, 1)] {
        let mut ledger = Ledger::new();
        let pending = ledger.made(reserved.with(tf::PENDING));
        let recorded = ledger.made(resolve);
        let (id, pending_id, flags, timestamp) = (2, 1, resolve.flags, recorded.timestamp);
        assert_eq!(recorded, Transfer { id, pending_id, flags, timestamp, ..pending });

        // Its own user data win, field by field.
        let mut ledger = Ledger::new();
        ledger.made(reserved.with(tf::PENDING));
        let recorded = ledger.made(Transfer { user_data_64: 88, ..resolve });
        assert_eq!((recorded.user_data_128, recorded.user_data_64, recorded.user_data_32), (7, 88, 9));
    }
}

#[test]
fn exists_compares_a_post_or_void_after_filling_in() {
    let reserved = Transfer { user_data_128: 7, user_data_64: 8, user_data_32: 9, code: 5, ..transfer(1) };
    for resolve in [post(2, 1), void(2, 1)] {
        let mut ledger = Ledger::new();
        ledger.made(reserved.with(tf::PENDING));
        let recorded = ledger.made(resolve);
        assert_eq!(ledger.make(resolve), Exists);
        assert_eq!(ledger.make(Transfer { timestamp: 0, ..recorded }), Exists, "everything spelled out");
        assert_eq!(ledger.make(Transfer { user_data_128: 6, ..resolve }), ExistsWithDifferentUserData128);
    }
    // A partial post is not the same as a full one, nor a full one the same as a partial one.
    let mut ledger = Ledger::new();
    ledger.made(reserved.with(tf::PENDING));
    ledger.made(Transfer { amount: 4, user_data_128: 70, ..post(2, 1) });
    assert_eq!(ledger.make(Transfer { user_data_128: 70, ..post(2, 1) }), ExistsWithDifferentAmount);
    assert_eq!(ledger.make(Transfer { amount: 4, ..post(2, 1) }), ExistsWithDifferentUserData128);
    assert_eq!(ledger.make(Transfer { amount: 4, user_data_128: 70, ..post(2, 1) }), Exists);
}

#[test]
fn a_post_or_void_skips_checks_of_accounts_and_limits() {
    // Id and ledger checks of a plain transfer would refuse each of these.
    for field in [
        Transfer { debit_account_id: 0, credit_account_id: 0, ..post(2, 1) },
        Transfer { debit_account_id: u128::MAX, ..post(2, 1) },
        Transfer { debit_account_id: 2, credit_account_id: 2, ..post(2, 1) },
        Transfer { debit_account_id: 9, ..post(2, 1) },
        Transfer { ledger: 0, code: 0, ..post(2, 1) },
    ] {
        let mut ledger = Ledger::new();
        ledger.made(transfer(1).with(tf::PENDING));
        let status = ledger.make(field);
        let expected = if field.debit_account_id == 0 { Created } else { PendingTransferHasDifferentDebitAccountId };
        assert_eq!(status, expected);
    }
    // At its limit: what was reserved can be posted.
    let mut ledger = Ledger::with(&[account(1).with(af::DEBITS_MUST_NOT_EXCEED_CREDITS), account(2)]);
    ledger.made(pay(1, 2, 1, 10));
    ledger.made(pay(2, 1, 2, 10).with(tf::PENDING));
    assert_eq!(ledger.make(pay(3, 1, 2, 1)), ExceedsCredits);
    ledger.made(post(4, 2));
    assert_eq!(ledger.balances(1), [0, 10, 0, 10]);
}

#[test]
fn exists_compares_all_flag_bits() {
    let mut ledger = Ledger::new();
    assert_eq!(ledger.statuses(&[transfer(1).with(tf::LINKED), transfer(2)]), [Created, Created]);
    assert_eq!(ledger.make(transfer(1)), ExistsWithDifferentFlags);
    assert_eq!(ledger.statuses(&[transfer(1).with(tf::LINKED), transfer(3)]), [Exists, LinkedEventFailed]);

    let mut ledger = Ledger::empty();
    ledger.accounts(&[account(1).with(af::LINKED), account(2)]);
    assert_eq!(ledger.open(account(1)), CreateAccountStatus::ExistsWithDifferentFlags);
}

#[test]
fn which_flags_exclude_each_other() {
    for second_phase in [tf::POST_PENDING_TRANSFER, tf::VOID_PENDING_TRANSFER] {
        let others = [tf::PENDING, tf::BALANCING_DEBIT, tf::BALANCING_CREDIT, tf::CLOSING_DEBIT, tf::CLOSING_CREDIT];
        for other in others.into_iter().chain([tf::POST_PENDING_TRANSFER, tf::VOID_PENDING_TRANSFER]) {
            if other != second_phase {
                let row = Transfer { pending_id: 1, ..transfer(2) }.with(second_phase | other);
                assert_eq!(Ledger::new().make(row), FlagsAreMutuallyExclusive);
            }
        }
    }
    let both = tf::BALANCING_DEBIT | tf::BALANCING_CREDIT;
    for legal in [both, both | tf::PENDING, tf::PENDING | tf::CLOSING_DEBIT | tf::CLOSING_CREDIT | both] {
        Ledger::new().made(transfer(1).with(legal));
    }
}

#[test]
fn an_account_created_closed_stays_closed() {
    let mut ledger = Ledger::with(&[account(1), account(2).with(af::CLOSED)]);
    assert_eq!(ledger.make(pay(1, 1, 2, 0)), CreditAccountAlreadyClosed);
    assert_eq!(ledger.make(pay(2, 2, 1, 0)), DebitAccountAlreadyClosed);
    assert_eq!(ledger.make(pay(3, 2, 1, 0).with(tf::PENDING | tf::CLOSING_DEBIT)), DebitAccountAlreadyClosed);
    assert!(ledger.is_closed(2));
}

#[test]
fn exists_returns_the_original_timestamp() {
    let mut ledger = Ledger::new();
    let recorded = ledger.made(transfer(1));
    let result = ledger.transfers(&[transfer(1)])[0];
    assert_eq!((transfer_status(&result), result.timestamp), (Exists, recorded.timestamp));
    let result = ledger.accounts(&[account(2)])[0];
    assert_eq!((account_status(&result), result.timestamp), (CreateAccountStatus::Exists, START + 2));
    // Every other refusal carries its own slot.
    let now = ledger.now();
    let results = ledger.transfers(&[pay(1, 1, 2, 11), pay(2, 1, 1, 1), transfer(3)]);
    assert_eq!(results.iter().map(|result| result.timestamp).collect::<Vec<_>>(), [now + 1, now + 2, now + 3]);
}

#[test]
fn a_balancing_retry_matches_at_least_what_was_recorded() {
    let mut ledger = Ledger::new();
    ledger.made(pay(1, 2, 1, 6));
    let balancing = pay(2, 1, 2, 10).with(tf::BALANCING_DEBIT);
    assert_eq!(ledger.made(balancing).amount, 6);
    for (amount, status) in [(10, Exists), (6, Exists), (u128::MAX, Exists), (5, ExistsWithDifferentAmount)] {
        assert_eq!(ledger.make(Transfer { amount, ..balancing }), status, "{amount}");
    }
}

#[test]
fn an_account_closed_since_differs_in_its_flags() {
    let mut ledger = Ledger::new();
    ledger.made(transfer(1).with(tf::PENDING | tf::CLOSING_CREDIT));
    assert_eq!(ledger.open(account(2)), CreateAccountStatus::ExistsWithDifferentFlags);
    assert_eq!(ledger.open(account(2).with(af::CLOSED)), CreateAccountStatus::Exists);
    ledger.made(void(2, 1));
    assert_eq!(ledger.open(account(2)), CreateAccountStatus::Exists);
}

#[test]
fn amounts_of_posts_and_voids() {
    let reserved = || {
        let mut ledger = Ledger::new();
        ledger.made(transfer(1).with(tf::PENDING));
        ledger
    };
    for (amount, status, posted) in [
        (u128::MAX, Created, 10),
        (10, Created, 10),
        (4, Created, 4),
        (0, Created, 0),
        (11, ExceedsPendingTransferAmount, 0),
        (u128::MAX - 1, ExceedsPendingTransferAmount, 0),
    ] {
        let mut ledger = reserved();
        assert_eq!(ledger.make(Transfer { amount, ..post(2, 1) }), status, "post {amount}");
        if status == Created {
            // A partial post releases the remainder.
            assert_eq!((ledger.balances(1), ledger.balances(2)), ([0, posted, 0, 0], [0, 0, 0, posted]));
            assert_eq!(ledger.transfer(2).expect("recorded").amount, posted);
            assert_eq!(ledger.make(void(3, 1)), PendingTransferAlreadyPosted);
        }
    }
    for (amount, status) in [
        (0, Created),
        (10, Created),
        (9, PendingTransferHasDifferentAmount),
        (11, ExceedsPendingTransferAmount),
        (u128::MAX, ExceedsPendingTransferAmount),
    ] {
        let mut ledger = reserved();
        assert_eq!(ledger.make(Transfer { amount, ..void(2, 1) }), status, "void {amount}");
        if status == Created {
            assert_eq!((ledger.balances(1), ledger.balances(2)), ([0; 4], [0; 4]));
            assert_eq!(ledger.transfer(2).expect("recorded").amount, 10);
            assert_eq!(ledger.make(post(3, 1)), PendingTransferAlreadyVoided);
        }
    }
}

#[test]
fn zero_amounts_are_legal() {
    let mut ledger = Ledger::new();
    assert_eq!(ledger.made(pay(1, 1, 2, 0)).amount, 0);
    ledger.made(pay(2, 1, 2, 0).with(tf::PENDING));
    assert_eq!(ledger.made(post(3, 2)).amount, 0);
    ledger.made(pay(4, 1, 2, 0).with(tf::PENDING));
    assert_eq!(ledger.made(void(5, 4)).amount, 0);
    assert_eq!((ledger.balances(1), ledger.balances(2)), ([0; 4], [0; 4]));
}

#[test]
fn a_closed_account_accepts_only_voids_and_voiding_opens_it() {
    for (closing, closed, refusal) in
        [(tf::CLOSING_DEBIT, 1, DebitAccountAlreadyClosed), (tf::CLOSING_CREDIT, 2, CreditAccountAlreadyClosed)]
    {
        let mut ledger = Ledger::new();
        ledger.made(transfer(1).with(tf::PENDING));
        ledger.made(transfer(2).with(tf::PENDING));
        ledger.made(pay(3, 1, 2, 0).with(tf::PENDING | closing));
        assert!(ledger.is_closed(closed));
        assert_eq!(ledger.make(transfer(4)), refusal);
        assert_eq!(ledger.make(transfer(5).with(tf::PENDING)), refusal);
        assert_eq!(ledger.make(post(6, 1)), refusal, "a post of an older reservation");
        assert_eq!(ledger.make(post(7, 3)), refusal, "a post of the closing transfer itself");
        ledger.made(void(8, 1));
        assert!(ledger.is_closed(closed), "voiding another transfer does not open it");
        ledger.made(void(9, 3));
        assert!(!ledger.is_closed(closed));
        ledger.made(post(10, 2));
    }
}

#[test]
fn closing_both_sides_at_once_opens_both() {
    let mut ledger = Ledger::new();
    ledger.made(transfer(1).with(tf::PENDING | tf::CLOSING_DEBIT | tf::CLOSING_CREDIT));
    assert!(ledger.is_closed(1) && ledger.is_closed(2));
    ledger.made(void(2, 1));
    assert!(!ledger.is_closed(1) && !ledger.is_closed(2));
}

#[test]
fn balancing_clamps_and_never_below_zero() {
    // (debits posted, debits pending, credits posted of account 1, asked, moved): what is pending counts.
    for (posted, pending, credits, asked, moved) in [
        (0, 0, 7, 10, 7),
        (2, 3, 7, 10, 2),
        (7, 0, 7, 10, 0),
        (9, 0, 7, 10, 0),
        (0, 0, 7, 5, 5),
        (0, 0, 7, u128::MAX, 7),
    ] {
        let debtor = Account {
            timestamp: 1,
            debits_posted: posted,
            debits_pending: pending,
            credits_posted: credits,
            ..account(1)
        };
        let mut ledger = Ledger::given(&[debtor, Account { timestamp: 2, ..account(2) }]);
        assert_eq!(ledger.made(pay(1, 1, 2, asked).with(tf::BALANCING_DEBIT)).amount, moved);

        let creditor = Account {
            timestamp: 1,
            credits_posted: posted,
            credits_pending: pending,
            debits_posted: credits,
            ..account(1)
        };
        let mut ledger = Ledger::given(&[creditor, Account { timestamp: 2, ..account(2) }]);
        assert_eq!(ledger.made(pay(1, 2, 1, asked).with(tf::BALANCING_CREDIT)).amount, moved);
    }
}

#[test]
fn balancing_both_sides_takes_the_smaller() {
    let one = Account { timestamp: 1, credits_posted: 7, ..account(1) };
    let two = Account { timestamp: 2, debits_posted: 5, ..account(2) };
    let mut ledger = Ledger::given(&[one, two]);
    assert_eq!(ledger.made(pay(1, 1, 2, 9).with(tf::BALANCING_DEBIT | tf::BALANCING_CREDIT)).amount, 5);
}

#[test]
fn balancing_comes_before_overflow_and_limits() {
    // The maximum would overflow what is posted and exceed the limit; clamped to what there is, it passes.
    let one = Account { timestamp: 1, credits_posted: 7, ..account(1) }.with(af::DEBITS_MUST_NOT_EXCEED_CREDITS);
    let two = Account { timestamp: 2, credits_posted: 1, ..account(2) };
    let mut ledger = Ledger::given(&[one, two]);
    assert_eq!(ledger.make(pay(1, 1, 2, u128::MAX)), OverflowsCreditsPosted);
    assert_eq!(ledger.made(pay(2, 1, 2, u128::MAX).with(tf::BALANCING_DEBIT)).amount, 7);
}

#[test]
fn limits_are_exact() {
    let mut ledger = Ledger::with(&[account(1).with(af::DEBITS_MUST_NOT_EXCEED_CREDITS), account(2)]);
    ledger.made(pay(1, 2, 1, 10));
    ledger.made(pay(2, 1, 2, 4).with(tf::PENDING));
    assert_eq!(ledger.make(pay(3, 1, 2, 7)), ExceedsCredits, "what is pending counts");
    ledger.made(pay(4, 1, 2, 6));
    // Money that is only reserved for the account does not count.
    ledger.made(pay(5, 2, 1, 5).with(tf::PENDING));
    assert_eq!(ledger.make(pay(6, 1, 2, 1)), ExceedsCredits);

    let mut ledger = Ledger::with(&[account(1), account(2).with(af::CREDITS_MUST_NOT_EXCEED_DEBITS)]);
    ledger.made(pay(1, 2, 1, 10));
    ledger.made(pay(2, 1, 2, 4).with(tf::PENDING));
    assert_eq!(ledger.make(pay(3, 1, 2, 7)), ExceedsDebits);
    ledger.made(pay(4, 1, 2, 6));
}

#[test]
fn sums_may_reach_the_maximum_but_not_pass_it() {
    let mut ledger = Ledger::new();
    ledger.made(pay(1, 1, 2, u128::MAX - 5).with(tf::PENDING));
    ledger.made(pay(2, 1, 2, 5));
    assert_eq!(ledger.make(pay(3, 1, 2, 1)), OverflowsDebits);
    ledger.made(post(4, 1));
    assert_eq!(ledger.balances(1), [0, u128::MAX, 0, 0]);
    assert_eq!(ledger.make(pay(5, 1, 2, 1)), OverflowsDebitsPosted);
    // The other side of both accounts has room.
    ledger.made(pay(6, 2, 1, u128::MAX));
}
