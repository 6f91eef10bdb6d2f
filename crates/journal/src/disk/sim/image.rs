//! What lies on the simulated disk: as its user sees it, and as it would survive.

use std::collections::{BTreeMap, BTreeSet};

use super::Random;
use crate::disk::folder_of;

/// Something that happened to a file since it was last synced.
#[derive(Clone, Debug)]
enum Effect {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Effect {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes: new } => put(bytes, *offset, new),
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    let end = offset + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(new);
}

/// A file's bytes, whatever its name.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Since the last sync, in order.
    open: Vec<Effect>,
    /// What a failed sync was for: no later sync makes it durable, but it may have been.
    doubtful: Vec<Effect>,
}

impl Inode {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.seen
    }

    pub(super) fn length(&self) -> u64 {
        self.seen.len() as u64
    }

    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        put(&mut self.seen, offset, bytes);
        self.open.push(Effect::Write { offset, bytes: bytes.to_vec() });
    }

    pub(super) fn set_length(&mut self, length: usize) {
        self.seen.resize(length, 0);
        self.open.push(Effect::Length(length));
    }

    pub(super) fn sync(&mut self) {
        for effect in self.open.drain(..) {
            effect.apply(&mut self.durable);
        }
    }

    pub(super) fn fail_sync(&mut self) {
        self.doubtful.append(&mut self.open);
    }

    pub(super) fn flip_bit(&mut self, offset: usize, bit: u8) {
        self.seen[offset] ^= 1 << bit;
        if let Some(byte) = self.durable.get_mut(offset) {
            *byte ^= 1 << bit;
        }
    }

    fn after_power_loss(&self, mood: u64, sector: usize, random: &mut Random) -> Self {
        let mut bytes = self.durable.clone();
        for effect in self.doubtful.iter().chain(&self.open) {
            match effect {
                Effect::Length(length) => {
                    if random.chance(mood) {
                        bytes.resize(*length, 0);
                    }
                }
                Effect::Write { offset, bytes: new } => {
                    let mut at = 0;
                    while at < new.len() {
                        let end = new.len().min(at + sector - (offset + at) % sector);
                        if random.chance(mood) {
                            put(&mut bytes, offset + at, &new[at..end]);
                        }
                        at = end;
                    }
                }
            }
        }
        Self::stored(bytes)
    }

    fn stored(bytes: Vec<u8>) -> Self {
        Self { seen: bytes.clone(), durable: bytes, open: Vec::new(), doubtful: Vec::new() }
    }
}

/// One change in a folder.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// The name now means this file, or none.
    Name(String, Option<usize>),
    /// There is a folder of this name.
    Folder(String),
}

impl Change {
    fn name(&self) -> &str {
        match self {
            Self::Name(name, _) | Self::Folder(name) => name,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Names {
    files: BTreeMap<String, usize>,
    folders: BTreeSet<String>,
}

impl Names {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Name(name, Some(inode)) => _ = self.files.insert(name.clone(), *inode),
            Change::Name(name, None) => _ = self.files.remove(name),
            Change::Folder(folder) => _ = self.folders.insert(folder.clone()),
        }
    }
}

/// The whole disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    inodes: Vec<Inode>,
    seen: Names,
    durable: Names,
    /// Changes since their folder was last synced, in order; those of one step are kept or lost together.
    open: Vec<(String, Vec<Change>)>,
}

impl Image {
    pub(super) fn add(&mut self, inode: Inode) -> usize {
        self.inodes.push(inode);
        self.inodes.len() - 1
    }

    pub(super) fn inode(&mut self, inode: usize) -> &mut Inode {
        &mut self.inodes[inode]
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.seen.files.get(name).copied()
    }

    pub(super) fn has_folder(&self, folder: &str) -> bool {
        folder.is_empty() || self.seen.folders.contains(folder)
    }

    pub(super) fn names(&self, folder: &str) -> Vec<String> {
        self.seen.files.keys().filter(|name| folder_of(name) == folder).cloned().collect()
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.seen.files.values().map(|inode| self.inodes[*inode].length()).sum()
    }

    pub(super) fn change(&mut self, folder: &str, changes: Vec<Change>) {
        for change in &changes {
            self.seen.apply(change);
        }
        self.open.push((folder.to_owned(), changes));
    }

    /// Makes a folder's changes durable, but for those of which a name is not `honest`.
    pub(super) fn sync_folder(&mut self, folder: &str, honest: impl Fn(&str) -> bool) {
        let durable = &mut self.durable;
        self.open.retain(|(of, changes)| {
            if of != folder || !changes.iter().all(|change| honest(change.name())) {
                return true;
            }
            changes.iter().for_each(|change| durable.apply(change));
            false
        });
    }

    /// As a power loss leaves it. One draw sets how much of the unsynced survives on the whole (from
    /// nothing to everything) and how big a sector is; then each piece is drawn for.
    pub(super) fn after_power_loss(&self, random: &mut Random) -> Self {
        let mood = [0, 100, 500, 500, 900, 1000][usize::try_from(random.below(6)).expect("below 6")];
        let sector = if random.chance(500) { 512 } else { 4096 };
        let mut names = self.durable.clone();
        for (_, changes) in &self.open {
            if random.chance(mood) {
                changes.iter().for_each(|change| names.apply(change));
            }
        }
        let Names { files, folders } = names;
        let mut after = Self::default();
        for (name, inode) in files {
            let survived = self.inodes[inode].after_power_loss(mood, sector, random);
            let folder = folder_of(&name);
            // Without its folder nobody finds a file again.
            if folder.is_empty() || folders.contains(folder) {
                let inode = after.add(survived);
                after.seen.files.insert(name, inode);
            }
        }
        after.seen.folders = folders;
        after.durable = after.seen.clone();
        after
    }

    /// As its user sees it, all of it durable.
    pub(super) fn as_seen(&self) -> Self {
        let inodes = self.inodes.iter().map(|inode| Inode::stored(inode.seen.clone())).collect();
        Self { inodes, seen: self.seen.clone(), durable: self.seen.clone(), open: Vec::new() }
    }
}
