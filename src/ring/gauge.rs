//! How full a ring is, for others to read.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// The fill level of one ring, read by whoever holds it; exact when both ends rest, else a moment old.
///
/// Each count has one writer and a cache line of its own, so keeping them costs a plain store.
#[derive(Debug)]
pub struct Gauge {
    capacity: usize,
    pushed: Padded,
    popped: Padded,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded(AtomicU64);

impl Gauge {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, pushed: Padded::default(), popped: Padded::default() }
    }

    /// Values that the ring can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Values that wait, at most [`Self::capacity`].
    #[must_use]
    pub fn fill(&self) -> usize {
        // Popped first: what is popped between the two readings then makes the answer too large, never negative.
        let popped = self.popped.0.load(Ordering::Acquire);
        let pushed = self.pushed.0.load(Ordering::Acquire);
        usize::try_from(pushed.saturating_sub(popped)).map_or(self.capacity, |fill| fill.min(self.capacity))
    }

    /// Values that ever went in.
    #[must_use]
    pub fn pushed(&self) -> u64 {
        self.pushed.0.load(Ordering::Relaxed)
    }

    pub(super) fn set_pushed(&self, count: u64) {
        self.pushed.0.store(count, Ordering::Release);
    }

    pub(super) fn set_popped(&self, count: u64) {
        self.popped.0.store(count, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pop_seen_before_its_push_counts_as_empty() {
        let gauge = Gauge::new(4);
        gauge.set_popped(3);
        gauge.set_pushed(2);
        assert_eq!(gauge.fill(), 0);
    }

    #[test]
    fn a_fill_never_exceeds_the_capacity() {
        let gauge = Gauge::new(4);
        gauge.set_pushed(9);
        assert_eq!(gauge.fill(), 4);
        assert_eq!(gauge.pushed(), 9);
    }
}
