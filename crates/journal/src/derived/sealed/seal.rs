//! Sealing: a closed segment becomes an immutable, indexed file. Runs beside the work, on another thread.

use std::sync::{Arc, Mutex, PoisonError};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::super::blocks::Blocks;
use super::super::directory::Room;
use super::super::field::{Field, ROW_BITS, entry, hash_key};
use super::super::hash::{Keys, prefix};
use super::super::num::index32;
use super::super::segment::{Halves, Rows, TransferLine};
use super::super::sort::sort_by_high_bits;
use super::cache::Cache;
use super::format::{FENCE, FOLDER, Kind, TIME_FENCE, file_name};
use super::leaf_hash::hash_two;
use super::reader::{SealedSegment, SegmentError};
use super::writer::Writer;
use super::{PLACE_SIDE, RESOLVES};
use crate::disk::{Caching, Disk, DiskFile, Result};

/// A closed segment to be sealed. Can be run again if the disk refused, for example because it was full.
#[derive(Clone, Debug)]
pub struct SealJob {
    pub(crate) book: [u8; 16],
    pub(crate) keys: Keys,
    pub(crate) rows: Arc<Rows>,
    pub(crate) cache: Arc<Mutex<Cache>>,
    /// Cells of the directory's next generation, whose memory is to be made ready on the way.
    pub(crate) room: Option<usize>,
    pub(crate) scratch: Scratch,
}

/// Memory of indexes, kept from job to job: asking the system for it anew costs a fifth of the work.
pub(crate) type Scratch = Arc<Mutex<Vec<Box<Indexes>>>>;

/// A key that so many rows have that a bit a row is less than eight bytes for each of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct DenseKey {
    pub(crate) key: u64,
    /// How many rows.
    pub(crate) count: u64,
}

/// Words of a map of `rows` bits: whole units of alignment.
pub(crate) fn bitmap_words(rows: usize) -> usize {
    rows.div_ceil(1_024) * 16
}

/// Rows that are gone through twice while they are in the processor's first cache.
const NEAR: usize = 128;

impl SealJob {
    /// Number of the segment.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.rows.number
    }

    /// Sorts, hashes, writes and syncs the file, and opens it.
    ///
    /// # Errors
    /// The disk's; the half-written file is of no harm and is overwritten by the next try.
    pub fn run<D: Disk>(&self, disk: &D) -> core::result::Result<SealedSegment<D>, SegmentError> {
        let number = self.rows.number;
        disk.create_folder(FOLDER)?;
        disk.sync_folder("")?;
        let temporary = format!("{FOLDER}/{number:012}.tmp");
        match disk.remove(&temporary) {
            Err(error) if !error.is_missing() => return Err(error.into()),
            _ => {}
        }
        let file = disk.create(&temporary, Caching::Direct)?;
        let mut indexes = self.scratch.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let sha256 = self.write(&file, &mut indexes)?;
        file.sync()?;
        drop(file);
        disk.rename(&temporary, &file_name(number))?;
        disk.sync_folder(FOLDER)?;
        let mut segment = SealedSegment::open(disk, self.book, number, Some(sha256), Arc::clone(&self.cache))?;
        segment.fresh = Some(Fresh { indexes, room: self.room.map(Room::new) });
        Ok(segment)
    }

    fn write<F: DiskFile>(&self, file: &F, indexes: &mut Indexes) -> Result<[u8; 32]> {
        let rows = &*self.rows;
        let mut writer = Writer::new(file, self.book, rows.number)?;
        self.write_tables(&mut writer)?;
        let count = rows.transfers.len();
        indexes.collect(&self.keys, rows);
        indexes.write(&mut writer, count, rows.expiries.len())?;
        let footer = writer.footer();
        footer.rows = index32(count);
        footer.expiries = index32(rows.expiries.len());
        footer.first_entry = if rows.entries.len() == 0 { 0 } else { rows.entries.at(0).number };
        footer.entries = rows.entries.len() as u64;
        footer.last_timestamp = rows.transfers.last().map_or(0, |line| line.0.timestamp);
        footer.last_expiry_timestamp = rows.expiries.last().map_or(0, |expiry| expiry.timestamp);
        writer.finish()
    }

    fn write_tables<F: DiskFile>(&self, writer: &mut Writer<'_, F>) -> Result<()> {
        let rows = &*self.rows;
        writer.section(Kind::ENTRIES, rows.entries.slices())?;
        writer.section(Kind::EXCEPTIONS, rows.exceptions.slices())?;
        writer.section(Kind::BURNED, rows.burned.slices())?;
        writer.section(Kind::TRANSFERS, rows.transfers.slices())?;
        writer.section(Kind::SIDES, rows.sides.slices())?;
        let split = |odd: usize| move |halves: &Halves| -> [u64; 4] { core::array::from_fn(|i| halves.0[2 * i + odd]) };
        writer.mapped_section(Kind::POSTED, rows.low.slices(), split(1))?;
        let any_held = rows.low.iter().any(|halves| split(0)(halves) != [0; 4]);
        if any_held {
            writer.mapped_section(Kind::HELD, rows.low.slices(), split(0))?;
        }
        let high = || (0..rows.transfers.len()).map(|row| rows.halves_after(row).1);
        if rows.high.any && high().any(|halves| halves != Halves::default()) {
            let high: Vec<Halves> = high().collect();
            writer.section(Kind::HIGH, [&high[..]])?;
        }
        writer.section(Kind::EXPIRIES, rows.expiries.slices())?;
        let both = rows.expiry_low.iter().zip(rows.expiry_high.iter()).map(|(&low, &high)| [low, high]);
        writer.section(Kind::EXPIRY_BALANCES, [&both.collect::<Vec<_>>()[..]])?;
        let times: Vec<u64> = rows.transfers.iter().step_by(TIME_FENCE).map(|line| line.0.timestamp).collect();
        writer.section(Kind::TIMES, [&times[..]])
    }
}

/// Fields whose keys many rows may share.
const GROUPED: [Field; 7] = [
    Field::DebitAccount,
    Field::CreditAccount,
    Field::UserData128,
    Field::UserData64,
    Field::UserData32,
    Field::Ledger,
    Field::Code,
];

/// Entries of all indexes.
#[derive(Debug, Default)]
pub(crate) struct Indexes {
    ids: Vec<u64>,
    resolutions: Vec<u64>,
    hashes: Vec<u64>,
    grouped: [Vec<u64>; GROUPED.len()],
    /// Expiries by account.
    expiries: Vec<u64>,
    blocks: Blocks,
    sorting: Vec<u64>,
}

/// What a segment that was sealed in this process brings along for the directory.
#[derive(Debug)]
pub(crate) struct Fresh {
    pub(crate) indexes: Box<Indexes>,
    pub(crate) room: Option<Room>,
}

impl Indexes {
    /// Where the ids are in order of their hash, then what resolved pending transfers.
    pub(crate) fn keys(&self) -> [&[u64]; 2] {
        [&self.ids, &self.resolutions]
    }

    /// The map of their blocks, in words.
    pub(crate) fn blocks(&self) -> &[u64] {
        self.blocks.words()
    }

    /// One pass over the rows, which are larger than the caches.
    fn collect(&mut self, keys: &Keys, rows: &Rows) {
        for entries in [&mut self.ids, &mut self.resolutions, &mut self.hashes, &mut self.expiries] {
            entries.clear();
        }
        self.grouped.iter_mut().for_each(Vec::clear);
        self.blocks.clear();
        let mut row = 0u32;
        let lines = rows.transfers.slices().flat_map(|chunk| chunk.chunks(NEAR));
        let sides = rows.sides.slices().flat_map(|chunk| chunk.chunks(NEAR));
        for (lines, sides) in lines.zip(sides) {
            push_hashes(&mut self.hashes, row, lines);
            for (row, (TransferLine(transfer), sides)) in (row..).zip(lines.iter().zip(sides)) {
                self.ids.push(entry(prefix(keys.id(transfer.id)), row));
                self.blocks.add(keys.block(transfer.id));
                if transfer.flags & RESOLVES != 0 {
                    self.resolutions.push(entry(prefix(keys.resolution(transfer.pending_id)), row));
                    self.blocks.add(keys.block(transfer.pending_id));
                }
                for (field, into) in GROUPED.iter().zip(&mut self.grouped) {
                    if let Some(key) = field.key_of_transfer(keys, transfer, *sides) {
                        into.push(entry(key, row));
                    }
                }
            }
            row += index32(lines.len());
        }
        for (index, burned) in (0u32..).zip(rows.burned.iter()) {
            self.ids.push(entry(prefix(keys.id(burned.id)), index | PLACE_SIDE));
            self.blocks.add(keys.block(burned.id));
        }
        for (index, expiry) in (0u32..).zip(rows.expiries.iter()) {
            self.resolutions.push(entry(prefix(keys.resolution(expiry.pending_id)), index | PLACE_SIDE));
            self.blocks.add(keys.block(expiry.pending_id));
            self.expiries.push(entry(u64::from(expiry.sides.debit_slot()), index));
            self.expiries.push(entry(u64::from(expiry.sides.credit_slot()), index));
        }
    }

    /// Sorts them, and writes them in the order of the format.
    fn write<F: DiskFile>(&mut self, writer: &mut Writer<'_, F>, rows: usize, expiries: usize) -> Result<()> {
        let sorting = &mut self.sorting;
        let unique = [
            (Kind::IDS, &mut self.ids),
            (Kind::RESOLUTIONS, &mut self.resolutions),
            (Kind::of_field(Field::Hash), &mut self.hashes),
        ];
        for (kind, entries) in unique {
            sort_by_high_bits(entries, sorting, ROW_BITS);
            write_entries(writer, kind, entries)?;
        }
        for (field, entries) in GROUPED.iter().zip(&mut self.grouped) {
            sort_by_high_bits(entries, sorting, ROW_BITS);
            write_grouped(writer, Kind::of_field(*field), entries, rows)?;
        }
        sort_by_high_bits(&mut self.expiries, sorting, ROW_BITS);
        write_grouped(writer, Kind::EXPIRY_ACCOUNTS, &mut self.expiries, expiries)?;
        writer.section(Kind::BLOCKS, [self.blocks.words()])
    }
}

/// Adds the entries of rows from `first` on to the index of hashes.
fn push_hashes(into: &mut Vec<u64>, first: u32, lines: &[TransferLine]) {
    let mut row = first;
    let mut push = |hash: &[u8; 32]| {
        into.push(entry(hash_key(hash), row));
        row += 1;
    };
    let (pairs, last) = lines.as_chunks::<2>();
    for [one, two] in pairs {
        hash_two([&one.0, &two.0]).iter().for_each(&mut push);
    }
    last.iter().for_each(|line| push(&line.0.hash()));
}

/// Writes sorted entries and their fences.
fn write_entries<F: DiskFile>(writer: &mut Writer<'_, F>, kind: Kind, entries: &[u64]) -> Result<()> {
    writer.section(kind, [entries])?;
    let fences: Vec<u64> = entries.iter().step_by(FENCE).copied().collect();
    writer.section(kind.fences(), [&fences[..]])
}

/// Writes sorted entries, those of keys that many of the `count` rows have as maps of bits.
fn write_grouped<F: DiskFile>(
    writer: &mut Writer<'_, F>,
    kind: Kind,
    entries: &mut Vec<u64>,
    count: usize,
) -> Result<()> {
    let (mut dense, mut bitmaps) = (Vec::new(), Vec::new());
    let (mut kept, mut begin) = (0, 0);
    while begin < entries.len() {
        let key = entries[begin] >> ROW_BITS;
        let length = entries[begin..].iter().position(|e| e >> ROW_BITS != key).unwrap_or(entries.len() - begin);
        let end = begin + length;
        if length * 64 > count {
            dense.push(DenseKey { key, count: length as u64 });
            let first = bitmaps.len();
            bitmaps.resize(first + bitmap_words(count), 0u64);
            for &e in &entries[begin..end] {
                let row = super::super::field::row_of(e);
                bitmaps[first + row as usize / 64] |= 1 << (row % 64);
            }
        } else {
            entries.copy_within(begin..end, kept);
            kept += length;
        }
        begin = end;
    }
    entries.truncate(kept);
    write_entries(writer, kind, entries)?;
    writer.section(kind.dense_keys(), [&dense[..]])?;
    writer.section(kind.bitmaps(), [&bitmaps[..]])
}
