//! The ledger: a pure state machine over fixed-size rows.
//!
//! Three layers: rules (pure functions on rows: [`row`], [`status`]), [`store`] (where rows live),
//! and the machine (batches, chains, expiry, in the order of `spec/kernel.md`).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod row;
pub mod status;
pub mod store;
