//! What a checkpoint takes from the store, and gives back to it.

use std::sync::{Arc, Mutex};

use qenex_kernel::row::{Account, AccountTerms};

use super::hash::prefix;
use super::pending;
use super::sealed::{Cache, SealedKeys, SealedSegment, SegmentError};
use super::store::LedgerStore;
use super::view::View;
use crate::checkpoint::{Begun, PendingRow, Position, SealedFile};
use crate::disk::Disk;

impl<D: Disk> LedgerStore<D> {
    /// The open pending transfers in order of creation.
    pub(crate) fn pending_rows(&self) -> Vec<PendingRow> {
        let row = |open: &pending::Open| PendingRow {
            transfer: open.transfer,
            segment: open.segment,
            row: open.row,
            reserved: 0,
        };
        let mut rows: Vec<PendingRow> = self.pending.iter().map(row).collect();
        rows.sort_unstable_by_key(|row| row.transfer.timestamp);
        rows
    }

    /// All terms in order of their accounts.
    pub(crate) fn terms_rows(&self) -> Vec<AccountTerms> {
        self.accounts.all_terms().copied().collect()
    }

    /// Begins a checkpoint of the state as it is now. Accounts are copied by [`Self::checkpoint_step`]. `sessions` are
    /// rows of `session_size` bytes.
    ///
    /// # Panics
    /// If the open segment has an entry already, a checkpoint is under way, or the store started from given accounts.
    pub fn begin_checkpoint(
        &mut self,
        position: Position,
        session_size: u32,
        sessions: Vec<u8>,
        configuration: Vec<u8>,
    ) -> Begun {
        assert!(self.open.rows.entries.len() == 0, "a checkpoint begins where a segment does");
        assert!(self.opening.is_empty(), "accounts that a ledger was given have no entry to be replayed from");
        self.accounts.begin_snapshot();
        Begun {
            book: self.book,
            position,
            accounts: self.accounts.len() as u64,
            pending: self.pending_rows(),
            terms: self.terms_rows(),
            sessions: (session_size, sessions),
            configuration,
            segments: self.open.rows.number,
        }
    }

    /// Forgets the checkpoint under way, if there is one: another can begin.
    pub fn forget_checkpoint(&mut self) {
        self.accounts.forget_snapshot();
    }

    /// Copies the next accounts of the checkpoint under way, at most `max_pages` pages of 64; `None` when there are no
    /// more, which ends it.
    pub fn checkpoint_step(&mut self, max_pages: usize) -> Option<Vec<Account>> {
        self.accounts.snapshot_step(max_pages)
    }

    /// The first `segments` sealed files; `None` while one of them is not sealed yet.
    pub fn sealed_files(&self, segments: u32) -> Option<Vec<SealedFile>> {
        let files = self.sealed.get(..segments as usize)?.iter().map(|segment| SealedFile {
            number: segment.number(),
            reserved: 0,
            length: segment.length(),
            sha256: segment.sha256(),
        });
        Some(files.collect())
    }

    /// Reads a whole sealed file and judges every block; returns its length and the SHA-256 that stands for it, to be
    /// compared with a checkpoint's. A damaged one is removed, and replaying the journal from its beginning makes it anew.
    ///
    /// # Errors
    /// [`SegmentError`] if it is missing or damaged.
    pub fn verify_segment(disk: &D, book: [u8; 16], number: u32) -> Result<(u64, [u8; 32]), SegmentError> {
        let cache = Arc::new(Mutex::new(Cache::new(1)));
        SealedSegment::open(disk, book, number, None, cache)?.verify()
    }

    /// Takes a sealed segment in, the next in order.
    pub(crate) fn restore_segment(&mut self, segment: SealedSegment<D>, keys: &SealedKeys) -> Result<(), SegmentError> {
        let number = segment.number();
        let SealedKeys { ids, resolutions, blocks } = keys;
        self.directory.open_segment(number, ids.len() + resolutions.len());
        for entries in [ids, resolutions] {
            self.directory.insert(entries.iter().map(|&entry| prefix(entry)), number);
        }
        if !self.directory.insert_blocks(blocks) {
            return Err(segment.damaged("its map of blocks has another length".to_owned()));
        }
        self.transfers_before_segment += u64::from(View::rows(&segment));
        self.last_transfer_timestamp = self.last_transfer_timestamp.max(segment.last_timestamp());
        self.sealed.push(segment);
        self.open.rows.number = number + 1;
        Ok(())
    }

    /// Takes the rows of a checkpoint in.
    pub(crate) fn restore_rows(
        &mut self,
        accounts: &[Account],
        pending: &[PendingRow],
        terms: &[AccountTerms],
    ) -> Result<(), String> {
        accounts.iter().for_each(|account| self.accounts.push(&self.keys, account));
        for row in pending {
            let open = pending::Open { transfer: row.transfer, segment: row.segment, row: row.row };
            self.pending.open(&self.keys, open);
        }
        for row in terms {
            let slot = self.accounts.find(&self.keys, row.account_id);
            let slot = slot.ok_or_else(|| format!("it has terms of account {} but not the account", row.account_id))?;
            self.accounts.set_terms(slot, Some(row));
        }
        Ok(())
    }
}
