//! Connections and what is under way for their sessions.

use std::collections::{BTreeSet, VecDeque};

use qenex_journal::disk::Disk;

use super::{Action, Admission, ConnectionId, Engine};
use crate::clock::SECOND_NS;
use crate::credential::{Credential, Fingerprint, Principal, Transcript};
use crate::frame::{ErrorCode, HEADER_LENGTH, HELLO_MAX, Header, Kind, Operation};
use crate::limits::HELLO_WITHIN_NS;
use crate::sessions::{SessionId, Standing};

/// How long a refused request is waited for before those after it are taken: many times what its client was told to
/// wait.
const GIVEN_UP_NS: u64 = SECOND_NS;

/// A connection that is open.
#[derive(Clone, Copy, Debug)]
pub(super) enum Connection {
    /// It has not said who it is.
    Stranger {
        /// When it was opened.
        since_ns: u64,
        /// Its hello, to which it was sent a challenge.
        asked: Option<Asked>,
    },
    /// Its proof is good and found no room: it will be offered again.
    Parked(Asked),
    /// Its welcome waits until its session is durable.
    Greeting {
        /// Of its credential.
        fingerprint: Fingerprint,
    },
    /// It may ask.
    Open(Client),
}

/// What is kept of a hello until its proof comes: as little of any hello, for it takes no credential to say one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) session: SessionId,
    pub(super) book: [u8; 16],
    pub(super) trace: [u8; 16],
    pub(super) resume: bool,
    pub(super) window_requests: u32,
    pub(super) window_bytes: u32,
    /// Of the credential. It is looked up again when the proof comes: it may have been taken away meanwhile.
    pub(super) fingerprint: Fingerprint,
    pub(super) transcript: Transcript,
}

/// Connections that have not said who they are, by age: it takes no credential to be one, so they get little time, and
/// the oldest makes room for the next.
#[derive(Debug, Default)]
pub(super) struct Strangers(BTreeSet<(u64, ConnectionId)>);

impl Strangers {
    fn oldest(&self) -> Option<ConnectionId> {
        self.0.first().map(|(_, connection)| *connection)
    }

    /// When the oldest will have had its time.
    pub(super) fn until_ns(&self) -> Option<u64> {
        self.0.first().map(|(since_ns, _)| since_ns.saturating_add(HELLO_WITHIN_NS))
    }

    fn is_overdue(&self, now_ns: u64) -> bool {
        self.until_ns().is_some_and(|until_ns| until_ns <= now_ns)
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    pub(super) session: SessionId,
    pub(super) fingerprint: Fingerprint,
    pub(super) principal: Principal,
    pub(super) may_write: bool,
    pub(super) window_requests: u32,
    pub(super) window_bytes: u32,
    /// The writes that it was told to send again.
    pub(super) refused: Option<Refused>,
}

/// Writes that a connection was told to send again, and that nothing sent after them may overtake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The lowest number.
    first: u64,
    /// Bit i: number `first + 1 + i` too. One further above cannot be waiting beside it: see [`Standing::TooOld`].
    after: u64,
    /// Whoever has not sent the first again by then has given them up.
    until_ns: u64,
}

impl Refused {
    /// With this one too; `now_ns` counts if it is the first.
    fn and(this: Option<Self>, request: u64, now_ns: u64) -> Self {
        let until_ns = now_ns.saturating_add(GIVEN_UP_NS);
        match this {
            None => Self { first: request, after: 0, until_ns },
            Some(this) if request > this.first => Self { after: this.after | bit(request - this.first - 1), ..this },
            Some(this) if request == this.first => Self { until_ns, ..this },
            Some(this) => {
                let distance = this.first - request;
                let after = u32::try_from(distance).ok().and_then(|distance| this.after.checked_shl(distance));
                Self { first: request, after: after.unwrap_or(0) | bit(distance - 1), until_ns }
            }
        }
    }

    /// Without this one, which came again and is taken.
    fn without(self, request: u64, now_ns: u64) -> Option<Self> {
        if request != self.first {
            return Some(self);
        }
        let next = self.after.trailing_zeros();
        let after = self.after.checked_shr(next)? >> 1;
        Some(Self { first: self.first + 1 + u64::from(next), after, until_ns: now_ns.saturating_add(GIVEN_UP_NS) })
    }
}

/// 0 for numbers that are too far away.
fn bit(index: u64) -> u64 {
    u32::try_from(index).ok().and_then(|index| 1_u64.checked_shl(index)).unwrap_or(0)
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
    /// In the order of their entries.
    in_flight: VecDeque<InFlight>,
    /// Bytes of all their frames.
    bytes: u64,
    /// No request above it is among them: most are not looked for any further.
    highest: u64,
    pub(super) greetings: Vec<Greeting>,
}

impl Live {
    pub(super) fn find(&mut self, request: u64) -> Option<&mut InFlight> {
        if request > self.highest {
            return None;
        }
        self.in_flight.iter_mut().find(|in_flight| in_flight.request == request)
    }

    /// The requests that are under way.
    pub(super) fn requests(&self) -> impl ExactSizeIterator<Item = u64> {
        self.in_flight.iter().map(|in_flight| in_flight.request)
    }

    /// A request was accepted.
    pub(super) fn push(&mut self, in_flight: InFlight) {
        self.bytes += in_flight.bytes;
        self.highest = self.highest.max(in_flight.request);
        self.in_flight.push_back(in_flight);
    }

    /// A request is answered: entries are applied in order, so that it is the first.
    pub(super) fn take(&mut self, request: u64) -> Option<InFlight> {
        let in_flight = self.in_flight.pop_front_if(|first| first.request == request)?;
        self.bytes -= in_flight.bytes;
        Some(in_flight)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.greetings.is_empty()
    }
}

impl<D: Disk> Engine<D> {
    pub(super) fn opened(&mut self, connection: ConnectionId, actions: &mut Vec<Action>) {
        if self.strangers.0.len() >= self.limits.strangers_max.max(1) as usize
            && let Some(oldest) = self.strangers.oldest()
        {
            // Whoever has a credential gets in, however many others come: a hello takes little time.
            let text = "another connection came, and of those that have not said hello this one is the oldest";
            self.refuse_connection(oldest, &Header::ZERO, ErrorCode::Busy, text, actions);
        }
        let since_ns = self.clock.monotonic_ns();
        self.connections.insert(connection, Connection::Stranger { since_ns, asked: None });
        self.strangers.0.insert((since_ns, connection));
    }

    /// A connection has proven who it is. False if so many have that there is no place for it.
    pub(super) fn introduced(&mut self, connection: ConnectionId, asked: Asked) -> bool {
        let before = self.connections.insert(connection, Connection::Parked(asked));
        if let Some(Connection::Stranger { since_ns, .. }) = before {
            self.strangers.0.remove(&(since_ns, connection));
        }
        self.connections.len() - self.strangers.0.len() <= self.limits.connections_max as usize
    }

    /// From here on these credentials open the book. Who came with one that does not any more is told so and gone at once;
    /// what was accepted of it still happens. Who came with one that may do something else now, may do that.
    pub(super) fn set_credentials(&mut self, credentials: Vec<Credential>, actions: &mut Vec<Action>) {
        let before = core::mem::replace(&mut self.credentials, super::by_fingerprint(credentials));
        let is_kept = |fingerprint: &Fingerprint| {
            let (Some(old), Some(new)) = (before.get(fingerprint), self.credentials.get(fingerprint)) else {
                return None;
            };
            old.is_same_secret(new).then_some(*new)
        };
        let mut gone = Vec::new();
        for (connection, state) in &mut self.connections {
            let client = match state {
                Connection::Open(client) => client,
                Connection::Parked(Asked { fingerprint, .. }) | Connection::Greeting { fingerprint } => {
                    if is_kept(fingerprint).is_none() {
                        gone.push(*connection);
                    }
                    continue;
                }
                // Whoever has not proven anything yet will be asked what it knows.
                Connection::Stranger { .. } => continue,
            };
            match is_kept(&client.fingerprint) {
                Some(credential) => client.may_write = credential.may_write,
                None => gone.push(*connection),
            }
        }
        for live in self.live.values_mut() {
            for greeting in &mut live.greetings {
                if let Some(credential) = is_kept(&greeting.client.fingerprint) {
                    greeting.client.may_write = credential.may_write;
                }
            }
        }
        for connection in gone {
            let text = "the credential does not open the book any more";
            self.refuse_connection(connection, &Header::ZERO, ErrorCode::Unauthenticated, text, actions);
        }
    }

    /// A connection is over.
    pub(super) fn forget_connection(&mut self, connection: ConnectionId) {
        self.readings.forget(connection);
        if let Some(Connection::Stranger { since_ns, .. }) = self.connections.remove(&connection) {
            self.strangers.0.remove(&(since_ns, connection));
        }
    }

    /// Ends the connections that had their time to say who they are.
    pub(super) fn dismiss_strangers(&mut self, actions: &mut Vec<Action>) {
        let now_ns = self.clock.monotonic_ns();
        while self.strangers.is_overdue(now_ns)
            && let Some(oldest) = self.strangers.oldest()
        {
            let text = format!("no proof of a credential came within {} s", HELLO_WITHIN_NS / SECOND_NS);
            self.refuse_connection(oldest, &Header::ZERO, ErrorCode::Unauthenticated, text, actions);
        }
    }

    /// Judges a frame by its header alone: whether there is room for it, in its session's window once it has one.
    pub fn admit(&mut self, connection: ConnectionId, header: &Header, actions: &mut Vec<Action>) -> Admission {
        let Some(Connection::Open(client)) = self.connections.get(&connection).copied() else {
            return self.admit_stranger(connection, header, actions);
        };
        let writes = Operation::from_number(header.operation).is_some_and(Operation::writes);
        if header.kind() != Some(Kind::Request) || !writes || header.session != client.session {
            return Admission::Read;
        }
        let live = self.live.get_mut(&client.session);
        if live.is_none() && client.refused.is_none() {
            return Admission::Read;
        }
        let (is_under_way, requests, used_bytes) = live.map_or((false, 0, 0), |live| {
            (live.find(header.request).is_some(), live.in_flight.len() as u64, live.bytes)
        });
        // A retry takes no room: it is answered with the first.
        if is_under_way || matches!(self.state.sessions().standing(&client.session, header.request), Standing::Used(_))
        {
            return Admission::Read;
        }
        let now_ns = self.clock.monotonic_ns();
        let refused = client.refused.filter(|refused| now_ns < refused.until_ns);
        let bytes = HEADER_LENGTH as u64 + u64::from(header.body_length);
        let room = u64::from(client.window_bytes).saturating_sub(used_bytes);
        let text = if let Some(refused) = refused.filter(|refused| refused.first < header.request) {
            // There may be room by now, but what was sent ahead keeps its order.
            format!("request {} was refused before it, and goes first", refused.first)
        } else if requests < u64::from(client.window_requests) && bytes <= room {
            if client.refused.is_some() {
                self.set_refused(connection, refused.and_then(|refused| refused.without(header.request, now_ns)));
            }
            return Admission::Read;
        } else {
            format!(
                "{requests} requests of the session are unanswered, {} are allowed; {bytes} bytes more, {room} are left",
                client.window_requests
            )
        };
        self.set_refused(connection, Some(Refused::and(refused, header.request, now_ns)));
        self.refuse(connection, header, ErrorCode::Busy, text, actions);
        Admission::Skip
    }

    /// Who has not been welcomed gets no memory for more than a hello: it takes no credential to connect.
    fn admit_stranger(&mut self, connection: ConnectionId, header: &Header, actions: &mut Vec<Action>) -> Admission {
        if header.body_length as usize <= HELLO_MAX {
            return Admission::Read;
        }
        let text = format!("before its welcome a connection may send a body of {HELLO_MAX} bytes, a hello's at most");
        self.refuse_connection(connection, header, ErrorCode::FrameTooLarge, text, actions);
        Admission::Skip
    }

    fn set_refused(&mut self, connection: ConnectionId, refused: Option<Refused>) {
        if let Some(Connection::Open(client)) = self.connections.get_mut(&connection) {
            client.refused = refused;
        }
    }
}
