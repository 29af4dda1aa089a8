//! The clock of the crate `is`, which knows instants and no numbers. None is read here.
#![expect(
    clippy::disallowed_types,
    reason = "`is` takes them; they are reckoned from the one that the owner hands in"
)]

use std::time::Duration;
use std::time::Instant;

use crate::proto::types::Deadline;
use crate::proto::types::Now;

/// What every instant is reckoned from. Agents that see the same [`Now`]s do the same whichever they have.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base: Instant,
}

/// `is` looks a minute back, and there may be no such instant where a machine has just started.
const MARGIN: Duration = Duration::from_secs(3_600);

impl Clock {
    /// One whose beginning, [`Now::since_start`] zero, lies an hour after `start`. Only differences count.
    #[must_use]
    pub fn starting_at(start: Instant) -> Self {
        Self { base: start + MARGIN }
    }

    pub(super) fn instant(&self, now: Now) -> Instant {
        self.base + now.since_start
    }

    /// The first millisecond at which `at` has come.
    pub(super) fn deadline(&self, at: Instant) -> Deadline {
        let micros = at.saturating_duration_since(self.base).as_micros();
        Deadline::from_millis(u64::try_from(micros.div_ceil(1_000)).unwrap_or(u64::MAX))
    }
}
