//! TLS before the servers, in threads of this process.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use qenex_front::{ClientAuthority, Door, Files, FrontConfig, FrontError, Limits};

use crate::convert;
use crate::engine::{duplicate, resolve};

/// The flags that say where a door is, for who has to choose another port.
const FLAGS: [&str; 2] = ["--https-port", "--binary-tls-port"];

/// Ends TLS and passes the bytes on, with who is at the other end before them.
#[pyclass(frozen, module = "qenex.kernel._native")]
#[derive(Debug)]
pub(crate) struct Front {
    addresses: Vec<(String, u16)>,
    front: Mutex<Option<qenex_front::Front>>,
}

#[pymethods]
impl Front {
    /// Reads the files (PEM) and listens. `doors` are those of HTTPS and of the binary protocol: host, port (0 is any free
    /// one), the Unix socket of the server behind, and the protocols that a client may name (ALPN). `client_ca` asks
    /// clients for a certificate, `client_crl` has those that were revoked. Once `stop_fd`, a pipe's reading end, becomes
    /// readable the front stops as `stop` does. `tell` hears of new certificates, from a thread of the front's.
    #[new]
    #[pyo3(signature = (*, doors, certificate, key, client_ca, client_crl, client_required, connections_max, stop_fd, tell))]
    #[allow(clippy::too_many_arguments)] // named ones, in Python
    fn new(
        py: Python<'_>,
        doors: Vec<(String, u16, PathBuf, Vec<String>)>,
        certificate: PathBuf,
        key: PathBuf,
        client_ca: Option<PathBuf>,
        client_crl: Option<PathBuf>,
        client_required: bool,
        connections_max: usize,
        stop_fd: Option<i32>,
        tell: Py<PyAny>,
    ) -> PyResult<Self> {
        let doors = doors
            .into_iter()
            .map(|(host, port, behind, protocols)| Ok(Door { listen: resolve(py, &host, port)?, behind, protocols }));
        let clients =
            client_ca.map(|roots| ClientAuthority { roots, revoked: client_crl, is_required: client_required });
        let config = FrontConfig {
            doors: doors.collect::<PyResult<_>>()?,
            files: Files { certificate, key, clients },
            limits: Limits::new(connections_max),
            stop: stop_fd.map(duplicate).transpose()?,
            tell: Arc::new(move |line| Python::attach(|py| say(py, &tell, line))),
        };
        let front = py.detach(|| qenex_front::Front::start(config)).map_err(|error| raised(py, &error))?;
        let addresses = front.addresses().iter().map(|address| (address.ip().to_string(), address.port())).collect();
        Ok(Self { addresses, front: Mutex::new(Some(front)) })
    }

    /// Host and port of each door.
    #[getter]
    fn addresses(&self) -> Vec<(String, u16)> {
        self.addresses.clone()
    }

    /// Asks it to take no more connections, and to end once those that it has are over or quiet. Does not wait.
    fn stop(&self) {
        if let Some(front) = &*self.front.lock().unwrap_or_else(PoisonError::into_inner) {
            front.stop();
        }
    }

    /// Waits until it has ended. Once only: later calls return at once.
    fn wait(&self, py: Python<'_>) -> PyResult<()> {
        let front = py.detach(|| self.front.lock().unwrap_or_else(PoisonError::into_inner).take());
        front.map_or(Ok(()), |front| py.detach(|| front.wait()).map_err(|error| raised(py, &error)))
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let front = self.front.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        Python::attach(|py| py.detach(|| drop(front)));
    }
}

fn say(py: Python<'_>, tell: &Py<PyAny>, line: &str) {
    if let Err(error) = tell.call1(py, (line,)) {
        error.write_unraisable(py, Some(tell.bind(py)));
    }
}

/// What keeps a front from starting, as the error of `qenex.errors` that stands for it.
fn raised(py: Python<'_>, error: &FrontError) -> PyErr {
    match error {
        FrontError::File { path, complaint } => {
            convert::error_with(py, "InvalidFile", (path.display().to_string(), complaint.clone()))
        }
        FrontError::Exposed { .. } => convert::error(py, "CredentialExposed", error.to_string()),
        FrontError::Listen { door, address, source } if source.kind() == std::io::ErrorKind::AddrInUse => {
            let flag = FLAGS.get(*door).copied().unwrap_or_default();
            convert::error_with(py, "AddressInUse", (address.ip().to_string(), address.port(), flag))
        }
        FrontError::Listen { address, source, .. } => {
            convert::error_with(py, "AddressInvalid", (address.ip().to_string(), source.to_string()))
        }
        FrontError::Io { .. } => convert::error(py, "OperationFailed", error.to_string()),
    }
}
