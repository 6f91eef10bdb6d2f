//! How far something is that takes its time, for Python.

use std::time::{Duration, Instant};

use pyo3::call::PyCallArgs;
use pyo3::prelude::*;
use qenex_engine::EngineError;

use crate::engine::raised;

/// How often progress is told at most.
const EVERY: Duration = Duration::from_millis(100);

/// Tells a Python function, if there is one, how far a work is; what that raises ends the work, and so does Ctrl-C.
pub(crate) struct Progress {
    function: Option<Py<PyAny>>,
    next: Instant,
    raised: Option<PyErr>,
}

impl Progress {
    pub(crate) fn new(function: Option<Py<PyAny>>) -> Self {
        Self { function, next: Instant::now(), raised: None }
    }

    /// Calls the function, if it is time.
    ///
    /// # Errors
    /// [`EngineError::Stopped`] if the function raised something, which [`Progress::error`] gives.
    pub(crate) fn tell<A>(&mut self, arguments: A) -> Result<(), EngineError>
    where
        A: for<'py> PyCallArgs<'py>,
    {
        if Instant::now() < self.next {
            return Ok(());
        }
        let told = Python::attach(|py| {
            // Ctrl-C is seen by Python alone.
            py.check_signals()?;
            self.function.as_ref().map_or(Ok(()), |function| function.call1(py, arguments).map(drop))
        });
        self.next = Instant::now() + EVERY;
        told.map_err(|error| {
            self.raised = Some(error);
            EngineError::Stopped("it was asked to end".to_owned())
        })
    }

    /// What was raised on the way, or what the work's own error stands for.
    pub(crate) fn error(self, py: Python<'_>, path: &str, error: &EngineError) -> PyErr {
        self.raised.unwrap_or_else(|| raised(py, path, error))
    }
}
