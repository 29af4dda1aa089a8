//! Whole IPv4 packets: what a NAT looks at, and addresses written anew with every checksum right (RFC 1624). Total on any
//! bytes: what cannot be read is nobody's packet.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV4;
use std::ops::Range;

use crate::nat::Fragment;
use crate::nat::Packet;
use crate::nat::Protocol;
use crate::nat::TcpFlags;

/// Bytes of an IPv4 header without options.
pub(super) const HEADER_LEN: usize = 20;
pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

/// Where in an IPv4 header the checksum is, and both addresses are.
const SUM_AT: usize = 10;
const SOURCE_AT: usize = 12;
const DESTINATION_AT: usize = 16;
/// More parts follow; and where this one begins, in steps of 8 bytes.
const MORE: u16 = 0x2000;
const OFFSET: u16 = 0x1FFF;

/// Of an IPv4 packet, where its parts are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) protocol: u8,
    pub(super) source: Ipv4Addr,
    pub(super) destination: Ipv4Addr,
    pub(super) header_len: usize,
    /// All of it, without what may stand behind.
    pub(super) total_len: usize,
    pub(super) fragment: Option<Fragment>,
}

impl Shape {
    /// `None` for what is no IPv4 packet, or cut off.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let header_len = usize::from(bytes.first()? & 0x0F) * 4;
        let total_len = usize::from(word(bytes, 2)?);
        let is_sound = bytes[0] >> 4 == 4
            && header_len >= HEADER_LEN
            && total_len >= header_len
            && total_len <= bytes.len();
        if !is_sound {
            return None;
        }
        let cut = word(bytes, 6)?;
        let is_part = cut & (MORE | OFFSET) != 0;
        let fragment = is_part
            .then(|| Some(Fragment { id: word(bytes, 4)?.into(), first: cut & OFFSET == 0 }))
            .flatten();
        Some(Self {
            protocol: bytes[9],
            source: ip_at(bytes, SOURCE_AT)?,
            destination: ip_at(bytes, DESTINATION_AT)?,
            header_len,
            total_len,
            fragment,
        })
    }

    /// What it carries, if that is TCP or UDP: ports, flags. Parts behind the first have ports 0.
    pub(super) fn packet(&self, bytes: &[u8]) -> Option<Packet> {
        let body = bytes.get(self.header_len..self.total_len)?;
        let has_ports = self.fragment.is_none_or(|fragment| fragment.first);
        let ports = if has_ports { [word(body, 0)?, word(body, 2)?] } else { [0; 2] };
        let protocol = match self.protocol {
            UDP if has_ports && body.len() < 8 => return None,
            UDP => Protocol::Udp,
            TCP => Protocol::Tcp(if has_ports { flags(*body.get(13)?) } else { TcpFlags::default() }),
            _ => return None,
        };
        Some(Packet {
            protocol,
            source: SocketAddr::new(self.source.into(), ports[0]),
            destination: SocketAddr::new(self.destination.into(), ports[1]),
            fragment: self.fragment,
        })
    }

    /// What a whole packet, or the first part of one, carries behind its ports: the datagram, or the segment's bytes.
    pub(super) fn payload<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let body = bytes.get(self.header_len..self.total_len).unwrap_or_default();
        let head = match self.protocol {
            UDP => 8,
            TCP => body.get(12).map_or(body.len(), |at| usize::from(at >> 4) * 4),
            _ => 0,
        };
        body.get(head..).unwrap_or_default()
    }

    /// Writes other addresses, and ports where there are any.
    pub(super) fn readdress(&self, bytes: &mut [u8], source: SocketAddrV4, destination: SocketAddrV4) {
        let has_ports =
            matches!(self.protocol, TCP | UDP) && self.fragment.is_none_or(|fragment| fragment.first);
        let at = self.header_len;
        let sum_at = match self.protocol {
            TCP if has_ports => Some(at + 16),
            // No checksum at all stays so.
            UDP if has_ports => Some(at + 6).filter(|sum_at| word(bytes, *sum_at) != Some(0)),
            _ => None,
        };
        let ends = [(SOURCE_AT, source), (DESTINATION_AT, destination)];
        for (side, (ip_at, end)) in ends.into_iter().enumerate() {
            let range = ip_at..ip_at + 4;
            replace(bytes, range.clone(), &end.ip().octets(), &[Some(SUM_AT), sum_at]);
            if has_ports {
                let range = at + side * 2..at + side * 2 + 2;
                replace(bytes, range, &end.port().to_be_bytes(), &[sum_at]);
            }
        }
        // A checksum of zero would say that there is none.
        if let Some(sum) = sum_at.filter(|_| self.protocol == UDP)
            && word(bytes, sum) == Some(0)
        {
            write(bytes, sum, 0xFFFF);
        }
    }
}

/// Writes `new` in place of what is at `range`, an even number of bytes, and has the checksums at `sums` know of it.
fn replace(bytes: &mut [u8], range: Range<usize>, new: &[u8], sums: &[Option<usize>]) {
    for (at, pair) in range.step_by(2).zip(new.chunks_exact(2)) {
        let (Some(old), pair) = (word(bytes, at), u16::from_be_bytes([pair[0], pair[1]])) else { return };
        write(bytes, at, pair);
        for sum_at in sums.iter().flatten() {
            if let Some(sum) = word(bytes, *sum_at) {
                // RFC 1624, equation 3.
                let all = u32::from(!sum) + u32::from(!old) + u32::from(pair);
                write(bytes, *sum_at, !folded(all));
            }
        }
    }
}

fn folded(mut sum: u32) -> u16 {
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    sum as u16
}

/// The checksum of the internet (RFC 1071) over parts of an even length each but the last.
pub(super) fn checksum(parts: &[&[u8]]) -> u16 {
    let pairs = parts.iter().flat_map(|part| part.chunks(2));
    let add = |sum: u32, pair: &[u8]| {
        let low = pair.get(1).copied().unwrap_or_default();
        u32::from(folded(sum + u32::from(u16::from_be_bytes([pair[0], low]))))
    };
    !folded(pairs.fold(0, add))
}

/// An IPv4 packet around a body: no options, no parts.
pub(super) fn wrap(protocol: u8, source: Ipv4Addr, destination: Ipv4Addr, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_LEN];
    let total = u16::try_from(HEADER_LEN + body.len()).unwrap_or(u16::MAX);
    (bytes[0], bytes[8], bytes[9]) = (0x45, 64, protocol);
    write(&mut bytes, 2, total);
    bytes[SOURCE_AT..DESTINATION_AT].copy_from_slice(&source.octets());
    bytes[DESTINATION_AT..HEADER_LEN].copy_from_slice(&destination.octets());
    let sum = checksum(&[&bytes]);
    write(&mut bytes, SUM_AT, sum);
    bytes.extend_from_slice(body);
    bytes
}

pub(super) fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
}

pub(super) fn write(bytes: &mut [u8], at: usize, word: u16) {
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&word.to_be_bytes());
    }
}

fn ip_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = *bytes.get(at..)?.first_chunk()?;
    Some(Ipv4Addr::from(octets))
}

const fn flags(byte: u8) -> TcpFlags {
    TcpFlags { fin: byte & 1 != 0, syn: byte & 2 != 0, rst: byte & 4 != 0, ack: byte & 16 != 0 }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A datagram or a segment, with right checksums.
    pub(in super::super) fn made(protocol: u8, source: &str, destination: &str, payload: &[u8]) -> Vec<u8> {
        let (source, destination): (SocketAddrV4, SocketAddrV4) =
            (source.parse().unwrap(), destination.parse().unwrap());
        let mut body = Vec::new();
        body.extend(source.port().to_be_bytes());
        body.extend(destination.port().to_be_bytes());
        if protocol == UDP {
            body.extend(u16::try_from(8 + payload.len()).unwrap().to_be_bytes());
            body.extend([0; 2]);
        } else {
            body.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
        }
        body.extend(payload);
        let sum_at = if protocol == UDP { 6 } else { 16 };
        let sum = transport_sum(protocol, *source.ip(), *destination.ip(), &body);
        write(&mut body, sum_at, sum);
        wrap(protocol, *source.ip(), *destination.ip(), &body)
    }

    /// Over the pseudo-header and the body: zero where the body's own checksum is right.
    pub(in super::super) fn transport_sum(protocol: u8, from: Ipv4Addr, to: Ipv4Addr, body: &[u8]) -> u16 {
        let len = u16::try_from(body.len()).unwrap().to_be_bytes();
        checksum(&[&from.octets(), &to.octets(), &[0, protocol], &len, body])
    }

    fn is_right(bytes: &[u8]) -> bool {
        let shape = Shape::read(bytes).unwrap();
        checksum(&[&bytes[..shape.header_len]]) == 0
            && transport_sum(shape.protocol, shape.source, shape.destination, &bytes[shape.header_len..]) == 0
    }

    #[test]
    fn a_readdressed_packet_is_the_one_that_the_other_host_would_have_sent() {
        for protocol in [UDP, TCP] {
            for payload in [&b""[..], b"odd", b"even", &[0xFF; 1_400]] {
                let mut bytes = made(protocol, "10.1.0.2:5000", "192.0.2.1:3478", payload);
                assert!(is_right(&bytes));
                let shape = Shape::read(&bytes).unwrap();
                shape.readdress(
                    &mut bytes,
                    "203.0.113.1:40000".parse().unwrap(),
                    "198.51.100.1:9".parse().unwrap(),
                );
                let wanted = made(protocol, "203.0.113.1:40000", "198.51.100.1:9", payload);
                assert_eq!(bytes, wanted, "{protocol}");
                assert_eq!(Shape::read(&bytes).unwrap().payload(&bytes), payload);
            }
        }
    }

    #[test]
    fn a_datagram_without_a_checksum_keeps_none() {
        let mut bytes = made(UDP, "10.1.0.2:5000", "192.0.2.1:3478", b"x");
        write(&mut bytes, HEADER_LEN + 6, 0);
        let shape = Shape::read(&bytes).unwrap();
        shape.readdress(&mut bytes, "203.0.113.1:1".parse().unwrap(), "192.0.2.1:2".parse().unwrap());
        assert_eq!(word(&bytes, HEADER_LEN + 6), Some(0));
        assert_eq!(checksum(&[&bytes[..HEADER_LEN]]), 0);
    }

    #[test]
    fn of_parts_only_the_first_has_ports() {
        let mut bytes = made(UDP, "10.1.0.2:5000", "192.0.2.1:3478", b"payload");
        write(&mut bytes, 4, 77);
        for (cut, first, port) in [(MORE, true, 5_000), (MORE | 185, false, 0), (185, false, 0)] {
            write(&mut bytes, 6, cut);
            let shape = Shape::read(&bytes).unwrap();
            let packet = shape.packet(&bytes).unwrap();
            assert_eq!(packet.fragment, Some(Fragment { id: 77, first }));
            assert_eq!(packet.source.port(), port);
            let mut moved = bytes.clone();
            shape.readdress(&mut moved, "203.0.113.1:1".parse().unwrap(), "192.0.2.1:3478".parse().unwrap());
            assert_eq!(moved[HEADER_LEN..] != bytes[HEADER_LEN..], first, "what is no port stays");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(mut bytes in prop::collection::vec(any::<u8>(), 0..80), make_v4: bool) {
            if let (true, Some(first)) = (make_v4, bytes.first_mut()) {
                *first = 0x45;
            }
            if let Some(shape) = Shape::read(&bytes) {
                let _ = (shape.packet(&bytes), shape.payload(&bytes));
                let len = bytes.len();
                shape.readdress(&mut bytes, "203.0.113.1:1".parse().unwrap(), "192.0.2.1:2".parse().unwrap());
                prop_assert_eq!(bytes.len(), len);
            }
        }
    }
}
