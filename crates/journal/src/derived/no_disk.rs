//! The disk of a store that keeps everything in memory: there is none.

use std::io;

use crate::disk::{Caching, Disk, DiskError, DiskFile, Operation, Result};

/// No disk. Every operation fails, and none is ever asked for.
#[derive(Clone, Copy, Debug)]
pub struct NoDisk;

/// A file that cannot be.
#[derive(Clone, Copy, Debug)]
pub enum NoFile {}

fn refused<T>(operation: Operation, name: &str) -> Result<T> {
    Err(DiskError::new(operation, name, io::Error::new(io::ErrorKind::Unsupported, "the ledger is in memory")))
}

impl Disk for NoDisk {
    type File = NoFile;
    type Lock = ();

    fn create_folder(&self, folder: &str) -> Result<()> {
        refused(Operation::CreateFolder, folder)
    }

    fn create(&self, name: &str, _: Caching) -> Result<NoFile> {
        refused(Operation::Create, name)
    }

    fn open(&self, name: &str, _: Caching) -> Result<NoFile> {
        refused(Operation::Open, name)
    }

    fn rename(&self, from: &str, _: &str) -> Result<()> {
        refused(Operation::Rename, from)
    }

    fn remove(&self, name: &str) -> Result<()> {
        refused(Operation::Remove, name)
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        refused(Operation::List, folder)
    }

    fn sync_folder(&self, folder: &str) -> Result<()> {
        refused(Operation::SyncFolder, folder)
    }

    fn free_bytes(&self) -> Result<u64> {
        refused(Operation::FreeBytes, "")
    }

    fn lock(&self) -> Result<()> {
        refused(Operation::Lock, "")
    }
}

impl DiskFile for NoFile {
    fn name(&self) -> &str {
        match *self {}
    }

    fn read_at(&self, _: u64, _: &mut [u8]) -> Result<()> {
        match *self {}
    }

    fn write_at(&self, _: u64, _: &[u8]) -> Result<()> {
        match *self {}
    }

    fn sync(&self) -> Result<()> {
        match *self {}
    }

    fn length(&self) -> Result<u64> {
        match *self {}
    }

    fn set_length(&self, _: u64) -> Result<()> {
        match *self {}
    }
}
