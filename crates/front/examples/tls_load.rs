//! Asks an HTTP server the same thing again and again, by TLS or without, and prints what came of it as one line of JSON.
//!
//! ```text
//! tls_load requests   ADDRESS ROOTS|- CONNECTIONS SECONDS REQUEST_FILE    each connection is kept
//! tls_load handshakes ADDRESS ROOTS   CONNECTIONS SECONDS                 each connection ends after its handshake
//! ```

#![allow(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "figures about speed, not money")]

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;
type Tls = StreamOwned<ClientConnection, TcpStream>;

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// Where to connect to, and how.
#[derive(Clone)]
struct Target {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
}

impl Target {
    fn new(address: &str, roots: &str) -> Outcome<Self> {
        let tls = if roots == "-" { None } else { Some(trusting(roots)?) };
        Ok(Self { address: address.parse()?, tls })
    }

    fn plain(&self) -> Outcome<TcpStream> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(stream)
    }

    fn greet(&self, config: &Arc<ClientConfig>) -> Outcome<Tls> {
        let name = ServerName::from(self.address.ip());
        let mut stream = StreamOwned::new(ClientConnection::new(config.clone(), name)?, self.plain()?);
        while stream.conn.is_handshaking() || stream.conn.wants_write() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }

    fn connect(&self) -> Outcome<Box<dyn Stream>> {
        Ok(match &self.tls {
            Some(config) => Box::new(self.greet(config)?),
            None => Box::new(self.plain()?),
        })
    }
}

fn trusting(roots: &str) -> Outcome<Arc<ClientConfig>> {
    let mut store = RootCertStore::empty();
    store.add(CertificateDer::from_pem_file(roots)?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Nanoseconds of each request until `until`.
fn requests(target: &Target, request: &[u8], until: Instant) -> Outcome<Vec<u64>> {
    let mut stream = BufReader::with_capacity(16 << 10, target.connect()?);
    let mut took = Vec::new();
    while Instant::now() < until {
        let begin = Instant::now();
        stream.get_mut().write_all(request)?;
        let (mut line, mut length) = (String::new(), 0);
        stream.read_line(&mut line)?;
        if !line.starts_with("HTTP/1.1 20") {
            return Err(format!("the answer is {line:?}").into());
        }
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line)?;
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse()?;
            }
        }
        stream.read_exact(&mut vec![0; length])?;
        took.push(u64::try_from(begin.elapsed().as_nanos())?);
    }
    Ok(took)
}

/// Nanoseconds of each handshake until `until`.
fn handshakes(target: &Target, until: Instant) -> Outcome<Vec<u64>> {
    let config = target.tls.as_ref().ok_or("a handshake needs roots")?;
    let mut took = Vec::new();
    while Instant::now() < until {
        let begin = Instant::now();
        let mut stream = target.greet(config)?;
        took.push(u64::try_from(begin.elapsed().as_nanos())?);
        stream.conn.send_close_notify();
        _ = stream.conn.complete_io(&mut stream.sock);
        _ = stream.sock.shutdown(Shutdown::Both);
    }
    Ok(took)
}

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (kind, address, roots, connections, seconds, request) = match words[..] {
        [kind @ "requests", address, roots, connections, seconds, file] => {
            (kind, address, roots, connections, seconds, std::fs::read(file)?)
        }
        [kind @ "handshakes", address, roots, connections, seconds] => {
            (kind, address, roots, connections, seconds, Vec::new())
        }
        _ => return Err("requests ADDRESS ROOTS|- CONNECTIONS SECONDS FILE, or handshakes without a file".into()),
    };
    let (target, seconds): (_, f64) = (Target::new(address, roots)?, seconds.parse()?);
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let threads: Vec<_> = (0..connections.parse::<usize>()?)
        .map(|_| {
            let (target, request, is_greeting) = (target.clone(), request.clone(), kind == "handshakes");
            thread::spawn(move || match is_greeting {
                true => handshakes(&target, until),
                false => requests(&target, &request, until),
            })
        })
        .collect();
    let mut took = Vec::new();
    for one in threads {
        took.extend(one.join().map_err(|_| "a thread panicked")??);
    }
    took.sort_unstable();
    let of = |share: usize| took.get(took.len() * share / 100).copied().unwrap_or_default() / 1_000;
    println!(
        r#"{{"rate": {:.1}, "count": {}, "p50_us": {}, "p99_us": {}}}"#,
        took.len() as f64 / seconds,
        took.len(),
        of(50),
        of(99)
    );
    Ok(())
}
