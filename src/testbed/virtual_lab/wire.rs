//! One direction of a link between a place and the internet: when what is put on it comes out, if it does.

use crate::testbed::scenario::Link;

use super::clock::MILLISECOND;
use super::clock::Micros;
use super::clock::SECOND;
use super::clock::micros;
use crate::proto::types::Dice;

/// What waits for longer than so before a slow link is lost, as in a router's queue.
const QUEUE_MAX: Micros = 200 * MILLISECOND;
/// How much later one comes that is overtaken: more than lies between two packets of media.
const OVERTAKEN: Micros = 45 * MILLISECOND;

/// One direction of a link.
#[derive(Debug)]
pub(super) struct Wire {
    link: Link,
    dice: Dice,
    /// When what was sent before has left.
    free: Micros,
    /// When what was sent before arrives.
    last: Micros,
}

impl Wire {
    pub(super) const fn new(link: Link, dice: Dice) -> Self {
        Self { link, dice, free: 0, last: 0 }
    }

    /// When a packet of `len` bytes, IP header included, comes out that is put on it at `at`: never, once or twice.
    pub(super) fn carry(&mut self, at: Micros, len: usize) -> [Option<Micros>; 2] {
        let Some(left) = self.leave(at, len) else { return [None; 2] };
        if self.dice.befalls(self.link.loss_ppm) {
            return [None; 2];
        }
        let jitter = self.dice.range(0, micros(self.link.jitter));
        let arrives = left + micros(self.link.delay) + jitter;
        let first = if self.dice.befalls(self.link.reorder_ppm) {
            arrives + OVERTAKEN
        } else {
            self.last = self.last.max(arrives);
            self.last
        };
        let again = self.dice.befalls(self.link.duplication_ppm);
        [Some(first), again.then_some(first + MILLISECOND)]
    }

    /// When the last bit has left; `None`: there is no room in the queue.
    fn leave(&mut self, at: Micros, len: usize) -> Option<Micros> {
        let Some(rate) = self.link.rate.filter(|rate| *rate > 0) else { return Some(at) };
        let begins = self.free.max(at);
        if begins - at > QUEUE_MAX {
            return None;
        }
        let takes = (len as u64).saturating_mul(8 * SECOND) / rate;
        self.free = begins.saturating_add(takes);
        Some(self.free)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn wire(link: Link) -> Wire {
        Wire::new(link, Dice::new(7))
    }

    const MILLION: u32 = 1_000_000;

    #[test]
    fn a_perfect_cable_delivers_at_once_and_a_cut_one_never() {
        assert_eq!(wire(Link::default()).carry(5, 1_500), [Some(5), None]);
        assert_eq!(wire(Link { loss_ppm: MILLION, ..Link::default() }).carry(5, 1), [None; 2]);
    }

    #[test]
    fn so_many_are_lost_as_were_asked_for() {
        let mut wire = wire(Link { loss_ppm: 100_000, ..Link::default() });
        let arrived = (0..10_000).filter(|at| wire.carry(*at, 100)[0].is_some()).count();
        assert!((8_850..9_150).contains(&arrived), "{arrived}");
    }

    #[test]
    fn jitter_overtakes_nobody_and_reordering_does() {
        let (delay, jitter) = (Duration::from_millis(20), Duration::from_millis(15));
        let arrivals = |reorder_ppm| {
            let mut wire = wire(Link { delay, jitter, reorder_ppm, ..Link::default() });
            (0..500).filter_map(|at| wire.carry(at * 20_000, 100)[0]).collect::<Vec<_>>()
        };
        let even = arrivals(0);
        assert!(
            even.is_sorted()
                && even.iter().zip(0..).all(|(came, at)| (20_000..=35_000).contains(&(came - at * 20_000)))
        );
        assert!(even.windows(2).any(|two| two[1] - two[0] != 20_000));
        let uneven = arrivals(20_000);
        assert_eq!(uneven.len(), 500);
        assert!(!uneven.is_sorted());
    }

    #[test]
    fn a_slow_link_spaces_packets_and_its_queue_ends() {
        // 1,000 bytes take 8 ms at 1 Mbit/s.
        let mut wire = wire(Link { rate: Some(1_000_000), ..Link::default() });
        let arrivals: Vec<_> = (0..40).map(|_| wire.carry(0, 1_000)[0]).collect();
        assert_eq!(arrivals[..3], [Some(8_000), Some(16_000), Some(24_000)]);
        let came = arrivals.iter().flatten().count();
        assert_eq!(came, 26, "what would wait longer than 200 ms is lost");
        assert_eq!(wire.carry(10 * SECOND, 1_000)[0], Some(10 * SECOND + 8_000));
    }

    #[test]
    fn what_comes_twice_comes_twice() {
        let mut wire = wire(Link { duplication_ppm: MILLION, ..Link::default() });
        assert_eq!(wire.carry(0, 1), [Some(0), Some(MILLISECOND)]);
    }
}
