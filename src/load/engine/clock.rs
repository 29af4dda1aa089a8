//! Time of a run: nanoseconds since it began, the same in every thread.

use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use crate::load::profile::TICK_NS;
use crate::proto::types::Now;

/// The clock of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that begins now.
    pub(super) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Nanoseconds since the run began.
    pub(super) fn now_ns(self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The moment `ns` as the standard library has it.
    pub(super) fn instant(self, ns: u64) -> Instant {
        self.origin + Duration::from_nanos(ns)
    }

    /// The moment `at` as nanoseconds since the run began.
    pub(super) fn ns_of(self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    /// How far the wall clock is ahead of this one, by which the kernel stamps what arrives. It must be asked for each
    /// reading, because the wall clock can be set.
    pub(super) fn wall(self) -> Wall {
        let mut before_ns = self.now_ns();
        for _ in 0..READINGS_MAX {
            let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let now_ns = self.now_ns();
            // Between two readings the thread may have slept.
            if now_ns - before_ns <= READING_NS {
                return Wall { now_ns, ahead: Some(wall.saturating_sub(Duration::from_nanos(now_ns))) };
            }
            before_ns = now_ns;
        }
        Wall { now_ns: before_ns, ahead: None }
    }
}

/// Two clocks are read within this, in nanoseconds.
const READING_NS: u64 = 10_000;
/// How often they are read until they are.
const READINGS_MAX: usize = 8;
/// A stamp that lies farther ahead is none.
const AHEAD_MAX_NS: u64 = 1_000_000_000;

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wall {
    now_ns: u64,
    ahead: Option<Duration>,
}

impl Wall {
    /// When something arrived that the kernel stamped so; without a stamp, or with one that cannot be, when the clocks
    /// were read. What arrived since then lies a little ahead of that.
    pub(super) fn arrival_ns(&self, stamp: Option<Duration>) -> u64 {
        let since = stamp.zip(self.ahead).and_then(|(stamp, ahead)| stamp.checked_sub(ahead));
        let ns = since.and_then(|since| u64::try_from(since.as_nanos()).ok());
        ns.filter(|ns| *ns <= self.now_ns + AHEAD_MAX_NS).unwrap_or(self.now_ns)
    }
}

/// A moment as the protocol's core reads it. Credentials are the server's to judge, so no wall clock is needed.
pub(super) fn protocol_time(now_ns: u64) -> Now {
    Now { since_start: Duration::from_nanos(now_ns), unix: 0 }
}

/// The first tick that is not before a moment.
pub(super) const fn tick_at_or_after(ns: u64) -> u64 {
    ns.div_ceil(TICK_NS)
}

/// The tick that a moment lies in.
pub(super) const fn tick_of(ns: u64) -> u64 {
    ns / TICK_NS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_becomes_time_of_the_run_and_none_lies_ahead() {
        let wall = Wall { now_ns: 5_000_000_000, ahead: Some(Duration::from_secs(1_000)) };
        assert_eq!(wall.arrival_ns(Some(Duration::from_millis(1_004_500))), 4_500_000_000);
        assert_eq!(
            wall.arrival_ns(Some(Duration::from_millis(1_005_001))),
            5_001_000_000,
            "since the reading"
        );
        for odd in [None, Some(Duration::from_secs(3)), Some(Duration::from_secs(2_000)), Some(Duration::MAX)]
        {
            assert_eq!(wall.arrival_ns(odd), 5_000_000_000, "{odd:?}");
        }
    }

    #[test]
    fn ticks_hold_their_moments() {
        assert_eq!((tick_at_or_after(0), tick_at_or_after(1), tick_at_or_after(TICK_NS)), (0, 1, 1));
        assert_eq!((tick_of(TICK_NS - 1), tick_of(TICK_NS)), (0, 1));
    }
}
