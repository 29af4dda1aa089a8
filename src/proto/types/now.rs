//! Time as a value: the core is told the time, it never asks.

use std::time::Duration;

/// A reading of both clocks, taken once for each input.
///
/// Lifetimes, permissions, nonces and caches run on the monotonic reading. Only the expiry of a credential
/// looks at the wall clock, so a step of it changes no live allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time since the process started.
    pub since_start: Duration,
    /// The wall clock: whole seconds since 1970-01-01 UTC.
    pub unix: u64,
}

impl Now {
    /// The monotonic reading.
    #[must_use]
    pub fn tick(self) -> Tick {
        Tick::from(self.since_start)
    }

    /// The moment `span` from now.
    #[must_use]
    pub fn after(self, span: Duration) -> Deadline {
        self.tick().after(span)
    }
}

/// A monotonic reading in whole milliseconds since the process started: what the packet path knows of time,
/// read once for each batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(u64);

impl Tick {
    /// The tick `millis` milliseconds after the start.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the start.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The moment `span` after this reading.
    #[must_use]
    pub fn after(self, span: Duration) -> Deadline {
        let span_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Deadline(self.0.saturating_add(span_ms))
    }
}

impl From<Duration> for Tick {
    fn from(since_start: Duration) -> Self {
        Self(u64::try_from(since_start.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A moment at which something ends, in milliseconds since the process started. What ends at a deadline is
/// over when the clock shows it, not a millisecond later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(u64);

impl Deadline {
    /// Long gone.
    pub const PAST: Self = Self(0);
    /// Never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `millis` milliseconds after the start.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the start.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whether the moment has come.
    #[must_use]
    pub const fn is_due(self, tick: Tick) -> bool {
        self.0 <= tick.0
    }

    /// How long until the moment; zero once it has come.
    #[must_use]
    pub const fn remaining(self, tick: Tick) -> Duration {
        Duration::from_millis(self.0.saturating_sub(tick.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_at_a_moment_is_over_at_that_moment() {
        let deadline = Tick::from_millis(1_000).after(Duration::from_secs(1));
        assert!(!deadline.is_due(Tick::from_millis(1_999)));
        assert!(deadline.is_due(Tick::from_millis(2_000)));
        assert_eq!(deadline.remaining(Tick::from_millis(1_500)), Duration::from_millis(500));
        assert_eq!(deadline.remaining(Tick::from_millis(9_999)), Duration::ZERO);
    }

    #[test]
    fn an_endless_span_saturates() {
        assert_eq!(Tick::from_millis(5).after(Duration::MAX), Deadline::NEVER);
        assert!(!Deadline::NEVER.is_due(Tick::from_millis(u64::MAX - 1)));
    }
}
