//! Packets as the wire would see them, and as another socket of this machine does.

use std::net::UdpSocket;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// The plain reading of RFC 1071: the checksum of `bytes`.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !(sum as u16)
}

fn literal(text: &str) -> SocketAddr {
    text.parse().expect("a literal")
}

fn packet(source: IpAddr, one: &DepartingPacket<'_>) -> Vec<u8> {
    let mut head = [0xAA; HEAD];
    let len = write_head(&mut head, source, 64, one.bytes, one);
    [&head[..len], one.bytes].concat()
}

/// The UDP checksum over the pseudo-header, which is 0 where all is well.
fn judge(packet: &[u8], v6: bool) -> u16 {
    let (addresses, udp) = if v6 { (8..40, &packet[40..]) } else { (12..20, &packet[20..]) };
    let len = (udp.len() as u32).to_be_bytes();
    checksum(&[&packet[addresses], &len, &[0, 0, 0, UDP], udp].concat())
}

#[test]
fn the_header_of_ipv4_says_what_was_asked() {
    let header = IpHeader { hop_limit: Some(17), traffic_class: 0xB9, dont_fragment: true };
    let one = DepartingPacket {
        bytes: b"abc",
        from: 50_000,
        heading: &Heading { header, ..Heading::to(literal("203.0.113.9:7")) },
    };
    let packet = packet(literal("192.0.2.1:0").ip(), &one);
    assert_eq!(packet[..12], [0x45, 0xB9, 0, 31, 0, 0, 0x40, 0, 17, UDP, 0, 0]);
    assert_eq!(packet[12..20], [192, 0, 2, 1, 203, 0, 113, 9]);
    assert_eq!(packet[20..26], [0xC3, 0x50, 0, 7, 0, 11]);
    assert_eq!(judge(&packet, false), 0);
}

#[test]
fn the_header_of_ipv6_says_what_was_asked_and_its_label_is_that_of_the_flow() {
    let header = IpHeader { hop_limit: None, traffic_class: 0xB9, dont_fragment: false };
    let one = DepartingPacket {
        bytes: b"abc",
        from: 50_000,
        heading: &Heading { header, ..Heading::to(literal("[2001:db8::9]:7")) },
    };
    let source = literal("[2001:db8::1]:0").ip();
    let first = packet(source, &one);
    assert_eq!((first[0], first[1] & 0xF0), (0x6B, 0x90));
    assert_eq!(first[4..8], [0, 11, UDP, 64]);
    assert_eq!(judge(&first, true), 0);
    assert_eq!(packet(source, &one)[..4], first[..4]);
    let other = DepartingPacket { from: 50_001, ..one };
    assert_ne!(packet(source, &other)[..4], first[..4]);
}

#[test]
fn a_checksum_that_would_be_none_is_written_as_its_other_zero() {
    let header = IpHeader::default();
    for last in 0..=u16::MAX {
        let bytes = last.to_be_bytes();
        let one = DepartingPacket {
            bytes: &bytes,
            from: 50_000,
            heading: &Heading { header, ..Heading::to(literal("203.0.113.9:7")) },
        };
        let packet = packet(literal("192.0.2.1:0").ip(), &one);
        assert_ne!(packet[26..28], [0, 0]);
        if packet[26..28] == [0xFF, 0xFF] {
            assert_eq!(judge(&packet, false), 0);
            return;
        }
    }
    panic!("one of them has that sum");
}

#[test]
fn packets_that_may_be_fragmented_are_numbered_in_no_order_that_others_know() {
    let to = literal("203.0.113.9:7");
    let drawn = |seeds, dont_fragment| {
        let header = IpHeader { dont_fragment, ..IpHeader::default() };
        let one =
            DepartingPacket { bytes: b"abc", from: 50_000, heading: &Heading { header, ..Heading::to(to) } };
        let mut identifications = Identifications::new(seeds);
        let mut next = || {
            let mut head = [0xAA; HEAD];
            write_head(&mut head, literal("192.0.2.1:0").ip(), 64, one.bytes, &one);
            identifications.fill(&mut head);
            u16::from_be_bytes([head[4], head[5]])
        };
        (0..1_000).map(|_| next()).collect::<Vec<_>>()
    };
    let mut first = drawn([1, 2, 3, 4], false);
    assert_ne!(first, drawn([5, 6, 7, 8], false));
    let by_tables = RandomState::with_seeds(1, 2, 3, 4);
    let shown = (1..=1_000_u64).map(|drawn| low16(by_tables.hash_one(drawn) as usize).to_be());
    assert!(!shown.eq(first.iter().copied()), "they tell nothing of how tables are hashed");
    let steps: std::collections::BTreeSet<u16> =
        first.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    assert!(steps.len() > 900, "{} different steps of 999", steps.len());
    first.sort_unstable();
    first.dedup();
    assert!(first.len() > 900 && first[0] != 0, "{} different ones of 1,000", first.len());
    assert!(drawn([1, 2, 3, 4], true).iter().all(|drawn| *drawn == 0), "what stays whole needs none");
    let one = DepartingPacket { bytes: b"abc", from: 1, heading: &Heading::to(literal("[::1]:7")) };
    let mut head = [0; HEAD];
    write_head(&mut head, literal("[::1]:0").ip(), 64, one.bytes, &one);
    let before = head;
    Identifications::new([1, 2, 3, 4]).fill(&mut head);
    assert_eq!(head, before, "IPv6 has none");
}

proptest! {
    #[test]
    fn every_checksum_is_right(
        data in prop::collection::vec(any::<u8>(), 0..1_600),
        v6: bool,
        source: u128,
        to: u128,
        ports: (u16, u16),
    ) {
        let ip = |bits: u128| if v6 {
            IpAddr::from(Ipv6Addr::from_bits(bits))
        } else {
            Ipv4Addr::from_bits(bits as u32).into()
        };
        let to = SocketAddr::new(ip(to), ports.1);
        let one = DepartingPacket { bytes: &data, from: ports.0, heading: &Heading::to(to) };
        let packet = packet(ip(source), &one);
        prop_assert_eq!(judge(&packet, v6), 0);
        let start = if v6 { 40 } else { 20 };
        prop_assert_eq!(usize::from(u16::from_be_bytes([packet[start + 4], packet[start + 5]])), 8 + data.len());
    }
}

fn raw(home: IpAddr) -> Option<RawSocket> {
    match RawSocket::open(home) {
        Ok(socket) => Some(socket),
        Err(error) => {
            eprintln!("NOT PROVED: no raw socket: {error}");
            None
        }
    }
}

#[test]
fn packets_of_any_length_arrive_at_a_socket_from_a_port_that_nobody_bound() {
    for home in ["127.0.0.1:0", "[::1]:0"] {
        let peer = UdpSocket::bind(home).expect("a socket");
        peer.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let to = peer.local_addr().expect("bound");
        let Some(socket) = raw(to.ip()) else { return };
        let mut sender = RawSender::new(4, [1, 2, 3, 4]);
        // What every path of IPv6 takes: a test may have told this machine that one to itself is narrow.
        let room = [HEAD - V4_LEN - UDP_LEN, HEAD - V6_LEN - UDP_LEN];
        let edges = room.into_iter().flat_map(|room| [room - 1, room, room + 1]);
        let lengths: Vec<usize> =
            [0, 1, 2, 3, 171, 172, 173, 1_200, 1_201, 1_232].into_iter().chain(edges).collect();
        let data: Vec<Vec<u8>> = lengths.iter().map(|len| (0..*len).map(|at| at as u8).collect()).collect();
        let heading = Heading::to(to);
        let departing = data.iter().map(|bytes| DepartingPacket { bytes, from: 49_151, heading: &heading });
        sender.send(&socket, departing, |_, error| panic!("{error}"));
        let mut buffer = vec![0; 1 << 16];
        for bytes in &data {
            let (len, from) = peer.recv_from(&mut buffer).expect("it comes");
            assert_eq!(from, SocketAddr::new(to.ip(), 49_151));
            assert_eq!(buffer[..len], bytes[..]);
        }
    }
}

#[test]
fn a_packet_that_no_link_takes_is_refused_alone() {
    let peer = UdpSocket::bind("[::1]:0").expect("a socket");
    peer.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let to = peer.local_addr().expect("bound");
    let Some(socket) = raw(to.ip()) else { return };
    // With its head it is longer than a packet of the loopback interface may be.
    let long = vec![7; 65_507];
    let bytes: [&[u8]; 3] = [b"before", &long, b"behind"];
    let heading = Heading::to(to);
    let departing = bytes.into_iter().map(|bytes| DepartingPacket { bytes, from: 9, heading: &heading });
    let mut refused = Vec::new();
    RawSender::new(2, [1, 2, 3, 4]).send(&socket, departing, |place, error| refused.push((place, error)));
    assert_eq!(refused, [(1, Errno::MSGSIZE)]);
    let mut buffer = [0; 16];
    for expected in [b"before", b"behind"] {
        let len = peer.recv(&mut buffer).expect("it comes");
        assert_eq!(&buffer[..len], expected);
    }
}
