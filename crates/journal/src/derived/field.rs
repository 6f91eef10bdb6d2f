//! The fields that queries name, and the entries of their indexes.
//!
//! An entry is one number: 40 bits of key, then 24 bits of row. Sorted, it groups the rows of a key in order of time.
//! Keys that are wider are hashed to 40 bits, so a row found must still be compared with what was asked for.

use qenex_kernel::row::{Account, Transfer};

use super::hash::{Keys, prefix};
use super::segment::Sides;

/// Bits of an entry that are its row.
pub(crate) const ROW_BITS: u32 = 24;
/// The row of an entry.
pub(crate) const ROW_MASK: u64 = (1 << ROW_BITS) - 1;

/// What can be looked up in the rows of a segment, or (those after the first three) in the accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Field {
    Hash,
    DebitAccount,
    CreditAccount,
    UserData128,
    UserData64,
    UserData32,
    Ledger,
    Code,
}

impl Field {
    /// All, in the order of their numbers.
    pub(crate) const ALL: [Self; 8] = [
        Self::Hash,
        Self::DebitAccount,
        Self::CreditAccount,
        Self::UserData128,
        Self::UserData64,
        Self::UserData32,
        Self::Ledger,
        Self::Code,
    ];

    /// The key of a value of this field, at most 40 bits.
    pub(crate) fn key(self, keys: &Keys, value: u128) -> u64 {
        match self {
            Self::UserData128 | Self::UserData64 => prefix(keys.value(value)),
            _ => super::num::low64(value),
        }
    }

    /// The key of a transfer; `None` where the value is zero, which no query names.
    #[inline]
    pub(crate) fn key_of_transfer(self, keys: &Keys, transfer: &Transfer, sides: Sides) -> Option<u64> {
        let value = match self {
            Self::Hash => return Some(hash_key(&transfer.hash())),
            Self::DebitAccount => return Some(u64::from(sides.debit_slot())),
            Self::CreditAccount => return Some(u64::from(sides.credit_slot())),
            Self::UserData128 => transfer.user_data_128,
            Self::UserData64 => u128::from(transfer.user_data_64),
            Self::UserData32 => u128::from(transfer.user_data_32),
            Self::Ledger => u128::from(transfer.ledger),
            Self::Code => u128::from(transfer.code),
        };
        (value != 0).then(|| self.key(keys, value))
    }

    /// The key of an account; `None` where the value is zero or accounts have no such field.
    pub(crate) fn key_of_account(self, keys: &Keys, account: &Account) -> Option<u64> {
        let value = match self {
            Self::Hash | Self::DebitAccount | Self::CreditAccount => return None,
            Self::UserData128 => account.user_data_128,
            Self::UserData64 => u128::from(account.user_data_64),
            Self::UserData32 => u128::from(account.user_data_32),
            Self::Ledger => u128::from(account.ledger),
            Self::Code => u128::from(account.code),
        };
        (value != 0).then(|| self.key(keys, value))
    }
}

/// The key of a hash: its first 40 bits.
pub(crate) fn hash_key(hash: &[u8; 32]) -> u64 {
    hash[..5].iter().fold(0, |key, &byte| (key << 8) | u64::from(byte))
}

/// Puts an entry together.
#[inline]
pub(crate) fn entry(key: u64, row: u32) -> u64 {
    (key << ROW_BITS) | u64::from(row)
}

/// The row of an entry.
#[inline]
pub(crate) fn row_of(entry: u64) -> u32 {
    super::num::low32(entry & ROW_MASK)
}
