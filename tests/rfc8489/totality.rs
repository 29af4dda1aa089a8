//! Any bytes get an answer: a value or [`Malformed`], in linear time and without a panic.

use std::time::Duration;
use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;
use swingbridge::proto::types::PeerAddr;
use swingbridge::proto::wire::Malformed;
use swingbridge::proto::wire::Method;
use swingbridge::proto::wire::TransactionId;
use swingbridge::proto::wire::channel_data;
use swingbridge::proto::wire::classify::Class;
use swingbridge::proto::wire::classify::classify;
use swingbridge::proto::wire::indication;
use swingbridge::proto::wire::rfc3489;
use swingbridge::proto::wire::rfc8656::attributes;
use swingbridge::proto::wire::rfc8656::decode::decode_request;
use swingbridge::proto::wire::rfc8656::decode::decode_response;
use swingbridge::proto::wire::rfc8656::encode::MessageWriter;
use swingbridge::proto::wire::rfc8656::framing::MessageClass;
use swingbridge::proto::wire::rfc8656::integrity::Algorithm;
use swingbridge::proto::wire::rfc8656::integrity::MacKey;
use swingbridge::proto::wire::rfc8656::integrity::Signature;

/// Shows `datagram` to every decoder and reads all that they answer. What they say must fit together.
fn read_everything(datagram: &[u8], key: &MacKey) {
    let class = classify(datagram, None);
    if let Ok(classic) = rfc3489::decode_binding(datagram) {
        assert_eq!(class, Class::ClassicBinding);
        assert_eq!(classic.transaction.0[..], datagram[4..20]);
        assert!(classic.unknown.as_slice().iter().all(|kind| *kind < 0x8000));
    }
    if let Ok(request) = decode_request(datagram) {
        assert_eq!(class, Class::Request);
        assert_eq!(request.peers.iter().count(), request.peers.len());
        assert_eq!(request.peers.is_empty(), request.peers.iter().next().is_none());
        assert!(!request.auth.integrity.verify(key) || request.auth.integrity.algorithm().is_some());
        assert!(request.unknown.as_slice().iter().all(|kind| *kind < 0x8000));
        assert!(request.channel().is_none() || request.channel_number.is_some());
    }
    if let Ok(answer) = decode_response(datagram) {
        assert_eq!(class, Class::Answer);
        assert!(!answer.integrity.verify(key) || answer.integrity.algorithm().is_some());
        assert!(answer.error_code.is_none_or(|code| (300..700).contains(&code)));
    }
    if let Ok(send) = indication::decode_send(datagram) {
        assert_eq!(class, Class::Indication);
        assert!(send.data.len() < datagram.len());
    }
    if indication::decode_data(datagram).is_ok() {
        assert_eq!(class, Class::Indication);
    }
    if let Ok((_, data)) = channel_data::decode(datagram) {
        assert_eq!(class, Class::ChannelData);
        assert!(data.len() + channel_data::HEADER_LEN <= datagram.len());
    }
}

/// A type that some decoder reads, or any.
fn kind() -> impl Strategy<Value = u16> {
    prop_oneof![4 => 0_u16..0x28, 1 => 0x8000_u16..0x802B, 1 => any::<u16>()]
}

fn class() -> impl Strategy<Value = MessageClass> {
    prop_oneof![
        3 => Just(MessageClass::Request),
        1 => Just(MessageClass::Indication),
        1 => Just(MessageClass::Success),
        1 => Just(MessageClass::Error),
    ]
}

prop_compose! {
    /// A message whose frame is right, with attributes that may be anything, signed or not.
    fn message()(
        class in class(),
        method in 0_u16..0x10,
        attributes in vec((kind(), prop_oneof![vec(any::<u8>(), 0..40), vec(any::<u8>(), 4), vec(any::<u8>(), 8)]), 0..8),
        peer in proptest::option::of(any::<std::net::SocketAddr>()),
        sign in 0_u8..4,
        fingerprint in any::<bool>(),
    ) -> Vec<u8> {
        let key = MacKey::new(b"key");
        let mut out = vec![0; 1_024];
        let mut writer =
            MessageWriter::new(&mut out, class, Method::from_number(method), TransactionId::with_cookie([3; 12]));
        for (kind, value) in attributes {
            writer.attribute(kind, &value);
        }
        if let Some(peer) = peer {
            writer.peer(PeerAddr::new(peer));
            writer.attribute(attributes::DATA, b"data");
        }
        if sign & 1 != 0 {
            writer.integrity(Signature { key: &key, algorithm: Algorithm::Sha1 });
        }
        if sign & 2 != 0 {
            writer.integrity(Signature { key: &key, algorithm: Algorithm::Sha256 });
        }
        if fingerprint {
            writer.fingerprint();
        }
        let len = writer.finish().unwrap();
        out.truncate(len);
        out
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn of_any_bytes(datagram in vec(any::<u8>(), 0..200)) {
        read_everything(&datagram, &MacKey::new(b"key"));
    }

    #[test]
    fn of_any_bytes_behind_a_header_of_rfc_3489(id in any::<[u8; 16]>(), body in vec(any::<u8>(), 0..200)) {
        let mut datagram = vec![0, 1];
        datagram.extend_from_slice(&u16::try_from(body.len() & !3).unwrap().to_be_bytes());
        datagram.extend_from_slice(&id);
        datagram.extend_from_slice(&body[..body.len() & !3]);
        read_everything(&datagram, &MacKey::new(b"key"));
    }

    #[test]
    fn of_any_bytes_behind_a_right_header(kind in 0_u16..0x4000, body in vec(any::<u8>(), 0..200)) {
        let mut datagram = kind.to_be_bytes().to_vec();
        datagram.extend_from_slice(&u16::try_from(body.len() & !3).unwrap().to_be_bytes());
        datagram.extend_from_slice(&TransactionId::with_cookie([3; 12]).0);
        datagram.extend_from_slice(&body[..body.len() & !3]);
        read_everything(&datagram, &MacKey::new(b"key"));
    }

    #[test]
    fn of_any_message_and_any_change_to_it(
        message in message(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let key = MacKey::new(b"key");
        read_everything(&message, &key);
        let mut changed = message;
        for (at, byte) in changes {
            let at = at.index(changed.len());
            changed[at] = byte;
        }
        read_everything(&changed, &key);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A shorter message is truncated, and so it is if its length field says so too, or reads as another message.
    #[test]
    fn of_every_truncation(message in message()) {
        let key = MacKey::new(b"key");
        for len in 0..message.len() {
            let mut short = message[..len].to_vec();
            prop_assert_eq!(decode_request(&short).err(), Some(Malformed::Truncated));
            prop_assert_eq!(decode_response(&short).err(), Some(Malformed::Truncated));
            read_everything(&short, &key);
            if len >= 20 {
                let claimed = u16::try_from(len - 20).unwrap();
                short[2..4].copy_from_slice(&claimed.to_be_bytes());
                read_everything(&short, &key);
                prop_assert_eq!(decode_request(&short).err() == Some(Malformed::UnalignedLength), claimed % 4 != 0);
            }
        }
    }
}

/// The bound is loose, so that a busy machine does not matter; a decoder that looked back over what it had read
/// would need a hundred times as long.
#[test]
fn the_most_attributes_that_a_datagram_holds_cost_linear_time() {
    let attribute_sets =
        [&[0x0012, 0x0024][..], &[0x8022], &[0x0000, 0x0002, 0x0003, 0x0004, 0x0005, 0x7FFF]];
    let datagrams = attribute_sets.map(|kinds| {
        let mut out = vec![0; 65_507];
        let mut writer =
            MessageWriter::request(&mut out, Method::CreatePermission, TransactionId::with_cookie([3; 12]));
        for index in 0..16_370 {
            writer.attribute(kinds[index % kinds.len()], b"");
        }
        let len = writer.finish().unwrap();
        out.truncate(len);
        out
    });
    let start = Instant::now();
    for datagram in &datagrams {
        for _ in 0..10 {
            assert!(decode_request(datagram).is_ok());
        }
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}
