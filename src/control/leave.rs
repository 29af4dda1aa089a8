//! The order to leave, and how far the control task is with it.

use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::proto::types::Deadline;
use crate::ring::Wake;

/// The order to leave, given by any thread: first to drain, then to end what is left. It is never taken back.
#[derive(Debug)]
pub struct Leave {
    /// [`STAY`], [`DRAIN`] or [`AT_ONCE`]; it only grows.
    order: AtomicU8,
    /// How long a drain may take, in milliseconds. Written before the order.
    drain_ms: AtomicU64,
    wake: Arc<Wake>,
}

const STAY: u8 = 0;
const DRAIN: u8 = 1;
const AT_ONCE: u8 = 2;

impl Leave {
    /// An order that has not been given, for the control task that sleeps on `wake`.
    #[must_use]
    pub const fn new(wake: Arc<Wake>) -> Self {
        Self { order: AtomicU8::new(STAY), drain_ms: AtomicU64::new(0), wake }
    }

    /// Make no new allocation, and leave when the last one has ended, after `at_most` in any case. A second order of this
    /// kind changes nothing.
    pub fn drain(&self, at_most: Duration) {
        let at_most_ms = u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX);
        self.drain_ms.store(at_most_ms, Ordering::SeqCst);
        self.order.fetch_max(DRAIN, Ordering::SeqCst);
        self.wake.notify();
    }

    /// End every allocation and leave.
    pub fn at_once(&self) {
        self.order.fetch_max(AT_ONCE, Ordering::SeqCst);
        self.wake.notify();
    }

    /// How long the drain may take, once one was asked for.
    pub(super) fn drain_asked(&self) -> Option<Duration> {
        let asked = self.order.load(Ordering::SeqCst) >= DRAIN;
        asked.then(|| Duration::from_millis(self.drain_ms.load(Ordering::SeqCst)))
    }

    pub(super) fn at_once_asked(&self) -> bool {
        self.order.load(Ordering::SeqCst) >= AT_ONCE
    }
}

/// How far the control task is with leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nobody asked.
    Serving,
    /// No new allocation is made; the live ones may go on until then.
    Draining {
        /// Then the rest is ended.
        until: Deadline,
    },
    /// The rest is being ended.
    Ending {
        /// What is left then is left to the kernel.
        until: Deadline,
    },
}

impl Stage {
    /// When this stage is over, whatever happens.
    pub(super) const fn until(self) -> Option<Deadline> {
        match self {
            Self::Serving => None,
            Self::Draining { until } | Self::Ending { until } => Some(until),
        }
    }

    /// Whether `leave` asks for a later stage than this one.
    pub(super) fn is_behind(self, leave: &Leave) -> bool {
        match self {
            Self::Serving => leave.drain_asked().is_some(),
            Self::Draining { .. } => leave.at_once_asked(),
            Self::Ending { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leave() -> Leave {
        Leave::new(Arc::new(Wake::new().expect("an event descriptor")))
    }

    #[test]
    fn an_order_only_grows() {
        let leave = leave();
        assert_eq!((leave.drain_asked(), leave.at_once_asked()), (None, false));
        leave.drain(Duration::from_secs(9));
        assert_eq!((leave.drain_asked(), leave.at_once_asked()), (Some(Duration::from_secs(9)), false));
        leave.at_once();
        leave.drain(Duration::from_secs(9));
        assert!(leave.at_once_asked());
    }

    #[test]
    fn each_stage_waits_for_the_next_order_alone() {
        let until = Deadline::from_millis(5);
        let leave = leave();
        let behind = |leave: &Leave| {
            [Stage::Serving, Stage::Draining { until }, Stage::Ending { until }]
                .map(|stage| stage.is_behind(leave))
        };
        assert_eq!(behind(&leave), [false, false, false]);
        leave.drain(Duration::ZERO);
        assert_eq!(behind(&leave), [true, false, false]);
        leave.at_once();
        assert_eq!(behind(&leave), [true, true, false]);
    }
}
