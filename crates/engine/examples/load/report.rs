//! What came of it.

use core::fmt::{self, Display};
use std::collections::BTreeMap;

use crate::wire::Answer;

/// What is counted. Times are nanoseconds since the load began.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The measurement begins here; answers before it are not in the rate, nor what was due before it in the latencies.
    pub(crate) begin_ns: u64,
    /// Requests that were due, and sent; those sent again do not count again.
    pub(crate) due: u64,
    pub(crate) sent: u64,
    pub(crate) replies: u64,
    /// Times that one was to be sent again.
    busy: u64,
    pub(crate) failed: BTreeMap<u16, u64>,
    /// Transfers in the ledger, all and within the measurement.
    created: u64,
    measured: u64,
    refused: u64,
    /// Rows within the measurement whose answers say what group they were in, and how many groups these were: of each a row
    /// counts as its share.
    grouped: u64,
    groups: f64,
    /// The measurement ends here, or with the last answer.
    pub(crate) end_ns: u64,
    last_ns: u64,
    latencies_us: Vec<u32>,
    per: u64,
    /// Of each so many transfers: when they were answered, and the longest answer among them.
    marks: Vec<(u64, u32)>,
    longest_us: u32,
}

impl Report {
    pub(crate) fn new(begin_ns: u64, end_ns: u64, per: u64) -> Self {
        Self { begin_ns, end_ns, per, ..Self::default() }
    }

    /// Requests that were answered, but for those that are to be sent again.
    pub(crate) fn answered(&self) -> u64 {
        self.replies + self.failed.values().sum::<u64>()
    }

    pub(crate) fn answer(&mut self, answer: Answer, due_ns: u64, now_ns: u64) {
        let latency_us = u32::try_from(now_ns.saturating_sub(due_ns) / 1_000).unwrap_or(u32::MAX);
        match answer {
            Answer::Done { created, refused, group_rows } => {
                self.replies += 1;
                self.created += created;
                self.refused += refused;
                if (self.begin_ns..self.end_ns).contains(&now_ns) {
                    self.measured += created;
                    if group_rows > 0 {
                        self.grouped += created + refused;
                        self.groups += (created + refused) as f64 / f64::from(group_rows);
                    }
                    self.last_ns = now_ns;
                }
                // By when it was due: what was due within the measurement counts however late its answer came.
                if (self.begin_ns..self.end_ns).contains(&due_ns) {
                    self.latencies_us.push(latency_us);
                }
                self.longest_us = self.longest_us.max(latency_us);
                if self.per > 0 && self.created / self.per > self.marks.len() as u64 {
                    self.marks.push((now_ns, core::mem::take(&mut self.longest_us)));
                }
            }
            Answer::Busy => self.busy += 1,
            Answer::Failed(code) => *self.failed.entry(code).or_default() += 1,
        }
    }

    pub(crate) fn close(&mut self) {
        self.latencies_us.sort_unstable();
        self.end_ns = self.end_ns.min(self.last_ns.max(self.begin_ns + 1));
    }

    fn quantile(&self, per_mille: usize) -> u32 {
        let last = self.latencies_us.len().saturating_sub(1);
        self.latencies_us.get(last.min(self.latencies_us.len() * per_mille / 1_000)).copied().unwrap_or(0)
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = (self.end_ns - self.begin_ns) as f64 / 1e9;
        write!(f, "{{\"due\": {}, \"sent\": {}, \"replies\": {}, ", self.due, self.sent, self.replies)?;
        write!(f, "\"busy\": {}, \"unanswered\": {}, ", self.busy, self.sent - self.answered())?;
        let failed: Vec<String> = self.failed.iter().map(|(code, count)| format!("\"{code}\": {count}")).collect();
        write!(f, "\"failed\": {{{}}}, \"created\": {}, ", failed.join(", "), self.created)?;
        write!(f, "\"refused\": {}, \"seconds\": {seconds:.3}, ", self.refused)?;
        write!(f, "\"rate\": {:.1}, ", self.measured as f64 / seconds)?;
        write!(f, "\"group_rows\": {:.1}, ", self.grouped as f64 / self.groups.max(f64::MIN_POSITIVE))?;
        for (name, per_mille) in [("p50_us", 500), ("p90_us", 900), ("p99_us", 990), ("p999_us", 999)] {
            write!(f, "\"{name}\": {}, ", self.quantile(per_mille))?;
        }
        let marks: Vec<String> =
            self.marks.iter().map(|(ns, longest)| format!("[{:.4}, {longest}]", *ns as f64 / 1e9)).collect();
        write!(f, "\"max_us\": {}, \"marks\": [{}]}}", self.quantile(1_000), marks.join(", "))
    }
}
