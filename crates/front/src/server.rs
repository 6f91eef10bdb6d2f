//! The front: its doors, its threads, its certificate as it is renewed, its end.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use qenex_proxy::Origin;
use rustls::ServerConfig;
use rustls::server::ServerConnection;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::unix::pipe;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::connection::{self, Joined};
use crate::error::FrontError;
use crate::files::Files;
use crate::handshakes::Handshakes;

/// How long nothing is accepted after the system had no descriptor left for it.
const BREATHE: Duration = Duration::from_millis(20);
/// Threads at most: what comes in is decrypted at more than a gigabyte a second and thread.
const THREADS_MAX: usize = 4;

/// Where clients come in, and where what they say goes.
#[derive(Clone, Debug)]
pub struct Door {
    /// Where to listen; port 0 is any free one.
    pub listen: SocketAddr,
    /// The Unix socket of the server behind. It need not be there yet; a client that comes before is sent away.
    pub behind: PathBuf,
    /// The protocols that a client may name (ALPN); one that names none is taken too.
    pub protocols: Vec<String>,
}

/// Times and numbers that keep one client from taking what others need.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections of a door at a time. The servers behind have limits of their own and know who may stay: this one
    /// should lie above theirs.
    pub connections: usize,
    /// Handshakes of a door under way at a time; the oldest makes room.
    pub handshakes: usize,
    /// How long a handshake may take.
    pub handshake: Duration,
    /// How long a client may take nothing of what waits for it.
    pub deaf: Duration,
    /// How long a client may take for the rest once the server behind has ended.
    pub closing: Duration,
    /// Once the front stops, a connection ends when it was quiet for so long.
    pub quiet: Duration,
    /// And all of them end after this.
    pub grace: Duration,
    /// How often it is looked whether the files have changed.
    pub look: Duration,
}

impl Limits {
    /// The usual times, and this many connections a door.
    #[must_use]
    pub const fn new(connections: usize) -> Self {
        Self {
            connections,
            handshakes: 256,
            handshake: Duration::from_secs(10),
            deaf: Duration::from_secs(60),
            closing: Duration::from_secs(30),
            quiet: Duration::from_secs(1),
            grace: Duration::from_secs(10),
            look: Duration::from_secs(1),
        }
    }
}

/// Is told what somebody who runs the front should know, a line each.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// What a front is started with.
pub struct FrontConfig {
    /// Its doors.
    pub doors: Vec<Door>,
    /// Its certificate.
    pub files: Files,
    /// Its limits.
    pub limits: Limits,
    /// The reading end of a pipe: readable, or closed, once the front shall stop.
    pub stop: Option<OwnedFd>,
    /// Hears of new certificates.
    pub tell: Tell,
}

impl fmt::Debug for FrontConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FrontConfig")
            .field("doors", &self.doors)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// A front that runs, in threads of its own. Dropping it stops it.
#[derive(Debug)]
pub struct Front {
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// A door that is open.
struct Entrance {
    door: Door,
    local: SocketAddr,
    tls: RwLock<Arc<ServerConfig>>,
    handshakes: Arc<Handshakes>,
    room: Arc<Semaphore>,
    limits: Limits,
    stopping: watch::Receiver<bool>,
}

impl Front {
    /// Reads the files, listens, and serves.
    ///
    /// # Errors
    /// [`FrontError`]: a file cannot be used, or an address cannot be listened on.
    pub fn start(config: FrontConfig) -> Result<Self, FrontError> {
        let stamp = config.files.stamp();
        let loaded = config.files.load()?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let runtime = Builder::new_multi_thread().worker_threads(threads).thread_name("front").enable_all().build();
        let runtime = runtime.map_err(FrontError::io("start threads"))?;
        let (stop, stopping) = watch::channel(false);
        let mut entrances = Vec::new();
        for (number, door) in config.doors.into_iter().enumerate() {
            let address = door.listen;
            let listening = runtime.block_on(TcpListener::bind(address)).and_then(|one| Ok((one.local_addr()?, one)));
            let (local, listener) = listening.map_err(|source| FrontError::Listen { door: number, address, source })?;
            let entrance = Entrance {
                tls: RwLock::new(speaking(&loaded, &door)),
                door,
                local,
                handshakes: Handshakes::new(config.limits.handshakes),
                room: Arc::new(Semaphore::new(config.limits.connections)),
                limits: config.limits,
                stopping: stopping.clone(),
            };
            entrances.push((Arc::new(entrance), listener));
        }
        let guard = runtime.enter();
        let asked = config.stop.map(pipe::Receiver::from_owned_fd).transpose();
        let asked = asked.map_err(FrontError::io("watch the descriptor to stop at"))?;
        drop(guard);
        let addresses = entrances.iter().map(|(entrance, _)| entrance.local).collect();
        let sender = stop.clone();
        let (files, tell, limits) = (config.files, config.tell, config.limits);
        let serve = move || run(runtime, entrances, asked, sender, (files, stamp, tell), limits);
        let thread = std::thread::Builder::new().name("front".to_owned()).spawn(serve);
        Ok(Self { addresses, stop, thread: Some(thread.map_err(FrontError::io("start a thread"))?) })
    }

    /// Where it listens, in the order of the doors.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Asks it to take no more connections, and to end once those that it has are over or quiet.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// [`FrontError::Io`] if its thread panicked.
    pub fn wait(mut self) -> Result<(), FrontError> {
        let ended = self.thread.take().map_or(Ok(()), JoinHandle::join);
        ended.map_err(|_| FrontError::Io { what: "go on", source: io::Error::other("a thread of the front panicked") })
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.stop();
            // Whoever wants to know how it ended calls `wait`.
            _ = thread.join();
        }
    }
}

/// What the files make of a server, for this door.
fn speaking(loaded: &ServerConfig, door: &Door) -> Arc<ServerConfig> {
    let mut config = loaded.clone();
    config.alpn_protocols = door.protocols.iter().map(|name| name.clone().into_bytes()).collect();
    Arc::new(config)
}

#[allow(clippy::needless_pass_by_value)] // it is the body of a thread
fn run(
    runtime: Runtime,
    entrances: Vec<(Arc<Entrance>, TcpListener)>,
    asked: Option<pipe::Receiver>,
    stop: watch::Sender<bool>,
    renewal: (Files, crate::files::Stamp, Tell),
    limits: Limits,
) {
    runtime.block_on(async {
        let all: Vec<Arc<Entrance>> = entrances.iter().map(|(entrance, _)| entrance.clone()).collect();
        for (entrance, listener) in entrances {
            runtime.spawn(accept(entrance, listener));
        }
        let mut stopping = stop.subscribe();
        let asked = async {
            match &asked {
                Some(descriptor) => _ = descriptor.readable().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = asked => { stop.send_replace(true); }
            _ = stopping.wait_for(|stops| *stops) => {}
            () = renew(&all, renewal, limits.look) => {}
        }
        let ended = async {
            for entrance in &all {
                let places = u32::try_from(limits.connections).unwrap_or(u32::MAX);
                _ = entrance.room.acquire_many(places).await;
            }
        };
        _ = timeout(limits.grace, ended).await;
    });
    runtime.shutdown_background();
}

/// Takes new files as they come. A file that cannot be used changes nothing.
async fn renew(entrances: &[Arc<Entrance>], renewal: (Files, crate::files::Stamp, Tell), every: Duration) {
    let (files, mut before, tell) = renewal;
    loop {
        sleep(every).await;
        // Taken before the files are read: what changes meanwhile is seen the next time.
        let stamp = files.stamp();
        if stamp == before {
            continue;
        }
        before = stamp;
        match files.load() {
            Ok(loaded) => {
                for entrance in entrances {
                    *entrance.tls.write().unwrap_or_else(PoisonError::into_inner) = speaking(&loaded, &entrance.door);
                }
                tell("the certificate was read anew; connections from now on get it");
            }
            Err(error) => tell(&format!("the new certificate is not used, the one before is: {error}")),
        }
    }
}

async fn accept(entrance: Arc<Entrance>, listener: TcpListener) {
    let mut stopping = entrance.stopping.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stops| *stops) => return,
        };
        match accepted {
            Ok((tcp, peer)) => _ = tokio::spawn(serve(entrance.clone(), tcp, peer)),
            // Out of descriptors, or the client went away: the others are served, and it is tried again.
            Err(_) => sleep(BREATHE).await,
        }
    }
}

/// Serves one client. What ends it early is nobody's business but its own.
async fn serve(entrance: Arc<Entrance>, tcp: TcpStream, peer: SocketAddr) {
    let Some(tls) = entrance.greet(&tcp).await else {
        // What the client was told of it goes out before the end does.
        _ = SockRef::from(&tcp).shutdown(std::net::Shutdown::Write);
        return;
    };
    let Ok(_place) = entrance.room.clone().try_acquire_owned() else { return };
    let certificate = tls.peer_certificates().and_then(<[_]>::first).map(AsRef::as_ref);
    let local = tcp.local_addr().unwrap_or(entrance.local);
    let Some(header) = (Origin { peer, local, certificate }).encode() else { return };
    let announced = async {
        let unix = UnixStream::connect(&entrance.door.behind).await?;
        connection::announce(&unix, &header).await.map(|()| unix)
    };
    let Ok(Ok(unix)) = timeout(entrance.limits.handshake, announced).await else { return };
    let (limits, stopping) = (entrance.limits, entrance.stopping.clone());
    _ = Joined { tls, tcp: &tcp, unix: &unix, limits, stopping }.run().await;
}

impl Entrance {
    /// The handshake, in its time and as long as nobody needs its place.
    async fn greet(&self, tcp: &TcpStream) -> Option<ServerConnection> {
        let (_place, evicted) = self.handshakes.enter();
        let keep_alive = TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10));
        // A client may be silent for as long as it lives; the system finds out when it is gone without a word.
        SockRef::from(tcp).set_tcp_keepalive(&keep_alive.with_retries(6)).ok()?;
        tcp.set_nodelay(true).ok()?;
        let config = self.tls.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut tls = ServerConnection::new(config).ok()?;
        let mut stopping = self.stopping.clone();
        let done = tokio::select! {
            done = timeout(self.limits.handshake, connection::handshake(&mut tls, tcp)) => matches!(done, Ok(Ok(()))),
            _ = evicted => false,
            _ = stopping.wait_for(|stops| *stops) => false,
        };
        done.then_some(tls)
    }
}
