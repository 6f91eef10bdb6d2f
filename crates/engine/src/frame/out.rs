//! Frames on their way out: rows are written straight behind the space of the header.

use qenex_kernel::row::{Account, AccountBalance, AccountTerms, EventResult, Outcome, Transfer};
use zerocopy::{FromZeros, Immutable, IntoBytes};

use super::{CONTEXT_MAX, ErrorCode, HEADER_LENGTH, Header, Kind, TEXT_MAX, rows_offset, seal};

/// Says that a text went on.
const ELLIPSIS: &str = "…";

/// A row of which a whole number fits into a header's space, so that a frame is one array of them.
pub trait Row: IntoBytes + Immutable + FromZeros + Copy {
    #[doc(hidden)]
    fn frame(rows: Vec<Self>) -> Rows;
}

/// The memory of a frame.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // each is an array of that row
pub enum Rows {
    Bytes(Vec<u8>),
    Results(Vec<EventResult>),
    Accounts(Vec<Account>),
    Transfers(Vec<Transfer>),
    Balances(Vec<AccountBalance>),
    Terms(Vec<AccountTerms>),
    Outcomes(Vec<Outcome>),
}

macro_rules! rows {
    ($($variant:ident: $row:ty),*) => {
        $(
            const _: () = assert!(HEADER_LENGTH.is_multiple_of(size_of::<$row>()));

            impl Row for $row {
                fn frame(rows: Vec<Self>) -> Rows { Rows::$variant(rows) }
            }
        )*

        impl Rows {
            fn bytes(&self) -> &[u8] {
                match self { $(Self::$variant(rows) => rows.as_bytes(),)* }
            }

            fn bytes_mut(&mut self) -> &mut [u8] {
                match self { $(Self::$variant(rows) => rows.as_mut_slice().as_mut_bytes(),)* }
            }
        }
    };
}

rows!(Bytes: u8, Results: EventResult, Accounts: Account, Transfers: Transfer, Balances: AccountBalance,
    Terms: AccountTerms, Outcomes: Outcome);

/// A frame whose rows are still being appended.
#[derive(Debug)]
pub struct Draft<R>(Vec<R>);

impl<R: Row> Draft<R> {
    /// No rows yet, and memory for so many.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let head = HEADER_LENGTH / size_of::<R>();
        let mut rows = Vec::with_capacity(head + capacity);
        rows.resize(head, R::new_zeroed());
        Self(rows)
    }

    /// To append to; what is there stays.
    pub const fn rows(&mut self) -> &mut Vec<R> {
        &mut self.0
    }

    /// The frame; the draft is of no use after that.
    ///
    /// # Panics
    /// If the rows are more than a frame holds.
    pub fn seal(&mut self, header: Header) -> Frame {
        let mut rows = R::frame(core::mem::take(&mut self.0));
        seal(rows.bytes_mut(), header);
        Frame(rows)
    }
}

/// A frame ready to be sent.
#[derive(Clone, Debug)]
pub struct Frame(Rows);

impl Frame {
    /// A frame of rows that `write` appends; no copy is made of them.
    ///
    /// # Panics
    /// If they are more than a frame holds.
    pub fn of<R: Row>(header: Header, capacity: usize, write: impl FnOnce(&mut Vec<R>)) -> Self {
        let mut draft = Draft::new(capacity);
        write(draft.rows());
        draft.seal(header)
    }

    /// A frame with this body.
    ///
    /// # Panics
    /// If it is more than a frame holds.
    #[must_use]
    pub fn copied(header: Header, body: &[u8]) -> Self {
        Self::of(header, body.len(), |bytes: &mut Vec<u8>| bytes.extend_from_slice(body))
    }

    /// An error frame that answers `to`; of a text above [`TEXT_MAX`] bytes it has the beginning.
    #[must_use]
    pub fn error(to: &Header, code: ErrorCode, retry_after_us: u32, text: &str) -> Self {
        let header = Header {
            book: to.book,
            session: to.session,
            request: if to.kind() == Some(Kind::Request) { to.request } else { 0 },
            trace: to.trace,
            error: code.number(),
            retry_after_us,
            ..Header::of(Kind::Error)
        };
        if text.len() <= TEXT_MAX {
            return Self::copied(header, text.as_bytes());
        }
        // Texts repeat what was asked, which may be as long as a frame.
        let cut = &text[..text.floor_char_boundary(TEXT_MAX - ELLIPSIS.len())];
        Self::copied(header, [cut, ELLIPSIS].concat().as_bytes())
    }

    /// The bytes to send.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> Header {
        let head: &[u8; HEADER_LENGTH] = self.bytes().first_chunk().expect("a frame begins with a header");
        zerocopy::transmute!(*head)
    }

    /// What follows the header.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.bytes()[HEADER_LENGTH..]
    }
}

/// Appends a request frame to `out`: header, context with its padding, rows.
///
/// # Panics
/// If the context is longer than [`CONTEXT_MAX`] or the frame than the limit.
pub fn request_frame(out: &mut Vec<u8>, header: Header, context: &[u8], rows: &[u8]) {
    let context_length = u16::try_from(context.len()).ok().filter(|&length| usize::from(length) <= CONTEXT_MAX);
    let context_length = context_length.expect("a context of at most 256 bytes");
    let begin = out.len();
    out.reserve(HEADER_LENGTH + rows_offset(context_length) + rows.len());
    out.resize(begin + HEADER_LENGTH, 0);
    out.extend_from_slice(context);
    out.resize(begin + HEADER_LENGTH + rows_offset(context_length), 0);
    out.extend_from_slice(rows);
    seal(&mut out[begin..], Header { context_length, kind: Kind::Request as u8, ..header });
}
