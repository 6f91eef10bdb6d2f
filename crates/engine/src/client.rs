//! A client: blocking, with a window of requests under way, and exactly-once effects over lost connections.
//!
//! A request keeps its number and its bytes until it is answered. When the connection is lost, the client connects
//! again, resumes its session and sends everything unanswered again: what had its effect is answered from its outcome.

use core::fmt;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::credential::{Keys, transcript};
use crate::frame::{
    ChallengeRow, ErrorCode, FRAME_MAX, Frame, HEADER_LENGTH, Header, Hello, HelloRow, Judgement, Kind, Operation,
    VERSION, Welcome, WelcomeRow, judge, request_frame, seal,
};
use crate::server::random_bytes;

/// Reads whose answers may be under way when another request is sent: their answers are large, and both sides must
/// not wait for each other to read.
const READS_AHEAD: usize = 8;

/// How a client connects.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The secret of a credential.
    pub credential: Vec<u8>,
    /// The session: `None` makes a new one, zeros may only read.
    pub session: Option<[u8; 16]>,
    /// The session must exist.
    pub resume: bool,
    /// Requests under way at most; 0 leaves it to the server.
    pub window_requests: u32,
    /// How often a lost connection is tried again before the client gives up.
    pub attempts: u32,
    /// How long to wait before each further try.
    pub pause: Duration,
}

impl ClientOptions {
    /// A new session with this credential.
    #[must_use]
    pub fn new(credential: impl Into<Vec<u8>>) -> Self {
        Self {
            credential: credential.into(),
            session: None,
            resume: false,
            window_requests: 0,
            attempts: 50,
            pause: Duration::from_millis(100),
        }
    }
}

/// Why a client has no answer.
#[derive(Debug)]
pub enum ClientError {
    /// The connection was lost, and could not be had again.
    Io(io::Error),
    /// The server refused; for a request, only that one.
    Refused {
        /// Why.
        code: ErrorCode,
        /// In words.
        text: String,
    },
    /// The other side does not follow the protocol.
    Protocol(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the connection was lost: {error}"),
            Self::Refused { code, text } => write!(f, "{code}: {text}"),
            Self::Protocol(what) => write!(f, "the server does not follow the protocol: {what}"),
        }
    }
}

impl core::error::Error for ClientError {}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// The request's number.
    pub request: u64,
    /// What the server says about it: position, timestamp, group.
    pub header: Header,
    /// Rows, or why there are none.
    pub body: Result<Vec<u8>, (ErrorCode, String)>,
}

impl Reply {
    /// The rows.
    ///
    /// # Errors
    /// [`ClientError::Refused`], or [`ClientError::Protocol`] if they are of another size.
    pub fn rows<T: FromBytes + FromZeros + IntoBytes + Immutable>(&self) -> Result<Vec<T>, ClientError> {
        let body = match &self.body {
            Ok(body) => body,
            Err((code, text)) => return Err(ClientError::Refused { code: *code, text: text.clone() }),
        };
        if !body.len().is_multiple_of(size_of::<T>()) {
            return Err(ClientError::Protocol(format!("{} bytes are no rows of {}", body.len(), size_of::<T>())));
        }
        let mut rows = T::new_vec_zeroed(body.len() / size_of::<T>()).expect("memory for a reply");
        rows.as_mut_slice().as_mut_bytes().copy_from_slice(body);
        Ok(rows)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    options: ClientOptions,
    stream: TcpStream,
    session: [u8; 16],
    welcome: WelcomeRow,
    next_request: u64,
    /// Frames sent and not answered, by request.
    unanswered: BTreeMap<u64, Vec<u8>>,
    unanswered_bytes: u64,
    answered: VecDeque<Reply>,
    /// Bytes that came in, and how many of them are used.
    input: Vec<u8>,
    used: usize,
    /// Microseconds that each request may wait to share a group.
    pub linger_us: u32,
}

impl Client {
    /// Connects and says hello.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn connect(address: SocketAddr, options: ClientOptions) -> Result<Self, ClientError> {
        let session = match options.session {
            Some(session) => session,
            None => random_bytes().map_err(|error| ClientError::Io(io::Error::other(error)))?,
        };
        let (stream, welcome) = connect(address, &options, session, options.resume)?;
        Ok(Self {
            address,
            options,
            stream,
            session,
            welcome,
            next_request: welcome.highest_request + 1,
            unanswered: BTreeMap::new(),
            unanswered_bytes: 0,
            answered: VecDeque::new(),
            input: Vec::new(),
            used: 0,
            linger_us: 0,
        })
    }

    /// What the server said of itself and the session.
    #[must_use]
    pub const fn welcome(&self) -> &WelcomeRow {
        &self.welcome
    }

    /// The session.
    #[must_use]
    pub const fn session(&self) -> [u8; 16] {
        self.session
    }

    /// Requests sent and not answered.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.unanswered.len()
    }

    /// Sends a request and waits for its answer; others that come in before are kept for [`Client::receive`].
    ///
    /// # Errors
    /// [`ClientError`]; a refusal of the request is one too.
    pub fn call(&mut self, operation: Operation, rows: &[u8]) -> Result<Reply, ClientError> {
        let request = self.submit(operation, rows)?;
        loop {
            self.take_in()?;
            if let Some(index) = self.answered.iter().position(|reply| reply.request == request) {
                let reply = self.answered.remove(index).expect("it is there");
                if let Err((code, text)) = reply.body {
                    return Err(ClientError::Refused { code, text });
                }
                return Ok(reply);
            }
        }
    }

    /// Sends a request as soon as the window has room for it; returns its number.
    ///
    /// # Errors
    /// [`ClientError`] if the connection is lost for good.
    pub fn submit(&mut self, operation: Operation, rows: &[u8]) -> Result<u64, ClientError> {
        self.submit_with(Header { operation: operation.number(), linger_us: self.linger_us, ..Header::ZERO }, &[], rows)
    }

    /// As [`Client::submit`], with more of the header chosen (operation, trace, deadline, position, linger), and a
    /// context.
    ///
    /// # Errors
    /// [`ClientError`] if the connection is lost for good.
    pub fn submit_with(&mut self, header: Header, context: &[u8], rows: &[u8]) -> Result<u64, ClientError> {
        let request = self.next_request;
        self.next_request += 1;
        let mut frame = Vec::new();
        let header = Header { book: self.welcome.book, session: self.session, request, ..header };
        request_frame(&mut frame, header, context, rows);
        let reads = Operation::from_number(header.operation).is_some_and(|operation| !operation.writes());
        loop {
            let full = self.unanswered.len() >= self.welcome.window_requests as usize
                || self.unanswered_bytes + frame.len() as u64 > u64::from(self.welcome.window_bytes)
                || (reads && self.unanswered.len() >= READS_AHEAD);
            if !full || self.unanswered.is_empty() {
                break;
            }
            self.take_in()?;
        }
        let sent = self.stream.write_all(&frame);
        self.unanswered_bytes += frame.len() as u64;
        self.unanswered.insert(request, frame);
        if sent.is_err() {
            self.reconnect()?;
        }
        Ok(request)
    }

    /// Sends a frame again that is unanswered, as after a lost connection: for tests of exactly that.
    ///
    /// # Errors
    /// [`ClientError`] if the connection is lost for good.
    pub fn send_again(&mut self, request: u64) -> Result<(), ClientError> {
        let Some(frame) = self.unanswered.get(&request) else { return Ok(()) };
        if self.stream.write_all(frame).is_err() {
            self.reconnect()?;
        }
        Ok(())
    }

    /// The next answer, in the order in which they come in.
    ///
    /// # Errors
    /// [`ClientError`] if the connection is lost for good.
    pub fn receive(&mut self) -> Result<Reply, ClientError> {
        loop {
            if let Some(reply) = self.answered.pop_front() {
                return Ok(reply);
            }
            self.take_in()?;
        }
    }

    /// Takes one frame in.
    fn take_in(&mut self) -> Result<(), ClientError> {
        let (header, body) = match self.read_frame() {
            Ok(frame) => frame,
            Err(ClientError::Io(_)) => return self.reconnect(),
            Err(error) => return Err(error),
        };
        let text = || String::from_utf8_lossy(&body).into_owned();
        match header.kind() {
            Some(Kind::Reply) => self.answer(header, Ok(body)),
            Some(Kind::Error) => {
                let code = ErrorCode::from_number(header.error)
                    .ok_or_else(|| ClientError::Protocol(format!("error {} is not known", header.error)))?;
                match code {
                    _ if header.request == 0 => return Err(ClientError::Refused { code, text: text() }),
                    ErrorCode::Busy => {
                        std::thread::sleep(Duration::from_micros(u64::from(header.retry_after_us)));
                        self.send_again(header.request)?;
                    }
                    // The request had no effect: it is tried with the server that comes next.
                    ErrorCode::ShuttingDown => return self.reconnect(),
                    _ => {
                        let text = text();
                        self.answer(header, Err((code, text)));
                    }
                }
            }
            Some(Kind::Goodbye) => return self.reconnect(),
            _ => return Err(ClientError::Protocol(format!("a frame of type {} came in", header.kind))),
        }
        Ok(())
    }

    fn answer(&mut self, header: Header, body: Result<Vec<u8>, (ErrorCode, String)>) {
        // An answer to a request that was answered before is the echo of a second sending.
        if let Some(frame) = self.unanswered.remove(&header.request) {
            self.unanswered_bytes -= frame.len() as u64;
            self.answered.push_back(Reply { request: header.request, header, body });
        }
    }

    fn read_frame(&mut self) -> Result<(Header, Vec<u8>), ClientError> {
        self.fill(HEADER_LENGTH)?;
        let head = self.input[self.used..].first_chunk().expect("as much is there");
        let header = match judge(head) {
            Judgement::Good(header, _) => header,
            Judgement::Skip(_, defect) | Judgement::End(defect) => {
                return Err(ClientError::Protocol(defect.to_string()));
            }
        };
        let length = HEADER_LENGTH + header.body_length as usize;
        self.fill(length)?;
        let body = self.input[self.used + HEADER_LENGTH..self.used + length].to_vec();
        self.used += length;
        if !header.matches(&body) {
            return Err(ClientError::Protocol("a body does not match its checksum".to_owned()));
        }
        Ok((header, body))
    }

    /// Reads until so many unused bytes are there.
    fn fill(&mut self, needed: usize) -> Result<(), ClientError> {
        if self.input.len() - self.used >= needed {
            return Ok(());
        }
        self.input.drain(..self.used);
        self.used = 0;
        let mut length = self.input.len();
        self.input.resize(length.max(needed).clamp(64 << 10, 2 * FRAME_MAX), 0);
        while length < needed {
            match self.stream.read(&mut self.input[length..]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.input.truncate(length);
        Ok(())
    }

    /// Connects again, resumes the session and sends everything unanswered again.
    fn reconnect(&mut self) -> Result<(), ClientError> {
        let mut attempt = 0;
        loop {
            match self.resume() {
                Ok(()) => return Ok(()),
                Err(error) => {
                    let passing = match &error {
                        ClientError::Io(_) => true,
                        ClientError::Refused { code, .. } => {
                            matches!(code, ErrorCode::Busy | ErrorCode::ShuttingDown | ErrorCode::StorageFull)
                        }
                        ClientError::Protocol(_) => false,
                    };
                    if !passing || attempt >= self.options.attempts {
                        return Err(error);
                    }
                }
            }
            attempt += 1;
            std::thread::sleep(self.options.pause);
        }
    }

    fn resume(&mut self) -> Result<(), ClientError> {
        let resume = self.session != [0; 16];
        let (stream, welcome) = connect(self.address, &self.options, self.session, resume)?;
        self.stream = stream;
        self.welcome = welcome;
        self.input.clear();
        self.used = 0;
        for frame in self.unanswered.values() {
            self.stream.write_all(frame)?;
        }
        Ok(())
    }
}

/// Connects, and is welcomed.
fn connect(
    address: SocketAddr,
    options: &ClientOptions,
    session: [u8; 16],
    resume: bool,
) -> Result<(TcpStream, WelcomeRow), ClientError> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let welcome = greet(&mut stream, options, session, resume)?;
    Ok((stream, welcome))
}

/// Says hello on a new connection, lets the server prove that it knows the credential, proves it too, and is welcomed. The
/// secret does not cross the wire, and whoever does not know it learns nothing with which to get in anywhere.
///
/// # Errors
/// [`ClientError::Refused`], or [`ClientError::Protocol`] if the other side is not the server that knows the credential.
pub fn greet<S: Read + Write>(
    stream: &mut S,
    options: &ClientOptions,
    session: [u8; 16],
    resume: bool,
) -> Result<WelcomeRow, ClientError> {
    let keys = Keys::of(&options.credential);
    let random = || random_bytes().map_err(|error| ClientError::Io(io::Error::other(error)));
    let nonce = random()?;
    let hello = hello_frame(
        session,
        resume,
        options.window_requests,
        HelloRow { nonce, fingerprint: keys.fingerprint, ..HelloRow::default() },
    );
    stream.write_all(&hello)?;
    let (header, body) = read_whole(stream)?;
    if header.kind() != Some(Kind::Challenge) {
        return Err(refused(&header, &body, "a hello was not answered with a challenge"));
    }
    let challenge = ChallengeRow::read(&body).map_err(|defect| ClientError::Protocol(defect.to_string()))?;
    let transcript = transcript(&hello, &[], &challenge.nonce);
    if !keys.is_proven(&transcript, &challenge.proof) {
        let text = "it does not know the credential, so that it is not the server that is looked for";
        return Err(ClientError::Protocol(text.to_owned()));
    }
    stream.write_all(Frame::copied(Header::of(Kind::Proof), &keys.proof(&transcript)).bytes())?;
    let (header, body) = read_whole(stream)?;
    if header.kind() != Some(Kind::Welcome) {
        return Err(refused(&header, &body, "a proof was not answered with a welcome"));
    }
    Welcome::read(&body).map(|welcome| welcome.row).map_err(|defect| ClientError::Protocol(defect.to_string()))
}

/// The frame of a hello.
fn hello_frame(session: [u8; 16], resume: bool, window_requests: u32, row: HelloRow) -> Vec<u8> {
    let row = HelloRow { versions_min: VERSION, versions_max: VERSION, window_requests, ..row };
    let mut frame = vec![0; HEADER_LENGTH];
    Hello { row, name: concat!("qenex-engine ", env!("CARGO_PKG_VERSION")) }.write(&mut frame);
    let flags = if resume { Header::RESUME } else { 0 };
    seal(&mut frame, Header { session, flags, ..Header::of(Kind::Hello) });
    frame
}

/// One frame, of a stream on which nothing else is waited for.
fn read_whole<S: Read>(stream: &mut S) -> Result<(Header, Vec<u8>), ClientError> {
    let mut head = [0; HEADER_LENGTH];
    stream.read_exact(&mut head)?;
    let header = match judge(&head) {
        Judgement::Good(header, _) => header,
        Judgement::Skip(_, defect) | Judgement::End(defect) => return Err(ClientError::Protocol(defect.to_string())),
    };
    let mut body = vec![0; header.body_length as usize];
    stream.read_exact(&mut body)?;
    if !header.matches(&body) {
        return Err(ClientError::Protocol("a body does not match its checksum".to_owned()));
    }
    Ok((header, body))
}

/// Why there is no welcome.
fn refused(header: &Header, body: &[u8], otherwise: &str) -> ClientError {
    match header.kind() {
        Some(Kind::Error) => ClientError::Refused {
            code: ErrorCode::from_number(header.error).unwrap_or(ErrorCode::Failed),
            text: String::from_utf8_lossy(body).into_owned(),
        },
        // It was accepted by a server that ended before it read the hello; the next one may be there soon.
        Some(Kind::Goodbye) => ClientError::Refused {
            code: ErrorCode::ShuttingDown,
            text: "the server said goodbye before it said welcome".to_owned(),
        },
        _ => ClientError::Protocol(otherwise.to_owned()),
    }
}
