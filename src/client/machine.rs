//! The machine's clock and randomness, as `proto` wants them.

use std::time::SystemTime;

use tokio::time::Instant;

use crate::proto::types::Deadline;
use crate::proto::types::Entropy;
use crate::proto::types::Now;

/// Randomness of the operating system.
#[derive(Debug)]
pub(super) struct Random;

impl Entropy for Random {
    fn fill_secret(&mut self, out: &mut [u8]) {
        // No transaction may be guessed, so there is nothing to fall back on.
        getrandom::fill(out).expect("the operating system has randomness once it runs programs");
    }
}

/// Time since this client began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(super) fn now(self) -> Now {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Now { since_start: self.start.elapsed(), unix: unix.map_or(0, |since| since.as_secs()) }
    }

    /// When `deadline` is. A deadline counts whole milliseconds; just before one it would not be due yet.
    pub(super) fn instant(self, deadline: Deadline) -> Instant {
        let now = self.now();
        Instant::now() + deadline.remaining(now.tick()) + std::time::Duration::from_millis(1)
    }
}
