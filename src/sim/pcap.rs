//! What goes in and out at the server, as a capture that Wireshark reads: classic pcap, raw IP packets with UDP in them
//! and right checksums.

use std::net::IpAddr;
use std::net::SocketAddr;

use crate::proto::types::IpHeader;

use super::clock::Micros;
use super::clock::SECOND;
use super::packet::HOPS;

/// Magic of a little-endian capture with microseconds.
const MAGIC: u32 = 0xA1B2_C3D4;
/// LINKTYPE_RAW: each packet begins with its IP header.
const LINKTYPE_RAW: u32 = 101;
/// Bytes of a packet that are kept: all.
const SNAPLEN: u32 = 1 << 17;
const UDP: u8 = 17;
const UDP_HEADER_LEN: usize = 8;
/// The largest IP packet, and the largest payload of IPv6.
const IP_MAX: usize = 65_535;

/// A capture under way.
#[derive(Debug)]
pub(super) struct Capture(Vec<u8>);

impl Capture {
    pub(super) fn new() -> Self {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&MAGIC.to_le_bytes());
        bytes.extend_from_slice(&2_u16.to_le_bytes());
        bytes.extend_from_slice(&4_u16.to_le_bytes());
        // Time zone and accuracy: always 0.
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&SNAPLEN.to_le_bytes());
        bytes.extend_from_slice(&LINKTYPE_RAW.to_le_bytes());
        Self(bytes)
    }

    /// Adds a datagram seen at `unix` seconds and `micros`. One that no IP packet can hold is left out.
    pub(super) fn add(
        &mut self,
        unix: u64,
        micros: Micros,
        from: SocketAddr,
        to: SocketAddr,
        header: IpHeader,
        payload: &[u8],
    ) {
        let Some(packet) = ip_packet(from, to, header, payload) else { return };
        let len = u32::try_from(packet.len()).unwrap_or(0);
        let seconds = u32::try_from(unix).unwrap_or(0);
        let micros = u32::try_from(micros % SECOND).unwrap_or(0);
        for field in [seconds, micros, len, len] {
            self.0.extend_from_slice(&field.to_le_bytes());
        }
        self.0.extend_from_slice(&packet);
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

fn ip_packet(from: SocketAddr, to: SocketAddr, header: IpHeader, payload: &[u8]) -> Option<Vec<u8>> {
    let udp_len = u16::try_from(UDP_HEADER_LEN + payload.len()).ok()?;
    let hops = header.hop_limit.unwrap_or(HOPS);
    let mut udp = Vec::with_capacity(usize::from(udp_len));
    udp.extend_from_slice(&from.port().to_be_bytes());
    udp.extend_from_slice(&to.port().to_be_bytes());
    udp.extend_from_slice(&udp_len.to_be_bytes());
    udp.extend_from_slice(&[0, 0]);
    udp.extend_from_slice(payload);
    let (mut packet, pseudo) = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = u16::try_from(20 + udp.len()).ok().filter(|total| usize::from(*total) <= IP_MAX)?;
            let mut ip = vec![0x45, header.traffic_class];
            ip.extend_from_slice(&total.to_be_bytes());
            ip.extend_from_slice(&[0, 0, if header.dont_fragment { 0x40 } else { 0 }, 0, hops, UDP, 0, 0]);
            ip.extend_from_slice(&from.octets());
            ip.extend_from_slice(&to.octets());
            let checksum = ones_complement(&[&ip]);
            ip[10..12].copy_from_slice(&checksum.to_be_bytes());
            let mut pseudo = [from.octets(), to.octets()].concat();
            pseudo.extend_from_slice(&[0, UDP]);
            pseudo.extend_from_slice(&udp_len.to_be_bytes());
            (ip, pseudo)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let class = header.traffic_class;
            let mut ip = vec![0x60 | class >> 4, class << 4, 0, 0];
            ip.extend_from_slice(&udp_len.to_be_bytes());
            ip.extend_from_slice(&[UDP, hops]);
            ip.extend_from_slice(&from.octets());
            ip.extend_from_slice(&to.octets());
            let mut pseudo = [from.octets(), to.octets()].concat();
            pseudo.extend_from_slice(&u32::from(udp_len).to_be_bytes());
            pseudo.extend_from_slice(&[0, 0, 0, UDP]);
            (ip, pseudo)
        }
        _ => return None,
    };
    // A checksum that comes out as 0 is written as all ones (RFC 768).
    let checksum = match ones_complement(&[&pseudo, &udp]) {
        0 => 0xFFFF,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&checksum.to_be_bytes());
    packet.extend_from_slice(&udp);
    Some(packet)
}

/// The Internet checksum (RFC 1071) of the parts, each of which but the last has an even length.
fn ones_complement(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
    }
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    // Folded above.
    !(sum as u16)
}
