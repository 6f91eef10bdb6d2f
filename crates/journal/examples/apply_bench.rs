//! How fast a machine over the ledger store applies transfers, in process, on one core, without a journal:
//! `cargo run --release --example apply_bench [rounds] [millions]`.
//!
//! Full segments are sealed in between, as the engine has it done by another thread, and their memory is used again.
//! Sealing is not part of the time; taking the keys of what was sealed into the directory, which the engine's own thread
//! does, is.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use qenex_journal::derived::{Entry, LedgerStore, Options, SealJob};
use qenex_journal::disk::FileDisk;
use qenex_kernel::machine::Machine;
use qenex_kernel::row::{Account, BATCH_MAX, EventResult, Transfer, account_flags, transfer_flags};

const CREATE_ACCOUNTS: u16 = 146;
const CREATE_TRANSFERS: u16 = 147;
/// Keys that the engine takes into the directory between two batches.
const SETTLE_KEYS: usize = 1 << 14;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// Draws accounts, from 1.
enum Draw {
    Uniform(u64),
    /// The k-th most popular account is drawn in proportion to k^-0.99; which account that is, is shuffled.
    Zipf(Vec<u32>),
}

impl Draw {
    #[allow(clippy::float_arithmetic, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // not money
    #[allow(clippy::cast_precision_loss)]
    fn zipf(accounts: u32) -> Self {
        // A table of a few million draws, made beforehand by inversion of the cumulated weights.
        let mut cumulated = Vec::with_capacity(accounts as usize);
        let mut total = 0.0f64;
        for k in 1..=accounts {
            total += f64::from(k).powf(-0.99);
            cumulated.push(total);
        }
        let mut random = Random(7);
        let mut names: Vec<u32> = (1..=accounts).collect();
        for i in (1..names.len()).rev() {
            names.swap(i, (random.next() % (i as u64 + 1)) as usize);
        }
        let draws = (0..1 << 22).map(|_| {
            let point = (random.next() >> 11) as f64 / (1u64 << 53) as f64 * total;
            names[cumulated.partition_point(|&c| c < point).min(accounts as usize - 1)]
        });
        Self::Zipf(draws.collect())
    }

    fn draw(&self, random: &mut Random) -> u128 {
        match self {
            Self::Uniform(accounts) => u128::from(1 + random.next() % accounts),
            Self::Zipf(draws) => u128::from(draws[usize::try_from(random.next() % draws.len() as u64).unwrap_or(0)]),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Mix {
    Simple,
    /// 20% two-phase (half pending, half posts), 10% in linked pairs, 5% refused.
    Mixed,
}

struct Bench {
    folder: PathBuf,
    machine: Machine<LedgerStore<FileDisk>>,
    random: Random,
    next_id: u128,
    entry: u64,
    pending: Vec<u128>,
    results: Vec<EventResult>,
}

impl Bench {
    fn new(accounts: u32, history: bool) -> Self {
        let folder = std::env::temp_dir().join(format!("qenex-apply-bench-{}", std::process::id()));
        let disk = FileDisk::new(&folder).expect("a folder");
        let store = LedgerStore::new(disk, *b"book of a bench.", Options::default());
        let mut bench = Self {
            folder,
            machine: Machine::new(store, 0),
            random: Random(1),
            next_id: 1 << 64,
            entry: 0,
            pending: Vec::new(),
            results: Vec::new(),
        };
        let flags = if history { account_flags::HISTORY } else { 0 };
        let ids: Vec<u32> = (1..=accounts).collect();
        for ids in ids.chunks(BATCH_MAX) {
            let rows: Vec<Account> = ids
                .iter()
                .map(|&id| Account { id: u128::from(id), ledger: 978, code: 1, flags, ..Account::ZERO })
                .collect();
            let timestamp = bench.machine.timestamp() + rows.len() as u64;
            bench.results.clear();
            bench.machine.create_accounts(timestamp, &rows, &mut bench.results).expect("in order");
            let closed = bench.close(CREATE_ACCOUNTS, timestamp);
            bench.seal(closed);
        }
        bench
    }

    fn close(&mut self, operation: u16, timestamp: u64) -> Option<SealJob> {
        self.entry += 1;
        let entry = Entry { number: self.entry, operation, timestamp };
        self.machine.store_mut().close_entry(&entry, &self.results)
    }

    fn seal(&mut self, closed: Option<SealJob>) {
        if let Some(job) = closed {
            // The one before has settled long ago, unless segments are small.
            self.machine.store_mut().settle(usize::MAX);
            let segment = job.run(self.machine.store().disk()).expect("space for a segment");
            drop(job);
            self.machine.store_mut().sealed(segment);
        }
    }

    fn batch(&mut self, draw: &Draw, mix: Mix) -> Vec<Transfer> {
        let mut rows = Vec::with_capacity(BATCH_MAX);
        let mut opened = Vec::new();
        for i in 0..BATCH_MAX {
            let debit_account_id = draw.draw(&mut self.random);
            let mut credit_account_id = draw.draw(&mut self.random);
            while credit_account_id == debit_account_id {
                credit_account_id = draw.draw(&mut self.random);
            }
            self.next_id += 1;
            let mut row = Transfer {
                id: self.next_id,
                debit_account_id,
                credit_account_id,
                amount: u128::from(1 + self.random.next() % 1_000),
                ledger: 978,
                code: 1,
                ..Transfer::ZERO
            };
            if mix == Mix::Mixed {
                match i % 20 {
                    0 | 1 => {
                        row.flags = transfer_flags::PENDING;
                        row.timeout = 3_600;
                        opened.push(row.id);
                    }
                    2 | 3 => {
                        if let Some(pending_id) = self.pending.pop() {
                            row = Transfer {
                                id: row.id,
                                pending_id,
                                amount: u128::MAX,
                                flags: transfer_flags::POST_PENDING_TRANSFER,
                                ..Transfer::ZERO
                            };
                        }
                    }
                    4 if i + 1 < BATCH_MAX => row.flags = transfer_flags::LINKED,
                    6 => row.debit_account_id = 1 << 100,
                    _ => {}
                }
            }
            rows.push(row);
        }
        self.pending.extend(opened);
        rows
    }

    /// Applies so many transfers; returns how many a second, and the longest batch in microseconds.
    #[allow(clippy::float_arithmetic, clippy::cast_precision_loss)] // not money
    fn run(&mut self, transfers: usize, draw: &Draw, mix: Mix) -> (f64, u128) {
        let (mut seconds, mut longest, mut applied) = (0.0, 0, 0usize);
        while applied < transfers {
            // Made beforehand, as they come from a socket.
            let batches: Vec<Vec<Transfer>> = (0..16).map(|_| self.batch(draw, mix)).collect();
            for rows in &batches {
                let timestamp = self.machine.timestamp() + rows.len() as u64;
                self.results.clear();
                let begin = Instant::now();
                self.machine.create_transfers(timestamp, rows, &mut self.results).expect("in order");
                self.machine.store_mut().settle(SETTLE_KEYS);
                let closed = self.close(CREATE_TRANSFERS, timestamp);
                let took = begin.elapsed();
                black_box(&self.results);
                seconds += took.as_secs_f64();
                longest = longest.max(took.as_micros());
                applied += rows.len();
                self.seal(closed);
            }
        }
        (applied as f64 / seconds, longest)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).expect("its own folder");
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

#[allow(clippy::float_arithmetic)] // not money
fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<usize>().expect("a number"));
    let rounds = arguments.next().unwrap_or(5);
    let transfers = arguments.next().unwrap_or(2) * 1_000_000;
    println!("{rounds} rounds of {transfers} transfers, {BATCH_MAX} a batch; transfers a second");
    let cases: [(&str, u32, Draw, Mix); 4] = [
        ("simple, 10,000 accounts uniform", 10_000, Draw::Uniform(10_000), Mix::Simple),
        ("mixed, 10,000 accounts uniform, history", 10_000, Draw::Uniform(10_000), Mix::Mixed),
        ("simple, 1,000,000 accounts Zipf 0.99", 1_000_000, Draw::zipf(1_000_000), Mix::Simple),
        ("simple, 1,000,000 accounts uniform", 1_000_000, Draw::Uniform(1_000_000), Mix::Simple),
    ];
    for (name, accounts, draw, mix) in cases {
        let mut figures = Vec::new();
        let mut longest = 0;
        let mut bench = Bench::new(accounts, mix == Mix::Mixed);
        // Until memory is used again rather than asked for.
        bench.run(3_500_000, &draw, mix);
        for _ in 0..rounds {
            let (rate, pause) = bench.run(transfers, &draw, mix);
            figures.push(rate);
            longest = longest.max(pause);
        }
        let (low, high) = figures.iter().fold((f64::MAX, 0.0f64), |(l, h), &f| (l.min(f), h.max(f)));
        println!(
            "{name:45} median {:>10.0}  from {low:>10.0} to {high:>10.0}  longest batch {longest} us",
            median(figures)
        );
    }
}
