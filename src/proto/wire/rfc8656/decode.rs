//! Bytes of a request → [`Request`], bytes of an answer → [`Answer`]. One pass, nothing copied but numbers.

use std::net::SocketAddr;

use crate::proto::types::ConnectionId;
use crate::proto::types::Dialect;
use crate::proto::types::Family;
use crate::proto::types::Lifetime;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayAddr;
use crate::proto::types::limits::ACCESS_TOKEN_MAX;
use crate::proto::types::limits::NONCE_MAX;
use crate::proto::types::limits::PEERS_PER_REQUEST_MAX;
use crate::proto::types::limits::REALM_MAX;
use crate::proto::types::limits::USERNAME_READ_MAX;
use crate::proto::wire::Malformed;
use crate::proto::wire::Method;
use crate::proto::wire::PeerAddresses;
use crate::proto::wire::Request;
use crate::proto::wire::TransactionId;
use crate::proto::wire::UnknownAttributes;

use super::attributes as attribute;
use super::attributes::Seen;
use super::framing;
use super::framing::Attribute;
use super::framing::Frame;
use super::framing::MessageClass;
use super::integrity::Presented;
use super::integrity::SHA1_LEN;
use super::integrity::SHA256_LEN;

/// Reads one request that fills `datagram`.
///
/// # Errors
/// [`Malformed`] if the frame is broken; nothing of it may be answered then.
pub fn decode_request(datagram: &[u8]) -> Result<Request<'_>, Malformed> {
    let frame = Frame::parse(datagram)?;
    if frame.class != MessageClass::Request {
        return Err(Malformed::WrongClass);
    }
    let mut reader = RequestReader::new(&frame);
    let mut attributes = frame.attributes();
    while let Some(attribute) = attributes.next()? {
        reader.take(&attribute);
    }
    Ok(reader.finish(attributes.unsealed(), attributes.fingerprint()))
}

/// A request half read.
struct RequestReader<'a> {
    request: Request<'a>,
    seen: Seen,
    message: &'a [u8],
    sha1: Option<usize>,
    sha256: Option<usize>,
    peers: usize,
    bad_peer: bool,
}

impl<'a> RequestReader<'a> {
    fn new(frame: &Frame<'a>) -> Self {
        Self {
            request: Request::empty(
                Dialect::Rfc8656,
                Method::from_number(frame.method),
                frame.transaction,
                frame.message,
            ),
            seen: Seen::default(),
            message: frame.message,
            sha1: None,
            sha256: None,
            peers: 0,
            bad_peer: false,
        }
    }

    /// Takes over one attribute. One of a type that this server does not know is listed, one whose value breaks
    /// its rules is noted, and of several only the first is looked at.
    fn take(&mut self, attribute: &Attribute<'a>) {
        let kind = attribute.kind;
        if attribute::is_not_understood(kind) {
            self.request.unknown.push(kind);
            if self.seen.first(kind) {
                self.request.discovery.take(kind, attribute.value);
            }
            return;
        }
        if kind != attribute::XOR_PEER_ADDRESS && !self.seen.first(kind) {
            return;
        }
        let good = self.take_auth(attribute).or_else(|| self.take_turn(attribute)).unwrap_or(true);
        if !good {
            self.request.bad_attribute = self.request.bad_attribute.or(Some(kind));
        }
    }

    /// `None` if the attribute is none of the credential mechanism's, else whether its value is good.
    fn take_auth(&mut self, attribute: &Attribute<'a>) -> Option<bool> {
        let value = attribute.value;
        let auth = &mut self.request.auth;
        let good = match attribute.kind {
            attribute::USERNAME => set(&mut auth.username, at_most(value, USERNAME_READ_MAX)),
            attribute::USERHASH => set(&mut auth.userhash, value.as_array()),
            attribute::REALM => set(&mut auth.realm, at_most(value, REALM_MAX)),
            attribute::NONCE => set(&mut auth.nonce, at_most(value, NONCE_MAX)),
            attribute::PASSWORD_ALGORITHM => {
                auth.unreadable_algorithm =
                    !set(&mut auth.password_algorithm, attribute::read_password_algorithm(value));
                !auth.unreadable_algorithm
            }
            attribute::PASSWORD_ALGORITHMS => set(&mut auth.password_algorithms, Some(value)),
            attribute::ACCESS_TOKEN => set(&mut auth.access_token, at_most(value, ACCESS_TOKEN_MAX)),
            attribute::MESSAGE_INTEGRITY => {
                set(&mut self.sha1, (value.len() == SHA1_LEN).then_some(attribute.offset))
            }
            attribute::MESSAGE_INTEGRITY_SHA256 => {
                set(&mut self.sha256, (value.len() == SHA256_LEN).then_some(attribute.offset))
            }
            _ => return None,
        };
        Some(good)
    }

    /// `None` if the attribute is none of TURN's, else whether its value is good.
    fn take_turn(&mut self, attribute: &Attribute<'a>) -> Option<bool> {
        let value = attribute.value;
        let request = &mut self.request;
        let good = match attribute.kind {
            attribute::XOR_PEER_ADDRESS => self.take_peer(value),
            attribute::LIFETIME => {
                set(&mut request.lifetime, attribute::read_u32(value).map(Lifetime::from_secs))
            }
            attribute::REQUESTED_TRANSPORT => {
                set(&mut request.requested_transport, attribute::read_u8_and_reserved(value))
            }
            attribute::REQUESTED_ADDRESS_FAMILY => {
                set(&mut request.requested_family, attribute::read_u8_and_reserved(value))
            }
            attribute::ADDITIONAL_ADDRESS_FAMILY => {
                set(&mut request.additional_family, attribute::read_u8_and_reserved(value))
            }
            attribute::ADDITIONAL_ADDRESS_FAMILY_OF_DRAFT => {
                // Of a number that is nobody's, only what the draft's clients say counts, and nothing is an error.
                let asked = attribute::read_u8_and_reserved(value).filter(|code| *code == Family::V6.code());
                request.additional_family = request.additional_family.or(asked);
                true
            }
            attribute::EVEN_PORT => {
                set(&mut request.even_port, value.as_array().map(|[flags]| flags & 0x80 != 0))
            }
            attribute::RESERVATION_TOKEN => set(&mut request.reservation_token, value.as_array().copied()),
            attribute::DONT_FRAGMENT => {
                request.dont_fragment = value.is_empty();
                request.dont_fragment
            }
            attribute::CHANNEL_NUMBER => {
                set(&mut request.channel_number, attribute::read_u16_and_reserved(value))
            }
            attribute::MOBILITY_TICKET => set(&mut request.mobility_ticket, Some(value)),
            attribute::CONNECTION_ID => {
                set(&mut request.connection_id, attribute::read_u32(value).map(ConnectionId::from_wire))
            }
            _ => return None,
        };
        Some(good)
    }

    fn take_peer(&mut self, value: &[u8]) -> bool {
        let good = self.peers < PEERS_PER_REQUEST_MAX
            && attribute::read_xor_address(value, self.request.transaction).is_some();
        if good {
            self.peers += 1;
        } else {
            self.bad_peer = true;
        }
        good
    }

    fn finish(mut self, unsealed: &'a [u8], fingerprint: bool) -> Request<'a> {
        self.request.fingerprint = fingerprint;
        self.request.auth.integrity = Presented::new(self.message, self.sha1, self.sha256);
        if !self.bad_peer {
            self.request.peers = PeerAddresses::section(unsealed, self.request.transaction, self.peers);
        }
        self.request
    }
}

/// Each well-formed XOR-PEER-ADDRESS of an attribute section.
pub(in crate::proto::wire) fn peer_addresses(
    attributes: &[u8],
    transaction: TransactionId,
) -> impl Iterator<Item = PeerAddr> {
    framing::section(attributes)
        .filter(|attribute| attribute.kind == attribute::XOR_PEER_ADDRESS)
        .filter_map(move |attribute| attribute::read_xor_address(attribute.value, transaction))
        .map(PeerAddr::new)
}

/// One answer as a client reads it, in place. What holds for [`Request`] holds here: of several attributes of a
/// type the first counts, and none behind the integrity attribute.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The method of the request.
    pub method: Method,
    /// The transaction of the request.
    pub transaction: TransactionId,
    /// A success response; otherwise it is an error response.
    pub success: bool,
    /// ERROR-CODE: 300–699. An error response may lack a good one; a client then takes the class of the message
    /// for what it is.
    pub error_code: Option<u16>,
    /// XOR-MAPPED-ADDRESS.
    pub mapped_address: Option<SocketAddr>,
    /// XOR-RELAYED-ADDRESS.
    pub relayed_address: Option<RelayAddr>,
    /// LIFETIME.
    pub lifetime: Option<Lifetime>,
    /// RESERVATION-TOKEN.
    pub reservation_token: Option<[u8; 8]>,
    /// UNKNOWN-ATTRIBUTES: what the server did not understand.
    pub unknown_attributes: UnknownAttributes,
    /// REALM.
    pub realm: Option<&'a [u8]>,
    /// NONCE.
    pub nonce: Option<&'a [u8]>,
    /// PASSWORD-ALGORITHMS: the raw value.
    pub password_algorithms: Option<&'a [u8]>,
    /// SOFTWARE.
    pub software: Option<&'a [u8]>,
    /// ALTERNATE-SERVER.
    pub alternate_server: Option<SocketAddr>,
    /// MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256 with the bytes they cover.
    pub integrity: Presented<'a>,
    /// Whether a (correct) FINGERPRINT was there.
    pub fingerprint: bool,
    /// Comprehension-required attributes of the answer itself that are not known here.
    pub unknown: UnknownAttributes,
    /// The type of the first attribute whose value breaks that attribute's own rules; its field is empty.
    pub bad_attribute: Option<u16>,
    /// THIRD-PARTY-AUTHORIZATION.
    pub third_party: Option<&'a [u8]>,
    /// The second XOR-RELAYED-ADDRESS, of a dual allocation.
    pub additional_relayed_address: Option<RelayAddr>,
    /// ADDRESS-ERROR-CODE: the family that a dual allocation did not get, and why.
    pub address_error: Option<(Family, u16)>,
    /// MOBILITY-TICKET.
    pub mobility_ticket: Option<&'a [u8]>,
    /// The second ALTERNATE-SERVER.
    pub additional_alternate_server: Option<SocketAddr>,
    /// CONNECTION-ID.
    pub connection_id: Option<ConnectionId>,
    /// OTHER-ADDRESS (RFC 5780 § 7.4): the server's other address and port.
    pub other_address: Option<SocketAddr>,
}

/// Reads one success or error response that fills `datagram`.
///
/// # Errors
/// [`Malformed`] if the frame is broken or the message is no response.
pub fn decode_response(datagram: &[u8]) -> Result<Answer<'_>, Malformed> {
    let frame = Frame::parse(datagram)?;
    if !matches!(frame.class, MessageClass::Success | MessageClass::Error) {
        return Err(Malformed::WrongClass);
    }
    let mut answer = empty_answer(&frame);
    let (mut seen, mut sha1, mut sha256) = (Seen::default(), None, None);
    let mut attributes = frame.attributes();
    while let Some(attribute) = attributes.next()? {
        let kind = attribute.kind;
        if attribute::is_not_understood(kind) {
            answer.unknown.push(kind);
            continue;
        }
        if !seen.first(kind) {
            if kind == attribute::ALTERNATE_SERVER && answer.additional_alternate_server.is_none() {
                answer.additional_alternate_server = attribute::read_address(attribute.value);
            }
            if kind == attribute::XOR_RELAYED_ADDRESS && answer.additional_relayed_address.is_none() {
                let additional = attribute::read_xor_address(attribute.value, answer.transaction);
                answer.additional_relayed_address = additional.map(RelayAddr::new);
            }
            continue;
        }
        let len = attribute.value.len();
        let good = match kind {
            attribute::MESSAGE_INTEGRITY => set(&mut sha1, (len == SHA1_LEN).then_some(attribute.offset)),
            attribute::MESSAGE_INTEGRITY_SHA256 => {
                set(&mut sha256, (len == SHA256_LEN).then_some(attribute.offset))
            }
            _ => answer.take(kind, attribute.value),
        };
        if !good {
            answer.bad_attribute = answer.bad_attribute.or(Some(kind));
        }
    }
    answer.integrity = Presented::new(datagram, sha1, sha256);
    answer.fingerprint = attributes.fingerprint();
    Ok(answer)
}

impl<'a> Answer<'a> {
    /// Takes over one attribute; answers whether its value is good.
    fn take(&mut self, kind: u16, value: &'a [u8]) -> bool {
        let address = || attribute::read_xor_address(value, self.transaction);
        match kind {
            attribute::ERROR_CODE => set(&mut self.error_code, attribute::read_error_code(value)),
            attribute::XOR_MAPPED_ADDRESS => set(&mut self.mapped_address, address()),
            attribute::XOR_RELAYED_ADDRESS => set(&mut self.relayed_address, address().map(RelayAddr::new)),
            attribute::LIFETIME => {
                set(&mut self.lifetime, attribute::read_u32(value).map(Lifetime::from_secs))
            }
            attribute::RESERVATION_TOKEN => set(&mut self.reservation_token, value.as_array().copied()),
            attribute::UNKNOWN_ATTRIBUTES => {
                let (types, rest) = value.as_chunks();
                types.iter().for_each(|kind| self.unknown_attributes.push(u16::from_be_bytes(*kind)));
                rest.is_empty()
            }
            attribute::REALM => set(&mut self.realm, at_most(value, REALM_MAX)),
            attribute::NONCE => set(&mut self.nonce, at_most(value, NONCE_MAX)),
            attribute::PASSWORD_ALGORITHMS => set(&mut self.password_algorithms, Some(value)),
            attribute::SOFTWARE => set(&mut self.software, Some(value)),
            attribute::THIRD_PARTY_AUTHORIZATION => set(&mut self.third_party, Some(value)),
            attribute::ALTERNATE_SERVER => set(&mut self.alternate_server, attribute::read_address(value)),
            attribute::ADDRESS_ERROR_CODE => {
                let family = value.first().and_then(|code| Family::from_code(*code));
                set(&mut self.address_error, family.zip(attribute::read_error_code(value)))
            }
            attribute::MOBILITY_TICKET => set(&mut self.mobility_ticket, Some(value)),
            attribute::CONNECTION_ID => {
                set(&mut self.connection_id, attribute::read_u32(value).map(ConnectionId::from_wire))
            }
            attribute::OTHER_ADDRESS => set(&mut self.other_address, attribute::read_address(value)),
            _ => true,
        }
    }
}

fn empty_answer<'a>(frame: &Frame<'a>) -> Answer<'a> {
    Answer {
        method: Method::from_number(frame.method),
        transaction: frame.transaction,
        success: frame.class == MessageClass::Success,
        error_code: None,
        mapped_address: None,
        relayed_address: None,
        lifetime: None,
        reservation_token: None,
        unknown_attributes: UnknownAttributes::default(),
        realm: None,
        nonce: None,
        password_algorithms: None,
        software: None,
        alternate_server: None,
        integrity: Presented::new(frame.message, None, None),
        fingerprint: false,
        unknown: UnknownAttributes::default(),
        bad_attribute: None,
        third_party: None,
        additional_relayed_address: None,
        address_error: None,
        mobility_ticket: None,
        additional_alternate_server: None,
        connection_id: None,
        other_address: None,
    }
}

/// Fills `field`; answers whether there was something to fill it with.
fn set<T>(field: &mut Option<T>, value: Option<T>) -> bool {
    *field = value;
    field.is_some()
}

fn at_most(value: &[u8], max: usize) -> Option<&[u8]> {
    (value.len() <= max).then_some(value)
}

#[cfg(test)]
mod tests {
    use crate::proto::wire::DiscoveryAttributes;

    use super::super::encode::MessageWriter;
    use super::super::framing::COOKIE;
    use super::super::integrity::Algorithm;
    use super::super::integrity::MacKey;
    use super::super::integrity::Signature;
    use super::*;
    use crate::proto::wire::Change;
    use crate::proto::wire::discovery::is_discovery;

    const TRANSACTION: TransactionId = TransactionId::with_cookie(*b"transaction!");

    fn request(write: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
        let mut out = vec![0xAA; 70_000];
        let mut writer = MessageWriter::request(&mut out, Method::Allocate, TRANSACTION);
        write(&mut writer);
        let len = writer.finish().unwrap();
        out.truncate(len);
        out
    }

    fn answer(class: MessageClass, write: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
        let mut out = vec![0xAA; 4_096];
        let mut writer = MessageWriter::new(&mut out, class, Method::Allocate, TRANSACTION);
        write(&mut writer);
        let len = writer.finish().unwrap();
        out.truncate(len);
        out
    }

    fn peer(port: u16) -> PeerAddr {
        PeerAddr::new(SocketAddr::new([192, 0, 2, 1].into(), port))
    }

    #[test]
    fn the_first_allocate_of_a_browser() {
        let mut bytes = vec![0x00, 0x03, 0x00, 0x08];
        bytes.extend_from_slice(&COOKIE);
        bytes.extend_from_slice(b"kQ8vTj2LzR0f");
        bytes.extend_from_slice(&[0x00, 0x19, 0x00, 0x04, 0x11, 0x00, 0x00, 0x00]);

        let request = decode_request(&bytes).unwrap();

        assert_eq!(request.method, Method::Allocate);
        assert_eq!(request.transaction, TransactionId::with_cookie(*b"kQ8vTj2LzR0f"));
        assert_eq!(request.requested_transport, Some(17));
        assert_eq!(request.auth.integrity.algorithm(), None);
        assert!(request.unknown.is_empty() && request.bad_attribute.is_none());
        assert!(!request.fingerprint && request.auth.username.is_none() && request.peers.is_empty());
    }

    #[test]
    fn the_additional_family_is_found_under_its_old_number_too_which_never_makes_an_error() {
        let (new, old) =
            (attribute::ADDITIONAL_ADDRESS_FAMILY, attribute::ADDITIONAL_ADDRESS_FAMILY_OF_DRAFT);
        type Attributes<'a> = &'a [(u16, &'a [u8])];
        let cases: [(Attributes<'_>, Option<u8>); 6] = [
            (&[(old, &[2, 0, 0, 0])], Some(2)),
            (&[(old, &[1, 0, 0, 0])], None),
            (&[(old, b"")], None),
            (&[(new, &[1, 0, 0, 0]), (old, &[2, 0, 0, 0])], Some(1)),
            (&[(old, &[2, 0, 0, 0]), (new, &[1, 0, 0, 0])], Some(1)),
            (&[(old, &[2, 0, 0, 0]), (new, b"")], None),
        ];
        for (attributes, expected) in cases {
            let bytes = request(|writer| {
                for (kind, value) in attributes {
                    writer.attribute(*kind, value);
                }
            });
            let read = decode_request(&bytes).unwrap();
            assert_eq!(read.additional_family, expected, "{attributes:?}");
            let broken = attributes.contains(&(new, b""));
            assert_eq!(read.bad_attribute, broken.then_some(new));
        }
    }

    // proves rfc8656:18.2-1, rfc8656:18.10-1
    #[test]
    fn every_field_is_found() {
        let bytes = request(|writer| {
            writer
                .attribute(attribute::USERNAME, b"alice")
                .attribute(attribute::USERHASH, &[5; 32])
                .attribute(attribute::REALM, b"edge.example.net")
                .attribute(attribute::NONCE, b"nonce")
                .attribute(attribute::PASSWORD_ALGORITHM, &[0, 2, 0, 0])
                .attribute(attribute::PASSWORD_ALGORITHMS, &[0, 2, 0, 0, 0, 1, 0, 0])
                .attribute(attribute::LIFETIME, &600_u32.to_be_bytes())
                .attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
                .attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0])
                .attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[9, 1, 1, 1])
                .attribute(attribute::EVEN_PORT, &[0x80])
                .attribute(attribute::RESERVATION_TOKEN, b"reserved")
                .attribute(attribute::DONT_FRAGMENT, b"")
                .attribute(attribute::CHANNEL_NUMBER, &[0x3F, 0xFF, 0, 0])
                .attribute(attribute::DATA, b"not for a request")
                .peer(peer(1))
                .peer(peer(2));
        });
        let read = decode_request(&bytes).unwrap();
        assert_eq!(read.auth.username, Some(&b"alice"[..]));
        assert_eq!(read.auth.userhash, Some(&[5; 32]));
        assert_eq!(read.auth.realm, Some(&b"edge.example.net"[..]));
        assert_eq!(read.auth.nonce, Some(&b"nonce"[..]));
        assert_eq!(read.auth.password_algorithm, Some((2, &[][..])));
        assert_eq!(read.auth.password_algorithms, Some(&[0, 2, 0, 0, 0, 1, 0, 0][..]));
        assert_eq!(read.lifetime, Some(Lifetime::from_secs(600)));
        assert_eq!(read.requested_transport, Some(17));
        assert_eq!(read.requested_family, Some(2));
        assert_eq!(read.additional_family, Some(9), "unjudged");
        assert_eq!(read.even_port, Some(true));
        assert_eq!(read.reservation_token, Some(*b"reserved"));
        assert!(read.dont_fragment);
        assert_eq!((read.channel_number, read.channel()), (Some(0x3FFF), None));
        assert_eq!(read.peers.iter().collect::<Vec<_>>(), [peer(1), peer(2)]);
        assert_eq!(read.bad_attribute, None);
        assert!(read.unknown.is_empty());
    }

    // proves rfc8489:14.6-1, rfc8489:14.6-2, rfc8489:14.6-3
    // proves rfc8656:18.9-1, rfc8656:18.10-1
    #[test]
    fn a_bad_value_is_noted_and_its_field_empty() {
        let too_long = [b'x'; 764];
        let bad: [(u16, &[u8]); 22] = [
            (attribute::USERNAME, &too_long),
            (attribute::USERHASH, &too_long[..31]),
            (attribute::USERHASH, &too_long[..33]),
            (attribute::REALM, &too_long),
            (attribute::NONCE, &too_long),
            (attribute::PASSWORD_ALGORITHM, &[0, 2]),
            (attribute::MESSAGE_INTEGRITY, &too_long[..19]),
            (attribute::MESSAGE_INTEGRITY, &too_long[..32]),
            (attribute::MESSAGE_INTEGRITY_SHA256, &too_long[..16]),
            (attribute::MESSAGE_INTEGRITY_SHA256, &too_long[..28]),
            (attribute::MESSAGE_INTEGRITY_SHA256, &too_long[..36]),
            (attribute::LIFETIME, &too_long[..8]),
            (attribute::REQUESTED_TRANSPORT, &[17]),
            (attribute::REQUESTED_ADDRESS_FAMILY, &[1, 0]),
            (attribute::ADDITIONAL_ADDRESS_FAMILY, &[]),
            (attribute::EVEN_PORT, &[]),
            (attribute::EVEN_PORT, &[0x80, 0]),
            (attribute::RESERVATION_TOKEN, &[0; 7]),
            (attribute::DONT_FRAGMENT, &[0]),
            (attribute::CHANNEL_NUMBER, &[]),
            (attribute::CHANNEL_NUMBER, &[0x40]),
            (attribute::XOR_PEER_ADDRESS, &[0, 3, 0, 0, 0, 0, 0, 0]),
        ];
        for (kind, value) in bad {
            let bytes = request(|writer| {
                writer.attribute(kind, value).attribute(attribute::LIFETIME, b"bad too");
            });
            let read = decode_request(&bytes).unwrap();
            assert_eq!(read.bad_attribute, Some(kind), "{} bytes", value.len());
            let auth = &read.auth;
            assert!(auth.username.is_none() && auth.userhash.is_none() && auth.realm.is_none());
            assert!(auth.nonce.is_none() && auth.password_algorithm.is_none());
            assert_eq!(auth.unreadable_algorithm, kind == attribute::PASSWORD_ALGORITHM);
            assert_eq!(auth.integrity.algorithm(), None);
            assert!(read.lifetime.is_none() && read.requested_transport.is_none());
            assert!(read.requested_family.is_none() && read.additional_family.is_none());
            assert!(read.even_port.is_none() && read.reservation_token.is_none());
            assert!(!read.dont_fragment && read.channel_number.is_none() && read.peers.is_empty());
        }
    }

    // proves rfc8489:14.3-2
    #[test]
    fn values_at_their_limit_are_good() {
        let long = [b'x'; 763];
        let bytes = request(|writer| {
            writer
                .attribute(attribute::USERNAME, &long)
                .attribute(attribute::REALM, &long)
                .attribute(attribute::NONCE, &long);
        });
        let read = decode_request(&bytes).unwrap();
        assert_eq!(read.bad_attribute, None);
        assert_eq!(read.auth.username.map(<[u8]>::len), Some(763));
        assert_eq!(read.auth.realm.map(<[u8]>::len), Some(763));
        assert_eq!(read.auth.nonce.map(<[u8]>::len), Some(763));
    }

    // proves rfc8489:14-6, rfc8489:14-7
    #[test]
    fn the_first_of_several_counts_even_if_it_is_bad() {
        let bytes = request(|writer| {
            writer
                .attribute(attribute::USERNAME, b"first")
                .attribute(attribute::USERNAME, b"second")
                .attribute(attribute::LIFETIME, b"")
                .attribute(attribute::LIFETIME, &[0, 0, 0, 9])
                .attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[1, 0, 0, 0])
                .attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
        });
        let read = decode_request(&bytes).unwrap();
        assert_eq!(read.auth.username, Some(&b"first"[..]));
        assert_eq!((read.lifetime, read.bad_attribute), (None, Some(attribute::LIFETIME)));
        assert_eq!(read.additional_family, Some(1));
    }

    #[test]
    fn attributes_of_behaviour_discovery_are_read_and_stay_unknown_to_whoever_does_not_ask_for_them() {
        let bytes = request(|writer| {
            writer.attribute(attribute::CHANGE_REQUEST, &[0, 0, 0, 2]).zeros(attribute::PADDING, 9);
            writer.attribute(0x7001, b"");
            writer.attribute(attribute::CHANGE_REQUEST, &[0, 0, 0, 4]);
        });
        let read = decode_request(&bytes).unwrap();
        assert_eq!(read.unknown.as_slice(), [0x0003, 0x0026, 0x7001]);
        assert_eq!(read.unknown.without(is_discovery).as_slice(), [0x7001]);
        let change = Some(Change { ip: false, port: true });
        assert_eq!(
            read.discovery,
            DiscoveryAttributes { change, padding_len: Some(9), ..DiscoveryAttributes::default() }
        );
    }

    // proves rfc8489:6.3-4, rfc8489:18.3-1
    #[test]
    fn unknown_required_types_are_listed_once_in_order_and_optional_ones_passed_over() {
        let bytes = request(|writer| {
            for kind in [0x7FFF, 0x0024, 0x8004, 0x0025, 0x0024, 0xC001, 0x0003, 0x0000] {
                writer.attribute(kind, b"?");
            }
        });
        let read = decode_request(&bytes).unwrap();
        assert_eq!(read.unknown.as_slice(), [0x7FFF, 0x0024, 0x0025, 0x0003, 0x0000]);
        assert_eq!(read.bad_attribute, None);
    }

    // proves rfc8489:6.3-5
    #[test]
    fn known_attributes_that_make_no_sense_in_a_request_are_passed_over() {
        let bytes = request(|writer| {
            for kind in [0x0001, 0x0009, 0x000A, 0x0013, 0x0016, 0x0020] {
                writer.attribute(kind, b"");
            }
        });
        let read = decode_request(&bytes).unwrap();
        assert!(read.unknown.is_empty() && read.bad_attribute.is_none());
    }

    // proves rfc8489:9-1, rfc8489:9-2
    #[test]
    fn what_an_attacker_appends_to_a_signed_request_does_not_count() {
        let key = MacKey::new(b"key");
        for algorithm in [Algorithm::Sha1, Algorithm::Sha256] {
            let bytes = request(|writer| {
                writer
                    .peer(peer(1))
                    .integrity(Signature { key: &key, algorithm })
                    .attribute(attribute::LIFETIME, &[0, 0, 0, 0])
                    .attribute(attribute::USERNAME, b"mallory")
                    .attribute(0x7FFF, b"")
                    .peer(peer(666))
                    .fingerprint();
            });
            let read = decode_request(&bytes).unwrap();
            assert!(read.auth.integrity.verify(&key));
            assert_eq!(read.auth.integrity.algorithm(), Some(algorithm));
            assert!(read.fingerprint);
            assert!(read.lifetime.is_none() && read.auth.username.is_none() && read.unknown.is_empty());
            assert_eq!((read.peers.len(), read.peers.iter().collect()), (1, vec![peer(1)]));
        }
    }

    #[test]
    fn an_integrity_attribute_of_a_wrong_length_closes_the_message_too() {
        let bytes = request(|writer| {
            writer.attribute(attribute::MESSAGE_INTEGRITY, b"").attribute(attribute::LIFETIME, &[0; 4]);
        });
        let read = decode_request(&bytes).unwrap();
        assert_eq!(read.lifetime, None);
        assert_eq!(read.bad_attribute, Some(attribute::MESSAGE_INTEGRITY));
    }

    // proves rfc8489:9.2.4-22
    #[test]
    fn sha256_behind_sha1_is_seen_and_decides() {
        let key = MacKey::new(b"key");
        let bytes = request(|writer| {
            writer
                .integrity(Signature { key: &MacKey::new(b"other"), algorithm: Algorithm::Sha1 })
                .integrity(Signature { key: &key, algorithm: Algorithm::Sha256 })
                .fingerprint();
        });
        let read = decode_request(&bytes).unwrap();
        assert_eq!(read.auth.integrity.algorithm(), Some(Algorithm::Sha256));
        assert!(read.auth.integrity.verify(&key));
    }

    #[test]
    fn one_peer_too_many_or_one_bad_peer_leaves_none() {
        let many = |count: usize| {
            request(|writer| {
                for port in 0..count {
                    writer.peer(peer(u16::try_from(port).unwrap()));
                }
            })
        };
        let bytes = many(PEERS_PER_REQUEST_MAX);
        let read = decode_request(&bytes).unwrap();
        assert_eq!((read.bad_attribute, read.peers.len()), (None, PEERS_PER_REQUEST_MAX));
        assert_eq!(read.peers.iter().count(), PEERS_PER_REQUEST_MAX);

        let bytes = many(PEERS_PER_REQUEST_MAX + 1);
        let read = decode_request(&bytes).unwrap();
        assert_eq!(read.bad_attribute, Some(attribute::XOR_PEER_ADDRESS));
        assert_eq!((read.peers.len(), read.peers.iter().count()), (0, 0));

        let bytes = request(|writer| {
            writer.peer(peer(1)).attribute(attribute::XOR_PEER_ADDRESS, &[0, 1, 2]).peer(peer(2));
        });
        let read = decode_request(&bytes).unwrap();
        assert_eq!(read.bad_attribute, Some(attribute::XOR_PEER_ADDRESS));
        assert_eq!((read.peers.len(), read.peers.iter().count()), (0, 0));
    }

    #[test]
    fn a_decoder_reads_its_own_classes_only() {
        for class in [MessageClass::Indication, MessageClass::Success, MessageClass::Error] {
            assert_eq!(decode_request(&answer(class, |_| {})).err(), Some(Malformed::WrongClass));
        }
        for class in [MessageClass::Request, MessageClass::Indication] {
            assert_eq!(decode_response(&answer(class, |_| {})).err(), Some(Malformed::WrongClass));
        }
    }

    #[test]
    fn an_answer_with_bad_values_says_so() {
        let bytes = answer(MessageClass::Error, |writer| {
            writer
                .attribute(attribute::ERROR_CODE, &[0, 0, 9, 9])
                .attribute(attribute::XOR_MAPPED_ADDRESS, b"")
                .attribute(0x0024, b"");
        });
        let read = decode_response(&bytes).unwrap();
        assert!(!read.success);
        assert_eq!((read.error_code, read.mapped_address), (None, None));
        assert_eq!(read.bad_attribute, Some(attribute::ERROR_CODE));
        assert_eq!(read.unknown.as_slice(), [0x0024]);

        let odd = answer(MessageClass::Error, |writer| {
            writer.attribute(attribute::UNKNOWN_ATTRIBUTES, &[0, 0x24, 0]);
        });
        assert_eq!(decode_response(&odd).unwrap().bad_attribute, Some(attribute::UNKNOWN_ATTRIBUTES));
    }

    #[test]
    fn an_access_token_is_read_up_to_its_longest_and_never_unknown() {
        for (len, good) in [(0, true), (64, true), (ACCESS_TOKEN_MAX, true), (ACCESS_TOKEN_MAX + 1, false)] {
            let token = vec![7; len];
            let bytes = request(|writer| {
                writer.attribute(attribute::ACCESS_TOKEN, &token);
            });
            let decoded = decode_request(&bytes).expect("a request");
            assert!(decoded.unknown.is_empty());
            assert_eq!(decoded.auth.access_token, good.then_some(token.as_slice()));
            assert_eq!(decoded.bad_attribute, (!good).then_some(attribute::ACCESS_TOKEN));
        }
    }
}
