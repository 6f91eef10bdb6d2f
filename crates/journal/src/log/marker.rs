//! The file `journal/clean`. While the journal is written it stands aside under another name, so that the space that it
//! will need is there even on a full disk.

use zerocopy::IntoBytes;

use super::header::{CleanMarker, Judged};
use super::{FOLDER, FileHeader, JournalError, Result, Tip};
use crate::disk::{Caching, Disk, DiskFile};

const NAME: &str = "journal/clean";
const TEMPORARY: &str = "journal/clean.tmp";

/// Says that the journal ends cleanly at `tip`, durably.
pub(super) fn write<D: Disk>(disk: &D, last: &FileHeader, tip: &Tip) -> Result<()> {
    let mut marker = CleanMarker {
        book: last.book,
        incarnation: last.incarnation,
        number: tip.number,
        entry: tip.entry,
        timestamp: tip.timestamp,
        file: tip.file,
        length: tip.offset,
        hash: tip.hash,
        ..CleanMarker::empty()
    };
    marker.set_checksum();
    write_aside(disk, &marker)?;
    disk.rename(TEMPORARY, NAME)?;
    Ok(disk.sync_folder(FOLDER)?)
}

/// Overwrites the file that stands aside, durably; makes it if there is none.
fn write_aside<D: Disk>(disk: &D, marker: &CleanMarker) -> Result<()> {
    let file = match disk.open(TEMPORARY, Caching::Cached) {
        Err(error) if error.is_missing() => disk.create(TEMPORARY, Caching::Cached)?,
        file => file?,
    };
    file.write_at(0, marker.as_bytes())?;
    Ok(file.sync()?)
}

/// Makes sure of the space for the marker of this run's end.
pub(super) fn reserve<D: Disk>(disk: &D) -> Result<()> {
    match disk.open(NAME, Caching::Cached) {
        Err(error) if error.is_missing() => write_aside(disk, &CleanMarker::empty()),
        marker => Ok(marker.map(drop)?),
    }
}

/// The marker, if there is one.
pub(super) fn read<D: Disk>(disk: &D) -> Result<Option<CleanMarker>> {
    let file = match disk.open(NAME, Caching::Cached) {
        Ok(file) => file,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if file.length()? != CleanMarker::SIZE as u64 {
        return Err(JournalError::damaged(NAME, 0, "it is not 256 bytes long"));
    }
    let mut bytes = [0; CleanMarker::SIZE];
    file.read_at(0, &mut bytes)?;
    match CleanMarker::judge(&bytes) {
        Judged::Good => Ok(Some(CleanMarker::of(&bytes))),
        Judged::Bad(what) => Err(JournalError::damaged(NAME, 0, what)),
        Judged::Newer(version) => {
            Err(JournalError::NewerFormat { file: NAME.to_owned(), offset: 0, what: "marker", version })
        }
    }
}

/// Checks that the journal ends where the marker says.
pub(super) fn check(marker: &CleanMarker, last: &FileHeader, tip: &Tip, file: &str) -> Result<()> {
    let said = (marker.book, marker.incarnation, marker.number, marker.hash, marker.entry, marker.timestamp);
    if said == (last.book, last.incarnation, tip.number, tip.hash, tip.entry, tip.timestamp) {
        return Ok(());
    }
    let what = format!(
        "after a clean shutdown it should end with group {}, and the last group that can be believed is {}",
        marker.number, tip.number
    );
    Err(JournalError::damaged(file, tip.offset, what))
}

/// Sets the marker aside, durably: from here on a crash can be the reason for a torn group.
pub(super) fn set_aside<D: Disk>(disk: &D) -> Result<()> {
    match disk.rename(NAME, TEMPORARY) {
        Err(error) if !error.is_missing() => Err(error.into()),
        _ => Ok(disk.sync_folder(FOLDER)?),
    }
}

pub(super) fn remove_if_there<D: Disk>(disk: &D, name: &str) -> Result<()> {
    match disk.remove(name) {
        Err(error) if !error.is_missing() => Err(error.into()),
        _ => Ok(()),
    }
}
