//! Indexes of the accounts' fields, made when a query first needs them.

use qenex_kernel::row::QueryFilter;

use super::accounts::Accounts;
use super::field::Field;
use super::hash::Keys;
use super::num::index32;
use super::postings::Postings;
use super::runs::Runs;

/// Accounts in a group: no sorted run is longer, so that no merge takes long.
const GROUP_BITS: u32 = 20;
/// Accounts in a group.
pub(crate) const GROUP: usize = 1 << GROUP_BITS;

/// Indexes of groups of a million accounts each.
#[derive(Debug, Default)]
pub(crate) struct AccountIndexes {
    groups: Vec<[Runs; Field::ALL.len()]>,
}

/// The fields that a query names, with their keys.
pub(crate) fn named_fields(keys: &Keys, filter: &QueryFilter) -> Vec<(Field, u64)> {
    [
        (Field::UserData128, filter.user_data_128),
        (Field::UserData64, u128::from(filter.user_data_64)),
        (Field::UserData32, u128::from(filter.user_data_32)),
        (Field::Ledger, u128::from(filter.ledger)),
        (Field::Code, u128::from(filter.code)),
    ]
    .into_iter()
    .filter(|&(_, value)| value != 0)
    .map(|(field, value)| (field, field.key(keys, value)))
    .collect()
}

impl AccountIndexes {
    /// The accounts of a group, counted from its first, under each key; `None` if there are more that the indexes do not
    /// have than the `step` that each of them takes in.
    pub(crate) fn postings(
        &mut self,
        keys: &Keys,
        accounts: &Accounts,
        group: usize,
        fields: &[(Field, u64)],
        step: u32,
    ) -> Option<Vec<Box<dyn Postings>>> {
        if self.groups.len() <= group {
            self.groups.resize_with(group + 1, Default::default);
        }
        let first = group * GROUP;
        let length = index32((accounts.len() - first).min(GROUP));
        let indexes = &mut self.groups[group];
        fields
            .iter()
            .map(|&(field, key)| {
                let runs = &mut indexes[field as usize];
                let key_of = |row| field.key_of_account(keys, accounts.row(index32(first + row as usize)));
                runs.step(length, step, key_of).then(|| Box::new(runs.postings(key)) as Box<dyn Postings>)
            })
            .collect()
    }

    /// Accounts from `length` on were taken back.
    pub(crate) fn forget_from(&mut self, length: usize) {
        for (group, indexes) in self.groups.iter_mut().enumerate() {
            for runs in indexes.iter_mut().filter(|runs| group * GROUP + runs.covered() as usize > length) {
                runs.clear();
            }
        }
    }
}
