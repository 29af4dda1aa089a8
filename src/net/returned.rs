//! ICMP errors about packets that left by raw sockets. A bound socket would find them on its error queue; where all relay
//! ports share a socket that queue does not say which port an error is about. So the messages themselves are read.
//!
//! ```text
//!   IPv4 | IP header 20 + options | type code checksum 2 | data 4 | IP header 20 + options | ports 2 + 2 …
//!   IPv6 |                          type code checksum 2 | data 4 | IP header 40           | ports 2 + 2 …
//!          └ not told for IPv6        └ what went wrong             └ the packet that it is about
//! ```

use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use socket2::Domain;
use socket2::Protocol;
use socket2::Socket;
use socket2::Type;

use crate::proto::wire::Icmp;

use super::raw;
use super::sys;

const UDP: u8 = 17;
const V4_MIN: usize = 20;
const V6_LEN: usize = 40;
const ICMP_LEN: usize = 8;
/// Longer errors are cut: what matters stands in front.
const BUFFER: usize = 1_536;
/// Errors that wait for a worker, in bytes of the kernel's: they may be lost, and anyone may send them.
const RECEIVE_BUFFER: usize = 256 * 1_024;

/// Types that tell what became of a packet: the others are kept away by the kernel.
const KINDS_V4: [u32; 3] = [3, 11, 12];
const KINDS_V6: [u32; 4] = [1, 2, 3, 4];
const ICMP_FILTER: i32 = 1;
const ICMPV6_FILTER: i32 = 1;

/// An ICMP error about a datagram of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReturnedPacket {
    /// Where the datagram had left from.
    pub from: SocketAddr,
    /// Where it was going.
    pub to: SocketAddr,
    /// What ICMP says.
    pub icmp: Icmp,
}

/// Hears all ICMP errors of one family that reach this machine, whoever caused them.
#[derive(Debug)]
pub struct Returned {
    socket: Socket,
    v6: bool,
}

impl Returned {
    /// Opens it.
    ///
    /// # Errors
    /// What the kernel says: `EPERM` without CAP_NET_RAW.
    pub fn open(v6: bool) -> io::Result<Self> {
        let (domain, protocol) =
            if v6 { (Domain::IPV6, Protocol::ICMPV6) } else { (Domain::IPV4, Protocol::ICMPV4) };
        let socket = Socket::new(domain, Type::RAW.nonblocking(), Some(protocol))?;
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        if v6 {
            // Bits of what is kept away.
            let mut filter = [u32::MAX; 8];
            KINDS_V6.iter().for_each(|kind| filter[0] &= !(1 << kind));
            sys::set_option_bytes(socket.as_fd(), libc::IPPROTO_ICMPV6, ICMPV6_FILTER, &bytes(&filter))?;
        } else {
            let filter = KINDS_V4.iter().fold(u32::MAX, |filter, kind| filter & !(1 << kind));
            sys::set_option_bytes(socket.as_fd(), libc::SOL_RAW, ICMP_FILTER, &bytes(&[filter]))?;
        }
        Ok(Self { socket, v6 })
    }

    /// Takes one error: `None` in place of what is not about a UDP packet, or cannot be believed.
    ///
    /// # Errors
    /// What the kernel says, `Errno::AGAIN` if none waits.
    pub fn receive(&self) -> Result<Option<ReturnedPacket>, Errno> {
        let mut buffer = [0; BUFFER];
        let (len, _) = rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT)?;
        let message = &buffer[..len.min(BUFFER)];
        Ok(if self.v6 { read_v6(message) } else { read_v4(message) })
    }
}

impl AsFd for Returned {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Reads a packet that begins with its IP header. The kernel hands it over before it has looked at the checksum.
fn read_v4(packet: &[u8]) -> Option<ReturnedPacket> {
    let icmp = packet.get(header_v4(packet)?..)?;
    // One that was cut for want of room cannot be summed.
    if packet.len() < BUFFER && !raw::is_whole(icmp) {
        return None;
    }
    let about = icmp.get(ICMP_LEN..)?;
    let (source, to) = (octets::<4>(about, 12)?, octets::<4>(about, 16)?);
    let is_first = u16::from_be_bytes(octets(about, 6)?) & 0x1FFF == 0;
    if about[9] != UDP || !is_first {
        return None;
    }
    let ports = about.get(header_v4(about)?..)?;
    let data = match (icmp[0], icmp[1]) {
        (3, 4) => u16::from_be_bytes(octets(icmp, 6)?).into(),
        (12, _) => icmp[4].into(),
        _ => 0,
    };
    returned(
        Ipv4Addr::from(source).into(),
        Ipv4Addr::from(to).into(),
        ports,
        Icmp { kind: icmp[0], code: icmp[1], data },
    )
}

/// The length of the header of IPv4 at the start of `packet`, if it is one.
fn header_v4(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    let len = usize::from(first & 0x0F) * 4;
    (first >> 4 == 4 && len >= V4_MIN && packet.len() >= len).then_some(len)
}

/// Reads an ICMPv6 message, whose checksum the kernel has judged. A packet with extension headers was none of ours.
fn read_v6(icmp: &[u8]) -> Option<ReturnedPacket> {
    let about = icmp.get(ICMP_LEN..)?;
    let (source, to) = (octets::<16>(about, 8)?, octets::<16>(about, 24)?);
    if about[0] >> 4 != 6 || about[6] != UDP {
        return None;
    }
    let data = u32::from_be_bytes(octets(icmp, 4)?);
    let icmp = Icmp { kind: icmp[0], code: icmp[1], data };
    returned(Ipv6Addr::from(source).into(), Ipv6Addr::from(to).into(), about.get(V6_LEN..)?, icmp)
}

fn returned(source: IpAddr, to: IpAddr, ports: &[u8], icmp: Icmp) -> Option<ReturnedPacket> {
    let port = |at| octets(ports, at).map(u16::from_be_bytes);
    Some(ReturnedPacket { from: SocketAddr::new(source, port(0)?), to: SocketAddr::new(to, port(2)?), icmp })
}

fn octets<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;

    /// An error of IPv4 about a datagram from 192.0.2.1:50000 to 203.0.113.9:7, with a right checksum.
    fn error_v4(kind: u8, code: u8, data: [u8; 4], protocol: u8) -> Vec<u8> {
        let mut about = vec![0x46, 0, 0, 40, 0, 0, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 203, 0, 113, 9];
        about.extend([1, 1, 1, 1]);
        about.extend([0xC3, 0x50, 0, 7, 0, 8, 0xAB, 0xCD]);
        let mut icmp = vec![kind, code, 0, 0];
        icmp.extend(data);
        icmp.extend(about);
        let sum =
            icmp.chunks(2).fold(0_u32, |sum, pair| sum + u32::from(u16::from_be_bytes([pair[0], pair[1]])));
        let folded = (sum & 0xFFFF) + (sum >> 16);
        let folded = (folded & 0xFFFF) + (folded >> 16);
        icmp[2..4].copy_from_slice(&(!(folded as u16)).to_be_bytes());
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0, 198, 51, 100, 1, 192, 0, 2, 1];
        packet.extend(icmp);
        packet
    }

    #[test]
    fn an_error_of_ipv4_tells_both_ends_and_what_it_says() {
        for (kind, code, data, expected) in [
            (3, 3, [0, 0, 9, 9], 0),
            (3, 4, [0, 0, 5, 120], 1_400),
            (11, 0, [7, 7, 7, 7], 0),
            (12, 0, [9, 0, 0, 0], 9),
        ] {
            let told = read_v4(&error_v4(kind, code, data, UDP)).expect("it is one");
            assert_eq!(told.from, "192.0.2.1:50000".parse().expect("a literal"));
            assert_eq!(told.to, "203.0.113.9:7".parse().expect("a literal"));
            assert_eq!(told.icmp, Icmp { kind, code, data: expected });
        }
    }

    #[test]
    fn an_error_that_lies_or_is_about_something_else_is_none() {
        let good = error_v4(3, 3, [0; 4], UDP);
        assert_eq!(read_v4(&error_v4(3, 3, [0; 4], 6)), None, "about TCP");
        for at in 20..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert_eq!(read_v4(&bad), None, "octet {at} was changed");
        }
        for len in 0..good.len() {
            assert_eq!(read_v4(&good[..len]), None, "cut to {len}");
        }
    }

    #[test]
    fn an_error_of_ipv6_tells_both_ends_and_what_it_says() {
        let mut message = vec![2, 0, 0, 0, 0, 0, 5, 0, 0x60, 0, 0, 0, 0, 8, UDP, 64];
        message.extend(Ipv6Addr::LOCALHOST.octets());
        message.extend("2001:db8::9".parse::<Ipv6Addr>().expect("a literal").octets());
        message.extend([0xC3, 0x50, 0, 7]);
        let told = read_v6(&message).expect("it is one");
        assert_eq!(told.from, "[::1]:50000".parse().expect("a literal"));
        assert_eq!(told.to, "[2001:db8::9]:7".parse().expect("a literal"));
        assert_eq!(told.icmp, Icmp { kind: 2, code: 0, data: 1_280 });
        (0..message.len()).for_each(|len| assert_eq!(read_v6(&message[..len]), None, "cut to {len}"));
        message[14] = 6;
        assert_eq!(read_v6(&message), None, "about TCP");
    }

    #[test]
    fn the_kernels_own_errors_are_heard_and_nothing_else_is() {
        for home in ["127.0.0.1:0", "[::1]:0"] {
            let peer = UdpSocket::bind(home).expect("a socket");
            let Ok(returned) = Returned::open(peer.local_addr().expect("bound").is_ipv6()) else {
                return eprintln!("NOT PROVED: this process may not open raw sockets");
            };
            let gone = UdpSocket::bind(home).expect("a socket").local_addr().expect("bound");
            peer.send_to(b"anybody?", gone).expect("sent");
            let ours = peer.local_addr().expect("bound");
            let deadline = Instant::now() + Duration::from_secs(20);
            // Other tests of this machine cause errors too.
            let told = loop {
                match returned.receive() {
                    Ok(Some(told)) if told.from == ours => break told,
                    _ => assert!(Instant::now() < deadline, "no error came"),
                }
            };
            assert_eq!(told.to, gone);
            assert_eq!((told.icmp.kind, told.icmp.code), if home.starts_with('[') { (1, 4) } else { (3, 3) });
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(noise in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = (read_v4(&noise), read_v6(&noise));
        }
    }
}
