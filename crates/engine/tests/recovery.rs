//! A recovery tells how far it is, and can be ended.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::desk::{Desk, SESSION, header, request};
use common::{SECRET, account};
use qenex_engine::EngineError;
use qenex_engine::frame::Operation;
use qenex_engine::limits::Limits;
use qenex_engine::recover::{open, open_telling};
use zerocopy::IntoBytes;

#[test]
fn a_recovery_tells_how_far_it_is_and_one_that_is_ended_has_changed_nothing() {
    let mut desk = Desk::new(Limits::default());
    let connection = desk.greet(SESSION, SECRET);
    for number in 1..=10 {
        let row = account(u128::from(number));
        desk.ask(connection, &request(header(Operation::CreateAccounts, number), row.as_bytes()));
    }
    let entries = desk.engine.state().entry();
    let mut told = Vec::new();
    let whole = open_telling(&desk.disk.copy(), &desk.options(), |done, of| {
        told.push((done, of));
        Ok(())
    });
    let whole = whole.ok().unwrap();
    assert!(told.len() >= 10 && told.is_sorted());
    assert!(told.iter().all(|(_, of)| *of == entries));
    assert_eq!(told.last(), Some(&(entries, entries)));
    for stop in 0..told.len() {
        let (disk, mut steps) = (desk.disk.copy(), 0);
        let ended = open_telling(&disk, &desk.options(), |_, _| {
            steps += 1;
            if steps > stop { Err(EngineError::Stopped("enough".to_owned())) } else { Ok(()) }
        });
        assert!(matches!(ended, Err(EngineError::Stopped(_))));
        let opened = open(&disk, &desk.options()).ok().unwrap();
        assert_eq!((opened.tip.epoch, opened.tip.number), (whole.tip.epoch, whole.tip.number));
        assert_eq!(opened.state.mark(), whole.state.mark());
    }
}
