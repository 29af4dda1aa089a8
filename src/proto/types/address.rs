//! Transport addresses, one type for each role that RFC 8656 § 3 gives them, so that a peer can never be
//! handed over where a client is meant.

use std::fmt;
use std::net::IpAddr;
use std::net::SocketAddr;

use super::endpoint::Endpoint;

macro_rules! transport_address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Endpoint);

        impl $name {
            /// Takes the address as it is, less the IPv6 flow label, which is no part of an endpoint's name.
            #[must_use]
            pub const fn new(address: SocketAddr) -> Self {
                Self(Endpoint::new(address))
            }

            /// IP address and port together.
            #[must_use]
            pub const fn socket(&self) -> SocketAddr {
                self.0.socket()
            }

            /// The IP address.
            #[must_use]
            pub const fn ip(&self) -> IpAddr {
                self.0.ip()
            }

            /// The port.
            #[must_use]
            pub const fn port(&self) -> u16 {
                self.0.port()
            }

            /// The address family.
            #[must_use]
            pub const fn family(&self) -> Family {
                self.0.family()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.socket())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.socket().fmt(f)
            }
        }
    };
}

transport_address! {
    /// The client's transport address as the server sees it: its server-reflexive transport address
    /// (RFC 8656 § 3).
    ClientAddr
}

transport_address! {
    /// The TURN server transport address: where the client sends its requests (RFC 8656 § 3).
    ServerAddr
}

transport_address! {
    /// A peer's transport address as the server sees it (RFC 8656 § 3).
    PeerAddr
}

transport_address! {
    /// A relayed transport address: an address and port on the server through which peers reach the
    /// client (RFC 8656 § 3).
    RelayAddr
}

/// IPv4 or IPv6, as REQUESTED-ADDRESS-FAMILY names them (RFC 8656 § 18.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4, code 0x01.
    V4,
    /// IPv6, code 0x02.
    V6,
}

impl Family {
    /// The family of `ip`.
    #[must_use]
    pub const fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The family that a STUN family byte names, or `None` if it names none.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0x01 => Some(Self::V4),
            0x02 => Some(Self::V6),
            _ => None,
        }
    }

    /// The STUN family byte (RFC 8489 § 14.1).
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::V4 => 0x01,
            Self::V6 => 0x02,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV6;

    use super::*;

    #[test]
    fn a_flow_label_does_not_make_another_endpoint() {
        let plain = SocketAddrV6::new("2001:db8::1".parse().expect("a literal"), 7, 0, 0);
        let labelled = SocketAddrV6::new("2001:db8::1".parse().expect("a literal"), 7, 99, 0);
        assert_eq!(PeerAddr::new(plain.into()), PeerAddr::new(labelled.into()));
    }

    #[test]
    fn family_codes_round_trip_and_others_are_refused() {
        for family in [Family::V4, Family::V6] {
            assert_eq!(Family::from_code(family.code()), Some(family));
        }
        assert_eq!(Family::from_code(0), None);
        assert_eq!(Family::from_code(3), None);
    }
}
