//! Connections and what is under way for their sessions.

use qenex_journal::disk::Disk;

use super::{Action, Admission, ConnectionId, Engine};
use crate::credential::Principal;
use crate::frame::{ErrorCode, HEADER_LENGTH, Header, Kind, Operation};
use crate::sessions::{SessionId, Standing};

/// A connection that is open.
#[derive(Clone, Copy, Debug)]
pub(super) enum Connection {
    /// It has not said hello.
    Fresh,
    /// Its hello waits until its session is durable.
    Greeting,
    /// It may ask.
    Open(Client),
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    pub(super) session: SessionId,
    pub(super) principal: Principal,
    pub(super) may_write: bool,
    pub(super) window_requests: u32,
    pub(super) window_bytes: u32,
}

/// Who gets an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    pub(super) connection: ConnectionId,
    pub(super) trace: [u8; 16],
}

/// A write that was accepted and is not answered.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    pub(super) request: u64,
    pub(super) operation: u16,
    /// XXH3-64 of its rows.
    pub(super) rows_checksum: u64,
    /// Bytes of its frame.
    pub(super) bytes: u64,
    pub(super) arrived_ns: u64,
    pub(super) waiters: Vec<Waiter>,
}

/// A hello that waits for the entry that opens its session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Greeting {
    pub(super) waiter: Waiter,
    pub(super) client: Client,
}

/// What is under way for a session.
#[derive(Clone, Debug, Default)]
pub(super) struct Live {
    pub(super) in_flight: Vec<InFlight>,
    pub(super) greetings: Vec<Greeting>,
}

impl Live {
    pub(super) fn find(&mut self, request: u64) -> Option<&mut InFlight> {
        self.in_flight.iter_mut().find(|in_flight| in_flight.request == request)
    }

    fn bytes(&self) -> u64 {
        self.in_flight.iter().map(|in_flight| in_flight.bytes).sum()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.greetings.is_empty()
    }
}

impl<D: Disk> Engine<D> {
    pub(super) fn opened(&mut self, connection: ConnectionId, actions: &mut Vec<Action>) {
        if self.connections.len() >= self.limits.connections_max as usize {
            let text = format!("{} connections are open, which is the limit", self.connections.len());
            self.refuse_connection(connection, &Header::ZERO, ErrorCode::Busy, text, actions);
            return;
        }
        self.connections.insert(connection, Connection::Fresh);
    }

    /// Judges a frame by its header alone: whether its session's window has room for it.
    pub fn admit(&mut self, connection: ConnectionId, header: &Header, actions: &mut Vec<Action>) -> Admission {
        let Some(Connection::Open(client)) = self.connections.get(&connection).copied() else { return Admission::Read };
        let writes = Operation::from_number(header.operation).is_some_and(Operation::writes);
        if header.kind() != Some(Kind::Request) || !writes || header.session != client.session {
            return Admission::Read;
        }
        let Some(live) = self.live.get_mut(&client.session) else { return Admission::Read };
        let bytes = HEADER_LENGTH as u64 + u64::from(header.body_length);
        let (requests, room) =
            (live.in_flight.len() as u64, u64::from(client.window_bytes).saturating_sub(live.bytes()));
        // A retry takes no room: it is answered with the first.
        let is_retry = live.find(header.request).is_some()
            || matches!(self.state.sessions().standing(&client.session, header.request), Standing::Used(_));
        if is_retry || (requests < u64::from(client.window_requests) && bytes <= room) {
            return Admission::Read;
        }
        let text = format!(
            "{requests} requests of the session are unanswered, {} are allowed; {bytes} bytes more, {room} are left",
            client.window_requests
        );
        self.refuse(connection, header, ErrorCode::Busy, text, actions);
        Admission::Skip
    }
}
