//! The journal and what lies beside it on disk.
//!
//! [`disk`] is the seam to bytes and sectors, [`log`] the journal itself. [`derived`] is the kernel's store over what
//! follows from the journal, and [`checkpoint`] keeps its state so that a start need not replay everything.

pub mod checkpoint;
pub mod derived;
pub mod disk;
mod huge;
pub mod log;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("journals are longer than a 32-bit machine can address");
