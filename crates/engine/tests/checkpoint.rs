//! Checkpoints of a running engine: a start goes on from them, a mark vouches for them, damage costs only time.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::desk::{Desk, SESSION, header, request};
use common::{BOOK, Folder, SECRET, TestServer, account, transfer};
use qenex_engine::clock::{Now, SECOND_NS};
use qenex_engine::frame::{ErrorCode, Operation, Status};
use qenex_engine::limits::Limits;
use qenex_engine::recover::{OpenOptions, Opened, open};
use qenex_engine::server::ServerConfig;
use qenex_engine::state::{Mark, State};
use qenex_engine::verify::Recomputation;
use qenex_journal::derived::{LedgerStore, Options as StoreOptions};
use qenex_journal::disk::FileDisk;
use qenex_journal::log::{EntryKind, MANIFEST_NAME, Options as JournalOptions, read, restore};
use qenex_kernel::row::{EventResult, Transfer, transfer_flags};
use zerocopy::IntoBytes;

const STORE: StoreOptions =
    StoreOptions { segment_rows: 1_000, segment_entries: 1 << 17, cache_bits: 4, places_a_step: 512 };
const ACCOUNTS: u128 = 9_000;
/// Requests of 500 transfers each that are surely more than enough for a checkpoint.
const REQUESTS_MAX: u128 = 10_000;
/// Questions that surely take longer than sealing the last segments and writing a checkpoint does.
const QUESTIONS_MAX: u64 = 1_000_000;

fn options() -> OpenOptions {
    OpenOptions {
        book: Some(BOOK),
        incarnation: [7; 16],
        writer: [8; 16],
        now: Now { wall_ns: 1, monotonic_ns: 1 },
        clock_trusted: true,
        journal: JournalOptions::default(),
        store: STORE,
    }
}

fn small_segments(config: &mut ServerConfig) {
    config.store = STORE;
}

/// A book with two checkpoints at least, stopped cleanly. Some holds are open in it, and a session is known.
fn book_with_checkpoints() -> TestServer {
    let mut server = TestServer::start_with(small_segments);
    let mut client = server.client();
    for begin in [0, ACCOUNTS / 2] {
        let rows: Vec<_> = (1..=ACCOUNTS / 2).map(|id| account(begin + id)).collect();
        client.call(Operation::CreateAccounts, rows.as_bytes()).unwrap();
    }
    let (mut first, mut id) = (0, 0);
    for _ in 0..REQUESTS_MAX {
        let rows: Vec<Transfer> = (0..500)
            .map(|row| {
                id += 1;
                let pending = if row % 50 == 0 { transfer_flags::PENDING } else { 0 };
                Transfer { flags: pending, ..transfer(id, 1 + id % ACCOUNTS, 1 + (id * 7 + 1) % ACCOUNTS, id % 9) }
            })
            .filter(|row| row.debit_account_id != row.credit_account_id)
            .collect();
        client.call(Operation::CreateTransfers, rows.as_bytes()).unwrap();
        let status = client.call(Operation::GetStatus, &[]).unwrap().rows::<Status>().unwrap()[0];
        first = if first == 0 { status.checkpoint_entry } else { first };
        if status.checkpoint_entry > first {
            server.stop();
            return server;
        }
    }
    panic!("no two checkpoints after {REQUESTS_MAX} requests");
}

fn opened(path: &Path) -> Opened<FileDisk> {
    open(&FileDisk::new(path).unwrap(), &options()).unwrap()
}

/// The state after every entry up to the last one of a group, from the journal alone; and the marks in it.
fn replayed(path: &Path, until: u64) -> (State<FileDisk>, Vec<Mark>, BTreeMap<u64, Mark>) {
    let disk = FileDisk::new(path).unwrap();
    let scratch = Folder::new();
    let mut state = State::new(LedgerStore::new(FileDisk::new(scratch.path()).unwrap(), BOOK, STORE));
    let (mut marks, mut states, mut results) = (Vec::new(), BTreeMap::new(), Vec::<EventResult>::new());
    let mut groups = read(&disk, 1, until).unwrap();
    while let Some(group) = groups.next_group().unwrap() {
        for entry in group.entries() {
            results.clear();
            state.apply(&entry, None, &mut results).unwrap();
            if entry.header.kind == EntryKind::Mark.number() {
                marks.push(entry.rows_as::<Mark>().unwrap()[0]);
            }
            if state.ends_segment() {
                while let Some(job) = state.take_seal_job() {
                    let sealed = job.run(&FileDisk::new(scratch.path()).unwrap()).unwrap();
                    state.store_mut().sealed_at_once(sealed);
                }
                states.insert(state.entry(), state.mark());
            }
        }
        state.end_group(group.header().number);
    }
    (state, marks, states)
}

#[test]
fn a_start_goes_on_from_the_newest_checkpoint_and_has_the_state_that_the_journal_alone_gives() {
    let server = book_with_checkpoints();
    let fast = opened(server.path());
    assert!(fast.passed_over.is_empty());
    let entries = fast.recovery.as_ref().unwrap().tip.entry;
    assert!(fast.state.newest().entry > 0);
    assert_eq!(fast.replayed, entries - fast.state.newest().entry, "what came since the checkpoint, and no more");
    let (state, marks, states) = replayed(server.path(), fast.tip.number);
    assert_eq!(fast.state.machine().store().state_hash(), state.machine().store().state_hash());
    assert_eq!(fast.state.sessions(), state.sessions());
    assert_eq!(fast.state.configuration(), state.configuration());
    assert_eq!(fast.state.results_hash(), state.results_hash());
    assert_eq!(fast.state.machine().store().counters(), state.machine().store().counters());
    assert!(!marks.is_empty());
    for mark in &marks {
        assert_eq!(Some(mark), states.get(&mark.entry), "a mark says what the state was");
    }
}

#[test]
fn a_damaged_checkpoint_costs_only_time() {
    let server = book_with_checkpoints();
    let checkpoints = server.path().join("checkpoints");
    let mut names: Vec<_> = std::fs::read_dir(&checkpoints).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let intact = opened(server.path()).state.machine().store().state_hash();
    let mut before = u64::MAX;
    for (writer, name) in (9u8..).zip(names.into_iter().rev()) {
        let mut bytes = std::fs::read(&name).unwrap();
        bytes[300] ^= 1;
        std::fs::write(&name, bytes).unwrap();
        let found = open(&FileDisk::new(server.path()).unwrap(), &OpenOptions { writer: [writer; 16], ..options() });
        let found = found.unwrap();
        assert_eq!(found.state.machine().store().state_hash(), intact);
        assert!(found.notes()[0].contains("was passed over"), "{:?}", found.notes());
        assert!(found.state.newest().entry < before);
        before = found.state.newest().entry;
    }
    assert_eq!(before, 0, "without a checkpoint the journal is replayed from its beginning");
}

/// Where the transfers lie in a sealed file: `spec/checkpoint.md` section 2.
fn transfers_of(bytes: &[u8]) -> std::ops::Range<usize> {
    let footer = &bytes[bytes.len() - 4_096..];
    let number = |at: usize| u64::from_le_bytes(footer[at..at + 8].try_into().unwrap());
    let Some(begin) = (112..3_184).step_by(24).find(|at| footer[*at] == 4) else { return 0..0 };
    let (offset, count) = (number(begin + 8), number(begin + 16));
    let [begin, end] = [offset, offset + 128 * count].map(|at| usize::try_from(at).unwrap());
    begin..end
}

#[test]
fn a_sealed_segment_that_is_found_damaged_in_a_replay_is_made_anew_at_once() {
    let mut server = book_with_checkpoints();
    server.restart();
    let mut client = server.client();
    // Every later replay looks this one up.
    client.call(Operation::CreateTransfers, transfer(1, 2, 8, 1).as_bytes()).unwrap();
    server.stop();
    let intact = opened(server.path()).state.machine().store().state_hash();
    let segments = server.path().join("segments");
    let holds_it = |path: &Path| !transfers_of(&std::fs::read(path).unwrap()).is_empty();
    let mut names: Vec<_> = std::fs::read_dir(&segments).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let path = names.into_iter().find(|path| holds_it(path)).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    transfers_of(&whole).step_by(1_000).for_each(|at| bytes[at] ^= 1);
    std::fs::write(&path, bytes).unwrap();

    let found = open(&FileDisk::new(server.path()).unwrap(), &OpenOptions { writer: [9; 16], ..options() }).unwrap();
    assert_eq!(found.state.machine().store().state_hash(), intact);
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(found.notes().iter().any(|note| note.contains(&format!("{name}.damaged"))), "{:?}", found.notes());
    assert!(path.with_file_name(format!("{name}.damaged")).exists());
    assert_eq!(std::fs::read(&path).unwrap(), whole, "byte for byte");
}

#[test]
fn a_start_that_had_to_replay_segments_leaves_a_checkpoint_to_the_next() {
    let mut server = book_with_checkpoints();
    // Twice, so that what is marked by the first is marked by the second again.
    for _ in 0..2 {
        for entry in std::fs::read_dir(server.path().join("checkpoints")).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        server.restart();
        // Only questions: no segment is closed, so nothing else makes a checkpoint.
        let mut client = server.client();
        let written = (0..QUESTIONS_MAX).any(|_| {
            let status = client.call(Operation::GetStatus, &[]).unwrap().rows::<Status>().unwrap()[0];
            status.checkpoint_entry > 0
        });
        assert!(written, "no checkpoint after {QUESTIONS_MAX} questions");
        server.stop();
    }
    let found = opened(server.path());
    let counters = found.state.machine().store().counters();
    assert_eq!(found.state.newest().segments, counters.segments - 1, "all segments that are closed are in it");
    // All marks hold, those too that were journalled again.
    let (disk, scratch) = (FileDisk::new(server.path()).unwrap(), Folder::new());
    let mut recomputation = Recomputation::new(&FileDisk::new(scratch.path()).unwrap(), BOOK, STORE);
    for group in read(&disk, 1, found.recovery.as_ref().unwrap().tip.number).unwrap() {
        recomputation.take(&group.unwrap()).unwrap();
    }
    let recomputed = recomputation.finish().unwrap();
    assert_eq!(found.state.machine().store().state_hash(), recomputed.state_hash);
    assert!(recomputed.marks_compared >= 4, "two before and two after");
}

#[test]
fn a_backup_of_a_running_engine_restores_to_the_same_ledger() {
    let mut server = book_with_checkpoints();
    server.restart();
    let mut client = server.client();
    let (copy, target) = (Folder::new(), Folder::new());
    let folder = copy.path().join("monday").to_str().unwrap().to_owned();
    let reply = client.call(Operation::Backup, folder.as_bytes()).unwrap();
    assert_eq!(reply.body.unwrap(), folder.as_bytes());
    client.call(Operation::CreateTransfers, transfer(1 << 99, 1, 2, 3).as_bytes()).unwrap();
    let request = client.submit(Operation::Backup, folder.as_bytes()).unwrap();
    let again = client.receive().unwrap();
    assert_eq!(again.request, request, "the refusal is the request's, not the connection's");
    let (code, text) = again.body.unwrap_err();
    assert!(code == ErrorCode::BackupUnusable && text.starts_with(&folder), "{code}: {text}");
    assert!(text.contains("is not empty, it holds"), "{text}");
    for (name, is_folder) in [("taken/empty", true), ("hidden/.file", false)] {
        let path = copy.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        if is_folder {
            std::fs::create_dir(&path).unwrap()
        } else {
            std::fs::write(&path, "").unwrap()
        }
        let refused = client.call(Operation::Backup, path.parent().unwrap().to_str().unwrap().as_bytes());
        assert!(refused.unwrap_err().to_string().contains("is not empty"), "{name}");
    }
    let file = copy.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = client.call(Operation::Backup, file.to_str().unwrap().as_bytes()).unwrap_err().to_string();
    assert!(refused.contains("new or empty"), "{refused}");
    std::fs::create_dir(copy.path().join("made")).unwrap();
    client.call(Operation::Backup, copy.path().join("made").to_str().unwrap().as_bytes()).unwrap();
    let relative = client.call(Operation::Backup, b"monday").unwrap_err().to_string();
    assert!(relative.contains("no absolute path"), "{relative}");
    server.stop();

    let source = FileDisk::new(&folder).unwrap();
    assert!(Path::new(&folder).join(MANIFEST_NAME).exists());
    restore(&source, &FileDisk::new(target.path()).unwrap(), [66; 16], 1, |_| Ok(())).unwrap();
    let restored = opened(target.path());
    assert_eq!(restored.journal.header().incarnation, [66; 16]);
    let (state, ..) = replayed(server.path(), restored.recovery.as_ref().unwrap().tip.number);
    let transfers = |state: &State<FileDisk>| state.machine().store().counters().transfers;
    assert_eq!(transfers(&restored.state), transfers(&state));
    assert_eq!(restored.state.machine().store().state_hash(), state.machine().store().state_hash());
}

#[test]
fn without_a_checkpoint_its_age_is_the_engine_s() {
    let mut desk = Desk::new(Limits::default());
    let connection = desk.greet(SESSION, SECRET);
    desk.pass(7 * SECOND_NS);
    let answer = desk.ask(connection, &request(header(Operation::GetMetrics, 1), &[]));
    let text = String::from_utf8(answer.body().to_vec()).unwrap();
    assert!(text.contains("\nqenex_engine_checkpoint_age_seconds 7\n"), "{text}");
}
