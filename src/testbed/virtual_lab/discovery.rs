//! What a client in a place finds out about the NAT before it (RFC 5780), with the laboratory's server.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::nat::Packet;
use crate::nat::Protocol;
use crate::nat::Verdict;
use crate::proto::client::Discovery;
use crate::proto::client::Finding;
use crate::proto::client::Found;
use crate::proto::client::Local;
use crate::proto::client::Timing;
use crate::proto::types::Secret;
use crate::testbed::Place;
use crate::testbed::scenario::Link;
use crate::testbed::scenario::Scenarios;

use super::clock;
use super::clock::MILLISECOND;
use super::clock::Micros;
use super::machine::Leaves;
use super::machine::Machine;
use super::places::PORT;
use super::places::SERVER;
use super::places::Site;
use super::world::CORE;
use crate::proto::types::Dice;

/// The ports of the client's two sockets.
const PORTS: [u16; 2] = [50_000, 50_002];
/// The headers of IPv4 and UDP.
const HEADERS: usize = 28;

/// A datagram on its way.
struct Datagram {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Box<[u8]>,
    /// It has come to the place, and is outside of what stands before it.
    is_at_place: bool,
}

struct World {
    micros: Micros,
    number: u64,
    queue: BTreeMap<(Micros, u64), Datagram>,
    site: Site,
    machine: Machine,
    client: Discovery<Dice>,
    locals: [SocketAddr; 2],
}

/// Asks, and answers what was found out. What is lost on the way is asked for again, as the standard says.
#[must_use]
pub fn discover(place: Place, link: Link, seed: u64) -> Finding {
    let mut dice = Dice::new(seed);
    let site = Site::new(0, place, link, &mut dice);
    let machine = Machine::new(Secret::new(*b"nobody asks for it"), Scenarios::default(), &mut dice);
    let locals = PORTS.map(|port| SocketAddr::new(site.host, port));
    let server = SocketAddr::new(SERVER.into(), PORT);
    let client = Discovery::new(server, locals, Timing::DATAGRAMS, dice.fork(), clock::now(0));
    let queue = BTreeMap::new();
    World { micros: 0, number: 0, queue, site, machine, client, locals }.run()
}

impl World {
    fn run(mut self) -> Finding {
        loop {
            while let Some(found) = self.client.poll_output() {
                match found {
                    Found::Done(finding) => return finding,
                    Found::Send(send) => {
                        let local = self.locals[usize::from(send.from == Local::Second)];
                        self.leave(local, send.to, send.bytes);
                    }
                }
            }
            let due = self.client.poll_timeout().map(|at| at.as_millis() * MILLISECOND);
            let arrival = self.queue.first_key_value().map(|((at, _), _)| *at);
            // Until it is done it waits for something.
            let next = due.into_iter().chain(arrival).min().unwrap_or(self.micros);
            self.micros = self.micros.max(next);
            match self.queue.pop_first() {
                Some(((at, _), datagram)) if at <= self.micros => self.arrive(datagram),
                other => {
                    self.queue.extend(other);
                    self.client.handle_timeout(clock::now(self.micros));
                }
            }
        }
    }

    fn later(&mut self, at: Micros, datagram: Datagram) {
        self.number += 1;
        self.queue.insert((at, self.number), datagram);
    }

    /// A datagram of the client.
    fn leave(&mut self, from: SocketAddr, to: SocketAddr, bytes: Box<[u8]>) {
        let tick = clock::now(self.micros).tick();
        match self.site.outbound(tick, &packet(from, to)) {
            Verdict::Pass { source: from, destination: to } => {
                for at in self.site.up.carry(self.micros, HEADERS + bytes.len()).into_iter().flatten() {
                    let bytes = bytes.clone();
                    self.later(at + CORE, Datagram { from, to, bytes, is_at_place: false });
                }
            }
            Verdict::Back { source, destination } => self.inside(source, destination, &bytes),
            Verdict::Drop(_) | Verdict::Reject(_) => {}
        }
    }

    fn arrive(&mut self, datagram: Datagram) {
        let Datagram { from, to, bytes, is_at_place } = datagram;
        let now = clock::now(self.micros);
        if is_at_place {
            if let Verdict::Pass { source, destination } = self.site.inbound(now.tick(), &packet(from, to)) {
                self.inside(source, destination, &bytes);
            }
        } else if self.site.is_at(to.ip()) {
            for at in self.site.down.carry(self.micros, HEADERS + bytes.len()).into_iter().flatten() {
                self.later(at, Datagram { from, to, bytes: bytes.clone(), is_at_place: true });
            }
        } else if self.machine.point_of(to).is_some() {
            self.machine.hear(now, from, to, &bytes);
            while let Some(leaves) = self.machine.leaves.pop_front() {
                if let Leaves::Datagram { from, to, bytes } = leaves {
                    self.later(self.micros + CORE, Datagram { from, to, bytes, is_at_place: false });
                }
            }
        }
    }

    fn inside(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let now = clock::now(self.micros);
        for (local, which) in self.locals.into_iter().zip([Local::First, Local::Second]) {
            if local == to {
                self.client.handle_datagram(now, which, from, bytes);
            }
        }
    }
}

const fn packet(source: SocketAddr, destination: SocketAddr) -> Packet {
    Packet { protocol: Protocol::Udp, source, destination, fragment: None }
}
