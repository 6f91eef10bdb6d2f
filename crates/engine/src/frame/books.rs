//! The rows of what is said about books: `spec/protocol.md` section 9. Credentials stand in the file `grants` as they cross the wire.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::credential::{Fingerprint, Principal};

/// The book that makes the others, and sees into none.
pub const SYSTEM_BOOK: [u8; 16] = [0; 16];
/// Bytes of a book's name at most.
pub const NAME_MAX: usize = 64;
/// Credentials of one book at most, so that all of them fit into a frame.
pub const GRANTS_MAX: usize = 1_000;

/// States of a book.
pub mod book_state {
    /// Its credentials open it.
    pub const ACTIVE: u16 = 1;
    /// Nobody gets in.
    pub const SUSPENDED: u16 = 2;
    /// Its file `grants` cannot be believed: nobody gets in.
    pub const DAMAGED: u16 = 3;
}

/// Kinds of credentials.
pub mod grant_kind {
    /// A secret, of which the book has the stored key and the server key.
    pub const SECRET: u16 = 1;
}

/// States of credentials.
pub mod grant_state {
    /// It opens its book.
    pub const ACTIVE: u16 = 1;
    /// It does not, for now.
    pub const SUSPENDED: u16 = 2;
}

/// Flags of credentials.
pub mod grant_flags {
    /// It may do more than read.
    pub const MAY_WRITE: u32 = 1;
}

/// What a credential may do in one asset. Zeros for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)] // the names are the specification's own
pub struct AssetRow {
    pub ledger: u32,
    pub reserved: [u8; 12],
    pub ceiling_transfer: u128,
    pub ceiling_day: u128,
}

/// A credential that opens a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct GrantRow {
    /// The book that it opens.
    pub book: [u8; 16],
    /// How a client names it.
    pub fingerprint: Fingerprint,
    /// One of [`grant_kind`].
    pub kind: u16,
    /// One of [`grant_state`].
    pub state: u16,
    /// Of [`grant_flags`].
    pub flags: u32,
    /// Whom it stands for.
    pub principal: Principal,
    /// The stored key.
    pub key_1: [u8; 32],
    /// The server key.
    pub key_2: [u8; 32],
    /// When it was first put there, UTC nanoseconds; the server's own.
    pub created: u64,
    /// Zero.
    pub expires: u64,
    /// Zero.
    pub operations: u128,
    /// Zero.
    pub reserved: [u8; 112],
    /// Zeros.
    pub assets: [AssetRow; 16],
}

const _: () = assert!(size_of::<GrantRow>() == 1_024);

impl GrantRow {
    /// All fields zero.
    pub const ZERO: Self = zerocopy::transmute!([0u8; 1_024]);
}

/// What a book is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NewBook {
    /// Its id, chosen at random by whoever makes it.
    pub book: [u8; 16],
    /// Zero.
    pub reserved: [u8; 48],
    /// UTF-8, zeros after it.
    pub name: [u8; NAME_MAX],
    /// Its first credential.
    pub grant: GrantRow,
}

const _: () = assert!(size_of::<NewBook>() == 1_152);

/// A book as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct BookRow {
    /// Its id.
    pub book: [u8; 16],
    /// When it was made, UTC nanoseconds.
    pub created: u64,
    /// Its credentials, without that of the home.
    pub grants: u32,
    /// One of [`book_state`].
    pub state: u16,
    /// Of the constants below.
    pub flags: u16,
    /// Zero.
    pub reserved: [u8; 32],
    /// UTF-8, zeros after it.
    pub name: [u8; NAME_MAX],
}

const _: () = assert!(size_of::<BookRow>() == 128);

impl BookRow {
    /// Its engine runs now.
    pub const OPEN: u16 = 1;
    /// The owner credential of the home opens it.
    pub const HOME: u16 = 2;
}

/// Which books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct BooksFilter {
    /// Those after this one; zeros begin.
    pub after: [u8; 16],
    /// So many at most.
    pub limit: u32,
    /// Zero.
    pub reserved: [u8; 12],
}

/// Which credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct GrantsFilter {
    /// Of this book.
    pub book: [u8; 16],
    /// Those after this one; zeros begin.
    pub after: Fingerprint,
    /// So many at most.
    pub limit: u32,
    /// Zero.
    pub reserved: [u8; 4],
}

/// A credential by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct GrantName {
    /// Of this book.
    pub book: [u8; 16],
    /// Which.
    pub fingerprint: Fingerprint,
    /// Zero.
    pub reserved: [u8; 8],
}
