//! Frames: the codec of `spec/protocol.md`. No socket here, only bytes.
//!
//! [`judge`] says what a header is; whoever reads a stream takes [`HEADER_LENGTH`] bytes, judges them, then takes or
//! skips `body_length` more. [`seal`] puts the lengths and checksums into a frame that is about to be sent.

mod books;
mod error;
mod header;
mod hello;
mod operation;
mod out;
mod status;

pub use books::{
    AssetRow, BookRow, BooksFilter, GRANTS_MAX, GrantName, GrantRow, GrantsFilter, NAME_MAX, NewBook, SYSTEM_BOOK,
    book_state, grant_flags, grant_kind, grant_state,
};
pub use error::ErrorCode;
pub use header::{Defect, Header, Judgement, Kind, Role, judge};
pub use hello::{ChallengeRow, HELLO_MAX, Hello, HelloRow, Welcome, WelcomeRow, read_proof};
pub use operation::{Operation, Shape};
pub use out::{Draft, Frame, Row, Rows, request_frame};
pub use status::Status;

use twox_hash::XxHash3_64;
use zerocopy::IntoBytes;

/// Bytes of a header.
pub const HEADER_LENGTH: usize = 256;
/// The version that this crate speaks.
pub const VERSION: u16 = 2;
/// Bytes of a frame at most, header included.
pub const FRAME_MAX: usize = 1_048_576 + 4_096;
/// Bytes of a body at most.
pub const BODY_MAX: usize = FRAME_MAX - HEADER_LENGTH;
/// Bytes of a request's context at most.
pub const CONTEXT_MAX: usize = 256;
/// Microseconds that a request may ask to wait for others at most.
pub const LINGER_MAX_US: u32 = 1_000;
/// Bytes of an error frame's text at most; what is longer is cut.
pub const TEXT_MAX: usize = 4_096;
/// Bytes of a path in a request at most: as many as Linux takes.
pub const PATH_MAX: usize = 4_095;
/// Requests of one session that can be unanswered at most.
pub const WINDOW_MAX: u32 = 64;

/// The checksum of headers and bodies: XXH3-64, seed 0.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

/// Where the rows of a request begin in its body: after the context, at a multiple of 16.
#[must_use]
pub const fn rows_offset(context_length: u16) -> usize {
    (context_length as usize).next_multiple_of(16)
}

/// Completes the header at the start of a frame: lengths, magic, version and both checksums.
///
/// # Panics
/// If the frame is shorter than a header or longer than [`FRAME_MAX`].
pub fn seal(frame: &mut [u8], mut header: Header) {
    let (head, body) = frame.split_at_mut(HEADER_LENGTH);
    header.magic = *header::MAGIC;
    header.version = VERSION;
    header.header_length = 256;
    header.body_length = u32::try_from(body.len()).expect("a body is at most a frame");
    header.body_checksum = checksum(body);
    header.header_checksum = checksum(&header.as_bytes()[..HEADER_LENGTH - 8]);
    head.copy_from_slice(header.as_bytes());
}
