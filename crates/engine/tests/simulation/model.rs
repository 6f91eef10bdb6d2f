//! What must be true, kept as plainly as possible: the entries that are durable, in order; a ledger in ordered maps
//! that has been fed them; what was sent; what was answered.

use std::collections::BTreeMap;

use qenex_engine::frame::{Header, Operation};
use qenex_engine::limits::Configuration;
use qenex_engine::state::State;
use qenex_journal::disk::{Disk, SimDisk};
use qenex_journal::log::{EntryHeader, EntryKind, EntryView, read};
use qenex_kernel::machine::Machine;
use qenex_kernel::memory::MemoryStore;
use qenex_kernel::row::{Account, AccountFilter, BATCH_MAX, BalanceAt, ChangeEventsFilter, EventResult, Id, Transfer};
use qenex_kernel::status::CreateTransferStatus;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::{Failed, Outcome, Stats, ensure};

/// Names a request: its session and its number there.
pub type Key = ([u8; 16], u64);

/// A write as a client sent it, the same each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub operation: Operation,
    pub context: Vec<u8>,
    pub rows: Vec<u8>,
}

/// A durable entry.
struct Kept {
    header: EntryHeader,
    context: Vec<u8>,
    rows: Vec<u8>,
    /// As the plain ledger has them, once it was fed the entry.
    results: Vec<EventResult>,
}

/// What a reply says, but for what differs from one to the next by right.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    entry: u64,
    timestamp: u64,
    body: Vec<u8>,
}

/// A session that is remembered.
struct Known {
    id: [u8; 16],
    highest: u64,
    /// Its newest entry: whose is the oldest goes first.
    newest: u64,
}

pub struct Model {
    machine: Machine<MemoryStore>,
    sessions: Vec<Known>,
    sessions_max: usize,
    entries: Vec<Kept>,
    /// How many of `entries` the machine was fed.
    fed: usize,
    /// Every write that was ever sent.
    sent: BTreeMap<Key, Sent>,
    /// The entry that a write became.
    commands: BTreeMap<Key, u64>,
    said: BTreeMap<Key, Said>,
}

impl Model {
    pub fn new() -> Self {
        Self {
            machine: Machine::new(MemoryStore::new(), 0),
            sessions: Vec::new(),
            sessions_max: index(u64::from(Configuration::default().sessions_max)),
            entries: Vec::new(),
            fed: 0,
            sent: BTreeMap::new(),
            commands: BTreeMap::new(),
            said: BTreeMap::new(),
        }
    }

    /// A client sends a write.
    pub fn send(&mut self, key: Key, sent: Sent) {
        self.sent.insert(key, sent);
    }

    /// What was sent under this number.
    pub fn sent(&self, key: &Key) -> Option<&Sent> {
        self.sent.get(key)
    }

    /// The last durable entry.
    pub fn durable(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The highest number of a session that a durable entry has, 0 if none.
    pub fn highest(&self, session: &[u8; 16]) -> u64 {
        let of_session = self.commands.range((*session, 0)..=(*session, u64::MAX));
        of_session.map(|((_, request), _)| *request).next_back().unwrap_or(0)
    }

    /// Whether this was answered with a reply.
    pub fn is_answered(&self, key: &Key) -> bool {
        self.said.contains_key(key)
    }

    /// The next entry is durable.
    pub fn keep(&mut self, view: &EntryView<'_>) -> Outcome {
        let number = view.header.number;
        ensure(number == self.durable() + 1, || format!("entry {number} follows entry {}", self.durable()))?;
        if view.header.kind == EntryKind::Command.number() {
            let key = (view.header.session, view.header.request);
            let Some(sent) = self.sent.get(&key) else { return Err(Failed(format!("entry {number} was never sent"))) };
            let same = (view.header.operation, view.context, view.rows)
                == (sent.operation.number(), &sent.context[..], &sent.rows[..]);
            ensure(same, || format!("entry {number} is not what was sent as request {}", key.1))?;
            if let Some(first) = self.commands.insert(key, number) {
                return Err(Failed(format!("request {} had its effect in entry {first} and in entry {number}", key.1)));
            }
        }
        let (context, rows) = (view.context.to_vec(), view.rows.to_vec());
        self.entries.push(Kept { header: *view.header, context, rows, results: Vec::new() });
        Ok(())
    }

    /// A journal was recovered: it holds all that was durable, as it was, and perhaps what was under way.
    pub fn recovered(&mut self, disk: &SimDisk, last_group: u64) -> Outcome {
        let mut number = 0;
        for group in read(disk, 1, last_group)? {
            let group = group?;
            for view in group.entries() {
                number += 1;
                let Some(kept) = self.entries.get(index(number - 1)) else {
                    self.keep(&view)?;
                    continue;
                };
                let same = (view.header, view.context, view.rows) == (&kept.header, &kept.context[..], &kept.rows[..]);
                ensure(same, || format!("entry {number} was durable and is another one now"))?;
            }
        }
        ensure(number == self.durable(), || format!("{} entries were durable, {number} are found", self.entries.len()))
    }

    /// The plain ledger as it was after this entry, or later.
    fn feed(&mut self, until: u64) -> Outcome {
        while (self.fed as u64) < until {
            let kept = self
                .entries
                .get_mut(self.fed)
                .ok_or_else(|| Failed(format!("entry {until} is spoken of, and only {} are durable", self.fed)))?;
            let (at, results, machine) = (kept.header.timestamp, &mut kept.results, &mut self.machine);
            if kept.header.kind == EntryKind::Command.number() {
                let before = at - u64::from(kept.header.rows);
                let due = machine.next_expiry().is_some_and(|expires| expires <= before);
                ensure(!due, || format!("entry {} comes before an expiry that was due", kept.header.number))?;
            }
            let done = match EntryKind::from_number(kept.header.kind) {
                Some(EntryKind::Command) => match Operation::from_number(kept.header.operation) {
                    Some(Operation::CreateAccounts) => machine.create_accounts(at, &rows_of(&kept.rows), results),
                    Some(Operation::CreateTransfers) => machine.create_transfers(at, &rows_of(&kept.rows), results),
                    _ => machine.set_account_terms(at, &rows_of(&kept.rows), results),
                },
                Some(EntryKind::Tick) => machine.expire(at, BATCH_MAX).map(|_| ()),
                _ => Ok(()),
            };
            done?;
            self.fed += 1;
            self.remember();
        }
        Ok(())
    }

    /// What the entry that was fed last says of sessions.
    fn remember(&mut self) {
        let Kept { header, rows, .. } = &self.entries[self.fed - 1];
        let known = self.sessions.iter_mut().find(|known| known.id == header.session);
        match (EntryKind::from_number(header.kind), known) {
            (Some(EntryKind::Session), None) => {
                self.sessions.push(Known { id: header.session, highest: 0, newest: header.number });
            }
            (Some(EntryKind::Command), Some(known)) => {
                known.highest = known.highest.max(header.request);
                known.newest = header.number;
            }
            (Some(EntryKind::Configuration), _) => {
                self.sessions_max = index(u64::from(rows_of::<Configuration>(rows)[0].sessions_max));
            }
            _ => {}
        }
        while self.sessions.len() > self.sessions_max {
            let oldest = (0..self.sessions.len()).min_by_key(|at| self.sessions[*at].newest).expect("there are some");
            self.sessions.remove(oldest);
        }
    }

    /// The engine says that a write was done. `header` and `body` are its reply's.
    pub fn replied(&mut self, key: Key, header: &Header, body: &[u8]) -> Outcome {
        let entry = header.position_entry;
        ensure(entry <= self.durable(), || format!("request {} was answered before entry {entry} was durable", key.1))?;
        let request = key.1;
        ensure(self.commands.get(&key) == Some(&entry), || format!("request {request} is not in entry {entry}"))?;
        self.feed(entry)?;
        let kept = &self.entries[index(entry - 1)];
        ensure(header.timestamp == kept.header.timestamp, || format!("the reply to {request} has another timestamp"))?;
        ensure(header.operation == kept.header.operation, || format!("the reply to {request} has another operation"))?;
        ensure(body == kept.results.as_bytes(), || {
            let said: Vec<EventResult> = rows_of(body);
            format!("entry {entry}: {said:?} was answered, the plain ledger has {:?}", kept.results)
        })?;
        let said = Said { entry, timestamp: header.timestamp, body: body.to_vec() };
        let first = self.said.entry(key).or_insert_with(|| said.clone());
        ensure(*first == said, || format!("request {request} was answered differently when it was sent again"))
    }

    /// The engine answers a read as of some entry.
    pub fn read(&mut self, operation: Operation, question: &[u8], header: &Header, body: &[u8]) -> Outcome {
        let entry = header.position_entry;
        ensure(entry <= self.durable(), || format!("a read shows entry {entry}, which is not durable"))?;
        self.feed(entry)?;
        ensure(self.fed as u64 == entry, || format!("a read shows entry {entry}, later ones were answered before"))?;
        let machine = &self.machine;
        let expected = match operation {
            Operation::LookupAccounts => answer(|out: &mut Vec<Account>| {
                machine.lookup_accounts(&rows_of::<Id>(question), out).map_err(Failed::from)
            })?,
            Operation::LookupTransfers => answer(|out: &mut Vec<Transfer>| {
                machine.lookup_transfers(&rows_of::<Id>(question), out).map_err(Failed::from)
            })?,
            Operation::LookupOutcomes => {
                answer(|out| machine.lookup_outcomes(&rows_of::<Id>(question), out).map_err(Failed::from))?
            }
            Operation::BalanceAt => {
                answer(|out| machine.balance_at(&rows_of::<BalanceAt>(question), out).map_err(Failed::from))?
            }
            Operation::GetAccountTransfers => answer(|out| {
                machine.get_account_transfers(&rows_of::<AccountFilter>(question)[0], out);
                Ok(())
            })?,
            Operation::GetChangeEvents => answer(|out| {
                machine.get_change_events(&rows_of::<ChangeEventsFilter>(question)[0], out);
                Ok(())
            })?,
            other => return Err(Failed(format!("the model cannot answer {}", other.name()))),
        };
        ensure(body == expected, || format!("{} as of entry {entry} differs from the plain ledger", operation.name()))
    }

    /// The state at the journal's end has every row of the plain ledger, and money only moved.
    pub fn compare<D: Disk>(&mut self, state: &State<D>) -> Outcome {
        self.feed(self.durable())?;
        ensure(state.entry() == self.durable(), || format!("entry {} is applied, not {}", state.entry(), self.fed))?;
        let store = self.machine.store();
        let accounts: Vec<Account> = store.accounts().copied().collect();
        let transfers: Vec<Transfer> = store.transfers().copied().collect();
        let counters = state.machine().store().counters();
        let counted = (counters.accounts, counters.transfers);
        ensure(counted == (accounts.len() as u64, transfers.len() as u64), || format!("{counters:?}"))?;
        let (mut found, mut recorded) = (Vec::new(), Vec::new());
        let ids: Vec<Id> = accounts.iter().map(|row| Id { id: row.id }).collect();
        state.machine().lookup_accounts(&ids, &mut found)?;
        ensure(found == accounts, || "accounts differ from those of the plain ledger".to_owned())?;
        let ids: Vec<Id> = transfers.iter().map(|row| Id { id: row.id }).collect();
        state.machine().lookup_transfers(&ids, &mut recorded)?;
        ensure(recorded == transfers, || "transfers differ from those of the plain ledger".to_owned())?;
        ensure(state.sessions().len() == self.sessions.len(), || "more or fewer sessions are known".to_owned())?;
        for known in &self.sessions {
            let highest = state.sessions().get(&known.id).map(|session| session.highest);
            ensure(highest == Some(known.highest), || format!("{highest:?}, not {} is highest", known.highest))?;
        }
        let sum = |of: fn(&Account) -> u128| accounts.iter().map(of).sum::<u128>();
        let posted = sum(|row| row.debits_posted) == sum(|row| row.credits_posted);
        let pending = sum(|row| row.debits_pending) == sum(|row| row.credits_pending);
        ensure(posted && pending, || "debits and credits are not equal".to_owned())
    }

    /// At the end, when everybody has an answer: what was answered is there, and nothing else; a transfer is recorded
    /// exactly if an answer said so.
    pub fn settle(&mut self, abandoned: &[Key], stats: &mut Stats) -> Outcome {
        self.feed(self.durable())?;
        for key in self.sent.keys() {
            let there = self.commands.contains_key(key);
            let answered = self.said.contains_key(key);
            // Nobody knows what became of a request whose session went away first.
            let known = !abandoned.contains(key);
            ensure(!answered || there, || format!("request {} was answered and is not there", key.1))?;
            ensure(!known || answered, || format!("request {} has no answer", key.1))?;
        }
        let mut recorded = 0;
        for kept in &self.entries {
            stats.pulses += u64::from(kept.header.kind == EntryKind::Tick.number());
            stats.marks += u64::from(kept.header.kind == EntryKind::Mark.number());
            if kept.header.operation == Operation::CreateTransfers.number() {
                let created = CreateTransferStatus::Created.number();
                recorded += kept.results.iter().filter(|result| result.status == created).count();
                let broken = CreateTransferStatus::LinkedEventFailed.number();
                stats.rolled_back += kept.results.iter().filter(|result| result.status == broken).count() as u64;
            }
        }
        let transfers = self.machine.store().transfers().count();
        ensure(recorded == transfers, || format!("{recorded} transfers were created, {transfers} are recorded"))
    }
}

fn answer<T: IntoBytes + Immutable>(ask: impl FnOnce(&mut Vec<T>) -> Outcome) -> Result<Vec<u8>, Failed> {
    let mut rows = Vec::new();
    ask(&mut rows)?;
    Ok(rows.as_bytes().to_vec())
}

/// Rows that may lie anywhere, aligned.
fn rows_of<T: FromBytes + IntoBytes + FromZeros>(bytes: &[u8]) -> Vec<T> {
    let mut rows = T::new_vec_zeroed(bytes.len() / size_of::<T>()).expect("memory");
    rows.as_mut_slice().as_mut_bytes().copy_from_slice(bytes);
    rows
}

pub fn index(number: u64) -> usize {
    usize::try_from(number).expect("small")
}
