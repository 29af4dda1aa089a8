//! Relay addresses behind a 1:1 NAT: the machine knows one by the address it binds, everybody else by the one that the
//! NAT shows. Where one client's peer is another client's relayed address, the datagram need not go out to the NAT and
//! back, which many a NAT would not do: it is sent to the bound address, and its receiver is shown the external one.

use std::net::IpAddr;
use std::net::SocketAddr;

use crate::proto::types::PeerAddr;

/// The relay addresses whose bound and external forms differ. There are few, so they are looked through, not hashed;
/// without a NAT there is none, and nothing is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExternalAddresses(Box<[Pair]>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    bind: IpAddr,
    external: IpAddr,
}

impl ExternalAddresses {
    /// Takes every relay address as (bound, external), at most [`crate::proto::types::limits::RELAY_ADDRESSES_MAX`];
    /// neither form is named twice.
    #[must_use]
    pub fn new(relays: impl IntoIterator<Item = (IpAddr, IpAddr)>) -> Self {
        let pairs = relays.into_iter().map(|(bind, external)| Pair { bind, external });
        Self(pairs.filter(|pair| pair.bind != pair.external).collect())
    }

    /// The bound form of `peer`, if its address is an external one.
    pub(super) fn bound(&self, peer: PeerAddr) -> Option<PeerAddr> {
        let pair = self.0.iter().find(|pair| pair.external == peer.ip())?;
        Some(PeerAddr::new(SocketAddr::new(pair.bind, peer.port())))
    }

    /// The external form of `source`, if its address is a bound one.
    pub(super) fn external(&self, source: PeerAddr) -> Option<PeerAddr> {
        let pair = self.0.iter().find(|pair| pair.bind == source.ip())?;
        Some(PeerAddr::new(SocketAddr::new(pair.external, source.port())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn peer(text: &str) -> PeerAddr {
        PeerAddr::new(text.parse().unwrap())
    }

    #[test]
    fn each_form_leads_to_the_other_and_the_port_stays() {
        let relays = ExternalAddresses::new([
            (ip("10.0.0.5"), ip("203.0.113.7")),
            (ip("fd00::5"), ip("2001:db8::7")),
            (ip("198.51.100.1"), ip("198.51.100.1")),
        ]);
        for (bind, external) in
            [("10.0.0.5:50000", "203.0.113.7:50000"), ("[fd00::5]:50001", "[2001:db8::7]:50001")]
        {
            assert_eq!(relays.bound(peer(external)), Some(peer(bind)));
            assert_eq!(relays.external(peer(bind)), Some(peer(external)));
            assert_eq!(relays.bound(peer(bind)), None);
            assert_eq!(relays.external(peer(external)), None);
        }
        for other in ["198.51.100.1:50000", "10.0.0.6:50000", "[::ffff:203.0.113.7]:50000"] {
            assert_eq!((relays.bound(peer(other)), relays.external(peer(other))), (None, None), "{other}");
        }
    }

    #[test]
    fn without_a_nat_there_is_nothing_to_look_through() {
        let relays = ExternalAddresses::new([(ip("10.0.0.5"), ip("10.0.0.5")), (ip("::1"), ip("::1"))]);
        assert_eq!(relays, ExternalAddresses::default());
    }
}
