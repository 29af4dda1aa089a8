//! An ICMP error about a datagram that left a relay socket, told to the client (RFC 8656 § 11.5).

use crate::proto::types::Dialect;
use crate::proto::types::FiveTuple;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Tick;
use crate::proto::wire::Icmp;
use crate::proto::wire::icmp;

use super::Table;
use super::allocation::Allocation;

/// Judges `icmp`, which says what became of a datagram that left the relayed address of `relay` for `peer`: if the
/// client may hear of it, writes a Data indication into `out`, for which [`icmp::INDICATION_MAX`] bytes suffice, and
/// answers whom it is for and its length. Who sent the ICMP packet does not matter; `peer`'s address must be
/// permitted, whatever its port. All else is dropped in silence, as the standard says.
#[must_use]
pub fn icmp_to_client(
    table: &Table,
    tick: Tick,
    relay: RelayId,
    source: PeerAddr,
    icmp: Icmp,
    out: &mut [u8],
) -> Option<(FiveTuple, usize)> {
    // The error tells where the datagram went; the client knows the peer by its name.
    let peer = table.name_of(source);
    let icmp = icmp.for_client(peer.family())?;
    let allocation: &Allocation = table.of_relay(relay)?.live(tick).ok()?;
    // [MS-TURN] has no word for it.
    if allocation.dialect() == Dialect::MsTurn {
        return None;
    }
    allocation.admit(peer, tick).ok()?;
    let len = icmp::write_indication(out, table.fresh_transaction(), peer, icmp).ok()?;
    Some((*allocation.five_tuple(), len))
}

#[cfg(test)]
mod tests {
    use crate::proto::media::fixture::*;

    use super::*;

    const RELAY: RelayId = RelayId { index: 3, generation: 7 };
    const OVER_V6: RelayId = RelayId { index: 4, generation: 1 };
    const UNREACHABLE: Icmp = Icmp { kind: 3, code: 3, data: 0 };

    fn world() -> Table {
        let mut table = table(false);
        for change in [
            insert(RELAY, client(1), "198.51.100.1:50000", 1_000),
            permit(RELAY, "203.0.113.1", 500),
            bind(RELAY, 0x4000, "203.0.113.2:2000", 800),
            insert(OVER_V6, client(2), "[2001:db8:ffff::1]:50000", 1_000),
            permit(OVER_V6, "2001:db8:1::1", 500),
        ] {
            table.apply(change);
        }
        table
    }

    fn judge(millis: u64, relay: RelayId, to: &str, icmp: Icmp) -> Option<(FiveTuple, Vec<u8>)> {
        let mut out = [STALE; icmp::INDICATION_MAX];
        let (client, len) = icmp_to_client(&world(), at(millis), relay, peer(to), icmp, &mut out)?;
        Some((client, out[..len].to_vec()))
    }

    // proves rfc8656:11.5-3, rfc8656:11.5-4, rfc8656:11.5-6, rfc8656:12.5-2
    #[test]
    fn the_owner_of_the_relayed_address_hears_of_it_by_address_whatever_the_port() {
        for (to, icmp) in [("203.0.113.1:9", [3, 3]), ("203.0.113.1:65535", [11, 0])] {
            let [kind, code] = icmp;
            let (heard_by, message) = judge(499, RELAY, to, Icmp { kind, code, data: 7 }).unwrap();
            assert_eq!(heard_by, client(1));
            let transaction = message[8..20].try_into().unwrap();
            let value = [&[0, 0][..], &icmp, &[0; 4]].concat();
            let attributes = [xor_peer(transaction, peer(to)), attribute(0x8004, &value)].concat();
            assert_eq!(message, stun(0x0017, transaction, &attributes));
        }
        // A channel to one port permits the address, and does not carry what is no data.
        assert!(judge(799, RELAY, "203.0.113.2:2000", UNREACHABLE).is_some());
        let too_big = Icmp { kind: 2, code: 0, data: 1_280 };
        let (heard_by, message) = judge(0, OVER_V6, "[2001:db8:1::1]:9", too_big).unwrap();
        assert_eq!(heard_by, client(2));
        assert!(message.ends_with(&[0x80, 0x04, 0, 8, 0, 0, 2, 0, 0, 0, 5, 0]));
    }

    // proves rfc8656:11.5-2, rfc8656:11.5-4
    #[test]
    fn without_a_live_permission_or_allocation_nobody_hears_of_it() {
        let cases = [
            (0, RELAY, "203.0.113.77:9"),
            (500, RELAY, "203.0.113.1:9"),
            (800, RELAY, "203.0.113.2:2000"),
            (1_000, RELAY, "203.0.113.1:9"),
            (0, relay(3, 8), "203.0.113.1:9"),
            (0, relay(9, 0), "203.0.113.1:9"),
            (0, RELAY, "[2001:db8:1::1]:9"),
        ];
        for (millis, relay, to) in cases {
            let icmp = Icmp { kind: if to.starts_with('[') { 1 } else { 3 }, code: 3, data: 0 };
            assert_eq!(judge(millis, relay, to, icmp), None, "{to} at {millis}");
        }
    }

    // proves rfc8656:11.5-1
    #[test]
    fn other_types_than_the_standards_are_not_told() {
        for kind in 0..=u8::MAX {
            let icmp = Icmp { kind, code: 0, data: 0 };
            assert_eq!(judge(0, RELAY, "203.0.113.1:9", icmp).is_some(), [3, 11].contains(&kind), "{kind}");
            let over_v6 = judge(0, OVER_V6, "[2001:db8:1::1]:9", icmp);
            assert_eq!(over_v6.is_some(), [1, 2, 3].contains(&kind), "{kind}");
        }
    }

    #[test]
    fn too_little_room_is_no_panic() {
        for room in 0..44 {
            let told = icmp_to_client(
                &world(),
                at(0),
                RELAY,
                peer("203.0.113.1:9"),
                UNREACHABLE,
                &mut [0; 64][..room],
            );
            assert_eq!(told, None);
        }
    }
}
