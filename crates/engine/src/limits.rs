//! Limits: each with its error in `spec/limits.md`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::clock::SECOND_NS;
use crate::frame::{FRAME_MAX, WINDOW_MAX};

/// The release of the kernel's behaviour that this program writes. Entries replay under the release in force.
pub const RELEASE: u32 = 1;

/// Transfer codes from here on are the engine's own.
pub const CODE_RESERVED: u16 = 65_280;

/// How long a connection may take from its beginning to the proof of a credential.
pub const HELLO_WITHIN_NS: u64 = 10 * SECOND_NS;
/// How long a connection may send nothing in the middle of a frame, or take nothing of the answers that wait for it.
pub const SILENCE_MAX_NS: u64 = 30 * SECOND_NS;
/// How long a connection that ends may take for what was still said to it.
pub const CLOSING_MAX_NS: u64 = SECOND_NS;

/// Reads that take several steps and are under way at a time: each may hold an answer of a frame's size.
pub const READINGS_MAX: usize = 64;
/// Of them, those of one connection.
pub const READINGS_OF_CONNECTION_MAX: usize = 8;

/// Limits that can be chosen. None of them changes a result; those that do are [`Configuration`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at a time that have said who they are.
    pub connections_max: u32,
    /// Connections open at a time that have not; the oldest makes room for a new one.
    pub strangers_max: u32,
    /// Unanswered requests of one session, 1 to 64.
    pub window_requests: u32,
    /// Unanswered bytes of frames of one session.
    pub window_bytes: u32,
    /// Bytes of a group on disk at which it takes no more: what waits then, waits in its socket.
    pub group_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1_024,
            strangers_max: 256,
            window_requests: WINDOW_MAX,
            window_bytes: 16 << 20,
            group_bytes: 2 << 20,
        }
    }
}

impl Limits {
    /// What a session gets that wants this; 0 takes what there is.
    pub(crate) fn window(&self, requests: u32, bytes: u32) -> (u32, u32) {
        let or_all = |wanted: u32, all: u32| if wanted == 0 { all } else { wanted.min(all) };
        let frame_max = u32::try_from(FRAME_MAX).unwrap_or(u32::MAX);
        (or_all(requests, self.window_requests.clamp(1, WINDOW_MAX)), or_all(bytes, self.window_bytes).max(frame_max))
    }
}

/// Limits that can change a result: journalled, the row of a `configuration` entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Configuration {
    /// Sessions that are remembered; the one unused longest makes room for a new one.
    pub sessions_max: u32,
    /// Zero.
    pub reserved: [u8; 60],
}

impl Configuration {
    /// This many sessions.
    #[must_use]
    pub const fn new(sessions_max: u32) -> Self {
        Self { sessions_max, reserved: [0; 60] }
    }
}

impl Default for Configuration {
    fn default() -> Self {
        Self::new(65_536)
    }
}
