//! The relay ports of one relay address.
//!
//! ```text
//!            draw                     release
//!   free ───────────► used ─────────────────────► free
//!    │ ▲               │ quarantine
//!    │ │ 30 s          ▼
//!    │ └── reserved    quarantined ──── 60 s ───► free
//!    └──────► (EVEN-PORT with R)
//! ```
//!
//! Every port of the range is in exactly one of the four states.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use crate::proto::types::Deadline;
use crate::proto::types::Entropy;
use crate::proto::types::Now;
use crate::proto::types::Tick;
use crate::proto::types::limits;

/// Marks a port that is not in the list of free ports.
const NOT_FREE: u32 = u32::MAX;

/// The ports of one relay address.
#[derive(Debug)]
pub(super) struct PortPool {
    first: u16,
    /// Free ports in no order.
    free: Vec<u16>,
    /// For each port of the range its place in `free`, or [`NOT_FREE`].
    place: Vec<u32>,
    /// Ports that the kernel refused, oldest first.
    quarantined: VecDeque<(Deadline, u16)>,
    /// Ports kept for the holder of a token, oldest first.
    reserved: VecDeque<Reservation>,
}

#[derive(Debug)]
struct Reservation {
    until: Deadline,
    port: u16,
    token: [u8; 8],
}

/// How many ports are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCensus {
    /// Nobody's.
    pub free: usize,
    /// Of an allocation that is opening, live or closing.
    pub used: usize,
    /// Kept for a RESERVATION-TOKEN.
    pub reserved: usize,
    /// Refused by the kernel a short while ago.
    pub quarantined: usize,
}

/// What an Allocate wants of its port (RFC 8656 §§ 18.7, 18.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Any port.
    Any,
    /// An even one.
    Even,
    /// An even one, and the next higher one reserved.
    Pair,
}

impl PortPool {
    pub(super) fn new(range: &RangeInclusive<u16>) -> Self {
        let free: Vec<u16> = range.clone().collect();
        let place = (0..free.len()).map(|at| u32::try_from(at).expect("at most 65,536 ports")).collect();
        Self { first: *range.start(), free, place, quarantined: VecDeque::new(), reserved: VecDeque::new() }
    }

    /// Draws a port that nobody can foresee; `None` when no port fits `wish`.
    pub(super) fn draw(&mut self, now: Now, wish: Wish, entropy: &mut impl Entropy) -> Option<u16> {
        self.expire(now.tick());
        if self.free.is_empty() || (wish == Wish::Pair && self.reserved.len() >= self.reserved_max()) {
            return None;
        }
        let start = entropy.below(u32::try_from(self.free.len()).expect("at most 65,536 ports")) as usize;
        // Any port fits at once. Even ones and pairs go on from a random place, so they stay unforeseeable.
        let fits = |at: &usize| self.fits(self.free[*at], wish);
        let at = (start..self.free.len()).chain(0..start).find(fits)?;
        let port = self.free[at];
        self.take(port);
        Some(port)
    }

    /// Draws a port, and for [`Wish::Pair`] keeps the next one under a token that nobody can guess.
    pub(super) fn draw_reserving(
        &mut self,
        now: Now,
        wish: Wish,
        entropy: &mut impl Entropy,
    ) -> Option<(u16, Option<[u8; 8]>)> {
        let port = self.draw(now, wish, entropy)?;
        if wish != Wish::Pair {
            return Some((port, None));
        }
        let mut token = [0; 8];
        entropy.fill_secret(&mut token);
        let reserved = self.reserve_next(now, port, token);
        debug_assert!(reserved, "a pair was drawn, so its upper half is free");
        Some((port, Some(token)))
    }

    /// Gives up a reservation that nobody was told of.
    pub(super) fn cancel(&mut self, token: [u8; 8]) {
        if let Some(at) = self.reserved.iter().position(|kept| kept.token == token)
            && let Some(kept) = self.reserved.remove(at)
        {
            self.release(kept.port);
        }
    }

    /// Keeps the port above `port` for whoever shows `token`. False when it is not free.
    pub(super) fn reserve_next(&mut self, now: Now, port: u16, token: [u8; 8]) -> bool {
        let Some(next) = port.checked_add(1).filter(|next| self.is_free(*next)) else {
            return false;
        };
        self.take(next);
        self.reserved.push_back(Reservation {
            until: now.after(limits::RESERVATION_KEPT),
            port: next,
            token,
        });
        true
    }

    /// The port kept under `token`, which is used up by this.
    pub(super) fn redeem(&mut self, now: Now, token: [u8; 8]) -> Option<u16> {
        self.expire(now.tick());
        let at = self.reserved.iter().position(|kept| kept.token == token)?;
        self.reserved.remove(at).map(|kept| kept.port)
    }

    /// Gives a used port back.
    pub(super) fn release(&mut self, port: u16) {
        let offset = self.offset(port).expect("a released port is of the range");
        debug_assert_eq!(self.place[offset], NOT_FREE, "port {port} released twice");
        self.place[offset] = u32::try_from(self.free.len()).expect("at most 65,536 ports");
        self.free.push(port);
    }

    /// Sets a used port aside for a while.
    pub(super) fn quarantine(&mut self, now: Now, port: u16) {
        self.quarantined.push_back((now.after(limits::PORT_QUARANTINE), port));
    }

    pub(super) fn census(&self) -> PortCensus {
        let (free, reserved, quarantined) = (self.free.len(), self.reserved.len(), self.quarantined.len());
        let used = self.place.len() - free - reserved - quarantined;
        PortCensus { free, used, reserved, quarantined }
    }

    /// Free ports, reserved ones and those set aside, the last two with their ends in milliseconds.
    #[cfg(any(test, feature = "internals"))]
    pub(super) fn lists(&self) -> [Vec<(u16, u64)>; 3] {
        let free = self.free.iter().map(|port| (*port, 0)).collect();
        let reserved = self.reserved.iter().map(|kept| (kept.port, kept.until.as_millis())).collect();
        let quarantined = self.quarantined.iter().map(|(until, port)| (*port, until.as_millis())).collect();
        [free, reserved, quarantined]
    }

    pub(super) fn expire(&mut self, tick: Tick) {
        while self.quarantined.front().is_some_and(|(until, _)| until.is_due(tick)) {
            let (_, port) = self.quarantined.pop_front().expect("there is a front");
            self.release(port);
        }
        while self.reserved.front().is_some_and(|kept| kept.until.is_due(tick)) {
            let kept = self.reserved.pop_front().expect("there is a front");
            self.release(kept.port);
        }
    }

    fn fits(&self, port: u16, wish: Wish) -> bool {
        match wish {
            Wish::Any => true,
            Wish::Even => port.is_multiple_of(2),
            Wish::Pair => {
                port.is_multiple_of(2) && port.checked_add(1).is_some_and(|next| self.is_free(next))
            }
        }
    }

    /// Reservations count in nobody's quota, so they get a part of the range and no more.
    fn reserved_max(&self) -> usize {
        (self.place.len() / limits::RESERVED_PART_OF_PORTS).max(1)
    }

    fn is_free(&self, port: u16) -> bool {
        self.offset(port).is_some_and(|offset| self.place[offset] != NOT_FREE)
    }

    fn take(&mut self, port: u16) {
        let offset = self.offset(port).expect("a taken port is of the range");
        let at = self.place[offset] as usize;
        self.free.swap_remove(at);
        if let Some(moved) = self.free.get(at) {
            let moved = self.offset(*moved).expect("a free port is of the range");
            self.place[moved] = u32::try_from(at).expect("at most 65,536 ports");
        }
        self.place[offset] = NOT_FREE;
    }

    fn offset(&self, port: u16) -> Option<usize> {
        let offset = usize::from(port.checked_sub(self.first)?);
        (offset < self.place.len()).then_some(offset)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::proto::types::Dice;

    fn at(seconds: u64) -> Now {
        Now { since_start: Duration::from_secs(seconds), unix: 0 }
    }

    // proves rfc8656:6-1
    #[test]
    fn all_ports_are_drawn_once_and_then_none() {
        let mut pool = PortPool::new(&(50_000..=50_099));
        let mut dice = Dice::new(1);
        let drawn: BTreeSet<_> =
            (0..100).map(|_| pool.draw(at(0), Wish::Any, &mut dice).expect("one is free")).collect();
        assert_eq!(drawn, (50_000..=50_099).collect());
        assert_eq!(pool.draw(at(0), Wish::Any, &mut dice), None);
        assert_eq!(pool.census(), PortCensus { used: 100, ..PortCensus::default() });
    }

    #[test]
    fn a_released_port_can_be_drawn_again_and_a_quarantined_one_after_a_minute() {
        let mut pool = PortPool::new(&(50_000..=50_000));
        let mut dice = Dice::new(1);
        assert_eq!(pool.draw(at(0), Wish::Any, &mut dice), Some(50_000));
        pool.release(50_000);
        assert_eq!(pool.draw(at(0), Wish::Any, &mut dice), Some(50_000));
        pool.quarantine(at(0), 50_000);
        assert_eq!(pool.draw(at(59), Wish::Any, &mut dice), None);
        assert_eq!(pool.draw(at(60), Wish::Any, &mut dice), Some(50_000));
    }

    #[test]
    fn a_pair_is_even_and_its_neighbour_waits_for_the_token() {
        let mut pool = PortPool::new(&(50_001..=50_010));
        let mut dice = Dice::new(3);
        let port = pool.draw(at(0), Wish::Pair, &mut dice).expect("a pair is free");
        assert!(port.is_multiple_of(2) && port < 50_010);
        assert!(pool.reserve_next(at(0), port, [7; 8]));
        assert_eq!(pool.redeem(at(1), [8; 8]), None);
        assert_eq!(pool.redeem(at(1), [7; 8]), Some(port + 1));
        assert_eq!(pool.redeem(at(1), [7; 8]), None, "a token is good once");
    }

    #[test]
    fn a_reservation_nobody_claims_is_free_again() {
        let mut pool = PortPool::new(&(50_000..=50_001));
        let mut dice = Dice::new(3);
        let port = pool.draw(at(0), Wish::Pair, &mut dice).expect("a pair is free");
        assert!(pool.reserve_next(at(0), port, [7; 8]));
        assert_eq!(pool.draw(at(1), Wish::Any, &mut dice), None);
        let later = at(limits::RESERVATION_KEPT.as_secs());
        assert_eq!(pool.redeem(later, [7; 8]), None);
        assert_eq!(pool.draw(later, Wish::Any, &mut dice), Some(50_001));
    }

    // proves rfc8656:7.2-28
    #[test]
    fn a_reservation_is_kept_for_the_standard_s_thirty_seconds_at_least() {
        let mut pool = PortPool::new(&(50_000..=50_001));
        let (_, token) = pool.draw_reserving(at(0), Wish::Pair, &mut Dice::new(3)).expect("a pair is free");
        assert_eq!(pool.redeem(at(31), token.expect("a token")), Some(50_001));
    }

    #[test]
    fn reservations_never_take_more_than_their_part_of_the_range() {
        let mut pool = PortPool::new(&(50_000..=50_099));
        let mut dice = Dice::new(3);
        let mut pairs = 0;
        // Whoever makes a reservation and gives the first port back is left with no quota used.
        while let Some((port, _)) = pool.draw_reserving(at(0), Wish::Pair, &mut dice) {
            pool.release(port);
            pairs += 1;
        }
        assert_eq!(pairs, 100 / limits::RESERVED_PART_OF_PORTS);
        assert!(pool.draw(at(0), Wish::Even, &mut dice).is_some(), "the rest is there for others");
    }

    #[test]
    fn a_cancelled_reservation_is_free_at_once_and_its_token_void() {
        let mut pool = PortPool::new(&(50_000..=50_001));
        let (_, token) = pool.draw_reserving(at(0), Wish::Pair, &mut Dice::new(3)).expect("a pair is free");
        let token = token.expect("a token");
        pool.cancel([9; 8]);
        assert_eq!(pool.census().reserved, 1, "another's token changes nothing");
        pool.cancel(token);
        assert_eq!(pool.redeem(at(0), token), None);
        assert_eq!(pool.census(), PortCensus { free: 1, used: 1, ..PortCensus::default() });
    }

    // proves rfc8656:7.2-26
    #[test]
    fn an_even_wish_takes_no_odd_port() {
        let mut pool = PortPool::new(&(50_001..=50_001));
        assert_eq!(pool.draw(at(0), Wish::Even, &mut Dice::new(1)), None);
        assert_eq!(pool.census().free, 1);
    }

    #[test]
    fn the_states_always_add_up_to_the_range() {
        let mut pool = PortPool::new(&(50_000..=50_063));
        let mut dice = Dice::new(9);
        let mut used = Vec::new();
        for step in 0_u64..4_000 {
            let now = at(step);
            match dice.below(5) {
                0 | 1 => used.extend(pool.draw(now, Wish::Any, &mut dice)),
                2 => {
                    if let Some(port) = pool.draw(now, Wish::Pair, &mut dice) {
                        assert!(pool.reserve_next(now, port, step.to_be_bytes()));
                        used.push(port);
                    }
                }
                3 if !used.is_empty() => {
                    pool.release(used.swap_remove(dice.below(used.len() as u32) as usize));
                }
                4 if !used.is_empty() => {
                    pool.quarantine(now, used.swap_remove(dice.below(used.len() as u32) as usize));
                }
                _ => {}
            }
            let census = pool.census();
            assert_eq!(census.used, used.len());
            assert_eq!(census.free + census.used + census.reserved + census.quarantined, 64);
        }
    }

    // proves rfc8656:7.2-33
    #[test]
    fn ports_spread_over_the_range() {
        let mut pool = PortPool::new(&(50_000..=59_999));
        let mut dice = Dice::new(5);
        let drawn: Vec<_> = (0..64).filter_map(|_| pool.draw(at(0), Wish::Any, &mut dice)).collect();
        let consecutive = drawn.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) == 1).count();
        assert!(consecutive < 3, "{drawn:?}");
    }
}
