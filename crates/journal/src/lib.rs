//! The journal and what lies beside it on disk.
//!
//! [`disk`] is the seam to bytes and sectors. [`derived`] is the kernel's store over what follows from the journal.

pub mod derived;
pub mod disk;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("journals are longer than a 32-bit machine can address");
