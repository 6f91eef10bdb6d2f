//! The engine that owns a book, in threads of this process.

use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{BorrowedFd, IntoRawFd};
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use qenex_engine::EngineError;
use qenex_engine::credential::Credential;
use qenex_engine::limits::{Configuration, Limits};
use qenex_engine::server::{Server, ServerConfig};
use qenex_journal::log::JournalError;

use crate::convert;
use crate::progress::Progress;

/// Serves a book: to whoever connects to its address, if it has one, and to this process.
#[pyclass(frozen, module = "qenex.kernel._native")]
#[derive(Debug)]
pub(crate) struct Engine {
    path: String,
    address: Option<SocketAddr>,
    notes: Vec<String>,
    /// The process that started it: a fork has none of its threads.
    process: u32,
    server: Mutex<Option<Server>>,
}

#[pymethods]
impl Engine {
    /// Opens the book in the folder `path` (after a crash: recovers it) and serves it. `book` is its id, 32 hexadecimal
    /// digits; None takes whichever is there, or makes one. `address` is a host and a port to listen on, port 0 any free one; None serves this process only. Once
    /// `stop_fd` becomes readable the engine stops as `stop` does. `progress` gets entries replayed and entries to replay;
    /// what it raises ends the start, and leaves the book as it was.
    #[new]
    #[pyo3(signature = (*, path, book, owner_token, address, sessions_max, connections_max, window_requests, window_bytes,
                        confirm_clock, stop_fd, progress))]
    #[allow(clippy::too_many_arguments)] // named ones, in Python
    fn new(
        py: Python<'_>,
        path: String,
        book: Option<&str>,
        owner_token: &str,
        address: Option<(String, u16)>,
        sessions_max: u32,
        connections_max: u32,
        window_requests: u32,
        window_bytes: u32,
        confirm_clock: bool,
        stop_fd: Option<i32>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let book = book.map(|digits| {
            let wrong =
                |_| convert::error(py, "InvalidHome", format!("{digits} is no book: 32 hexadecimal digits are"));
            u128::from_str_radix(digits, 16).map(u128::to_be_bytes).map_err(wrong)
        });
        let mut config = ServerConfig::new(&path, book.transpose()?);
        config.listen = address.map(|(host, port)| resolve(py, &host, port)).transpose()?;
        config.credentials = vec![Credential::owner(owner_token.as_bytes())];
        config.configuration = Configuration::new(sessions_max);
        config.limits = Limits { connections_max, window_requests, window_bytes, ..Limits::default() };
        config.confirm_clock = confirm_clock;
        config.stop = stop_fd.map(duplicate).transpose()?;
        let mut progress = Progress::new(progress);
        let started = py.detach(|| Server::start_telling(config, |applied, of| progress.tell((applied, of))));
        let server = started.map_err(|error| progress.error(py, &path, &error))?;
        let (address, notes, process) = (server.address(), server.notes().to_vec(), std::process::id());
        Ok(Self { path, address, notes, process, server: Mutex::new(Some(server)) })
    }

    /// Host and port that it listens on.
    #[getter]
    fn address(&self) -> Option<(String, u16)> {
        self.address.map(|address| (address.ip().to_string(), address.port()))
    }

    /// What somebody who runs the book should know of how it was found, a line each; usually nothing.
    #[getter]
    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    /// A new connection from this process: the descriptor of a connected stream socket, the caller's to close.
    fn connect(&self, py: Python<'_>) -> PyResult<i32> {
        self.door(py)?.connect().map(IntoRawFd::into_raw_fd).map_err(|error| raised(py, &self.path, &error))
    }

    /// Asks it to finish what it has accepted, and to end. Does not wait.
    fn stop(&self, py: Python<'_>) {
        // An engine that has ended needs no word.
        if let Ok(door) = self.door(py) {
            door.stop();
        }
    }

    /// Waits until it has ended; raises what ended it, if it was not asked to. Once only: later calls return at once.
    fn wait(&self, py: Python<'_>) -> PyResult<()> {
        let server = py.detach(|| self.server.lock().unwrap_or_else(PoisonError::into_inner).take());
        match server {
            Some(server) if self.is_ours() => {
                py.detach(|| server.wait()).map_err(|error| raised(py, &self.path, &error))
            }
            Some(forked) => {
                core::mem::forget(forked);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Engine {
    fn is_ours(&self) -> bool {
        std::process::id() == self.process
    }

    fn door(&self, py: Python<'_>) -> PyResult<qenex_engine::Door> {
        let closed = |text: &str| convert::error(py, "ClientClosed", text.to_owned());
        if !self.is_ours() {
            return Err(closed("The engine runs in the process that was forked; it cannot be used from here."));
        }
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.as_ref().map(Server::door).ok_or_else(|| closed("The engine was stopped."))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let server = self.server.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if self.is_ours() {
            Python::attach(|py| py.detach(|| drop(server)));
        } else {
            // Its threads are in the process that was forked.
            core::mem::forget(server);
        }
    }
}

/// The first address that a host's name and a port stand for.
pub(crate) fn resolve(py: Python<'_>, host: &str, port: u16) -> PyResult<SocketAddr> {
    let invalid = |text: String| convert::error_with(py, "AddressInvalid", (host, text));
    let mut found = (host, port).to_socket_addrs().map_err(|error| invalid(error.to_string()))?;
    found.next().ok_or_else(|| invalid("the name has no address".to_owned()))
}

/// A descriptor of our own for what the caller's stands for.
pub(crate) fn duplicate(descriptor: i32) -> PyResult<std::os::fd::OwnedFd> {
    if descriptor < 0 {
        return Err(std::io::Error::from(std::io::ErrorKind::InvalidInput).into());
    }
    // SAFETY: the caller's descriptor is open during this call, or the system says that it is not.
    #[allow(unsafe_code)]
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    Ok(borrowed.try_clone_to_owned()?)
}

/// What ended an engine, or kept it from starting, as the error of `qenex.errors` that stands for it.
pub(crate) fn raised(py: Python<'_>, path: &str, error: &EngineError) -> PyErr {
    let storage = |name: &str| convert::error_with(py, name, (path, error.to_string()));
    match error {
        EngineError::Listen { address, source } if source.kind() == std::io::ErrorKind::AddrInUse => {
            convert::error_with(py, "AddressInUse", (address.ip().to_string(), address.port(), "--binary-port"))
        }
        EngineError::Listen { address, source } => {
            convert::error_with(py, "AddressInvalid", (address.ip().to_string(), source.to_string()))
        }
        EngineError::Fenced { .. } => storage("BookLocked"),
        error if error.is_locked() => storage("BookLocked"),
        error if error.is_full() => convert::error(py, "StorageFull", error.to_string()),
        EngineError::Disk(_) | EngineError::Sync(_) => storage("StorageFailed"),
        EngineError::Journal(JournalError::Backup(_)) => storage("BackupUnusable"),
        EngineError::Journal(JournalError::Missing) => storage("BookMissing"),
        EngineError::Journal(_) | EngineError::Segment(_) | EngineError::Apply(_) | EngineError::WrongBook { .. } => {
            storage("BookDamaged")
        }
        EngineError::Io { .. } | EngineError::Stopped(_) => convert::error(py, "OperationFailed", error.to_string()),
    }
}
