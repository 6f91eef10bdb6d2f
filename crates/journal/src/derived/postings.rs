//! The rows under a key, and rows under several keys at once.

use std::ops::Range;
use std::sync::Arc;

use super::field::{entry, row_of};

/// The rows under one key of one index, in order, found by position in time.
pub(crate) trait Postings {
    /// About how many there are.
    fn count(&self) -> u64;
    /// The first row at or after `row`.
    fn at_or_after(&mut self, row: u32) -> Option<u32>;
    /// The last row at or before `row`.
    fn at_or_before(&mut self, row: u32) -> Option<u32>;
}

/// Part of a sorted run: the entries of one key.
#[derive(Debug)]
pub(crate) struct Run {
    run: Arc<Vec<u64>>,
    range: Range<usize>,
}

impl Run {
    /// The entries of `key`, if there are any.
    pub(crate) fn of(run: Arc<Vec<u64>>, key: u64) -> Option<Self> {
        let begin = run.partition_point(|&e| e < entry(key, 0));
        let length = run[begin..].partition_point(|&e| e < entry(key + 1, 0));
        (length > 0).then_some(Self { run, range: begin..begin + length })
    }

    /// The entries.
    pub(crate) fn entries(&self) -> &[u64] {
        &self.run[self.range.clone()]
    }
}

/// Matches in runs that cover consecutive rows.
impl Postings for Vec<Run> {
    fn count(&self) -> u64 {
        self.iter().map(|run| run.range.len() as u64).sum()
    }

    fn at_or_after(&mut self, row: u32) -> Option<u32> {
        let run = self.get(self.partition_point(|run| run.entries().last().is_some_and(|&e| row_of(e) < row)))?;
        let entries = run.entries();
        entries.get(entries.partition_point(|&e| row_of(e) < row)).map(|&e| row_of(e))
    }

    fn at_or_before(&mut self, row: u32) -> Option<u32> {
        let after = self.partition_point(|run| run.entries().first().is_some_and(|&e| row_of(e) <= row));
        let entries = self.get(after.checked_sub(1)?)?.entries();
        let after = entries.partition_point(|&e| row_of(e) <= row);
        after.checked_sub(1).map(|last| row_of(entries[last]))
    }
}

/// Rows under any of a few keys (an account's debits and its credits).
pub(crate) struct AnyOf<'a>(pub(crate) Vec<Box<dyn Postings + 'a>>);

impl Postings for AnyOf<'_> {
    fn count(&self) -> u64 {
        self.0.iter().map(|postings| postings.count()).sum()
    }

    fn at_or_after(&mut self, row: u32) -> Option<u32> {
        self.0.iter_mut().filter_map(|postings| postings.at_or_after(row)).min()
    }

    fn at_or_before(&mut self, row: u32) -> Option<u32> {
        self.0.iter_mut().filter_map(|postings| postings.at_or_before(row)).max()
    }
}

/// Places that a step of a query may still look at.
#[derive(Debug)]
pub(crate) struct Effort(pub(crate) u32);

impl Effort {
    /// One place more is looked at, which may be one too many.
    pub(crate) const fn spend(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }

    pub(crate) const fn is_spent(&self) -> bool {
        self.0 == 0
    }
}

/// Walks the rows of `range` that stand in all of `clauses`, in order of time or against it, until `visit` says to stop.
/// Without clauses these are all rows. If the effort is spent before, this returns the row to go on from, which is
/// further on than where it began.
///
/// Each clause in turn leaps to the row that the others have reached, beginning with the rarest: what is passed over
/// is never looked at. Two that are both dense and never meet take many leaps all the same.
pub(crate) fn walk(
    mut clauses: Vec<Box<dyn Postings + '_>>,
    range: Range<u32>,
    reversed: bool,
    effort: &mut Effort,
    mut visit: impl FnMut(u32) -> bool,
) -> Option<u32> {
    clauses.sort_by_key(|clause| clause.count());
    if range.is_empty() {
        return None;
    }
    let mut row = if reversed { range.end - 1 } else { range.start };
    'next: loop {
        for clause in &mut clauses {
            effort.spend();
            let reached = if reversed { clause.at_or_before(row) } else { clause.at_or_after(row) };
            match reached {
                Some(reached) if !range.contains(&reached) => return None,
                Some(reached) if reached != row => {
                    row = reached;
                    if effort.is_spent() {
                        return Some(row);
                    }
                    continue 'next;
                }
                Some(_) => {}
                None => return None,
            }
        }
        effort.spend();
        if !visit(row) {
            return None;
        }
        row = match (reversed, row) {
            (true, row) if row > range.start => row - 1,
            (false, row) if row + 1 < range.end => row + 1,
            _ => return None,
        };
        if effort.is_spent() {
            return Some(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postings(rows: &[&[u32]]) -> Vec<Run> {
        let run = |rows: &&[u32]| Run::of(Arc::new(rows.iter().map(|&row| entry(1, row)).collect()), 1);
        rows.iter().filter_map(run).collect()
    }

    #[test]
    fn walks_the_rows_in_all_clauses_both_ways() {
        let clauses = || -> Vec<Box<dyn Postings>> {
            let either: Vec<Box<dyn Postings>> =
                vec![Box::new(postings(&[&[1, 5, 9], &[12, 40]])), Box::new(postings(&[&[2, 13], &[14, 33]]))];
            vec![Box::new(postings(&[&[1, 2, 3, 4, 9], &[13, 33, 40, 41]])), Box::new(AnyOf(either))]
        };
        // However small the steps are.
        let collect = |range: Range<u32>, reversed| {
            let found = [1, 2, 3, 5, 1_000].map(|places| {
                let (mut rows, mut left) = (Vec::new(), range.clone());
                let mut visit = |row| {
                    rows.push(row);
                    true
                };
                while let Some(row) = walk(clauses(), left.clone(), reversed, &mut Effort(places), &mut visit) {
                    assert!(places < 1_000, "all of it is one step");
                    left = if reversed { left.start..row + 1 } else { row..left.end };
                }
                rows
            });
            assert!(found.iter().all(|rows| *rows == found[0]), "{found:?}");
            found[0].clone()
        };
        assert_eq!(collect(0..100, false), [1, 2, 9, 13, 33, 40]);
        assert_eq!(collect(0..100, true), [40, 33, 13, 9, 2, 1]);
        assert_eq!(collect(2..33, false), [2, 9, 13]);
        assert_eq!(collect(2..33, true), [13, 9, 2]);
        assert_eq!(collect(3..9, false), []);
        assert_eq!(collect(0..0, true), []);
    }

    #[test]
    fn walks_all_rows_without_clauses_and_stops_when_told() {
        let mut rows = Vec::new();
        let stopped = walk(Vec::new(), 3..10, true, &mut Effort(100), |row| {
            rows.push(row);
            row > 7
        });
        assert_eq!((rows, stopped), (vec![9, 8, 7], None));
    }
}
