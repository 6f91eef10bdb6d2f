//! Offers load to an engine, or to the HTTP API before it, and prints what came of it as one line of JSON.
//!
//! ```text
//! load binary ADDRESS TOKEN_FILE [NAME=VALUE]...    the binary protocol over TCP
//! load http   ADDRESS TOKEN_FILE [NAME=VALUE]...    POST /api/v1/transaction, connections kept alive
//! load door   FOLDER             [NAME=VALUE]...    an engine inside this process, over pairs of sockets
//! ```
//!
//! Without `rate` the loop is closed: each connection keeps `window` requests unanswered. With `rate` (transfers a
//! second) it is open: requests are due at fixed times whatever the answers do, and a latency counts from the time at
//! which its request was due, so that a wait in here counts too. With a rate `window` may be more than the session's;
//! `window=0` does not look at it. What is answered `busy` is sent again, the oldest first.

#![allow(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "figures about speed, not money")]

mod drive;
mod report;
mod wire;

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

use qenex_engine::credential::Credential;
use qenex_engine::server::{Server, ServerConfig};

use drive::Socket;
use wire::{Binary, Http, Wire};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// What is to be offered.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Connections, each with a session of its own.
    pub(crate) connections: usize,
    /// Requests that a connection keeps unanswered; 0: it does not look.
    pub(crate) window: usize,
    /// Transfers a request.
    pub(crate) rows: usize,
    /// Transfers offered a second; 0: as many as are answered.
    pub(crate) rate: f64,
    /// How long is measured, after `warm`.
    pub(crate) seconds: f64,
    /// Seconds before the measurement begins.
    pub(crate) warm: f64,
    /// Ends after so many transfers instead; 0: after `seconds`.
    pub(crate) transfers: u64,
    /// Accounts, numbered from 1.
    pub(crate) accounts: u64,
    /// Whether the load makes the accounts first.
    pub(crate) create: bool,
    /// HTTP: whether requests say `"optimize": true`; binary: whether they linger.
    pub(crate) optimize: bool,
    /// Reports time and longest answer of every so many transfers; 0: does not.
    pub(crate) per: u64,
}

impl Plan {
    fn read(words: &[String]) -> Outcome<Self> {
        let mut plan = Self {
            connections: 1,
            window: 1,
            rows: 8_189,
            rate: 0.0,
            seconds: 5.0,
            warm: 0.5,
            transfers: 0,
            accounts: 10_000,
            create: true,
            optimize: false,
            per: 0,
        };
        for word in words {
            let (name, value) = word.split_once('=').ok_or_else(|| format!("{word}: NAME=VALUE is wanted"))?;
            match name {
                "connections" => plan.connections = value.parse()?,
                "window" => plan.window = value.parse()?,
                "rows" => plan.rows = value.parse()?,
                "rate" => plan.rate = value.parse()?,
                "seconds" => plan.seconds = value.parse()?,
                "warm" => plan.warm = value.parse()?,
                "transfers" => plan.transfers = value.parse()?,
                "accounts" => plan.accounts = value.parse()?,
                "create" => plan.create = value.parse()?,
                "optimize" => plan.optimize = value.parse()?,
                "per" => plan.per = value.parse()?,
                _ => return Err(format!("{name} is not known").into()),
            }
        }
        if plan.connections == 0 || plan.accounts < 2 || !(1..=8_189).contains(&plan.rows) {
            return Err("at least one connection, two accounts, and 1 to 8,189 rows are needed".into());
        }
        if plan.window == 0 && plan.rate <= 0.0 {
            return Err("without a rate, a window is needed".into());
        }
        Ok(plan)
    }
}

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.split_first().map(|(kind, rest)| (kind.as_str(), rest)) {
        Some(("door", [folder, rest @ ..])) => {
            let secret = b"of this process alone".to_vec();
            let mut config = ServerConfig::new(folder, None);
            config.credentials = vec![Credential::owner(&secret)];
            config.confirm_clock = true;
            let server = Server::start(config)?;
            let door = server.door();
            binary(&Plan::read(rest)?, &secret, || Ok(door.connect()?))?;
            server.stop();
            server.wait()?;
        }
        Some(("binary", [address, token, rest @ ..])) => {
            let (address, secret) = (address.parse()?, secret(token)?);
            binary(&Plan::read(rest)?, &secret, || connect(address))?;
        }
        Some(("http", [address, token, rest @ ..])) => {
            let (address, secret) = (address.parse()?, secret(token)?);
            let plan = Plan { rows: 1, window: 1, create: false, ..Plan::read(rest)? };
            let opened = (0..plan.connections).map(|_| {
                let wire: Box<dyn Wire> = Box::new(Http::new(&plan, &secret));
                Ok((drive::nonblocking(connect(address)?)?, wire))
            });
            println!("{}", drive::run(&plan, opened.collect::<Outcome<_>>()?)?);
        }
        _ => return Err("usage: load binary|http ADDRESS TOKEN_FILE [NAME=VALUE]..., load door FOLDER ...".into()),
    }
    Ok(())
}

fn secret(token: &str) -> Outcome<Vec<u8>> {
    Ok(std::fs::read(token)?.trim_ascii().to_vec())
}

fn connect(address: SocketAddr) -> Outcome<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A stream that can be made one of mio's.
pub(crate) trait Stream: Read + Write {
    fn watched(self) -> std::io::Result<Box<dyn Socket>>;
}

impl Stream for TcpStream {
    fn watched(self) -> std::io::Result<Box<dyn Socket>> {
        self.set_nonblocking(true)?;
        Ok(Box::new(mio::net::TcpStream::from_std(self)))
    }
}

impl Stream for UnixStream {
    fn watched(self) -> std::io::Result<Box<dyn Socket>> {
        self.set_nonblocking(true)?;
        Ok(Box::new(mio::net::UnixStream::from_std(self)))
    }
}

fn binary<S: Stream>(plan: &Plan, secret: &[u8], connect: impl Fn() -> Outcome<S>) -> Outcome<()> {
    let mut opened: Vec<(Box<dyn Socket>, Box<dyn Wire>)> = Vec::new();
    for connection in 0..plan.connections {
        let mut stream = connect()?;
        let mut wire = Binary::greet(plan, &mut stream, secret, connection as u64)?;
        if connection == 0 && plan.create {
            wire.create_accounts(plan.accounts, &mut stream)?;
        }
        opened.push((drive::nonblocking(stream)?, Box::new(wire)));
    }
    println!("{}", drive::run(plan, opened)?);
    Ok(())
}
