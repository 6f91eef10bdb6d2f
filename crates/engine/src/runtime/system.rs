//! The few things that only the operating system can say: its clocks, whether they are synchronised, signals to stop,
//! whether the other end of a silent connection is still there.

#![allow(unsafe_code)] // each call below says why it is sound

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::clock::{Now, SECOND_NS};

/// What the clocks show.
pub(crate) fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { wall_ns: u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX), monotonic_ns: boot_ns() }
}

/// Nanoseconds since boot, those asleep included, so that a machine that slept shows no jump of the wall clock.
fn boot_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, which lives through it. This clock exists since Linux 2.6.39.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) } != 0;
    assert!(!failed, "CLOCK_BOOTTIME exists");
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or(0) * SECOND_NS + nanoseconds.unwrap_or(0)
}

/// Whether the system says that its wall clock is synchronised.
pub(crate) fn is_clock_synchronised() -> bool {
    // SAFETY: `timex` is plain integers, for which all zeros is a value; with `modes` 0 the call only reads the
    // clock's state into it.
    unsafe {
        let mut state: libc::timex = core::mem::zeroed();
        libc::adjtimex(&raw mut state) != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0
    }
}

/// Seconds of silence after which the system asks the other end of a connection whether it is still there, seconds between
/// questions, and how many without an answer end the connection.
const KEEP_ALIVE: [(libc::c_int, libc::c_int); 3] =
    [(libc::TCP_KEEPIDLE, 60), (libc::TCP_KEEPINTVL, 10), (libc::TCP_KEEPCNT, 6)];

/// Has the system find out when the other end of a TCP connection is gone without a word: an idle client may be silent
/// for as long as it lives.
pub(crate) fn keep_alive(stream: &impl AsRawFd) -> io::Result<()> {
    let set = |level: libc::c_int, option: libc::c_int, value: libc::c_int| {
        let length = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(4);
        let pointer = (&raw const value).cast();
        // SAFETY: the descriptor is open for as long as `stream` is borrowed; the call reads one integer, which lives
        // through it.
        match unsafe { libc::setsockopt(stream.as_raw_fd(), level, option, pointer, length) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    for (option, value) in KEEP_ALIVE {
        set(libc::IPPROTO_TCP, option, value)?;
    }
    set(libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)
}

/// Files that this process may have open.
pub(crate) fn open_files_max() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes one `rlimit`, which lives through it.
    let failed = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0;
    // What every system gives.
    if failed { 1_024 } else { usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX) }
}

/// Turns SIGTERM and SIGINT into something to read: the returned descriptor is readable once one has come in. Call it
/// before any thread is started, for threads inherit what is blocked here.
///
/// # Errors
/// If the system refuses.
pub fn stop_signals() -> io::Result<OwnedFd> {
    // SAFETY: `sigset_t` is plain integers and is initialised by `sigemptyset`; the pointers live through the calls;
    // the descriptor that `signalfd` returns is new and nobody else's.
    unsafe {
        let mut set: libc::sigset_t = core::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::sigaddset(&raw mut set, libc::SIGINT);
        let error = libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, core::ptr::null_mut());
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        let descriptor = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(descriptor))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn option(stream: &TcpStream, level: libc::c_int, option: libc::c_int) -> libc::c_int {
        let mut value: libc::c_int = -1;
        let mut length: libc::socklen_t = 4;
        let pointer = (&raw mut value).cast();
        // SAFETY: the descriptor is open; the call writes at most the four bytes of `value`, which lives through it.
        let done = unsafe { libc::getsockopt(stream.as_raw_fd(), level, option, pointer, &raw mut length) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
        value
    }

    #[test]
    fn a_silent_connection_is_watched_by_the_system() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        assert_eq!(option(&client, libc::SOL_SOCKET, libc::SO_KEEPALIVE), 0);
        keep_alive(&client).expect("options that a TCP socket has");
        assert_eq!(option(&client, libc::SOL_SOCKET, libc::SO_KEEPALIVE), 1);
        for (name, value) in KEEP_ALIVE {
            assert_eq!(option(&client, libc::IPPROTO_TCP, name), value);
        }
    }
}
