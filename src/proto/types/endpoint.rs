//! An IP address and a port in 24 bytes, where the standard library takes 32: each allocation has a dozen of them.

use std::hash::Hash;
use std::hash::Hasher;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV4;
use std::net::SocketAddrV6;

use super::Family;

/// What a socket address names, without the IPv6 flow label, which is no part of an endpoint's name. The order is that of
/// the standard library's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Endpoint {
    family: Family,
    /// As it is on the wire; of IPv4 the first four bytes, and zeros behind.
    ip: [u8; 16],
    port: u16,
    /// The interface of a link-local IPv6 address, else 0.
    scope: u32,
}

impl Endpoint {
    pub(super) const fn new(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(v4) => {
                let [a, b, c, d] = v4.ip().octets();
                let ip = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                Self { family: Family::V4, ip, port: v4.port(), scope: 0 }
            }
            SocketAddr::V6(v6) => {
                Self { family: Family::V6, ip: v6.ip().octets(), port: v6.port(), scope: v6.scope_id() }
            }
        }
    }

    pub(super) const fn socket(&self) -> SocketAddr {
        match self.ip() {
            IpAddr::V4(ip) => SocketAddr::V4(SocketAddrV4::new(ip, self.port)),
            IpAddr::V6(ip) => SocketAddr::V6(SocketAddrV6::new(ip, self.port, 0, self.scope)),
        }
    }

    pub(super) const fn ip(&self) -> IpAddr {
        match self.family {
            Family::V4 => {
                let [a, b, c, d, ..] = self.ip;
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            }
            Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(u128::from_be_bytes(self.ip))),
        }
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    pub(super) const fn family(&self) -> Family {
        self.family
    }
}

/// Two words for a hash that takes words.
impl Hash for Endpoint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_ne_bytes(self.ip));
        state.write_u64(
            u64::from(self.scope) << 32 | u64::from(self.port) << 16 | u64::from(self.family.code()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses that differ in one thing each, in the order of the standard library.
    const ALL: [&str; 8] = [
        "1.2.3.4:5",
        "1.2.3.4:6",
        "1.2.4.0:5",
        "[::1.2.3.4]:5",
        "[::ffff:1.2.3.4]:5",
        "[102:304::]:5",
        "[fe80::1%1]:5",
        "[fe80::1%2]:5",
    ];

    fn all() -> Vec<SocketAddr> {
        ALL.map(|text| text.parse().expect("a literal")).to_vec()
    }

    #[test]
    fn what_goes_in_comes_out() {
        for address in all() {
            let endpoint = Endpoint::new(address);
            assert_eq!(endpoint.socket(), address);
            assert_eq!((endpoint.ip(), endpoint.port()), (address.ip(), address.port()));
            assert_eq!(endpoint.family(), Family::of(address.ip()));
        }
    }

    #[test]
    fn those_that_differ_are_not_equal_hash_otherwise_and_stand_in_order() {
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        let addresses = all();
        for (left, one) in addresses.iter().enumerate() {
            for (right, other) in addresses.iter().enumerate() {
                let pair = [*one, *other].map(Endpoint::new);
                assert_eq!(pair[0].cmp(&pair[1]), one.cmp(other), "{one} {other}");
                assert_eq!(pair[0] == pair[1], left == right, "{one} {other}");
                assert_eq!(
                    hasher.hash_one(pair[0]) == hasher.hash_one(pair[1]),
                    left == right,
                    "{one} {other}"
                );
            }
        }
    }

    #[test]
    fn one_takes_24_bytes() {
        assert_eq!(size_of::<Endpoint>(), 24);
        assert_eq!(size_of::<Option<Endpoint>>(), 24);
    }
}
