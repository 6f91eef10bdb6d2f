//! The fast store against the plain one: the same requests give the same results, and every question the same answer.

mod ledger;

use std::collections::BTreeMap;

use ledger::{Generator, compare};
use proptest::prelude::*;
use qenex_journal::derived::{Entry, LedgerStore, Options};
use qenex_kernel::machine::Machine;
use qenex_kernel::memory::MemoryStore;

const BOOK: [u8; 16] = *b"a book of a test";

fn run(seed: u64, requests: u64, options: Options) {
    let mut generator = Generator::new(seed);
    let mut plain = Machine::new(MemoryStore::new(), 0);
    let mut fast = Machine::new(LedgerStore::new((), BOOK, options), 0);
    let mut results = BTreeMap::new();
    for number in 1..=requests {
        let request = generator.request();
        let expected = request.run(&mut plain);
        assert_eq!(request.run(&mut fast), expected, "entry {number}: {request:?}");
        let entry = Entry { number, operation: request.operation(), timestamp: request.timestamp() };
        fast.store_mut().close_entry(&entry, &expected);
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_segment(seed in any::<u64>(), requests in 1u64..200) {
        run(seed, requests, Options { segment_rows: 8_192, segment_entries: 100_000 });
    }

    #[test]
    fn many_segments(seed in any::<u64>(), requests in 1u64..300, segment_rows in 1u32..40, segment_entries in 1u32..30) {
        run(seed, requests, Options { segment_rows, segment_entries });
    }
}
