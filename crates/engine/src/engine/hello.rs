//! Hello: who is it, and for which session.

use qenex_journal::disk::Disk;
use qenex_journal::log::{EntryHeader, EntryKind};
use qenex_kernel::row::BATCH_MAX;
use zerocopy::IntoBytes;

use super::connection::{Client, Connection, Greeting, Live, Waiter};
use super::pipeline::Room;
use super::{Action, ConnectionId, Engine, Taken};
use crate::credential::Credential;
use crate::frame::{ErrorCode, FRAME_MAX, Frame, Header, Hello, Kind, VERSION, Welcome, WelcomeRow};
use crate::limits::RELEASE;
use crate::sessions::SessionId;
use crate::state::SessionOpened;

const SERVER_NAME: &str = concat!("qenex ", env!("CARGO_PKG_VERSION"));

impl<D: Disk> Engine<D> {
    pub(super) fn hello(
        &mut self,
        connection: ConnectionId,
        header: &Header,
        body: &[u8],
        actions: &mut Vec<Action>,
    ) -> Taken {
        match self.greet(connection, header, body, actions) {
            Ok(taken) => taken,
            Err((code, text)) => {
                self.refuse_connection(connection, header, code, text, actions);
                Taken::Yes
            }
        }
    }

    fn greet(
        &mut self,
        connection: ConnectionId,
        header: &Header,
        body: &[u8],
        actions: &mut Vec<Action>,
    ) -> Result<Taken, (ErrorCode, String)> {
        if !matches!(self.connections.get(&connection), Some(Connection::Stranger { .. } | Connection::Parked)) {
            return Err((
                ErrorCode::MalformedFrame,
                "hello is a connection's first frame, and its only one".to_owned(),
            ));
        }
        if !header.matches(body) {
            return Err((ErrorCode::MalformedFrame, "body_checksum is not that of the body".to_owned()));
        }
        let hello = Hello::read(body).map_err(|defect| (defect.code(), defect.to_string()))?;
        if !(hello.row.versions_min..=hello.row.versions_max).contains(&VERSION) {
            return Err((ErrorCode::UnsupportedVersion, format!("version {VERSION} is spoken here")));
        }
        let credential = Credential::find(&self.credentials, hello.credential)
            .ok_or_else(|| (ErrorCode::Unauthenticated, "the credential is not known here".to_owned()))?;
        let (principal, may_write) = (credential.principal, credential.may_write);
        if !self.introduced(connection) {
            let text = format!("{} connections are open, which is the limit", self.limits.connections_max);
            return Err((ErrorCode::Busy, text));
        }
        if header.book != [0; 16] && header.book != self.book {
            return Err((ErrorCode::WrongBook, "the credential is another book's".to_owned()));
        }
        let (window_requests, window_bytes) = self.limits.window(hello.row.window_requests, hello.row.window_bytes);
        let client =
            Client { session: header.session, principal, may_write, window_requests, window_bytes, refused: None };
        let greeting = Greeting { waiter: Waiter { connection, trace: header.trace }, client };
        if header.session == [0; 16] {
            self.welcome(&greeting, 0, actions);
            return Ok(Taken::Yes);
        }
        let expired = || (ErrorCode::SessionExpired, "the session is not known here (any more)".to_owned());
        if let Some(session) = self.state.sessions().get(&header.session) {
            if session.principal != client.principal {
                return Err(expired());
            }
            self.welcome(&greeting, session.highest, actions);
            return Ok(Taken::Yes);
        }
        if let Some(live) = self.live.get_mut(&header.session).filter(|live| !live.greetings.is_empty()) {
            // Its opening is under way. Whoever opens it first owns it.
            if live.greetings[0].client.principal != client.principal {
                return Err(expired());
            }
            live.greetings.push(greeting);
            self.connections.insert(connection, Connection::Greeting);
            return Ok(Taken::Yes);
        }
        if header.flags & Header::RESUME != 0 {
            return Err(expired());
        }
        if !client.may_write {
            return Err((ErrorCode::Forbidden, "the credential may only read: use a session of zeros".to_owned()));
        }
        self.open_session(header, greeting)
    }

    /// Appends the entry that opens the session; the welcome follows when it is applied.
    fn open_session(&mut self, header: &Header, greeting: Greeting) -> Result<Taken, (ErrorCode, String)> {
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
            session: header.session,
            trace: header.trace,
            ..EntryHeader::new(EntryKind::Session, timestamp)
        };
        self.pipeline.push(entry, &[], size_of::<SessionOpened>(), row.as_bytes(), self.clock.monotonic_ns());
        self.live.entry(header.session).or_default().greetings.push(greeting);
        self.connections.insert(greeting.waiter.connection, Connection::Greeting);
        Ok(Taken::Yes)
    }

    /// The session of waiting hellos is durable.
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
