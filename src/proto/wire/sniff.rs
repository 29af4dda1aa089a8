//! The first bytes of a new connection decide what is spoken on it.
//!
//! | first bytes | verdict | sure after |
//! |---|---|---|
//! | `16 03 0x`, then a ClientHello (byte 5 is 1) | TLS, unless it is the next row | 6 to 50 |
//! | `16 03 01 00 2d 01 00 00 29 03 01`, `00 00 02 00 18 01 00` at 43 | pseudo-TLS: 45 bytes have no room for extensions | 50 |
//! | `00` or `01`, the magic cookie at 4 | STUN | 8 |
//! | `02 00`, `00 03` at 4, the legacy cookie at 24 | a legacy frame | 32 |
//! | a method of HTTP | HTTP | 4 to 8 |
//! | `PROXY ` or the twelve bytes of version 2 | a PROXY header | 6, 12 |
//! | `40` to `4f` and no HTTP | ChannelData, which is no first message | 4 |
//! | anything else | unknown | as soon as nothing above is possible |

use crate::proto::types::limits::SNIFF_MAX;

use super::rfc8656::framing;

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// A TLS ClientHello.
    Tls,
    /// The fake ClientHello of the legacy office communicators.
    PseudoTls,
    /// HTTP/1 or HTTP/2 with prior knowledge.
    Http,
    /// STUN, which TURN begins with.
    Stun,
    /// ChannelData.
    ChannelData,
    /// A frame of the legacy dialect.
    MsTurn,
    /// A PROXY header in text.
    ProxyV1,
    /// A PROXY header in binary.
    ProxyV2,
    /// Nothing of ours.
    Unknown,
}

impl Verdict {
    /// Every verdict, in the order of [`Self::index`].
    pub const ALL: [Self; 9] = [
        Self::Tls,
        Self::PseudoTls,
        Self::Http,
        Self::Stun,
        Self::ChannelData,
        Self::MsTurn,
        Self::ProxyV1,
        Self::ProxyV2,
        Self::Unknown,
    ];

    /// The word of the metric's label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::PseudoTls => "pseudo_tls",
            Self::Http => "http",
            Self::Stun => "stun",
            Self::ChannelData => "channel_data",
            Self::MsTurn => "ms_turn",
            Self::ProxyV1 => "proxy_v1",
            Self::ProxyV2 => "proxy_v2",
            Self::Unknown => "unknown",
        }
    }

    /// The place of the verdict in [`Self::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

const HTTP: [&[u8]; 12] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"CONNECT ",
    b"OPTIONS ",
    b"TRACE ",
    b"PATCH ",
    b"PRI * HTTP/2.0",
    b"PROPFIND ",
    b"REPORT ",
];
const PROXY_V1: &[u8] = b"PROXY ";
const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const PSEUDO_TLS: &[u8] = &[0x16, 0x03, 0x01, 0x00, 0x2D, 0x01, 0x00, 0x00, 0x29, 0x03, 0x01];
/// No session, the one cipher suite 0x0018, no compression.
const PSEUDO_TLS_END: &[u8] = &[0x00, 0x00, 0x02, 0x00, 0x18, 0x01, 0x00];
const PSEUDO_TLS_END_AT: usize = 43;
/// MS-TURN's cookie is an attribute: type 0x000F, length 4, value.
const LEGACY_COOKIE: &[u8] = &[0x00, 0x0F, 0x00, 0x04, 0x72, 0xC6, 0x4B, 0xC6];
const LEGACY_COOKIE_AT: usize = 24;

const _: () = assert!(PSEUDO_TLS_END_AT + PSEUDO_TLS_END.len() <= SNIFF_MAX);
const _: () = assert!(LEGACY_COOKIE_AT + LEGACY_COOKIE.len() <= SNIFF_MAX);

/// What the connection that begins with `bytes` speaks; `None` if more of them must be seen, which is never the case with
/// [`SNIFF_MAX`] of them.
#[must_use]
pub fn sniff(bytes: &[u8]) -> Option<Verdict> {
    let first = *bytes.first()?;
    match first {
        0x16 => tls(bytes),
        0x00 | 0x01 => is(bytes, 4, &framing::COOKIE, Verdict::Stun),
        0x02 => legacy(bytes),
        b'\r' => is(bytes, 0, PROXY_V2, Verdict::ProxyV2),
        b'@'..=b'Z' => words(bytes),
        _ => Some(Verdict::Unknown),
    }
}

/// Whether `pattern` stands at `at`; `None` if it may yet.
fn stands(bytes: &[u8], at: usize, pattern: &[u8]) -> Option<bool> {
    let there = bytes.get(at..).unwrap_or_default();
    if there.iter().zip(pattern).any(|(one, other)| one != other) {
        return Some(false);
    }
    (there.len() >= pattern.len()).then_some(true)
}

fn is(bytes: &[u8], at: usize, pattern: &[u8], verdict: Verdict) -> Option<Verdict> {
    Some(if stands(bytes, at, pattern)? { verdict } else { Verdict::Unknown })
}

fn tls(bytes: &[u8]) -> Option<Verdict> {
    if bytes.get(1).is_some_and(|major| *major != 3) || bytes.get(2).is_some_and(|minor| *minor > 4) {
        return Some(Verdict::Unknown);
    }
    if *bytes.get(5)? != 1 {
        return Some(Verdict::Unknown);
    }
    if stands(bytes, 0, PSEUDO_TLS)? && stands(bytes, PSEUDO_TLS_END_AT, PSEUDO_TLS_END)? {
        return Some(Verdict::PseudoTls);
    }
    Some(Verdict::Tls)
}

fn legacy(bytes: &[u8]) -> Option<Verdict> {
    let control = stands(bytes, 1, &[0x00])? && stands(bytes, 4, &[0x00, 0x03])?;
    if !control {
        return Some(Verdict::Unknown);
    }
    is(bytes, LEGACY_COOKIE_AT, LEGACY_COOKIE, Verdict::MsTurn)
}

/// What begins with a capital letter, or with a channel number that looks like one.
fn words(bytes: &[u8]) -> Option<Verdict> {
    let mut open = false;
    let of_http = HTTP.iter().map(|word| (*word, Verdict::Http));
    for (word, verdict) in of_http.chain([(PROXY_V1, Verdict::ProxyV1)]) {
        match stands(bytes, 0, word) {
            Some(true) => return Some(verdict),
            Some(false) => {}
            None => open = true,
        }
    }
    match bytes[0] {
        _ if open => None,
        0x40..=0x4F if bytes.len() < 4 => None,
        0x40..=0x4F => Some(Verdict::ChannelData),
        _ => Some(Verdict::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pseudo_tls() -> Vec<u8> {
        let mut hello = PSEUDO_TLS.to_vec();
        hello.resize(PSEUDO_TLS_END_AT, 0x77);
        hello.extend_from_slice(PSEUDO_TLS_END);
        hello
    }

    fn legacy_frame() -> Vec<u8> {
        let mut frame = vec![0x02, 0x00, 0x00, 0x24, 0x00, 0x03, 0x00, 0x08];
        frame.resize(LEGACY_COOKIE_AT, 0x11);
        frame.extend_from_slice(LEGACY_COOKIE);
        frame
    }

    fn stun(first: u8) -> Vec<u8> {
        vec![first, 0x03, 0x00, 0x00, 0x21, 0x12, 0xA4, 0x42]
    }

    /// The bytes, the verdict, and after how many of them it is known.
    fn table() -> Vec<(Vec<u8>, Verdict, usize)> {
        let mut other_tls = pseudo_tls();
        other_tls[46] = 0x19;
        let mut goog_ping = vec![0x02, 0x00, 0x00, 0x10];
        goog_ping.extend_from_slice(&framing::COOKIE);
        let mut no_cookie = legacy_frame();
        no_cookie[31] ^= 1;
        vec![
            (pseudo_tls(), Verdict::PseudoTls, 50),
            (other_tls, Verdict::Tls, 47),
            (vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xFC, 0x03, 0x03], Verdict::Tls, 6),
            (vec![0x16, 0x03, 0x01, 0x00, 0x2D, 0x01, 0x00, 0x00, 0x29, 0x03, 0x03], Verdict::Tls, 11),
            (vec![0x16, 0x02], Verdict::Unknown, 2),
            (vec![0x16, 0x03, 0x05], Verdict::Unknown, 3),
            (vec![0x16, 0x03, 0x01, 0x00, 0x2D, 0x02], Verdict::Unknown, 6),
            (legacy_frame(), Verdict::MsTurn, 32),
            (no_cookie, Verdict::Unknown, 32),
            (goog_ping, Verdict::Unknown, 5),
            (vec![0x03, 0x00], Verdict::Unknown, 1),
            (stun(0x00), Verdict::Stun, 8),
            (stun(0x01), Verdict::Stun, 8),
            (vec![0x00, 0x14, 0x00, 0x01, 0x00], Verdict::Unknown, 5),
            (b"GET / HTTP/1.1\r\n".to_vec(), Verdict::Http, 4),
            (b"HEAD /".to_vec(), Verdict::Http, 5),
            (b"CONNECT x".to_vec(), Verdict::Http, 8),
            (b"OPTIONS *".to_vec(), Verdict::Http, 8),
            (b"POST /".to_vec(), Verdict::Http, 5),
            (b"PRI * HTTP/2.0\r\n".to_vec(), Verdict::Http, 14),
            (b"PROXY TCP4 ".to_vec(), Verdict::ProxyV1, 6),
            (b"PROXXY".to_vec(), Verdict::Unknown, 5),
            (PROXY_V2.to_vec(), Verdict::ProxyV2, 12),
            (b"\r\n\r\n\0\r\nQUIX".to_vec(), Verdict::Unknown, 11),
            (vec![0x40, 0x01, 0x00, 0x04], Verdict::ChannelData, 4),
            (b"GETX".to_vec(), Verdict::ChannelData, 4),
            (vec![0x80, 0x46, 0x01, 0x03, 0x01], Verdict::Unknown, 1),
            (vec![0x05, 0x01, 0x00], Verdict::Unknown, 1),
            (vec![0x17, 0x03, 0x03], Verdict::Unknown, 1),
            (b"SSH-2.0".to_vec(), Verdict::Unknown, 1),
        ]
    }

    #[test]
    fn each_row_has_its_verdict_as_soon_as_it_is_sure_and_not_before() {
        for (bytes, verdict, sure) in table() {
            let first = (0..=bytes.len()).find(|len| sniff(&bytes[..*len]).is_some());
            assert_eq!(first, Some(sure), "{bytes:02x?}");
            for len in sure..=bytes.len() {
                assert_eq!(sniff(&bytes[..len]), Some(verdict), "{len} of {bytes:02x?}");
            }
        }
    }

    #[test]
    fn every_verdict_stands_in_the_table_and_has_its_own_word_and_place() {
        let words: std::collections::BTreeSet<_> =
            Verdict::ALL.iter().map(|verdict| verdict.word()).collect();
        assert_eq!(words.len(), Verdict::ALL.len());
        for (index, verdict) in Verdict::ALL.into_iter().enumerate() {
            assert_eq!(verdict.index(), index);
            assert!(table().iter().any(|(_, other, _)| *other == verdict), "{verdict:?}");
        }
    }

    proptest! {
        #[test]
        fn so_many_bytes_are_always_enough_and_a_verdict_never_changes(
            row in 0..table().len(),
            noise in prop::collection::vec(any::<u8>(), SNIFF_MAX),
            kept in 0_usize..SNIFF_MAX,
        ) {
            let mut bytes = table()[row].0.clone();
            bytes.truncate(kept);
            let rest = bytes.len();
            bytes.extend_from_slice(&noise[rest.min(SNIFF_MAX)..]);
            let verdict = sniff(&bytes[..SNIFF_MAX]);
            prop_assert!(verdict.is_some());
            let mut known = None;
            for len in 0..=SNIFF_MAX {
                let now = sniff(&bytes[..len]);
                prop_assert!(known.is_none() || known == now);
                known = now;
            }
            prop_assert_eq!(known, verdict);
        }
    }
}
