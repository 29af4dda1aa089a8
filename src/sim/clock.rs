//! Time as a number: monotonic microseconds, and a wall clock that somebody may set.

use std::time::Duration;

use crate::proto::types::Now;
use crate::proto::types::Tick;

/// Microseconds since the start.
pub(super) type Micros = u64;

pub(super) const MILLISECOND: Micros = 1_000;
pub(super) const SECOND: Micros = 1_000_000;

/// 2027-01-15: a day in the future of every clock that this was written by.
const WALL_AT_START: u64 = 1_800_000_000;

/// Both clocks.
#[derive(Debug)]
pub(super) struct Clock {
    micros: Micros,
    /// What the wall clock was set forward by, in seconds.
    set_by: i64,
}

impl Clock {
    pub(super) const fn new() -> Self {
        Self { micros: 0, set_by: 0 }
    }

    pub(super) const fn micros(&self) -> Micros {
        self.micros
    }

    /// Goes to `micros`; time does not go back.
    pub(super) fn advance(&mut self, micros: Micros) {
        self.micros = self.micros.max(micros);
    }

    /// Sets the wall clock by so many seconds; the monotonic one does not notice.
    pub(super) const fn set_wall(&mut self, seconds: i64) {
        self.set_by += seconds;
    }

    pub(super) fn now(&self) -> Now {
        let since_start = Duration::from_micros(self.micros);
        let unix = WALL_AT_START + since_start.as_secs();
        Now { since_start, unix: unix.saturating_add_signed(self.set_by) }
    }

    pub(super) fn tick(&self) -> Tick {
        self.now().tick()
    }
}
