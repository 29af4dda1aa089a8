//! What came of a run: plain data, filled in by the rig and the modes, shown by the command line.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::place::Place;
use crate::place::Verdict as Ending;

use super::plan::Plan;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was asked.
    pub plan: Plan,
    /// Seconds since 1970 at its beginning.
    pub began_unix: u64,
    /// How long all of it took.
    pub took: Duration,
    /// The machine that the load came from.
    pub machine: Machine,
    /// One for each server.
    pub sides: Vec<Side>,
    /// What is to be said of it.
    pub verdict: Verdict,
    /// What a reader must know to read the figures right: one sentence each.
    pub notes: Vec<String>,
    /// How the second server stands to the first, in [`super::plan::Mode::Compare`].
    pub comparison: Option<Comparison>,
}

/// The machine that the load came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// The kernel's name and release.
    pub kernel: String,
}

/// What came of one server.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// Which one: [`super::plan::Server::uri`].
    pub server: String,
    /// In the order in which they were measured.
    pub steps: Vec<Step>,
    /// What [`super::plan::Mode::Ramp`] and [`super::plan::Mode::Capacity`] found.
    pub capacity: Option<Capacity>,
    /// What [`super::plan::Mode::Ice`] found.
    pub ice: Option<IceOutcome>,
}

/// One load, measured.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Calls in being.
    pub calls: u32,
    /// For how long it was measured.
    pub length: Duration,
    /// Packets that were due each second, both directions together.
    pub offered: f64,
    /// Client to peer.
    pub up: Flow,
    /// Peer to client.
    pub down: Flow,
    /// There and back, less the time at the far end.
    pub round_trip: Latency,
    /// What it took to bring up the calls that this load needed.
    pub setup: Setup,
    /// How it went, second by second.
    pub timeline: Vec<Moment>,
    /// What the generator itself spent and lost.
    pub own: Own,
    /// What the server spent, where it could be read.
    pub server: Option<ServerCost>,
    /// What the objective says of it; empty: it holds, or there is none.
    pub broken: Vec<String>,
    /// Packets that arrived and belong to no stream of the run, or came to a call that is not theirs.
    pub strangers: u64,
}

/// Packets of one direction.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// Packets that left, each once.
    pub sent: u64,
    /// Bytes of payload that left.
    pub sent_bytes: u64,
    /// Packets that arrived, each once.
    pub received: u64,
    /// Bytes of payload that arrived.
    pub received_bytes: u64,
    /// Packets that did not arrive: sent less received.
    pub lost: u64,
    /// Packets that arrived again.
    pub duplicated: u64,
    /// Packets that arrived behind one that was sent later.
    pub reordered: u64,
    /// From the moment each was due to its arrival.
    pub latency: Latency,
    /// Interarrival jitter (RFC 3550 § 6.4.1), over all streams.
    pub jitter: Jitter,
}

/// Interarrival jitter over several streams.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Jitter {
    /// Mean over the streams, in seconds.
    pub mean: f64,
    /// That of the worst stream, in seconds.
    pub worst: f64,
}

/// How long things took. A histogram with three significant digits, up to a minute.
#[derive(Clone, Debug)]
pub struct Latency(pub hdrhistogram::Histogram<u64>);

/// What it took to bring calls up.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Clients that were to get an allocation, both ends counted where both are clients.
    pub asked: u64,
    /// Those that did.
    pub served: u64,
    /// From the first Allocate to the granted one, challenge included.
    pub allocate: Latency,
    /// A Binding request and its answer.
    pub binding: Latency,
    /// CreatePermission and ChannelBind.
    pub permit: Latency,
    /// Connection and handshake, where there are any.
    pub connect: Latency,
    /// Whole cycles, in [`super::plan::Mode::Churn`].
    pub cycles: u64,
    /// Failures by what failed and how, such as `Allocate 486` or `Allocate timeout`.
    pub failures: BTreeMap<String, u64>,
    /// From the first call's beginning to the last one's end.
    pub took: Duration,
}

/// How things stand, or stood.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moment {
    /// Since the run began.
    pub at: Duration,
    /// Calls in being.
    pub calls: u32,
    /// Calls that are to be.
    pub wanted: u32,
    /// Packets that left since the moment before.
    pub sent: u64,
    /// Packets that arrived since then.
    pub received: u64,
    /// Packets that are known to be lost since then.
    pub lost: u64,
    /// Middle latency of what arrived since then, in seconds.
    pub p50: f64,
    /// The 99th percentile of it.
    pub p99: f64,
    /// The largest of it.
    pub max: f64,
    /// Part of a core that this process used since then: 1.0 is one core.
    pub own_cpu: f64,
    /// Part of a core that the server used since then, where it could be read.
    pub server_cpu: Option<f64>,
}

/// What the generator itself spent and lost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Own {
    /// CPU time of this process within the step.
    pub cpu: Duration,
    /// CPU nanoseconds for each packet that it sent or received.
    pub cpu_per_packet_ns: f64,
    /// Packets that left later than they were due by more than [`LATE`].
    pub late: u64,
    /// Packets that the generator could not hand to the kernel.
    pub unsent: u64,
    /// Packets that the kernel dropped at the generator's sockets.
    pub dropped: u64,
}

/// What counts as late: twice the tick of a sender's clock.
pub const LATE: Duration = Duration::from_millis(2);

/// What part of the packets may be late, unsent or dropped by the generator itself before the figures are its own limit.
pub const GENERATOR_FAULTS_MAX: f64 = 0.001;

impl Own {
    /// Why the figures are the generator's limit and not the server's, of so many packets sent; `None`: they are not.
    #[must_use]
    pub fn limited(&self, sent: u64) -> Option<String> {
        let most = (sent as f64 * GENERATOR_FAULTS_MAX) as u64;
        let part = |count: u64| 100.0 * count as f64 / sent.max(1) as f64;
        [
            (self.late, "left later than they were due"),
            (self.unsent, "found no room in the generator's own queues"),
            (self.dropped, "were dropped at the generator's own sockets"),
        ]
        .into_iter()
        .find(|(count, _)| *count > most)
        .map(|(count, how)| format!("{count} packets ({:.2} %) {how}", part(count)))
    }
}

/// What the server spent within a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerCost {
    /// Its CPU time.
    pub cpu: Duration,
    /// CPU nanoseconds for each packet that it relayed.
    pub cpu_per_packet_ns: f64,
    /// Memory in use at the step's end, in bytes.
    pub memory: u64,
    /// Memory for each allocation more than the run began with, in bytes.
    pub memory_per_allocation: Option<f64>,
    /// Packets that its kernel dropped at its sockets, if that can be read.
    pub dropped: Option<u64>,
    /// CPU nanoseconds of its whole machine for each packet that it relayed, interrupts and all other processes included,
    /// if that is this machine: what its kernel relays for it is charged to no process.
    pub host_cpu_per_packet_ns: Option<f64>,
}

/// The largest load that holds the objective.
#[derive(Clone, Debug, PartialEq)]
pub enum Capacity {
    /// This many calls hold it, and this many do not.
    Found {
        /// Calls that hold it.
        calls: u32,
        /// Packets a second that arrived with them, both directions together.
        packets: f64,
        /// Bits of payload a second that arrived with them.
        bits: f64,
        /// The least calls that were seen to break it.
        breaks_at: u32,
        /// What broke.
        why: String,
    },
    /// Not even the least load holds it.
    LessThan(u32, String),
    /// The largest load that was asked for holds it.
    AtLeast(u32),
    /// The generator came to its own limit first, so nothing is said of the server.
    Unknown(String),
}

/// What became of pairs of ICE agents.
#[derive(Clone, Debug, Default)]
pub struct IceOutcome {
    /// Pairs that were begun.
    pub pairs: u64,
    /// Those that connected.
    pub connected: u64,
    /// From the beginning to the connection.
    pub time: Latency,
    /// From the beginning to the last candidate gathered.
    pub gathering: Latency,
    /// Connected pairs by the kinds of their candidates, such as `relay-relay`.
    pub by_kind: BTreeMap<String, u64>,
    /// Failures by what failed.
    pub failures: BTreeMap<String, u64>,
    /// For each pair of places that agents stood at; empty where there were no NATs.
    pub nats: Vec<NatOutcome>,
    /// The longest time between two looks at the sockets: what had come meanwhile had to wait.
    pub longest_turn: Duration,
}

/// From so long a turn on an agent asks again for what has been answered (RFC 8489 § 6.2.1), and failures may be the generator's.
pub const LONG_TURN: Duration = Duration::from_millis(500);

impl IceOutcome {
    /// Why failures may be the generator's and not the server's; `None`: they are not.
    #[must_use]
    pub fn limited(&self) -> Option<String> {
        let long = self.longest_turn >= LONG_TURN;
        let seconds = self.longest_turn.as_secs_f64();
        long.then(|| {
            format!(
                "what came for the agents had to wait for up to {seconds:.1} s before the generator looked"
            )
        })
    }
}

/// What became of the pairs of agents between two places.
#[derive(Clone, Debug)]
pub struct NatOutcome {
    /// Where the left and the right agent of each stood.
    pub places: [Place; 2],
    /// How all of them have to end, by RFC 4787 and RFC 8445.
    pub expected: Ending,
    /// Pairs by how they ended.
    pub ended: BTreeMap<Ending, u64>,
    /// From the beginning to the first data in both directions, of those that connected.
    pub time: Latency,
    /// Failures by what failed.
    pub failures: BTreeMap<String, u64>,
}

impl NatOutcome {
    /// Nothing yet.
    #[must_use]
    pub fn new(places: [Place; 2], expected: Ending) -> Self {
        let (ended, failures) = (BTreeMap::new(), BTreeMap::new());
        Self { places, expected, ended, time: Latency::new(), failures }
    }

    /// Pairs that came to an end.
    #[must_use]
    pub fn tried(&self) -> u64 {
        self.ended.values().sum()
    }

    /// Those that connected, however.
    #[must_use]
    pub fn connected(&self) -> u64 {
        self.tried() - self.ended.get(&Ending::Failed).copied().unwrap_or(0)
    }

    /// How they ended, in words: `direct`, or `2 direct, 1 failed`.
    #[must_use]
    pub fn endings(&self) -> String {
        let several = self.ended.len() > 1;
        let told = |(ending, count): (&Ending, &u64)| {
            if several { format!("{count} {ending}") } else { ending.to_string() }
        };
        self.ended.iter().map(told).collect::<Vec<_>>().join(", ")
    }

    /// Those that ended as they have to.
    #[must_use]
    pub fn as_expected(&self) -> u64 {
        self.ended.get(&self.expected).copied().unwrap_or(0)
    }
}

/// How a second server stands to a first one under the same load.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Pairs of measurements that count: in none of them the generator came to its limit.
    pub pairs: usize,
    /// One for each figure that is known of both.
    pub ratios: Vec<Ratio>,
}

/// One figure of the second server divided by that of the first, pair by pair.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ratio {
    /// Which figure.
    pub what: String,
    /// That of each pair, in the order in which they were measured.
    pub each: Vec<f64>,
    /// The middle one.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The largest.
    pub most: f64,
}

/// What is to be said of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was to be judged, and it went through.
    Done,
    /// The objective holds.
    Met,
    /// It does not: what broke, one sentence each.
    Broken(Vec<String>),
    /// The generator came to its own limit, so nothing is said of the server: why.
    GeneratorLimited(String),
    /// Ended early by the user.
    Stopped,
}

/// What must hold: all of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objective {
    /// In the order in which they were written.
    pub rules: Vec<Rule>,
}

/// One thing that must hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// At most this part of the packets is lost: 0.001 is 0.1 %.
    Loss(f64),
    /// This quantile of the one-way latency is at most so long: 0.99 is p99.
    Latency(f64, Duration),
    /// The worst stream's mean jitter is at most so long.
    Jitter(Duration),
    /// At most this part of what was asked for is refused or not answered.
    Failures(f64),
}

impl Latency {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let histogram = hdrhistogram::Histogram::new_with_bounds(1, 60_000_000, 3);
        Self(histogram.expect("the bounds and digits are within what a histogram can have"))
    }

    /// Notes one. What is beyond a minute counts as a minute.
    pub fn note(&mut self, took: Duration) {
        self.note_ns(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Notes one of so many nanoseconds.
    pub fn note_ns(&mut self, took_ns: u64) {
        self.0.saturating_record((took_ns / 1000).max(1));
    }

    /// Adds what another one noted.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// The time that this part of all did not exceed, from 0 to 1; zero if there is none.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Duration {
        Duration::from_micros(if self.0.is_empty() { 0 } else { self.0.value_at_quantile(part) })
    }

    /// How many were noted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }

    /// The mean.
    #[must_use]
    pub fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.0.mean() / 1e6)
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}
