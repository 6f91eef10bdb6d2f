//! The engines that run: started, handed connections, stopped; no more at a time than allowed.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::file::BookId;
use super::run::{Message, Sender};
use crate::clock::SECOND_NS;
use crate::credential::Credential;
use crate::error::EngineError;
use crate::runtime::{Door, Load, Peer};
use crate::server::{Ready, ServerConfig};

/// How long a book whose engine failed is left alone, at first and at most.
const PAUSE_NS: u64 = SECOND_NS / 4;
const PAUSE_MAX_NS: u64 = 60 * SECOND_NS;

/// What ends the recovery of a book that nobody wants any more.
const CALLED_OFF: &str = "it was called off";

/// How far an engine is.
enum Stage {
    /// It recovers its book; `true` calls that off.
    Opening(Arc<AtomicBool>),
    /// It serves.
    Open(Door, Arc<Load>),
    /// It was asked to end.
    Closing,
}

/// Whose engine failed.
struct Failed {
    until_ns: u64,
    pause_ns: u64,
}

/// See the module.
pub(super) struct Running {
    stages: BTreeMap<BookId, Stage>,
    failed: BTreeMap<BookId, Failed>,
    /// Books that wait for others to end, in order.
    wanted: VecDeque<BookId>,
    most: usize,
    /// Never stopped before the end.
    home: BookId,
    sender: Sender,
}

/// What to say to those who wait for a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chance {
    /// It will be open.
    Soon,
    /// As many as may be are in use.
    Full,
    /// Its engine failed a moment ago.
    Failed,
}

impl Running {
    pub(super) fn new(most: usize, home: BookId, sender: Sender) -> Self {
        let (stages, failed, wanted) = (BTreeMap::new(), BTreeMap::new(), VecDeque::new());
        Self { stages, failed, wanted, most, home, sender }
    }

    /// Whether a book's engine serves.
    pub(super) fn is_open(&self, book: &BookId) -> bool {
        matches!(self.stages.get(book), Some(Stage::Open(..)))
    }

    /// Whether a book's engine is there, however far it is.
    pub(super) fn is_running(&self, book: &BookId) -> bool {
        self.stages.contains_key(book)
    }

    /// Whether none runs any more.
    pub(super) fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// An engine of a book that is open already.
    pub(super) fn begin(&mut self, ready: Ready, book: BookId, now_ns: u64) -> Result<(), EngineError> {
        self.stages.insert(book, Stage::Open(ready.door.clone(), Load::idle_since(now_ns)));
        let sender = self.sender.clone();
        spawn(&book, move || sender.say(Message::Ended(book, ended(|| ready.run()))))
    }

    /// Hands a connection to the engine of a book that is open. A connection to one that just fails is lost.
    pub(super) fn hand(&self, book: &BookId, mut peer: Peer) {
        if let Some(Stage::Open(door, load)) = self.stages.get(book) {
            peer.count_in(load);
            _ = door.adopt(peer);
        }
    }

    /// Somebody waits for a book that is not open: it stands in line from here on, unless none will end to make room for it.
    /// Those at the front can be opened: [`Running::next_wanted`].
    pub(super) fn want(&mut self, book: &BookId, now_ns: u64) -> Chance {
        if self.failed.get(book).is_some_and(|failed| now_ns < failed.until_ns) {
            return Chance::Failed;
        }
        if self.stages.contains_key(book) {
            // If it is ending, it is wanted again once it has.
            return Chance::Soon;
        }
        if !self.wanted.contains(book) {
            self.wanted.push_back(*book);
        }
        if self.make_room() {
            return Chance::Soon;
        }
        self.wanted.retain(|wanted| wanted != book);
        Chance::Full
    }

    /// Stops engines that nobody is connected to, those unused longest, until there will be room for all that stand in line.
    fn make_room(&mut self) -> bool {
        let ending = self.stages.values().filter(|stage| matches!(stage, Stage::Closing)).count();
        let room = self.most.saturating_sub(self.stages.len()) + ending;
        (room..self.wanted.len()).all(|_| {
            let idle = self.stages.iter().filter_map(|(book, stage)| match stage {
                Stage::Open(_, load) if *book != self.home => load.idle_since_ns().map(|since_ns| (since_ns, *book)),
                _ => None,
            });
            idle.min().is_some_and(|(_, book)| {
                self.close(&book);
                true
            })
        })
    }

    /// The next book to open, if there is room for one.
    pub(super) fn next_wanted(&mut self) -> Option<BookId> {
        if self.stages.len() < self.most { self.wanted.pop_front() } else { None }
    }

    /// Starts the engine of a book, as told.
    pub(super) fn open(&mut self, book: BookId, config: ServerConfig) {
        let (sender, called_off) = (self.sender.clone(), Arc::new(AtomicBool::new(false)));
        self.stages.insert(book, Stage::Opening(Arc::clone(&called_off)));
        let progress = move |_, _| {
            let ends = called_off.load(Ordering::Acquire);
            if ends { Err(EngineError::Stopped(CALLED_OFF.to_owned())) } else { Ok(()) }
        };
        let run = move || {
            let result = ended(|| {
                let ready = Ready::open(config, progress)?;
                sender.say(Message::Opened(book, ready.door.clone(), ready.notes.clone()));
                ready.run()
            });
            sender.say(Message::Ended(book, result));
        };
        if let Err(error) = spawn(&book, run) {
            self.sender.say(Message::Ended(book, Err(error)));
        }
    }

    /// An engine serves. False if it was asked to end meanwhile.
    pub(super) fn opened(&mut self, book: BookId, door: Door, now_ns: u64) -> bool {
        self.failed.remove(&book);
        if let Some(stage @ Stage::Opening(_)) = self.stages.get_mut(&book) {
            *stage = Stage::Open(door, Load::idle_since(now_ns));
            return true;
        }
        door.stop();
        false
    }

    /// Whether that is how an engine ends that was asked to while it recovered its book.
    pub(super) fn was_called_off(result: &Result<(), EngineError>) -> bool {
        matches!(result, Err(EngineError::Stopped(why)) if why == CALLED_OFF)
    }

    /// An engine has ended. One that failed is left alone for a while.
    pub(super) fn ended(&mut self, book: &BookId, is_failed: bool, now_ns: u64) {
        self.stages.remove(book);
        if is_failed {
            let pause_ns = self.failed.get(book).map_or(PAUSE_NS, |before| (2 * before.pause_ns).min(PAUSE_MAX_NS));
            self.failed.insert(*book, Failed { until_ns: now_ns + pause_ns, pause_ns });
        }
    }

    /// Asks a book's engine to end.
    pub(super) fn close(&mut self, book: &BookId) {
        self.wanted.retain(|wanted| wanted != book);
        let Some(stage) = self.stages.get_mut(book) else { return };
        match stage {
            Stage::Opening(called_off) => called_off.store(true, Ordering::Release),
            Stage::Open(door, _) => door.stop(),
            Stage::Closing => {}
        }
        *stage = Stage::Closing;
    }

    /// Asks all to end.
    pub(super) fn close_all(&mut self) {
        self.wanted.clear();
        for book in self.stages.keys().copied().collect::<Vec<_>>() {
            self.close(&book);
        }
    }

    /// Asks those to end that nobody has been connected to for so long.
    pub(super) fn close_idle(&mut self, idle_ns: u64, now_ns: u64) {
        let is_idle = |stage: &Stage| match stage {
            Stage::Open(_, load) => load.idle_since_ns().is_some_and(|since_ns| since_ns + idle_ns <= now_ns),
            Stage::Opening(_) | Stage::Closing => false,
        };
        let idle = self.stages.iter().filter(|(book, stage)| **book != self.home && is_idle(stage));
        for book in idle.map(|(book, _)| *book).collect::<Vec<_>>() {
            self.close(&book);
        }
    }

    /// The credentials of a book have changed.
    pub(super) fn set_credentials(&self, book: &BookId, credentials: Vec<Credential>) {
        if let Some(Stage::Open(door, _)) = self.stages.get(book) {
            door.set_credentials(credentials);
        }
    }
}

fn spawn(book: &BookId, run: impl FnOnce() + Send + 'static) -> Result<(), EngineError> {
    // A thread's name has 15 characters at most.
    let name = format!("book {:02x}{:02x}{:02x}{:02x}", book[0], book[1], book[2], book[3]);
    let thread = std::thread::Builder::new().name(name).spawn(run);
    thread.map(drop).map_err(|source| EngineError::io("start the thread of a book", source))
}

/// A panic of a book's engine ends that engine, and no other.
fn ended(run: impl FnOnce() -> Result<(), EngineError>) -> Result<(), EngineError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
        Err(EngineError::Stopped(text.to_owned()))
    })
}
