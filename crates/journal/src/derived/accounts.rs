//! All accounts, in the order of their creation, which is the order of their timestamps.

use std::collections::BTreeMap;
use std::ops::Range;

use qenex_kernel::row::{Account, AccountTerms};

use super::chunks::Chunks;
use super::hash::Keys;
use super::id_table::IdTable;
use super::num::index32;

/// Ordinal of an account, from 0 in order of creation.
pub(crate) type Slot = u32;

/// Accounts at most: one bit of a slot is kept for other things in sealed files.
pub(crate) const SLOTS_MAX: usize = (1 << 31) - 1;

/// An account in two cache lines, never in three.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(128))]
pub(crate) struct AccountLine(pub(crate) Account);

const BLOCK_BITS: u32 = 14;

/// Accounts, the index of their ids, their terms.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    rows: Chunks<AccountLine, BLOCK_BITS>,
    by_id: IdTable,
    /// Terms by slot, in blocks made when the first account of the block gets terms; zeros are none.
    terms: Vec<Option<Vec<AccountTerms>>>,
    /// A checkpoint under way.
    snapshot: Option<Snapshot>,
}

/// Accounts in a page: what is copied at once.
const PAGE: usize = 64;

/// The accounts as they were when a checkpoint began.
#[derive(Debug)]
struct Snapshot {
    /// How many there were.
    length: usize,
    /// The next page to hand out.
    next_page: usize,
    /// Pages after it that have changed since, as they were.
    changed: BTreeMap<usize, Vec<Account>>,
    /// A bit for each page that was ever put there: every change of an account asks for it.
    kept: Vec<u64>,
}

impl Accounts {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Starts loading what finding `id` needs.
    #[inline]
    pub(crate) fn prefetch_index(&self, hash: u64) {
        self.by_id.prefetch(hash);
    }

    /// Starts loading the row that probably is the one with this hash.
    #[inline]
    pub(crate) fn prefetch_row(&self, hash: u64) {
        if let Some(slot) = self.by_id.candidate(hash) {
            self.rows.prefetch(slot as usize);
        }
    }

    /// The account with this id.
    #[inline]
    pub(crate) fn find(&self, keys: &Keys, id: u128) -> Option<Slot> {
        self.by_id.find(keys.id(id), |slot| self.rows.at(slot as usize).0.id == id)
    }

    /// The account in this slot.
    #[inline]
    pub(crate) fn row(&self, slot: Slot) -> &Account {
        &self.rows.at(slot as usize).0
    }

    /// Replaces the four balances and the flags, all that ever changes, and returns the row before.
    #[inline]
    pub(crate) fn update(&mut self, slot: Slot, row: &Account) -> &Account {
        if self.snapshot.is_some() {
            self.keep_page(slot);
        }
        let line = self.rows.at_mut(slot as usize);
        line.0 = *row;
        &line.0
    }

    /// From here on the accounts as they are now can be had with [`Self::snapshot_step`].
    pub(crate) fn begin_snapshot(&mut self) {
        assert!(self.snapshot.is_none(), "one checkpoint at a time");
        let length = self.rows.len();
        let kept = vec![0; length.div_ceil(PAGE).div_ceil(64)];
        self.snapshot = Some(Snapshot { length, next_page: 0, changed: BTreeMap::new(), kept });
    }

    /// The snapshot under way, if there is one, is not wanted any more.
    pub(crate) fn forget_snapshot(&mut self) {
        self.snapshot = None;
    }

    /// The next accounts of the snapshot, at most `max_pages` pages; `None` when there are no more, which ends it.
    pub(crate) fn snapshot_step(&mut self, max_pages: usize) -> Option<Vec<Account>> {
        let snapshot = self.snapshot.as_mut()?;
        let pages = snapshot.length.div_ceil(PAGE);
        let mut rows = Vec::new();
        for page in snapshot.next_page..pages.min(snapshot.next_page + max_pages) {
            match snapshot.changed.remove(&page) {
                Some(changed) => rows.extend(changed),
                None => rows.extend(page_rows(page, snapshot.length).map(|slot| self.rows.at(slot).0)),
            }
            snapshot.next_page = page + 1;
        }
        if rows.is_empty() && snapshot.next_page == pages {
            self.snapshot = None;
            return None;
        }
        Some(rows)
    }

    /// Copies the page of an account that is about to change, unless the snapshot has it or does not want it.
    fn keep_page(&mut self, slot: Slot) {
        let Some(snapshot) = &mut self.snapshot else { return };
        let page = slot as usize / PAGE;
        if page < snapshot.next_page || slot as usize >= snapshot.length {
            return;
        }
        let (word, bit) = (&mut snapshot.kept[page / 64], 1 << (page % 64));
        if *word & bit != 0 {
            return;
        }
        *word |= bit;
        let rows = page_rows(page, snapshot.length).map(|slot| self.rows.at(slot).0).collect();
        snapshot.changed.insert(page, rows);
    }

    /// Adds an account whose id is not there.
    pub(crate) fn push(&mut self, keys: &Keys, account: &Account) {
        assert!(self.rows.len() < SLOTS_MAX, "a book has at most 2^31 - 1 accounts");
        self.by_id.insert(keys.id(account.id), index32(self.rows.len()));
        self.rows.push(AccountLine(*account));
    }

    /// Takes the newest account back.
    pub(crate) fn pop(&mut self, keys: &Keys) {
        let line = self.rows.pop().expect("an account to take back");
        self.by_id.remove(keys.id(line.0.id), index32(self.rows.len()));
    }

    /// Timestamp of the newest account, 0 if there is none.
    pub(crate) fn last_timestamp(&self) -> u64 {
        self.rows.last().map_or(0, |line| line.0.timestamp)
    }

    /// How many accounts are older than `timestamp`, which is the slot of the first that is not.
    pub(crate) fn older_than(&self, timestamp: u64) -> usize {
        self.rows.partition_point(|line| line.0.timestamp < timestamp)
    }

    /// Whether an account has this timestamp.
    pub(crate) fn timestamp_taken(&self, timestamp: u64) -> bool {
        if timestamp > self.last_timestamp() {
            return false;
        }
        let slot = self.older_than(timestamp);
        slot < self.len() && self.rows.at(slot).0.timestamp == timestamp
    }

    /// The accounts in order of creation.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Account> {
        self.rows.iter().map(|line| &line.0)
    }

    /// The account's terms, if it has any.
    #[inline]
    pub(crate) fn terms(&self, slot: Slot) -> Option<&AccountTerms> {
        let block = self.terms.get(slot as usize >> BLOCK_BITS)?.as_ref()?;
        let terms = &block[slot as usize & (Chunks::<AccountLine, BLOCK_BITS>::CHUNK - 1)];
        (terms.account_id != 0).then_some(terms)
    }

    /// Replaces the account's terms and returns those before.
    pub(crate) fn set_terms(&mut self, slot: Slot, terms: Option<&AccountTerms>) -> Option<AccountTerms> {
        let before = self.terms(slot).copied();
        if before.is_none() && terms.is_none() {
            return None;
        }
        let block = slot as usize >> BLOCK_BITS;
        if self.terms.len() <= block {
            self.terms.resize_with(block + 1, || None);
        }
        let size = Chunks::<AccountLine, BLOCK_BITS>::CHUNK;
        let block = self.terms[block].get_or_insert_with(|| vec![AccountTerms::ZERO; size]);
        block[slot as usize & (size - 1)] = terms.copied().unwrap_or(AccountTerms::ZERO);
        before
    }

    /// All terms, in order of slot.
    pub(crate) fn all_terms(&self) -> impl Iterator<Item = &AccountTerms> {
        self.terms.iter().flatten().flatten().filter(|terms| terms.account_id != 0)
    }
}

/// The slots of a page of a snapshot.
fn page_rows(page: usize, length: usize) -> Range<usize> {
    page * PAGE..length.min((page + 1) * PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(id: u128, timestamp: u64) -> Account {
        Account { id, timestamp, ..Account::ZERO }
    }

    #[test]
    fn finds_by_id_and_by_time_and_takes_back() {
        let keys = Keys::new([1; 16]);
        let mut accounts = Accounts::default();
        for i in 1..=10_000u64 {
            accounts.push(&keys, &account(u128::from(i) << 70, i * 10));
        }
        accounts.pop(&keys);
        assert_eq!(accounts.find(&keys, 10_000 << 70), None);
        assert_eq!(accounts.find(&keys, 77 << 70), Some(76));
        assert_eq!(accounts.last_timestamp(), 99_990);
        assert!(accounts.timestamp_taken(500));
        assert!(!accounts.timestamp_taken(501) && !accounts.timestamp_taken(100_000));
        assert_eq!(accounts.older_than(95), 9);
    }

    #[test]
    fn terms_are_set_replaced_and_removed() {
        let keys = Keys::new([1; 16]);
        let mut accounts = Accounts::default();
        for i in 1..=5_000u64 {
            accounts.push(&keys, &account(u128::from(i), i));
        }
        let terms = AccountTerms { account_id: 4_500, debit_limit: 7, ..AccountTerms::ZERO };
        assert_eq!(accounts.set_terms(4_499, Some(&terms)), None);
        assert_eq!(accounts.terms(4_499), Some(&terms));
        assert_eq!(accounts.terms(4_498), None);
        assert_eq!(accounts.all_terms().count(), 1);
        assert_eq!(accounts.set_terms(4_499, None), Some(terms));
        assert_eq!(accounts.terms(4_499), None);
    }
}
