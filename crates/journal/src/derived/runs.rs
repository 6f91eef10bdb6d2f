//! Indexes of rows that are still being added, made when a query first needs them.
//!
//! The logarithmic method: each time an index is used it takes in the rows added since, as a new sorted run, and runs
//! of similar size are merged. A row is merged at most once per doubling.

use std::ops::Range;
use std::sync::Arc;

use super::field::{ROW_BITS, entry};
use super::postings::Run;
use super::sort::sort_by_high_bits;

/// The index of one field, over rows `0..covered`.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    runs: Vec<Arc<Vec<u64>>>,
    covered: u32,
}

impl Runs {
    /// How many rows the index covers.
    pub(crate) fn covered(&self) -> u32 {
        self.covered
    }

    /// Takes in rows up to `rows`, but not more than `step`, each under the keys that it has; true once it has all.
    pub(crate) fn step<Keys: IntoIterator<Item = u64>>(
        &mut self,
        rows: u32,
        step: u32,
        keys_of: impl Fn(u32) -> Keys,
    ) -> bool {
        self.catch_up(rows.min(self.covered.saturating_add(step)), keys_of);
        self.covered >= rows
    }

    /// Takes in rows up to `rows`, each under the keys that it has.
    pub(crate) fn catch_up<Keys: IntoIterator<Item = u64>>(&mut self, rows: u32, keys_of: impl Fn(u32) -> Keys) {
        if rows <= self.covered {
            return;
        }
        let new: Range<u32> = self.covered..rows;
        let mut run: Vec<u64> = new.flat_map(|row| keys_of(row).into_iter().map(move |key| entry(key, row))).collect();
        sort_by_high_bits(&mut run, &mut Vec::new(), ROW_BITS);
        self.covered = rows;
        while let Some(before) = self.runs.pop_if(|before| before.len() < 2 * run.len()) {
            run = merge(&before, &run);
        }
        if !run.is_empty() {
            self.runs.push(Arc::new(run));
        }
    }

    /// The rows under a key. Runs cover consecutive rows, so their matches follow each other.
    pub(crate) fn postings(&self, key: u64) -> Vec<Run> {
        self.runs.iter().filter_map(|run| Run::of(Arc::clone(run), key)).collect()
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.runs.clear();
        self.covered = 0;
    }
}

/// Merges two sorted runs.
fn merge(a: &[u64], b: &[u64]) -> Vec<u64> {
    let mut merged = Vec::with_capacity(a.len() + b.len());
    let (mut at, mut bt) = (0, 0);
    while at < a.len() && bt < b.len() {
        // Without a branch that nobody could foretell.
        let (x, y) = (a[at], b[bt]);
        let first = x <= y;
        merged.push(if first { x } else { y });
        at += usize::from(first);
        bt += usize::from(!first);
    }
    merged.extend_from_slice(&a[at..]);
    merged.extend_from_slice(&b[bt..]);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derived::field::row_of;

    #[test]
    fn finds_the_rows_of_a_key_in_order_however_they_came() {
        let mut runs = Runs::default();
        let key_of = |row: u32| (!row.is_multiple_of(5)).then_some(u64::from(row * 7 % 13));
        for upto in [3, 4, 50, 51, 52, 400, 401, 1_000] {
            runs.catch_up(upto, key_of);
            for key in 0..13 {
                let found: Vec<u32> =
                    runs.postings(key).iter().flat_map(|run| run.entries().iter().map(|&e| row_of(e))).collect();
                let expected: Vec<u32> = (0..upto).filter(|&row| key_of(row) == Some(key)).collect();
                assert_eq!(found, expected);
            }
        }
        assert!(runs.runs.len() < 8);
    }
}
