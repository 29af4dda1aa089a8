//! Frames, put together and taken apart from the standards' drawings, not by the code under test.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

pub(crate) const ETHERNET_LEN: usize = 14;

/// A datagram in a plain packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plain {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) payload: Vec<u8>,
    pub(crate) hops: u8,
    pub(crate) class: u8,
    pub(crate) df: bool,
    /// IPv4 alone: sent without a checksum.
    pub(crate) unsummed: bool,
}

impl Plain {
    pub(crate) fn new(from: &str, to: &str, payload: &[u8]) -> Self {
        let parse = |text: &str| text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        Self {
            from: parse(from),
            to: parse(to),
            payload: payload.to_vec(),
            hops: 64,
            class: 0,
            df: false,
            unsummed: false,
        }
    }

    /// The frame; its Ethernet addresses are 0, as those of the loopback interface are.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let kind = if self.to.is_ipv4() { 0x0800_u16 } else { 0x86DD };
        [&[0; 12][..], &kind.to_be_bytes(), &self.packet()].concat()
    }

    pub(crate) fn packet(&self) -> Vec<u8> {
        let udp_len = u16::try_from(8 + self.payload.len()).expect("a datagram fits its length");
        let mut udp = [
            &self.from.port().to_be_bytes()[..],
            &self.to.port().to_be_bytes(),
            &udp_len.to_be_bytes(),
            &[0, 0],
            &self.payload,
        ]
        .concat();
        if !self.unsummed {
            let check = match !sum(&[self.pseudo(udp_len), udp.clone()].concat()) {
                0 => u16::MAX,
                check => check,
            };
            udp[6..8].copy_from_slice(&check.to_be_bytes());
        }
        [self.ip_header(udp_len), udp].concat()
    }

    pub(crate) fn pseudo(&self, udp_len: u16) -> Vec<u8> {
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                [&from.octets()[..], &to.octets(), &[0, 17], &udp_len.to_be_bytes()].concat()
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let len = u32::from(udp_len).to_be_bytes();
                [&from.octets()[..], &to.octets(), &len, &[0, 0, 0, 17]].concat()
            }
            _ => panic!("two families in one packet"),
        }
    }

    fn ip_header(&self, udp_len: u16) -> Vec<u8> {
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let total = (20 + udp_len).to_be_bytes();
                let flags = if self.df { 0x40 } else { 0 };
                let mut header =
                    vec![0x45, self.class, total[0], total[1], 0, 0, flags, 0, self.hops, 17, 0, 0];
                header.extend(from.octets());
                header.extend(to.octets());
                let check = !sum(&header);
                header[10..12].copy_from_slice(&check.to_be_bytes());
                header
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let first = (6 << 28 | u32::from(self.class) << 20).to_be_bytes();
                let len = udp_len.to_be_bytes();
                [&first[..], &len, &[17, self.hops], &from.octets(), &to.octets()].concat()
            }
            _ => panic!("two families in one packet"),
        }
    }
}

/// The packet in `frame`, if it is a plain one whose sums are right.
pub(crate) fn parse(frame: &[u8]) -> Option<Plain> {
    let (ethernet, packet) = frame.split_at_checked(ETHERNET_LEN)?;
    let plain = match u16::from_be_bytes([ethernet[12], ethernet[13]]) {
        0x0800 => parse4(packet)?,
        0x86DD => parse6(packet)?,
        _ => return None,
    };
    let udp_at = if plain.to.is_ipv4() { 20 } else { 40 };
    let udp = &packet[udp_at..];
    let len = u16::try_from(udp.len()).ok()?;
    let right = plain.unsummed || sum(&[plain.pseudo(len), udp.to_vec()].concat()) == u16::MAX;
    (right && !(plain.unsummed && plain.to.is_ipv6())).then_some(plain)
}

fn parse4(packet: &[u8]) -> Option<Plain> {
    let header = packet.get(..20)?;
    let flags = u16::from_be_bytes([header[6], header[7]]);
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let plain = header[0] == 0x45 && header[9] == 17 && flags & !0x4000 == 0 && total == packet.len();
    let ip = |at: usize| <[u8; 4]>::try_from(&header[at..at + 4]).map(|ip| Ipv4Addr::from(ip).into()).ok();
    let udp = udp_of(ip(12)?, ip(16)?, packet.get(20..)?)?;
    let plain = plain && sum(header) == u16::MAX;
    plain.then_some(Plain { hops: header[8], class: header[1], df: flags != 0, ..udp })
}

fn parse6(packet: &[u8]) -> Option<Plain> {
    let header = packet.get(..40)?;
    let first = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let ip = |at: usize| <[u8; 16]>::try_from(&header[at..at + 16]).map(|ip| Ipv6Addr::from(ip).into()).ok();
    let udp = udp_of(ip(8)?, ip(24)?, packet.get(40..)?)?;
    let plain = first >> 28 == 6 && header[6] == 17 && len + 40 == packet.len();
    let class = u8::try_from(first >> 20 & 0xFF).ok()?;
    plain.then_some(Plain { hops: header[7], class, df: false, ..udp })
}

fn udp_of(from: IpAddr, to: IpAddr, udp: &[u8]) -> Option<Plain> {
    let word = |at: usize| Some(u16::from_be_bytes([*udp.get(at)?, *udp.get(at + 1)?]));
    let (source, destination, len, check) = (word(0)?, word(2)?, word(4)?, word(6)?);
    (usize::from(len) == udp.len()).then(|| Plain {
        from: (from, source).into(),
        to: (to, destination).into(),
        payload: udp[8..].to_vec(),
        hops: 0,
        class: 0,
        df: false,
        unsummed: check == 0,
    })
}

/// The first two bytes of data that make the true checksum of `plain`, whose payload has them as 0 at `at`, look like one that
/// was left to the card: the sum of the pseudo-header alone.
pub(crate) fn like_partial(plain: &Plain, at: usize) -> [u8; 2] {
    let udp_len = u16::try_from(8 + plain.payload.len()).expect("a datagram fits its length");
    let packet = plain.packet();
    let check_at = if plain.to.is_ipv4() { 26 } else { 46 };
    assert_eq!(plain.payload[at..at + 2], [0; 2]);
    // In ones' complement: the word is what lies between the checksum that it has and the one that it shall have.
    let word = |bytes: &[u8]| u32::from(bytes[0]) << 8 | u32::from(bytes[1]);
    let (is, shall) = (word(&packet[check_at..check_at + 2]), u32::from(sum(&plain.pseudo(udp_len))));
    u16::try_from((is + 0xFFFF - shall) % 0xFFFF).expect("a word").to_be_bytes()
}

/// RFC 1071.
pub(crate) fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for word in bytes.chunks(2) {
        sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
    }
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    u16::try_from(sum).expect("folded")
}

/// ChannelData (RFC 8656 § 12.4).
pub(crate) fn channel_data(number: u16, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).expect("short data");
    [&number.to_be_bytes()[..], &len.to_be_bytes(), data].concat()
}
