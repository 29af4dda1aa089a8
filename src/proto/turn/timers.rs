//! A timer wheel: arming, firing and asking for the next wake-up each cost the same however many timers there
//! are.
//!
//! ```text
//!   slot 0   slot 1   …   slot 4095          one slot = 250 ms, one turn = 17 min
//!   [t,t]    []           [t]                a timer further away than a turn waits in its slot and is put back
//! ```
//!
//! A timer cannot be cancelled. Its owner keeps the true deadline: when a timer fires early, or for something that
//! is gone, the owner ignores it or arms it again. So extending a lifetime costs nothing at all.

use crate::proto::types::Deadline;
use crate::proto::types::Tick;

const SLOT_MS: u64 = 250;
const SLOTS: u64 = 4_096;
const WORDS: usize = 64;

const _: () = assert!(SLOTS == (WORDS as u64) * 64, "one occupancy bit for each slot");

/// A wheel of timers that carry a `T` each.
#[derive(Debug)]
pub(super) struct Wheel<T> {
    slots: Vec<Vec<(Deadline, T)>>,
    /// Out of their slots, and due.
    due: Vec<T>,
    /// One bit for each slot that holds a timer.
    occupied: [u64; WORDS],
    /// One bit for each word above that is not zero.
    summary: u64,
    /// The first slot time that has not been emptied, in slots since the start.
    next_slot: u64,
    len: usize,
}

impl<T> Wheel<T> {
    pub(super) fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            due: Vec::new(),
            occupied: [0; WORDS],
            summary: 0,
            next_slot: 0,
            len: 0,
        }
    }

    /// How many timers are armed.
    #[cfg(any(test, feature = "internals"))]
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Arms a timer. It fires at `deadline` or up to one slot later, never earlier.
    pub(super) fn arm(&mut self, deadline: Deadline, timer: T) {
        let slot_time = deadline.as_millis().div_ceil(SLOT_MS).max(self.next_slot);
        let slot = index(slot_time);
        self.slots[slot].push((deadline, timer));
        self.occupied[slot / 64] |= 1 << (slot % 64);
        self.summary |= 1 << (slot / 64);
        self.len += 1;
    }

    /// When [`Self::pop_due`] is next worth calling. May be early for a timer more than a turn away.
    pub(super) fn next_wake(&self) -> Option<Deadline> {
        if !self.due.is_empty() {
            return Some(Deadline::PAST);
        }
        let ahead = self.distance_to_occupied(index(self.next_slot))?;
        Some(Deadline::from_millis((self.next_slot + ahead).saturating_mul(SLOT_MS)))
    }

    /// Takes one timer that is due at `tick`, or `None` when none is.
    pub(super) fn pop_due(&mut self, tick: Tick) -> Option<T> {
        let current = tick.as_millis() / SLOT_MS;
        while self.due.is_empty() {
            let ahead = self.distance_to_occupied(index(self.next_slot))?;
            if self.next_slot + ahead > current {
                self.next_slot = self.next_slot.max(current);
                return None;
            }
            self.next_slot += ahead;
            self.sweep(index(self.next_slot), tick);
            self.next_slot += 1;
        }
        self.len -= 1;
        self.due.pop()
    }

    /// Moves what is due out of a slot; what is left there waits for a later turn.
    fn sweep(&mut self, slot: usize, tick: Tick) {
        for (deadline, timer) in std::mem::take(&mut self.slots[slot]) {
            if deadline.is_due(tick) {
                self.due.push(timer);
            } else {
                self.slots[slot].push((deadline, timer));
            }
        }
        if self.slots[slot].is_empty() {
            self.occupied[slot / 64] &= !(1 << (slot % 64));
            if self.occupied[slot / 64] == 0 {
                self.summary &= !(1 << (slot / 64));
            }
        }
    }

    /// Slots from `start` to the next occupied one, going round; 0 for `start` itself.
    fn distance_to_occupied(&self, start: usize) -> Option<u64> {
        if self.summary == 0 {
            return None;
        }
        let (word, bit) = (start / 64, start % 64);
        let here = self.occupied[word] >> bit;
        if here != 0 {
            return Some(u64::from(here.trailing_zeros()));
        }
        // Words after `word`, in turning order; `word` itself comes last, for its bits below `bit`.
        let turned = self.summary.rotate_right((word as u32 + 1) % 64);
        let words_on = turned.trailing_zeros() as usize + 1;
        let found = (word + words_on) % WORDS;
        let first_bit = self.occupied[found].trailing_zeros() as usize;
        let slot = found * 64 + first_bit;
        Some((slot as u64 + SLOTS - start as u64) % SLOTS)
    }
}

fn index(slot_time: u64) -> usize {
    usize::try_from(slot_time % SLOTS).expect("below SLOTS")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drain(wheel: &mut Wheel<u32>, millis: u64) -> Vec<u32> {
        let mut fired: Vec<_> = std::iter::from_fn(|| wheel.pop_due(Tick::from_millis(millis))).collect();
        fired.sort_unstable();
        fired
    }

    #[test]
    fn a_timer_fires_once_and_never_early() {
        let mut wheel = Wheel::new();
        wheel.arm(Deadline::from_millis(1_001), 7);
        assert_eq!(drain(&mut wheel, 1_000), [0; 0]);
        assert_eq!(drain(&mut wheel, 1_250), [7]);
        assert_eq!(drain(&mut wheel, 9_999_999), [0; 0]);
        assert_eq!(wheel.len(), 0);
        assert_eq!(wheel.next_wake(), None);
    }

    #[test]
    fn a_timer_several_turns_away_waits_in_its_slot() {
        let mut wheel = Wheel::new();
        wheel.arm(Deadline::from_millis(3_600_000), 1);
        for hour_part in 1..3_600 {
            assert_eq!(drain(&mut wheel, hour_part * 1_000), [0; 0], "at {hour_part} s");
        }
        assert_eq!(drain(&mut wheel, 3_600_000), [1]);
    }

    #[test]
    fn what_is_armed_for_the_past_fires_at_once() {
        let mut wheel = Wheel::new();
        assert_eq!(drain(&mut wheel, 50_000), [0; 0]);
        wheel.arm(Deadline::PAST, 3);
        assert_eq!(drain(&mut wheel, 50_250), [3]);
    }

    proptest! {
        #[test]
        fn fires_what_a_sorted_list_fires_up_to_a_slot_late(
            deadlines in proptest::collection::vec(0_u64..5_000_000, 1..60),
            steps in proptest::collection::vec(1_u64..900_000, 1..40),
        ) {
            let mut wheel = Wheel::new();
            for (id, deadline) in deadlines.iter().enumerate() {
                wheel.arm(Deadline::from_millis(*deadline), id as u32);
            }
            let mut now = 0;
            let mut fired = vec![false; deadlines.len()];
            for step in steps {
                now += step;
                for id in drain(&mut wheel, now) {
                    prop_assert!(!fired[id as usize], "fired twice");
                    prop_assert!(deadlines[id as usize] <= now, "fired early");
                    fired[id as usize] = true;
                }
                for (id, deadline) in deadlines.iter().enumerate() {
                    if deadline + SLOT_MS <= now {
                        prop_assert!(fired[id], "timer for {deadline} has not fired at {now}");
                    }
                }
                if let Some(wake) = wheel.next_wake() {
                    let next = deadlines.iter().zip(&fired).filter(|(_, f)| !**f).map(|(d, _)| *d).min();
                    prop_assert!(wake.as_millis() <= next.expect("a timer is armed") + SLOT_MS);
                }
            }
            prop_assert_eq!(wheel.len(), fired.iter().filter(|f| !**f).count());
        }
    }
}
