//! TLS before HTTP and the binary protocol: TLS 1.3 only, key exchange that a quantum computer does not break where the
//! client can do it, client certificates. It ends TLS and passes the bytes on, over Unix sockets that only the owner of
//! the home can open; before them goes who is at the other end (`qenex_proxy`). It knows nothing of what it passes on.
#![forbid(unsafe_code)]

mod connection;
mod error;
mod files;
mod handshakes;
mod server;

pub use error::FrontError;
pub use files::{ClientAuthority, Files};
pub use server::{Door, Front, FrontConfig, Limits, Tell};
