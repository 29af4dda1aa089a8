//! Where a client stands, in words: derived from the behaviour of its NATs and its firewall, never written twice.

use crate::nat::Behaviour;
use crate::nat::Dependence;
use crate::nat::Firewall;
use crate::testbed::Place;
use crate::testbed::real_lab::PROXY;

/// What is between a client and the internet.
#[must_use]
pub fn standing(place: Place) -> String {
    let nats = match place.behaviours() {
        [] => "a public address, with no NAT before it".to_owned(),
        [nat] => format!("one NAT; {}", behaviour(nat)),
        [inner, outer] if (inner.mapping, inner.filtering) == (outer.mapping, outer.filtering) => {
            format!("two NATs in a row, of one kind; {}", behaviour(outer))
        }
        several => {
            let each = several.iter().map(behaviour).collect::<Vec<_>>();
            format!("{} NATs in a row, the innermost first; {}", several.len(), each.join("; then "))
        }
    };
    format!("{nats}. {}", firewall(&place.firewall(PROXY)))
}

fn behaviour(nat: &Behaviour) -> String {
    format!("mapping: {}; filtering: {}", mapping(nat.mapping), filtering(nat.filtering))
}

/// RFC 4787 § 4.1.
const fn mapping(mapping: Dependence) -> &'static str {
    match mapping {
        Dependence::EndpointIndependent => {
            "endpoint-independent (RFC 4787 § 4.1), the same port outside whomever it sends to"
        }
        Dependence::AddressDependent => {
            "address-dependent (RFC 4787 § 4.1), another port outside for each address"
        }
        Dependence::AddressAndPortDependent => {
            "address- and port-dependent (RFC 4787 § 4.1), another port outside for each peer"
        }
    }
}

/// RFC 4787 § 5.
const fn filtering(filtering: Dependence) -> &'static str {
    match filtering {
        Dependence::EndpointIndependent => "endpoint-independent (§ 5), lets in anybody",
        Dependence::AddressDependent => {
            "address-dependent (§ 5), lets in any port of an address that it sent to"
        }
        Dependence::AddressAndPortDependent => {
            "address- and port-dependent (§ 5), lets in only the address and port that it sent to"
        }
    }
}

fn firewall(firewall: &Firewall) -> String {
    match firewall {
        Firewall::Open => "No firewall.".to_owned(),
        Firewall::NoUdp => "Its firewall lets no UDP out.".to_owned(),
        Firewall::OnlyTcpTo(ports) => {
            let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
            format!("Its firewall lets TCP to port {} out, and nothing else.", ports.join(", "))
        }
        Firewall::Without(addresses) => {
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            format!("Its firewall lets nothing out to {}.", addresses.join(", "))
        }
        Firewall::OnlyProxy(_) => "Its firewall lets TCP to the HTTP proxy out, and nothing else.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_is_told_and_no_two_alike() {
        let all = Place::ALL.map(standing);
        for (place, told) in Place::ALL.into_iter().zip(&all) {
            assert_eq!(place.has_udp(), !told.contains("Its firewall"), "{place}: {told}");
            assert_eq!(place.behaviours().is_empty(), !told.contains("mapping:"), "{place}: {told}");
            assert_eq!(all.iter().filter(|other| *other == told).count(), 1, "{told}");
        }
        assert_eq!(
            all[4],
            "one NAT; mapping: address- and port-dependent (RFC 4787 § 4.1), another port outside for each peer; \
             filtering: address- and port-dependent (§ 5), lets in only the address and port that it sent to. No firewall."
        );
    }
}
