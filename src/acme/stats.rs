//! What is counted of orders. The thread of orders alone writes; anyone may read at any time.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use super::schedule;

/// Counters since the start, and when the certificate ends.
#[derive(Debug, Default)]
pub struct Stats {
    orders: [AtomicU64; Outcome::ALL.len()],
    /// In seconds since 1970-01-01 UTC; 0 without a certificate.
    not_after: AtomicU64,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is a certificate.
    Issued,
    /// There is none. It is tried again.
    Failed,
}

impl Outcome {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Issued, Self::Failed];

    /// The word of the metric's label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Failed => "failed",
        }
    }
}

impl Stats {
    /// Orders that ended so.
    #[must_use]
    pub fn orders(&self, outcome: Outcome) -> u64 {
        self.orders[outcome as usize].load(Ordering::Relaxed)
    }

    /// Seconds until the certificate ends, 0 if it has ended or there is none.
    #[must_use]
    pub fn seconds_left(&self) -> u64 {
        self.not_after.load(Ordering::Relaxed).saturating_sub(schedule::unix())
    }

    pub(super) fn count(&self, outcome: Outcome) {
        self.orders[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ends(&self, not_after: u64) {
        self.not_after.store(not_after, Ordering::Relaxed);
    }
}
