//! Datagrams that leave as whole IP packets, headers and checksum written here. So they can leave from a relayed address
//! and port by a socket that is not bound to the port, and one call sends those of many allocations.
//!
//! ```text
//!   IPv4 | version 4 | TOS | length 2 | id 2 | DF 2 | TTL | 17 | checksum 2 | source 4 | destination 4 | UDP 8 | data …
//!   IPv6 | version, class, flow label 4 | length 2 | 17 | hop limit | source 16 | destination 16 | UDP 8 | data …
//! ```
//!
//! The checksum of IPv4 is the kernel's to fill. A packet that is longer than the link takes is refused
//! (`Errno::MSGSIZE`): whoever wants it in fragments sends it by a bound socket.

use std::fs;
use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;

use ahash::RandomState;
use rustix::io::Errno;
use socket2::Domain;
use socket2::Protocol;
use socket2::Socket;
use socket2::Type;

use crate::proto::types::IpHeader;

use super::packet::Heading;
use super::sys;
use super::sys::Headers;
use super::udp::LISTENER_BUFFER;
use super::udp::want_send_buffer;

const UDP: u8 = 17;
const UDP_LEN: usize = 8;
const V4_LEN: usize = 20;
const V6_LEN: usize = 40;
/// Room for the headers of either family and, behind them, for the data of a voice.
const HEAD: usize = 320;
const DONT_FRAGMENT: u16 = 0x4000;

const _: () = assert!(HEAD >= V6_LEN + UDP_LEN);

/// A socket that sends whole packets from one of this machine's addresses. It receives nothing.
#[derive(Debug)]
pub struct RawSocket {
    socket: Socket,
    address: IpAddr,
    hop_limit: u8,
}

impl RawSocket {
    /// Opens it for packets that leave from `address`, which chooses their way as it does for a socket bound to it.
    ///
    /// # Errors
    /// What the kernel says: `EPERM` without CAP_NET_RAW.
    pub fn open(address: IpAddr) -> io::Result<Self> {
        let of = SocketAddr::new(address, 0);
        let protocol = Some(Protocol::from(libc::IPPROTO_RAW));
        let socket = Socket::new(Domain::for_address(of), Type::RAW.nonblocking(), protocol)?;
        want_send_buffer(&socket, LISTENER_BUFFER);
        if address.is_ipv4() {
            // The protocol says it already; and the length is judged by the link, not by what was heard of the path.
            sys::set_option(socket.as_fd(), libc::IPPROTO_IP, libc::IP_HDRINCL, 1)?;
            sys::set_option(
                socket.as_fd(),
                libc::IPPROTO_IP,
                libc::IP_MTU_DISCOVER,
                libc::IP_PMTUDISC_PROBE,
            )?;
        }
        socket.bind(&of.into())?;
        Ok(Self { socket, address, hop_limit: default_hop_limit(address.is_ipv6()) })
    }

    /// The address that its packets leave from.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

impl AsFd for RawSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What the system gives to packets that ask for nothing.
fn default_hop_limit(v6: bool) -> u8 {
    let file = if v6 { "/proc/sys/net/ipv6/conf/all/hop_limit" } else { "/proc/sys/net/ipv4/ip_default_ttl" };
    fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(64)
}

/// A datagram that shall leave as a packet.
#[derive(Clone, Copy, Debug)]
pub struct DepartingPacket<'a> {
    /// Its data.
    pub bytes: &'a [u8],
    /// The port to leave from.
    pub from: u16,
    /// Where to, in the family of the socket and without a scope; with no source but the socket's.
    pub heading: &'a Heading,
}

/// What it takes to send several packets with one call.
pub struct RawSender {
    headers: Headers,
    heads: Box<[[u8; HEAD]]>,
    identifications: Identifications,
}

impl RawSender {
    /// Sends up to `count` packets with one call. `seeds` are nobody else's to know.
    ///
    /// # Panics
    /// If `count` is 0, which is the caller's bug.
    #[must_use]
    pub fn new(count: usize, seeds: [u64; 4]) -> Self {
        assert!(count > 0, "a sender without headers sends nothing");
        Self {
            headers: Headers::new(count),
            heads: vec![[0; HEAD]; count].into(),
            identifications: Identifications::new(seeds),
        }
    }

    /// Sends every one of `departing` from `socket`, without blocking. Whatever one of them meets, the others are
    /// sent; `failed` hears the place in `departing` and the error of each that was not.
    pub fn send<'a>(
        &mut self,
        socket: &RawSocket,
        departing: impl Iterator<Item = DepartingPacket<'a>>,
        mut failed: impl FnMut(usize, Errno),
    ) {
        let count = self.headers.len();
        let Self { headers, heads, identifications } = self;
        let (source, hop_limit) = (socket.address, socket.hop_limit);
        let mut departing = departing.map(|one| (one.bytes, one.heading.to.ip(), one)).peekable();
        let mut base = 0;
        while departing.peek().is_some() {
            let part = departing.by_ref().take(count);
            headers.send_packets(
                socket.as_fd(),
                heads,
                part,
                |head, bytes, one| {
                    let len = write_head(head, source, hop_limit, bytes, &one);
                    identifications.fill(head);
                    len
                },
                |index, error| failed(base + index, error),
            );
            base += count;
        }
    }
}

/// What tells the fragments of one IPv4 packet from those of another (RFC 791), should it meet a link that is too narrow on
/// its way. Whoever sees some cannot foresee others, or count what others send (RFC 7739). The kernel would draw it too, from
/// a table that all processors share.
#[derive(Debug)]
struct Identifications {
    hasher: RandomState,
    drawn: u64,
}

impl Identifications {
    /// The key is made of `seeds` one way, for these numbers are seen by strangers, and tables are hashed by the seeds.
    fn new(seeds: [u64; 4]) -> Self {
        let [a, b, c, d] = [0_u64, 1, 2, 3].map(|place| {
            let mut hash = DefaultHasher::new();
            (seeds, place).hash(&mut hash);
            hash.finish()
        });
        Self { hasher: RandomState::with_seeds(a, b, c, d), drawn: 0 }
    }

    /// Writes it into an IPv4 header of a packet that may be fragmented; never 0, in whose place the kernel would draw one.
    fn fill(&mut self, head: &mut [u8; HEAD]) {
        if head[0] >> 4 == 4 && head[6] & (DONT_FRAGMENT >> 8) as u8 == 0 {
            self.drawn = self.drawn.wrapping_add(1);
            let drawn = low16(self.hasher.hash_one(self.drawn) as usize).max(1);
            head[4..6].copy_from_slice(&drawn.to_ne_bytes());
        }
    }
}

/// Writes what stands before the data and answers its length. Between addresses of two families it writes nothing sensible,
/// and the kernel refuses it.
fn write_head(
    head: &mut [u8; HEAD],
    source: IpAddr,
    hop_limit: u8,
    data: &[u8],
    one: &DepartingPacket<'_>,
) -> usize {
    let udp_len = UDP_LEN + data.len();
    let hop_limit = one.heading.header.hop_limit.unwrap_or(hop_limit);
    let (start, pseudo) = match (source, one.heading.to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(to)) => {
            (V4_LEN, write_v4(head, source, to, udp_len, hop_limit, one.heading.header))
        }
        (IpAddr::V6(source), IpAddr::V6(to)) => {
            let label = flow_label(source, to, one.from, one.heading.to.port());
            (V6_LEN, write_v6(head, source, to, udp_len, hop_limit, one.heading.header.traffic_class, label))
        }
        _ => (0, 0),
    };
    let udp = &mut head[start..start + UDP_LEN];
    udp[..2].copy_from_slice(&one.from.to_be_bytes());
    udp[2..4].copy_from_slice(&one.heading.to.port().to_be_bytes());
    // A length that does not fit belongs to a packet that no link takes.
    udp[4..6].copy_from_slice(&low16(udp_len).to_be_bytes());
    udp[6..].fill(0);
    let sum = pseudo + sum(&udp[..]) + u64::from(u16::from(UDP).to_be()) + u64::from(low16(udp_len).to_be());
    let checksum = match !fold(sum + self::sum(data)) {
        // 0 says that there is none.
        0 => u16::MAX,
        checksum => checksum,
    };
    udp[6..].copy_from_slice(&checksum.to_ne_bytes());
    start + UDP_LEN
}

/// The sum of the addresses is the answer.
fn write_v4(
    head: &mut [u8; HEAD],
    source: Ipv4Addr,
    to: Ipv4Addr,
    udp_len: usize,
    hop_limit: u8,
    header: IpHeader,
) -> u64 {
    let flags = if header.dont_fragment { DONT_FRAGMENT } else { 0 };
    head[0] = 0x45;
    head[1] = header.traffic_class;
    head[2..4].copy_from_slice(&low16(V4_LEN + udp_len).to_be_bytes());
    head[4..6].fill(0);
    head[6..8].copy_from_slice(&flags.to_be_bytes());
    head[8..12].copy_from_slice(&[hop_limit, UDP, 0, 0]);
    head[12..16].copy_from_slice(&source.octets());
    head[16..V4_LEN].copy_from_slice(&to.octets());
    sum(&head[12..V4_LEN])
}

/// The same for IPv6.
fn write_v6(
    head: &mut [u8; HEAD],
    source: Ipv6Addr,
    to: Ipv6Addr,
    udp_len: usize,
    hop_limit: u8,
    traffic_class: u8,
    label: u32,
) -> u64 {
    head[..4].copy_from_slice(&(6 << 28 | u32::from(traffic_class) << 20 | label).to_be_bytes());
    head[4..6].copy_from_slice(&low16(udp_len).to_be_bytes());
    head[6..8].copy_from_slice(&[UDP, hop_limit]);
    head[8..24].copy_from_slice(&source.octets());
    head[24..V6_LEN].copy_from_slice(&to.octets());
    sum(&head[8..V6_LEN])
}

/// The same 20 bits for each packet of a flow (RFC 6437), and few others' bits.
fn flow_label(source: Ipv6Addr, to: Ipv6Addr, from_port: u16, to_port: u16) -> u32 {
    let ports = u64::from(from_port) << 16 | u64::from(to_port);
    let [a, b] = [source.to_bits(), to.to_bits()].map(|ip| (ip >> 64) as u64 ^ ip as u64);
    let mixed = (a ^ b.rotate_left(32) ^ ports).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    // 0 would say that there is none.
    ((mixed >> 44) as u32).max(1)
}

fn low16(len: usize) -> u16 {
    (len & 0xFFFF) as u16
}

/// The sum of `bytes` as words of two octets, the last one filled with a zero, in the machine's order of octets: the ones'
/// complement sum of RFC 1071, not folded. At most some 64 KiB, so it does not overflow.
fn sum(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(4);
    let sum =
        words.by_ref().map(|word| u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))).sum();
    let mut last = [0; 4];
    let rest = words.remainder();
    last[..rest.len()].copy_from_slice(rest);
    u64::from(u32::from_ne_bytes(last)).wrapping_add(sum)
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    sum as u16
}

/// Whether the checksum of RFC 1071 over `bytes`, in which it stands, is right.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    fold(sum(bytes)) == u16::MAX
}

#[cfg(test)]
mod tests;
