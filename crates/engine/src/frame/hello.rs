//! What is said until a connection may ask: `spec/protocol.md` section 3.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Defect;
use crate::credential::Fingerprint;

/// The fixed part of a hello.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct HelloRow {
    /// Lowest version that the client speaks.
    pub versions_min: u16,
    /// Highest version that the client speaks.
    pub versions_max: u16,
    /// Requests that the client wants to have unanswered; 0 leaves it to the server.
    pub window_requests: u32,
    /// Bytes of frames that the client wants to have unanswered; 0 leaves it to the server.
    pub window_bytes: u32,
    /// Bytes of name after this row.
    pub name_length: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Features that the client has; none is defined.
    pub features: u64,
    /// Which credential the client will prove that it has.
    pub fingerprint: Fingerprint,
    /// Random: the server's proof is of it too.
    pub nonce: [u8; 32],
}

const _: () = assert!(size_of::<HelloRow>() == 64);

/// Bytes of a hello's body at most.
pub const HELLO_MAX: usize = size_of::<HelloRow>() + u8::MAX as usize;

/// What a client says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The fixed part; the length in it is that of the name.
    pub row: HelloRow,
    /// The client program.
    pub name: &'a str,
}

impl<'a> Hello<'a> {
    /// Reads a hello's body.
    ///
    /// # Errors
    /// [`Defect::Body`] says what does not fit.
    pub fn read(body: &'a [u8]) -> Result<Self, Defect> {
        let (row, rest) =
            HelloRow::read_from_prefix(body).map_err(|_| Defect::Body("a hello has 64 bytes at least"))?;
        if rest.len() != usize::from(row.name_length) {
            return Err(Defect::Body("a hello ends with its name, of name_length bytes"));
        }
        let name = core::str::from_utf8(rest).map_err(|_| Defect::Body("the name in a hello is not UTF-8"))?;
        if row.reserved != [0; 3] {
            return Err(Defect::Unused("reserved (hello)"));
        }
        Ok(Self { row, name })
    }

    /// Appends the body.
    ///
    /// # Panics
    /// If the name is longer than 255 bytes.
    pub fn write(&self, body: &mut Vec<u8>) {
        let name_length = u8::try_from(self.name.len()).expect("a name of at most 255 bytes");
        body.extend_from_slice(HelloRow { name_length, ..self.row }.as_bytes());
        body.extend_from_slice(self.name.as_bytes());
    }
}

/// What a server answers to a hello of which it knows the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ChallengeRow {
    /// Used once, and nobody could tell it beforehand: the client's proof is of it too.
    pub nonce: [u8; 32],
    /// That the server knows the credential.
    pub proof: [u8; 32],
}

impl ChallengeRow {
    /// Reads a challenge's body.
    ///
    /// # Errors
    /// [`Defect::Body`] if it has another length.
    pub fn read(body: &[u8]) -> Result<Self, Defect> {
        Self::read_from_bytes(body).map_err(|_| Defect::Body("a challenge has 64 bytes"))
    }
}

/// Reads the body of a frame of type proof.
///
/// # Errors
/// [`Defect::Body`] if it has another length.
pub fn read_proof(body: &[u8]) -> Result<[u8; 32], Defect> {
    body.try_into().map_err(|_| Defect::Body("a proof has 32 bytes"))
}

/// The fixed part of a welcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct WelcomeRow {
    /// The version that will be spoken.
    pub version: u16,
    /// Zero.
    pub reserved_1: u16,
    /// Requests that may be unanswered.
    pub window_requests: u32,
    /// Bytes of frames that may be unanswered.
    pub window_bytes: u32,
    /// Bytes of a frame at most.
    pub frame_max: u32,
    /// Rows of a request at most.
    pub batch_max: u32,
    /// The kernel's behaviour.
    pub release: u32,
    /// Features in force; none is defined.
    pub features: u64,
    /// The book that the credential opens.
    pub book: [u8; 16],
    /// Which life of the book's journal.
    pub incarnation: [u8; 16],
    /// The session's highest request so far, 0 when it is new.
    pub highest_request: u64,
    /// Zero.
    pub reserved_2: [u8; 8],
}

const _: () = assert!(size_of::<WelcomeRow>() == 80);

/// What a server answers to a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome<'a> {
    /// The fixed part.
    pub row: WelcomeRow,
    /// The server program.
    pub name: &'a str,
}

impl<'a> Welcome<'a> {
    /// Reads a welcome's body.
    ///
    /// # Errors
    /// [`Defect::Body`] says what does not fit.
    pub fn read(body: &'a [u8]) -> Result<Self, Defect> {
        let (row, rest) =
            WelcomeRow::read_from_prefix(body).map_err(|_| Defect::Body("a welcome has 80 bytes at least"))?;
        let name = core::str::from_utf8(rest).map_err(|_| Defect::Body("the name in a welcome is not UTF-8"))?;
        Ok(Self { row, name })
    }

    /// Appends the body.
    pub fn write(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(self.row.as_bytes());
        body.extend_from_slice(self.name.as_bytes());
    }
}
