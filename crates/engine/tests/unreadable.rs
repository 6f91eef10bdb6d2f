//! A start that cannot read what it needs says what and why, and is no crash.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::written::{BEGIN, OPTIONS, command, journal};
use common::{BOOK, account, transfer};
use qenex_engine::EngineError;
use qenex_engine::clock::Now;
use qenex_engine::frame::Operation;
use qenex_engine::recover::{OpenOptions, open};
use qenex_journal::derived::Options as StoreOptions;
use qenex_journal::disk::sim::Fault;
use qenex_kernel::row::Transfer;
use zerocopy::IntoBytes;

/// More reads than a start makes here.
const READS_MAX: u64 = 10_000;

#[test]
fn a_start_whose_disk_fails_to_read_ends_with_an_error_wherever_that_is() {
    let accounts = [account(1), account(2)];
    let mut entries = vec![command(Operation::CreateAccounts, BEGIN + 10, accounts.as_bytes())];
    // Each repeats a transfer of long ago, which lies in a sealed segment by then.
    for request in 1..=30u64 {
        let id = |row: u64| u128::from(request * 10 + row);
        let old = transfer(u128::from((request / 3).max(1) * 10), 1, 2, 1);
        let rows: Vec<Transfer> = (0..5).map(|row| transfer(id(row), 1, 2, 1)).chain([old]).collect();
        entries.push(command(Operation::CreateTransfers, BEGIN + 10 + request * 10, rows.as_bytes()));
    }
    let options = OpenOptions {
        book: Some(BOOK),
        incarnation: [1; 16],
        writer: [9; 16],
        now: Now { wall_ns: 2 * BEGIN, monotonic_ns: 1 },
        clock_trusted: true,
        journal: OPTIONS,
        store: StoreOptions { segment_rows: 8, segment_entries: 1 << 10, cache_bits: 1, ..StoreOptions::default() },
    };
    let disk = journal(&entries);
    let (mut failed, mut in_the_middle) = (0, 0);
    for after in 0..READS_MAX {
        let disk = disk.copy();
        disk.inject(Fault::ReadFails, after);
        match open(&disk, &options) {
            Ok(opened) => {
                assert_eq!(opened.state.machine().store().counters().transfers, 150);
                assert!(failed > 100 && in_the_middle > 30, "{failed} {in_the_middle}");
                return;
            }
            Err(EngineError::Disk(error)) => {
                failed += 1;
                in_the_middle += u64::from(error.name.starts_with("segments/"));
            }
            Err(error) => panic!("after {after} reads: {error}"),
        }
    }
    panic!("no start after {READS_MAX} reads");
}
