//! What a server of this dialect sends, as a client reads it: answers, and Data Indications in place.

use std::net::SocketAddr;

use crate::proto::types::Lifetime;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayAddr;
use crate::proto::wire::Malformed;
use crate::proto::wire::Method;
use crate::proto::wire::SequenceNumber;
use crate::proto::wire::TransactionId;
use crate::proto::wire::rfc8656::attributes as shared;
use crate::proto::wire::rfc8656::integrity::Presented;

use super::attributes as attribute;
use super::attributes::NONCE_MAX;
use super::attributes::REALM_MAX;
use super::framing::Frame;
use super::framing::is_control;
use super::framing::kind;
use super::integrity;

/// An answer to an Allocate or a Set Active Destination. What is not there, or of a wrong form, is `None`.
#[derive(Clone, Debug)]
pub struct Answer<'a> {
    /// The method of the request.
    pub method: Method,
    /// The transaction of the request.
    pub transaction: TransactionId,
    /// Whether it is a success.
    pub success: bool,
    /// ERROR-CODE, 300–699.
    pub error_code: Option<u16>,
    /// MAPPED-ADDRESS: the relayed address.
    pub relayed_address: Option<RelayAddr>,
    /// XOR-MAPPED-ADDRESS: the client, as the server sees it.
    pub mapped_address: Option<SocketAddr>,
    /// LIFETIME.
    pub lifetime: Option<Lifetime>,
    /// MS-SEQUENCE-NUMBER.
    pub sequence: Option<SequenceNumber>,
    /// REALM, at most [`REALM_MAX`] bytes.
    pub realm: Option<&'a [u8]>,
    /// NONCE, at most [`NONCE_MAX`] bytes.
    pub nonce: Option<&'a [u8]>,
    /// ALTERNATE-SERVER.
    pub alternate_server: Option<SocketAddr>,
    /// MESSAGE-INTEGRITY with the bytes that it covers.
    pub integrity: Presented<'a>,
    /// Whether there is an attribute that a receiver must know and that is not known here.
    pub unknown: bool,
}

/// Whether `datagram` is, by type and cookie, something that a server of this dialect says itself. On a five-tuple with an
/// active destination all else is what that sent.
#[must_use]
pub fn is_of_server(datagram: &[u8]) -> bool {
    let kind = datagram.first_chunk().map(|kind| u16::from_be_bytes(*kind));
    is_control(datagram)
        && matches!(
            kind,
            Some(
                kind::ALLOCATE_RESPONSE
                    | kind::ALLOCATE_ERROR
                    | kind::SET_ACTIVE_DESTINATION_RESPONSE
                    | kind::SET_ACTIVE_DESTINATION_ERROR
                    | kind::DATA_INDICATION
            )
        )
}

/// Reads one answer that fills `message`: a datagram, or a control frame of a stream without its first four bytes.
///
/// # Errors
/// [`Malformed`] if the frame is broken or the message is no answer.
pub fn decode_response(message: &[u8]) -> Result<Answer<'_>, Malformed> {
    let frame = Frame::parse(message)?;
    let (method, success) = match frame.kind {
        kind::ALLOCATE_RESPONSE => (Method::Allocate, true),
        kind::ALLOCATE_ERROR => (Method::Allocate, false),
        kind::SET_ACTIVE_DESTINATION_RESPONSE => (Method::SetActiveDestination, true),
        kind::SET_ACTIVE_DESTINATION_ERROR => (Method::SetActiveDestination, false),
        _ => return Err(Malformed::WrongClass),
    };
    let mut answer = Answer {
        method,
        transaction: frame.transaction,
        success,
        error_code: None,
        relayed_address: None,
        mapped_address: None,
        lifetime: None,
        sequence: None,
        realm: None,
        nonce: None,
        alternate_server: None,
        integrity: integrity::presented(message, None),
        unknown: false,
    };
    let mut attributes = frame.attributes();
    while let Some(found) = attributes.next()? {
        if found.kind == attribute::MESSAGE_INTEGRITY && found.value.len() == integrity::LEN {
            answer.integrity = integrity::presented(message, Some(found.offset));
        } else {
            answer.take(found.kind, found.value);
        }
    }
    Ok(answer)
}

impl<'a> Answer<'a> {
    /// Takes over one attribute; of several of a type the first good one counts.
    fn take(&mut self, kind: u16, value: &'a [u8]) {
        let address = || shared::read_address(value);
        let at_most = |max| (value.len() <= max).then_some(value);
        match kind {
            attribute::ERROR_CODE => first(&mut self.error_code, || shared::read_error_code(value)),
            attribute::MAPPED_ADDRESS => first(&mut self.relayed_address, || address().map(RelayAddr::new)),
            attribute::XOR_MAPPED_ADDRESS => {
                let id = self.transaction;
                first(&mut self.mapped_address, || shared::read_xor_address(value, id));
            }
            attribute::LIFETIME => {
                first(&mut self.lifetime, || shared::read_u32(value).map(Lifetime::from_secs));
            }
            attribute::MS_SEQUENCE_NUMBER => first(&mut self.sequence, || SequenceNumber::read(value)),
            attribute::REALM => first(&mut self.realm, || at_most(REALM_MAX)),
            attribute::NONCE => first(&mut self.nonce, || at_most(NONCE_MAX)),
            attribute::ALTERNATE_SERVER => first(&mut self.alternate_server, address),
            _ => self.unknown |= attribute::is_not_understood(kind),
        }
    }
}

fn first<T>(field: &mut Option<T>, read: impl FnOnce() -> Option<T>) {
    if field.is_none() {
        *field = read();
    }
}

/// Reads a Data Indication that fills `message`: the peer, and what it sent. `None` if it is none, or not whole.
#[must_use]
pub fn decode_data(message: &[u8]) -> Option<(PeerAddr, &[u8])> {
    let frame = Frame::parse(message).ok().filter(|frame| frame.kind == kind::DATA_INDICATION)?;
    let (mut peer, mut data) = (None, None);
    let mut attributes = frame.attributes();
    while let Some(found) = attributes.next().ok()? {
        match found.kind {
            attribute::REMOTE_ADDRESS => {
                first(&mut peer, || shared::read_address(found.value).map(PeerAddr::new));
            }
            attribute::DATA => first(&mut data, || Some(found.value)),
            kind if attribute::is_not_understood(kind) => return None,
            _ => {}
        }
    }
    peer.zip(data)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::proto::types::limits::RESPONSE_MAX;
    use crate::proto::wire::ErrorCode;
    use crate::proto::wire::Outcome;
    use crate::proto::wire::Response;
    use crate::proto::wire::ms_turn::encode::DATA_HEADER_MAX;
    use crate::proto::wire::ms_turn::encode::Writer;
    use crate::proto::wire::ms_turn::encode::encode_response;
    use crate::proto::wire::ms_turn::encode::write_data_header;
    use crate::proto::wire::rfc8656::integrity::MacKey;

    use super::*;

    const ID: TransactionId = TransactionId([7; 16]);
    const SEQUENCE: SequenceNumber = SequenceNumber { connection: [4; 20], number: 9 };

    fn encoded(response: &Response<'_>, key: Option<&MacKey>) -> Vec<u8> {
        let mut out = [0; RESPONSE_MAX];
        let len = encode_response(response, key, &mut out).expect("room");
        out[..len].to_vec()
    }

    fn success() -> Vec<u8> {
        let mut response = Response::new(Method::Allocate, ID, Outcome::Success);
        response.relayed_address = Some(RelayAddr::new("203.0.113.7:50000".parse().unwrap()));
        response.mapped_address = Some("198.51.100.7:4000".parse().unwrap());
        response.lifetime = Some(Lifetime::from_secs(600));
        response.legacy.version = Some(2);
        response.legacy.sequence = Some(SEQUENCE);
        encoded(&response, Some(&MacKey::new(b"key")))
    }

    #[test]
    fn what_the_server_writes_is_read() {
        let bytes = success();
        let answer = decode_response(&bytes).unwrap();
        assert_eq!((answer.method, answer.success, answer.transaction), (Method::Allocate, true, ID));
        assert_eq!(answer.relayed_address.unwrap().to_string(), "203.0.113.7:50000");
        assert_eq!(answer.mapped_address.unwrap().to_string(), "198.51.100.7:4000");
        assert_eq!((answer.lifetime.unwrap().as_secs(), answer.sequence), (600, Some(SEQUENCE)));
        assert!(answer.integrity.verify(&MacKey::new(b"key")) && !answer.unknown);
        assert!(!answer.integrity.verify(&MacKey::new(b"other")));

        let mut refusal =
            Response::new(Method::SetActiveDestination, ID, Outcome::Error(ErrorCode::StaleNonce));
        refusal.realm = Some(b"realm");
        refusal.nonce = Some(b"nonce");
        refusal.alternate_server = Some("192.0.2.1:3478".parse().unwrap());
        let bytes = encoded(&refusal, None);
        let answer = decode_response(&bytes).unwrap();
        assert_eq!((answer.method, answer.success), (Method::SetActiveDestination, false));
        assert_eq!(
            (answer.error_code, answer.realm, answer.nonce),
            (Some(438), Some(&b"realm"[..]), Some(&b"nonce"[..]))
        );
        assert_eq!(answer.alternate_server, refusal.alternate_server);
        assert_eq!(answer.integrity.algorithm(), None);
    }

    #[test]
    fn one_bit_anywhere_makes_it_another_or_none() {
        let (bytes, key) = (success(), MacKey::new(b"key"));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                !decode_response(&flipped).is_ok_and(|answer| answer.integrity.verify(&key)),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn only_what_servers_say_is_theirs() {
        for kind in 0..=u16::MAX {
            let mut bytes = [0; 60];
            let mut message = Writer::new(&mut bytes, kind, ID).unwrap();
            message.attribute(attribute::DATA, b"abc").unwrap();
            let len = message.finish();
            let is_answer = [0x0103, 0x0113, 0x0106, 0x0116].contains(&kind);
            assert_eq!(decode_response(&bytes[..len]).is_ok(), is_answer, "{kind:#06x}");
            assert_eq!(is_of_server(&bytes[..len]), is_answer || kind == 0x0115, "{kind:#06x}");
            bytes[22] ^= 1;
            assert!(!is_of_server(&bytes[..len]), "without the cookie it is anybody's");
        }
    }

    #[test]
    fn an_attribute_that_must_be_known_is_noted_and_others_are_passed_over() {
        for (kind, unknown) in [(0x0018, true), (0x8056, false)] {
            let mut bytes = [0; 100];
            let mut message = Writer::new(&mut bytes, kind::ALLOCATE_RESPONSE, ID).unwrap();
            message.attribute(kind, b"odd").unwrap();
            message.attribute(attribute::LIFETIME, b"odd").unwrap();
            message.attribute(attribute::LIFETIME, &[0, 0, 0, 7]).unwrap();
            let len = message.finish();
            let answer = decode_response(&bytes[..len]).unwrap();
            assert_eq!((answer.unknown, answer.lifetime), (unknown, Some(Lifetime::from_secs(7))));
        }
    }

    #[test]
    fn a_data_indication_comes_back_in_place() {
        for data in [&b""[..], b"odd", &[0xEE; 1_200]] {
            for peer in ["192.0.2.10:8080", "[2001:db8::1]:8080"] {
                let peer = PeerAddr::new(peer.parse().unwrap());
                let mut headroom = [0; DATA_HEADER_MAX];
                let len = u16::try_from(data.len()).unwrap();
                let header = write_data_header(&mut headroom, ID, peer, len).unwrap();
                let message = [&headroom[DATA_HEADER_MAX - header..], data].concat();
                assert_eq!(decode_data(&message), Some((peer, data)));
                assert!(decode_response(&message).is_err());
                assert_eq!(decode_data(&message[..message.len() - 1]), None);
            }
        }
        assert_eq!(decode_data(&success()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..120), kind in 0x100_u16..0x120) {
            let _ = (decode_response(&body), decode_data(&body));
            let mut bytes = [&kind.to_be_bytes()[..], &[0, 0], &[7; 16], &super::super::framing::COOKIE, &body].concat();
            let len = u16::try_from(bytes.len() - 20).unwrap();
            bytes[2..4].copy_from_slice(&len.to_be_bytes());
            let _ = (decode_response(&bytes), decode_data(&bytes));
        }
    }
}
