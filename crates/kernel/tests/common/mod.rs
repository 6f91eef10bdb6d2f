//! A ledger to try things on: rows with sensible defaults, and one that is at hand with accounts in it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it, and none publishes it")]

pub mod precedence;

use qenex_kernel::machine::Machine;
use qenex_kernel::memory::MemoryStore;
pub use qenex_kernel::row::{Account, Transfer, account_flags as af, transfer_flags as tf};
use qenex_kernel::row::{AccountTerms, BATCH_MAX, EventResult, Id, Outcome};
use qenex_kernel::status::{CreateAccountStatus, CreateTransferStatus, SetAccountTermsStatus};

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;
/// Time at which [`Ledger::new`] stands still before anything happens.
pub const START: u64 = 1_000;

/// An account that can be created: ledger 1, code 1.
pub fn account(id: u128) -> Account {
    Account { id, ledger: 1, code: 1, ..Account::ZERO }
}

/// A transfer of 10 from account 1 to account 2 that can be created.
pub fn transfer(id: u128) -> Transfer {
    Transfer { id, debit_account_id: 1, credit_account_id: 2, amount: 10, ledger: 1, code: 1, ..Transfer::ZERO }
}

/// The same with an amount.
pub fn pay(id: u128, debit: u128, credit: u128, amount: u128) -> Transfer {
    Transfer { debit_account_id: debit, credit_account_id: credit, amount, ..transfer(id) }
}

/// A post of all of `pending_id`, everything left open.
pub fn post(id: u128, pending_id: u128) -> Transfer {
    Transfer { id, pending_id, amount: u128::MAX, flags: tf::POST_PENDING_TRANSFER, ..Transfer::ZERO }
}

/// A void of `pending_id`, everything left open.
pub fn void(id: u128, pending_id: u128) -> Transfer {
    Transfer { id, pending_id, flags: tf::VOID_PENDING_TRANSFER, ..Transfer::ZERO }
}

pub trait WithFlags {
    /// The same row with more flags.
    fn with(self, flags: u16) -> Self;
}

impl WithFlags for Account {
    fn with(self, flags: u16) -> Self {
        Self { flags: self.flags | flags, ..self }
    }
}

impl WithFlags for Transfer {
    fn with(self, flags: u16) -> Self {
        Self { flags: self.flags | flags, ..self }
    }
}

/// The status of a row of `create_accounts`.
pub fn account_status(result: &EventResult) -> CreateAccountStatus {
    CreateAccountStatus::from_number(result.status).expect("a number of the enum")
}

/// The status of a row of `create_transfers`.
pub fn transfer_status(result: &EventResult) -> CreateTransferStatus {
    CreateTransferStatus::from_number(result.status).expect("a number of the enum")
}

/// A machine over a plain store that takes each request at the earliest time it can.
#[derive(Debug)]
pub struct Ledger {
    pub machine: Machine<MemoryStore>,
}

impl Ledger {
    /// Empty, at [`START`].
    pub fn empty() -> Self {
        Self { machine: Machine::new(MemoryStore::new(), START) }
    }

    /// With accounts 1, 2 and 3 without any flag, created at [`START`] + 1 to 3.
    pub fn new() -> Self {
        Self::with(&[account(1), account(2), account(3)])
    }

    /// With these accounts, created at [`START`] + 1 and on.
    pub fn with(accounts: &[Account]) -> Self {
        let mut ledger = Self::empty();
        for result in ledger.accounts(accounts) {
            assert_eq!(account_status(&result), CreateAccountStatus::Created);
        }
        ledger
    }

    /// From rows that no request could make.
    pub fn given(accounts: &[Account]) -> Self {
        Self { machine: Machine::new(MemoryStore::with_accounts(accounts).expect("valid rows"), START) }
    }

    pub fn now(&self) -> u64 {
        self.machine.timestamp()
    }

    /// The timestamp of a request of so many rows made at once.
    pub fn next(&self, rows: usize) -> u64 {
        self.now() + rows as u64
    }

    pub fn accounts(&mut self, rows: &[Account]) -> Vec<EventResult> {
        let mut results = Vec::new();
        self.machine.create_accounts(self.next(rows.len()), rows, &mut results).expect("a request in order");
        results
    }

    pub fn transfers_at(&mut self, timestamp: u64, rows: &[Transfer]) -> Vec<EventResult> {
        let mut results = Vec::new();
        self.machine.create_transfers(timestamp, rows, &mut results).expect("a request in order");
        results
    }

    pub fn transfers(&mut self, rows: &[Transfer]) -> Vec<EventResult> {
        self.transfers_at(self.next(rows.len()), rows)
    }

    /// The status of one account in a request of its own.
    pub fn open(&mut self, row: Account) -> CreateAccountStatus {
        account_status(&self.accounts(&[row])[0])
    }

    /// The status of one transfer in a request of its own.
    pub fn make(&mut self, row: Transfer) -> CreateTransferStatus {
        transfer_status(&self.transfers(&[row])[0])
    }

    /// The statuses of one request.
    pub fn statuses(&mut self, rows: &[Transfer]) -> Vec<CreateTransferStatus> {
        self.transfers(rows).iter().map(transfer_status).collect()
    }

    /// Makes a transfer that must succeed.
    pub fn made(&mut self, row: Transfer) -> Transfer {
        assert_eq!(self.make(row), CreateTransferStatus::Created, "{row:?}");
        self.transfer(row.id).expect("recorded")
    }

    pub fn terms(&mut self, row: AccountTerms) -> SetAccountTermsStatus {
        let mut results = Vec::new();
        self.machine.set_account_terms(self.next(1), &[row], &mut results).expect("a request in order");
        SetAccountTermsStatus::from_number(results[0].status).expect("a number of the enum")
    }

    pub fn account(&self, id: u128) -> Option<Account> {
        let mut out = Vec::new();
        self.machine.lookup_accounts(&[Id { id }], &mut out).expect("one id");
        out.first().copied()
    }

    pub fn transfer(&self, id: u128) -> Option<Transfer> {
        let mut out = Vec::new();
        self.machine.lookup_transfers(&[Id { id }], &mut out).expect("one id");
        out.first().copied()
    }

    pub fn outcome(&self, id: u128) -> Option<Outcome> {
        let mut out = Vec::new();
        self.machine.lookup_outcomes(&[Id { id }], &mut out).expect("one id");
        out.first().copied()
    }

    /// Debits pending, debits posted, credits pending, credits posted.
    pub fn balances(&self, id: u128) -> [u128; 4] {
        let account = self.account(id).expect("the account exists");
        [account.debits_pending, account.debits_posted, account.credits_pending, account.credits_posted]
    }

    pub fn is_closed(&self, id: u128) -> bool {
        self.account(id).expect("the account exists").flags & af::CLOSED != 0
    }

    /// Expires everything due at `timestamp`.
    pub fn expire(&mut self, timestamp: u64) -> usize {
        self.machine.expire(timestamp, BATCH_MAX).expect("a time in order")
    }

    pub fn digest(&self) -> [u8; 32] {
        self.machine.store().digest()
    }
}
