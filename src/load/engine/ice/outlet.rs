//! By what an agent's datagrams leave and come: a socket of its own, or a chain of NATs that has a real socket for each external
//! port it makes.
//!
//! ```text
//!   agent ── 10.x.y.z ──▶ Chain ── 127.x.y.z:port ──▶ the socket bound there ──▶ server, other agent
//!            (virtual)    nat     (real)
//! ```
//!
//! The external port is the real socket's, because whoever is outside answers to that. The NAT chooses it by its own behaviour;
//! where somebody else of this machine has it already, it is withheld as a port is that the router serves at itself, and the NAT
//! chooses again. So the model stays the one that decides, and what the server sees is what the model says.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;

use crate::nat::Behaviour;
use crate::nat::Chain;
use crate::nat::Dependence;
use crate::nat::Firewall;
use crate::nat::Nat;
use crate::nat::Packet;
use crate::nat::Protocol;
use crate::nat::Verdict;
use crate::place::Place;
use crate::place::Way;
use crate::proto::types::Dice;
use crate::proto::types::Tick;
use crate::proto::types::limits::LOAD_NAT_PORT_TRIES;
use crate::proto::types::limits::LOAD_NAT_PORTS_MAX;

/// Datagrams that are read of one socket before others have their turn.
const READS: usize = 32;
/// Ports that hosts behind NATs have their sockets at: those that programs get elsewhere, and the server relays from none.
const INNER_PORTS: (u64, u64) = (30_000, 49_151);
/// External addresses are of 127.64.0.0/10.
const EXTERNALS: u32 = 1 << 22;

/// What stands before one agent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standpoint<'a> {
    pub(super) place: Place,
    /// Which agent of the run it is.
    pub(super) number: usize,
    /// What the NATs' chances are drawn from, and where external addresses begin.
    pub(super) seed: u64,
    pub(super) ways: &'a [Way],
    /// Whether filters let everybody in.
    pub(super) is_unfiltered: bool,
}

/// By what an agent's datagrams leave and come.
#[derive(Debug)]
pub(super) struct Outlet {
    chain: Chain<Dice>,
    firewall: Firewall,
    /// The agent's own address.
    pub(super) local: SocketAddr,
    /// What its connections come from; `None`: whatever the run says.
    pub(super) external: Option<IpAddr>,
    /// A real socket for each external port, in the order in which they came.
    doors: Vec<Door>,
    /// What a NAT turned around.
    turned: VecDeque<(SocketAddr, Box<[u8]>)>,
    /// Why a port has no socket, the first time.
    pub(super) trouble: Option<io::Error>,
}

#[derive(Debug)]
struct Door {
    outer: SocketAddr,
    socket: UdpSocket,
}

/// Has the poll watch the socket of so many-th port.
pub(super) type Watch<'a> = &'a mut dyn FnMut(&UdpSocket, usize);

impl Outlet {
    /// A socket without NATs.
    pub(super) fn plain(socket: UdpSocket) -> io::Result<Self> {
        let local = socket.local_addr()?;
        Ok(Self {
            chain: Chain(Vec::new()),
            firewall: Firewall::Open,
            local,
            external: None,
            doors: vec![Door { outer: local, socket }],
            turned: VecDeque::new(),
            trouble: None,
        })
    }

    /// What a place has, with addresses of its own: inside, outside, and between two NATs.
    pub(super) fn at(standpoint: Standpoint<'_>) -> io::Result<Self> {
        let Standpoint { place, number, seed, ways, is_unfiltered } = standpoint;
        let external = external(seed, number);
        let behaviours = place.behaviours();
        if behaviours.is_empty() {
            let socket = bound(SocketAddr::new(external, 0))?;
            return Ok(Self { external: Some(external), ..Self::plain(socket)? });
        }
        let mut dice = Dice::stream(seed, number as u64 + 1);
        let firewall = Way::firewall(place, ways);
        let nats = behaviours.iter().enumerate().map(|(at, behaviour)| {
            // Between two NATs is the carrier's shared space (RFC 6598).
            let is_outermost = at + 1 == behaviours.len();
            let address = if is_outermost { external } else { Ipv4Addr::new(100, 64, 0, 10).into() };
            let filtering =
                if is_unfiltered { Dependence::EndpointIndependent } else { behaviour.filtering };
            let nat = Nat::new(Behaviour { filtering, ..*behaviour }, vec![address], dice.fork());
            // The firewall is at home, and says nothing to whom it stops.
            if at == 0 { nat.behind(firewall.clone(), false) } else { nat }
        });
        let chain = Chain(nats.collect());
        let [_, high, middle, low] = (number as u32).to_be_bytes();
        let port = dice.range(INNER_PORTS.0, INNER_PORTS.1) as u16;
        Ok(Self {
            chain,
            firewall,
            local: SocketAddr::from(([10, high, middle, low], port)),
            external: Some(external),
            doors: Vec::new(),
            turned: VecDeque::new(),
            trouble: None,
        })
    }

    /// Whether its firewall lets a connection, or datagrams, out by this way.
    pub(super) fn lets_out(&self, way: &Way) -> bool {
        way.is_open(&self.firewall)
    }

    /// The sockets that there are.
    pub(super) fn sockets(&self) -> impl Iterator<Item = &UdpSocket> {
        self.doors.iter().map(|door| &door.socket)
    }

    /// Sends a datagram of the agent's, if it is let out and there is a way. What the kernel does not take is lost, as datagrams
    /// are.
    pub(super) fn send(&mut self, tick: Tick, to: SocketAddr, bytes: &[u8], watch: Watch<'_>) {
        let packet = Packet { protocol: Protocol::Udp, source: self.local, destination: to, fragment: None };
        for _ in 0..LOAD_NAT_PORT_TRIES {
            match self.chain.outbound(tick, &packet) {
                // To an address inside of the other side's NAT leads no way, as on the internet.
                Verdict::Pass { destination, .. } if !self.is_reached(destination) => return,
                Verdict::Pass { source, destination } => match self.door(source, watch) {
                    Ok(door) => {
                        let _ = self.doors[door].socket.send_to(bytes, destination);
                        return;
                    }
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => self.withhold(source),
                    Err(error) => {
                        self.trouble.get_or_insert(error);
                        return;
                    }
                },
                Verdict::Back { source, destination } if destination == self.local => {
                    return self.turned.push_back((source, bytes.into()));
                }
                Verdict::Back { .. } | Verdict::Drop(_) | Verdict::Reject(_) => return,
            }
        }
        self.trouble.get_or_insert_with(|| io::ErrorKind::AddrInUse.into());
    }

    /// Gives `each` the agent has to hear of what came to the port of this number, with its sender.
    pub(super) fn receive(
        &mut self,
        tick: Tick,
        door: usize,
        buffer: &mut [u8],
        each: &mut dyn FnMut(SocketAddr, &[u8]),
    ) {
        let Some(Door { outer, socket }) = self.doors.get(door) else { return };
        for _ in 0..READS {
            // An error is one that an earlier datagram met, and is no end.
            let Ok((len, from)) = socket.recv_from(buffer) else { return };
            let packet = Packet { protocol: Protocol::Udp, source: from, destination: *outer, fragment: None };
            if let Verdict::Pass { source, destination } = self.chain.inbound(tick, &packet)
                && destination == self.local
            {
                each(source, &buffer[..len]);
            }
        }
    }

    /// What a NAT turned around, with the sender that it shows.
    pub(super) fn next_turned(&mut self) -> Option<(SocketAddr, Box<[u8]>)> {
        self.turned.pop_front()
    }

    /// Closes all sockets.
    pub(super) fn close(&mut self) {
        self.doors = Vec::new();
    }

    /// Behind NATs only loopback is the world.
    fn is_reached(&self, to: SocketAddr) -> bool {
        self.external.is_none() || to.ip().is_loopback()
    }

    /// The number of the port that has this external address, which is made if there is none.
    fn door(&mut self, outer: SocketAddr, watch: Watch<'_>) -> io::Result<usize> {
        if let Some(at) = self.doors.iter().position(|door| door.outer == outer) {
            return Ok(at);
        }
        if self.doors.len() >= LOAD_NAT_PORTS_MAX {
            return Err(io::Error::other("an agent's NAT has all the ports that it may have"));
        }
        let socket = bound(outer)?;
        watch(&socket, self.doors.len());
        self.doors.push(Door { outer, socket });
        Ok(self.doors.len() - 1)
    }

    fn withhold(&mut self, outer: SocketAddr) {
        if let Some(outermost) = self.chain.0.last_mut() {
            outermost.withhold(Protocol::Udp, outer);
        }
    }
}

fn bound(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// An address of its own for each agent, of 127.64.0.0/10; runs of another seed begin elsewhere.
fn external(seed: u64, number: usize) -> IpAddr {
    let begin = Dice::stream(seed, 0).next() as u32;
    let at = begin.wrapping_add(number as u32) % EXTERNALS;
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 64, 0, 0).to_bits() + at).into()
}

