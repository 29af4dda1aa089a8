//! Clients over TLS.

use std::io;
use std::io::Read;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::net::sockopt;
use swingbridge::listen::Deadlines;
use swingbridge::listen::stats::Layer;
use swingbridge::listen::stats::TurnedAway;
use swingbridge::proto::media::DropReason;
use swingbridge::proto::types::Transport;
use swingbridge::proto::wire::Verdict;
use swingbridge::relay::Report;

use crate::doors::Doors;
use crate::doors::Frames;
use crate::doors::Terms;
use crate::doors::Tls;
use crate::doors::certificate;
use crate::doors::client_of;
use crate::doors::credulous;
use crate::doors::padded_channel_data;
use crate::message;
use crate::plane::CHANNEL;
use crate::plane::Client;
use crate::plane::Plane;
use crate::plane::eventually;
use crate::streams::small_reader;
use crate::streams::stall;

const UDP: &[&str] = &["127.0.0.1:0"];

fn peer() -> Client {
    Client::new([127, 0, 0, 1].into(), "127.0.0.1:9".parse().expect("a literal"))
}

fn binding(transaction: [u8; 12]) -> Vec<u8> {
    message::stun(message::BINDING, transaction, &[])
}

// proves rfc8489:12-5, rfc8656:5-19
#[test]
fn data_travels_both_ways_under_tls() {
    let mut plane = Plane::start(2, UDP);
    let doors = Doors::open(&mut plane);
    let (mut client, peer) = (doors.tls("localhost"), peer());
    let allocation = client.open(&mut plane, peer.address());
    assert_eq!(allocation.five_tuple.transport, Transport::Tls);
    for len in [0, 1, 4, 1_200, 9_000] {
        let data = vec![len as u8; len];
        client.send(&padded_channel_data(CHANNEL, &data));
        assert_eq!(peer.receive_from(), (data.clone(), allocation.relayed));
        peer.send_to(&data, allocation.relayed);
        assert_eq!(client.receive(), padded_channel_data(CHANNEL, &data));
    }
    assert_eq!(doors.stats().handed_over(Transport::Tls), 1);
    drop(client);
    assert!(matches!(plane.report(allocation.worker), Report::StreamGone { .. }));
}

/// Shakes hands and sends a first message, every flight as `say` says it. The client's last flight and the message go
/// together.
fn greet(doors: &Doors, mut say: impl FnMut(&mut Tls, &[u8])) -> Frames<Tls> {
    let mut tls = Tls::new(doors.connect(), client_of(&doors.certificates, &[]), "localhost");
    while tls.connection.is_handshaking() {
        // What the handshake's end will carry is there before it.
        let flight = tls.outgoing();
        if !flight.is_empty() {
            say(&mut tls, &flight);
        }
        tls.listen().expect("the server shakes hands");
        if !tls.connection.is_handshaking() {
            break;
        }
    }
    tls.connection.writer().write_all(&binding(*b"end and ask.")).expect("memory takes it");
    let last = tls.outgoing();
    say(&mut tls, &last);
    Frames::new(tls)
}

#[test]
fn the_end_of_the_handshake_and_the_first_message_may_come_in_one_segment_or_byte_by_byte() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let mut whole = greet(&doors, |tls, flight| tls.socket.write_all(flight).expect("sent"));
    assert_eq!(whole.receive()[8..20], *b"end and ask.");
    let mut crumbs = greet(&doors, |tls, flight| {
        for byte in flight {
            tls.socket.write_all(&[*byte]).expect("sent");
        }
    });
    assert_eq!(crumbs.receive()[8..20], *b"end and ask.");
    assert_eq!(doors.stats().verdicts(Layer::Outer, Verdict::Tls), 2);
    assert_eq!(doors.stats().verdicts(Layer::Inner, Verdict::Stun), 2);
}

#[test]
fn protocol_names_are_a_hint_and_never_an_error() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    for (offered, chosen) in [
        (&[][..], None),
        (&[&b"stun.turn"[..]][..], Some(&b"stun.turn"[..])),
        (&[&b"stun.nat-discovery"[..], b"x"], Some(b"stun.nat-discovery")),
        (&[&b"http/1.1"[..], b"h2"], None),
    ] {
        let mut client =
            Frames::new(Tls::new(doors.connect(), client_of(&doors.certificates, offered), "localhost"));
        client.send(&binding(*b"by any name."));
        assert_eq!(client.receive()[8..20], *b"by any name.");
        assert_eq!(client.wire.connection.alpn_protocol(), chosen, "{offered:?}");
    }
}

#[test]
fn the_certificate_is_chosen_by_the_name_that_is_asked_for_and_the_first_is_the_default() {
    let mut plane = Plane::start(1, UDP);
    let names = ["first.example", "*.wild.example", "third.example"];
    let made: Vec<_> = names.iter().map(|name| certificate(&[name]).0).collect();
    let doors = Doors::open_on(&mut plane, Terms { certificates: made.clone(), ..Terms::default() });
    for (asked, shown) in [
        ("third.example", 2),
        ("a.wild.example", 1),
        ("first.example", 0),
        ("nobody.example", 0),
        ("127.0.0.1", 0),
    ] {
        let mut tls = Tls::new(doors.connect(), credulous(), asked);
        let hello = tls.outgoing();
        tls.socket.write_all(&hello).expect("sent");
        while tls.connection.is_handshaking() {
            tls.listen().expect("shakes hands");
        }
        let seen = tls.connection.peer_certificates().expect("shown");
        assert_eq!(seen[0], made[shown].chain()[0], "{asked}");
    }
}

#[test]
fn certificates_are_exchanged_under_traffic_and_no_connection_notices() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let (mut client, peer) = (doors.tls("localhost"), peer());
    let allocation = client.open(&mut plane, peer.address());
    let old = client_of(&doors.certificates, &[]);
    let done = Arc::new(AtomicBool::new(false));
    let certificates = Arc::clone(&doors.certificates);
    let exchanging = {
        let done = Arc::clone(&done);
        std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                certificates.exchange(vec![certificate(&["localhost"]).0]);
            }
        })
    };
    for number in 0..500_u32 {
        client.send(&padded_channel_data(CHANNEL, &number.to_be_bytes()));
        assert_eq!(peer.receive_from(), (number.to_be_bytes().to_vec(), allocation.relayed));
        peer.send_to(&number.to_be_bytes(), allocation.relayed);
        assert_eq!(client.receive(), padded_channel_data(CHANNEL, &number.to_be_bytes()));
    }
    done.store(true, Ordering::Relaxed);
    exchanging.join().expect("no panic");
    // Who comes now sees the new one and not the old one.
    let mut late = doors.tls("localhost");
    late.send(&binding(*b"a new face. "));
    assert_eq!(late.receive()[8..20], *b"a new face. ");
    let mut stale = Tls::new(doors.connect(), old, "localhost");
    let hello = stale.outgoing();
    stale.socket.write_all(&hello).expect("sent");
    let error = stale.listen().expect_err("the old certificate is not shown any more");
    assert_eq!(error.kind(), io::ErrorKind::Other, "it is the client that refuses: {error}");
    assert_eq!(plane.stats(0).dropped(DropReason::StreamFull), 0);
}

#[test]
fn under_tls_too_a_reader_that_stalls_loses_whole_frames_alone() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let socket = small_reader(&doors);
    let window = sockopt::socket_recv_buffer_size(&socket).expect("an option") as u64;
    let tls = Tls::new(socket, client_of(&doors.certificates, &[]), "localhost");
    stall(&mut plane, Frames::new(tls), window);
}

#[test]
fn without_a_certificate_tls_is_closed_without_a_byte_and_tcp_is_served() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open_on(&mut plane, Terms { certificates: Vec::new(), ..Terms::default() });
    let mut tls = doors.tcp();
    tls.send(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3]);
    assert!(tls.ends_silently());
    doors.turned_away(TurnedAway::NoCertificate, 1);
    let mut tcp = doors.tcp();
    tcp.send(&binding(*b"in the clear"));
    assert_eq!(tcp.receive()[8..20], *b"in the clear");
}

#[test]
fn what_is_no_handshake_is_turned_away() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    // A ClientHello whose inside is noise: whole, so it is answered with an alert at most.
    let mut noise = vec![0x16, 3, 1, 0, 68, 1, 0, 0, 64];
    noise.extend([0xEE; 64]);
    let mut client = doors.tcp();
    client.send(&noise);
    let mut seen = Vec::new();
    let _ = Read::read_to_end(&mut client.wire, &mut seen);
    assert!(seen.is_empty() || seen[0] == 0x15, "an alert or nothing: {seen:02x?}");
    doors.turned_away(TurnedAway::Handshake, 1);

    let mut long = doors.tcp();
    long.send(&[0x16, 3, 1, 0x40, 0, 1, 0, 0x7F, 0xFF, 3, 3]);
    assert!(long.ends_silently());
    doors.turned_away(TurnedAway::Hello, 1);
}

#[test]
fn a_web_browser_inside_tls_is_told_that_there_is_no_site_and_counted() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let mut client = doors.tls("localhost");
    client.send(b"GET / HTTP/1.1\r\n\r\n");
    let mut told = Vec::new();
    client.wire.read_to_end(&mut told).expect("a clean end");
    assert!(told.starts_with(b"HTTP/1.1 404 "));
    eventually("the verdict", || (doors.stats().verdicts(Layer::Inner, Verdict::Http) == 1).then_some(()));
}

#[test]
fn a_broken_record_ends_the_connection_and_is_reported() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let (mut client, peer) = (doors.tls("localhost"), peer());
    let allocation = client.open(&mut plane, peer.address());
    client.wire.socket.write_all(&[0x17, 3, 3, 0, 32, 1, 2, 3]).expect("sent");
    client.wire.socket.write_all(&[9; 29]).expect("sent");
    assert!(matches!(plane.report(0), Report::StreamGone { from } if from == allocation.five_tuple));
}

/// A ClientHello written by hand: with the version that it says outright, those that it lists, and compression methods.
fn hello(outright: u16, listed: &[u16], compression: &[u8]) -> Vec<u8> {
    let sized = |value: &[u8], width: usize| {
        let len = u32::try_from(value.len()).expect("short").to_be_bytes();
        [&len[4 - width..], value].concat()
    };
    let extension = |number: u16, value: &[u8]| [&number.to_be_bytes()[..], &sized(value, 2)].concat();
    // x25519; ECDSA with P-256 and SHA-256, RSA-PSS.
    let mut extensions = [extension(10, &[0, 2, 0, 0x1D]), extension(13, &[0, 4, 4, 3, 8, 4])].concat();
    if !listed.is_empty() {
        let versions: Vec<_> = listed.iter().flat_map(|version| version.to_be_bytes()).collect();
        extensions.extend(extension(43, &sized(&versions, 1)));
    }
    let suites = [0x13, 0x01, 0xC0, 0x2B, 0xC0, 0x2F, 0x00, 0x2F, 0x00, 0x0A];
    let mut body = outright.to_be_bytes().to_vec();
    body.extend([0x5A; 32]);
    body.extend(sized(&[], 1));
    body.extend(sized(&suites, 2));
    body.extend(sized(compression, 1));
    body.extend(sized(&extensions, 2));
    let message = [&[1][..], &sized(&body, 3)].concat();
    [&[0x16, 3, 1][..], &sized(&message, 2)].concat()
}

/// What the server says first to it.
fn first_record(doors: &Doors, hello: &[u8]) -> Vec<u8> {
    let mut client = doors.tcp();
    client.send(hello);
    let mut header = [0; 5];
    client.wire.read_exact(&mut header).expect("a record");
    let mut record = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    client.wire.read_exact(&mut record).expect("the whole record");
    [&header[..], &record].concat()
}

#[test]
fn whoever_shakes_hands_and_then_says_nothing_is_closed_without_a_byte() {
    let mut plane = Plane::start(1, UDP);
    let deadlines = Deadlines { sniff: Duration::from_millis(300), ..Terms::default().deadlines };
    let doors = Doors::open_on(&mut plane, Terms { deadlines, ..Terms::default() });
    // On a busy machine the same deadline may strike before the ClientHello has come.
    let shaken = eventually("a handshake", || {
        let mut tls = Tls::new(doors.connect(), client_of(&doors.certificates, &[]), "localhost");
        tls.connection.complete_io(&mut tls.socket).ok().map(|_| tls)
    });
    assert!(Frames::new(shaken).ends_silently());
    eventually("its end", || (doors.stats().turned_away(TurnedAway::SniffDeadline) > 0).then_some(()));
    assert_eq!(doors.stats().turned_away(TurnedAway::Failed), 0);
}

// proves rfc8489:6.2.3-6, rfc8489:6.2.3-7, rfc8489:16-1, rfc8656:3.1-1
#[test]
fn old_versions_are_refused_with_their_alert_and_nothing_is_compressed() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let old: [(u16, &[u16]); 5] =
        [(0x0300, &[]), (0x0301, &[]), (0x0302, &[]), (0x0303, &[0x0302, 0x0301]), (0x0303, &[0x0300])];
    for (outright, listed) in old {
        let alert = first_record(&doors, &hello(outright, listed, &[0]));
        assert_eq!(alert[..1], [0x15], "{outright:#x} {listed:x?}");
        assert_eq!(alert[5..], [2, 70], "protocol_version");
    }
    doors.turned_away(TurnedAway::Handshake, 5);
    for compression in [&[0][..], &[1, 0], &[0, 1]] {
        let answer = first_record(&doors, &hello(0x0303, &[], compression));
        assert_eq!((answer[0], answer[5]), (0x16, 2), "a ServerHello");
        assert_eq!(answer[9..11], [3, 3]);
        let session = usize::from(answer[43]);
        assert_eq!(answer[44 + session..46 + session], [0xC0, 0x2B], "the suite that fits the certificate");
        assert_eq!(answer[46 + session], 0, "not compressed");
    }
}

#[cfg(feature = "aws-lc-rs")]
#[test]
fn with_aws_lc_keys_are_exchanged_post_quantum_where_the_client_can() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let tls = Tls::new(
        doors.connect(),
        crate::doors::credulous_with(rustls::crypto::aws_lc_rs::default_provider()),
        "x",
    );
    let mut client = Frames::new(tls);
    client.send(&binding(*b"from tomorro"));
    assert_eq!(client.receive()[8..20], *b"from tomorro");
    let group = client.wire.connection.negotiated_key_exchange_group().expect("shaken hands");
    assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);
}
