//! What can go wrong with a disk, always with the name of the file.

use core::fmt;
use std::io;

/// What was asked of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Making a folder.
    CreateFolder,
    /// Making a file.
    Create,
    /// Opening a file.
    Open,
    /// Reading bytes.
    Read,
    /// Writing bytes.
    Write,
    /// Making bytes durable.
    Sync,
    /// Asking for a length.
    Length,
    /// Setting a length.
    SetLength,
    /// Changing a name.
    Rename,
    /// Removing a file.
    Remove,
    /// Listing a folder.
    List,
    /// Making names durable.
    SyncFolder,
    /// Asking for free space.
    FreeBytes,
    /// Taking the lock.
    Lock,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CreateFolder => "create folder",
            Self::Create => "create",
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Length => "ask the length of",
            Self::SetLength => "set the length of",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::List => "list",
            Self::SyncFolder => "sync folder",
            Self::FreeBytes => "ask the free space of",
            Self::Lock => "lock",
        })
    }
}

/// An operation on a disk that failed.
#[derive(Debug)]
pub struct DiskError {
    /// What was asked.
    pub operation: Operation,
    /// Of which file or folder, as the disk names it.
    pub name: String,
    /// Where in the file, in bytes, if that means anything.
    pub offset: Option<u64>,
    /// What the system said.
    pub source: io::Error,
}

impl DiskError {
    pub(crate) fn new(operation: Operation, name: &str, source: io::Error) -> Self {
        Self { operation, name: name.to_owned(), offset: None, source }
    }

    pub(crate) fn at(operation: Operation, name: &str, offset: u64, source: io::Error) -> Self {
        Self { operation, name: name.to_owned(), offset: Some(offset), source }
    }

    /// No space is left (or no quota).
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// There is no such file or folder.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// The name is used already.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.source.kind() == io::ErrorKind::AlreadyExists
    }

    /// Somebody else has the place.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.operation == Operation::Lock && self.source.kind() == io::ErrorKind::WouldBlock
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() { "the root folder" } else { &self.name };
        write!(f, "cannot {} {name}", self.operation)?;
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        write!(f, ": {}", self.source)
    }
}

impl core::error::Error for DiskError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.source)
    }
}
