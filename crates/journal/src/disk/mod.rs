//! Bytes and sectors: the seam under the journal and everything that is derived from it.
//!
//! [`FileDisk`] is a folder of a real filesystem. [`SimDisk`] is one in memory that can lose power at
//! any write or sync point and then keeps of what was not synced only what a seed decides, sector by
//! sector. Code that is right on the second is right on the first.
//!
//! Names are relative to the disk's root, with `/` between a folder and a file, folders one level
//! deep: `journal/000000000001.qxj`. The root itself is the folder `""`.

mod aligned;
mod error;
mod file;
mod free;
pub mod sim;

pub use aligned::{AlignedBuffer, BLOCK};
pub use error::{DiskError, Operation};
pub use file::{FileDisk, FileLock, RealFile};
pub use sim::SimDisk;

/// What a disk operation returns.
pub type Result<T> = core::result::Result<T, DiskError>;

/// How a file is read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// Through the operating system's page cache: for what is read again and again.
    Cached,
    /// Past the page cache (`O_DIRECT`) wherever memory, offset and length are multiples of
    /// [`BLOCK`], and where the filesystem allows it; through the page cache otherwise.
    Direct,
}

/// A place for files. Clones name the same place.
pub trait Disk: Clone + Send + Sync + 'static {
    /// An open file. It stays usable when its name is changed or removed.
    type File: DiskFile;
    /// While this lives, no other process (and no other holder in this one) has the place.
    type Lock: Send + Sync + 'static;

    /// Makes a folder; one that exists is left as it is. Durable after `sync_folder("")`.
    ///
    /// # Errors
    /// [`DiskError`] if it can neither be made nor is there.
    fn create_folder(&self, folder: &str) -> Result<()>;

    /// Makes a new, empty file. Its name is durable after [`Disk::sync_folder`].
    ///
    /// # Errors
    /// [`DiskError::is_taken`] if the name is used.
    fn create(&self, name: &str, caching: Caching) -> Result<Self::File>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// [`DiskError::is_missing`] if there is none.
    fn open(&self, name: &str, caching: Caching) -> Result<Self::File>;

    /// Gives a file another name in the same folder, atomically; a file of that name is replaced.
    /// Durable after [`Disk::sync_folder`].
    ///
    /// # Errors
    /// [`DiskError::is_missing`] if there is none.
    fn rename(&self, from: &str, to: &str) -> Result<()>;

    /// Removes a file. Durable after [`Disk::sync_folder`].
    ///
    /// # Errors
    /// [`DiskError::is_missing`] if there is none.
    fn remove(&self, name: &str) -> Result<()>;

    /// The files in a folder, with the folder in their names, sorted by name.
    ///
    /// # Errors
    /// [`DiskError::is_missing`] if there is no such folder.
    fn list(&self, folder: &str) -> Result<Vec<String>>;

    /// Makes creations, renames and removals in a folder durable.
    ///
    /// # Errors
    /// [`DiskError`]; what was durable before still is, nothing is known of the rest.
    fn sync_folder(&self, folder: &str) -> Result<()>;

    /// Bytes that can still be written.
    ///
    /// # Errors
    /// [`DiskError`] if the system does not say.
    fn free_bytes(&self) -> Result<u64>;

    /// Takes the place for this process alone, until the lock is dropped.
    ///
    /// # Errors
    /// [`DiskError::is_locked`], with the holder's process id in its text.
    fn lock(&self) -> Result<Self::Lock>;
}

/// An open file.
pub trait DiskFile: Send + Sync + 'static {
    /// The name it was opened by.
    fn name(&self) -> &str;

    /// Fills `into` with the bytes from `offset`.
    ///
    /// # Errors
    /// [`DiskError`], also if the file ends before `into` is full.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()>;

    /// Writes all of `bytes` at `offset`; the file grows if it must. Durable after [`DiskFile::sync`].
    ///
    /// # Errors
    /// [`DiskError::is_full`] or another; any part of `bytes` may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Makes the file's bytes and length durable (`fdatasync`).
    ///
    /// # Errors
    /// [`DiskError`]; then nothing is known of what was written since the last success, and a second
    /// try proves nothing. The caller ends its process.
    fn sync(&self) -> Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// [`DiskError`] if the system does not say.
    fn length(&self) -> Result<u64>;

    /// Cuts the file, or extends it with zeros. Durable after [`DiskFile::sync`].
    ///
    /// # Errors
    /// [`DiskError`] if the file was left as it was.
    fn set_length(&self, length: u64) -> Result<()>;
}

/// The folder part of a name: `journal` of `journal/000000000001.qxj`, `""` of `LOCK`.
#[must_use]
pub fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A name is one or two parts of letters, digits, `.`, `-` and `_`, none of which begins with a dot.
fn is_name(name: &str) -> bool {
    let good = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    };
    match name.split_once('/') {
        Some((folder, file)) => good(folder) && good(file),
        None => good(name),
    }
}

#[cfg(test)]
mod tests;
