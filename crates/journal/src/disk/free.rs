//! The one question that the standard library cannot ask: how much space is left.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes that a process without privileges can still write under `path`.
#[allow(unsafe_code)]
pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: `statvfs` is plain integers, for which all zeros is a value; `path` is a string that
    // ends with a zero byte and lives through the call; the call writes only into `answer`.
    let answer = unsafe {
        let mut answer: libc::statvfs = core::mem::zeroed();
        if libc::statvfs(path.as_ptr(), &raw mut answer) != 0 {
            return Err(io::Error::last_os_error());
        }
        answer
    };
    Ok(answer.f_bavail.saturating_mul(answer.f_frsize))
}
