//! Who is where in the laboratory. All of it is documentation's and private address space, so nothing of it is anywhere else.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use crate::testbed::Place;

/// One of the two clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The first, which controls (RFC 8445 § 6.1.1).
    Left,
    /// The second.
    Right,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Left, Self::Right];

    /// In reports, environment variables and names of interfaces.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    /// Its place in every pair: 0 or 1.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Left => 0,
            Self::Right => 1,
        }
    }

    /// Its address in the internet: the NAT's, or its own where there is none.
    #[must_use]
    pub const fn external(self) -> Ipv4Addr {
        match self {
            Self::Left => Ipv4Addr::new(203, 0, 113, 1),
            Self::Right => Ipv4Addr::new(198, 51, 100, 1),
        }
    }

    /// Its own, in `place`.
    #[must_use]
    pub const fn own(self, place: Place) -> Ipv4Addr {
        match (place, self) {
            (Place::Open, _) => self.external(),
            (_, Self::Left) => Ipv4Addr::new(10, 1, 0, 2),
            (_, Self::Right) => Ipv4Addr::new(10, 2, 0, 2),
        }
    }

    /// Between its NATs, where there are two (RFC 6598).
    pub(super) const fn between(self) -> Ipv4Addr {
        match self {
            Self::Left => Ipv4Addr::new(100, 64, 1, 2),
            Self::Right => Ipv4Addr::new(100, 64, 2, 2),
        }
    }
}

/// The server, and its second address, with which clients learn how their NAT behaves (RFC 5780).
pub const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// See [`SERVER`].
pub const SERVER_ALTERNATE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// For UDP and TCP.
pub const PORT: u16 = 3_478;
/// The second port of discovery.
pub const PORT_ALTERNATE: u16 = 3_479;
/// For TLS.
pub const PORT_TLS: u16 = 443;
/// The HTTP proxy.
pub const PROXY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)), 8_080);
