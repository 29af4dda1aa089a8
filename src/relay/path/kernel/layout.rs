//! The entries of the maps as turn.bpf.c lays them out, byte by byte. Numbers of the wire stand in its order, all else in the
//! machine's.

use std::net::IpAddr;
use std::net::SocketAddr;

use crate::proto::types::ChannelNumber;

/// `RELAYS_MAX` of the program: relay addresses of one family.
pub(super) const RELAYS_MAX: usize = 8;
/// `NEAR_PEERS` of the program.
pub(super) const NEAR_PEERS: usize = 2;

pub(super) const KEY4_LEN: usize = 16;
pub(super) const KEY6_LEN: usize = 40;
pub(super) const PEER_KEY_LEN: usize = 24;
pub(super) const WAY_LEN: usize = 96;
pub(super) const PORT_LEN: usize = 152;
pub(super) const FAR_LEN: usize = 56;
pub(super) const HOP_LEN: usize = 48;
const OUT_LEN: usize = 56;
const PEER_LEN: usize = 40;

/// `OWN` of the program.
const OWN: u8 = 1;
const UDP: u16 = 17;

/// `struct out`: how a frame that leaves begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Out {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) hop: u16,
    pub(super) own: bool,
    /// 20 bits.
    pub(super) flow: u32,
}

/// `struct way`: a channel from the client's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// The client, and where it sends to.
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
    pub(super) channel: ChannelNumber,
    pub(super) place: u32,
    pub(super) until_ns: u64,
    pub(super) out: Out,
    pub(super) instance: u32,
    /// The place of a peer that is a relayed address of this server.
    pub(super) own: u32,
}

/// `struct peer`: a channel from the peer's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) peer: SocketAddr,
    /// Where it sends to.
    pub(super) bound: SocketAddr,
    pub(super) channel: ChannelNumber,
    pub(super) until_ns: u64,
    pub(super) own: bool,
}

/// `struct port`: an allocation by its relay port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) instance: u32,
    pub(super) out: Out,
    /// At most [`NEAR_PEERS`].
    pub(super) near: Vec<Peer>,
}

/// `struct hop`: a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) ifindex: u32,
    /// 0: it cannot be used.
    pub(super) mtu: u16,
    pub(super) next: IpAddr,
    /// Addresses of the next hop and of the interface, where they are known.
    pub(super) macs: Option<([u8; 6], [u8; 6])>,
    /// When the program lends a packet to the sockets, in ns of the monotonic clock.
    pub(super) due_ns: u64,
}

/// The key of `ways4` or of `ways6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum WayKey {
    V4([u8; KEY4_LEN]),
    V6([u8; KEY6_LEN]),
}

/// Bytes written one behind the other.
struct Writing<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Writing<N> {
    const fn new() -> Self {
        Self { bytes: [0; N], at: 0 }
    }

    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
        self
    }

    fn word(&mut self, word: u32) -> &mut Self {
        self.put(&word.to_ne_bytes())
    }

    fn skip(&mut self, count: usize) -> &mut Self {
        self.at += count;
        self
    }

    /// All of it. That it is complete is a promise of the layout, held by each test that relays a packet.
    fn done(&self) -> [u8; N] {
        debug_assert_eq!(self.at, N, "an entry is written whole");
        self.bytes
    }
}

impl Way {
    pub(super) fn key(&self) -> WayKey {
        let ports = [
            self.client.port().to_be_bytes(),
            self.server.port().to_be_bytes(),
            self.channel.get().to_be_bytes(),
            [0; 2],
        ]
        .concat();
        match (self.client.ip(), self.server.ip()) {
            (IpAddr::V4(client), IpAddr::V4(server)) => {
                let mut key = Writing::<KEY4_LEN>::new();
                WayKey::V4(key.put(&client.octets()).put(&server.octets()).put(&ports).done())
            }
            (client, server) => {
                let mut key = Writing::<KEY6_LEN>::new();
                WayKey::V6(key.put(&wide(client)).put(&wide(server)).put(&ports).done())
            }
        }
    }

    /// `tag` tells this writing from every other.
    pub(super) fn bytes(&self, tag: u32) -> [u8; WAY_LEN] {
        let mut way = Writing::new();
        way.word(tag).word(self.place).put(&self.until_ns.to_ne_bytes()).put(&self.out.bytes());
        way.word(self.instance).word(not_ends(self.client, self.server));
        way.word(pseudo(self.client.ip(), self.server.ip())).word(self.own).skip(4).word(tag).done()
    }
}

impl Peer {
    pub(super) fn key(&self, place: u32) -> [u8; PEER_KEY_LEN] {
        let mut key = Writing::new();
        key.put(&wide(self.peer.ip())).word(place).put(&self.peer.port().to_be_bytes()).skip(2).done()
    }

    pub(super) fn far_bytes(&self, tag: u32) -> [u8; FAR_LEN] {
        let mut far = Writing::new();
        far.word(tag).skip(4).put(&self.bytes()).skip(4).word(tag).done()
    }

    fn bytes(&self) -> [u8; PEER_LEN] {
        let mut peer = Writing::new();
        peer.put(&wide(self.peer.ip())).put(&self.until_ns.to_ne_bytes());
        peer.put(&self.peer.port().to_be_bytes()).put(&self.channel.get().to_be_bytes());
        peer.put(&u16::from(if self.own { OWN } else { 0 }).to_ne_bytes()).skip(2);
        peer.word(not_ends(self.peer, self.bound)).word(pseudo(self.peer.ip(), self.bound.ip())).done()
    }
}

impl Port {
    pub(super) fn bytes(&self, tag: u32) -> [u8; PORT_LEN] {
        let mut port = Writing::new();
        port.word(tag).word(self.instance).put(&self.out.bytes());
        for place in 0..NEAR_PEERS {
            match self.near.get(place) {
                Some(peer) => port.put(&peer.bytes()),
                None => port.skip(PEER_LEN),
            };
        }
        port.skip(4).word(tag).done()
    }
}

impl Out {
    fn bytes(&self) -> [u8; OUT_LEN] {
        let family = if self.to.is_ipv4() { 4 } else { 6 };
        let mut out = Writing::new();
        out.put(&wide(self.from.ip())).put(&wide(self.to.ip()));
        out.put(&self.from.port().to_be_bytes()).put(&self.to.port().to_be_bytes());
        out.put(&self.hop.to_ne_bytes()).put(&[family, if self.own { OWN } else { 0 }]);
        out.word(self.flow).word(ends(self.from, self.to).into());
        out.word(sum(&[wide(self.from.ip()), wide(self.to.ip())].concat()).into()).skip(4).done()
    }
}

impl Hop {
    pub(super) fn bytes(&self) -> [u8; HOP_LEN] {
        let family = if self.next.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let (next_mac, own_mac) = self.macs.unwrap_or_default();
        let mut hop = Writing::new();
        hop.word(self.ifindex).put(&self.mtu.to_ne_bytes());
        hop.put(&[u8::from(self.macs.is_some()), u8::try_from(family).unwrap_or(0)]);
        hop.put(&wide(self.next)).put(&next_mac).put(&own_mac).skip(4);
        hop.put(&self.due_ns.to_ne_bytes()).done()
    }
}

/// An address in the place of one of either family: the rest is 0.
pub(super) fn wide(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => {
            let mut wide = [0; 16];
            wide[..4].copy_from_slice(&v4.octets());
            wide
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The sum of 16-bit words in the order of the wire (RFC 1071), folded.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2).map(|word| u32::from(u16::from_ne_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let sum = (sum & 0xFFFF) + (sum >> 16);
    let [low, high] = [sum & 0xFFFF, sum >> 16];
    u16::try_from(low + high).unwrap_or(u16::MAX)
}

/// Of both addresses and ports.
fn ends(from: SocketAddr, to: SocketAddr) -> u16 {
    let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    sum(&[&wide(from.ip())[..], &wide(to.ip()), &ports].concat())
}

fn not_ends(from: SocketAddr, to: SocketAddr) -> u32 {
    u32::from(!ends(from, to))
}

/// What a pseudo-header without its length sums to.
fn pseudo(from: IpAddr, to: IpAddr) -> u32 {
    sum(&[&wide(from)[..], &wide(to), &UDP.to_be_bytes()].concat()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1071 § 3.
    #[test]
    fn sums_are_those_of_the_standard_and_carries_come_round() {
        let example = [0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7];
        assert_eq!(sum(&example).to_ne_bytes(), [0xDD, 0xF2]);
        assert_eq!(sum(&[0xFF; 40]), 0xFFFF);
        assert_eq!(sum(&[0; 40]), 0);
    }

    #[test]
    fn an_address_of_either_family_has_one_place() {
        assert_eq!(wide("192.0.2.1".parse().unwrap())[..5], [192, 0, 2, 1, 0]);
        assert_eq!(wide("2001:db8::1".parse().unwrap())[15], 1);
    }
}
