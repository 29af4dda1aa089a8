//! The first bytes of a datagram decide what it is.

use crate::proto::types::Dialect;

use super::ms_turn;
use super::rfc3489;
use super::rfc8656::framing;
use super::rfc8656::framing::MessageClass;

/// What a datagram's first bytes say it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// First byte 0x40–0x7F: a ChannelData message. RFC 8656 ends at 0x4F; the rest is RFC 5766's, and without a
    /// channel of that number it is dropped all the same.
    ChannelData,
    /// A STUN request of RFC 8489, by header alone.
    Request,
    /// A Binding request of RFC 3489, on a five-tuple without an allocation.
    ClassicBinding,
    /// A STUN indication.
    Indication,
    /// A STUN success or error response: nothing a server asked for.
    Answer,
    /// Anything else.
    Unknown,
    /// A control message of [MS-TURN].
    Legacy,
    /// Whatever else comes on a five-tuple whose allocation speaks [MS-TURN]: data for its active destination.
    LegacyData,
}

/// Classifies `datagram`, that came on a five-tuple whose allocation, if there is one, speaks `dialect`.
///
/// Only what distinguishes the classes is looked at; whether the message is whole is the decoder's to say.
#[must_use]
pub fn classify(datagram: &[u8], dialect: Option<Dialect>) -> Class {
    match dialect {
        // Looked for first: a transaction id of [MS-TURN] may begin with the other dialect's cookie, and no message of
        // that dialect has an attribute of this type.
        None if datagram.first() == Some(&0) && ms_turn::framing::is_control(datagram) => Class::Legacy,
        None if rfc3489::is_binding_request(datagram) => Class::ClassicBinding,
        None | Some(Dialect::Rfc8656) => classify_rfc8656(datagram),
        Some(Dialect::MsTurn) if ms_turn::framing::is_request(datagram) => Class::Legacy,
        Some(Dialect::MsTurn) => Class::LegacyData,
    }
}

fn classify_rfc8656(datagram: &[u8]) -> Class {
    match datagram.first() {
        Some(0x40..=0x7F) => Class::ChannelData,
        Some(0x00..=0x3F) => classify_stun(datagram),
        _ => Class::Unknown,
    }
}

fn classify_stun(datagram: &[u8]) -> Class {
    let Some(&[t0, t1, _, _, ref transaction @ ..]) = datagram.first_chunk::<{ framing::HEADER_LEN }>()
    else {
        return Class::Unknown;
    };
    if !transaction.starts_with(&framing::COOKIE) {
        return Class::Unknown;
    }
    match MessageClass::of(u16::from_be_bytes([t0, t1])) {
        MessageClass::Request => Class::Request,
        MessageClass::Indication => Class::Indication,
        MessageClass::Success | MessageClass::Error => Class::Answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stun(t0: u8, t1: u8) -> Vec<u8> {
        let mut message = vec![t0, t1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
        message.extend_from_slice(&[0; 12]);
        message
    }

    fn of(datagram: &[u8]) -> Class {
        let class = classify(datagram, None);
        assert_eq!(classify(datagram, Some(Dialect::Rfc8656)), class);
        class
    }

    // proves rfc8489:11-4
    #[test]
    fn an_indication_without_the_cookie_is_nothing() {
        let mut indication = stun(0x00, 0x11);
        assert_eq!(of(&indication), Class::Indication);
        indication[4] ^= 1;
        assert_eq!(of(&indication), Class::Unknown);
    }

    // proves rfc8656:12-2
    #[test]
    fn the_first_byte_splits_the_space() {
        for first in 0..=255 {
            let expected = match first {
                0x40..=0x7F => Class::ChannelData,
                0x00..=0x3F if first & 1 == 1 => Class::Answer,
                0x00..=0x3F => Class::Request,
                _ => Class::Unknown,
            };
            assert_eq!(of(&stun(first, 0x01)), expected, "{first:#04x}");
        }
    }

    #[test]
    fn class_bits_decide_within_stun() {
        assert_eq!(of(&stun(0x00, 0x03)), Class::Request);
        assert_eq!(of(&stun(0x00, 0x16)), Class::Indication);
        assert_eq!(of(&stun(0x01, 0x03)), Class::Answer);
        assert_eq!(of(&stun(0x01, 0x13)), Class::Answer);
    }

    // proves rfc8656:5-15
    #[test]
    fn a_stun_header_is_whole_and_has_the_cookie() {
        let message = stun(0x00, 0x03);
        for len in 0..20 {
            assert_eq!(of(&message[..len]), Class::Unknown, "{len} bytes");
        }
        for at in 4..8 {
            let mut other = message.clone();
            other[at] ^= 0xFF;
            assert_eq!(of(&other), Class::Unknown, "cookie byte {at}");
        }
    }

    #[test]
    fn a_binding_request_without_a_cookie_is_classic_unless_there_is_an_allocation() {
        let mut message = stun(0x00, 0x01);
        message[4] = 0;
        assert_eq!(classify(&message, None), Class::ClassicBinding);
        assert_eq!(classify(&message, Some(Dialect::Rfc8656)), Class::Unknown);
        message.push(0);
        assert_eq!(classify(&message, None), Class::Unknown, "longer than its length field says");
    }

    fn legacy(kind: u16, transaction: [u8; 16]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &[0, 8], &transaction, &ms_turn::framing::COOKIE].concat()
    }

    #[test]
    fn the_cookie_of_the_old_dialect_is_looked_for_where_nothing_is_known_yet() {
        let mut disguised = [7; 16];
        disguised[..4].copy_from_slice(&framing::COOKIE);
        for transaction in [[7; 16], disguised] {
            for kind in [0x0003, 0x0004, 0x0006, 0x0007] {
                assert_eq!(classify(&legacy(kind, transaction), None), Class::Legacy);
            }
            assert_ne!(classify(&legacy(0x0103, transaction), None), Class::Legacy, "byte 0 is zero");
            let message = legacy(0x0003, transaction);
            assert_ne!(classify(&message[..27], None), Class::Legacy);
            let expected = if transaction == disguised { Class::Request } else { Class::Unknown };
            assert_eq!(classify(&message, Some(Dialect::Rfc8656)), expected, "not where the other one lives");
        }
    }

    #[test]
    fn where_the_old_dialect_lives_all_but_its_requests_is_data() {
        let of = |datagram: &[u8]| classify(datagram, Some(Dialect::MsTurn));
        for kind in [0x0003, 0x0004, 0x0006] {
            assert_eq!(of(&legacy(kind, [7; 16])), Class::Legacy);
        }
        for kind in [0x0001, 0x0005, 0x0103, 0x0115] {
            assert_eq!(of(&legacy(kind, [7; 16])), Class::LegacyData);
        }
        for data in [&stun(0, 1)[..], &stun(0, 3), &[0x40, 0, 0, 0], &[0x80, 0, 1], &[0x16, 0xFE, 0xFD], &[]]
        {
            assert_eq!(of(data), Class::LegacyData);
        }
        assert_eq!(of(&legacy(0x0003, [7; 16])[..27]), Class::LegacyData);
    }

    #[test]
    fn tls_dtls_and_rtp_are_unknown() {
        for first in [0x16, 0x17, 0x80] {
            let mut datagram = vec![first; 40];
            datagram[1] = 3;
            assert_eq!(of(&datagram), Class::Unknown, "{first:#04x}");
        }
    }
}
