//! [`Response`] → bytes, and the writer behind it, with which clients build requests.

use std::net::SocketAddr;

use crate::proto::types::Family;
use crate::proto::types::PeerAddr;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Malformed;
use crate::proto::wire::Method;
use crate::proto::wire::Outcome;
use crate::proto::wire::Response;
use crate::proto::wire::TransactionId;
use crate::proto::wire::UnknownAttributes;

use super::attributes as attribute;
use super::framing;
use super::framing::ATTRIBUTE_HEADER_LEN;
use super::framing::HEADER_LEN;
use super::framing::MessageClass;
use super::integrity::Signature;
use super::integrity::ZeroFill;

/// Bytes of a FINGERPRINT's value.
const FINGERPRINT_LEN: usize = 4;

/// Writes `response` into `out` and answers its length. Padding is zero. `signature` adds the integrity
/// attribute, `fingerprint` a FINGERPRINT behind it.
///
/// # Errors
/// [`Malformed::NoRoom`] if `out` is too small.
pub fn encode_response(
    response: &Response<'_>,
    signature: Option<Signature<'_>>,
    fingerprint: bool,
    out: &mut [u8],
) -> Result<usize, Malformed> {
    let class = match response.outcome {
        Outcome::Success => MessageClass::Success,
        Outcome::Error(_) => MessageClass::Error,
    };
    let mut writer = MessageWriter::new(out, class, response.method, response.transaction);
    if let Outcome::Error(code) = response.outcome {
        writer.error_code(code);
    }
    if !response.unknown_attributes.is_empty() {
        writer.unknown_attributes(&response.unknown_attributes);
    }
    if let Some(relayed) = response.relayed_address {
        writer.xor_address(attribute::XOR_RELAYED_ADDRESS, relayed.socket());
    }
    if let Some(additional) = response.additional_relayed_address {
        writer.xor_address(attribute::XOR_RELAYED_ADDRESS, additional.socket());
    }
    if let Some((family, code)) = response.address_error {
        writer.address_error_code(family, code);
    }
    if let Some(lifetime) = response.lifetime {
        writer.attribute(attribute::LIFETIME, &lifetime.as_secs().to_be_bytes());
    }
    if let Some(token) = response.reservation_token {
        writer.attribute(attribute::RESERVATION_TOKEN, &token);
    }
    if let Some(ticket) = response.mobility_ticket {
        writer.attribute(attribute::MOBILITY_TICKET, ticket);
    }
    if let Some(connection) = response.connection_id {
        writer.attribute(attribute::CONNECTION_ID, &connection.to_wire().to_be_bytes());
    }
    if let Some(mapped) = response.mapped_address {
        writer.xor_address(attribute::XOR_MAPPED_ADDRESS, mapped);
    }
    if let Some(realm) = response.realm {
        writer.attribute(attribute::REALM, realm);
    }
    if let Some(nonce) = response.nonce {
        writer.attribute(attribute::NONCE, nonce);
    }
    if let Some(algorithms) = response.password_algorithms {
        writer.attribute(attribute::PASSWORD_ALGORITHMS, algorithms);
    }
    if let Some(software) = response.software {
        writer.attribute(attribute::SOFTWARE, software.as_bytes());
    }
    if let Some(server_name) = response.third_party {
        writer.attribute(attribute::THIRD_PARTY_AUTHORIZATION, server_name);
    }
    for server in response.alternate_server.iter().chain(&response.additional_alternate_server) {
        writer.address(attribute::ALTERNATE_SERVER, *server);
    }
    if let Some(signature) = signature {
        writer.integrity(signature);
    }
    if fingerprint {
        writer.fingerprint();
    }
    writer.finish()
}

/// Writes one message into a buffer, attribute by attribute, in the order of the calls. It keeps nothing but the
/// buffer; a message that outgrows it is refused at the end.
#[derive(Debug)]
pub struct MessageWriter<'a> {
    out: &'a mut [u8],
    len: usize,
    overflown: bool,
}

impl<'a> MessageWriter<'a> {
    /// A message without attributes.
    #[must_use]
    pub fn new(out: &'a mut [u8], class: MessageClass, method: Method, transaction: TransactionId) -> Self {
        let mut writer = Self { out, len: 0, overflown: false };
        if let Some(space) = writer.claim(HEADER_LEN) {
            space.copy_from_slice(&framing::header(class, method.number(), transaction, 0));
        }
        writer
    }

    /// A request.
    #[must_use]
    pub fn request(out: &'a mut [u8], method: Method, transaction: TransactionId) -> Self {
        Self::new(out, MessageClass::Request, method, transaction)
    }

    /// Adds an attribute with `value`, padded with zeros.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        if let Some(space) = self.claim_value(kind, value.len()) {
            space.copy_from_slice(value);
        }
        self
    }

    /// Adds an XOR-PEER-ADDRESS.
    pub fn peer(&mut self, peer: PeerAddr) -> &mut Self {
        self.xor_address(attribute::XOR_PEER_ADDRESS, peer.socket())
    }

    /// Adds an attribute of the form of XOR-MAPPED-ADDRESS.
    pub fn xor_address(&mut self, kind: u16, address: SocketAddr) -> &mut Self {
        let value = attribute::xor_address(address, self.transaction());
        self.attribute(kind, value.as_slice())
    }

    /// Adds an attribute of the form of MAPPED-ADDRESS.
    pub fn address(&mut self, kind: u16, address: SocketAddr) -> &mut Self {
        self.attribute(kind, attribute::plain_address(address).as_slice())
    }

    /// Adds an attribute whose value is `len` zeros.
    pub fn zeros(&mut self, kind: u16, len: usize) -> &mut Self {
        if let Some(space) = self.claim_value(kind, len) {
            space.fill(0);
        }
        self
    }

    /// Adds an ERROR-CODE without a reason phrase.
    pub fn error_code(&mut self, code: ErrorCode) -> &mut Self {
        let number = code.number();
        // A number is below 700: both quotients fit a byte.
        self.attribute(attribute::ERROR_CODE, &[0, 0, (number / 100) as u8, (number % 100) as u8])
    }

    /// Adds an ADDRESS-ERROR-CODE without a reason phrase.
    pub fn address_error_code(&mut self, family: Family, code: ErrorCode) -> &mut Self {
        let number = code.number();
        let (class, rest) = ((number / 100) as u8, (number % 100) as u8);
        self.attribute(attribute::ADDRESS_ERROR_CODE, &[family.code(), 0, class, rest])
    }

    /// Adds an UNKNOWN-ATTRIBUTES.
    pub fn unknown_attributes(&mut self, unknown: &UnknownAttributes) -> &mut Self {
        let types = unknown.as_slice();
        if let Some(space) = self.claim_value(attribute::UNKNOWN_ATTRIBUTES, types.len() * 2) {
            for (space, kind) in space.chunks_exact_mut(2).zip(types) {
                space.copy_from_slice(&kind.to_be_bytes());
            }
        }
        self
    }

    /// Adds the integrity attribute over everything written so far.
    pub fn integrity(&mut self, signature: Signature<'_>) -> &mut Self {
        let algorithm = signature.algorithm;
        let covered = self.len;
        if self.claim_value(algorithm.attribute(), algorithm.value_len()).is_some() {
            let (covered, rest) = self.out.split_at_mut(covered);
            let value = &mut rest[ATTRIBUTE_HEADER_LEN..ATTRIBUTE_HEADER_LEN + algorithm.value_len()];
            signature.key.sign(algorithm, ZeroFill::None, covered, value);
        }
        self
    }

    /// Adds a FINGERPRINT. Nothing may follow it.
    pub fn fingerprint(&mut self) -> &mut Self {
        let covered = self.len;
        if self.claim_value(attribute::FINGERPRINT, FINGERPRINT_LEN).is_some() {
            self.write_length();
            let value = framing::fingerprint(&self.out[..covered]);
            self.out[self.len - FINGERPRINT_LEN..self.len].copy_from_slice(&value);
        }
        self
    }

    /// Completes the message and answers its length.
    ///
    /// # Errors
    /// [`Malformed::NoRoom`] if the buffer, or the message format itself, could not hold it.
    pub fn finish(&mut self) -> Result<usize, Malformed> {
        if self.overflown {
            return Err(Malformed::NoRoom);
        }
        self.write_length();
        Ok(self.len)
    }

    /// Writes header and padding of an attribute and hands out the space of its value.
    fn claim_value(&mut self, kind: u16, len: usize) -> Option<&mut [u8]> {
        let Ok(len_field) = u16::try_from(len) else {
            self.overflown = true;
            return None;
        };
        let space = self.claim(ATTRIBUTE_HEADER_LEN + len.next_multiple_of(4))?;
        let (header, value) = space.split_at_mut(ATTRIBUTE_HEADER_LEN);
        header[..2].copy_from_slice(&kind.to_be_bytes());
        header[2..].copy_from_slice(&len_field.to_be_bytes());
        let (value, padding) = value.split_at_mut(len);
        padding.fill(0);
        Some(value)
    }

    /// The next `len` bytes of the buffer. After the first refusal there is no space any more, so that no
    /// attribute is left out of the middle of a message.
    fn claim(&mut self, len: usize) -> Option<&mut [u8]> {
        let end = self.len + len;
        self.overflown |= end > self.out.len() || end > HEADER_LEN + usize::from(u16::MAX);
        if self.overflown {
            return None;
        }
        let space = &mut self.out[self.len..end];
        self.len = end;
        Some(space)
    }

    fn write_length(&mut self) {
        if let Some(attributes) = self.len.checked_sub(HEADER_LEN) {
            // `claim` keeps the attributes within 65,535 bytes.
            self.out[2..4].copy_from_slice(&(attributes as u16).to_be_bytes());
        }
    }

    /// The transaction as it stands in the buffer; any, if the buffer could not even hold the header.
    fn transaction(&self) -> TransactionId {
        let header = self.out.first_chunk::<HEADER_LEN>();
        let bytes = header.and_then(|header| header.last_chunk::<16>());
        TransactionId(bytes.copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode::decode_request;
    use super::super::decode::decode_response;
    use super::super::integrity::Algorithm;
    use super::super::integrity::MacKey;
    use super::*;
    use crate::proto::types::Lifetime;
    use crate::proto::types::RelayAddr;

    const TRANSACTION: TransactionId = TransactionId::with_cookie(*b"transaction!");

    fn challenge() -> Response<'static> {
        let outcome = Outcome::Error(ErrorCode::Unauthenticated);
        let mut response = Response::new(Method::Allocate, TRANSACTION, outcome);
        response.realm = Some(b"realm");
        response.nonce = Some(b"nonce!!");
        response.password_algorithms = Some(&[0, 2, 0, 0, 0, 1, 0, 0]);
        response
    }

    fn success() -> Response<'static> {
        let mut response = Response::new(Method::Allocate, TRANSACTION, Outcome::Success);
        response.mapped_address = Some("192.0.2.1:32853".parse().unwrap());
        response.relayed_address = Some(RelayAddr::new("[2001:db8::7]:50000".parse().unwrap()));
        response.lifetime = Some(Lifetime::from_secs(600));
        response.software = Some("Swingbridge");
        response
    }

    // proves rfc8489:5-3, rfc8489:14-1, rfc8489:14-4, rfc8489:14.11-1
    #[test]
    fn a_challenge_byte_by_byte() {
        let mut out = [0xAA; 200];
        let len = encode_response(&challenge(), None, false, &mut out).unwrap();
        let expected = [
            &b"\x01\x13\x00\x2c\x21\x12\xa4\x42transaction!"[..],
            b"\x00\x09\x00\x04\x00\x00\x04\x01",
            b"\x00\x14\x00\x05realm\0\0\0",
            b"\x00\x15\x00\x07nonce!!\0",
            b"\x80\x02\x00\x08\x00\x02\x00\x00\x00\x01\x00\x00",
        ];
        assert_eq!(out[..len], expected.concat());
        assert!(out[len..].iter().all(|byte| *byte == 0xAA), "nothing behind the message is touched");
    }

    #[test]
    fn what_stood_in_the_buffer_does_not_show() {
        let key = MacKey::new(b"key");
        for response in [challenge(), success()] {
            for algorithm in [Algorithm::Sha1, Algorithm::Sha256] {
                let signature = Some(Signature { key: &key, algorithm });
                let (mut clean, mut dirty) = ([0x00; 300], [0xFF; 300]);
                let len = encode_response(&response, signature, true, &mut clean).unwrap();
                assert_eq!(encode_response(&response, signature, true, &mut dirty), Ok(len));
                assert_eq!(clean[..len], dirty[..len]);
            }
        }
    }

    // proves rfc8489:5-6, rfc8489:5-7
    // proves rfc8656:18.5-1
    #[test]
    fn a_success_comes_back_as_it_was() {
        let key = MacKey::new(b"key");
        for algorithm in [Algorithm::Sha1, Algorithm::Sha256] {
            let mut out = [0xAA; 300];
            let len = encode_response(&success(), Some(Signature { key: &key, algorithm }), true, &mut out)
                .unwrap();
            let read = decode_response(&out[..len]).unwrap();
            assert!(read.success && read.fingerprint);
            assert_eq!((read.method, read.transaction), (Method::Allocate, TRANSACTION));
            assert_eq!(read.mapped_address, success().mapped_address);
            assert_eq!(read.relayed_address, success().relayed_address);
            assert_eq!(read.lifetime, success().lifetime);
            assert_eq!(read.software, Some(&b"Swingbridge"[..]));
            assert_eq!(read.integrity.algorithm(), Some(algorithm));
            assert!(read.integrity.verify(&key) && !read.integrity.verify(&MacKey::new(b"kez")));
            assert_eq!((read.error_code, read.bad_attribute), (None, None));
        }
    }

    // proves rfc8656:18.12-1, rfc8656:18.12-2
    #[test]
    fn a_dual_allocation_s_two_addresses_stand_in_order_and_a_missing_one_is_named_with_its_family() {
        let v4 = RelayAddr::new("203.0.113.7:50001".parse().unwrap());
        let v6 = RelayAddr::new("[2001:db8::7]:50000".parse().unwrap());
        let mut response = Response::new(Method::Allocate, TRANSACTION, Outcome::Success);
        response.relayed_address = Some(v4);
        response.additional_relayed_address = Some(v6);
        let mut out = [0xAA; 200];
        let len = encode_response(&response, None, false, &mut out).unwrap();
        let read = decode_response(&out[..len]).unwrap();
        assert_eq!((read.relayed_address, read.additional_relayed_address), (Some(v4), Some(v6)));
        assert_eq!(out[20..24], [0x00, 0x16, 0, 8]);
        assert_eq!(out[32..36], [0x00, 0x16, 0, 20]);

        response.additional_relayed_address = None;
        response.address_error = Some((Family::V6, ErrorCode::AddressFamilyNotSupported));
        let len = encode_response(&response, None, false, &mut out).unwrap();
        assert_eq!(out[32..len], [0x80, 0x01, 0, 4, 2, 0, 4, 40]);
        let read = decode_response(&out[..len]).unwrap();
        assert_eq!(read.address_error, Some((Family::V6, 440)));
        assert_eq!(read.additional_relayed_address, None);
    }

    // proves rfc8489:6.3.1.1-4, rfc8489:14.13-1
    // proves rfc8656:18-2
    #[test]
    fn unknown_attributes_stand_in_order_and_are_padded() {
        let mut response =
            Response::new(Method::Refresh, TRANSACTION, Outcome::Error(ErrorCode::UnknownAttribute));
        for kind in [0x7FFF, 0x0024, 0x0025] {
            response.unknown_attributes.push(kind);
        }
        let mut out = [0xAA; 64];
        let len = encode_response(&response, None, false, &mut out).unwrap();
        assert_eq!(out[28..len], *b"\x00\x0a\x00\x06\x7f\xff\x00\x24\x00\x25\x00\x00");
        let read = decode_response(&out[..len]).unwrap();
        assert_eq!(read.error_code, Some(420));
        assert_eq!(read.unknown_attributes, response.unknown_attributes);
    }

    // proves rfc8489:14.15-1
    #[test]
    fn an_alternate_server_stands_as_it_is_and_is_covered_by_the_integrity() {
        let key = MacKey::new(b"key");
        for (text, value) in [
            ("203.0.113.9:3478", &b"\x80\x23\x00\x08\x00\x01\x0d\x96\xcb\x00\x71\x09"[..]),
            (
                "[2001:db8::9]:3479",
                b"\x80\x23\x00\x14\x00\x02\x0d\x97\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09",
            ),
        ] {
            let outcome = Outcome::Error(ErrorCode::TryAlternate);
            let mut response = Response::new(Method::Allocate, TRANSACTION, outcome);
            response.alternate_server = Some(text.parse().unwrap());
            let signature = Some(Signature { key: &key, algorithm: Algorithm::Sha1 });
            let mut out = [0xAA; 128];
            let len = encode_response(&response, signature, true, &mut out).unwrap();
            assert_eq!(out[28..28 + value.len()], *value);
            let read = decode_response(&out[..len]).unwrap();
            assert_eq!((read.error_code, read.alternate_server), (Some(300), response.alternate_server));
            assert!(read.integrity.verify(&key));
            out[28 + value.len() - 1] ^= 1;
            assert!(decode_response(&out[..len]).is_err(), "the fingerprint sees a changed address");
        }
    }

    // proves rfc8489:6.3.1.1-2, rfc8489:14.8-1, rfc8489:14.8-2, rfc8489:14.8-3, rfc8489:14.8-4
    #[test]
    fn every_error_code_comes_back() {
        for code in ErrorCode::ALL {
            let mut out = [0; 64];
            let response = Response::new(Method::Unknown(0xFFF), TRANSACTION, Outcome::Error(code));
            let len = encode_response(&response, None, false, &mut out).unwrap();
            let read = decode_response(&out[..len]).unwrap();
            assert_eq!((read.success, read.error_code), (false, Some(code.number())));
            assert_eq!(read.method, Method::Unknown(0xFFF));
            let (class, number) = ((code.number() / 100) as u8, (code.number() % 100) as u8);
            assert!((3..=6).contains(&class));
            assert_eq!(out[20..len], [0, 9, 0, 4, 0, 0, class, number], "no reason phrase");
        }
    }

    #[test]
    fn a_buffer_one_byte_too_small_is_refused_and_the_exact_one_is_not() {
        let key = MacKey::new(b"key");
        let signature = Some(Signature { key: &key, algorithm: Algorithm::Sha256 });
        let mut out = [0; 300];
        for response in [challenge(), success()] {
            let len = encode_response(&response, signature, true, &mut out).unwrap();
            for room in 0..len {
                let refused = encode_response(&response, signature, true, &mut out[..room]);
                assert_eq!(refused, Err(Malformed::NoRoom), "{room} of {len} bytes");
            }
            assert_eq!(encode_response(&response, signature, true, &mut out[..len]), Ok(len));
        }
    }

    #[test]
    fn a_message_longer_than_its_length_field_is_refused() {
        let mut out = vec![0; 200_000];
        let mut writer = MessageWriter::request(&mut out, Method::Binding, TRANSACTION);
        assert_eq!(writer.attribute(0x8022, &[0; 65_536]).finish(), Err(Malformed::NoRoom));
        let mut writer = MessageWriter::request(&mut out, Method::Binding, TRANSACTION);
        writer.attribute(0x8022, &[0; 65_528]);
        assert_eq!(writer.finish(), Ok(65_552));
        assert_eq!(writer.attribute(0x8022, b"").finish(), Err(Malformed::NoRoom));
    }

    // proves rfc8489:14.5-1
    #[test]
    fn integrity_and_fingerprint_cover_the_length_field_of_their_own_end() {
        let key = MacKey::new(b"key");
        let mut out = [0xAA; 300];
        let mut writer = MessageWriter::request(&mut out, Method::CreatePermission, TRANSACTION);
        writer.peer(PeerAddr::new("203.0.113.9:7".parse().unwrap()));
        writer.integrity(Signature { key: &key, algorithm: Algorithm::Sha1 });
        let without = writer.finish().unwrap();
        assert_eq!(writer.fingerprint().finish(), Ok(without + 8));
        let (bare, full) = (without, without + 8);

        assert!(decode_request(&out[..full]).unwrap().auth.integrity.verify(&key));
        out[3] -= 8;
        assert!(decode_request(&out[..bare]).unwrap().auth.integrity.verify(&key));
    }

    #[test]
    fn the_name_for_tokens_stands_in_an_answer_as_it_is() {
        let mut response =
            Response::new(Method::Allocate, TRANSACTION, Outcome::Error(ErrorCode::Unauthenticated));
        response.third_party = Some(b"turn.example.net");
        let mut out = [0; 128];
        let len = encode_response(&response, None, false, &mut out).expect("room");
        assert!(out[..len].ends_with(b"\x80\x2E\x00\x10turn.example.net"));
        let answer = decode_response(&out[..len]).expect("a message");
        assert_eq!(answer.third_party, Some(&b"turn.example.net"[..]));
    }
}
