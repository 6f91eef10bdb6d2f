//! The rows: fixed-size, little-endian, byte for byte what crosses the wire and lies on disk.
//!
//! Layouts are those of TigerBeetle 0.17's public data model, `spec/kernel.md` section 1; the last
//! four rows are QENEX's own.

use sha2::{Digest, Sha256};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[cfg(target_endian = "big")]
compile_error!("rows are little-endian: a big-endian machine would need conversions at every door");

/// Events in one request at most: 1 MiB less a header, in rows of 128 bytes.
pub const BATCH_MAX: usize = 8_189;
/// Change events in one reply at most.
pub const CHANGE_EVENTS_MAX: usize = 2_730;
/// The last timestamp there is.
pub const TIMESTAMP_MAX: u64 = (1 << 63) - 1;
/// Transfers with this code or above are the institution's own: restrictions do not stop them.
pub const CODE_INSTITUTION: u16 = 32_768;

macro_rules! row {
    ($(#[$doc:meta])* $name:ident, $size:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        const _: () = assert!(size_of::<$name>() == $size);

        impl $name {
            /// Size of a row in bytes.
            pub const SIZE: usize = $size;
            /// All fields zero.
            pub const ZERO: Self = zerocopy::transmute!([0u8; $size]);
        }

        impl Default for $name {
            fn default() -> Self { Self::ZERO }
        }
    };
}

row! {
    /// An account: four balances, an asset (`ledger`), an owner's data, behaviour (`flags`).
    Account, 128 {
        /// Chosen by the client; neither 0 nor the maximum.
        id: u128,
        /// Sum of open pending transfers that debit this account, minor units.
        debits_pending: u128,
        /// Sum of posted transfers that debit this account, minor units.
        debits_posted: u128,
        /// Sum of open pending transfers that credit this account, minor units.
        credits_pending: u128,
        /// Sum of posted transfers that credit this account, minor units.
        credits_posted: u128,
        /// Owning party.
        user_data_128: u128,
        /// Product.
        user_data_64: u64,
        /// Legal entity.
        user_data_32: u32,
        /// Zero.
        reserved: u32,
        /// Asset; both sides of a transfer share it.
        ledger: u32,
        /// Kind of account, the client's own numbering, not 0.
        code: u16,
        /// [`account_flags`].
        flags: u16,
        /// UTC nanoseconds of creation; 0 in a request unless imported.
        timestamp: u64,
    }
}

row! {
    /// A transfer: an amount that leaves one account for another, now or in two phases.
    Transfer, 128 {
        /// Chosen by the client; neither 0 nor the maximum; never used twice.
        id: u128,
        /// Account to debit.
        debit_account_id: u128,
        /// Account to credit.
        credit_account_id: u128,
        /// Minor units of the ledger's asset.
        amount: u128,
        /// The pending transfer that a post or a void names, else 0.
        pending_id: u128,
        /// The client's own.
        user_data_128: u128,
        /// Time of value in UTC nanoseconds, where it differs from the booking.
        user_data_64: u64,
        /// Accounting date in days since 1970-01-01; 0 is the date then open.
        user_data_32: u32,
        /// Seconds until a pending transfer expires; 0 is never.
        timeout: u32,
        /// Asset of both accounts.
        ledger: u32,
        /// Kind of transfer, not 0.
        code: u16,
        /// [`transfer_flags`].
        flags: u16,
        /// UTC nanoseconds of booking; 0 in a request unless imported.
        timestamp: u64,
    }
}

row! {
    /// What became of one row of a request.
    EventResult, 16 {
        /// Of the row's slot; see `spec/kernel.md` for `exists` and imported rows.
        timestamp: u64,
        /// A number of the operation's status enum.
        status: u32,
        /// Zero.
        reserved: u32,
    }
}

row! {
    /// Which transfers (or balances) of one account.
    AccountFilter, 128 {
        /// The account.
        account_id: u128,
        /// 0 is any.
        user_data_128: u128,
        /// 0 is any.
        user_data_64: u64,
        /// 0 is any.
        user_data_32: u32,
        /// 0 is any.
        code: u16,
        /// Zero.
        reserved: [u8; 58],
        /// Inclusive; 0 is from the beginning.
        timestamp_min: u64,
        /// Inclusive; 0 is to the end.
        timestamp_max: u64,
        /// Rows wanted, at least 1.
        limit: u32,
        /// [`filter_flags`].
        flags: u32,
    }
}

row! {
    /// Which accounts or transfers: the AND of the fields that are not 0.
    QueryFilter, 64 {
        /// 0 is any.
        user_data_128: u128,
        /// 0 is any.
        user_data_64: u64,
        /// 0 is any.
        user_data_32: u32,
        /// 0 is any.
        ledger: u32,
        /// 0 is any.
        code: u16,
        /// Zero.
        reserved: [u8; 6],
        /// Inclusive; 0 is from the beginning.
        timestamp_min: u64,
        /// Inclusive; 0 is to the end.
        timestamp_max: u64,
        /// Rows wanted, at least 1.
        limit: u32,
        /// Bit 0: newest first.
        flags: u32,
    }
}

row! {
    /// Balances of an account right after one of its transfers.
    AccountBalance, 128 {
        /// Minor units.
        debits_pending: u128,
        /// Minor units.
        debits_posted: u128,
        /// Minor units.
        credits_pending: u128,
        /// Minor units.
        credits_posted: u128,
        /// Of the transfer; of the last event for `balance_at`, 0 if there was none.
        timestamp: u64,
        /// Zero.
        reserved: [u8; 56],
    }
}

row! {
    /// Which change events.
    ChangeEventsFilter, 64 {
        /// Inclusive; 0 is from the beginning.
        timestamp_min: u64,
        /// Inclusive; 0 is to the end.
        timestamp_max: u64,
        /// Rows wanted, at least 1.
        limit: u32,
        /// Zero.
        reserved: [u8; 44],
    }
}

row! {
    /// One change of the ledger: the transfer, and both accounts right after it.
    ChangeEvent, 384 {
        /// The transfer; for an expiry the pending one.
        transfer_id: u128,
        /// Minor units.
        transfer_amount: u128,
        /// 0 for an expiry.
        transfer_pending_id: u128,
        /// As recorded.
        transfer_user_data_128: u128,
        /// As recorded.
        transfer_user_data_64: u64,
        /// As recorded.
        transfer_user_data_32: u32,
        /// As recorded.
        transfer_timeout: u32,
        /// As recorded.
        transfer_code: u16,
        /// As recorded.
        transfer_flags: u16,
        /// Asset.
        ledger: u32,
        /// An [`EventKind`] as a number.
        kind: u8,
        /// Zero.
        reserved: [u8; 39],
        /// The debited account.
        debit_account: ChangedAccount,
        /// The credited account.
        credit_account: ChangedAccount,
        /// Of the event.
        timestamp: u64,
        /// Of the transfer (an expiry happens later than its transfer).
        transfer_timestamp: u64,
        /// Of the account.
        debit_account_timestamp: u64,
        /// Of the account.
        credit_account_timestamp: u64,
    }
}

row! {
    /// One side of a [`ChangeEvent`].
    ChangedAccount, 112 {
        /// Of the account.
        id: u128,
        /// Minor units.
        debits_pending: u128,
        /// Minor units.
        debits_posted: u128,
        /// Minor units.
        credits_pending: u128,
        /// Minor units.
        credits_posted: u128,
        /// Of the account.
        user_data_128: u128,
        /// Of the account.
        user_data_64: u64,
        /// Of the account.
        user_data_32: u32,
        /// Of the account.
        code: u16,
        /// Right after the event.
        flags: u16,
    }
}

row! {
    /// A row of `set_account_terms`: replaces all terms of the account; all zero removes them.
    AccountTerms, 64 {
        /// The account.
        account_id: u128,
        /// Overdraft in minor units, added to `credits_posted` in the `exceeds_credits` test.
        debit_limit: u128,
        /// [`restrictions`].
        restrictions: u32,
        /// The institution's own.
        reason: u32,
        /// Zero.
        reserved: [u8; 24],
    }
}

row! {
    /// A row of `balance_at`.
    BalanceAt, 32 {
        /// The account.
        account_id: u128,
        /// Inclusive UTC nanoseconds.
        timestamp: u64,
        /// Zero.
        reserved: u64,
    }
}

row! {
    /// What `lookup_outcomes` says of a transfer id: recorded, or burned and by what.
    Outcome, 32 {
        /// The transfer's id.
        id: u128,
        /// As recorded, or of the slot in which it was burned.
        timestamp: u64,
        /// A `CreateTransferStatus` as a number.
        status: u32,
        /// Zero.
        reserved: u32,
    }
}

row! {
    /// An id, in requests that look up by id.
    Id, 16 {
        /// The id.
        id: u128,
    }
}

/// Nanoseconds in a second.
const SECOND_NS: u64 = 1_000_000_000;

impl Transfer {
    /// When a recorded pending transfer expires, UTC nanoseconds: `timeout` seconds after its timestamp.
    ///
    /// None if it has no timeout, or would expire after [`TIMESTAMP_MAX`] (refused with `overflows_timeout`).
    #[inline]
    #[must_use]
    pub fn expires(&self) -> Option<u64> {
        let timeout_ns = u64::from(self.timeout).checked_mul(SECOND_NS)?;
        let expires = self.timestamp.checked_add(timeout_ns)?;
        (self.timeout != 0 && expires <= TIMESTAMP_MAX).then_some(expires)
    }

    /// The hash of a transfer: SHA-256 of a zero byte and the 128 bytes as recorded, which is the leaf hash of
    /// RFC 6962.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::new().chain_update([0]).chain_update(self.as_bytes()).finalize().into()
    }
}

impl Account {
    /// The account's address: `QENX` and the id, big-endian. Ledger accounts and contracts share one space of
    /// 20-byte EVM addresses; in text it is spelled as EIP-55 says.
    #[must_use]
    pub fn address(&self) -> [u8; 20] {
        let mut address = [0; 20];
        let (prefix, id) = address.split_at_mut(4);
        prefix.copy_from_slice(b"QENX");
        id.copy_from_slice(&self.id.to_be_bytes());
        address
    }

    /// The balances; the timestamp is the account's.
    #[must_use]
    pub const fn balance(&self) -> AccountBalance {
        AccountBalance {
            debits_pending: self.debits_pending,
            debits_posted: self.debits_posted,
            credits_pending: self.credits_pending,
            credits_posted: self.credits_posted,
            timestamp: self.timestamp,
            reserved: [0; 56],
        }
    }
}

impl ChangedAccount {
    const fn new(account: &Account) -> Self {
        Self {
            id: account.id,
            debits_pending: account.debits_pending,
            debits_posted: account.debits_posted,
            credits_pending: account.credits_pending,
            credits_posted: account.credits_posted,
            user_data_128: account.user_data_128,
            user_data_64: account.user_data_64,
            user_data_32: account.user_data_32,
            code: account.code,
            flags: account.flags,
        }
    }

    const fn balance(&self, timestamp: u64) -> AccountBalance {
        AccountBalance {
            debits_pending: self.debits_pending,
            debits_posted: self.debits_posted,
            credits_pending: self.credits_pending,
            credits_posted: self.credits_posted,
            timestamp,
            reserved: [0; 56],
        }
    }
}

impl ChangeEvent {
    /// A change: the transfer as recorded (for an expiry the pending one), both accounts right after it.
    #[must_use]
    pub const fn new(kind: EventKind, timestamp: u64, transfer: &Transfer, debit: &Account, credit: &Account) -> Self {
        Self {
            transfer_id: transfer.id,
            transfer_amount: transfer.amount,
            transfer_pending_id: transfer.pending_id,
            transfer_user_data_128: transfer.user_data_128,
            transfer_user_data_64: transfer.user_data_64,
            transfer_user_data_32: transfer.user_data_32,
            transfer_timeout: transfer.timeout,
            transfer_code: transfer.code,
            transfer_flags: transfer.flags,
            ledger: transfer.ledger,
            kind: kind as u8,
            reserved: [0; 39],
            debit_account: ChangedAccount::new(debit),
            credit_account: ChangedAccount::new(credit),
            timestamp,
            transfer_timestamp: transfer.timestamp,
            debit_account_timestamp: debit.timestamp,
            credit_account_timestamp: credit.timestamp,
        }
    }

    /// The balances of one of its two accounts right after it.
    #[must_use]
    pub const fn balance_of(&self, account_id: u128) -> Option<AccountBalance> {
        if self.debit_account.id == account_id {
            Some(self.debit_account.balance(self.timestamp))
        } else if self.credit_account.id == account_id {
            Some(self.credit_account.balance(self.timestamp))
        } else {
            None
        }
    }
}

/// Bits of [`Account::flags`].
pub mod account_flags {
    /// Succeeds or fails with the next row.
    pub const LINKED: u16 = 1;
    /// An account that may not go below zero on its credit side (a customer's deposit).
    pub const DEBITS_MUST_NOT_EXCEED_CREDITS: u16 = 1 << 1;
    /// The mirror image (a loan, cash at a bank).
    pub const CREDITS_MUST_NOT_EXCEED_DEBITS: u16 = 1 << 2;
    /// Balances after each transfer can be listed.
    pub const HISTORY: u16 = 1 << 3;
    /// Carries its own, past timestamp.
    pub const IMPORTED: u16 = 1 << 4;
    /// Accepts voids and expiry only.
    pub const CLOSED: u16 = 1 << 5;
    /// All that there are.
    pub const ALL: u16 = (1 << 6) - 1;
}

/// Bits of [`Transfer::flags`].
pub mod transfer_flags {
    /// Succeeds or fails with the next row.
    pub const LINKED: u16 = 1;
    /// First phase of two: reserves, does not post.
    pub const PENDING: u16 = 1 << 1;
    /// Second phase: posts `pending_id`, all or part.
    pub const POST_PENDING_TRANSFER: u16 = 1 << 2;
    /// Second phase: releases `pending_id`.
    pub const VOID_PENDING_TRANSFER: u16 = 1 << 3;
    /// Clamps the amount to what the debit account has.
    pub const BALANCING_DEBIT: u16 = 1 << 4;
    /// Clamps the amount to what the credit account owes.
    pub const BALANCING_CREDIT: u16 = 1 << 5;
    /// Closes the debit account (pending only).
    pub const CLOSING_DEBIT: u16 = 1 << 6;
    /// Closes the credit account (pending only).
    pub const CLOSING_CREDIT: u16 = 1 << 7;
    /// Carries its own, past timestamp.
    pub const IMPORTED: u16 = 1 << 8;
    /// All that there are.
    pub const ALL: u16 = (1 << 9) - 1;
}

/// Bits of [`AccountFilter::flags`]; [`QueryFilter::flags`] has `QUERY_REVERSED` only.
pub mod filter_flags {
    /// Transfers that debit the account.
    pub const DEBITS: u32 = 1;
    /// Transfers that credit the account.
    pub const CREDITS: u32 = 1 << 1;
    /// Newest first.
    pub const REVERSED: u32 = 1 << 2;
    /// Newest first, in a [`super::QueryFilter`].
    pub const QUERY_REVERSED: u32 = 1;
}

/// Bits of [`AccountTerms::restrictions`].
pub mod restrictions {
    /// Refuses new debits.
    pub const NO_DEBIT: u32 = 1;
    /// Refuses new credits.
    pub const NO_CREDIT: u32 = 1 << 1;
    /// All that there are.
    pub const ALL: u32 = 3;
}

/// What a change of the ledger was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EventKind {
    /// A transfer in one phase.
    SinglePhase = 0,
    /// A reservation.
    TwoPhasePending = 1,
    /// A reservation posted, all or part.
    TwoPhasePosted = 2,
    /// A reservation released.
    TwoPhaseVoided = 3,
    /// A reservation released by time.
    TwoPhaseExpired = 4,
}
