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
            let filtering = if is_unfiltered { Dependence::EndpointIndependent } else { behaviour.filtering };
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
            let packet =
                Packet { protocol: Protocol::Udp, source: from, destination: *outer, fragment: None };
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

#[cfg(test)]
mod tests {
    use std::time::Duration;
    use std::time::Instant;

    use crate::nat::TcpFlags;
    use crate::place::Relay;

    use super::*;

    const NOW: Tick = Tick::from_millis(1_000);
    const PATIENCE: Duration = Duration::from_secs(10);

    /// Somebody outside.
    fn outsider() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback is free");
        socket.set_read_timeout(Some(PATIENCE)).expect("it can wait");
        let at = socket.local_addr().expect("it is bound");
        (socket, at)
    }

    fn outlet(place: Place, number: usize) -> Outlet {
        // Another seed in each process, so that none meets another's addresses.
        let seed = u64::from(std::process::id());
        let ways = [Way { relay: Relay::Udp, first_hop: SocketAddr::from(([127, 0, 0, 1], 3_478)) }];
        Outlet::at(Standpoint { place, number, seed, ways: &ways, is_unfiltered: false })
            .expect("loopback is free")
    }

    /// Sends, and says from where it came; `None`: it has no port to come from.
    fn sent(outlet: &mut Outlet, (socket, at): &(UdpSocket, SocketAddr)) -> Option<SocketAddr> {
        outlet.send(NOW, *at, b"out", &mut |_, _| {});
        if outlet.doors.is_empty() || outlet.trouble.is_some() {
            return None;
        }
        Some(socket.recv_from(&mut [0; 16]).expect("it comes").1)
    }

    /// Whose words reach the agent until those of `last` do.
    fn received(outlet: &mut Outlet, last: SocketAddr) -> Vec<SocketAddr> {
        let (mut all, until) = (Vec::new(), Instant::now() + PATIENCE);
        while !all.contains(&last) && Instant::now() < until {
            for door in 0..outlet.doors.len() {
                outlet.receive(NOW, door, &mut [0; 16], &mut |from, bytes| {
                    assert_eq!(bytes, b"in");
                    all.push(from);
                });
            }
        }
        all
    }

    #[test]
    fn each_place_maps_as_it_should_and_each_port_is_a_socket() {
        let (one, other) = (outsider(), outsider());
        for (number, place) in Place::ALL.into_iter().enumerate() {
            let mut outlet = outlet(place, number);
            let seen = [sent(&mut outlet, &one), sent(&mut outlet, &other), sent(&mut outlet, &one)];
            if !place.has_udp() {
                assert_eq!((seen, outlet.doors.len()), ([None; 3], 0), "{place}");
                continue;
            }
            let [Some(first), Some(second), Some(third)] = seen else { panic!("{place}: {seen:?}") };
            assert!(first == third && Some(first.ip()) == outlet.external, "{place}: {seen:?}");
            assert_eq!(first == second, place != Place::Symmetric, "{place}: {seen:?}");
            assert_eq!(outlet.doors.len(), if place == Place::Symmetric { 2 } else { 1 }, "{place}");
            assert_eq!(outlet.local == first, place == Place::Open, "{place}: {}", outlet.local);
            assert!(outlet.local.ip().is_loopback() || outlet.local.ip().to_string().starts_with("10."));
        }
    }

    #[test]
    fn what_a_filter_does_not_let_in_never_reaches_the_agent() {
        let (known, stranger) = (outsider(), outsider());
        for (number, (place, hears)) in [
            (Place::Open, true),
            (Place::FullCone, true),
            // Both are at one address.
            (Place::AddressRestricted, true),
            (Place::PortRestricted, false),
            (Place::Symmetric, false),
            (Place::Cgn, false),
        ]
        .into_iter()
        .enumerate()
        {
            let mut outlet = outlet(place, 100 + number);
            let outer = sent(&mut outlet, &known).expect("it is let out");
            for (socket, at) in [&stranger, &known] {
                assert_eq!(socket.send_to(b"in", outer).ok(), Some(2), "{at}");
            }
            let expected = if hears { vec![stranger.1, known.1] } else { vec![known.1] };
            assert_eq!(received(&mut outlet, known.1), expected, "{place}");
        }
    }

    #[test]
    fn a_port_of_somebody_else_is_withheld_and_another_one_chosen() {
        let to = outsider();
        let mut first = outlet(Place::FullCone, 200);
        let outer = sent(&mut first, &to).expect("it is let out");
        // The same agent of the same seed once more, while the first has the port that it would preserve.
        let mut second = outlet(Place::FullCone, 200);
        assert_eq!(second.local, first.local);
        let elsewhere = sent(&mut second, &to).expect("it is let out");
        assert!(elsewhere != outer && elsewhere.ip() == outer.ip(), "{elsewhere} {outer}");
        assert_eq!(sent(&mut second, &to), Some(elsewhere), "it stays");
        assert_eq!(to.0.send_to(b"in", elsewhere).ok(), Some(2));
        assert_eq!(received(&mut second, to.1), [to.1]);
    }

    #[test]
    fn nothing_leaves_the_machine_and_ports_have_a_bound() {
        let mut outlet = outlet(Place::Symmetric, 300);
        for inner in ["10.0.0.2:5000", "192.0.2.1:3478", "100.64.0.10:1"] {
            outlet.send(NOW, inner.parse().expect("a literal"), b"out", &mut |_, _| panic!("no socket"));
        }
        assert!(outlet.doors.is_empty());
        let others: Vec<_> = (0..LOAD_NAT_PORTS_MAX + 3).map(|_| outsider()).collect();
        let seen: Vec<_> = others.iter().filter_map(|to| sent(&mut outlet, to)).collect();
        assert_eq!((seen.len(), outlet.doors.len()), (LOAD_NAT_PORTS_MAX, LOAD_NAT_PORTS_MAX));
        assert!(outlet.trouble.take().is_some_and(|error| error.to_string().contains("all the ports")));
        let outers = seen.clone();
        drop(outlet);
        assert!(outers.iter().all(|outer| UdpSocket::bind(outer).is_ok()), "they are free again");
    }

    #[test]
    fn agents_have_addresses_of_their_own() {
        let all: std::collections::BTreeSet<_> = (0..100_000).map(|number| external(7, number)).collect();
        assert_eq!(all.len(), 100_000);
        assert!(all.iter().all(IpAddr::is_loopback) && external(7, 0) != external(8, 0));
        let blocked = outlet(Place::UdpBlocked, 400);
        let tcp = Way { relay: Relay::Tcp, first_hop: SocketAddr::from(([127, 0, 0, 1], 3_478)) };
        assert!(blocked.lets_out(&tcp) && !blocked.lets_out(&Way { relay: Relay::Udp, ..tcp }));
        assert!(blocked.firewall.lets_out(Protocol::Tcp(TcpFlags::SYN), tcp.first_hop));
    }
}
