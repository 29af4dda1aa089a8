//! The header of a proxy in front: what is sure stays sure, nothing is longer than the limit, and what was read can be
//! written.

use crate::proto::types::limits::PROXY_HEADER_MAX;
use crate::proto::wire::proxy::ENCODED_MAX;
use crate::proto::wire::proxy::Ends;
use crate::proto::wire::proxy::Header;
use crate::proto::wire::proxy::Look;
use crate::proto::wire::proxy::Version;
use crate::proto::wire::proxy::encode;
use crate::proto::wire::proxy::look;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

pub(super) fn body(bytes: &[u8]) {
    judge(bytes);
    judge(&[b"PROXY TCP4 ", bytes].concat());
    judge(&[b"PROXY TCP6 ", bytes].concat());
    let Some((&[command, kind], rest)) = bytes.split_first_chunk() else { return };
    let len = u16::try_from(rest.len()).unwrap_or(u16::MAX).to_be_bytes();
    judge(&[SIGNATURE, &[command, kind][..], &len, rest].concat());
    // A header of a stream over IPv4, with whatever behind the addresses.
    let mut sound = [SIGNATURE, &[0x21, 0x11][..], &len, rest].concat();
    judge(&sound);
    sound.resize(sound.len().max(PROXY_HEADER_MAX), 0);
    assert_ne!(look(&sound), Look::More);
}

fn judge(bytes: &[u8]) {
    let mut known = Look::More;
    for len in 0..=bytes.len() {
        let now = look(&bytes[..len]);
        assert!(known == Look::More || now == known, "{len} of {bytes:02x?}");
        assert!(now != Look::More || len < PROXY_HEADER_MAX, "{bytes:02x?}");
        known = now;
    }
    let Look::Whole(header) = known else { return };
    assert!(header.len <= bytes.len().min(PROXY_HEADER_MAX));
    assert_eq!(look(&bytes[..header.len]), known, "what follows is no part of it");
    let binary = bytes.starts_with(SIGNATURE);
    assert_eq!(header.version == Version::Two, binary);
    assert!(binary || bytes[..header.len].ends_with(b"\r\n"));
    let Some(ends) = header.ends else { return };
    assert_eq!(ends.client.is_ipv4(), ends.server.is_ipv4());
    for tls in [false, true] {
        let mut out = [0; ENCODED_MAX];
        let len = encode(&ends, tls, &mut out);
        let again = Header { len, ends: Some(ends), version: Version::Two };
        assert_eq!(look(&out), Look::Whole(again), "{ends:?}");
    }
    if !binary {
        let Ends { client, server } = ends;
        let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
        let line =
            format!("PROXY {family} {} {} {} {}\r\n", client.ip(), server.ip(), client.port(), server.port());
        let again = Header { len: line.len(), ..header };
        assert_eq!(look(line.as_bytes()), Look::Whole(again), "{line:?}");
    }
}
