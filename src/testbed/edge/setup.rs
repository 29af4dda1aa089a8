//! What an edge is made with.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::proto::binding::Discovery;
use crate::proto::peers::PeerPolicy;
use crate::proto::peers::PolicyBuilder;
use crate::proto::peers::Rule;
use crate::proto::turn::RelayAddress;
use crate::proto::types::Lifetime;
use crate::proto::types::Secret;
use crate::proto::types::Transport;

/// The realm of a laboratory.
const REALM: &str = "testbed.example";

/// What a laboratory is made of, besides all public addresses: private networks, and those of documents. Metadata services
/// and the machine's own links stay denied.
const PEERS: [&str; 10] = [
    "10.0.0.0/8",
    "100.64.0.0/10",
    "172.16.0.0/12",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "2001:db8::/32",
    "fc00::/7",
];
/// And these, where clients come from this machine alone.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

/// An address that clients reach the edge at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// By what.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
}

/// What an edge is made with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where clients reach it.
    pub listens: Vec<Listen>,
    /// Where relay sockets are bound; the first of a family serves that family.
    pub relays: Vec<RelayAddress>,
    /// Their ports.
    pub ports: RangeInclusive<u16>,
    /// The realm.
    pub realm: Box<str>,
    /// What every user name has as its password.
    pub password: Secret,
    /// The secret of time-limited names, whose part behind the colon names the client.
    pub secret: Option<Secret>,
    /// Which peers may be reached.
    pub policy: Arc<PeerPolicy>,
    /// What Binding requests may discover (RFC 5780).
    pub discovery: Discovery,
    /// Granted where a client asks for none or less.
    pub lifetime_default: Lifetime,
    /// Granted at most.
    pub lifetime_max: Lifetime,
    /// How long a nonce is good.
    pub nonce_lifetime: Duration,
    /// Whether a client may take its allocation along (RFC 8016).
    pub mobility: bool,
}

impl Setup {
    /// What a laboratory uses: the standard's values, and peers in private and documentation networks too.
    #[must_use]
    pub fn lab(listens: Vec<Listen>, relays: &[IpAddr], password: Secret) -> Self {
        let is_local = listens.iter().any(|listen| listen.address.ip().is_loopback());
        let loopback = if is_local { &LOOPBACK[..] } else { &[] };
        let allow = PEERS.iter().chain(loopback).filter_map(|text| text.parse::<Rule>().ok()).collect();
        let policy = PolicyBuilder { allow, ..PolicyBuilder::default() };
        Self {
            listens,
            relays: relays.iter().map(|ip| RelayAddress { bind: *ip, external: *ip }).collect(),
            ports: 49_152..=51_199,
            realm: REALM.into(),
            password,
            secret: None,
            policy: Arc::new(policy.build()),
            discovery: Discovery::default(),
            lifetime_default: Lifetime::from_secs(600),
            lifetime_max: Lifetime::from_secs(3_600),
            nonce_lifetime: Duration::from_secs(3_600),
            mobility: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct None;

    impl crate::proto::peers::OwnRelays for None {
        fn is_live(&self, _: SocketAddr) -> bool {
            false
        }
    }

    #[test]
    fn peers_of_a_laboratory_are_reached_and_metadata_are_not() {
        assert!(PEERS.iter().chain(&LOOPBACK).all(|text| text.parse::<Rule>().is_ok()));
        let allows = |listen: &str, peer: &str| {
            let address = SocketAddr::new(listen.parse().unwrap(), 3_478);
            let listens = vec![Listen { transport: Transport::Udp, address }];
            let setup = Setup::lab(listens, &[], Secret::new(*b"x"));
            setup.policy.allows(SocketAddr::new(peer.parse().unwrap(), 4_000), &None)
        };
        for peer in ["10.1.2.3", "100.64.0.1", "192.168.1.9", "198.51.100.9", "203.0.113.7", "2001:db8::9"] {
            assert!(allows("192.0.2.1", peer), "{peer}");
        }
        for peer in ["127.0.0.1", "169.254.169.254", "100.100.100.200", "::1"] {
            assert!(!allows("192.0.2.1", peer), "{peer}");
        }
        assert!(allows("127.0.0.1", "127.0.0.1") && !allows("127.0.0.1", "169.254.169.254"));
    }
}
