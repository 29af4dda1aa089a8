//! ICMP, as far as a router has to do with it: errors that it passes on to who is meant (RFC 5508), and what it says itself
//! where a firewall forbids something.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV4;

use crate::nat::Packet;
use crate::nat::Protocol;
use crate::nat::TcpFlags;

use super::packet::HEADER_LEN;
use super::packet::ICMP;
use super::packet::Shape;
use super::packet::TCP;
use super::packet::UDP;
use super::packet::checksum;
use super::packet::word;
use super::packet::wrap;
use super::packet::write;

/// Bytes before the packet that an error tells of.
const HEAD_LEN: usize = 8;
/// Destination unreachable, source quench, time exceeded, parameter problem: what tells of a packet.
const ERRORS: [u8; 4] = [3, 4, 11, 12];
/// "Communication administratively prohibited" (RFC 1812 § 5.2.7.1).
const PROHIBITED: [u8; 2] = [3, 13];
/// How much of a packet an error repeats (RFC 792): its header, and what the ports are in.
const REPEATED_LEN: usize = HEADER_LEN + 8;

/// The packet that an ICMP error tells of, with the addresses that it had where the error arose; `None` for other ICMP.
pub(super) fn told(bytes: &[u8], shape: &Shape) -> Option<Packet> {
    let body = bytes.get(shape.header_len..shape.total_len)?;
    let inner = body.get(HEAD_LEN..)?;
    if shape.protocol != ICMP || shape.fragment.is_some() || !ERRORS.contains(&body[0]) {
        return None;
    }
    let header_len = usize::from(inner.first()? & 0x0F) * 4;
    let octets = |at: usize| inner.get(at..)?.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets));
    let protocol = match *inner.get(9)? {
        UDP => Protocol::Udp,
        TCP => Protocol::Tcp(TcpFlags::ACK),
        _ => return None,
    };
    let is_sound = inner[0] >> 4 == 4 && header_len >= HEADER_LEN;
    let end = |ip: Ipv4Addr, at: usize| Some(SocketAddr::new(ip.into(), word(inner, at)?));
    is_sound.then_some(())?;
    let (source, destination) = (end(octets(12)?, header_len)?, end(octets(16)?, header_len + 2)?);
    Some(Packet { protocol, source, destination, fragment: None })
}

/// The same error for the host inside whose packet it was: `inner` in place of the source told, and of the destination.
pub(super) fn passed_on(bytes: &[u8], shape: &Shape, inner: SocketAddrV4) -> Option<Vec<u8>> {
    let mut body = bytes.get(shape.header_len..shape.total_len)?.to_vec();
    let at = HEAD_LEN + usize::from(body.get(HEAD_LEN)? & 0x0F) * 4;
    body.get_mut(HEAD_LEN + 12..HEAD_LEN + 16)?.copy_from_slice(&inner.ip().octets());
    write(&mut body, at, inner.port());
    // The told header's checksum has to be right again; that of what is behind cannot be, for it is cut off.
    write(&mut body, HEAD_LEN + 10, 0);
    let header = checksum(&[body.get(HEAD_LEN..at)?]);
    write(&mut body, HEAD_LEN + 10, header);
    Some(sealed(shape.source, *inner.ip(), body))
}

/// What the router says to the sender of a packet that may not go out: a reset for a segment, else an ICMP error.
pub(super) fn refusal(bytes: &[u8], shape: &Shape) -> Option<Vec<u8>> {
    if shape.protocol == TCP { reset(bytes, shape) } else { prohibited(bytes, shape) }
}

fn prohibited(bytes: &[u8], shape: &Shape) -> Option<Vec<u8>> {
    let repeated = bytes.get(..REPEATED_LEN.min(shape.total_len))?;
    let mut body = vec![0; HEAD_LEN];
    body[..2].copy_from_slice(&PROHIBITED);
    body.extend_from_slice(repeated);
    // It speaks for the other side, as it has no address of its own in either network.
    Some(sealed(shape.destination, shape.source, body))
}

fn sealed(source: Ipv4Addr, destination: Ipv4Addr, mut body: Vec<u8>) -> Vec<u8> {
    write(&mut body, 2, 0);
    let sum = checksum(&[&body]);
    write(&mut body, 2, sum);
    wrap(ICMP, source, destination, &body)
}

/// "Connection refused", as the other side would say it (RFC 9293 § 3.10.7.1).
fn reset(bytes: &[u8], shape: &Shape) -> Option<Vec<u8>> {
    const SEGMENT_LEN: usize = 20;
    const RESET_AND_ACK: u8 = 0x14;
    let asked = bytes.get(shape.header_len..shape.total_len)?;
    if asked.len() < SEGMENT_LEN || asked[13] & 0x04 != 0 {
        return None;
    }
    let sequence = u32::from_be_bytes(*asked.get(4..)?.first_chunk()?);
    let flags = asked[13];
    let taken = u32::from(flags & 2 != 0) + u32::from(flags & 1 != 0);
    let len = u32::try_from(shape.payload(bytes).len()).ok()?;
    let mut body = vec![0; SEGMENT_LEN];
    body[..2].copy_from_slice(&asked[2..4]);
    body[2..4].copy_from_slice(&asked[..2]);
    body[8..12].copy_from_slice(&sequence.wrapping_add(len + taken).to_be_bytes());
    (body[12], body[13]) = (0x50, RESET_AND_ACK);
    let pseudo = [0, TCP, 0, SEGMENT_LEN as u8];
    let sum = checksum(&[&shape.destination.octets(), &shape.source.octets(), &pseudo, &body]);
    write(&mut body, 16, sum);
    Some(wrap(TCP, shape.destination, shape.source, &body))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::packet::tests::made;
    use super::super::packet::tests::transport_sum;
    use super::*;

    fn error_about(packet: &[u8]) -> Vec<u8> {
        let mut body = vec![3, 3, 0, 0, 0, 0, 0, 0];
        body.extend(&packet[..REPEATED_LEN]);
        sealed("192.0.2.1".parse().unwrap(), "203.0.113.1".parse().unwrap(), body)
    }

    #[test]
    fn an_error_reaches_the_host_inside_with_the_packet_that_it_sent() {
        let error = error_about(&made(UDP, "203.0.113.1:40000", "192.0.2.1:3478", b"hello"));
        let shape = Shape::read(&error).unwrap();
        let packet = told(&error, &shape).unwrap();
        assert_eq!(packet.source, "203.0.113.1:40000".parse().unwrap());
        assert_eq!(packet.destination, "192.0.2.1:3478".parse().unwrap());
        let inward = passed_on(&error, &shape, "10.1.0.2:5000".parse().unwrap()).unwrap();
        let shape = Shape::read(&inward).unwrap();
        assert_eq!(shape.destination, Ipv4Addr::new(10, 1, 0, 2));
        assert_eq!(told(&inward, &shape).unwrap().source, "10.1.0.2:5000".parse().unwrap());
        assert_eq!(checksum(&[&inward[HEADER_LEN..]]), 0);
        let repeated = &inward[HEADER_LEN + HEAD_LEN..];
        assert_eq!(checksum(&[&repeated[..HEADER_LEN]]), 0);
    }

    #[test]
    fn what_is_forbidden_is_said_so_in_its_own_language() {
        let datagram = made(UDP, "10.1.0.2:5000", "192.0.2.1:3478", b"hello");
        let answer = refusal(&datagram, &Shape::read(&datagram).unwrap()).unwrap();
        let shape = Shape::read(&answer).unwrap();
        assert_eq!((shape.protocol, &answer[HEADER_LEN..HEADER_LEN + 2]), (ICMP, &PROHIBITED[..]));
        assert_eq!(told(&answer, &shape).unwrap().source, "10.1.0.2:5000".parse().unwrap());

        let segment = made(TCP, "10.1.0.2:5000", "192.0.2.1:3478", b"abc");
        let answer = refusal(&segment, &Shape::read(&segment).unwrap()).unwrap();
        let shape = Shape::read(&answer).unwrap();
        let packet = shape.packet(&answer).unwrap();
        assert_eq!(packet.source, "192.0.2.1:3478".parse().unwrap());
        assert_eq!(packet.protocol, Protocol::Tcp(TcpFlags { ack: true, ..TcpFlags::RST }));
        // One was the first of the three.
        assert_eq!(answer[HEADER_LEN + 8..HEADER_LEN + 12], [0, 0, 0, 4]);
        assert_eq!(transport_sum(TCP, shape.source, shape.destination, &answer[HEADER_LEN..]), 0);
        assert_eq!(refusal(&answer, &shape), None, "a reset is not answered by one");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(mut bytes in prop::collection::vec(any::<u8>(), 20..90)) {
            bytes[0] = 0x45;
            let len = u16::try_from(bytes.len()).unwrap();
            write(&mut bytes, 2, len);
            (bytes[6], bytes[7], bytes[9]) = (0, 0, [ICMP, TCP, UDP][usize::from(bytes[9] % 3)]);
            if let Some(shape) = Shape::read(&bytes) {
                let _ = told(&bytes, &shape);
                let _ = passed_on(&bytes, &shape, "10.1.0.2:5000".parse().unwrap());
                let _ = refusal(&bytes, &shape);
            }
        }
    }
}
