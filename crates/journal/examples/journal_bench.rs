//! How fast groups become durable: `cargo run --release -p qenex-journal --example journal_bench [FOLDER [SHARE]]`.
//!
//! For groups of 4 KiB and 1 MiB: the journal's append (hash, write, sync) beside the bare write and
//! sync of as many bytes into a file of zeros; then reading everything back with all checks. SHARE divides the rounds.

use std::error::Error;
use std::time::{Duration, Instant};

use qenex_journal::disk::{AlignedBuffer, Caching, Disk, DiskFile, FileDisk};
use qenex_journal::log::{Appended, EntryHeader, EntryKind, Genesis, GroupBuilder, Journal, Options, read};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn report(what: &str, bytes: usize, mut times: Vec<Duration>) {
    times.sort_unstable();
    let total: Duration = times.iter().sum();
    let per_second = |count: usize| (count as u128 * 1_000_000_000) / total.as_nanos().max(1);
    println!(
        "{what:<28} {:>7} groups/s {:>6} MB/s   p50 {:>6} us   p99 {:>6} us   rounds {}",
        per_second(times.len()),
        per_second(times.len() * bytes) / 1_000_000,
        times[times.len() / 2].as_micros(),
        times[times.len() * 99 / 100].as_micros(),
        times.len()
    );
}

/// Bare writes and syncs into a file of zeros.
fn raw(disk: &FileDisk, bytes: usize, rounds: usize) -> Outcome<Vec<Duration>> {
    let file = disk.create("raw", Caching::Direct)?;
    let zeros = AlignedBuffer::zeroed(1 << 20);
    for at in (0..bytes * rounds).step_by(zeros.len()) {
        file.write_at(at as u64, &zeros)?;
    }
    file.sync()?;
    let mut buffer = AlignedBuffer::zeroed(bytes);
    buffer.fill(7);
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let begin = Instant::now();
        file.write_at((round * bytes) as u64, &buffer)?;
        file.sync()?;
        times.push(begin.elapsed());
    }
    disk.remove("raw")?;
    Ok(times)
}

/// Appends of whole groups; files are prepared between them, outside of what is timed.
fn appends(journal: &mut Journal<FileDisk>, bytes: usize, rounds: usize) -> Outcome<Vec<Duration>> {
    let mut group = GroupBuilder::new(bytes);
    let rows = vec![5_u8; (bytes - 256 - 128) / 128 * 128];
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        journal.reserve().prepare_now()?;
        let tip = *journal.tip();
        group.clear(tip.entry + 1);
        let timestamp = tip.timestamp + rows.len() as u64;
        group.push(
            EntryHeader { operation: 147, ..EntryHeader::new(EntryKind::Command, timestamp) },
            &[],
            128,
            &rows,
        )?;
        let begin = Instant::now();
        match journal.append(tip.number, &tip.hash, tip.epoch, &mut group)? {
            Appended::Appended(_) => times.push(begin.elapsed()),
            other => return Err(format!("{other:?}").into()),
        }
    }
    Ok(times)
}

fn main() -> Outcome<()> {
    let root = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let share: usize = std::env::args().nth(2).map_or(Ok(1), |word| word.parse())?;
    let root = root.join(format!("qenex-journal-bench-{}", std::process::id()));
    let disk = FileDisk::new(&root)?;
    let genesis = Genesis { book: [1; 16], incarnation: [2; 16], journal: 1, release: 1, created: 1 };
    Journal::create(&disk, &genesis)?;
    let (mut journal, _) = Journal::open(&disk, Options::default(), 0)?;
    journal.start([3; 16], 1, 1)?;
    for (name, bytes, rounds) in [("4 KiB", 4096, 2000), ("1 MiB", 1 << 20, 400)] {
        let rounds = rounds / share.max(1);
        report(&format!("{name}, bare write and sync"), bytes, raw(&disk, bytes, rounds)?);
        report(&format!("{name}, journal append"), bytes, appends(&mut journal, bytes, rounds)?);
    }
    let begin = Instant::now();
    let (mut rows, mut groups) = (0_u64, 0_u64);
    for group in read(&disk, 1, journal.tip().number)?.read_ahead() {
        let group = group?;
        rows += group.entries().map(|entry| u64::from(entry.header.rows)).sum::<u64>();
        groups += 1;
    }
    let nanos = begin.elapsed().as_nanos().max(1);
    println!(
        "read back, all checks: {groups} groups, {rows} rows, {} rows/s",
        u128::from(rows) * 1_000_000_000 / nanos
    );
    std::fs::remove_dir_all(&root)?;
    Ok(())
}
