//! Time, as the engine is told it, and what it makes of it.

use qenex_kernel::row::TIMESTAMP_MAX;

/// Nanoseconds in a second.
pub const SECOND_NS: u64 = 1_000_000_000;
/// A step of the wall clock against the monotonic one, or a gap since the journal's last entry, above which writes
/// wait for an operator: holds that expired by mistake do not come back.
pub const JUMP_NS: u64 = 3_600 * SECOND_NS;

/// What the clocks outside show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// UTC, nanoseconds since 1970.
    pub wall_ns: u64,
    /// Nanoseconds since some moment, never set back, running on while the machine sleeps.
    pub monotonic_ns: u64,
}

/// Watches the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    now: Now,
    confirmed: bool,
}

impl Clock {
    /// A clock at a start. `last_timestamp` is the journal's last, 0 if it has none; `trusted` says that the wall clock
    /// is synchronised or that the operator vouches for it.
    pub(crate) fn new(now: Now, last_timestamp: u64, trusted: bool) -> Self {
        let gap = now.wall_ns.abs_diff(last_timestamp);
        Self { now, confirmed: trusted || last_timestamp == 0 || gap <= JUMP_NS }
    }

    /// Takes note of the time.
    pub(crate) fn observe(&mut self, now: Now) {
        let wall_step = i128::from(now.wall_ns) - i128::from(self.now.wall_ns);
        let monotonic_step = i128::from(now.monotonic_ns) - i128::from(self.now.monotonic_ns);
        if (wall_step - monotonic_step).unsigned_abs() > u128::from(JUMP_NS) {
            self.confirmed = false;
        }
        self.now = now;
    }

    /// The operator says that the wall clock is right.
    pub(crate) const fn confirm(&mut self) {
        self.confirmed = true;
    }

    /// Whether writes may be stamped with it.
    pub(crate) const fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// UTC now.
    pub(crate) const fn wall_ns(&self) -> u64 {
        if self.now.wall_ns < TIMESTAMP_MAX { self.now.wall_ns } else { TIMESTAMP_MAX }
    }

    /// Monotonic now.
    pub(crate) const fn monotonic_ns(&self) -> u64 {
        self.now.monotonic_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall_s: u64, monotonic_s: u64) -> Now {
        Now { wall_ns: wall_s * SECOND_NS, monotonic_ns: monotonic_s * SECOND_NS }
    }

    #[test]
    fn a_jump_of_over_an_hour_needs_the_operator() {
        let mut clock = Clock::new(at(10_000, 0), 0, false);
        clock.observe(at(20_000, 10_000));
        assert!(clock.is_confirmed(), "both clocks ran on, as in a sleep");
        clock.observe(at(20_000 + 3_600, 10_000));
        assert!(clock.is_confirmed(), "an hour is not over an hour");
        clock.observe(at(20_000 + 3_600 + 3_601, 10_000));
        assert!(!clock.is_confirmed());
        clock.confirm();
        clock.observe(at(10_000, 10_001));
        assert!(!clock.is_confirmed(), "a jump back counts too");
    }

    #[test]
    fn a_gap_at_the_start_needs_trust() {
        let yesterday = 100_000 * SECOND_NS;
        assert!(Clock::new(at(100_000 + 3_600, 0), yesterday, false).is_confirmed());
        assert!(!Clock::new(at(100_000 + 3_601, 0), yesterday, false).is_confirmed());
        assert!(Clock::new(at(100_000 + 3_601, 0), yesterday, true).is_confirmed());
        assert!(!Clock::new(at(1, 0), yesterday, false).is_confirmed());
    }
}
