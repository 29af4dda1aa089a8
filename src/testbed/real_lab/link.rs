//! The line between a place and the internet: what is lost on it, how long it takes, how much it carries. The router does this
//! by itself, because many kernels cannot.

use std::time::Duration;

use crate::proto::types::Entropy as _;
use crate::proto::types::limits::LAB_QUEUE_SPAN;
use crate::testbed::scenario::Link;

use crate::proto::types::Dice;

/// How long a packet is held back to be overtaken.
const OVERTAKEN: Duration = Duration::from_millis(15);

/// One way of a line.
#[derive(Debug)]
pub(super) struct Lane {
    link: Link,
    dice: Dice,
    /// When what was taken is through.
    free: Duration,
    /// When the last one that keeps its place arrives.
    last: Duration,
}

impl Lane {
    pub(super) const fn new(link: Link, dice: Dice) -> Self {
        Self { link, dice, free: Duration::ZERO, last: Duration::ZERO }
    }

    /// When a packet of `len` bytes that is sent now arrives: never, once or twice.
    pub(super) fn arrivals(&mut self, now: Duration, len: usize) -> [Option<Duration>; 2] {
        if self.meets(self.link.loss_ppm) {
            return [None; 2];
        }
        let mut through = now;
        if let Some(rate) = self.link.rate {
            let begins = self.free.max(now);
            if begins.saturating_sub(now) > LAB_QUEUE_SPAN {
                return [None; 2];
            }
            through = begins + Duration::from_secs_f64(len as f64 * 8.0 / rate.max(1) as f64);
            self.free = through;
        }
        let mut arrives = through + self.link.delay;
        if !self.link.jitter.is_zero() {
            arrives += self.link.jitter.mul_f64(self.dice.fraction());
        }
        arrives = arrives.max(self.last);
        if self.meets(self.link.reorder_ppm) {
            arrives += OVERTAKEN;
        } else {
            self.last = arrives;
        }
        [Some(arrives), self.meets(self.link.duplication_ppm).then_some(arrives)]
    }

    /// No dice are thrown over what cannot happen, so that a line without faults costs nothing.
    fn meets(&mut self, of_a_million: u32) -> bool {
        of_a_million > 0 && self.dice.below(1_000_000) < of_a_million
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Arrivals of 10,000 packets of 125 bytes, one in a millisecond.
    fn run(link: Link) -> Vec<[Option<Duration>; 2]> {
        let mut lane = Lane::new(link, Dice::stream(7, 0));
        (0..10_000).map(|at| lane.arrivals(MS * at, 125)).collect()
    }

    #[test]
    fn a_line_without_faults_is_not_there() {
        let arrived = run(Link::default());
        let wanted = (0..10_000).map(|at| [Some(MS * at), None]);
        assert!(arrived.into_iter().eq(wanted));
    }

    #[test]
    fn each_fault_does_what_it_says_and_nothing_else() {
        let lost = run(Link { loss_ppm: 100_000, ..Link::default() });
        let missing = lost.iter().filter(|both| both[0].is_none()).count();
        assert!((800..1_200).contains(&missing), "{missing} of 10,000");
        let twice = run(Link { duplication_ppm: 100_000, ..Link::default() });
        let doubled = twice.iter().filter(|both| both[1].is_some()).count();
        assert!((800..1_200).contains(&doubled), "{doubled} of 10,000");
        let late = run(Link { delay: MS * 20, jitter: MS * 10, ..Link::default() });
        let times: Vec<_> = late.iter().filter_map(|both| both[0]).collect();
        assert!(times.is_sorted(), "order is kept");
        let waits = (0..).zip(&times).map(|(at, time)| *time - MS * at);
        assert!(waits.clone().all(|wait| (MS * 20..=MS * 30).contains(&wait)));
        assert!(waits.clone().max() > Some(MS * 29) && waits.min() < Some(MS * 21));
        let mixed = run(Link { reorder_ppm: 50_000, ..Link::default() });
        let times: Vec<_> = mixed.iter().filter_map(|both| both[0]).collect();
        let overtaken = times.windows(2).filter(|pair| pair[1] < pair[0]).count();
        assert!((350..650).contains(&overtaken), "{overtaken} of 10,000");
    }

    #[test]
    fn a_full_line_delays_and_then_loses() {
        // A packet is 1,000 bits and there is one in a millisecond: half of them fit.
        let arrived = run(Link { rate: Some(500_000), ..Link::default() });
        let times: Vec<_> = arrived.iter().filter_map(|both| both[0]).collect();
        assert!((4_950..5_300).contains(&times.len()), "{}", times.len());
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= MS * 2));
        let waits = arrived.iter().zip(0..).filter_map(|(both, at)| both[0].map(|time| time - MS * at));
        assert!(waits.max() <= Some(LAB_QUEUE_SPAN + MS * 4));
    }
}
