//! A way to a relay, and who may take it.

use std::net::Ipv4Addr;
use std::net::SocketAddr;

use crate::nat::Firewall;
use crate::nat::Protocol;
use crate::nat::TcpFlags;

use super::Place;
use super::Relay;

/// A way to a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// What carries messages on it.
    pub relay: Relay,
    /// Where packets of a client go first: to the server, or to the proxy before it.
    pub first_hop: SocketAddr,
}

/// Where no proxy is.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl Way {
    /// What the firewall of a place lets out, where these are all the ways there are.
    #[must_use]
    pub fn firewall(place: Place, ways: &[Self]) -> Firewall {
        let proxy = ways.iter().find(|way| way.relay == Relay::Proxy);
        place.firewall(proxy.map_or(NOWHERE, |way| way.first_hop))
    }

    /// Whether a firewall lets clients take it.
    #[must_use]
    pub fn is_open(&self, firewall: &Firewall) -> bool {
        let protocol = if self.relay == Relay::Udp { Protocol::Udp } else { Protocol::Tcp(TcpFlags::SYN) };
        firewall.lets_out(protocol, self.first_hop)
    }

    /// The most direct that a place is let out by; `None`: none of them.
    #[must_use]
    pub fn best(place: Place, ways: &[Self]) -> Option<Relay> {
        let firewall = Self::firewall(place, ways);
        ways.iter().filter(|way| way.is_open(&firewall)).map(|way| way.relay).min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::derive;
    use super::super::derive_by;
    use super::*;

    fn way(relay: Relay, port: u16) -> Way {
        Way { relay, first_hop: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    #[test]
    fn with_the_ways_of_the_laboratory_every_pair_ends_as_there() {
        let all =
            [way(Relay::Udp, 3_478), way(Relay::Tcp, 3_478), way(Relay::Tls, 443), way(Relay::Proxy, 3_128)];
        for left in Place::ALL {
            for right in Place::ALL {
                assert_eq!(derive_by(left, right, &all), derive(left, right), "{left} {right}");
            }
        }
    }

    #[test]
    fn who_is_let_out_nowhere_has_to_fail() {
        let udp = [way(Relay::Udp, 3_478)];
        let tcp = [way(Relay::Udp, 3_478), way(Relay::Tcp, 3_478)];
        for (left, right, ways, verdict) in [
            (Place::UdpBlocked, Place::Open, &udp[..], Verdict::Failed),
            (Place::Symmetric, Place::HttpProxy, &tcp, Verdict::Failed),
            (Place::UdpBlocked, Place::Open, &tcp, Verdict::Relayed(Relay::Tcp)),
            (Place::UdpBlocked, Place::Only443, &tcp, Verdict::Failed),
            (Place::Symmetric, Place::Symmetric, &udp, Verdict::Relayed(Relay::Udp)),
            (Place::Cgn, Place::Open, &udp, Verdict::Direct),
        ] {
            assert_eq!(derive_by(left, right, ways).verdict(), verdict, "{left} {right}");
        }
        // TLS at a port that is not 443 is of no use to who is let out there alone.
        let elsewhere = [way(Relay::Udp, 3_478), way(Relay::Tls, 5_349)];
        assert_eq!(Way::best(Place::Only443, &elsewhere), None);
        assert_eq!(Way::best(Place::UdpBlocked, &elsewhere), Some(Relay::Tls));
        assert_eq!(Way::best(Place::Open, &elsewhere), Some(Relay::Udp));
    }
}
