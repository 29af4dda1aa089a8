//! Two clients, their places, the server, the proxy and what lies between them, in virtual time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::ice::Event;
use crate::ice::Input;
use crate::ice::Output;
use crate::nat::Packet;
use crate::nat::Protocol;
use crate::nat::Verdict;
use crate::proto::types::Now;
use crate::testbed::proxy::Rules;
use crate::testbed::record::Point;
use crate::testbed::record::Sighting;

use super::caller::Caller;
use super::caller::WAYS;
use super::clock;
use super::clock::MILLISECOND;
use super::clock::Micros;
use super::flight::Log;
use super::machine::Leaves;
use super::machine::Machine;
use super::media::Media;
use super::places::Site;
use super::streams::Proxied;
use super::tcp::Number;
use super::tcp::Tcp;
use super::tcp::To;

/// What the internet takes, between whatever two of its edges.
pub(super) const CORE: Micros = 5 * MILLISECOND;
/// A packet that a NAT turned around never left the place.
const TURNED: Micros = MILLISECOND;
/// Things that happen at one moment.
const AT_ONCE_MAX: u32 = 100_000;
/// The headers of IPv4 and UDP.
const UDP_HEADERS: usize = 20 + 8;

/// Something that is going to happen.
#[derive(Debug)]
pub(super) enum Next {
    /// A datagram is on the internet.
    Internet { from: SocketAddr, to: SocketAddr, bytes: Box<[u8]> },
    /// One has come to a place, outside of what stands before it.
    Outside { side: usize, from: SocketAddr, to: SocketAddr, bytes: Box<[u8]> },
    /// One has come to a client.
    Inside { side: usize, from: SocketAddr, to: SocketAddr, bytes: Box<[u8]> },
    /// A segment is to be sent, or sent again.
    Segment { number: Number, to: To, at: u64 },
    /// A segment has come out at the other end, outside of what stands before it.
    Landed { number: Number, to: To, at: u64 },
    /// What one side tells the other by signalling.
    Signal { to: usize, what: Signal },
    /// A side has media to send.
    Media { side: usize },
}

#[derive(Debug)]
pub(super) enum Signal {
    Description(String),
    Candidate(String),
    End,
}

/// The whole of a run.
#[derive(Debug)]
pub(super) struct World {
    pub(super) micros: Micros,
    number: u64,
    queue: BTreeMap<(Micros, u64), Next>,
    pub(super) sites: [Site; 2],
    pub(super) callers: [Caller; 2],
    pub(super) machine: Machine,
    pub(super) tcp: Tcp,
    pub(super) rules: Rules,
    pub(super) proxied: BTreeMap<Number, Proxied>,
    pub(super) media: Media,
    pub(super) signalling: Micros,
    /// Somebody is never done, so that time does not go on: a mistake of ours.
    pub(super) stands_still: bool,
    /// Whatever left anybody, folded into one number.
    pub(super) digest: u64,
    /// What was seen, if anybody wants to know.
    pub(super) record: Option<Vec<Sighting>>,
    /// What is written down in any case.
    pub(super) log: Log,
}

impl World {
    pub(super) fn new(
        sites: [Site; 2],
        callers: [Caller; 2],
        machine: Machine,
        signalling: Micros,
        records: bool,
    ) -> Self {
        Self {
            micros: 0,
            number: 0,
            queue: BTreeMap::new(),
            sites,
            callers,
            machine,
            tcp: Tcp::default(),
            rules: Rules::default(),
            proxied: BTreeMap::new(),
            media: Media::default(),
            signalling,
            stands_still: false,
            digest: 0xCBF2_9CE4_8422_2325,
            record: records.then(Vec::new),
            log: Log::default(),
        }
    }

    pub(super) fn now(&self) -> Now {
        clock::now(self.micros)
    }

    /// Both sides begin, and tell each other.
    pub(super) fn begin(&mut self) {
        for side in 0..2 {
            let local = self.callers[side].local;
            self.input(side, Input::LocalAddress(local));
            self.input(side, Input::Gather);
            let text = self.callers[side].agent.description().to_string();
            self.signal(side, Signal::Description(text));
        }
    }

    pub(super) fn later(&mut self, after: Micros, next: Next) {
        self.number += 1;
        self.queue.insert((self.micros.saturating_add(after), self.number), next);
    }

    /// Goes on until `done` says so, or until nothing happens before `until`.
    pub(super) fn run(&mut self, until: Micros, done: impl Fn(&Self) -> bool) {
        let mut stood = (self.micros, 0_u32);
        while !done(self) && !self.stands_still {
            stood = if stood.0 == self.micros { (stood.0, stood.1 + 1) } else { (self.micros, 0) };
            self.stands_still = stood.1 > AT_ONCE_MAX;
            let timers = self.callers.iter().filter_map(|caller| caller.agent.poll_timeout());
            let timer = timers.chain(self.machine.poll_timeout()).min();
            let timer = timer.map(|at| at.as_millis().saturating_mul(MILLISECOND));
            let arrival = self.queue.first_key_value().map(|((at, _), _)| *at);
            let Some(at) = timer.into_iter().chain(arrival).min().filter(|at| *at <= until) else {
                self.micros = self.micros.max(until);
                return;
            };
            self.micros = self.micros.max(at);
            match self.queue.pop_first() {
                Some((key, next)) if key.0 <= at => self.happen(next),
                other => {
                    self.queue.extend(other);
                    self.wake();
                }
            }
        }
    }

    fn wake(&mut self) {
        let now = self.now();
        for side in 0..2 {
            let agent = &mut self.callers[side].agent;
            if agent.poll_timeout().is_some_and(|at| at.is_due(now.tick())) {
                agent.handle_timeout(now);
                self.drain(side);
            }
        }
        if self.machine.poll_timeout().is_some_and(|at| at.is_due(now.tick())) {
            self.machine.handle_timeout(now);
            self.leave_machine();
        }
    }

    fn happen(&mut self, next: Next) {
        match next {
            Next::Internet { from, to, bytes } => self.on_the_internet(from, to, bytes),
            Next::Outside { side, from, to, bytes } => self.outside(side, from, to, bytes),
            Next::Inside { side, from, to, bytes } => self.inside(side, from, to, &bytes),
            Next::Segment { number, to, at } => self.send_segment(number, to, at),
            Next::Landed { number, to, at } => self.landed(number, to, at),
            Next::Signal { to, what } => self.told(to, &what),
            Next::Media { side } => self.speak(side),
        }
    }

    /// Gives an agent something, and carries out what it wants.
    pub(super) fn input(&mut self, side: usize, input: Input<'_>) {
        let now = self.now();
        self.callers[side].agent.handle_input(now, input);
        self.drain(side);
    }

    fn drain(&mut self, side: usize) {
        while let Some(output) = self.callers[side].agent.poll_output() {
            match output {
                Output::Transmit { local, to, bytes } => self.transmit(side, local, to, bytes),
                Output::Open { server } => self.open_line(side, server),
                Output::Write { server, bytes } => self.write_line(side, server, &bytes),
                Output::Shut { server } => self.shut_line(side, server),
                Output::Event(event) => self.event(side, event),
            }
        }
    }

    fn event(&mut self, side: usize, event: Event) {
        let at = self.micros;
        self.agent_told(side, &event);
        let caller = &mut self.callers[side];
        match &event {
            Event::Data(data) => return self.heard(side, data),
            Event::LocalCandidate(candidate) => {
                let text = candidate.to_string();
                self.signal(side, Signal::Candidate(text));
            }
            Event::GatheringDone => self.signal(side, Signal::End),
            Event::Connected(_) => {
                (caller.connected, caller.switched) = (Some(at), at);
                self.later(0, Next::Media { side });
            }
            Event::Switched(_) => caller.switched = at,
            Event::Failed(_) => caller.has_failed = true,
            Event::Closed { .. } => caller.is_closed = true,
            Event::NotGathered { .. } | Event::NotPermitted { .. } | Event::RelayLost { .. } => {}
        }
        self.mix(format!("{event:?}").as_bytes());
        self.callers[side].events.push((at, event));
    }

    fn signal(&mut self, from: usize, what: Signal) {
        self.later(self.signalling, Next::Signal { to: 1 - from, what });
    }

    fn told(&mut self, side: usize, what: &Signal) {
        match what {
            // What one agent wrote the other can read; if not, that is no call.
            Signal::Description(text) => {
                if let Ok(description) = text.parse() {
                    self.input(side, Input::Remote(&description));
                }
            }
            Signal::Candidate(text) => {
                if let Ok(candidate) = text.parse() {
                    self.input(side, Input::RemoteCandidate(&candidate));
                }
            }
            Signal::End => self.input(side, Input::EndOfCandidates),
        }
    }

    /// A datagram leaves a client.
    pub(super) fn transmit(&mut self, side: usize, local: SocketAddr, to: SocketAddr, bytes: Box<[u8]>) {
        self.mix(&bytes);
        let packet = Packet { protocol: Protocol::Udp, source: local, destination: to, fragment: None };
        match self.leaves(side, &packet) {
            Verdict::Pass { source, destination } => {
                self.see(client(side), &packet, 0, &bytes, "");
                self.media.mapped(side, source);
                let at = self.micros;
                let arrivals = self.sites[side].up.carry(at, UDP_HEADERS + bytes.len());
                let outer = Packet { source, destination, ..packet };
                let note = if arrivals[0].is_none() { "lost on the link" } else { "" };
                if arrivals[0].is_none() {
                    self.log.lost(side);
                }
                self.see(outside(side), &outer, 0, &bytes, note);
                for arrival in arrivals.into_iter().flatten() {
                    let (from, to, bytes) = (source, destination, bytes.clone());
                    self.later(arrival - at + CORE, Next::Internet { from, to, bytes });
                }
            }
            Verdict::Back { source: from, destination: to } => {
                self.see(client(side), &packet, 0, &bytes, "the NAT turns it around");
                self.later(TURNED, Next::Inside { side, from, to, bytes });
            }
            Verdict::Drop(why) | Verdict::Reject(why) => {
                self.see(client(side), &packet, 0, &bytes, why.word());
            }
        }
    }

    fn on_the_internet(&mut self, from: SocketAddr, to: SocketAddr, bytes: Box<[u8]>) {
        let packet = Packet { protocol: Protocol::Udp, source: from, destination: to, fragment: None };
        if let Some(point) = self.machine.point_of(to) {
            self.see(point, &packet, 0, &bytes, "");
            if let Some(side) = self.callers.iter().position(|caller| caller.relayed.contains_key(&to)) {
                self.check_came(side, from, &bytes);
            }
            let now = self.now();
            self.machine.hear(now, from, to, &bytes);
            self.leave_machine();
        } else if let Some(side) = self.sites.iter().position(|site| site.is_at(to.ip())) {
            let at = self.micros;
            let arrivals = self.sites[side].down.carry(at, UDP_HEADERS + bytes.len());
            if arrivals[0].is_none() {
                self.log.lost(side);
                self.see(outside(side), &packet, 0, &bytes, "lost on the link");
            }
            for arrival in arrivals.into_iter().flatten() {
                self.later(arrival - at, Next::Outside { side, from, to, bytes: bytes.clone() });
            }
        }
    }

    fn outside(&mut self, side: usize, from: SocketAddr, to: SocketAddr, bytes: Box<[u8]>) {
        let packet = Packet { protocol: Protocol::Udp, source: from, destination: to, fragment: None };
        match self.enters(side, &packet) {
            Verdict::Pass { source, destination } | Verdict::Back { source, destination } => {
                self.see(outside(side), &packet, 0, &bytes, "");
                self.inside(side, source, destination, &bytes);
            }
            Verdict::Drop(why) | Verdict::Reject(why) => {
                self.see(outside(side), &packet, 0, &bytes, why.word());
            }
        }
    }

    fn inside(&mut self, side: usize, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let packet = Packet { protocol: Protocol::Udp, source: from, destination: to, fragment: None };
        let is_there = to == self.callers[side].local;
        self.see(client(side), &packet, 0, bytes, if is_there { "" } else { "nobody has this port" });
        if is_there {
            self.check_came(side, from, bytes);
            self.input(side, Input::Datagram { local: to, from, bytes });
            self.learn_relayed(side, 0);
        }
    }

    /// Notes by which way a relayed address came: one that is new did by that which spoke last.
    pub(super) fn learn_relayed(&mut self, side: usize, server: usize) {
        let caller = &mut self.callers[side];
        let known = caller.seen_candidates;
        caller.seen_candidates = caller.events.len();
        for (_, event) in &caller.events[known..] {
            if let Event::LocalCandidate(candidate) = event
                && candidate.kind == crate::ice::Kind::Relayed
            {
                caller.relayed.insert(candidate.address, WAYS[server]);
            }
        }
    }

    /// Carries out what the server wants.
    pub(super) fn leave_machine(&mut self) {
        while let Some(leaves) = self.machine.leaves.pop_front() {
            match leaves {
                Leaves::Datagram { from, to, bytes } => {
                    self.mix(&bytes);
                    let packet =
                        Packet { protocol: Protocol::Udp, source: from, destination: to, fragment: None };
                    let point = self.machine.point_of(from).unwrap_or(Point::Server);
                    self.see(point, &packet, 0, &bytes, "");
                    self.later(CORE, Next::Internet { from, to, bytes });
                }
                Leaves::Write { number, bytes } => self.server_writes(number, &bytes),
                Leaves::Shut { number } => self.end(number, To::Caller),
            }
        }
    }

    pub(super) fn see(&mut self, point: Point, packet: &Packet, sequence: u32, bytes: &[u8], note: &str) {
        let Some(record) = &mut self.record else { return };
        record.push(Sighting {
            at: Duration::from_micros(self.micros),
            point,
            protocol: packet.protocol,
            source: packet.source,
            destination: packet.destination,
            sequence,
            bytes: bytes.into(),
            note: note.to_owned(),
        });
    }

    pub(super) fn mix(&mut self, bytes: &[u8]) {
        for byte in self.micros.to_le_bytes().iter().chain(bytes) {
            self.digest = (self.digest ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
        }
    }
}

/// Where packets of a client are captured.
pub(super) const fn client(side: usize) -> Point {
    if side == 0 { Point::LeftClient } else { Point::RightClient }
}

/// The same outside of what stands before it.
pub(super) const fn outside(side: usize) -> Point {
    if side == 0 { Point::LeftOutside } else { Point::RightOutside }
}
