//! What keeps a front from starting, or a new certificate from being taken.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why there is no front.
#[derive(Debug)]
pub enum FrontError {
    /// A file of certificates, of a key or of revoked certificates cannot be used.
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        complaint: String,
    },
    /// Others on the machine can read the key.
    Exposed {
        /// The file of the key.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The address cannot be listened on.
    Listen {
        /// Which door's, counted from 0.
        door: usize,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The system refused something else.
    Io {
        /// What was to be done.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

impl FrontError {
    /// For `map_err`: this was to be done.
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }

    /// This is wrong with that file.
    pub(crate) fn file(path: impl Into<PathBuf>, complaint: impl fmt::Display) -> Self {
        Self::File { path: path.into(), complaint: complaint.to_string() }
    }
}

impl fmt::Display for FrontError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, complaint } => write!(formatter, "{}: {complaint}", path.display()),
            Self::Exposed { path, mode } => {
                write!(formatter, "{}: mode {mode:o} lets others read the key; `chmod 600` it", path.display())
            }
            Self::Listen { address, source, .. } => write!(formatter, "cannot listen on {address}: {source}"),
            Self::Io { what, source } => write!(formatter, "cannot {what}: {source}"),
        }
    }
}

impl std::error::Error for FrontError {}
