//! `qenex.kernel._native`: convert, call, convert. No rule of the ledger lives here.
//!
//! Rows come as `bytes` (the one copy of the input, made by the caller while it holds the GIL) and go as `bytearray`
//! (so that numpy can write to them). The GIL is released while the kernel works.

mod convert;
mod engine;
mod front;
mod ledger;
mod progress;
mod verify;

use pyo3::prelude::*;

/// Rows in, rows out: the Rust side of `qenex.kernel`, which is the door to use.
#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::engine::Engine;
    #[pymodule_export]
    use crate::front::Front;
    #[pymodule_export]
    use crate::ledger::Ledger;
    #[pymodule_export]
    use crate::verify::{restore_backup, verify_journal};
}
