//! The four addresses of a server that lets clients discover how their NAT behaves (RFC 5780 § 6).
//!
//! ```text
//!            port 1      port 2
//!   IP 1   ┌ primary ┬───────────┐     The corner that a request reached is "here". Each flag of CHANGE-REQUEST
//!          ├─────────┼───────────┤     moves the answer to the other row or column; OTHER-ADDRESS is always the
//!   IP 2   └─────────┴ alternate ┘     corner across (RFC 5780 § 6.1, table 1).
//! ```

use std::net::SocketAddr;

use crate::proto::types::Family;
use crate::proto::types::ServerAddr;
use crate::proto::wire::Change;

/// An address of this machine, and what a 1:1 NAT shows for it: the same if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where the socket is bound.
    pub bind: SocketAddr,
    /// What clients are told.
    pub external: SocketAddr,
}

/// Two IP addresses of one family, each with the same two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quartet {
    corners: [Endpoint; 2],
}

impl Quartet {
    /// The quartet of which `primary` and `alternate` are opposite corners. `None` unless they differ in IP address
    /// and in port, inside and outside, and are of one family.
    #[must_use]
    pub fn new(primary: Endpoint, alternate: Endpoint) -> Option<Self> {
        let apart = |one: SocketAddr, other: SocketAddr| {
            one.ip() != other.ip()
                && one.port() != other.port()
                && Family::of(one.ip()) == Family::of(other.ip())
        };
        let sound = apart(primary.bind, alternate.bind)
            && apart(primary.external, alternate.external)
            && primary.bind.is_ipv4() == primary.external.is_ipv4();
        sound.then_some(Self { corners: [primary, alternate] })
    }

    /// Its family.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.corners[0].bind.ip())
    }

    /// All four corners: primary, the primary's other port, the alternate's other port, alternate.
    #[must_use]
    pub fn endpoints(&self) -> [Endpoint; 4] {
        [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(ip, port)| self.at(Corner { ip, port }))
    }

    fn at(&self, corner: Corner) -> Endpoint {
        let (by_ip, by_port) = (self.corners[corner.ip], self.corners[corner.port]);
        Endpoint {
            bind: SocketAddr::new(by_ip.bind.ip(), by_port.bind.port()),
            external: SocketAddr::new(by_ip.external.ip(), by_port.external.port()),
        }
    }

    fn corner_of(&self, server: ServerAddr) -> Option<Corner> {
        let ip = self.corners.iter().position(|corner| corner.bind.ip() == server.ip())?;
        let port = self.corners.iter().position(|corner| corner.bind.port() == server.port())?;
        Some(Corner { ip, port })
    }
}

/// Which of two IP addresses, and which of two ports: 0 or 1 each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Corner {
    ip: usize,
    port: usize,
}

impl Corner {
    fn moved(self, change: Change) -> Self {
        Self { ip: self.ip ^ usize::from(change.ip), port: self.port ^ usize::from(change.port) }
    }
}

/// What a server can let clients discover: nothing by default, else one quartet for each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    v4: Option<Quartet>,
    v6: Option<Quartet>,
}

impl Discovery {
    /// With these quartets; of several of a family the last counts.
    #[must_use]
    pub fn new(quartets: impl IntoIterator<Item = Quartet>) -> Self {
        let mut discovery = Self::default();
        for quartet in quartets {
            match quartet.family() {
                Family::V4 => discovery.v4 = Some(quartet),
                Family::V6 => discovery.v6 = Some(quartet),
            }
        }
        discovery
    }

    /// Its quartets.
    pub fn quartets(&self) -> impl Iterator<Item = &Quartet> {
        self.v4.iter().chain(&self.v6)
    }

    /// What a request that was sent to `server` can be given; `None` if that is no corner of a quartet.
    pub(super) fn at(&self, server: ServerAddr) -> Option<Standing<'_>> {
        let quartet = match server.family() {
            Family::V4 => self.v4.as_ref()?,
            Family::V6 => self.v6.as_ref()?,
        };
        Some(Standing { quartet, here: quartet.corner_of(server)? })
    }
}

/// The corner that a request reached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing<'a> {
    quartet: &'a Quartet,
    here: Corner,
}

impl Standing<'_> {
    /// Where the answer leaves from.
    pub(super) fn origin(&self, change: Change) -> Endpoint {
        self.quartet.at(self.here.moved(change))
    }

    /// What OTHER-ADDRESS says.
    pub(super) fn other(&self) -> SocketAddr {
        self.origin(Change { ip: true, port: true }).external
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(text: &str) -> Endpoint {
        let bind = text.parse().expect("a literal");
        Endpoint { bind, external: bind }
    }

    fn mapped(bind: &str, external: &str) -> Endpoint {
        Endpoint { bind: bind.parse().expect("a literal"), external: external.parse().expect("a literal") }
    }

    fn server(text: &str) -> ServerAddr {
        ServerAddr::new(text.parse().expect("a literal"))
    }

    // proves rfc5780:6.1-3, rfc5780:6.1-4, rfc5780:6.1-5, rfc5780:6.1-6, rfc5780:6.1-7
    #[test]
    fn table_1_of_rfc_5780_holds_in_every_corner() {
        let quartet = Quartet::new(same("192.0.2.1:3478"), same("192.0.2.2:3479")).expect("sound");
        let discovery = Discovery::new([quartet]);
        for (here, ip, port, both) in [
            ("192.0.2.1:3478", "192.0.2.2:3478", "192.0.2.1:3479", "192.0.2.2:3479"),
            ("192.0.2.1:3479", "192.0.2.2:3479", "192.0.2.1:3478", "192.0.2.2:3478"),
            ("192.0.2.2:3478", "192.0.2.1:3478", "192.0.2.2:3479", "192.0.2.1:3479"),
            ("192.0.2.2:3479", "192.0.2.1:3479", "192.0.2.2:3478", "192.0.2.1:3478"),
        ] {
            let standing = discovery.at(server(here)).expect("a corner");
            let origin = |ip, port| standing.origin(Change { ip, port });
            assert_eq!(origin(false, false), same(here));
            assert_eq!(origin(true, false), same(ip));
            assert_eq!(origin(false, true), same(port));
            assert_eq!(origin(true, true), same(both));
            assert_eq!(standing.other(), same(both).external);
        }
    }

    #[test]
    fn behind_a_nat_each_corner_has_its_own_outside() {
        let primary = mapped("10.0.0.5:3478", "203.0.113.7:13478");
        let alternate = mapped("10.0.0.6:3479", "203.0.113.8:13479");
        let quartet = Quartet::new(primary, alternate).expect("sound");
        let crossed = mapped("10.0.0.6:3478", "203.0.113.8:13478");
        assert_eq!(
            quartet.endpoints(),
            [primary, mapped("10.0.0.5:3479", "203.0.113.7:13479"), crossed, alternate]
        );
        let discovery = Discovery::new([quartet]);
        let standing = discovery.at(server("10.0.0.6:3478")).expect("a corner");
        assert_eq!(standing.other(), "203.0.113.7:13479".parse().expect("a literal"));
        assert!(discovery.at(server("203.0.113.7:13478")).is_none(), "packets name the inside");
    }

    // proves rfc5780:6-1
    #[test]
    fn what_is_no_quartet_is_refused() {
        for (primary, alternate) in [
            (same("192.0.2.1:3478"), same("192.0.2.1:3479")),
            (same("192.0.2.1:3478"), same("192.0.2.2:3478")),
            (same("192.0.2.1:3478"), same("[2001:db8::2]:3479")),
            (mapped("10.0.0.5:3478", "203.0.113.7:3478"), mapped("10.0.0.6:3479", "203.0.113.7:3479")),
            (mapped("10.0.0.5:3478", "203.0.113.7:3478"), mapped("10.0.0.6:3479", "203.0.113.8:3478")),
            (mapped("10.0.0.5:3478", "[2001:db8::7]:3478"), mapped("10.0.0.6:3479", "[2001:db8::8]:3479")),
        ] {
            assert_eq!(Quartet::new(primary, alternate), None, "{primary:?} {alternate:?}");
        }
    }

    #[test]
    fn each_family_has_its_own_quartet_and_other_addresses_have_none() {
        let v4 = Quartet::new(same("192.0.2.1:3478"), same("192.0.2.2:3479")).expect("sound");
        let v6 = Quartet::new(same("[2001:db8::1]:3478"), same("[2001:db8::2]:3479")).expect("sound");
        let discovery = Discovery::new([v6, v4]);
        assert_eq!(discovery.quartets().copied().collect::<Vec<_>>(), [v4, v6]);
        assert!(discovery.at(server("[2001:db8::2]:3478")).is_some());
        for other in ["192.0.2.3:3478", "192.0.2.1:3480", "[2001:db8::3]:3478"] {
            assert!(discovery.at(server(other)).is_none(), "{other}");
        }
        assert!(Discovery::default().at(server("192.0.2.1:3478")).is_none());
    }
}
