//! The way into an engine of the same process: frames without a socket.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use mio::Waker;

use crate::engine::ConnectionId;
use crate::error::EngineError;
use crate::frame::Frame;

/// Connections of this kind have numbers from here on; sockets have lower ones.
pub(super) const FIRST: ConnectionId = 1 << 63;

/// What comes in.
#[derive(Debug)]
pub(super) enum Message {
    /// A new connection.
    Open(ConnectionId),
    /// A whole frame, and who waits for what answers it.
    Frame { connection: ConnectionId, bytes: Vec<u8>, answer: Sender<Frame> },
    /// The connection is over.
    Close(ConnectionId),
    /// Finish what was accepted, then end.
    Stop,
}

/// Lets other threads of the process speak with the engine. Clones are the same door.
#[derive(Clone, Debug)]
pub struct Door {
    sender: Sender<Message>,
    waker: Arc<Waker>,
    next: Arc<AtomicU64>,
}

pub(super) fn pair(waker: Arc<Waker>) -> (Door, Receiver<Message>) {
    let (sender, receiver) = channel();
    (Door { sender, waker, next: Arc::new(AtomicU64::new(FIRST)) }, receiver)
}

fn gone() -> EngineError {
    EngineError::Stopped("the engine has stopped".to_owned())
}

impl Door {
    fn say(&self, message: Message) -> Result<(), EngineError> {
        self.sender.send(message).map_err(|_| gone())?;
        self.waker.wake().map_err(|source| EngineError::io("wake the engine", source))
    }

    /// A new connection.
    ///
    /// # Errors
    /// [`EngineError::Stopped`].
    pub fn open(&self) -> Result<ConnectionId, EngineError> {
        let connection = self.next.fetch_add(1, Ordering::Relaxed);
        self.say(Message::Open(connection))?;
        Ok(connection)
    }

    /// Hands in a whole frame: a hello, or a request. What answers it (by its number; a hello has 0) comes out of
    /// the returned receiver, which ends without an answer if the engine stops before.
    ///
    /// # Errors
    /// [`EngineError::Stopped`].
    pub fn submit(&self, connection: ConnectionId, bytes: Vec<u8>) -> Result<Receiver<Frame>, EngineError> {
        let (answer, receiver) = channel();
        self.say(Message::Frame { connection, bytes, answer })?;
        Ok(receiver)
    }

    /// Ends a connection.
    pub fn close(&self, connection: ConnectionId) {
        // If the engine is gone, so is the connection.
        _ = self.say(Message::Close(connection));
    }

    /// Asks the engine to finish what it has accepted, and to end.
    pub fn stop(&self) {
        // If the engine is gone, it has ended.
        _ = self.say(Message::Stop);
    }
}

/// Who waits for which answer.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    answers: BTreeMap<(ConnectionId, u64), Sender<Frame>>,
}

impl Waiting {
    pub(super) fn expect(&mut self, connection: ConnectionId, request: u64, answer: Sender<Frame>) {
        self.answers.insert((connection, request), answer);
    }

    pub(super) fn answer(&mut self, connection: ConnectionId, frame: Frame) {
        if let Some(answer) = self.answers.remove(&(connection, frame.header().request)) {
            // Whoever waited may have gone away.
            _ = answer.send(frame);
        }
    }

    pub(super) fn close(&mut self, connection: ConnectionId) {
        self.answers.retain(|(other, _), _| *other != connection);
    }
}
