//! Kinds of entries.

/// What an entry is. Kinds from 8 to 11 are reserved by name; a kind with bit 15 set may be skipped by
/// a reader that does not know it, any other may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum EntryKind {
    /// A request: an operation and its rows.
    Command = 1,
    /// A start of the engine; the first entry of an epoch, alone in its group.
    Epoch = 2,
    /// A limit that can change a result.
    Configuration = 3,
    /// A step of the kernel's own time: expiry.
    Tick = 4,
    /// A hash of the state, for comparison.
    Mark = 5,
    /// Opens a session.
    Session = 6,
    /// A clean shutdown; the last entry of an epoch.
    End = 7,
}

/// Set in the number of a kind that a reader may skip if it does not know it.
const SKIPPABLE: u16 = 1 << 15;

impl EntryKind {
    /// The kind with this number, if this version can apply it.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::Command,
            2 => Self::Epoch,
            3 => Self::Configuration,
            4 => Self::Tick,
            5 => Self::Mark,
            6 => Self::Session,
            7 => Self::End,
            _ => return None,
        })
    }

    /// The number on disk.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Whether a reader that does not know this kind may skip its entries.
    #[must_use]
    pub const fn is_skippable(number: u16) -> bool {
        number & SKIPPABLE != 0
    }

    /// Its name, also that of a kind that is only reserved.
    #[must_use]
    pub const fn name_of(number: u16) -> &'static str {
        match number {
            1 => "command",
            2 => "epoch",
            3 => "configuration",
            4 => "tick",
            5 => "mark",
            6 => "session",
            7 => "end",
            8 => "cut",
            9 => "prepare",
            10 => "decide",
            11 => "move",
            _ => "unknown",
        }
    }
}
