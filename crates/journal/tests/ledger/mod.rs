//! Requests at random over few ids and small amounts, so that every rule is met often, and questions of every kind.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it, and none publishes it")]

use qenex_kernel::machine::Machine;
use qenex_kernel::row::{
    Account, AccountFilter, AccountTerms, BalanceAt, ChangeEventsFilter, EventResult, Id, QueryFilter, Transfer,
    account_flags as af, filter_flags as ff, transfer_flags as tf,
};
use qenex_kernel::store::History;

/// Operations, as the protocol numbers them.
pub const CREATE_ACCOUNTS: u16 = 146;
pub const CREATE_TRANSFERS: u16 = 147;
pub const PULSE: u16 = 128;
pub const SET_ACCOUNT_TERMS: u16 = 1_024;

const SECOND: u64 = 1_000_000_000;

/// A small generator of numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap_or(0)]
    }

    fn small(&mut self, bound: u16) -> u16 {
        u16::try_from(self.below(u64::from(bound))).unwrap_or(0)
    }
}

/// One request to a machine.
#[derive(Clone, Debug)]
pub enum Request {
    Accounts(u64, Vec<Account>),
    Transfers(u64, Vec<Transfer>),
    Terms(u64, Vec<AccountTerms>),
    Expire(u64),
}

impl Request {
    pub fn operation(&self) -> u16 {
        match self {
            Self::Accounts(..) => CREATE_ACCOUNTS,
            Self::Transfers(..) => CREATE_TRANSFERS,
            Self::Terms(..) => SET_ACCOUNT_TERMS,
            Self::Expire(..) => PULSE,
        }
    }

    pub fn timestamp(&self) -> u64 {
        match self {
            Self::Accounts(timestamp, _)
            | Self::Transfers(timestamp, _)
            | Self::Terms(timestamp, _)
            | Self::Expire(timestamp) => *timestamp,
        }
    }

    /// Runs it and returns the results, none for an expiry.
    pub fn run<S: History>(&self, machine: &mut Machine<S>) -> Vec<EventResult> {
        let mut results = Vec::new();
        match self {
            Self::Accounts(t, rows) => machine.create_accounts(*t, rows, &mut results).expect("in order"),
            Self::Transfers(t, rows) => machine.create_transfers(*t, rows, &mut results).expect("in order"),
            Self::Terms(t, rows) => machine.set_account_terms(*t, rows, &mut results).expect("in order"),
            Self::Expire(t) => {
                machine.expire(*t, 5).expect("in order");
            }
        }
        results
    }
}

/// Makes requests; knows nothing of what becomes of them.
#[derive(Clone, Debug)]
pub struct Generator {
    pub random: Random,
    time: u64,
    imported_time: u64,
}

/// Largest ids that requests use.
const ACCOUNTS: u64 = 14;
const TRANSFERS: u64 = 300;

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self { random: Random(seed), time: 1_000, imported_time: 0 }
    }

    /// The next request; its time is above all before it.
    pub fn request(&mut self) -> Request {
        let rows = if self.random.one_in(4) { 1 + self.random.below(12) } else { 1 + self.random.below(3) };
        self.time += rows + if self.random.one_in(3) { self.random.below(2 * SECOND) } else { 0 };
        let imported = self.random.one_in(12);
        match self.random.below(12) {
            0 | 1 => Request::Accounts(self.time, (0..rows).map(|_| self.account(imported)).collect()),
            2 => Request::Terms(self.time, (0..rows).map(|_| self.terms()).collect()),
            3 => {
                self.time += 5;
                Request::Expire(self.time)
            }
            _ => Request::Transfers(self.time, (0..rows).map(|_| self.transfer(imported)).collect()),
        }
    }

    /// Requests that open accounts whose ids no other request uses.
    pub fn many_accounts(&mut self, count: u128) -> Vec<Request> {
        let row = |i: u128| Account { id: (1 << 100) + i, ledger: 1, code: 1, ..Account::ZERO };
        let rows: Vec<Account> = (0..count).map(row).collect();
        let request = |rows: &[Account]| {
            self.time += rows.len() as u64;
            Request::Accounts(self.time, rows.to_vec())
        };
        rows.chunks(50).map(request).collect()
    }

    fn account_id(&mut self) -> u128 {
        // The same low half under several high halves.
        let id = self.random.below(ACCOUNTS);
        u128::from(id) | (u128::from(id % 3) << 64)
    }

    fn imported_timestamp(&mut self) -> u64 {
        if self.random.one_in(6) {
            return self.random.below(self.time + 5);
        }
        self.imported_time = (self.imported_time + 1 + self.random.below(40)).min(self.time);
        self.imported_time
    }

    fn account(&mut self, imported: bool) -> Account {
        let r = &mut self.random;
        let mut flags = r.pick(&[0, 0, af::HISTORY, af::HISTORY, af::DEBITS_MUST_NOT_EXCEED_CREDITS]);
        flags |= r.pick(&[0, 0, 0, af::CREDITS_MUST_NOT_EXCEED_DEBITS, af::LINKED]);
        if r.one_in(20) {
            flags |= af::CLOSED;
        }
        let (user_data_128, user_data_64) = (u128::from(r.below(3)) << 100, r.below(3) << 40);
        let (user_data_32, ledger, code) = (u32::from(r.small(3)), 1 + u32::from(r.small(20) / 19), 1 + r.small(2));
        let timestamp = if imported {
            flags |= af::IMPORTED;
            self.imported_timestamp()
        } else {
            0
        };
        let id = self.account_id();
        Account { id, user_data_128, user_data_64, user_data_32, ledger, code, flags, timestamp, ..Account::ZERO }
    }

    fn terms(&mut self) -> AccountTerms {
        let account_id = self.account_id();
        let r = &mut self.random;
        AccountTerms {
            account_id,
            debit_limit: u128::from(r.below(3) * 20),
            restrictions: r.pick(&[0, 0, 0, 1, 2, 3, 4]),
            reason: u32::from(r.small(2)),
            ..AccountTerms::ZERO
        }
    }

    fn transfer(&mut self, imported: bool) -> Transfer {
        let (debit_account_id, credit_account_id) = (self.account_id(), self.account_id());
        let r = &mut self.random;
        let id = u128::from(r.below(TRANSFERS));
        let kinds = [0, 0, 0, tf::PENDING, tf::PENDING, tf::POST_PENDING_TRANSFER, tf::VOID_PENDING_TRANSFER];
        let mut flags = r.pick(&kinds);
        if r.one_in(8) {
            flags |= r.pick(&[tf::BALANCING_DEBIT, tf::BALANCING_CREDIT, tf::CLOSING_DEBIT, tf::CLOSING_CREDIT]);
        }
        if r.one_in(4) {
            flags |= tf::LINKED;
        }
        if r.one_in(40) {
            flags |= 1 << r.below(16);
        }
        let resolves = flags & (tf::POST_PENDING_TRANSFER | tf::VOID_PENDING_TRANSFER) != 0;
        let amount = match r.below(30) {
            0 => u128::MAX,
            1 => u128::MAX / 3,
            2 => u128::from(u64::MAX),
            _ if resolves => r.pick(&[0, 1, u128::MAX]),
            _ => u128::from(r.below(20)),
        };
        let pending_id = if resolves || r.one_in(60) { u128::from(r.below(TRANSFERS)) } else { 0 };
        let keep = resolves && !r.one_in(4);
        let timeout = if flags & tf::PENDING != 0 { r.pick(&[0, 1, 2, 5]) } else { 0 };
        let (user_data_128, user_data_64) = (u128::from(r.below(3)) << 90, r.below(3));
        let (user_data_32, ledger) = (u32::from(r.small(3)), 1 + u32::from(r.small(20) / 19));
        let code = r.pick(&[1, 1, 1, 2, 40_000]);
        let zero = |value: u128| if keep { 0 } else { value };
        let timestamp = if imported {
            flags |= tf::IMPORTED;
            self.imported_timestamp()
        } else {
            0
        };
        Transfer {
            id,
            debit_account_id: zero(debit_account_id),
            credit_account_id: zero(credit_account_id),
            amount,
            pending_id,
            user_data_128,
            user_data_64,
            user_data_32,
            timeout,
            ledger: if keep { 0 } else { ledger },
            code: if keep { 0 } else { code },
            flags,
            timestamp,
        }
    }

    fn range(&mut self) -> (u64, u64) {
        let (a, b) = (self.random.below(self.time + 10), self.random.below(self.time + 10));
        match self.random.below(3) {
            0 => (0, 0),
            1 => (a.min(b), a.max(b)),
            _ => (0, a.max(1)),
        }
    }

    fn limit(&mut self) -> u32 {
        self.random.pick(&[1, 2, 5, 8_189, 100_000])
    }

    fn query_filter(&mut self) -> QueryFilter {
        let (timestamp_min, timestamp_max) = self.range();
        let limit = self.limit();
        let r = &mut self.random;
        QueryFilter {
            user_data_128: u128::from(r.below(3)) << r.pick(&[90, 100]),
            user_data_64: r.below(3) << r.pick(&[0, 40]),
            user_data_32: u32::from(r.small(2)),
            ledger: u32::from(r.small(3)),
            code: r.small(3),
            timestamp_min,
            timestamp_max,
            limit,
            flags: r.pick(&[0, ff::QUERY_REVERSED]),
            ..QueryFilter::ZERO
        }
    }

    fn account_filter(&mut self) -> AccountFilter {
        let (timestamp_min, timestamp_max) = self.range();
        let (account_id, limit) = (self.account_id(), self.limit());
        let r = &mut self.random;
        AccountFilter {
            account_id,
            user_data_128: u128::from(r.below(6) / 5) << 90,
            user_data_64: r.below(5) / 4,
            user_data_32: u32::from(r.small(5) / 4),
            code: r.small(5) / 4,
            timestamp_min,
            timestamp_max,
            limit,
            flags: r.pick(&[1, 2, 3, 3]) | r.pick(&[0, ff::REVERSED]),
            ..AccountFilter::ZERO
        }
    }
}

/// Asks both the same things: everything by id, and `questions` filters of each kind.
pub fn compare<A: History, B: History>(a: &Machine<A>, b: &Machine<B>, generator: &mut Generator, questions: usize) {
    macro_rules! same {
        ($method:ident, $argument:expr) => {{
            let (mut from_a, mut from_b) = (Vec::new(), Vec::new());
            let argument = $argument;
            let _ = (a.$method(argument, &mut from_a), b.$method(argument, &mut from_b));
            assert_eq!(from_a, from_b, "{} of {:?}", stringify!($method), argument);
            from_a
        }};
    }
    assert_eq!(a.timestamp(), b.timestamp());
    assert_eq!(a.next_expiry(), b.next_expiry());
    assert_eq!(a.store().last_transfer_timestamp(), b.store().last_transfer_timestamp());
    assert_eq!(a.store().last_account_timestamp(), b.store().last_account_timestamp());
    let ids: Vec<Id> = (0..TRANSFERS).map(|id| Id { id: u128::from(id) | (u128::from(id % 3) << 64) }).collect();
    same!(lookup_accounts, &ids[..20]);
    same!(lookup_account_terms, &ids[..20]);
    let transfer_ids: Vec<Id> = (0..TRANSFERS).map(|id| Id { id: u128::from(id) }).collect();
    let transfers = same!(lookup_transfers, &transfer_ids);
    same!(lookup_outcomes, &transfer_ids);
    let mut hashes: Vec<[u8; 32]> = transfers.iter().map(Transfer::hash).collect();
    hashes.push([7; 32]);
    same!(lookup_hashes, &hashes);
    let everything = ChangeEventsFilter { limit: 3_000, ..ChangeEventsFilter::ZERO };
    same!(get_change_events, &everything);
    for _ in 0..questions {
        same!(query_accounts, &generator.query_filter());
        same!(query_transfers, &generator.query_filter());
        same!(get_account_transfers, &generator.account_filter());
        same!(get_account_balances, &generator.account_filter());
        let (timestamp_min, timestamp_max) = generator.range();
        let limit = generator.limit();
        same!(
            get_change_events,
            &ChangeEventsFilter { timestamp_min, timestamp_max, limit, ..ChangeEventsFilter::ZERO }
        );
        let account_id = generator.account_id();
        let timestamp = generator.random.below(generator.time + 10);
        same!(balance_at, &[BalanceAt { account_id, timestamp, reserved: 0 }]);
        assert_eq!(a.store().event_timestamp_taken(timestamp), b.store().event_timestamp_taken(timestamp));
    }
}
