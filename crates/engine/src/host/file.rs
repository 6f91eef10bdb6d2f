//! The file `grants` in a book's folder: its name, its state, and the credentials that open it. Format: `spec/grants.md`.

use std::collections::BTreeMap;

use qenex_journal::disk::{Caching, Disk, DiskError, DiskFile, FileDisk};
use twox_hash::XxHash3_64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::credential::{Credential, Fingerprint};
use crate::frame::{BookRow, GRANTS_MAX, GrantRow, NAME_MAX, book_state, grant_flags, grant_state};

/// A book's id.
pub type BookId = [u8; 16];

const NAME: &str = "grants";
const TEMPORARY: &str = "grants.tmp";
const MAGIC: &[u8; 8] = b"QENEXGR1";
const VERSION: u16 = 1;
const HOME: u16 = 1;

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Head {
    magic: [u8; 8],
    version: u16,
    header_length: u16,
    row_size: u32,
    rows: u32,
    state: u16,
    flags: u16,
    created: u64,
    book: BookId,
    name: [u8; NAME_MAX],
    reserved: [u8; 136],
    checksum: u64,
}

const HEAD: usize = size_of::<Head>();
const ROW: usize = size_of::<GrantRow>();
const _: () = assert!(HEAD == 256);

/// What is known of a book without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BookFile {
    pub(super) book: BookId,
    /// UTF-8, zeros after it.
    pub(super) name: [u8; NAME_MAX],
    pub(super) created: u64,
    /// One of [`book_state`].
    pub(super) state: u16,
    /// The owner credential of the home opens it.
    pub(super) is_home: bool,
    pub(super) grants: BTreeMap<Fingerprint, GrantRow>,
}

/// What a folder has in the place of the file.
pub(super) enum Found {
    /// It, as it was written.
    Good(Box<BookFile>),
    /// Nothing: the folder is half a book, or one from before there were such files, or was restored from a backup.
    Missing,
    /// Something else; in words.
    Damaged(String),
}

impl BookFile {
    /// A book without a credential.
    pub(super) const fn new(book: BookId, name: [u8; NAME_MAX], created: u64) -> Self {
        Self { book, name, created, state: book_state::ACTIVE, is_home: false, grants: BTreeMap::new() }
    }

    /// What opens it now.
    pub(super) fn credentials(&self) -> impl Iterator<Item = Credential> {
        self.grants.values().filter(|grant| grant.state == grant_state::ACTIVE).map(|grant| Credential {
            fingerprint: grant.fingerprint,
            stored_key: grant.key_1,
            server_key: grant.key_2,
            principal: grant.principal,
            may_write: grant.flags & grant_flags::MAY_WRITE != 0,
        })
    }

    /// As it is told to the system.
    pub(super) fn row(&self, is_open: bool, is_damaged: bool) -> BookRow {
        let flag = |is_set: bool, flag: u16| if is_set { flag } else { 0 };
        BookRow {
            book: self.book,
            created: self.created,
            grants: u32::try_from(self.grants.len()).unwrap_or(u32::MAX),
            state: if is_damaged { book_state::DAMAGED } else { self.state },
            flags: flag(is_open, BookRow::OPEN) | flag(self.is_home, BookRow::HOME),
            reserved: [0; 32],
            name: self.name,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let head = Head {
            magic: *MAGIC,
            version: VERSION,
            header_length: 256,
            row_size: 1_024,
            rows: u32::try_from(self.grants.len()).expect("a thousand at most"),
            state: self.state,
            flags: if self.is_home { HOME } else { 0 },
            created: self.created,
            book: self.book,
            name: self.name,
            reserved: [0; 136],
            checksum: 0,
        };
        let mut bytes = head.as_bytes().to_vec();
        self.grants.values().for_each(|grant| bytes.extend_from_slice(grant.as_bytes()));
        let checksum = XxHash3_64::oneshot(&bytes);
        bytes[HEAD - 8..HEAD].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8], book: &BookId) -> Result<Self, String> {
        let (head, rows) = Head::read_from_prefix(bytes).map_err(|_| "it is shorter than its head".to_owned())?;
        if head.magic != *MAGIC {
            return Err("it does not begin with QENEXGR1".to_owned());
        }
        if head.version != VERSION {
            return Err(format!("it is of format {}, this program knows {VERSION}", head.version));
        }
        let mut unsummed = bytes.to_vec();
        unsummed[HEAD - 8..HEAD].fill(0);
        if XxHash3_64::oneshot(&unsummed) != head.checksum {
            return Err("it does not match its checksum".to_owned());
        }
        let count = head.rows as usize;
        if (head.header_length, head.row_size) != (256, 1_024) || rows.len() != count * ROW || count > GRANTS_MAX {
            return Err(format!("its {} bytes are not those of {count} credentials", bytes.len()));
        }
        if head.book != *book {
            return Err("it is of another book than its folder".to_owned());
        }
        let grants = rows.chunks_exact(ROW).filter_map(|row| GrantRow::read_from_bytes(row).ok());
        Ok(Self {
            book: head.book,
            name: head.name,
            created: head.created,
            state: head.state,
            is_home: head.flags & HOME != 0,
            grants: grants.map(|grant| (grant.fingerprint, grant)).collect(),
        })
    }

    /// Finds the file of a book's folder.
    pub(super) fn find(disk: &FileDisk, book: &BookId) -> Result<Found, DiskError> {
        let file = match disk.open(NAME, Caching::Cached) {
            Ok(file) => file,
            Err(error) if error.is_missing() => return Ok(Found::Missing),
            Err(error) => return Err(error),
        };
        let length = usize::try_from(file.length()?).unwrap_or(usize::MAX);
        if length > HEAD + GRANTS_MAX * ROW {
            return Ok(Found::Damaged(format!("its {length} bytes are more than those of {GRANTS_MAX} credentials")));
        }
        let mut bytes = vec![0; length];
        file.read_at(0, &mut bytes)?;
        Ok(match Self::read(&bytes, book) {
            Ok(file) => Found::Good(Box::new(file)),
            Err(what) => Found::Damaged(what),
        })
    }

    /// Writes the file, whole or not at all, durably.
    pub(super) fn write(&self, disk: &FileDisk) -> Result<(), DiskError> {
        match disk.remove(TEMPORARY) {
            Err(error) if !error.is_missing() => return Err(error),
            _ => {}
        }
        let file = disk.create(TEMPORARY, Caching::Cached)?;
        file.write_at(0, &self.bytes())?;
        file.sync()?;
        disk.rename(TEMPORARY, NAME)?;
        disk.sync_folder("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> BookFile {
        let mut file = BookFile::new([7; 16], [b'n'; NAME_MAX], 5);
        for number in 1..=3 {
            let grant = GrantRow { book: [7; 16], fingerprint: [number; 8], kind: 1, state: 1, ..GrantRow::ZERO };
            file.grants.insert(grant.fingerprint, grant);
        }
        file.is_home = true;
        file
    }

    #[test]
    fn what_is_written_is_read_and_no_byte_of_it_can_change_unseen() {
        let (file, bytes) = (file(), file().bytes());
        assert_eq!(BookFile::read(&bytes, &[7; 16]).as_ref(), Ok(&file));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(BookFile::read(&changed, &[7; 16]).is_err(), "byte {at}");
        }
        for length in 0..bytes.len() {
            assert!(BookFile::read(&bytes[..length], &[7; 16]).is_err(), "{length} bytes");
        }
        assert!(BookFile::read(&bytes, &[8; 16]).is_err(), "another book's folder");
    }
}
