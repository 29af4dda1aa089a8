//! The built-in deny list: what the IANA special-purpose address registries (RFC 6890 and its updates) call not
//! globally reachable, and the hosts at which clouds tell machines their secrets.
//!
//! Two departures from the registries, both to the safe side. Anycast addresses of services of the nearest
//! network (192.0.0.9, 192.0.0.10, 2001:1::1 to 2001:1::3: PCP, TURN, SRP) are called globally reachable there,
//! but lead into the operator's own network. Teredo and 6to4, which are neither reachable nor not, are denied whole:
//! a relay that sends into a tunnel can be made to send to itself (RFC 8656 § 21.4).

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

/// One line of the list.
#[derive(Debug)]
pub(super) struct Builtin {
    /// The address that the prefix begins with.
    pub(super) network: IpAddr,
    /// How many leading bits count.
    pub(super) prefix_len: u8,
    /// What the line says. A more specific line wins.
    pub(super) kind: Kind,
    /// What the prefix is, and who says so.
    pub(super) why: &'static str,
}

/// What a line of the list says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Denied, also where the operator wants nothing but what rules allow: a wide `allow` never means these.
    Hard,
    /// Denied where all public addresses are allowed.
    Soft,
    /// Reachable, though within a denied prefix.
    Reachable,
}

/// The list, in the order of the registries.
pub(super) const BUILTINS: &[Builtin] = &[
    v4([0, 0, 0, 0], 8, Kind::Hard, "this network, RFC 791"),
    v4([10, 0, 0, 0], 8, Kind::Soft, "private, RFC 1918"),
    v4([100, 64, 0, 0], 10, Kind::Soft, "shared address space, RFC 6598"),
    v4([100, 100, 100, 200], 32, Kind::Hard, "metadata of Alibaba Cloud"),
    v4([127, 0, 0, 0], 8, Kind::Hard, "loopback, RFC 1122"),
    v4([168, 63, 129, 16], 32, Kind::Hard, "metadata of Azure"),
    v4([169, 254, 0, 0], 16, Kind::Hard, "link-local and cloud metadata, RFC 3927"),
    v4([172, 16, 0, 0], 12, Kind::Soft, "private, RFC 1918"),
    v4([192, 0, 0, 0], 24, Kind::Soft, "IETF protocol assignments, RFC 6890"),
    v4([192, 0, 2, 0], 24, Kind::Soft, "documentation, RFC 5737"),
    v4([192, 88, 99, 0], 24, Kind::Soft, "6to4 relay anycast, RFC 7526"),
    v4([192, 168, 0, 0], 16, Kind::Soft, "private, RFC 1918"),
    v4([198, 18, 0, 0], 15, Kind::Soft, "benchmarking, RFC 2544"),
    v4([198, 51, 100, 0], 24, Kind::Soft, "documentation, RFC 5737"),
    v4([203, 0, 113, 0], 24, Kind::Soft, "documentation, RFC 5737"),
    v4([224, 0, 0, 0], 4, Kind::Hard, "multicast, RFC 5771"),
    v4([240, 0, 0, 0], 4, Kind::Soft, "reserved, RFC 1112"),
    v4([255, 255, 255, 255], 32, Kind::Hard, "limited broadcast, RFC 919"),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, Kind::Hard, "unspecified, RFC 4291"),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, Kind::Hard, "loopback, RFC 4291"),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 96, Kind::Soft, "IPv4-compatible, RFC 4291"),
    v6([0, 0, 0, 0, 0, 0xFFFF, 0, 0], 96, Kind::Soft, "IPv4-mapped, RFC 4291"),
    v6([0x64, 0xFF9B, 1, 0, 0, 0, 0, 0], 48, Kind::Soft, "local-use NAT64, RFC 8215"),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, Kind::Soft, "discard-only, RFC 6666"),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, Kind::Soft, "dummy prefix, RFC 9780"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, Kind::Soft, "IETF protocol assignments, RFC 2928"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, Kind::Hard, "Teredo, RFC 8656 § 21.4"),
    v6([0x2001, 3, 0, 0, 0, 0, 0, 0], 32, Kind::Reachable, "AMT, RFC 7450"),
    v6([0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48, Kind::Reachable, "AS112, RFC 7535"),
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, Kind::Reachable, "ORCHIDv2, RFC 7343"),
    v6([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28, Kind::Reachable, "drone remote ID, RFC 9374"),
    v6([0x2001, 0xDB8, 0, 0, 0, 0, 0, 0], 32, Kind::Soft, "documentation, RFC 3849"),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, Kind::Hard, "6to4, RFC 8656 § 21.4"),
    v6([0x3FFF, 0, 0, 0, 0, 0, 0, 0], 20, Kind::Soft, "documentation, RFC 9637"),
    v6([0x5F00, 0, 0, 0, 0, 0, 0, 0], 16, Kind::Soft, "segment routing SIDs, RFC 9602"),
    v6([0xFC00, 0, 0, 0, 0, 0, 0, 0], 7, Kind::Soft, "unique local, RFC 4193"),
    v6([0xFD00, 0xEC2, 0, 0, 0, 0, 0, 0x254], 128, Kind::Hard, "metadata of AWS"),
    v6([0xFD20, 0xCE, 0, 0, 0, 0, 0, 0x254], 128, Kind::Hard, "metadata of Google Cloud"),
    v6([0xFE80, 0, 0, 0, 0, 0, 0, 0], 10, Kind::Hard, "link-local, RFC 4291"),
    v6([0xFEC0, 0, 0, 0, 0, 0, 0, 0], 10, Kind::Soft, "site-local, RFC 3879"),
    v6([0xFF00, 0, 0, 0, 0, 0, 0, 0], 8, Kind::Hard, "multicast, RFC 4291"),
];

const fn v4(octets: [u8; 4], prefix_len: u8, kind: Kind, why: &'static str) -> Builtin {
    let [a, b, c, d] = octets;
    Builtin { network: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix_len, kind, why }
}

const fn v6(segments: [u16; 8], prefix_len: u8, kind: Kind, why: &'static str) -> Builtin {
    let [a, b, c, d, e, f, g, h] = segments;
    Builtin { network: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), prefix_len, kind, why }
}

#[cfg(test)]
mod tests {
    use crate::proto::peers::Rule;

    use super::*;

    #[test]
    fn each_line_is_a_rule_and_none_stands_twice() {
        let mut seen = Vec::new();
        for line in BUILTINS {
            let text = format!("{}/{}", line.network, line.prefix_len);
            // The rule's reader refuses bits behind the prefix.
            text.parse::<Rule>().expect("a prefix");
            assert!(!line.why.is_empty());
            assert!(!seen.contains(&text), "{text}");
            seen.push(text);
        }
    }
}
