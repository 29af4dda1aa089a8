//! One NAT with its mappings.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::net::SocketAddr;

use crate::proto::types::Deadline;
use crate::proto::types::Entropy;
use crate::proto::types::Tick;
use crate::proto::types::limits::NAT_FRAGMENTS_MAX;
use crate::proto::types::limits::NAT_MAPPINGS_MAX;

use super::behaviour::Behaviour;
use super::behaviour::Fragments;
use super::behaviour::Hairpin;
use super::firewall::Firewall;
use super::packet::Packet;
use super::packet::Protocol;
use super::packet::Refused;
use super::packet::Verdict;
use super::ports::Ports;
use super::session::Mapping;
use super::session::Way;

/// A NAT. `E` draws ports and addresses.
#[derive(Debug)]
pub struct Nat<E> {
    behaviour: Behaviour,
    firewall: Firewall,
    /// Whether the sender hears of it when the firewall stops a packet.
    tells: bool,
    entropy: E,
    ports: Ports,
    mappings: BTreeMap<u64, Mapping>,
    by_inner: BTreeSet<(bool, SocketAddr, u64)>,
    by_outer: BTreeSet<(bool, SocketAddr, u64)>,
    /// When to look at a mapping again; never later than it ends.
    due: BTreeSet<(Deadline, u64)>,
    next: u64,
    /// What became of the first parts of datagrams: by way, source, destination and identification.
    fragments: VecDeque<((Way, SocketAddr, IpAddr, u32), Verdict)>,
}

impl<E: Entropy> Nat<E> {
    /// A NAT with these external addresses, one at least of each family that it shall serve.
    #[must_use]
    pub const fn new(behaviour: Behaviour, externals: Vec<IpAddr>, entropy: E) -> Self {
        Self {
            behaviour,
            firewall: Firewall::Open,
            tells: false,
            entropy,
            ports: Ports::new(externals),
            mappings: BTreeMap::new(),
            by_inner: BTreeSet::new(),
            by_outer: BTreeSet::new(),
            due: BTreeSet::new(),
            next: 0,
            fragments: VecDeque::new(),
        }
    }

    /// The same behind a firewall; `tells`: whoever sends what it stops, hears of it.
    #[must_use]
    pub fn behind(self, firewall: Firewall, tells: bool) -> Self {
        Self { firewall, tells, ..self }
    }

    /// How it behaves.
    #[must_use]
    pub const fn behaviour(&self) -> &Behaviour {
        &self.behaviour
    }

    /// Mappings that it has.
    #[must_use]
    pub fn mappings(&self) -> usize {
        self.mappings.len()
    }

    /// A packet from inside.
    pub fn outbound(&mut self, tick: Tick, packet: &Packet) -> Verdict {
        self.expire(tick);
        self.of_fragment(Way::Out, packet, |nat| {
            let judged = if nat.ports.is_external(packet.destination.ip()) {
                nat.hairpin(tick, packet)
            } else if !nat.firewall.lets_out(packet.protocol, packet.destination) {
                Err(Refused::Firewall)
            } else {
                let destination = packet.destination;
                nat.leave(tick, packet).map(|source| Verdict::Pass { source, destination })
            };
            nat.verdict(judged)
        })
    }

    /// A packet from outside, for an external address.
    pub fn inbound(&mut self, tick: Tick, packet: &Packet) -> Verdict {
        self.expire(tick);
        self.of_fragment(Way::In, packet, |nat| {
            let entered = nat.enter(tick, packet.protocol, packet.source, packet.destination);
            let judged = entered.map(|destination| Verdict::Pass { source: packet.source, destination });
            nat.verdict(judged)
        })
    }

    /// Who inside an ICMP error is for that tells of a packet from `outer` to `remote`. It changes nothing (RFC 4787
    /// REQ-10).
    #[must_use]
    pub fn told_of(
        &self,
        tick: Tick,
        protocol: Protocol,
        outer: SocketAddr,
        remote: SocketAddr,
    ) -> Option<SocketAddr> {
        let tcp = matches!(protocol, Protocol::Tcp(_));
        self.at_outer(tcp, outer)
            .filter_map(|id| self.mappings.get(&id))
            .find(|mapping| mapping.knows(tick, remote))
            .map(|mapping| mapping.inner)
    }

    /// Takes an external endpoint out of use, as one that the NAT serves at itself: a mapping that has it ends, and no other gets
    /// it ([`super::PortChoice::Overload`] heeds nothing).
    pub fn withhold(&mut self, protocol: Protocol, outer: SocketAddr) {
        let tcp = matches!(protocol, Protocol::Tcp(_));
        let there: Vec<_> = self.at_outer(tcp, outer).collect();
        there.into_iter().for_each(|id| self.unmap(id));
        self.ports.withhold(tcp, outer);
    }

    /// Forgets everything, as after a power cut.
    pub fn forget(&mut self) {
        self.mappings.clear();
        self.by_inner.clear();
        self.by_outer.clear();
        self.due.clear();
        self.fragments.clear();
        self.ports.forget();
    }

    /// Takes new external addresses, as after a new lease; what was mapped to the old ones is gone.
    pub fn renumber(&mut self, externals: Vec<IpAddr>) {
        self.forget();
        self.ports = Ports::new(externals);
    }

    /// The source that a packet of inside has outside.
    fn leave(&mut self, tick: Tick, packet: &Packet) -> Result<SocketAddr, Refused> {
        let (inner, remote, protocol) = (packet.source, packet.destination, packet.protocol);
        let id = match self.serving(inner, remote, protocol) {
            Some(id) => id,
            None if may_begin(protocol) => self.map(inner, remote, protocol)?,
            None => return Err(Refused::NoConnection),
        };
        let mapping = self.mappings.get_mut(&id).ok_or(Refused::NoMapping)?;
        if !may_begin(protocol) && !mapping.knows(tick, remote) {
            return Err(Refused::NoConnection);
        }
        mapping.pass(tick, &self.behaviour, protocol, remote, Way::Out);
        let outer = mapping.outer;
        self.look_again(id);
        Ok(outer)
    }

    /// Who inside gets a packet.
    fn enter(
        &mut self,
        tick: Tick,
        protocol: Protocol,
        remote: SocketAddr,
        outer: SocketAddr,
    ) -> Result<SocketAddr, Refused> {
        let tcp = matches!(protocol, Protocol::Tcp(_));
        let there: Vec<_> = self.at_outer(tcp, outer).collect();
        let knows = |id: &&u64| self.mappings.get(id).is_some_and(|mapping| mapping.knows(tick, remote));
        // Of those that share a port the one that sent there, else the latest.
        let id = *there.iter().find(knows).or(there.last()).ok_or(Refused::NoMapping)?;
        let mapping = self.mappings.get_mut(&id).ok_or(Refused::NoMapping)?;
        if !mapping.admits(tick, self.behaviour.filtering, remote) {
            return Err(Refused::Filtered);
        }
        if !may_begin(protocol) && !mapping.knows(tick, remote) {
            return Err(Refused::NoConnection);
        }
        mapping.pass(tick, &self.behaviour, protocol, remote, Way::In);
        let inner = mapping.inner;
        self.look_again(id);
        Ok(inner)
    }

    fn hairpin(&mut self, tick: Tick, packet: &Packet) -> Result<Verdict, Refused> {
        if self.behaviour.hairpin == Hairpin::No {
            return Err(Refused::NoHairpin);
        }
        let outer = self.leave(tick, packet)?;
        let destination = self.enter(tick, packet.protocol, outer, packet.destination)?;
        let source = if self.behaviour.hairpin == Hairpin::ExternalSource { outer } else { packet.source };
        Ok(Verdict::Back { source, destination })
    }

    fn serving(&self, inner: SocketAddr, remote: SocketAddr, protocol: Protocol) -> Option<u64> {
        let tcp = matches!(protocol, Protocol::Tcp(_));
        let serves = |id: &u64| {
            self.mappings.get(id).is_some_and(|mapping| mapping.serves(self.behaviour.mapping, remote))
        };
        let all = self.by_inner.range((tcp, inner, 0)..=(tcp, inner, u64::MAX));
        all.map(|(_, _, id)| *id).find(serves)
    }

    fn at_outer(&self, tcp: bool, outer: SocketAddr) -> impl Iterator<Item = u64> {
        self.by_outer.range((tcp, outer, 0)..=(tcp, outer, u64::MAX)).map(|(_, _, id)| *id)
    }

    fn map(&mut self, inner: SocketAddr, remote: SocketAddr, protocol: Protocol) -> Result<u64, Refused> {
        if self.mappings.len() >= NAT_MAPPINGS_MAX {
            return Err(Refused::NoPort);
        }
        let tcp = matches!(protocol, Protocol::Tcp(_));
        let outer = self.ports.take(&self.behaviour, &mut self.entropy, tcp, inner)?;
        self.next += 1;
        let id = self.next;
        self.mappings.insert(id, Mapping::new(inner, outer, remote));
        self.by_inner.insert((tcp, inner, id));
        self.by_outer.insert((tcp, outer, id));
        Ok(id)
    }

    fn expire(&mut self, tick: Tick) {
        while let Some((at, id)) = self.due.first().copied().filter(|(at, _)| at.is_due(tick)) {
            self.due.remove(&(at, id));
            let Some(mapping) = self.mappings.get_mut(&id) else { continue };
            if mapping.until.is_due(tick) {
                self.unmap(id);
            } else {
                mapping.looked_at = Deadline::NEVER;
                self.look_again(id);
            }
        }
    }

    /// Sees to it that a mapping is looked at when it may have ended. One that lives longer than it did is looked at
    /// when it would have ended, so that not every packet moves it.
    fn look_again(&mut self, id: u64) {
        let Some(mapping) = self.mappings.get_mut(&id) else { return };
        if mapping.until < mapping.looked_at {
            self.due.remove(&(mapping.looked_at, id));
            mapping.looked_at = mapping.until;
            self.due.insert((mapping.until, id));
        }
    }

    fn unmap(&mut self, id: u64) {
        let Some(mapping) = self.mappings.remove(&id) else { return };
        let tcp = !self.by_inner.remove(&(false, mapping.inner, id));
        self.by_inner.remove(&(tcp, mapping.inner, id));
        self.by_outer.remove(&(tcp, mapping.outer, id));
        let shared = self.at_outer(tcp, mapping.outer).next().is_some();
        self.ports.give_back(tcp, mapping.inner, mapping.outer, shared);
    }

    /// A whole packet, or the first part of one, is judged; what follows of it goes the same way.
    fn of_fragment(
        &mut self,
        way: Way,
        packet: &Packet,
        judge: impl FnOnce(&mut Self) -> Verdict,
    ) -> Verdict {
        let Some(fragment) = packet.fragment else { return judge(self) };
        // Only addresses, because parts behind the first have no ports.
        let source = SocketAddr::new(packet.source.ip(), 0);
        let key = (way, source, packet.destination.ip(), fragment.id);
        match self.behaviour.fragments {
            Fragments::Drop => Verdict::Drop(Refused::Fragment),
            Fragments::InOrder | Fragments::OutOfOrder if fragment.first => {
                let verdict = judge(self);
                if self.fragments.len() == NAT_FRAGMENTS_MAX {
                    self.fragments.pop_front();
                }
                self.fragments.push_back((key, verdict));
                verdict
            }
            Fragments::InOrder | Fragments::OutOfOrder => {
                let known = self.fragments.iter().rev().find(|(each, _)| *each == key);
                known.map_or(Verdict::Drop(Refused::Fragment), |(_, verdict)| *verdict)
            }
        }
    }

    fn verdict(&self, judged: Result<Verdict, Refused>) -> Verdict {
        match judged {
            Ok(verdict) => verdict,
            Err(Refused::Firewall) if self.tells => Verdict::Reject(Refused::Firewall),
            Err(refused) => Verdict::Drop(refused),
        }
    }
}

/// Whether a packet may be the first of its kind: a datagram, or a SYN.
const fn may_begin(protocol: Protocol) -> bool {
    match protocol {
        Protocol::Udp => true,
        Protocol::Tcp(flags) => flags.syn && !flags.rst,
    }
}
