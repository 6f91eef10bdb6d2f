//! Journals verified and backups restored, for the command line.

use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt};
use qenex_engine::server::random_bytes;
use qenex_engine::verify::{Recomputed, Sum, restore, verify};
use qenex_journal::disk::FileDisk;
use qenex_journal::log::{Ending, VerifyReport};

use crate::progress::Progress;

/// Walks the chain of the journal in the book's folder `path` and computes everything again, in an empty folder `scratch`.
/// Of a journal that is being written, `until` is the last group known to be synced.
#[pyfunction]
#[pyo3(signature = (path, scratch, until, progress))]
pub(crate) fn verify_journal<'py>(
    py: Python<'py>,
    path: &str,
    scratch: &str,
    until: Option<u64>,
    progress: Py<PyAny>,
) -> PyResult<Bound<'py, PyDict>> {
    let mut progress = Progress::new(Some(progress));
    let walked = py.detach(|| {
        let (disk, scratch) = (FileDisk::new(path)?, FileDisk::new(scratch)?);
        verify(&disk, &scratch, until, |passed| progress.tell((passed.bytes, passed.bytes_total)))
    });
    match walked {
        Ok((report, recomputed)) => {
            let found = PyDict::new(py);
            put_report(&found, &report)?;
            put_recomputed(&found, &recomputed)?;
            Ok(found)
        }
        Err(error) => Err(progress.error(py, path, &error)),
    }
}

/// Verifies the backup in the folder `source` as `verify_journal` does, then makes a book of it in the folder `target`,
/// which is empty.
#[pyfunction]
#[pyo3(signature = (source, target, scratch, progress))]
pub(crate) fn restore_backup<'py>(
    py: Python<'py>,
    source: &str,
    target: &str,
    scratch: &str,
    progress: Py<PyAny>,
) -> PyResult<Bound<'py, PyDict>> {
    let mut progress = Progress::new(Some(progress));
    let walked = py.detach(|| {
        let (from, to, scratch) = (FileDisk::new(source)?, FileDisk::new(target)?, FileDisk::new(scratch)?);
        let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let created = u64::try_from(created.as_nanos()).unwrap_or(0);
        restore(&from, &to, &scratch, random_bytes()?, created, |bytes, of| progress.tell((bytes, of)))
    });
    match walked {
        Ok((restored, recomputed)) => {
            let found = PyDict::new(py);
            found.set_item("book", hex(&restored.book))?;
            found.set_item("incarnation", hex(&restored.incarnation))?;
            found.set_item("parent_incarnation", hex(&restored.parent_incarnation))?;
            found.set_item("groups", restored.tip.number)?;
            found.set_item("entries", restored.tip.entry)?;
            put_recomputed(&found, &recomputed)?;
            Ok(found)
        }
        Err(error) => Err(progress.error(py, source, &error)),
    }
}

fn put_report(found: &Bound<'_, PyDict>, report: &VerifyReport) -> PyResult<()> {
    found.set_item("book", hex(&report.header.book))?;
    found.set_item("incarnations", report.incarnations.iter().map(|id| hex(id)).collect::<Vec<_>>())?;
    found.set_item("files", report.passed.files)?;
    found.set_item("bytes", report.passed.bytes)?;
    found.set_item("groups", report.passed.groups)?;
    found.set_item("entries", report.passed.entries)?;
    found.set_item("rows", report.passed.rows)?;
    found.set_item("group_hash", hex(&report.tip.hash))?;
    let (ending, note) = match &report.ending {
        Ending::Clean => ("clean", String::new()),
        Ending::Open => ("open", String::new()),
        Ending::Asked => ("asked", String::new()),
        Ending::Torn { file, offset, why } => ("torn", format!("{file}, byte {offset}: {why}")),
    };
    found.set_item("ending", ending)?;
    found.set_item("ending_note", note)
}

fn put_recomputed(found: &Bound<'_, PyDict>, recomputed: &Recomputed) -> PyResult<()> {
    found.set_item("accounts", recomputed.counters.accounts)?;
    found.set_item("transfers", recomputed.counters.transfers)?;
    found.set_item("pending", recomputed.counters.pending)?;
    found.set_item("state_hash", hex(&recomputed.state_hash))?;
    found.set_item("results_hash", hex(&recomputed.results_hash))?;
    found.set_item("results_compared", recomputed.results_compared)?;
    found.set_item("marks_compared", recomputed.marks_compared)?;
    found.set_item("misadded", &recomputed.misadded)?;
    let whole = |sum: Sum| found.py().get_type::<PyInt>().call_method1("from_bytes", (&sum.to_bytes()[..], "little"));
    let ledgers = recomputed.ledgers.iter().map(|(ledger, sums)| {
        let posted = (whole(sums.debits_posted)?, whole(sums.credits_posted)?);
        let pending = (whole(sums.debits_pending)?, whole(sums.credits_pending)?);
        Ok((*ledger, sums.accounts, posted.0, posted.1, pending.0, pending.1))
    });
    found.set_item("ledgers", ledgers.collect::<PyResult<Vec<_>>>()?)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
