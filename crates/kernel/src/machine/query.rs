//! Reading: by id, and what can be asked of the past. Nothing here changes anything.
//!
//! All of these append to `out`. An invalid filter appends nothing.

use alloc::vec::Vec;

use super::{Machine, Misuse, check_batch};
use crate::row::{
    Account, AccountBalance, AccountFilter, AccountTerms, BalanceAt, ChangeEvent, ChangeEventsFilter, Id, Outcome,
    QueryFilter, TIMESTAMP_MAX, Transfer,
};
use crate::store::{Found, History, Progress, Store};

impl<S: Store> Machine<S> {
    /// The accounts with these ids, those found, in the order asked.
    ///
    /// # Errors
    /// [`Misuse::BatchTooLarge`].
    pub fn lookup_accounts(&self, ids: &[Id], out: &mut Vec<Account>) -> Result<(), Misuse> {
        check_batch(ids.len())?;
        let find = |id: &Id| self.store.find_account(id.id).map(|handle| self.store.account(handle));
        out.extend(ids.iter().filter_map(find));
        Ok(())
    }

    /// The transfers with these ids, those recorded, in the order asked.
    ///
    /// # Errors
    /// [`Misuse::BatchTooLarge`].
    pub fn lookup_transfers(&self, ids: &[Id], out: &mut Vec<Transfer>) -> Result<(), Misuse> {
        check_batch(ids.len())?;
        out.extend(ids.iter().filter_map(|id| match self.store.find_transfer(id.id) {
            Found::Recorded(transfer) => Some(transfer),
            Found::Absent | Found::Burned => None,
        }));
        Ok(())
    }

    /// The terms of these accounts, of those that have any, in the order asked.
    ///
    /// # Errors
    /// [`Misuse::BatchTooLarge`].
    pub fn lookup_account_terms(&self, ids: &[Id], out: &mut Vec<AccountTerms>) -> Result<(), Misuse> {
        check_batch(ids.len())?;
        let find = |id: &Id| self.store.find_account(id.id).and_then(|handle| self.store.terms(handle));
        out.extend(ids.iter().filter_map(find));
        Ok(())
    }
}

impl<S: History> Machine<S> {
    /// The transfers with these hashes, those found, in the order asked.
    ///
    /// # Errors
    /// [`Misuse::BatchTooLarge`].
    pub fn lookup_hashes(&self, hashes: &[[u8; 32]], out: &mut Vec<Transfer>) -> Result<(), Misuse> {
        check_batch(hashes.len())?;
        self.store.lookup_hashes(hashes, out);
        Ok(())
    }

    /// What became of these transfer ids: of those recorded or burned, in the order asked.
    ///
    /// # Errors
    /// [`Misuse::BatchTooLarge`].
    pub fn lookup_outcomes(&self, ids: &[Id], out: &mut Vec<Outcome>) -> Result<(), Misuse> {
        check_batch(ids.len())?;
        out.extend(ids.iter().filter_map(|id| self.store.outcome(id.id)));
        Ok(())
    }

    /// One row a question, in order: the account's balances right after its last event at or before the time asked.
    /// All zero if there is no such account or event, the time is above the last, or `reserved` is not zero.
    ///
    /// # Errors
    /// [`Misuse::BatchTooLarge`].
    pub fn balance_at(&self, questions: &[BalanceAt], out: &mut Vec<AccountBalance>) -> Result<(), Misuse> {
        check_batch(questions.len())?;
        out.extend(questions.iter().map(|question| {
            let valid = question.reserved == 0 && question.timestamp <= TIMESTAMP_MAX;
            let account = if valid { self.store.find_account(question.account_id) } else { None };
            account.map_or(AccountBalance::ZERO, |handle| self.store.balance_at(handle, question.timestamp))
        }));
        Ok(())
    }

    /// Transfers of one account, at most 8,189.
    pub fn get_account_transfers(&self, filter: &AccountFilter, out: &mut Vec<Transfer>) {
        let mut left = *filter;
        while left.is_valid() && self.store.get_account_transfers(&mut left, out) == Progress::More {}
    }

    /// Balances of one account with `history` after each of its transfers, at most 8,189.
    pub fn get_account_balances(&self, filter: &AccountFilter, out: &mut Vec<AccountBalance>) {
        let mut left = *filter;
        while left.is_valid() && self.store.get_account_balances(&mut left, out) == Progress::More {}
    }

    /// Accounts by their fields, at most 8,189.
    pub fn query_accounts(&self, filter: &QueryFilter, out: &mut Vec<Account>) {
        let mut left = *filter;
        while left.is_valid() && self.store.query_accounts(&mut left, out) == Progress::More {}
    }

    /// Transfers by their fields, at most 8,189.
    pub fn query_transfers(&self, filter: &QueryFilter, out: &mut Vec<Transfer>) {
        let mut left = *filter;
        while left.is_valid() && self.store.query_transfers(&mut left, out) == Progress::More {}
    }

    /// Changes of the ledger in order of time, at most 2,730.
    pub fn get_change_events(&self, filter: &ChangeEventsFilter, out: &mut Vec<ChangeEvent>) {
        if filter.is_valid() {
            self.store.get_change_events(filter, out);
        }
    }
}
