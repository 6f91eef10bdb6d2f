//! The engine that owns a book, in threads of this process.

use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{BorrowedFd, IntoRawFd};
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use qenex_engine::EngineError;
use qenex_engine::clock::SECOND_NS;
use qenex_engine::credential::Credential;
use qenex_engine::host::{Host, HostConfig};
use qenex_engine::limits::{Configuration, Limits};
use qenex_engine::server::{Server, ServerConfig};
use qenex_journal::log::JournalError;

use crate::convert;
use crate::progress::Progress;

/// Serves a book to this process, or many books to whoever connects to its address.
#[pyclass(frozen, module = "qenex.kernel._native")]
#[derive(Debug)]
pub(crate) struct Engine {
    path: String,
    address: Option<SocketAddr>,
    notes: Vec<String>,
    /// The home's own book, if there are many; 32 hexadecimal digits.
    home: Option<String>,
    /// The process that started it: a fork has none of its threads.
    process: u32,
    serving: Mutex<Option<Serving>>,
}

/// What runs.
#[derive(Debug)]
enum Serving {
    Book(Server),
    Books(Host),
}

impl Serving {
    fn stop(&self) {
        match self {
            Self::Book(server) => server.stop(),
            Self::Books(host) => host.stop(),
        }
    }

    fn wait(self) -> Result<(), EngineError> {
        match self {
            Self::Book(server) => server.wait(),
            Self::Books(host) => host.wait(),
        }
    }
}

#[pymethods]
impl Engine {
    /// Opens the book in the folder `path` (after a crash: recovers it), or makes one, and serves it to this process. Or, with
    /// a `system_token`, serves all books in the folder `path`, each in a folder of its own, at `address`: a host and a port,
    /// 0 is any free one, and on the Unix socket `behind_front`, where the TLS front says who a client is. The credential `owner_token` opens the book, of many the home's own. `books_open_max` books are open
    /// at a time; one that nobody was connected to for `book_idle_s` seconds is closed. Once `stop_fd` becomes readable the engine
    /// stops as `stop` does. `progress` gets entries replayed and entries to replay; what it raises ends the start, and leaves
    /// the book as it was.
    #[new]
    #[pyo3(signature = (*, path, owner_token, system_token, address, behind_front, sessions_max, connections_max,
                        window_requests, window_bytes, books_open_max, book_idle_s, confirm_clock, stop_fd, progress))]
    #[allow(clippy::too_many_arguments)] // named ones, in Python
    fn new(
        py: Python<'_>,
        path: String,
        owner_token: &str,
        system_token: Option<&str>,
        address: Option<(String, u16)>,
        behind_front: Option<String>,
        sessions_max: u32,
        connections_max: u32,
        window_requests: u32,
        window_bytes: u32,
        books_open_max: usize,
        book_idle_s: u64,
        confirm_clock: bool,
        stop_fd: Option<i32>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let listen = address.map(|(host, port)| resolve(py, &host, port)).transpose()?;
        let stop = stop_fd.map(duplicate).transpose()?;
        let owner = Credential::owner(owner_token.as_bytes());
        let configuration = Configuration::new(sessions_max);
        let limits = Limits { connections_max, window_requests, window_bytes, ..Limits::default() };
        let mut progress = Progress::new(progress);
        let process = std::process::id();
        let (Some(system_token), Some(listen)) = (system_token, listen) else {
            let mut config = ServerConfig::new(&path, None);
            config.credentials = vec![owner];
            (config.configuration, config.limits) = (configuration, limits);
            (config.confirm_clock, config.stop, config.listen) = (confirm_clock, stop, listen);
            let started = py.detach(|| Server::start_telling(config, |applied, of| progress.tell((applied, of))));
            let server = started.map_err(|error| progress.error(py, &path, &error))?;
            let (address, notes) = (server.address(), server.notes().to_vec());
            let serving = Mutex::new(Some(Serving::Book(server)));
            return Ok(Self { path, address, notes, home: None, process, serving });
        };
        let mut config = HostConfig::new(&path, listen, owner, Credential::owner(system_token.as_bytes()));
        (config.configuration, config.limits) = (configuration, limits);
        (config.confirm_clock, config.stop) = (confirm_clock, stop);
        config.behind_front = behind_front.map(Into::into);
        config.books_open_max = books_open_max;
        config.idle_ns = book_idle_s.saturating_mul(SECOND_NS);
        config.tell = Box::new(|note| eprintln!("engine: {note}"));
        let started = py.detach(|| Host::start_telling(config, |applied, of| progress.tell((applied, of))));
        let host = started.map_err(|error| progress.error(py, &path, &error))?;
        let (address, notes) = (Some(host.address()), host.notes().to_vec());
        let home = Some(format!("{:032x}", u128::from_be_bytes(*host.home())));
        Ok(Self { path, address, notes, home, process, serving: Mutex::new(Some(Serving::Books(host))) })
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

    /// The home's own book, 32 hexadecimal digits; None if only one is served.
    #[getter]
    fn home(&self) -> Option<String> {
        self.home.clone()
    }

    /// A new connection from this process, to a book that is served alone: the descriptor of a connected stream socket, the caller's to close.
    fn connect(&self, py: Python<'_>) -> PyResult<i32> {
        let door = self.with(py, |serving| match serving {
            Serving::Book(server) => Some(server.door()),
            Serving::Books(_) => None,
        })?;
        let door =
            door.ok_or_else(|| convert::error(py, "ClientClosed", "Many books are served over TCP only.".to_owned()))?;
        door.connect().map(IntoRawFd::into_raw_fd).map_err(|error| raised(py, &self.path, &error))
    }

    /// Asks it to finish what it has accepted, and to end. Does not wait.
    fn stop(&self, py: Python<'_>) {
        // An engine that has ended needs no word.
        _ = self.with(py, Serving::stop);
    }

    /// Waits until it has ended; raises what ended it, if it was not asked to. Once only: later calls return at once.
    fn wait(&self, py: Python<'_>) -> PyResult<()> {
        let serving = py.detach(|| self.serving.lock().unwrap_or_else(PoisonError::into_inner).take());
        match serving {
            Some(serving) if self.is_ours() => {
                py.detach(|| serving.wait()).map_err(|error| raised(py, &self.path, &error))
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

    fn with<T>(&self, py: Python<'_>, run: impl FnOnce(&Serving) -> T) -> PyResult<T> {
        let closed = |text: &str| convert::error(py, "ClientClosed", text.to_owned());
        if !self.is_ours() {
            return Err(closed("The engine runs in the process that was forked; it cannot be used from here."));
        }
        let serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        serving.as_ref().map(run).ok_or_else(|| closed("The engine was stopped."))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let serving = self.serving.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if self.is_ours() {
            Python::attach(|py| py.detach(|| drop(serving)));
        } else {
            // Its threads are in the process that was forked.
            core::mem::forget(serving);
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
    if let EngineError::Book { path, error } = error {
        return raised(py, path, error);
    }
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
        EngineError::Books { path, what } => convert::error(py, "InvalidHome", format!("{path}: {what}")),
        EngineError::Book { .. } | EngineError::Io { .. } | EngineError::Stopped(_) => {
            convert::error(py, "OperationFailed", error.to_string())
        }
    }
}
