//! Many books in one process, behind one address.
//!
//! A thread of its own accepts connections and reads their hello. The fingerprint in it says which book the credential is
//! of; that book's engine, a thread with everything that [`crate::server`] has but a listener, is handed the connection,
//! and asks for the proof. An engine is started when its book is asked for and stopped when nobody has been connected to it
//! for a while, so that a book that nobody uses costs a row in a table. Books are made, suspended and given credentials by
//! whoever has the credential of the system, which sees into none of them.

mod doors;
mod file;
mod folder;
mod guests;
mod run;
mod running;
mod system;
mod table;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::thread::JoinHandle;

use qenex_journal::derived::Options as StoreOptions;
use qenex_journal::log::Options as JournalOptions;

use crate::clock::SECOND_NS;
use crate::credential::Credential;
use crate::error::EngineError;
use crate::limits::{Configuration, Limits};
use crate::runtime::now;
use crate::server::{Ready, ServerConfig, random_bytes};

pub use file::BookId;
use run::{Hosting, Message, Sender};

/// What a host is started with.
pub struct HostConfig {
    /// The folder in which each book has one.
    pub folder: PathBuf,
    /// Where to listen; port 0 is any free one.
    pub listen: SocketAddr,
    /// A Unix socket to listen on too, made with mode 600: there the TLS front says who a client is before the client's first
    /// frame (`spec/proxy.md`).
    pub behind_front: Option<PathBuf>,
    /// Opens the home's own book.
    pub owner: Credential,
    /// Makes books.
    pub system: Credential,
    /// Limits of each book that change no result.
    pub limits: Limits,
    /// Limits that do.
    pub configuration: Configuration,
    /// Books whose engines run at a time.
    pub books_open_max: usize,
    /// How long nobody must have been connected to a book for its engine to be stopped.
    pub idle_ns: u64,
    /// The operator vouches for the wall clock.
    pub confirm_clock: bool,
    /// Readable (or closed) once the host shall stop.
    pub stop: Option<OwnedFd>,
    /// Sizes of the files of the home's own journal.
    pub journal_of_home: JournalOptions,
    /// Those of all others.
    pub journal: JournalOptions,
    /// Sizes of the ledgers' segments.
    pub store: StoreOptions,
    /// Is told what somebody who runs the books should know, a line each.
    pub tell: Box<dyn Fn(&str) + Send>,
}

impl HostConfig {
    /// A host of the books in this folder, with the default limits.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, listen: SocketAddr, owner: Credential, system: Credential) -> Self {
        Self {
            folder: folder.into(),
            listen,
            behind_front: None,
            owner,
            system,
            limits: Limits::default(),
            configuration: Configuration::default(),
            books_open_max: 64,
            idle_ns: 60 * SECOND_NS,
            confirm_clock: false,
            stop: None,
            journal_of_home: JournalOptions::default(),
            journal: JournalOptions::small(),
            store: StoreOptions::default(),
            tell: Box::new(|note| eprintln!("{note}")),
        }
    }

    /// How a book is served, but for the credentials that open it.
    fn of_book(&self, book: BookId) -> ServerConfig {
        ServerConfig {
            limits: self.limits,
            configuration: self.configuration,
            confirm_clock: self.confirm_clock,
            journal: self.journal,
            store: self.store,
            ..ServerConfig::new(folder::path_of(&self.folder, &book), Some(book))
        }
    }
}

/// A host that runs, in threads of its own. Dropping it stops it.
#[derive(Debug)]
pub struct Host {
    address: SocketAddr,
    home: BookId,
    notes: Vec<String>,
    sender: Sender,
    thread: Option<JoinHandle<Result<(), EngineError>>>,
}

impl Host {
    /// Opens the home's own book, and serves it and all others.
    ///
    /// # Errors
    /// [`EngineError`]: of the home's own book; that the address cannot be had; that the folder is not as it can be.
    pub fn start(config: HostConfig) -> Result<Self, EngineError> {
        Self::start_telling(config, |_, _| Ok(()))
    }

    /// Starts as [`Host::start`] does, and tells `progress` how many entries of the home's own journal are replayed, and of
    /// how many.
    ///
    /// # Errors
    /// As [`Host::start`], or what `progress` returned; then the book is as it was.
    pub fn start_telling(
        mut config: HostConfig,
        progress: impl FnMut(u64, u64) -> Result<(), EngineError>,
    ) -> Result<Self, EngineError> {
        let found = folder::scan(&config.folder, random_bytes()?, now().wall_ns)?;
        let home = found.home.book;
        let credentials = found.home.credentials().chain([config.owner]).collect();
        // Its lock is the lock of them all: it stays open for as long as the host runs.
        let path = folder::path_of(&config.folder, &home);
        let of_home = ServerConfig { credentials, journal: config.journal_of_home, ..config.of_book(home) };
        let ready = Ready::open(of_home, progress);
        let ready = ready.map_err(|error| error.of_book(&path))?;
        let mut notes = ready.notes.clone();
        notes.extend(found.notes.iter().cloned());
        if found.home_is_new
            && let Err(error) = folder::write(&config.folder, &found.home)
        {
            // It is the home's without that too. Perhaps the disk is full, and still everything can be read.
            notes.push(format!("the book's file of credentials was not written: {error}"));
        }
        for path in &found.half {
            folder::sweep(path)?;
            notes.push(format!("{}: was removed; a crash left it while a book was made", path.display()));
        }
        let stop = config.stop.take();
        let (hosting, sender, address) = Hosting::new(config, found, ready, stop)?;
        let thread = std::thread::Builder::new().name("host".to_owned()).spawn(move || hosting.run());
        let thread = thread.map_err(|source| EngineError::io("start the host thread", source))?;
        Ok(Self { address, home, notes, sender, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The home's own book.
    #[must_use]
    pub const fn home(&self) -> &BookId {
        &self.home
    }

    /// What somebody who runs the books should know of how they were found, a line each; usually nothing.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Asks all books to finish what they have accepted, and to end.
    pub fn stop(&self) {
        self.sender.say(Message::Stop);
    }

    /// Waits until all have ended.
    ///
    /// # Errors
    /// [`EngineError`] if the home's own book, or the host itself, did not end cleanly.
    pub fn wait(mut self) -> Result<(), EngineError> {
        let joined = self.thread.take().map_or(Ok(Ok(())), JoinHandle::join);
        joined.unwrap_or_else(|_| Err(EngineError::Stopped("the host panicked".to_owned())))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.stop();
            // Whoever wants to know how it ended calls `wait`.
            _ = thread.join();
        }
    }
}
