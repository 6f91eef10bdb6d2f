//! What only a rustls client can show (which key exchange was agreed on), and what takes too long where the limits are
//! the usual ones. The rest is tested with Python's TLS, in `tests/integration/test_front.py`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use qenex_front::{Door, Files, Front, FrontConfig, Limits};
use qenex_proxy::Origin;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, NamedGroup, RootCertStore, StreamOwned};

/// Long enough for anything that should happen.
const PATIENCE: Duration = Duration::from_secs(30);

struct Setup {
    folder: PathBuf,
    roots: RootCertStore,
    behind: UnixListener,
    front: Option<Front>,
}

impl Setup {
    fn new(name: &str, limits: Limits) -> Self {
        let folder = std::env::temp_dir().join(format!("qenex-front-{name}-{}", std::process::id()));
        _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&ca_key).unwrap();
        let issuer = Issuer::new(params, ca_key);
        let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let files = Files { certificate: folder.join("server.pem"), key: folder.join("server.key"), clients: None };
        std::fs::write(&files.certificate, server.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        std::fs::set_permissions(&files.key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(ca.der().clone()).unwrap();
        let behind = folder.join("behind.sock");
        let listener = UnixListener::bind(&behind).unwrap();
        let door = Door { listen: "127.0.0.1:0".parse().unwrap(), behind, protocols: Vec::new() };
        let config = FrontConfig { doors: vec![door], files, limits, stop: None, tell: Arc::new(|_| {}) };
        Self { folder, roots, behind: listener, front: Some(Front::start(config).unwrap()) }
    }

    fn address(&self) -> SocketAddr {
        self.front.as_ref().unwrap().addresses()[0]
    }

    fn plain(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A client that is through with its handshake.
    fn greet(&self) -> StreamOwned<ClientConnection, TcpStream> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), self.plain());
        while stream.conn.is_handshaking() || stream.conn.wants_write() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        stream
    }

    /// One, and the other end of its connection, where the front's word has been read.
    fn connect(&self) -> (StreamOwned<ClientConnection, TcpStream>, UnixStream) {
        let stream = self.greet();
        let (mut server, _) = self.behind.accept().unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = Vec::new();
        let client = stream.sock.local_addr().unwrap();
        loop {
            let mut byte = [0];
            server.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
            if let Some((origin, _)) = Origin::decode(&head).unwrap() {
                assert_eq!((origin.peer, origin.local, origin.certificate), (client, self.address(), None));
                return (stream, server);
            }
        }
    }

    fn stop(mut self) {
        let front = self.front.take().unwrap();
        front.stop();
        front.wait().unwrap();
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Nothing takes long that should not.
fn short() -> Limits {
    let moment = Duration::from_millis(300);
    Limits { handshake: moment, deaf: moment, closing: moment, quiet: moment, grace: PATIENCE, ..Limits::new(4) }
}

#[test]
fn keys_are_exchanged_as_no_quantum_computer_undoes_it() {
    let setup = Setup::new("group", Limits::new(4));
    let (client, _server) = setup.connect();
    assert_eq!(client.conn.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
}

#[test]
fn a_handshake_that_takes_too_long_ends() {
    let setup = Setup::new("handshake", short());
    for first in [&b""[..], b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = setup.plain();
        stream.write_all(first).unwrap();
        let mut rest = Vec::new();
        // The end, after an alert perhaps; not the end of our patience.
        match stream.read_to_end(&mut rest) {
            Ok(_) => assert!(rest.len() < 100),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

#[test]
fn a_client_that_takes_nothing_is_cut_off() {
    let setup = Setup::new("deaf", short());
    let (client, mut server) = setup.connect();
    server.set_write_timeout(Some(PATIENCE)).unwrap();
    let piece = vec![7; 1 << 20];
    // It fills what there is of buffers, then waits, then is told that there is nobody.
    let error = (0..64).find_map(|_| server.write_all(&piece).err()).unwrap();
    assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
    drop(client);
}

#[test]
fn what_the_server_said_last_arrives_and_then_the_end() {
    let setup = Setup::new("last", Limits::new(4));
    let (mut client, mut server) = setup.connect();
    client.write_all(b"a question that is not read").unwrap();
    let said = vec![7; 3 << 20];
    let writing = std::thread::spawn(move || {
        server.write_all(&said).unwrap();
        drop(server);
    });
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).unwrap();
    writing.join().unwrap();
    assert_eq!(heard, vec![7; 3 << 20]);
}

#[test]
fn a_client_that_hangs_on_after_the_end_gives_its_place_back() {
    let setup = Setup::new("closing", Limits { connections: 1, ..short() });
    let (client, server) = setup.connect();
    drop(server);
    // Whoever comes while the place is taken is sent away, so that the next word is from one who has got it.
    let deadline = std::time::Instant::now() + PATIENCE;
    setup.behind.set_nonblocking(true).unwrap();
    while setup.behind.accept().is_err() {
        assert!(std::time::Instant::now() < deadline, "the place does not come back");
        let mut another = setup.greet();
        another.sock.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        _ = another.read(&mut [0; 1]);
    }
    drop(client);
}

#[test]
fn a_front_that_stops_takes_nobody_and_lets_those_end_that_talk() {
    let setup = Setup::new("stop", Limits { quiet: Duration::from_secs(2), ..short() });
    let (mut client, mut server) = setup.connect();
    let (address, front) = (setup.address(), setup.front.as_ref().unwrap());
    front.stop();
    let deadline = std::time::Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_ok() {
        assert!(std::time::Instant::now() < deadline, "it takes no more");
    }
    client.write_all(b"question").unwrap();
    let mut question = [0; 8];
    server.read_exact(&mut question).unwrap();
    server.write_all(b"answer").unwrap();
    drop(server);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"answer");
    setup.stop();
}

#[test]
fn a_quiet_connection_does_not_keep_a_front_from_its_end() {
    let setup = Setup::new("quiet", short());
    let (_client, mut server) = setup.connect();
    setup.stop();
    assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
}
