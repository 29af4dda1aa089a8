//! Which streams are due: a wheel of ticks over all streams of a thread, so that none is looked at before its time.

use super::profile::TICK_NS;

/// Ticks of one turn of the wheel. A stream that is due later than a turn from now is looked at once each turn.
const SLOTS: u64 = 1024;

/// The streams of one thread by the time when they are next due.
///
/// A stream is put in anew after each of its bursts. One that goes may be left in: its number comes out once more, with
/// the time that it was put in for, by which the caller knows that it means nobody.
#[derive(Clone, Debug)]
pub struct Pacer {
    slots: Vec<Vec<Due>>,
    /// The first tick that has not been looked at for good.
    tick: u64,
}

/// A stream that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// Nanoseconds since the run began.
    pub due_ns: u64,
    /// The caller's name for the stream.
    pub stream: u32,
}

impl Pacer {
    /// Nothing is due; time stands at `now_ns`.
    #[must_use]
    pub fn new(now_ns: u64) -> Self {
        Self { slots: vec![Vec::new(); SLOTS as usize], tick: now_ns / TICK_NS }
    }

    /// Puts a stream in for a time. One that lies in the past is due at once.
    pub fn put(&mut self, due: Due) {
        let tick = (due.due_ns / TICK_NS).max(self.tick);
        self.slots[(tick % SLOTS) as usize].push(due);
    }

    /// Moves what is due at `now_ns` to the end of `out`, the older ticks first.
    pub fn take(&mut self, now_ns: u64, out: &mut Vec<Due>) {
        let now = (now_ns / TICK_NS).max(self.tick);
        let last = now.min(self.tick + SLOTS - 1);
        for tick in self.tick..=last {
            let slot = &mut self.slots[(tick % SLOTS) as usize];
            slot.retain(|each| {
                let is_due = each.due_ns <= now_ns;
                if is_due {
                    out.push(*each);
                }
                !is_due
            });
        }
        self.tick = now;
    }

    /// When to look again, in nanoseconds since the run began: never later than the next due stream, and at the latest
    /// one turn from now. `None`: no stream is in.
    #[must_use]
    pub fn next_ns(&self) -> Option<u64> {
        let (mut is_empty, mut nearest) = (true, None);
        for tick in self.tick..self.tick + SLOTS {
            let slot = &self.slots[(tick % SLOTS) as usize];
            is_empty &= slot.is_empty();
            if slot.iter().any(|each| each.due_ns / TICK_NS <= tick) {
                nearest = Some(tick);
                break;
            }
        }
        let latest = (!is_empty).then_some(self.tick + SLOTS - 1);
        nearest.or(latest).map(|tick| tick * TICK_NS)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_comes_out_once_and_never_early(
            dues in proptest::collection::vec(0u64..5_000, 1..200),
            steps in proptest::collection::vec(0u64..3_000, 1..20),
        ) {
            let mut pacer = Pacer::new(0);
            for (stream, tick) in dues.iter().enumerate() {
                pacer.put(due(*tick, stream as u32));
            }
            let (mut now, mut out) = (0, Vec::new());
            for step in steps {
                now += step;
                pacer.take(now * TICK_NS + 17, &mut out);
                let is: BTreeSet<_> = out.iter().copied().collect();
                let wanted: BTreeSet<_> =
                    dues.iter().enumerate().filter(|(_, tick)| **tick <= now).map(|(i, tick)| due(*tick, i as u32)).collect();
                prop_assert_eq!(is.len(), out.len(), "one came twice");
                prop_assert_eq!(is, wanted);
                if let Some(next) = pacer.next_ns() {
                    let nearest = dues.iter().filter(|tick| **tick > now).min();
                    prop_assert!(nearest.is_none_or(|tick| next <= tick * TICK_NS));
                }
            }
        }
    }

    #[test]
    fn the_past_is_due_at_once() {
        let mut pacer = Pacer::new(9_000 * TICK_NS);
        pacer.put(due(3, 1));
        let mut out = Vec::new();
        pacer.take(9_000 * TICK_NS, &mut out);
        assert_eq!(out, [due(3, 1)]);
        assert_eq!(pacer.next_ns(), None);
    }

    #[test]
    fn the_older_comes_first_after_a_stall() {
        let mut pacer = Pacer::new(0);
        for tick in [70, 5, 300, 20] {
            pacer.put(due(tick, tick as u32));
        }
        let mut out = Vec::new();
        pacer.take(500 * TICK_NS, &mut out);
        assert!(out.is_sorted(), "{out:?}");
        assert_eq!(out.len(), 4);
    }

    fn due(tick: u64, stream: u32) -> Due {
        Due { due_ns: tick * TICK_NS, stream }
    }
}
