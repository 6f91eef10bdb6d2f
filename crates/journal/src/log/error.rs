//! What can go wrong with a journal, always with the place.

use core::fmt;

use crate::disk::DiskError;

/// What a journal operation returns.
pub type Result<T> = core::result::Result<T, JournalError>;

/// Why a journal could not be opened, read or written.
#[derive(Debug)]
pub enum JournalError {
    /// The disk failed.
    Disk(DiskError),
    /// There is no journal on this disk.
    Missing,
    /// There is one already.
    Exists,
    /// The bytes are not those that were written. Nothing was changed.
    Damaged {
        /// Name of the file.
        file: String,
        /// Byte in the file where the damaged piece begins.
        offset: u64,
        /// What does not hold there.
        what: String,
    },
    /// Written by a later version of QENEX.
    NewerFormat {
        /// Name of the file.
        file: String,
        /// Byte in the file where the header begins.
        offset: u64,
        /// Which header.
        what: &'static str,
        /// Its version.
        version: u16,
    },
    /// Uses something that this version knows by name but cannot read.
    Unsupported {
        /// Name of the file.
        file: String,
        /// Byte in the file where the piece begins.
        offset: u64,
        /// What it is.
        what: String,
    },
    /// An entry of a kind that this version cannot apply and may not skip.
    UnknownKind {
        /// Name of the file.
        file: String,
        /// Byte in the file where its group begins.
        offset: u64,
        /// Number of the entry.
        entry: u64,
        /// Its kind.
        kind: u16,
    },
    /// The group needs space that was not reserved. Nothing was written.
    NotReserved {
        /// Bytes that the group needs on disk.
        needed: u64,
        /// Bytes that are ready.
        reserved: u64,
    },
    /// The group does not follow what the journal holds. Nothing was written.
    NotNext(String),
    /// [`Journal::start`](super::Journal::start) comes before the first append. Nothing was written.
    NotStarted,
    /// An earlier write or sync failed, or the journal was ended: it takes nothing more.
    Stopped,
    /// The options contradict each other.
    Options(String),
    /// A backup that cannot be used.
    Backup(String),
}

impl JournalError {
    pub(crate) fn damaged(file: &str, offset: u64, what: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), offset, what: what.into() }
    }

    /// Whether more space would help.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Disk(error) => error.is_full(),
            Self::NotReserved { .. } => true,
            _ => false,
        }
    }
}

impl From<DiskError> for JournalError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => write!(f, "{error}"),
            Self::Missing => f.write_str("there is no journal here"),
            Self::Exists => f.write_str("there is a journal here already; a new one needs an empty place"),
            Self::Damaged { file, offset, what } => write!(f, "{file} is damaged at byte {offset}: {what}"),
            Self::NewerFormat { file, offset, what, version } => write!(
                f,
                "{file}: the {what} at byte {offset} has format version {version}, this QENEX reads up to {}; \
                 use a newer QENEX",
                super::FORMAT_VERSION
            ),
            Self::Unsupported { file, offset, what } => write!(f, "{file}, byte {offset}: {what}"),
            Self::UnknownKind { file, offset, entry, kind } => {
                let name = super::EntryKind::name_of(*kind);
                write!(
                    f,
                    "{file}: entry {entry} in the group at byte {offset} is of kind {kind} ({name}), which this QENEX \
                     cannot apply and may not skip"
                )
            }
            Self::NotReserved { needed, reserved } => {
                write!(f, "a group of {needed} bytes does not fit the {reserved} bytes that are reserved on disk")
            }
            Self::NotNext(what) => write!(f, "the group does not follow the journal: {what}"),
            Self::NotStarted => f.write_str("the journal was opened but not started"),
            Self::Stopped => f.write_str("the journal was ended, or a write to it failed; it takes nothing more"),
            Self::Options(what) | Self::Backup(what) => f.write_str(what),
        }
    }
}

impl core::error::Error for JournalError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Disk(error) => Some(error),
            _ => None,
        }
    }
}
