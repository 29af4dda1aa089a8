//! [`Response`] → bytes, and the header of a Data Indication in front of what a peer sent.

use std::net::SocketAddr;

use crate::proto::types::PeerAddr;
use crate::proto::wire::Malformed;
use crate::proto::wire::Method;
use crate::proto::wire::Outcome;
use crate::proto::wire::Response;
use crate::proto::wire::TransactionId;
use crate::proto::wire::rfc8656::attributes as shared;
use crate::proto::wire::rfc8656::integrity::MacKey;

use super::attributes as attribute;
use super::framing::ATTRIBUTE_HEADER_LEN;
use super::framing::COOKIE;
use super::framing::FRAME_HEADER_LEN;
use super::framing::HEADER_LEN;
use super::framing::kind;
use super::integrity;

/// The longest header that a Data Indication can need in front of its data: message header, cookie, REMOTE-ADDRESS with
/// IPv6, DATA's own header; and on a stream the header of the frame in front of it.
pub const DATA_HEADER_MAX: usize = FRAME_HEADER_LEN + HEADER_LEN + 8 + 24 + ATTRIBUTE_HEADER_LEN;

/// Writes `response` into `out` and answers its length. `key` adds MESSAGE-INTEGRITY.
///
/// # Errors
/// [`Malformed::NoRoom`] if `out` is too small; [`Malformed::WrongClass`] for a method whose requests are not answered
/// in this dialect, Send among them ([MS-TURN] § 2.2.1).
pub fn encode_response(
    response: &Response<'_>,
    key: Option<&MacKey>,
    out: &mut [u8],
) -> Result<usize, Malformed> {
    let kind = kind_of(response.method, response.outcome).ok_or(Malformed::WrongClass)?;
    let mut writer = Writer { out, len: 0 };
    writer.begin(kind, response.transaction)?;
    if let Outcome::Error(code) = response.outcome {
        let number = code.number();
        // A number is below 700: both quotients fit a byte.
        writer.attribute(attribute::ERROR_CODE, &[0, 0, (number / 100) as u8, (number % 100) as u8])?;
    }
    if !response.unknown_attributes.is_empty() {
        writer.types(response.unknown_attributes.as_slice())?;
    }
    if let Some(relayed) = response.relayed_address {
        writer.address(attribute::MAPPED_ADDRESS, relayed.socket())?;
    }
    if let Some(mapped) = response.mapped_address {
        let value = shared::xor_address(mapped, response.transaction);
        writer.attribute(attribute::XOR_MAPPED_ADDRESS, value.as_slice())?;
    }
    let numbers = [
        (attribute::LIFETIME, response.lifetime.map(|lifetime| lifetime.as_secs())),
        (attribute::BANDWIDTH, response.legacy.bandwidth_kbit_s),
        (attribute::MS_VERSION, response.legacy.version),
    ];
    for (kind, number) in numbers {
        if let Some(number) = number {
            writer.attribute(kind, &number.to_be_bytes())?;
        }
    }
    if let Some(server) = response.alternate_server {
        writer.address(attribute::ALTERNATE_SERVER, server)?;
    }
    if let Some(realm) = response.realm {
        writer.attribute(attribute::REALM, realm)?;
    }
    if let Some(nonce) = response.nonce {
        writer.attribute(attribute::NONCE, nonce)?;
    }
    if let Some(sequence) = response.legacy.sequence {
        writer.attribute(attribute::MS_SEQUENCE_NUMBER, &sequence.to_bytes())?;
    }
    if let Some(key) = key {
        writer.integrity(key)?;
    }
    Ok(writer.finish())
}

const fn kind_of(method: Method, outcome: Outcome) -> Option<u16> {
    Some(match (method, outcome) {
        (Method::Allocate, Outcome::Success) => kind::ALLOCATE_RESPONSE,
        (Method::Allocate, Outcome::Error(_)) => kind::ALLOCATE_ERROR,
        (Method::SetActiveDestination, Outcome::Success) => kind::SET_ACTIVE_DESTINATION_RESPONSE,
        (Method::SetActiveDestination, Outcome::Error(_)) => kind::SET_ACTIVE_DESTINATION_ERROR,
        _ => return None,
    })
}

/// Writes one message into a buffer, attribute by attribute, in the order of the calls.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// A message with the cookie alone.
    ///
    /// # Errors
    /// [`Malformed::NoRoom`].
    pub fn new(out: &'a mut [u8], kind: u16, transaction: TransactionId) -> Result<Self, Malformed> {
        let mut writer = Self { out, len: 0 };
        writer.begin(kind, transaction)?;
        Ok(writer)
    }

    fn begin(&mut self, kind: u16, transaction: TransactionId) -> Result<(), Malformed> {
        let space = self.claim(HEADER_LEN + COOKIE.len())?;
        let (header, cookie) = space.split_at_mut(HEADER_LEN);
        let (head, tail) = header.split_at_mut(4);
        head[..2].copy_from_slice(&kind.to_be_bytes());
        tail.copy_from_slice(&transaction.0);
        cookie.copy_from_slice(&COOKIE);
        Ok(())
    }

    /// Adds an attribute, without padding.
    ///
    /// # Errors
    /// [`Malformed::NoRoom`].
    pub fn attribute(&mut self, kind: u16, value: &[u8]) -> Result<(), Malformed> {
        self.claim_value(kind, value.len())?.copy_from_slice(value);
        Ok(())
    }

    /// Adds an attribute of the form of MAPPED-ADDRESS.
    ///
    /// # Errors
    /// [`Malformed::NoRoom`].
    pub fn address(&mut self, kind: u16, address: SocketAddr) -> Result<(), Malformed> {
        self.attribute(kind, shared::plain_address(address).as_slice())
    }

    fn types(&mut self, types: &[u16]) -> Result<(), Malformed> {
        let space = self.claim_value(attribute::UNKNOWN_ATTRIBUTES, types.len() * 2)?;
        for (space, kind) in space.chunks_exact_mut(2).zip(types) {
            space.copy_from_slice(&kind.to_be_bytes());
        }
        Ok(())
    }

    /// Adds MESSAGE-INTEGRITY over everything written so far. Nothing may follow it.
    ///
    /// # Errors
    /// [`Malformed::NoRoom`].
    pub fn integrity(&mut self, key: &MacKey) -> Result<(), Malformed> {
        let covered = self.len;
        self.claim_value(attribute::MESSAGE_INTEGRITY, integrity::LEN)?;
        let (covered, rest) = self.out.split_at_mut(covered);
        integrity::sign(key, covered, &mut rest[ATTRIBUTE_HEADER_LEN..ATTRIBUTE_HEADER_LEN + integrity::LEN]);
        Ok(())
    }

    /// Completes the message and answers its length.
    #[must_use]
    pub fn finish(self) -> usize {
        // `claim` keeps the attributes within 65,535 bytes.
        let attributes = (self.len - HEADER_LEN) as u16;
        self.out[2..4].copy_from_slice(&attributes.to_be_bytes());
        self.len
    }

    fn claim_value(&mut self, kind: u16, len: usize) -> Result<&mut [u8], Malformed> {
        let len_field = u16::try_from(len).map_err(|_| Malformed::NoRoom)?;
        let space = self.claim(ATTRIBUTE_HEADER_LEN + len)?;
        let (header, value) = space.split_at_mut(ATTRIBUTE_HEADER_LEN);
        header.copy_from_slice(&attribute_header(kind, len_field));
        Ok(value)
    }

    fn claim(&mut self, len: usize) -> Result<&mut [u8], Malformed> {
        let end = self.len + len;
        if end > self.out.len() || end > HEADER_LEN + usize::from(u16::MAX) {
            return Err(Malformed::NoRoom);
        }
        let space = &mut self.out[self.len..end];
        self.len = end;
        Ok(space)
    }
}

/// Writes the header of a Data Indication so that it ends at the end of `headroom`, for `len` bytes of data that follow
/// it directly, and that end the message. Answers how many bytes the header takes.
///
/// # Errors
/// [`Malformed::NoRoom`] if `headroom` is shorter than the header, or if the length field cannot hold so much.
pub fn write_data_header(
    headroom: &mut [u8],
    transaction: TransactionId,
    peer: PeerAddr,
    len: u16,
) -> Result<usize, Malformed> {
    let address = shared::plain_address(peer.socket());
    let address = address.as_slice();
    let attributes = COOKIE.len() + ATTRIBUTE_HEADER_LEN + address.len() + ATTRIBUTE_HEADER_LEN;
    let Ok(length) = u16::try_from(attributes + usize::from(len)) else {
        return Err(Malformed::NoRoom);
    };
    let header_len = HEADER_LEN + attributes;
    let Some(start) = headroom.len().checked_sub(header_len) else {
        return Err(Malformed::NoRoom);
    };
    let parts: [&[u8]; 7] = [
        &kind::DATA_INDICATION.to_be_bytes(),
        &length.to_be_bytes(),
        &transaction.0,
        &COOKIE,
        // 8 or 20: fits.
        &attribute_header(attribute::REMOTE_ADDRESS, address.len() as u16),
        address,
        &attribute_header(attribute::DATA, len),
    ];
    let mut rest = &mut headroom[start..];
    for part in parts {
        let (space, behind) = rest.split_at_mut(part.len());
        space.copy_from_slice(part);
        rest = behind;
    }
    Ok(header_len)
}

const fn attribute_header(kind: u16, len: u16) -> [u8; ATTRIBUTE_HEADER_LEN] {
    let [t0, t1] = kind.to_be_bytes();
    let [l0, l1] = len.to_be_bytes();
    [t0, t1, l0, l1]
}

#[cfg(test)]
mod tests {
    use crate::proto::types::Lifetime;
    use crate::proto::types::RelayAddr;
    use crate::proto::wire::ErrorCode;
    use crate::proto::wire::SequenceNumber;

    use super::super::decode::decode_request;
    use super::*;

    const ID: TransactionId = TransactionId(*b"sixteen bytes id");

    fn challenge() -> Response<'static> {
        let outcome = Outcome::Error(ErrorCode::Unauthenticated);
        let mut response = Response::new(Method::Allocate, ID, outcome);
        response.realm = Some(b"realm");
        response.nonce = Some(b"nonce!!");
        response.legacy.version = Some(2);
        response
    }

    fn success() -> Response<'static> {
        let mut response = Response::new(Method::Allocate, ID, Outcome::Success);
        response.relayed_address = Some(RelayAddr::new("192.0.2.7:50000".parse().unwrap()));
        response.mapped_address = Some("198.51.100.9:40000".parse().unwrap());
        response.lifetime = Some(Lifetime::from_secs(600));
        response.legacy.bandwidth_kbit_s = Some(750);
        response.legacy.sequence = Some(SequenceNumber { connection: [3; 20], number: 0 });
        response
    }

    // proves ms_turn:3-2, ms_turn:4-4
    #[test]
    fn a_challenge_byte_by_byte() {
        let mut out = [0xAA; 200];
        let len = encode_response(&challenge(), None, &mut out).unwrap();
        let expected = [
            &b"\x01\x13\x00\x2csixteen bytes id"[..],
            b"\x00\x0f\x00\x04\x72\xc6\x4b\xc6",
            b"\x00\x09\x00\x04\x00\x00\x04\x01",
            b"\x80\x08\x00\x04\x00\x00\x00\x02",
            b"\x00\x15\x00\x05realm",
            b"\x00\x14\x00\x07nonce!!",
        ];
        assert_eq!(out[..len], expected.concat());
        assert!(out[len..].iter().all(|byte| *byte == 0xAA), "nothing behind the message is touched");
    }

    // proves ms_turn:3-2, ms_turn:4-5, ms_turn:4-6, ms_turn:6.1-4
    #[test]
    fn a_success_names_the_relay_in_clear_and_the_client_in_disguise() {
        let mut out = [0xAA; 200];
        let key = MacKey::new(b"key");
        let len = encode_response(&success(), Some(&key), &mut out).unwrap();
        let expected = [
            &b"\x01\x03\x00\x64sixteen bytes id"[..],
            b"\x00\x0f\x00\x04\x72\xc6\x4b\xc6",
            b"\x00\x01\x00\x08\x00\x01\xc3\x50\xc0\x00\x02\x07",
            &[0x80, 0x20, 0, 8, 0, 1, 0x9C ^ b's', 0x40 ^ b'i', 198 ^ b's', 51 ^ b'i', 100 ^ b'x', 9 ^ b't'],
            b"\x00\x0d\x00\x04\x00\x00\x02\x58",
            b"\x00\x10\x00\x04\x00\x00\x02\xee",
            b"\x80\x50\x00\x18",
            &[3; 20],
            &[0; 4],
            b"\x00\x08\x00\x14",
        ];
        let expected = expected.concat();
        assert_eq!(out[..len - 20], expected);
        // The type alone makes it no request; the MAC is read as of one.
        let mut request = out[..len].to_vec();
        request[..2].copy_from_slice(&[0, 3]);
        let mut again = request.clone();
        integrity::sign(&key, &request[..len - 24], &mut again[len - 20..]);
        assert!(decode_request(&again).unwrap().auth.integrity.verify(&key));
        assert!(!decode_request(&request).unwrap().auth.integrity.verify(&key), "the type is covered");
    }

    // proves ms_turn:4-6
    #[test]
    fn an_xor_mapped_address_of_another_implementation() {
        let id = TransactionId(std::array::from_fn(|at| 0x10 + at as u8));
        let value = shared::xor_address("192.0.2.10:40000".parse().unwrap(), id);
        assert_eq!(value.as_slice(), [0x00, 0x01, 0x8C, 0x51, 0xD0, 0x11, 0x10, 0x19]);
    }

    // proves ms_turn:3-3
    #[test]
    fn a_send_is_never_answered_and_no_other_method_speaks_this_dialect() {
        let mut out = [0; 200];
        for method in [Method::Send, Method::Refresh, Method::Binding, Method::ChannelBind] {
            let response = Response::new(method, ID, Outcome::Success);
            assert_eq!(encode_response(&response, None, &mut out), Err(Malformed::WrongClass), "{method:?}");
        }
        assert_eq!(out, [0; 200]);
    }

    #[test]
    fn a_buffer_that_is_too_small_is_refused() {
        let key = MacKey::new(b"key");
        for response in [challenge(), success()] {
            let mut whole = [0; 300];
            let len = encode_response(&response, Some(&key), &mut whole).unwrap();
            for room in 0..len {
                let refused = encode_response(&response, Some(&key), &mut whole[..room]);
                assert_eq!(refused, Err(Malformed::NoRoom), "{room}");
            }
        }
    }

    // proves ms_turn:3-2, ms_turn:5-8
    #[test]
    fn a_data_indication_is_written_in_front_of_its_data() {
        for (peer, address) in [
            ("192.0.2.10:8080", &[0, 1, 0x1F, 0x90, 192, 0, 2, 10][..]),
            (
                "[2001:db8::1]:8080",
                &[0, 2, 0x1F, 0x90, 0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            ),
        ] {
            let mut headroom = [0xAA; DATA_HEADER_MAX + 3];
            let peer = PeerAddr::new(peer.parse().unwrap());
            let len = write_data_header(&mut headroom, ID, peer, 5).unwrap();
            let address_len = u8::try_from(address.len()).unwrap();
            let expected = [
                &[0x01, 0x15, 0, 8 + 4 + address_len + 4 + 5][..],
                &ID.0,
                &COOKIE,
                &[0x00, 0x12, 0, address_len],
                address,
                &[0x00, 0x13, 0, 5],
            ];
            let start = headroom.len() - len;
            assert_eq!(headroom[start..], expected.concat());
            assert!(headroom[..start].iter().all(|byte| *byte == 0xAA));
            assert_eq!(write_data_header(&mut headroom[..len - 1], ID, peer, 5), Err(Malformed::NoRoom));
        }
        let peer = PeerAddr::new("192.0.2.10:8080".parse().unwrap());
        let mut headroom = [0; DATA_HEADER_MAX];
        assert!(write_data_header(&mut headroom, ID, peer, 65_507).is_ok(), "the largest datagram fits");
        assert_eq!(write_data_header(&mut headroom, ID, peer, 65_535), Err(Malformed::NoRoom));
    }
}
