//! Reads, and the operations on the server itself. They are answered at once, from what is applied, which is durable.

use qenex_journal::disk::Disk;
use qenex_kernel::row::{
    Account, AccountBalance, AccountFilter, AccountTerms, BATCH_MAX, BalanceAt, CHANGE_EVENTS_MAX, ChangeEventsFilter,
    Id, Outcome, QueryFilter, Transfer,
};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::write::{Refusal, Request};
use super::{Action, Engine, Taken};
use crate::clock::SECOND_NS;
use crate::frame::{ErrorCode, Frame, Header, Kind, Operation, Status};
use crate::limits::RELEASE;
use crate::metrics::Gauges;

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
        if request.operation == Operation::Backup {
            self.must_be_owner(request)?;
            return self.backup(request, header, actions);
        }
        let frame = self.run(request, header)?;
        self.metrics.reads += 1;
        actions.push(Action::Send { connection: request.connection, frame });
        Ok(Taken::Yes)
    }

    fn run(&mut self, request: &Request<'_>, header: Header) -> Result<Frame, Refusal> {
        let body = request.rows;
        let machine = self.state.machine();
        let count = body.len() / request.row_size;
        let mut misuse = Ok(());
        let frame = match request.operation {
            Operation::LookupAccounts => Frame::of(header, count, |out: &mut Vec<Account>| {
                misuse = machine.lookup_accounts(&rows_of::<Id>(body), out);
            }),
            Operation::LookupTransfers => Frame::of(header, count, |out: &mut Vec<Transfer>| {
                misuse = machine.lookup_transfers(&rows_of::<Id>(body), out);
            }),
            Operation::LookupAccountTerms => Frame::of(header, count, |out: &mut Vec<AccountTerms>| {
                misuse = machine.lookup_account_terms(&rows_of::<Id>(body), out);
            }),
            Operation::LookupOutcomes => Frame::of(header, count, |out: &mut Vec<Outcome>| {
                misuse = machine.lookup_outcomes(&rows_of::<Id>(body), out);
            }),
            Operation::BalanceAt => Frame::of(header, count, |out: &mut Vec<AccountBalance>| {
                misuse = machine.balance_at(&rows_of::<BalanceAt>(body), out);
            }),
            Operation::LookupHashes => Frame::of(header, count, |out: &mut Vec<Transfer>| {
                misuse = machine.lookup_hashes(&rows_of::<[u8; 32]>(body), out);
            }),
            Operation::GetAccountTransfers => {
                let filter = filter_of::<AccountFilter>(body, |filter| filter.limit, BATCH_MAX)?;
                Frame::of(header, 0, |out: &mut Vec<Transfer>| machine.get_account_transfers(&filter, out))
            }
            Operation::GetAccountBalances => {
                let filter = filter_of::<AccountFilter>(body, |filter| filter.limit, BATCH_MAX)?;
                Frame::of(header, 0, |out: &mut Vec<AccountBalance>| machine.get_account_balances(&filter, out))
            }
            Operation::QueryAccounts => {
                let filter = filter_of::<QueryFilter>(body, |filter| filter.limit, BATCH_MAX)?;
                Frame::of(header, 0, |out: &mut Vec<Account>| machine.query_accounts(&filter, out))
            }
            Operation::QueryTransfers => {
                let filter = filter_of::<QueryFilter>(body, |filter| filter.limit, BATCH_MAX)?;
                Frame::of(header, 0, |out: &mut Vec<Transfer>| machine.query_transfers(&filter, out))
            }
            Operation::GetChangeEvents => {
                let filter = filter_of::<ChangeEventsFilter>(body, |filter| filter.limit, CHANGE_EVENTS_MAX)?;
                let mut events = Vec::new();
                machine.get_change_events(&filter, &mut events);
                Frame::copied(header, events.as_bytes())
            }
            Operation::GetStatus => Frame::copied(header, self.status().as_bytes()),
            Operation::GetMetrics => Frame::copied(header, self.metrics.render(&self.gauges()).as_bytes()),
            Operation::ConfirmClock => {
                self.must_be_owner(request)?;
                self.clock.confirm();
                Frame::copied(header, &[])
            }
            Operation::Backup | Operation::CreateAccounts | Operation::CreateTransfers | Operation::SetAccountTerms => {
                return Err((ErrorCode::UnknownOperation, format!("{} is no read", request.operation.name())));
            }
        };
        misuse.map_err(|misuse| (ErrorCode::BatchTooLarge, misuse.to_string()))?;
        Ok(frame)
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
