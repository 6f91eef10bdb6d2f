//! Checkpoints and sealed files: what they restore, that their bytes depend on the entries alone, and that damage in
//! any of them is noticed.

mod ledger;

use ledger::{Generator, Request, compare};
use proptest::prelude::*;
use qenex_journal::checkpoint::{Position, Writer, load};
use qenex_journal::derived::{Entry, LedgerStore, Options};
use qenex_journal::disk::{Caching, Disk, DiskFile, SimDisk};
use qenex_kernel::machine::Machine;

const BOOK: [u8; 16] = *b"a book of a test";
const SESSIONS: &[u8] = b"two rows";
const CONFIGURATION: &[u8] = b"a setting";

/// A ledger on a simulated disk: requests, sealing, a checkpoint at each `every`-th segment.
struct Ledger {
    disk: SimDisk,
    machine: Machine<LedgerStore<SimDisk>>,
    number: u64,
    every: u32,
    under_way: Option<Writer<SimDisk>>,
    finished: Vec<Position>,
}

impl Ledger {
    fn new(disk: SimDisk, options: Options, every: u32) -> Self {
        let machine = Machine::new(LedgerStore::new(disk.clone(), BOOK, options), 0);
        Self { disk, machine, number: 0, every, under_way: None, finished: Vec::new() }
    }

    fn apply(&mut self, request: &Request) {
        let results = request.run(&mut self.machine);
        self.number += 1;
        let entry = Entry { number: self.number, operation: request.operation(), timestamp: request.timestamp() };
        if let Some(job) = self.machine.store_mut().close_entry(&entry, &results) {
            let segment = job.run(&self.disk).expect("sealed");
            let number = segment.number() + 1;
            drop(job);
            self.machine.store_mut().sealed_at_once(segment);
            if self.under_way.is_none() && number.is_multiple_of(self.every) {
                self.begin();
            }
        }
        self.step(1);
    }

    fn begin(&mut self) {
        let position = Position { entry: self.number, timestamp: self.machine.timestamp(), ..Position::default() };
        let store = self.machine.store_mut();
        let begun = store.begin_checkpoint(position, 4, SESSIONS.to_vec(), CONFIGURATION.to_vec());
        self.finished.push(position);
        self.under_way = Some(Writer::new(&self.disk, begun).expect("begun"));
    }

    fn step(&mut self, pages: usize) {
        let Some(writer) = &mut self.under_way else { return };
        match self.machine.store_mut().checkpoint_step(pages) {
            Some(rows) => writer.accounts(&rows).expect("written"),
            None => {
                let writer = self.under_way.take().expect("under way");
                let files = self.machine.store().sealed_files(writer.segments()).expect("sealed");
                writer.finish(&files).expect("finished");
            }
        }
    }
}

fn read(disk: &SimDisk, name: &str) -> Vec<u8> {
    let file = disk.open(name, Caching::Cached).expect("there");
    let mut bytes = vec![0; usize::try_from(file.length().expect("a length")).expect("small")];
    file.read_at(0, &mut bytes).expect("read");
    bytes
}

fn write(disk: &SimDisk, name: &str, offset: u64, byte: u8) {
    let file = disk.open(name, Caching::Cached).expect("there");
    file.write_at(offset, &[byte]).expect("written");
}

/// Requests that open enough accounts for several pages, then what a generator makes.
fn requests(seed: u64, count: usize) -> (Vec<Request>, Generator) {
    let mut generator = Generator::new(seed);
    (generator.many_accounts(300).into_iter().chain((0..count).map(|_| generator.request())).collect(), generator)
}

fn options(segment_rows: u32) -> Options {
    Options { segment_rows, cache_bits: 4, ..Options::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_checkpoint_taken_while_work_goes_on_and_the_rest_replayed_give_the_same_ledger(
        seed in any::<u64>(), count in 30usize..250, segment_rows in 20u32..80, every in 1u32..3,
    ) {
        let (requests, mut generator) = requests(seed, count);
        let mut ledger = Ledger::new(SimDisk::new(), options(segment_rows), every);
        requests.iter().for_each(|request| ledger.apply(request));
        let mut passed_over = Vec::new();
        let loaded = load(&ledger.disk, BOOK, options(segment_rows), |_| Ok(()), &mut passed_over).expect("a disk");
        prop_assert_eq!(passed_over, []);
        if let Some(loaded) = loaded {
            prop_assert!(ledger.finished.contains(&loaded.position));
            prop_assert_eq!(&loaded.sessions[..], SESSIONS);
            prop_assert_eq!(&loaded.configuration[..], CONFIGURATION);
            let mut restored = Ledger::new(ledger.disk.clone(), options(segment_rows), 1_000);
            restored.machine = Machine::new(loaded.store, loaded.position.timestamp);
            restored.number = loaded.position.entry;
            let rest = usize::try_from(loaded.position.entry).expect("small");
            requests[rest..].iter().for_each(|request| restored.apply(request));
            prop_assert_eq!(restored.machine.store().state_hash(), ledger.machine.store().state_hash());
            prop_assert_eq!(restored.machine.store().counters(), ledger.machine.store().counters());
            compare(&ledger.machine, &restored.machine, &mut generator, 20);
        }
    }

    #[test]
    fn sealed_files_and_checkpoints_are_the_same_bytes_everywhere(seed in any::<u64>()) {
        let (requests, mut generator) = requests(seed, 120);
        let mut one = Ledger::new(SimDisk::new(), options(40), 2);
        let mut other = Ledger::new(SimDisk::new(), options(40), 2);
        for request in &requests {
            one.apply(request);
            other.apply(request);
            // Questions make indexes in one of them; a rolled-back chain or a query must leave no trace.
            compare(&one.machine, &one.machine, &mut generator, 1);
        }
        for folder in ["segments", "checkpoints"] {
            let names = one.disk.list(folder).expect("a folder");
            prop_assert!(!names.is_empty());
            prop_assert_eq!(&names, &other.disk.list(folder).expect("a folder"));
            for name in names {
                prop_assert!(read(&one.disk, &name) == read(&other.disk, &name), "{}", name);
            }
        }
    }
}

#[test]
fn a_damaged_checkpoint_is_passed_over_for_the_older_one() {
    let (requests, _) = requests(5, 200);
    let mut ledger = Ledger::new(SimDisk::new(), options(60), 1);
    requests.iter().for_each(|request| ledger.apply(request));
    let names: Vec<String> = ledger.disk.list("checkpoints").expect("a folder");
    let names: Vec<&String> = names.iter().filter(|name| name.ends_with(".qxc")).collect();
    assert_eq!(names.len(), 2, "the last two are kept");
    let newest = read(&ledger.disk, names[1]);
    let position = |passed_over: &mut Vec<_>| {
        let loaded = load(&ledger.disk, BOOK, options(60), |_| Ok(()), passed_over).expect("a disk");
        loaded.map(|loaded| loaded.position.entry)
    };
    let good = position(&mut Vec::new());
    for offset in (0..newest.len()).step_by(97).chain(newest.len() - 40..newest.len()) {
        write(&ledger.disk, names[1], offset as u64, newest[offset] ^ 4);
        let mut passed_over = Vec::new();
        let older = position(&mut passed_over);
        assert!(older.is_some() && older < good, "a flipped bit at {offset} goes unnoticed");
        assert_eq!((passed_over.len(), &passed_over[0].name), (1, names[1]));
        write(&ledger.disk, names[1], offset as u64, newest[offset]);
    }
    assert_eq!(position(&mut Vec::new()), good);
    ledger.disk.remove("segments/000000000000.qxs").expect("removed");
    let mut passed_over = Vec::new();
    assert_eq!(position(&mut passed_over), None, "without a sealed file neither can be used");
    assert_eq!(passed_over.len(), 2);
}

#[test]
fn a_flipped_bit_anywhere_in_a_sealed_file_is_noticed() {
    let (requests, _) = requests(9, 150);
    let mut ledger = Ledger::new(SimDisk::new(), options(400), 1);
    requests.iter().for_each(|request| ledger.apply(request));
    let name = "segments/000000000000.qxs";
    let bytes = read(&ledger.disk, name);
    let verify = || LedgerStore::verify_segment(&ledger.disk, BOOK, 0).map(|(length, _)| length);
    assert_eq!(verify().ok(), Some(bytes.len() as u64));
    for offset in (0..bytes.len()).step_by(61).chain(bytes.len() - 4_096..bytes.len()) {
        write(&ledger.disk, name, offset as u64, bytes[offset] ^ 1);
        // Padding between the checksums and the footer belongs to no block: only the SHA-256 covers it.
        let noticed = match LedgerStore::verify_segment(&ledger.disk, BOOK, 0) {
            Err(_) => true,
            Ok((_, sha256)) => sha256 != ledger.machine.store().sealed_files(1).expect("sealed")[0].sha256,
        };
        assert!(noticed, "a flipped bit at {offset} goes unnoticed");
        write(&ledger.disk, name, offset as u64, bytes[offset]);
    }
}

#[test]
fn a_checkpoint_that_is_finished_clears_away_what_crashes_left_of_others() {
    let mut ledger = Ledger::new(SimDisk::new(), options(40), 2);
    ledger.disk.create_folder("checkpoints").expect("a folder");
    ledger.disk.create("checkpoints/00000000000000000007.tmp", Caching::Cached).expect("a file");
    requests(1, 200).0.iter().for_each(|request| ledger.apply(request));
    let names = ledger.disk.list("checkpoints").expect("a folder");
    let under_way = usize::from(ledger.under_way.is_some());
    assert_eq!(names.iter().filter(|name| name.ends_with(".tmp")).count(), under_way, "{names:?}");
    assert_eq!(names.len(), 2 + under_way, "{names:?}");
}
