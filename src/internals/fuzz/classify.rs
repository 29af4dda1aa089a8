//! The first bytes of a datagram: the classes as the standards draw them, and no decoder that disagrees.

use crate::proto::types::Dialect;
use crate::proto::wire::channel_data;
use crate::proto::wire::classify::Class;
use crate::proto::wire::classify::classify;
use crate::proto::wire::indication;
use crate::proto::wire::rfc3489;
use crate::proto::wire::rfc8656::decode::decode_request;
use crate::proto::wire::rfc8656::decode::decode_response;

pub(super) fn body(datagram: &[u8]) {
    let stranger = classify(datagram, None);
    let client = classify(datagram, Some(Dialect::Rfc8656));
    assert_eq!(client, expected(datagram), "of a client: {datagram:02x?}");
    let classic = is_classic(datagram);
    assert_eq!(
        stranger,
        match (is_legacy(datagram), classic) {
            (true, _) => Class::Legacy,
            (false, true) => Class::ClassicBinding,
            (false, false) => client,
        },
        "of a stranger: {datagram:02x?}"
    );
    // But for the length of a classic request nothing behind the header is looked at.
    let header = &datagram[..datagram.len().min(20)];
    assert_eq!(classify(header, Some(Dialect::Rfc8656)), client);

    let decoded = [
        (decode_request(datagram).is_ok(), Class::Request),
        (decode_response(datagram).is_ok(), Class::Answer),
        (indication::decode_send(datagram).is_ok(), Class::Indication),
        (indication::decode_data(datagram).is_ok(), Class::Indication),
        (channel_data::decode(datagram).is_ok(), Class::ChannelData),
        (rfc3489::decode_binding(datagram).is_ok(), Class::ClassicBinding),
    ];
    for (_, class) in decoded.iter().filter(|(is_read, _)| *is_read) {
        // What begins like [MS-TURN] may be a message of the other dialect too.
        assert_eq!(*class, if stranger == Class::Legacy { client } else { stranger }, "{datagram:02x?}");
    }
}

/// RFC 8489 § 5 and RFC 8656 § 12.
fn expected(datagram: &[u8]) -> Class {
    let Some(first) = datagram.first() else { return Class::Unknown };
    if (0x40..0x80).contains(first) {
        return Class::ChannelData;
    }
    if datagram.len() < 20 || *first >= 0x40 || datagram[4..8] != 0x2112_A442_u32.to_be_bytes() {
        return Class::Unknown;
    }
    match (first & 1, datagram[1] >> 4 & 1) {
        (0, 0) => Class::Request,
        (0, _) => Class::Indication,
        _ => Class::Answer,
    }
}

/// [MS-TURN] § 2.2.2.8, of a five-tuple of which nothing is known: byte 0 is zero, the cookie follows the header.
fn is_legacy(datagram: &[u8]) -> bool {
    datagram.first() == Some(&0) && datagram.get(20..28) == Some(&[0, 0x0F, 0, 4, 0x72, 0xC6, 0x4B, 0xC6][..])
}

/// RFC 3489 § 11.1, less what begins like [MS-TURN].
fn is_classic(datagram: &[u8]) -> bool {
    datagram.len() >= 20
        && datagram.len().is_multiple_of(4)
        && datagram[..2] == [0, 1]
        && usize::from(datagram[2]) * 256 + usize::from(datagram[3]) + 20 == datagram.len()
        && datagram[4..8] != [0x21, 0x12, 0xA4, 0x42]
        && !datagram[20..].starts_with(&[0, 0x0F, 0, 4])
}
