//! Time of a run: nanoseconds since it began, the same in every thread.

use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use crate::proto::types::Now;

use super::wheel::TICK_NS;

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
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now_ns = self.now_ns();
        Wall { now_ns, ahead: wall.saturating_sub(Duration::from_nanos(now_ns)) }
    }
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wall {
    /// The run's.
    pub(super) now_ns: u64,
    ahead: Duration,
}

impl Wall {
    /// When something arrived that the kernel stamped so; without a stamp, or with one that cannot be, now.
    pub(super) fn arrival_ns(&self, stamp: Option<Duration>) -> u64 {
        let since = stamp.and_then(|stamp| stamp.checked_sub(self.ahead));
        let ns = since.and_then(|since| u64::try_from(since.as_nanos()).ok());
        ns.map_or(self.now_ns, |ns| ns.min(self.now_ns))
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
        let wall = Wall { now_ns: 5_000_000_000, ahead: Duration::from_secs(1_000) };
        assert_eq!(wall.arrival_ns(Some(Duration::from_millis(1_004_500))), 4_500_000_000);
        for odd in [None, Some(Duration::from_secs(3)), Some(Duration::from_secs(2_000)), Some(Duration::MAX)] {
            assert_eq!(wall.arrival_ns(odd), 5_000_000_000, "{odd:?}");
        }
    }

    #[test]
    fn ticks_hold_their_moments() {
        assert_eq!((tick_at_or_after(0), tick_at_or_after(1), tick_at_or_after(TICK_NS)), (0, 1, 1));
        assert_eq!((tick_of(TICK_NS - 1), tick_of(TICK_NS)), (0, 1));
    }
}
