//! The way into an engine from its own process: connections without a port, and the word to stop.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use mio::Waker;

use super::peer::Peer;
use crate::credential::Credential;
use crate::error::EngineError;

/// What comes in.
pub(super) enum Message {
    /// The engine's end of a new connection.
    Connect(UnixStream),
    /// A connection that has said hello elsewhere.
    Adopt(Box<Peer>),
    /// Those that open the book from here on.
    Credentials(Vec<Credential>),
    /// Finish what was accepted, then end.
    Stop,
}

/// Lets other threads of the process speak with the engine. Clones are the same door.
#[derive(Clone, Debug)]
pub struct Door {
    sender: Sender<Message>,
    waker: Arc<Waker>,
}

pub(super) fn pair(waker: Arc<Waker>) -> (Door, Receiver<Message>) {
    let (sender, receiver) = channel();
    (Door { sender, waker }, receiver)
}

impl Door {
    fn say(&self, message: Message) -> Result<(), EngineError> {
        self.sender.send(message).map_err(|_| EngineError::Stopped("the engine has stopped".to_owned()))?;
        self.waker.wake().map_err(|source| EngineError::io("wake the engine", source))
    }

    /// A new connection: this end of a pair of sockets, over which the same protocol is spoken as over TCP.
    ///
    /// # Errors
    /// [`EngineError::Stopped`], or that the system has no more descriptors.
    pub fn connect(&self) -> Result<UnixStream, EngineError> {
        let (here, there) = UnixStream::pair().map_err(|source| EngineError::io("make a pair of sockets", source))?;
        there.set_nonblocking(true).map_err(|source| EngineError::io("make a pair of sockets", source))?;
        self.say(Message::Connect(there))?;
        Ok(here)
    }

    /// Hands over a connection whose hello is complete and not taken yet.
    pub(crate) fn adopt(&self, peer: Peer) -> Result<(), EngineError> {
        self.say(Message::Adopt(Box::new(peer)))
    }

    /// From here on these open the book, and no others: who came with another is gone at once.
    pub(crate) fn set_credentials(&self, credentials: Vec<Credential>) {
        // If the engine is gone, so are its connections.
        _ = self.say(Message::Credentials(credentials));
    }

    /// Asks the engine to finish what it has accepted, and to end.
    pub fn stop(&self) {
        // If the engine is gone, it has ended.
        _ = self.say(Message::Stop);
    }
}
