//! The header of a frame, and what is wrong with one.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{BODY_MAX, CONTEXT_MAX, ErrorCode, HEADER_LENGTH, LINGER_MAX_US, VERSION, checksum, rows_offset};

pub(super) const MAGIC: &[u8; 8] = b"QENEXFR1";

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The client's first frame.
    Hello = 1,
    /// The server's answer to a client that has proven itself.
    Welcome = 2,
    /// An operation asked for.
    Request = 3,
    /// What became of it.
    Reply = 4,
    /// Why it was refused; with request 0, why the connection ends.
    Error = 5,
    /// The sender will send nothing more.
    Goodbye = 6,
    /// The server's answer to a hello: it proves itself, and asks the client to.
    Challenge = 7,
    /// The client's answer to that.
    Proof = 8,
}

impl Kind {
    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Hello),
            2 => Some(Self::Welcome),
            3 => Some(Self::Request),
            4 => Some(Self::Reply),
            5 => Some(Self::Error),
            6 => Some(Self::Goodbye),
            7 => Some(Self::Challenge),
            8 => Some(Self::Proof),
            _ => None,
        }
    }
}

/// What the server that answers is to the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// It writes it.
    Leader = 1,
    /// It follows it.
    Standby = 2,
}

/// The first 256 bytes of a frame; `spec/protocol.md` section 1 says what each field means and who uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)] // the names are the specification's own
pub struct Header {
    pub magic: [u8; 8],
    pub version: u16,
    pub header_length: u16,
    pub kind: u8,
    pub flags: u8,
    pub operation: u16,
    pub book: [u8; 16],
    pub session: [u8; 16],
    pub request: u64,
    pub journal: u32,
    pub body_length: u32,
    pub routing_version: u64,
    pub trace: [u8; 16],
    pub context_length: u16,
    pub error: u16,
    pub role: u8,
    pub reserved_1: [u8; 3],
    pub position_journal: u32,
    pub deadline_us: u32,
    pub position_epoch: u64,
    pub position_entry: u64,
    pub seen_timestamp: u64,
    pub timestamp: u64,
    pub staleness_us: u32,
    pub linger_us: u32,
    pub group_requests: u32,
    pub group_rows: u32,
    pub retry_after_us: u32,
    pub reserved_2: [u8; 84],
    pub body_checksum: u64,
    pub header_checksum: u64,
}

const _: () = assert!(size_of::<Header>() == HEADER_LENGTH);

impl Header {
    /// All fields zero.
    pub const ZERO: Self = zerocopy::transmute!([0u8; HEADER_LENGTH]);
    /// Bit of `flags` in a hello: the session must exist.
    pub const RESUME: u8 = 1;

    /// A header of this kind, to be completed by [`super::seal`].
    #[must_use]
    pub const fn of(kind: Kind) -> Self {
        Self { kind: kind as u8, ..Self::ZERO }
    }

    /// What the frame is, if it is anything known.
    #[must_use]
    pub const fn kind(&self) -> Option<Kind> {
        Kind::from_number(self.kind)
    }

    /// Whether these bytes are the body that the header was sent with.
    #[must_use]
    pub fn matches(&self, body: &[u8]) -> bool {
        u64::from(self.body_length) == body.len() as u64 && checksum(body) == self.body_checksum
    }

    /// The context and the rows of a request that was judged good.
    ///
    /// # Errors
    /// [`Defect::ContextLength`] or [`Defect::Padding`].
    pub fn split<'a>(&self, body: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Defect> {
        let (head, rows) = body
            .split_at_checked(rows_offset(self.context_length))
            .ok_or(Defect::ContextLength(self.context_length))?;
        let (context, padding) = head.split_at(usize::from(self.context_length));
        if padding.iter().any(|&byte| byte != 0) { Err(Defect::Padding) } else { Ok((context, rows)) }
    }
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// The header's checksum does not match.
    HeaderChecksum,
    /// The first eight bytes are not `QENEXFR1`.
    Magic,
    /// Another version than [`VERSION`].
    Version(u16),
    /// `header_length` is not 256.
    HeaderLength(u16),
    /// The body would make the frame larger than the limit.
    BodyLength(u32),
    /// There is no such type.
    UnknownKind(u8),
    /// A field that the type does not use is not zero.
    Unused(&'static str),
    /// The context is longer than 256 bytes, or than the body.
    ContextLength(u16),
    /// Bytes between the context and the rows are not zero.
    Padding,
    /// A request has number 0.
    Number,
    /// `linger_us` is above 1,000.
    Linger(u32),
    /// The body does not match its checksum.
    BodyChecksum,
    /// A body that should be empty, or hold a fixed part, has another length.
    Body(&'static str),
}

impl Defect {
    /// The error that answers such a frame.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Version(_) => ErrorCode::UnsupportedVersion,
            Self::BodyLength(_) => ErrorCode::FrameTooLarge,
            _ => ErrorCode::MalformedFrame,
        }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeaderChecksum => write!(f, "header_checksum is not that of the 248 bytes before it"),
            Self::Magic => write!(f, "magic is not QENEXFR1"),
            Self::Version(version) => write!(f, "version {version} is not spoken here; {VERSION} is"),
            Self::HeaderLength(length) => write!(f, "header_length is {length}, must be {HEADER_LENGTH}"),
            Self::BodyLength(length) => write!(f, "body_length is {length}, at most {BODY_MAX} is allowed"),
            Self::UnknownKind(kind) => write!(f, "type {kind} is unknown; 1 to 8 are known"),
            Self::Unused(field) => write!(f, "{field} must be zero in a frame of this type"),
            Self::ContextLength(length) => {
                write!(f, "context_length is {length}; at most {CONTEXT_MAX}, and padded it must fit into the body")
            }
            Self::Padding => write!(f, "the padding between the context and the rows must be zero"),
            Self::Number => write!(f, "request numbers count from 1"),
            Self::Linger(linger) => write!(f, "linger_us is {linger}, at most {LINGER_MAX_US} is allowed"),
            Self::BodyChecksum => write!(f, "body_checksum is not that of the body"),
            Self::Body(what) => f.write_str(what),
        }
    }
}

/// What to do with a frame of which the header has come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The header is good: the body follows.
    Good(Header, Kind),
    /// The header can be believed but is wrong: skip the body, answer, go on.
    Skip(Header, Defect),
    /// The header cannot be believed: answer, end the connection.
    End(Defect),
}

/// Judges a header. Its checksum comes first: nothing else is believed before.
#[must_use]
pub fn judge(bytes: &[u8; HEADER_LENGTH]) -> Judgement {
    let header: Header = zerocopy::transmute!(*bytes);
    if checksum(&bytes[..HEADER_LENGTH - 8]) != header.header_checksum {
        // Something that speaks another protocol is told so, rather than of a checksum that it knows nothing of.
        return Judgement::End(if header.magic == *MAGIC { Defect::HeaderChecksum } else { Defect::Magic });
    }
    if header.magic != *MAGIC {
        return Judgement::End(Defect::Magic);
    }
    if header.version != VERSION {
        return Judgement::End(Defect::Version(header.version));
    }
    if usize::from(header.header_length) != HEADER_LENGTH {
        return Judgement::End(Defect::HeaderLength(header.header_length));
    }
    if header.body_length as usize > BODY_MAX {
        return Judgement::End(Defect::BodyLength(header.body_length));
    }
    match inspect(&header) {
        Ok(kind) => Judgement::Good(header, kind),
        Err(defect) => Judgement::Skip(header, defect),
    }
}

/// Judges the fields that depend on the type.
fn inspect(header: &Header) -> Result<Kind, Defect> {
    let kind = header.kind().ok_or(Defect::UnknownKind(header.kind))?;
    if let Some(field) = unused(header, kind) {
        return Err(Defect::Unused(field));
    }
    let padded = rows_offset(header.context_length);
    if usize::from(header.context_length) > CONTEXT_MAX || padded > header.body_length as usize {
        return Err(Defect::ContextLength(header.context_length));
    }
    if kind == Kind::Request && header.request == 0 {
        return Err(Defect::Number);
    }
    if kind == Kind::Request && header.linger_us > LINGER_MAX_US {
        return Err(Defect::Linger(header.linger_us));
    }
    if kind == Kind::Goodbye && header.body_length != 0 {
        return Err(Defect::Body("a goodbye has no body"));
    }
    Ok(kind)
}

/// The first field that is not zero although this type does not use it.
fn unused(header: &Header, kind: Kind) -> Option<&'static str> {
    use Kind::{Error, Hello, Reply, Request, Welcome};
    let used_by = |kinds: &[Kind]| kinds.contains(&kind);
    let fields: [(&'static str, bool, &[Kind]); 24] = [
        ("flags", header.flags & !u8::from(kind == Hello) == 0, &[]),
        ("operation", header.operation == 0, &[Request, Reply]),
        ("book", header.book == [0; 16], &[Hello, Welcome, Request, Reply, Error]),
        ("session", header.session == [0; 16], &[Hello, Welcome, Request, Reply, Error]),
        ("request", header.request == 0, &[Request, Reply, Error]),
        ("journal", header.journal == 0, &[Welcome, Request, Reply, Error]),
        ("routing_version", header.routing_version == 0, &[]),
        ("trace", header.trace == [0; 16], &[Hello, Welcome, Request, Reply, Error]),
        ("context_length", header.context_length == 0, &[Request]),
        ("error", header.error == 0, &[Error]),
        ("role", header.role == 0, &[Welcome, Reply, Error]),
        ("reserved", header.reserved_1 == [0; 3], &[]),
        ("position_journal", header.position_journal == 0, &[Request, Welcome, Reply]),
        ("deadline_us", header.deadline_us == 0, &[Request]),
        ("position_epoch", header.position_epoch == 0, &[Request, Welcome, Reply]),
        ("position_entry", header.position_entry == 0, &[Request, Welcome, Reply]),
        ("seen_timestamp", header.seen_timestamp == 0, &[Request]),
        ("timestamp", header.timestamp == 0, &[Welcome, Reply]),
        ("staleness_us", header.staleness_us == 0, &[Reply]),
        ("linger_us", header.linger_us == 0, &[Request, Reply]),
        ("group_requests", header.group_requests == 0, &[Reply]),
        ("group_rows", header.group_rows == 0, &[Reply]),
        ("retry_after_us", header.retry_after_us == 0, &[Error]),
        ("reserved", header.reserved_2 == [0; 84], &[]),
    ];
    fields.into_iter().find(|(_, zero, kinds)| !zero && !used_by(kinds)).map(|(name, ..)| name)
}
