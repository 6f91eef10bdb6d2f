//! A real engine process, killed (SIGKILL) again and again under load from several clients: whatever was acknowledged is
//! there, once, and nothing else.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use common::{Folder, SECRET, account, transfer};
use qenex_engine::client::{Client, ClientOptions};
use qenex_engine::frame::{Operation, Status};
use qenex_journal::disk::FileDisk;
use qenex_journal::log::{Ending, verify};
use qenex_kernel::row::{Account, EventResult, Id, Transfer, transfer_flags};
use qenex_kernel::status::CreateTransferStatus;
use zerocopy::IntoBytes;

const BOOK: &str = "0123456789abcdef0123456789abcdef";
const ACCOUNTS: u128 = 12;
/// Requests acknowledged between two kills at most.
const BETWEEN_MAX: u64 = 40;
/// Acknowledged requests that may wait to be looked at: clients that never stopped would outrun whoever checks them.
const UNCHECKED_MAX: usize = 16;
/// Kills of one book in the long run: a book of hundreds of kills has long to replay at each start.
const KILLS_A_BOOK: u32 = 250;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

/// The engine as a process, always at the same address.
struct Process {
    folder: Folder,
    child: Option<Child>,
    address: SocketAddr,
}

impl Process {
    fn start() -> Self {
        let folder = Folder::new();
        std::fs::write(folder.path().join("token"), SECRET).unwrap();
        let mut process = Self { folder, child: None, address: "127.0.0.1:0".parse().unwrap() };
        process.restart();
        process
    }

    fn restart(&mut self) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_qenex-engine"))
            .arg(self.folder.path().join("book"))
            .args([BOOK, &self.address.to_string()])
            .arg(self.folder.path().join("token"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.address = line.trim().strip_prefix("listening ").expect("the engine serves").parse().unwrap();
        self.child = Some(child);
    }

    fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Process {
    /// Asks it to stop (SIGTERM); it must end by itself, with code 0.
    fn terminate(&mut self) {
        let mut child = self.child.take().unwrap();
        let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(asked.success());
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }

    /// How the journal ends.
    fn ending(&self) -> Ending {
        let disk = FileDisk::new(self.folder.path().join("book")).unwrap();
        verify(&disk, None, |_, _| Ok(())).unwrap().ending
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

fn client(address: SocketAddr) -> Client {
    // However long a start takes on a machine that is busy, the client waits for it.
    let options = ClientOptions { attempts: 10_000, pause: Duration::from_millis(20), ..ClientOptions::new(SECRET) };
    Client::connect(address, options).unwrap()
}

/// What a worker makes next, in one request; ids are never used twice.
fn request(worker: u128, next: &mut u128, random: &mut Random) -> Vec<Transfer> {
    let rows = if worker == 0 { 300 } else { 1 };
    let mut make = || {
        *next += 1;
        let debit = 1 + u128::from(random.below(12));
        let credit = 1 + (debit + u128::from(random.below(11))) % ACCOUNTS;
        transfer((worker + 1) << 64 | *next, debit, credit, 1 + u128::from(random.below(1_000)))
    };
    if worker < 2 {
        return (0..rows).map(|_| make()).collect();
    }
    // A hold, and what becomes of it, in one request: the second finds the first.
    let hold = Transfer { flags: transfer_flags::PENDING, ..make() };
    let flags = if hold.amount.is_multiple_of(2) {
        transfer_flags::POST_PENDING_TRANSFER
    } else {
        transfer_flags::VOID_PENDING_TRANSFER
    };
    let resolution =
        Transfer { id: hold.id | 1 << 100, pending_id: hold.id, amount: hold.amount, flags, ..Transfer::ZERO };
    vec![hold, resolution]
}

/// Sends requests until it is told to stop; reports each that was acknowledged.
fn work(worker: u128, mut client: Client, stop: &AtomicBool, acknowledged: &SyncSender<Vec<Transfer>>) {
    let mut random = Random(u64::try_from(worker).unwrap());
    let (mut next, mut sent) = (0, BTreeMap::new());
    let ahead = if worker == 0 { 8 } else { 3 };
    loop {
        let stopping = stop.load(Ordering::Relaxed);
        while !stopping && sent.len() < ahead {
            let rows = request(worker, &mut next, &mut random);
            sent.insert(client.submit(Operation::CreateTransfers, rows.as_bytes()).unwrap(), rows);
        }
        if sent.is_empty() {
            return;
        }
        let reply = client.receive().unwrap();
        let rows = sent.remove(&reply.request).expect("an answer to what was asked, once");
        for result in reply.rows::<EventResult>().unwrap() {
            assert_eq!(result.status, CreateTransferStatus::Created.number(), "never refused, never made twice");
        }
        acknowledged.send(rows).unwrap();
    }
}

/// What must be in the ledger, by all that was acknowledged.
#[derive(Default)]
struct Model {
    transfers: u64,
    debits: BTreeMap<u128, u128>,
    credits: BTreeMap<u128, u128>,
}

impl Model {
    fn take(&mut self, rows: &[Transfer]) {
        for row in rows {
            self.transfers += 1;
            if row.flags == 0 {
                self.move_amount(row);
            }
        }
        if let [hold, resolution] = rows
            && resolution.flags == transfer_flags::POST_PENDING_TRANSFER
        {
            self.move_amount(hold);
        }
    }

    fn move_amount(&mut self, row: &Transfer) {
        *self.debits.entry(row.debit_account_id).or_default() += row.amount;
        *self.credits.entry(row.credit_account_id).or_default() += row.amount;
    }
}

/// All rows of a request are there, as they were sent.
fn check_there(client: &mut Client, rows: &[Transfer]) {
    let ids: Vec<Id> = rows.iter().map(|row| Id { id: row.id }).collect();
    let found: Vec<Transfer> = client.call(Operation::LookupTransfers, ids.as_bytes()).unwrap().rows().unwrap();
    let amounts = |rows: &[Transfer]| rows.iter().map(|row| (row.id, row.flags, row.pending_id)).collect::<Vec<_>>();
    assert_eq!(amounts(&found), amounts(rows), "what was acknowledged is there");
}

fn check_all(client: &mut Client, model: &Model) {
    let status = client.call(Operation::GetStatus, &[]).unwrap().rows::<Status>().unwrap()[0];
    assert_eq!((status.transfers, status.pending), (model.transfers, 0), "nothing is there that was not acknowledged");
    let ids: Vec<Id> = (1..=ACCOUNTS).map(|id| Id { id }).collect();
    let accounts: Vec<Account> = client.call(Operation::LookupAccounts, ids.as_bytes()).unwrap().rows().unwrap();
    for account in &accounts {
        let expected = |sums: &BTreeMap<u128, u128>| sums.get(&account.id).copied().unwrap_or(0);
        assert_eq!(account.debits_posted, expected(&model.debits), "account {}", account.id);
        assert_eq!(account.credits_posted, expected(&model.credits), "account {}", account.id);
        assert_eq!((account.debits_pending, account.credits_pending), (0, 0));
    }
    let sum = |side: fn(&Account) -> u128| accounts.iter().map(side).sum::<u128>();
    assert_eq!(sum(|account| account.debits_posted), sum(|account| account.credits_posted));
}

/// How the process is ended.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Kill,
    Terminate,
}

fn survive(times: u32, end: End) {
    let mut process = Process::start();
    let rows: Vec<Account> = (1..=ACCOUNTS).map(account).collect();
    client(process.address).call(Operation::CreateAccounts, rows.as_bytes()).unwrap();
    let stop = std::sync::Arc::new(AtomicBool::new(false));
    let (sender, acknowledged) = sync_channel(UNCHECKED_MAX);
    let workers: Vec<JoinHandle<()>> = (0..4)
        .map(|worker| {
            // Connected before the first kill: a client tries again once it has been let in, not before.
            let (stop, sender, client) = (stop.clone(), sender.clone(), client(process.address));
            std::thread::spawn(move || work(worker, client, &stop, &sender))
        })
        .collect();
    drop(sender);
    let (mut model, mut random) = (Model::default(), Random(7));
    for _ in 0..times {
        let mut recent = Vec::new();
        for _ in 0..=random.below(BETWEEN_MAX) {
            recent.push(acknowledged.recv().expect("workers work"));
        }
        match end {
            End::Kill => process.kill(),
            End::Terminate => process.terminate(),
        }
        if end == End::Terminate {
            assert_eq!(process.ending(), Ending::Clean);
        }
        recent.extend(acknowledged.try_iter());
        process.restart();
        let mut client = client(process.address);
        for rows in recent {
            check_there(&mut client, &rows);
            model.take(&rows);
        }
    }
    stop.store(true, Ordering::Relaxed);
    acknowledged.iter().for_each(|rows| model.take(&rows));
    workers.into_iter().for_each(|worker| worker.join().expect("a worker's checks hold"));
    check_all(&mut client(process.address), &model);
    process.kill();
    process.restart();
    check_all(&mut client(process.address), &model);
}

#[test]
fn fifty_kills_lose_nothing_that_was_acknowledged() {
    survive(50, End::Kill);
}

#[test]
fn asked_to_stop_it_answers_what_it_accepted_and_ends_its_journal() {
    survive(10, End::Terminate);
}

#[test]
#[ignore = "runs for minutes; `make soak` selects it"]
fn a_thousand_kills_lose_nothing_that_was_acknowledged() {
    for _ in 0..1_000 / KILLS_A_BOOK {
        survive(KILLS_A_BOOK, End::Kill);
    }
}
