//! Send and Data indications (RFC 8656 §§ 11.4–11.6), read and written in place.

use crate::proto::types::PeerAddr;

use super::Malformed;
use super::TransactionId;
use super::rfc8656::attributes as attribute;
use super::rfc8656::framing;
use super::rfc8656::framing::ATTRIBUTE_HEADER_LEN;
use super::rfc8656::framing::Frame;
use super::rfc8656::framing::HEADER_LEN;
use super::rfc8656::framing::MessageClass;

/// The longest header that a Data indication can need in front of its data: STUN header, XOR-PEER-ADDRESS
/// with IPv6, DATA attribute header.
pub const DATA_HEADER_MAX: usize = 20 + 24 + 4;
/// Padding behind the data.
pub const DATA_PADDING_MAX: usize = 3;

/// The method of a Send indication (RFC 8656 § 17).
pub const SEND: u16 = 0x006;
/// The method of a Data indication (RFC 8656 § 17).
pub const DATA: u16 = 0x007;

/// What a Send indication asks for.
#[derive(Clone, Copy, Debug)]
pub struct Send<'a> {
    /// XOR-PEER-ADDRESS.
    pub peer: PeerAddr,
    /// DATA, in place.
    pub data: &'a [u8],
    /// DONT-FRAGMENT was there.
    pub dont_fragment: bool,
}

/// Why an indication is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The frame is no message.
    Malformed(Malformed),
    /// Not the Send method.
    NotSend,
    /// XOR-PEER-ADDRESS or DATA missing, or an attribute malformed.
    Incomplete,
    /// A comprehension-required attribute is not known.
    UnknownAttribute,
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Reads a Send indication.
///
/// # Errors
/// [`Refused`], for which RFC 8656 § 11.5 asks to discard the indication silently.
pub fn decode_send(datagram: &[u8]) -> Result<Send<'_>, Refused> {
    decode(datagram, SEND)
}

/// Reads a Data indication, as a client does; answers the peer and what it sent.
///
/// # Errors
/// [`Refused`]; [`Refused::NotSend`] says that it is another indication.
pub fn decode_data(datagram: &[u8]) -> Result<(PeerAddr, &[u8]), Refused> {
    decode(datagram, DATA).map(|read| (read.peer, read.data))
}

fn decode(datagram: &[u8], method: u16) -> Result<Send<'_>, Refused> {
    let frame = Frame::parse(datagram)?;
    if frame.class != MessageClass::Indication {
        return Err(Malformed::WrongClass.into());
    }
    if frame.method != method {
        return Err(Refused::NotSend);
    }
    let mut peer = None;
    let mut data = None;
    let mut dont_fragment = false;
    let mut attributes = frame.attributes();
    while let Some(attribute) = attributes.next()? {
        match attribute.kind {
            attribute::XOR_PEER_ADDRESS if peer.is_none() => {
                peer = Some(read_peer(attribute.value, frame.transaction)?);
            }
            attribute::DATA if data.is_none() => data = Some(attribute.value),
            attribute::DONT_FRAGMENT if !attribute.value.is_empty() => return Err(Refused::Incomplete),
            attribute::DONT_FRAGMENT => dont_fragment = true,
            kind if attribute::is_not_understood(kind) => return Err(Refused::UnknownAttribute),
            _ => {}
        }
    }
    let (Some(peer), Some(data)) = (peer, data) else {
        return Err(Refused::Incomplete);
    };
    Ok(Send { peer, data, dont_fragment })
}

fn read_peer(value: &[u8], transaction: TransactionId) -> Result<PeerAddr, Refused> {
    attribute::read_xor_address(value, transaction).map(PeerAddr::new).ok_or(Refused::Incomplete)
}

/// Writes the header of a Data indication so that it ends at the end of `headroom`, for `len` bytes of data
/// that follow it directly. Answers how many bytes the header takes; the datagram is then
/// header, data, and zero padding to a multiple of four, which the caller appends.
///
/// ```text
/// headroom  …… | header 20 | XOR-PEER-ADDRESS 12 or 24 | DATA 4 || data | padding
/// ```
///
/// # Errors
/// [`Malformed::NoRoom`] if `headroom` is shorter than the header, or if the length field cannot hold data of
/// this length, which no UDP datagram over an IP packet of 65,535 bytes brings.
pub fn write_data_header(
    headroom: &mut [u8],
    transaction: TransactionId,
    peer: PeerAddr,
    len: u16,
) -> Result<usize, Malformed> {
    write_header(DATA, headroom, transaction, peer, len)
}

/// The same for a Send indication, as a client writes it.
///
/// # Errors
/// As [`write_data_header`].
pub fn write_send_header(
    headroom: &mut [u8],
    transaction: TransactionId,
    peer: PeerAddr,
    len: u16,
) -> Result<usize, Malformed> {
    write_header(SEND, headroom, transaction, peer, len)
}

fn write_header(
    method: u16,
    headroom: &mut [u8],
    transaction: TransactionId,
    peer: PeerAddr,
    len: u16,
) -> Result<usize, Malformed> {
    let address = attribute::xor_address(peer.socket(), transaction);
    let address = address.as_slice();
    let attributes = ATTRIBUTE_HEADER_LEN + address.len() + ATTRIBUTE_HEADER_LEN;
    let Ok(length) = u16::try_from(attributes + usize::from(len).next_multiple_of(4)) else {
        return Err(Malformed::NoRoom);
    };
    let header_len = HEADER_LEN + attributes;
    let Some(start) = headroom.len().checked_sub(header_len) else {
        return Err(Malformed::NoRoom);
    };
    let (header, rest) = headroom[start..].split_at_mut(HEADER_LEN);
    header.copy_from_slice(&framing::header(MessageClass::Indication, method, transaction, length));
    let (peer_header, rest) = rest.split_at_mut(ATTRIBUTE_HEADER_LEN);
    // 8 or 20: fits.
    peer_header.copy_from_slice(&attribute_header(attribute::XOR_PEER_ADDRESS, address.len() as u16));
    let (peer_value, data_header) = rest.split_at_mut(address.len());
    peer_value.copy_from_slice(address);
    data_header.copy_from_slice(&attribute_header(attribute::DATA, len));
    Ok(header_len)
}

const fn attribute_header(kind: u16, len: u16) -> [u8; ATTRIBUTE_HEADER_LEN] {
    let [t0, t1] = kind.to_be_bytes();
    let [l0, l1] = len.to_be_bytes();
    [t0, t1, l0, l1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::Method;
    use crate::proto::wire::rfc8656::encode::MessageWriter;

    const TRANSACTION: TransactionId = TransactionId::with_cookie(*b"transaction!");

    fn peer(text: &str) -> PeerAddr {
        PeerAddr::new(text.parse().unwrap())
    }

    fn indication(method: u16, write: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
        let mut out = vec![0xAA; 2_048];
        let mut writer =
            MessageWriter::new(&mut out, MessageClass::Indication, Method::Unknown(method), TRANSACTION);
        write(&mut writer);
        let len = writer.finish().unwrap();
        out.truncate(len);
        out
    }

    fn refused(method: u16, write: impl FnOnce(&mut MessageWriter<'_>)) -> Option<Refused> {
        decode_send(&indication(method, write)).err()
    }

    #[test]
    fn a_send_indication_is_read_in_place_in_any_order() {
        for address in ["192.0.2.1:7", "[2001:db8::1]:65535"] {
            let bytes = indication(SEND, |writer| {
                writer
                    .attribute(attribute::SOFTWARE, b"x")
                    .attribute(attribute::DATA, b"hello")
                    .attribute(attribute::DONT_FRAGMENT, b"")
                    .peer(peer(address))
                    .fingerprint();
            });
            let send = decode_send(&bytes).unwrap();
            assert_eq!((send.peer, send.data, send.dont_fragment), (peer(address), &b"hello"[..], true));
            assert!(bytes.as_ptr_range().contains(&send.data.as_ptr()), "not a copy");
        }
    }

    // proves rfc8656:11.2-3
    #[test]
    fn data_may_be_empty_and_the_first_of_several_counts() {
        let bytes = indication(SEND, |writer| {
            writer
                .peer(peer("192.0.2.1:7"))
                .attribute(attribute::DATA, b"")
                .peer(peer("192.0.2.2:7"))
                .attribute(attribute::DATA, b"second");
        });
        let send = decode_send(&bytes).unwrap();
        assert_eq!((send.peer, send.data, send.dont_fragment), (peer("192.0.2.1:7"), &b""[..], false));
    }

    // proves rfc8656:11.2-1, rfc8656:11.2-2
    #[test]
    fn what_is_missing_or_malformed_refuses_it() {
        let address = peer("192.0.2.1:7");
        assert_eq!(refused(SEND, |_| {}), Some(Refused::Incomplete));
        assert_eq!(refused(SEND, |writer| _ = writer.peer(address)), Some(Refused::Incomplete));
        assert_eq!(
            refused(SEND, |writer| _ = writer.attribute(attribute::DATA, b"x")),
            Some(Refused::Incomplete)
        );
        for bad in [&[][..], &[0, 1, 0, 0], &[0, 1, 0, 0, 0, 0, 0, 0, 0], &[0, 2, 0, 0, 0, 0, 0, 0]] {
            let write = |writer: &mut MessageWriter<'_>| {
                writer
                    .attribute(attribute::XOR_PEER_ADDRESS, bad)
                    .attribute(attribute::DATA, b"x")
                    .peer(address);
            };
            assert_eq!(refused(SEND, write), Some(Refused::Incomplete), "{bad:?}");
        }
        let write = |writer: &mut MessageWriter<'_>| {
            writer.peer(address).attribute(attribute::DATA, b"x").attribute(attribute::DONT_FRAGMENT, b"x");
        };
        assert_eq!(refused(SEND, write), Some(Refused::Incomplete));
    }

    // proves rfc8489:6.3.2-1
    #[test]
    fn an_unknown_required_attribute_refuses_it_wherever_it_stands() {
        let address = peer("192.0.2.1:7");
        for first in [true, false] {
            let write = |writer: &mut MessageWriter<'_>| {
                if first {
                    writer.attribute(0x0024, b"");
                }
                writer.peer(address).attribute(attribute::DATA, b"x");
                if !first {
                    writer.attribute(0x7FFF, b"");
                }
            };
            assert_eq!(refused(SEND, write), Some(Refused::UnknownAttribute));
        }
    }

    // proves rfc8656:17-1
    #[test]
    fn other_messages_are_refused_by_name() {
        let whole = |writer: &mut MessageWriter<'_>| {
            writer.peer(peer("192.0.2.1:7")).attribute(attribute::DATA, b"x");
        };
        assert_eq!(refused(DATA, whole), Some(Refused::NotSend));
        assert_eq!(refused(0x001, whole), Some(Refused::NotSend));
        let mut request = indication(SEND, whole);
        request[1] &= !0x10;
        assert_eq!(decode_send(&request).err(), Some(Refused::Malformed(Malformed::WrongClass)));
        let mut fingerprint = indication(SEND, |writer| {
            whole(writer);
            writer.fingerprint();
        });
        *fingerprint.last_mut().unwrap() ^= 1;
        assert_eq!(decode_send(&fingerprint).err(), Some(Refused::Malformed(Malformed::Fingerprint)));
    }

    // proves rfc8489:6.1-1, rfc8489:6.1-2
    #[test]
    fn the_data_header_ends_where_the_headroom_ends() {
        for (address, header_len) in [("192.0.2.1:7", 36), ("[2001:db8::1]:7", 48)] {
            for len in 0..9_u8 {
                let mut packet = vec![0xAA; 60];
                let taken =
                    write_data_header(&mut packet, TRANSACTION, peer(address), u16::from(len)).unwrap();
                assert_eq!(taken, header_len);
                assert!(packet[..60 - taken].iter().all(|byte| *byte == 0xAA), "no byte in front is touched");
                let data: Vec<u8> = (0..len).collect();
                packet.extend_from_slice(&data);
                packet.resize(packet.len().next_multiple_of(4), 0);
                assert_eq!(decode_data(&packet[60 - taken..]), Ok((peer(address), &data[..])));
            }
        }
        assert_eq!(DATA_HEADER_MAX, 48);
    }

    #[test]
    fn a_headroom_one_byte_too_short_is_refused_and_the_exact_one_is_not() {
        for (address, header_len) in [("192.0.2.1:7", 36), ("[2001:db8::1]:7", 48)] {
            let mut headroom = [0; DATA_HEADER_MAX];
            for room in 0..header_len {
                let refused = write_data_header(&mut headroom[..room], TRANSACTION, peer(address), 1);
                assert_eq!(refused, Err(Malformed::NoRoom));
            }
            let taken = write_data_header(&mut headroom[..header_len], TRANSACTION, peer(address), 1);
            assert_eq!(taken, Ok(header_len));
        }
    }

    #[test]
    fn data_that_the_length_field_cannot_hold_is_refused() {
        let mut headroom = [0; DATA_HEADER_MAX];
        let v6 = peer("[2001:db8::1]:7");
        assert_eq!(write_data_header(&mut headroom, TRANSACTION, v6, 65_504), Ok(48));
        assert_eq!(write_data_header(&mut headroom, TRANSACTION, v6, 65_505), Err(Malformed::NoRoom));
        assert_eq!(write_data_header(&mut headroom, TRANSACTION, v6, u16::MAX), Err(Malformed::NoRoom));
    }
}
