//! What the engine counts, as Prometheus text.

use core::fmt::Write as _;
use std::collections::BTreeMap;

use crate::frame::ErrorCode;

/// Bounds of the buckets: 2^4 to 2^24 microseconds, which is 16 us to 17 s.
const FIRST_BOUND: u32 = 4;
const BOUNDS: usize = 21;

/// A histogram of durations, in buckets that double.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    buckets: [u64; BOUNDS + 1],
    sum_ns: u64,
}

impl Histogram {
    /// Counts a duration.
    pub fn record(&mut self, nanoseconds: u64) {
        let microseconds = nanoseconds.div_ceil(1_000);
        let bucket = (0..BOUNDS).find(|&bucket| microseconds <= bound(bucket)).unwrap_or(BOUNDS);
        self.buckets[bucket] += 1;
        self.sum_ns += nanoseconds;
    }

    fn write(&self, name: &str, help: &str, out: &mut String) {
        head(out, name, "histogram", help);
        let mut count = 0;
        for (bucket, number) in self.buckets.iter().enumerate().take(BOUNDS) {
            count += number;
            line(out, format_args!("{name}_bucket{{le=\"{}\"}} {count}", seconds(bound(bucket) * 1_000)));
        }
        count += self.buckets[BOUNDS];
        line(out, format_args!("{name}_bucket{{le=\"+Inf\"}} {count}"));
        line(out, format_args!("{name}_sum {}", seconds(self.sum_ns)));
        line(out, format_args!("{name}_count {count}"));
    }
}

/// The bound of a bucket, microseconds.
const fn bound(bucket: usize) -> u64 {
    1 << (FIRST_BOUND as usize + bucket)
}

/// Nanoseconds as seconds, exactly.
fn seconds(nanoseconds: u64) -> String {
    format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000)
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    line(out, format_args!("# HELP {name} {help}"));
    line(out, format_args!("# TYPE {name} {kind}"));
}

fn line(out: &mut String, arguments: core::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    _ = writeln!(out, "{arguments}");
}

/// What is counted on the way.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// From handing a group to the writer until it is durable.
    pub sync: Histogram,
    /// From a group's being durable until it is applied and answered.
    pub apply: Histogram,
    /// From a request's arrival until its answer is written.
    pub answer: Histogram,
    /// Groups made durable.
    pub groups: u64,
    /// Requests in them.
    pub group_requests: u64,
    /// Rows in them.
    pub group_rows: u64,
    /// Largest group so far, in requests.
    pub group_requests_max: u64,
    /// Reads answered.
    pub reads: u64,
    /// Writes answered again, from what they became the first time.
    pub retries: u64,
    /// Pending transfers' expiries asked for.
    pub pulses: u64,
    refusals: BTreeMap<ErrorCode, u64>,
    results: BTreeMap<(&'static str, &'static str), u64>,
}

/// What stands at a moment.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)] // the help texts below say what each is
pub struct Gauges {
    pub connections: u64,
    pub sessions: u64,
    pub queue_requests: u64,
    pub queue_bytes: u64,
    pub group: u64,
    pub entry: u64,
    pub accounts: u64,
    pub transfers: u64,
    pub pending: u64,
    pub segments: u64,
    pub journal_bytes: u64,
    pub checkpoint_entry: u64,
    pub checkpoint_age_s: u64,
    pub free_bytes: u64,
    pub clock_lag_ns: u64,
    pub writable: u64,
}

impl Metrics {
    /// Counts a refusal of a request or a connection.
    pub fn refused(&mut self, code: ErrorCode) {
        *self.refusals.entry(code).or_default() += 1;
    }

    /// Counts results of rows by operation and status.
    pub fn result(&mut self, operation: &'static str, status: &'static str, count: u64) {
        *self.results.entry((operation, status)).or_default() += count;
    }

    /// All of it in Prometheus's text format.
    #[must_use]
    pub fn render(&self, gauges: &Gauges) -> String {
        let mut out = String::with_capacity(8_192);
        let o = &mut out;
        self.sync.write("qenex_engine_sync_seconds", "From handing a group to the writer until it is durable.", o);
        self.apply.write("qenex_engine_apply_seconds", "From a group's being durable until it is answered.", o);
        self.answer.write("qenex_engine_answer_seconds", "From a write's arrival until its answer.", o);
        for (name, help, value) in [
            ("groups", "Groups made durable.", self.groups),
            ("group_requests", "Requests in groups made durable.", self.group_requests),
            ("group_rows", "Rows in groups made durable.", self.group_rows),
            ("reads", "Reads answered.", self.reads),
            ("retries", "Writes answered again from their outcome.", self.retries),
            ("pulses", "Steps of expiry.", self.pulses),
        ] {
            head(o, &format!("qenex_engine_{name}_total"), "counter", help);
            line(o, format_args!("qenex_engine_{name}_total {value}"));
        }
        head(o, "qenex_engine_refusals_total", "counter", "Requests and connections refused, by error.");
        for (code, count) in &self.refusals {
            line(o, format_args!("qenex_engine_refusals_total{{code=\"{code}\"}} {count}"));
        }
        head(o, "qenex_engine_results_total", "counter", "Results of rows, by operation and status.");
        for ((operation, status), count) in &self.results {
            let labels = format_args!("operation=\"{operation}\",status=\"{status}\"");
            line(o, format_args!("qenex_engine_results_total{{{labels}}} {count}"));
        }
        let lag = seconds(gauges.clock_lag_ns);
        for (name, help, value) in [
            ("group_requests_max", "Largest group so far, in requests.", self.group_requests_max),
            ("connections", "Open connections.", gauges.connections),
            ("sessions", "Sessions remembered.", gauges.sessions),
            ("queue_requests", "Writes accepted and not answered.", gauges.queue_requests),
            ("queue_bytes", "Bytes of groups under way.", gauges.queue_bytes),
            ("last_synced_group", "Number of the last durable group.", gauges.group),
            ("last_applied_entry", "Number of the last applied entry.", gauges.entry),
            ("accounts", "Accounts opened.", gauges.accounts),
            ("transfers", "Transfers recorded.", gauges.transfers),
            ("pending", "Pending transfers that are open.", gauges.pending),
            ("segments", "Segments, the open one included.", gauges.segments),
            ("journal_bytes", "Bytes of the journal's files up to its end.", gauges.journal_bytes),
            ("checkpoint_entry", "Last entry in the newest checkpoint.", gauges.checkpoint_entry),
            (
                "checkpoint_age_seconds",
                "Seconds since the state that the newest checkpoint holds, or since the start while there is none.",
                gauges.checkpoint_age_s,
            ),
            ("free_bytes", "Bytes that can still be written to the disk.", gauges.free_bytes),
            ("writable", "1, or the number of the error that a write of one row would get.", gauges.writable),
        ] {
            head(o, &format!("qenex_engine_{name}"), "gauge", help);
            line(o, format_args!("qenex_engine_{name} {value}"));
        }
        head(o, "qenex_engine_clock_lag_seconds", "gauge", "How far the engine's time is ahead of the wall clock.");
        line(o, format_args!("qenex_engine_clock_lag_seconds {lag}"));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_cumulatively_and_sums_exactly() {
        let mut histogram = Histogram::default();
        for nanoseconds in [1, 16_000, 16_001, 20_000_000_000] {
            histogram.record(nanoseconds);
        }
        let mut text = String::new();
        histogram.write("x", "Help.", &mut text);
        assert!(text.contains("x_bucket{le=\"0.000016000\"} 2\n"), "{text}");
        assert!(text.contains("x_bucket{le=\"0.000032000\"} 3\n"));
        assert!(text.contains("x_bucket{le=\"+Inf\"} 4\n"));
        assert!(text.contains("x_sum 20.000032002\nx_count 4\n"));
    }
}
