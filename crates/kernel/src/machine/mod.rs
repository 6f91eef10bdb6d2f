//! The machine: requests, linked chains and their rollback, expiry, in the order of the contract.
//!
//! It reads no clock. Whoever calls it passes the timestamps, and the same calls lead to the same state.

mod query;
mod request;

use alloc::vec::Vec;
use core::fmt;

use crate::row::{Account, AccountTerms, BATCH_MAX, EventKind, EventResult, TIMESTAMP_MAX, Transfer};
use crate::rules::{self, damaged};
use crate::status::SetAccountTermsStatus;
use crate::store::{Event, Store};

/// A mistake of the caller, not of the rows. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// More rows than [`BATCH_MAX`].
    BatchTooLarge {
        /// Rows in the request.
        rows: usize,
    },
    /// The timestamp is above [`TIMESTAMP_MAX`].
    TimestampTooHigh {
        /// As passed.
        timestamp: u64,
    },
    /// Each row of a request has a timestamp of its own, above all before it; the request's is its last row's.
    TimestampMustAdvance {
        /// As passed.
        timestamp: u64,
        /// The lowest that would be right.
        at_least: u64,
    },
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BatchTooLarge { rows } => write!(f, "{rows} rows in one request, at most {BATCH_MAX} are allowed"),
            Self::TimestampTooHigh { timestamp } => {
                write!(f, "timestamp {timestamp} is above the last one, {TIMESTAMP_MAX}")
            }
            Self::TimestampMustAdvance { timestamp, at_least } => {
                write!(f, "timestamp {timestamp} must be at least {at_least}: the last one and one for each row")
            }
        }
    }
}

impl core::error::Error for Misuse {}

/// A ledger over a store.
#[derive(Debug)]
pub struct Machine<S> {
    store: S,
    /// Timestamp of the last request or expiry.
    timestamp: u64,
}

impl<S: Store> Machine<S> {
    /// A ledger that goes on from `store`, whose last request or expiry was at `timestamp`.
    ///
    /// A lower `timestamp` than the store's own newest row is raised to that, so 0 is right for a store that has
    /// seen no expiry.
    pub fn new(store: S, timestamp: u64) -> Self {
        let timestamp = timestamp.max(store.last_account_timestamp()).max(store.last_transfer_timestamp());
        Self { store, timestamp }
    }

    /// Timestamp of the last request or expiry, 0 if there was none.
    pub const fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// Where the rows live.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// Where the rows live; whoever changes rows here answers for them.
    pub const fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Gives the store back.
    pub fn into_store(self) -> S {
        self.store
    }

    /// Opens accounts; appends one result a row, each with a `CreateAccountStatus`.
    ///
    /// `timestamp` is the last row's; an empty request changes nothing.
    ///
    /// # Errors
    /// [`Misuse`]; nothing has changed.
    pub fn create_accounts(
        &mut self,
        timestamp: u64,
        rows: &[Account],
        results: &mut Vec<EventResult>,
    ) -> Result<(), Misuse> {
        let first_slot = self.begin(timestamp, rows.len())?;
        self.store.prepare_accounts(rows);
        self.run(first_slot, rows, results, |machine, row, _, slot| machine.create_account(row, slot));
        Ok(())
    }

    /// Makes transfers, posts and voids pending ones; appends one result a row, each with a
    /// `CreateTransferStatus`.
    ///
    /// `timestamp` is the last row's; an empty request changes nothing.
    ///
    /// # Errors
    /// [`Misuse`]; nothing has changed.
    pub fn create_transfers(
        &mut self,
        timestamp: u64,
        rows: &[Transfer],
        results: &mut Vec<EventResult>,
    ) -> Result<(), Misuse> {
        let first_slot = self.begin(timestamp, rows.len())?;
        self.store.prepare_transfers(rows);
        self.run(first_slot, rows, results, |machine, row, from_row, slot| {
            machine.store.approach_transfers(from_row);
            machine.create_transfer(row, slot)
        });
        Ok(())
    }

    /// Replaces the terms of accounts; appends one result a row, each with a [`SetAccountTermsStatus`].
    ///
    /// `timestamp` is the last row's; an empty request changes nothing.
    ///
    /// # Errors
    /// [`Misuse`]; nothing has changed.
    pub fn set_account_terms(
        &mut self,
        timestamp: u64,
        rows: &[AccountTerms],
        results: &mut Vec<EventResult>,
    ) -> Result<(), Misuse> {
        let first_slot = self.begin(timestamp, rows.len())?;
        results.reserve(rows.len());
        for (slot, row) in (first_slot..).zip(rows) {
            let status = self.set_terms(row).map_or_else(|refusal| refusal, |()| SetAccountTermsStatus::Applied);
            results.push(EventResult { timestamp: slot, status: status.number(), reserved: 0 });
        }
        Ok(())
    }

    fn set_terms(&mut self, row: &AccountTerms) -> Result<(), SetAccountTermsStatus> {
        rules::check_terms(row)?;
        let handle = self.store.find_account(row.account_id).ok_or(SetAccountTermsStatus::AccountNotFound)?;
        self.store.set_terms(handle, if rules::removes_terms(row) { None } else { Some(row) });
        Ok(())
    }

    /// When the next open pending transfer expires, UTC nanoseconds.
    pub fn next_expiry(&self) -> Option<u64> {
        self.store.next_due().map(|due| due.expires)
    }

    /// Expires the pending transfers whose time has come, at most `max` of them, in order of (expiry, creation);
    /// returns how many.
    ///
    /// Of n expiries the i-th (from 0) happens at `timestamp` - n + i + 1. If none is due, nothing changes, not
    /// even the machine's time.
    ///
    /// # Errors
    /// [`Misuse`]; nothing has changed.
    pub fn expire(&mut self, timestamp: u64, max: usize) -> Result<usize, Misuse> {
        let count = self.store.count_due(timestamp, max);
        let first_slot = self.advance(timestamp, count)?;
        for slot in (first_slot..).take(count) {
            let Some(due) = self.store.next_due() else { damaged("fewer transfers are due than were counted") };
            let pending = due.transfer;
            let (debit, mut debit_account) = self.account_of(pending.debit_account_id);
            let (credit, mut credit_account) = self.account_of(pending.credit_account_id);
            rules::expire(&pending, &mut debit_account, &mut credit_account);
            self.store.record(&Event {
                kind: EventKind::TwoPhaseExpired,
                transfer: &pending,
                pending: Some(&pending),
                timestamp: slot,
                debit,
                debit_account: &debit_account,
                credit,
                credit_account: &credit_account,
            });
        }
        Ok(count)
    }

    /// An account that a recorded transfer names.
    fn account_of(&self, id: u128) -> (S::Handle, Account) {
        let Some(handle) = self.store.find_account(id) else { damaged("a recorded transfer names no account") };
        (handle, self.store.account(handle))
    }

    /// Judges a request's size and timestamp, and takes them; returns the first row's timestamp.
    fn begin(&mut self, timestamp: u64, rows: usize) -> Result<u64, Misuse> {
        check_batch(rows)?;
        self.advance(timestamp, rows)
    }

    /// Moves the machine's time to `timestamp`, which `count` events share; returns the first one's.
    fn advance(&mut self, timestamp: u64, count: usize) -> Result<u64, Misuse> {
        if timestamp > TIMESTAMP_MAX {
            return Err(Misuse::TimestampTooHigh { timestamp });
        }
        if count == 0 {
            return Ok(timestamp);
        }
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let at_least = self.timestamp.saturating_add(count);
        if timestamp < at_least {
            return Err(Misuse::TimestampMustAdvance { timestamp, at_least });
        }
        self.timestamp = timestamp;
        Ok(timestamp.saturating_sub(count).saturating_add(1))
    }
}

/// Judges a request's size.
const fn check_batch(rows: usize) -> Result<(), Misuse> {
    if rows > BATCH_MAX { Err(Misuse::BatchTooLarge { rows }) } else { Ok(()) }
}
