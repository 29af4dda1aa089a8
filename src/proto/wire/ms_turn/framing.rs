//! The 20-byte header, the walk over attributes, and the four bytes in front of everything on a stream.
//!
//! ```text
//! type 16 | length 16 | transaction 128 || 000f 0004 72c64bc6 || type 16 | length 16 | value, not padded || …
//!
//! on TCP:  02 control, 03 data | 00 | length 16 || that many bytes
//! ```

use crate::proto::wire::Malformed;
use crate::proto::wire::TransactionId;

use super::attributes::MAGIC_COOKIE;
use super::attributes::MESSAGE_INTEGRITY;

/// Bytes of the message header.
pub const HEADER_LEN: usize = 20;
/// Bytes of an attribute's type and length.
pub const ATTRIBUTE_HEADER_LEN: usize = 4;
/// The whole MAGIC-COOKIE attribute, which follows the header of every message ([MS-TURN] § 2.2.2.8).
pub const COOKIE: [u8; 8] = [0x00, MAGIC_COOKIE as u8, 0x00, 0x04, 0x72, 0xC6, 0x4B, 0xC6];
/// Where the attributes behind the cookie begin.
const ATTRIBUTES: usize = HEADER_LEN + COOKIE.len();
/// Bytes of the header of a frame on a stream ([MS-TURN] § 2.1.4).
pub const FRAME_HEADER_LEN: usize = 4;

/// The message types ([MS-TURN] § 2.2.1).
pub mod kind {
    /// Allocate request; on a five-tuple with an allocation it refreshes.
    pub const ALLOCATE: u16 = 0x0003;
    /// Allocate response.
    pub const ALLOCATE_RESPONSE: u16 = 0x0103;
    /// Allocate error response.
    pub const ALLOCATE_ERROR: u16 = 0x0113;
    /// Send request, which is never answered.
    pub const SEND: u16 = 0x0004;
    /// Data Indication.
    pub const DATA_INDICATION: u16 = 0x0115;
    /// Set Active Destination request.
    pub const SET_ACTIVE_DESTINATION: u16 = 0x0006;
    /// Set Active Destination response.
    pub const SET_ACTIVE_DESTINATION_RESPONSE: u16 = 0x0106;
    /// Set Active Destination error response.
    pub const SET_ACTIVE_DESTINATION_ERROR: u16 = 0x0116;
}

/// Whether `datagram` has the cookie where every control message has it. On a five-tuple with an allocation of this
/// dialect all else is data.
#[must_use]
pub fn is_control(datagram: &[u8]) -> bool {
    datagram.get(HEADER_LEN..ATTRIBUTES) == Some(&COOKIE[..])
}

/// Whether `datagram` is, by type and cookie, a request: all that counts as control on a five-tuple with an allocation
/// of this dialect.
#[must_use]
pub fn is_request(datagram: &[u8]) -> bool {
    let kind = datagram.first_chunk().map(|kind| u16::from_be_bytes(*kind));
    matches!(kind, Some(kind::ALLOCATE | kind::SEND | kind::SET_ACTIVE_DESTINATION)) && is_control(datagram)
}

/// Whether `bytes`, which may be cut short anywhere, can be a message of `len` bytes, or the beginning of one: two zero bits,
/// a length field that fills it, and the cookie in its place. Judged as far as it is there, so that garbage is found early.
#[must_use]
pub fn may_begin_message(bytes: &[u8], len: usize) -> bool {
    let is_type = bytes.first().is_none_or(|first| first & 0xC0 == 0);
    let fills = match bytes.get(2..4) {
        Some(&[l0, l1]) => HEADER_LEN + usize::from(u16::from_be_bytes([l0, l1])) == len,
        _ => true,
    };
    let cookie = bytes.get(HEADER_LEN..).unwrap_or_default();
    is_type && fills && cookie.iter().zip(COOKIE).all(|(one, other)| *one == other)
}

/// A message that fills its bytes, with a right header. Its attributes are not looked at yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) kind: u16,
    pub(super) transaction: TransactionId,
    pub(super) message: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads the header.
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let Some((header, attributes)) = message.split_first_chunk::<HEADER_LEN>() else {
            return Err(Malformed::Truncated);
        };
        let [t0, t1, l0, l1, transaction @ ..] = *header;
        if t0 & 0xC0 != 0 || !is_control(message) {
            return Err(Malformed::NotStun);
        }
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        if attributes.len() < len {
            return Err(Malformed::Truncated);
        }
        if attributes.len() > len {
            return Err(Malformed::TrailingBytes);
        }
        let kind = u16::from_be_bytes([t0, t1]);
        Ok(Self { kind, transaction: TransactionId(transaction), message })
    }

    /// A walk over the attributes behind the cookie.
    pub(super) const fn attributes(&self) -> Attributes<'a> {
        Attributes { message: self.message, offset: ATTRIBUTES, sealed: false }
    }
}

/// One attribute of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attribute<'a> {
    pub(super) kind: u16,
    pub(super) value: &'a [u8],
    /// Where its header stands in the message.
    pub(super) offset: usize,
}

/// Walks over all attributes and yields those up to MESSAGE-INTEGRITY, which is the last that counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes<'a> {
    message: &'a [u8],
    offset: usize,
    sealed: bool,
}

impl<'a> Attributes<'a> {
    /// The next attribute that counts, `None` at the end of the message.
    pub(super) fn next(&mut self) -> Result<Option<Attribute<'a>>, Malformed> {
        while self.offset < self.message.len() {
            let attribute = self.read()?;
            let counts = !self.sealed;
            self.sealed |= attribute.kind == MESSAGE_INTEGRITY;
            if counts {
                return Ok(Some(attribute));
            }
        }
        Ok(None)
    }

    fn read(&mut self) -> Result<Attribute<'a>, Malformed> {
        let offset = self.offset;
        let rest = self.message.get(offset..).unwrap_or_default();
        let Some((&[t0, t1, l0, l1], rest)) = rest.split_first_chunk::<ATTRIBUTE_HEADER_LEN>() else {
            return Err(Malformed::AttributeOverrun);
        };
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let Some(value) = rest.get(..len) else {
            return Err(Malformed::AttributeOverrun);
        };
        self.offset = offset + ATTRIBUTE_HEADER_LEN + len;
        Ok(Attribute { kind: u16::from_be_bytes([t0, t1]), value, offset })
    }
}

/// What a frame on a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamFrame {
    /// 02: a message.
    Control,
    /// 03: data, to or from the active destination.
    Data,
}

impl StreamFrame {
    /// What the first four bytes of a frame say: what it carries, and how many bytes follow. `None` for anything that
    /// is no such header; the connection is then closed quietly.
    #[must_use]
    pub const fn read(header: [u8; FRAME_HEADER_LEN]) -> Option<(Self, usize)> {
        let len = u16::from_be_bytes([header[2], header[3]]) as usize;
        match (header[0], header[1]) {
            // A message is never shorter than its header and the cookie.
            (0x02, 0) if len >= ATTRIBUTES => Some((Self::Control, len)),
            (0x03, 0) => Some((Self::Data, len)),
            _ => None,
        }
    }

    /// The header of a frame that carries `len` bytes.
    #[must_use]
    pub const fn header(self, len: u16) -> [u8; FRAME_HEADER_LEN] {
        let [l0, l1] = len.to_be_bytes();
        let first = match self {
            Self::Control => 0x02,
            Self::Data => 0x03,
        };
        [first, 0, l0, l1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(attributes: &[u8]) -> Vec<u8> {
        let len = u16::try_from(COOKIE.len() + attributes.len()).unwrap();
        [&[0, 3], &len.to_be_bytes()[..], &[7; 16], &COOKIE, attributes].concat()
    }

    fn walk(message: &[u8]) -> Result<Vec<(u16, usize)>, Malformed> {
        let mut attributes = Frame::parse(message)?.attributes();
        let mut read = Vec::new();
        while let Some(attribute) = attributes.next()? {
            read.push((attribute.kind, attribute.value.len()));
        }
        Ok(read)
    }

    // proves ms_turn:4-1
    #[test]
    fn attributes_follow_each_other_without_padding() {
        let two = [&[0x00, 0x06, 0, 3, b'a', b'b', b'c'][..], &[0x80, 0x08, 0, 4, 0, 0, 0, 1]].concat();
        assert_eq!(walk(&message(&two)), Ok(vec![(0x0006, 3), (0x8008, 4)]));
    }

    // proves ms_turn:4-2
    #[test]
    fn nothing_counts_behind_message_integrity() {
        let sealed = [&[0x00, 0x08, 0, 1, 9][..], &[0x00, 0x06, 0, 0], &[0x00, 0x08, 0, 0]].concat();
        assert_eq!(walk(&message(&sealed)), Ok(vec![(0x0008, 1)]));
        let overrun = [&[0x00, 0x08, 0, 1, 9][..], &[0x00, 0x06, 0, 1]].concat();
        assert_eq!(walk(&message(&overrun)), Err(Malformed::AttributeOverrun), "yet it must be whole");
    }

    #[test]
    fn every_truncation_and_every_trailing_byte_is_refused() {
        let whole = message(&[0x00, 0x06, 0, 2, 1, 2]);
        assert_eq!(walk(&whole), Ok(vec![(0x0006, 2)]));
        for len in 0..whole.len() {
            assert!(walk(&whole[..len]).is_err(), "{len} bytes");
        }
        assert_eq!(walk(&[&whole[..], &[0]].concat()), Err(Malformed::TrailingBytes));
    }

    // proves ms_turn:4-2
    #[test]
    fn the_cookie_must_be_the_first_attribute() {
        let whole = message(&[]);
        assert!(is_control(&whole) && !is_control(&whole[..27]));
        for at in HEADER_LEN..ATTRIBUTES {
            let mut other = whole.clone();
            other[at] ^= 1;
            assert_eq!(walk(&other), Err(Malformed::NotStun), "byte {at}");
        }
        let mut other = whole;
        other[0] |= 0x40;
        assert_eq!(walk(&other), Err(Malformed::NotStun));
    }

    #[test]
    fn an_attribute_that_runs_past_the_end_is_refused() {
        for bad in [&[0x00, 0x06, 0, 2, 1][..], &[0x00, 0x06, 0], &[0x00, 0x06, 0xFF, 0xFF]] {
            assert_eq!(walk(&message(bad)), Err(Malformed::AttributeOverrun), "{bad:?}");
        }
    }

    // proves ms_turn:2-3
    #[test]
    fn frames_on_a_stream() {
        assert_eq!(StreamFrame::read([2, 0, 0, 28]), Some((StreamFrame::Control, 28)));
        assert_eq!(StreamFrame::read([3, 0, 0xFF, 0xFF]), Some((StreamFrame::Data, 65_535)));
        assert_eq!(StreamFrame::read([3, 0, 0, 0]), Some((StreamFrame::Data, 0)));
        for no in [[2, 0, 0, 27], [2, 1, 0, 40], [3, 1, 0, 40], [0, 3, 0, 16], [0x16, 3, 1, 0], [4, 0, 0, 40]]
        {
            assert_eq!(StreamFrame::read(no), None, "{no:?}");
        }
        for frame in [StreamFrame::Control, StreamFrame::Data] {
            assert_eq!(StreamFrame::read(frame.header(300)), Some((frame, 300)));
        }
    }
}
