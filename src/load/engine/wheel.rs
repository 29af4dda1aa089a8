//! What is due when, for tens of thousands of things: a wheel of buckets, one for each tick.
//!
//! ```text
//!   slot = tick mod SLOTS      │ t │t+1│t+2│ … one entry is pushed and taken once for each packet or burst
//!                                ▲ what lies more than a round ahead stays in its slot until its round comes
//! ```

/// Ticks of one round.
const SLOTS: usize = 4_096;

const _: () = assert!(SLOTS.is_power_of_two());

/// Things of type `T`, each with its tick.
#[derive(Debug)]
pub(super) struct Wheel<T> {
    slots: Box<[Vec<(u64, T)>]>,
    /// Everything before this tick was taken.
    next: u64,
    len: usize,
}

impl<T> Wheel<T> {
    /// An empty wheel whose time begins with `tick`.
    pub(super) fn new(tick: u64) -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), next: tick, len: 0 }
    }

    /// Has `thing` be due at `tick`, or at once if that is over. Answers the tick that it comes with.
    pub(super) fn insert(&mut self, tick: u64, thing: T) -> u64 {
        let tick = tick.max(self.next);
        self.slots[slot_of(tick)].push((tick, thing));
        self.len += 1;
        tick
    }

    /// Moves into `due` what is due at `tick` or before, in order of the ticks.
    pub(super) fn take(&mut self, tick: u64, due: &mut Vec<(u64, T)>) {
        let from = due.len();
        // After a long sleep one round sees every slot.
        let last = tick.min(self.next.saturating_add(SLOTS as u64 - 1));
        while self.next <= last && self.len > 0 {
            let slot = &mut self.slots[slot_of(self.next)];
            if !slot.is_empty() {
                let taken = due.len();
                due.extend(slot.extract_if(.., |(at, _)| *at <= tick));
                self.len -= due.len() - taken;
            }
            self.next += 1;
        }
        self.next = self.next.max(tick.saturating_add(1));
        if last < tick {
            due[from..].sort_by_key(|(at, _)| *at);
        }
    }

    /// Whether what is due at `tick` may not have been taken.
    pub(super) const fn is_behind(&self, tick: u64) -> bool {
        self.next <= tick
    }

    /// The first tick, within `ahead` ticks, that has something; else the tick that lies so far ahead.
    pub(super) fn next_within(&self, ahead: u64) -> u64 {
        let end = self.next.saturating_add(ahead.min(SLOTS as u64));
        (self.next..end).find(|tick| !self.slots[slot_of(*tick)].is_empty()).unwrap_or(end)
    }
}

/// The remainder is below the number of slots.
const fn slot_of(tick: u64) -> usize {
    (tick % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(wheel: &mut Wheel<u32>, tick: u64) -> Vec<(u64, u32)> {
        let mut due = Vec::new();
        wheel.take(tick, &mut due);
        due
    }

    #[test]
    fn a_thing_is_due_at_its_tick_even_rounds_ahead() {
        let mut wheel = Wheel::new(10);
        for (number, tick) in [(1, 10), (2, 12), (3, 10 + SLOTS as u64), (4, 12 + 3 * SLOTS as u64)] {
            wheel.insert(tick, number);
        }
        assert_eq!(taken(&mut wheel, 9), []);
        assert_eq!(taken(&mut wheel, 11), [(10, 1)]);
        assert_eq!(wheel.next_within(64), 12);
        assert_eq!((wheel.is_behind(11), wheel.is_behind(12)), (false, true));
        assert_eq!(taken(&mut wheel, 12), [(12, 2)]);
        assert_eq!(taken(&mut wheel, 9 + SLOTS as u64), []);
        assert_eq!(taken(&mut wheel, 10 + SLOTS as u64), [(10 + SLOTS as u64, 3)]);
        assert_eq!(taken(&mut wheel, 9 * SLOTS as u64), [(12 + 3 * SLOTS as u64, 4)]);
        assert_eq!(wheel.len, 0);
    }

    #[test]
    fn what_is_too_late_to_insert_is_due_next() {
        let mut wheel = Wheel::new(0);
        assert_eq!(taken(&mut wheel, 100), []);
        wheel.insert(50, 1);
        assert_eq!(taken(&mut wheel, 101), [(101, 1)]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_early_or_out_of_order(
            ticks in prop::collection::vec(0_u64..20_000, 1..200),
            steps in prop::collection::vec(1_u64..9_000, 1..20),
        ) {
            let mut wheel = Wheel::new(0);
            for (number, tick) in (0_u32..).zip(&ticks) {
                wheel.insert(*tick, number);
            }
            let (mut now, mut seen) = (0, Vec::new());
            for step in steps.into_iter().chain([20_000]) {
                let before = now;
                now += step;
                let due = taken(&mut wheel, now);
                prop_assert!(due.iter().all(|(at, _)| *at <= now && (*at > before || before == 0)));
                seen.extend(due);
            }
            prop_assert!(seen.is_sorted_by_key(|(at, _)| *at));
            prop_assert_eq!(seen.len(), ticks.len());
            prop_assert!(seen.iter().all(|(at, number)| ticks[*number as usize] == *at));
        }
    }
}
