//! Front ends that came: how many connections each has, and how often it asks.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

/// A front end that was let in at least once. Who it is was proven by its certificate.
#[derive(Debug)]
pub(super) struct FrontEnd {
    connections: Cell<u32>,
    pace: Pace,
}

/// A connection of a front end; it is given back where it is dropped.
#[derive(Debug)]
pub(super) struct Seat(Rc<FrontEnd>);

/// Every front end, by its name as the operator wrote it.
#[derive(Debug)]
pub(super) struct FrontEnds {
    by_name: HashMap<Box<str>, Rc<FrontEnd>>,
    connections_max: u32,
    requests: (u32, u32),
}

/// So many at once, then so many each second.
#[derive(Debug)]
struct Pace {
    /// What one request costs.
    step: Duration,
    /// How far `next` may lie ahead.
    ahead_max: Duration,
    /// When all that was asked is paid for.
    next: Cell<Instant>,
}

impl FrontEnds {
    /// `requests`: at once after a pause, and each second after that.
    pub(super) fn new(connections_max: u32, requests: (u32, u32)) -> Self {
        Self { by_name: HashMap::new(), connections_max, requests }
    }

    /// A connection for `name`, one of `known`; `None` if it has as many as it may have.
    pub(super) fn seat(&mut self, name: &str, known: &[Box<str>]) -> Option<Seat> {
        if !self.by_name.contains_key(name) {
            // Those that a reload took are forgotten with their last connection.
            self.by_name.retain(|other, front_end| known.contains(other) || front_end.connections.get() > 0);
            let front_end = FrontEnd { connections: Cell::new(0), pace: Pace::new(self.requests) };
            self.by_name.insert(name.into(), Rc::new(front_end));
        }
        let front_end = self.by_name.get(name)?;
        if front_end.connections.get() >= self.connections_max {
            return None;
        }
        front_end.connections.set(front_end.connections.get() + 1);
        Some(Seat(Rc::clone(front_end)))
    }
}

impl Seat {
    /// Whether the front end may ask once more.
    pub(super) fn may_ask(&self) -> bool {
        self.0.pace.take(Instant::now())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get().saturating_sub(1));
    }
}

impl Pace {
    fn new((burst, per_second): (u32, u32)) -> Self {
        let step = Duration::from_secs(1) / per_second.max(1);
        Self { step, ahead_max: step * burst.saturating_sub(1), next: Cell::new(Instant::now()) }
    }

    fn take(&self, now: Instant) -> bool {
        let next = self.next.get().max(now);
        if next.duration_since(now) > self.ahead_max {
            return false;
        }
        self.next.set(next + self.step);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate_and_a_pause_brings_the_burst_back() {
        let pace = Pace::new((3, 10));
        let start = Instant::now();
        let at = |ms| pace.take(start + Duration::from_millis(ms));
        assert_eq!([at(0), at(0), at(0), at(0)], [true, true, true, false]);
        assert_eq!([at(99), at(100), at(150), at(200)], [false, true, false, true]);
        assert_eq!([at(5_000), at(5_000), at(5_000), at(5_000)], [true, true, true, false]);
    }

    #[test]
    fn connections_are_counted_by_name_and_given_back() {
        let mut all = FrontEnds::new(2, (1, 1));
        let known: Vec<Box<str>> = vec!["a".into(), "b".into()];
        let (one, two) = (all.seat("a", &known).expect("free"), all.seat("a", &known).expect("free"));
        assert!(all.seat("a", &known).is_none());
        assert!(all.seat("b", &known).is_some_and(|seat| seat.may_ask() && !seat.may_ask()));
        drop(one);
        let _three = all.seat("a", &known).expect("given back");
        drop(two);
        // "b" has no connection, and "a" has one.
        let _new = all.seat("c", &["c".into()]).expect("free");
        assert_eq!(all.by_name.len(), 2);
        assert!(all.by_name.contains_key("a"));
    }
}
