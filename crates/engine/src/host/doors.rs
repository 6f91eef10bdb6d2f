//! Where connections come in: over TCP, and from the TLS front over a socket that only the owner of the home can open.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};

use super::HostConfig;
use super::guests::Stage;
use super::run::{FRONT, LISTENER};
use crate::error::EngineError;
use crate::runtime::{Peer, keep_alive};

/// See the module.
pub(super) struct Doors {
    tcp: Option<TcpListener>,
    front: Option<(UnixListener, PathBuf)>,
    /// At which somebody may stand.
    knocked: [bool; 2],
    /// Somebody surely does.
    at_once: bool,
}

impl Doors {
    /// Listens as configured. Returns the bound address too.
    pub(super) fn open(config: &HostConfig, registry: &Registry) -> Result<(Self, SocketAddr), EngineError> {
        let address = config.listen;
        let mut tcp = TcpListener::bind(address).map_err(|source| EngineError::Listen { address, source })?;
        let address = tcp.local_addr().map_err(|source| EngineError::io("ask the address", source))?;
        let watched = registry.register(&mut tcp, LISTENER, Interest::READABLE);
        watched.map_err(|source| EngineError::io("watch the listener", source))?;
        let mut front = None;
        if let Some(path) = &config.behind_front {
            let failed = |source| EngineError::io(format!("listen on {}", path.display()), source);
            let mut listener = listen(path).map_err(failed)?;
            registry.register(&mut listener, FRONT, Interest::READABLE).map_err(failed)?;
            front = Some((listener, path.clone()));
        }
        Ok((Self { tcp: Some(tcp), front, knocked: [false; 2], at_once: false }, address))
    }

    /// Somebody may stand at the door of this token.
    pub(super) fn knock(&mut self, token: Token) {
        self.knocked[usize::from(token == FRONT)] = true;
    }

    /// Not all were let in that were seen.
    pub(super) const fn again(&mut self) {
        self.at_once = true;
    }

    /// Whether somebody surely waits.
    pub(super) const fn is_open_at_once(&self) -> bool {
        self.at_once
    }

    /// Lets the next one in.
    pub(super) fn accept(&mut self) -> Option<(Peer, Stage)> {
        self.at_once = false;
        while let Some(tcp) = self.tcp.as_ref().filter(|_| self.knocked[0]) {
            match tcp.accept() {
                // Small answers leave at once. A socket that cannot be set up is a client's bad luck, no more.
                Ok((stream, _)) if stream.set_nodelay(true).is_ok() && keep_alive(&stream).is_ok() => {
                    return Some((Peer::new(Box::new(stream)), Stage::Stranger));
                }
                Ok(_) => {}
                Err(error) if !self.goes_on(0, &error) => break,
                Err(_) => {}
            }
        }
        while let Some((front, _)) = self.front.as_ref().filter(|_| self.knocked[1]) {
            match front.accept() {
                Ok((stream, _)) => return Some((Peer::new(Box::new(stream)), Stage::Unnamed)),
                Err(error) if !self.goes_on(1, &error) => break,
                Err(_) => {}
            }
        }
        None
    }

    /// Whether to try again now.
    fn goes_on(&mut self, door: usize, error: &io::Error) -> bool {
        if error.kind() == ErrorKind::WouldBlock {
            self.knocked[door] = false;
        }
        // Out of descriptors, or the client went away: the others are served, and it is tried again.
        error.kind() == ErrorKind::Interrupted
    }

    /// Lets nobody in any more.
    pub(super) fn close(&mut self) {
        self.tcp = None;
        self.at_once = false;
        if let Some((_, path)) = self.front.take() {
            // If it is left, the next start removes it.
            _ = fs::remove_file(path);
        }
    }
}

/// Listens on a new Unix socket; whoever holds the home's book owns what a process that was killed has left there.
fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    // The folder is the owner's alone, so that nobody can have come in before.
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}
