//! The only clocks of the control plane.

use std::time::Instant;
use std::time::SystemTime;

use crate::proto::types::Now;

/// Reads both clocks. The monotonic one starts with the process and is the workers' too.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The instant that ticks are counted from.
    #[must_use]
    pub const fn origin(&self) -> Instant {
        self.start
    }

    /// Both readings.
    #[must_use]
    pub fn now(&self) -> Now {
        // A wall clock before 1970 makes every time-limited credential look too long-lived, so none is accepted.
        let unix =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Now { since_start: self.start.elapsed(), unix }
    }
}
