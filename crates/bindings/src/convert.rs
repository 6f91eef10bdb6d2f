//! Rows from bytes and to bytes, errors to Python's.

use std::borrow::Cow;

use pyo3::call::PyCallArgs;
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::PyByteArray;
use qenex_kernel::machine::Misuse;
use qenex_kernel::row::TIMESTAMP_MAX;
use zerocopy::{CastError, FromBytes, Immutable, IntoBytes, KnownLayout};

/// The rows that `bytes` hold, without a copy where they are aligned (CPython aligns them).
///
/// # Errors
/// `InvalidRows`: not a whole number of rows.
pub(crate) fn rows<'a, Row>(py: Python<'_>, bytes: &'a [u8]) -> PyResult<Cow<'a, [Row]>>
where
    Row: FromBytes + Immutable + KnownLayout + Clone,
{
    let size = size_of::<Row>();
    match <[Row]>::ref_from_bytes(bytes) {
        Ok(rows) => Ok(Cow::Borrowed(rows)),
        Err(CastError::Size(_)) => {
            let text = format!("{} bytes are no whole number of rows of {size} bytes", bytes.len());
            Err(error(py, "InvalidRows", text))
        }
        Err(_) => Ok(bytes.chunks_exact(size).filter_map(|row| Row::read_from_bytes(row).ok()).collect()),
    }
}

/// The one row that `bytes` hold.
///
/// # Errors
/// `InvalidRows`: not one row.
pub(crate) fn row<Row: FromBytes>(py: Python<'_>, bytes: &[u8]) -> PyResult<Row> {
    Row::read_from_bytes(bytes).map_err(|_| {
        let text = format!("{} bytes are not one row of {} bytes", bytes.len(), size_of::<Row>());
        error(py, "InvalidRows", text)
    })
}

/// Rows as bytes that numpy can write to.
pub(crate) fn bytes<'py, Row: IntoBytes + Immutable>(py: Python<'py>, rows: &[Row]) -> Bound<'py, PyByteArray> {
    PyByteArray::new(py, rows.as_bytes())
}

/// UTC nanoseconds from a Python integer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timestamp(pub(crate) u64);

impl<'py> FromPyObject<'_, 'py> for Timestamp {
    type Error = PyErr;

    /// A number that no `u64` holds is a wrong timestamp, not a failed conversion.
    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let py = given.py();
        given.extract().map(Self).map_err(|failure: PyErr| {
            if !failure.is_instance_of::<PyOverflowError>(py) {
                return failure;
            }
            error(py, "InvalidTimestamp", format!("timestamp {} lies outside 1 to {TIMESTAMP_MAX}", *given))
        })
    }
}

/// A misuse of the kernel as the error of `qenex.errors` that stands for it.
pub(crate) fn misuse(py: Python<'_>, misuse: Misuse) -> PyErr {
    let name = match misuse {
        Misuse::BatchTooLarge { .. } => "BatchTooLarge",
        Misuse::TimestampTooHigh { .. } | Misuse::TimestampMustAdvance { .. } => "InvalidTimestamp",
    };
    error(py, name, misuse.to_string())
}

/// The error of this name in `qenex.errors`, made from a text.
pub(crate) fn error(py: Python<'_>, name: &str, text: String) -> PyErr {
    error_with(py, name, (text,))
}

/// The error of this name in `qenex.errors`, made from what its class takes.
pub(crate) fn error_with<'py>(py: Python<'py>, name: &str, arguments: impl PyCallArgs<'py>) -> PyErr {
    let made = py.import("qenex.errors").and_then(|errors| errors.getattr(name)?.call1(arguments));
    made.map_or_else(|failure| failure, PyErr::from_value)
}
