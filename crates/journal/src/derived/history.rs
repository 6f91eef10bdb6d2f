//! What can be asked of the past: each question goes from segment to segment in order of time until it has enough.

use std::ops::ControlFlow;

use qenex_kernel::row::{
    Account, AccountBalance, AccountFilter, ChangeEvent, ChangeEventsFilter, EventKind, Outcome, QueryFilter, Transfer,
    account_flags, filter_flags, transfer_flags,
};
use qenex_kernel::status::CreateTransferStatus;
use qenex_kernel::store::{History, Progress, Store};

use super::account_index::{GROUP, named_fields};
use super::accounts::Slot;
use super::field::{Field, hash_key};
use super::num::index32;
use super::postings::{AnyOf, Effort, Postings, walk};
use super::segment::{Balances, Sides};
use super::store::LedgerStore;
use super::view::View;
use crate::disk::Disk;

/// The indexes of a transfer's accounts.
const SIDES: [Field; 2] = [Field::DebitAccount, Field::CreditAccount];

/// Rows that an index takes in while a query looks at one place, at the hash of each: a tenth of a microsecond.
const INDEXED_A_PLACE: u32 = 32;

/// Which transfers, in terms of the indexes.
struct Query<'a> {
    /// The account, and whether its debits and its credits.
    account: Option<(Slot, bool, bool)>,
    fields: &'a [(Field, u64)],
    timestamp_min: u64,
    timestamp_max: u64,
    reversed: bool,
}

impl Query<'_> {
    /// What the rows of a segment must stand in; `None` while its indexes take more than a step to be made.
    fn clauses<'a>(&self, segment: &'a dyn View, step: u32) -> Option<Vec<Box<dyn Postings + 'a>>> {
        let sides = self.account.map(|(slot, debits, credits)| (u64::from(slot), [debits, credits]));
        let wanted = |wanted: [bool; 2]| SIDES.into_iter().zip(wanted).filter(|&(_, wanted)| wanted);
        let fields = self.fields.iter().map(|&(field, _)| field);
        let of_account = sides.into_iter().flat_map(|(_, sides)| wanted(sides).map(|(field, _)| field));
        if !fields.chain(of_account).all(|field| segment.make_index(field, step)) {
            return None;
        }
        let mut clauses: Vec<Box<dyn Postings + 'a>> = Vec::new();
        if let Some((slot, sides)) = sides {
            clauses.push(Box::new(AnyOf(wanted(sides).map(|(field, _)| segment.postings(field, slot)).collect())));
        }
        clauses.extend(self.fields.iter().map(|&(field, key)| segment.postings(field, key)));
        Some(clauses)
    }
}

impl<D: Disk> LedgerStore<D> {
    /// Visits the transfers that the indexes find, in order, until `visit` says to stop. They may be a few too many,
    /// where keys are hashed. If that is more than a step, this returns the time to go on from.
    fn visit_transfers(
        &self,
        query: &Query<'_>,
        mut visit: impl FnMut(&dyn View, u32, &Transfer) -> bool,
    ) -> Option<u64> {
        let mut effort = Effort(self.options.places_a_step);
        let mut visit_segment = |number: u32| {
            let segment = self.segment(number);
            if segment.rows() == 0 || segment.last_timestamp() < query.timestamp_min {
                return ControlFlow::Continue(());
            }
            let begin = segment.first_at_or_after(query.timestamp_min);
            let end = segment.first_at_or_after(query.timestamp_max.saturating_add(1));
            if begin >= end {
                return ControlFlow::Continue(());
            }
            let clauses = if effort.is_spent() { None } else { query.clauses(segment, self.index_step()) };
            // To find a segment's rows is some work too.
            effort.spend();
            let Some(clauses) = clauses else {
                let next = if query.reversed { end - 1 } else { begin };
                return ControlFlow::Break(Some(segment.transfer(next).timestamp));
            };
            let mut go_on = true;
            let next = walk(clauses, begin..end, query.reversed, &mut effort, |row| {
                go_on = visit(segment, row, &segment.transfer(row));
                go_on
            });
            match next {
                Some(row) => ControlFlow::Break(Some(segment.transfer(row).timestamp)),
                None if go_on => ControlFlow::Continue(()),
                None => ControlFlow::Break(None),
            }
        };
        let mut segments = 0..=self.open.rows.number;
        let ended = if query.reversed {
            segments.rev().try_for_each(&mut visit_segment)
        } else {
            segments.try_for_each(&mut visit_segment)
        };
        ended.break_value().flatten()
    }

    /// A step: visits transfers of an account that match its filter, at most as many as it asks for.
    fn visit_account_transfers(
        &self,
        filter: &mut AccountFilter,
        mut visit: impl FnMut(&dyn View, u32, &Transfer),
    ) -> Progress {
        let Some(slot) = self.find_account(filter.account_id) else { return Progress::Done };
        let named = QueryFilter {
            user_data_128: filter.user_data_128,
            user_data_64: filter.user_data_64,
            user_data_32: filter.user_data_32,
            code: filter.code,
            ..QueryFilter::ZERO
        };
        let query = Query {
            account: Some((slot, filter.flags & filter_flags::DEBITS != 0, filter.flags & filter_flags::CREDITS != 0)),
            fields: &named_fields(&self.keys, &named),
            timestamp_min: *filter.range().start(),
            timestamp_max: *filter.range().end(),
            reversed: filter.is_reversed(),
        };
        let (mut found, limit) = (0, filter.capped_limit());
        let next = self.visit_transfers(&query, |segment, row, transfer| {
            if filter.matches(transfer) {
                visit(segment, row, transfer);
                found += 1;
            }
            found < limit
        });
        next.map_or(Progress::Done, |timestamp| {
            filter.go_on_from(timestamp, found);
            Progress::More
        })
    }

    /// Rows that an index which is made on demand takes in at a step.
    const fn index_step(&self) -> u32 {
        self.options.places_a_step.saturating_mul(INDEXED_A_PLACE)
    }

    /// Takes a step in making what [`History::lookup_hashes`] needs; true once it is there.
    pub fn prepare_hashes(&self) -> bool {
        self.segments_newest_first().all(|segment| segment.make_index(Field::Hash, self.index_step()))
    }

    /// Takes a step in making what [`History::balance_at`] needs; true once it is there.
    pub fn prepare_balances(&self) -> bool {
        self.segments_newest_first().all(|segment| {
            let step = self.index_step();
            SIDES.into_iter().all(|field| segment.make_index(field, step)) && segment.make_expiry_index(step)
        })
    }

    /// An account as it was right after an event.
    fn account_after(&self, slot: Slot, closed: bool, balances: &[u128]) -> Account {
        let account = self.accounts.row(slot);
        let closed_flag = if closed { account_flags::CLOSED } else { 0 };
        Account {
            debits_pending: balances[0],
            debits_posted: balances[1],
            credits_pending: balances[2],
            credits_posted: balances[3],
            flags: (account.flags & !account_flags::CLOSED) | closed_flag,
            ..*account
        }
    }

    fn change(
        &self,
        kind: EventKind,
        timestamp: u64,
        transfer: &Transfer,
        sides: Sides,
        balances: &Balances,
    ) -> ChangeEvent {
        let (debit, credit) = balances.split_at(4);
        let debit = self.account_after(sides.debit_slot(), sides.debit_closed(), debit);
        let credit = self.account_after(sides.credit_slot(), sides.credit_closed(), credit);
        ChangeEvent::new(kind, timestamp, transfer, &debit, &credit)
    }

    /// Positions of the transfers from `timestamp` on.
    fn transfers_from(&self, timestamp: u64) -> impl Iterator<Item = (&dyn View, u32)> {
        (0..=self.open.rows.number)
            .map(|number| self.segment(number))
            .filter(move |segment| segment.last_timestamp() >= timestamp)
            .flat_map(move |segment| {
                (segment.first_at_or_after(timestamp)..segment.rows()).map(move |row| (segment, row))
            })
    }

    /// Positions of the expiries from `timestamp` on.
    fn expiries_from(&self, timestamp: u64) -> impl Iterator<Item = (&dyn View, u32)> {
        (0..=self.open.rows.number)
            .map(|number| self.segment(number))
            .filter(move |segment| segment.last_expiry_timestamp() >= timestamp)
            .flat_map(move |segment| {
                (segment.first_expiry_at_or_after(timestamp)..segment.expiries()).map(move |index| (segment, index))
            })
    }
}

fn kind_of(transfer: &Transfer) -> EventKind {
    match transfer.flags {
        flags if flags & transfer_flags::PENDING != 0 => EventKind::TwoPhasePending,
        flags if flags & transfer_flags::POST_PENDING_TRANSFER != 0 => EventKind::TwoPhasePosted,
        flags if flags & transfer_flags::VOID_PENDING_TRANSFER != 0 => EventKind::TwoPhaseVoided,
        _ => EventKind::SinglePhase,
    }
}

/// The balances of one side.
fn balance(timestamp: u64, balances: &[u128]) -> AccountBalance {
    AccountBalance {
        debits_pending: balances[0],
        debits_posted: balances[1],
        credits_pending: balances[2],
        credits_posted: balances[3],
        timestamp,
        reserved: [0; 56],
    }
}

/// The balances of the account in `slot`, one of the two sides.
fn balance_of(slot: Slot, timestamp: u64, sides: Sides, balances: &Balances) -> AccountBalance {
    let (debit, credit) = balances.split_at(4);
    balance(timestamp, if sides.debit_slot() == slot { debit } else { credit })
}

impl<D: Disk> History for LedgerStore<D> {
    fn lookup_hashes(&self, hashes: &[[u8; 32]], out: &mut Vec<Transfer>) {
        out.extend(hashes.iter().filter_map(|hash| {
            self.segments_newest_first().find_map(|segment| {
                let mut postings = segment.postings(Field::Hash, hash_key(hash));
                let mut from = 0;
                while let Some(row) = postings.at_or_after(from) {
                    let transfer = segment.transfer(row);
                    if transfer.hash() == *hash {
                        return Some(transfer);
                    }
                    from = row + 1;
                }
                None
            })
        }));
    }

    fn get_account_transfers(&self, filter: &mut AccountFilter, out: &mut Vec<Transfer>) -> Progress {
        self.visit_account_transfers(filter, |_, _, transfer| out.push(*transfer))
    }

    fn get_account_balances(&self, filter: &mut AccountFilter, out: &mut Vec<AccountBalance>) -> Progress {
        let slot = self.find_account(filter.account_id);
        let Some(slot) = slot.filter(|&slot| self.accounts.row(slot).flags & account_flags::HISTORY != 0) else {
            return Progress::Done;
        };
        self.visit_account_transfers(filter, |segment, row, transfer| {
            out.push(balance_of(slot, transfer.timestamp, segment.sides(row), &segment.balances(row)));
        })
    }

    fn query_accounts(&self, filter: &mut QueryFilter, out: &mut Vec<Account>) -> Progress {
        let begin = self.accounts.older_than(*filter.range().start());
        let end = self.accounts.older_than(filter.range().end().saturating_add(1));
        if begin >= end {
            return Progress::Done;
        }
        let fields = named_fields(&self.keys, filter);
        let reversed = filter.is_reversed();
        let (mut found, limit) = (0, filter.capped_limit());
        let mut effort = Effort(self.options.places_a_step);
        let mut visit_group = |group: usize| {
            let first = group * GROUP;
            let range = index32(begin.max(first) - first)..index32(end.min(first + GROUP) - first);
            let indexes = &self.account_indexes;
            let clauses = if effort.is_spent() {
                None
            } else {
                indexes.borrow_mut().postings(&self.keys, &self.accounts, group, &fields, self.index_step())
            };
            let next = match clauses {
                None if reversed => Some(range.end - 1),
                None => Some(range.start),
                Some(clauses) => walk(clauses, range, reversed, &mut effort, |row| {
                    let account = self.accounts.row(index32(first + row as usize));
                    if filter.matches_account(account) {
                        out.push(*account);
                        found += 1;
                    }
                    found < limit
                }),
            };
            match next {
                Some(row) => ControlFlow::Break(Some(self.accounts.row(index32(first + row as usize)).timestamp)),
                None if found < limit => ControlFlow::Continue(()),
                None => ControlFlow::Break(None),
            }
        };
        let mut groups = begin / GROUP..=(end - 1) / GROUP;
        let ended =
            if reversed { groups.rev().try_for_each(&mut visit_group) } else { groups.try_for_each(&mut visit_group) };
        ended.break_value().flatten().map_or(Progress::Done, |timestamp| {
            filter.go_on_from(timestamp, found);
            Progress::More
        })
    }

    fn query_transfers(&self, filter: &mut QueryFilter, out: &mut Vec<Transfer>) -> Progress {
        let query = Query {
            account: None,
            fields: &named_fields(&self.keys, filter),
            timestamp_min: *filter.range().start(),
            timestamp_max: *filter.range().end(),
            reversed: filter.is_reversed(),
        };
        let (mut found, limit) = (0, filter.capped_limit());
        let next = self.visit_transfers(&query, |_, _, transfer| {
            if filter.matches_transfer(transfer) {
                out.push(*transfer);
                found += 1;
            }
            found < limit
        });
        next.map_or(Progress::Done, |timestamp| {
            filter.go_on_from(timestamp, found);
            Progress::More
        })
    }

    fn get_change_events(&self, filter: &ChangeEventsFilter, out: &mut Vec<ChangeEvent>) {
        let (from, to) = (*filter.range().start(), *filter.range().end());
        let mut transfers = self.transfers_from(from).map(|(s, row)| (s, row, s.transfer(row))).peekable();
        let mut expiries = self.expiries_from(from).map(|(s, index)| (s, index, s.expiry(index))).peekable();
        for _ in 0..filter.capped_limit() {
            let next_transfer = transfers.peek().map(|(.., transfer)| transfer.timestamp).filter(|&t| t <= to);
            let next_expiry = expiries.peek().map(|(.., expiry)| expiry.timestamp).filter(|&t| t <= to);
            let transfer_is_next = match (next_transfer, next_expiry) {
                (None, None) => return,
                (Some(transfer), Some(expiry)) => transfer < expiry,
                (transfer, None) => transfer.is_some(),
                (None, _) => false,
            };
            if transfer_is_next {
                let Some((segment, row, transfer)) = transfers.next() else { return };
                let (sides, balances) = (segment.sides(row), segment.balances(row));
                out.push(self.change(kind_of(&transfer), transfer.timestamp, &transfer, sides, &balances));
            } else {
                let Some((segment, index, expiry)) = expiries.next() else { return };
                let pending = self.segment(expiry.segment).transfer(expiry.row);
                let balances = segment.expiry_balances(index);
                let kind = EventKind::TwoPhaseExpired;
                out.push(self.change(kind, expiry.timestamp, &pending, expiry.sides, &balances));
            }
        }
    }

    fn outcome(&self, id: u128) -> Option<Outcome> {
        self.find_id(
            id,
            |segment, row| Outcome {
                id,
                timestamp: segment.transfer(row).timestamp,
                status: CreateTransferStatus::Created.number(),
                reserved: 0,
            },
            |segment, index| {
                let burned = segment.burned(index);
                Outcome { id, timestamp: burned.timestamp, status: burned.status, reserved: 0 }
            },
        )
    }

    fn balance_at(&self, handle: Slot, timestamp: u64) -> AccountBalance {
        let transfer = self.segments_newest_first().find_map(|segment| {
            let last = segment.first_at_or_after(timestamp.saturating_add(1)).checked_sub(1)?;
            let mut either = AnyOf(SIDES.map(|field| segment.postings(field, u64::from(handle))).into());
            let row = either.at_or_before(last)?;
            let timestamp = segment.transfer(row).timestamp;
            Some(balance_of(handle, timestamp, segment.sides(row), &segment.balances(row)))
        });
        let newest = transfer.unwrap_or(AccountBalance::ZERO);
        let expiry = self.segments_newest_first().find_map(|segment| {
            if segment.last_expiry_timestamp() <= newest.timestamp {
                return None;
            }
            let last = segment.first_expiry_at_or_after(timestamp.saturating_add(1)).checked_sub(1)?;
            let index = segment.expiry_postings(handle).at_or_before(last)?;
            let expiry = segment.expiry(index);
            Some(balance_of(handle, expiry.timestamp, expiry.sides, &segment.expiry_balances(index)))
        });
        let newest = expiry.filter(|expiry| expiry.timestamp > newest.timestamp).unwrap_or(newest);
        if newest.timestamp != 0 {
            return newest;
        }
        let opening = self.opening.get(&handle).filter(|account| account.timestamp <= timestamp);
        opening.map_or(newest, |account| AccountBalance { timestamp: 0, ..account.balance() })
    }
}
