//! What stands between a place and the internet: its NATs and its firewall, applied to whole packets.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV4;

use crate::nat::Behaviour;
use crate::nat::Chain;
use crate::nat::Firewall;
use crate::nat::Fragments;
use crate::nat::Nat;
use crate::nat::Packet;
use crate::nat::Refused;
use crate::nat::Verdict;
use crate::proto::types::Deadline;
use crate::proto::types::Tick;
use crate::proto::types::limits::LAB_HELD_MAX;
use crate::proto::types::limits::LAB_HELD_SPAN;

use super::icmp;
use super::packet::Shape;
use crate::proto::types::Dice;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// From a place to the internet.
    Out,
    /// From the internet to a place.
    In,
}

/// What became of a packet at a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It went on, with other addresses perhaps.
    Passed,
    /// It turned around and went back inside (hairpin).
    TurnedBack,
    /// The NAT let it not through.
    Refused(Refused),
    /// A part of a datagram that waits for the first one.
    Held,
    /// It is neither TCP nor UDP, nor an ICMP error that tells of either.
    Foreign,
}

impl Fate {
    /// In a report.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::TurnedBack => "turned back",
            Self::Refused(why) => why.word(),
            Self::Held => "a part that waits for the first of its datagram",
            Self::Foreign => "neither TCP nor UDP",
        }
    }
}

/// A gate.
#[derive(Debug)]
pub(super) struct Gate {
    chain: Chain<Dice>,
    /// Parts that came before the first one, where a NAT lets them pass in any order.
    held: VecDeque<(Deadline, Way, Vec<u8>)>,
    holds: bool,
}

impl Gate {
    /// NATs in a row, the innermost first and behind `firewall`: `external` is their address in the internet, `between` the one
    /// between them if there are two.
    pub(super) fn new(
        behaviours: &[Behaviour],
        firewall: &Firewall,
        external: Ipv4Addr,
        between: Ipv4Addr,
        seed: u64,
    ) -> Self {
        let mut nats = Vec::new();
        for (at, behaviour) in behaviours.iter().enumerate() {
            let outer = if at + 1 == behaviours.len() { external } else { between };
            let firewall = if at == 0 { firewall.clone() } else { Firewall::Open };
            // What a firewall stops is lost without a word, as is usual, and worse for clients than a refusal.
            let nat = Nat::new(*behaviour, vec![IpAddr::V4(outer)], Dice::stream(seed, at as u64));
            nats.push(nat.behind(firewall, false));
        }
        let holds = nats.iter().any(|nat| nat.behaviour().fragments == Fragments::OutOfOrder);
        Self { chain: Chain(nats), held: VecDeque::new(), holds }
    }

    /// Has a packet meet the gate. `emit` is given what goes on, and which way; that may be more than the packet, where
    /// others waited for it, and something else, where the gate answers.
    pub(super) fn meet(
        &mut self,
        tick: Tick,
        way: Way,
        bytes: Vec<u8>,
        emit: &mut dyn FnMut(Way, Vec<u8>),
    ) -> Fate {
        let Some(shape) = Shape::read(&bytes) else { return Fate::Foreign };
        if self.chain.0.is_empty() {
            emit(way, bytes);
            return Fate::Passed;
        }
        let Some(packet) = shape.packet(&bytes) else { return self.tell(tick, way, &bytes, &shape, emit) };
        let is_first = packet.fragment.is_some_and(|fragment| fragment.first);
        let fate = self.judge(tick, way, bytes, &shape, &packet, emit);
        if is_first && fate == Fate::Passed {
            for (_, way, bytes) in std::mem::take(&mut self.held) {
                self.meet(tick, way, bytes, emit);
            }
        }
        fate
    }

    fn judge(
        &mut self,
        tick: Tick,
        way: Way,
        mut bytes: Vec<u8>,
        shape: &Shape,
        packet: &Packet,
        emit: &mut dyn FnMut(Way, Vec<u8>),
    ) -> Fate {
        let verdict = match way {
            Way::Out => self.chain.outbound(tick, packet),
            Way::In => self.chain.inbound(tick, packet),
        };
        let (source, destination, way, fate) = match verdict {
            Verdict::Pass { source, destination } => (source, destination, way, Fate::Passed),
            Verdict::Back { source, destination } => (source, destination, Way::In, Fate::TurnedBack),
            Verdict::Drop(Refused::Fragment) if self.holds => return self.hold(tick, way, bytes),
            Verdict::Drop(why) => return Fate::Refused(why),
            Verdict::Reject(why) => {
                if let Some(answer) = icmp::refusal(&bytes, shape) {
                    emit(if way == Way::Out { Way::In } else { Way::Out }, answer);
                }
                return Fate::Refused(why);
            }
        };
        let (Some(source), Some(destination)) = (v4(source), v4(destination)) else {
            return Fate::Refused(Refused::Family);
        };
        shape.readdress(&mut bytes, source, destination);
        emit(way, bytes);
        fate
    }

    /// What is neither TCP nor UDP goes in only if it is an error about what is, and a mapping is there for that.
    fn tell(
        &self,
        tick: Tick,
        way: Way,
        bytes: &[u8],
        shape: &Shape,
        emit: &mut dyn FnMut(Way, Vec<u8>),
    ) -> Fate {
        let Some(about) = icmp::told(bytes, shape).filter(|_| way == Way::In) else { return Fate::Foreign };
        let mut inner = about.source;
        for nat in self.chain.0.iter().rev() {
            let Some(of) = nat.told_of(tick, about.protocol, inner, about.destination) else {
                return Fate::Refused(Refused::NoMapping);
            };
            inner = of;
        }
        match v4(inner).and_then(|inner| icmp::passed_on(bytes, shape, inner)) {
            Some(error) => {
                emit(Way::In, error);
                Fate::Passed
            }
            None => Fate::Foreign,
        }
    }

    fn hold(&mut self, tick: Tick, way: Way, bytes: Vec<u8>) -> Fate {
        self.held.retain(|(until, ..)| !until.is_due(tick));
        if self.held.len() >= LAB_HELD_MAX {
            return Fate::Refused(Refused::Fragment);
        }
        self.held.push_back((tick.after(LAB_HELD_SPAN), way, bytes));
        Fate::Held
    }
}

const fn v4(address: SocketAddr) -> Option<SocketAddrV4> {
    match address {
        SocketAddr::V4(v4) => Some(v4),
        SocketAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::TCP;
    use super::super::packet::UDP;
    use super::super::packet::tests::made;
    use super::super::packet::write;
    use super::*;
    use crate::testbed::Place;

    const INSIDE: &str = "10.1.0.2:5000";
    const SERVER: &str = "192.0.2.1:3478";
    const OTHER: &str = "198.51.100.1:7000";
    const PROXY: &str = "192.0.2.9:8080";

    fn gate(place: Place) -> Gate {
        let external = Ipv4Addr::new(203, 0, 113, 1);
        let firewall = place.firewall(PROXY.parse().unwrap());
        Gate::new(place.behaviours(), &firewall, external, Ipv4Addr::new(100, 64, 0, 2), 1)
    }

    fn meet(gate: &mut Gate, way: Way, bytes: Vec<u8>) -> (Fate, Vec<(Way, Vec<u8>)>) {
        let mut out = Vec::new();
        let fate = gate.meet(Tick::from_millis(0), way, bytes, &mut |way, bytes| out.push((way, bytes)));
        (fate, out)
    }

    /// Where a datagram to `to` comes from outside, if it gets there.
    fn seen(gate: &mut Gate, to: &str) -> Option<SocketAddr> {
        let (_, out) = meet(gate, Way::Out, made(UDP, INSIDE, to, b"hello"));
        let (way, bytes) = out.first()?;
        let packet = Shape::read(bytes)?.packet(bytes)?;
        assert_eq!((*way, packet.destination), (Way::Out, to.parse().unwrap()));
        Some(packet.source)
    }

    #[test]
    fn each_place_lets_out_and_in_what_its_name_says() {
        // UDP out; the same port for another; then in from: an unknown host, another port of a known one, the one asked.
        let cases = [
            (Place::Open, true, true, [true, true, true]),
            (Place::FullCone, true, true, [true, true, true]),
            (Place::AddressRestricted, true, true, [false, true, true]),
            (Place::PortRestricted, true, true, [false, false, true]),
            (Place::Symmetric, true, false, [false, false, true]),
            (Place::Cgn, true, true, [false, false, true]),
            (Place::UdpBlocked, false, false, [false; 3]),
            (Place::Only443, false, false, [false; 3]),
            (Place::HttpProxy, false, false, [false; 3]),
        ];
        for (place, has_udp, is_same, lets_in) in cases {
            let mut gate = gate(place);
            let first = seen(&mut gate, SERVER);
            assert_eq!(first.is_some(), has_udp, "{place}");
            let Some(first) = first else { continue };
            for (from, passes) in [OTHER, "192.0.2.1:9", SERVER].into_iter().zip(lets_in) {
                let (_, got) = meet(&mut gate, Way::In, made(UDP, from, &first.to_string(), b"x"));
                assert_eq!(!got.is_empty(), passes, "{place} from {from}");
                if let Some((way, bytes)) = got.first() {
                    let packet = Shape::read(bytes).unwrap().packet(bytes).unwrap();
                    assert_eq!((*way, packet.destination), (Way::In, INSIDE.parse().unwrap()));
                }
            }
            assert_eq!(seen(&mut gate, OTHER) == Some(first), is_same, "{place}");
        }
    }

    #[test]
    fn the_walls_have_one_door_each() {
        let syn = |to: &str| {
            let mut bytes = made(TCP, INSIDE, to, b"");
            bytes[33] = 0x02;
            bytes
        };
        let doors = [SERVER, "192.0.2.1:443", PROXY];
        let cases = [
            (Place::UdpBlocked, [true, true, true]),
            (Place::Only443, [false, true, false]),
            (Place::HttpProxy, [false, false, true]),
        ];
        for (place, open) in cases {
            let mut gate = gate(place);
            let passed = doors.map(|door| meet(&mut gate, Way::Out, syn(door)).0 == Fate::Passed);
            assert_eq!(passed, open, "{place}");
        }
    }

    #[test]
    fn parts_that_come_too_early_pass_behind_the_first() {
        let mut cone = gate(Place::FullCone);
        let first = seen(&mut cone, SERVER).unwrap();
        let mut part = |cut: u16| {
            let mut bytes = made(UDP, SERVER, &first.to_string(), &[1; 64]);
            write(&mut bytes, 4, 9);
            write(&mut bytes, 6, cut);
            meet(&mut cone, Way::In, bytes)
        };
        assert_eq!(part(9).0, Fate::Held);
        let (fate, out) = part(0x2000);
        assert_eq!((fate, out.len()), (Fate::Passed, 2));
        let inside = |bytes: &[u8]| Shape::read(bytes).unwrap().destination == Ipv4Addr::new(10, 1, 0, 2);
        assert!(out.iter().all(|(way, bytes)| *way == Way::In && inside(bytes)));
        let mut symmetric = gate(Place::Symmetric);
        let mut alone = made(UDP, SERVER, "203.0.113.1:9", &[1; 64]);
        write(&mut alone, 6, 9);
        let fate = meet(&mut symmetric, Way::In, alone).0;
        assert_eq!(fate, Fate::Refused(Refused::Fragment), "in order only");
    }

    #[test]
    fn errors_find_the_host_inside_and_pings_nobody() {
        for place in [Place::Symmetric, Place::Cgn] {
            let mut gate = gate(place);
            let (_, out) = meet(&mut gate, Way::Out, made(UDP, INSIDE, SERVER, b"hello"));
            let mut body = vec![3, 3, 0, 0, 0, 0, 0, 0];
            body.extend(&out[0].1[..28]);
            let external = Ipv4Addr::new(203, 0, 113, 1);
            let server = Ipv4Addr::new(192, 0, 2, 1);
            let error = super::super::packet::wrap(super::super::packet::ICMP, server, external, &body);
            let (fate, out) = meet(&mut gate, Way::In, error.clone());
            assert_eq!((fate, out.len()), (Fate::Passed, 1), "{place}");
            let shape = Shape::read(&out[0].1).unwrap();
            assert_eq!(icmp::told(&out[0].1, &shape).unwrap().source, INSIDE.parse().unwrap());
            let mut ping = error;
            ping[20] = 8;
            assert_eq!(meet(&mut gate, Way::In, ping).0, Fate::Foreign);
        }
    }
}
