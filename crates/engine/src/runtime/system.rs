//! The few things that only the operating system can say: its clocks, whether they are synchronised, signals to stop.

#![allow(unsafe_code)] // each call below says why it is sound

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
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
