//! The fast store against the plain one: the same requests give the same results, and every question the same answer.

mod ledger;

use std::collections::{BTreeMap, VecDeque};

use ledger::{Generator, compare};
use proptest::prelude::*;
use qenex_journal::derived::{Entry, LedgerStore, Options, SealJob};
use qenex_journal::disk::sim::Fault;
use qenex_journal::disk::{Disk, SimDisk};
use qenex_kernel::machine::Machine;
use qenex_kernel::memory::MemoryStore;
use qenex_kernel::row::{Account, Transfer, transfer_flags};
use qenex_kernel::status::CreateTransferStatus;
use qenex_kernel::store::Store;

const BOOK: [u8; 16] = *b"a book of a test";

/// How a segment that was closed gets sealed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sealing {
    /// At once.
    AtOnce,
    /// Two requests later, and then it settles bit by bit, so that requests find it half way in.
    Later,
}

/// Runs requests on both and compares them; `seal` seals what is closed.
fn run<D: Disk>(
    mut fast: Machine<LedgerStore<D>>,
    seed: u64,
    requests: u64,
    mut seal: impl FnMut(&mut LedgerStore<D>, Option<SealJob>),
) {
    let mut generator = Generator::new(seed);
    let mut plain = Machine::new(MemoryStore::new(), 0);
    let mut results = BTreeMap::new();
    for number in 1..=requests {
        let request = generator.request();
        let expected = request.run(&mut plain);
        assert_eq!(request.run(&mut fast), expected, "entry {number}: {request:?}");
        let entry = Entry { number, operation: request.operation(), timestamp: request.timestamp() };
        let job = fast.store_mut().close_entry(&entry, &expected);
        seal(fast.store_mut(), job);
        results.insert(number, expected);
        if number % 25 == 0 {
            compare(&plain, &fast, &mut generator, 3);
        }
    }
    compare(&plain, &fast, &mut generator, 40);
    for (number, expected) in results {
        assert_eq!(fast.store().results_of_entry(number).as_ref(), Some(&expected), "results of entry {number}");
    }
    assert_eq!(fast.store().results_of_entry(requests + 1), None);
}

fn run_in_memory(seed: u64, requests: u64, options: Options) {
    let fast = Machine::new(LedgerStore::in_memory(BOOK, options), 0);
    run(fast, seed, requests, |_, job| assert!(job.is_none(), "nothing to seal"));
}

fn run_sealed(seed: u64, requests: u64, options: Options, sealing: Sealing) {
    let disk = SimDisk::new();
    let fast = Machine::new(LedgerStore::new(disk.clone(), BOOK, options), 0);
    let mut waiting: VecDeque<(u32, SealJob)> = VecDeque::new();
    run(fast, seed, requests, |store, job| {
        for (age, _) in &mut waiting {
            *age += 1;
        }
        waiting.extend(job.map(|job| (0, job)));
        let keys = if sealing == Sealing::AtOnce { usize::MAX } else { 7 };
        store.settle(keys);
        while !store.is_settling()
            && let Some((_, job)) = waiting.pop_front_if(|(age, _)| sealing == Sealing::AtOnce || *age >= 2)
        {
            let segment = job.run(&disk).expect("sealed");
            drop(job);
            store.sealed(segment);
            store.settle(keys);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_segment_in_memory(seed in any::<u64>(), requests in 1u64..200) {
        run_in_memory(seed, requests, Options { segment_rows: 8_192, ..Options::default() });
    }

    #[test]
    fn many_segments_in_memory(
        seed in any::<u64>(), requests in 1u64..300, segment_rows in 1u32..40, segment_entries in 1u32..30,
    ) {
        let options = Options { segment_rows, segment_entries, places_a_step: 1, ..Options::default() };
        run_in_memory(seed, requests, options);
    }

    #[test]
    fn many_sealed_segments(
        seed in any::<u64>(), requests in 1u64..300, segment_rows in 1u32..60, segment_entries in 1u32..30,
        cache_bits in 1u32..9, places_a_step in 1u32..20,
    ) {
        let options = Options { segment_rows, segment_entries, cache_bits, places_a_step };
        run_sealed(seed, requests, options, Sealing::AtOnce);
    }

    #[test]
    fn segments_sealed_while_work_goes_on(seed in any::<u64>(), requests in 1u64..300, segment_rows in 1u32..60) {
        run_sealed(seed, requests, Options { segment_rows, ..Options::default() }, Sealing::Later);
    }
}

#[test]
fn a_few_large_sealed_segments() {
    run_sealed(11, 3_000, Options { segment_rows: 2_500, ..Options::default() }, Sealing::AtOnce);
}

#[test]
fn a_hold_is_posted_from_memory_however_old_it_is() {
    let disk = SimDisk::new();
    let options = Options { segment_rows: 4, ..Options::default() };
    let mut machine = Machine::new(LedgerStore::new(disk.clone(), BOOK, options), 0);
    let accounts = [1, 2].map(|id| Account { id, ledger: 978, code: 1, ..Account::ZERO });
    machine.create_accounts(2, &accounts, &mut Vec::new()).expect("in order");
    let row = |id, flags| Transfer {
        id,
        debit_account_id: 1,
        credit_account_id: 2,
        amount: 7,
        ledger: 978,
        code: 1,
        flags,
        ..Transfer::ZERO
    };
    let mut results = Vec::new();
    let rows: Vec<Transfer> = (1..=4).map(|id| row(id, transfer_flags::PENDING)).collect();
    machine.create_transfers(10, &rows, &mut results).expect("in order");
    let entry = Entry { number: 1, operation: 147, timestamp: 10 };
    let job = machine.store_mut().close_entry(&entry, &results).expect("a full segment");
    let segment = job.run(&disk).expect("sealed");
    drop(job);
    machine.store_mut().sealed_at_once(segment);
    // From here on whoever reads the disk fails.
    disk.inject(Fault::ReadFails, 0);
    let post =
        Transfer { id: 9, pending_id: 3, amount: 7, flags: transfer_flags::POST_PENDING_TRANSFER, ..Transfer::ZERO };
    results.clear();
    machine.create_transfers(11, &[post], &mut results).expect("in order");
    assert_eq!(results[0].status, CreateTransferStatus::Created.number());
    let handle = machine.store().find_account(1).expect("an account");
    let found = machine.store().account(handle);
    assert_eq!((found.debits_pending, found.debits_posted), (21, 7));
}
