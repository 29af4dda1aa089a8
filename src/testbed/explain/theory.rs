//! Which pair of candidates a call between two places can use by the standards, in words: told from [`derive`], from which the
//! expected verdict follows too.

use crate::testbed::Place;
use crate::testbed::Relay;
use crate::testbed::Why;
use crate::testbed::derive;
use crate::testbed::real_lab::Side;

/// What the standards say of a pair of places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Theory {
    /// The best pair of candidates that can work: left, right.
    pub pair: [&'static str; 2],
    /// Why that one.
    pub why: String,
    /// Where it stands.
    pub rules: Vec<&'static str>,
}

/// What the standards say of these places.
#[must_use]
pub fn theory(places: [Place; 2]) -> Theory {
    let [left, right] = places;
    match derive(left, right) {
        Why::RelayAlone(ways) => relay_alone(places, ways),
        Why::Meet => Theory {
            pair: places.map(own),
            why: "No mapping depends on the destination, so the address that a server sees of each side is true for the other. \
                  Checks leave from both sides, and each opens its own filter to the other: the two meet directly."
                .to_owned(),
            rules: vec!["RFC 4787 § 4.1", "RFC 4787 § 5", "RFC 8445 § 6.1.4.2"],
        },
        Why::Learned(symmetric) => {
            let (one, other) = (Side::BOTH[symmetric], Side::BOTH[1 - symmetric]);
            let mut pair = places.map(own);
            pair[symmetric] = PEER_REFLEXIVE;
            let (one, other) = (one.name(), other.name());
            Theory {
                pair,
                why: format!(
                    "The {one} NAT shows the {other} side a port that no candidate told of. The {other} side lets it in all the \
                     same, so the check arrives and makes a peer-reflexive candidate: the two meet directly."
                ),
                rules: vec!["RFC 4787 § 4.1", "RFC 4787 § 5", "RFC 8445 § 7.3.1.3"],
            }
        }
        Why::Unheard(symmetric) => Theory {
            pair: ["relay", "srflx, prflx or relay"],
            why: format!(
                "{}, and no check from there is let in, because the filter of the other side knows address and port alone. \
                 No direct pair can work; the relay over UDP remains.",
                match symmetric {
                    [true, false] => "The left NAT shows the right side a port that no candidate told of",
                    [false, true] => "The right NAT shows the left side a port that no candidate told of",
                    _ => "Each NAT shows the other side a port that no candidate told of",
                }
            ),
            rules: vec!["RFC 4787 § 4.1", "RFC 4787 § 5", "RFC 8445 § 7.3.1.3", "RFC 8656"],
        },
        Why::Cut(_) => Theory {
            pair: ["none"; 2],
            why: "A side sends no UDP, and its firewall lets it out to no relay: nobody can reach it.".to_owned(),
            rules: vec!["RFC 8445 § 5.1.1.2"],
        },
    }
}

/// What a peer-reflexive candidate is called.
const PEER_REFLEXIVE: &str = "prflx";

/// The candidate by which a place with UDP is reached.
const fn own(place: Place) -> &'static str {
    if place.behaviours().is_empty() { "host" } else { "srflx" }
}

fn relay_alone(places: [Place; 2], ways: [Option<Relay>; 2]) -> Theory {
    let mut pair = ["relay"; 2];
    for side in [0, 1] {
        // Its packets come to the relay from wherever its NAT has them.
        if ways[side].is_none() {
            pair[side] = if places[side] == Place::Symmetric { PEER_REFLEXIVE } else { own(places[side]) };
        }
    }
    let told = Side::BOTH.into_iter().zip(ways).filter_map(|(side, way)| Some((side.name(), over(way?))));
    let each: Vec<_> =
        told.map(|(side, over)| format!("the {side} side reaches its relay over {over}")).collect();
    let who = match ways {
        [Some(_), Some(_)] => "Neither side sends UDP",
        [Some(_), None] => "The left side sends no UDP",
        [None, _] => "The right side sends no UDP",
    };
    Theory {
        pair,
        why: format!(
            "{who}, so there is only the relay, by the most direct transport that the firewall lets out: {}. Where both sides use \
             a relay, the less direct transport counts.",
            each.join(", and ")
        ),
        rules: vec!["RFC 8445 § 5.1.1.2", "RFC 8656 § 3.1"],
    }
}

/// What carries messages to the relay.
pub(super) const fn over(relay: Relay) -> &'static str {
    match relay {
        Relay::Udp => "UDP, port 3478",
        Relay::Tcp => "TCP, port 3478",
        Relay::Tls => "TLS, port 443",
        Relay::Proxy => "the HTTP proxy",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::Verdict;
    use crate::testbed::expected;

    #[test]
    fn what_is_said_of_a_pair_is_what_is_expected_of_it() {
        for left in Place::ALL {
            for right in Place::ALL {
                let theory = theory([left, right]);
                let is_relayed = theory.pair.contains(&"relay");
                assert_eq!(
                    is_relayed,
                    expected(left, right) != Verdict::Direct,
                    "{left} {right}: {theory:?}"
                );
                assert_eq!(is_relayed, !theory.why.contains("meet directly"), "{left} {right}: {theory:?}");
                for (place, kind) in [left, right].into_iter().zip(theory.pair) {
                    assert!(place.has_udp() || kind == "relay", "{left} {right}: {theory:?}");
                }
                assert!(theory.rules.len() > 1 && !theory.why.contains(['{', '}']), "{theory:?}");
            }
        }
    }

    #[test]
    fn the_telling_cases_are_told() {
        let told = |left, right| theory([left, right]);
        assert_eq!(told(Place::Open, Place::Cgn).pair, ["host", "srflx"]);
        assert_eq!(told(Place::Symmetric, Place::AddressRestricted).pair, ["prflx", "srflx"]);
        assert!(told(Place::Symmetric, Place::FullCone).why.starts_with("The left NAT shows the right side"));
        assert!(
            told(Place::PortRestricted, Place::Symmetric).why.starts_with("The right NAT shows the left")
        );
        assert!(told(Place::Symmetric, Place::Symmetric).why.starts_with("Each NAT"));
        let proxy = told(Place::HttpProxy, Place::Only443);
        assert!(
            proxy.why.contains("left side reaches its relay over the HTTP proxy, and the right"),
            "{proxy:?}"
        );
    }
}
