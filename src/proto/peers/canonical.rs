//! IPv4 addresses inside IPv6 addresses.
//!
//! A relay that looks at the outer form alone is led to 127.0.0.1 by ::ffff:127.0.0.1, 2002:7f00:1:: or
//! 64:ff9b::7f00:1. Each form that a host, router or translator may turn back into IPv4 is undone here:
//!
//! | form | prefix | where the IPv4 address stands | defined by |
//! |---|---|---|---|
//! | mapped | ::ffff:0:0/96 | last 32 bits | RFC 4291 § 2.5.5.2 |
//! | translated | ::ffff:0:0:0/96 | last 32 bits | RFC 2765 § 2.1 |
//! | compatible | ::/96, less :: and ::1 | last 32 bits | RFC 4291 § 2.5.5.1 |
//! | 6to4 | 2002::/16 | bits 16–47 | RFC 3056 § 2 |
//! | Teredo | 2001::/32 | server: bits 32–63; client: last 32 bits, inverted | RFC 4380 § 4 |
//! | NAT64 | 64:ff9b::/96, and 64:ff9b:1::/48 as cut into /96 | last 32 bits | RFC 6052 § 2, RFC 8215 |
//! | ISATAP | any, with interface id \[0-3\]00:5efe:… | last 32 bits | RFC 5214 § 6.1 |

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

/// The IPv4 addresses that `ip` reaches when it is an IPv6 address that carries some: mapped, compatible, 6to4,
/// Teredo (server and client), NAT64, ISATAP. Empty for every other address.
#[must_use]
pub fn embedded_ipv4(ip: IpAddr) -> [Option<Ipv4Addr>; 2] {
    let IpAddr::V6(ip) = ip else { return [None, None] };
    let bits = ip.to_bits();
    if is_within(bits, TEREDO) {
        return [Some(low_32(bits >> 64)), Some(low_32(!bits))];
    }
    let by_prefix = if is_within(bits, SIX_TO_FOUR) {
        Some(low_32(bits >> 80))
    } else if ENDS_IN_IPV4.into_iter().any(|prefix| is_within(bits, prefix)) && bits > 1 {
        Some(low_32(bits))
    } else {
        None
    };
    [by_prefix, is_isatap(bits).then(|| low_32(bits))]
}

/// Whether `ip` is the end of a tunnel that anybody may send through: Teredo or 6to4. Who comes from there may be
/// anybody, and what goes there may come back (RFC 8656 § 21.4).
#[must_use]
pub fn is_tunnelled(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if [TEREDO, SIX_TO_FOUR].into_iter().any(|prefix| is_within(ip.to_bits(), prefix)))
}

fn is_within(bits: u128, (network, prefix_len): (Ipv6Addr, u32)) -> bool {
    (bits ^ network.to_bits()) >> (128 - prefix_len) == 0
}

/// The interface identifier is 0000:5efe or 0200:5efe and an IPv4 address; the group bit is left out of account.
fn is_isatap(bits: u128) -> bool {
    low_32(bits >> 32).to_bits() & !0x0300_0000 == 0x0000_5EFE
}

fn low_32(bits: u128) -> Ipv4Addr {
    let [.., a, b, c, d] = bits.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

const TEREDO: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32);
const SIX_TO_FOUR: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16);
const ENDS_IN_IPV4: [(Ipv6Addr, u32); 5] = [
    (Ipv6Addr::UNSPECIFIED, 96),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xFFFF, 0, 0), 96),
    (Ipv6Addr::new(0, 0, 0, 0, 0xFFFF, 0, 0, 0), 96),
    (Ipv6Addr::new(0x64, 0xFF9B, 0, 0, 0, 0, 0, 0), 96),
    (Ipv6Addr::new(0x64, 0xFF9B, 1, 0, 0, 0, 0, 0), 48),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn embedded(text: &str) -> [Option<String>; 2] {
        embedded_ipv4(text.parse().expect("an address")).map(|ip| ip.map(|ip| ip.to_string()))
    }

    fn one(text: &str) -> [Option<String>; 2] {
        [Some(text.to_owned()), None]
    }

    #[test]
    fn each_form_is_undone() {
        assert_eq!(embedded("::ffff:10.1.2.3"), one("10.1.2.3"));
        assert_eq!(embedded("::ffff:0:10.1.2.3"), one("10.1.2.3"));
        assert_eq!(embedded("::10.1.2.3"), one("10.1.2.3"));
        assert_eq!(embedded("2002:a01:203::1"), one("10.1.2.3"));
        assert_eq!(embedded("2002:a01:203:9:8:7:6:5"), one("10.1.2.3"));
        assert_eq!(embedded("64:ff9b::10.1.2.3"), one("10.1.2.3"));
        assert_eq!(embedded("64:ff9b:1::10.1.2.3"), one("10.1.2.3"));
        assert_eq!(embedded("64:ff9b:1:ffff:ffff:ffff:10.1.2.3"), one("10.1.2.3"));
        assert_eq!(embedded("fe80::5efe:10.1.2.3"), [None, Some("10.1.2.3".to_owned())]);
        assert_eq!(embedded("2600::200:5efe:10.1.2.3"), [None, Some("10.1.2.3".to_owned())]);
    }

    #[test]
    fn teredo_carries_its_server_and_its_client_inverted() {
        // The example of RFC 4380: server 65.54.227.120, client 192.0.2.45, port 40000.
        let both = [Some("65.54.227.120".to_owned()), Some("192.0.2.45".to_owned())];
        assert_eq!(embedded("2001:0:4136:e378:8000:63bf:3fff:fdd2"), both);
    }

    #[test]
    fn teredo_and_6to4_are_tunnels_and_their_neighbours_are_none() {
        for (text, expected) in [
            ("2001::", true),
            ("2001:0:ffff:ffff:ffff:ffff:ffff:ffff", true),
            ("2001:1::", false),
            ("2002::", true),
            ("2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true),
            ("2003::", false),
            ("::ffff:32.1.0.0", false),
            ("32.1.0.0", false),
        ] {
            assert_eq!(is_tunnelled(text.parse().expect("an address")), expected, "{text}");
        }
    }

    #[test]
    fn isatap_within_6to4_carries_two() {
        let both = [Some("8.8.8.8".to_owned()), Some("10.1.2.3".to_owned())];
        assert_eq!(embedded("2002:808:808::5efe:10.1.2.3"), both);
    }

    #[test]
    fn other_addresses_carry_none() {
        for text in
            ["::", "::1", "2001:db8::1", "2600::1", "2001:1::7f00:1", "2003::1", "64:ff9b:2::1", "10.0.0.1"]
        {
            assert_eq!(embedded(text), [None, None], "{text}");
        }
        assert_eq!(embedded("::2"), one("0.0.0.2"), "only :: and ::1 are no compatible addresses");
    }

    proptest! {
        #[test]
        fn what_is_put_in_comes_out(v4: u32, rest: u128) {
            let v4 = Ipv4Addr::from_bits(v4);
            let low = u128::from(v4.to_bits());
            for (network, prefix_len) in ENDS_IN_IPV4 {
                let free = rest & !(u128::MAX << (128 - prefix_len)) & !0xFFFF_FFFF;
                let ip = Ipv6Addr::from_bits(network.to_bits() | free | low);
                prop_assume!(ip.to_bits() > 1);
                prop_assert!(embedded_ipv4(ip.into()).contains(&Some(v4)));
            }
            let six_to_four = Ipv6Addr::from_bits(0x2002 << 112 | low << 80 | rest >> 48);
            prop_assert!(embedded_ipv4(six_to_four.into()).contains(&Some(v4)));
        }
    }
}
