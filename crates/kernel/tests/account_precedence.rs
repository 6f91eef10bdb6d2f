//! Every status of `create_accounts`, and their order.

mod common;

use common::precedence::{Violation, check};
use common::*;
use qenex_kernel::row::TIMESTAMP_MAX;
use qenex_kernel::status::CreateAccountStatus::{self, *};

/// A row and what surrounds it.
struct Case {
    row: Account,
    /// Whether the request's first row is imported; none: as this row is.
    first_imported: Option<bool>,
    /// A chain that this row is in has failed before it.
    after_failure: bool,
    /// An imported transfer has the row's timestamp, or an account does.
    taken: bool,
}

const NOW: u64 = 10_000;
/// A valid timestamp of an imported account: above all others, below the request's.
const PAST: u64 = 5_000;

impl Case {
    fn is_imported(&self) -> bool {
        self.row.flags & af::IMPORTED != 0
    }

    fn set_imported(&mut self, imported: bool) {
        self.row.flags = self.row.flags & !af::IMPORTED | if imported { af::IMPORTED } else { 0 };
    }
}

fn new() -> Case {
    Case { row: account(10), first_imported: None, after_failure: false, taken: false }
}

fn imported() -> Case {
    Case { row: Account { timestamp: PAST, ..account(10).with(af::IMPORTED) }, ..new() }
}

fn retry() -> Case {
    Case { row: account(1), ..new() }
}

fn submit(case: Case) -> CreateAccountStatus {
    let mut ledger = Ledger::new();
    if case.taken {
        let rows = [Account { timestamp: PAST, ..account(20).with(af::IMPORTED) }];
        ledger.machine.create_accounts(PAST + 1, &rows, &mut Vec::new()).expect("in order");
    }
    let first_imported = case.first_imported.unwrap_or(case.is_imported());
    // A first row that is created, and (if the chain is to fail) one that is not.
    let first = Account { id: 30, timestamp: if first_imported { PAST - 1 } else { 0 }, ..account(30) };
    let first = if first_imported { first.with(af::IMPORTED) } else { first };
    let mut rows = vec![first];
    if case.after_failure {
        rows.push(Account {
            code: 0,
            id: 31,
            timestamp: if first_imported { PAST } else { 0 },
            ..first.with(af::LINKED)
        });
    }
    rows.push(case.row);
    let mut results = Vec::new();
    ledger.machine.create_accounts(NOW, &rows, &mut results).expect("in order");
    account_status(results.last().expect("as many results as rows"))
}

/// What can happen to any row.
fn to_any() -> Vec<Violation<Case, CreateAccountStatus>> {
    violations! { Case;
        // On the last row of a request the open chain is told first; see chains.rs.
        LinkedEventFailed: |case| case.after_failure = true, case.after_failure && case.row.flags & af::LINKED == 0;
        LinkedEventChainOpen: |case| case.row.flags |= af::LINKED, case.row.flags & af::LINKED != 0;
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
        }, case.is_imported() && case.row.timestamp >= NOW;
        ReservedField: |case| case.row.reserved = 1, case.row.reserved != 0;
        ReservedFlag: |case| case.row.flags |= 1 << 6, case.row.flags & !af::ALL != 0;
        IdMustNotBeZero: |case| case.row.id = 0, case.row.id == 0;
        IdMustNotBeIntMax: |case| case.row.id = u128::MAX, case.row.id == u128::MAX;
    }
}

const EXCLUSIVE: [(CreateAccountStatus, CreateAccountStatus); 6] = [
    (LinkedEventFailed, LinkedEventChainOpen),
    (ImportedEventExpected, ImportedEventNotExpected),
    (ImportedEventNotExpected, TimestampMustBeZero),
    (TimestampMustBeZero, ImportedEventTimestampOutOfRange),
    (ImportedEventTimestampOutOfRange, ImportedEventTimestampMustNotAdvance),
    (IdMustNotBeZero, IdMustNotBeIntMax),
];

/// What can happen to a row with a new id.
fn to_new() -> Vec<Violation<Case, CreateAccountStatus>> {
    const BOTH: u16 = af::DEBITS_MUST_NOT_EXCEED_CREDITS | af::CREDITS_MUST_NOT_EXCEED_DEBITS;
    violations! { Case;
        FlagsAreMutuallyExclusive: |case| case.row.flags |= BOTH, case.row.flags & BOTH == BOTH;
        DebitsPendingMustBeZero: |case| case.row.debits_pending = 1, case.row.debits_pending != 0;
        DebitsPostedMustBeZero: |case| case.row.debits_posted = 1, case.row.debits_posted != 0;
        CreditsPendingMustBeZero: |case| case.row.credits_pending = 1, case.row.credits_pending != 0;
        CreditsPostedMustBeZero: |case| case.row.credits_posted = 1, case.row.credits_posted != 0;
        LedgerMustNotBeZero: |case| case.row.ledger = 0, case.row.ledger == 0;
        CodeMustNotBeZero: |case| case.row.code = 0, case.row.code == 0;
    }
}

#[test]
fn a_new_account() {
    let mut violations = to_any();
    violations.extend(to_new());
    check(new, Created, submit, CreateAccountStatus::ALL, &violations, &EXCLUSIVE);
}

#[test]
fn an_imported_account() {
    let mut violations = to_any();
    violations.extend(to_new());
    violations.extend(violations! { Case;
        ImportedEventTimestampMustNotRegress: |case| case.taken = true, case.taken;
    });
    check(imported, Created, submit, CreateAccountStatus::ALL, &violations, &EXCLUSIVE);
}

#[test]
fn an_account_that_exists() {
    let mut violations = to_any();
    violations.extend(violations! { Case;
        ExistsWithDifferentFlags: |case| case.row.flags |= af::HISTORY, case.row.flags & af::HISTORY != 0;
        ExistsWithDifferentUserData128: |case| case.row.user_data_128 = 1, case.row.user_data_128 != 0;
        ExistsWithDifferentUserData64: |case| case.row.user_data_64 = 1, case.row.user_data_64 != 0;
        ExistsWithDifferentUserData32: |case| case.row.user_data_32 = 1, case.row.user_data_32 != 0;
        ExistsWithDifferentLedger: |case| case.row.ledger = 2, case.row.ledger != 1;
        ExistsWithDifferentCode: |case| case.row.code = 2, case.row.code != 1;
    });
    // An id that is 0 or the maximum cannot exist.
    violations.retain(|violation| !matches!(violation.status, IdMustNotBeZero | IdMustNotBeIntMax));
    check(retry, Exists, submit, CreateAccountStatus::ALL, &violations, &EXCLUSIVE[..5]);

    // What exists is told before anything else that is wrong with the row.
    for wrong in to_new() {
        let mut case = retry();
        (wrong.apply)(&mut case);
        let status = submit(case);
        assert!((ExistsWithDifferentFlags.number()..=Exists.number()).contains(&status.number()), "{status:?}");
    }
}
