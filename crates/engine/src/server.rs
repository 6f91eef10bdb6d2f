//! An engine that serves a book: over TCP, through the door of its own process, or both.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::thread::JoinHandle;

use qenex_journal::derived::{Options as StoreOptions, SegmentError};
use qenex_journal::disk::{Disk, FileDisk, FileLock};
use qenex_journal::log::Options as JournalOptions;

use crate::credential::Credential;
use crate::engine::{Engine, Setup};
use crate::error::{EngineError, caught};
use crate::limits::{Configuration, Limits};
use crate::recover::{self, OpenOptions};
use crate::runtime::{Core, Door, Parts, is_clock_synchronised, now};

/// What a server is started with.
#[derive(Debug)]
pub struct ServerConfig {
    /// The book's folder; made if it is not there.
    pub path: PathBuf,
    /// The book; `None` is whichever is there, or a new one.
    pub book: Option<[u8; 16]>,
    /// Where to listen; port 0 is any free one; `None` serves this process only.
    pub listen: Option<SocketAddr>,
    /// Those that open the book.
    pub credentials: Vec<Credential>,
    /// Limits that change no result.
    pub limits: Limits,
    /// Limits that do: journalled if they are not those in force.
    pub configuration: Configuration,
    /// The operator vouches for the wall clock.
    pub confirm_clock: bool,
    /// Readable (or closed) once the server shall stop: a pipe's end, or [`crate::stop_signals`].
    pub stop: Option<OwnedFd>,
    /// Sizes of the journal's files.
    pub journal: JournalOptions,
    /// Sizes of the ledger's segments.
    pub store: StoreOptions,
}

impl ServerConfig {
    /// A server of this book in this folder, without a socket or a credential yet, with the default limits.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, book: Option<[u8; 16]>) -> Self {
        Self {
            path: path.into(),
            book,
            listen: None,
            credentials: Vec::new(),
            limits: Limits::default(),
            configuration: Configuration::default(),
            confirm_clock: false,
            stop: None,
            journal: JournalOptions::default(),
            store: StoreOptions::default(),
        }
    }
}

/// A server that runs, in threads of its own. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    address: Option<SocketAddr>,
    notes: Vec<String>,
    door: Door,
    thread: Option<JoinHandle<Result<(), EngineError>>>,
}

impl Server {
    /// Opens the book (after a crash: recovers it) and serves it.
    ///
    /// # Errors
    /// [`EngineError`], for example that another process has the book, or that its journal is damaged.
    pub fn start(config: ServerConfig) -> Result<Self, EngineError> {
        Self::start_telling(config, |_, _| Ok(()))
    }

    /// Starts as [`Server::start`] does, and tells `progress` how many of the journal's entries are replayed, and of how
    /// many.
    ///
    /// # Errors
    /// As [`Server::start`], or what `progress` returned; then the book is as it was.
    pub fn start_telling(
        config: ServerConfig,
        progress: impl FnMut(u64, u64) -> Result<(), EngineError>,
    ) -> Result<Self, EngineError> {
        let ready = Ready::open(config, progress)?;
        let (address, notes, door) = (ready.address, ready.notes.clone(), ready.door.clone());
        let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(move || ready.run());
        let thread = thread.map_err(|source| EngineError::io("start the engine thread", source))?;
        Ok(Self { address, notes, door, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// What somebody who runs the book should know of how it was found, a line each; usually nothing.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The way in from this process.
    #[must_use]
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// Asks it to finish what it has accepted, and to end.
    pub fn stop(&self) {
        self.door.stop();
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// [`EngineError`] if it did not end cleanly. A panic of its thread is one too.
    pub fn wait(mut self) -> Result<(), EngineError> {
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(panic)) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
                Err(EngineError::Stopped(text.to_owned()))
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.stop();
            // Whoever wants to know how it ended calls `wait`.
            _ = thread.join();
        }
    }
}

/// A book that is open, and whose engine does not run yet.
pub(crate) struct Ready {
    core: Core<FileDisk>,
    pub(crate) door: Door,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) notes: Vec<String>,
    lock: FileLock,
}

impl Ready {
    /// Opens it, after a crash by recovering it.
    pub(crate) fn open(
        config: ServerConfig,
        progress: impl FnMut(u64, u64) -> Result<(), EngineError>,
    ) -> Result<Self, EngineError> {
        let disk = FileDisk::new(&config.path)?;
        let lock = disk.lock()?;
        let now = now();
        let clock_trusted = config.confirm_clock || is_clock_synchronised();
        let options = OpenOptions {
            book: config.book,
            incarnation: random_bytes()?,
            writer: random_bytes()?,
            now,
            clock_trusted,
            journal: config.journal,
            store: config.store,
        };
        let mut opened = recover::open_telling(&disk, &options, progress)?;
        opened.state.store_mut().warm();
        let header = *opened.journal.header();
        let notes = opened.notes();
        let engine = Engine::new(Setup {
            state: opened.state,
            tip: opened.tip,
            reserve: opened.journal.reserve(),
            book: header.book,
            incarnation: header.incarnation,
            journal: header.journal,
            group_bytes_max: config.journal.group_bytes_max,
            limits: config.limits,
            configuration: config.configuration,
            credentials: config.credentials,
            nonce_key: random_bytes()?,
            now,
            clock_trusted,
        });
        let parts = Parts { engine, disk, journal: opened.journal, listen: config.listen, stop: config.stop };
        let (core, door, address) = Core::new(parts)?;
        Ok(Self { core, door, address, notes, lock })
    }

    /// Serves until it is asked to stop, and everything accepted is answered.
    pub(crate) fn run(self) -> Result<(), EngineError> {
        let Self { core, lock, .. } = self;
        // The next start makes good what is damaged, so that this engine is no more than stopped.
        let result = caught(|| core.run()).map_err(|error| match error {
            EngineError::Segment(error @ SegmentError::Damaged { .. }) => {
                EngineError::Stopped(format!("{error}, which the next start does"))
            }
            error => error,
        });
        drop(lock);
        result
    }
}

/// Serves until the configured descriptor says stop; `ready` is told the address once it answers.
///
/// # Errors
/// [`EngineError`] if it could not start or did not end cleanly.
pub fn run(config: ServerConfig, ready: impl FnOnce(Option<SocketAddr>)) -> Result<(), EngineError> {
    let server = Server::start(config)?;
    ready(server.address());
    server.wait()
}

/// Random bytes from the system.
///
/// # Errors
/// If the system has none.
pub fn random_bytes<const COUNT: usize>() -> Result<[u8; COUNT], EngineError> {
    let mut bytes = [0; COUNT];
    let read = |into: &mut [u8]| -> io::Result<()> { std::fs::File::open("/dev/urandom")?.read_exact(into) };
    read(&mut bytes).map_err(|source| EngineError::io("read random bytes", source))?;
    Ok(bytes)
}
