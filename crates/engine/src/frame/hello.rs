//! Hello and welcome: `spec/protocol.md` section 3.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Defect;

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
    /// Bytes of credential after this row.
    pub credential_length: u16,
    /// Bytes of name after the credential.
    pub name_length: u16,
    /// Features that the client has; none is defined.
    pub features: u64,
    /// Zero.
    pub reserved: [u8; 8],
}

const _: () = assert!(size_of::<HelloRow>() == 32);

/// Bytes of a hello's body at most: its lengths are u16.
pub const HELLO_MAX: usize = size_of::<HelloRow>() + 2 * 65_535;

/// What a client says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The fixed part; the lengths in it are those of the two below.
    pub row: HelloRow,
    /// The secret that says who the client is.
    pub credential: &'a [u8],
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
            HelloRow::read_from_prefix(body).map_err(|_| Defect::Body("a hello has 32 bytes at least"))?;
        let (credential, rest) = rest
            .split_at_checked(usize::from(row.credential_length))
            .ok_or(Defect::Body("credential_length goes beyond the body"))?;
        if rest.len() != usize::from(row.name_length) {
            return Err(Defect::Body("a hello ends with its name, of name_length bytes"));
        }
        let name = core::str::from_utf8(rest).map_err(|_| Defect::Body("the name in a hello is not UTF-8"))?;
        if row.reserved != [0; 8] {
            return Err(Defect::Unused("reserved (hello)"));
        }
        Ok(Self { row, credential, name })
    }

    /// Appends the body.
    ///
    /// # Panics
    /// If credential or name are longer than 65,535 bytes.
    pub fn write(&self, body: &mut Vec<u8>) {
        let length =
            |bytes: &[u8]| u16::try_from(bytes.len()).expect("a credential and a name of at most 65,535 bytes");
        let row = HelloRow {
            credential_length: length(self.credential),
            name_length: length(self.name.as_bytes()),
            ..self.row
        };
        body.extend_from_slice(row.as_bytes());
        body.extend_from_slice(self.credential);
        body.extend_from_slice(self.name.as_bytes());
    }
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

/// What a server answers to a hello.
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
