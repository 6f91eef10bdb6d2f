//! Reads a sealed file: every block's checksum is judged before a byte of it is believed.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::cache::{Block, Cache};
use super::format::{BLOCK, FENCE, FOOTER_LENGTH, Footer, Kind, Section, checksum, file_name};
use super::seal::{DenseKey, Fresh};
use crate::derived::hash::Keys;
use crate::derived::num::{index, index32};
use crate::disk::{Caching, Disk, DiskError, DiskFile};

/// Why a sealed segment cannot be used.
#[derive(Debug)]
pub enum SegmentError {
    /// The disk refused.
    Disk(DiskError),
    /// The file is not what was written. Replaying the journal makes it anew.
    Damaged {
        /// Of the file.
        name: String,
        /// What is wrong.
        what: String,
    },
}

impl fmt::Display for SegmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => error.fmt(f),
            Self::Damaged { name, what } => {
                write!(f, "{name} is damaged: {what}; it is derived from the journal and made anew by replaying it")
            }
        }
    }
}

impl std::error::Error for SegmentError {}

impl From<DiskError> for SegmentError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

/// A sealed segment, open to be read.
pub struct SealedSegment<D: Disk> {
    disk: D,
    file: D::File,
    pub(super) keys: Keys,
    pub(super) footer: Footer,
    sha256: [u8; 32],
    checksums: Vec<u64>,
    cache: Arc<Mutex<Cache>>,
    pub(super) tables: Tables,
    pub(super) times: Vec<u64>,
    indexes: Vec<(Kind, Index)>,
    /// If it was sealed by this process and is not in the directory yet.
    pub(crate) fresh: Option<Fresh>,
}

/// What the directory needs of a sealed segment.
pub(crate) struct SealedKeys {
    /// Entries of the index of ids.
    pub(crate) ids: Vec<u64>,
    /// Entries of the index of what resolved pending transfers.
    pub(crate) resolutions: Vec<u64>,
    /// The map of the blocks that the ids of both are in.
    pub(crate) blocks: Vec<u64>,
}

/// Where the tables are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables {
    pub(super) entries: Section,
    pub(super) exceptions: Section,
    pub(super) burned: Section,
    pub(super) transfers: Section,
    pub(super) sides: Section,
    pub(super) posted: Section,
    pub(super) held: Section,
    pub(super) high: Section,
    pub(super) expiries: Section,
    pub(super) expiry_balances: Section,
}

/// The SHA-256 of what follows the blocks, and their checksums.
fn read_tail<F: DiskFile>(file: &F, footer: &Footer) -> crate::disk::Result<([u8; 32], Vec<u64>)> {
    let mut tail = vec![0; index(footer.file_length - footer.checksums_offset)];
    file.read_at(footer.checksums_offset, &mut tail)?;
    let mut checksums = vec![0u64; index(footer.checksums)];
    let bytes = checksums.as_mut_bytes();
    bytes.copy_from_slice(&tail[..bytes.len()]);
    Ok((Sha256::digest(&tail).into(), checksums))
}

/// An index: what of it is in memory.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) entries: Section,
    fences: Vec<u64>,
    pub(super) dense: Vec<DenseKey>,
    pub(super) bitmaps: Section,
}

impl<D: Disk> fmt::Debug for SealedSegment<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedSegment").field("number", &self.number()).finish_non_exhaustive()
    }
}

impl<D: Disk> SealedSegment<D> {
    /// Opens the file of a segment. Reads its footer, its checksums and what of its indexes is kept in memory.
    ///
    /// # Errors
    /// [`SegmentError`] if the file is missing, is another's or is damaged there; damage elsewhere is noticed when
    /// it is read.
    pub(crate) fn open(
        disk: &D,
        book: [u8; 16],
        number: u32,
        expected: Option<[u8; 32]>,
        cache: Arc<Mutex<Cache>>,
    ) -> Result<Self, SegmentError> {
        let name = file_name(number);
        let damaged = |what: &str| SegmentError::Damaged { name: name.clone(), what: what.to_owned() };
        let file = disk.open(&name, Caching::Cached)?;
        let length = file.length()?;
        let Some(footer_offset) = length.checked_sub(FOOTER_LENGTH as u64) else {
            return Err(damaged("it is shorter than a footer"));
        };
        let mut footer = Footer::new_zeroed();
        file.read_at(footer_offset, footer.as_mut_bytes())?;
        footer.check(book, number, length).map_err(|what| damaged(&what))?;
        let (sha256, checksums) = read_tail(&file, &footer)?;
        if expected.is_some_and(|expected| expected != sha256) {
            return Err(damaged("its checksums and footer do not have the SHA-256 that the checkpoint states"));
        }
        if checksum(checksums.as_bytes()) != footer.checksums_checksum {
            return Err(damaged("its list of checksums does not match the footer"));
        }
        let section = |kind| footer.section(kind);
        let tables = Tables {
            entries: section(Kind::ENTRIES),
            exceptions: section(Kind::EXCEPTIONS),
            burned: section(Kind::BURNED),
            transfers: section(Kind::TRANSFERS),
            sides: section(Kind::SIDES),
            posted: section(Kind::POSTED),
            held: section(Kind::HELD),
            high: section(Kind::HIGH),
            expiries: section(Kind::EXPIRIES),
            expiry_balances: section(Kind::EXPIRY_BALANCES),
        };
        let mut segment = Self {
            disk: disk.clone(),
            file,
            keys: Keys::new(book),
            footer,
            sha256,
            checksums,
            cache,
            tables,
            times: Vec::new(),
            indexes: Vec::new(),
            fresh: None,
        };
        segment.times = segment.read_section(section(Kind::TIMES))?;
        let kinds = (16..27).map(Kind);
        segment.indexes = kinds
            .map(|kind| {
                let index = Index {
                    entries: section(kind),
                    fences: segment.read_section(section(kind.fences()))?,
                    dense: segment.read_section(section(kind.dense_keys()))?,
                    bitmaps: section(kind.bitmaps()),
                };
                Ok((kind, index))
            })
            .collect::<Result<_, SegmentError>>()?;
        Ok(segment)
    }

    /// Number of the segment.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.footer.number
    }

    /// Length of the file in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.footer.file_length
    }

    /// SHA-256 of the checksums of all blocks and of the footer: it stands for the file.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    pub(crate) fn damaged(&self, what: String) -> SegmentError {
        SegmentError::Damaged { name: file_name(self.number()), what }
    }

    /// Bytes of a block: all but the last have the full length.
    fn block_length(&self, block: u32) -> usize {
        let begin = u64::from(block) * BLOCK as u64;
        index((self.footer.checksums_offset - begin).min(BLOCK as u64))
    }

    fn read_block(&self, block: u32) -> Result<Block, SegmentError> {
        let mut bytes = vec![0; self.block_length(block)];
        let offset = u64::from(block) * BLOCK as u64;
        self.file.read_at(offset, &mut bytes)?;
        if checksum(&bytes) != self.checksums[block as usize] {
            return Err(self.damaged(format!("the block at byte {offset} does not match its checksum")));
        }
        Ok(bytes.into())
    }

    /// The block, from the cache or the disk.
    ///
    /// # Panics
    /// When it cannot be read: answers may not depend on what cannot be known, and whoever asks here has no way to
    /// return an error. What is unwound with is the [`SegmentError`], so that whoever runs the work can return it. A
    /// damaged file is put aside first, so that a start makes it anew.
    pub(super) fn block(&self, block: u32) -> Block {
        let cache = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = cache().get(self.number(), block) {
            return bytes;
        }
        match self.read_block(block) {
            Ok(bytes) => {
                cache().put(self.number(), block, Arc::clone(&bytes));
                bytes
            }
            Err(error) => self.give_up(error),
        }
    }

    #[cold]
    fn give_up(&self, mut error: SegmentError) -> ! {
        if let SegmentError::Damaged { name, what } = &mut error {
            what.push_str(&match self.disk.rename(name, &format!("{name}.damaged")) {
                Ok(()) => format!("; it now lies at {name}.damaged"),
                Err(error) => format!("; it could not be put aside: {error}"),
            });
        }
        std::panic::resume_unwind(Box::new(error))
    }

    /// The row `row` of a table.
    pub(super) fn row<T: FromBytes>(&self, table: Section, row: u32) -> T {
        let offset = table.offset + u64::from(row) * size_of::<T>() as u64;
        let block = self.block(index32(index(offset / BLOCK as u64)));
        let begin = index(offset % BLOCK as u64);
        T::read_from_bytes(&block[begin..begin + size_of::<T>()]).expect("as many bytes as the row has")
    }

    /// All rows of a section, for what is kept in memory.
    pub(crate) fn read_section<T: FromBytes + IntoBytes + Clone>(
        &self,
        table: Section,
    ) -> Result<Vec<T>, SegmentError> {
        let mut rows = T::new_vec_zeroed(index(table.count)).expect("memory for a section");
        let bytes = rows.as_mut_slice().as_mut_bytes();
        if bytes.is_empty() {
            return Ok(rows);
        }
        if table.row_size as usize != size_of::<T>() {
            return Err(self.damaged(format!("section {} has rows of {} bytes", table.kind, table.row_size)));
        }
        let end = table.offset + bytes.len() as u64;
        for block in table.offset / BLOCK as u64..=(end - 1) / BLOCK as u64 {
            let read = self.read_block(index32(index(block)))?;
            let begin = block * BLOCK as u64;
            let (from, to) = (table.offset.max(begin), end.min(begin + BLOCK as u64));
            bytes[index(from - table.offset)..index(to - table.offset)]
                .copy_from_slice(&read[index(from - begin)..index(to - begin)]);
        }
        Ok(rows)
    }

    /// What the directory needs of it.
    pub(crate) fn keys_for_directory(&self) -> Result<SealedKeys, SegmentError> {
        Ok(SealedKeys {
            ids: self.read_section(self.index(Kind::IDS).entries)?,
            resolutions: self.read_section(self.index(Kind::RESOLUTIONS).entries)?,
            blocks: self.read_section(self.footer.section(Kind::BLOCKS))?,
        })
    }

    /// An index.
    pub(super) fn index(&self, kind: Kind) -> &Index {
        &self.indexes[usize::from(kind.0 - 16)].1
    }

    /// Where the first entry that is not below `target` stands.
    pub(super) fn lower_bound(&self, index: &Index, target: u64) -> u32 {
        let fence = index.fences.partition_point(|&fence| fence < target);
        let Some(before) = fence.checked_sub(1) else { return 0 };
        let (mut low, mut high) = (index32(before * FENCE), index32(fence * FENCE));
        high = high.min(index32(super::super::num::index(index.entries.count)));
        while low < high {
            let middle = low.midpoint(high);
            if self.row::<u64>(index.entries, middle) < target { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Reads the whole file and judges every block; returns its length and the SHA-256 that stands for it.
    ///
    /// # Errors
    /// [`SegmentError`] naming the first bad byte range.
    pub fn verify(&self) -> Result<(u64, [u8; 32]), SegmentError> {
        for block in 0..index32(self.checksums.len()) {
            self.read_block(block)?;
        }
        if read_tail(&self.file, &self.footer)?.0 != self.sha256 {
            return Err(self.damaged("its checksums or its footer have changed since it was opened".to_owned()));
        }
        Ok((self.length(), self.sha256))
    }
}

impl Index {
    /// About how many entries a key has, from what is in memory.
    pub(super) fn estimate(&self, from: u64, to: u64) -> u64 {
        let fences = self.fences.partition_point(|&f| f < to) - self.fences.partition_point(|&f| f < from);
        (fences * FENCE) as u64
    }
}
