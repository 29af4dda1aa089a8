//! The first step for a connection from a trusted proxy: whose it is.

use std::net::IpAddr;

use crate::proto::types::limits;
use crate::proto::wire::Verdict;
use crate::proto::wire::proxy::Ends;
use crate::proto::wire::proxy::Look;
use crate::proto::wire::proxy::Version;
use crate::proto::wire::proxy::look;

use super::accept::Hall;
use super::judge::more;
use super::judge::within;
use super::stats::Layer;
use super::stats::TurnedAway;
use super::visitor::Visitor;

/// Whether `ip` lies in one of `networks`, which are addresses with the length of their prefix.
pub(super) fn is_trusted(networks: &[(IpAddr, u8)], ip: IpAddr) -> bool {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let (own, own_len) = bits(ip);
    networks.iter().any(|(network, prefix_len)| {
        let (network, len) = bits(*network);
        let host_bits = 128 - u32::from(*prefix_len);
        len == own_len && (own ^ network).checked_shr(host_bits).unwrap_or(0) == 0
    })
}

/// Reads the header, and puts into `ends` what it says of them. What stands behind it stays unread.
pub(super) async fn introduce(hall: &Hall, visitor: &mut Visitor, ends: &mut Ends) -> Result<(), TurnedAway> {
    let wait = hall.config.deadlines.proxy_header;
    let header = within(wait, TurnedAway::ProxyDeadline, async {
        loop {
            match look(&visitor.unread) {
                Look::Whole(header) => return Ok(header),
                Look::More => more(visitor, limits::PROXY_HEADER_MAX - visitor.unread.len()).await?,
                Look::Broken => return Err(TurnedAway::ProxyHeader),
            }
        }
    });
    let header = header.await?;
    visitor.unread.drain(..header.len);
    if let Some(said) = header.ends {
        *ends = said;
    }
    let verdict = match header.version {
        Version::One => Verdict::ProxyV1,
        Version::Two => Verdict::ProxyV2,
    };
    hall.stats.count_verdict(Layer::Outer, verdict);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("a literal")
    }

    #[test]
    fn a_network_holds_its_own_addresses_and_no_others() {
        let networks = [(ip("10.1.0.0"), 16), (ip("192.0.2.7"), 32), (ip("2001:db8:1::"), 48)];
        for inside in ["10.1.0.0", "10.1.255.255", "192.0.2.7", "2001:db8:1::1", "2001:db8:1:ffff::"] {
            assert!(is_trusted(&networks, ip(inside)), "{inside}");
        }
        for outside in ["10.0.255.255", "10.2.0.0", "192.0.2.6", "192.0.2.8", "2001:db8:2::", "a01::", "::"] {
            assert!(!is_trusted(&networks, ip(outside)), "{outside}");
        }
        assert!(!is_trusted(&[], ip("127.0.0.1")));
        assert!(is_trusted(&[(ip("0.0.0.0"), 0)], ip("203.0.113.1")));
        assert!(!is_trusted(&[(ip("0.0.0.0"), 0)], ip("2001:db8::1")), "of the other family");
        assert!(is_trusted(&[(ip("::"), 0)], ip("2001:db8::1")));
    }
}
