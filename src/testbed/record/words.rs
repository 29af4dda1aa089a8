//! What a packet is, in words.

use crate::nat::Protocol;

use super::Sighting;

/// RFC 8489 § 5.
const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const ERROR_CODE: u16 = 0x0009;
const USE_CANDIDATE: u16 = 0x0025;

/// What is to be said about a packet: what it is, and what the laboratory noted.
pub(super) fn comment(sighting: &Sighting) -> String {
    said(sighting.protocol, &sighting.bytes, &sighting.note)
}

/// The same of what is carried behind the header of UDP or TCP.
#[must_use]
pub fn said(protocol: Protocol, bytes: &[u8], note: &str) -> String {
    let what = what(protocol, bytes);
    match (what.is_empty(), note.is_empty()) {
        (_, true) => what,
        (true, false) => note.to_owned(),
        (false, false) => format!("{what}; {note}"),
    }
}

fn what(protocol: Protocol, bytes: &[u8]) -> String {
    if let Protocol::Tcp(flags) = protocol {
        match bytes {
            _ if flags.syn && !flags.ack => return "asks for a connection".to_owned(),
            _ if flags.rst => return "refuses or breaks the connection".to_owned(),
            _ if flags.fin => return "ends the connection".to_owned(),
            [] => return String::new(),
            [b'C', b'O', b'N', b'N', b'E', b'C', b'T', ..] | [b'H', b'T', b'T', b'P', ..] => {
                let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
                return String::from_utf8_lossy(line).into_owned();
            }
            [22, 3, ..] => return "TLS handshake".to_owned(),
            [23, 3, ..] => return "TLS, opaque from here".to_owned(),
            _ => {}
        }
    }
    match bytes {
        [first, ..] if (0x40..=0x4F).contains(first) => "ChannelData".to_owned(),
        [first, ..] if *first < 4 && bytes.get(4..8) == Some(&COOKIE) => stun(bytes),
        [b'S', b'B', ..] => "media".to_owned(),
        _ => String::new(),
    }
}

fn stun(bytes: &[u8]) -> String {
    let kind = u16::from_be_bytes([bytes[0], bytes[1]]);
    let method = (kind & 0x000F) | (kind >> 1 & 0x0070) | (kind >> 2 & 0x0F80);
    let name = match method {
        0x001 => "Binding",
        0x003 => "Allocate",
        0x004 => "Refresh",
        0x006 => "Send",
        0x007 => "Data",
        0x008 => "CreatePermission",
        0x009 => "ChannelBind",
        _ => "STUN",
    };
    match kind & 0x0110 {
        0x0000 if attribute(bytes, USE_CANDIDATE).is_some() => {
            format!("{name} request that nominates this pair")
        }
        0x0000 => format!("{name} request"),
        0x0010 => format!("{name} indication"),
        0x0100 => format!("{name}: granted"),
        _ => match attribute(bytes, ERROR_CODE) {
            Some([_, _, class, number, ..]) => refused(name, u16::from(class & 7) * 100 + u16::from(*number)),
            _ => format!("{name}: refused without a code"),
        },
    }
}

fn refused(name: &str, code: u16) -> String {
    let why = match code {
        300 => "the server sends the client to another",
        400 => "the server does not understand the request",
        401 => {
            "the first request carries no integrity: expected; a second 401 means a wrong name or password"
        }
        403 => "the server lets nobody reach this peer",
        437 => "the allocation is not what the client believes",
        438 => "the nonce has run out; the client asks again with the new one",
        441 => "the allocation is of another user",
        486 => "the user has as many allocations as allowed",
        487 => "both agents believe that they nominate; one gives way",
        508 => "the server has no room",
        _ => "refused",
    };
    format!("{name}: {code}: {why}")
}

/// The value of the first attribute of a type, as far as it is whole.
fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = bytes.get(20..)?;
    loop {
        let [high, low, len_high, len_low, behind @ ..] = rest else { return None };
        let len = usize::from(u16::from_be_bytes([*len_high, *len_low]));
        if u16::from_be_bytes([*high, *low]) == wanted {
            return behind.get(..len);
        }
        rest = behind.get(len.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::Point;
    use super::*;
    use crate::nat::TcpFlags;

    fn told(protocol: Protocol, bytes: &[u8], note: &str) -> String {
        let at = "192.0.2.1:1".parse().unwrap();
        comment(&Sighting {
            at: Duration::ZERO,
            point: Point::Server,
            protocol,
            source: at,
            destination: at,
            sequence: 0,
            bytes: bytes.into(),
            note: note.to_owned(),
        })
    }

    fn message(kind: u16, attribute: &[u8]) -> Vec<u8> {
        let len = u16::try_from(attribute.len()).unwrap().to_be_bytes();
        [&kind.to_be_bytes()[..], &len, &COOKIE, &[7; 12], attribute].concat()
    }

    #[test]
    fn packets_are_told_in_words() {
        let udp = |bytes: &[u8]| told(Protocol::Udp, bytes, "");
        assert_eq!(udp(&message(0x0001, b"")), "Binding request");
        assert_eq!(udp(&message(0x0001, &[0, 0x25, 0, 0])), "Binding request that nominates this pair");
        assert_eq!(udp(&message(0x0103, b"")), "Allocate: granted");
        let unauthorized = message(0x0113, &[0x80, 0x22, 0, 3, b'a', b'b', b'c', 0, 0, 9, 0, 4, 0, 0, 4, 1]);
        assert!(
            udp(&unauthorized).starts_with("Allocate: 401: the first request carries no integrity: expected")
        );
        assert_eq!(udp(&[0x40, 0, 0, 0]), "ChannelData");
        let tcp = Protocol::Tcp(TcpFlags::ACK);
        assert_eq!(told(tcp, b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", ""), "CONNECT a:443 HTTP/1.1");
        assert_eq!(
            told(Protocol::Tcp(TcpFlags::SYN), b"", "lost on the link"),
            "asks for a connection; lost on the link"
        );
        assert_eq!(told(tcp, b"", "x"), "x");
    }

    proptest! {
        #[test]
        fn any_bytes_have_words_or_none(bytes in prop::collection::vec(any::<u8>(), 0..80), kind in 0..0x400_u16) {
            told(Protocol::Udp, &bytes, "");
            told(Protocol::Tcp(TcpFlags::ACK), &bytes, "");
            told(Protocol::Udp, &message(kind, &bytes), "");
        }
    }
}
