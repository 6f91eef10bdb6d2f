//! The ledger: a pure state machine over fixed-size rows.
//!
//! Three layers: [`rules`] (pure functions on rows), [`store`] (where rows live), and the [`machine`] (requests,
//! chains, expiry, in the order of `spec/kernel.md`). [`memory`] is the plain store that faster ones are compared
//! with. No clock, no randomness, no float; the same calls lead to the same state, byte for byte.
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_lossless,
    clippy::cast_possible_wrap,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]

extern crate alloc;

pub mod filter;
pub mod machine;
pub mod memory;
pub mod row;
pub mod rules;
pub mod status;
pub mod store;
