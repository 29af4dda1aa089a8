//! How often workers panicked lately. One that happens again and again is not mended by a new start.

use std::collections::VecDeque;

use crate::proto::types::Deadline;
use crate::proto::types::Now;
use crate::proto::types::limits;

/// The latest panics of all workers, each until it no longer counts.
#[derive(Debug, Default)]
pub(super) struct Panics {
    count_until: VecDeque<Deadline>,
}

impl Panics {
    /// A worker has panicked.
    pub(super) fn note(&mut self, now: Now) {
        self.count_until.retain(|until| !until.is_due(now.tick()));
        self.count_until.push_back(now.after(limits::WORKER_PANICS_WINDOW));
    }

    /// Whether there were more than the server should outlive.
    pub(super) fn are_too_many(&self) -> bool {
        self.count_until.len() > limits::WORKER_PANICS_MAX
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Now {
        Now { since_start: Duration::from_secs(seconds), unix: 0 }
    }

    #[test]
    fn three_in_a_minute_are_outlived_and_a_fourth_is_not() {
        let mut panics = Panics::default();
        for second in [0, 20, 40] {
            panics.note(at(second));
            assert!(!panics.are_too_many());
        }
        // The first was a minute ago.
        panics.note(at(60));
        assert!(!panics.are_too_many());
        panics.note(at(79));
        assert!(panics.are_too_many());
    }

    #[test]
    fn what_happens_now_and_then_is_outlived_for_ever() {
        let mut panics = Panics::default();
        for minute in 0..1_000 {
            for second in [0, 1, 59] {
                panics.note(at(60 * minute + second));
                assert!(!panics.are_too_many() && panics.count_until.len() <= limits::WORKER_PANICS_MAX);
            }
        }
    }
}
