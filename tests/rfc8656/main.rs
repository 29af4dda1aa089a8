//! The TURN half of the codec against stun-rs and turn-types: requests, answers, indications and ChannelData, written
//! by one side and read by the other.
//!
//! Known disagreements, which the tests at the end pin down:
//! - turn-types accepts channel numbers up to 0xFFFE; RFC 5766 ends at 0x7FFE, RFC 8656 at 0x4FFF.
//! - stun-rs and turn-types read further attributes of a Send indication that the server must understand and does not;
//!   we discard the indication (RFC 8656 § 11.5).
//! - stun-rs reads the ICMP attribute as its drawing has it, seven bits of type and nine of code; turn-types and we as
//!   ICMP does, an octet each.

use std::net::SocketAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use stun_rs::MessageDecoderBuilder;
use stun_rs::MessageEncoderBuilder;
use stun_rs::StunMessageBuilder;
use stun_rs::attributes::turn as rs;
use stun_types::message::Message;
use stun_types::message::MessageType;
use stun_types::message::MessageWriteVec;
use stun_types::prelude::*;
use swingbridge::proto::types::ChannelNumber;
use swingbridge::proto::types::Lifetime;
use swingbridge::proto::types::PeerAddr;
use swingbridge::proto::types::RelayAddr;
use swingbridge::proto::wire::Icmp;
use swingbridge::proto::wire::Malformed;
use swingbridge::proto::wire::Method;
use swingbridge::proto::wire::Outcome;
use swingbridge::proto::wire::Response;
use swingbridge::proto::wire::TransactionId;
use swingbridge::proto::wire::channel_data;
use swingbridge::proto::wire::icmp;
use swingbridge::proto::wire::indication;
use swingbridge::proto::wire::indication::Refused;
use swingbridge::proto::wire::rfc8656::attributes;
use swingbridge::proto::wire::rfc8656::decode::decode_request;
use swingbridge::proto::wire::rfc8656::decode::decode_response;
use swingbridge::proto::wire::rfc8656::encode::MessageWriter;
use swingbridge::proto::wire::rfc8656::encode::encode_response;
use swingbridge::proto::wire::rfc8656::framing::MessageClass;
use turn_types::attribute as types;

/// An address as messages carry it: without flow label and scope.
fn address() -> impl Strategy<Value = SocketAddr> {
    any::<SocketAddr>().prop_map(|address| SocketAddr::new(address.ip(), address.port()))
}

/// The transaction id as stun-types takes it.
fn number(id: [u8; 12]) -> u128 {
    id.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

fn by_stun_rs(bytes: &[u8]) -> stun_rs::StunMessage {
    let (message, size) = MessageDecoderBuilder::default().build().decode(bytes).unwrap();
    assert_eq!(size, bytes.len());
    message
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // proves rfc8656:18-1
    #[test]
    fn they_read_our_allocate(
        id in any::<[u8; 12]>(), lifetime in any::<u32>(), v6 in any::<bool>(), reserve in any::<bool>(),
        token in any::<[u8; 8]>(),
    ) {
        let family = if v6 { 2 } else { 1 };
        let mut out = [0xAA; 256];
        let mut writer = MessageWriter::request(&mut out, Method::Allocate, TransactionId::with_cookie(id));
        let len = writer
            .attribute(attributes::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
            .attribute(attributes::LIFETIME, &lifetime.to_be_bytes())
            .attribute(attributes::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0])
            .attribute(attributes::EVEN_PORT, &[u8::from(reserve) << 7])
            .attribute(attributes::RESERVATION_TOKEN, &token)
            .attribute(attributes::DONT_FRAGMENT, b"")
            .finish()
            .unwrap();

        let read = by_stun_rs(&out[..len]);
        prop_assert_eq!(read.method(), stun_rs::methods::ALLOCATE);
        prop_assert_eq!(read.get::<rs::RequestedTrasport>().unwrap().expect_requested_trasport().protocol().as_u8(), 17);
        prop_assert_eq!(read.get::<rs::LifeTime>().unwrap().expect_life_time().as_u32(), lifetime);
        prop_assert_eq!(read.get::<rs::EvenPort>().unwrap().expect_even_port().reserve(), reserve);
        prop_assert_eq!(read.get::<rs::ReservationToken>().unwrap().expect_reservation_token().token(), &token);
        prop_assert!(read.get::<rs::DontFragment>().is_some());

        let read = Message::from_bytes(&out[..len]).unwrap();
        prop_assert_eq!(read.method(), turn_types::message::ALLOCATE);
        prop_assert_eq!(read.attribute::<types::RequestedTransport>().unwrap().protocol(), 17);
        prop_assert_eq!(read.attribute::<types::Lifetime>().unwrap().seconds(), lifetime);
        prop_assert_eq!(read.attribute::<types::EvenPort>().unwrap().requested(), reserve);
        prop_assert_eq!(read.attribute::<types::ReservationToken>().unwrap().token(), u64::from_be_bytes(token));
        prop_assert_eq!(
            read.attribute::<types::RequestedAddressFamily>().unwrap().family() == stun_types::AddressFamily::IPV6,
            v6
        );
    }

    #[test]
    fn we_read_the_requests_of_stun_rs(
        id in any::<[u8; 12]>(), lifetime in any::<u32>(), reserve in any::<bool>(), v6 in any::<bool>(),
        channel in 0x4000_u16..0x5000, peers in vec(address(), 0..5),
    ) {
        let family = if v6 { stun_rs::AddressFamily::IPv6 } else { stun_rs::AddressFamily::IPv4 };
        let mut builder = StunMessageBuilder::new(stun_rs::methods::CHANNEL_BIND, stun_rs::MessageClass::Request)
            .with_transaction_id(id.into())
            .with_attribute(rs::RequestedTrasport::new(stun_rs::protocols::UDP))
            .with_attribute(rs::LifeTime::new(lifetime))
            .with_attribute(rs::EvenPort::new(reserve))
            .with_attribute(rs::RequestedAddressFamily::new(family))
            .with_attribute(rs::ChannelNumber::new(channel))
            .with_attribute(rs::DontFragment::default());
        for peer in &peers {
            builder = builder.with_attribute(rs::XorPeerAddress::from(*peer));
        }
        let mut out = [0; 512];
        let len = MessageEncoderBuilder::default().build().encode(&mut out, &builder.build()).unwrap();

        let read = decode_request(&out[..len]).unwrap();
        prop_assert_eq!((read.method, read.transaction), (Method::ChannelBind, TransactionId::with_cookie(id)));
        prop_assert_eq!((read.requested_transport, read.requested_family), (Some(17), Some(if v6 { 2 } else { 1 })));
        prop_assert_eq!(read.lifetime, Some(Lifetime::from_secs(lifetime)));
        prop_assert_eq!((read.even_port, read.dont_fragment), (Some(reserve), true));
        prop_assert_eq!(read.channel(), ChannelNumber::new(channel));
        prop_assert!(read.peers.iter().map(|peer| peer.socket()).eq(peers));
        prop_assert_eq!(read.bad_attribute, None);
    }

    // proves rfc8656:18-1
    #[test]
    fn we_read_the_requests_of_turn_types(
        id in any::<[u8; 12]>(), lifetime in any::<u32>(), reserve in any::<bool>(), token in any::<u64>(),
        channel in 0x4000_u16..0x5000, peer in address(),
    ) {
        let kind =
            MessageType::from_class_method(stun_types::message::MessageClass::Request, turn_types::message::ALLOCATE);
        let mut builder = Message::builder(kind, number(id).into(), MessageWriteVec::new());
        builder.add_attribute(&types::RequestedTransport::new(17)).unwrap();
        builder.add_attribute(&types::Lifetime::new(lifetime)).unwrap();
        builder.add_attribute(&types::EvenPort::new(reserve)).unwrap();
        builder.add_attribute(&types::ReservationToken::new(token)).unwrap();
        builder.add_attribute(&types::AdditionalAddressFamily::new(stun_types::AddressFamily::IPV6)).unwrap();
        builder.add_attribute(&types::DontFragment::new()).unwrap();
        builder.add_attribute(&types::ChannelNumber::new(channel)).unwrap();
        builder.add_attribute(&types::XorPeerAddress::new(peer, number(id).into())).unwrap();
        let bytes = builder.finish();

        let read = decode_request(&bytes).unwrap();
        prop_assert_eq!((read.method, read.transaction), (Method::Allocate, TransactionId::with_cookie(id)));
        prop_assert_eq!((read.requested_transport, read.additional_family), (Some(17), Some(2)));
        prop_assert_eq!(read.lifetime, Some(Lifetime::from_secs(lifetime)));
        prop_assert_eq!((read.even_port, read.dont_fragment), (Some(reserve), true));
        prop_assert_eq!(read.reservation_token, Some(token.to_be_bytes()));
        prop_assert_eq!(read.channel(), ChannelNumber::new(channel));
        prop_assert!(read.peers.iter().eq([PeerAddr::new(peer)]));
        prop_assert_eq!(read.bad_attribute, None);
    }

    #[test]
    fn they_read_our_peers(id in any::<[u8; 12]>(), peers in vec(address(), 1..6)) {
        let mut out = [0xAA; 512];
        let mut writer = MessageWriter::request(&mut out, Method::CreatePermission, TransactionId::with_cookie(id));
        for peer in &peers {
            writer.peer(PeerAddr::new(*peer));
        }
        let len = writer.finish().unwrap();

        let read = by_stun_rs(&out[..len]);
        let listed = read.attributes().iter().map(|attribute| *attribute.expect_xor_peer_address().socket_address());
        prop_assert!(listed.eq(peers.iter().copied()));
        let read = Message::from_bytes(&out[..len]).unwrap();
        for (index, peer) in peers.iter().enumerate() {
            let listed = read.nth_attribute::<types::XorPeerAddress>(index).unwrap();
            prop_assert_eq!(listed.addr(number(id).into()), *peer);
        }
    }

    #[test]
    fn allocate_answers_pass_both_ways(
        id in any::<[u8; 12]>(), mapped in address(), relayed in address(), lifetime in any::<u32>(),
    ) {
        let mut response = Response::new(Method::Allocate, TransactionId::with_cookie(id), Outcome::Success);
        response.mapped_address = Some(mapped);
        response.relayed_address = Some(RelayAddr::new(relayed));
        response.lifetime = Some(Lifetime::from_secs(lifetime));
        let mut out = [0xAA; 256];
        let len = encode_response(&response, None, true, &mut out).unwrap();

        let read = by_stun_rs(&out[..len]);
        let listed = read.get::<rs::XorRelayedAddress>().unwrap().expect_xor_relayed_address().socket_address();
        prop_assert_eq!(*listed, relayed);
        prop_assert_eq!(read.get::<rs::LifeTime>().unwrap().expect_life_time().as_u32(), lifetime);
        let read = Message::from_bytes(&out[..len]).unwrap();
        let listed = read.attribute::<types::XorRelayedAddress>().unwrap();
        prop_assert_eq!(listed.addr(number(id).into()), relayed);

        let kind =
            MessageType::from_class_method(stun_types::message::MessageClass::Success, turn_types::message::ALLOCATE);
        let mut builder = Message::builder(kind, number(id).into(), MessageWriteVec::new());
        builder.add_attribute(&types::XorRelayedAddress::new(relayed, number(id).into())).unwrap();
        builder.add_attribute(&types::Lifetime::new(lifetime)).unwrap();
        builder.add_attribute(&stun_types::attribute::XorMappedAddress::new(mapped, number(id).into())).unwrap();
        let bytes = builder.finish();
        for bytes in [&bytes, &out[..len]] {
            let read = decode_response(bytes).unwrap();
            prop_assert_eq!(read.relayed_address, Some(RelayAddr::new(relayed)));
            prop_assert_eq!(read.mapped_address, Some(mapped));
            prop_assert_eq!(read.lifetime, Some(Lifetime::from_secs(lifetime)));
        }
    }

    #[test]
    fn send_indications_of_both_are_read(id in any::<[u8; 12]>(), peer in address(), data in vec(any::<u8>(), 0..90)) {
        let message = StunMessageBuilder::new(stun_rs::methods::SEND, stun_rs::MessageClass::Indication)
            .with_transaction_id(id.into())
            .with_attribute(rs::XorPeerAddress::from(peer))
            .with_attribute(rs::DontFragment::default())
            .with_attribute(rs::Data::new(&data))
            .build();
        let mut by_rs = vec![0; 512];
        let len = MessageEncoderBuilder::default().build().encode(&mut by_rs, &message).unwrap();
        by_rs.truncate(len);

        let kind =
            MessageType::from_class_method(stun_types::message::MessageClass::Indication, turn_types::message::SEND);
        let mut builder = Message::builder(kind, number(id).into(), MessageWriteVec::new());
        builder.add_attribute(&types::XorPeerAddress::new(peer, number(id).into())).unwrap();
        builder.add_attribute(&types::DontFragment::new()).unwrap();
        builder.add_attribute(&types::Data::new(&data)).unwrap();

        for bytes in [by_rs, builder.finish()] {
            let send = indication::decode_send(&bytes).unwrap();
            prop_assert_eq!((send.peer, send.data, send.dont_fragment), (PeerAddr::new(peer), &data[..], true));
        }
    }

    #[test]
    fn both_read_our_data_indications(id in any::<[u8; 12]>(), peer in address(), data in vec(any::<u8>(), 0..90)) {
        let mut packet = vec![0xAA; indication::DATA_HEADER_MAX];
        let len = u16::try_from(data.len()).unwrap();
        let taken =
            indication::write_data_header(&mut packet, TransactionId::with_cookie(id), PeerAddr::new(peer), len)
                .unwrap();
        packet.extend_from_slice(&data);
        packet.resize(packet.len().next_multiple_of(4), 0);
        let bytes = &packet[indication::DATA_HEADER_MAX - taken..];

        let read = by_stun_rs(bytes);
        prop_assert_eq!((read.method(), read.class()), (stun_rs::methods::DATA, stun_rs::MessageClass::Indication));
        prop_assert_eq!(*read.get::<rs::XorPeerAddress>().unwrap().expect_xor_peer_address().socket_address(), peer);
        prop_assert_eq!(read.get::<rs::Data>().unwrap().expect_data().as_bytes(), &data[..]);
        let read = Message::from_bytes(bytes).unwrap();
        prop_assert_eq!(read.method(), turn_types::message::DATA);
        prop_assert!(read.attribute::<types::Data>().unwrap().data() == data);
        let listed = read.attribute::<types::XorPeerAddress>().unwrap();
        prop_assert_eq!(listed.addr(number(id).into()), peer);
        prop_assert_eq!(indication::decode_data(bytes), Ok((PeerAddr::new(peer), &data[..])));
    }

    #[test]
    fn turn_types_reads_what_we_tell_of_icmp(
        id in any::<[u8; 12]>(), peer in address(), kind in any::<u8>(), code in any::<u8>(), data in any::<u32>(),
    ) {
        let mut out = [0xAA; icmp::INDICATION_MAX];
        let (transaction, told) = (TransactionId::with_cookie(id), Icmp { kind, code, data });
        let len = icmp::write_indication(&mut out, transaction, PeerAddr::new(peer), told).unwrap();
        let read = Message::from_bytes(&out[..len]).unwrap();
        prop_assert_eq!(read.method(), turn_types::message::DATA);
        prop_assert!(read.attribute::<types::Data>().is_err());
        prop_assert_eq!(read.attribute::<types::XorPeerAddress>().unwrap().addr(number(id).into()), peer);
        let icmp = read.attribute::<types::Icmp>().unwrap();
        prop_assert_eq!((icmp.icmp_type(), icmp.code(), icmp.data()), (kind, code, data));
    }

    #[test]
    fn channel_data_passes_both_ways(channel in 0x4000_u16..0x5000, data in vec(any::<u8>(), 0..90)) {
        let number = ChannelNumber::new(channel).unwrap();
        let mut ours = channel_data::header(number, u16::try_from(data.len()).unwrap()).to_vec();
        ours.extend_from_slice(&data);
        let read = turn_types::channel::ChannelData::parse(&ours).unwrap();
        prop_assert_eq!((read.id(), read.data()), (channel, &data[..]));

        let mut theirs = vec![0; data.len() + 4];
        turn_types::channel::ChannelData::new(channel, &data).write_into_unchecked(&mut theirs);
        prop_assert_eq!(&theirs, &ours);
        prop_assert_eq!(channel_data::decode(&theirs), Ok((number, &data[..])));
    }
}

#[test]
fn disagreement_channel_numbers_end_at_0x7ffe() {
    let datagram = [0x7F, 0xFF, 0x00, 0x00];
    assert!(turn_types::channel::ChannelData::parse(&datagram).is_ok());
    assert_eq!(channel_data::decode(&datagram), Err(Malformed::ChannelNumber));
}

#[test]
fn disagreement_an_unknown_required_attribute_discards_an_indication() {
    let mut out = [0xAA; 128];
    let id = TransactionId::with_cookie([3; 12]);
    let mut writer =
        MessageWriter::new(&mut out, MessageClass::Indication, Method::Unknown(indication::SEND), id);
    writer.peer(PeerAddr::new(([192, 0, 2, 1], 7).into()));
    let len = writer.attribute(attributes::DATA, b"x").attribute(0x7FFF, b"").finish().unwrap();
    by_stun_rs(&out[..len]);
    assert!(Message::from_bytes(&out[..len]).is_ok());
    assert_eq!(indication::decode_send(&out[..len]).err(), Some(Refused::UnknownAttribute));
}
