//! The header by which a proxy in front tells whose connection it passes on (the PROXY protocol, versions 1 and 2).
//!
//! ```text
//!   1 │ PROXY TCP4 192.0.2.1 192.0.2.9 50000 443\r\n │            a line of 107 bytes at most; UNKNOWN says nothing
//!   2 │ signature 96 │ 2 4 │ command 4 │ family 4 │ transport 4 │ length 16 │ addresses │ type 8 │ length 16 │ … │
//! ```
//!
//! Read as strictly as the specification lets: the sender is a program that the operator trusts, and what deviates comes
//! from somewhere else. Unknown additions are skipped, and the checksum is verified if there is one.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::str;

use crate::proto::types::limits::PROXY_HEADER_MAX;

/// The longest header that [`encode`] writes: two IPv6 addresses, and that the client spoke TLS.
pub const ENCODED_MAX: usize = V2_HEAD_LEN + V6_LEN + TLS_ADDITION.len();

const V1: &[u8] = b"PROXY ";
/// With the end of the line.
const V1_LEN_MAX: usize = 107;
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEAD_LEN: usize = 16;
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const STREAM: u8 = 1;
const V4: u8 = 0x10;
const V6: u8 = 0x20;
const V4_LEN: usize = 12;
const V6_LEN: usize = 36;
const UNIX_LEN: usize = 216;
const ADDITION_HEAD_LEN: usize = 3;
const CHECKSUM: u8 = 3;
const CHECKSUM_LEN: usize = 4;
/// PP2_TYPE_SSL, 5 bytes: the client spoke TLS, and no certificate of its own was verified.
const TLS_ADDITION: [u8; 8] = [0x20, 0, 5, 1, 0, 0, 0, 1];

const _: () = assert!(V1_LEN_MAX <= PROXY_HEADER_MAX);
const _: () = assert!(V2_HEAD_LEN + UNIX_LEN <= PROXY_HEADER_MAX);

/// What stands at the beginning of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A whole header.
    Whole(Header),
    /// The beginning of one. Never said of [`PROXY_HEADER_MAX`] bytes.
    More,
    /// No header, a broken one, or one that is too long.
    Broken,
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its bytes; what follows is the connection's own.
    pub len: usize,
    /// Whose connection it is; `None` if it is the proxy's own, or if the proxy cannot tell.
    pub ends: Option<Ends>,
    /// Of which version it is.
    pub version: Version,
}

/// Both ends of a connection as the proxy saw it, of one family. IPv4 addresses written as IPv6 are IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Who connected to the proxy.
    pub client: SocketAddr,
    /// Where the proxy was connected to.
    pub server: SocketAddr,
}

/// The version of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The line of text.
    One,
    /// The binary one.
    Two,
}

/// Looks at `bytes`, the beginning of a connection.
#[must_use]
pub fn look(bytes: &[u8]) -> Look {
    match bytes.first() {
        None => Look::More,
        Some(b'P') => line(bytes),
        Some(b'\r') => binary(bytes),
        Some(_) => Look::Broken,
    }
}

fn line(bytes: &[u8]) -> Look {
    if bytes.iter().zip(V1).any(|(one, other)| one != other) {
        return Look::Broken;
    }
    let window = &bytes[..bytes.len().min(V1_LEN_MAX)];
    let Some(end) = window.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return if window.len() == V1_LEN_MAX { Look::Broken } else { Look::More };
    };
    match window[end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if window.len() < V1_LEN_MAX => return Look::More,
        _ => return Look::Broken,
    }
    let Some(words) = bytes.get(V1.len()..end) else { return Look::Broken };
    let whole = |ends| Look::Whole(Header { len: end + 2, ends, version: Version::One });
    if words == b"UNKNOWN" || words.starts_with(b"UNKNOWN ") {
        return whole(None);
    }
    line_ends(words).map_or(Look::Broken, |ends| whole(Some(ends)))
}

fn line_ends(words: &[u8]) -> Option<Ends> {
    let mut words = str::from_utf8(words).ok()?.split(' ');
    let ip = match words.next()? {
        "TCP4" => |word: &str| word.parse::<Ipv4Addr>().ok().map(IpAddr::from),
        "TCP6" => |word: &str| word.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        _ => return None,
    };
    let (client, server) = (ip(words.next()?)?, ip(words.next()?)?);
    let (client_port, server_port) = (port(words.next()?)?, port(words.next()?)?);
    let ends = Ends::new(SocketAddr::new(client, client_port), SocketAddr::new(server, server_port));
    words.next().is_none().then_some(ends)
}

/// Decimal, without a sign and without zeros in front.
fn port(word: &str) -> Option<u16> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    if plain { word.parse().ok() } else { None }
}

fn binary(bytes: &[u8]) -> Look {
    if bytes.iter().zip(SIGNATURE).any(|(one, other)| *one != other) {
        return Look::Broken;
    }
    let Some((head, rest)) = bytes.split_first_chunk::<V2_HEAD_LEN>() else {
        let soon = bytes.get(SIGNATURE.len()).is_none_or(|byte| matches!(*byte, LOCAL | PROXY));
        return if soon { Look::More } else { Look::Broken };
    };
    let [.., command, kind, l0, l1] = *head;
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    if !matches!(command, LOCAL | PROXY) || V2_HEAD_LEN + len > PROXY_HEADER_MAX {
        return Look::Broken;
    }
    let Some(body) = rest.get(..len) else { return Look::More };
    let ends = match command {
        // Whatever it holds.
        LOCAL => Some(None),
        _ => binary_ends(head, kind, body),
    };
    let whole = |ends| Look::Whole(Header { len: V2_HEAD_LEN + len, ends, version: Version::Two });
    ends.map_or(Look::Broken, whole)
}

/// The ends that a header names, if it does; `None` outside if it is broken.
fn binary_ends(head: &[u8; V2_HEAD_LEN], kind: u8, body: &[u8]) -> Option<Option<Ends>> {
    let (family, transport) = (kind & 0xF0, kind & 0x0F);
    let addresses_len = match (family, transport) {
        (_, 3..) => return None,
        (0, _) => return Some(None),
        (V4, _) => V4_LEN,
        (V6, _) => V6_LEN,
        (0x30, _) => UNIX_LEN,
        _ => return None,
    };
    let (addresses, additions) = body.split_at_checked(addresses_len)?;
    if !additions_are_sound(head, addresses, additions) {
        return None;
    }
    Some(match family {
        V4 if transport == STREAM => of_parts(addresses, |ip: [u8; 4]| ip.into()),
        V6 if transport == STREAM => of_parts(addresses, |ip: [u8; 16]| ip.into()),
        // Neither datagrams nor sockets of the file system arrive here: nothing is said of this connection.
        _ => None,
    })
}

fn of_parts<const N: usize>(addresses: &[u8], ip: fn([u8; N]) -> IpAddr) -> Option<Ends> {
    let (client, rest) = addresses.split_first_chunk()?;
    let (server, ports) = rest.split_first_chunk()?;
    let &[c0, c1, s0, s1] = ports else { return None };
    let client = SocketAddr::new(ip(*client), u16::from_be_bytes([c0, c1]));
    Some(Ends::new(client, SocketAddr::new(ip(*server), u16::from_be_bytes([s0, s1]))))
}

/// Whether the additions fill their room, and the checksum, if there is one, is right.
fn additions_are_sound(head: &[u8; V2_HEAD_LEN], addresses: &[u8], additions: &[u8]) -> bool {
    let (mut at, mut checked) = (0, false);
    while at < additions.len() {
        let Some(&[kind, l0, l1]) = additions[at..].first_chunk() else { return false };
        let value_at = at + ADDITION_HEAD_LEN;
        let end = value_at + usize::from(u16::from_be_bytes([l0, l1]));
        let Some(value) = additions.get(value_at..end) else { return false };
        if kind == CHECKSUM {
            let Ok(said) = <[u8; CHECKSUM_LEN]>::try_from(value) else { return false };
            // It is computed with zeros in its own place.
            let parts = [head, addresses, &additions[..value_at], &[0; CHECKSUM_LEN], &additions[end..]];
            if checked || crc32c(parts.into_iter().flatten()) != u32::from_be_bytes(said) {
                return false;
            }
            checked = true;
        }
        at = end;
    }
    true
}

/// CRC-32C (RFC 9260 appendix A), a bit at a time: headers are short and few.
fn crc32c<'b>(bytes: impl Iterator<Item = &'b u8>) -> u32 {
    const POLYNOMIAL: u32 = 0x82F6_3B78;
    let step = |crc: u32, _| (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
    !bytes.fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

impl Ends {
    /// The ends as they are, or as IPv4 if both are IPv4 addresses written as IPv6.
    #[must_use]
    pub fn new(client: SocketAddr, server: SocketAddr) -> Self {
        let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (v4_client, v4_server) = (plain(client), plain(server));
        match v4_client.is_ipv4() && v4_server.is_ipv4() {
            true => Self { client: v4_client, server: v4_server },
            false => Self { client, server },
        }
    }
}

/// Writes a header of version 2 for a connection between `ends`, under TLS or not; answers how many bytes it has.
#[must_use]
pub fn encode(ends: &Ends, tls: bool, out: &mut [u8; ENCODED_MAX]) -> usize {
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        out[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    let additions = if tls { &TLS_ADDITION[..] } else { &[] };
    let head = |kind: u8, len: usize| {
        let len = u16::try_from(len).expect("addresses and one addition are short");
        let [l0, l1] = len.to_be_bytes();
        [PROXY, kind | STREAM, l0, l1]
    };
    put(&SIGNATURE);
    match (ends.client.ip(), ends.server.ip()) {
        (IpAddr::V4(client), IpAddr::V4(server)) => {
            put(&head(V4, V4_LEN + additions.len()));
            put(&client.octets());
            put(&server.octets());
        }
        (client, server) => {
            put(&head(V6, V6_LEN + additions.len()));
            put(&as_v6(client).octets());
            put(&as_v6(server).octets());
        }
    }
    put(&ends.client.port().to_be_bytes());
    put(&ends.server.port().to_be_bytes());
    put(additions);
    at
}

fn as_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: [u8; 12] = *b"\x0D\x0A\x0D\x0A\x00\x0D\x0A\x51\x55\x49\x54\x0A";

    fn two(command: u8, kind: u8, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&HEAD[..], &[command, kind], &len, body].concat()
    }

    fn v4(more: &[u8]) -> Vec<u8> {
        [&[192, 0, 2, 1, 198, 51, 100, 9, 0xC3, 0x50, 0x01, 0xBB][..], more].concat()
    }

    fn v4_ends() -> Option<Ends> {
        Some(Ends { client: addr("192.0.2.1:50000"), server: addr("198.51.100.9:443") })
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("a literal")
    }

    fn whole(bytes: &[u8]) -> Header {
        match look(bytes) {
            Look::Whole(header) => header,
            other => panic!("{other:?}: {bytes:02x?}"),
        }
    }

    /// Headers of every kind, and the ends that they name.
    fn sound() -> Vec<(Vec<u8>, Option<Ends>)> {
        let v6 = [
            &[0x20, 1, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..],
            &[0x20, 1, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
            &[0xC3, 0x50, 0x01, 0xBB],
        ]
        .concat();
        let v6_ends = Some(Ends { client: addr("[2001:db8::1]:50000"), server: addr("[2001:db8::9]:443") });
        let mapped = [
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 192, 0, 2, 1][..],
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 198, 51, 100, 9],
            &[0xC3, 0x50, 0x01, 0xBB],
        ]
        .concat();
        let additions = [1, 0, 2, b'h', b'2', 4, 0, 0, 0xEA, 0, 1, 7];
        let longest_unknown = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
        vec![
            (b"PROXY TCP4 192.0.2.1 198.51.100.9 50000 443\r\n".to_vec(), v4_ends()),
            (b"PROXY TCP6 2001:db8::1 2001:db8::9 50000 443\r\n".to_vec(), v6_ends),
            (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.9 50000 443\r\n".to_vec(), v4_ends()),
            (
                b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n".to_vec(),
                Some(Ends { client: addr("255.255.255.255:65535"), server: addr("255.255.255.255:0") }),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN whatever stands here\r\n".to_vec(), None),
            (longest_unknown.into_bytes(), None),
            (two(0x21, 0x11, &v4(&[])), v4_ends()),
            (two(0x21, 0x11, &v4(&additions)), v4_ends()),
            (two(0x21, 0x21, &v6), v6_ends),
            (two(0x21, 0x21, &mapped), v4_ends()),
            // Datagrams, a socket of the file system, and what the proxy cannot tell.
            (two(0x21, 0x12, &v4(&[])), None),
            (two(0x21, 0x31, &[b'/'; 216]), None),
            (two(0x21, 0x00, &[]), None),
            (two(0x21, 0x01, &[9; 3]), None),
            (two(0x21, 0x10, &v4(&[])), None),
            // The proxy's own connection, whatever it holds.
            (two(0x20, 0x00, &[]), None),
            (two(0x20, 0x11, &v4(&[])), None),
            (two(0x20, 0xFF, &[9; 7]), None),
            (two(0x20, 0x00, &[0; PROXY_HEADER_MAX - 16]), None),
        ]
    }

    #[test]
    fn a_header_is_whole_with_its_last_byte_and_not_before_whatever_follows() {
        for (bytes, ends) in sound() {
            for len in 0..bytes.len() {
                assert_eq!(look(&bytes[..len]), Look::More, "{len} of {bytes:02x?}");
            }
            let version = if bytes[0] == b'P' { Version::One } else { Version::Two };
            let header = Header { len: bytes.len(), ends, version };
            assert_eq!(whole(&bytes), header);
            for behind in [&b"\r\n"[..], b"PROXY ", &[0x16, 3, 1], &HEAD] {
                assert_eq!(whole(&[&bytes[..], behind].concat()), header);
            }
        }
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXX",
            b"PROXY\r\n",
            b"PROXY \r\n",
            b"PROXY TCP4\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.9 50000\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.9 50000 443 1\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.9 50000 443 \r\n",
            b"PROXY TCP4  192.0.2.1 198.51.100.9 50000 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.9 50000 443\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.9 50000 443\rX",
            b"PROXY TCP4 192.0.2.01 198.51.100.9 50000 443\r\n",
            b"PROXY TCP4 192.0.2 198.51.100.9 50000 443\r\n",
            b"PROXY TCP4 2001:db8::1 2001:db8::9 50000 443\r\n",
            b"PROXY TCP6 192.0.2.1 198.51.100.9 50000 443\r\n",
            b"PROXY TCP6 2001:db8::1 198.51.100.9 50000 443\r\n",
            b"PROXY TCP6 fe80::1%1 2001:db8::9 50000 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.9 65536 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.9 -1 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.9 +1 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.9 050000 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.9  443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.9 50000 \xFF\r\n",
            b"PROXY UDP4 192.0.2.1 198.51.100.9 50000 443\r\n",
            b"PROXY tcp4 192.0.2.1 198.51.100.9 50000 443\r\n",
            b"PROXY UNKNOWNS\r\n",
            b"PROXY UNKNOWN\n",
            b"proxy TCP4 192.0.2.1 198.51.100.9 50000 443\r\n",
        ] {
            assert_eq!(look(bytes), Look::Broken, "{:?}", String::from_utf8_lossy(bytes));
        }
        let endless = format!("PROXY UNKNOWN {}", "f".repeat(200));
        assert_eq!(look(&endless.as_bytes()[..106]), Look::More);
        assert_eq!(look(&endless.as_bytes()[..107]), Look::Broken);
        let late = format!("PROXY UNKNOWN {}\r\n", "f".repeat(92));
        assert_eq!(look(late.as_bytes()), Look::Broken, "108 bytes");
    }

    #[test]
    fn what_is_no_binary_header_is_refused() {
        for (command, kind, body) in [
            (0x22, 0x11, v4(&[])),
            (0x11, 0x11, v4(&[])),
            (0x31, 0x11, v4(&[])),
            (0x21, 0x13, v4(&[])),
            (0x21, 0x03, Vec::new()),
            (0x21, 0x41, v4(&[])),
            (0x21, 0xF1, v4(&[])),
            (0x21, 0x11, v4(&[])[..11].to_vec()),
            (0x21, 0x11, Vec::new()),
            (0x21, 0x21, v4(&[])),
            (0x21, 0x31, vec![b'/'; 215]),
            // Additions that do not fill their room.
            (0x21, 0x11, v4(&[4])),
            (0x21, 0x11, v4(&[4, 0])),
            (0x21, 0x11, v4(&[4, 0, 1])),
            (0x21, 0x11, v4(&[4, 0, 1, 0, 4, 0xFF, 0xFF])),
            (0x21, 0x11, v4(&[CHECKSUM, 0, 3, 0, 0, 0])),
            (0x21, 0x11, v4(&[CHECKSUM, 0, 4, 0, 0, 0, 0])),
            (0x20, 0x00, vec![0; PROXY_HEADER_MAX - 15]),
        ] {
            let bytes = two(command, kind, &body);
            assert_eq!(look(&bytes), Look::Broken, "{bytes:02x?}");
        }
        for at in 0..12 {
            let mut other = two(0x21, 0x11, &v4(&[]));
            other[at] ^= 1;
            assert_eq!(look(&other), Look::Broken, "byte {at}");
            assert_eq!(look(&other[..=at]), Look::Broken, "byte {at}, at once");
        }
        let mut other = two(0x11, 0x11, &v4(&[]));
        assert_eq!(look(&other[..13]), Look::Broken, "its version, at once");
        // A length beyond the limit is known before its bytes come.
        other = two(0x21, 0x11, &[]);
        other[14] = 0xFF;
        assert_eq!(look(&other), Look::Broken);
    }

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32c(b"123456789".iter()), 0xE306_9283);
        assert_eq!(crc32c([0; 32].iter()), 0x8A91_36AA);
    }

    fn with_checksum() -> Vec<u8> {
        let mut bytes = two(0x21, 0x11, &v4(&[0xEA, 0, 1, 7, CHECKSUM, 0, 4, 0, 0, 0, 0, 4, 0, 1, 9]));
        let at = 16 + V4_LEN + 4 + ADDITION_HEAD_LEN;
        let crc = crc32c(bytes.iter());
        bytes[at..at + 4].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    #[test]
    fn a_checksum_covers_every_byte_and_stands_once() {
        let bytes = with_checksum();
        assert_eq!(whole(&bytes).ends, v4_ends());
        for at in 12..bytes.len() {
            for bit in 0..8 {
                let mut other = bytes.clone();
                other[at] ^= 1 << bit;
                // Some bits turn it into a header without a checksum, or into a beginning.
                let harmless = match look(&other) {
                    Look::Broken | Look::More => true,
                    Look::Whole(header) => header.ends.is_none() || at >= 16 + V4_LEN,
                };
                assert!(harmless, "byte {at} bit {bit}: {other:02x?}");
            }
        }
        for at in 16..16 + V4_LEN {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_eq!(look(&other), Look::Broken, "byte {at}");
        }
        // With two of them one would have to be right while the other's bytes are there.
        let mut double = two(0x21, 0x11, &v4(&[CHECKSUM, 0, 4, 0, 0, 0, 0, CHECKSUM, 0, 4, 0, 0, 0, 0]));
        let crc = crc32c(double.iter());
        double[31..35].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(look(&double), Look::Broken);
    }

    #[test]
    fn what_is_written_is_read_the_same() {
        for (client, server, tls, len) in [
            ("192.0.2.1:50000", "198.51.100.9:443", false, 28),
            ("192.0.2.1:1", "198.51.100.9:65535", true, 36),
            ("[2001:db8::1]:50000", "[2001:db8::9]:443", false, 52),
            ("[2001:db8::1]:50000", "[2001:db8::9]:443", true, ENCODED_MAX),
        ] {
            let ends = Ends { client: addr(client), server: addr(server) };
            let mut out = [0xEE; ENCODED_MAX];
            let written = encode(&ends, tls, &mut out);
            assert_eq!(
                (written, whole(&out)),
                (len, Header { len, ends: Some(ends), version: Version::Two })
            );
        }
        let mut out = [0; ENCODED_MAX];
        let ends = Ends { client: addr("192.0.2.1:50000"), server: addr("198.51.100.9:443") };
        let len = encode(&ends, false, &mut out);
        assert_eq!(out[..len], two(0x21, 0x11, &v4(&[])));
    }

    proptest! {
        #[test]
        fn what_is_said_of_some_bytes_holds_for_more(
            row in 0..sound().len(),
            kept in 0..PROXY_HEADER_MAX,
            noise in prop::collection::vec(any::<u8>(), 0..PROXY_HEADER_MAX),
        ) {
            let mut bytes = sound()[row].0.clone();
            bytes.truncate(kept);
            bytes.extend_from_slice(&noise);
            bytes.resize(bytes.len().max(PROXY_HEADER_MAX), 0);
            let mut known = Look::More;
            for len in 0..=bytes.len() {
                let now = look(&bytes[..len]);
                prop_assert!(known == Look::More || now == known);
                if let Look::Whole(header) = now {
                    prop_assert!(header.len <= len && header.len <= PROXY_HEADER_MAX);
                }
                known = now;
            }
            prop_assert!(known != Look::More, "so many bytes are always enough");
        }

        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = look(&bytes);
            let _ = look(&[&HEAD[..], &bytes].concat());
            let _ = look(&[&HEAD[..], &[0x21], &bytes].concat());
            let _ = look(&[b"PROXY TCP4 ", &bytes[..]].concat());
        }
    }
}
