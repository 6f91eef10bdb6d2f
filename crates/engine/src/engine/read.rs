//! Reads, and the operations on the server itself. They are answered from what is applied, which is durable: at once, or
//! in steps where that could take longer than others can wait.

use qenex_journal::derived::LedgerStore;
use qenex_journal::disk::Disk;
use qenex_kernel::machine::Misuse;
use qenex_kernel::row::{
    Account, AccountFilter, AccountTerms, BATCH_MAX, BalanceAt, CHANGE_EVENTS_MAX, ChangeEventsFilter, Id, Outcome,
    QueryFilter,
};
use qenex_kernel::store::{History, Progress, Store};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::reading::{self, Ledger, Step};
use super::write::{Refusal, Request};
use super::{Action, Engine, Taken};
use crate::clock::SECOND_NS;
use crate::frame::{ErrorCode, Frame, Header, Kind, Operation, Row, Status};
use crate::limits::RELEASE;
use crate::metrics::Gauges;

/// Things that one step looks up: each may have to be read from the disk.
const PIECE: usize = 64;

impl<D: Disk> Engine<D> {
    pub(super) fn read(&mut self, request: &Request<'_>, actions: &mut Vec<Action>) -> Result<Taken, Refusal> {
        let header = Header {
            operation: request.header.operation,
            request: request.header.request,
            trace: request.header.trace,
            position_journal: self.journal,
            position_epoch: self.state.epoch(),
            position_entry: self.state.entry(),
            timestamp: self.state.timestamp(),
            ..self.answer(Kind::Reply, request.header.session)
        };
        if request.operation.is_of_system() {
            let text = format!("{} is for the credential of the system", request.operation.name());
            return Err((ErrorCode::Forbidden, text));
        }
        if request.operation == Operation::Backup {
            self.must_be_owner(request)?;
            return self.backup(request, header, actions);
        }
        match self.run(request, header)? {
            Answer::Whole(frame) => {
                self.metrics.reads += 1;
                actions.push(Action::Send { connection: request.connection, frame });
            }
            Answer::InSteps(step) => self.begin_reading(request.connection, request.header, step, actions)?,
        }
        Ok(Taken::Yes)
    }

    fn run(&mut self, request: &Request<'_>, header: Header) -> Result<Answer<D>, Refusal> {
        let body = request.rows;
        let machine = self.state.machine();
        let count = body.len() / request.row_size;
        let newest = machine.store().last_transfer_timestamp();
        let mut misuse = Ok(());
        let answer = match request.operation {
            Operation::LookupAccounts => Answer::of(header, count, |out: &mut Vec<Account>| {
                misuse = machine.lookup_accounts(&rows_of::<Id>(body), out);
            }),
            Operation::LookupAccountTerms => Answer::of(header, count, |out: &mut Vec<AccountTerms>| {
                misuse = machine.lookup_account_terms(&rows_of::<Id>(body), out);
            }),
            Operation::LookupOutcomes => Answer::of(header, count, |out: &mut Vec<Outcome>| {
                misuse = machine.lookup_outcomes(&rows_of::<Id>(body), out);
            }),
            Operation::LookupTransfers => Answer::in_pieces(
                header,
                rows_of::<Id>(body),
                |_| true,
                |ledger, ids, out| ledger.lookup_transfers(ids, out),
            ),
            Operation::LookupHashes => Answer::in_pieces(
                header,
                rows_of::<[u8; 32]>(body),
                |ledger| ledger.store().prepare_hashes(),
                |ledger, hashes, out| ledger.lookup_hashes(hashes, out),
            ),
            Operation::BalanceAt => Answer::in_pieces(
                header,
                rows_of::<BalanceAt>(body),
                |ledger| ledger.store().prepare_balances(),
                |ledger, questions, out| ledger.balance_at(questions, out),
            ),
            Operation::GetAccountTransfers => {
                let filter = account_filter(body, newest)?;
                Answer::found(header, filter, filter.is_valid(), LedgerStore::get_account_transfers)
            }
            Operation::GetAccountBalances => {
                let filter = account_filter(body, newest)?;
                Answer::found(header, filter, filter.is_valid(), LedgerStore::get_account_balances)
            }
            Operation::QueryTransfers => {
                let filter = query_filter(body, newest)?;
                Answer::found(header, filter, filter.is_valid(), LedgerStore::query_transfers)
            }
            Operation::QueryAccounts => {
                let filter = query_filter(body, machine.store().last_account_timestamp())?;
                Answer::in_steps(header, 0, accounts_of_one_moment(filter))
            }
            Operation::GetChangeEvents => {
                let filter = filter_of::<ChangeEventsFilter>(body, |filter| filter.limit, CHANGE_EVENTS_MAX)?;
                let mut events = Vec::new();
                machine.get_change_events(&filter, &mut events);
                Answer::Whole(Frame::copied(header, events.as_bytes()))
            }
            Operation::GetStatus => Answer::Whole(Frame::copied(header, self.status().as_bytes())),
            Operation::GetMetrics => {
                Answer::Whole(Frame::copied(header, self.metrics.render(&self.gauges()).as_bytes()))
            }
            Operation::ConfirmClock => {
                self.must_be_owner(request)?;
                self.clock.confirm();
                Answer::Whole(Frame::copied(header, &[]))
            }
            // These are answered elsewhere.
            Operation::Backup
            | Operation::CreateAccounts
            | Operation::CreateTransfers
            | Operation::SetAccountTerms
            | Operation::CreateBook
            | Operation::ListBooks
            | Operation::SuspendBook
            | Operation::ResumeBook
            | Operation::PutGrants
            | Operation::ListGrants
            | Operation::RemoveGrants => {
                return Err((ErrorCode::UnknownOperation, format!("{} is no read", request.operation.name())));
            }
        };
        misuse.map_err(|misuse| (ErrorCode::BatchTooLarge, misuse.to_string()))?;
        Ok(answer)
    }

    fn must_be_owner(&self, request: &Request<'_>) -> Result<(), Refusal> {
        if request.client.may_write {
            return Ok(());
        }
        Err((ErrorCode::Forbidden, format!("{} needs a credential that may write", request.operation.name())))
    }

    /// The error that a write of one row would get now, or 1. A larger one may be told earlier that storage is full.
    fn writable(&self) -> u16 {
        match self.check_writable(0) {
            Err((code, _)) => code.number(),
            Ok(()) if self.is_storage_used_up() => ErrorCode::StorageFull.number(),
            Ok(()) => 1,
        }
    }

    fn status(&self) -> Status {
        let counters = self.state.machine().store().counters();
        Status {
            book: self.book,
            incarnation: self.incarnation,
            epoch: self.state.epoch(),
            entry: self.state.entry(),
            group: self.pipeline.tip().number,
            timestamp: self.state.timestamp(),
            accounts: counters.accounts,
            transfers: counters.transfers,
            pending: counters.pending,
            sessions: u32::try_from(self.state.sessions().len()).unwrap_or(u32::MAX),
            release: RELEASE,
            journal_bytes: self.reserve.journal_bytes(),
            free_bytes: self.upkeep.free_bytes,
            checkpoint_entry: self.state.newest().entry,
            segments: counters.segments,
            writable: u32::from(self.writable()),
            ..Status::ZERO
        }
    }

    fn gauges(&self) -> Gauges {
        let counters = self.state.machine().store().counters();
        let newest = self.state.newest();
        // Until there is one, what ages is the engine.
        let checkpoint_ns = if newest.entry == 0 { self.started_ns } else { newest.timestamp };
        Gauges {
            connections: self.connections.len() as u64,
            sessions: self.state.sessions().len() as u64,
            queue_requests: self.live.values().map(|live| live.requests().len() as u64).sum(),
            queue_bytes: self.pipeline.bytes(),
            group: self.pipeline.tip().number,
            entry: self.state.entry(),
            accounts: counters.accounts,
            transfers: counters.transfers,
            pending: counters.pending,
            segments: u64::from(counters.segments),
            journal_bytes: self.reserve.journal_bytes(),
            checkpoint_entry: newest.entry,
            checkpoint_age_s: self.clock.wall_ns().saturating_sub(checkpoint_ns) / SECOND_NS,
            free_bytes: self.upkeep.free_bytes,
            clock_lag_ns: self.pipeline.last_timestamp().saturating_sub(self.clock.wall_ns()),
            writable: u64::from(self.writable()),
        }
    }
}

/// What comes of a read.
enum Answer<D: Disk> {
    /// All of it.
    Whole(Frame),
    /// What leads to it.
    InSteps(Step<D>),
}

impl<D: Disk> Answer<D> {
    fn of<R: Row>(header: Header, capacity: usize, write: impl FnOnce(&mut Vec<R>)) -> Self {
        Self::Whole(Frame::of(header, capacity, write))
    }

    fn in_steps<R: Row + Send + 'static>(
        header: Header,
        capacity: usize,
        step: impl FnMut(&Ledger<D>, &mut Vec<R>) -> Progress + Send + 'static,
    ) -> Self {
        Self::InSteps(reading::in_steps(header, capacity, step))
    }

    /// What a query of transfers finds, step by step; one that is not valid finds nothing.
    fn found<F: Send + 'static, R: Row + Send + 'static>(
        header: Header,
        mut filter: F,
        is_valid: bool,
        step: fn(&LedgerStore<D>, &mut F, &mut Vec<R>) -> Progress,
    ) -> Self {
        Self::in_steps(
            header,
            0,
            move |ledger, out| {
                if is_valid { step(ledger.store(), &mut filter, out) } else { Progress::Done }
            },
        )
    }

    /// A look-up of so many things that it goes on in pieces, once what it needs is prepared.
    fn in_pieces<T: Send + 'static, R: Row + Send + 'static>(
        header: Header,
        asked: Vec<T>,
        prepare: impl Fn(&Ledger<D>) -> bool + Send + 'static,
        look_up: impl Fn(&Ledger<D>, &[T], &mut Vec<R>) -> Result<(), Misuse> + Send + 'static,
    ) -> Self {
        let mut done = 0;
        Self::in_steps(header, asked.len(), move |ledger, out| {
            if !prepare(ledger) {
                return Progress::More;
            }
            let piece = &asked[done..asked.len().min(done + PIECE)];
            look_up(ledger, piece, out).expect("a piece is smaller than a batch");
            done += piece.len();
            if done < asked.len() { Progress::More } else { Progress::Done }
        })
    }
}

/// Steps that find accounts. Their balances are those of one moment, however many steps it takes.
fn accounts_of_one_moment<D: Disk>(
    mut filter: QueryFilter,
) -> impl FnMut(&Ledger<D>, &mut Vec<Account>) -> Progress + Send + 'static {
    let mut is_first = true;
    move |ledger, out| {
        let store = ledger.store();
        if filter.is_valid() && store.query_accounts(&mut filter, out) == Progress::More {
            is_first = false;
            return Progress::More;
        }
        if !is_first {
            for account in out {
                if let Some(handle) = store.find_account(account.id) {
                    *account = store.account(handle);
                }
            }
        }
        Progress::Done
    }
}

/// Rows that may lie anywhere in memory, aligned. Their number was judged.
fn rows_of<T: FromBytes + IntoBytes + FromZeros>(body: &[u8]) -> Vec<T> {
    let mut rows = T::new_vec_zeroed(body.len() / size_of::<T>()).expect("memory for a request");
    rows.as_mut_slice().as_mut_bytes().copy_from_slice(body);
    rows
}

/// The one filter of a request.
fn filter_of<T: FromBytes>(body: &[u8], limit: impl Fn(&T) -> u32, max: usize) -> Result<T, Refusal> {
    let filter = T::read_from_bytes(body)
        .map_err(|_| (ErrorCode::InvalidSize, format!("one filter of {} bytes is needed", size_of::<T>())))?;
    if limit(&filter) as usize > max {
        return Err((
            ErrorCode::BatchTooLarge,
            format!("a limit of at most {max} rows is allowed, not {}", limit(&filter)),
        ));
    }
    Ok(filter)
}

/// As of now: what is recorded while a query goes on is not asked for, so that it ends.
fn account_filter(body: &[u8], newest: u64) -> Result<AccountFilter, Refusal> {
    let filter = filter_of::<AccountFilter>(body, |filter| filter.limit, BATCH_MAX)?;
    let timestamp_max = newest_asked(filter.timestamp_max, newest);
    Ok(if filter.is_valid() { AccountFilter { timestamp_max, ..filter } } else { filter })
}

/// As [`account_filter`].
fn query_filter(body: &[u8], newest: u64) -> Result<QueryFilter, Refusal> {
    let filter = filter_of::<QueryFilter>(body, |filter| filter.limit, BATCH_MAX)?;
    let timestamp_max = newest_asked(filter.timestamp_max, newest);
    Ok(if filter.is_valid() { QueryFilter { timestamp_max, ..filter } } else { filter })
}

/// The last time that can be found of those that a filter names, of which 0 stands for the end.
fn newest_asked(timestamp_max: u64, newest: u64) -> u64 {
    if timestamp_max == 0 { newest.max(1) } else { timestamp_max.min(newest.max(1)) }
}
