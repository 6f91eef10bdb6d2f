//! The engine: one book, its kernel and its journal, behind a binary protocol or inside a process.
//!
//! - [`frame`]: the codec of `spec/protocol.md`, for both sides;
//! - [`engine`]: what happens, as a state machine without sockets, clocks or threads;
//! - [`state`], [`sessions`]: what follows from the journal;
//! - [`host`]: many books served behind one address, each by an engine of its own;
//! - [`server`]: a book served over TCP and to its own process, [`client`]: who asks it;
//! - [`recover`]: from what is on disk to a state that can go on, [`verify`]: whether what is there is right.
//!
//! A server in a few lines (`run` returns when `stop` becomes readable, see [`server::ServerConfig`]):
//!
//! ```no_run
//! use qenex_engine::credential::Credential;
//! use qenex_engine::server::{ServerConfig, run};
//!
//! let mut config = ServerConfig::new("/var/lib/qenex/books/0123", None);
//! config.listen = Some("127.0.0.1:7400".parse()?);
//! config.credentials = vec![Credential::owner(b"the owner's secret")];
//! config.stop = Some(qenex_engine::stop_signals()?);
//! run(config, |address| println!("serving at {address:?}"))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod client;
pub mod clock;
pub mod credential;
pub mod engine;
mod error;
pub mod frame;
pub mod host;
pub mod ids;
pub mod limits;
pub mod metrics;
pub mod recover;
mod runtime;
pub mod server;
pub mod sessions;
pub mod state;
pub mod verify;

pub use error::EngineError;
pub use runtime::{Door, stop_signals};
