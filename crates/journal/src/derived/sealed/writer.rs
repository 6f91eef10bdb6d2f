//! Writes a file from front to back: blocks with checksums, sections with padding, one hash over all checksums.

use sha2::{Digest, Sha256};
use zerocopy::{Immutable, IntoBytes};

use super::format::{
    ALIGNMENT, BLOCK, FOOTER_LENGTH, Footer, HEADER_LENGTH, HEADER_MAGIC, Header, Kind, Section, VERSION, checksum,
};
use crate::derived::num::index32;
use crate::disk::{AlignedBuffer, BLOCK as DISK_BLOCK, DiskFile, Result};

/// Bytes written at once.
const BUFFER: usize = 1 << 20;
/// Sections of at least so many bytes begin a block.
const LARGE: usize = 1 << 20;

/// A file under way.
pub(crate) struct Writer<'a, F> {
    file: &'a F,
    buffer: AlignedBuffer,
    used: usize,
    written: u64,
    checksums: Vec<u64>,
    hash: Sha256,
    footer: Footer,
}

impl<'a, F: DiskFile> Writer<'a, F> {
    /// Begins the file of a segment.
    pub(crate) fn new(file: &'a F, book: [u8; 16], number: u32) -> Result<Self> {
        let mut writer = Self {
            file,
            buffer: AlignedBuffer::zeroed(BUFFER),
            used: 0,
            written: 0,
            checksums: Vec::new(),
            hash: Sha256::new(),
            footer: Footer::new(book, number),
        };
        let header_length = 128;
        let header = Header { magic: HEADER_MAGIC, version: VERSION, header_length, number, book, reserved: [0; 96] };
        debug_assert_eq!(usize::from(header_length), HEADER_LENGTH);
        writer.put(header.as_bytes())?;
        Ok(writer)
    }

    /// What the footer will say, to fill in.
    pub(crate) fn footer(&mut self) -> &mut Footer {
        &mut self.footer
    }

    fn position(&self) -> u64 {
        self.written + self.used as u64
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<()> {
        if self.used == 0 && bytes.as_ptr().addr().is_multiple_of(DISK_BLOCK) {
            // As it lies in memory it can go to the disk.
            let whole = bytes.len() / BLOCK * BLOCK;
            let (now, rest) = bytes.split_at(whole);
            self.checksums.extend(now.chunks(BLOCK).map(checksum));
            self.file.write_at(self.written, now)?;
            self.written += now.len() as u64;
            bytes = rest;
        }
        while !bytes.is_empty() {
            let now = bytes.len().min(BUFFER - self.used);
            self.buffer[self.used..self.used + now].copy_from_slice(&bytes[..now]);
            self.used += now;
            bytes = &bytes[now..];
            if self.used == BUFFER {
                self.flush(true)?;
            }
        }
        Ok(())
    }

    /// Writes what the buffer holds, which is whole disk blocks.
    fn flush(&mut self, with_checksums: bool) -> Result<()> {
        let bytes = &self.buffer[..self.used];
        if with_checksums {
            self.checksums.extend(bytes.chunks(BLOCK).map(checksum));
        } else {
            self.hash.update(bytes);
        }
        self.file.write_at(self.written, bytes)?;
        self.written += self.used as u64;
        self.used = 0;
        Ok(())
    }

    fn pad(&mut self, to: u64) -> Result<()> {
        const ZEROS: [u8; BLOCK] = [0; BLOCK];
        let padding = (to - self.position() % to) % to;
        self.put(&ZEROS[..usize::try_from(padding).unwrap_or(0)])
    }

    /// Goes to where a section of so many bytes begins: large ones begin a block, so that they can be written without
    /// being copied first.
    fn begin(&mut self, length: usize) -> Result<u64> {
        if length < LARGE {
            self.pad(ALIGNMENT)?;
        } else {
            self.pad(BLOCK as u64)?;
            self.flush(true)?;
        }
        Ok(self.position())
    }

    /// Writes a section from slices of its rows; one without rows is left out.
    pub(crate) fn section<'r, T: IntoBytes + Immutable + 'r>(
        &mut self,
        kind: Kind,
        slices: impl IntoIterator<Item = &'r [T]>,
    ) -> Result<()> {
        let slices: Vec<&[T]> = slices.into_iter().collect();
        let offset = self.begin(slices.iter().map(|rows| size_of_val(*rows)).sum())?;
        let mut count = 0;
        for rows in slices {
            self.put(rows.as_bytes())?;
            count += rows.len() as u64;
        }
        self.note::<T>(kind, offset, count);
        Ok(())
    }

    /// Writes a section of rows made from other rows.
    pub(crate) fn mapped_section<'r, S: 'r, T: IntoBytes + Immutable>(
        &mut self,
        kind: Kind,
        slices: impl IntoIterator<Item = &'r [S]>,
        map: impl Fn(&S) -> T,
    ) -> Result<()> {
        let slices: Vec<&[S]> = slices.into_iter().collect();
        let offset = self.begin(slices.iter().map(|rows| rows.len()).sum::<usize>() * size_of::<T>())?;
        let (mut count, mut mapped) = (0, Vec::new());
        for rows in slices {
            mapped.clear();
            mapped.extend(rows.iter().map(&map));
            self.put(mapped.as_bytes())?;
            count += rows.len() as u64;
        }
        self.note::<T>(kind, offset, count);
        Ok(())
    }

    fn note<T>(&mut self, kind: Kind, offset: u64, count: u64) {
        if count > 0 {
            let row_size = index32(size_of::<T>());
            self.footer.add(Section { kind: kind.0, version: 1, row_size, offset, count });
        }
    }

    /// Writes the checksums and the footer; returns the SHA-256 of both, which stands for the file.
    pub(crate) fn finish(mut self) -> Result<[u8; 32]> {
        self.pad(DISK_BLOCK as u64)?;
        self.flush(true)?;
        let checksums = core::mem::take(&mut self.checksums);
        self.footer.checksums_offset = self.written;
        self.footer.checksums = checksums.len() as u64;
        self.footer.checksums_checksum = checksum(checksums.as_bytes());
        for part in checksums.chunks(BUFFER / 16) {
            self.put_unchecked(part.as_bytes())?;
        }
        let padding = (DISK_BLOCK - self.used % DISK_BLOCK) % DISK_BLOCK;
        self.put_unchecked(&vec![0; padding])?;
        self.footer.file_length = self.position() + FOOTER_LENGTH as u64;
        self.footer.seal();
        let footer = self.footer;
        self.put_unchecked(footer.as_bytes())?;
        self.flush(false)?;
        Ok(self.hash.finalize().into())
    }

    /// As `put`, for what comes after the blocks that have checksums.
    fn put_unchecked(&mut self, bytes: &[u8]) -> Result<()> {
        if self.used + bytes.len() > BUFFER {
            // Whole disk blocks go, the rest moves to the front.
            let whole = self.used / DISK_BLOCK * DISK_BLOCK;
            let rest = self.buffer[whole..self.used].to_vec();
            self.used = whole;
            self.flush(false)?;
            self.buffer[..rest.len()].copy_from_slice(&rest);
            self.used = rest.len();
        }
        self.buffer[self.used..self.used + bytes.len()].copy_from_slice(bytes);
        self.used += bytes.len();
        Ok(())
    }
}
