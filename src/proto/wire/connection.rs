//! What RFC 6062 adds to the messages, as far as it is looked at before, or without, the rest: which connection a
//! ConnectionBind is about, and the ConnectionAttempt indication.

use crate::proto::types::ConnectionId;
use crate::proto::types::PeerAddr;

use super::Method;
use super::TransactionId;
use super::rfc8656::attributes as attribute;
use super::rfc8656::encode::MessageWriter;
use super::rfc8656::framing::Frame;
use super::rfc8656::framing::MessageClass;

/// The method of a ConnectionAttempt indication (RFC 6062 § 6.1).
pub const CONNECTION_ATTEMPT: u16 = 0x00C;
/// Room for a ConnectionAttempt indication.
pub const CONNECTION_ATTEMPT_MAX: usize = 20 + 24 + 8;

/// The connection that `message` asks to be joined to, if it is a ConnectionBind request that names one. Nothing proves
/// that it may.
#[must_use]
pub fn bind_to(message: &[u8]) -> Option<ConnectionId> {
    let frame = Frame::parse(message).ok().filter(|frame| is_bind_frame(frame))?;
    let mut attributes = frame.attributes();
    while let Ok(Some(found)) = attributes.next() {
        if found.kind == attribute::CONNECTION_ID {
            return attribute::read_u32(found.value).map(ConnectionId::from_wire);
        }
    }
    None
}

/// Whether `message` is a ConnectionBind request.
#[must_use]
pub fn is_bind(message: &[u8]) -> bool {
    Frame::parse(message).is_ok_and(|frame| is_bind_frame(&frame))
}

/// Whether `message` is an error response to a ConnectionBind request.
#[must_use]
pub fn is_bind_refused(message: &[u8]) -> bool {
    let is = |frame: &Frame<'_>| {
        frame.class == MessageClass::Error && frame.method == Method::ConnectionBind.number()
    };
    Frame::parse(message).is_ok_and(|frame| is(&frame))
}

fn is_bind_frame(frame: &Frame<'_>) -> bool {
    frame.class == MessageClass::Request && frame.method == Method::ConnectionBind.number()
}

/// Writes a ConnectionAttempt indication (RFC 6062 § 5.3), which is never signed, and answers its length.
pub fn encode_attempt(
    transaction: TransactionId,
    peer: PeerAddr,
    connection: ConnectionId,
    out: &mut [u8; CONNECTION_ATTEMPT_MAX],
) -> usize {
    let method = Method::from_number(CONNECTION_ATTEMPT);
    let mut writer = MessageWriter::new(out, MessageClass::Indication, method, transaction);
    writer.peer(peer).attribute(attribute::CONNECTION_ID, &connection.to_wire().to_be_bytes());
    writer.finish().expect("the room is for the longest")
}

/// Reads a ConnectionAttempt indication, as a client does: the peer, and what to ask for in a ConnectionBind. `None` if it
/// is none, or not whole.
#[must_use]
pub fn decode_attempt(message: &[u8]) -> Option<(PeerAddr, ConnectionId)> {
    let is =
        |frame: &Frame<'_>| frame.class == MessageClass::Indication && frame.method == CONNECTION_ATTEMPT;
    let frame = Frame::parse(message).ok().filter(is)?;
    let (mut peer, mut connection) = (None, None);
    let mut attributes = frame.attributes();
    while let Some(found) = attributes.next().ok()? {
        match found.kind {
            attribute::XOR_PEER_ADDRESS if peer.is_none() => {
                peer = attribute::read_xor_address(found.value, frame.transaction).map(PeerAddr::new);
            }
            attribute::CONNECTION_ID if connection.is_none() => {
                connection = attribute::read_u32(found.value).map(ConnectionId::from_wire);
            }
            _ => {}
        }
    }
    peer.zip(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSACTION: TransactionId = TransactionId::with_cookie(*b"transaction!");

    fn message(class: MessageClass, method: Method, id: &[u8]) -> Vec<u8> {
        let mut out = [0; 100];
        let mut writer = MessageWriter::new(&mut out, class, method, TRANSACTION);
        writer.attribute(attribute::SOFTWARE, b"x").attribute(attribute::CONNECTION_ID, id);
        let len = writer.finish().expect("room");
        out[..len].to_vec()
    }

    #[test]
    fn a_bind_is_told_from_all_else_and_names_its_connection() {
        let bind = message(MessageClass::Request, Method::ConnectionBind, &[1, 2, 3, 4]);
        assert!(is_bind(&bind) && !is_bind_refused(&bind));
        assert_eq!(bind_to(&bind), Some(ConnectionId::from_wire(0x0102_0304)));
        for (class, method, id) in [
            (MessageClass::Request, Method::Connect, &[1, 2, 3, 4][..]),
            (MessageClass::Error, Method::ConnectionBind, &[1, 2, 3, 4]),
            (MessageClass::Request, Method::ConnectionBind, &[1, 2, 3]),
            (MessageClass::Request, Method::ConnectionBind, &[]),
        ] {
            assert_eq!(bind_to(&message(class, method, id)), None, "{class:?} {method:?} {id:?}");
        }
        assert!(is_bind_refused(&message(MessageClass::Error, Method::ConnectionBind, &[])));
        assert!(!is_bind_refused(&message(MessageClass::Success, Method::ConnectionBind, &[])));
        assert_eq!(
            (bind_to(b"GET / HTTP/1.1"), is_bind(&[]), is_bind_refused(&bind[..19])),
            (None, false, false)
        );
    }

    // proves rfc6062:6.1-1, rfc6062:6.2.1-1
    #[test]
    fn an_attempt_byte_by_byte() {
        let peer = PeerAddr::new("192.0.2.1:32853".parse().expect("an address"));
        let mut out = [0xAA; CONNECTION_ATTEMPT_MAX];
        let len = encode_attempt(TRANSACTION, peer, ConnectionId::from_wire(0x0102_0304), &mut out);
        let expected = [
            &b"\x00\x1c\x00\x14\x21\x12\xa4\x42transaction!"[..],
            b"\x00\x12\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43",
            b"\x00\x2a\x00\x04\x01\x02\x03\x04",
        ];
        assert_eq!(out[..len], expected.concat());
        assert_eq!(decode_attempt(&out[..len]), Some((peer, ConnectionId::from_wire(0x0102_0304))));
        assert_eq!((decode_attempt(&out[..len - 8]), decode_attempt(&[])), (None, None));
        let v6 = PeerAddr::new("[2001:db8::1]:1".parse().expect("an address"));
        assert_eq!(
            encode_attempt(TRANSACTION, v6, ConnectionId::from_wire(0), &mut out),
            CONNECTION_ATTEMPT_MAX
        );
        let numbers = [Method::Connect, Method::ConnectionBind].map(Method::number);
        assert_eq!(numbers, [0x00A, 0x00B]);
    }
}
