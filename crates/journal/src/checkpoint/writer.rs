//! Writes a checkpoint: under another name first, and under its own once all of it is on disk.

use sha2::{Digest, Sha256};
use zerocopy::IntoBytes;

use super::format::{FOLDER, Kind, MANIFEST_LENGTH, Manifest, Section, file_name};
use super::{Begun, SealedFile, sha256, state_hash};
use crate::disk::{Caching, Disk, DiskFile, Result};
use qenex_kernel::row::{Account, AccountTerms};

/// How the name of a checkpoint under way ends.
const TEMPORARY: &str = ".tmp";
/// Checkpoints kept.
const KEPT: usize = 2;

/// A checkpoint's file under way.
pub struct Writer<D: Disk> {
    disk: D,
    file: D::File,
    begun: Begun,
    hash: Sha256,
    written: u64,
}

impl<D: Disk> Writer<D> {
    /// Begins the file.
    ///
    /// # Errors
    /// The disk's; the checkpoints there are not touched.
    pub fn new(disk: &D, begun: Begun) -> Result<Self> {
        disk.create_folder(FOLDER)?;
        disk.sync_folder("")?;
        let name = temporary_name(begun.position.entry);
        match disk.remove(&name) {
            Err(error) if !error.is_missing() => return Err(error),
            _ => {}
        }
        let file = disk.create(&name, Caching::Cached)?;
        Ok(Self { disk: disk.clone(), file, begun, hash: Sha256::new(), written: 0 })
    }

    /// How many segments must have been sealed before [`Self::finish`].
    pub fn segments(&self) -> u32 {
        self.begun.segments
    }

    /// Writes the next accounts.
    ///
    /// # Errors
    /// The disk's; the checkpoint has to be begun again.
    pub fn accounts(&mut self, rows: &[Account]) -> Result<()> {
        self.hash.update(rows.as_bytes());
        self.put(rows.as_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        if !bytes.is_empty() {
            self.file.write_at(self.written, bytes)?;
            self.written += bytes.len() as u64;
        }
        Ok(())
    }

    fn section(&mut self, kind: Kind, row_size: u32, bytes: &[u8]) -> Result<Section> {
        let offset = self.written;
        self.put(bytes)?;
        let count = (bytes.len() as u64).checked_div(u64::from(row_size)).unwrap_or(0);
        Ok(Section { kind: kind as u16 + 1, version: 1, row_size, offset, count, sha256: sha256(bytes) })
    }

    /// Writes the rest, makes it durable and gives it its name; removes all but the newest two, and what crashes have left
    /// of others. Returns the hash of
    /// the state in it, which is that of [`LedgerStore::state_hash`](crate::derived::LedgerStore::state_hash).
    ///
    /// # Errors
    /// The disk's; the checkpoints before it stay.
    ///
    /// # Panics
    /// If accounts are missing or a sealed file is.
    pub fn finish(mut self, files: &[SealedFile]) -> Result<[u8; 32]> {
        let accounts = self.begun.accounts;
        assert_eq!(self.written, accounts * Account::SIZE as u64, "all accounts are written before the rest");
        assert_eq!(files.len(), self.begun.segments as usize, "all segments are sealed before the checkpoint is");
        let mut manifest = Manifest::new(self.begun.book, self.begun.position);
        let accounts_section = Section {
            kind: Kind::Accounts as u16 + 1,
            version: 1,
            row_size: 128,
            offset: 0,
            count: accounts,
            sha256: core::mem::take(&mut self.hash).finalize().into(),
        };
        let begun = self.begun.clone();
        let terms_size = u32::try_from(AccountTerms::SIZE).unwrap_or(64);
        manifest.table = [
            accounts_section,
            self.section(Kind::Pending, 144, begun.pending.as_bytes())?,
            self.section(Kind::Terms, terms_size, begun.terms.as_bytes())?,
            self.section(Kind::Sessions, begun.sessions.0, &begun.sessions.1)?,
            self.section(Kind::Configuration, 1, &begun.configuration)?,
            self.section(Kind::Files, 48, files.as_bytes())?,
        ];
        let [accounts, pending, terms, ..] = &manifest.table;
        let state_hash = state_hash(&accounts.sha256, &pending.sha256, &terms.sha256);
        manifest.file_length = self.written + MANIFEST_LENGTH as u64;
        manifest.sha256 = manifest.digest();
        self.put(manifest.as_bytes())?;
        self.file.sync()?;
        let entry = begun.position.entry;
        self.disk.rename(&temporary_name(entry), &file_name(entry))?;
        self.disk.sync_folder(FOLDER)?;
        let (finished, begun): (Vec<_>, Vec<_>) =
            self.disk.list(FOLDER)?.into_iter().partition(|name| name.ends_with(".qxc"));
        let begun = begun.iter().filter(|name| name.ends_with(TEMPORARY));
        for old in finished.iter().rev().skip(KEPT).chain(begun) {
            self.disk.remove(old)?;
        }
        self.disk.sync_folder(FOLDER)?;
        Ok(state_hash)
    }
}

fn temporary_name(entry: u64) -> String {
    format!("{FOLDER}/{entry:020}{TEMPORARY}")
}
