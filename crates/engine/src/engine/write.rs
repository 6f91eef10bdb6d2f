//! Requests: what is wrong with them, and the way of a write into the group that is being built.

use qenex_journal::disk::Disk;
use qenex_journal::log::{EntryHeader, EntryKind};
use qenex_kernel::row::{EventResult, Transfer};

use super::connection::{Client, Connection, InFlight, Waiter};
use super::pipeline::Room;
use super::{Action, ConnectionId, Engine, Taken};
use crate::clock::SECOND_NS;
use crate::frame::{ErrorCode, Frame, HEADER_LENGTH, Header, Kind, Operation, Shape, checksum};
use crate::limits::CODE_RESERVED;
use crate::sessions::{Standing, Used};
use crate::state::fingerprint;

/// Why a request is refused.
pub(crate) type Refusal = (ErrorCode, String);

/// A request that was judged so far.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) connection: ConnectionId,
    pub(super) header: &'a Header,
    pub(super) client: Client,
    pub(super) operation: Operation,
    pub(super) context: &'a [u8],
    pub(super) rows: &'a [u8],
    pub(super) row_size: usize,
    pub(super) arrived_ns: u64,
}

impl<D: Disk> Engine<D> {
    pub(super) fn request(
        &mut self,
        connection: ConnectionId,
        header: &Header,
        body: &[u8],
        arrived_ns: u64,
        actions: &mut Vec<Action>,
    ) -> Taken {
        let Some(Connection::Open(client)) = self.connections.get(&connection).copied() else {
            let text = "a connection begins with hello, and waits for its welcome";
            self.refuse_connection(connection, header, ErrorCode::Unauthenticated, text, actions);
            return Taken::Yes;
        };
        let done = self.judge(connection, client, header, body, arrived_ns).and_then(|request| {
            if request.operation.writes() { self.write(&request, actions) } else { self.read(&request, actions) }
        });
        done.unwrap_or_else(|(code, text)| {
            self.refuse(connection, header, code, text, actions);
            Taken::Yes
        })
    }

    /// What can be said of a request without looking at what it would do.
    fn judge<'a>(
        &self,
        connection: ConnectionId,
        client: Client,
        header: &'a Header,
        body: &'a [u8],
        arrived_ns: u64,
    ) -> Result<Request<'a>, Refusal> {
        if !header.matches(body) {
            return Err((ErrorCode::MalformedFrame, "body_checksum is not that of the body".to_owned()));
        }
        let (context, rows) = header.split(body).map_err(|defect| (defect.code(), defect.to_string()))?;
        if header.book != self.book {
            return Err((ErrorCode::WrongBook, "the book is not the one that the credential opened".to_owned()));
        }
        if header.session != client.session {
            let text = "the session is not the one that the connection said hello for".to_owned();
            return Err((ErrorCode::SessionExpired, text));
        }
        if header.journal != 0 && header.journal != self.journal {
            return Err((ErrorCode::Moved, format!("journal {} is not served here", header.journal)));
        }
        let operation = Operation::from_number(header.operation)
            .ok_or_else(|| (ErrorCode::UnknownOperation, format!("operation {} is not known", header.operation)))?;
        let row_size = check_shape(operation, rows)?;
        let waited_us = self.clock.monotonic_ns().saturating_sub(arrived_ns) / 1_000;
        if header.deadline_us != 0 && waited_us > u64::from(header.deadline_us) {
            let text = format!("it waited {waited_us} us, its deadline was {} us", header.deadline_us);
            return Err((ErrorCode::DeadlineExceeded, text));
        }
        let here = (self.state.epoch(), self.state.entry());
        let asked = (header.position_epoch, header.position_entry);
        if asked.0 > here.0
            || asked.1 > here.1
            || (header.position_journal != 0 && header.position_journal != self.journal)
        {
            let text =
                format!("asked for entry {} of epoch {}, entry {} of {} is applied", asked.1, asked.0, here.1, here.0);
            return Err((ErrorCode::Stale, text));
        }
        let ahead_ns = header.seen_timestamp.saturating_sub(self.clock.wall_ns());
        // What was seen here is not ahead, though the wall clock was set back since.
        if ahead_ns > SECOND_NS && header.seen_timestamp > self.pipeline.last_timestamp() {
            let text = format!("seen_timestamp is {ahead_ns} ns ahead of the server's clock, at most 1 s is allowed");
            return Err((ErrorCode::ClockAhead, text));
        }
        Ok(Request { connection, header, client, operation, context, rows, row_size, arrived_ns })
    }

    fn write(&mut self, request: &Request<'_>, actions: &mut Vec<Action>) -> Result<Taken, Refusal> {
        let Request { header, client, operation, .. } = *request;
        if header.session == [0; 16] || !client.may_write {
            let text = format!("{} needs a session that may write", operation.name());
            return Err((ErrorCode::Forbidden, text));
        }
        // A body without context is its rows, and its checksum was compared.
        let rows_checksum = if header.context_length == 0 { header.body_checksum } else { checksum(request.rows) };
        let waiter = Waiter { connection: request.connection, trace: header.trace };
        if let Some(first) = self.live.get_mut(&header.session).and_then(|live| live.find(header.request)) {
            if (first.operation, first.rows_checksum) != (operation.number(), rows_checksum) {
                return Err(mismatch(header.request));
            }
            first.waiters.retain(|other| other.connection != waiter.connection);
            first.waiters.push(waiter);
            self.metrics.retries += 1;
            return Ok(Taken::Yes);
        }
        match self.state.sessions().standing(&header.session, header.request) {
            Standing::New => {}
            Standing::Used(used) if used.fingerprint == fingerprint(operation.number(), rows_checksum) => {
                let frame = self.answer_again(header, &used)?;
                self.metrics.retries += 1;
                actions.push(Action::Send { connection: request.connection, frame });
                return Ok(Taken::Yes);
            }
            Standing::Used(_) => return Err(mismatch(header.request)),
            Standing::TooOld => {
                let text = format!("request {} is more than 64 behind the session's highest", header.request);
                return Err((ErrorCode::RequestTooOld, text));
            }
            Standing::UnknownSession => {
                return Err((ErrorCode::SessionExpired, "the session is not known here any more".to_owned()));
            }
        }
        self.check_writable(header.seen_timestamp)?;
        if let Some(row) = self.reserved_id(operation, request.rows) {
            return Err((ErrorCode::ReservedId, format!("row {row}: ids with this high half are the engine's own")));
        }
        if let Some(row) = reserved_code(operation, request.rows) {
            return Err((
                ErrorCode::ReservedCode,
                format!("row {row}: codes from {CODE_RESERVED} on are the engine's own"),
            ));
        }
        let events = request.rows.len() / request.row_size;
        let timestamp = match self.room_for(request.context.len(), request.rows.len(), events, header.seen_timestamp)? {
            Room::At(timestamp) => timestamp,
            Room::None => return Ok(Taken::Parked),
        };
        let entry = EntryHeader {
            operation: operation.number(),
            session: header.session,
            request: header.request,
            trace: header.trace,
            ..EntryHeader::new(EntryKind::Command, timestamp)
        };
        let flush_at_ns = request.arrived_ns + u64::from(header.linger_us) * 1_000;
        self.pipeline.push(entry, request.context, request.row_size, request.rows, flush_at_ns);
        self.live.entry(header.session).or_default().push(InFlight {
            request: header.request,
            operation: operation.number(),
            rows_checksum,
            bytes: HEADER_LENGTH as u64 + u64::from(header.body_length),
            arrived_ns: request.arrived_ns,
            waiters: vec![waiter],
        });
        Ok(Taken::Yes)
    }

    /// Whether writes are taken at all.
    pub(super) fn check_writable(&self, seen_timestamp: u64) -> Result<(), Refusal> {
        if self.upkeep.stopping {
            return Err((ErrorCode::ShuttingDown, "the server is stopping".to_owned()));
        }
        if !self.clock.is_confirmed() {
            let text = "the wall clock jumped by over an hour, or was that far from the journal's last entry at the \
                        start; an operator must confirm it (qenex clock confirm)";
            return Err((ErrorCode::ClockUnconfirmed, text.to_owned()));
        }
        if seen_timestamp > qenex_kernel::row::TIMESTAMP_MAX {
            return Err((ErrorCode::ClockAhead, "seen_timestamp is above the last timestamp there is".to_owned()));
        }
        Ok(())
    }

    /// The first row whose id is one of the engine's own.
    fn reserved_id(&self, operation: Operation, rows: &[u8]) -> Option<usize> {
        let Shape::Rows { size, .. } = operation.shape() else { return None };
        if !matches!(operation, Operation::CreateAccounts | Operation::CreateTransfers) {
            return None;
        }
        let reserved = self.reserved_high.to_le_bytes();
        // Both kinds of row begin with the id; its high half is the second eight bytes.
        rows.chunks_exact(size).position(|row| row[8..16] == reserved)
    }

    /// The reply of a write that had its effect before, rebuilt from what the store keeps of it.
    fn answer_again(&self, header: &Header, used: &Used) -> Result<Frame, Refusal> {
        let store = self.state.machine().store();
        let (Some(entry), Some(results)) = (store.entry(used.entry), store.results_of_entry(used.entry)) else {
            let text = format!("entry {} had its effect, but its results cannot be found", used.entry);
            return Err((ErrorCode::UnknownOutcome, text));
        };
        let reply = Header {
            operation: header.operation,
            request: header.request,
            trace: header.trace,
            position_journal: self.journal,
            position_epoch: self.state.epoch(),
            position_entry: used.entry,
            timestamp: entry.timestamp,
            ..self.answer(Kind::Reply, header.session)
        };
        Ok(Frame::of(reply, results.len(), |rows: &mut Vec<EventResult>| rows.extend_from_slice(&results)))
    }
}

/// The first row whose code is one of the engine's own.
fn reserved_code(operation: Operation, rows: &[u8]) -> Option<usize> {
    const CODE: usize = core::mem::offset_of!(Transfer, code);
    let is_reserved = |row: &[u8]| u16::from_le_bytes([row[CODE], row[CODE + 1]]) >= CODE_RESERVED;
    let rows = if operation == Operation::CreateTransfers { rows } else { &[] };
    rows.chunks_exact(Transfer::SIZE).position(is_reserved)
}

fn mismatch(request: u64) -> Refusal {
    (ErrorCode::RequestMismatch, format!("request {request} was used for another operation or other rows"))
}

/// Judges the size of a body without its context; returns the size of a row.
pub(crate) fn check_shape(operation: Operation, rows: &[u8]) -> Result<usize, Refusal> {
    let name = operation.name();
    match operation.shape() {
        Shape::Empty if rows.is_empty() => Ok(1),
        Shape::Empty => Err((ErrorCode::InvalidSize, format!("{name} has no rows, the body has {} bytes", rows.len()))),
        Shape::Text if rows.is_empty() => Err((ErrorCode::InvalidSize, format!("{name} needs a text"))),
        Shape::Text => Ok(1),
        Shape::Rows { size, max } => {
            let count = rows.len() / size;
            if rows.is_empty() || !rows.len().is_multiple_of(size) {
                let text = format!("{name} needs whole rows of {size} bytes, at least one, not {} bytes", rows.len());
                return Err((ErrorCode::InvalidSize, text));
            }
            if count > max {
                return Err((ErrorCode::BatchTooLarge, format!("{name} takes at most {max} rows, not {count}")));
            }
            Ok(size)
        }
    }
}
