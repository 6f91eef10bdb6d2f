//! What holds whatever happens: money is conserved, balances are what the transfers say, rollback is exact, and
//! the same requests lead to the same state.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use qenex_kernel::machine::Machine;
use qenex_kernel::memory::MemoryStore;
use qenex_kernel::row::{AccountTerms, CHANGE_EVENTS_MAX, ChangeEventsFilter, EventKind, EventResult};
use qenex_kernel::status::CreateTransferStatus;
use qenex_kernel::store::{Event, Store};

/// One call of the machine.
#[derive(Clone, Debug)]
enum Step {
    Accounts(Vec<Account>),
    Transfers(Vec<Transfer>),
    /// A recorded transfer again, chosen by a number, with one thing changed or nothing.
    Again(usize, Change),
    /// A post or void of a recorded pending transfer, chosen by a number, with one thing changed or nothing.
    Resolve(usize, Transfer, Change),
    Terms(Vec<AccountTerms>),
    Expire {
        after: u64,
        max: usize,
    },
}

/// One thing that can be different in a row.
#[derive(Clone, Copy, Debug)]
enum Change {
    Nothing,
    Flags(u16),
    PendingId(u128),
    Timeout(u32),
    Debit(u128),
    Credit(u128),
    Amount(u128),
    UserData128(u128),
    UserData64(u64),
    UserData32(u32),
    Ledger(u32),
    Code(u16),
}

fn changed(row: Transfer, change: Change) -> Transfer {
    match change {
        Change::Nothing => row,
        Change::Flags(flags) => Transfer { flags: row.flags ^ flags, ..row },
        Change::PendingId(pending_id) => Transfer { pending_id, ..row },
        Change::Timeout(timeout) => Transfer { timeout, ..row },
        Change::Debit(debit_account_id) => Transfer { debit_account_id, ..row },
        Change::Credit(credit_account_id) => Transfer { credit_account_id, ..row },
        Change::Amount(amount) => Transfer { amount, ..row },
        Change::UserData128(user_data_128) => Transfer { user_data_128, ..row },
        Change::UserData64(user_data_64) => Transfer { user_data_64, ..row },
        Change::UserData32(user_data_32) => Transfer { user_data_32, ..row },
        Change::Ledger(ledger) => Transfer { ledger, ..row },
        Change::Code(code) => Transfer { code, ..row },
    }
}

/// Few ids, so that rows meet each other; now and then one that cannot be.
fn id() -> impl Strategy<Value = u128> {
    prop_oneof![60 => 1..9u128, 1 => Just(0), 1 => Just(u128::MAX)]
}

fn transfer_id() -> impl Strategy<Value = u128> {
    prop_oneof![60 => 1..60u128, 1 => Just(0), 1 => Just(u128::MAX)]
}

/// Small amounts, so that accounts often stand exactly at zero or at a limit; now and then the largest.
fn amount() -> impl Strategy<Value = u128> {
    prop_oneof![20 => 0..12u128, 2 => Just(u128::MAX), 1 => Just(u128::MAX / 2)]
}

fn change() -> impl Strategy<Value = Change> {
    let something = prop_oneof![
        (0..9u16).prop_map(|bit| Change::Flags(1 << bit)),
        transfer_id().prop_map(Change::PendingId),
        (1..3u32).prop_map(Change::Timeout),
        id().prop_map(Change::Debit),
        id().prop_map(Change::Credit),
        amount().prop_map(Change::Amount),
        Just(Change::UserData128(1)),
        Just(Change::UserData64(1)),
        Just(Change::UserData32(1)),
        (0..3u32).prop_map(Change::Ledger),
        (0..3u16).prop_map(Change::Code),
    ];
    prop_oneof![5 => Just(Change::Nothing), 2 => something]
}

/// Each flag with a chance of its own, in percent.
fn flags(chances: &'static [(u16, u32)]) -> impl Strategy<Value = u16> {
    vec(0..100u32, chances.len()).prop_map(move |draws| {
        let set = draws.iter().zip(chances).filter(|(draw, (_, chance))| *draw < chance);
        set.fold(0, |flags, (_, (flag, _))| flags | flag)
    })
}

const ACCOUNT_FLAGS: &[(u16, u32)] = &[
    (af::LINKED, 5),
    (af::DEBITS_MUST_NOT_EXCEED_CREDITS, 15),
    (af::CREDITS_MUST_NOT_EXCEED_DEBITS, 10),
    (af::HISTORY, 50),
    (af::CLOSED, 2),
];

const TRANSFER_FLAGS: &[(u16, u32)] = &[
    (tf::LINKED, 12),
    (tf::PENDING, 40),
    (tf::BALANCING_DEBIT, 8),
    (tf::BALANCING_CREDIT, 8),
    (tf::CLOSING_DEBIT, 2),
    (tf::CLOSING_CREDIT, 2),
    (tf::IMPORTED, 1),
];

fn an_account() -> impl Strategy<Value = Account> {
    let ledger = prop_oneof![12 => Just(1u32), 1 => Just(2)];
    (id(), flags(ACCOUNT_FLAGS), ledger).prop_map(|(id, flags, ledger)| Account { flags, ledger, ..account(id) })
}

/// Accounts with timestamps of the past, in order.
fn imported_accounts() -> impl Strategy<Value = Vec<Account>> {
    vec((an_account(), 1..60u64), 8).prop_map(|rows| {
        let mut timestamp = 0;
        let import = |(row, later): (Account, u64)| {
            timestamp += later;
            Account { timestamp, ..row.with(af::IMPORTED) }
        };
        rows.into_iter().map(import).collect()
    })
}

fn a_resolution() -> impl Strategy<Value = Transfer> {
    (transfer_id(), transfer_id(), amount(), any::<bool>(), 0..4u16).prop_map(
        |(id, pending_id, amount, voids, draw)| {
            let row = if voids { void(id, pending_id) } else { post(id, pending_id) };
            let amount = if draw == 0 { amount } else { row.amount };
            Transfer { amount, ..row }.with(if draw == 3 { tf::LINKED } else { 0 })
        },
    )
}

fn a_transfer() -> impl Strategy<Value = Transfer> {
    let first_phase = (transfer_id(), id(), id(), amount(), flags(TRANSFER_FLAGS), 0..4u32).prop_map(
        |(id, debit, credit, amount, flags, timeout)| {
            // Closing is for pending transfers, as are timeouts; what is wrong comes by a change.
            let flags = if flags & (tf::CLOSING_DEBIT | tf::CLOSING_CREDIT) != 0 { flags | tf::PENDING } else { flags };
            let timeout = if flags & tf::PENDING != 0 { timeout } else { 0 };
            Transfer { flags, timeout, ..pay(id, debit, credit, amount) }
        },
    );
    let sound = prop_oneof![3 => first_phase, 2 => a_resolution()];
    (sound, change()).prop_map(|(row, change)| changed(row, change))
}

/// Transfers with timestamps of the past, mostly in order.
fn imported_transfers() -> impl Strategy<Value = Vec<Transfer>> {
    let later = prop_oneof![1 => Just(0), 3 => 1..100u64];
    vec((a_transfer(), later), 1..12).prop_map(|rows| {
        let mut timestamp = 200;
        let import = |(row, later): (Transfer, u64)| {
            timestamp += later;
            Transfer { timestamp, ..row.with(tf::IMPORTED) }
        };
        rows.into_iter().map(import).collect()
    })
}

fn terms() -> impl Strategy<Value = AccountTerms> {
    (id(), 0..10u128, 0..4u32).prop_map(|(account_id, debit_limit, restrictions)| AccountTerms {
        account_id,
        debit_limit,
        restrictions,
        ..AccountTerms::ZERO
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => vec(an_account(), 1..6).prop_map(Step::Accounts),
        20 => vec(a_transfer(), 1..8).prop_map(Step::Transfers),
        4 => (any::<usize>(), change()).prop_map(|(number, change)| Step::Again(number, change)),
        6 => (any::<usize>(), a_resolution(), change())
            .prop_map(|(number, row, change)| Step::Resolve(number, row, change)),
        1 => vec(terms(), 1..3).prop_map(Step::Terms),
        1 => (1..2 * SECOND, 1..6usize).prop_map(|(after, max)| Step::Expire { after, max }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Accounts first, so that most histories get somewhere; sometimes a past to begin with.
    let of_today = vec(an_account(), 8).prop_map(|rows| vec![Step::Accounts(rows)]);
    let past = (imported_accounts(), imported_transfers())
        .prop_map(|(accounts, transfers)| vec![Step::Accounts(accounts), Step::Transfers(transfers)]);
    (prop_oneof![of_today, past], vec(step(), 1..40)).prop_map(|(first, then)| [first, then].concat())
}

fn take(machine: &mut Machine<MemoryStore>, step: &Step) -> Vec<EventResult> {
    let mut results = Vec::new();
    let now = machine.timestamp();
    let next = |rows: usize| now + rows as u64;
    match step {
        Step::Accounts(rows) => machine.create_accounts(next(rows.len()), rows, &mut results),
        Step::Transfers(rows) => machine.create_transfers(next(rows.len()), rows, &mut results),
        Step::Again(number, change) => {
            let known: Vec<_> = machine.store().transfers().copied().collect();
            let Some(row) = known.get(number % known.len().max(1)) else { return results };
            let timestamp = if row.flags & tf::IMPORTED != 0 { row.timestamp } else { 0 };
            let row = changed(Transfer { timestamp, ..*row }, *change);
            machine.create_transfers(next(1), &[row], &mut results)
        }
        Step::Resolve(number, row, change) => {
            let pending: Vec<_> =
                machine.store().transfers().filter(|row| row.flags & tf::PENDING != 0).map(|row| row.id).collect();
            let Some(id) = pending.get(number % pending.len().max(1)) else { return results };
            let row = Transfer { pending_id: *id, flags: row.flags & !tf::LINKED, ..*row };
            machine.create_transfers(next(1), &[changed(row, *change)], &mut results)
        }
        Step::Terms(rows) => machine.set_account_terms(next(rows.len()), rows, &mut results),
        Step::Expire { after, max } => machine.expire(next(*max) + after, *max).map(|_| ()),
    }
    .expect("a call in order");
    results
}

fn start() -> Machine<MemoryStore> {
    Machine::new(MemoryStore::new(), 3_000)
}

/// Debits pending, debits posted, credits pending, credits posted, by ledger.
fn sums(store: &MemoryStore) -> BTreeMap<u32, [u128; 4]> {
    let mut sums = BTreeMap::<u32, [u128; 4]>::new();
    for account in store.accounts() {
        let balances = [account.debits_pending, account.debits_posted, account.credits_pending, account.credits_posted];
        for (sum, balance) in sums.entry(account.ledger).or_default().iter_mut().zip(balances) {
            *sum = sum.wrapping_add(balance);
        }
    }
    sums
}

/// The balances of every account as the recorded transfers and expiries say, without the rules.
fn balances_by_hand(machine: &Machine<MemoryStore>) -> BTreeMap<u128, [u128; 4]> {
    let store = machine.store();
    let mut balances: BTreeMap<u128, [u128; 4]> = store.accounts().map(|account| (account.id, [0; 4])).collect();
    let mut change = |debit: u128, credit: u128, pending: bool, amount: u128, adds: bool| {
        for (account, side) in [(debit, 0), (credit, 2)] {
            let row = balances.get_mut(&account).expect("the account of a recorded transfer exists");
            let balance = &mut row[side + usize::from(!pending)];
            *balance = if adds { balance.wrapping_add(amount) } else { balance.wrapping_sub(amount) };
        }
    };
    let mut changes = Vec::new();
    machine.get_change_events(&ChangeEventsFilter { limit: u32::MAX, ..ChangeEventsFilter::ZERO }, &mut changes);
    assert!(changes.len() < CHANGE_EVENTS_MAX, "a short history, all of it");
    let expired = changes.iter().filter(|change| change.kind == EventKind::TwoPhaseExpired as u8);
    let recorded: BTreeMap<u128, Transfer> = store.transfers().map(|row| (row.id, *row)).collect();
    for row in store.transfers() {
        let (debit, credit) = (row.debit_account_id, row.credit_account_id);
        let resolved = recorded.get(&row.pending_id);
        if let Some(pending) = resolved {
            change(debit, credit, true, pending.amount, false);
        }
        if row.flags & tf::VOID_PENDING_TRANSFER == 0 {
            change(debit, credit, row.flags & tf::PENDING != 0, row.amount, true);
        }
    }
    for row in expired {
        change(row.debit_account.id, row.credit_account.id, true, row.transfer_amount, false);
    }
    balances
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// No step makes or loses money: in each ledger debits equal credits, pending and posted.
    #[test]
    fn money_is_conserved(steps in steps()) {
        let mut machine = start();
        for step in &steps {
            take(&mut machine, step);
            for (ledger, [debits_pending, debits_posted, credits_pending, credits_posted]) in sums(machine.store()) {
                prop_assert_eq!(debits_pending, credits_pending, "pending in ledger {}", ledger);
                prop_assert_eq!(debits_posted, credits_posted, "posted in ledger {}", ledger);
            }
        }
    }

    /// Balances are the sum of what is recorded, and nothing else.
    #[test]
    fn balances_are_what_the_transfers_say(steps in steps()) {
        let mut machine = start();
        steps.iter().for_each(|step| { take(&mut machine, step); });
        let by_hand = balances_by_hand(&machine);
        for account in machine.store().accounts() {
            let balances =
                [account.debits_pending, account.debits_posted, account.credits_pending, account.credits_posted];
            prop_assert_eq!(balances, by_hand[&account.id], "account {}", account.id);
        }
    }

    /// A limit holds after every step that does not lower it.
    #[test]
    fn limits_hold(steps in steps()) {
        let mut machine = start();
        for step in steps.iter().filter(|step| !matches!(step, Step::Terms(_))) {
            take(&mut machine, step);
            for account in machine.store().accounts() {
                let sum = |pending: u128, posted: u128| pending.checked_add(posted);
                let debits = sum(account.debits_pending, account.debits_posted);
                let credits = sum(account.credits_pending, account.credits_posted);
                prop_assert!(debits.is_some() && credits.is_some(), "sums never overflow");
                if account.flags & af::DEBITS_MUST_NOT_EXCEED_CREDITS != 0 {
                    prop_assert!(debits <= Some(account.credits_posted));
                }
                if account.flags & af::CREDITS_MUST_NOT_EXCEED_DEBITS != 0 {
                    prop_assert!(credits <= Some(account.debits_posted));
                }
            }
        }
    }

    /// The same calls give the same results and the same state, to the byte.
    #[test]
    fn replay_gives_the_same_state(steps in steps()) {
        let (mut one, mut other) = (start(), start());
        for step in &steps {
            prop_assert_eq!(take(&mut one, step), take(&mut other, step));
        }
        prop_assert_eq!(one.store(), other.store());
        prop_assert_eq!(one.store().digest(), other.store().digest());
    }

    /// A chain that its last row breaks leaves the state as it was, whatever the rows before it did.
    #[test]
    fn a_broken_chain_leaves_no_trace(steps in steps(), chain in vec(a_transfer(), 1..10), accounts in vec(an_account(), 1..4)) {
        let mut machine = start();
        steps.iter().for_each(|step| { take(&mut machine, step); });
        // Of the breakers in the chain only transient ones leave a trace: their burned ids.
        let mut chain: Vec<_> = chain.into_iter().map(|row| row.with(tf::LINKED)).collect();
        chain.push(Transfer { id: 0, ..transfer(0) });
        let before = machine.store().clone();
        let results = take(&mut machine, &Step::Transfers(chain.clone()));
        let breaker = results.iter().position(|result| transfer_status(result).number() != 1).expect("one breaks it");
        let mut expected = before.clone();
        let status = transfer_status(&results[breaker]);
        if status.is_transient() {
            expected.burn(chain[breaker].id, status, results[breaker].timestamp);
        }
        prop_assert_eq!(machine.store(), &expected);

        let mut accounts: Vec<_> = accounts.into_iter().map(|row| row.with(af::LINKED)).collect();
        accounts.push(account(0));
        take(&mut machine, &Step::Accounts(accounts));
        prop_assert_eq!(machine.store(), &expected);
    }

    /// Sent again, a request changes nothing: what was created exists, and no id gets a second effect.
    #[test]
    fn a_retry_has_no_second_effect(steps in steps()) {
        let mut machine = start();
        for step in &steps {
            take(&mut machine, step);
            let Step::Transfers(rows) = step else { continue };
            let recorded: Vec<_> = rows.iter().filter(|row| row.flags & tf::LINKED == 0).copied().collect();
            let created = machine.store().transfers().count();
            let before = machine.store().clone();
            let known = |row: &Transfer| before.transfers().any(|other| other.id == row.id);
            let again: Vec<_> = recorded.into_iter().filter(known).collect();
            if !again.is_empty() {
                take(&mut machine, &Step::Transfers(again));
                prop_assert_eq!(machine.store().transfers().count(), created);
                prop_assert_eq!(machine.store(), &before);
            }
        }
    }
}

/// The histories get somewhere: between them they see nearly every status.
#[test]
fn the_histories_are_not_idle() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    for _ in 0..400 {
        let mut machine = start();
        for step in steps().new_tree(&mut runner).expect("a history").current() {
            let results = take(&mut machine, &step);
            if matches!(step, Step::Transfers(_) | Step::Again(..) | Step::Resolve(..)) {
                seen.extend(results.iter().map(|result| result.status));
            }
        }
    }
    // What no row of these histories has, and a time that they do not reach.
    use CreateTransferStatus::*;
    let never = [
        TimestampMustBeZero,
        ImportedEventTimestampOutOfRange,
        ImportedEventTimestampMustNotAdvance,
        ReservedFlag,
        OverflowsTimeout,
    ];
    for status in CreateTransferStatus::ALL.iter().filter(|status| !never.contains(status)) {
        assert!(seen.contains(&status.number()), "no history has seen {}", status.name());
    }
}

/// The store's own promise: whatever happens within a scope, taking it back restores the state exactly.
#[test]
fn a_scope_is_taken_back_exactly_or_kept() {
    let mut ledger = Ledger::new();
    ledger.made(Transfer { timeout: 5, ..transfer(1).with(tf::PENDING) });
    let store = ledger.machine.store_mut();
    let before = store.clone();
    let change = |store: &mut MemoryStore| {
        let (debit_account, credit_account) = (store.account(1), store.account(2));
        let event = Event {
            kind: EventKind::SinglePhase,
            transfer: &Transfer { timestamp: 5_000, ..transfer(9) },
            pending: None,
            timestamp: 5_000,
            debit: 1,
            debit_account: &Account { debits_posted: 10, ..debit_account },
            credit: 2,
            credit_account: &Account { credits_posted: 10, ..credit_account },
        };
        store.record(&event);
        store.insert_account(&Account { timestamp: 6_000, ..account(8) });
        assert_eq!((store.last_transfer_timestamp(), store.last_account_timestamp()), (5_000, 6_000));
    };
    store.open_scope();
    change(store);
    store.revert_scope();
    assert_eq!(*store, before);
    store.open_scope();
    change(store);
    store.keep_scope();
    assert_ne!(*store, before);
    assert_eq!(store.last_transfer_timestamp(), 5_000);
}
