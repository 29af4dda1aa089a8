//! A flight record as pcapng, for Wireshark: one interface for each point of the laboratory, raw IP, and what is to be said about
//! a packet as its comment. Headers are made anew from what was seen; their checksums are left out.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use crate::nat::Protocol;
use crate::nat::TcpFlags;

use super::Point;
use super::Sighting;
use super::words;

/// Block types, and the type of a link that carries IP without anything around it.
const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const LINKTYPE_RAW: u16 = 101;

/// Options: the end, a comment, an interface's name; and who wrote the section.
const OPT_END: u16 = 0;
const OPT_COMMENT: u16 = 1;
const IF_NAME: u16 = 2;
const SHB_USERAPPL: u16 = 4;

const BYTE_ORDER: u32 = 0x1A2B_3C4D;
/// What the section's length says that nobody counted.
const UNKNOWN_LENGTH: u64 = u64::MAX;

/// The record as the bytes of a file.
#[must_use]
pub fn pcapng(sightings: &[Sighting]) -> Vec<u8> {
    let mut file = begun();
    sightings.iter().for_each(|sighting| packet(&mut file, sighting));
    file
}

/// What a file begins with: packets follow.
#[must_use]
pub fn begun() -> Vec<u8> {
    let mut file = Vec::new();
    let mut body = BYTE_ORDER.to_le_bytes().to_vec();
    body.extend([1, 0, 0, 0]);
    body.extend(UNKNOWN_LENGTH.to_le_bytes());
    option(&mut body, SHB_USERAPPL, concat!("swingbridge ", env!("CARGO_PKG_VERSION")).as_bytes());
    option(&mut body, OPT_END, b"");
    block(&mut file, SECTION_HEADER, &body);
    for point in Point::ALL {
        let mut body = LINKTYPE_RAW.to_le_bytes().to_vec();
        body.extend([0; 6]);
        option(&mut body, IF_NAME, point.name().as_bytes());
        option(&mut body, OPT_END, b"");
        block(&mut file, INTERFACE_DESCRIPTION, &body);
    }
    file
}

/// An Enhanced Packet Block, in microseconds, which are the default.
fn packet(file: &mut Vec<u8>, sighting: &Sighting) {
    let Some(bytes) = ip(sighting) else { return };
    whole(file, sighting.at, sighting.point, &bytes, &words::comment(sighting));
}

/// Adds a packet from its IP header on, as it was seen, with what is to be said about it.
pub fn whole(file: &mut Vec<u8>, at: Duration, point: Point, bytes: &[u8], comment: &str) {
    let micros = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
    let len = bytes.len() as u32;
    let interface = Point::ALL.iter().position(|each| *each == point).unwrap_or(0) as u32;
    let mut body = Vec::with_capacity(bytes.len() + 64);
    for word in [interface, (micros >> 32) as u32, micros as u32, len, len] {
        body.extend(word.to_le_bytes());
    }
    body.extend(bytes);
    pad(&mut body);
    if !comment.is_empty() {
        option(&mut body, OPT_COMMENT, comment.as_bytes());
        option(&mut body, OPT_END, b"");
    }
    block(file, ENHANCED_PACKET, &body);
}

fn block(file: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let len = (body.len() + 12) as u32;
    file.extend(kind.to_le_bytes());
    file.extend(len.to_le_bytes());
    file.extend(body);
    file.extend(len.to_le_bytes());
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX) & !3)];
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

/// The packet from its IP header on; `None`: it is too long to be one, or of two families.
fn ip(sighting: &Sighting) -> Option<Vec<u8>> {
    let transport = match sighting.protocol {
        Protocol::Udp => udp(sighting.source, sighting.destination, &sighting.bytes)?,
        Protocol::Tcp(flags) => tcp(sighting, flags),
    };
    let number = if sighting.protocol == Protocol::Udp { 17 } else { 6 };
    let mut out = match (sighting.source.ip(), sighting.destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let len = u16::try_from(20 + transport.len()).ok()?.to_be_bytes();
            let mut header = vec![0x45, 0, len[0], len[1], 0, 0, 0x40, 0, 64, number, 0, 0];
            header.extend(source.octets());
            header.extend(destination.octets());
            let sum = checksum(&header).to_be_bytes();
            header[10..12].copy_from_slice(&sum);
            header
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let len = u16::try_from(transport.len()).ok()?.to_be_bytes();
            let mut header = vec![0x60, 0, 0, 0, len[0], len[1], number, 64];
            header.extend(source.octets());
            header.extend(destination.octets());
            header
        }
        _ => return None,
    };
    out.extend(transport);
    Some(out)
}

fn udp(source: SocketAddr, destination: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
    let len = u16::try_from(8 + bytes.len()).ok()?;
    let mut out = Vec::with_capacity(usize::from(len));
    for field in [source.port(), destination.port(), len, 0] {
        out.extend(field.to_be_bytes());
    }
    out.extend(bytes);
    Some(out)
}

fn tcp(sighting: &Sighting, flags: TcpFlags) -> Vec<u8> {
    const HEADER_WORDS: u8 = 5 << 4;
    let bits = [(flags.fin, 1), (flags.syn, 2), (flags.rst, 4), (flags.ack, 16)];
    let flags: u8 = bits.into_iter().filter(|(is_set, _)| *is_set).map(|(_, bit)| bit).sum();
    let mut out = Vec::with_capacity(20 + sighting.bytes.len());
    out.extend(sighting.source.port().to_be_bytes());
    out.extend(sighting.destination.port().to_be_bytes());
    out.extend(sighting.sequence.to_be_bytes());
    // What was acknowledged is not modelled; a window there has to be.
    out.extend([0, 0, 0, 0, HEADER_WORDS, flags, 0xFF, 0xFF, 0, 0, 0, 0]);
    out.extend(&sighting.bytes);
    out
}

/// RFC 1071.
fn checksum(header: &[u8]) -> u16 {
    let words =
        header.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting(protocol: Protocol, bytes: &[u8], note: &str) -> Sighting {
        Sighting {
            at: Duration::from_micros((7 << 32) + 5),
            point: Point::Relay,
            protocol,
            source: "203.0.113.10:50000".parse().unwrap(),
            destination: "198.51.100.1:3478".parse().unwrap(),
            sequence: 9,
            bytes: bytes.into(),
            note: note.to_owned(),
        }
    }

    /// The blocks of a file: type and body.
    fn blocks(file: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let number = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        let (mut at, mut blocks) = (0, Vec::new());
        while at < file.len() {
            let len = number(at + 4) as usize;
            assert!(
                len.is_multiple_of(4) && number(at + len - 4) as usize == len,
                "both lengths of a block are one"
            );
            blocks.push((number(at), file[at + 8..at + len - 4].to_vec()));
            at += len;
        }
        assert_eq!(at, file.len());
        blocks
    }

    #[test]
    fn a_file_has_a_section_its_interfaces_and_the_packets_with_their_words() {
        let file = pcapng(&[
            sighting(Protocol::Udp, b"abc", "filtered"),
            sighting(Protocol::Tcp(TcpFlags::SYN_ACK), b"", ""),
        ]);
        let blocks = blocks(&file);
        let kinds: Vec<_> = blocks.iter().map(|(kind, _)| *kind).collect();
        let mut expected = vec![SECTION_HEADER];
        expected.extend([INTERFACE_DESCRIPTION; Point::ALL.len()]);
        expected.extend([ENHANCED_PACKET; 2]);
        assert_eq!(kinds, expected);
        let names: Vec<_> = Point::ALL.iter().map(|point| point.name()).collect();
        for ((_, body), name) in blocks[1..].iter().zip(names) {
            assert_eq!(body[..2], LINKTYPE_RAW.to_le_bytes());
            assert!(body.windows(name.len()).any(|window| window == name.as_bytes()), "{name}");
        }
        let (_, udp) = &blocks[8];
        assert_eq!(udp[..20], [5, 0, 0, 0, 7, 0, 0, 0, 5, 0, 0, 0, 31, 0, 0, 0, 31, 0, 0, 0]);
        assert_eq!(udp[20 + 28..20 + 31], *b"abc");
        assert_eq!(checksum(&udp[20..40]), 0, "the header's own sum is right");
        assert!(udp.windows(8).any(|window| window == b"filtered"));
        let (_, tcp) = &blocks[9];
        assert_eq!((tcp[20 + 9], tcp[20 + 20 + 13]), (6, 0x12));
    }
}
