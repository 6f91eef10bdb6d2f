//! The journal: what happened, in order, in files that only grow. Format: `spec/journal.md`.
//!
//! A *group* is what one write and one sync make durable; groups are numbered, and each carries the
//! hash of the one before. In it lie *entries*: a command, a start, a tick of expiry, each with a
//! number, a time, and a context that its door wrote. Same entries, same state.
//!
//! - [`GroupBuilder`] assembles entries in memory that the disk takes as it is.
//! - [`Journal`] appends groups and, opened after a crash, decides what to do with the last of them.
//! - [`Reserve`] keeps space ready, so that a full disk is known before a group is accepted.
//! - [`GroupStream`] and [`ReadAhead`] read groups back, checking everything on the way.
//! - [`verify`] walks the whole chain; [`backup`] and [`restore`] copy it.

mod backup;
mod builder;
mod error;
mod files;
mod group;
mod header;
mod journal;
mod kind;
mod manifest;
mod marker;
mod reader;
mod recovery;
mod reserve;
mod verify;

pub use backup::{BackupReport, RestoreStep, Restored, backup, restore};
pub use builder::{GroupBuilder, Link, PushError};
pub use error::{JournalError, Result};
pub use files::name_of;
pub use group::{EntryView, Group};
pub use header::{
    CleanMarker, EntryHeader, EpochRow, FORMAT_VERSION, FileHeader, GroupHeader, Hash, TIMESTAMP_MAX, entry_bytes,
    sha256,
};
pub use journal::{Appended, Genesis, Journal, Options};
pub use kind::EntryKind;
pub use manifest::MANIFEST_NAME;
pub use reader::{GroupStream, ReadAhead, Tip, read};
pub use recovery::{Cut, Recovery};
pub use reserve::{PrepareJob, Progress, Reserve};
pub use verify::{Ending, VerifyProgress, VerifyReport, verify};

/// The folder of a book's disk where its journal lies.
pub const FOLDER: &str = "journal";
/// Bytes of context that a door may write beside a request.
pub const CONTEXT_MAX: usize = 256;
/// Bytes a group begins at a multiple of, and is padded to.
pub const BLOCK_BYTES: u64 = crate::disk::BLOCK as u64;

#[cfg(test)]
mod tests;
