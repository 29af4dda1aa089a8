//! Counts that add up.

use std::time::Duration;

use super::super::outcome::Flow;
use super::super::outcome::Jitter;
use super::super::outcome::Latency;
use super::super::outcome::Moment;
use super::super::outcome::Step;
use super::super::payload::Way;

/// What was counted over some time, by one thread or by several.
#[derive(Clone, Debug, Default)]
pub struct Interval {
    /// Client to peer.
    pub up: Tally,
    /// Peer to client.
    pub down: Tally,
    /// There and back, less the time at the far end.
    pub round_trip: Latency,
    /// Packets that left late.
    pub late: u64,
    /// Packets that the generator could not hand to the kernel.
    pub unsent: u64,
    /// Packets that belong to no stream of the run, or came to a call that is not theirs.
    pub strangers: u64,
}

/// What was counted of one direction.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Packets that left.
    pub sent: u64,
    /// Their bytes of payload.
    pub sent_bytes: u64,
    /// Packets that arrived, each once.
    pub received: u64,
    /// Their bytes of payload.
    pub received_bytes: u64,
    /// Packets that arrived again.
    pub duplicated: u64,
    /// Packets that arrived behind one that was sent later.
    pub reordered: u64,
    /// Gaps seen, less gaps filled: what seems to be lost, before it is known.
    pub missing: i64,
    /// From the moment each was due to its arrival.
    pub latency: Latency,
    /// Of the streams whose window was closed.
    pub jitter: JitterSum,
}

/// Jitter over streams, as it is added up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct JitterSum {
    sum: f64,
    worst: f64,
    streams: u32,
}

impl JitterSum {
    /// Adds a stream's mean jitter, in seconds.
    pub fn add(&mut self, jitter: f64) {
        self.merge(&Self { sum: jitter, worst: jitter, streams: 1 });
    }

    fn merge(&mut self, other: &Self) {
        self.sum += other.sum;
        self.worst = self.worst.max(other.worst);
        self.streams += other.streams;
    }
}

impl Tally {
    fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.sent_bytes += other.sent_bytes;
        self.received += other.received;
        self.received_bytes += other.received_bytes;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.missing = self.missing.saturating_add(other.missing);
        self.latency.add(&other.latency);
        self.jitter.merge(&other.jitter);
    }

    /// What is to be told of it at the end.
    #[must_use]
    pub fn into_flow(self) -> Flow {
        let mean = self.jitter.sum / f64::from(self.jitter.streams.max(1));
        Flow {
            sent: self.sent,
            sent_bytes: self.sent_bytes,
            received: self.received,
            received_bytes: self.received_bytes,
            lost: self.sent.saturating_sub(self.received),
            duplicated: self.duplicated,
            reordered: self.reordered,
            latency: self.latency,
            jitter: Jitter { mean, worst: self.jitter.worst },
        }
    }

    /// Packets that seem to be lost: by the gaps, or all of them if none came at all.
    fn seems_lost(&self) -> u64 {
        if self.received == 0 {
            return self.sent;
        }
        u64::try_from(self.missing).unwrap_or(0)
    }
}

impl Interval {
    /// What was counted one way.
    pub const fn way_mut(&mut self, way: Way) -> &mut Tally {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }

    /// Adds what another thread counted, or this one at another time.
    pub fn add(&mut self, other: &Self) {
        self.up.merge(&other.up);
        self.down.merge(&other.down);
        self.round_trip.add(&other.round_trip);
        self.late += other.late;
        self.unsent += other.unsent;
        self.strangers += other.strangers;
    }

    /// Writes what is known of a window, all its intervals added and its listeners closed, into a step: flows, round
    /// trip, late, unsent and strange packets.
    pub fn fill(self, step: &mut Step) {
        step.up = self.up.into_flow();
        step.down = self.down.into_flow();
        step.round_trip = self.round_trip;
        step.own.late = self.late;
        step.own.unsent = self.unsent;
        step.strangers = self.strangers;
    }

    /// How things stood during it; who calls knows how many calls there are, and what the CPUs did. Where no latency is
    /// known one way, as with a peer on another machine, it is that of the round trip.
    #[must_use]
    pub fn moment(&self, at: Duration) -> Moment {
        let mut latency = self.up.latency.clone();
        latency.add(&self.down.latency);
        if latency.count() == 0 {
            latency.add(&self.round_trip);
        }
        Moment {
            at,
            sent: self.up.sent + self.down.sent,
            received: self.up.received + self.down.received,
            lost: self.up.seems_lost() + self.down.seems_lost(),
            p50: latency.quantile(0.5).as_secs_f64(),
            p99: latency.quantile(0.99).as_secs_f64(),
            max: latency.max().as_secs_f64(),
            ..Moment::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_add_up() {
        let (mut all, mut other) = (Interval::default(), Interval::default());
        all.up.sent = 10;
        all.up.received = 4;
        all.up.missing = 5;
        all.late = 1;
        other.up.sent = 7;
        other.up.received = 8;
        other.up.missing = -3;
        other.down.sent = 2;
        other.strangers = 3;
        other.up.latency.note(Duration::from_millis(5));
        other.up.jitter.add(0.004);
        all.up.jitter.add(0.002);
        all.add(&other);
        let mut step = Step::default();
        let moment = all.moment(Duration::from_secs(1));
        assert_eq!((moment.sent, moment.received, moment.lost), (19, 12, 2 + 2));
        all.fill(&mut step);
        assert_eq!((step.up.sent, step.up.received, step.up.lost), (17, 12, 5));
        assert_eq!((step.own.late, step.strangers, step.down.lost), (1, 3, 2));
        assert_eq!(step.up.latency.count(), 1);
        assert!((step.up.jitter.mean - 0.003).abs() < 1e-9 && (step.up.jitter.worst - 0.004).abs() < 1e-9);
    }

    #[test]
    fn more_received_than_sent_is_no_loss() {
        let mut interval = Interval::default();
        interval.down.received = 5;
        let flow = interval.down.into_flow();
        assert_eq!(flow.lost, 0);
    }
}
