//! One connection: its handshake, then bytes both ways until one side is done.
//!
//! Nothing is kept beyond what one record holds: bytes of the client are read once those before are with the server behind,
//! and the other way round, so that each side waits for the other as it would without us.

use std::io::{self, BufRead, IoSlice, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use rustls::server::ServerConnection;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::server::Limits;

/// What is taken from a server behind at a time.
const CHUNK: usize = 32 << 10;
/// How often one direction is served before the other, and other connections, have their turn.
const ROUNDS: usize = 32;

/// A socket as rustls reads and writes it: what cannot be done now is refused with `WouldBlock`.
struct Wire<'a>(&'a TcpStream);

impl Read for Wire<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `None` for what cannot be done now.
fn now<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Does the handshake. Where it fails the client has been told, if its socket took that.
pub(crate) async fn handshake(tls: &mut ServerConnection, tcp: &TcpStream) -> io::Result<()> {
    while tls.is_handshaking() || tls.wants_write() {
        let mut wire = Wire(tcp);
        let done = if tls.is_handshaking() {
            tls.complete_io(&mut wire).map(drop)
        } else {
            tls.write_tls(&mut wire).map(drop)
        };
        if now(done)?.is_none() {
            tcp.ready(interest(tls.is_handshaking(), tls.wants_write()).unwrap_or(Interest::READABLE)).await?;
        }
    }
    Ok(())
}

/// Writes the header to the server behind.
pub(crate) async fn announce(unix: &UnixStream, header: &[u8]) -> io::Result<()> {
    let mut left = header;
    while !left.is_empty() {
        unix.writable().await?;
        if let Some(written) = now(unix.try_write(left))? {
            left = &left[written..];
        }
    }
    Ok(())
}

fn interest(reads: bool, writes: bool) -> Option<Interest> {
    match (reads, writes) {
        (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
        (true, false) => Some(Interest::READABLE),
        (false, true) => Some(Interest::WRITABLE),
        (false, false) => None,
    }
}

/// A client and the server behind, joined.
pub(crate) struct Joined<'a> {
    pub(crate) tls: ServerConnection,
    pub(crate) tcp: &'a TcpStream,
    pub(crate) unix: &'a UnixStream,
    pub(crate) limits: Limits,
    /// Whether the front is asked to stop.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// How far it has got.
struct Progress {
    /// The client has said that it will send nothing more, and the server behind knows.
    client_done: bool,
    /// The server behind reads no more; what it still says goes out. What the client sends is left where it is.
    server_deaf: bool,
    /// The server behind has ended: what it said still goes out, until then.
    ends_at: Option<Instant>,
    /// When bytes were last moved.
    moved_at: Instant,
    /// When the client last took some of what waits for it.
    heard_at: Instant,
}

impl Joined<'_> {
    /// Passes on what either side says, until it is over.
    ///
    /// # Errors
    /// The connection was cut off: by the client, by the server behind, or because one of them took too long.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        let begin = Instant::now();
        let mut progress =
            Progress { client_done: false, server_deaf: false, ends_at: None, moved_at: begin, heard_at: begin };
        loop {
            self.up(&mut progress)?;
            self.down(&mut progress)?;
            if progress.ends_at.is_some() && !self.tls.wants_write() {
                break;
            }
            self.wait(&progress).await?;
        }
        self.linger(progress.ends_at.unwrap_or(begin)).await
    }

    /// From the client to the server behind.
    fn up(&mut self, progress: &mut Progress) -> io::Result<()> {
        for _ in 0..ROUNDS {
            if progress.client_done || progress.server_deaf || progress.ends_at.is_some() {
                break;
            }
            let chunk = match self.tls.reader().fill_buf() {
                // It said that it was done; without that word the end of a stream is an error.
                Ok([]) => {
                    progress.client_done = true;
                    return SockRef::from(self.unix).shutdown(Shutdown::Write);
                }
                Ok(chunk) => match now(self.unix.try_write(chunk)) {
                    Err(error) if is_gone(&error) => {
                        progress.server_deaf = true;
                        return Ok(());
                    }
                    written => written?,
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let Some(_) = now(self.tls.read_tls(&mut Wire(self.tcp)))? else { return Ok(()) };
                    if let Err(error) = self.tls.process_new_packets() {
                        _ = self.tls.write_tls(&mut Wire(self.tcp));
                        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Some(written) = chunk else { return Ok(()) };
            self.tls.reader().consume(written);
            progress.moved_at = Instant::now();
        }
        Ok(())
    }

    /// From the server behind to the client.
    fn down(&mut self, progress: &mut Progress) -> io::Result<()> {
        for _ in 0..ROUNDS {
            while self.tls.wants_write() {
                let Some(_) = now(self.tls.write_tls(&mut Wire(self.tcp)))? else { return Ok(()) };
                progress.heard_at = Instant::now();
            }
            if progress.ends_at.is_some() {
                return Ok(());
            }
            let mut chunk = [0; CHUNK];
            let read = match now(self.unix.try_read(&mut chunk)) {
                // It has ended without reading all that the client said. What it said itself was read before.
                Err(error) if is_gone(&error) => 0,
                Ok(None) => return Ok(()),
                read => read?.unwrap_or(0),
            };
            if read == 0 {
                self.tls.send_close_notify();
                progress.ends_at = Some(Instant::now() + self.limits.closing);
            } else {
                self.tls.writer().write_all(&chunk[..read])?;
                (progress.moved_at, progress.heard_at) = (Instant::now(), Instant::now());
            }
        }
        Ok(())
    }

    /// Waits until something can be moved.
    async fn wait(&mut self, progress: &Progress) -> io::Result<()> {
        let ends = progress.ends_at.is_some();
        let has_plaintext = matches!(self.tls.reader().fill_buf(), Ok([_, ..]));
        let is_open = !progress.client_done && !progress.server_deaf && !ends;
        let client = interest(is_open && !has_plaintext, self.tls.wants_write());
        let server = interest(!ends && !self.tls.wants_write(), is_open && has_plaintext);
        let mut until = self.tls.wants_write().then(|| progress.heard_at + self.limits.deaf);
        if let Some(at) = progress.ends_at {
            until = Some(until.map_or(at, |until| until.min(at)));
        }
        let is_stopping = *self.stopping.borrow();
        if is_stopping {
            let quiet = progress.moved_at + self.limits.quiet;
            until = Some(until.map_or(quiet, |until| until.min(quiet)));
        }
        tokio::select! {
            result = ready(client, |interest| self.tcp.ready(interest)) => result,
            result = ready(server, |interest| self.unix.ready(interest)) => result,
            () = sleep_until(until.unwrap_or_else(far)), if until.is_some() => Err(io::ErrorKind::TimedOut.into()),
            changed = self.stopping.changed(), if !is_stopping => changed.map_err(io::Error::other),
        }
    }

    /// Everything is with the client's system. Its last words are read before the socket is closed: closing over
    /// unread bytes is a reset, which can overtake what is under way.
    async fn linger(self, until: Instant) -> io::Result<()> {
        SockRef::from(self.tcp).shutdown(Shutdown::Write)?;
        let read = async {
            let mut chunk = [0; 1 << 10];
            loop {
                self.tcp.readable().await?;
                if now(self.tcp.try_read(&mut chunk))? == Some(0) {
                    return Ok(());
                }
            }
        };
        tokio::time::timeout_at(until, read).await.unwrap_or(Ok(()))
    }
}

/// Whether this says that the other end of a socket is closed.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// A time that does not come.
fn far() -> Instant {
    Instant::now() + Duration::from_secs(86_400)
}

/// Waits for this; for ever where there is nothing to wait for.
async fn ready<T, F: Future<Output = io::Result<T>>>(
    interest: Option<Interest>,
    wait: impl FnOnce(Interest) -> F,
) -> io::Result<()> {
    match interest {
        Some(interest) => wait(interest).await.map(drop),
        None => std::future::pending().await,
    }
}
