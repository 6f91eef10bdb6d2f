//! Checkpoints: the state at the end of a segment, so that a start replays only what came after.
//!
//! The core begins one with [`LedgerStore::begin_checkpoint`] right after an entry that closed a segment, and copies the
//! accounts with [`LedgerStore::checkpoint_step`] between entries; a page that changes before its turn is copied
//! first. Another thread gives what the core copies to a [`Writer`]. The file gets its name when all of it, and every
//! sealed file it refers to, is on disk.

mod format;
mod load;
mod writer;

use sha2::{Digest, Sha256};
use zerocopy::IntoBytes;

pub(crate) use format::PendingRow;
pub use format::{Position, SealedFile};
pub use load::{Loaded, PassedOver, load, newest_group};
pub use writer::Writer;

use crate::derived::LedgerStore;
use crate::disk::Disk;

/// A checkpoint that has begun: all of it but the accounts' rows, which come page by page.
#[derive(Clone, Debug)]
pub struct Begun {
    pub(crate) book: [u8; 16],
    pub(crate) position: Position,
    pub(crate) accounts: u64,
    pub(crate) pending: Vec<PendingRow>,
    pub(crate) terms: Vec<qenex_kernel::row::AccountTerms>,
    /// Bytes of one session, and all of them.
    pub(crate) sessions: (u32, Vec<u8>),
    pub(crate) configuration: Vec<u8>,
    /// Segments that must be sealed.
    pub(crate) segments: u32,
}

impl Begun {
    /// How many segments must have been sealed before the checkpoint can be finished.
    #[must_use]
    pub fn segments(&self) -> u32 {
        self.segments
    }
}

/// Hash of a state, from those of its accounts, its open pending transfers and its terms.
fn state_hash(accounts: &[u8; 32], pending: &[u8; 32], terms: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(accounts).chain_update(pending).chain_update(terms).finalize().into()
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

impl<D: Disk> LedgerStore<D> {
    /// Hash of the state in the form of a checkpoint: accounts, open pending transfers, terms. Equal on machines that
    /// applied the same entries. Takes as long as hashing all accounts does.
    pub fn state_hash(&self) -> [u8; 32] {
        let mut accounts = Sha256::new();
        self.accounts.iter().for_each(|account| accounts.update(account.as_bytes()));
        let accounts: [u8; 32] = accounts.finalize().into();
        let pending = sha256(self.pending_rows().as_bytes());
        let terms = sha256(self.terms_rows().as_bytes());
        state_hash(&accounts, &pending, &terms)
    }
}
