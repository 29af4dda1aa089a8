//! What becomes of the IP header's fields when a datagram is passed on (RFC 8656 §§ 13 and 14).
//!
//! | field | becomes |
//! |---|---|
//! | TTL, Hop Limit | one less; what would leave with 0 does not leave, so no loop of relays lasts |
//! | DSCP, ECN | as they came |
//! | DF | from IPv4 to IPv4 alone: as it came, or set where DONT-FRAGMENT asks for it |
//!
//! The same in all four combinations of families, as § 13 takes the rules of a translating router from RFC 7915 §§ 4
//! and 5. Between all families but IPv4 and IPv4, DONT-FRAGMENT is ignored, as § 13 demands.

use crate::proto::types::Family;
use crate::proto::types::FiveTuple;
use crate::proto::types::IpHeader;
use crate::proto::types::PeerAddr;

use super::DropReason;

/// For application data on its way to `peer`; `whole` says that it came with DONT-FRAGMENT.
pub(super) fn to_peer(
    arrived: IpHeader,
    from: &FiveTuple,
    peer: PeerAddr,
    whole: bool,
) -> Result<IpHeader, DropReason> {
    onward(arrived, (from.client.family(), peer.family()), whole)
}

/// For application data on its way to a client.
pub(super) fn to_client(arrived: IpHeader, peer: PeerAddr, to: &FiveTuple) -> Result<IpHeader, DropReason> {
    // A stream has no header of its own for each message: the journey of the datagram ends here (RFC 8656 § 16).
    if to.transport.is_stream() {
        return Ok(IpHeader::default());
    }
    onward(arrived, (peer.family(), to.client.family()), false)
}

fn onward(arrived: IpHeader, families: (Family, Family), whole: bool) -> Result<IpHeader, DropReason> {
    let hop_limit = match arrived.hop_limit {
        Some(0 | 1) => return Err(DropReason::HopLimit),
        left => left.map(|left| left - 1),
    };
    let dont_fragment = families == (Family::V4, Family::V4) && (whole || arrived.dont_fragment);
    Ok(IpHeader { hop_limit, traffic_class: arrived.traffic_class, dont_fragment })
}

#[cfg(test)]
mod tests {
    use crate::proto::media::fixture::client;
    use crate::proto::media::fixture::peer;
    use crate::proto::types::ClientAddr;
    use crate::proto::types::Transport;

    use super::*;

    const V4: &str = "192.0.2.1:7";
    const V6: &str = "[2001:db8::1]:7";

    /// Both ways between a client and a peer: to the peer, to the client.
    fn both(
        of_client: &str,
        of_peer: &str,
        arrived: IpHeader,
        whole: bool,
    ) -> [Result<IpHeader, DropReason>; 2] {
        let client = FiveTuple { client: ClientAddr::new(of_client.parse().unwrap()), ..client(1) };
        [to_peer(arrived, &client, peer(of_peer), whole), to_client(arrived, peer(of_peer), &client)]
    }

    #[test]
    fn every_hop_limit_loses_one_and_none_leaves_as_0() {
        for (a, b) in [(V4, V4), (V4, V6), (V6, V4), (V6, V6)] {
            for hop_limit in 0..=u8::MAX {
                let arrived = IpHeader { hop_limit: Some(hop_limit), ..IpHeader::default() };
                let expected = match hop_limit {
                    0 | 1 => Err(DropReason::HopLimit),
                    _ => Ok(IpHeader { hop_limit: Some(hop_limit - 1), ..arrived }),
                };
                assert_eq!(both(a, b, arrived, false), [expected, expected]);
            }
            let unknown = IpHeader::default();
            assert_eq!(both(a, b, unknown, false), [Ok(unknown), Ok(unknown)]);
        }
    }

    #[test]
    fn what_goes_into_a_stream_has_arrived() {
        for transport in [Transport::Tcp, Transport::Tls] {
            let to = FiveTuple { transport, ..client(1) };
            let spent = IpHeader { hop_limit: Some(1), traffic_class: 46, dont_fragment: true };
            assert_eq!(to_client(spent, peer(V4), &to), Ok(IpHeader::default()));
            // What comes out of one begins its journey here, and may be asked to stay whole.
            let begun = IpHeader { dont_fragment: true, ..IpHeader::default() };
            assert_eq!(to_peer(IpHeader::default(), &to, peer(V4), true), Ok(begun));
        }
    }

    #[test]
    fn every_traffic_class_stays() {
        for (a, b) in [(V4, V4), (V4, V6), (V6, V4), (V6, V6)] {
            for traffic_class in 0..=u8::MAX {
                let arrived = IpHeader { traffic_class, ..IpHeader::default() };
                assert_eq!(both(a, b, arrived, false), [Ok(arrived), Ok(arrived)]);
            }
        }
    }

    #[test]
    fn only_ipv4_to_ipv4_heeds_dont_fragment_and_only_towards_the_peer_can_it_be_asked_for() {
        let free = IpHeader::default();
        let held = IpHeader { dont_fragment: true, ..free };
        assert_eq!(both(V4, V4, free, true), [Ok(held), Ok(free)]);
        assert_eq!(both(V4, V4, held, false), [Ok(held), Ok(held)]);
        for (a, b) in [(V4, V6), (V6, V4), (V6, V6)] {
            for arrived in [free, held] {
                assert_eq!(both(a, b, arrived, true), [Ok(free), Ok(free)]);
            }
        }
    }
}
