//! Error frames: `spec/protocol.md` section 5.

use core::fmt;

macro_rules! errors {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// Why a request, or a connection, was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum ErrorCode { $($(#[$doc])* $variant = $number,)* }

        impl ErrorCode {
            /// All of them, in order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The specification's spelling, for example `session_expired`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The error with this number, if there is one.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            /// The number that crosses the wire.
            #[must_use]
            pub const fn number(self) -> u16 {
                self as u16
            }
        }
    };
}

errors! {
    /// Checksum, magic, a reserved field, lengths that do not fit, a frame not completed in time.
    MalformedFrame = 1, "malformed_frame";
    /// No version in common.
    UnsupportedVersion = 2, "unsupported_version";
    /// Credential absent or unknown, or not there in time.
    Unauthenticated = 3, "unauthenticated";
    /// The credential may not do this, or the session is read-only.
    Forbidden = 4, "forbidden";
    /// The book is not the credential's.
    WrongBook = 5, "wrong_book";
    /// There is no operation of that number.
    UnknownOperation = 6, "unknown_operation";
    /// The body is not a whole number of rows, or has none.
    InvalidSize = 7, "invalid_size";
    /// More rows than a request may have, or a limit above a reply's size.
    BatchTooLarge = 8, "batch_too_large";
    /// Window exceeded, queue full, or too many connections.
    Busy = 9, "busy";
    /// The server does not know the session.
    SessionExpired = 10, "session_expired";
    /// More than 64 behind the session's highest.
    RequestTooOld = 11, "request_too_old";
    /// The request number was used for another body.
    RequestMismatch = 12, "request_mismatch";
    /// Not begun in time.
    DeadlineExceeded = 13, "deadline_exceeded";
    /// Writes are refused until space returns.
    StorageFull = 14, "storage_full";
    /// The server is stopping.
    ShuttingDown = 15, "shutting_down";
    /// An id with the engine's own high half.
    ReservedId = 16, "reserved_id";
    /// `seen_timestamp` is more than a second ahead of the server.
    ClockAhead = 17, "clock_ahead";
    /// The wall clock jumped by over an hour.
    ClockUnconfirmed = 18, "clock_unconfirmed";
    /// Over the frame limit; the connection ends.
    FrameTooLarge = 19, "frame_too_large";
    /// Reserved for replication.
    NotLeader = 20, "not_leader";
    /// Reserved for sharding.
    Moved = 21, "moved";
    /// The minimum position is not applied here yet.
    Stale = 22, "stale";
    /// The server cannot tell whether it happened.
    UnknownOutcome = 23, "unknown_outcome";
    /// An operation (such as backup) could not be carried out.
    Failed = 24, "failed";
    /// The folder that a backup was to go to cannot be used.
    BackupUnusable = 25, "backup_unusable";
    /// A transfer code that is the engine's own.
    ReservedCode = 26, "reserved_code";
    /// The book is suspended: nobody gets in until it is resumed.
    BookSuspended = 27, "book_suspended";
    /// There is no book of that id.
    BookUnknown = 28, "book_unknown";
    /// The id, or the credential, is taken by something else.
    BookConflict = 29, "book_conflict";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
