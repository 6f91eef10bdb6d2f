//! `spec/kernel.md` and the code say the same: rows, flags, statuses with their numbers and order.

use std::fs;
use std::mem::offset_of;
use std::path::Path;

use qenex_kernel::row::*;
use qenex_kernel::status::{CreateAccountStatus, CreateTransferStatus, SetAccountTermsStatus};

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/kernel.md");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of the first table after the line that starts with `heading`.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let after = page.lines().skip_while(|line| !line.starts_with(heading)).skip(1);
    let rows: Vec<_> =
        after.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 2, "no table after {heading:?}");
    let cells = |line: &&str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    rows[2..].iter().map(cells).collect()
}

fn number(cell: &str) -> usize {
    cell.parse().unwrap_or_else(|_| panic!("{cell:?} is no number"))
}

fn size_of_type(name: &str) -> usize {
    match name {
        "u8" => 1,
        "u16" => 2,
        "u32" => 4,
        "u64" => 8,
        "u128" => 16,
        bytes => number(bytes.strip_suffix(" bytes").unwrap_or_else(|| panic!("{bytes:?} is no type"))),
    }
}

/// The table of a row is its fields in order, each where the code has it, without gaps up to its size.
fn check_row(page: &str, name: &str, size: usize, fields: &[(&str, usize)]) {
    let rows = table(page, &format!("### {name}, {size} bytes"));
    let listed: Vec<_> = rows.iter().map(|row| (row[1].as_str(), number(&row[0]))).collect();
    assert_eq!(listed, fields, "{name}");
    let ends: Vec<_> = rows.iter().map(|row| number(&row[0]) + size_of_type(&row[2])).collect();
    let starts: Vec<_> = rows.iter().skip(1).map(|row| number(&row[0])).chain([size]).collect();
    assert_eq!(ends, starts, "{name} has no gaps");
}

macro_rules! check_rows {
    ($page:expr; $($row:ident: $($field:ident)*;)*) => {
        $(check_row($page, stringify!($row), size_of::<$row>(), &[$((stringify!($field), offset_of!($row, $field))),*]);)*
    };
}

#[test]
fn rows() {
    let page = page();
    check_rows! { &page;
        Account: id debits_pending debits_posted credits_pending credits_posted user_data_128 user_data_64 user_data_32
            reserved ledger code flags timestamp;
        Transfer: id debit_account_id credit_account_id amount pending_id user_data_128 user_data_64 user_data_32 timeout
            ledger code flags timestamp;
        EventResult: timestamp status reserved;
        AccountFilter: account_id user_data_128 user_data_64 user_data_32 code reserved timestamp_min timestamp_max limit
            flags;
        QueryFilter: user_data_128 user_data_64 user_data_32 ledger code reserved timestamp_min timestamp_max limit flags;
        AccountBalance: debits_pending debits_posted credits_pending credits_posted timestamp reserved;
        ChangeEventsFilter: timestamp_min timestamp_max limit reserved;
        ChangeEvent: transfer_id transfer_amount transfer_pending_id transfer_user_data_128 transfer_user_data_64
            transfer_user_data_32 transfer_timeout transfer_code transfer_flags ledger kind reserved debit_account
            credit_account timestamp transfer_timestamp debit_account_timestamp credit_account_timestamp;
        ChangedAccount: id debits_pending debits_posted credits_pending credits_posted user_data_128 user_data_64
            user_data_32 code flags;
        AccountTerms: account_id debit_limit restrictions reason reserved;
        BalanceAt: account_id timestamp reserved;
        Outcome: id timestamp status reserved;
        Id: id;
    }
}

macro_rules! check_flags {
    ($page:expr, $heading:literal, $flags:ident: $($flag:ident)*) => {
        let listed: Vec<_> = table($page, $heading).iter().map(|row| (row[1].clone(), 1 << number(&row[0]))).collect();
        let coded = [$((stringify!($flag).to_lowercase(), $flags::$flag)),*];
        assert_eq!(listed, coded);
        assert_eq!($flags::ALL, listed.iter().fold(0, |all, (_, bit)| all | bit));
    };
}

#[test]
fn flags() {
    let page = page();
    check_flags!(&page, "Flags of an account:", account_flags: LINKED DEBITS_MUST_NOT_EXCEED_CREDITS
        CREDITS_MUST_NOT_EXCEED_DEBITS HISTORY IMPORTED CLOSED);
    check_flags!(&page, "Flags of a transfer:", transfer_flags: LINKED PENDING POST_PENDING_TRANSFER
        VOID_PENDING_TRANSFER BALANCING_DEBIT BALANCING_CREDIT CLOSING_DEBIT CLOSING_CREDIT IMPORTED);
}

fn listed_statuses(page: &str, heading: &str) -> Vec<(u32, String)> {
    let read = |row: &Vec<String>| (row[0].parse().expect("a number"), row[1].clone());
    table(page, heading).iter().map(read).collect()
}

macro_rules! check_statuses {
    ($page:expr, $heading:literal, $status:ident) => {
        let coded: Vec<_> = $status::ALL.iter().map(|status| (status.number(), status.name().to_owned())).collect();
        assert_eq!(listed_statuses($page, $heading), coded);
        for (number, name) in coded {
            assert_eq!($status::from_number(number).map($status::name), Some(name.as_str()));
        }
    };
}

#[test]
fn statuses_in_order_of_precedence() {
    let page = page();
    check_statuses!(&page, "## 4. create_accounts", CreateAccountStatus);
    check_statuses!(&page, "## 5. create_transfers", CreateTransferStatus);
    check_statuses!(&page, "## 6. set_account_terms", SetAccountTermsStatus);
}

#[test]
fn the_statuses_that_burn_an_id() {
    for row in table(&page(), "## 5. create_transfers") {
        let status = CreateTransferStatus::from_number(row[0].parse().expect("a number")).expect("a status");
        assert_eq!(status.is_transient(), row[3].contains("burns the id"), "{status:?}");
    }
}
