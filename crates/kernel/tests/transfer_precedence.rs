//! Every status of `create_transfers`, and their order.

mod common;

use common::precedence::{Violation, check};
use common::*;
use qenex_kernel::row::{AccountTerms, TIMESTAMP_MAX, restrictions};
use qenex_kernel::status::CreateTransferStatus::{self, *};
use qenex_kernel::store::Store;

type Violations = Vec<Violation<Case, CreateTransferStatus>>;

/// A row and what surrounds it.
struct Case {
    row: Transfer,
    /// The accounts 1 and 2 as the row finds them.
    debit: Account,
    credit: Account,
    /// Their restrictions.
    debit_restrictions: u32,
    credit_restrictions: u32,
    /// What became of the pending transfer before.
    resolution: Option<Transfer>,
    /// When the request comes.
    now: u64,
    /// Whether the request's first row is imported; none: as this row is.
    first_imported: Option<bool>,
    /// A chain that this row is in has failed before it.
    after_failure: bool,
    ledger: Ledger,
}

const NOW: u64 = 1_000_000;
/// A valid timestamp of an imported transfer: above all others, below the request's.
const PAST: u64 = 500_000;
/// Ids that the ledger knows: recorded, open pending, burned.
const PLAIN: u128 = 40;
const OPEN: u128 = 50;
const BURNED: u128 = 60;
/// Seconds until the open pending transfer expires.
const TIMEOUT: u32 = 100;

impl Case {
    fn is_imported(&self) -> bool {
        self.row.flags & tf::IMPORTED != 0
    }

    fn set_imported(&mut self, imported: bool) {
        self.row.flags = self.row.flags & !tf::IMPORTED | if imported { tf::IMPORTED } else { 0 };
    }

    fn is_pending(&self) -> bool {
        self.row.flags & tf::PENDING != 0
    }

    /// Whether both accounts that the row names exist.
    fn finds_accounts(&self) -> bool {
        self.row.debit_account_id == 1 && self.row.credit_account_id == 2
    }

    /// Whether the row names a transfer that it could be compared with.
    fn finds_transfer(&self) -> bool {
        [PLAIN, OPEN].contains(&self.row.pending_id)
    }
}

fn case(row: Transfer) -> Case {
    let mut ledger = Ledger::with(&[account(1), account(2), account(3), account(4)]);
    ledger.made(transfer(PLAIN));
    ledger.made(Transfer { timeout: TIMEOUT, ..transfer(OPEN).with(tf::PENDING) });
    assert_eq!(ledger.make(pay(BURNED, 98, 99, 1)), DebitAccountNotFound);
    Case {
        row,
        debit: ledger.account(1).expect("created"),
        credit: ledger.account(2).expect("created"),
        debit_restrictions: 0,
        credit_restrictions: 0,
        resolution: None,
        now: NOW,
        first_imported: None,
        after_failure: false,
        ledger,
    }
}

fn import(row: Transfer) -> Transfer {
    Transfer { timestamp: PAST, ..row.with(tf::IMPORTED) }
}

fn submit(mut case: Case) -> CreateTransferStatus {
    if let Some(resolution) = case.resolution {
        case.ledger.made(resolution);
    }
    for (account_id, restrictions) in [(1, case.debit_restrictions), (2, case.credit_restrictions)] {
        case.ledger.terms(AccountTerms { account_id, restrictions, ..AccountTerms::ZERO });
    }
    case.ledger.machine.store_mut().insert_account(&case.debit);
    case.ledger.machine.store_mut().insert_account(&case.credit);
    let first_imported = case.first_imported.unwrap_or(case.is_imported());
    // A first row that is created, and (if the chain is to fail) one that is not.
    let first = Transfer { timestamp: if first_imported { PAST - 1 } else { 0 }, ..pay(30, 3, 4, 1) };
    let first = if first_imported { first.with(tf::IMPORTED) } else { first };
    let mut rows = vec![first];
    if case.after_failure {
        rows.push(Transfer { id: 31, code: 0, ..first.with(tf::LINKED) });
    }
    rows.push(case.row);
    let results = case.ledger.transfers_at(case.now, &rows);
    transfer_status(results.last().expect("as many results as rows"))
}

/// What can happen to any row, up to its id.
fn to_any() -> Violations {
    violations! { Case;
        // On the last row of a request the open chain is told first; see chains.rs.
        LinkedEventFailed: |case| case.after_failure = true, case.after_failure && case.row.flags & tf::LINKED == 0;
        LinkedEventChainOpen: |case| case.row.flags |= tf::LINKED, case.row.flags & tf::LINKED != 0;
        ImportedEventExpected: |case| {
            case.first_imported = Some(true);
            case.set_imported(false);
        }, case.first_imported == Some(true) && !case.is_imported();
        ImportedEventNotExpected: |case| {
            case.first_imported = Some(false);
            case.set_imported(true);
        }, case.first_imported == Some(false) && case.is_imported();
        TimestampMustBeZero: |case| {
            case.set_imported(false);
            case.row.timestamp = 7;
        }, !case.is_imported() && case.row.timestamp != 0;
        ImportedEventTimestampOutOfRange: |case| {
            case.set_imported(true);
            case.row.timestamp = 0;
        }, case.is_imported() && case.row.timestamp == 0;
        ImportedEventTimestampMustNotAdvance: |case| {
            case.set_imported(true);
            case.row.timestamp = TIMESTAMP_MAX;
        }, case.is_imported() && case.row.timestamp == TIMESTAMP_MAX;
        ReservedFlag: |case| case.row.flags |= 1 << 9, case.row.flags & !tf::ALL != 0;
        IdMustNotBeZero: |case| case.row.id = 0, case.row.id == 0;
        IdMustNotBeIntMax: |case| case.row.id = u128::MAX, case.row.id == u128::MAX;
    }
}

const EXCLUSIVE_TO_ANY: [(CreateTransferStatus, CreateTransferStatus); 6] = [
    (LinkedEventFailed, LinkedEventChainOpen),
    (ImportedEventExpected, ImportedEventNotExpected),
    (ImportedEventNotExpected, TimestampMustBeZero),
    (TimestampMustBeZero, ImportedEventTimestampOutOfRange),
    (ImportedEventTimestampOutOfRange, ImportedEventTimestampMustNotAdvance),
    (IdMustNotBeZero, IdMustNotBeIntMax),
];

/// What can happen to a new transfer up to its accounts, after its id.
fn to_new() -> Violations {
    let mut violations = to_any();
    violations.extend(violations! { Case;
        IdAlreadyFailed: |case| case.row.id = BURNED, case.row.id == BURNED;
        DebitAccountIdMustNotBeZero: |case| case.row.debit_account_id = 0, case.row.debit_account_id == 0;
        DebitAccountIdMustNotBeIntMax: |case| case.row.debit_account_id = u128::MAX,
            case.row.debit_account_id == u128::MAX;
        CreditAccountIdMustNotBeZero: |case| case.row.credit_account_id = 0, case.row.credit_account_id == 0;
        CreditAccountIdMustNotBeIntMax: |case| case.row.credit_account_id = u128::MAX,
            case.row.credit_account_id == u128::MAX;
        AccountsMustBeDifferent: |case| case.row.credit_account_id = case.row.debit_account_id,
            case.row.credit_account_id == case.row.debit_account_id;
        PendingIdMustBeZero: |case| case.row.pending_id = OPEN, case.row.pending_id != 0;
        TimeoutReservedForPendingTransfer: |case| {
            case.row.flags &= !tf::PENDING;
            case.row.timeout = 1;
        }, !case.is_pending() && case.row.timeout != 0;
        ClosingTransferMustBePending: |case| {
            case.row.flags &= !tf::PENDING;
            case.row.flags |= tf::CLOSING_CREDIT;
        }, !case.is_pending() && case.row.flags & tf::CLOSING_CREDIT != 0;
        LedgerMustNotBeZero: |case| case.row.ledger = 0, case.row.ledger == 0;
        CodeMustNotBeZero: |case| case.row.code = 0, case.row.code == 0;
        DebitAccountNotFound: |case| case.row.debit_account_id = 98, case.row.debit_account_id == 98;
        CreditAccountNotFound: |case| case.row.credit_account_id = 99, case.row.credit_account_id == 99;
        AccountsMustHaveTheSameLedger: |case| case.credit.ledger = 2, case.finds_accounts() && case.credit.ledger == 2;
        TransferMustHaveTheSameLedgerAsAccounts: |case| case.row.ledger = 3,
            case.finds_accounts() && case.row.ledger == 3;
    });
    violations
}

const EXCLUSIVE_TO_NEW: [(CreateTransferStatus, CreateTransferStatus); 5] = [
    (IdMustNotBeIntMax, IdAlreadyFailed),
    (DebitAccountIdMustNotBeZero, DebitAccountIdMustNotBeIntMax),
    (CreditAccountIdMustNotBeZero, CreditAccountIdMustNotBeIntMax),
    // Both ids the maximum: then the debit account's is told first.
    (CreditAccountIdMustNotBeIntMax, AccountsMustBeDifferent),
    (CreditAccountNotFound, AccountsMustHaveTheSameLedger),
];

/// What the state of the accounts can do to a new transfer.
fn to_accounts() -> Violations {
    violations! { Case;
        DebitAccountAlreadyClosed: |case| case.debit.flags |= af::CLOSED, case.debit.flags & af::CLOSED != 0;
        CreditAccountAlreadyClosed: |case| case.credit.flags |= af::CLOSED, case.credit.flags & af::CLOSED != 0;
        DebitAccountRestricted: |case| case.debit_restrictions = restrictions::NO_DEBIT, case.debit_restrictions != 0;
        CreditAccountRestricted: |case| case.credit_restrictions = restrictions::NO_CREDIT,
            case.credit_restrictions != 0;
        OverflowsDebitsPending: |case| {
            case.row.flags |= tf::PENDING;
            case.debit.debits_pending = u128::MAX;
        }, case.is_pending() && case.debit.debits_pending == u128::MAX;
        OverflowsCreditsPending: |case| {
            case.row.flags |= tf::PENDING;
            case.credit.credits_pending = u128::MAX;
        }, case.is_pending() && case.credit.credits_pending == u128::MAX;
        OverflowsDebitsPosted: |case| case.debit.debits_posted = u128::MAX, case.debit.debits_posted == u128::MAX;
        OverflowsCreditsPosted: |case| case.credit.credits_posted = u128::MAX, case.credit.credits_posted == u128::MAX;
        OverflowsDebits: |case| {
            case.debit.debits_posted = u128::MAX / 2;
            case.debit.debits_pending = u128::MAX / 2;
        }, case.debit.debits_posted == u128::MAX / 2 && case.debit.debits_pending == u128::MAX / 2;
        OverflowsCredits: |case| {
            case.credit.credits_posted = u128::MAX / 2;
            case.credit.credits_pending = u128::MAX / 2;
        }, case.credit.credits_posted == u128::MAX / 2 && case.credit.credits_pending == u128::MAX / 2;
    }
}

fn to_limits() -> Violations {
    violations! { Case;
        ExceedsCredits: |case| case.debit.flags |= af::DEBITS_MUST_NOT_EXCEED_CREDITS,
            case.debit.flags & af::DEBITS_MUST_NOT_EXCEED_CREDITS != 0;
        ExceedsDebits: |case| case.credit.flags |= af::CREDITS_MUST_NOT_EXCEED_DEBITS,
            case.credit.flags & af::CREDITS_MUST_NOT_EXCEED_DEBITS != 0;
    }
}

#[test]
fn a_new_transfer() {
    let mut violations = to_new();
    violations.extend(to_accounts());
    violations.extend(violations! { Case;
        OverflowsTimeout: |case| {
            case.row.flags |= tf::PENDING;
            case.row.timeout = 1;
            case.now = TIMESTAMP_MAX - SECOND + 1;
        }, case.is_pending() && case.row.timeout == 1 && case.now > TIMESTAMP_MAX - SECOND;
    });
    violations.extend(to_limits());
    let exclusive = [&EXCLUSIVE_TO_ANY[..], &EXCLUSIVE_TO_NEW].concat();
    check(|| case(transfer(10)), Created, submit, CreateTransferStatus::ALL, &violations, &exclusive);
    // What the accounts can do does not depend on the phase.
    let pending = || case(transfer(10).with(tf::PENDING));
    let of_accounts: Violations = to_accounts().into_iter().chain(to_limits()).collect();
    check(pending, Created, submit, CreateTransferStatus::ALL, &of_accounts, &[]);
}

#[test]
fn an_imported_transfer() {
    let mut violations = to_new();
    violations.extend(violations! { Case;
        ImportedEventTimestampMustNotRegress: |case| case.row.timestamp = PAST - 1,
            case.is_imported() && case.row.timestamp == PAST - 1;
        ImportedEventTimestampMustPostdateDebitAccount: |case| case.debit.timestamp = PAST + 1,
            case.is_imported() && case.debit.timestamp >= case.row.timestamp;
        ImportedEventTimestampMustPostdateCreditAccount: |case| case.credit.timestamp = PAST + 2,
            case.is_imported() && case.credit.timestamp >= case.row.timestamp;
        ImportedEventTimeoutMustBeZero: |case| {
            case.row.flags |= tf::PENDING;
            case.row.timeout = 1;
        }, case.is_imported() && case.is_pending() && case.row.timeout != 0;
    });
    violations.extend(to_accounts());
    violations.extend(to_limits());
    let exclusive = [&EXCLUSIVE_TO_ANY[..], &EXCLUSIVE_TO_NEW].concat();
    check(|| case(import(transfer(10))), Created, submit, CreateTransferStatus::ALL, &violations, &exclusive);
}

/// What can happen to a post or a void up to the pending transfer's state.
fn to_resolution() -> Violations {
    let mut violations = to_any();
    violations.extend(violations! { Case;
        IdAlreadyFailed: |case| case.row.id = BURNED, case.row.id == BURNED;
        FlagsAreMutuallyExclusive: |case| case.row.flags |= tf::CLOSING_CREDIT, case.row.flags & tf::CLOSING_CREDIT != 0;
        PendingIdMustNotBeZero: |case| case.row.pending_id = 0, case.row.pending_id == 0;
        PendingIdMustNotBeIntMax: |case| case.row.pending_id = u128::MAX, case.row.pending_id == u128::MAX;
        PendingIdMustBeDifferent: |case| case.row.pending_id = case.row.id, case.row.pending_id == case.row.id;
        TimeoutReservedForPendingTransfer: |case| case.row.timeout = 1, case.row.timeout != 0;
        PendingTransferNotFound: |case| case.row.pending_id = 97, case.row.pending_id == 97;
        PendingTransferNotPending: |case| case.row.pending_id = PLAIN, case.row.pending_id == PLAIN;
        PendingTransferHasDifferentDebitAccountId: |case| case.row.debit_account_id = 3,
            case.finds_transfer() && case.row.debit_account_id == 3;
        PendingTransferHasDifferentCreditAccountId: |case| case.row.credit_account_id = 3,
            case.finds_transfer() && case.row.credit_account_id == 3;
        PendingTransferHasDifferentLedger: |case| case.row.ledger = 2, case.finds_transfer() && case.row.ledger == 2;
        PendingTransferHasDifferentCode: |case| case.row.code = 2, case.finds_transfer() && case.row.code == 2;
        ExceedsPendingTransferAmount: |case| case.row.amount = 11, case.finds_transfer() && case.row.amount == 11;
    });
    violations
}

const EXCLUSIVE_TO_RESOLUTION: [(CreateTransferStatus, CreateTransferStatus); 5] = [
    (IdMustNotBeIntMax, IdAlreadyFailed),
    (PendingIdMustNotBeZero, PendingIdMustNotBeIntMax),
    (PendingIdMustNotBeIntMax, PendingIdMustBeDifferent),
    (PendingTransferNotFound, PendingTransferNotPending),
    (PendingTransferAlreadyPosted, PendingTransferAlreadyVoided),
];

/// What can have become of the pending transfer. It can be late for one that was voided.
fn to_state() -> Violations {
    violations! { Case;
        PendingTransferAlreadyPosted: |case| case.resolution = Some(post(51, OPEN)),
            case.row.pending_id == OPEN && case.resolution == Some(post(51, OPEN));
        PendingTransferAlreadyVoided: |case| case.resolution = Some(void(51, OPEN)),
            case.row.pending_id == OPEN && case.resolution == Some(void(51, OPEN));
        PendingTransferExpired: |case| case.now = NOW + u64::from(TIMEOUT) * SECOND,
            case.row.pending_id == OPEN && case.now > NOW;
    }
}

fn to_closed() -> Violations {
    to_accounts().into_iter().take(2).collect()
}

#[test]
fn a_post() {
    let mut violations = to_resolution();
    violations.extend(to_state());
    violations.extend(to_closed());
    let exclusive = [&EXCLUSIVE_TO_ANY[..], &EXCLUSIVE_TO_RESOLUTION].concat();
    check(|| case(post(10, OPEN)), Created, submit, CreateTransferStatus::ALL, &violations, &exclusive);
}

#[test]
fn a_void() {
    let mut violations = to_resolution();
    violations.extend(violations! { Case;
        PendingTransferHasDifferentAmount: |case| case.row.amount = 9, case.finds_transfer() && case.row.amount == 9;
    });
    violations.extend(to_state());
    let amounts = (ExceedsPendingTransferAmount, PendingTransferHasDifferentAmount);
    let exclusive = [&EXCLUSIVE_TO_ANY[..], &EXCLUSIVE_TO_RESOLUTION, &[amounts]].concat();
    check(|| case(void(10, OPEN)), Created, submit, CreateTransferStatus::ALL, &violations, &exclusive);
}

#[test]
fn an_imported_post() {
    let mut violations = to_resolution();
    violations.extend(to_state());
    violations.extend(violations! { Case;
        ImportedEventTimestampMustNotRegress: |case| case.row.timestamp = PAST - 1,
            case.is_imported() && case.row.timestamp == PAST - 1;
    });
    violations.extend(to_closed());
    let exclusive = [&EXCLUSIVE_TO_ANY[..], &EXCLUSIVE_TO_RESOLUTION].concat();
    check(|| case(import(post(10, OPEN))), Created, submit, CreateTransferStatus::ALL, &violations, &exclusive);
}

/// What can differ from a recorded row.
fn to_retry(flag: fn(&mut Case), flag_holds: fn(&Case) -> bool) -> Violations {
    let mut violations = to_any();
    // An id that is 0 or the maximum cannot be recorded.
    violations.retain(|violation| !matches!(violation.status, IdMustNotBeZero | IdMustNotBeIntMax));
    violations.push(Violation { status: ExistsWithDifferentFlags, apply: flag, holds: flag_holds });
    violations.extend(violations! { Case;
        ExistsWithDifferentPendingId: |case| case.row.pending_id = 97, case.row.pending_id == 97;
        ExistsWithDifferentTimeout: |case| case.row.timeout = 1, case.row.timeout == 1;
        ExistsWithDifferentDebitAccountId: |case| case.row.debit_account_id = 3, case.row.debit_account_id == 3;
        ExistsWithDifferentCreditAccountId: |case| case.row.credit_account_id = 3, case.row.credit_account_id == 3;
        ExistsWithDifferentAmount: |case| case.row.amount = 9, case.row.amount == 9;
        ExistsWithDifferentUserData128: |case| case.row.user_data_128 = 1, case.row.user_data_128 == 1;
        ExistsWithDifferentUserData64: |case| case.row.user_data_64 = 1, case.row.user_data_64 == 1;
        ExistsWithDifferentUserData32: |case| case.row.user_data_32 = 1, case.row.user_data_32 == 1;
        ExistsWithDifferentLedger: |case| case.row.ledger = 2, case.row.ledger == 2;
        ExistsWithDifferentCode: |case| case.row.code = 2, case.row.code == 2;
    });
    violations
}

#[test]
fn a_transfer_that_exists() {
    let violations =
        to_retry(|case| case.row.flags |= tf::BALANCING_DEBIT, |case| case.row.flags & tf::BALANCING_DEBIT != 0);
    let exclusive = &EXCLUSIVE_TO_ANY[..5];
    check(|| case(transfer(PLAIN)), Exists, submit, CreateTransferStatus::ALL, &violations, exclusive);
}

#[test]
fn a_post_or_void_that_exists() {
    let violations = to_retry(
        |case| case.row.flags ^= tf::POST_PENDING_TRANSFER | tf::VOID_PENDING_TRANSFER,
        |case| case.row.flags & tf::POST_PENDING_TRANSFER == 0,
    );
    let posted = || Case { resolution: Some(post(51, OPEN)), ..case(post(51, OPEN)) };
    check(posted, Exists, submit, CreateTransferStatus::ALL, &violations, &EXCLUSIVE_TO_ANY[..5]);

    let violations = to_retry(
        |case| case.row.flags ^= tf::POST_PENDING_TRANSFER | tf::VOID_PENDING_TRANSFER,
        |case| case.row.flags & tf::VOID_PENDING_TRANSFER == 0,
    );
    let voided = || Case { resolution: Some(void(51, OPEN)), ..case(void(51, OPEN)) };
    check(voided, Exists, submit, CreateTransferStatus::ALL, &violations, &EXCLUSIVE_TO_ANY[..5]);
}

#[test]
fn no_status_is_left_out() {
    let mut proven: Vec<_> =
        [to_new(), to_accounts(), to_limits(), to_resolution(), to_state(), to_retry(|_| (), |_| true)]
            .into_iter()
            .flatten()
            .map(|violation| violation.status)
            .collect();
    proven.extend([Created, Exists, OverflowsTimeout, PendingTransferHasDifferentAmount]);
    proven.extend([ImportedEventTimestampMustNotRegress, ImportedEventTimestampMustPostdateDebitAccount]);
    proven.extend([ImportedEventTimestampMustPostdateCreditAccount, ImportedEventTimeoutMustBeZero]);
    for status in CreateTransferStatus::ALL {
        assert!(proven.contains(status), "{status:?}");
    }
}
