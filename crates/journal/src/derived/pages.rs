//! Memory made ready by another thread.
//!
//! The system gives memory page by page, when it is first touched, and that takes time: whoever records transfers should
//! not wait for it.

use super::hash::Keys;
use super::memory::Open;
use super::segment::RowMemory;

const PAGE_BYTES: usize = 4_096;

/// Has the system really give this memory, page by page.
pub(crate) fn touch(cells: &mut [u32]) {
    // A value that may be another is written, or the compiler would see that nothing changes.
    cells.iter_mut().step_by(PAGE_BYTES / 4).for_each(|cell| *cell = core::hint::black_box(*cell));
}

/// What memory to make.
#[derive(Clone, Copy, Debug)]
pub struct PagesJob(Wanted);

#[derive(Clone, Copy, Debug)]
enum Wanted {
    Rows,
    Segment { keys: Keys, rows_max: usize },
}

impl PagesJob {
    /// For the next rows of a segment.
    pub(crate) const fn rows() -> Self {
        Self(Wanted::Rows)
    }

    /// For the next segment.
    pub(crate) const fn segment(keys: Keys, rows_max: usize) -> Self {
        Self(Wanted::Segment { keys, rows_max })
    }

    /// Makes it, in some milliseconds.
    #[must_use]
    pub fn run(self) -> Pages {
        Pages(match self.0 {
            Wanted::Rows => Made::Rows(RowMemory::new()),
            Wanted::Segment { keys, rows_max } => {
                let mut open = Open::new(keys, 0, rows_max);
                open.lookup.touch();
                Made::Segment(Box::new(open))
            }
        })
    }
}

/// What a [`PagesJob`] made.
#[derive(Debug)]
pub struct Pages(pub(crate) Made);

#[derive(Debug)]
pub(crate) enum Made {
    Rows(RowMemory),
    Segment(Box<Open>),
}
