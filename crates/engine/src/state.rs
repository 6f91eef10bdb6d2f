//! The state that follows from a journal: the ledger, the sessions, the configuration, the running hash of results.
//!
//! [`State::apply`] takes one entry. Live, after recovery, in `verify` and in a standby it is the same function, so
//! that the same entries lead to the same state.

use core::fmt;
use std::collections::VecDeque;

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
    /// The running hash of results up to `group`.
    results_hash: Hash,
    /// Results of the group under way.
    group_results: Sha256,
    /// Closed segments that nobody seals yet.
    seal_jobs: VecDeque<SealJob>,
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
            results_hash: [0; 32],
            group_results: Sha256::new(),
            seal_jobs: VecDeque::new(),
        }
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

    /// The running hash of results up to [`State::group`]: SHA-256 over the hash before it (first: zeros) and the
    /// SHA-256 of, for each entry of the group, its number (u64) and its results.
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
        self.group_results.update(entry.to_le_bytes());
        self.group_results.update(results[begin..].as_bytes());
        let store = self.machine.store_mut();
        self.seal_jobs.extend(store.close_entry(&Entry { number: entry, operation, timestamp }, &results[begin..]));
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
    pub fn end_group(&mut self, group: u64) {
        let hash = core::mem::take(&mut self.group_results);
        self.results_hash =
            Sha256::new().chain_update(self.results_hash).chain_update(hash.finalize()).finalize().into();
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
