//! How a call ended, and how it has to end.

use std::fmt;

use crate::nat::Dependence;

use super::Place;
use super::Way;

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

impl Relay {
    /// All of them, the most direct first.
    pub const ALL: [Self; 4] = [Self::Udp, Self::Tcp, Self::Tls, Self::Proxy];

    /// In reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Proxy => "proxy",
        }
    }
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Direct,
        Self::Relayed(Relay::Udp),
        Self::Relayed(Relay::Tcp),
        Self::Relayed(Relay::Tls),
        Self::Relayed(Relay::Proxy),
        Self::Failed,
    ];
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

/// Why a call between two places ends as it has to. It follows from RFC 4787 and RFC 8445 alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Of the left or the right side no UDP leaves, so it has relayed candidates only (RFC 8445 § 5.1.1.2); with what carries
    /// them to the relay, the most direct that the firewall lets out. One of the two at least is there.
    RelayAlone([Option<Relay>; 2]),
    /// No mapping depends on the destination (RFC 4787 § 4.1): connectivity checks leave from both sides at once, and each opens
    /// its own filter to the other.
    Meet,
    /// The mapping of this side (0: left, 1: right) depends on the destination, and shows the other side a port that no candidate
    /// told of. That side's filter lets in an address whatever its port, so that the check arrives and makes a peer-reflexive
    /// candidate (RFC 8445 § 7.3.1.3).
    Learned(usize),
    /// The mapping of the left or the right side, or of both, depends on the destination, and nobody lets its checks in.
    Unheard([bool; 2]),
    /// Of the left or the right side no UDP leaves, and its firewall lets it out to no relay there is: it has no candidate that
    /// anybody could reach.
    Cut([bool; 2]),
}

impl Why {
    /// How the call has to end.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        match self {
            Self::RelayAlone(ways) => {
                Verdict::Relayed(ways.into_iter().flatten().max().unwrap_or(Relay::Udp))
            }
            Self::Meet | Self::Learned(_) => Verdict::Direct,
            Self::Unheard(_) => Verdict::Relayed(Relay::Udp),
            Self::Cut(_) => Verdict::Failed,
        }
    }
}

/// Why a call between these places has to end as it does, where both sides have the server over UDP 3478, TCP 3478 and TLS 443,
/// and the proxy of the laboratory.
#[must_use]
pub fn derive(left: Place, right: Place) -> Why {
    judged([left, right], relay_of)
}

/// The same where both sides have the server by `ways` alone, of which one at least is UDP if UDP leaves one of the places:
/// without it nobody learns its own address.
#[must_use]
pub fn derive_by(left: Place, right: Place, ways: &[Way]) -> Why {
    judged([left, right], |place| Way::best(place, ways))
}

/// `relay_of`: what carries media to the relay from a place without UDP.
fn judged(places: [Place; 2], relay_of: impl Fn(Place) -> Option<Relay>) -> Why {
    let is_alone = places.map(|place| !place.has_udp());
    let ways = places.map(|place| if place.has_udp() { None } else { relay_of(place) });
    let cut = [0, 1].map(|side| is_alone[side] && ways[side].is_none());
    if cut.contains(&true) {
        return Why::Cut(cut);
    }
    if is_alone.contains(&true) {
        return Why::RelayAlone(ways);
    }
    let hears_any_port = |place: Place| {
        place.behaviours().iter().all(|nat| nat.filtering != Dependence::AddressAndPortDependent)
    };
    match places.map(Place::maps_by_destination) {
        [false, false] => Why::Meet,
        [true, false] if hears_any_port(places[1]) => Why::Learned(0),
        [false, true] if hears_any_port(places[0]) => Why::Learned(1),
        unheard => Why::Unheard(unheard),
    }
}

/// How a call between these places has to end; [`derive()`] says why.
#[must_use]
pub fn expected(left: Place, right: Place) -> Verdict {
    derive(left, right).verdict()
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
