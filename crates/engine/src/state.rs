//! The state that follows from a journal: the ledger, the sessions, the configuration, the running hash of results.
//!
//! [`State::apply`] takes one entry. Live, after recovery, in `verify` and in a standby it is the same function, so
//! that the same entries lead to the same state.

use core::fmt;
use std::collections::VecDeque;

use qenex_journal::checkpoint::{Begun, Loaded, Position};
use qenex_journal::derived::{Entry, LedgerStore, SealJob};
use qenex_journal::disk::Disk;
use qenex_journal::log::{EntryKind, EntryView, EpochRow, Hash};
use qenex_kernel::machine::{Machine, Misuse};
use qenex_kernel::row::{Account, AccountTerms, BATCH_MAX, EventResult, Transfer};
use sha2::{Digest, Sha256};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::frame::{Operation, checksum};
use crate::limits::{Configuration, RELEASE};
use crate::sessions::{Sessions, Used};

/// The operation of a `tick` entry: expires what is due, at most [`BATCH_MAX`] pending transfers.
pub const PULSE: u16 = 128;

/// The row of a `session` entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SessionOpened {
    /// Who opened it.
    pub principal: [u8; 16],
}

/// The row of a `mark` entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Mark {
    /// The entry after which the state had these hashes.
    pub entry: u64,
    /// Zero.
    pub reserved: [u8; 24],
    /// SHA-256 over the checkpoint's form of the ledger.
    pub state_hash: Hash,
    /// SHA-256 over the checkpoint's form of the sessions.
    pub sessions_hash: Hash,
    /// The running hash of results.
    pub results_hash: Hash,
}

/// What a checkpoint keeps of the engine beside ledger and sessions: its section `configuration`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct EngineRow {
    configuration: Configuration,
    results_hash: Hash,
    reserved: [u8; 32],
}

/// Where in the journal the entry stands that is being applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The life of the book.
    pub incarnation: [u8; 16],
    /// The journal of the book.
    pub journal: u32,
    /// Number of the group.
    pub group: u64,
    /// Its chain hash.
    pub group_hash: Hash,
}

/// What is known of the newest checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Newest {
    /// The last entry in it, 0 if there is none.
    pub entry: u64,
    /// Timestamp of that entry.
    pub timestamp: u64,
    /// Sealed segments that it refers to.
    pub segments: u32,
}

/// A checkpoint that has begun: what is to be written of it but the accounts, which
/// [`LedgerStore::checkpoint_step`] copies.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// All of it but the accounts.
    pub begun: Begun,
    /// What it hashes to, but for the hash of the ledger.
    pub mark: Mark,
    /// What will be known of it once it is on disk.
    pub newest: Newest,
}

/// Accounts, as a power of two, for each of which a segment more is awaited between checkpoints: so that writing all
/// accounts stays a small part of what the segments themselves cost.
const ACCOUNTS_PER_SEGMENT_BITS: u32 = 18;

/// An entry that cannot be applied: the journal was written by something else than this program's releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// The entry's number is not the next one.
    NotNext {
        /// As found.
        entry: u64,
        /// The next one.
        expected: u64,
    },
    /// Rows of a size that the operation or kind does not have.
    Rows {
        /// Number of the entry.
        entry: u64,
    },
    /// A command that this release does not know.
    Operation {
        /// Number of the entry.
        entry: u64,
        /// As found.
        operation: u16,
    },
    /// A later release of the kernel's behaviour.
    Release {
        /// Number of the entry.
        entry: u64,
        /// As found.
        release: u32,
    },
    /// A command that was accepted, and whose answer nobody waits for: whoever is told of it later would be told nothing.
    Unawaited {
        /// Number of the entry.
        entry: u64,
    },
    /// The kernel refuses the entry's size or time.
    Misuse {
        /// Number of the entry.
        entry: u64,
        /// Why.
        misuse: Misuse,
    },
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNext { entry, expected } => write!(f, "entry {entry} came where entry {expected} is next"),
            Self::Rows { entry } => write!(f, "entry {entry} has rows of a size that its operation does not have"),
            Self::Operation { entry, operation } => {
                write!(f, "entry {entry} has operation {operation}, which release {RELEASE} does not know")
            }
            Self::Release { entry, release } => {
                write!(f, "entry {entry} begins release {release} of the kernel, this program has up to {RELEASE}")
            }
            Self::Unawaited { entry } => {
                write!(f, "entry {entry} is a request under way, and nobody is there to be told what came of it")
            }
            Self::Misuse { entry, misuse } => write!(f, "entry {entry}: {misuse}"),
        }
    }
}

impl core::error::Error for ApplyError {}

/// See the module. `D` is where the ledger's sealed segments lie.
#[derive(Debug)]
pub struct State<D: Disk> {
    machine: Machine<LedgerStore<D>>,
    sessions: Sessions,
    configuration: Configuration,
    /// The last entry applied, 0 if none.
    entry: u64,
    /// Timestamp of the last entry applied.
    timestamp: u64,
    /// The last group of which all entries are applied.
    group: u64,
    /// The epoch in force.
    epoch: u64,
    /// The running hash of results up to `entry`.
    running_hash: Hash,
    /// The same up to `group`.
    results_hash: Hash,
    /// Closed segments that nobody seals yet.
    seal_jobs: VecDeque<SealJob>,
    /// The last entry closed a segment.
    ends_segment: bool,
    newest: Newest,
    /// A checkpoint that a replay has begun and nobody writes yet.
    checkpoint: Option<Box<Checkpoint>>,
}

impl<D: Disk> State<D> {
    /// The state before the first entry.
    pub fn new(store: LedgerStore<D>) -> Self {
        Self {
            machine: Machine::new(store, 0),
            sessions: Sessions::default(),
            configuration: Configuration::default(),
            entry: 0,
            timestamp: 0,
            group: 0,
            epoch: 0,
            running_hash: [0; 32],
            results_hash: [0; 32],
            seal_jobs: VecDeque::new(),
            ends_segment: false,
            newest: Newest::default(),
            checkpoint: None,
        }
    }

    /// The state that a checkpoint holds.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn from_checkpoint(loaded: Loaded<D>) -> Result<Self, String> {
        let row = EngineRow::read_from_bytes(&loaded.configuration)
            .map_err(|_| "its configuration is not as this release writes it".to_owned())?;
        let sessions = Sessions::read(&loaded.sessions).map_err(|_| "its sessions contradict each other".to_owned())?;
        let position = loaded.position;
        if position.release > RELEASE {
            return Err(format!("it is of release {} of the kernel, this program has {RELEASE}", position.release));
        }
        let segments = loaded.store.counters().segments - 1;
        let mut state = Self::new(loaded.store);
        state.machine = Machine::new(state.machine.into_store(), position.timestamp);
        state.sessions = sessions;
        state.configuration = row.configuration;
        (state.entry, state.timestamp) = (position.entry, position.timestamp);
        // The group may have more entries; that it is complete is known when the next one begins.
        (state.group, state.epoch) = (position.group - 1, position.epoch);
        (state.running_hash, state.results_hash) = (row.results_hash, row.results_hash);
        state.newest = Newest { entry: position.entry, timestamp: position.timestamp, segments };
        Ok(state)
    }

    /// Whether the last entry closed a segment: right after it a checkpoint can begin.
    pub const fn ends_segment(&self) -> bool {
        self.ends_segment
    }

    /// Whether a checkpoint should begin here: the last entry closed a segment, and enough of them were closed since
    /// the newest checkpoint, or since the one that was begun.
    pub fn is_checkpoint_due(&self) -> bool {
        if !self.ends_segment {
            return false;
        }
        let counters = self.machine.store().counters();
        let newest = self.checkpoint.as_ref().map_or(&self.newest, |checkpoint| &checkpoint.newest);
        let closed = u64::from(counters.segments - 1 - newest.segments);
        closed >= (counters.accounts >> ACCOUNTS_PER_SEGMENT_BITS).max(1)
    }

    /// Begins a checkpoint right after an entry that closed a segment and stands at `place`. One that was begun before
    /// and not taken is forgotten, so that a replay, which does not know where it will end, can begin one wherever it
    /// is due. Whoever goes on from the state takes the last one: [`State::take_checkpoint`].
    pub fn begin_checkpoint(&mut self, place: &Place) {
        if self.checkpoint.take().is_some() {
            self.machine.store_mut().forget_checkpoint();
        }
        let mut sessions = Vec::new();
        self.sessions.write(&mut sessions);
        let mark = self.mark_but(Sha256::digest(&sessions).into());
        let position = Position {
            incarnation: place.incarnation,
            journal: place.journal,
            release: RELEASE,
            epoch: self.epoch,
            group: place.group,
            group_hash: place.group_hash,
            entry: self.entry,
            timestamp: self.machine.timestamp(),
        };
        let row = EngineRow { configuration: self.configuration, results_hash: self.running_hash, reserved: [0; 32] };
        let begun = self.machine.store_mut().begin_checkpoint(position, 1, sessions, row.as_bytes().to_vec());
        let newest = Newest { entry: self.entry, timestamp: self.timestamp, segments: begun.segments() };
        self.checkpoint = Some(Box::new(Checkpoint { begun, mark, newest }));
    }

    /// The checkpoint that was begun: whoever takes it copies the accounts and writes it.
    pub const fn take_checkpoint(&mut self) -> Option<Box<Checkpoint>> {
        self.checkpoint.take()
    }

    /// What a mark of the state as it is now says. Takes as long as hashing all accounts does.
    pub fn mark(&self) -> Mark {
        Mark { state_hash: self.machine.store().state_hash(), ..self.mark_but(self.sessions.digest()) }
    }

    /// A mark without the hash of the ledger.
    const fn mark_but(&self, sessions_hash: Hash) -> Mark {
        let (entry, results_hash) = (self.entry, self.running_hash);
        Mark { entry, reserved: [0; 24], state_hash: [0; 32], sessions_hash, results_hash }
    }

    /// The newest checkpoint.
    pub const fn newest(&self) -> &Newest {
        &self.newest
    }

    /// A checkpoint is on disk.
    pub const fn set_newest(&mut self, newest: Newest) {
        self.newest = newest;
    }

    /// The ledger.
    pub const fn machine(&self) -> &Machine<LedgerStore<D>> {
        &self.machine
    }

    /// Where the ledger's rows live, for sealing and checkpoints.
    pub const fn store_mut(&mut self) -> &mut LedgerStore<D> {
        self.machine.store_mut()
    }

    /// The sessions.
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// The configuration in force.
    pub const fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// The last entry applied, 0 if none.
    pub const fn entry(&self) -> u64 {
        self.entry
    }

    /// Timestamp of the last entry applied, UTC nanoseconds.
    pub const fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// The last group of which all entries are applied, 0 if none.
    pub const fn group(&self) -> u64 {
        self.group
    }

    /// The epoch in force.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The running hash of results up to [`State::group`]. For each entry: SHA-256 over the hash before it (first:
    /// zeros), the entry's number (u64) and its results, so that groups mean nothing to it.
    pub const fn results_hash(&self) -> &Hash {
        &self.results_hash
    }

    /// Applies the next entry; appends the results of a command. `rows_checksum` is the XXH3-64 of the rows, if the
    /// caller has it already.
    ///
    /// # Errors
    /// [`ApplyError`]; the state must not be used any more.
    pub fn apply(
        &mut self,
        view: &EntryView<'_>,
        rows_checksum: Option<u64>,
        results: &mut Vec<EventResult>,
    ) -> Result<(), ApplyError> {
        let header = view.header;
        let (entry, timestamp) = (header.number, header.timestamp);
        if entry != self.entry + 1 {
            return Err(ApplyError::NotNext { entry, expected: self.entry + 1 });
        }
        let begin = results.len();
        let mut operation = 0;
        match EntryKind::from_number(header.kind) {
            Some(EntryKind::Command) => {
                operation = header.operation;
                self.run(view, results)?;
                let rows_checksum = rows_checksum.unwrap_or_else(|| checksum(view.rows));
                let fingerprint = fingerprint(operation, rows_checksum);
                self.sessions.record(&header.session, Used { request: header.request, entry, fingerprint });
            }
            Some(EntryKind::Tick) => {
                operation = PULSE;
                let expired = self.machine.expire(timestamp, BATCH_MAX);
                expired.map_err(|misuse| ApplyError::Misuse { entry, misuse })?;
            }
            Some(EntryKind::Session) => {
                let row = only_row::<SessionOpened>(view)?;
                self.sessions.open(header.session, row.principal, entry, self.configuration.sessions_max);
            }
            Some(EntryKind::Configuration) => {
                self.configuration = *only_row::<Configuration>(view)?;
                self.sessions.shrink(self.configuration.sessions_max);
            }
            Some(EntryKind::Epoch) => {
                let row = only_row::<EpochRow>(view)?;
                if row.release > RELEASE {
                    return Err(ApplyError::Release { entry, release: row.release });
                }
                self.epoch = row.epoch;
            }
            // A mark changes nothing (who checks it is `verify`), nor does an end, nor a kind that may be skipped:
            // the reader lets no other unknown kind pass.
            Some(EntryKind::Mark | EntryKind::End) | None => {}
        }
        let hash = Sha256::new().chain_update(self.running_hash).chain_update(entry.to_le_bytes());
        self.running_hash = hash.chain_update(results[begin..].as_bytes()).finalize().into();
        let store = self.machine.store_mut();
        let closed = store.close_entry(&Entry { number: entry, operation, timestamp }, &results[begin..]);
        self.ends_segment = closed.is_some();
        self.seal_jobs.extend(closed);
        self.entry = entry;
        self.timestamp = timestamp;
        Ok(())
    }

    /// A segment that was closed and is to be sealed: run the job beside the work, and give what it returns to the
    /// store. They come in order, and are to be run in order.
    pub fn take_seal_job(&mut self) -> Option<SealJob> {
        self.seal_jobs.pop_front()
    }

    /// All entries of a group have been applied.
    pub const fn end_group(&mut self, group: u64) {
        self.results_hash = self.running_hash;
        self.group = group;
    }

    fn run(&mut self, view: &EntryView<'_>, results: &mut Vec<EventResult>) -> Result<(), ApplyError> {
        let (entry, timestamp) = (view.header.number, view.header.timestamp);
        let rows = ApplyError::Rows { entry };
        let done = match Operation::from_number(view.header.operation) {
            Some(Operation::CreateAccounts) => {
                self.machine.create_accounts(timestamp, view.rows_as::<Account>().ok_or(rows)?, results)
            }
            Some(Operation::CreateTransfers) => {
                self.machine.create_transfers(timestamp, view.rows_as::<Transfer>().ok_or(rows)?, results)
            }
            Some(Operation::SetAccountTerms) => {
                self.machine.set_account_terms(timestamp, view.rows_as::<AccountTerms>().ok_or(rows)?, results)
            }
            _ => return Err(ApplyError::Operation { entry, operation: view.header.operation }),
        };
        done.map_err(|misuse| ApplyError::Misuse { entry, misuse })
    }
}

/// Tells a request's rows from others of the same number.
pub(crate) const fn fingerprint(operation: u16, rows_checksum: u64) -> u64 {
    rows_checksum.wrapping_add((operation as u64) << 48)
}

fn only_row<'a, T: FromBytes + KnownLayout + Immutable>(view: &EntryView<'a>) -> Result<&'a T, ApplyError> {
    match view.rows_as::<T>() {
        Some([row]) => Ok(row),
        _ => Err(ApplyError::Rows { entry: view.header.number }),
    }
}
