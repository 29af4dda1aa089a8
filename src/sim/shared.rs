//! What everything in the world shares: clocks, dice, the oracle, and what is about to happen.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::proto::media::DropReason;
use crate::proto::types::ConnectionId;
use crate::proto::types::RelayId;

use super::clock::Clock;
use super::coverage::Coverage;
use super::flows::Flows;
use super::oracle::Oracle;
use super::packet::Packet;
use super::packet::digest;
use super::restart::Panics;
use super::scenario::Faults;
use super::tcp::Tcp;
use crate::proto::types::Dice;

/// Lines that a violation is told with.
const TRACE_LINES: usize = 60;

/// A bound relay socket of the machine, by whichever descriptors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) relay: RelayId,
    /// The worker that reads it; none while it is on its way from one to another.
    pub(super) reader: Option<u16>,
    /// Descriptors that it has.
    pub(super) descriptors: u32,
}

/// What actors know of each other without asking the server.
#[derive(Debug, Default)]
pub(super) struct Directory {
    pub(super) peers: Vec<SocketAddr>,
    /// Relayed addresses that were granted, newest last.
    pub(super) relayed: Vec<SocketAddr>,
    /// The same of TCP.
    pub(super) ports: Vec<SocketAddr>,
    /// The last peer's connection that some client was told of.
    pub(super) connection: Option<ConnectionId>,
    /// Packets that somebody listened in on.
    pub(super) overheard: VecDeque<Packet>,
}

/// Packets that are remembered for a replay.
const OVERHEARD_MAX: usize = 64;
/// Relayed addresses that are remembered.
const RELAYED_MAX: usize = 32;

impl Directory {
    pub(super) fn overhear(&mut self, packet: &Packet) {
        if self.overheard.len() >= OVERHEARD_MAX {
            self.overheard.pop_front();
        }
        self.overheard.push_back(packet.clone());
    }

    pub(super) fn announce(&mut self, relayed: SocketAddr) {
        remember(&mut self.relayed, relayed);
    }

    /// Tells of a port that connections reach.
    pub(super) fn announce_port(&mut self, relayed: SocketAddr) {
        remember(&mut self.ports, relayed);
    }
}

fn remember(all: &mut Vec<SocketAddr>, one: SocketAddr) {
    all.retain(|each| *each != one);
    if all.len() >= RELAYED_MAX {
        all.remove(0);
    }
    all.push(one);
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) dice: Dice,
    pub(super) faults: Faults,
    pub(super) mtu: usize,
    pub(super) oracle: Oracle,
    pub(super) coverage: Coverage,
    pub(super) directory: Directory,
    pub(super) bound: BTreeMap<SocketAddr, Bound>,
    /// Packets that leave the server, in order.
    pub(super) from_server: Vec<Packet>,
    /// Packets that leave anybody else.
    pub(super) from_hosts: Vec<Packet>,
    /// The control task has something to do.
    pub(super) wake_control: bool,
    pub(super) steps: u64,
    pub(super) digest: u64,
    pub(super) violation: Option<String>,
    pub(super) panics: Panics,
    pub(super) tcp: Tcp,
    /// Relayed ports of TCP by where they are bound, and the worker that has each.
    pub(super) ports: BTreeMap<SocketAddr, (RelayId, usize)>,
    pub(super) flows: Flows,
    /// Nobody fails any more.
    pub(super) calm: bool,
    trace: Option<VecDeque<String>>,
    tallies: BTreeMap<&'static str, u64>,
}

impl Shared {
    pub(super) fn new(
        dice: Dice,
        faults: Faults,
        mtu: usize,
        window: usize,
        oracle: Oracle,
        traced: bool,
    ) -> Self {
        Self {
            clock: Clock::new(),
            dice,
            faults,
            mtu,
            oracle,
            coverage: Coverage::default(),
            directory: Directory::default(),
            bound: BTreeMap::new(),
            from_server: Vec::new(),
            from_hosts: Vec::new(),
            wake_control: false,
            steps: 0,
            digest: 0,
            violation: None,
            panics: Panics::default(),
            tcp: Tcp::new(window),
            ports: BTreeMap::new(),
            flows: Flows::default(),
            calm: false,
            trace: traced.then(VecDeque::new),
            tallies: BTreeMap::new(),
        }
    }

    /// Something happened that must not. The first one counts.
    pub(super) fn violated(&mut self, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(what());
        }
    }

    pub(super) fn judged(&mut self, verdict: Result<(), String>) {
        if let Err(what) = verdict {
            self.violated(|| what);
        }
    }

    /// A packet goes nowhere.
    pub(super) fn dropped(&mut self, reason: DropReason) {
        self.coverage.dropped(reason);
        self.mix(&[1, reason.index() as u8]);
        self.note(|| format!("dropped: {}", reason.word()));
    }

    /// Another one of what has this name.
    pub(super) fn tally(&mut self, name: &'static str) {
        *self.tallies.entry(name).or_default() += 1;
    }

    pub(super) fn tallies(&self) -> Vec<(&'static str, u64)> {
        self.tallies.iter().map(|(name, count)| (*name, *count)).collect()
    }

    /// Makes `bytes` part of what tells this run from another.
    pub(super) fn mix(&mut self, bytes: &[u8]) {
        self.digest = (self.digest.rotate_left(5) ^ digest(bytes)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    /// A line for whoever has to understand a violation.
    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        let at = self.clock.micros();
        if let Some(trace) = &mut self.trace {
            if trace.len() >= TRACE_LINES {
                trace.pop_front();
            }
            trace.push_back(format!("{:>12.6} {}", at as f64 / 1e6, line()));
        }
    }

    pub(super) fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().into_iter().flatten().collect()
    }

    /// One descriptor of a relay socket is closed.
    pub(super) fn close_descriptor(&mut self, address: SocketAddr) {
        if let Some(bound) = self.bound.get_mut(&address) {
            bound.descriptors -= 1;
            if bound.descriptors == 0 {
                self.bound.remove(&address);
            }
        }
    }
}
