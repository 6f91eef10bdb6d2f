//! What concerns a row as part of its request: linked, imported, its timestamp.

use crate::row::{Account, TIMESTAMP_MAX, Transfer, account_flags, transfer_flags};
use crate::status::{CreateAccountStatus, CreateTransferStatus};

/// The statuses that both operations share.
pub trait RowStatus: Copy + Eq {
    /// Done.
    const CREATED: Self;
    /// Another row of the chain failed.
    const LINKED_EVENT_FAILED: Self;
    /// The request's last row is linked to a next one.
    const LINKED_EVENT_CHAIN_OPEN: Self;
    /// The request's first row is imported, this one is not.
    const IMPORTED_EVENT_EXPECTED: Self;
    /// The request's first row is not imported, this one is.
    const IMPORTED_EVENT_NOT_EXPECTED: Self;
    /// A row that is not imported gets its timestamp here.
    const TIMESTAMP_MUST_BE_ZERO: Self;
    /// 0 or above 2^63-1.
    const IMPORTED_EVENT_TIMESTAMP_OUT_OF_RANGE: Self;
    /// Not below the request's first slot.
    const IMPORTED_EVENT_TIMESTAMP_MUST_NOT_ADVANCE: Self;

    /// The number that crosses every wire.
    fn number(self) -> u32;
    /// The refusal of a transfer that burns its id, if this is one.
    fn burns(self) -> Option<CreateTransferStatus>;
}

/// A row of a request that creates something.
pub trait RequestRow: Copy {
    /// What can become of it.
    type Status: RowStatus;

    /// Succeeds or fails with the next row.
    fn is_linked(&self) -> bool;
    /// Carries its own, past timestamp.
    fn is_imported(&self) -> bool;
    /// As the client sent it.
    fn given_timestamp(&self) -> u64;
    /// As the client sent it.
    fn given_id(&self) -> u128;
}

macro_rules! request_row {
    ($row:ty, $flags:ident, $status:ident, $burns:expr) => {
        impl RowStatus for $status {
            const CREATED: Self = Self::Created;
            const LINKED_EVENT_FAILED: Self = Self::LinkedEventFailed;
            const LINKED_EVENT_CHAIN_OPEN: Self = Self::LinkedEventChainOpen;
            const IMPORTED_EVENT_EXPECTED: Self = Self::ImportedEventExpected;
            const IMPORTED_EVENT_NOT_EXPECTED: Self = Self::ImportedEventNotExpected;
            const TIMESTAMP_MUST_BE_ZERO: Self = Self::TimestampMustBeZero;
            const IMPORTED_EVENT_TIMESTAMP_OUT_OF_RANGE: Self = Self::ImportedEventTimestampOutOfRange;
            const IMPORTED_EVENT_TIMESTAMP_MUST_NOT_ADVANCE: Self = Self::ImportedEventTimestampMustNotAdvance;

            #[inline]
            fn number(self) -> u32 {
                $status::number(self)
            }

            #[inline]
            fn burns(self) -> Option<CreateTransferStatus> {
                $burns(self)
            }
        }

        impl RequestRow for $row {
            type Status = $status;

            #[inline]
            fn is_linked(&self) -> bool {
                self.flags & $flags::LINKED != 0
            }

            #[inline]
            fn is_imported(&self) -> bool {
                self.flags & $flags::IMPORTED != 0
            }

            #[inline]
            fn given_timestamp(&self) -> u64 {
                self.timestamp
            }

            #[inline]
            fn given_id(&self) -> u128 {
                self.id
            }
        }
    };
}

// No refusal of an account depends on state that may change, so none burns an id.
request_row!(Account, account_flags, CreateAccountStatus, |_| None);
request_row!(Transfer, transfer_flags, CreateTransferStatus, |status: CreateTransferStatus| {
    status.is_transient().then_some(status)
});

/// What the rows of one request have in common.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Whether its first row is imported, and so must all be.
    pub imported: bool,
    /// Timestamp of its first row's slot.
    pub first_slot: u64,
}

impl Request {
    /// Judges a row as part of its request, before anything else of it is judged.
    ///
    /// # Errors
    /// The first that applies; nothing has changed.
    #[inline]
    pub fn admit<Row: RequestRow>(&self, row: &Row) -> Result<(), Row::Status> {
        let timestamp = row.given_timestamp();
        match (self.imported, row.is_imported()) {
            (true, false) => Err(Row::Status::IMPORTED_EVENT_EXPECTED),
            (false, true) => Err(Row::Status::IMPORTED_EVENT_NOT_EXPECTED),
            (false, false) if timestamp != 0 => Err(Row::Status::TIMESTAMP_MUST_BE_ZERO),
            (true, true) if timestamp == 0 || timestamp > TIMESTAMP_MAX => {
                Err(Row::Status::IMPORTED_EVENT_TIMESTAMP_OUT_OF_RANGE)
            }
            (true, true) if timestamp >= self.first_slot => Err(Row::Status::IMPORTED_EVENT_TIMESTAMP_MUST_NOT_ADVANCE),
            _ => Ok(()),
        }
    }
}
