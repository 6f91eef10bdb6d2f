//! Hello: who is it, and for which session.

use qenex_journal::disk::Disk;
use qenex_journal::log::{EntryHeader, EntryKind};
use qenex_kernel::row::BATCH_MAX;
use zerocopy::IntoBytes;

use super::connection::{Asked, Client, Connection, Greeting, Live, Waiter};
use super::pipeline::Room;
use super::write::Refusal;
use super::{Action, ConnectionId, Engine, Taken};
use crate::credential::transcript;
use crate::frame::{
    ChallengeRow, ErrorCode, FRAME_MAX, Frame, Header, Hello, HelloRow, Kind, VERSION, Welcome, WelcomeRow, read_proof,
};
use crate::limits::RELEASE;
use crate::sessions::SessionId;
use crate::state::SessionOpened;

pub(crate) const SERVER_NAME: &str = concat!("qenex ", env!("CARGO_PKG_VERSION"));

impl<D: Disk> Engine<D> {
    pub(super) fn hello(
        &mut self,
        connection: ConnectionId,
        header: &Header,
        body: &[u8],
        actions: &mut Vec<Action>,
    ) -> Taken {
        if let Err((code, text)) = self.challenge(connection, header, body, actions) {
            self.refuse_connection(connection, header, code, text, actions);
        }
        Taken::Yes
    }

    /// Proves that the engine knows the credential, and asks whether the client does.
    fn challenge(
        &mut self,
        connection: ConnectionId,
        header: &Header,
        body: &[u8],
        actions: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let Some(Connection::Stranger { asked: asked @ None, .. }) = self.connections.get_mut(&connection) else {
            let text = "hello is a connection's first frame, and its only one";
            return Err((ErrorCode::MalformedFrame, text.to_owned()));
        };
        let row = judge_hello(header, body)?;
        let credential = self.credentials.get(&row.fingerprint).ok_or_else(unauthenticated)?;
        let nonce = self.nonces.next();
        let transcript = transcript(header.as_bytes(), body, &nonce);
        *asked = Some(Asked {
            session: header.session,
            book: header.book,
            trace: header.trace,
            resume: header.flags & Header::RESUME != 0,
            window_requests: row.window_requests,
            window_bytes: row.window_bytes,
            fingerprint: row.fingerprint,
            transcript,
        });
        let row = ChallengeRow { nonce, proof: credential.proof(&transcript) };
        let frame = Frame::copied(Header::of(Kind::Challenge), row.as_bytes());
        actions.push(Action::Send { connection, frame });
        Ok(())
    }

    pub(super) fn proof(
        &mut self,
        connection: ConnectionId,
        header: &Header,
        body: &[u8],
        actions: &mut Vec<Action>,
    ) -> Taken {
        let (Some(Connection::Stranger { asked: Some(asked), .. }) | Some(Connection::Parked(asked))) =
            self.connections.get(&connection)
        else {
            let text = "a proof answers a challenge, once";
            self.refuse_connection(connection, header, ErrorCode::MalformedFrame, text, actions);
            return Taken::Yes;
        };
        let asked = *asked;
        match self.greet(connection, &asked, header, body, actions) {
            Ok(taken) => taken,
            Err((code, text)) => {
                let Asked { session, book, trace, .. } = asked;
                let header = Header { session, book, trace, ..*header };
                self.refuse_connection(connection, &header, code, text, actions);
                Taken::Yes
            }
        }
    }

    fn greet(
        &mut self,
        connection: ConnectionId,
        asked: &Asked,
        header: &Header,
        body: &[u8],
        actions: &mut Vec<Action>,
    ) -> Result<Taken, Refusal> {
        if !header.matches(body) {
            return Err((ErrorCode::MalformedFrame, "body_checksum is not that of the body".to_owned()));
        }
        let proof = read_proof(body).map_err(|defect| (defect.code(), defect.to_string()))?;
        let credential = self.credentials.get(&asked.fingerprint).ok_or_else(unauthenticated)?;
        if !credential.is_proven(&asked.transcript, &proof) {
            return Err(unauthenticated());
        }
        let (session, fingerprint) = (asked.session, asked.fingerprint);
        let (principal, may_write) = (credential.principal, credential.may_write);
        if !self.introduced(connection, *asked) {
            let text = format!("{} connections are open, which is the limit", self.limits.connections_max);
            return Err((ErrorCode::Busy, text));
        }
        if asked.book != [0; 16] && asked.book != self.book {
            return Err((ErrorCode::WrongBook, "the credential is another book's".to_owned()));
        }
        let (window_requests, window_bytes) = self.limits.window(asked.window_requests, asked.window_bytes);
        let client =
            Client { session, fingerprint, principal, may_write, window_requests, window_bytes, refused: None };
        let greeting = Greeting { waiter: Waiter { connection, trace: asked.trace }, client };
        if session == [0; 16] {
            self.welcome(&greeting, 0, actions);
            return Ok(Taken::Yes);
        }
        let expired = || (ErrorCode::SessionExpired, "the session is not known here (any more)".to_owned());
        if let Some(known) = self.state.sessions().get(&session) {
            if known.principal != client.principal {
                return Err(expired());
            }
            self.welcome(&greeting, known.highest, actions);
            return Ok(Taken::Yes);
        }
        if let Some(live) = self.live.get_mut(&session).filter(|live| !live.greetings.is_empty()) {
            // Its opening is under way. Whoever opens it first owns it.
            if live.greetings[0].client.principal != client.principal {
                return Err(expired());
            }
            live.greetings.push(greeting);
            self.connections.insert(connection, Connection::Greeting { fingerprint });
            return Ok(Taken::Yes);
        }
        if asked.resume {
            return Err(expired());
        }
        if !client.may_write {
            return Err((ErrorCode::Forbidden, "the credential may only read: use a session of zeros".to_owned()));
        }
        self.open_session(greeting)
    }

    /// Appends the entry that opens the session; the welcome follows when it is applied.
    fn open_session(&mut self, greeting: Greeting) -> Result<Taken, Refusal> {
        match self.check_writable(0) {
            // Whoever reads, or comes to confirm the clock, has a session too: the entry takes no time from the wall clock.
            Ok(()) | Err((ErrorCode::ClockUnconfirmed, _)) => {}
            Err(refusal) => return Err(refusal),
        }
        let row = SessionOpened { principal: greeting.client.principal };
        let timestamp = match self.room_for(0, size_of::<SessionOpened>(), 0, 0)? {
            Room::At(timestamp) => timestamp,
            Room::None => return Ok(Taken::Parked),
        };
        let entry = EntryHeader {
            session: greeting.client.session,
            trace: greeting.waiter.trace,
            ..EntryHeader::new(EntryKind::Session, timestamp)
        };
        self.pipeline.push(entry, &[], size_of::<SessionOpened>(), row.as_bytes(), self.clock.monotonic_ns());
        self.live.entry(greeting.client.session).or_default().greetings.push(greeting);
        let fingerprint = greeting.client.fingerprint;
        self.connections.insert(greeting.waiter.connection, Connection::Greeting { fingerprint });
        Ok(Taken::Yes)
    }

    /// The session of waiting clients is durable.
    pub(super) fn session_opened(&mut self, session: SessionId, actions: &mut Vec<Action>) {
        let Some(live) = self.live.get_mut(&session) else { return };
        let greetings = core::mem::take(&mut live.greetings);
        if live.is_idle() {
            self.live.remove(&session);
        }
        for greeting in greetings {
            self.welcome(&greeting, 0, actions);
        }
    }

    fn welcome(&mut self, greeting: &Greeting, highest: u64, actions: &mut Vec<Action>) {
        let Some(connection) = self.connections.get_mut(&greeting.waiter.connection) else { return };
        *connection = Connection::Open(greeting.client);
        let session = greeting.client.session;
        let under_way = self.live.get(&session).into_iter().flat_map(Live::requests);
        let row = WelcomeRow {
            version: VERSION,
            window_requests: greeting.client.window_requests,
            window_bytes: greeting.client.window_bytes,
            frame_max: u32::try_from(FRAME_MAX).expect("about a million"),
            batch_max: u32::try_from(BATCH_MAX).expect("8,189"),
            release: RELEASE,
            book: self.book,
            incarnation: self.incarnation,
            highest_request: under_way.fold(highest, u64::max),
            ..WelcomeRow::default()
        };
        let mut body = Vec::new();
        Welcome { row, name: SERVER_NAME }.write(&mut body);
        let header = Header {
            trace: greeting.waiter.trace,
            position_journal: self.journal,
            position_epoch: self.state.epoch(),
            position_entry: self.state.entry(),
            timestamp: self.state.timestamp(),
            ..self.answer(Kind::Welcome, session)
        };
        actions.push(Action::Send { connection: greeting.waiter.connection, frame: Frame::copied(header, &body) });
    }
}

/// What a hello says, unless something is wrong with it.
pub(crate) fn judge_hello(header: &Header, body: &[u8]) -> Result<HelloRow, Refusal> {
    if !header.matches(body) {
        return Err((ErrorCode::MalformedFrame, "body_checksum is not that of the body".to_owned()));
    }
    let Hello { row, .. } = Hello::read(body).map_err(|defect| (defect.code(), defect.to_string()))?;
    if !(row.versions_min..=row.versions_max).contains(&VERSION) {
        return Err((ErrorCode::UnsupportedVersion, format!("version {VERSION} is spoken here")));
    }
    Ok(row)
}

/// What is said to who names no credential that is known, or does not prove it.
pub(crate) fn unauthenticated() -> Refusal {
    (ErrorCode::Unauthenticated, "the credential is not known here".to_owned())
}
