//! What the tests of the engine share.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test file uses a part of it")]

pub mod desk;
pub mod written;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use qenex_engine::client::{Client, ClientOptions};
use qenex_engine::credential::Credential;
use qenex_engine::server::{Server, ServerConfig};
use qenex_kernel::row::{Account, Transfer};

pub const SECRET: &[u8] = b"the owner's secret";
pub const BOOK: [u8; 16] = [0xB0; 16];

/// A folder of its own, removed at the end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("qenex-engine-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A server on a free port.
pub struct TestServer {
    folder: Folder,
    adjust: fn(&mut ServerConfig),
    server: Option<Server>,
}

impl TestServer {
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// With some of its configuration changed.
    pub fn start_with(adjust: fn(&mut ServerConfig)) -> Self {
        let mut this = Self { folder: Folder::new(), adjust, server: None };
        this.restart();
        this
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn config(&self) -> ServerConfig {
        let mut config = ServerConfig::new(self.folder.path(), Some(BOOK));
        config.listen = Some("127.0.0.1:0".parse().unwrap());
        config.credentials = vec![Credential::owner(SECRET)];
        config.confirm_clock = true;
        (self.adjust)(&mut config);
        config
    }

    pub fn restart(&mut self) {
        self.stop();
        self.server = Some(Server::start(self.config()).unwrap());
    }

    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
            server.wait().unwrap();
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.as_ref().unwrap().address().unwrap()
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address(), ClientOptions::new(SECRET)).unwrap()
    }

    pub fn client_of(&self, session: [u8; 16]) -> Client {
        let options = ClientOptions { session: Some(session), resume: true, ..ClientOptions::new(SECRET) };
        Client::connect(self.address(), options).unwrap()
    }
}

pub fn account(id: u128) -> Account {
    Account { id, ledger: 978, code: 1, ..Account::ZERO }
}

pub fn transfer(id: u128, debit: u128, credit: u128, amount: u128) -> Transfer {
    Transfer { id, debit_account_id: debit, credit_account_id: credit, amount, ledger: 978, code: 1, ..Transfer::ZERO }
}
