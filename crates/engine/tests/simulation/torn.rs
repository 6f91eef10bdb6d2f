//! Torn groups, which nobody may lose: what a start cuts off the journal is kept aside, durably, before it is cut.

use std::ops::Range;

use qenex_journal::disk::SimDisk;
use qenex_journal::log::{Journal, Options};

use crate::model::index;
use crate::{Outcome, ensure};

/// Bytes that a start finds torn.
struct Torn {
    file: String,
    place: Range<usize>,
    bytes: Vec<u8>,
    /// The file that is to keep them.
    kept: String,
}

/// All that were ever found.
#[derive(Default)]
pub struct TornGroups(Vec<Torn>);

impl TornGroups {
    /// Before a start: what it is about to cut off, as another start on a copy of the disk says.
    pub fn foresee(&mut self, disk: &SimDisk, options: Options) {
        let Ok((_, recovery)) = Journal::open(&disk.copy(), options, 0) else { return };
        let Some(cut) = recovery.cut else { return };
        let place = index(cut.offset)..index(cut.offset + cut.bytes);
        let bytes = disk.contents(&cut.file).expect("the file that it is cut from")[place.clone()].to_vec();
        // The same ones again, if the start before did not come so far.
        self.0.retain(|torn| torn.kept != cut.kept);
        self.0.push(Torn { file: cut.file, place, bytes, kept: cut.kept });
    }

    /// Whatever has happened since: they are kept, or still where they were.
    pub fn check(&self, disk: &SimDisk) -> Outcome {
        for torn in &self.0 {
            let is_kept = disk.contents(&torn.kept).is_some_and(|kept| kept == torn.bytes);
            let is_there = || {
                let file = disk.contents(&torn.file);
                file.is_some_and(|bytes| bytes.get(torn.place.clone()).is_some_and(|bytes| bytes == torn.bytes))
            };
            ensure(is_kept || is_there(), || format!("what was torn from {} is not in {}", torn.file, torn.kept))?;
        }
        Ok(())
    }

    /// How many have been kept.
    pub fn kept(&self, disk: &SimDisk) -> u64 {
        self.0.iter().filter(|torn| disk.contents(&torn.kept).is_some()).count() as u64
    }
}
