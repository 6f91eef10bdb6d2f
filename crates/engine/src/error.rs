//! What ends an engine, or keeps it from starting.

use core::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use qenex_journal::derived::SegmentError;
use qenex_journal::disk::DiskError;
use qenex_journal::log::JournalError;

use crate::state::ApplyError;

/// Why an engine cannot start, or had to stop.
#[derive(Debug)]
pub enum EngineError {
    /// The place is in use, cannot be read, or the like.
    Disk(DiskError),
    /// The journal cannot be used as it is.
    Journal(JournalError),
    /// A sealed segment cannot be made or read.
    Segment(SegmentError),
    /// A write or a sync failed: whether the last group is durable is not known, and the engine stopped before it
    /// answered anything of it. The next start finds out.
    Sync(DiskError),
    /// Another engine writes this journal now.
    Fenced {
        /// The epoch that it began.
        epoch: u64,
    },
    /// A durable entry cannot be applied.
    Apply(ApplyError),
    /// The address to serve cannot be had.
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A socket, a pipe or a thread cannot be had.
    Io {
        /// What for.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The journal on the disk is another book's.
    WrongBook {
        /// As found.
        found: [u8; 16],
        /// As asked for.
        expected: [u8; 16],
    },
    /// The folder of the books is not as it can be.
    Books {
        /// Which.
        path: String,
        /// In words.
        what: String,
    },
    /// It is the engine of this book that cannot start or had to stop.
    Book {
        /// The book's folder.
        path: String,
        /// Why.
        error: Box<EngineError>,
    },
    /// The engine has stopped, or its process was forked; or what was under way was asked to end.
    Stopped(String),
}

impl EngineError {
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }

    /// The same, of the book in this folder.
    pub(crate) fn of_book(self, path: &std::path::Path) -> Self {
        Self::Book { path: path.display().to_string(), error: Box::new(self) }
    }

    /// Another process (or another engine in this one) has the book; the text names it.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        match self {
            Self::Disk(error) => error.is_locked(),
            Self::Book { error, .. } => error.is_locked(),
            _ => false,
        }
    }

    /// More space would help.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Disk(error) => error.is_full(),
            Self::Journal(error) => error.is_full(),
            Self::Segment(SegmentError::Disk(error)) => error.is_full(),
            Self::Book { error, .. } => error.is_full(),
            _ => false,
        }
    }
}

/// Runs what may read sealed segments in the middle of its work, where only unwinding leads out: what could not be read
/// is returned as the error that it is.
pub(crate) fn caught<T>(run: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    // Nothing that was under way is used again: whoever gets the error ends.
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result,
        Err(payload) => match payload.downcast::<SegmentError>() {
            Ok(error) => Err((*error).into()),
            Err(payload) => resume_unwind(payload),
        },
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => write!(f, "{error}"),
            Self::Journal(error) => write!(f, "{error}"),
            Self::Segment(error) => write!(f, "{error}"),
            Self::Sync(error) => write!(
                f,
                "{error}; the engine stopped at once, before it answered anything of that group. Whether the group is \
                 durable is found out at the next start"
            ),
            Self::Fenced { epoch } => write!(f, "another engine began epoch {epoch} of this journal"),
            Self::Apply(error) => write!(f, "the journal cannot be applied: {error}"),
            Self::Listen { address, source } => write!(f, "cannot listen on {address}: {source}"),
            Self::Io { what, source } => write!(f, "cannot {what}: {source}"),
            Self::WrongBook { found, expected } => {
                write!(f, "the journal is of book {}, not of {}", hex(found), hex(expected))
            }
            Self::Book { path, error } => write!(f, "{path}: {error}"),
            Self::Books { path, what } => write!(f, "{path}: {what}"),
            Self::Stopped(why) => f.write_str(why),
        }
    }
}

impl core::error::Error for EngineError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Disk(error) | Self::Sync(error) => Some(error),
            Self::Journal(error) => Some(error),
            Self::Segment(error) => Some(error),
            Self::Apply(error) => Some(error),
            Self::Book { error, .. } => Some(error),
            Self::Io { source, .. } | Self::Listen { source, .. } => Some(source),
            Self::Fenced { .. } | Self::WrongBook { .. } | Self::Books { .. } | Self::Stopped(_) => None,
        }
    }
}

impl From<DiskError> for EngineError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl From<JournalError> for EngineError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Disk(error) => Self::Disk(error),
            error => Self::Journal(error),
        }
    }
}

impl From<ApplyError> for EngineError {
    fn from(error: ApplyError) -> Self {
        Self::Apply(error)
    }
}

impl From<SegmentError> for EngineError {
    fn from(error: SegmentError) -> Self {
        match error {
            SegmentError::Disk(error) => Self::Disk(error),
            error => Self::Segment(error),
        }
    }
}
