//! The map of the laboratory: who has which address, and what stands before each client.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use crate::nat::Chain;
use crate::nat::Nat;
use crate::nat::Packet;
use crate::nat::Verdict;
use crate::proto::types::Tick;
use crate::testbed::Place;
use crate::testbed::scenario::Link;

use super::wire::Wire;
use crate::proto::types::Dice;

/// The server's first address, which its relayed ones are of too.
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// Its second one, for discovery (RFC 5780).
pub(super) const SERVER_OTHER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// UDP and TCP.
pub(super) const PORT: u16 = 3_478;
/// The second one of discovery.
pub(super) const PORT_OTHER: u16 = 3_479;
/// TLS, where firewalls let it out.
pub(super) const PORT_TLS: u16 = 443;
/// The HTTP proxy.
pub(super) const PROXY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 80)), 3_128);

/// Where what stands before one client.
#[derive(Debug)]
pub(super) struct Site {
    /// The client's own address.
    pub(super) host: IpAddr,
    /// What the internet sees of it.
    external: IpAddr,
    pub(super) chain: Chain<Dice>,
    pub(super) up: Wire,
    pub(super) down: Wire,
}

impl Site {
    /// The place of the left client (0) or the right one (1).
    pub(super) fn new(side: u8, place: Place, link: Link, dice: &mut Dice) -> Self {
        let external = Ipv4Addr::new(203, 0, 113, 10 + side);
        let behaviours = place.behaviours();
        let nats = behaviours.iter().enumerate().map(|(at, behaviour)| {
            // Between two NATs is the carrier's shared space (RFC 6598).
            let is_outermost = at + 1 == behaviours.len();
            let address = if is_outermost { external } else { Ipv4Addr::new(100, 64, side, 10) };
            let nat = Nat::new(*behaviour, vec![address.into()], dice.fork());
            // The firewall is at home, and says nothing to whom it stops.
            if at == 0 { nat.behind(place.firewall(PROXY), false) } else { nat }
        });
        let chain = Chain(nats.collect());
        let host = if chain.0.is_empty() { external } else { Ipv4Addr::new(10, 0, side, 2) };
        Self {
            host: host.into(),
            external: external.into(),
            chain,
            up: Wire::new(link, dice.fork()),
            down: Wire::new(link, dice.fork()),
        }
    }

    /// Whether packets for `address` are for this place.
    pub(super) fn is_at(&self, address: IpAddr) -> bool {
        address == self.external
    }

    /// A packet of the client.
    pub(super) fn outbound(&mut self, tick: Tick, packet: &Packet) -> Verdict {
        self.chain.outbound(tick, packet)
    }

    /// A packet from the internet.
    pub(super) fn inbound(&mut self, tick: Tick, packet: &Packet) -> Verdict {
        self.chain.inbound(tick, packet)
    }
}
