//! Packets of clients that speak [MS-TURN]: bare data to and from the active destination, and what control has a client's
//! Send carry. Everything else on the way is as in [`super::forward`].
//!
//! Over UDP the cookie tells control from data. On a stream the frame says it, and what the data looks like is nobody's
//! business.

use std::ops::Range;

use crate::proto::types::FiveTuple;
use crate::proto::types::IpHeader;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Tick;
use crate::proto::wire::TransactionId;
use crate::proto::wire::ms_turn::encode;
use crate::proto::wire::ms_turn::framing;
use crate::proto::wire::ms_turn::framing::FRAME_HEADER_LEN;
use crate::proto::wire::ms_turn::framing::StreamFrame;

use super::DropReason;
use super::FromClient;
use super::Table;
use super::allocation::Allocation;
use super::client::Client;
use super::forward::whole_frame;
use super::header;

/// Judges a whole frame of a client's stream. A request is the frame without its first [`FRAME_HEADER_LEN`] bytes.
pub fn from_stream<'a>(table: &Table, tick: Tick, from: &FiveTuple, frame: &'a [u8]) -> FromClient<'a> {
    let kind = frame.first_chunk().and_then(|header| StreamFrame::read(*header));
    let payload = frame.get(FRAME_HEADER_LEN..).unwrap_or_default();
    let judged = match (kind, table.of_client(from)) {
        (Some((StreamFrame::Control, _)), client) if framing::is_request(payload) => Ok(match client {
            Some(_) => FromClient::LiveRequest,
            None => FromClient::StrangerRequest,
        }),
        (Some((StreamFrame::Control, _)), _) => Err(DropReason::Unclassified),
        (Some((StreamFrame::Data, _)), None) => Err(DropReason::NoAllocation),
        (Some((StreamFrame::Data, _)), Some(client)) => {
            raw_to_peer(table, tick, client, IpHeader::default(), payload)
        }
        (None, _) => Err(DropReason::Malformed),
    };
    judged.unwrap_or_else(FromClient::Drop)
}

/// Whatever is no control message: STUN of the other dialect, ChannelData, DTLS, media.
pub(super) fn raw_to_peer<'a>(
    table: &Table,
    tick: Tick,
    client: Client<'_>,
    arrived: IpHeader,
    datagram: &'a [u8],
) -> Result<FromClient<'a>, DropReason> {
    client.live(tick)?;
    let peer = client.first.destination().ok_or(DropReason::NoDestination)?;
    if !client.first.takes_datagrams() {
        return bytes_to_peer(table, tick, client, peer, datagram);
    }
    let allocation = client.to(peer.family(), tick)?;
    allocation.admit(peer, tick)?;
    if !table.may_reach(peer) {
        return Err(DropReason::ForbiddenPeer);
    }
    let header = header::to_peer(arrived, allocation.five_tuple(), peer, false)?;
    allocation.charge(tick, datagram.len())?;
    allocation.count_to_peer(datagram.len());
    Ok(FromClient::ToPeer { relay: allocation.relay(), peer: table.way_to(peer), data: datagram, header })
}

/// Bytes for a connection. Whether there may be one was control's to say; they are counted when it takes them, and
/// wait where it does not.
fn bytes_to_peer<'a>(
    table: &Table,
    tick: Tick,
    client: Client<'_>,
    peer: PeerAddr,
    data: &'a [u8],
) -> Result<FromClient<'a>, DropReason> {
    let allocation = client.of(peer.family()).ok_or(DropReason::PeerFamily)?.live(tick)?;
    allocation.admit(peer, tick)?;
    let peer = table.bound_form(peer);
    Ok(FromClient::ToPeer { relay: allocation.relay(), peer, data, header: IpHeader::default() })
}

/// Frames bytes that came on a connection from `source` to the port of `relay`, and tells whose they are. They stand in
/// `buffer` as in [`super::forward::from_peer`]. None is dropped for want of bandwidth: see [`Table::may_carry`].
///
/// # Errors
/// Why they may not reach the client.
pub fn from_connection(
    table: &Table,
    tick: Tick,
    relay: RelayId,
    source: PeerAddr,
    buffer: &mut [u8],
    payload: Range<usize>,
) -> Result<(FiveTuple, Range<usize>), DropReason> {
    let allocation = table.of_relay(relay).ok_or(DropReason::StaleRelay)?.live(tick)?;
    let peer = table.external_form(source);
    allocation.admit(peer, tick)?;
    let framed = frame(allocation, table.fresh_transaction(), peer, buffer, payload);
    Ok((*allocation.five_tuple(), framed.ok_or(DropReason::TooLarge)?))
}

/// Judges the data of a Send request that control found good, `len` bytes from `relay` to `peer`; answers where it goes.
///
/// # Errors
/// Why it goes nowhere. The client is not told ([MS-TURN] § 2.2.1).
pub fn sent_to_peer(
    table: &Table,
    tick: Tick,
    relay: RelayId,
    peer: PeerAddr,
    len: usize,
) -> Result<PeerAddr, DropReason> {
    let allocation = table.of_relay(relay).ok_or(DropReason::StaleRelay)?.live(tick)?;
    allocation.admit(peer, tick)?;
    if !allocation.takes_datagrams() {
        return Ok(table.bound_form(peer));
    }
    if !table.may_reach(peer) {
        return Err(DropReason::ForbiddenPeer);
    }
    allocation.charge(tick, len)?;
    allocation.count_to_peer(len);
    Ok(table.way_to(peer))
}

/// Frames what came from `peer`: not at all, if it is the active destination; else as a Data Indication. On a stream four
/// bytes more stand in front of either.
pub(super) fn frame(
    allocation: &Allocation,
    transaction: TransactionId,
    peer: PeerAddr,
    buffer: &mut [u8],
    payload: Range<usize>,
) -> Option<Range<usize>> {
    let (kind, message) = if allocation.destination() == Some(peer) {
        (StreamFrame::Data, payload)
    } else {
        let len = u16::try_from(buffer.get(payload.clone())?.len()).ok()?;
        let headroom = buffer.get_mut(..payload.start)?;
        let header = encode::write_data_header(headroom, transaction, peer, len).ok()?;
        (StreamFrame::Control, payload.start.checked_sub(header)?..payload.end)
    };
    let message = whole_frame(message, buffer)?;
    if !allocation.five_tuple().transport.is_stream() {
        return Some(message);
    }
    let header = kind.header(u16::try_from(message.len()).ok()?);
    let start = message.start.checked_sub(header.len())?;
    buffer.get_mut(start..message.start)?.copy_from_slice(&header);
    Some(start..message.end)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use crate::proto::media::Bandwidth;
    use crate::proto::media::Bucket;
    use crate::proto::media::ExternalAddresses;
    use crate::proto::media::FromPeer;
    use crate::proto::media::TableChange;
    use crate::proto::media::TableConfig;
    use crate::proto::media::fixture::*;
    use crate::proto::media::forward::from_client;
    use crate::proto::media::forward::from_peer;
    use crate::proto::peers::PolicyBuilder;
    use crate::proto::types::Rate;
    use crate::proto::types::Transport;
    use crate::proto::types::limits::DATAGRAM_MAX;
    use crate::proto::wire::DATA_HEADER_MAX;

    use super::*;

    const RELAY: RelayId = RelayId { index: 3, generation: 7 };
    const CLIENT: u16 = 1_004;
    const DESTINATION: &str = "203.0.113.2:2000";

    /// An allocation until 1000 ms, with permissions until 800 and an active destination.
    fn world() -> Table {
        let mut table = table(false);
        for change in [
            insert_legacy(RELAY, client(CLIENT), "198.51.100.1:50000", 1_000),
            permit(RELAY, "203.0.113.2", 800),
            permit(RELAY, "203.0.113.66", 800),
            TableChange::Destination { relay: RELAY, peer: peer(DESTINATION) },
        ] {
            table.apply(change);
        }
        table
    }

    fn control(kind: u16) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &[0, 8], &[7; 16], &framing::COOKIE].concat()
    }

    fn ask(table: &Table, millis: u64, datagram: &[u8]) -> Result<(PeerAddr, Vec<u8>), DropReason> {
        match from_client(table, at(millis), &client(CLIENT), IpHeader::default(), datagram) {
            FromClient::ToPeer { relay, peer, data, .. } => {
                assert_eq!(relay, RELAY);
                Ok((peer, data.to_vec()))
            }
            FromClient::Drop(reason) => Err(reason),
            other => panic!("{other:?}"),
        }
    }

    /// Whom it reaches and in which bytes.
    fn come(table: &Table, millis: u64, from: &str, data: &[u8]) -> Result<Vec<u8>, DropReason> {
        let payload = DATA_HEADER_MAX..DATA_HEADER_MAX + data.len();
        let mut buffer = vec![STALE; payload.end];
        buffer[payload.clone()].copy_from_slice(data);
        let header = IpHeader::default();
        match from_peer(table, at(millis), RELAY, peer(from), header, &mut buffer, payload) {
            FromPeer::ToClient { to, frame, .. } => {
                assert_eq!(to, client(CLIENT));
                Ok(buffer[frame].to_vec())
            }
            FromPeer::Drop(reason) => Err(reason),
        }
    }

    // proves ms_turn:6.5-5, ms_turn:6.6-1
    #[test]
    fn every_kind_of_foreign_packet_passes_unchanged_both_ways() {
        let stun_request = stun(0x0001, TRANSACTION, b"");
        let stun_answer = stun(0x0101, TRANSACTION, b"");
        let packets: [&[u8]; 11] = [
            &stun_request,
            &stun_answer,
            &control(0x0103),
            &control(0x0115),
            &[0x16, 0xFE, 0xFD, 0, 0],
            &[0x40, 0x00, 0x00, 0x01, 9],
            &[0x80, 0x60, 0, 1],
            &[0xC0, 0, 0, 0, 1],
            &[0xFF, 0x10, 0, 8],
            &[0x00],
            &[],
        ];
        let table = world();
        for packet in packets {
            assert_eq!(ask(&table, 0, packet), Ok((peer(DESTINATION), packet.to_vec())));
            assert_eq!(come(&table, 0, DESTINATION, packet), Ok(packet.to_vec()));
        }
    }

    // proves ms_turn:6.6-1
    #[test]
    fn requests_of_the_dialect_are_control_s_whatever_else_they_say() {
        for kind in [0x0003, 0x0004, 0x0006] {
            let long = [control(kind), vec![0xEE; 100]].concat();
            for datagram in [control(kind), long] {
                for (port, expected) in [(CLIENT, FromClient::LiveRequest), (9, FromClient::StrangerRequest)]
                {
                    let judged = from_client(&world(), at(0), &client(port), IpHeader::default(), &datagram);
                    assert_eq!(judged, expected, "{kind:#06x}");
                }
            }
        }
    }

    // proves ms_turn:6.4-1, ms_turn:6.4-2, ms_turn:6.5-6
    #[test]
    fn another_permitted_peer_reaches_the_client_with_its_name() {
        let expected = [
            &[0x01, 0x15, 0, 8 + 12 + 4 + 2][..],
            &framing::COOKIE,
            &[0x00, 0x12, 0, 8, 0, 1, 0x07, 0xD1, 203, 0, 113, 2],
            &[0x00, 0x13, 0, 2],
            b"hi",
        ]
        .concat();
        let got = come(&world(), 0, "203.0.113.2:2001", b"hi").unwrap();
        assert_eq!([&got[..4], &got[20..]].concat(), expected, "a port of its own makes it another peer");
        assert_ne!(got[8..20], [0; 12], "the transaction id is drawn");
        assert_eq!(come(&world(), 0, "203.0.113.3:2000", b"hi"), Err(DropReason::NoPermission));
    }

    // proves ms_turn:6.6-2
    #[test]
    fn bare_data_needs_a_destination_that_may_be_reached() {
        let mut table = table(false);
        table.apply(insert_legacy(RELAY, client(CLIENT), "198.51.100.1:50000", 1_000));
        assert_eq!(ask(&table, 0, b"hi"), Err(DropReason::NoDestination));
        let set =
            |table: &mut Table, to| table.apply(TableChange::Destination { relay: RELAY, peer: peer(to) });
        set(&mut table, DESTINATION);
        assert_eq!(ask(&table, 0, b"hi"), Err(DropReason::NoPermission));
        table.apply(permit(RELAY, "203.0.113.2", 800));
        assert_eq!(ask(&table, 799, b"hi"), Ok((peer(DESTINATION), b"hi".to_vec())));
        assert_eq!(ask(&table, 800, b"hi"), Err(DropReason::PermissionExpired));
        assert_eq!(ask(&table, 1_000, b"hi"), Err(DropReason::AllocationExpired));
        table.apply(permit(RELAY, "203.0.113.66", 800));
        set(&mut table, "203.0.113.66:53");
        assert_eq!(ask(&table, 0, b"hi"), Err(DropReason::ForbiddenPeer), "the port is judged too");
        set(&mut table, "[2001:db8:1::1]:9");
        assert_eq!(ask(&table, 0, b"hi"), Err(DropReason::PeerFamily));
        table.apply(TableChange::Destination { relay: relay(3, 6), peer: peer(DESTINATION) });
        assert_eq!(ask(&table, 0, b"hi"), Err(DropReason::PeerFamily), "another generation changes nothing");
    }

    #[test]
    fn what_a_send_carries_is_judged_like_all_else_and_counted() {
        let table = world();
        let sent = |millis, to| sent_to_peer(&table, at(millis), RELAY, peer(to), 5);
        assert_eq!(sent(799, "203.0.113.2:9"), Ok(peer("203.0.113.2:9")));
        assert_eq!(sent(0, "203.0.113.66:53"), Err(DropReason::ForbiddenPeer));
        assert_eq!(sent(0, "203.0.113.9:9"), Err(DropReason::NoPermission));
        assert_eq!(sent(800, "203.0.113.2:9"), Err(DropReason::PermissionExpired));
        assert_eq!(sent(1_000, "203.0.113.2:9"), Err(DropReason::AllocationExpired));
        let stale = sent_to_peer(&table, at(0), relay(3, 8), peer(DESTINATION), 5);
        assert_eq!(stale, Err(DropReason::StaleRelay));
        let counters = table.counters(RELAY).unwrap();
        assert_eq!((counters.to_peer_packets, counters.to_peer_bytes), (1, 5));
    }

    #[test]
    fn the_largest_datagram_passes_bare_and_none_outgrows_a_datagram() {
        let largest = vec![9; DATAGRAM_MAX];
        assert_eq!(come(&world(), 0, DESTINATION, &largest), Ok(largest.clone()));
        assert_eq!(come(&world(), 0, "203.0.113.2:2001", &largest), Err(DropReason::TooLarge));
        let fits = vec![9; DATAGRAM_MAX - 44];
        assert_eq!(come(&world(), 0, "203.0.113.2:2001", &fits).unwrap().len(), DATAGRAM_MAX);
        assert_eq!(
            come(&world(), 0, "203.0.113.2:2001", &[&fits[..], &[9]].concat()),
            Err(DropReason::TooLarge)
        );
    }

    #[test]
    fn bare_data_is_counted_and_held_to_the_bandwidth_and_so_is_what_a_send_carries() {
        let rate = Rate::new(200_000, Duration::from_secs(1)).unwrap();
        let data = [7; 972];
        for by_send in [false, true] {
            let mut table = table(false);
            let TableChange::Insert(mut new) =
                insert_legacy(RELAY, client(CLIENT), "198.51.100.1:50000", 1_000)
            else {
                unreachable!("insert makes an Insert")
            };
            new.bandwidth = Bandwidth { allocation: Some(Bucket::new(rate)), user: None };
            table.apply(TableChange::Insert(new));
            table.apply(permit(RELAY, "203.0.113.2", 800));
            table.apply(TableChange::Destination { relay: RELAY, peer: peer(DESTINATION) });
            let send = |table: &Table| match by_send {
                true => sent_to_peer(table, at(0), RELAY, peer(DESTINATION), data.len()).map(|_| ()),
                false => ask(table, 0, &data).map(|_| ()),
            };
            let passed = (0..100).take_while(|_| send(&table).is_ok()).count();
            assert_eq!(passed, 25, "25,000 bytes with their headers");
            assert_eq!(send(&table), Err(DropReason::AllocationBandwidth));
            let counters = table.counters(RELAY).unwrap();
            assert_eq!((counters.to_peer_packets, counters.to_peer_bytes), (25, 25 * 972));
        }
    }

    #[test]
    fn an_own_relay_behind_a_nat_is_reached_as_it_is_bound_and_known_as_it_is_named() {
        let pair = ("10.0.0.5".parse().unwrap(), "198.51.100.1".parse().unwrap());
        let policy =
            PolicyBuilder { own: vec![pair.0, pair.1], relay: vec![pair.1], ..PolicyBuilder::default() };
        let mut table = Table::new(TableConfig {
            policy: Arc::new(policy.build()),
            strict_permissions: false,
            hash_seeds: [1, 2, 3, 4],
            external: ExternalAddresses::new([pair]),
        });
        let other = "198.51.100.1:50001";
        for change in [
            insert_legacy(RELAY, client(CLIENT), "198.51.100.1:50000", 1_000),
            TableChange::OwnRelay { address: socket(other), live: true },
            permit(RELAY, "198.51.100.1", 800),
            TableChange::Destination { relay: RELAY, peer: peer(other) },
        ] {
            table.apply(change);
        }
        let bound = peer("10.0.0.5:50001");
        assert_eq!(ask(&table, 0, b"hi"), Ok((bound, b"hi".to_vec())));
        assert_eq!(sent_to_peer(&table, at(0), RELAY, peer(other), 2), Ok(bound));
        assert_eq!(come(&table, 0, "10.0.0.5:50001", b"hi"), Ok(b"hi".to_vec()), "the destination itself");
        assert_eq!(sent_to_peer(&table, at(0), RELAY, bound, 2), Err(DropReason::NoPermission));
    }

    #[test]
    fn where_a_client_has_too_little_room_in_front_nothing_is_written() {
        for room in 0..44 {
            let mut buffer = vec![STALE; room + 2];
            let payload = room..room + 2;
            let header = IpHeader::default();
            let from = peer("203.0.113.2:2001");
            let verdict = from_peer(&world(), at(0), RELAY, from, header, &mut buffer, payload);
            assert_eq!(verdict, FromPeer::Drop(DropReason::TooLarge));
            assert_eq!(buffer, vec![STALE; room + 2]);
        }
    }

    /// The same allocation, of a client over TCP.
    fn over_tcp() -> (Table, FiveTuple) {
        let from = FiveTuple { transport: Transport::Tcp, ..client(CLIENT) };
        let mut table = table(false);
        for change in [
            insert_legacy(RELAY, from, "198.51.100.1:50000", 1_000),
            permit(RELAY, "203.0.113.2", 800),
            TableChange::Destination { relay: RELAY, peer: peer(DESTINATION) },
        ] {
            table.apply(change);
        }
        (table, from)
    }

    fn framed(kind: u8, payload: &[u8]) -> Vec<u8> {
        [&[kind, 0][..], &u16::try_from(payload.len()).unwrap().to_be_bytes(), payload].concat()
    }

    // proves ms_turn:2-3
    #[test]
    fn on_a_stream_the_frame_tells_data_from_control() {
        let (table, from) = over_tcp();
        let stranger = FiveTuple { transport: Transport::Tcp, ..client(9) };
        for kind in [0x0003, 0x0004, 0x0006] {
            let message = control(kind);
            let frame = framed(2, &message);
            assert_eq!(from_stream(&table, at(0), &from, &frame), FromClient::LiveRequest);
            assert_eq!(from_stream(&table, at(0), &stranger, &frame), FromClient::StrangerRequest);
            let header = IpHeader::default();
            let expected =
                FromClient::ToPeer { relay: RELAY, peer: peer(DESTINATION), data: &message, header };
            assert_eq!(from_stream(&table, at(0), &from, &framed(3, &message)), expected, "it is data");
        }
        for kind in [0x0001, 0x0002, 0x0102, 0x0103, 0x0112, 0x0115] {
            let frame = framed(2, &control(kind));
            let verdict = from_stream(&table, at(0), &from, &frame);
            assert_eq!(verdict, FromClient::Drop(DropReason::Unclassified), "{kind:#06x}");
        }
        let data = framed(3, b"hi");
        let verdict = from_stream(&table, at(0), &stranger, &data);
        assert_eq!(verdict, FromClient::Drop(DropReason::NoAllocation));
        for broken in [&[][..], &[3, 0, 0], &[4, 0, 0, 0]] {
            let verdict = from_stream(&table, at(0), &from, broken);
            assert_eq!(verdict, FromClient::Drop(DropReason::Malformed));
        }
        let verdict = from_stream(&table, at(1_000), &from, &data);
        assert_eq!(verdict, FromClient::Drop(DropReason::AllocationExpired));
    }

    #[test]
    fn a_stream_of_the_other_dialect_stays_so_whatever_cookie_comes_on_it() {
        let from = FiveTuple { transport: Transport::Tcp, ..client(9) };
        let mut disguised = control(0x0003);
        disguised[4..8].copy_from_slice(&[0x21, 0x12, 0xA4, 0x42]);
        let judged = from_client(&world(), at(0), &from, IpHeader::default(), &disguised);
        assert_eq!(judged, FromClient::Drop(DropReason::Malformed));
        let judged = from_client(&world(), at(0), &client(9), IpHeader::default(), &disguised);
        assert_eq!(judged, FromClient::StrangerRequest, "over UDP each datagram speaks for itself");
    }

    // proves ms_turn:2-3
    #[test]
    fn on_a_stream_each_packet_to_the_client_has_a_frame_around_it() {
        let (table, _) = over_tcp();
        let come = |from: &str, data: &[u8]| {
            let payload = DATA_HEADER_MAX..DATA_HEADER_MAX + data.len();
            let mut buffer = vec![STALE; payload.end];
            buffer[payload.clone()].copy_from_slice(data);
            match from_peer(&table, at(0), RELAY, peer(from), IpHeader::default(), &mut buffer, payload) {
                FromPeer::ToClient { frame, .. } => Ok(buffer[frame].to_vec()),
                FromPeer::Drop(reason) => Err(reason),
            }
        };
        for data in [&b"hi"[..], b"", &control(0x0103), &stun(0x0101, TRANSACTION, b"")] {
            assert_eq!(come(DESTINATION, data), Ok(framed(3, data)));
            let indication = come("203.0.113.2:2001", data).unwrap();
            let message = &indication[4..];
            assert_eq!(indication, framed(2, message));
            assert_eq!(message[..2], [0x01, 0x15]);
            assert!(message.ends_with(data) && message.len() == 44 + data.len());
        }
        let largest = vec![9; DATAGRAM_MAX];
        assert_eq!(come(DESTINATION, &largest), Ok(framed(3, &largest)));
        assert_eq!(come("203.0.113.2:2001", &largest), Err(DropReason::TooLarge));
    }

    #[test]
    fn the_longest_header_of_a_stream_fits_the_room_that_packets_have() {
        let from = FiveTuple { transport: Transport::Tls, ..client(CLIENT) };
        let mut table = table(false);
        table.apply(insert_legacy(RELAY, from, "[2001:db8:ffff::1]:50000", 1_000));
        table.apply(permit(RELAY, "2001:db8:1::1", 800));
        let mut buffer = vec![STALE; DATA_HEADER_MAX + 2];
        let payload = DATA_HEADER_MAX..DATA_HEADER_MAX + 2;
        let header = IpHeader::default();
        let from = peer("[2001:db8:1::1]:9");
        let verdict = from_peer(&table, at(0), RELAY, from, header, &mut buffer, payload);
        assert!(matches!(verdict, FromPeer::ToClient { frame, .. } if frame == (0..DATA_HEADER_MAX + 2)));
        assert_eq!(buffer[..6], [2, 0, 0, 58, 0x01, 0x15]);
    }
}
