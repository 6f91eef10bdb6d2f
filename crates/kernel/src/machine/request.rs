//! One request: row by row, chains and their rollback.

use alloc::vec::Vec;

use super::Machine;
use crate::row::{Account, EventKind, EventResult, Transfer, transfer_flags};
use crate::rules::{self, Request, RequestRow, RowStatus, Side, When, damaged};
use crate::status::{CreateAccountStatus, CreateTransferStatus};
use crate::store::{Event, Found, PendingStatus, Store};

/// Status and timestamp of one row.
pub(super) struct Verdict<Status> {
    status: Status,
    timestamp: u64,
}

/// A chain of linked rows under way.
struct Chain {
    /// Index of its first result.
    start: usize,
    /// One of its rows has failed; the scope is closed, the rest of the chain fails.
    broken: bool,
}

impl<S: Store> Machine<S> {
    /// Takes a request's rows in order: `create` gets a row, the rows from it on, and its slot. The store's scope is open exactly while an unbroken chain is under way.
    #[inline]
    pub(super) fn run<Row: RequestRow>(
        &mut self,
        first_slot: u64,
        rows: &[Row],
        results: &mut Vec<EventResult>,
        create: impl Fn(&mut Self, &Row, &[Row], u64) -> Verdict<Row::Status>,
    ) {
        let Some(first) = rows.first() else { return };
        let request = Request { imported: first.is_imported(), first_slot };
        let last_slot = self.timestamp;
        let mut chain: Option<Chain> = None;
        results.reserve(rows.len());
        let (mut slot, mut rest) = (first_slot, rows);
        while let Some((row, after)) = rest.split_first() {
            let linked = row.is_linked();
            let last = slot == last_slot;
            if linked && chain.is_none() {
                chain = Some(Chain { start: results.len(), broken: false });
                self.store.open_scope();
            }
            let refused = |status| Verdict { status, timestamp: slot };
            let verdict = if linked && last {
                refused(Row::Status::LINKED_EVENT_CHAIN_OPEN)
            } else if chain.as_ref().is_some_and(|chain| chain.broken) {
                refused(Row::Status::LINKED_EVENT_FAILED)
            } else {
                match request.admit(row) {
                    Ok(()) => create(self, row, rest, slot),
                    Err(status) => refused(status),
                }
            };
            if verdict.status != Row::Status::CREATED {
                if let Some(chain) = chain.as_mut().filter(|chain| !chain.broken) {
                    chain.broken = true;
                    self.store.revert_scope();
                    // The rows before this one were created: they keep the timestamps they had.
                    for result in results.iter_mut().skip(chain.start) {
                        result.status = Row::Status::LINKED_EVENT_FAILED.number();
                    }
                }
                // After the rollback, which must not take the burned id back.
                if let Some(status) = verdict.status.burns() {
                    self.store.burn(row.given_id(), status, slot);
                }
            }
            results.push(EventResult { timestamp: verdict.timestamp, status: verdict.status.number(), reserved: 0 });
            if (!linked || last)
                && let Some(Chain { broken: false, .. }) = chain.take()
            {
                self.store.keep_scope();
            }
            (slot, rest) = (slot.saturating_add(1), after);
        }
    }

    /// Opens one account.
    pub(super) fn create_account(&mut self, row: &Account, slot: u64) -> Verdict<CreateAccountStatus> {
        let refused = |status| Verdict { status, timestamp: slot };
        if let Err(status) = rules::identify_account(row) {
            return refused(status);
        }
        if let Some(handle) = self.store.find_account(row.id) {
            let existing = self.store.account(handle);
            let status = rules::account_exists(row, &existing);
            let exists = status == CreateAccountStatus::Exists;
            return Verdict { status, timestamp: if exists { existing.timestamp } else { slot } };
        }
        let timestamp = if row.is_imported() { row.timestamp } else { slot };
        let regresses = row.is_imported()
            && (timestamp <= self.store.last_account_timestamp() || self.store.event_timestamp_taken(timestamp));
        match rules::open_account(row, timestamp, regresses) {
            Ok(account) => {
                self.store.insert_account(&account);
                Verdict { status: CreateAccountStatus::Created, timestamp }
            }
            Err(status) => refused(status),
        }
    }

    /// Makes one transfer of any kind.
    #[inline]
    pub(super) fn create_transfer(&mut self, row: &Transfer, slot: u64) -> Verdict<CreateTransferStatus> {
        let refused = |status| Verdict { status, timestamp: slot };
        if let Err(status) = rules::identify_transfer(row) {
            return refused(status);
        }
        match self.store.find_transfer(row.id) {
            Found::Absent => {}
            Found::Recorded(existing) => return self.judge_retry(row, &existing, slot),
            Found::Burned => return refused(CreateTransferStatus::IdAlreadyFailed),
        }
        let imported = row.is_imported();
        let timestamp = if imported { row.timestamp } else { slot };
        let regresses = imported
            && (timestamp <= self.store.last_transfer_timestamp()
                || self.store.account_timestamp_taken(timestamp)
                || self.store.event_timestamp_taken(timestamp));
        let when = When { slot, timestamp, regresses };
        let done = if rules::is_resolution(row) { self.resolve(row, when) } else { self.transfer(row, when) };
        match done {
            Ok(()) => Verdict { status: CreateTransferStatus::Created, timestamp },
            Err(status) => refused(status),
        }
    }

    /// A row whose id is recorded already.
    #[cold]
    fn judge_retry(&self, row: &Transfer, existing: &Transfer, slot: u64) -> Verdict<CreateTransferStatus> {
        let pending = if rules::is_resolution(existing) {
            match self.store.find_transfer(existing.pending_id) {
                Found::Recorded(pending) => Some(pending),
                Found::Absent | Found::Burned => damaged("a recorded post or void names no transfer"),
            }
        } else {
            None
        };
        let status = rules::transfer_exists(row, existing, pending.as_ref());
        let exists = status == CreateTransferStatus::Exists;
        Verdict { status, timestamp: if exists { existing.timestamp } else { slot } }
    }

    /// A transfer in one phase, or the first phase of two.
    #[inline]
    fn transfer(&mut self, row: &Transfer, when: When) -> Result<(), CreateTransferStatus> {
        rules::check_transfer(row)?;
        let store = &mut self.store;
        let debit = store.find_account(row.debit_account_id).ok_or(CreateTransferStatus::DebitAccountNotFound)?;
        let credit = store.find_account(row.credit_account_id).ok_or(CreateTransferStatus::CreditAccountNotFound)?;
        let (mut debit_account, mut credit_account) = (store.account(debit), store.account(credit));
        let (debit_terms, credit_terms) = (store.terms(debit), store.terms(credit));
        let recorded = rules::move_amount(
            row,
            when,
            Side { account: &mut debit_account, terms: debit_terms.as_ref() },
            Side { account: &mut credit_account, terms: credit_terms.as_ref() },
        )?;
        let pending = row.flags & transfer_flags::PENDING != 0;
        store.record(&Event {
            kind: if pending { EventKind::TwoPhasePending } else { EventKind::SinglePhase },
            transfer: &recorded,
            pending: None,
            timestamp: when.timestamp,
            debit,
            debit_account: &debit_account,
            credit,
            credit_account: &credit_account,
        });
        Ok(())
    }

    /// The second phase of two: a post or a void.
    fn resolve(&mut self, row: &Transfer, when: When) -> Result<(), CreateTransferStatus> {
        rules::check_resolution(row)?;
        let (pending, status) = match self.store.find_open_pending(row.pending_id) {
            Some(pending) => (pending, Some(PendingStatus::Pending)),
            None => match self.store.find_transfer(row.pending_id) {
                Found::Recorded(other) => {
                    let is_pending = other.flags & transfer_flags::PENDING != 0;
                    (other, is_pending.then(|| self.store.pending_status(&other)))
                }
                // A burned id never became a transfer.
                Found::Absent | Found::Burned => return Err(CreateTransferStatus::PendingTransferNotFound),
            },
        };
        let (debit, mut debit_account) = self.account_of(pending.debit_account_id);
        let (credit, mut credit_account) = self.account_of(pending.credit_account_id);
        let recorded = rules::post_or_void(row, when, &pending, status, &mut debit_account, &mut credit_account)?;
        let void = row.flags & transfer_flags::VOID_PENDING_TRANSFER != 0;
        self.store.record(&Event {
            kind: if void { EventKind::TwoPhaseVoided } else { EventKind::TwoPhasePosted },
            transfer: &recorded,
            pending: Some(&pending),
            timestamp: when.timestamp,
            debit,
            debit_account: &debit_account,
            credit,
            credit_account: &credit_account,
        });
        Ok(())
    }
}
