//! A disk in memory that loses power.
//!
//! What a real disk may do to bytes that were not synced, this one does: at a power loss each sector of
//! each write since the last sync is kept or lost on its own, so that writes are lost, reordered and
//! torn; so is each change of a length, and each change of a folder. What was synced stays. A seed
//! decides, so that every outcome can be had again.
//!
//! A *point* is a write, a change of a length, a sync or a change of a folder. They are counted from 1;
//! [`SimDisk::crash_at`] cuts the power at one of them, half-way through it.

mod image;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Caching, Disk, DiskError, DiskFile, Operation, Result, folder_of, is_name};
use image::{Change, Image, Inode};

/// Numbers drawn from a seed (SplitMix64): the same ones on every machine.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Numbers of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from 0 to `bound` - 1; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64().checked_rem(bound).unwrap_or(0)
    }

    /// True `per_mille` times in a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

/// Something that will go wrong once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A sync fails (EIO); the bytes it was for may or may not get to the disk, also after a later
    /// sync that succeeds, as on Linux.
    SyncFails,
    /// A write puts down only its first bytes and fails (EIO).
    ShortWrite {
        /// How many.
        bytes: usize,
    },
    /// A read fails (EIO).
    ReadFails,
}

/// A promise that this disk does not keep: the bugs that a test of durability must see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lies {
    /// [`DiskFile::sync`] returns at once and makes nothing durable.
    pub sync: bool,
    /// [`Disk::sync_folder`] returns at once and makes nothing durable.
    pub sync_folder: bool,
    /// All this is so only of files whose names begin with this.
    pub of: &'static str,
}

#[derive(Debug)]
struct State {
    image: Image,
    points: u64,
    crash_at: Option<u64>,
    off: bool,
    locked: bool,
    capacity: u64,
    faults: Vec<(Operation, u64, Fault)>,
    lies: Lies,
}

/// The disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// An empty disk without limits or faults.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Image::default())
    }

    fn of(image: Image) -> Self {
        let state = State {
            image,
            points: 0,
            crash_at: None,
            off: false,
            locked: false,
            capacity: u64::MAX,
            faults: Vec::new(),
            lies: Lies::default(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Points passed so far.
    #[must_use]
    pub fn points(&self) -> u64 {
        self.state().points
    }

    /// The power fails at this point: it happens in part or not at all, and everything after it fails.
    pub fn crash_at(&self, point: u64) {
        self.state().crash_at = Some(point);
    }

    /// Whether the power has failed.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.state().off
    }

    /// The disk as it is found after a power loss now (or at the point where it has happened). The old
    /// one is dead from here on.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let mut state = self.state();
        state.off = true;
        let after = Self::of(state.image.after_power_loss(&mut Random::new(seed)));
        after.state().capacity = state.capacity;
        after
    }

    /// A copy of the disk as its user sees it now, with a life of its own.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = self.state();
        let copy = Self::of(state.image.as_seen());
        copy.state().capacity = state.capacity;
        copy
    }

    /// The `after`-th next (0: the next) operation that the fault is about goes wrong.
    pub fn inject(&self, fault: Fault, after: u64) {
        let operation = match fault {
            Fault::SyncFails => Operation::Sync,
            Fault::ShortWrite { .. } => Operation::Write,
            Fault::ReadFails => Operation::Read,
        };
        self.state().faults.push((operation, after, fault));
    }

    /// Makes the disk break promises from here on.
    pub fn lie(&self, lies: Lies) {
        self.state().lies = lies;
    }

    /// The sum of all lengths that the disk can hold, in bytes.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity = bytes;
    }

    /// Turns one bit over, as seen and as stored, as a decaying medium does.
    ///
    /// # Panics
    /// If there is no such byte.
    pub fn flip_bit(&self, name: &str, offset: usize, bit: u8) {
        let mut state = self.state();
        let inode = state.image.find(name).expect("a file to damage");
        state.image.inode(inode).flip_bit(offset, bit);
    }

    /// The bytes of a file as its user sees them.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let mut state = self.state();
        let inode = state.image.find(name)?;
        Some(state.image.inode(inode).bytes().to_vec())
    }
}

impl State {
    fn alive(&self) -> io::Result<()> {
        if self.off { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    /// Counts a point. True if the power fails at it.
    fn point(&mut self) -> io::Result<bool> {
        self.alive()?;
        self.points += 1;
        self.off = self.crash_at == Some(self.points);
        Ok(self.off)
    }

    /// The fault that is due at this operation, if any.
    fn fault(&mut self, operation: Operation) -> Option<Fault> {
        let mut due = None;
        self.faults.retain_mut(|(about, after, fault)| {
            if *about != operation {
                return true;
            }
            if *after == 0 && due.is_none() {
                due = Some(*fault);
                return false;
            }
            *after = after.saturating_sub(1);
            true
        });
        due
    }

    /// A change of a folder: seen at once, durable after the folder's sync.
    fn change_folder(&mut self, folder: &str, changes: Vec<Change>) -> io::Result<()> {
        let off = self.point()?;
        self.image.change(folder, changes);
        if off { self.alive() } else { Ok(()) }
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.image.find(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn check(&self, name: &str) -> io::Result<()> {
        self.alive()?;
        let folder = folder_of(name);
        if !is_name(name) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a name a disk can have"));
        }
        if !self.image.has_folder(folder) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no such folder"));
        }
        Ok(())
    }

    fn write(&mut self, inode: usize, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let off = self.point()?;
        let fault = self.fault(Operation::Write);
        let used = self.image.used_bytes() - self.image.inode(inode).length();
        let room = self.capacity.saturating_sub(used).saturating_sub(offset);
        let fits = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        let (count, outcome) = match fault {
            Some(Fault::ShortWrite { bytes }) => (bytes.min(fits), Err(io::Error::from_raw_os_error(libc::EIO))),
            _ if fits < bytes.len() => (fits, Err(io::ErrorKind::StorageFull.into())),
            _ => (fits, Ok(())),
        };
        if count > 0 {
            self.image.inode(inode).write(usize_of(offset), &bytes[..count]);
        }
        if off { self.alive() } else { outcome }
    }

    fn sync(&mut self, inode: usize, name: &str) -> io::Result<()> {
        if self.point()? {
            return self.alive();
        }
        if self.fault(Operation::Sync).is_some() {
            self.image.inode(inode).fail_sync();
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        if !self.lies.sync || !name.starts_with(self.lies.of) {
            self.image.inode(inode).sync();
        }
        Ok(())
    }

    fn set_length(&mut self, inode: usize, length: u64) -> io::Result<()> {
        let off = self.point()?;
        let used = self.image.used_bytes() - self.image.inode(inode).length();
        if length > self.capacity.saturating_sub(used) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.image.inode(inode).set_length(usize_of(length));
        if off { self.alive() } else { Ok(()) }
    }
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).expect("a file in memory is shorter than memory")
}

impl Disk for SimDisk {
    type File = SimFile;
    type Lock = SimLock;

    fn create_folder(&self, folder: &str) -> Result<()> {
        let mut state = self.state();
        let made = state.check(folder).and_then(|()| {
            if state.image.has_folder(folder) {
                return Ok(());
            }
            state.change_folder("", vec![Change::Folder(folder.to_owned())])
        });
        made.map_err(|source| DiskError::new(Operation::CreateFolder, folder, source))
    }

    fn create(&self, name: &str, _caching: Caching) -> Result<SimFile> {
        let mut state = self.state();
        let made = state.check(name).and_then(|()| {
            if state.image.find(name).is_some() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let inode = state.image.add(Inode::default());
            state.change_folder(folder_of(name), vec![Change::Name(name.to_owned(), Some(inode))])?;
            Ok(inode)
        });
        made.map(|inode| SimFile { disk: self.clone(), inode, name: name.to_owned() })
            .map_err(|source| DiskError::new(Operation::Create, name, source))
    }

    fn open(&self, name: &str, _caching: Caching) -> Result<SimFile> {
        let state = self.state();
        let found = state.check(name).and_then(|()| state.find(name));
        found
            .map(|inode| SimFile { disk: self.clone(), inode, name: name.to_owned() })
            .map_err(|source| DiskError::new(Operation::Open, name, source))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let mut state = self.state();
        let renamed = state.check(from).and_then(|()| state.check(to)).and_then(|()| {
            if folder_of(from) != folder_of(to) {
                return Err(io::Error::new(io::ErrorKind::CrossesDevices, "a file stays in its folder"));
            }
            let inode = state.find(from)?;
            let changes = vec![Change::Name(from.to_owned(), None), Change::Name(to.to_owned(), Some(inode))];
            state.change_folder(folder_of(from), changes)
        });
        renamed.map_err(|source| DiskError::new(Operation::Rename, from, source))
    }

    fn remove(&self, name: &str) -> Result<()> {
        let mut state = self.state();
        let removed = state.check(name).and_then(|()| {
            state.find(name)?;
            state.change_folder(folder_of(name), vec![Change::Name(name.to_owned(), None)])
        });
        removed.map_err(|source| DiskError::new(Operation::Remove, name, source))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let state = self.state();
        let listed = state.alive().and_then(|()| {
            if state.image.has_folder(folder) {
                Ok(state.image.names(folder))
            } else {
                Err(io::ErrorKind::NotFound.into())
            }
        });
        listed.map_err(|source| DiskError::new(Operation::List, folder, source))
    }

    fn sync_folder(&self, folder: &str) -> Result<()> {
        let mut state = self.state();
        let synced = state.point().and_then(|off| {
            if off {
                return state.alive();
            }
            let lies = state.lies;
            state.image.sync_folder(folder, |name| !lies.sync_folder || !name.starts_with(lies.of));
            Ok(())
        });
        synced.map_err(|source| DiskError::new(Operation::SyncFolder, folder, source))
    }

    fn free_bytes(&self) -> Result<u64> {
        let state = self.state();
        state.alive().map_err(|source| DiskError::new(Operation::FreeBytes, "", source))?;
        Ok(state.capacity.saturating_sub(state.image.used_bytes()))
    }

    fn lock(&self) -> Result<SimLock> {
        let mut state = self.state();
        if state.locked {
            let source = io::Error::new(io::ErrorKind::WouldBlock, "the folder is in use by process 1");
            return Err(DiskError::new(Operation::Lock, "LOCK", source));
        }
        state.locked = true;
        drop(state);
        Ok(SimLock { disk: self.clone() })
    }
}

/// Holds a [`SimDisk`] for one user.
#[derive(Debug)]
pub struct SimLock {
    disk: SimDisk,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state().locked = false;
    }
}

/// A file of a [`SimDisk`].
#[derive(Debug)]
pub struct SimFile {
    disk: SimDisk,
    inode: usize,
    name: String,
}

impl DiskFile for SimFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        let mut state = self.disk.state();
        let read = state.alive().and_then(|()| {
            if state.fault(Operation::Read).is_some() {
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            let bytes = state.image.inode(self.inode).bytes();
            let end = offset.checked_add(into.len() as u64).filter(|end| *end <= bytes.len() as u64);
            let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
            into.copy_from_slice(&bytes[usize_of(offset)..usize_of(end)]);
            Ok(())
        });
        read.map_err(|source| DiskError::at(Operation::Read, &self.name, offset, source))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let written = self.disk.state().write(self.inode, offset, bytes);
        written.map_err(|source| DiskError::at(Operation::Write, &self.name, offset, source))
    }

    fn sync(&self) -> Result<()> {
        let synced = self.disk.state().sync(self.inode, &self.name);
        synced.map_err(|source| DiskError::new(Operation::Sync, &self.name, source))
    }

    fn length(&self) -> Result<u64> {
        let mut state = self.disk.state();
        state.alive().map_err(|source| DiskError::new(Operation::Length, &self.name, source))?;
        Ok(state.image.inode(self.inode).length())
    }

    fn set_length(&self, length: u64) -> Result<()> {
        let set = self.disk.state().set_length(self.inode, length);
        set.map_err(|source| DiskError::at(Operation::SetLength, &self.name, length, source))
    }
}
