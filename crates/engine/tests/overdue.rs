//! A journal in which a hold outlives its time is one that no engine wrote: `verify` says so.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::written::{BEGIN, Entry, command, journal};
use common::{account, transfer};
use qenex_engine::clock::SECOND_NS;
use qenex_engine::frame::Operation;
use qenex_engine::state::PULSE;
use qenex_engine::verify::verify;
use qenex_journal::disk::SimDisk;
use qenex_journal::log::EntryKind;
use qenex_kernel::row::{Transfer, transfer_flags};
use zerocopy::IntoBytes;

/// When the hold that is made at `BEGIN + 10` is over.
const EXPIRY: u64 = BEGIN + 10 + SECOND_NS;

/// The holds that are open at the end of a journal with one hold, a tick if there is a time for it, and a command of three
/// rows; or what `verify` has against it.
fn verified(tick: Option<u64>, last: u64) -> Result<u64, String> {
    let accounts = [account(1), account(2)];
    let hold = Transfer { flags: transfer_flags::PENDING, timeout: 1, ..transfer(10, 1, 2, 5) };
    let rows = [transfer(11, 1, 2, 1), transfer(12, 1, 2, 1), transfer(13, 1, 2, 1)];
    let mut entries = vec![
        command(Operation::CreateAccounts, BEGIN + 5, accounts.as_bytes()),
        command(Operation::CreateTransfers, BEGIN + 10, hold.as_bytes()),
    ];
    entries.extend(tick.map(|timestamp| Entry {
        kind: EntryKind::Tick,
        operation: PULSE,
        timestamp,
        rows: Vec::new(),
    }));
    entries.push(command(Operation::CreateTransfers, last, rows.as_bytes()));
    let verified = verify(&journal(&entries), &SimDisk::new(), None, |_| Ok(()));
    verified.map(|(_, recomputed)| recomputed.counters.pending).map_err(|error| error.to_string())
}

#[test]
fn a_hold_that_is_open_after_its_time_is_a_defect_of_the_journal() {
    // The first of three events comes 2 ns before the command's own timestamp.
    let overdue = verified(None, EXPIRY + 3).unwrap_err();
    assert!(overdue.contains("entry 4 follows on an overdue hold"), "{overdue}");
    assert!(overdue.contains("000000000002.qxj is damaged at byte"), "{overdue}");
    let late = verified(Some(EXPIRY - 1), EXPIRY + 3).unwrap_err();
    assert!(late.contains("overdue"), "the tick came before it was due: {late}");
}

#[test]
fn a_hold_may_be_open_until_the_first_event_of_a_command() {
    assert_eq!(verified(None, EXPIRY + 2), Ok(1));
    assert_eq!(verified(Some(EXPIRY), EXPIRY + 3), Ok(0));
}
