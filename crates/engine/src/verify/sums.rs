//! Adding up, in the end: all accounts by asset; and each account again from its transfers, without the kernel's arithmetic.
//!
//! Debits equal credits also where a payment went to the wrong account, or both sides got another amount than its
//! transfer says: such errors cancel out. So the balances are held to the transfers as recorded, one by one.

use std::collections::{BTreeMap, HashMap};

use qenex_kernel::machine::Machine;
use qenex_kernel::row::{Account, BATCH_MAX, QueryFilter, Transfer, transfer_flags};
use qenex_kernel::store::{History, PendingStatus};

/// A sum of amounts. What no account can hold, the sum of many can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    low: u128,
    /// How often it passed 2^128.
    high: u64,
}

impl Sum {
    fn add(&mut self, amount: u128) {
        let (low, passed) = self.low.overflowing_add(amount);
        (self.low, self.high) = (low, self.high + u64::from(passed));
    }

    /// Little-endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..16].copy_from_slice(&self.low.to_le_bytes());
        bytes[16..].copy_from_slice(&self.high.to_le_bytes());
        bytes
    }
}

/// All accounts of a ledger (an asset), added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerSums {
    /// How many accounts.
    pub accounts: u64,
    /// Debits posted.
    pub debits_posted: Sum,
    /// Credits posted.
    pub credits_posted: Sum,
    /// Debits pending.
    pub debits_pending: Sum,
    /// Credits pending.
    pub credits_pending: Sum,
}

/// The sums by ledger, and the accounts with other balances than their transfers add up to.
pub(super) fn add_up<S: History>(machine: &Machine<S>) -> (BTreeMap<u32, LedgerSums>, Vec<u128>) {
    let (mut ledgers, mut misadded) = (BTreeMap::<u32, LedgerSums>::new(), Vec::new());
    let by_transfers = balances_of_transfers(machine);
    let query = |filter: &QueryFilter, out: &mut Vec<Account>| machine.query_accounts(filter, out);
    for_each(
        query,
        |account| account.timestamp,
        |account| {
            let sums = ledgers.entry(account.ledger).or_default();
            sums.accounts += 1;
            sums.debits_posted.add(account.debits_posted);
            sums.credits_posted.add(account.credits_posted);
            sums.debits_pending.add(account.debits_pending);
            sums.credits_pending.add(account.credits_pending);
            let balances =
                [account.debits_pending, account.debits_posted, account.credits_pending, account.credits_posted];
            if by_transfers.get(&account.id).copied().unwrap_or_default() != balances {
                misadded.push(account.id);
            }
        },
    );
    (ledgers, misadded)
}

/// What the recorded transfers of each account come to: debits pending and posted, credits pending and posted.
///
/// Posted is what transfers in one phase and posts have moved, pending what transfers reserve that are still open.
fn balances_of_transfers<S: History>(machine: &Machine<S>) -> HashMap<u128, [u128; 4]> {
    let mut balances = HashMap::<u128, [u128; 4]>::new();
    let query = |filter: &QueryFilter, out: &mut Vec<Transfer>| machine.query_transfers(filter, out);
    for_each(
        query,
        |transfer| transfer.timestamp,
        |transfer| {
            let counts = if transfer.flags & transfer_flags::PENDING != 0 {
                (machine.store().pending_status(transfer) == PendingStatus::Pending).then_some(0)
            } else {
                (transfer.flags & transfer_flags::VOID_PENDING_TRANSFER == 0).then_some(1)
            };
            let Some(phase) = counts else { return };
            for (account, side) in [(transfer.debit_account_id, 0), (transfer.credit_account_id, 2)] {
                // No account can hold more than 2^128-1: a sum that wraps is not what it holds.
                let balance = &mut balances.entry(account).or_default()[side + phase];
                *balance = balance.wrapping_add(transfer.amount);
            }
        },
    );
    balances
}

/// Calls `take` with every row that a query finds, page by page.
fn for_each<Row>(
    query: impl Fn(&QueryFilter, &mut Vec<Row>),
    timestamp: impl Fn(&Row) -> u64,
    mut take: impl FnMut(&Row),
) {
    let limit = u32::try_from(BATCH_MAX).unwrap_or(u32::MAX);
    let mut filter = QueryFilter { limit, ..QueryFilter::ZERO };
    let mut rows = Vec::new();
    loop {
        rows.clear();
        query(&filter, &mut rows);
        rows.iter().for_each(&mut take);
        match rows.last() {
            Some(last) if rows.len() == BATCH_MAX => filter.timestamp_min = timestamp(last) + 1,
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use qenex_kernel::memory::MemoryStore;
    use qenex_kernel::row::EventKind;
    use qenex_kernel::store::{Event, Store};

    use super::*;

    fn transfer(id: u128, debit: u128, credit: u128, amount: u128) -> Transfer {
        Transfer {
            id,
            debit_account_id: debit,
            credit_account_id: credit,
            amount,
            ledger: 978,
            code: 1,
            ..Transfer::ZERO
        }
    }

    fn ledger() -> Machine<MemoryStore> {
        let mut machine = Machine::new(MemoryStore::new(), 0);
        let accounts = [1, 2, 3].map(|id| Account { id, ledger: 978, code: 1, ..Account::ZERO });
        machine.create_accounts(10, &accounts, &mut Vec::new()).expect("in order");
        machine
    }

    #[test]
    fn balances_are_what_the_transfers_add_up_to() {
        let mut machine = ledger();
        let hold = |id, timeout| Transfer { flags: transfer_flags::PENDING, timeout, ..transfer(id, 2, 3, 7) };
        let second = |id, pending_id, flags, amount| Transfer { pending_id, flags, ..transfer(id, 0, 0, amount) };
        let post = Transfer { ledger: 0, code: 0, ..second(20, 10, transfer_flags::POST_PENDING_TRANSFER, 4) };
        let void = Transfer { ledger: 0, code: 0, ..second(21, 11, transfer_flags::VOID_PENDING_TRANSFER, 0) };
        let rows = [transfer(1, 1, 2, 5), hold(10, 0), hold(11, 0), hold(12, 1), hold(13, 0), post, void];
        let mut results = Vec::new();
        machine.create_transfers(20, &rows, &mut results).expect("in order");
        assert!(results.iter().all(|result| result.status == u32::MAX), "{results:?}");
        assert_eq!(machine.expire(3_000_000_000, 10), Ok(1));
        let (ledgers, misadded) = add_up(&machine);
        assert_eq!(misadded, [0_u128; 0]);
        let sum = |low| Sum { low, high: 0 };
        let sums = LedgerSums {
            accounts: 3,
            debits_posted: sum(9),
            credits_posted: sum(9),
            debits_pending: sum(7),
            credits_pending: sum(7),
        };
        assert_eq!(ledgers, BTreeMap::from([(978, sums)]));
    }

    #[test]
    fn errors_that_cancel_out_are_seen() {
        for (credit, amount) in [(3, 5), (2, 6)] {
            // Both sides get the same, but not what the transfer says, or not where it says.
            let mut machine = ledger();
            let store = machine.store_mut();
            let with =
                |account: Account, debits_posted, credits_posted| Account { debits_posted, credits_posted, ..account };
            let (debit_account, credit_account) =
                (with(store.account(1), amount, 0), with(store.account(credit), 0, amount));
            store.record(&Event {
                kind: EventKind::SinglePhase,
                transfer: &Transfer { timestamp: 11, ..transfer(1, 1, 2, 5) },
                pending: None,
                timestamp: 11,
                debit: 1,
                debit_account: &debit_account,
                credit,
                credit_account: &credit_account,
            });
            let (ledgers, misadded) = add_up(&machine);
            assert_eq!(ledgers[&978].debits_posted, ledgers[&978].credits_posted, "they balance");
            assert_eq!(misadded, if credit == 3 { vec![2, 3] } else { vec![1, 2] });
        }
    }

    #[test]
    fn a_sum_passes_what_an_account_can_hold() {
        let mut sum = Sum::default();
        [u128::MAX, 3].into_iter().for_each(|amount| sum.add(amount));
        assert_eq!(sum, Sum { low: 2, high: 1 });
        assert_eq!((sum.to_bytes()[0], sum.to_bytes()[16]), (2, 1));
    }
}
