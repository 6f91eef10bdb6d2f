//! The few conversions between integer widths, in one place and named, so that every other `as` stays denied.

/// Bits 0 to 31.
#[allow(clippy::cast_possible_truncation)] // the point of the function
pub(crate) const fn low32(value: u64) -> u32 {
    value as u32
}

/// Bits 0 to 63.
#[allow(clippy::cast_possible_truncation)] // the point of the function
pub(crate) const fn low64(value: u128) -> u64 {
    value as u64
}

/// Bits 64 to 127.
#[allow(clippy::cast_possible_truncation)] // shifted first
pub(crate) const fn high64(value: u128) -> u64 {
    (value >> 64) as u64
}

/// A count or an index that is known to stay below 2^32: rows of a segment, slots of accounts.
///
/// # Panics
/// When it does not, which would be a bug.
pub(crate) fn index32(value: usize) -> u32 {
    u32::try_from(value).expect("an index within a segment or of an account fits in 32 bits")
}

/// A length or a position in a file or table that must fit in memory.
///
/// # Panics
/// On a machine whose addresses have 32 bits, for a length above them.
pub(crate) fn index(value: u64) -> usize {
    usize::try_from(value).expect("a length fits in this machine's memory")
}
