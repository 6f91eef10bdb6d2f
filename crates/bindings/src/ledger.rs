//! The ledger in memory.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyByteArray;
use qenex_kernel::machine::{Machine, Misuse};
use qenex_kernel::memory::MemoryStore;
use qenex_kernel::row::EventResult;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::convert::{self, Timestamp};

/// A ledger in memory. The caller passes the timestamps; rows go in and come out as bytes.
#[pyclass(frozen, module = "qenex.kernel._native")]
#[derive(Debug)]
pub(crate) struct Ledger {
    machine: Mutex<Machine<MemoryStore>>,
}

/// A request that changes something, as the machine takes it.
type Write<Row> = fn(&mut Machine<MemoryStore>, u64, &[Row], &mut Vec<EventResult>) -> Result<(), Misuse>;
/// A look-up by keys, as the machine takes it.
type LookUp<Key, Row> = fn(&Machine<MemoryStore>, &[Key], &mut Vec<Row>) -> Result<(), Misuse>;
/// A question about the past, as the machine takes it.
type Query<Filter, Row> = fn(&Machine<MemoryStore>, &Filter, &mut Vec<Row>);

impl Ledger {
    /// Waits for its turn. A ledger whose machine has panicked half way is not used again.
    fn machine(&self) -> PyResult<MutexGuard<'_, Machine<MemoryStore>>> {
        let damaged = |_: PoisonError<_>| PyRuntimeError::new_err("an earlier call failed half way: make a new Ledger");
        self.machine.lock().map_err(damaged)
    }

    fn write<'py, Row>(
        &self,
        py: Python<'py>,
        rows: &[u8],
        timestamp_ns: Timestamp,
        call: Write<Row>,
    ) -> PyResult<Bound<'py, PyByteArray>>
    where
        Row: FromBytes + Immutable + KnownLayout + Clone + Sync,
    {
        let rows = convert::rows::<Row>(py, rows)?;
        let (outcome, results) = py.detach(|| {
            let mut results = Vec::with_capacity(rows.len());
            self.machine().map(|mut machine| (call(&mut machine, timestamp_ns.0, &rows, &mut results), results))
        })?;
        outcome.map_err(|misuse| convert::misuse(py, misuse))?;
        Ok(convert::bytes(py, &results))
    }

    fn look_up<'py, Key, Row>(
        &self,
        py: Python<'py>,
        keys: &[u8],
        call: LookUp<Key, Row>,
    ) -> PyResult<Bound<'py, PyByteArray>>
    where
        Key: FromBytes + Immutable + KnownLayout + Clone + Sync,
        Row: IntoBytes + Immutable + Send,
    {
        let keys = convert::rows::<Key>(py, keys)?;
        let (outcome, found) = py.detach(|| {
            let mut found = Vec::with_capacity(keys.len());
            self.machine().map(|machine| (call(&machine, &keys, &mut found), found))
        })?;
        outcome.map_err(|misuse| convert::misuse(py, misuse))?;
        Ok(convert::bytes(py, &found))
    }

    fn query<'py, Filter, Row>(
        &self,
        py: Python<'py>,
        filter: &[u8],
        call: Query<Filter, Row>,
    ) -> PyResult<Bound<'py, PyByteArray>>
    where
        Filter: FromBytes + Sync,
        Row: IntoBytes + Immutable + Send,
    {
        let filter = convert::row::<Filter>(py, filter)?;
        let found = py.detach(|| {
            let mut found = Vec::new();
            self.machine().map(|machine| {
                call(&machine, &filter, &mut found);
                found
            })
        })?;
        Ok(convert::bytes(py, &found))
    }
}

#[pymethods]
impl Ledger {
    /// A ledger that starts from these `ACCOUNT` rows, which may be none.
    #[new]
    fn new(py: Python<'_>, accounts: &[u8]) -> PyResult<Self> {
        let accounts = convert::rows(py, accounts)?;
        let store = MemoryStore::with_accounts(&accounts)
            .map_err(|invalid| convert::error(py, "InvalidRows", invalid.to_string()))?;
        Ok(Self { machine: Mutex::new(Machine::new(store, 0)) })
    }

    /// Timestamp of the last request or expiry, 0 if there was none.
    #[getter]
    fn timestamp_ns(&self, py: Python<'_>) -> PyResult<u64> {
        py.detach(|| Ok(self.machine()?.timestamp()))
    }

    /// When the next open pending transfer expires.
    #[getter]
    fn next_expiry_ns(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        py.detach(|| Ok(self.machine()?.next_expiry()))
    }

    /// `ACCOUNT` rows in, `EVENT_RESULT` rows out.
    fn create_accounts<'py>(
        &self,
        py: Python<'py>,
        rows: &[u8],
        timestamp_ns: Timestamp,
    ) -> PyResult<Bound<'py, PyByteArray>> {
        self.write(py, rows, timestamp_ns, Machine::create_accounts)
    }

    /// `TRANSFER` rows in, `EVENT_RESULT` rows out.
    fn create_transfers<'py>(
        &self,
        py: Python<'py>,
        rows: &[u8],
        timestamp_ns: Timestamp,
    ) -> PyResult<Bound<'py, PyByteArray>> {
        self.write(py, rows, timestamp_ns, Machine::create_transfers)
    }

    /// `ACCOUNT_TERMS` rows in, `EVENT_RESULT` rows out.
    fn set_account_terms<'py>(
        &self,
        py: Python<'py>,
        rows: &[u8],
        timestamp_ns: Timestamp,
    ) -> PyResult<Bound<'py, PyByteArray>> {
        self.write(py, rows, timestamp_ns, Machine::set_account_terms)
    }

    /// Expires what is due; how many that were.
    fn expire(&self, py: Python<'_>, timestamp_ns: Timestamp) -> PyResult<usize> {
        let outcome = py.detach(|| Ok::<_, PyErr>(self.machine()?.expire(timestamp_ns.0, usize::MAX)))?;
        outcome.map_err(|misuse| convert::misuse(py, misuse))
    }

    /// `ID` rows in, `ACCOUNT` rows out.
    fn lookup_accounts<'py>(&self, py: Python<'py>, ids: &[u8]) -> PyResult<Bound<'py, PyByteArray>> {
        self.look_up(py, ids, Machine::lookup_accounts)
    }

    /// `ID` rows in, `TRANSFER` rows out.
    fn lookup_transfers<'py>(&self, py: Python<'py>, ids: &[u8]) -> PyResult<Bound<'py, PyByteArray>> {
        self.look_up(py, ids, Machine::lookup_transfers)
    }

    /// `HASH` rows in, `TRANSFER` rows out.
    fn lookup_hashes<'py>(&self, py: Python<'py>, hashes: &[u8]) -> PyResult<Bound<'py, PyByteArray>> {
        self.look_up(py, hashes, Machine::lookup_hashes)
    }

    /// `ID` rows in, `OUTCOME` rows out.
    fn lookup_outcomes<'py>(&self, py: Python<'py>, ids: &[u8]) -> PyResult<Bound<'py, PyByteArray>> {
        self.look_up(py, ids, Machine::lookup_outcomes)
    }

    /// `ID` rows in, `ACCOUNT_TERMS` rows out.
    fn lookup_account_terms<'py>(&self, py: Python<'py>, ids: &[u8]) -> PyResult<Bound<'py, PyByteArray>> {
        self.look_up(py, ids, Machine::lookup_account_terms)
    }

    /// `BALANCE_AT` rows in, `ACCOUNT_BALANCE` rows out.
    fn balance_at<'py>(&self, py: Python<'py>, questions: &[u8]) -> PyResult<Bound<'py, PyByteArray>> {
        self.look_up(py, questions, Machine::balance_at)
    }

    /// One `ACCOUNT_FILTER` row in, `TRANSFER` rows out.
    fn get_account_transfers<'py>(&self, py: Python<'py>, filter: &[u8]) -> PyResult<Bound<'py, PyByteArray>> {
        self.query(py, filter, Machine::get_account_transfers)
    }

    /// One `ACCOUNT_FILTER` row in, `ACCOUNT_BALANCE` rows out.
    fn get_account_balances<'py>(&self, py: Python<'py>, filter: &[u8]) -> PyResult<Bound<'py, PyByteArray>> {
        self.query(py, filter, Machine::get_account_balances)
    }

    /// One `QUERY_FILTER` row in, `ACCOUNT` rows out.
    fn query_accounts<'py>(&self, py: Python<'py>, filter: &[u8]) -> PyResult<Bound<'py, PyByteArray>> {
        self.query(py, filter, Machine::query_accounts)
    }

    /// One `QUERY_FILTER` row in, `TRANSFER` rows out.
    fn query_transfers<'py>(&self, py: Python<'py>, filter: &[u8]) -> PyResult<Bound<'py, PyByteArray>> {
        self.query(py, filter, Machine::query_transfers)
    }

    /// One `CHANGE_EVENTS_FILTER` row in, `CHANGE_EVENT` rows out.
    fn get_change_events<'py>(&self, py: Python<'py>, filter: &[u8]) -> PyResult<Bound<'py, PyByteArray>> {
        self.query(py, filter, Machine::get_change_events)
    }
}
