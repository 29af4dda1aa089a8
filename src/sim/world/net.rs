//! How packets get from one to the other.

use std::net::SocketAddr;

use super::*;
use crate::sim::packet::digest;

/// How long a packet for a socket that is between two workers, or for a worker that is stalled, waits at most.
const WAIT: Micros = 2 * MILLISECOND;
/// Odds of 1,000 that the network says so when a packet reaches nobody.
const ICMP: u32 = 300;

impl World {
    /// A packet leaves a host: through its NAT, over its link.
    pub(super) fn send_from_host(&mut self, mut packet: Packet) {
        let inner = packet.from;
        let Some(host) = self.hosts.get(&inner.ip()).copied() else {
            // Forged, or from a host's other side: it is on the net already.
            return self.launch(Link::CLEAN, packet);
        };
        if let Some(nat) = host.nat {
            let now = self.sh.clock.micros();
            let is_hairpin = self.nats[nat].external == packet.to.ip();
            match self.nats[nat].outbound(now, inner, packet.to) {
                Some((from, to)) => (packet.from, packet.to) = (from, to),
                None => return self.lose("nat refused"),
            }
            if is_hairpin {
                self.sh.coverage.fact("nat hairpin");
            }
        }
        let client = match host.actor {
            Actor::Honest(at) => Some(self.honest[at].number),
            Actor::Insider(at) => Some(self.insiders[at].number),
            Actor::Rogue(at) => Some(self.rogues[at].number),
            Actor::Caller(_) | Actor::Peer(_) | Actor::Stranger(_) | Actor::Operator => None,
        };
        if let (Some(client), false) = (client, packet.tainted) {
            self.sh.oracle.seen_at(packet.from, client);
            self.sh.directory.overhear(&packet);
        }
        let relay = self.sh.oracle.external(packet.to);
        if !packet.tainted && client.is_none() && self.is_relay(relay) {
            self.sh.oracle.sent_to_relay(packet.from, relay, &packet.payload);
        }
        self.launch(host.link, packet);
    }

    /// A packet leaves the server. Its own addresses it reaches within the machine.
    pub(super) fn send_from_server(&mut self, mut packet: Packet) {
        self.record(&packet);
        let is_relay_socket = !self.listeners.contains(&packet.from);
        let external = self.sh.oracle.external(packet.from);
        if is_relay_socket && self.sh.bound.contains_key(&packet.to) {
            self.sh.coverage.fact("own relay as peer");
            if !packet.tainted {
                let to = self.sh.oracle.external(packet.to);
                self.sh.oracle.sent_to_relay(external, to, &packet.payload);
            }
            return self.schedule(50, Next::Arrive(packet));
        }
        let back = packet.from;
        packet.from = external;
        let ip = packet.to.ip();
        let link = match self.hosts.get(&ip) {
            Some(host) if host.nat.is_none() => host.link,
            _ => match self.nats.iter().position(|nat| nat.external == ip) {
                Some(nat) => self.link_behind(nat),
                None if is_relay_socket => return self.reach_nobody(back, &packet),
                None => return self.lose("reached nobody"),
            },
        };
        self.launch(link, packet);
    }

    fn link_behind(&self, nat: usize) -> Link {
        let inside = self.hosts.values().find(|host| host.nat == Some(nat));
        inside.map_or(Link::CLEAN, |host| host.link)
    }

    fn launch(&mut self, link: Link, packet: Packet) {
        let link = if self.act == Act::Chaos && !self.scenario.clean { link } else { Link::CLEAN };
        let fates = link.fates(&mut self.sh.dice);
        if fates[0].is_none() {
            self.lose("packet lost");
        }
        if fates[1].is_some() {
            self.sh.coverage.fact("packet duplicated");
        }
        for fate in fates.into_iter().flatten() {
            let mut copy = packet.clone();
            if fate.corrupt {
                self.sh.coverage.fact("packet corrupted");
                self.corrupt(&mut copy);
            }
            if self.act == Act::Chaos && self.sh.dice.chance(self.sh.faults.hops) {
                copy.header.hop_limit = Some(1);
            }
            self.schedule(fate.delay, Next::Arrive(copy));
        }
    }

    fn corrupt(&mut self, packet: &mut Packet) {
        packet.tainted = true;
        if packet.payload.is_empty() {
            return;
        }
        for _ in 0..self.sh.dice.range(1, 3) {
            let at = self.sh.dice.index(packet.payload.len());
            packet.payload[at] ^= 1 << self.sh.dice.number(8);
        }
    }

    fn lose(&mut self, why: &'static str) {
        self.sh.steps += 1;
        self.sh.coverage.fact(why);
        self.sh.tally(why);
    }

    /// A packet reaches where it was sent to, or nobody.
    pub(super) fn arrive(&mut self, packet: Packet) {
        let mut packet = packet;
        if let Some(nat) = self.nats.iter().position(|nat| nat.external == packet.to.ip()) {
            let now = self.sh.clock.micros();
            match self.nats[nat].inbound(now, packet.from, packet.to.port()) {
                Some(inner) => packet.to = inner,
                None => return self.lose("nat refused"),
            }
        }
        let bound = self.sh.oracle.bound(packet.to);
        if self.listeners.contains(&packet.to) {
            self.reach_listener(packet);
        } else if self.is_relay(self.sh.oracle.external(bound)) {
            packet.to = bound;
            self.reach_relay(packet);
        } else if let Some(host) = self.hosts.get(&packet.to.ip()).copied() {
            self.count(&packet);
            self.hand_to(host.actor, &packet);
        } else {
            self.lose("reached nobody");
        }
    }

    fn reach_listener(&mut self, packet: Packet) {
        // The kernel spreads clients over the listeners of all workers.
        let text = format!("{} {}", packet.from, packet.to);
        let worker = usize::try_from(digest(text.as_bytes()) >> 16).unwrap_or(0) % self.workers.len();
        if self.waits_for(worker) {
            return self.schedule(WAIT, Next::Arrive(packet));
        }
        self.count(&packet);
        self.record(&packet);
        self.workers[worker].hear_client(&mut self.sh, &packet);
    }

    fn reach_relay(&mut self, packet: Packet) {
        let Some(there) = self.sh.bound.get(&packet.to).copied() else {
            return self.lose("reached a closed port");
        };
        let Some(worker) = there.reader.map(usize::from).filter(|worker| !self.waits_for(*worker)) else {
            return self.schedule(WAIT, Next::Arrive(packet));
        };
        self.count(&packet);
        self.record(&packet);
        self.workers[worker].hear_peer(&mut self.sh, there.relay, &packet);
    }

    /// Whether a worker reads no socket now; what comes waits in them.
    pub(super) fn waits_for(&self, worker: usize) -> bool {
        let worker = &self.workers[worker];
        worker.stalled_until > self.sh.clock.micros() || !worker.is_whole()
    }

    /// What left the relay socket `back` reaches nobody: perhaps the network says so.
    fn reach_nobody(&mut self, back: SocketAddr, packet: &Packet) {
        self.lose("reached nobody");
        if self.sh.dice.chance(ICMP)
            && let Some(there) = self.sh.bound.get(&back).copied()
            && let Some(worker) = there.reader
            && self.workers[usize::from(worker)].is_whole()
        {
            self.workers[usize::from(worker)].hear_icmp(&mut self.sh, there.relay, packet.to);
        }
    }

    fn hand_to(&mut self, actor: Actor, packet: &Packet) {
        match actor {
            Actor::Honest(at) => {
                // A host has many ports, a client has one.
                if self.honest[at].inner == packet.to {
                    self.honest[at].hear(&mut self.sh, packet);
                    self.arm(at);
                }
            }
            Actor::Insider(at) => self.insiders[at].hear(packet),
            Actor::Peer(at) => {
                if self.act != Act::End {
                    self.peers[at].hear(&mut self.sh, packet);
                }
            }
            Actor::Rogue(at) => self.rogues[at].hear(packet),
            Actor::Caller(_) | Actor::Stranger(_) | Actor::Operator => {}
        }
    }

    fn count(&mut self, packet: &Packet) {
        self.sh.steps += 1;
        self.sh.mix(&packet.payload);
        let (from, to, len) = (packet.from, packet.to, packet.payload.len());
        let tainted = if packet.tainted { ", tainted" } else { "" };
        self.sh.note(|| format!("{from} -> {to}: {len} bytes{tainted}"));
    }

    fn record(&mut self, packet: &Packet) {
        if let Some(capture) = &mut self.capture {
            let now = self.sh.clock.now();
            let micros = self.sh.clock.micros();
            capture.add(now.unix, micros, packet.from, packet.to, packet.header, &packet.payload);
        }
    }

    pub(super) fn is_relay(&self, address: SocketAddr) -> bool {
        [scenario::RELAY_V4, scenario::RELAY_V6].contains(&address.ip())
    }
}
