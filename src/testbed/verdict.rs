//! How a call ended, and how it has to end.

use std::fmt;

use super::Place;

/// How a call between two ICE agents ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Media flows between the two places without a relay.
    Direct,
    /// Media flows through a relay.
    Relayed(Relay),
    /// No pair of candidates works.
    Failed,
}

/// What carries media between a client that uses a relay and that relay. Where both sides use one, the less direct of the two
/// is meant: UDP before TCP before TLS before a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relay {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// Either of them through an HTTP proxy (CONNECT).
    Proxy,
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Direct => "direct",
            Self::Relayed(Relay::Udp) => "relayed (udp)",
            Self::Relayed(Relay::Tcp) => "relayed (tcp)",
            Self::Relayed(Relay::Tls) => "relayed (tls)",
            Self::Relayed(Relay::Proxy) => "relayed (proxy)",
            Self::Failed => "failed",
        })
    }
}

/// How a call between these places has to end, where both sides have the server over UDP 3478, TCP 3478 and TLS 443, and the
/// proxy of the laboratory.
///
/// It follows from RFC 4787 and RFC 8445 alone. Without UDP a side has relayed candidates only, over the most direct transport
/// that its firewall lets out. With UDP on both sides, connectivity checks leave from both at once and open both filters to
/// each other, so that any two mappings that do not depend on the destination meet. A mapping that depends on it (symmetric)
/// shows the other side a port that no candidate told of: that works only where the other side's filter lets in an address
/// whatever its port, as then the check arrives and makes a peer-reflexive candidate (RFC 8445 § 7.3.1.3).
#[must_use]
pub fn expected(left: Place, right: Place) -> Verdict {
    match (relay_of(left), relay_of(right)) {
        (Some(one), Some(other)) => return Verdict::Relayed(one.max(other)),
        (Some(one), None) | (None, Some(one)) => return Verdict::Relayed(one),
        (None, None) => {}
    }
    let symmetric = |place: Place| matches!(place, Place::Symmetric);
    let hears_any_port =
        |place: Place| matches!(place, Place::Open | Place::FullCone | Place::AddressRestricted);
    let meets = match (symmetric(left), symmetric(right)) {
        (false, false) => true,
        (true, true) => false,
        (true, false) => hears_any_port(right),
        (false, true) => hears_any_port(left),
    };
    if meets { Verdict::Direct } else { Verdict::Relayed(Relay::Udp) }
}

/// What carries media to the relay from a place without UDP.
const fn relay_of(place: Place) -> Option<Relay> {
    match place {
        Place::UdpBlocked => Some(Relay::Tcp),
        Place::Only443 => Some(Relay::Tls),
        Place::HttpProxy => Some(Relay::Proxy),
        _ => None,
    }
}
