//! The NAT next to a program, and its firewall, made of the kernel's own rules (nftables) in a network of its own:
//!
//! ```text
//!   program ─ eth0 ══ lan   rules   wan ══ router (what of NATs lies beyond) ══ internet
//! ```
//!
//! The kernel maps a port to itself where it can, or each flow to another at random, and lets in what answers. What a more
//! liberal filter lets in besides is kept in a set: with whom each port has spoken.

use std::io;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use serde_json::Value;

use crate::nat::Behaviour;
use crate::nat::Dependence;
use crate::nat::Firewall;
use crate::nat::PortChoice;
use crate::nat::Refused;
use crate::net::Network;
use crate::net::Tun;

use super::gate::Way;
use super::tool::ip;
use super::tool::nft;
use super::tool::nft_list;
use super::world::client_routes;
use super::world::routes_between;
use super::world::set;
use super::world::without_ipv6;

/// What the rules call themselves.
const TABLE: &str = "lab";
/// What they count, and as what that is told.
const COUNTERS: [(&str, Way, Refused); 2] =
    [("walled", Way::Out, Refused::Firewall), ("filtered", Way::In, Refused::Filtered)];

/// Where the kernel asks them.
const CHAINS: [(&str, &str); 4] = [
    ("forward", "filter hook forward priority 0; policy drop"),
    ("self", "filter hook input priority 0"),
    ("outward", "nat hook postrouting priority 100"),
    ("inward", "nat hook prerouting priority -100"),
];

/// A NAT of the kernel.
#[derive(Debug)]
pub(super) struct KernelNat {
    network: Network,
}

/// Where one stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing<'a> {
    pub(super) behaviour: &'a Behaviour,
    pub(super) firewall: &'a Firewall,
    /// The program's address.
    pub(super) own: Ipv4Addr,
    /// The address to which the program's is translated.
    pub(super) outer: Ipv4Addr,
}

impl KernelNat {
    /// Makes one, and the program's network behind it. Answers both, and the interface by which it goes on.
    ///
    /// # Errors
    /// What the kernel or a tool complains of; and where the kernel has no NAT that behaves so.
    pub(super) fn make(standing: Standing<'_>) -> io::Result<(Self, Network, Tun)> {
        let Standing { behaviour, own, outer, .. } = standing;
        let rules = rules(standing).ok_or_else(|| {
            io::Error::other("the kernel has no NAT that behaves as this one: take the model")
        })?;
        let (network, wan) = Network::make(|| {
            without_ipv6();
            routes_between()?;
            timeouts(behaviour)?;
            let wan = Tun::open("wan")?;
            ip(&format!(
                "link set lo up
                 address add {outer}/32 dev wan
                 link set wan up
                 route add default dev wan src {outer}"
            ))?;
            nft(&rules)?;
            Ok(wan)
        })?;
        let [a, b, c, _] = own.octets();
        let gateway = Ipv4Addr::new(a, b, c, 1);
        let (client, ()) = Network::make(|| {
            without_ipv6();
            ip(&format!("link add eth0 type veth peer name lan netns {}", network.path().display()))
        })?;
        network.within(|| {
            ip(&format!(
                "address add {gateway}/24 dev lan
                 link set lan up"
            ))
        })?;
        client.within(|| client_routes(own, &format!("via {gateway}")))?;
        Ok((Self { network }, client, wan))
    }

    /// What it let not through: which way, why, and how many packets.
    ///
    /// # Errors
    /// What the tool complains of.
    pub(super) fn refused(&self) -> io::Result<Vec<(Way, Refused, u64)>> {
        let listed = self.network.within(|| nft_list(&format!("counters table ip {TABLE}")))?;
        Ok(counts(&listed))
    }
}

/// Which way, why and how many packets, of what `nft -j` lists.
fn counts(listed: &str) -> Vec<(Way, Refused, u64)> {
    let listed: Value = listed.parse().unwrap_or_default();
    let all = listed["nftables"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of = |name: &str| {
        all.iter().find_map(|each| {
            let counter = each.get("counter").filter(|counter| counter["name"] == name)?;
            counter["packets"].as_u64()
        })
    };
    COUNTERS.iter().filter_map(|(name, way, why)| Some((*way, *why, of(name)?))).collect()
}

/// How long the kernel remembers flows without packets.
fn timeouts(behaviour: &Behaviour) -> io::Result<()> {
    let seconds = behaviour.udp.as_secs().to_string();
    // After two answers a flow is a stream to it, and has a time of its own.
    set("net/netfilter/nf_conntrack_udp_timeout", &seconds)?;
    set("net/netfilter/nf_conntrack_udp_timeout_stream", &seconds)
}

/// The rules; `None`: the kernel has none that behave so.
fn rules(standing: Standing<'_>) -> Option<String> {
    let Standing { behaviour, firewall, own, outer } = standing;
    let source = match (behaviour.mapping, behaviour.ports) {
        (Dependence::EndpointIndependent, PortChoice::Preserve) => format!("snat to {outer}"),
        (Dependence::AddressAndPortDependent, PortChoice::Random) => format!("snat to {outer} fully-random"),
        _ => return None,
    };
    // The port, and whose packets it is open to.
    let (port, sent, came) = match behaviour.filtering {
        Dependence::EndpointIndependent => ("inet_service", "udp sport", "udp dport"),
        Dependence::AddressDependent => {
            ("inet_service . ipv4_addr", "udp sport . ip daddr", "udp dport . ip saddr")
        }
        Dependence::AddressAndPortDependent => ("", "", ""),
    };
    let is_liberal = !port.is_empty();
    if is_liberal && behaviour.mapping != Dependence::EndpointIndependent {
        return None;
    }
    let mut lines = vec![format!("table ip {TABLE}")];
    lines.extend(COUNTERS.map(|(name, ..)| format!("counter ip {TABLE} {name}")));
    if is_liberal {
        let kind = format!("type {port}; flags dynamic, timeout; timeout {}s", behaviour.udp.as_secs());
        lines.push(format!("set ip {TABLE} opened {{ {kind}; size 65535; }}"));
    }
    lines.extend(CHAINS.map(|(chain, kind)| format!("chain ip {TABLE} {chain} {{ type {kind}; }}")));
    let mut rule = |chain: &str, what: &str| lines.push(format!("rule ip {TABLE} {chain} {what}"));
    rule("forward", "iifname wan ct state established,related accept");
    rule("forward", "iifname wan ct status dnat accept");
    rule("forward", "iifname wan counter name filtered drop");
    for wall in walls(firewall) {
        rule("forward", &format!("iifname lan {wall} counter name walled drop"));
    }
    // Else pings would pass, which the model lets not out.
    rule("forward", "iifname lan ip protocol != { tcp, udp } drop");
    if is_liberal {
        rule("forward", &format!("iifname lan update @opened {{ {sent} }}"));
        rule("inward", &format!("iifname wan {came} @opened dnat to {own}"));
    }
    rule("forward", "iifname lan accept");
    rule("self", "iifname wan counter name filtered drop");
    rule("outward", &format!("oifname wan {source}"));
    Some(lines.iter().map(|line| format!("add {line}\n")).collect())
}

/// What each part of a firewall stops.
fn walls(firewall: &Firewall) -> Vec<String> {
    let no_tcp = || "ip protocol != tcp".to_owned();
    match firewall {
        Firewall::Open => Vec::new(),
        Firewall::NoUdp => vec!["ip protocol udp".to_owned()],
        Firewall::OnlyTcpTo(ports) => {
            let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
            vec![no_tcp(), format!("tcp dport != {{ {} }}", ports.join(", "))]
        }
        Firewall::OnlyProxy(SocketAddr::V4(proxy)) => {
            vec![no_tcp(), format!("ip daddr != {}", proxy.ip()), format!("tcp dport != {}", proxy.port())]
        }
        Firewall::OnlyProxy(SocketAddr::V6(_)) => vec!["meta nfproto ipv4".to_owned()],
        Firewall::Without(addresses) => {
            let v4 = addresses.iter().filter(|address| address.is_ipv4());
            v4.map(|address| format!("ip daddr {address}")).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::Place;
    use crate::testbed::real_lab::PROXY;

    fn of(behaviour: &Behaviour, firewall: &Firewall) -> Option<String> {
        let (own, outer) = (Ipv4Addr::new(10, 1, 0, 2), Ipv4Addr::new(203, 0, 113, 1));
        rules(Standing { behaviour, firewall, own, outer })
    }

    #[test]
    fn every_place_with_a_nat_has_rules_and_each_behaviour_its_own() {
        let mut told: Vec<_> = Vec::new();
        for place in Place::ALL.into_iter().filter(|place| !place.behaviours().is_empty()) {
            let rules = of(&place.behaviours()[0], &place.firewall(PROXY)).expect("the kernel has it");
            assert_eq!(rules.contains("fully-random"), place == Place::Symmetric, "{place}: {rules}");
            assert_eq!(rules.contains("counter name walled drop"), !place.has_udp(), "{place}: {rules}");
            told.push(rules);
        }
        // The home of a carrier's customer has the NAT of any other.
        told.sort();
        told.dedup();
        assert_eq!(told.len(), 7);
        assert!(
            of(&Behaviour::FULL_CONE, &Firewall::Open)
                .is_some_and(|rules| rules.contains("udp dport @opened dnat"))
        );
    }

    #[test]
    fn what_the_kernel_cannot_do_is_not_pretended() {
        let none = [
            Behaviour { mapping: Dependence::AddressDependent, ..Behaviour::SYMMETRIC },
            Behaviour { ports: PortChoice::Sequential, ..Behaviour::PORT_RESTRICTED },
            Behaviour { filtering: Dependence::EndpointIndependent, ..Behaviour::SYMMETRIC },
        ];
        assert!(none.iter().all(|behaviour| of(behaviour, &Firewall::Open).is_none()));
    }

    #[test]
    fn what_was_not_let_through_is_counted_by_its_reason() {
        let listed = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
            {"counter": {"family": "ip", "name": "filtered", "table": "lab", "handle": 2, "packets": 7, "bytes": 9}},
            {"counter": {"family": "ip", "name": "walled", "table": "lab", "handle": 1, "packets": 3, "bytes": 9}}]}"#;
        let wanted = [(Way::Out, Refused::Firewall, 3), (Way::In, Refused::Filtered, 7)];
        assert_eq!(counts(listed), wanted);
        assert_eq!(counts("nonsense"), []);
    }
}
