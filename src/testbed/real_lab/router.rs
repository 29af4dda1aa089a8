//! The routers of both sides, in one thread: whole packets between the interfaces of a place and those of the internet.
//!
//! ```text
//!   place ── Tun ── line ── gate ── Tun ── internet        line: loss, delay, rate (`link`)
//!                                                          gate: NATs and firewall (`gate`)
//! ```

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::poll;

use crate::net::Tun;
use crate::proto::types::Tick;
use crate::proto::types::limits::LAB_PACKETS_MAX;
use crate::testbed::scenario::Link;

use super::addresses::Side;
use super::flow::Flows;
use super::gate::Fate;
use super::gate::Gate;
use super::gate::Way;
use super::link::Lane;
use super::packet::Shape;
use crate::proto::types::Dice;

/// How long a wait is at most: somebody may want the end.
const DOZE: Duration = Duration::from_millis(20);
/// Packets that are read of one interface before the others have their turn.
const READS: usize = 64;
/// More than an interface sends at once.
const PACKET_MAX: usize = 65_536;

/// Who looks on: a recorder, or nobody.
pub trait Witness: Send {
    /// A packet came to the router of `side`, from the place or from the internet, as it came. `fate` is what the gate said;
    /// `None`: the line lost it, before the gate on its way out, behind it on its way in.
    fn came(&mut self, at: Duration, side: Side, way: Way, packet: &[u8], fate: Option<Fate>);
    /// A packet left the router, as it left.
    fn went(&mut self, at: Duration, side: Side, way: Way, packet: &[u8]);
}

/// Nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Witness for Nobody {
    fn came(&mut self, _: Duration, _: Side, _: Way, _: &[u8], _: Option<Fate>) {}
    fn went(&mut self, _: Duration, _: Side, _: Way, _: &[u8]) {}
}

/// One side's interfaces, gate and line.
#[derive(Debug)]
pub(super) struct Leg {
    inner: Tun,
    outer: Tun,
    gate: Gate,
    lanes: [Lane; 2],
}

impl Leg {
    pub(super) fn new(inner: Tun, outer: Tun, gate: Gate, link: Link, seed: u64) -> Self {
        Self { inner, outer, gate, lanes: [0, 1].map(|way| Lane::new(link, Dice::stream(seed, 16 + way))) }
    }

    const fn lane(&mut self, way: Way) -> &mut Lane {
        &mut self.lanes[way as usize]
    }
}

/// A packet on a line: when it arrives, which it is, and where.
type OnLine = Reverse<(Duration, u64, Side, Way, Vec<u8>)>;

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Flows outside of the NATs.
    pub flows: Flows,
    /// What became of packets at each gate, and how often.
    pub fates: BTreeMap<(Side, Way, Fate), u64>,
    /// Packets that the lines lost.
    pub lost: [u64; 2],
}

/// Both routers.
pub(super) struct Router<'a> {
    legs: [Leg; 2],
    start: Instant,
    on_line: BinaryHeap<OnLine>,
    number: u64,
    seen: Seen,
    witness: &'a mut dyn Witness,
}

impl<'a> Router<'a> {
    /// `start` is what all times are reckoned from.
    pub(super) fn new(legs: [Leg; 2], start: Instant, witness: &'a mut dyn Witness) -> Self {
        let (on_line, seen) = (BinaryHeap::new(), Seen::default());
        Self { legs, start, on_line, number: 0, seen, witness }
    }

    /// Carries packets until `stop`. Answers what it saw.
    ///
    /// # Errors
    /// What the kernel says of waiting.
    pub(super) fn run(mut self, stop: &AtomicBool) -> io::Result<Seen> {
        let mut buffer = vec![0; PACKET_MAX];
        while !stop.load(Ordering::Relaxed) {
            self.wait()?;
            for side in Side::BOTH {
                for way in [Way::Out, Way::In] {
                    self.read(side, way, &mut buffer);
                }
            }
            self.arrive();
        }
        Ok(self.seen)
    }

    fn wait(&self) -> io::Result<()> {
        let due = self.on_line.peek().map(|Reverse((at, ..))| at.saturating_sub(self.start.elapsed()));
        let span = due.map_or(DOZE, |due| due.min(DOZE));
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(span.subsec_nanos()) };
        let tuns = self.legs.iter().flat_map(|leg| [leg.inner.as_fd(), leg.outer.as_fd()]);
        let mut fds: Vec<_> = tuns.map(|tun| PollFd::from_borrowed_fd(tun, PollFlags::IN)).collect();
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what one interface sent.
    fn read(&mut self, side: Side, way: Way, buffer: &mut [u8]) {
        for _ in 0..READS {
            let leg = &self.legs[side.index()];
            let tun = if way == Way::Out { &leg.inner } else { &leg.outer };
            // There is nothing more, or the interface is going: the end of the run is for others to say.
            let Ok(len) = tun.receive(buffer) else { return };
            let now = self.start.elapsed();
            match way {
                Way::Out => self.depart(now, side, way, buffer[..len].to_vec()),
                Way::In => self.meet(now, side, way, buffer[..len].to_vec()),
            }
        }
    }

    /// Has a packet go onto the line of a side.
    fn depart(&mut self, now: Duration, side: Side, way: Way, packet: Vec<u8>) {
        let arrivals = self.legs[side.index()].lane(way).arrivals(now, packet.len());
        let has_room = self.on_line.len() + 2 <= LAB_PACKETS_MAX;
        let mut arriving = arrivals.into_iter().flatten().filter(|_| has_room).peekable();
        if arriving.peek().is_none() {
            self.seen.lost[side.index()] += 1;
            self.witness.came(now, side, way, &packet, None);
        }
        for at in arriving {
            self.number += 1;
            self.on_line.push(Reverse((at, self.number, side, way, packet.clone())));
        }
    }

    /// Delivers what is through its line: to the gate on the way out, to the place on the way in.
    fn arrive(&mut self) {
        let now = self.start.elapsed();
        while self.on_line.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            let Some(Reverse((_, _, side, way, packet))) = self.on_line.pop() else { return };
            match way {
                Way::Out => self.meet(now, side, way, packet),
                Way::In => self.leave(now, side, way, &packet),
            }
        }
    }

    /// Has a packet meet the gate, and sends on what comes of it.
    fn meet(&mut self, now: Duration, side: Side, way: Way, packet: Vec<u8>) {
        if way == Way::In {
            self.note(now, side, way, &packet);
        }
        let mut out = Vec::new();
        let came = packet.clone();
        let gate = &mut self.legs[side.index()].gate;
        let fate = gate.meet(Tick::from(now), way, packet, &mut |way, packet| out.push((way, packet)));
        *self.seen.fates.entry((side, way, fate)).or_default() += 1;
        self.witness.came(now, side, way, &came, Some(fate));
        for (way, packet) in out {
            match way {
                Way::Out => {
                    self.note(now, side, way, &packet);
                    self.leave(now, side, way, &packet);
                }
                Way::In => self.depart(now, side, way, packet),
            }
        }
    }

    fn leave(&mut self, now: Duration, side: Side, way: Way, packet: &[u8]) {
        let leg = &self.legs[side.index()];
        let tun = if way == Way::Out { &leg.outer } else { &leg.inner };
        // What the kernel does not take is lost, as it is on any router.
        if tun.send(packet).is_ok() {
            self.witness.went(now, side, way, packet);
        }
    }

    /// Counts a packet as it is outside of the NATs.
    fn note(&mut self, now: Duration, side: Side, way: Way, packet: &[u8]) {
        let Some(shape) = Shape::read(packet) else { return };
        if let Some(seen) = shape.packet(packet) {
            self.seen.flows.note(now, side, way, &seen, shape.total_len, shape.payload(packet));
        }
    }
}
