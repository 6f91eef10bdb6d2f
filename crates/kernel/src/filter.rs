//! Filters: when they are valid, and what they match.
//!
//! An invalid filter returns nothing; it is never an error (`spec/kernel.md` section 7).

use core::ops::RangeInclusive;

use crate::row::{
    Account, AccountFilter, BATCH_MAX, CHANGE_EVENTS_MAX, ChangeEventsFilter, QueryFilter, TIMESTAMP_MAX, Transfer,
    filter_flags,
};

/// Whether a range of time and a limit can be meant: no time above the last, no empty range, a limit.
const fn is_range_valid(timestamp_min: u64, timestamp_max: u64, limit: u32) -> bool {
    timestamp_min <= TIMESTAMP_MAX
        && timestamp_max <= TIMESTAMP_MAX
        && (timestamp_max == 0 || timestamp_min <= timestamp_max)
        && limit != 0
}

/// The range of time that a filter names: zeros stand for the beginning and the end.
const fn range(timestamp_min: u64, timestamp_max: u64) -> RangeInclusive<u64> {
    timestamp_min..=if timestamp_max == 0 { TIMESTAMP_MAX } else { timestamp_max }
}

/// A limit no larger than a reply.
fn capped(limit: u32, max: usize) -> usize {
    usize::try_from(limit).unwrap_or(max).min(max)
}

/// What is left of a limit.
fn left(limit: usize, found: usize) -> u32 {
    u32::try_from(limit.saturating_sub(found)).unwrap_or(0)
}

/// Whether a field of a filter that is not 0 differs.
macro_rules! matches_fields {
    ($filter:expr, $row:expr, $($field:ident),*) => {
        $(($filter.$field == 0 || $filter.$field == $row.$field))&&*
    };
}

impl AccountFilter {
    /// Whether the filter can return anything.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        is_range_valid(self.timestamp_min, self.timestamp_max, self.limit)
            && self.account_id != 0
            && self.account_id != u128::MAX
            && self.flags & (filter_flags::DEBITS | filter_flags::CREDITS) != 0
            && self.flags & !(filter_flags::DEBITS | filter_flags::CREDITS | filter_flags::REVERSED) == 0
            && self.reserved == [0; 58]
    }

    /// Timestamps asked for.
    #[must_use]
    pub const fn range(&self) -> RangeInclusive<u64> {
        range(self.timestamp_min, self.timestamp_max)
    }

    /// Rows asked for, at most a reply's size.
    #[must_use]
    pub fn capped_limit(&self) -> usize {
        capped(self.limit, BATCH_MAX)
    }

    /// Whether the newest come first.
    #[must_use]
    pub const fn is_reversed(&self) -> bool {
        self.flags & filter_flags::REVERSED != 0
    }

    /// Narrows the filter to what is left after a step that found `found` rows and looked at everything before the row
    /// of this time, in the order asked for.
    pub fn go_on_from(&mut self, timestamp: u64, found: usize) {
        *if self.is_reversed() { &mut self.timestamp_max } else { &mut self.timestamp_min } = timestamp;
        self.limit = left(self.capped_limit(), found);
    }

    /// Whether a transfer is one of those asked for, its timestamp included.
    #[must_use]
    pub fn matches(&self, transfer: &Transfer) -> bool {
        let debits = self.flags & filter_flags::DEBITS != 0 && transfer.debit_account_id == self.account_id;
        let credits = self.flags & filter_flags::CREDITS != 0 && transfer.credit_account_id == self.account_id;
        (debits || credits)
            && self.range().contains(&transfer.timestamp)
            && matches_fields!(self, transfer, user_data_128, user_data_64, user_data_32, code)
    }
}

impl QueryFilter {
    /// Whether the filter can return anything.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        is_range_valid(self.timestamp_min, self.timestamp_max, self.limit)
            && self.flags & !filter_flags::QUERY_REVERSED == 0
            && self.reserved == [0; 6]
    }

    /// Timestamps asked for.
    #[must_use]
    pub const fn range(&self) -> RangeInclusive<u64> {
        range(self.timestamp_min, self.timestamp_max)
    }

    /// Rows asked for, at most a reply's size.
    #[must_use]
    pub fn capped_limit(&self) -> usize {
        capped(self.limit, BATCH_MAX)
    }

    /// Whether the newest come first.
    #[must_use]
    pub const fn is_reversed(&self) -> bool {
        self.flags & filter_flags::QUERY_REVERSED != 0
    }

    /// Narrows the filter to what is left after a step that found `found` rows and looked at everything before the row
    /// of this time, in the order asked for.
    pub fn go_on_from(&mut self, timestamp: u64, found: usize) {
        *if self.is_reversed() { &mut self.timestamp_max } else { &mut self.timestamp_min } = timestamp;
        self.limit = left(self.capped_limit(), found);
    }

    /// Whether an account is one of those asked for, its timestamp included.
    #[must_use]
    pub fn matches_account(&self, account: &Account) -> bool {
        self.range().contains(&account.timestamp)
            && matches_fields!(self, account, user_data_128, user_data_64, user_data_32, ledger, code)
    }

    /// Whether a transfer is one of those asked for, its timestamp included.
    #[must_use]
    pub fn matches_transfer(&self, transfer: &Transfer) -> bool {
        self.range().contains(&transfer.timestamp)
            && matches_fields!(self, transfer, user_data_128, user_data_64, user_data_32, ledger, code)
    }
}

impl ChangeEventsFilter {
    /// Whether the filter can return anything.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        is_range_valid(self.timestamp_min, self.timestamp_max, self.limit) && self.reserved == [0; 44]
    }

    /// Timestamps asked for.
    #[must_use]
    pub const fn range(&self) -> RangeInclusive<u64> {
        range(self.timestamp_min, self.timestamp_max)
    }

    /// Rows asked for, at most a reply's size.
    #[must_use]
    pub fn capped_limit(&self) -> usize {
        capped(self.limit, CHANGE_EVENTS_MAX)
    }
}
