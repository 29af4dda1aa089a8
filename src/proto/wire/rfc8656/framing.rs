//! The 20-byte header and the walk over attributes.
//!
//! ```text
//!  0 0 | type 14 bits | length 16 | cookie 32 | transaction 96 || type 16 | length 16 | value, padded to 4 || …
//!      class bits C1 C0 stand at 0x0100 and 0x0010 of the type; the method's twelve fill the rest
//! ```

use crate::proto::wire::Malformed;
use crate::proto::wire::TransactionId;

use super::attributes::FINGERPRINT;
use super::attributes::MESSAGE_INTEGRITY;
use super::attributes::MESSAGE_INTEGRITY_SHA256;

/// Bytes of the message header.
pub const HEADER_LEN: usize = 20;
/// Bytes of an attribute's type and length.
pub const ATTRIBUTE_HEADER_LEN: usize = 4;
/// The magic cookie (RFC 8489 § 5).
pub const COOKIE: [u8; 4] = 0x2112_A442_u32.to_be_bytes();
/// What the CRC-32 of a FINGERPRINT is combined with (RFC 8489 § 14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554E;

/// The class of a message (RFC 8489 § 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageClass {
    /// 0b00.
    Request,
    /// 0b01.
    Indication,
    /// 0b10.
    Success,
    /// 0b11.
    Error,
}

impl MessageClass {
    /// The class that the first two bytes of a message name.
    #[must_use]
    pub const fn of(kind: u16) -> Self {
        match (kind & 0x0100 != 0, kind & 0x0010 != 0) {
            (false, false) => Self::Request,
            (false, true) => Self::Indication,
            (true, false) => Self::Success,
            (true, true) => Self::Error,
        }
    }

    const fn bits(self) -> u16 {
        match self {
            Self::Request => 0x0000,
            Self::Indication => 0x0010,
            Self::Success => 0x0100,
            Self::Error => 0x0110,
        }
    }
}

/// The twelve bits of the method in the first two bytes of a message.
const fn method_of(kind: u16) -> u16 {
    kind & 0x000F | (kind & 0x00E0) >> 1 | (kind & 0x3E00) >> 2
}

/// The first two bytes of a message; of `method` the lower twelve bits count.
const fn message_type(class: MessageClass, method: u16) -> u16 {
    class.bits() | method & 0x000F | (method & 0x0070) << 1 | (method & 0x0F80) << 2
}

/// The header of a message whose attributes take `len` bytes.
pub(in crate::proto::wire) const fn header(
    class: MessageClass,
    method: u16,
    transaction: TransactionId,
    len: u16,
) -> [u8; HEADER_LEN] {
    let [t0, t1] = message_type(class, method).to_be_bytes();
    let [l0, l1] = len.to_be_bytes();
    let mut header = [0; HEADER_LEN];
    let (head, tail) = header.split_at_mut(4);
    head.copy_from_slice(&[t0, t1, l0, l1]);
    tail.copy_from_slice(&transaction.0);
    header
}

/// A message that fills its datagram, with a right header. Its attributes are not looked at yet.
#[derive(Clone, Copy, Debug)]
pub(in crate::proto::wire) struct Frame<'a> {
    pub(in crate::proto::wire) class: MessageClass,
    pub(in crate::proto::wire) method: u16,
    pub(in crate::proto::wire) transaction: TransactionId,
    pub(in crate::proto::wire) message: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads the header.
    pub(in crate::proto::wire) fn parse(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let Some((header, attributes)) = datagram.split_first_chunk::<HEADER_LEN>() else {
            return Err(Malformed::Truncated);
        };
        let [t0, t1, l0, l1, transaction @ ..] = *header;
        if t0 & 0xC0 != 0 || !transaction.starts_with(&COOKIE) {
            return Err(Malformed::NotStun);
        }
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        if len % 4 != 0 {
            return Err(Malformed::UnalignedLength);
        }
        if attributes.len() < len {
            return Err(Malformed::Truncated);
        }
        if attributes.len() > len {
            return Err(Malformed::TrailingBytes);
        }
        let kind = u16::from_be_bytes([t0, t1]);
        Ok(Self {
            class: MessageClass::of(kind),
            method: method_of(kind),
            transaction: TransactionId(transaction),
            message: datagram,
        })
    }

    /// A walk over the attributes that count.
    pub(in crate::proto::wire) const fn attributes(&self) -> Attributes<'a> {
        Attributes {
            message: self.message,
            offset: HEADER_LEN,
            seal: Seal::None,
            sealed_at: None,
            fingerprint: false,
        }
    }
}

/// One attribute of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto::wire) struct Attribute<'a> {
    pub(in crate::proto::wire) kind: u16,
    pub(in crate::proto::wire) value: &'a [u8],
    /// Where its header stands in the message.
    pub(in crate::proto::wire) offset: usize,
}

impl<'a> Attribute<'a> {
    /// The attribute whose header stands at `offset`.
    fn read(message: &'a [u8], offset: usize) -> Result<Self, Malformed> {
        let rest = message.get(offset..).unwrap_or_default();
        let Some((&[t0, t1, l0, l1], rest)) = rest.split_first_chunk::<ATTRIBUTE_HEADER_LEN>() else {
            return Err(Malformed::AttributeOverrun);
        };
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let Some(value) = rest.get(..len) else {
            return Err(Malformed::AttributeOverrun);
        };
        Ok(Self { kind: u16::from_be_bytes([t0, t1]), value, offset })
    }

    /// Where the next attribute stands. The message's length is a multiple of four, so the padding of a value
    /// that fits does fit.
    const fn end(&self) -> usize {
        self.offset + ATTRIBUTE_HEADER_LEN + self.value.len().next_multiple_of(4)
    }
}

/// How far an integrity attribute has closed the message (RFC 8489 §§ 14.5–14.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seal {
    /// Every attribute counts.
    None,
    /// MESSAGE-INTEGRITY was there: only MESSAGE-INTEGRITY-SHA256 counts.
    Sha1,
    /// MESSAGE-INTEGRITY-SHA256 was there: nothing counts.
    Sha256,
}

/// Walks over all attributes and yields those that count: not what stands behind an integrity attribute, and not
/// FINGERPRINT, which the walk itself checks.
#[derive(Clone, Copy, Debug)]
pub(in crate::proto::wire) struct Attributes<'a> {
    message: &'a [u8],
    offset: usize,
    seal: Seal,
    sealed_at: Option<usize>,
    fingerprint: bool,
}

impl<'a> Attributes<'a> {
    /// The next attribute that counts, `None` at the end of the message.
    pub(in crate::proto::wire) fn next(&mut self) -> Result<Option<Attribute<'a>>, Malformed> {
        while self.offset < self.message.len() {
            let attribute = Attribute::read(self.message, self.offset)?;
            self.offset = attribute.end();
            if attribute.kind == FINGERPRINT {
                self.check_fingerprint(&attribute)?;
            } else if self.counts(&attribute) {
                return Ok(Some(attribute));
            }
        }
        Ok(None)
    }

    /// Whether FINGERPRINT was there. Only known at the end of the walk.
    pub(in crate::proto::wire) const fn fingerprint(&self) -> bool {
        self.fingerprint
    }

    /// The bytes of the attributes up to the first integrity attribute. Only known at the end of the walk.
    pub(in crate::proto::wire) fn unsealed(&self) -> &'a [u8] {
        let end = self.sealed_at.unwrap_or(self.message.len());
        self.message.get(HEADER_LEN..end).unwrap_or_default()
    }

    fn counts(&mut self, attribute: &Attribute<'_>) -> bool {
        let seal = match (self.seal, attribute.kind) {
            (Seal::None, MESSAGE_INTEGRITY) => Seal::Sha1,
            (Seal::None | Seal::Sha1, MESSAGE_INTEGRITY_SHA256) => Seal::Sha256,
            (Seal::None, _) => return true,
            (Seal::Sha1 | Seal::Sha256, _) => return false,
        };
        self.seal = seal;
        self.sealed_at = self.sealed_at.or(Some(attribute.offset));
        true
    }

    /// The CRC covers the length field, which says where FINGERPRINT ends: it has to be the last attribute.
    fn check_fingerprint(&mut self, attribute: &Attribute<'_>) -> Result<(), Malformed> {
        if attribute.end() != self.message.len() {
            return Err(Malformed::Fingerprint);
        }
        let expected = fingerprint(&self.message[..attribute.offset]);
        if attribute.value != expected {
            return Err(Malformed::Fingerprint);
        }
        self.fingerprint = true;
        Ok(())
    }
}

/// The value of a FINGERPRINT behind `covered`, whose header counts the FINGERPRINT already.
pub(super) fn fingerprint(covered: &[u8]) -> [u8; 4] {
    (crc32fast::hash(covered) ^ FINGERPRINT_XOR).to_be_bytes()
}

/// Every attribute of an attribute section that is known to be whole; it ends at the first that is not.
pub(super) fn section(attributes: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    let mut offset = 0;
    std::iter::from_fn(move || {
        let attribute = Attribute::read(attributes, offset).ok()?;
        offset = attribute.end();
        Some(attribute)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSACTION: TransactionId = TransactionId::with_cookie([7; 12]);

    fn message(attributes: &[u8]) -> Vec<u8> {
        let len = u16::try_from(attributes.len()).unwrap();
        let mut message = header(MessageClass::Request, 0x003, TRANSACTION, len).to_vec();
        message.extend_from_slice(attributes);
        message
    }

    fn kinds(message: &[u8]) -> Result<Vec<u16>, Malformed> {
        let mut attributes = Frame::parse(message)?.attributes();
        let mut kinds = Vec::new();
        while let Some(attribute) = attributes.next()? {
            kinds.push(attribute.kind);
        }
        Ok(kinds)
    }

    // proves rfc8489:5-1, rfc8489:5-2, rfc8489:6.3.1.1-1
    // proves rfc8656:17-1
    #[test]
    fn type_bits_round_trip_for_every_method_and_class() {
        let classes =
            [MessageClass::Request, MessageClass::Indication, MessageClass::Success, MessageClass::Error];
        for class in classes {
            for method in 0..0x1000 {
                let kind = message_type(class, method);
                assert_eq!(kind & 0xC000, 0);
                assert_eq!((MessageClass::of(kind), method_of(kind)), (class, method));
            }
        }
        assert_eq!(message_type(MessageClass::Error, 0x003), 0x0113);
        assert_eq!(message_type(MessageClass::Indication, 0x006), 0x0016);
    }

    // proves rfc8489:5-1, rfc8489:5-3, rfc8489:5-7, rfc8489:5-8, rfc8489:6.3-1
    #[test]
    fn every_rule_of_the_header_has_its_own_name() {
        let good = message(&[0x80, 0x22, 0, 0]);
        assert!(Frame::parse(&good).is_ok());
        for len in 0..good.len() {
            assert_eq!(Frame::parse(&good[..len]).err(), Some(Malformed::Truncated), "{len}");
        }
        let broken = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            Frame::parse(&bytes).err()
        };
        assert_eq!(broken(0, 0x40), Some(Malformed::NotStun));
        assert_eq!(broken(0, 0x80), Some(Malformed::NotStun));
        for at in 4..8 {
            assert_eq!(broken(at, 0xEE), Some(Malformed::NotStun));
        }
        for len in [1, 2, 3, 5] {
            assert_eq!(broken(3, len), Some(Malformed::UnalignedLength));
        }
        assert_eq!(broken(3, 0), Some(Malformed::TrailingBytes));
        assert_eq!(broken(3, 8), Some(Malformed::Truncated));
        assert_eq!(broken(2, 0xFF), Some(Malformed::Truncated));
    }

    // proves rfc8489:14-2, rfc8489:14-3
    #[test]
    fn an_attribute_may_not_run_past_the_end() {
        assert_eq!(kinds(&message(&[0x80, 0x22, 0, 4, 1, 2, 3, 4])), Ok(vec![0x8022]));
        assert_eq!(
            kinds(&message(&[0x80, 0x22, 0, 1, 1, 0, 0, 0, 0x80, 0x22, 0, 0])),
            Ok(vec![0x8022, 0x8022])
        );
        for len in 5..=8 {
            let attributes = [0x80, 0x22, 0, len, 1, 2, 3, 4];
            assert_eq!(kinds(&message(&attributes)), Err(Malformed::AttributeOverrun), "{len}");
        }
        assert_eq!(kinds(&message(&[0x80, 0x22, 0xFF, 0xFF])), Err(Malformed::AttributeOverrun));
    }

    // proves rfc8489:9-1, rfc8489:9-2
    #[test]
    fn nothing_behind_an_integrity_attribute_counts_save_sha256_behind_sha1() {
        let of = |list: &[u16]| {
            let attributes: Vec<u8> =
                list.iter().flat_map(|kind| [kind.to_be_bytes(), [0, 0]].concat()).collect();
            kinds(&message(&attributes)).unwrap()
        };
        assert_eq!(of(&[0x000D, 0x0008, 0x000D, 0x7FFF]), [0x000D, 0x0008]);
        assert_eq!(of(&[0x0008, 0x000D, 0x001C, 0x000D]), [0x0008, 0x001C]);
        assert_eq!(of(&[0x001C, 0x0008, 0x000D]), [0x001C]);
        assert_eq!(of(&[0x0008, 0x0008, 0x001C, 0x001C]), [0x0008, 0x001C]);
    }

    #[test]
    fn a_broken_attribute_behind_the_integrity_attribute_breaks_the_frame_all_the_same() {
        let bytes = message(&[0x00, 0x08, 0, 0, 0x00, 0x0D, 0, 9]);
        assert_eq!(kinds(&bytes), Err(Malformed::AttributeOverrun));
    }

    // proves rfc8489:6.3-2, rfc8489:14.7-3
    #[test]
    fn fingerprint_is_right_and_last_or_the_message_is_none() {
        let mut bytes = message(&[0x80, 0x22, 0, 0, 0x80, 0x28, 0, 4, 0, 0, 0, 0]);
        assert_eq!(kinds(&bytes), Err(Malformed::Fingerprint));
        let right = fingerprint(&bytes[..24]);
        bytes[28..].copy_from_slice(&right);
        assert_eq!(kinds(&bytes), Ok(vec![0x8022]));

        for at in [1, 9, 21, 31] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(kinds(&flipped), Err(Malformed::Fingerprint), "byte {at}");
        }
        let mut attributes = bytes[20..].to_vec();
        attributes.extend_from_slice(&[0x80, 0x22, 0, 0]);
        assert_eq!(kinds(&message(&attributes)), Err(Malformed::Fingerprint), "not last");
        let twice = [&bytes[20..], &bytes[24..]].concat();
        assert_eq!(kinds(&message(&twice)), Err(Malformed::Fingerprint), "twice");
        assert_eq!(kinds(&message(&[0x80, 0x28, 0, 0])), Err(Malformed::Fingerprint), "empty");
    }

    #[test]
    fn the_unsealed_section_ends_in_front_of_the_integrity_attribute() {
        let bytes = message(&[0x80, 0x22, 0, 0, 0x00, 0x08, 0, 0, 0x00, 0x1C, 0, 0]);
        let mut attributes = Frame::parse(&bytes).unwrap().attributes();
        while attributes.next().unwrap().is_some() {}
        assert_eq!(attributes.unsealed(), [0x80, 0x22, 0, 0]);
        assert_eq!(section(attributes.unsealed()).count(), 1);
    }
}
