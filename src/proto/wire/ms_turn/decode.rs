//! Bytes of a request → [`Request`]. One pass, nothing copied but numbers.

use crate::proto::types::Dialect;
use crate::proto::types::Lifetime;
use crate::proto::types::PeerAddr;
use crate::proto::types::limits::USERNAME_MAX;
use crate::proto::wire::Malformed;
use crate::proto::wire::Method;
use crate::proto::wire::PeerAddresses;
use crate::proto::wire::Request;
use crate::proto::wire::SequenceNumber;
use crate::proto::wire::rfc8656::attributes as shared;

use super::attributes as attribute;
use super::attributes::NONCE_MAX;
use super::attributes::REALM_MAX;
use super::framing::Attribute;
use super::framing::Frame;
use super::framing::kind;
use super::integrity;

/// Reads one request that fills `message`: a datagram, or a control frame of a stream.
///
/// # Errors
/// [`Malformed`] if the frame is broken or the message is no request; nothing of it may be answered then
/// ([MS-TURN] § 3.1.10).
pub fn decode_request(message: &[u8]) -> Result<Request<'_>, Malformed> {
    let frame = Frame::parse(message)?;
    let method = match frame.kind {
        kind::ALLOCATE => Method::Allocate,
        kind::SEND => Method::Send,
        kind::SET_ACTIVE_DESTINATION => Method::SetActiveDestination,
        _ => return Err(Malformed::WrongClass),
    };
    let mut reader = RequestReader {
        request: Request::empty(Dialect::MsTurn, method, frame.transaction, message),
        seen: Seen::default(),
        integrity: None,
    };
    let mut attributes = frame.attributes();
    while let Some(attribute) = attributes.next()? {
        reader.take(&attribute);
    }
    reader.request.auth.integrity = integrity::presented(message, reader.integrity);
    Ok(reader.request)
}

/// Which attributes of a message were met before: of several of a type the first counts.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    mandatory: u32,
    optional: u128,
}

impl Seen {
    /// Marks `kind` and tells whether it is met for the first time. Types that nothing here reads are always new.
    const fn first(&mut self, kind: u16) -> bool {
        let first;
        match kind {
            0..32 => {
                first = self.mandatory >> kind & 1 == 0;
                self.mandatory |= 1 << kind;
            }
            0x8000..0x8080 => {
                first = self.optional >> (kind - 0x8000) & 1 == 0;
                self.optional |= 1 << (kind - 0x8000);
            }
            _ => return true,
        }
        first
    }
}

/// A request half read.
struct RequestReader<'a> {
    request: Request<'a>,
    seen: Seen,
    integrity: Option<usize>,
}

impl<'a> RequestReader<'a> {
    fn take(&mut self, attribute: &Attribute<'a>) {
        let kind = attribute.kind;
        if attribute::is_not_understood(kind) {
            self.request.unknown.push(kind);
        } else if self.seen.first(kind) && !self.take_value(attribute) {
            self.request.bad_attribute = self.request.bad_attribute.or(Some(kind));
        }
    }

    /// Takes over one attribute; answers whether its value is good. One that means nothing in a request is.
    fn take_value(&mut self, attribute: &Attribute<'a>) -> bool {
        let value = attribute.value;
        let Request { auth, legacy, lifetime, data, requested_family, peers, .. } = &mut self.request;
        match attribute.kind {
            attribute::USERNAME => set(&mut auth.username, at_most(value, USERNAME_MAX)),
            attribute::REALM => set(&mut auth.realm, at_most(value, REALM_MAX)),
            attribute::NONCE => set(&mut auth.nonce, at_most(value, NONCE_MAX)),
            attribute::MESSAGE_INTEGRITY => {
                set(&mut self.integrity, (value.len() == integrity::LEN).then_some(attribute.offset))
            }
            attribute::LIFETIME => set(lifetime, shared::read_u32(value).map(Lifetime::from_secs)),
            attribute::BANDWIDTH => set(&mut legacy.bandwidth_kbit_s, shared::read_u32(value)),
            attribute::DESTINATION_ADDRESS => {
                let peer = shared::read_address(value).map(PeerAddr::new);
                *peers = PeerAddresses::one(peer);
                peer.is_some()
            }
            attribute::DATA => set(data, Some(value)),
            attribute::REQUESTED_ADDRESS_FAMILY => set(requested_family, shared::read_u8_and_reserved(value)),
            attribute::MS_VERSION => set(&mut legacy.version, shared::read_u32(value)),
            attribute::MS_SEQUENCE_NUMBER => set(&mut legacy.sequence, SequenceNumber::read(value)),
            attribute::MS_SERVICE_QUALITY => {
                set(&mut legacy.service_quality, attribute::read_u16_pair(value))
            }
            _ => true,
        }
    }
}

fn at_most(value: &[u8], max: usize) -> Option<&[u8]> {
    (value.len() <= max).then_some(value)
}

/// Stores what was read; answers whether there was something to store.
fn set<T>(field: &mut Option<T>, read: Option<T>) -> bool {
    *field = read;
    field.is_some()
}

#[cfg(test)]
mod tests {
    use md5::Digest;
    use md5::Md5;
    use proptest::prelude::*;

    use crate::proto::wire::TransactionId;
    use crate::proto::wire::rfc8656::integrity::Algorithm;
    use crate::proto::wire::rfc8656::integrity::MacKey;

    use super::super::framing::COOKIE;
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    fn key(user: &[u8], realm: &str, password: &[u8]) -> MacKey {
        MacKey::new(&Md5::digest([user, b":", realm.as_bytes(), b":", password].concat()))
    }

    fn message(kind: u16, attributes: &[u8]) -> Vec<u8> {
        let len = u16::try_from(COOKIE.len() + attributes.len()).unwrap();
        [&kind.to_be_bytes()[..], &len.to_be_bytes(), &[7; 16], &COOKIE, attributes].concat()
    }

    /// The second Allocate of a live libnice 0.1.21, for alice with the password "secret".
    const LIBNICE: &str = "000300614adb72d17e33ce23dafaa6cf11f306cb000f000472c64bc68008000400000001\
        001500087274636d6564696100140020316165663537643363653636386331643765333766323830656335666362303000060005\
        616c696365000800144b32c65e5dd819fb079f4c1ceb810bad9ffe4ad1";

    /// An Allocate with a token as user name, whose MAC another implementation computed.
    const TOKEN: &str = "00030081101112131415161718191a1b1c1d1e1f000f000472c64bc6800800040000000100060034010000\
        200000000000000000a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b1b6eeb5841b0f2772d85632e700d1974e28fb20001400\
        103031323334353637383961626364656600150009656467652e74657374000800149d1ca297add34fcc19f574eafbbf20b59203\
        e20a";

    // proves ms_turn:3-1, ms_turn:5-3
    #[test]
    fn a_first_allocate_of_libnice() {
        let bytes = hex("00030010f974e138ced6069840aa2cb015106877000f000472c64bc68008000400000001");
        let request = decode_request(&bytes).unwrap();
        assert_eq!((request.dialect, request.method), (Dialect::MsTurn, Method::Allocate));
        assert_eq!(request.transaction.0, bytes[4..20]);
        assert_eq!(request.legacy.version, Some(1));
        assert_eq!(request.auth.integrity.algorithm(), None);
        assert!(request.unknown.is_empty() && request.bad_attribute.is_none() && request.lifetime.is_none());
    }

    // proves ms_turn:5-1, ms_turn:5-2
    #[test]
    fn a_signed_allocate_of_libnice_verifies_with_zeros_behind_it_alone() {
        let bytes = hex(LIBNICE);
        let request = decode_request(&bytes).unwrap();
        assert_eq!(request.auth.username, Some(&b"alice"[..]));
        assert_eq!(request.auth.realm, Some(&b"rtcmedia"[..]));
        assert_eq!(request.auth.nonce, Some(&b"1aef57d3ce668c1d7e37f280ec5fcb00"[..]));
        assert_eq!(request.auth.integrity.algorithm(), Some(Algorithm::Sha1));
        assert!(request.auth.integrity.verify(&key(b"alice", "rtcmedia", b"secret")));
        assert!(!request.auth.integrity.verify(&key(b"alice", "rtcmedia", b"Secret")));
        let mut plain = bytes.clone();
        let covered = plain.len() - 24;
        let mac = &mut [0; 20];
        let key = key(b"alice", "rtcmedia", b"secret");
        key.sign(
            Algorithm::Sha1,
            crate::proto::wire::rfc8656::integrity::ZeroFill::None,
            &bytes[..covered],
            mac,
        );
        plain[covered + 4..].copy_from_slice(mac);
        assert!(!decode_request(&plain).unwrap().auth.integrity.verify(&key), "the zeros are real");
    }

    // proves ms_turn:5-1
    #[test]
    fn a_binary_name_and_a_password_of_mac_bytes_verify() {
        let user = hex(
            "010000200000000000000000a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b1b6eeb5841b0f2772d85632e700d1974e28fb20",
        );
        let bytes = hex(TOKEN);
        let request = decode_request(&bytes).unwrap();
        assert_eq!(request.auth.username, Some(&user[..]));
        let password = hex("4a790c61884d14965f87a155edb320698fc026ba");
        assert!(request.auth.integrity.verify(&key(&user, "edge.test", &password)));
    }

    #[test]
    fn one_bit_anywhere_is_noticed() {
        let bytes = hex(LIBNICE);
        let key = key(b"alice", "rtcmedia", b"secret");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let good = decode_request(&flipped).is_ok_and(|request| request.auth.integrity.verify(&key));
            assert!(!good, "bit {bit}");
        }
    }

    // proves ms_turn:4-1
    #[test]
    fn a_send_has_a_peer_in_clear_data_of_any_length_and_a_number() {
        let sequence = SequenceNumber { connection: [9; 20], number: 90 };
        let attributes = [
            &[0x80, 0x50, 0, 24][..],
            &sequence.to_bytes(),
            &[0x00, 0x11, 0, 8, 0xAA, 1, 0x1F, 0x90, 192, 0, 2, 10],
            &[0x00, 0x13, 0, 3, 1, 2, 3],
        ]
        .concat();
        let bytes = message(kind::SEND, &attributes);
        let request = decode_request(&bytes).unwrap();
        assert_eq!(request.method, Method::Send);
        assert_eq!(request.legacy.sequence, Some(sequence));
        assert_eq!(request.data, Some(&[1, 2, 3][..]));
        let peers: Vec<_> = request.peers.iter().map(|peer| peer.socket().to_string()).collect();
        assert_eq!(peers, ["192.0.2.10:8080"], "the first byte of an address is not looked at");
    }

    // proves ms_turn:3-2, ms_turn:3-4
    #[test]
    fn every_answer_and_every_other_type_is_refused() {
        for kind in (0..0x4000_u16).filter(|kind| ![3, 4, 6].contains(kind)) {
            assert!(matches!(decode_request(&message(kind, &[])), Err(Malformed::WrongClass)), "{kind:#06x}");
        }
        for kind in 0x4000..=u16::MAX {
            assert!(matches!(decode_request(&message(kind, &[])), Err(Malformed::NotStun)), "{kind:#06x}");
        }
    }

    // proves ms_turn:4-9, ms_turn:4-10
    #[test]
    fn values_of_a_wrong_length_are_noted_and_empty() {
        for kind in [0x0008, 0x000D, 0x0010, 0x0011, 0x0017, 0x8008, 0x8050, 0x8055_u16] {
            let [k0, k1] = kind.to_be_bytes();
            let bytes = message(kind::ALLOCATE, &[k0, k1, 0, 3, 1, 1, 1]);
            let request = decode_request(&bytes).unwrap();
            assert_eq!(request.bad_attribute, Some(kind));
            assert_eq!(request.peers.len(), 0);
            assert_eq!(request.legacy, Default::default());
        }
        for (kind, max) in [(0x0006_u16, USERNAME_MAX), (0x0014, NONCE_MAX), (0x0015, REALM_MAX)] {
            for (len, bad) in [(max, None), (max + 1, Some(kind))] {
                let len_field = u16::try_from(len).unwrap().to_be_bytes();
                let attributes = [&kind.to_be_bytes()[..], &len_field, &vec![b'x'; len]].concat();
                let bytes = message(kind::ALLOCATE, &attributes);
                assert_eq!(decode_request(&bytes).unwrap().bad_attribute, bad, "{kind:#06x} of {len}");
            }
        }
    }

    // proves ms_turn:4-3
    #[test]
    fn the_first_of_several_counts_and_unknown_mandatory_types_are_listed() {
        let attributes = [
            &[0x00, 0x0D, 0, 4, 0, 0, 0, 1][..],
            &[0x00, 0x0D, 0, 4, 0, 0, 0, 2],
            &[0x80, 0x08, 0, 4, 0, 0, 0, 2],
            &[0x80, 0x08, 0, 4, 0, 0, 0, 3],
            &[0x00, 0x19, 0, 1, 17],
            &[0x80, 0x56, 0, 1, 0],
        ]
        .concat();
        let bytes = message(kind::ALLOCATE, &attributes);
        let request = decode_request(&bytes).unwrap();
        assert_eq!(request.lifetime, Some(Lifetime::from_secs(1)));
        assert_eq!(request.legacy.version, Some(2));
        assert_eq!(request.unknown.as_slice(), [0x0019]);
    }

    // proves ms_turn:5-9
    #[test]
    fn the_order_of_attributes_tells_nothing() {
        let sequence = SequenceNumber { connection: [9; 20], number: 7 };
        let parts: [Vec<u8>; 5] = [
            vec![0x00, 0x06, 0, 5, b'a', b'l', b'i', b'c', b'e'],
            vec![0x00, 0x11, 0, 8, 0, 1, 0x1F, 0x90, 192, 0, 2, 10],
            [&[0x80, 0x50, 0, 24][..], &sequence.to_bytes()].concat(),
            vec![0x00, 0x13, 0, 3, 1, 2, 3],
            vec![0x80, 0x08, 0, 4, 0, 0, 0, 1],
        ];
        let mac = [&[0x00, 0x08, 0, 20][..], &[5; 20]].concat();
        for turn in 0..parts.len() {
            for swap in 0..parts.len() {
                let mut order = parts.clone();
                order.rotate_left(turn);
                order.swap(0, swap);
                let bytes = message(kind::SEND, &[order.concat(), mac.clone()].concat());
                let request = decode_request(&bytes).unwrap();
                let peer = request.peers.iter().next().map(|peer| peer.socket().to_string());
                assert_eq!(
                    (request.auth.username, request.data),
                    (Some(&b"alice"[..]), Some(&[1, 2, 3][..]))
                );
                assert_eq!(
                    (peer.as_deref(), request.legacy.sequence),
                    (Some("192.0.2.10:8080"), Some(sequence))
                );
                assert_eq!(request.legacy.version, Some(1));
                assert_eq!(request.auth.integrity.algorithm(), Some(Algorithm::Sha1));
            }
        }
    }

    // proves ms_turn:4-4
    #[test]
    fn realm_and_nonce_have_each_other_s_numbers() {
        let bytes = message(kind::ALLOCATE, &[0x00, 0x14, 0, 1, b'n', 0x00, 0x15, 0, 1, b'r']);
        let request = decode_request(&bytes).unwrap();
        assert_eq!((request.auth.nonce, request.auth.realm), (Some(&b"n"[..]), Some(&b"r"[..])));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200), kind in 0_u16..8) {
            let _ = decode_request(&body);
            let bytes = message(kind, &body);
            if let Ok(request) = decode_request(&bytes) {
                prop_assert_eq!(request.transaction, TransactionId([7; 16]));
                prop_assert_eq!(request.peers.iter().count(), request.peers.len());
                let _ = request.auth.integrity.verify(&MacKey::new(b"key"));
            }
        }
    }
}
