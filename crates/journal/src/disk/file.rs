//! A folder of a real filesystem.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::aligned::BLOCK;
use super::{Caching, Disk, DiskError, DiskFile, Operation, Result, folder_of, free, is_name};

const LOCK_NAME: &str = "LOCK";

/// A folder on a real filesystem. Folders are made with mode 700, files with 600: a book is its owner's.
#[derive(Clone, Debug)]
pub struct FileDisk {
    root: Arc<PathBuf>,
}

impl FileDisk {
    /// Opens the folder, making it (and those above it) if need be.
    ///
    /// # Errors
    /// [`DiskError`] if the folder can neither be made nor is there.
    pub fn new(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        let failed = |source| DiskError::new(Operation::CreateFolder, &root.display().to_string(), source);
        if !root.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(&root).map_err(failed)?;
            // The new folder's own name lies in the one above it.
            if let Some(above) = root.parent().filter(|path| !path.as_os_str().is_empty()) {
                File::open(above).and_then(|folder| folder.sync_all()).map_err(failed)?;
            }
        }
        Ok(Self { root: Arc::new(root) })
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, operation: Operation, name: &str) -> Result<PathBuf> {
        if is_name(name) {
            return Ok(self.root.join(name));
        }
        Err(DiskError::new(operation, name, io::Error::new(io::ErrorKind::InvalidInput, "not a name a disk can have")))
    }

    fn folder(&self, operation: Operation, folder: &str) -> Result<PathBuf> {
        if folder.is_empty() { Ok(self.root.to_path_buf()) } else { self.path(operation, folder) }
    }

    fn open_with(&self, operation: Operation, name: &str, caching: Caching) -> Result<RealFile> {
        let path = self.path(operation, name)?;
        let new = operation == Operation::Create;
        let cached = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(new)
            .mode(0o600)
            .open(&path)
            .map_err(|source| DiskError::new(operation, name, source))?;
        let direct = match caching {
            Caching::Cached => None,
            Caching::Direct => open_direct(&path).map_err(|source| DiskError::new(operation, name, source))?,
        };
        Ok(RealFile { name: name.to_owned(), cached, direct })
    }
}

/// Some filesystems refuse `O_DIRECT`; then there is no direct handle and the page cache is used.
fn open_direct(path: &Path) -> io::Result<Option<File>> {
    match OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if is_unsupported(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP))
}

impl Disk for FileDisk {
    type File = RealFile;
    type Lock = FileLock;

    fn create_folder(&self, folder: &str) -> Result<()> {
        let path = self.path(Operation::CreateFolder, folder)?;
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if !(error.kind() == io::ErrorKind::AlreadyExists && path.is_dir()) => {
                Err(DiskError::new(Operation::CreateFolder, folder, error))
            }
            _ => Ok(()),
        }
    }

    fn create(&self, name: &str, caching: Caching) -> Result<RealFile> {
        self.open_with(Operation::Create, name, caching)
    }

    fn open(&self, name: &str, caching: Caching) -> Result<RealFile> {
        self.open_with(Operation::Open, name, caching)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        if folder_of(from) != folder_of(to) {
            let source = io::Error::new(io::ErrorKind::CrossesDevices, "a file stays in its folder");
            return Err(DiskError::new(Operation::Rename, from, source));
        }
        let (path, target) = (self.path(Operation::Rename, from)?, self.path(Operation::Rename, to)?);
        fs::rename(path, target).map_err(|source| DiskError::new(Operation::Rename, from, source))
    }

    fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(Operation::Remove, name)?;
        fs::remove_file(path).map_err(|source| DiskError::new(Operation::Remove, name, source))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let failed = |source| DiskError::new(Operation::List, folder, source);
        let mut names = Vec::new();
        for item in fs::read_dir(self.folder(Operation::List, folder)?).map_err(failed)? {
            let item = item.map_err(failed)?;
            if !item.file_type().map_err(failed)?.is_file() {
                continue;
            }
            // A file that cannot be one of ours (an editor's, say) is left alone, not refused.
            let Ok(name) = item.file_name().into_string() else { continue };
            let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if is_name(&name) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_folder(&self, folder: &str) -> Result<()> {
        let path = self.folder(Operation::SyncFolder, folder)?;
        File::open(path)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| DiskError::new(Operation::SyncFolder, folder, source))
    }

    fn free_bytes(&self) -> Result<u64> {
        free::free_bytes(&self.root).map_err(|source| DiskError::new(Operation::FreeBytes, "", source))
    }

    fn lock(&self) -> Result<FileLock> {
        let failed = |source| DiskError::new(Operation::Lock, LOCK_NAME, source);
        let path = self.path(Operation::Lock, LOCK_NAME)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(failed)?;
                let text = match holder.trim() {
                    "" => "the folder is in use by another process".to_owned(),
                    pid => format!("the folder is in use by process {pid}"),
                };
                return Err(failed(io::Error::new(io::ErrorKind::WouldBlock, text)));
            }
        }
        // Whoever removes the file, taking it for a leftover, has not made the place free: the folder is locked too.
        let folder = File::open(&*self.root).map_err(failed)?;
        match folder.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) => {
                let text = "the folder is in use by another process, whose LOCK file was removed";
                return Err(failed(io::Error::new(io::ErrorKind::WouldBlock, text)));
            }
        }
        // The text is for people only; the lock itself ends with the process that holds it. It is always as long, so that
        // on a full disk it is written where the one before was.
        file.write_all(format!("{:<10}\n", std::process::id()).as_bytes()).map_err(failed)?;
        Ok(FileLock { _file: file, _folder: folder })
    }
}

/// Holds the `LOCK` file; dropped, or at the process's end, the place is free again.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
    _folder: File,
}

/// A file of a [`FileDisk`].
#[derive(Debug)]
pub struct RealFile {
    name: String,
    cached: File,
    direct: Option<File>,
}

impl RealFile {
    /// The handle for this memory and offset: direct if all of it is aligned.
    fn handle(&self, address: usize, offset: u64, length: usize) -> (&File, bool) {
        let block = BLOCK as u64;
        match &self.direct {
            Some(direct)
                if address.is_multiple_of(BLOCK) && offset.is_multiple_of(block) && length.is_multiple_of(BLOCK) =>
            {
                (direct, true)
            }
            _ => (&self.cached, false),
        }
    }

    /// Calls `step` until `length` bytes are done. A call may do less than asked: the rest is asked for
    /// again, through the page cache if it is no longer aligned or the filesystem wants more than we give.
    fn all(
        &self,
        operation: Operation,
        offset: u64,
        length: usize,
        mut step: impl FnMut(&Self, usize, u64, bool) -> io::Result<usize>,
    ) -> Result<()> {
        let failed = |offset, source| DiskError::at(operation, &self.name, offset, source);
        let (mut done, mut use_direct) = (0, true);
        while done < length {
            let position = offset + done as u64;
            match step(self, done, position, use_direct) {
                Ok(0) => {
                    let (kind, text) = match operation {
                        Operation::Read => (io::ErrorKind::UnexpectedEof, "the file ends before"),
                        _ => (io::ErrorKind::WriteZero, "the system takes no more"),
                    };
                    return Err(failed(position, io::Error::new(kind, text)));
                }
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if use_direct && is_unsupported(&error) => use_direct = false,
                Err(error) => return Err(failed(position, error)),
            }
        }
        Ok(())
    }
}

impl DiskFile for RealFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        self.all(Operation::Read, offset, into.len(), |file, done, position, use_direct| {
            let rest = &mut into[done..];
            let (handle, direct) = file.handle(rest.as_ptr().addr(), position, rest.len());
            if direct && use_direct { handle.read_at(rest, position) } else { file.cached.read_at(rest, position) }
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.all(Operation::Write, offset, bytes.len(), |file, done, position, use_direct| {
            let rest = &bytes[done..];
            let (handle, direct) = file.handle(rest.as_ptr().addr(), position, rest.len());
            if direct && use_direct { handle.write_at(rest, position) } else { file.cached.write_at(rest, position) }
        })
    }

    fn sync(&self) -> Result<()> {
        // Both handles name one inode: what either wrote is flushed.
        self.cached.sync_data().map_err(|source| DiskError::new(Operation::Sync, &self.name, source))
    }

    fn length(&self) -> Result<u64> {
        let metadata = self.cached.metadata();
        metadata.map(|metadata| metadata.len()).map_err(|source| DiskError::new(Operation::Length, &self.name, source))
    }

    fn set_length(&self, length: u64) -> Result<()> {
        self.cached.set_len(length).map_err(|source| DiskError::at(Operation::SetLength, &self.name, length, source))
    }
}
