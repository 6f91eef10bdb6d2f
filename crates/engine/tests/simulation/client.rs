//! A client: it keeps its window, remembers what it has no answer for, and sends that again with the same number.

use std::collections::BTreeMap;

use qenex_engine::credential::{Keys, transcript};
use qenex_engine::frame::{
    ChallengeRow, ErrorCode, Frame, Header, Hello, HelloRow, Judgement, Kind, Operation, VERSION, Welcome, judge,
    request_frame,
};
use qenex_journal::disk::sim::Random;
use qenex_kernel::row::{
    Account, AccountFilter, AccountTerms, BalanceAt, ChangeEventsFilter, Id, Transfer, account_flags, transfer_flags,
};
use zerocopy::IntoBytes;

use crate::model::{Key, Model, Sent};
use crate::{BOOK, Failed, Outcome, SECRET, Stats, ensure};

/// Accounts that all clients use.
const ACCOUNTS: u64 = 9;
/// Reads use numbers of their own, far above.
pub const READS: u64 = 1 << 40;
/// A trace that says: this is the number of another request, and must be refused.
const MISUSED: [u8; 16] = [0xEE; 16];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// No connection.
    Down,
    /// Hello is said, or the proof after it.
    Greeting,
    /// Welcome was heard.
    Up,
}

pub struct Client {
    index: u64,
    session: [u8; 16],
    line: Line,
    /// The hello of its connection.
    hello: Vec<u8>,
    /// The proof that is to follow it.
    proof: Option<Vec<u8>>,
    /// The session was welcomed once, so it is durable.
    welcomed: bool,
    /// Numbers given so far.
    next: u64,
    /// Requests without an answer at most, as asked for and as granted.
    window: usize,
    /// It has given its connection up.
    pub leaves: bool,
    /// Without an answer, by number; whether it is on its way on this connection.
    unanswered: BTreeMap<u64, bool>,
    /// The newest with an answer.
    answered: Vec<u64>,
    /// The newest position and timestamp that it has heard of.
    seen: (u64, u64, u64),
    clock_unconfirmed: bool,
    /// Its connection is for the clock alone.
    confirms: bool,
    /// Requests of sessions that went away.
    pub abandoned: Vec<Key>,
    next_id: u64,
    next_read: u64,
    pending: Vec<u128>,
}

impl Client {
    pub fn new(index: u64, random: &mut Random) -> Self {
        Self {
            index,
            session: session(random),
            line: Line::Down,
            hello: Vec::new(),
            proof: None,
            welcomed: false,
            next: 1,
            window: 1 + pick(random, 8),
            leaves: false,
            unanswered: BTreeMap::new(),
            answered: Vec::new(),
            seen: (0, 0, 0),
            clock_unconfirmed: false,
            confirms: false,
            abandoned: Vec::new(),
            next_id: 0,
            next_read: READS,
            pending: Vec::new(),
        }
    }

    /// Its connection is gone.
    pub fn hang_up(&mut self) {
        self.line = Line::Down;
        self.proof = None;
        self.leaves = false;
        self.confirms = false;
        self.unanswered.values_mut().for_each(|under_way| *under_way = false);
    }

    /// Whether it has an answer for everything.
    pub fn is_done(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// Does something; returns a frame to send. Without `new` it only asks again what it has no answer for.
    pub fn act(&mut self, random: &mut Random, model: &mut Model, wall_ns: u64, new: bool) -> Option<Vec<u8>> {
        match self.line {
            Line::Down => return Some(self.hello()),
            Line::Greeting => return self.proof.take(),
            Line::Up => {}
        }
        if self.confirms {
            // A session of zeros may do this and no write.
            let confirm = self.clock_unconfirmed;
            self.clock_unconfirmed = false;
            return confirm.then(|| self.ask(Operation::ConfirmClock, &[]));
        }
        let waiting = self.unanswered.iter().find(|(_, under_way)| !**under_way).map(|(request, _)| *request);
        let under_way = self.unanswered.values().filter(|under_way| **under_way).count();
        if let Some(request) = waiting.filter(|_| under_way < self.window) {
            // In order: what was refused goes first.
            self.unanswered.insert(request, true);
            return Some(self.write_frame(request, random, model, wall_ns, new));
        }
        if !new {
            return None;
        }
        match random.below(20) {
            0 if !self.answered.is_empty() => {
                let request = self.answered[pick(random, self.answered.len())];
                Some(self.write_frame(request, random, model, wall_ns, new))
            }
            1 if !self.answered.is_empty() => {
                let request = self.answered[pick(random, self.answered.len())];
                let header = Header { trace: MISUSED, ..self.request(Operation::CreateAccounts, request) };
                let row = Account { id: 1 << 90, ledger: 1, code: 1, ..Account::ZERO };
                Some(frame(header, &[], row.as_bytes()))
            }
            2 => {
                // Sent twice, whatever for.
                let under_way = self.unanswered.keys().next().copied()?;
                Some(self.write_frame(under_way, random, model, wall_ns, new))
            }
            3..6 => Some(self.read(random)),
            _ => {
                let oldest = self.unanswered.keys().next().copied().unwrap_or(self.next);
                if self.unanswered.len() >= self.window || self.next >= oldest + 64 {
                    return None;
                }
                let request = self.next;
                self.next += 1;
                let sent = self.invent(random);
                model.send((self.session, request), sent);
                self.unanswered.insert(request, true);
                Some(self.write_frame(request, random, model, wall_ns, new))
            }
        }
    }

    fn hello(&mut self) -> Vec<u8> {
        self.line = Line::Greeting;
        let row = HelloRow {
            versions_min: VERSION,
            versions_max: VERSION,
            window_requests: u32::try_from(self.window).expect("small"),
            fingerprint: Keys::of(SECRET).fingerprint,
            ..HelloRow::default()
        };
        let mut body = Vec::new();
        Hello { row, name: "simulated" }.write(&mut body);
        self.confirms = self.clock_unconfirmed;
        let flags = if self.welcomed && !self.confirms { Header::RESUME } else { 0 };
        let header = Header { session: self.spoken_for(), flags, ..Header::of(Kind::Hello) };
        self.hello = Frame::copied(header, &body).bytes().to_vec();
        self.hello.clone()
    }

    /// The session of its connection.
    fn spoken_for(&self) -> [u8; 16] {
        if self.confirms { [0; 16] } else { self.session }
    }

    fn request(&self, operation: Operation, request: u64) -> Header {
        Header {
            operation: operation.number(),
            book: BOOK,
            session: self.spoken_for(),
            request,
            ..Header::of(Kind::Request)
        }
    }

    fn write_frame(&self, request: u64, random: &mut Random, model: &Model, wall_ns: u64, new: bool) -> Vec<u8> {
        let sent = model.sent(&(self.session, request)).expect("it was sent before");
        let mut header = self.request(sent.operation, request);
        if new {
            header.linger_us = if random.chance(200) { u32::try_from(random.below(1_001)).expect("small") } else { 0 };
            header.deadline_us = if random.chance(50) { 1 } else { 0 };
            header.seen_timestamp = match random.below(8) {
                0 => self.seen.2,
                1 => wall_ns + random.below(1_200_000_000),
                _ => 0,
            };
        }
        frame(header, &sent.context, &sent.rows)
    }

    fn ask(&mut self, operation: Operation, rows: &[u8]) -> Vec<u8> {
        self.next_read += 1;
        let (position_epoch, position_entry, _) = self.seen;
        frame(Header { position_epoch, position_entry, ..self.request(operation, self.next_read) }, &[], rows)
    }

    fn read(&mut self, random: &mut Random) -> Vec<u8> {
        let account = u128::from(1 + random.below(ACCOUNTS));
        match random.below(6) {
            0 => {
                let ids: Vec<Id> = (1..=ACCOUNTS).map(|id| Id { id: u128::from(id) }).collect();
                self.ask(Operation::LookupAccounts, ids.as_bytes())
            }
            operation @ 1..3 => {
                let ids: Vec<Id> = (0..8).map(|_| Id { id: self.known_id(random) }).collect();
                let operation = if operation == 1 { Operation::LookupTransfers } else { Operation::LookupOutcomes };
                self.ask(operation, ids.as_bytes())
            }
            3 => {
                let timestamp = self.seen.2.saturating_sub(random.below(2_000_000_000)).max(1);
                let row = BalanceAt { account_id: account, timestamp, ..BalanceAt::ZERO };
                self.ask(Operation::BalanceAt, row.as_bytes())
            }
            4 => {
                let flags = u32::try_from(1 + random.below(7)).expect("small");
                let limit = u32::try_from(1 + random.below(40)).expect("small");
                let filter = AccountFilter { account_id: account, limit, flags, ..AccountFilter::ZERO };
                self.ask(Operation::GetAccountTransfers, filter.as_bytes())
            }
            _ => {
                let timestamp_min = self.seen.2.saturating_sub(random.below(2_000_000_000));
                let filter = ChangeEventsFilter { timestamp_min, limit: 20, ..ChangeEventsFilter::ZERO };
                self.ask(Operation::GetChangeEvents, filter.as_bytes())
            }
        }
    }

    /// A write that nobody has sent before.
    fn invent(&mut self, random: &mut Random) -> Sent {
        let count = usize::try_from(random.below(300)).expect("small");
        let context = if random.chance(300) { vec![7; count.min(256)] } else { Vec::new() };
        let sent = |operation, rows: &[u8]| Sent { operation, context, rows: rows.to_vec() };
        match random.below(20) {
            _ if self.next == 2 => sent(Operation::CreateAccounts, accounts(random).as_bytes()),
            0 => sent(Operation::CreateAccounts, accounts(random).as_bytes()),
            1 => {
                let row = AccountTerms {
                    account_id: u128::from(1 + random.below(ACCOUNTS)),
                    debit_limit: u128::from(random.below(20)),
                    restrictions: u32::from(random.chance(200)),
                    ..AccountTerms::ZERO
                };
                sent(Operation::SetAccountTerms, row.as_bytes())
            }
            _ => {
                // Some take more than one block of the disk.
                let count = if random.chance(100) { 30 } else { random.below(6) };
                let rows: Vec<Transfer> = (0..=count).map(|_| self.transfer(random)).collect();
                sent(Operation::CreateTransfers, rows.as_bytes())
            }
        }
    }

    fn transfer(&mut self, random: &mut Random) -> Transfer {
        // One account too many, so that some are not found and burn their id.
        let side = |random: &mut Random| u128::from(1 + random.below(ACCOUNTS + 1));
        let id = if random.chance(50) { self.known_id(random) } else { self.new_id() };
        let linked = if random.chance(250) { transfer_flags::LINKED } else { 0 };
        let row = Transfer { id, flags: linked, ..Transfer::ZERO };
        if !self.pending.is_empty() && random.chance(200) {
            let pending_id = self.pending[pick(random, self.pending.len())];
            return if random.chance(500) {
                let amount = if random.chance(500) { u128::MAX } else { u128::from(random.below(5)) };
                Transfer { pending_id, amount, flags: linked | transfer_flags::POST_PENDING_TRANSFER, ..row }
            } else {
                Transfer { pending_id, flags: linked | transfer_flags::VOID_PENDING_TRANSFER, ..row }
            };
        }
        let mut flags = linked;
        let mut timeout = 0;
        match random.below(10) {
            0..3 => {
                flags |= transfer_flags::PENDING;
                timeout = u32::try_from(random.below(4)).expect("small");
                self.pending.push(id);
            }
            3 => flags |= transfer_flags::BALANCING_DEBIT,
            4 if random.chance(200) => {
                flags |= transfer_flags::PENDING | transfer_flags::CLOSING_DEBIT;
                timeout = 1;
            }
            _ => {}
        }
        let (debit_account_id, credit_account_id) = (side(random), side(random));
        let amount = u128::from(random.below(12));
        Transfer { debit_account_id, credit_account_id, amount, timeout, flags, ledger: 978, code: 1, ..row }
    }

    fn new_id(&mut self) -> u128 {
        self.next_id += 1;
        u128::from(self.index + 1) << 64 | u128::from(self.next_id)
    }

    fn known_id(&self, random: &mut Random) -> u128 {
        u128::from(self.index + 1) << 64 | u128::from(1 + random.below(self.next_id + 2))
    }

    /// A frame came in.
    pub fn hear(&mut self, bytes: &[u8], random: &mut Random, model: &Model, stats: &mut Stats) -> Outcome {
        let (head, body) = bytes.split_first_chunk().ok_or_else(|| Failed("half a frame was sent".to_owned()))?;
        let Judgement::Good(header, kind) = judge(head) else {
            return Err(Failed("the engine sent a frame with a wrong header".to_owned()));
        };
        ensure(header.matches(body), || "the engine sent a frame with a wrong body".to_owned())?;
        match kind {
            Kind::Challenge => {
                let row = ChallengeRow::read(body)?;
                let (keys, transcript) = (Keys::of(SECRET), transcript(&self.hello, &[], &row.nonce));
                ensure(keys.is_proven(&transcript, &row.proof), || "the engine proves nothing".to_owned())?;
                self.proof = Some(Frame::copied(Header::of(Kind::Proof), &keys.proof(&transcript)).bytes().to_vec());
                Ok(())
            }
            Kind::Welcome => {
                let welcome = Welcome::read(body)?;
                ensure(welcome.row.highest_request < self.next, || "requests that were never sent".to_owned())?;
                ensure(welcome.row.window_requests as usize == self.window, || "another window".to_owned())?;
                self.line = Line::Up;
                self.welcomed |= !self.confirms;
                Ok(())
            }
            Kind::Reply => {
                if header.request >= READS {
                    self.leaves = self.confirms;
                    return Ok(());
                }
                let key = (self.session, header.request);
                ensure(model.is_answered(&key), || "a reply that the engine never made".to_owned())?;
                let position = (header.position_epoch, header.position_entry, header.timestamp);
                self.seen = (self.seen.0.max(position.0), self.seen.1.max(position.1), self.seen.2.max(position.2));
                if self.unanswered.remove(&header.request).is_some() {
                    self.answered.push(header.request);
                    let begin = self.answered.len().saturating_sub(40);
                    self.answered.drain(..begin);
                }
                Ok(())
            }
            Kind::Error => self.refused(&header, body, random, model, stats),
            Kind::Goodbye => Ok(()),
            _ => Err(Failed(format!("the engine sent a {kind:?}"))),
        }
    }

    fn refused(
        &mut self,
        header: &Header,
        body: &[u8],
        random: &mut Random,
        model: &Model,
        stats: &mut Stats,
    ) -> Outcome {
        let code = ErrorCode::from_number(header.error).ok_or_else(|| Failed("an error without a code".to_owned()))?;
        stats.refused(code);
        let said = || format!("{code}: {}", String::from_utf8_lossy(body));
        if code == ErrorCode::Busy {
            // It keeps its window. Only of a session that is not known any more the engine cannot tell what is sent again.
            ensure(stats.sessions_are_few, said)?;
        }
        if header.trace == MISUSED {
            let right = match code {
                ErrorCode::RequestMismatch | ErrorCode::RequestTooOld => true,
                ErrorCode::SessionExpired | ErrorCode::Busy => stats.sessions_are_few,
                _ => false,
            };
            return ensure(right, said);
        }
        match code {
            ErrorCode::SessionExpired => {
                // Where it is found out that nobody knows any more: a new session, and the old one's requests stay open.
                ensure(stats.sessions_are_few, said)?;
                let lost = self.unanswered.keys().filter(|request| !model.is_answered(&(self.session, **request)));
                self.abandoned.extend(lost.map(|request| (self.session, *request)));
                self.unanswered.clear();
                self.answered.clear();
                self.session = session(random);
                self.welcomed = false;
                self.next = 1;
                self.leaves = true;
                Ok(())
            }
            // The connection's end, which it finds out about next.
            ErrorCode::Unauthenticated => Ok(()),
            ErrorCode::RequestTooOld if model.is_answered(&(self.session, header.request)) => Ok(()),
            ErrorCode::Busy
            | ErrorCode::DeadlineExceeded
            | ErrorCode::StorageFull
            | ErrorCode::ShuttingDown
            | ErrorCode::ClockAhead
            | ErrorCode::ClockUnconfirmed => {
                if code == ErrorCode::ClockUnconfirmed {
                    self.clock_unconfirmed = true;
                    self.leaves = true;
                }
                if let Some(under_way) = self.unanswered.get_mut(&header.request) {
                    *under_way = false;
                }
                Ok(())
            }
            _ => Err(Failed(said())),
        }
    }
}

fn session(random: &mut Random) -> [u8; 16] {
    let mut session = [1; 16];
    session[..8].copy_from_slice(&random.next_u64().to_le_bytes());
    session
}

fn pick(random: &mut Random, count: usize) -> usize {
    usize::try_from(random.below(count as u64)).expect("small")
}

fn accounts(random: &mut Random) -> Vec<Account> {
    let flags = |random: &mut Random| match random.below(6) {
        0 => account_flags::DEBITS_MUST_NOT_EXCEED_CREDITS,
        1 => account_flags::CREDITS_MUST_NOT_EXCEED_DEBITS,
        2 => account_flags::HISTORY,
        _ => 0,
    };
    let ids = 1..=ACCOUNTS;
    ids.map(|id| Account { id: u128::from(id), ledger: 978, code: 1, flags: flags(random), ..Account::ZERO }).collect()
}

fn frame(header: Header, context: &[u8], rows: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    request_frame(&mut bytes, header, context, rows);
    bytes
}
