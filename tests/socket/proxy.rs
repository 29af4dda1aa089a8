//! Connections from proxies that tell whose they are.

use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;

use swingbridge::listen::Deadlines;
use swingbridge::listen::stats::Layer;
use swingbridge::listen::stats::TurnedAway;
use swingbridge::net::Full;
use swingbridge::proto::wire::Verdict;

use crate::doors::Doors;
use crate::doors::Frames;
use crate::doors::Terms;
use crate::doors::Tls;
use crate::doors::allocate;
use crate::doors::client_of;
use crate::message;
use crate::plane::Plane;

const UDP: &[&str] = &["127.0.0.1:0"];
const LINE: &[u8] = b"PROXY TCP4 203.0.113.5 198.51.100.9 50000 443\r\n";
/// What a five-tuple has only one connection of.
const OTHER_LINE: &[u8] = b"PROXY TCP4 203.0.113.6 198.51.100.9 50000 443\r\n";
const OTHER: &str = "203.0.113.6:50000";
const CLIENT: &str = "203.0.113.5:50000";
const SERVER: &str = "198.51.100.9:443";

fn from_loopback() -> Terms {
    Terms { proxy_from: vec![(IpAddr::from([127, 0, 0, 0]), 8)], ..Terms::default() }
}

fn binary(command: u8, kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).expect("short").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, kind][..], &len, body].concat()
}

fn binary_v4() -> Vec<u8> {
    binary(0x21, 0x11, &[203, 0, 113, 5, 198, 51, 100, 9, 0xC3, 0x50, 1, 0xBB, 4, 0, 1, 9])
}

fn binary_v6() -> Vec<u8> {
    let mut body = vec![0x20, 1, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
    body.extend([0x20, 1, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0xC3, 0x50, 1, 0xBB]);
    binary(0x21, 0x21, &body)
}

/// What a client is told of itself.
fn seen_as<S: Read + Write>(client: &mut Frames<S>) -> Vec<u8> {
    client.send(&message::stun(message::BINDING, *b"who am I, s.", &[]));
    let answer = client.receive();
    message::attribute(&answer, message::MAPPED).expect("it says so").to_vec()
}

fn address(text: &str) -> Vec<u8> {
    message::xor_address(text.parse().expect("a literal"), *b"who am I, s.")
}

fn under_tls(doors: &Doors, socket: TcpStream) -> Frames<Tls> {
    Frames::new(Tls::new(socket, client_of(&doors.certificates, &[]), "localhost"))
}

#[test]
fn the_client_of_the_header_is_the_client_plain_and_under_tls() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open_on(&mut plane, from_loopback());
    for (header, client) in [
        (OTHER_LINE.to_vec(), OTHER),
        (b"PROXY TCP6 2001:db8::6 2001:db8::9 50000 443\r\n".to_vec(), "[2001:db8::6]:50000"),
        (binary_v4(), CLIENT),
        (binary_v6(), "[2001:db8::5]:50000"),
    ] {
        let mut plain = doors.tcp();
        plain.send(&header);
        assert_eq!(seen_as(&mut plain), address(client));
        let mut socket = doors.connect();
        socket.write_all(&header).expect("sent");
        assert_eq!(seen_as(&mut under_tls(&doors, socket)), address(client));
    }
    assert_eq!(doors.stats().verdicts(Layer::Outer, Verdict::ProxyV1), 4);
    assert_eq!(doors.stats().verdicts(Layer::Outer, Verdict::ProxyV2), 4);
    assert_eq!(doors.stats().verdicts(Layer::Inner, Verdict::Stun), 4);
}

#[test]
fn the_five_tuple_is_that_of_the_header() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open_on(&mut plane, from_loopback());
    let mut client = doors.tcp();
    client.send(&binary_v4());
    let nonce = client.nonce();
    client.send(&allocate(&nonce, *b"it's me, it."));
    let (_, request) = plane.fresh();
    let ends: [SocketAddr; 2] = [request.from.client.socket(), request.from.server.socket()];
    assert_eq!(ends, [CLIENT.parse().expect("a literal"), SERVER.parse().expect("a literal")]);
}

#[test]
fn header_and_message_may_come_byte_by_byte_or_in_one_segment() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open_on(&mut plane, from_loopback());
    let request = message::stun(message::BINDING, *b"who am I, s.", &[]);
    let other = binary(0x21, 0x11, &[203, 0, 113, 6, 198, 51, 100, 8, 0xC3, 0x50, 1, 0xBB]);
    for (at_once, header, client) in [
        (true, LINE.to_vec(), CLIENT),
        (false, OTHER_LINE.to_vec(), OTHER),
        (true, other, OTHER),
        (false, binary_v6(), "[2001:db8::5]:50000"),
    ] {
        let all = [&header[..], &request].concat();
        let mut one = doors.tcp();
        all.chunks(if at_once { all.len() } else { 1 }).for_each(|part| one.send(part));
        assert_eq!(message::attribute(&one.receive(), message::MAPPED), Some(&address(client)[..]));
    }
}

#[test]
fn what_the_proxy_says_of_itself_or_cannot_tell_is_its_own_connection() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open_on(&mut plane, from_loopback());
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        binary(0x20, 0x00, &[]),
        binary(0x20, 0x11, &[9; 12]),
        binary(0x21, 0x00, &[]),
        binary(0x21, 0x31, &[b'/'; 216]),
    ] {
        let mut client = doors.tcp();
        let own = client.wire.local_addr().expect("connected");
        client.send(&header);
        assert_eq!(seen_as(&mut client), address(&own.to_string()), "{header:02x?}");
    }
}

#[test]
fn without_a_header_a_proxy_is_closed_without_a_byte() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open_on(&mut plane, from_loopback());
    let mut wrong_checksum =
        binary(0x21, 0x11, &[203, 0, 113, 5, 198, 51, 100, 9, 0xC3, 0x50, 1, 0xBB, 3, 0, 4, 0, 0, 0, 0]);
    wrong_checksum.extend(message::stun(message::BINDING, *b"behind it. .", &[]));
    let cases: [Vec<u8>; 6] = [
        message::stun(message::BINDING, *b"no header. .", &[]),
        vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.5 198.51.100.9 50000 443\n".to_vec(),
        binary(0x22, 0x11, &[0; 12]),
        wrong_checksum,
    ];
    let count = cases.len() as u64;
    for bytes in cases {
        let mut client = doors.tcp();
        client.send(&bytes);
        assert!(client.ends_silently(), "{bytes:02x?}");
    }
    doors.turned_away(TurnedAway::ProxyHeader, count);
}

#[test]
fn a_header_that_nobody_asked_for_is_closed_without_a_byte() {
    let mut plane = Plane::start(1, UDP);
    let elsewhere = Terms { proxy_from: vec![(IpAddr::from([10, 0, 0, 0]), 8)], ..Terms::default() };
    let doors = Doors::open_on(&mut plane, elsewhere);
    for header in [LINE.to_vec(), binary_v4()] {
        let mut client = doors.tcp();
        client.send(&header);
        assert!(client.ends_silently());
    }
    doors.turned_away(TurnedAway::NotServed, 2);
}

#[test]
fn a_second_header_and_one_inside_tls_are_none() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open_on(&mut plane, from_loopback());
    let mut twice = doors.tcp();
    twice.send(&[LINE, LINE].concat());
    assert!(twice.ends_silently());
    let mut socket = doors.connect();
    socket.write_all(LINE).expect("sent");
    let mut inside = under_tls(&doors, socket);
    inside.send(&binary_v4());
    assert!(inside.ends_silently());
    doors.turned_away(TurnedAway::NotServed, 2);
}

#[test]
fn a_proxy_that_is_too_slow_is_closed_without_a_byte() {
    let short = Duration::from_millis(50);
    for bytes in [&b""[..], &LINE[..LINE.len() - 1], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C"] {
        let mut plane = Plane::start(1, UDP);
        let deadlines = Deadlines { proxy_header: short, ..Terms::default().deadlines };
        let doors = Doors::open_on(&mut plane, Terms { deadlines, ..from_loopback() });
        let mut client = doors.tcp();
        client.send(bytes);
        assert!(client.ends_silently());
        doors.turned_away(TurnedAway::ProxyDeadline, 1);
    }
}

#[test]
fn a_source_behind_a_proxy_gets_so_many_connections_and_the_proxy_as_many_as_it_brings_sources() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open_on(&mut plane, Terms { per_address: 2, ..from_loopback() });
    let through = |client: u8| {
        let mut one = doors.tcp();
        one.send(format!("PROXY TCP4 203.0.113.{client} 198.51.100.9 50000 443\r\n").as_bytes());
        one
    };
    let mut held = Vec::new();
    for client in 1..=5 {
        // Other ports, for a five-tuple has one connection.
        let mut one = through(client);
        seen_as(&mut one);
        held.push(one);
    }
    let mut more = doors.tcp();
    more.send(b"PROXY TCP4 203.0.113.1 198.51.100.9 50001 443\r\n");
    seen_as(&mut more);
    let mut too_many = doors.tcp();
    too_many.send(b"PROXY TCP4 203.0.113.1 198.51.100.9 50002 443\r\n");
    assert!(too_many.ends_silently());
    assert_eq!(doors.stats().full(Full::Source), 1);
    let mut other = doors.tcp();
    other.send(b"PROXY TCP4 203.0.113.2 198.51.100.9 50002 443\r\n");
    seen_as(&mut other);
}
