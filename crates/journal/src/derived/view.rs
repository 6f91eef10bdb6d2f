//! What can be read of a segment, wherever it is: in memory or in a sealed file.

use qenex_kernel::row::Transfer;

use super::field::Field;
use super::postings::Postings;
use super::row_table::Place;
use super::segment::{Balances, Burned, EntryRow, Exception, Expiry, Sides};

/// One segment, to read. Rows and indexes passed are below the counts it tells.
pub(crate) trait View {
    /// How many transfers.
    fn rows(&self) -> u32;
    /// Timestamp of the newest transfer, 0 without any.
    fn last_timestamp(&self) -> u64;
    /// The row of the first transfer at or after `timestamp`.
    fn first_at_or_after(&self, timestamp: u64) -> u32;
    /// A transfer as recorded.
    fn transfer(&self, row: u32) -> Transfer;
    /// Its accounts.
    fn sides(&self, row: u32) -> Sides;
    /// The balances after it.
    fn balances(&self, row: u32) -> Balances;
    /// Has the index of a field take in so many rows more, if it is made on demand; true once it has all.
    fn make_index(&self, _field: Field, _rows: u32) -> bool {
        true
    }
    /// The rows under a key; makes the index if need be.
    fn postings(&self, field: Field, key: u64) -> Box<dyn Postings + '_>;

    /// How many expiries.
    fn expiries(&self) -> u32;
    /// Timestamp of the newest expiry, 0 without any.
    fn last_expiry_timestamp(&self) -> u64;
    /// Index of the first expiry at or after `timestamp`.
    fn first_expiry_at_or_after(&self, timestamp: u64) -> u32;
    /// An expiry.
    fn expiry(&self, index: u32) -> Expiry;
    /// The balances after it.
    fn expiry_balances(&self, index: u32) -> Balances;
    /// As [`View::make_index`], for the expiries.
    fn make_expiry_index(&self, _expiries: u32) -> bool {
        true
    }
    /// The expiries that touched an account.
    fn expiry_postings(&self, slot: u32) -> Box<dyn Postings + '_>;

    /// The transfer, or the burned id, with this id.
    fn find(&self, id: u128) -> Option<Place>;
    /// A burned id.
    fn burned(&self, index: u32) -> Burned;
    /// The transfer, or the expiry, that resolved the pending transfer with this id.
    fn resolution(&self, pending_id: u128) -> Option<Place>;

    /// An entry by its number.
    fn entry(&self, number: u64) -> Option<EntryRow>;
    /// A result that is not plain.
    fn exception(&self, index: u32) -> Exception;
}
